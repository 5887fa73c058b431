//! Tenants, namespaces, and which topics a namespace has.
//!
//! Owns: the records of tenants, namespaces and partitioned topics.
//! Promises: every change is a compare-and-set on what it depends on.
//! Never: loads a topic.
use std::sync::Arc;

use metadata::MetadataStore;
use proto::{NamespaceName, TopicName};

use crate::Clock;

/// Which topics of a namespace are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TopicMode {
    /// Stored ones.
    Persistent,
    /// Those that are only passed on.
    NonPersistent,
    /// Both.
    All,
}

/// Why something about tenants, namespaces or topics' names was refused. The texts are those of Apache Pulsar: tools compare them.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum NamespaceError {
    #[error("Tenant does not exist")]
    TenantNotFound,
    #[error("Namespace does not exist")]
    NamespaceNotFound,
    #[error("Topic {0} not found")]
    TopicNotFound(TopicName),
    /// A broker that may not create topics by itself, or a partition outside its parent's count.
    #[error("{0} must not be created by itself")]
    NotAllowed(TopicName),
    #[error("metadata: {0}")]
    Metadata(#[from] metadata::Error),
}

/// Reads and changes the records. Cheap to clone.
#[derive(Debug, Clone)]
#[allow(dead_code)]
pub(crate) struct Namespaces {
    metadata: Arc<dyn MetadataStore>,
    clock: Clock,
    auto_create: bool,
}

impl Namespaces {
    /// How many partitions `topic` has; 0 when it is not partitioned or does not exist.
    pub(crate) async fn partitions(&self, _topic: &TopicName) -> Result<u32, NamespaceError> {
        unreachable!("not built yet")
    }

    /// What a client is told that asks for partition metadata: the count, 0 for a topic that is not partitioned or may come
    /// into being so, or that there is none.
    pub(crate) async fn partition_metadata(
        &self,
        _topic: &TopicName,
        _auto_create: bool,
    ) -> Result<u32, NamespaceError> {
        unreachable!("not built yet")
    }

    /// Whether `topic` may come into being because a client uses it.
    pub(crate) async fn may_create(&self, _topic: &TopicName) -> Result<(), NamespaceError> {
        unreachable!("not built yet")
    }

    /// Full names of a namespace's topics, partitions one by one, sorted.
    pub(crate) async fn topics(
        &self,
        _namespace: &NamespaceName,
        _mode: TopicMode,
    ) -> Result<Vec<String>, NamespaceError> {
        unreachable!("not built yet")
    }
}
