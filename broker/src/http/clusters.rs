//! Clusters, and the brokers of this one.
use std::collections::{BTreeMap, HashMap};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use proto::records::NamedClusterRecord;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::policies::is_true;
use super::{Answer, Pages, Refusal, body};
use crate::namespaces::ChangeError;

/// What is told of a cluster; all else in a body is left out, as by Apache Pulsar.
const TEXTS: [&str; 14] = [
    "serviceUrl",
    "serviceUrlTls",
    "brokerServiceUrl",
    "brokerServiceUrlTls",
    "proxyServiceUrl",
    "proxyProtocol",
    "authenticationPlugin",
    "authenticationParameters",
    "brokerClientTrustCertsFilePath",
    "brokerClientKeyFilePath",
    "brokerClientCertificateFilePath",
    "brokerClientTlsTrustStoreType",
    "brokerClientTlsKeyStoreType",
    "listenerName",
];
const FLAGS: [&str; 3] = ["brokerClientTlsEnabled", "tlsAllowInsecureConnection", "brokerClientTlsEnabledWithKeyStore"];
const PEERS: &str = "peerClusterNames";
/// An address, how it begins unless it is empty, and what is said otherwise.
const ADDRESSES: [(&str, &str, &str); 4] = [
    ("serviceUrl", "http://", "Illegal service url, example: http://pulsar.example.com:8080"),
    ("serviceUrlTls", "https://", "Illegal service tls url, example: https://pulsar.example.com:8443"),
    ("brokerServiceUrl", "pulsar://", "Illegal broker service url, example: pulsar://pulsar.example.com:6650"),
    (
        "brokerServiceUrlTls",
        "pulsar+ssl://",
        "Illegal broker service tls url, example: pulsar+ssl://pulsar.example.com:6651",
    ),
];

fn refused(reason: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::PRECONDITION_FAILED, reason)
}

/// What a body says of a cluster, as it is kept.
fn data(body: &Bytes) -> Result<HashMap<String, String>, Refusal> {
    let missing = || Refusal::new(StatusCode::BAD_REQUEST, "cluster data is required");
    let mut given: Map<String, Value> = body::parse(body)?.ok_or_else(missing)?;
    let mut kept = HashMap::new();
    for name in TEXTS {
        let text = match given.remove(name) {
            None | Some(Value::Null) => continue,
            Some(Value::String(text)) => text,
            Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
            Some(_) => return Err(body::bad(format!("`{name}` is a text"))),
        };
        let wrong = |(address, scheme, _): &&(&str, &str, &str)| {
            *address == name && !text.is_empty() && !text.starts_with(scheme)
        };
        if let Some((.., example)) = ADDRESSES.iter().find(wrong) {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, *example));
        }
        kept.insert(name.to_owned(), json!(text).to_string());
    }
    for name in FLAGS {
        let set = match given.remove(name) {
            None | Some(Value::Null) => continue,
            Some(Value::Bool(set)) => set,
            Some(Value::String(text)) => is_true(Some(&text)),
            Some(_) => return Err(body::bad(format!("`{name}` is true or false"))),
        };
        kept.insert(name.to_owned(), json!(set).to_string());
    }
    let peers: Option<Vec<String>> = given.remove(PEERS).map_or(Ok(None), serde_json::from_value).map_err(body::bad)?;
    if let Some(peers) = peers {
        kept.insert(PEERS.to_owned(), json!(peers).to_string());
    }
    Ok(kept)
}

fn shown(record: &NamedClusterRecord) -> Map<String, Value> {
    let mut shown: Map<String, Value> = FLAGS.iter().map(|flag| ((*flag).to_owned(), json!(false))).collect();
    for (name, value) in &record.data {
        shown.insert(name.clone(), serde_json::from_str(value).unwrap_or_default());
    }
    shown
}

pub(super) async fn list(State(pages): State<Pages>) -> Answer {
    Ok(body::json(pages.context.namespaces.clusters().await?))
}

pub(super) async fn read(State(pages): State<Pages>, Path(cluster): Path<String>) -> Answer {
    let mut shown = shown(&pages.context.namespaces.named_cluster(&cluster).await?);
    if cluster == pages.context.config.cluster {
        let me = pages.context.ownership.me();
        shown.entry("serviceUrl").or_insert_with(|| json!(format!("http://{}", me.http)));
        shown.entry("brokerServiceUrl").or_insert_with(|| json!(format!("pulsar://{}", me.broker)));
    }
    Ok(body::json(shown))
}

pub(super) async fn create(State(pages): State<Pages>, Path(cluster): Path<String>, body: Bytes) -> Answer {
    let record = NamedClusterRecord { data: data(&body)?, ..Default::default() };
    pages.context.namespaces.create_cluster(&cluster, &record).await?;
    Ok(StatusCode::OK.into_response())
}

pub(super) async fn change(State(pages): State<Pages>, Path(cluster): Path<String>, body: Bytes) -> Answer {
    let data = data(&body)?;
    let replace = |record: &mut NamedClusterRecord| {
        record.data = data;
        Ok(())
    };
    pages.context.namespaces.change_cluster(&cluster, replace).await?;
    Ok(StatusCode::OK.into_response())
}

