//! What tools ask of brokers beside topics: settings under Apache Pulsar's names, and what there is none of.
use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::handler::Handler;
use axum::http::{Method, StatusCode, Uri};
use serde_json::json;

use super::about::About;
use super::routes::{Page, any};
use super::topics::TopicPath;
use super::{Answer, Pages, Refusal, body};

/// What could be changed while brokers run: nothing, their configuration is read at the start.
pub(super) async fn dynamic() -> Answer {
    Ok(body::json(json!([])))
}

/// What was changed while brokers run.
pub(super) async fn changed() -> Answer {
    Ok(body::json(json!({})))
}

pub(super) async fn change() -> Refusal {
    Refusal::new(StatusCode::PRECONDITION_FAILED, "Can't update non-dynamic configuration")
}

pub(super) async fn forget() -> Refusal {
    Refusal::new(StatusCode::PRECONDITION_FAILED, "Can't delete non-dynamic configuration")
}

/// The settings that have a name in Apache Pulsar, as texts.
pub(super) async fn running(State(pages): State<Pages>) -> Answer {
    let config = &pages.context.config;
    let quorum = config.quorum();
    Ok(body::json(json!({
        "clusterName": config.cluster,
        "advertisedAddress": pages.context.broker,
        "allowAutoTopicCreation": config.auto_create_topics.to_string(),
        "maxMessageSize": config.message_bytes_max.0.to_string(),
        "managedLedgerDefaultEnsembleSize": quorum.ensemble.to_string(),
        "managedLedgerDefaultWriteQuorum": quorum.write.to_string(),
        "managedLedgerDefaultAckQuorum": quorum.ack.to_string(),
        "managedLedgerMaxEntriesPerLedger": config.ledger_entries_max.to_string(),
        "functionsWorkerEnabled": "false",
        "transactionCoordinatorEnabled": "false",
    })))
}

/// Load is balanced by what brokers measure, so nothing is set here. The numbers are those of Apache Pulsar.
pub(super) async fn quota() -> Answer {
    Ok(body::json(json!({"msgRateIn": 40.0, "msgRateOut": 120.0, "bandwidthIn": 100_000.0, "bandwidthOut": 300_000.0,
                         "memory": 80.0, "dynamic": true})))
}

/// As for all of them.
pub(super) async fn quota_of_bundle() -> Answer {
    quota().await
}

pub(super) async fn set_quota() -> Refusal {
    Refusal::not_built("a resource quota of a bundle")
}

/// What a broker is told of its surroundings. No credentials: addresses only.
pub(super) async fn internal(State(pages): State<Pages>) -> Answer {
    let store = without_credentials(&pages.context.config.metadata);
    Ok(body::json(json!({
        "zookeeperServers": store, "configurationStoreServers": store, "metadataStoreUrl": store,
        "configurationMetadataStoreUrl": store, "ledgersRootPath": "/ledgers", "stateStorageServiceUrl": null,
    })))
}

fn without_credentials(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
            format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, host)| host))
        }
        None => url.into(),
    }
}

/// Looks at the backlogs of this broker's topics at once.
pub(super) async fn check_backlogs(State(pages): State<Pages>) -> Answer {
    let context = &pages.context;
    context.upkeep.walk(context.topics.loaded(), &daemon::Drain::new()).await;
    Ok(body::done())
}

/// A page that can be read, and not set.
pub(super) fn fixed<H: Handler<T, Pages>, T: 'static>(shown: H) -> Page {
    any(stays_unset).get(shown)
}

/// To take away what is not there is done at once.
async fn stays_unset(method: Method, uri: Uri) -> Answer {
    if method == Method::DELETE {
        return Ok(body::done());
    }
    Err(Refusal::not_built(&format!("{method} {}", uri.path())))
}

/// Nothing of the kind is set, here or anywhere.
pub(super) async fn unset() -> StatusCode {
    StatusCode::OK
}

pub(super) async fn off() -> Answer {
    Ok(body::json(false))
}

pub(super) async fn none() -> Answer {
    Ok(body::json(json!([])))
}

/// Whether a subscription goes along to other clusters: there are none.
pub(super) async fn replicated(State(pages): State<Pages>, about: About) -> Answer {
    if !pages.is_there(&about.topic).await? {
        return Err(Refusal::not_found(format!("Topic {} not found", about.topic)));
    }
    let partitions = pages.each(&about.topic).await?;
    Ok(body::json(partitions.into_iter().map(|topic| (topic.to_string(), false)).collect::<BTreeMap<_, _>>()))
}

pub(super) async fn set_replicated(State(pages): State<Pages>, about: About, body: Bytes) -> Answer {
    replicated(State(pages), about).await?;
    match body::parse::<bool>(&body)? {
        Some(true) => Err(Refusal::not_built("a subscription that goes along to other clusters")),
        _ => Ok(body::done()),
    }
}

/// There are none.
pub(super) async fn groups() -> Answer {
    Ok(body::json(json!([])))
}

pub(super) async fn group() -> Refusal {
    Refusal::not_found("ResourceGroup does not exist")
}

pub(super) async fn isolation(Path(path): Path<BTreeMap<String, String>>) -> Refusal {
    let cluster = path.get("cluster").map_or("", String::as_str);
    Refusal::not_found(format!("NamespaceIsolationPolicies for cluster {cluster} does not exist"))
}

/// Functions, sources and sinks.
pub(super) async fn no_functions() -> Refusal {
    let reason = "Pulsar Function Worker is not enabled, probably functionsWorkerEnabled is set to false";
    Refusal::new(StatusCode::CONFLICT, reason)
}

/// Makes those partitions that have no record yet.
pub(super) async fn create_missed_partitions(
    State(pages): State<Pages>,
    Path((tenant, namespace, local)): TopicPath,
) -> Answer {
    let topic = pages.topic(&tenant, &namespace, &local)?;
    let partitions = pages.context.namespaces.partitions(&topic).await?;
    if partitions == 0 {
        return Err(Refusal::not_found(format!("Topic {topic} does not exist")));
    }
    pages.create_partitions(&topic, 0..partitions).await?;
    Ok(body::done())
}
