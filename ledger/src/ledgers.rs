//! The seam to ledgers: what a broker may do with them.
use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use metadata::Operation;
use proto::{EntryId, LedgerId};

/// How many bookies hold an entry, and how many must have synced it before it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuorumPolicy {
    /// Bookies that share the ledger.
    pub ensemble: u32,
    /// Bookies that each entry is sent to.
    pub write: u32,
    /// Bookies that must have synced an entry before it is confirmed.
    pub ack: u32,
}

/// From where a new ledger id is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Above {
    /// From a block that is taken now, so that it exceeds every id handed out before this call.
    AllHandedOut,
    /// Any unused id above this one.
    Ledger(LedgerId),
}

/// An entry as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub entry: EntryId,
    /// What was appended.
    pub payload: Bytes,
}

/// How a ledger ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// The entry after the last.
    pub end: EntryId,
    /// Sum of payload bytes.
    pub length: u64,
}

/// Creates, reads, seals and deletes ledgers: append-only runs of entries with one writer each.
///
/// Contract, which every implementation's tests check through the conformance suite:
/// * an entry that was confirmed is readable until its ledger is deleted;
/// * entries are confirmed in the order they were appended, without gaps;
/// * after `seal` returned, nothing is confirmed to that ledger's writer any more beyond the sealed end;
/// * sealing twice returns the same end, also from two processes at once;
/// * a ledger's end covers everything that was confirmed.
#[async_trait]
pub trait Ledgers: fmt::Debug + Send + Sync + 'static {
    /// An id that no ledger had before.
    async fn next_id(&self, above: Above) -> Result<LedgerId, LedgerError>;

    /// Commits the new ledger's record in one transaction with `also`: what lists it can never miss it.
    /// `owner` says who lists it, for people and audits. A conflict on one of `also` is [`LedgerError::Metadata`] and leaves nothing.
    async fn create(
        &self,
        ledger: LedgerId,
        policy: QuorumPolicy,
        owner: &str,
        also: Vec<Operation>,
    ) -> Result<Box<dyn LedgerWriter>, LedgerError>;

    /// [`create`](Self::create) for a ledger that is small and that freeing space depends on: bookies whose disks are full may be chosen,
    /// and take its entries.
    async fn create_urgent(
        &self,
        ledger: LedgerId,
        policy: QuorumPolicy,
        owner: &str,
        also: Vec<Operation>,
    ) -> Result<Box<dyn LedgerWriter>, LedgerError> {
        self.create(ledger, policy, owner, also).await
    }

    /// Entries from the start of `entries`, at most `bytes_max` of payload but at least one, without gaps. The caller asks only
    /// for entries that are confirmed: below its writer's confirmed end, or below the sealed end.
    async fn read(
        &self,
        ledger: LedgerId,
        entries: Range<EntryId>,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, LedgerError>;

    /// Fences any writer, settles the tail, and returns how the ledger ended.
    async fn seal(&self, ledger: LedgerId) -> Result<Sealed, LedgerError>;

    /// Marks the record DELETED, waits for a durable tombstone on every bookie it names, then removes the record together with
    /// the intent [`proto::keys::delete_ledger`]. Repeat it until it succeeds. A ledger without a record is done.
    async fn delete(&self, ledger: LedgerId) -> Result<(), LedgerError>;
}

/// The one writer of one ledger: a value that its owner drives. Dropping it stops writing; the ledger stays open for a recoverer.
#[async_trait]
pub trait LedgerWriter: fmt::Debug + Send {
    /// Which ledger.
    fn ledger(&self) -> LedgerId;

    /// Takes the next entry id and queues the entry. Nothing is sent before [`flush`](Self::flush).
    /// After an error was reported by [`confirmed`](Self::confirmed), appends are refused with it.
    fn append(&mut self, payload: Bytes) -> Result<EntryId, LedgerError>;

    /// Hands everything queued to the bookies, as one batch each. Returns at once.
    fn flush(&mut self);

    /// Payload bytes appended and not yet confirmed: the caller stops taking more when they are too many.
    fn unconfirmed_bytes(&self) -> usize;

    /// Waits until more is confirmed and returns the end of what is: entries below it are on an ack quorum of synced disks.
    /// An error is final: what is above the last returned end has an unknown outcome, and only [`Ledgers::seal`] tells. Cancel safe.
    async fn confirmed(&mut self) -> Result<EntryId, LedgerError>;

