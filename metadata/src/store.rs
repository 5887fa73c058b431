//! The seam: the trait and the values that cross it.
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

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
        /// Of this store and process.
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
    /// Writes a record that belongs to no lease.
    pub fn put(key: impl Into<Key>, value: impl Into<Bytes>, expect: Expect) -> Self {
        Self::Put { key: key.into(), value: value.into(), expect, lease: None }
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

/// Up to 100 operations on different keys that happen together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Stamped on every record it writes.
    pub token: Token,
    /// In any order.
    pub operations: Vec<Operation>,
}

impl Transaction {
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseId(pub i64);

/// A lease that is kept alive in the background until it is dropped, which ends it soon, or revoked, which ends it at once.
#[derive(Debug)]
pub struct Lease {
    pub(crate) id: LeaseId,
    pub(crate) lost: tokio::sync::watch::Receiver<bool>,
    pub(crate) keeper: tokio_util::task::AbortOnDropHandle<()>,
    pub(crate) revoke: tokio::sync::mpsc::Sender<tokio::sync::oneshot::Sender<()>>,
}

impl Lease {
    /// To put in [`Operation::Put`].
    #[must_use]
    pub fn id(&self) -> LeaseId {
        self.id
    }

    /// Returns once the lease has ended and its records are gone or going. Take a new one then. Cancel safe.
    pub async fn lost(&mut self) {
        // A keeper that is gone keeps nothing alive.
        let _ = self.lost.wait_for(|lost| *lost).await;
    }

    /// Ends the lease now, so that others need not wait for it to run out. Best effort: returns within two seconds.
    pub async fn revoke(self) {
        let (done, ended) = tokio::sync::oneshot::channel();
        if self.revoke.send(done).await.is_ok() {
            let _ = tokio::time::timeout(Duration::from_secs(2), ended).await;
        }
        self.keeper.abort();
    }
}

/// A change of a record: what it became, or `None` when it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Which.
    pub key: Key,
    /// What it is now.
    pub record: Option<Record>,
}

/// Changes below a prefix, from the moment [`MetadataStore::watch`] returned. A hint only: an event may be lost when the
/// store is away, and then the watch ends with an error, upon which the caller lists again and takes a new one.
#[derive(Debug)]
pub struct Watch {
    pub(crate) events: tokio::sync::mpsc::Receiver<Result<Vec<Event>, Error>>,
}

impl Watch {
    /// The next changes, in order; `Err` once, at the end. Cancel safe.
    pub async fn next(&mut self) -> Result<Vec<Event>, Error> {
        match self.events.recv().await {
            Some(events) => events,
            None => Err(Error::Unavailable { reason: "the watch has ended".into() }),
        }
    }
}

/// Why the store did not do as asked, named by what the caller does next.
#[derive(Debug, Clone, thiserror::Error)]
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
