//! One ledger across several bookies: placement, writer, reader, recovery, repair, deletion.
//!
//! Owns: a ledger's record and the protocol of its writers, readers, recoverers and repairers.
//! Promises: an entry that was confirmed is readable until its ledger is deleted, whoever dies meanwhile.
//! Never: knows what a topic is, or keeps an entry on a disk of its own.
mod bookies; // The two seams,
pub mod conformance;
mod ledgers; // and what every implementation of the second must do.

mod ids; // What a ledger is called and what its record says.
mod quorum;
mod records;

mod directory; // Where it goes.
mod placement;
mod placer;

mod reader;
mod recovery;
mod writer; // How it is written, read, settled: values without I/O.

mod delete; // How it ends, and how it is kept whole.
pub mod repair;

mod defects; // How all of it is put to the test.
#[cfg(test)]
mod rig;
#[cfg(test)]
mod simulation;

mod links; // What carries them.
mod quorum_ledgers;
mod quorum_writer;
mod seal;

#[doc(hidden)]
pub mod fake_bookies;
mod grpc; // What lies behind the seams.
mod memory;

#[cfg(feature = "defects")]
pub use defects::Defect;

pub use bookies::{Bookies, ConnectError, RequestSink, Session};
pub use grpc::GrpcBookies;
pub use ledgers::{Above, Entry, LedgerError, LedgerWriter, Ledgers, QuorumPolicy, Retry, Sealed};
pub use memory::MemoryLedgers;
pub use quorum::ENSEMBLE_MAX;
pub use quorum_ledgers::{QuorumLedgers, WallClock};
pub use records::delete_intent;
