//! The seam: the trait and the values that cross it.
use std::borrow::Borrow;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::lease::Lease;
use crate::watch::Watch;

/// Names a record. UTF-8, at most [`Key::BYTES_MAX`], sorted as bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// Longer keys are refused by [`MetadataStore::commit`].
    pub const BYTES_MAX: usize = 4096;

    /// The text it was made from.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The revision of the transaction that last wrote a record. Grows over the whole store, never repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// Marks every record that one transaction wrote, so that a writer which lost the answer recognises its own work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub [u8; 16]);

/// A stored value with what compare-and-set needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its name.
    pub key: Key,
    /// What was put.
    pub value: Bytes,
    /// Of its last writing.
    pub version: Version,
    /// Of its last writing.
    pub token: Token,
}

/// What a record must be like for a transaction to go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Nothing is asked.
    Any,
    /// There is no record.
    Absent,
    /// The record is exactly as it was read.
    Version(Version),
}

impl Expect {
    /// Nothing may have changed since `record` was read.
    #[must_use]
    pub fn unchanged(record: Option<&Record>) -> Self {
        record.map_or(Self::Absent, |record| Self::Version(record.version))
    }

    /// Whether a record of version `found` (`None`: no record) is what was asked for.
    #[must_use]
    pub fn is_met_by(self, found: Option<Version>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => found.is_none(),
            Self::Version(version) => found == Some(version),
        }
    }
}

/// A step of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Writes a record; with `lease`, it goes when the lease ends.
    Put {
        /// Its name.
        key: Key,
        /// At most 1 MiB.
        value: Bytes,
        /// Else the whole transaction conflicts.
        expect: Expect,
        /// Of this store. One of another process may be named while that is known to be alive.
        lease: Option<LeaseId>,
    },
    /// Removes a record. Removing what is absent is no error under [`Expect::Any`].
    Delete {
        /// Its name.
        key: Key,
        /// Else the whole transaction conflicts.
        expect: Expect,
    },
    /// Changes nothing, asks only.
    Check {
        /// Its name.
        key: Key,
        /// Else the whole transaction conflicts.
        expect: Expect,
    },
}

impl Operation {
    /// Larger values are refused by [`MetadataStore::commit`].
    pub const VALUE_BYTES_MAX: usize = 1024 * 1024;

    /// Writes a record that belongs to no lease.
    pub fn put(key: impl Into<Key>, value: impl Into<Bytes>, expect: Expect) -> Self {
        Self::Put { key: key.into(), value: value.into(), expect, lease: None }
    }

    /// Writes a record that goes when `lease` ends.
    pub fn put_leased(key: impl Into<Key>, value: impl Into<Bytes>, expect: Expect, lease: LeaseId) -> Self {
        Self::Put { key: key.into(), value: value.into(), expect, lease: Some(lease) }
    }

    /// Asks for a record's state without changing it.
    pub fn check(key: impl Into<Key>, expect: Expect) -> Self {
        Self::Check { key: key.into(), expect }
    }

    /// Removes a record.
    pub fn delete(key: impl Into<Key>, expect: Expect) -> Self {
        Self::Delete { key: key.into(), expect }
    }

    /// Which record it is about.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } | Self::Check { key, .. } => key,
        }
    }

    /// What it asks of the record.
    #[must_use]
    pub fn expect(&self) -> Expect {
        match self {
            Self::Put { expect, .. } | Self::Delete { expect, .. } | Self::Check { expect, .. } => *expect,
        }
    }
}

/// Up to 100 operations on different keys that happen together or not at all. Its size, counted as the bytes of all values
/// and three times those of all keys, is at most [`Transaction::BYTES_MAX`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Stamped on every record it writes.
    pub token: Token,
    /// In any order.
    pub operations: Vec<Operation>,
}

impl Transaction {
    /// More operations are refused: etcd takes 128 at most.
    pub const OPERATIONS_MAX: usize = 100;

    /// Larger ones are refused: etcd takes requests of 1.5 MiB, in which a key stands up to three times.
    pub const BYTES_MAX: usize = 1408 * 1024;

    /// A transaction with a token of its own.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub fn new(operations: Vec<Operation>) -> Self {
        Self { token: Token(*uuid::Uuid::new_v4().as_bytes()), operations }
    }
}

/// Some records of a listing, in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// At most as many as were asked for.
    pub records: Vec<Record>,
    /// Whether asking after the last key would bring more.
    pub more: bool,
}

/// Ties records to this process being alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

/// A change of a record: what it became, or `None` when it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Which.
    pub key: Key,
    /// What it is now.
    pub record: Option<Record>,
}

/// Why the store did not do as asked, named by what the caller does next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A record was not as expected. Nothing was written.
    #[error("`{key}` has changed since it was read")]
    Conflict {
        /// The first that differed.
        key: Key,
    },
    /// The store did not answer in time: a read may be repeated. [`MetadataStore::commit`] returns this only when it knows
    /// that nothing was written.
    #[error("metadata store does not answer: {reason}")]
    Unavailable {
        /// For people.
        reason: String,
    },
    /// The deadline passed while it was not known whether the transaction happened. It may still happen.
    #[error("metadata store did not say in time whether the transaction happened")]
    OutcomeUnknown,
    /// The store will never take this: too large, malformed, a lease that is not there.
    #[error("metadata store refuses: {reason}")]
    Refused {
        /// For people.
        reason: String,
    },
    /// What is stored is not what this version writes.
    #[error("record `{key}` is damaged or of an unknown format")]
    Corrupt {
        /// Which.
        key: Key,
    },
}

/// What to do after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Read again, decide again.
    AfterReading,
    /// The same call later.
    Later,
    /// It will not help.
    Never,
}

impl Error {
    /// No `_` arm: a new variant must decide.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Conflict { .. } | Self::OutcomeUnknown => Retry::AfterReading,
            Self::Unavailable { .. } => Retry::Later,
            Self::Refused { .. } | Self::Corrupt { .. } => Retry::Never,
        }
    }
}

/// Keys changed by compare-and-set.
///
/// Contract, which every store's tests check through the conformance suite:
/// * operations of a transaction happen together or not at all, and two transactions never interleave;
/// * `Ok` of [`commit`](Self::commit) means durable (redb, etcd) and visible to every read that starts later, on any client;
/// * reads are linearizable;
/// * versions grow over the whole store, and a record's version changes with every writing;
/// * every call returns within its deadline of [`DEADLINE`], whatever the network does;
/// * dropping a call's future leaves a commit undecided, other calls without effect.
#[async_trait]
pub trait MetadataStore: fmt::Debug + Send + Sync + 'static {
    /// The record, or `None` when there is none.
    async fn get(&self, key: &Key) -> Result<Option<Record>, Error>;

    /// All of the operations or none. A lost answer is settled inside: the records are read again and the transaction is
    /// recognised by its token or repeated with the same token until it is known what happened or the deadline passes
    /// ([`Error::OutcomeUnknown`]). A transaction without puts has no token to show: one that finds its deletes done counts as done.
    async fn commit(&self, transaction: Transaction) -> Result<Version, Error>;

    /// At most `limit` records (1 to 1000) below `prefix`, after the key `after`.
    async fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Page, Error>;

    /// Changes below `prefix` from now on.
    async fn watch(&self, prefix: &str) -> Result<Watch, Error>;

    /// A lease that ends `ttl` (1 s at least) after this process stops keeping it alive.
    async fn lease(&self, ttl: Duration) -> Result<Lease, Error>;
}

/// The longest any call of a store takes.
pub const DEADLINE: Duration = Duration::from_secs(10);
