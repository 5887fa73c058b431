//! Where every synced entry lies, and what is known of each ledger.
//!
//! Entries of segments without a footer are listed one by one; of a sealed segment only runs are kept in memory, and the
//! footer is asked when one of them is needed.
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use proto::bookie::Holding;
use proto::{EntryId, LedgerId};

use crate::format::{Generation, IndexEntry, Kind, Place, Record, Row, RowFlags, SegmentId};

/// A run of a ledger's entries in a sealed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) segment: SegmentId,
    pub(crate) first: EntryId,
    pub(crate) end: EntryId,
    /// Of its index entries, in the file.
    pub(crate) offset: u64,
    pub(crate) count: u32,
    pub(crate) crc: u32,
}

/// All that a segment without a footer holds of one ledger.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpenLedger {
    /// Sorted by entry.
    pub(crate) entries: Vec<IndexEntry>,
    pub(crate) confirmed: EntryId,
    pub(crate) flags: RowFlags,
    /// Of records whose ledger was deleted since.
    pub(crate) dead_bytes: u64,
}

/// What a segment without a footer holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpenSegment {
    pub(crate) ledgers: HashMap<LedgerId, OpenLedger>,
    /// What its first batch said was synced before it.
    pub(crate) before: Option<Place>,
    /// Of its last batch.
    pub(crate) sequence: u64,
}

/// What every reader needs to know of a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) generation: Generation,
    /// Where synced batches end.
    pub(crate) data_end: u64,
}

#[derive(Debug, Default)]
struct Ledger {
    flags: RowFlags,
    confirmed: EntryId,
    entries: u64,
    end: EntryId,
    runs: Vec<Run>,
}

/// What the journal asks before it accepts an add.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Standing {
    pub(crate) flags: RowFlags,
    /// The entry after the highest.
    pub(crate) end: EntryId,
}

/// Where to look for an entry.
#[derive(Debug)]
pub(crate) enum Found {
    /// Here, and these entries follow it without a gap.
    Open(SegmentId, Extent, Vec<IndexEntry>),
    /// In one of these runs, if anywhere.
    Sealed(Vec<(Run, Extent)>),
    Nowhere,
}

/// The index of the whole store. The journal adds to it, sealing shrinks it, all others read.
#[derive(Debug, Default)]
pub(crate) struct Index {
    ledgers: HashMap<LedgerId, Ledger>,
    open: BTreeMap<SegmentId, Arc<OpenSegment>>,
    extents: HashMap<SegmentId, Extent>,
    entries: u64,
}

impl Index {
    pub(crate) fn standing(&self, ledger: LedgerId) -> Standing {
        self.ledgers
            .get(&ledger)
            .map_or_else(Standing::default, |ledger| Standing { flags: ledger.flags, end: ledger.end })
    }

    pub(crate) fn holding(&self, ledger: LedgerId) -> Holding {
        self.ledgers.get(&ledger).map_or_else(Holding::default, |ledger| Holding {
            confirmed: ledger.confirmed.0,
            entries: ledger.entries,
            end: ledger.end.0,
            fenced: ledger.flags.fenced,
        })
    }

    pub(crate) fn extent(&self, segment: SegmentId) -> Option<Extent> {
        self.extents.get(&segment).copied()
    }

    /// Ledgers and entries that are not deleted.
    pub(crate) fn counts(&self) -> (usize, u64) {
        (self.ledgers.values().filter(|ledger| !ledger.flags.deleted).count(), self.entries)
    }

    /// Where `entry` is, with up to `limit` entries that follow it.
    pub(crate) fn find(&self, ledger: LedgerId, entry: EntryId, limit: usize) -> Found {
        let Some(state) = self.ledgers.get(&ledger).filter(|state| entry < state.end) else {
            return Found::Nowhere;
        };
        for (segment, open) in self.open.iter().rev() {
            let Some(entries) = open.ledgers.get(&ledger).map(|open| &open.entries) else { continue };
            let entries = without_gap(entries, entry, limit);
            if !entries.is_empty() {
                return Found::Open(*segment, self.extents[segment], entries);
            }
        }
        let runs = state.runs.iter().filter(|run| run.first <= entry && entry < run.end);
        let runs: Vec<_> = runs.map(|run| (*run, self.extents[&run.segment])).collect();
        if runs.is_empty() { Found::Nowhere } else { Found::Sealed(runs) }
    }

    /// A segment that will be written to.
    pub(crate) fn begin(&mut self, segment: SegmentId, extent: Extent) {
        self.extents.insert(segment, extent);
        self.open.insert(segment, Arc::default());
    }

