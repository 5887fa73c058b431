//! The segment files: what the journal writes, what readers read, what a background thread prepares and seals, and which of
//! them count.
mod keeper;
mod loss;
mod manifest;
mod rescue;
mod reserve;
mod scan;
mod seal;
mod spares;
mod start;
mod zero_ahead;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use crate::cache::Caches;
use crate::disk::{BLOCK, Disk, DiskFile};
use crate::error::JournalError;
use crate::format::{Generation, SegmentHeader, SegmentId};
use crate::fullness::Fullness;
use crate::identity::Identity;
use crate::index::Index;
use crate::traffic::Traffic;

pub(crate) use keeper::{Active, Keeper, Pressure, seal};
pub(crate) use loss::Losses;
pub(crate) use manifest::{NotStored, named_in, store};
pub(crate) use rescue::set_aside;
pub(crate) use reserve::Reserve;
pub(crate) use scan::{Window, read_run};
pub(crate) use seal::{read_footer, write_footer};
pub(crate) use spares::Spares;
pub(crate) use start::{Recovered, open};

/// The first block of a segment is its header.
pub(crate) const HEADER_END: u64 = BLOCK as u64;
/// Handles kept open for reading.
const OPEN_FILES_MAX: usize = 256;

/// Sizes of a store. The defaults are what [`crate::Config`] gives.
#[derive(Debug, Clone)]
pub struct Options {
    /// A segment is sealed before it grows beyond this, or beyond a 16th of a small disk.
    pub segment_bytes: u64,
    /// Of windows read from segments.
    pub cache_bytes: usize,
    /// How long a sealed segment is left as the journal wrote it.
    pub rewrite_after: Duration,
    /// Bytes read and written per second to rewrite segments.
    pub rewrite_rate: u64,
    /// Percent of the file system in use, from which on no entries are taken.
    pub read_only_percent: u8,
    /// Kept for deletions and starts on a full disk.
    pub reserve_bytes: u64,
    /// From where the generations of files are drawn. Different for each start.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            cache_bytes: 32 << 20,
            rewrite_after: Duration::from_secs(5 * 60),
            rewrite_rate: 64 << 20,
            read_only_percent: 98,
            reserve_bytes: 32 << 20,
            seed: 0,
        }
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
    pub(crate) spares: Spares,
    pub(crate) reserve: Reserve,
    pub(crate) fullness: Fullness,
    pub(crate) traffic: Traffic,
}

/// A file that begins its life as a segment.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) file: Arc<dyn DiskFile>,
    /// Its blocks were written before up to here.
    pub(crate) written: u64,
}

impl Segments {
    fn new(
        disk: Arc<dyn Disk>,
        identity: Identity,
        options: Options,
        index: Index,
        (spares, reserve): (Spares, Reserve),
    ) -> Self {
        let caches = Caches::new(options.cache_bytes);
        let fullness = Fullness::new(options.read_only_percent, options.segment_bytes);
        let (index, files, traffic) = (RwLock::new(index), Mutex::default(), Traffic::default());
        let segments = Self { disk, identity, options, index, caches, files, spares, reserve, fullness, traffic };
        segments.measure();
        segments
    }

    /// Asks the disk how full it is. Files that are only kept to be used again go before anything is refused.
    pub(crate) fn measure(&self) {
        let measured = self.disk.room().and_then(|room| {
            if self.fullness.is_too_little(room) && self.spares.remove_all(self.disk.as_ref())? {
                return self.disk.room();
            }
            Ok(room)
        });
        match measured {
            Ok(room) => self.fullness.note(room),
            Err(error) => tracing::warn!(%error, "cannot tell how much room there is"),
        }
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

    /// Lets go of the handle for reading, before the file becomes something else.
    pub(crate) fn close(&self, segment: SegmentId) {
        self.files.lock().remove(&segment);
    }

    /// Keeps the file of a segment that counts no more, or gives it back to a disk that needs it.
    pub(crate) fn free(&self, segment: SegmentId) -> io::Result<()> {
        self.spares.free(self.disk.as_ref(), &segment.file_name(), !self.fullness.is_read_only())
    }

    /// A segment for the journal whose header and name are durable: a spare file, if there is one.
    pub(crate) fn begin(&self, segment: SegmentId, generation: Generation) -> Result<Begun, JournalError> {
        match self.spares.take() {
            Some(spare) => self.reuse(&spare, segment, generation),
            None => Ok(Begun { file: self.create(segment, generation)?, written: HEADER_END }),
        }
    }

    /// A new file as a segment whose header and name are durable. An error leaves no file, if that can be had.
    pub(crate) fn create(&self, segment: SegmentId, generation: Generation) -> Result<Arc<dyn DiskFile>, JournalError> {
        let name = segment.file_name();
        let file = self.disk.create(&name).map_err(|error| self.fault(segment, "create", error))?;
        let written = self.write_header(file.as_ref(), segment, generation).and_then(|()| self.sync_names(segment));
        if let Err(error) = written {
            let _ = self.disk.remove(&name); // Else the next attempt says that the name is taken.
            return Err(error);
        }
        Ok(file)
    }

    /// The header is durable before the file has a segment's name, so under that name it never was anything else.
    fn reuse(&self, spare: &str, segment: SegmentId, generation: Generation) -> Result<Begun, JournalError> {
        let fault = |error| self.fault(segment, "use a spare file as", error);
        let file = self.disk.open(spare).map_err(fault)?;
        let written = file.length().map_err(fault)? / BLOCK as u64 * BLOCK as u64;
        self.write_header(file.as_ref(), segment, generation)?;
        self.disk.rename(spare, &segment.file_name()).map_err(fault)?;
        self.sync_names(segment)?;
        self.traffic.recycled.add(1);
        Ok(Begun { file, written })
    }

    fn write_header(
        &self,
        file: &dyn DiskFile,
        segment: SegmentId,
        generation: Generation,
    ) -> Result<(), JournalError> {
        let Identity { bookie, cluster, .. } = self.identity.clone();
        let header = SegmentHeader { segment, generation, bookie, cluster };
        let header = header.encode();
        file.write_at(0, header.bytes()).map_err(|error| self.fault(segment, "write", error))?;
        self.traffic.upkeep.add(header.len() as u64);
        file.sync().map_err(|error| self.fault(segment, "sync", error))
    }

    fn sync_names(&self, segment: SegmentId) -> Result<(), JournalError> {
        self.disk.sync_directory().map_err(|error| self.fault(segment, "sync the directory of", error))
    }

    fn fault(&self, segment: SegmentId, doing: &'static str, source: io::Error) -> JournalError {
        JournalError { path: self.path(segment), doing, source: Arc::new(source) }
    }
}
