//! What subscriptions have acknowledged, in memory and in ledgers.
//!
//! Owns: the set of acknowledged positions of a subscription, and the one cursor log of a topic.
//! Promises: what was answered survives any crash; nothing acknowledged is ever cut off to save room.
//! Never: decides what is sent to whom.
mod ackset; // What is known,
mod encode; // how it is written,
mod flush; // who writes it,
mod log; // who hands it over,
mod replay;
mod run; // and how it is read again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use proto::Position;

pub(crate) use ackset::{AckDelta, AckSet, first_absent};
pub(crate) use log::{AckReceipt, CursorEnd, CursorLog, Room};
pub(crate) use replay::replay;
pub(crate) use run::{Items, Run};

/// A cursor of no subscription: what the topic's producers had published up to its mark stands in its properties. The name is Apache
/// Pulsar's.
pub(crate) const OF_PRODUCERS: &str = "pulsar.dedup";
/// The subscription whose mark is how far a topic was compacted. The name is Apache Pulsar's.
pub(crate) const OF_COMPACTION: &str = "__compaction";

/// A durable subscription as the cursor log knows it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Cursor {
    /// What is acknowledged.
    pub acks: AckSet,
    /// Of the subscription.
    pub properties: HashMap<String, String>,
    /// Milliseconds since 1970.
    pub created_at: u64,
    /// Runs that tell when entries are to be delivered: hints, true whatever is acknowledged.
    pub delays: Vec<Run>,
}

/// What the durable subscriptions of a topic still need of it, as far as that is durable itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// There has been no durable subscription since then, in milliseconds since 1970.
    NobodySince(u64),
    /// Every one has acknowledged everything below, and one needs what lies there.
    From(Position),
}

/// All durable subscriptions of a topic, by name.
pub(crate) type Cursors = BTreeMap<Arc<str>, Cursor>;

/// A change of a subscription, in the order of the log.
#[derive(Debug, Clone)]
enum Change {
    Put(Arc<str>, Cursor),
    Removed(Arc<str>),
    Acknowledged(Arc<str>, AckDelta),
    /// One more run.
    Delays(Arc<str>, Run),
}

#[cfg(test)]
mod tests;
