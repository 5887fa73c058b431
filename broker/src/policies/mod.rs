//! What is wanted of topics: how long messages stay, where old ones go. Set for a namespace or for one topic.
//!
//! Owns: the policies records, and one table that says of each policy where it is set, how it looks as JSON and what is refused.
//! Promises: what counts is topic before namespace before the broker's default, as in Apache Pulsar; what is read is as fresh as
//! the metadata; what cannot be read is an error, which nobody may take for "nothing is set".
//! Never: acts on a policy.
mod lenient; // From the JSON of a request,
mod offload; // over single policies,
mod permissions;
mod plain;
mod quotas;
mod retention;

mod rows; // to all of them,
mod table;

mod broker; // what counts of them for a topic,
mod effective;
mod inactivity;
mod limits;
mod store;
mod terms; // and where they are kept.

pub(crate) use broker::OfBroker;
pub(crate) use effective::{Effective, OfNamespace};
pub(crate) use inactivity::Inactivity;
pub(crate) use limits::Limits;
pub(crate) use permissions::{Grant, grant, permissions};
pub(crate) use plain::{clusters, property, set_clusters, set_property};
pub(crate) use quotas::{Quota, QuotaAction, QuotaKind, Quotas, set_quota};
pub(crate) use retention::Retention;
pub(crate) use rows::{AutoTopics, topics_max};
pub(crate) use store::{Level, PoliciesError, forget_namespace, forget_topic, keep_for_namespace};
pub(crate) use table::{LevelPage, Policy, Unset, Verb, of_new_namespace, shown_of_namespace, table};
pub(crate) use terms::{DelayTerms, Terms};

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use metadata::MetadataStore;

/// Why a value is not taken. The texts are those of Apache Pulsar where it has one: tools compare them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PolicyError {
    /// It does not say what such a policy says.
    #[error("{0}")]
    Malformed(String),
    /// It says something that is not possible here.
    #[error("{0}")]
    Refused(String),
}

/// Reads and changes policies. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Policies {
    metadata: Arc<dyn MetadataStore>,
    of_broker: OfBroker,
    /// Changes that were seen: what was read before one and what was read after it can be told apart.
    seen: Arc<AtomicU64>,
}

#[cfg(test)]
mod tests;
