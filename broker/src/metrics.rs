//! What `/metrics` tells of topics, under the names that dashboards for Apache Pulsar use.
//!
//! Of this broker, with the label `cluster`: `pulsar_topics_count`, `pulsar_subscriptions_count`, `pulsar_producers_count`,
//! `pulsar_consumers_count`. Of each topic, with `cluster`, `namespace` and `topic`: `pulsar_producers_count`,
//! `pulsar_consumers_count`, `pulsar_subscriptions_count`, `pulsar_in_messages_total`, `pulsar_in_bytes_total`,
//! `pulsar_out_messages_total`, `pulsar_out_bytes_total`, `pulsar_rate_in`, `pulsar_rate_out` (messages per second),
//! `pulsar_throughput_in`, `pulsar_throughput_out` (bytes per second), `pulsar_msg_backlog`, `pulsar_storage_size`,
//! `pulsar_storage_offloaded_size` (bytes). What the room `offload` tells of objects stands there,
//! what the room `repair` tells of copies there, and what the room `moves` tells of bundles there.
//! Of each subscription, with `subscription` besides: `pulsar_subscription_back_log`, `pulsar_subscription_unacked_messages`,
//! `pulsar_subscription_delayed`, `pulsar_subscription_msg_rate_out`.
//!
//! `GET /metrics?topics=false` gives each namespace's sums in place of its topics, and no subscriptions: for servers of metrics to which
//! 100 000 topics are too many series.
use std::collections::BTreeMap;

use daemon::metrics::{Family, Kind, MetricText};
use futures::StreamExt;
use proto::TopicName;

use crate::topic::TopicStats;
use crate::{Context, offload, repair};

/// Topics that are asked at once.
const AT_ONCE: usize = 32;

type Found = Vec<(TopicName, TopicStats)>;
type Value<'a> = &'a dyn Fn(&TopicStats) -> f64;

/// How much a page tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    Topics,
    Namespaces,
}

impl Detail {
    /// As the query of a request wants it.
    pub(crate) fn wanted(query: Option<&str>) -> Self {
        let summed = query.into_iter().flat_map(|query| query.split('&')).any(|pair| pair == "topics=false");
        if summed { Self::Namespaces } else { Self::Topics }
    }
}

/// Asks every loaded topic and writes the page.
pub(crate) async fn render(context: &Context, mut page: MetricText, detail: Detail) -> MetricText {
    let asked = futures::stream::iter(context.topics.loaded()).map(|topic| async move {
        let stats = topic.stats().await.ok()?; // One that closes just now is not served any more.
        Some((topic.name().clone(), stats))
    });
    let mut found: Found = asked.buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await;
    found.sort_by(|left, right| left.0.cmp(&right.0));
    let cluster = &context.config.cluster;
    page.family("pulsar_topics_count", Kind::Gauge, "topics served by this broker")
        .sample(&[("cluster", cluster)], found.len());
    let consumers = |stats: &TopicStats| stats.subscriptions.values().map(|one| one.consumers.len() as f64).sum();
    let families: [(&str, Kind, &str, Value<'_>); 14] = [
        ("pulsar_subscriptions_count", Kind::Gauge, "subscriptions", &|stats| stats.subscriptions.len() as f64),
        ("pulsar_producers_count", Kind::Gauge, "connected producers", &|stats| stats.publishers.len() as f64),
        ("pulsar_consumers_count", Kind::Gauge, "connected consumers", &consumers),
        ("pulsar_in_messages_total", Kind::Counter, "messages published", &|stats| stats.msg_in_counter as f64),
        ("pulsar_in_bytes_total", Kind::Counter, "bytes published", &|stats| stats.bytes_in_counter as f64),
        ("pulsar_out_messages_total", Kind::Counter, "messages dispatched", &|stats| stats.msg_out_counter as f64),
        ("pulsar_out_bytes_total", Kind::Counter, "bytes dispatched", &|stats| stats.bytes_out_counter as f64),
        ("pulsar_rate_in", Kind::Gauge, "messages published per second", &|stats| stats.msg_rate_in),
        ("pulsar_rate_out", Kind::Gauge, "messages dispatched per second", &|stats| stats.msg_rate_out),
        ("pulsar_throughput_in", Kind::Gauge, "bytes published per second", &|stats| stats.msg_throughput_in),
        ("pulsar_throughput_out", Kind::Gauge, "bytes dispatched per second", &|stats| stats.msg_throughput_out),
        ("pulsar_msg_backlog", Kind::Gauge, "messages not yet acknowledged, over all subscriptions", &|stats| {
            stats.subscriptions.values().map(|one| one.msg_backlog as f64).sum()
        }),
        ("pulsar_storage_size", Kind::Gauge, "bytes stored", &|stats| stats.storage_size as f64),
        ("pulsar_storage_offloaded_size", Kind::Gauge, "of these, bytes in objects", &|stats| {
            stats.offloaded_storage_size as f64
        }),
    ];
    for (name, kind, help, value) in families {
        let family = page.family(name, kind, help);
        match detail {
            Detail::Topics => each(cluster, &found, family, value),
            Detail::Namespaces => sums(cluster, &found, family, value),
        }
    }
    if detail == Detail::Topics {
        subscriptions(cluster, &found, &mut page);
    }
    let tier = context.upkeep.tiering().tier();
    if let Some(repairs) = &context.repairs {
        repair::render(repairs, cluster, &mut page);
    }
    context.balance.render(cluster, &mut page);
    offload::render(tier.stores(), tier.objects(), cluster, context.clock.now_ms(), &mut page);
    page
}

fn each(cluster: &str, found: &Found, mut family: Family<'_>, value: Value<'_>) {
    for (topic, stats) in found {
        let (namespace, topic) = (topic.namespace().to_string(), topic.to_string());
        family.sample(&[("cluster", cluster), ("namespace", &namespace), ("topic", &topic)], value(stats));
    }
}

fn sums(cluster: &str, found: &Found, mut family: Family<'_>, value: Value<'_>) {
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    for (topic, stats) in found {
        *sums.entry(topic.namespace().to_string()).or_default() += value(stats);
    }
    for (namespace, sum) in sums {
        family.sample(&[("cluster", cluster), ("namespace", &namespace)], sum);
    }
}

fn subscriptions(cluster: &str, found: &Found, page: &mut MetricText) {
    type Value<'a> = &'a dyn Fn(&crate::topic::SubscriptionStats) -> f64;
    let families: [(&str, &str, Value<'_>); 4] = [
        ("pulsar_subscription_back_log", "messages not yet acknowledged", &|one| one.msg_backlog as f64),
        ("pulsar_subscription_unacked_messages", "messages dispatched and not acknowledged", &|one| {
            one.unacked_messages as f64
        }),
        ("pulsar_subscription_delayed", "messages that wait for their time", &|one| one.msg_delayed as f64),
        ("pulsar_subscription_msg_rate_out", "messages dispatched per second", &|one| one.msg_rate_out),
    ];
    for (name, help, value) in families {
        let mut family = page.family(name, Kind::Gauge, help);
        for (topic, stats) in found {
            let (namespace, topic) = (topic.namespace().to_string(), topic.to_string());
            for (subscription, one) in &stats.subscriptions {
                let labels = [
                    ("cluster", cluster),
                    ("namespace", &*namespace),
                    ("topic", &*topic),
                    ("subscription", &**subscription),
                ];
                family.sample(&labels, value(one));
            }
        }
    }
}
