//! Tenants, namespaces, and which topics a namespace has.
//!
//! Owns: the records of tenants, namespaces and partitioned topics.
//! Promises: every change is a compare-and-set on what it depends on; whoever watches a namespace's topics misses none.
//! Never: loads a topic.
mod clusters;
mod listing;
mod names; // Who may have topics,
mod pattern;
mod topics; // which there are, // and how that changes.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use metadata::{Error, Key, MetadataStore, Record};
use prost::Message;
use proto::TopicName;

pub(crate) use listing::Listing;
pub(crate) use names::{TenantChange, partitions_max};
pub(crate) use pattern::{PATTERN_CHARS_MAX, TopicsPattern, topics_hash};
pub(crate) use topics::is_system_topic;

use crate::Clock;
use listing::Listings;

const TOO_MANY_TOPICS: &str = "Exceed maximum number of topics in namespace.";

/// Why a client's topic is refused. The texts are those of Apache Pulsar: tools compare them.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum NamespaceError {
    /// Create it first.
    #[error("Namespace not found")]
    NamespaceNotFound,
    /// Create it first.
    #[error("Topic {0} not found")]
    TopicNotFound(TopicName),
    /// A broker that may not create topics by itself, or a partition outside its parent's count.
    #[error("{0} must not be created by itself")]
    NotAllowed(TopicName),
    /// The namespace has as many as its policy allows: delete some, or raise it.
    #[error("{TOO_MANY_TOPICS}")]
    TooManyTopics,
    /// Ask again.
    #[error("metadata: {0}")]
    Metadata(#[from] Error),
}

/// Why a change of tenants, namespaces or partitioned topics is refused, named by what the asker does next.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ChangeError {
    /// It must exist first.
    #[error("{0}")]
    NotFound(String),
    /// It exists, or something depends on it.
    #[error("{0}")]
    Conflict(String),
    /// The values are wrong.
    #[error("{0}")]
    Invalid(String),
    /// The tenant may not use this cluster.
    #[error("{0}")]
    Forbidden(String),
    /// The namespace has as many topics as its policy allows.
    #[error("{TOO_MANY_TOPICS}")]
    TooManyTopics,
    /// A topic has at least one partition and not too many.
    #[error("{0}")]
    PartitionCount(String),
    /// A topic never loses partitions.
    #[error("Desired partitions {desired} can't be less than the current partitions {current}.")]
    FewerPartitions {
        /// Asked for.
        desired: u32,
        /// It has.
        current: u32,
    },
    /// Ask again.
    #[error("metadata: {0}")]
    Metadata(#[from] Error),
}

/// Reads and changes the records. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Namespaces {
    metadata: Arc<dyn MetadataStore>,
    clock: Clock,
    cluster: String,
    auto_create: bool,
    listings: Listings,
}

impl Namespaces {
    /// Of `cluster`; `auto_create` says whether a topic comes into being when a client uses it.
    pub(crate) fn new(metadata: Arc<dyn MetadataStore>, clock: Clock, cluster: &str, auto_create: bool) -> Self {
        let listings = Listings::new(Arc::clone(&metadata));
        Self { metadata, clock, cluster: cluster.into(), auto_create, listings }
    }

    async fn read<T: Message + Default>(&self, key: &str) -> Result<Option<(T, Record)>, Error> {
        let Some(record) = self.metadata.get(&Key::from(key)).await? else { return Ok(None) };
        Ok(Some((decode(&record)?, record)))
    }
}

fn decode<T: Message + Default>(record: &Record) -> Result<T, Error> {
    T::decode(record.value.clone()).map_err(|_| Error::Corrupt { key: record.key.clone() })
}
