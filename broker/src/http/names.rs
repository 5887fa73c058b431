//! Tenants, namespaces and their bundles.
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode};
use proto::NamespaceName;
use proto::records::{BrokerRecord, PoliciesRecord};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::body::{self, done};
use super::owner::{Ask, FORWARDED, is_forwarded};
use super::topics::{Force, namespace_name, of_namespace};
use super::{Answer, Pages, Refusal};
use crate::namespaces::{TenantChange, TopicMode};
use crate::ownership::{BUNDLES_DEFAULT, BUNDLES_MAX, Bundle, BundleRange, Bundles, Owner};
use crate::policies::{self, Level};

type NamespacePath = Path<(String, String)>;

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

fn bundles_json(boundaries: &[u32]) -> Value {
    let texts: Vec<String> = boundaries.iter().map(|boundary| format!("{boundary:#010x}")).collect();
    json!({"boundaries": texts, "numBundles": boundaries.len().saturating_sub(1)})
}

pub(super) async fn namespace(State(pages): State<Pages>, Path((tenant, namespace)): NamespacePath) -> Answer {
    let name = namespace_name(&tenant, &namespace)?;
    let record = pages.context.namespaces.namespace(&name).await?;
    let set = pages.context.policies.set_at(&Level::Namespace(name)).await?;
    let cluster = &pages.context.config.cluster;
    let mut shown = json!({
        "auth_policies": {"namespace_auth": {}, "destination_auth": {}, "subscription_auth_roles": {}},
        "replication_clusters": [cluster], "allowed_clusters": [], "backlog_quota_map": {}, "clusterDispatchRate": {},
        "topicDispatchRate": {}, "subscriptionDispatchRate": {}, "replicatorDispatchRate": {},
        "clusterSubscribeRate": {}, "publishMaxMessageRate": {}, "latency_stats_sample_rate": {}, "deleted": false,
        "encryption_required": false, "subscription_auth_mode": "None", "offload_threshold": -1,
        "offload_threshold_in_seconds": -1, "schema_compatibility_strategy": "UNDEFINED",
        "is_allow_auto_update_schema": true, "schema_validation_enforced": false, "subscription_types_enabled": [],
        "properties": {}, "migrated": false, "clusterThatCanDeleteNamespace": cluster,
    });
    for (name, value) in policies::shown_of_namespace(&set) {
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
    let NewNamespace { bundles, clusters, policies } = new_namespace(&body, query.bundles)?;
    pages.context.namespaces.create_namespace(&name, &bundles, &clusters, &policies).await?;
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
    pages.context.namespaces.delete_namespace(&name).await?;
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
    let topics = pages.context.namespaces.topics(&namespace_name(&tenant, &namespace)?, mode).await;
    Ok(body::json(topics.map_err(of_namespace)?))
}

pub(super) async fn bundles(State(pages): State<Pages>, Path((tenant, namespace)): NamespacePath) -> Answer {
    let record = pages.context.namespaces.namespace(&namespace_name(&tenant, &namespace)?).await?;
    Ok(body::json(bundles_json(&record.boundaries)))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Destination {
    destination_broker: Option<String>,
}

pub(super) async fn unload(
    State(pages): State<Pages>,
    Path((tenant, namespace)): NamespacePath,
    headers: HeaderMap,
) -> Answer {
    let namespace = namespace_name(&tenant, &namespace)?;
    let bundles = pages.context.ownership.bundles_of(&namespace).await?;
    for range in bundles.ranges() {
        pages.unload_bundle(&Bundle { namespace: namespace.clone(), range }, None, &headers).await?;
    }
    Ok(done())
}

pub(super) async fn unload_bundle(
    State(pages): State<Pages>,
    Path((tenant, namespace, range)): Path<(String, String, String)>,
    Query(query): Query<Destination>,
    headers: HeaderMap,
) -> Answer {
    let invalid = |reason: String| Refusal::new(StatusCode::PRECONDITION_FAILED, reason);
    let namespace = namespace_name(&tenant, &namespace)?;
    let bundles = pages.context.ownership.bundles_of(&namespace).await?;
    let range: BundleRange = range.parse().map_err(|error| invalid(format!("{error}")))?;
    if !bundles.ranges().any(|one| one == range) {
        return Err(invalid(format!("Invalid upper boundary for bundle {namespace}/{range}")));
    }
    let to = match query.destination_broker.filter(|broker| !broker.is_empty()) {
        Some(broker) => Some(pages.live_broker(&broker)?),
        None => None,
    };
    pages.unload_bundle(&Bundle { namespace, range }, to.as_ref(), &headers).await?;
    Ok(done())
}

impl Pages {
    /// Brokers are named by their HTTP address, as `GET /brokers` lists them, or by that of the binary protocol.
    fn live_broker(&self, name: &str) -> Result<BrokerRecord, Refusal> {
        let name = name.trim_start_matches("http://").trim_start_matches("pulsar://").trim_end_matches('/');
        let brokers = self.context.ownership.brokers();
        let found = brokers.into_iter().find(|broker| broker.http == name || broker.broker == name);
        found.ok_or_else(|| crate::ownership::OwnershipError::DestinationNotFound.into())
    }

    async fn unload_bundle(
        &self,
        bundle: &Bundle,
        to: Option<&BrokerRecord>,
        headers: &HeaderMap,
    ) -> Result<(), Refusal> {
        let ownership = &self.context.ownership;
        match (ownership.owner_of(bundle), to) {
            (Some(Owner::Here), Some(to)) if to.broker == ownership.me().broker => Ok(()), // It is where it should be.
            (Some(Owner::Here), to) => {
                let cut = ownership.bundles_of(&bundle.namespace).await?;
                let inside =
                    |topic: &proto::TopicName| *topic.namespace() == bundle.namespace && cut.of(topic) == bundle.range;
                Ok(ownership.release(bundle, to, self.context.topics.unload_where(inside)).await?)
            }
            (Some(Owner::At(_)), _) if is_forwarded(headers) => {
                let reason = format!("Namespace bundle {bundle} is being unloaded");
                Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason))
            }
            (Some(Owner::At(owner)), Some(to)) if owner.broker == to.broker => Ok(()),
            (Some(Owner::At(owner)), to) => self.unload_bundle_at(&owner, bundle, to).await,
            (None, Some(to)) => Ok(ownership.reserve(bundle, to).await?),
            (None, None) => Ok(()),
        }
    }

    async fn unload_bundle_at(
        &self,
        owner: &BrokerRecord,
        bundle: &Bundle,
        to: Option<&BrokerRecord>,
    ) -> Result<(), Refusal> {
        let query = to.map(|to| format!("?destinationBroker={}", super::owner::encode(&to.http))).unwrap_or_default();
        let url = format!("http://{}/admin/v2/namespaces/{bundle}/unload{query}", owner.http);
        let request =
            self.peers.put(url).header(FORWARDED, &self.context.start).timeout(std::time::Duration::from_secs(30));
        let response = request.send().await.map_err(|error| {
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, format!("broker {} does not answer: {error}", owner.broker))
        })?;
        if response.status().is_success() {
            return Ok(());
        }
        let status = response.status();
        let text = response.text().await.unwrap_or_default();
        let value: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        Err(Refusal::new(status, value["reason"].as_str().unwrap_or("no reason given")))
    }

    /// Deletes all topics of a namespace, whoever uses them.
    async fn empty_namespace(&self, namespace: &NamespaceName, forwarded: bool) -> Result<(), Refusal> {
        let namespaces = &self.context.namespaces;
        for topic in namespaces.partitioned_topics(namespace).await? {
            self.delete_partitioned(&topic, true, forwarded).await?;
        }
        for topic in namespaces.topics(namespace, TopicMode::Persistent).await? {
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
        Ok(_) if feature.starts_with("permissions") => {
            Refusal::new(StatusCode::NOT_IMPLEMENTED, "Authorization is not enabled")
        }
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
