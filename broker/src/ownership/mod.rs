//! Which broker serves which topics.
//!
//! Owns: the leased keys of this broker and of the bundles it serves, and a view of everyone else's.
//! Promises: a topic it says is here was taken by compare-and-set; a lost lease alone never gives one up.
//! Never: relied upon for safety. Two owners at once are harmless, because loading a topic fences the other.
use std::sync::Arc;

use proto::TopicName;
use proto::records::BrokerRecord;

/// Where a topic is served.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Owner {
    /// By this broker.
    Here,
    /// By another, which has taken it already.
    At(BrokerRecord),
}

/// Why it is not known where a topic is served.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum OwnershipError {
    /// Create it first.
    #[error("Namespace not found")]
    NamespaceNotFound,
    /// Nobody took the bundle while the asker waited. Ask again.
    #[error("Namespace bundle {bundle} is being unloaded")]
    Moving {
        /// `tenant/namespace/range`.
        bundle: String,
    },
    /// Ask again.
    #[error("metadata: {0}")]
    Metadata(#[from] metadata::Error),
}

/// Asks for and changes ownership. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Ownership(#[allow(dead_code)] Arc<()>);

impl Ownership {
    /// Where `topic` is served. Takes its bundle when that is free and this broker is the one to take it; waits up to
    /// 15 s while it moves.
    pub(crate) async fn lookup(&self, _topic: &TopicName) -> Result<Owner, OwnershipError> {
        unreachable!("not built yet")
    }

    /// Whether this broker serves `topic` now. Cheap, asks nobody.
    pub(crate) fn owns(&self, _topic: &TopicName) -> bool {
        unreachable!("not built yet")
    }
}
