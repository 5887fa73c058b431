//! What closes a sealed segment: index entries sorted by ledger and entry, a directory of runs, and a trailer in the last block.
use std::io;

use proto::{EntryId, LedgerId};

use super::{Generation, IndexEntry, Place, SegmentId, put, u32_at, u64_at};
use crate::disk::{AlignedBuffer, BLOCK};

const MAGIC: [u8; 8] = *b"GEMFOOTR";
/// Bytes of an index entry.
pub(crate) const INDEX_ENTRY: usize = 20;
const ROW: usize = 56;
const TRAILER: usize = 96;
/// One write of index and directory.
const BODY_WRITE: usize = 128 << 10;

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

/// What is left to do once index and directory are written: the trailer vouches for them, so they must be durable before it is written.
#[derive(Debug)]
pub(crate) struct EncodedFooter {
    /// The directory.
    pub(crate) rows: Vec<Row>,
    /// The file's last block.
    pub(crate) trailer: AlignedBuffer,
    pub(crate) footer: Footer,
}

/// Takes the next blocks of a file, and where they lie.
pub(crate) type Sink<'a> = dyn FnMut(u64, &[u8]) -> io::Result<()> + 'a;

/// Gives `write` index and directory, from `footer.data_end` on, and then the footer for a file that is to be at least `length_min`
/// long, with the rows' offsets and CRCs, the counts and the lengths filled in. `runs` are in the order of ledgers and entries.
pub(crate) fn encode_footer<'a>(
    mut footer: Footer,
    length_min: u64,
    runs: impl Iterator<Item = (Row, &'a [IndexEntry])>,
    write: &mut Sink<'_>,
) -> io::Result<EncodedFooter> {
    let mut body = Body { offset: footer.data_end, buffer: AlignedBuffer::with_capacity(BODY_WRITE), write };
    let (mut rows, mut index) = (Vec::new(), Vec::new());
    for (mut row, entries) in runs {
        index.clear();
        entries.iter().for_each(|entry| put_index(&mut index, entry));
        row.offset = body.end();
        row.count = u32::try_from(entries.len()).expect("runs are short");
        row.crc = run_crc(&index, footer.generation);
        body.put(&index)?;
        rows.push(row);
    }
    footer.rows_offset = body.end();
    footer.rows = rows.len() as u64;
    footer.rows_crc = 0;
    for bytes in rows.iter().map(Row::encode) {
        footer.rows_crc = crc32c::crc32c_append(footer.rows_crc, &bytes);
        body.put(&bytes)?;
    }
    footer.file_length = (body.finish()? + BLOCK as u64).max(length_min);
    let mut trailer = AlignedBuffer::zeroed(BLOCK);
    footer.write(trailer.bytes_mut());
    Ok(EncodedFooter { rows, trailer, footer })
}

/// What comes before the trailer, on its way to the file: it may be of any length, and is never in memory as a whole.
struct Body<'a, 'w> {
    /// Of what `buffer` holds, in the file.
    offset: u64,
    buffer: AlignedBuffer,
    write: &'a mut Sink<'w>,
}

impl Body<'_, '_> {
    fn end(&self) -> u64 {
        self.offset + self.buffer.len() as u64
    }

    fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BODY_WRITE - self.buffer.len()));
            self.buffer.extend(now);
            if self.buffer.len() == BODY_WRITE {
                self.flush()?;
            }
            bytes = later;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        (self.write)(self.offset, self.buffer.bytes())?;
        self.offset = self.end();
        self.buffer.clear();
        Ok(())
    }

    /// Completes the last block. Says where it ends.
    fn finish(mut self) -> io::Result<u64> {
        self.buffer.resize(self.buffer.len().next_multiple_of(BLOCK));
        if !self.buffer.is_empty() {
            self.flush()?;
        }
        Ok(self.offset)
    }
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
