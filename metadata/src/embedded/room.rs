//! Blocks for what redb will write.
//!
//! redb writes beside what it has, into holes of its file and beyond its end, and after one write that fails it does nothing more. So the
//! file is given its blocks while there are some: on a disk that somebody else has filled, metadata can still be changed.
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};

/// Beyond the file's end: redb doubles a file that is full, so as much again, within these bounds.
const SPARE_MIN: u64 = 4 * 1024 * 1024;
const SPARE_MAX: u64 = 64 * 1024 * 1024;
/// What the system counts in.
const BLOCK: u64 = 512;

/// The blocks of one file.
#[derive(Debug)]
pub(super) struct Room(File);

impl Room {
    /// Of a file that is there.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self(File::options().write(true).open(path)?))
    }

    /// Takes what the file lacks: redb also shortens it, and all behind its end is gone then. Without space for it, or on a file
    /// system that cannot do so, everything stays as it is.
    pub(super) fn make(&self) {
        let Ok(found) = self.0.metadata() else { return };
        let wanted = found.len() + found.len().clamp(SPARE_MIN, SPARE_MAX);
        if found.blocks() * BLOCK < wanted {
            // Tried again behind the next change.
            let _ = fallocate(&self.0, FallocateFlags::KEEP_SIZE, 0, wanted);
        }
    }
}
