//! What one sync carries: a batch header, then records.
use proto::digest::entry_digest;
use proto::{EntryId, LedgerId};

use super::{Generation, Place, SegmentId, put, u32_at, u64_at};
use crate::disk::{AlignedBuffer, BLOCK};

const MAGIC: [u8; 4] = *b"GEMB";
/// Bytes of a batch header.
pub(crate) const BATCH_HEADER: usize = 64;
/// Bytes of a record header.
pub(crate) const RECORD_HEADER: usize = 48;

/// The head of a batch. It begins at a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHead {
    pub(crate) segment: SegmentId,
    pub(crate) generation: Generation,
    /// Rises by one from batch to batch of a bookie's life.
    pub(crate) sequence: u64,
    /// Where in the file this batch was meant to lie.
    pub(crate) offset: u64,
    /// All before this place was synced when this batch was written: a proof, once the batch is seen.
    pub(crate) synced: Place,
    /// Header and records, without what fills the last block.
    pub(crate) length: u32,
    pub(crate) records: u32,
}

impl BatchHead {
    /// Writes the head over the first [`BATCH_HEADER`] bytes.
    pub(crate) fn write(&self, bytes: &mut [u8]) {
        put(bytes, 0, &MAGIC);
        put(bytes, 8, &self.segment.0.to_le_bytes());
        put(bytes, 16, &self.generation.0.to_le_bytes());
        put(bytes, 24, &self.sequence.to_le_bytes());
        put(bytes, 32, &self.offset.to_le_bytes());
        put(bytes, 40, &self.synced.segment.0.to_le_bytes());
        put(bytes, 48, &self.synced.offset.to_le_bytes());
        put(bytes, 56, &self.length.to_le_bytes());
        put(bytes, 60, &self.records.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[8..BATCH_HEADER]);
        put(bytes, 4, &crc.to_le_bytes());
    }

    /// The head at the start of `bytes`, if there is a whole one that was written for this place of this file.
    pub(crate) fn read(bytes: &[u8], segment: SegmentId, generation: Generation, offset: u64) -> Option<Self> {
        let head = Self::read_anywhere(bytes)?;
        (head.segment == segment && head.generation == generation && head.offset == offset).then_some(head)
    }

    /// A whole head, whatever file it was written for.
    pub(crate) fn read_anywhere(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..BATCH_HEADER)?;
        if bytes[..4] != MAGIC || u32_at(bytes, 4) != crc32c::crc32c(&bytes[8..]) {
            return None;
        }
        let head = Self {
            segment: SegmentId(u64_at(bytes, 8)),
            generation: Generation(u64_at(bytes, 16)),
            sequence: u64_at(bytes, 24),
            offset: u64_at(bytes, 32),
            synced: Place { segment: SegmentId(u64_at(bytes, 40)), offset: u64_at(bytes, 48) },
            length: u32_at(bytes, 56),
            records: u32_at(bytes, 60),
        };
        (BATCH_HEADER <= head.length as usize).then_some(head)
    }

    /// Where the next batch begins.
    pub(crate) fn end(&self) -> u64 {
        self.offset + (self.length as usize).next_multiple_of(BLOCK) as u64
    }
}

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Entry,
    Fence,
    Tombstone,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Entry => 1,
            Self::Fence => 2,
            Self::Tombstone => 3,
        }
    }
}

/// One entry, fence or tombstone. The payload follows the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) kind: Kind,
    pub(crate) ledger: LedgerId,
    pub(crate) entry: EntryId,
    /// As the writer gave it: entries of the ledger below it are confirmed.
    pub(crate) confirmed: EntryId,
    /// Sum of payload bytes up to and including this entry.
    pub(crate) length: u64,
    pub(crate) digest: u32,
    /// Of the payload.
    pub(crate) size: u32,
}

impl Record {
    /// A record that only says something about a ledger.
    pub(crate) fn mark(kind: Kind, ledger: LedgerId) -> Self {
        Self { kind, ledger, entry: EntryId::FIRST, confirmed: EntryId::FIRST, length: 0, digest: 0, size: 0 }
    }

    /// Header and payload.
    pub(crate) fn bytes(&self) -> usize {
        RECORD_HEADER + self.size as usize
    }

    /// Appends the header. The payload must follow.
    pub(crate) fn append(&self, generation: Generation, buffer: &mut AlignedBuffer) {
        buffer.extend(&self.header(generation));
    }

    /// The header, for a file of this generation.
    pub(crate) fn header(&self, generation: Generation) -> [u8; RECORD_HEADER] {
        let mut header = [0; RECORD_HEADER];
        header[0] = self.kind.code();
        put(&mut header, 8, &self.ledger.0.to_le_bytes());
        put(&mut header, 16, &self.entry.0.to_le_bytes());
        put(&mut header, 24, &self.confirmed.0.to_le_bytes());
        put(&mut header, 32, &self.length.to_le_bytes());
        put(&mut header, 40, &self.digest.to_le_bytes());
        put(&mut header, 44, &self.size.to_le_bytes());
        let crc = header_crc(&header, generation);
        put(&mut header, 4, &crc.to_le_bytes());
        header
    }

    /// The record whose header begins `bytes`, if the header is whole and of this file's present life.
    pub(crate) fn read(bytes: &[u8], generation: Generation) -> Option<Self> {
        let header = bytes.get(..RECORD_HEADER)?;
        if u32_at(header, 4) != header_crc(header, generation) {
            return None;
        }
        let kind = [Kind::Entry, Kind::Fence, Kind::Tombstone].into_iter().find(|kind| kind.code() == header[0])?;
        Some(Self {
            kind,
            ledger: LedgerId(u64_at(header, 8)),
            entry: EntryId(u64_at(header, 16)),
            confirmed: EntryId(u64_at(header, 24)),
            length: u64_at(header, 32),
            digest: u32_at(header, 40),
            size: u32_at(header, 44),
        })
    }

    /// Whether `payload` is what the writer gave.
    pub(crate) fn holds(&self, payload: &[u8]) -> bool {
        match self.kind {
            Kind::Entry => {
                payload.len() == self.size as usize
                    && entry_digest(self.ledger, self.entry, self.length, payload) == self.digest
            }
            Kind::Fence | Kind::Tombstone => payload.is_empty(),
        }
    }
}

fn header_crc(header: &[u8], generation: Generation) -> u32 {
    let seeded = crc32c::crc32c_append(crc32c::crc32c(&generation.0.to_le_bytes()), &header[..4]);
    crc32c::crc32c_append(seeded, &header[8..])
}
