//! One ledger across several bookies: placement, writer, reader, recovery, deletion.
//!
//! Owns: a ledger's record and the protocol of its writers, readers and recoverers.
//! Promises: an entry that was confirmed is readable until its ledger is deleted, whoever dies meanwhile.
//! Never: knows what a topic is, or keeps an entry on a disk of its own.
mod bookies;
mod ledgers;

pub use bookies::{Bookies, ConnectError, RequestSink, Session};
pub use ledgers::{Above, Entry, LedgerError, LedgerWriter, Ledgers, QuorumPolicy, Retry, Sealed};
