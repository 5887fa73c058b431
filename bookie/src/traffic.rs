//! What is read and written besides the journal's batches and what readers ask for, and what was given back.
use std::sync::atomic::{AtomicU64, Ordering};

/// Counted where it happens, by threads that must not wait for each other.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Bytes of zeros written ahead of the journal.
    pub(crate) zeros: Count,
    /// Bytes of headers, footers and manifests.
    pub(crate) upkeep: Count,
    /// Bytes that rewriting has read.
    pub(crate) rewrite_read: Count,
    /// Bytes that rewriting has written, without headers and footers.
    pub(crate) rewrite_written: Count,
    /// Passes over segments that were mostly dead.
    pub(crate) minor_passes: Count,
    /// Passes that took others as well.
    pub(crate) major_passes: Count,
    /// Segments that were dropped, and their bytes.
    pub(crate) dropped: Count,
    pub(crate) dropped_bytes: Count,
    /// Segments that were rewritten, and by how many bytes the new ones are smaller.
    pub(crate) rewritten: Count,
    pub(crate) rewritten_bytes: Count,
    /// Segments that began in a spare file.
    pub(crate) recycled: Count,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
