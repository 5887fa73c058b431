//! What tools ask of one broker about all that it serves.
use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use futures::StreamExt;
use proto::TopicName;
use serde_json::{Value, json};

use super::{Answer, Pages, Refusal, body};
use crate::ownership::Bundle;
use crate::topic::TopicStats;

/// Topics that are asked at once.
const AT_ONCE: usize = 32;

impl Pages {
    /// Of all topics that this broker has loaded.
    async fn all_stats(&self) -> Vec<(TopicName, TopicStats)> {
        let asked = futures::stream::iter(self.context.topics.loaded()).map(|topic| async move {
            let stats = topic.stats().await.ok()?; // One that closes just now is not served any more.
            Some((topic.name().clone(), stats))
        });
        let mut all: Vec<_> = asked.buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await;
        all.sort_by(|left, right| left.0.cmp(&right.0));
        all
    }
}

/// Namespace, bundle, domain, topic.
pub(super) async fn topics(State(pages): State<Pages>) -> Answer {
    let mut tree = json!({});
    for (topic, stats) in pages.all_stats().await {
        let range = pages.context.ownership.bundles_of(topic.namespace()).await?.of(&topic).to_string();
        tree[topic.namespace().to_string()][range][topic.domain().as_str()][topic.to_string()] = json!(stats);
    }
    Ok(body::json(tree))
}

/// Sums of each namespace, under the names that Apache Pulsar has for them.
pub(super) async fn metrics(State(pages): State<Pages>) -> Answer {
    let mut sums: BTreeMap<String, BTreeMap<&str, f64>> = BTreeMap::new();
    for (topic, stats) in pages.all_stats().await {
        let of_one = sums.entry(topic.namespace().to_string()).or_default();
        let consumers: usize = stats.subscriptions.values().map(|one| one.consumers.len()).sum();
        let backlog: u64 = stats.subscriptions.values().map(|one| one.msg_backlog).sum();
        for (name, value) in [
            ("brk_in_rate", stats.msg_rate_in),
            ("brk_in_tp_rate", stats.msg_throughput_in),
            ("brk_out_rate", stats.msg_rate_out),
            ("brk_out_tp_rate", stats.msg_throughput_out),
            ("brk_storage_size", stats.storage_size as f64),
            ("brk_msg_backlog", backlog as f64),
            ("brk_no_of_producers", stats.publishers.len() as f64),
            ("brk_no_of_subscriptions", stats.subscriptions.len() as f64),
            ("brk_no_of_consumers", consumers as f64),
        ] {
            *of_one.entry(name).or_default() += value;
        }
    }
    let shown = sums.into_iter().map(|(namespace, metrics)| {
        json!({"metrics": metrics, "dimensions": {"namespace": namespace, "cluster": pages.context.config.cluster}})
    });
    Ok(body::json(shown.collect::<Vec<Value>>()))
}

/// What can be said of the load without a JVM.
pub(super) async fn load_report(State(pages): State<Pages>) -> Answer {
    let (me, all) = (pages.context.ownership.me(), pages.all_stats().await);
    let bundles: Vec<String> = pages.context.ownership.bundles().iter().map(Bundle::to_string).collect();
    let sum = |of: fn(&TopicStats) -> f64| all.iter().map(|(_, stats)| of(stats)).sum::<f64>();
    let consumers =
        |stats: &TopicStats| stats.subscriptions.values().map(|one| one.consumers.len()).sum::<usize>() as f64;
    Ok(body::json(json!({
        "webServiceUrl": format!("http://{}", me.http), "pulsarServiceUrl": format!("pulsar://{}", me.broker),
        "persistentTopicsEnabled": true, "nonPersistentTopicsEnabled": true,
        "msgRateIn": sum(|stats| stats.msg_rate_in), "msgRateOut": sum(|stats| stats.msg_rate_out),
        "msgThroughputIn": sum(|stats| stats.msg_throughput_in), "msgThroughputOut": sum(|stats| stats.msg_throughput_out),
        "numTopics": all.len(), "numBundles": bundles.len(), "bundles": bundles,
        "numProducers": sum(|stats| stats.publishers.len() as f64) as u64, "numConsumers": sum(consumers) as u64,
        "brokerVersionString": env!("CARGO_PKG_VERSION"), "startTimestamp": me.started_at,
    })))
}

/// There is no JVM that would have any.
pub(super) async fn mbeans() -> Answer {
    Ok(body::json(json!([])))
}

pub(super) async fn allocator(Path(name): Path<String>) -> Refusal {
    Refusal::not_found(format!("there is no allocator `{name}`: this broker runs without a JVM"))
}

/// As Apache Pulsar answers where load is balanced by what brokers measure.
pub(super) async fn availability() -> Refusal {
    Refusal::new(StatusCode::CONFLICT, "balancing by what brokers measure does not support this operation")
}
