//! What is known of a segment as a whole.
use std::sync::Arc;

use proto::EntryId;

use crate::format::{Generation, Row, SegmentId};
use crate::segments::HEADER_END;

/// What every reader needs to know of a segment. As long as one is held, the segment's file stays what it is.
#[derive(Debug, Clone)]
pub(crate) struct Extent {
    pub(crate) generation: Generation,
    /// Where synced batches end.
    pub(crate) data_end: u64,
    holders: Arc<()>,
}

impl Extent {
    pub(crate) fn new(generation: Generation, data_end: u64) -> Self {
        Self { generation, data_end, holders: Arc::default() }
    }

    /// Whether somebody besides the caller holds this segment.
    pub(crate) fn is_shared(&self) -> bool {
        1 < Arc::strong_count(&self.holders)
    }
}

/// A run of a ledger's entries in a sealed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) segment: SegmentId,
    pub(crate) first: EntryId,
    pub(crate) end: EntryId,
    /// Of its index entries, in the file.
    pub(crate) offset: u32,
    pub(crate) count: u32,
    pub(crate) crc: u32,
    /// Of its records.
    pub(crate) bytes: u32,
}

/// A segment, and once it is sealed how much of it is still wanted.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) extent: Extent,
    /// Of its directory.
    rows: usize,
    /// Of its index.
    entries: u64,
    /// Of its records.
    bytes: u64,
    /// Of those, what no tombstone covers.
    live_bytes: u64,
    live_runs: usize,
}

/// How much of a sealed segment is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) segment: SegmentId,
    /// Where its batches end.
    pub(crate) data_end: u64,
    /// Of its directory.
    pub(crate) rows: usize,
    /// Of its index.
    pub(crate) entries: u64,
    /// Of all records.
    pub(crate) bytes: u64,
    /// Of records whose ledger is not deleted.
    pub(crate) live_bytes: u64,
    /// Nothing in it is wanted. Exact, while bytes of segments of format version 1 are estimated.
    pub(crate) dead: bool,
}

impl Segment {
    pub(super) fn new(extent: Extent) -> Self {
        Self { extent, rows: 0, entries: 0, bytes: 0, live_bytes: 0, live_runs: 0 }
    }

    /// Takes in the directory's sums and gives the runs, by their rows.
    pub(super) fn seal<'a>(
        &mut self,
        segment: SegmentId,
        rows: &'a [Row],
    ) -> impl Iterator<Item = (&'a Row, Run)> + use<'a> {
        let count: u64 = rows.iter().map(|row| u64::from(row.count)).sum();
        let room = self.extent.data_end.saturating_sub(HEADER_END);
        let run = move |row: &Row| {
            let estimate = || room * u64::from(row.count) / count.max(1);
            let bytes = if row.bytes == 0 { u32::try_from(estimate()).unwrap_or(u32::MAX) } else { row.bytes };
            // A place that no file has is found out by the run's CRC.
            let offset = u32::try_from(row.offset).unwrap_or(u32::MAX);
            Run { segment, first: row.first, end: row.end, offset, count: row.count, crc: row.crc, bytes }
        };
        (self.rows, self.entries) = (rows.len(), count);
        self.bytes = rows.iter().map(|row| u64::from(run(row).bytes)).sum();
        rows.iter().filter(|row| row.count != 0).map(move |row| (row, run(row)))
    }

    pub(super) fn gain(&mut self, run: &Run) {
        self.live_runs += 1;
        self.live_bytes += u64::from(run.bytes);
    }

    pub(super) fn lose(&mut self, run: &Run) {
        self.live_runs -= 1;
        self.live_bytes -= u64::from(run.bytes);
    }

    pub(super) fn usage(&self, segment: SegmentId) -> Usage {
        Usage {
            segment,
            data_end: self.extent.data_end,
            rows: self.rows,
            entries: self.entries,
            bytes: self.bytes,
            live_bytes: self.live_bytes,
            dead: self.live_runs == 0,
        }
    }
}
