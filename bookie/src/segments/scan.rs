//! Reading a segment that has no footer: which batches are whole, where that ends, and what it proves.
use std::io;
use std::sync::Arc;

use crate::disk::{AlignedBuffer, BLOCK, DiskFile};
use crate::format::{
    BATCH_HEADER, BatchHead, Generation, IndexEntry, Place, RECORD_HEADER, Record, SegmentId, decode_index,
};

use super::HEADER_END;

const WINDOW: usize = 1 << 20;

/// Gives the bytes of a file at any place, reading ahead.
#[derive(Debug)]
pub(crate) struct Window {
    file: Arc<dyn DiskFile>,
    buffer: AlignedBuffer,
    offset: u64,
    /// Bytes fetched at a time.
    size: usize,
    /// Of all that was fetched.
    pub(crate) bytes_read: u64,
}

impl Window {
    pub(crate) fn new(file: Arc<dyn DiskFile>) -> Self {
        Self::of_size(file, WINDOW)
    }

    pub(crate) fn of_size(file: Arc<dyn DiskFile>, size: usize) -> Self {
        Self { file, buffer: AlignedBuffer::with_capacity(size), offset: 0, size, bytes_read: 0 }
    }

    /// `length` bytes from `offset` on, fewer where the file ends. The length must be bounded by the caller.
    pub(crate) fn get(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let inside = |from: u64, held: usize| from <= offset && offset + length as u64 <= from + held as u64;
        if !inside(self.offset, self.buffer.len()) {
            self.offset = offset / BLOCK as u64 * BLOCK as u64;
            let wanted = usize::try_from(offset - self.offset).expect("within a block") + length;
            self.buffer.clear();
            self.buffer.resize(wanted.max(self.size).next_multiple_of(BLOCK));
            let count = self.file.read_at(self.offset, self.buffer.bytes_mut())?;
            self.bytes_read += count as u64;
            self.buffer.resize(count);
        }
        let from = usize::try_from(offset - self.offset).expect("the window begins in the same block");
        let bytes = self.buffer.bytes();
        Ok(&bytes[from.min(bytes.len())..(from + length).min(bytes.len())])
    }
}

/// A batch as found.
#[derive(Debug)]
pub(crate) struct ScannedBatch {
    pub(crate) head: BatchHead,
    /// Those before the first damaged one.
    pub(crate) records: Vec<(Record, u32)>,
    /// Where the first damaged record is.
    pub(crate) damage: Option<u64>,
}

/// What a segment without a footer holds.
#[derive(Debug)]
pub(crate) struct Scan {
    /// In order; only the last may be damaged.
    pub(crate) batches: Vec<ScannedBatch>,
    /// Where the last whole batch ends.
    pub(crate) whole_end: u64,
    /// The furthest place in this segment that one of its own heads proves to be synced.
    pub(crate) proven: u64,
    /// Nothing but zeros behind the last whole batch.
    pub(crate) clean: bool,
}

/// Reads all batches and then looks for heads behind the place where they end: a head that is there was written after all before
/// it had been synced.
pub(crate) fn scan(
    file: &Arc<dyn DiskFile>,
    segment: SegmentId,
    generation: Generation,
    length: u64,
) -> io::Result<Scan> {
    let mut window = Window::new(file.clone());
    let mut found = Scan { batches: Vec::new(), whole_end: HEADER_END, proven: HEADER_END, clean: true };
    let mut at = HEADER_END;
    while at < length {
        let Some(head) = BatchHead::read(window.get(at, BATCH_HEADER)?, segment, generation, at) else { break };
        if found.batches.last().is_some_and(|last| last.head.sequence + 1 != head.sequence) || length < head.end() {
            break;
        }
        found.prove(&head);
        let batch = records(&mut window, head)?;
        let whole = batch.damage.is_none();
        found.batches.push(batch);
        at = head.end();
        if !whole {
            break;
        }
        found.whole_end = at;
    }
    let mut block = found.whole_end;
    while block < length {
        let bytes = window.get(block, BLOCK)?;
        found.clean &= bytes.iter().all(|byte| *byte == 0);
        if let Some(head) = BatchHead::read(bytes, segment, generation, block) {
            found.prove(&head);
        }
        block += BLOCK as u64;
    }
    Ok(found)
}

impl Scan {
    pub(super) fn prove(&mut self, head: &BatchHead) {
        if head.synced.segment == head.segment {
            self.proven = self.proven.max(head.synced.offset);
        }
    }

    /// What the first batch says was synced before it.
    pub(crate) fn before(&self) -> Option<Place> {
        self.batches.first().map(|batch| batch.head.synced)
    }
}

fn records(window: &mut Window, head: BatchHead) -> io::Result<ScannedBatch> {
    let end = head.offset + u64::from(head.length);
    let mut at = head.offset + BATCH_HEADER as u64;
    let mut batch = ScannedBatch { head, records: Vec::new(), damage: None };
    for _ in 0..head.records {
        let record = Record::read(window.get(at, RECORD_HEADER)?, head.generation)
            .filter(|record| at + record.bytes() as u64 <= end);
        let whole = match &record {
            Some(record) => record.holds(window.get(at + RECORD_HEADER as u64, record.size as usize)?),
            None => false,
        };
        let (Some(record), true) = (record, whole) else {
            batch.damage = Some(at);
            return Ok(batch);
        };
        batch.records.push((record, u32::try_from(at).expect("segments are below 4 GiB")));
        at += record.bytes() as u64;
    }
    if at != end {
        batch.damage = Some(at);
    }
    Ok(batch)
}

/// A run of index entries of a sealed segment, if they are whole.
pub(crate) fn read_run(
    file: &dyn DiskFile,
    generation: Generation,
    run: &crate::index::Run,
) -> io::Result<Option<Vec<IndexEntry>>> {
    let length = run.count as usize * crate::format::INDEX_ENTRY;
    let offset = u64::from(run.offset);
    let from = offset / BLOCK as u64 * BLOCK as u64;
    let skip = usize::try_from(offset - from).expect("within a block");
    let mut buffer = AlignedBuffer::zeroed((skip + length).next_multiple_of(BLOCK));
    let count = file.read_at(from, buffer.bytes_mut())?;
    let Some(bytes) = buffer.bytes()[..count].get(skip..skip + length) else { return Ok(None) };
    Ok((crate::format::run_crc(bytes, generation) == run.crc).then(|| decode_index(bytes)))
}
