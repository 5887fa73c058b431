//! A bookie keeps entries of many ledgers on local disks.
mod disk; // From the bytes upwards.
mod format;
mod segments;
mod cache;
mod index;
mod journal;
mod reader;
mod request;
mod store;
mod identity;
mod error;
mod seed;

pub use disk::{AlignedBuffer, BLOCK, Directory, Disk, DiskFile, SimDisk};
pub use error::{JournalError, OpenError};
pub use identity::Identity;
pub use journal::ENTRY_BYTES_MAX;
pub use segments::Options;
pub use store::Store;
