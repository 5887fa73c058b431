//! A bookie keeps entries of many ledgers on local disks.
//!
//! Owns: the segments, their index, and each ledger's fence.
//! Promises: an entry answered with OK survives a crash of this machine, and a fence holds from its answer on.
//! Never: talks to another bookie, or knows what a topic is.
mod cache;
mod clock;
mod config;
#[cfg(feature = "defects")]
mod defects;
mod disk;
mod error;
mod format;
mod fullness;
mod handle;
mod identity;
mod index;
mod journal;
mod limbo;
mod marks;
mod metrics;
mod place;
mod process;
mod queue;
mod reader;
mod registration;
mod request;
mod seed;
mod segments;
mod serve;
mod service;
mod session;
mod space;
mod store;
mod traffic;

pub use config::Config;
#[cfg(feature = "defects")]
pub use defects::Defect;
pub use disk::{AlignedBuffer, BLOCK, Directory, Disk, DiskFile, Room, SimDisk};
pub use error::{JournalError, OpenError};
pub use fullness::Capacity;
pub use handle::{Bookie, Handle};
pub use identity::Identity;
pub use journal::ENTRY_BYTES_MAX;
pub use limbo::{Damaged, Limbo, leave_limbo};
pub use process::main;
pub use registration::{identify, keep_available, refuse_older};
pub use segments::Options;
pub use serve::{Birth, open, serve};
pub use service::MESSAGE_BYTES_MAX;
pub use session::Session;
pub use store::Store;

#[cfg(test)]
mod tests;
