//! A topic's log: a chain of ledgers that grows at its end.
//!
//! Owns: the topic's record, the order of its entries, rollover, and the broker's one entry cache.
//! Promises: entries are confirmed in the order they were appended, a position is never reused, and whoever loaded a topic
//! earlier can confirm nothing once a later load has returned.
//! Never: looks inside an entry, or knows who published or reads it.
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ledger::{LedgerError, Ledgers, QuorumPolicy};
use metadata::{Key, MetadataStore};
use proto::{LedgerId, TopicName};
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::offload::ObjectError;

mod append;
mod cache;
mod chain;
mod compacted; // What is left when only the last message of each key counts,
mod compactor; // and how it is written.
mod load; // How it comes to be served.
mod offload; // What moves to objects, and when.
mod reader;
mod record; // What a topic is.
mod tail; // In the order an entry travels.
mod tier;
mod trim; // What leaves, and when.

pub(crate) use append::{Settled, TopicLog};
pub(crate) use cache::EntryCache;
pub(crate) use chain::{Chain, ChainLedger, InObjects};
pub(crate) use compacted::Compacted;
pub(crate) use compactor::{Compactor, Rewrite};
pub(crate) use load::{Loaded, create, delete, load};
pub(crate) use offload::{Fate, Moving, OffloadError, Offloader, fate, free_due, next_due, offload_asked, offload_due};
pub(crate) use reader::{LogReader, StoredEntry};
pub(crate) use record::{List, RecordOwner, Replication};
pub(crate) use tier::{ObjectTier, chain_of};
pub(crate) use trim::{Keep, Trimmer, roll_due, trimmable};

/// What every log of a broker needs. Cheap to clone.
#[derive(Clone)]
pub(crate) struct LogContext {
    /// Where topic records are.
    pub metadata: Arc<dyn MetadataStore>,
    /// Where entries go.
    pub ledgers: Arc<dyn Ledgers>,
    /// Of new ledgers, unless [`Replication`] says something else.
    pub policy: QuorumPolicy,
    /// When a ledger is followed by the next.
    pub rollover: Rollover,
    /// One per broker.
    pub cache: EntryCache,
    /// Where ledgers move to.
    pub tier: ObjectTier,
    /// Names this start of this broker.
    pub start: Arc<str>,
    /// For times in records.
    pub clock: Clock,
    /// Told of every topic whose ledger was closed. What does not fit is dropped.
    pub sealed: mpsc::Sender<TopicName>,
}

impl fmt::Debug for LogContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogContext").field("start", &self.start).finish_non_exhaustive()
    }
}

/// When a ledger is followed by the next: at the first of the three bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rollover {
    /// Entries in a ledger.
    pub entries_max: u64,
    /// Payload bytes in a ledger. The last entry may exceed it.
    pub bytes_max: u64,
    /// Time since the ledger was made.
    pub age_max: Duration,
}

impl Default for Rollover {
    fn default() -> Self {
        Self { entries_max: 50_000, bytes_max: 1 << 30, age_max: Duration::from_secs(4 * 3600) }
    }
}

/// Why a log did not do as asked, named by what the caller does next.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum LogError {
    /// There is no such topic.
    #[error("topic {topic} does not exist")]
    NotFound {
        /// Its full name.
        topic: TopicName,
    },
    /// Someone else has loaded or deleted the topic, or it is not known whether. Stop answering for it, look up its owner again, load again.
    #[error("topic {topic} is fenced: {reason}")]
    Fenced {
        /// Its full name.
        topic: TopicName,
        /// For people.
        reason: String,
    },
    /// A ledger that the topic lists is gone. An alarm: the topic is not served until a person has decided.
    #[error("ledger {ledger} of topic {topic} is missing")]
    DataMissing {
        /// Its full name.
        topic: TopicName,
        /// Which.
        ledger: LedgerId,
    },
    /// What is stored is not what this version writes. An alarm.
    #[error("{what} of topic {topic} does not decode")]
    Corrupt {
        /// Its full name.
        topic: TopicName,
        /// Record or cursor log.
        what: &'static str,
    },
    /// What a change rested on was changed meanwhile. Nothing was done: decide again.
    #[error("`{key}` has changed since it was read")]
    Outdated {
        /// Which record.
        key: Key,
    },
    /// The log or cursor log was closed.
    #[error("the log is closed")]
    Closed,
    /// An object store did not give it. Try again later: that it lacks or spoiled an object is an alarm, and may be mended.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// Bookies did not do it in time. Try again later.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The metadata store did not do it in time. Try again later.
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
}

impl LogError {
    /// Whether the same may succeed later, with nothing else done.
    pub(crate) fn passes(&self) -> bool {
        match self {
            Self::Ledger(error) => error.retry() == ledger::Retry::Later,
            Self::Metadata(error) => error.retry() == metadata::Retry::Later,
            Self::Object(error) => error.retry() == crate::offload::Retry::Later,
            Self::NotFound { .. }
            | Self::Fenced { .. }
            | Self::DataMissing { .. }
            | Self::Corrupt { .. }
            | Self::Outdated { .. }
            | Self::Closed => false,
        }
    }
}

#[cfg(test)]
pub(crate) mod rig;
#[cfg(test)]
mod tests;
