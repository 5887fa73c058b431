//! The file `limbo`: this store has lost something, and whether ledgers' records say so yet. Drawn in `docs/formats/segments.md`.
use std::io;

use crate::disk::{AlignedBuffer, BLOCK, Disk};
use crate::error::OpenError;

pub(super) const NAME: &str = "limbo";
const NEW: &str = "limbo.new";
const MAGIC: [u8; 8] = *b"GEMLIMBO";
const VERSION: u32 = 1;
const MARKED: u32 = 2;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Note {
    /// Not every record says what may be missing.
    Unmarked = 1,
    /// All do, and everything that must be fenced is.
    Marked = 2,
}

/// What is noted. A note that cannot be read says the worst.
pub(crate) fn load(disk: &dyn Disk) -> Result<Option<Note>, OpenError> {
    let fault = |error| OpenError::disk(disk.place().join(NAME), "read", error);
    if !disk.list().map_err(fault)?.iter().any(|name| name == NAME) {
        return Ok(None);
    }
    let mut block = AlignedBuffer::zeroed(BLOCK);
    let count = disk.open(NAME).map_err(fault)?.read_at(0, block.bytes_mut()).map_err(fault)?;
    let number = |at: usize| u32::from_le_bytes(block.bytes()[at..at + 4].try_into().expect("four bytes were taken"));
    let whole = count == BLOCK
        && block.bytes()[..8] == MAGIC
        && (number(8), number(12)) == (VERSION, crc32c::crc32c(&block.bytes()[16..]));
    Ok(Some(if whole && number(16) == MARKED { Note::Marked } else { Note::Unmarked }))
}

/// Durable when it returns.
pub(crate) fn store(disk: &dyn Disk, note: Note) -> Result<(), OpenError> {
    let fault = |error| OpenError::disk(disk.place().join(NAME), "write", error);
    write(disk, note).map_err(fault)
}

fn write(disk: &dyn Disk, note: Note) -> io::Result<()> {
    if disk.list()?.iter().any(|name| name == NEW) {
        disk.remove(NEW)?;
    }
    let mut block = AlignedBuffer::zeroed(BLOCK);
    let bytes = block.bytes_mut();
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..20].copy_from_slice(&(note as u32).to_le_bytes());
    let crc = crc32c::crc32c(&bytes[16..]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    let file = disk.create(NEW)?;
    file.write_at(0, block.bytes())?;
    file.sync()?;
    disk.rename(NEW, NAME)?;
    disk.sync_directory()
}

/// There is nothing in limbo any more.
pub(super) fn remove(disk: &dyn Disk) -> io::Result<()> {
    match disk.remove(NAME) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => disk.sync_directory(),
    }
}
