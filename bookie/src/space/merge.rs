//! The entries of several sealed segments in the order of ledgers and entries, as their footers have them.
use std::path::PathBuf;
use std::sync::Arc;

use proto::LedgerId;

use super::fault::Fault;
use crate::disk::DiskFile;
use crate::format::{Generation, INDEX_ENTRY, IndexEntry, Row, SegmentId, decode_index, run_crc};
use crate::segments::{Segments, Window, read_footer};

/// Bytes of an index fetched at a time. Its runs lie in the order in which they are needed.
const INDEX_WINDOW: usize = 64 << 10;

/// A segment that is being read.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) segment: SegmentId,
    pub(super) generation: Generation,
    pub(super) file: Arc<dyn DiskFile>,
    path: PathBuf,
    rows: std::vec::IntoIter<Row>,
    index: Window,
    /// Of one ledger; the rest of the run that is at hand.
    ledger: LedgerId,
    run: std::vec::IntoIter<IndexEntry>,
    head: Option<(LedgerId, IndexEntry)>,
}

impl Source {
    /// Opens a sealed segment. Adds the ledgers that have entries in it to `ledgers`.
    fn open(segments: &Segments, segment: SegmentId, ledgers: &mut Vec<LedgerId>) -> Result<Self, Fault> {
        let path = segments.path(segment);
        let damaged = |what: String| Fault::Damaged { segment, path: segments.path(segment), offset: 0, what };
        let extent = segments.index.read().extent(segment).ok_or_else(|| damaged("no such segment is held".into()))?;
        let file = segments.file(segment).map_err(|error| damaged(error.to_string()))?;
        let found = read_footer(&file, segment, extent.generation).map_err(|error| damaged(error.to_string()))?;
        let (_, mut rows) = found.ok_or_else(|| damaged("no whole footer".into()))?;
        rows.retain(|row| row.count != 0);
        ledgers.extend(rows.iter().map(|row| row.ledger));
        let index = Window::of_size(file.clone(), INDEX_WINDOW);
        let (rows, run) = (rows.into_iter(), Vec::new().into_iter());
        Ok(Self {
            segment,
            generation: extent.generation,
            file,
            path,
            rows,
            index,
            ledger: LedgerId(0),
            run,
            head: None,
        })
    }

    /// Moves on to the next entry of a ledger that is not deleted.
    fn advance(&mut self, is_deleted: &impl Fn(LedgerId) -> bool) -> Result<(), Fault> {
        loop {
            if let Some(entry) = self.run.next() {
                self.head = Some((self.ledger, entry));
                return Ok(());
            }
            self.head = None;
            let Some(row) = self.rows.next() else { return Ok(()) };
            if !is_deleted(row.ledger) {
                self.ledger = row.ledger;
                self.run = self.entries(&row)?.into_iter();
            }
        }
    }

    fn entries(&mut self, row: &Row) -> Result<Vec<IndexEntry>, Fault> {
        let length = row.count as usize * INDEX_ENTRY;
        match self.index.get(row.offset, length) {
            Ok(bytes) if bytes.len() == length && run_crc(bytes, self.generation) == row.crc => Ok(decode_index(bytes)),
            Ok(_) => Err(self.damaged(row.offset, "the index is damaged")),
            Err(error) => Err(self.damaged(row.offset, error)),
        }
    }

    pub(super) fn damaged(&self, offset: u64, what: impl ToString) -> Fault {
        Fault::Damaged { segment: self.segment, path: self.path.clone(), offset, what: what.to_string() }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Merge {
    pub(super) sources: Vec<Source>,
    /// That have entries in any of them. Sorted, each once.
    pub(super) ledgers: Vec<LedgerId>,
    begun: bool,
}

/// The next entry, and in which source it lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Next {
    pub(super) source: usize,
    pub(super) ledger: LedgerId,
    pub(super) entry: IndexEntry,
}

impl Merge {
    pub(super) fn open(segments: &Segments, chosen: &[SegmentId]) -> Result<Self, Fault> {
        let mut ledgers = Vec::new();
        let sources: Result<Vec<_>, _> =
            chosen.iter().map(|segment| Source::open(segments, *segment, &mut ledgers)).collect();
        ledgers.sort_unstable();
        ledgers.dedup();
        ledgers.shrink_to_fit();
        Ok(Self { sources: sources?, ledgers, begun: false })
    }

    /// What comes next, until it is [taken](Self::take).
    pub(super) fn peek(&mut self, is_deleted: &impl Fn(LedgerId) -> bool) -> Result<Option<Next>, Fault> {
        if !self.begun {
            self.sources.iter_mut().try_for_each(|source| source.advance(is_deleted))?;
            self.begun = true;
        }
        let heads = self.sources.iter().enumerate();
        let heads = heads.filter_map(|(at, source)| source.head.map(|(ledger, entry)| (ledger, entry, at)));
        let least = heads.min_by_key(|(ledger, entry, _)| (*ledger, entry.entry));
        Ok(least.map(|(ledger, entry, source)| Next { source, ledger, entry }))
    }

    /// Goes on behind what was [peeked](Self::peek).
    pub(super) fn take(&mut self, next: &Next, is_deleted: &impl Fn(LedgerId) -> bool) -> Result<(), Fault> {
        self.sources[next.source].advance(is_deleted)
    }

    /// Bytes of indexes read so far.
    pub(super) fn bytes_read(&self) -> u64 {
        self.sources.iter().map(|source| source.index.bytes_read).sum()
    }
}
