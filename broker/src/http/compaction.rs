//! Compaction, as Apache Pulsar's tools ask for it.
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::about::About;
use super::body;
use super::owner::Ask;
use super::{Answer, Pages, Refusal};
use crate::topic::{CompactionProgress, TopicHandle};

/// Begins, of every partition, and answers at once.
pub(super) async fn begin(State(pages): State<Pages>, about: About) -> Answer {
    pages.ask_each_of(&about.topic, &Ask::Compact, about.forwarded).await
}

/// Of one topic: Apache Pulsar has no such page of a partitioned one.
pub(super) async fn progress(State(pages): State<Pages>, about: About) -> Answer {
    Ok(body::json(pages.ask(&about.topic, &Ask::CompactionProgress, about.forwarded).await?))
}

/// On the broker that has the topic.
pub(super) fn begin_here(pages: &Pages, topic: &TopicHandle) -> Result<Value, Refusal> {
    if pages.context.upkeep.compact(topic) {
        Ok(Value::Null)
    } else {
        Err(Refusal::new(StatusCode::CONFLICT, "Compaction already in progress"))
    }
}

/// As Apache Pulsar shows it.
pub(super) fn shown(progress: &CompactionProgress) -> Value {
    let (status, error) = match progress {
        CompactionProgress::NotRun => ("NOT_RUN", ""),
        CompactionProgress::Running => ("RUNNING", ""),
        CompactionProgress::Success => ("SUCCESS", ""),
        CompactionProgress::Error(reason) => ("ERROR", reason.as_str()),
    };
    json!({"status": status, "lastError": error})
}