    /// Takes in a synced batch. The records are of entries that are not held yet.
    pub(crate) fn apply<'a>(
        &mut self,
        place: Place,
        before: Place,
        sequence: u64,
        records: impl Iterator<Item = (&'a Record, u32)>,
    ) {
        let segment = self.open.get_mut(&place.segment).expect("batches go to segments that were begun");
        // Only a segment that is being sealed is shared, and nothing is added to one any more.
        let segment = Arc::make_mut(segment);
        segment.before.get_or_insert(before);
        segment.sequence = sequence;
        if let Some(extent) = self.extents.get_mut(&place.segment) {
            extent.data_end = place.offset;
        }
        for (record, offset) in records {
            let state = self.ledgers.entry(record.ledger).or_default();
            let open = segment.ledgers.entry(record.ledger).or_default();
            match record.kind {
                Kind::Fence => (state.flags.fenced, open.flags.fenced) = (true, true),
                Kind::Tombstone => open.flags.deleted = true,
                Kind::Entry => {
                    let entry = IndexEntry { entry: record.entry, offset, size: record.size, digest: record.digest };
                    insert(&mut open.entries, entry);
                    open.confirmed = open.confirmed.max(record.confirmed);
                    state.confirmed = state.confirmed.max(record.confirmed);
                    state.end = state.end.max(record.entry.next());
                    state.entries += 1;
                    self.entries += 1;
                }
            }
            if record.kind == Kind::Tombstone {
                forget(state, &mut self.entries);
                let dead = std::mem::take(&mut open.entries);
                open.dead_bytes += dead.iter().map(IndexEntry::bytes).sum::<u64>();
            }
        }
    }

    /// What must go into a segment's footer. `None` when it has one already or was never begun.
    pub(crate) fn open_segment(&self, segment: SegmentId) -> Option<(Arc<OpenSegment>, Extent)> {
        Some((self.open.get(&segment)?.clone(), self.extent(segment)?))
    }

    /// Segments without a footer.
    pub(crate) fn open_segments(&self) -> Vec<SegmentId> {
        self.open.keys().copied().collect()
    }

    /// The segment's footer is durable: its entries need no memory of their own any more.
    pub(crate) fn seal(&mut self, segment: SegmentId, rows: impl Iterator<Item = Row>) {
        self.open.remove(&segment);
        for row in rows.filter(|row| row.count != 0) {
            let state = self.ledgers.entry(row.ledger).or_default();
            if !state.flags.deleted {
                state.runs.push(run(segment, &row));
            }
        }
    }

    /// Takes in a sealed segment's directory at start.
    pub(crate) fn load(&mut self, segment: SegmentId, extent: Extent, rows: &[Row]) {
        self.extents.insert(segment, extent);
        for row in rows {
            let state = self.ledgers.entry(row.ledger).or_default();
            state.flags.fenced |= row.flags.fenced;
            if row.flags.deleted {
                forget(state, &mut self.entries);
            }
            if state.flags.deleted || row.count == 0 {
                continue;
            }
            state.confirmed = state.confirmed.max(row.confirmed);
            state.end = state.end.max(row.end);
            state.entries += u64::from(row.count);
            self.entries += u64::from(row.count);
            state.runs.push(run(segment, row));
        }
    }

    /// Bytes that the index keeps per entry and run, for the promise that a backlog does not live in memory.
    pub(crate) fn retained_bytes(&self) -> usize {
        let runs: usize = self.ledgers.values().map(|ledger| ledger.runs.capacity() * size_of::<Run>()).sum();
        let open = self.open.values().flat_map(|segment| segment.ledgers.values());
        let entries: usize = open.map(|ledger| ledger.entries.capacity() * size_of::<IndexEntry>()).sum();
        self.ledgers.capacity() * (size_of::<Ledger>() + size_of::<LedgerId>()) + runs + entries
    }
}

/// A tombstone is all that is left of a ledger. Its bytes in the segments become free with the issue on tiered storage,
/// which drops segments whose ledgers are all gone: this is the place where it learns of them.
fn forget(state: &mut Ledger, entries: &mut u64) {
    *entries -= state.entries;
    let flags = RowFlags { deleted: true, ..state.flags };
    *state = Ledger { flags, ..Ledger::default() };
}

fn run(segment: SegmentId, row: &Row) -> Run {
    Run { segment, first: row.first, end: row.end, offset: row.offset, count: row.count, crc: row.crc }
}

/// `entry` and up to `limit` entries in all that follow it without a gap, of sorted ones.
pub(crate) fn without_gap(entries: &[IndexEntry], entry: EntryId, limit: usize) -> Vec<IndexEntry> {
    let Ok(from) = entries.binary_search_by_key(&entry, |held| held.entry) else { return Vec::new() };
    let following = entries[from..].iter().zip(entry.0..).take(limit);
    following.take_while(|(held, expected)| held.entry.0 == *expected).map(|(held, _)| *held).collect()
}

fn insert(entries: &mut Vec<IndexEntry>, entry: IndexEntry) {
    match entries.last() {
        Some(last) if entry.entry <= last.entry => {
            let at = entries.partition_point(|held| held.entry < entry.entry);
            assert!(entries[at].entry != entry.entry, "an entry is indexed once");
            entries.insert(at, entry);
        }
        _ => entries.push(entry),
    }
}
