//! Tenants and namespaces.
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode};
use proto::records::PoliciesRecord;
use proto::{Domain, NamespaceName};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::body::{self, done};
use super::bundles::bundles_json;
use super::owner::{Ask, is_forwarded};
use super::topics::{Force, namespace_name, of_namespace};
use super::{Answer, Pages, Refusal};
use crate::namespaces::TenantChange;
use crate::ownership::{BUNDLES_DEFAULT, BUNDLES_MAX, Bundles};
use crate::policies::{self, Level};
use crate::presence::{self, TopicMode};

pub(super) type NamespacePath = Path<(String, String)>;

pub(super) async fn tenants(State(pages): State<Pages>) -> Answer {
    Ok(body::json(pages.context.namespaces.tenants().await?))
}

pub(super) async fn tenant(State(pages): State<Pages>, Path(tenant): Path<String>) -> Answer {
    let record = pages.context.namespaces.tenant(&tenant).await?;
    Ok(body::json(json!({"adminRoles": record.admin_roles, "allowedClusters": record.allowed_clusters})))
}

fn tenant_change(body: &Bytes) -> Result<TenantChange, Refusal> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Tenant {
        admin_roles: Option<Vec<String>>,
        allowed_clusters: Option<Vec<String>>,
    }
    let missing = || Refusal::new(StatusCode::PRECONDITION_FAILED, "TenantInfo is null");
    let tenant: Tenant = body::parse(body)?.ok_or_else(missing)?;
    if tenant.allowed_clusters.is_none() {
        return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, "Clusters cannot be null"));
    }
    Ok(TenantChange {
        admin_roles: tenant.admin_roles.unwrap_or_default(),
        allowed_clusters: tenant.allowed_clusters.unwrap_or_default(),
    })
}

pub(super) async fn create_tenant(State(pages): State<Pages>, Path(tenant): Path<String>, body: Bytes) -> Answer {
    pages.context.namespaces.create_tenant(&tenant, tenant_change(&body)?).await?;
    Ok(done())
}

pub(super) async fn update_tenant(State(pages): State<Pages>, Path(tenant): Path<String>, body: Bytes) -> Answer {
    pages.context.namespaces.update_tenant(&tenant, tenant_change(&body)?).await?;
    Ok(done())
}

pub(super) async fn delete_tenant(
    State(pages): State<Pages>,
    Path(tenant): Path<String>,
    Query(Force { force }): Query<Force>,
    headers: HeaderMap,
) -> Answer {
    if force && pages.context.namespaces.tenant(&tenant).await.is_ok() {
        for namespace in pages.context.namespaces.namespaces(&tenant).await? {
            pages.empty_namespace(&namespace.parse()?, is_forwarded(&headers)).await?;
            pages.context.namespaces.delete_namespace(&namespace.parse()?).await?;
        }
    }
    pages.context.namespaces.delete_tenant(&tenant).await?;
    Ok(done())
}

pub(super) async fn namespaces(State(pages): State<Pages>, Path(tenant): Path<String>) -> Answer {
    Ok(body::json(pages.context.namespaces.namespaces(&tenant).await?))
}

pub(super) async fn namespace(State(pages): State<Pages>, Path((tenant, namespace)): NamespacePath) -> Answer {
    let name = namespace_name(&tenant, &namespace)?;
    let record = pages.context.namespaces.namespace(&name).await?;
    let set = pages.context.policies.set_at(&Level::Namespace(name)).await?;
    let (cluster, clusters) = (&pages.context.config.cluster, policies::clusters(&set));
    let mut shown = json!({
        "auth_policies": {"namespace_auth": {}, "destination_auth": {}, "subscription_auth_roles": {}},
        "replication_clusters": if clusters.is_null() { json!([cluster]) } else { clusters },
        "allowed_clusters": [], "backlog_quota_map": {}, "clusterDispatchRate": {},
        "topicDispatchRate": {}, "subscriptionDispatchRate": {}, "replicatorDispatchRate": {},
        "clusterSubscribeRate": {}, "publishMaxMessageRate": {}, "latency_stats_sample_rate": {}, "deleted": false,
        "encryption_required": false, "subscription_auth_mode": "None", "offload_threshold": -1,
        "offload_threshold_in_seconds": -1, "schema_compatibility_strategy": "UNDEFINED",
        "is_allow_auto_update_schema": true, "schema_validation_enforced": false, "subscription_types_enabled": [],
        "properties": {}, "migrated": false, "clusterThatCanDeleteNamespace": cluster,
    });
    for (name, value) in policies::shown_of_namespace(&set, cluster) {
        shown[name] = value;
    }
    shown["bundles"] = bundles_json(&record.boundaries);
    Ok(body::json(shown))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct BundleCount {
    bundles: Option<i64>,
}

/// What a body says of a new namespace.
struct NewNamespace {
    bundles: Bundles,
    clusters: Vec<String>,
    policies: PoliciesRecord,
}

/// The JSON of a namespace holds its policies, and beside them what is no policy.
fn new_namespace(body: &Bytes, count: Option<i64>) -> Result<NewNamespace, Refusal> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Cut {
        num_bundles: Option<i64>,
        boundaries: Option<Vec<String>>,
    }
    let too_many = || {
        let reason =
            format!("Invalid number of bundles. Number of bundles has to be in the range of (0, {BUNDLES_MAX}].");
        Refusal::new(StatusCode::BAD_REQUEST, reason)
    };
    let mut policies: Map<String, Value> = body::parse(body)?.unwrap_or_default();
    let cut = policies.remove("bundles").map(serde_json::from_value::<Option<Cut>>).transpose().map_err(body::bad)?;
    let cut = cut.flatten().unwrap_or_default();
    let clusters = policies.remove("replication_clusters").map(serde_json::from_value::<Option<Vec<String>>>);
    let clusters = clusters.transpose().map_err(body::bad)?.flatten().unwrap_or_default();
    let bundles = match cut.boundaries.filter(|boundaries| !boundaries.is_empty()) {
        Some(boundaries) => {
            let number = |text: &String| u32::from_str_radix(text.strip_prefix("0x")?, 16).ok();
            let numbers: Option<Vec<u32>> = boundaries.iter().map(number).collect();
            let numbers = numbers.ok_or_else(|| body::bad("boundaries of bundles are hexadecimal numbers"))?;
            Bundles::with_boundaries(&numbers).ok_or_else(too_many)?
        }
        None => match count.or(cut.num_bundles).unwrap_or(0) {
            count if count <= 0 => Bundles::even(BUNDLES_DEFAULT), // As Apache Pulsar takes it.
            count => {
                Bundles::even(u32::try_from(count).ok().filter(|count| *count <= BUNDLES_MAX).ok_or_else(too_many)?)
            }
        },
    };
    Ok(NewNamespace { bundles, clusters, policies: policies::of_new_namespace(policies)? })
}