pub(super) async fn delete(State(pages): State<Pages>, Path(cluster): Path<String>) -> Answer {
    pages.context.namespaces.delete_cluster(&cluster).await?;
    Ok(body::done())
}

pub(super) async fn peers(State(pages): State<Pages>, Path(cluster): Path<String>) -> Answer {
    let record = pages.context.namespaces.named_cluster(&cluster).await?;
    Ok(shown(&record).get(PEERS).map_or_else(|| StatusCode::OK.into_response(), body::json))
}

pub(super) async fn set_peers(State(pages): State<Pages>, Path(cluster): Path<String>, body: Bytes) -> Answer {
    let namespaces = &pages.context.namespaces;
    namespaces.named_cluster(&cluster).await?;
    let peers: Vec<String> = body::parse(&body)?.unwrap_or_default();
    if peers.contains(&cluster) {
        return Err(refused(format!("{cluster} itself can't be part of peer-list")));
    }
    if let Some(unknown) = namespaces.unknown_cluster(&peers).await? {
        return Err(refused(format!("Peer cluster {unknown} does not exist")));
    }
    let set = |record: &mut NamedClusterRecord| {
        record.data.insert(PEERS.to_owned(), json!(peers).to_string());
        Ok(())
    };
    namespaces.change_cluster(&cluster, set).await?;
    Ok(body::done())
}

// Brokers that fail together. Nothing is placed by them yet.

impl Pages {
    async fn must_exist(&self, cluster: &str) -> Result<NamedClusterRecord, Refusal> {
        self.context.namespaces.named_cluster(cluster).await.map_err(|error| match error {
            ChangeError::NotFound(_) => refused(format!("Cluster {cluster} does not exist.")),
            error => error.into(),
        })
    }
}

pub(super) async fn failure_domains(State(pages): State<Pages>, Path(cluster): Path<String>) -> Answer {
    let found = match pages.context.namespaces.named_cluster(&cluster).await {
        Err(ChangeError::NotFound(_)) => NamedClusterRecord::default(), // As Apache Pulsar: none, and no refusal.
        found => found?,
    };
    let domains = found.failure_domains.into_iter().map(|(name, domain)| (name, json!({"brokers": domain.brokers})));
    Ok(body::json(domains.collect::<BTreeMap<_, _>>()))
}

pub(super) async fn failure_domain(
    State(pages): State<Pages>,
    Path((cluster, name)): Path<(String, String)>,
) -> Answer {
    let found = pages.must_exist(&cluster).await?;
    let unknown = || Refusal::not_found(format!("Domain {name} for cluster {cluster} does not exist"));
    let domain = found.failure_domains.get(&name).ok_or_else(unknown)?;
    Ok(body::json(json!({"brokers": domain.brokers})))
}

pub(super) async fn set_failure_domain(
    State(pages): State<Pages>,
    Path((cluster, name)): Path<(String, String)>,
    body: Bytes,
) -> Answer {
    #[derive(Default, Deserialize)]
    struct Domain {
        brokers: Option<Vec<String>>,
    }
    pages.must_exist(&cluster).await?;
    let domain: Domain = body::parse(&body)?.unwrap_or_default();
    pages.context.namespaces.set_failure_domain(&cluster, &name, domain.brokers.unwrap_or_default()).await?;
    Ok(body::done())
}

pub(super) async fn delete_failure_domain(
    State(pages): State<Pages>,
    Path((cluster, name)): Path<(String, String)>,
) -> Answer {
    pages.must_exist(&cluster).await?;
    pages.context.namespaces.delete_failure_domain(&cluster, &name).await?;
    Ok(StatusCode::OK.into_response())
}

pub(super) async fn brokers(State(pages): State<Pages>) -> Answer {
    let brokers = pages.context.ownership.brokers();
    Ok(body::json(brokers.into_iter().map(|broker| broker.http).collect::<Vec<_>>()))
}

/// Any broker knows what any other serves.
pub(super) async fn owned(State(pages): State<Pages>, Path((_, broker)): Path<(String, String)>) -> Answer {
    let ownership = &pages.context.ownership;
    let found = ownership.brokers().into_iter().find(|one| one.http == broker || one.broker == broker);
    let unknown = || Refusal::not_found(format!("Broker id '{broker}' not found in available brokers."));
    let status = json!({"broker_assignment": "shared", "is_controlled": false, "is_active": true});
    let bundles = ownership.bundles_at(&found.ok_or_else(unknown)?).into_iter();
    let owned: BTreeMap<String, _> = bundles.map(|bundle| (bundle.to_string(), status.clone())).collect();
    Ok(body::json(owned))
}

pub(super) async fn health(State(pages): State<Pages>) -> Answer {
    pages.context.namespaces.cluster().await?; // Nothing works without metadata.
    Ok("ok".into_response())
}

pub(super) async fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Brokers here are equal; tools that want one get the first.
pub(super) async fn leader(State(pages): State<Pages>) -> Answer {
    let brokers = pages.context.ownership.brokers();
    let first = brokers.first().ok_or_else(|| Refusal::not_found("Couldn't find leader broker"))?;
    Ok(body::json(json!({"serviceUrl": format!("http://{}", first.http), "brokerId": first.http})))
}
