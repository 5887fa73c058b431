//! What closes a sealed segment: index entries sorted by ledger and entry, a directory of runs, and a trailer in the last block.
use proto::{EntryId, LedgerId};

use super::{Generation, IndexEntry, Place, SegmentId, put, u32_at, u64_at};
use crate::disk::{AlignedBuffer, BLOCK};

const MAGIC: [u8; 8] = *b"GEMFOOTR";
/// Bytes of an index entry.
pub(crate) const INDEX_ENTRY: usize = 20;
const ROW: usize = 56;
const TRAILER: usize = 96;

/// What a segment says about a ledger besides its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RowFlags {
    pub(crate) fenced: bool,
    pub(crate) deleted: bool,
}

/// A run of one ledger's index entries, small enough to be read as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) ledger: LedgerId,
    pub(crate) first: EntryId,
    /// The entry after the last.
    pub(crate) end: EntryId,
    /// The highest a writer has given.
    pub(crate) confirmed: EntryId,
    /// Of the run's first index entry, in the file.
    pub(crate) offset: u64,
    /// May be 0: a ledger that was only fenced here.
    pub(crate) count: u32,
    pub(crate) flags: RowFlags,
    /// Over the run's index entries.
    pub(crate) crc: u32,
    /// Of the run's records with their headers, and of entries deleted before the segment was sealed. Version 1 has zero here.
    pub(crate) bytes: u32,
}

/// What the trailer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) segment: SegmentId,
    pub(crate) generation: Generation,
    /// Where batches end and the index begins.
    pub(crate) data_end: u64,
    /// What the segment's first batch said was synced before it.
    pub(crate) before: Option<Place>,
    /// Of the last batch, or the one before the segment.
    pub(crate) sequence: u64,
    pub(crate) rows: u64,
    pub(crate) rows_offset: u64,
    pub(crate) rows_crc: u32,
    /// Of the whole file.
    pub(crate) file_length: u64,
}

/// Over a run's index entries and the life of their file.
pub(crate) fn run_crc(bytes: &[u8], generation: Generation) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&generation.0.to_le_bytes()), bytes)
}

fn put_index(buffer: &mut Vec<u8>, entry: &IndexEntry) {
    buffer.extend_from_slice(&entry.entry.0.to_le_bytes());
    buffer.extend_from_slice(&entry.offset.to_le_bytes());
    buffer.extend_from_slice(&entry.size.to_le_bytes());
    buffer.extend_from_slice(&entry.digest.to_le_bytes());
}

/// Index entries as they lie in a footer. `bytes` must be whole entries.
pub(crate) fn decode_index(bytes: &[u8]) -> Vec<IndexEntry> {
    let entries = bytes.chunks_exact(INDEX_ENTRY);
    entries
        .map(|bytes| IndexEntry {
            entry: EntryId(u64_at(bytes, 0)),
            offset: u32_at(bytes, 8),
            size: u32_at(bytes, 12),
            digest: u32_at(bytes, 16),
        })
        .collect()
}

/// A footer as it is written: the trailer vouches for the body, so the body must be durable first.
#[derive(Debug)]
pub(crate) struct EncodedFooter {
    /// Index and directory, from `footer.data_end` on.
    pub(crate) body: AlignedBuffer,
    /// The file's last block.
    pub(crate) trailer: AlignedBuffer,
    pub(crate) footer: Footer,
}

/// A footer for a file that is to be at least `length_min` long, with the rows' offsets and CRCs, the counts and the lengths
/// filled in. `runs` are in the order of ledgers and entries.
pub(crate) fn encode_footer(mut footer: Footer, length_min: u64, runs: &mut [(Row, Vec<IndexEntry>)]) -> EncodedFooter {
    let count: usize = runs.iter().map(|(_, entries)| entries.len()).sum();
    let size = count * INDEX_ENTRY + runs.len() * ROW;
    let mut body = AlignedBuffer::with_capacity(size);
    let mut piece = Vec::new();
    for (row, entries) in runs.iter_mut() {
        piece.clear();
        entries.iter().for_each(|entry| put_index(&mut piece, entry));
        row.offset = footer.data_end + body.len() as u64;
        row.count = u32::try_from(entries.len()).expect("runs are short");
        row.crc = run_crc(&piece, footer.generation);
        body.extend(&piece);
    }
    footer.rows_offset = footer.data_end + body.len() as u64;
    footer.rows = runs.len() as u64;
    let from = body.len();
    runs.iter().for_each(|(row, _)| body.extend(&row.encode()));
    footer.rows_crc = crc32c::crc32c(&body.bytes()[from..]);
    body.resize(body.len().next_multiple_of(BLOCK));
    footer.file_length = (footer.data_end + body.len() as u64 + BLOCK as u64).max(length_min);
    let mut trailer = AlignedBuffer::zeroed(BLOCK);
    footer.write(trailer.bytes_mut());
    EncodedFooter { body, trailer, footer }
}