pub(super) async fn create_namespace(
    State(pages): State<Pages>,
    Path((tenant, namespace)): NamespacePath,
    Query(query): Query<BundleCount>,
    body: Bytes,
) -> Answer {
    let name = namespace_name(&tenant, &namespace)?;
    let NewNamespace { bundles, mut clusters, mut policies } = new_namespace(&body, query.bundles)?;
    if !clusters.is_empty() {
        clusters.sort_unstable();
        policies::set_clusters(&mut policies, Some(&clusters));
    }
    pages.context.namespaces.create_namespace(&name, &bundles, &clusters, &policies).await?;
    pages.warn_of_replication(&name, &clusters);
    Ok(done())
}

pub(super) async fn delete_namespace(
    State(pages): State<Pages>,
    Path((tenant, namespace)): NamespacePath,
    Query(Force { force }): Query<Force>,
    headers: HeaderMap,
) -> Answer {
    let name = namespace_name(&tenant, &namespace)?;
    if force && pages.context.namespaces.namespace(&name).await.is_ok() {
        pages.empty_namespace(&name, is_forwarded(&headers)).await?;
    }
    let passing = presence::topics(&pages.context, &name, TopicMode::NonPersistent).await;
    if passing.is_ok_and(|passing| !passing.is_empty()) {
        return Err(Refusal::new(StatusCode::CONFLICT, "Cannot delete non empty namespace"));
    }
    pages.context.namespaces.delete_namespace(&name).await?;
    pages.context.schemas.delete_of_namespace(&name).await?;
    Ok(done())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Mode {
    mode: Option<String>,
}

pub(super) async fn topics(
    State(pages): State<Pages>,
    Path((tenant, namespace)): NamespacePath,
    Query(query): Query<Mode>,
) -> Answer {
    let mode = match query.mode.as_deref() {
        None | Some("PERSISTENT") => TopicMode::Persistent,
        Some("NON_PERSISTENT") => TopicMode::NonPersistent,
        Some("ALL") => TopicMode::All,
        Some(other) => return Err(Refusal::not_found(format!("there is no mode `{other}`"))),
    };
    let topics = presence::topics(&pages.context, &namespace_name(&tenant, &namespace)?, mode).await;
    Ok(body::json(topics.map_err(of_namespace)?))
}

impl Pages {
    /// Deletes all topics of a namespace, whoever uses them.
    async fn empty_namespace(&self, namespace: &NamespaceName, forwarded: bool) -> Result<(), Refusal> {
        let namespaces = &self.context.namespaces;
        for domain in [Domain::Persistent, Domain::NonPersistent] {
            for topic in namespaces.partitioned_topics(namespace, domain).await? {
                self.delete_partitioned(&topic, true, forwarded).await?;
            }
        }
        for topic in presence::topics(&self.context, namespace, TopicMode::All).await? {
            match self.ask(&topic.parse()?, &Ask::Delete { force: true }, forwarded).await {
                Err(refusal) if refusal.status == StatusCode::NOT_FOUND => {}
                asked => drop(asked?),
            }
        }
        Ok(())
    }
}

/// Everything else that Apache Pulsar can do with a namespace.
pub(super) async fn not_built(
    State(pages): State<Pages>,
    method: Method,
    Path((tenant, namespace, feature)): Path<(String, String, String)>,
) -> Refusal {
    let found = async { Ok(pages.context.namespaces.namespace(&namespace_name(&tenant, &namespace)?).await?) };
    match found.await {
        Ok(_) => Refusal::not_built(&format!("{method} {feature} of a namespace")),
        Err(refusal) => refusal,
    }
}

/// The same with a longer path.
pub(super) async fn not_built_below(
    state: State<Pages>,
    method: Method,
    Path((tenant, namespace, feature, rest)): Path<(String, String, String, String)>,
) -> Refusal {
    not_built(state, method, Path((tenant, namespace, format!("{feature}/{rest}")))).await
}
