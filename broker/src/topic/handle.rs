//! What others may ask of a topic.
use std::collections::BTreeMap;

use proto::{Position, TopicName};

use super::{InternalStats, TopicError, TopicStats};

/// Where a new subscription starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubscribeAt {
    /// Before everything that is kept.
    Earliest,
    /// After everything that is there.
    Latest,
    /// At this position: what lies there is delivered.
    Position(Position),
    /// At the first entry published at that time or later, in milliseconds since 1970.
    Time(u64),
}

/// Where an existing subscription goes.
pub(crate) type ResetTo = SubscribeAt;

/// Talks to one topic's task. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct TopicHandle {}

impl TopicHandle {
    /// Which topic.
    pub(crate) fn name(&self) -> &TopicName {
        unreachable!("not built yet")
    }

    /// The last entry, or `None` while there is none.
    pub(crate) fn last_position(&self) -> Option<Position> {
        unreachable!("not built yet")
    }

    /// Counters of the topic, its producers and its subscriptions.
    pub(crate) async fn stats(&self) -> Result<TopicStats, TopicError> {
        unreachable!("not built yet")
    }

    /// Ledgers and cursors.
    pub(crate) async fn internal_stats(&self) -> Result<InternalStats, TopicError> {
        unreachable!("not built yet")
    }

    /// Names of the subscriptions, non-durable ones too.
    pub(crate) async fn subscriptions(&self) -> Result<Vec<String>, TopicError> {
        unreachable!("not built yet")
    }

    /// Makes a durable subscription without a consumer. [`TopicError::SubscriptionExists`] when it is there.
    pub(crate) async fn create_subscription(
        &self,
        _name: &str,
        _at: SubscribeAt,
        _properties: BTreeMap<String, String>,
    ) -> Result<(), TopicError> {
        unreachable!("not built yet")
    }

    /// Removes a subscription. Without `force`, connected consumers are in the way ([`TopicError::ActiveUsers`]).
    pub(crate) async fn delete_subscription(&self, _name: &str, _force: bool) -> Result<(), TopicError> {
        unreachable!("not built yet")
    }

    /// Acknowledges everything that is there.
    pub(crate) async fn skip_all(&self, _name: &str) -> Result<(), TopicError> {
        unreachable!("not built yet")
    }

    /// Moves a subscription. Its consumers are closed first and come back by themselves.
    pub(crate) async fn reset(&self, _name: &str, _to: ResetTo) -> Result<(), TopicError> {
        unreachable!("not built yet")
    }
}
