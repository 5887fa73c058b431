//! The segment files: what the journal writes, what readers read, and what a background thread prepares and seals.
mod keeper;
mod scan;
mod seal;
mod start;
mod zero_ahead;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::cache::Caches;
use crate::disk::{BLOCK, Disk, DiskFile};
use crate::error::JournalError;
use crate::format::{Generation, SegmentHeader, SegmentId};
use crate::identity::Identity;
use crate::index::Index;

pub(crate) use keeper::{Active, Keeper};
pub(crate) use scan::read_run;
pub(crate) use start::{Recovered, open};

/// The first block of a segment is its header.
pub(crate) const HEADER_END: u64 = BLOCK as u64;
/// Handles kept open for reading.
const OPEN_FILES_MAX: usize = 256;

/// Sizes of a store. The defaults are what [`crate::Config`] gives.
#[derive(Debug, Clone)]
pub struct Options {
    /// A segment is sealed before it grows beyond this.
    pub segment_bytes: u64,
    /// Of windows read from segments.
    pub cache_bytes: usize,
    /// From where the generations of files are drawn. Different for each start.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, cache_bytes: 32 << 20, seed: 0 }
    }
}

/// What journal, readers and keeper share.
#[derive(Debug)]
pub(crate) struct Segments {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) identity: Identity,
    pub(crate) options: Options,
    // The journal alone adds, at memory speed and only after a sync; a task of its own would cost every read two wake-ups.
    pub(crate) index: RwLock<Index>,
    pub(crate) caches: Caches,
    // Opened on demand by whichever thread reads.
    files: Mutex<HashMap<SegmentId, Arc<dyn DiskFile>>>,
}

impl Segments {
    fn new(disk: Arc<dyn Disk>, identity: Identity, options: Options, index: Index) -> Self {
        let caches = Caches::new(options.cache_bytes);
        Self { disk, identity, options, index: RwLock::new(index), caches, files: Mutex::default() }
    }

    pub(crate) fn path(&self, segment: SegmentId) -> PathBuf {
        self.disk.place().join(segment.file_name())
    }

    /// A handle for reading.
    pub(crate) fn file(&self, segment: SegmentId) -> io::Result<Arc<dyn DiskFile>> {
        let mut files = self.files.lock();
        if let Some(file) = files.get(&segment) {
            return Ok(file.clone());
        }
        if OPEN_FILES_MAX <= files.len() {
            files.clear(); // Rare, and opening again is cheap beside the reads that follow.
        }
        let file = self.disk.open(&segment.file_name())?;
        files.insert(segment, file.clone());
        Ok(file)
    }

    /// A new segment file whose header and name are durable.
    pub(crate) fn create(&self, segment: SegmentId, generation: Generation) -> Result<Arc<dyn DiskFile>, JournalError> {
        let Identity { bookie, cluster, .. } = self.identity.clone();
        let header = SegmentHeader { segment, generation, bookie, cluster };
        let fault = |doing, source| JournalError { path: self.path(segment), doing, source: Arc::new(source) };
        let file = self.disk.create(&segment.file_name()).map_err(|error| fault("create", error))?;
        file.write_at(0, header.encode().bytes()).map_err(|error| fault("write", error))?;
        file.sync().map_err(|error| fault("sync", error))?;
        self.disk.sync_directory().map_err(|error| fault("sync the directory of", error))?;
        Ok(file)
    }
}
