//! The cluster and its brokers.
use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::json;

use super::{Answer, Pages, Refusal, body};

pub(super) async fn list(State(pages): State<Pages>) -> Answer {
    Ok(body::json([&pages.context.config.cluster]))
}

pub(super) async fn read(State(pages): State<Pages>, Path(cluster): Path<String>) -> Answer {
    if cluster != pages.context.config.cluster {
        return Err(Refusal::not_found("Cluster does not exist"));
    }
    let me = pages.context.ownership.me();
    Ok(body::json(json!({
        "serviceUrl": format!("http://{}", me.http),
        "brokerServiceUrl": format!("pulsar://{}", me.broker),
        "brokerClientTlsEnabled": false,
        "tlsAllowInsecureConnection": false,
    })))
}

/// Setup scripts create the cluster that is there. Others would be for replication between clusters.
pub(super) async fn create(State(pages): State<Pages>, Path(cluster): Path<String>) -> Refusal {
    if cluster == pages.context.config.cluster {
        return Refusal::new(StatusCode::CONFLICT, "Cluster already exists");
    }
    Refusal::not_built("more than one cluster")
}

pub(super) async fn change(State(pages): State<Pages>, Path(cluster): Path<String>) -> Refusal {
    if cluster == pages.context.config.cluster {
        return Refusal::not_built("a change of the cluster, whose addresses are those of its brokers,");
    }
    Refusal::not_found("Cluster does not exist")
}

pub(super) async fn delete(State(pages): State<Pages>, Path(cluster): Path<String>) -> Refusal {
    if cluster == pages.context.config.cluster {
        return Refusal::new(StatusCode::PRECONDITION_FAILED, "Cluster not empty");
    }
    Refusal::not_found("Cluster does not exist")
}

/// It has none.
pub(super) async fn peers(State(pages): State<Pages>, Path(cluster): Path<String>) -> Result<StatusCode, Refusal> {
    if cluster == pages.context.config.cluster {
        Ok(StatusCode::OK)
    } else {
        Err(Refusal::not_found("Cluster does not exist"))
    }
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
