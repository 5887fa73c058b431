//! The topics that are loaded here.
use proto::TopicName;

use super::{TopicError, TopicHandle};

/// The registry of loaded topics: one per process, shared as `Arc`.
#[derive(Debug)]
pub(crate) struct Topics {}

impl Topics {
    /// The topic, loaded if it is not. A topic without a record is made first when `create` says so; whether it may be made
    /// (tenant, namespace, partition count) is for the caller to check before. [`TopicError::NotFound`] otherwise.
    pub(crate) async fn open(&self, _name: &TopicName, _create: bool) -> Result<TopicHandle, TopicError> {
        unreachable!("not built yet")
    }

    /// The topic, if it is loaded.
    pub(crate) fn get(&self, _name: &TopicName) -> Option<TopicHandle> {
        unreachable!("not built yet")
    }

    /// All that are loaded.
    pub(crate) fn loaded(&self) -> Vec<TopicHandle> {
        unreachable!("not built yet")
    }

    /// Answers what is in flight, sends producers and consumers away, closes the topic. Returns when it is closed.
    pub(crate) async fn unload(&self, _name: &TopicName) {
        unreachable!("not built yet")
    }

    /// [`unload`](Self::unload) for all that match, side by side.
    pub(crate) async fn unload_where(&self, _which: impl Fn(&TopicName) -> bool + Send) {
        unreachable!("not built yet")
    }

    /// Deletes a topic, loaded or not. Without `force`, producers and connected consumers are in the way.
    pub(crate) async fn delete(&self, _name: &TopicName, _force: bool) -> Result<(), TopicError> {
        unreachable!("not built yet")
    }
}
