//! The seam to the disk: one flat directory of files that are written in whole blocks.
//!
//! Two implementations: [`Directory`] on `std::fs`, and [`SimDisk`], which forgets or tears what was not synced.
mod buffer;
mod directory;
mod model;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

pub use buffer::AlignedBuffer;
pub use directory::Directory;
pub use model::SimDisk;

/// Offsets, lengths and addresses of all reads and writes are multiples of this, so that files can be opened for direct access.
pub const BLOCK: usize = 4096;

/// One directory without subdirectories.
///
/// Contract:
/// * a file's bytes survive a power loss once [`DiskFile::sync`] has returned `Ok` after they were written;
/// * a name (created, renamed, removed) survives it once [`Disk::sync_directory`] has returned `Ok`;
/// * directory changes become durable in the order they were made, a rename as a whole;
/// * whatever was not synced may be there, be missing, or be there in part.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// For messages to people.
    fn place(&self) -> PathBuf;
    /// Keeps other processes out until the disk is dropped. [`io::ErrorKind::WouldBlock`] when another holds it.
    fn lock(&self) -> io::Result<()>;
    /// The names of all there is, sorted.
    fn list(&self) -> io::Result<Vec<String>>;
    /// A new file of no length. Fails when the name is taken.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// A file that exists.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Replaces `to` if it exists.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes names durable.
    fn sync_directory(&self) -> io::Result<()>;
    /// How full it is.
    fn room(&self) -> io::Result<Room>;
}

/// Bytes of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// That can still be written.
    pub free: u64,
    /// Of all there is.
    pub total: u64,
}

/// Whether a write found no room, by itself or because of a quota.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// An open file. Bytes must be aligned as an [`AlignedBuffer`] is.
pub trait DiskFile: fmt::Debug + Send + Sync + 'static {
    /// Writes all of `bytes`. What lies between the old end and `offset` reads as zeros. An error may leave a part of them written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Fills `bytes` as far as the file goes and says how far that was.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize>;
    /// Makes bytes and length durable. After an error nothing is known about what was written since the last sync.
    fn sync(&self) -> io::Result<()>;
    /// The length as written, durable or not.
    fn length(&self) -> io::Result<u64>;
    /// Cuts the file off, or extends it with zeros.
    fn set_length(&self, length: u64) -> io::Result<()>;
}

/// `length` rounded up to whole blocks.
pub(crate) fn whole_blocks(length: usize) -> usize {
    length.next_multiple_of(BLOCK)
}

#[cfg(test)]
mod tests;
