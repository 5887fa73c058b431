//! Counters of topics: of one, and of all partitions together.
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::owner::{Ask, is_forwarded, word};
use super::policies::is_true;
use super::topics::TopicPath;
use super::{Answer, Pages, Refusal, body};
use crate::policies::{Effective, Quota, Quotas};
use crate::topic::TopicHandle;

impl Pages {
    /// Of a topic that is open here.
    pub(super) async fn stats(&self, handle: &TopicHandle, ages: bool) -> Result<Value, Refusal> {
        let word = |error| word(error, handle.name(), "");
        let mut stats = handle.stats().await.map_err(word)?;
        if ages {
            handle.tell_ages(&mut stats, self.context.clock.now_ms()).await.map_err(word)?;
        }
        // Counters are told also while policies cannot be read.
        let wanted = self.context.policies.effective(handle.name()).await.ok();
        let quotas = wanted.as_ref().map_or_else(Quotas::default, Effective::quotas);
        let clusters = wanted.map(|wanted| wanted.clusters());
        let clusters = clusters.as_ref().and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let others = clusters.filter(|cluster| **cluster != self.context.config.cluster);
        // Nothing goes to another cluster yet.
        stats.replication = others.map(|other| (other.to_owned(), json!({"connected": false}))).collect();
        let limit = |quota: Option<Quota>| quota.map_or(-1, |quota| i64::try_from(quota.limit).unwrap_or(i64::MAX));
        (stats.backlog_quota_limit_size, stats.backlog_quota_limit_time) = (limit(quotas.size), limit(quotas.age));
        stats.owner_broker = Some(self.context.ownership.me().http.clone());
        Ok(json!(stats))
    }
}

/// What of a topic's counters is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Wanted {
    get_earliest_time_in_backlog: Option<String>,
    exclude_publishers: Option<String>,
    exclude_consumers: Option<String>,
}

impl Wanted {
    fn ask(&self) -> Ask {
        Ask::Stats { ages: is_true(self.get_earliest_time_in_backlog.as_ref()) }
    }

    /// Leaves out what is not.
    fn leave_out(&self, stats: &mut Value) {
        if is_true(self.exclude_publishers.as_ref()) {
            stats["publishers"] = json!([]);
        }
        if is_true(self.exclude_consumers.as_ref()) {
            let all = stats["subscriptions"].as_object_mut().into_iter().flat_map(|all| all.values_mut());
            all.for_each(|one| one["consumers"] = json!([]));
        }
    }
}

pub(super) async fn of_one(
    State(pages): State<Pages>,
    Path((tenant, namespace, local)): TopicPath,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Answer {
    let topic = pages.topic(&tenant, &namespace, &local)?;
    let mut stats = pages.ask(&topic, &wanted.ask(), is_forwarded(&headers)).await?;
    wanted.leave_out(&mut stats);
    Ok(body::json(stats))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PerPartition {
    per_partition: bool,
}

impl Default for PerPartition {
    fn default() -> Self {
        Self { per_partition: true }
    }
}

pub(super) async fn of_partitions(
    State(pages): State<Pages>,
    Path((tenant, namespace, local)): TopicPath,
    Query(query): Query<PerPartition>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Answer {
    let topic = pages.topic(&tenant, &namespace, &local)?;
    let (partitions, mut all) = pages.ask_partitions(&topic, &wanted.ask(), is_forwarded(&headers)).await?;
    all.values_mut().for_each(|stats| wanted.leave_out(stats));
    let mut sum = Value::Null;
    all.values().for_each(|stats| add(&mut sum, "", stats));
    if let (Some(messages), Some(bytes)) = (sum["msgInCounter"].as_f64(), sum["bytesInCounter"].as_f64()) {
        sum["averageMsgSize"] = json!(if 0.0 < messages { bytes / messages } else { 0.0 });
    }
    if let Some(sum) = sum.as_object_mut() {
        for each in ["ownerBroker", "deduplicationStatus"] {
            sum.remove(each); // Each partition has its own.
        }
    }
    sum["metadata"] = json!({"partitions": partitions, "deleted": false});
    sum["partitions"] = if query.per_partition { json!(all) } else { json!({}) };
    Ok(body::json(sum))
}

/// Adds what counts, takes the latest and largest of what is told for each, but the earliest of what waits, and puts lists together.
fn add(sum: &mut Value, name: &str, other: &Value) {
    match (&mut *sum, other) {
        (Value::Null, other) => *sum = other.clone(),
        (Value::Object(sum), Value::Object(other)) => add_members(sum, other),
        (Value::Array(sum), Value::Array(other)) => sum.extend(other.iter().cloned()),
        (Value::Bool(sum), Value::Bool(other)) => *sum |= other,
        (Value::Number(left), Value::Number(right)) => {
            let latest = name.to_ascii_lowercase().contains("timestamp") || name.starts_with("backlogQuota");
            *sum = match (left.as_i64(), right.as_i64()) {
                (Some(left), Some(right)) if latest || name.starts_with("oldest") => json!(left.max(right)),
                // The earliest there is: none says 0 or less.
                (Some(left), Some(right)) if name.starts_with("earliest") => {
                    json!([left, right].into_iter().filter(|time| 0 < *time).min().unwrap_or(left))
                }
                (Some(left), Some(right)) => json!(left.saturating_add(right)),
                _ => json!(left.as_f64().unwrap_or(0.0) + right.as_f64().unwrap_or(0.0)),
            };
        }
        _ => {}
    }
}

fn add_members(sum: &mut Map<String, Value>, other: &Map<String, Value>) {
    for (name, value) in other {
        add(sum.entry(name.clone()).or_insert(Value::Null), name, value);
    }
}
