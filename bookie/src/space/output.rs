//! A sorted segment while it is written.
use std::sync::Arc;

use super::fault::Fault;
use super::piece::Piece;
use crate::disk::{AlignedBuffer, DiskFile};
use crate::format::{BatchHead, Generation, Place, Row, SegmentId};
use crate::index::{Extent, OpenSegment};
use crate::segments::{HEADER_END, Segments, write_footer};

/// Index entries of one segment, which are kept in memory until it has its footer.
const ENTRIES_MAX: usize = 256 << 10;
/// A batch smaller than this, or than a quarter of a segment, is not begun in what is left of one.
const BATCH_MIN: u64 = 1 << 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) segment: SegmentId,
    pub(super) generation: Generation,
    file: Arc<dyn DiskFile>,
    offset: u64,
    entries: usize,
    open: OpenSegment,
}

/// A sorted segment that is durable.
#[derive(Debug)]
pub(super) struct Sorted {
    pub(super) segment: SegmentId,
    pub(super) extent: Extent,
    pub(super) rows: Vec<Row>,
}

impl Output {
    pub(super) fn begin(segments: &Segments, segment: SegmentId, generation: Generation) -> Result<Self, Fault> {
        let file = segments.create(segment, generation).map_err(|error| Fault::Disk {
            path: error.path,
            doing: error.doing,
            source: std::io::Error::new(error.source.kind(), error.source.to_string()),
        })?;
        Ok(Self { segment, generation, file, offset: HEADER_END, entries: 0, open: OpenSegment::default() })
    }

    /// Bytes that the next batch may take, 0 when the segment is full.
    pub(super) fn room(&self, segment_bytes: u64) -> u64 {
        let room = segment_bytes.saturating_sub(self.offset);
        let full = room < BATCH_MIN.min(segment_bytes / 4) || ENTRIES_MAX <= self.entries;
        if full { 0 } else { room }
    }

    /// Completes the batch that `piece` has filled.
    pub(super) fn head(&mut self, piece: &Piece, batch: &mut AlignedBuffer) {
        for (record, at) in piece.records(self.generation, batch) {
            let offset = u32::try_from(self.offset + at as u64).expect("segments are below 4 GiB");
            self.open.note(&record, offset);
        }
        let head = BatchHead {
            segment: self.segment,
            generation: self.generation,
            sequence: self.open.sequence,
            offset: self.offset,
            synced: Place::default(), // The manifest says what was synced.
            length: u32::try_from(piece.length).expect("batches are small"),
            records: u32::try_from(piece.len()).expect("batches are small"),
        };
        head.write(batch.bytes_mut());
        self.entries += piece.len();
        self.open.sequence += 1;
    }

    /// Writes the next bytes of a batch.
    pub(super) fn write(&mut self, bytes: &[u8], segments: &Segments) -> Result<(), Fault> {
        self.file.write_at(self.offset, bytes).map_err(|source| self.fault(segments, "write", source))?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Appends the footer and makes all of it durable. Says how long the footer is.
    pub(super) fn seal(self, segments: &Segments) -> Result<(Sorted, u64), Fault> {
        let extent = Extent::new(self.generation, self.offset);
        let (rows, bytes) = write_footer(self.file.as_ref(), self.segment, &extent, &self.open)
            .map_err(|source| self.fault(segments, "seal", source))?;
        segments.traffic.upkeep.add(bytes);
        Ok((Sorted { segment: self.segment, extent, rows }, bytes))
    }

    fn fault(&self, segments: &Segments, doing: &'static str, source: std::io::Error) -> Fault {
        Fault::Disk { path: segments.path(self.segment), doing, source }
    }
}
