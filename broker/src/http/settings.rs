//! What tools ask of brokers beside topics: settings under Apache Pulsar's names, and what there is none of.
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::json;

use super::topics::{TopicPath, persistent};
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

/// There are none.
pub(super) async fn groups() -> Answer {
    Ok(body::json(json!([])))
}

pub(super) async fn group() -> Refusal {
    Refusal::not_found("ResourceGroup does not exist")
}

/// None are known, whichever cluster is asked for.
pub(super) async fn failure_domains(State(pages): State<Pages>, Path(cluster): Path<String>) -> Answer {
    if cluster != pages.context.config.cluster {
        return Err(Refusal::not_found("Cluster does not exist"));
    }
    Ok(body::json(json!({})))
}

pub(super) async fn isolation(Path(cluster): Path<String>) -> Refusal {
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
    let topic = persistent(&tenant, &namespace, &local)?;
    let partitions = pages.context.namespaces.partitions(&topic).await?;
    if partitions == 0 {
        return Err(Refusal::not_found(format!("Topic {topic} does not exist")));
    }
    pages.create_partitions(&topic, 0..partitions).await?;
    Ok(body::done())
}
