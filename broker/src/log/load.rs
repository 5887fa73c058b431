//! Making, loading and deleting a topic.
use std::collections::HashMap;
use std::sync::Arc;

use proto::TopicName;

use super::{LogContext, LogError, TopicLog};
use crate::cursor::{AckSet, CursorLog};

/// A topic that this broker may serve.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// For the topic task.
    pub log: TopicLog,
    /// Its durable subscriptions.
    pub cursors: Vec<LoadedCursor>,
    /// For the subscription tasks.
    pub cursor_log: CursorLog,
    /// Of the topic.
    pub properties: HashMap<String, String>,
    /// Milliseconds since 1970.
    pub created_at: u64,
}

/// A durable subscription as it was when its topic was loaded.
#[derive(Debug, Clone)]
pub(crate) struct LoadedCursor {
    /// The subscription's name.
    pub name: Arc<str>,
    /// What is acknowledged.
    pub acks: AckSet,
    /// Of the subscription.
    pub properties: HashMap<String, String>,
    /// Milliseconds since 1970.
    pub created_at: u64,
}

/// Makes the topic's record, and nothing else: ledgers are made at the first publish. `false`: there was one.
pub(crate) async fn create(
    context: &LogContext,
    topic: &TopicName,
    properties: HashMap<String, String>,
) -> Result<bool, LogError> {
    let _ = (context, topic, properties);
    unreachable!("not built yet")
}

/// Takes the topic over: nobody who loaded it earlier confirms anything once this has returned.
pub(crate) async fn load(context: &LogContext, topic: &TopicName) -> Result<Loaded, LogError> {
    let _ = (context, topic);
    unreachable!("not built yet")
}

/// Removes the topic's record and leaves an intent for each of its ledgers. Whoever has it loaded loses it.
pub(crate) async fn delete(context: &LogContext, topic: &TopicName) -> Result<(), LogError> {
    let _ = (context, topic);
    unreachable!("not built yet")
}
