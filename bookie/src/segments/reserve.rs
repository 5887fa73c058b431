//! Blocks kept for what must go on when somebody else has filled the disk: a file that is cut off when room is needed.
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::{AlignedBuffer, Disk, DiskFile, Room, whole_blocks};

const NAME: &str = "reserve";
/// Given up at a time: more than a batch with the largest entry leaves of it.
const PIECE: u64 = 4 << 20;
/// Written at a time.
const GROWTH: u64 = 1 << 20;
/// Of a small disk no more than this part.
const SHARE_MAX: u64 = 8;

/// One for a store.
#[derive(Debug)]
pub(crate) struct Reserve {
    wanted: u64,
    // Held while the file is grown or cut, so that neither happens in the middle of the other: the one happens only with room, the other
    // only without.
    file: Mutex<Option<File>>,
}

#[derive(Debug)]
struct File {
    file: Arc<dyn DiskFile>,
    length: u64,
}

impl Reserve {
    /// What is there of it, among these files.
    pub(super) fn find(disk: &dyn Disk, names: &[String], wanted: u64) -> io::Result<Self> {
        let mut file = None;
        if names.iter().any(|name| name == NAME) {
            let found = disk.open(NAME)?;
            let length = found.length()?;
            file = Some(File { file: found, length });
        }
        Ok(Self { wanted, file: Mutex::new(file) })
    }

    /// Writes one piece more, if some is missing of what such a disk can spare. `false`: it is complete.
    pub(crate) fn grow(&self, disk: &dyn Disk, room: Room) -> io::Result<bool> {
        let wanted = self.wanted.min(room.total / SHARE_MAX);
        let mut held = self.file.lock();
        if wanted <= held.as_ref().map_or(0, |held| held.length) {
            return Ok(false);
        }
        let File { file, length } = match &mut *held {
            Some(file) => file,
            None => held.insert(File { file: disk.create(NAME)?, length: 0 }),
        };
        let from = whole_blocks(usize::try_from(*length).expect("a reserve is small")) as u64;
        let piece = GROWTH.min(wanted.saturating_sub(from)).next_multiple_of(crate::disk::BLOCK as u64);
        let zeros = AlignedBuffer::zeroed(usize::try_from(piece).expect("a piece is small"));
        file.write_at(from, zeros.bytes())?;
        *length = from + piece;
        if wanted <= *length {
            file.sync()?;
            disk.sync_directory()?;
        }
        Ok(true)
    }

    /// Gives a piece back to the disk. `false`: nothing is left.
    pub(crate) fn release(&self) -> bool {
        let mut held = self.file.lock();
        let Some(File { file, length }) = held.as_mut().filter(|held| 0 < held.length) else { return false };
        let left = length.saturating_sub(PIECE);
        match file.set_length(left) {
            Ok(()) => {
                tracing::warn!(left, "the disk is full: a part of the reserve is given up");
                *length = left;
                true
            }
            Err(error) => {
                tracing::error!(%error, "the reserve cannot be given up");
                false
            }
        }
    }

    /// Bytes kept.
    pub(crate) fn length(&self) -> u64 {
        self.file.lock().as_ref().map_or(0, |held| held.length)
    }
}