impl Row {
    fn encode(&self) -> [u8; ROW] {
        let mut bytes = [0; ROW];
        put(&mut bytes, 0, &self.ledger.0.to_le_bytes());
        put(&mut bytes, 8, &self.first.0.to_le_bytes());
        put(&mut bytes, 16, &self.end.0.to_le_bytes());
        put(&mut bytes, 24, &self.confirmed.0.to_le_bytes());
        put(&mut bytes, 32, &self.offset.to_le_bytes());
        put(&mut bytes, 40, &self.count.to_le_bytes());
        bytes[44] = u8::from(self.flags.fenced);
        bytes[45] = u8::from(self.flags.deleted);
        put(&mut bytes, 48, &self.crc.to_le_bytes());
        put(&mut bytes, 52, &self.bytes.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Self {
        Self {
            ledger: LedgerId(u64_at(bytes, 0)),
            first: EntryId(u64_at(bytes, 8)),
            end: EntryId(u64_at(bytes, 16)),
            confirmed: EntryId(u64_at(bytes, 24)),
            offset: u64_at(bytes, 32),
            count: u32_at(bytes, 40),
            flags: RowFlags { fenced: bytes[44] != 0, deleted: bytes[45] != 0 },
            crc: u32_at(bytes, 48),
            bytes: u32_at(bytes, 52),
        }
    }
}

impl Footer {
    /// The rows as they lie in the file from `rows_offset` on, if they are whole.
    pub(crate) fn rows(&self, bytes: &[u8]) -> Option<Vec<Row>> {
        let bytes = bytes.get(..self.rows_bytes())?;
        (crc32c::crc32c(bytes) == self.rows_crc).then(|| bytes.chunks_exact(ROW).map(Row::decode).collect())
    }

    /// Where the trailer lies in the file.
    pub(crate) fn trailer_offset(&self) -> u64 {
        self.file_length - BLOCK as u64
    }

    /// How many bytes the rows take.
    pub(crate) fn rows_bytes(&self) -> usize {
        usize::try_from(self.rows).unwrap_or(usize::MAX).saturating_mul(ROW)
    }

    fn write(&self, block: &mut [u8]) {
        put(block, 0, &MAGIC);
        put(block, 16, &self.segment.0.to_le_bytes());
        put(block, 24, &self.generation.0.to_le_bytes());
        put(block, 32, &self.data_end.to_le_bytes());
        let before = self.before.unwrap_or_default();
        put(block, 40, &before.segment.0.to_le_bytes());
        put(block, 48, &before.offset.to_le_bytes());
        put(block, 56, &self.sequence.to_le_bytes());
        put(block, 64, &self.rows.to_le_bytes());
        put(block, 72, &self.rows_offset.to_le_bytes());
        put(block, 80, &self.file_length.to_le_bytes());
        put(block, 88, &self.rows_crc.to_le_bytes());
        let crc = crc32c::crc32c(&block[16..TRAILER]);
        put(block, 8, &crc.to_le_bytes());
    }

    /// The trailer in a file's last block, if it is whole and about this life of this file.
    pub(crate) fn read(block: &[u8], segment: SegmentId, generation: Generation, file_length: u64) -> Option<Self> {
        let bytes = block.get(..TRAILER)?;
        if bytes[..8] != MAGIC || u32_at(bytes, 8) != crc32c::crc32c(&bytes[16..]) {
            return None;
        }
        let before = Place { segment: SegmentId(u64_at(bytes, 40)), offset: u64_at(bytes, 48) };
        let footer = Self {
            segment: SegmentId(u64_at(bytes, 16)),
            generation: Generation(u64_at(bytes, 24)),
            data_end: u64_at(bytes, 32),
            before: (before != Place::default()).then_some(before),
            sequence: u64_at(bytes, 56),
            rows: u64_at(bytes, 64),
            rows_offset: u64_at(bytes, 72),
            file_length: u64_at(bytes, 80),
            rows_crc: u32_at(bytes, 88),
        };
        let here = footer.segment == segment && footer.generation == generation && footer.file_length == file_length;
        let within = footer.data_end <= footer.rows_offset
            && footer.rows_offset.checked_add(footer.rows_bytes() as u64).is_some_and(|end| end <= file_length);
        (here && within).then_some(footer)
    }
}