    /// Looks after the bookies while nothing is in flight: sends what those missed that come back, and replaces those that stay away.
    /// Returns only when the writer has failed, which [`confirmed`](Self::confirmed) reports too. Cancel safe.
    async fn tend(&mut self) -> LedgerError {
        std::future::pending().await
    }

    /// Waits for what is unconfirmed, then closes the ledger's record. On an error, seal instead.
    async fn close(&mut self) -> Result<Sealed, LedgerError>;
}

/// Why a ledger operation did not succeed, named by what the caller does next.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LedgerError {
    /// Another owner sealed the ledger. This writer stops for good.
    #[error("ledger {ledger} is fenced")]
    Fenced {
        /// Which.
        ledger: LedgerId,
    },
    /// There is no record of it: an alarm for whoever lists it.
    #[error("ledger {ledger} does not exist")]
    NotFound {
        /// Which.
        ledger: LedgerId,
    },
    /// Creating needs more bookies than are known.
    #[error("an ensemble of {needed} bookies is asked for and {known} are known: start {} more", needed - known)]
    TooFewBookies {
        /// Of the policy.
        needed: u32,
        /// Registered identities.
        known: u32,
    },
    /// Creating needs a live ack quorum in every write set.
    #[error("{live} of {known} bookies take writes and an ack quorum of {needed} is asked for: {reasons}")]
    NoLiveQuorum {
        /// Available now.
        live: u32,
        /// Registered identities.
        known: u32,
        /// Of the policy.
        needed: u32,
        /// What keeps each of the others from it, for people.
        reasons: String,
    },
    /// A copy is to be made good and no bookie can take it. Repair again when there is one.
    #[error("ledger {ledger} cannot be repaired now: {reason}")]
    NoReplacement {
        /// Which.
        ledger: LedgerId,
        /// What keeps bookies from it, for people.
        reason: String,
    },
    /// Too few bookies answered in time. The entry may exist: seal to find out.
    #[error("entry {entry} of ledger {ledger} was not confirmed by {needed} bookies in time")]
    OutcomeUnknown {
        /// Which ledger.
        ledger: LedgerId,
        /// The first that is not confirmed.
        entry: EntryId,
        /// Of the policy.
        needed: u32,
    },
    /// No bookie that should hold the entry could give it now; at least one did not say no. Try again later.
    #[error("entry {entry} of ledger {ledger} cannot be read now: {reason}")]
    Unreadable {
        /// Which ledger.
        ledger: LedgerId,
        /// The first.
        entry: EntryId,
        /// What each bookie said, for people.
        reason: String,
    },
    /// A confirmed entry is on none of its bookies, and each said so: data is lost.
    #[error("entry {entry} of ledger {ledger} is on none of its bookies")]
    Lost {
        /// Which ledger.
        ledger: LedgerId,
        /// The first.
        entry: EntryId,
    },
    /// A recovery could not prove where the ledger ends. Try again later: nothing was decided.
    #[error("the end of ledger {ledger} cannot be settled now: {reason}")]
    Unsettled {
        /// Which.
        ledger: LedgerId,
        /// For people.
        reason: String,
    },
    /// Not every bookie that may hold the ledger has confirmed a tombstone. Delete it again later.
    #[error("ledger {ledger} is not deleted everywhere yet: {reason}")]
    NotDeletedYet {
        /// Which.
        ledger: LedgerId,
        /// Who has not confirmed, for people.
        reason: String,
    },
    /// The record could not be read or changed.
    #[error("ledger metadata: {0}")]
    Metadata(#[from] metadata::Error),
}

/// What to do after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It will not help.
    Never,
    /// Seal the ledger to learn what it holds.
    AfterSeal,
    /// The same call later.
    Later,
    /// Read the metadata again, decide again.
    AfterReading,
}

impl LedgerError {
    /// No `_` arm: a new variant must decide.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Fenced { .. } | Self::NotFound { .. } | Self::Lost { .. } => Retry::Never,
            Self::OutcomeUnknown { .. } => Retry::AfterSeal,
            Self::TooFewBookies { .. }
            | Self::NoLiveQuorum { .. }
            | Self::NoReplacement { .. }
            | Self::Unreadable { .. }
            | Self::Unsettled { .. }
            | Self::NotDeletedYet { .. } => Retry::Later,
            Self::Metadata(error) => match error.retry() {
                metadata::Retry::AfterReading => Retry::AfterReading,
                metadata::Retry::Later => Retry::Later,
                metadata::Retry::Never => Retry::Never,
            },
        }
    }
}
