//! Where every synced entry lies, and what is known of each ledger.
//!
//! Entries of segments without a footer are listed one by one; of a sealed segment only runs are kept in memory, and the
//! footer is asked when one of them is needed.
mod entries;
mod extent;
mod open;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use proto::bookie::Holding;
use proto::{EntryId, LedgerId};

pub(crate) use self::entries::without_gap;
pub(crate) use self::extent::{Extent, Run, Usage};
pub(crate) use self::open::{OpenLedger, OpenSegment};

use self::extent::Segment;
use crate::format::{IndexEntry, Kind, Listed, Manifest, Place, Record, Row, RowFlags, SegmentId};
use crate::identity::Identity;
use crate::marks::Marks;

/// What is held of a ledger that is not deleted.
#[derive(Debug, Default)]
struct Ledger {
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
    marks: Marks,
    /// Of these, entries may be missing that were held.
    pub(crate) limbo: BTreeSet<LedgerId>,
    open: BTreeMap<SegmentId, Arc<OpenSegment>>,
    segments: BTreeMap<SegmentId, Segment>,
    entries: u64,
    /// After all segments that the journal has begun.
    next: SegmentId,
    /// After all batches that it has written.
    sequence: u64,
}

impl Index {
    /// Of a store that holds nothing but marks, where the journal goes on with this segment and this batch.
    pub(crate) fn new(marks: Marks, next: SegmentId, sequence: u64) -> Self {
        Self { marks, next, sequence, ..Self::default() }
    }

    /// The segment after all that the journal has begun.
    pub(crate) fn next_segment(&self) -> SegmentId {
        self.next
    }

    /// Of the batch after all that the journal has written.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.sequence
    }

    pub(crate) fn marks(&self) -> &Marks {
        &self.marks
    }

    pub(crate) fn extent(&self, segment: SegmentId) -> Option<Extent> {
        self.segments.get(&segment).map(|state| state.extent.clone())
    }

    pub(crate) fn standing(&self, ledger: LedgerId) -> Standing {
        let end = self.ledgers.get(&ledger).map_or(EntryId::FIRST, |ledger| ledger.end);
        Standing { flags: self.marks.of(ledger), end }
    }

    pub(crate) fn holding(&self, ledger: LedgerId) -> Holding {
        let (fenced, limbo) = (self.marks.of(ledger).fenced, self.limbo.contains(&ledger));
        self.ledgers.get(&ledger).map_or(Holding { fenced, limbo, ..Holding::default() }, |ledger| Holding {
            confirmed: ledger.confirmed.0,
            entries: ledger.entries,
            end: ledger.end.0,
            fenced,
            limbo,
        })
    }

    /// Ledgers that hold entries.
    pub(crate) fn ledgers(&self) -> Vec<LedgerId> {
        self.ledgers.keys().copied().collect()
    }

    /// Ledgers that hold entries, and these.
    pub(crate) fn counts(&self) -> (usize, u64) {
        (self.ledgers.len(), self.entries)
    }

    /// Where `entry` is, with up to `limit` entries that follow it.
    pub(crate) fn find(&self, ledger: LedgerId, entry: EntryId, limit: usize) -> Found {
        let Some(state) = self.ledgers.get(&ledger).filter(|state| entry < state.end) else {
            return Found::Nowhere;
        };
        for (segment, open) in self.open.iter().rev() {
            let Some(entries) = open.ledgers.get(&ledger).map(|open| &open.entries) else { continue };
            let entries = entries.without_gap(entry, limit);
            if !entries.is_empty() {
                return Found::Open(*segment, self.segments[segment].extent.clone(), entries);
            }
        }
        let runs = state.runs.iter().filter(|run| run.first <= entry && entry < run.end);
        let runs: Vec<_> = runs.map(|run| (*run, self.segments[&run.segment].extent.clone())).collect();
        if runs.is_empty() { Found::Nowhere } else { Found::Sealed(runs) }
    }

    /// A segment that will be written to.
    pub(crate) fn begin(&mut self, segment: SegmentId, extent: Extent) {
        self.segments.insert(segment, Segment::new(extent));
        self.open.insert(segment, Arc::default());
        if !segment.is_sorted() {
            self.next = self.next.max(segment.next());
        }
    }

    /// Takes in a synced batch. The records are of entries that are not held yet.
    pub(crate) fn apply<'a>(
        &mut self,
        place: Place,
        before: Place,
        sequence: u64,
        records: impl Iterator<Item = (&'a Record, u32)>,
    ) {
        let open = self.open.get_mut(&place.segment).expect("batches go to segments that were begun");
        // Only a segment that is being sealed is shared, and nothing is added to one any more.
        let open = Arc::make_mut(open);
        open.before.get_or_insert(before);
        open.sequence = sequence;
        if !place.segment.is_sorted() {
            self.sequence = self.sequence.max(sequence + 1);
        }
        if let Some(segment) = self.segments.get_mut(&place.segment) {
            segment.extent.data_end = place.offset;
        }
        let mut deleted = Vec::new();
        for (record, offset) in records {
            match record.kind {
                Kind::Fence => self.marks.fence(record.ledger),
                Kind::Tombstone if self.marks.delete(record.ledger) => deleted.push(record.ledger),
                Kind::Tombstone => {}
                // An older segment that is scanned at start.
                Kind::Entry if self.marks.is_deleted(record.ledger) => {
                    open.note_dead(record);
                    continue;
                }
                Kind::Entry => {
                    let state = self.ledgers.entry(record.ledger).or_default();
                    state.confirmed = state.confirmed.max(record.confirmed);
                    state.end = state.end.max(record.entry.next());
                    state.entries += 1;
                    self.entries += 1;
                }
            }
            open.note(record, offset);
        }
        deleted.into_iter().for_each(|ledger| self.forget(ledger));
    }

    /// What must go into a segment's footer. `None` when it has one already or was never begun.
    pub(crate) fn open_segment(&self, segment: SegmentId) -> Option<(Arc<OpenSegment>, Extent)> {
        Some((self.open.get(&segment)?.clone(), self.segments.get(&segment)?.extent.clone()))
    }

    /// Segments without a footer.
    pub(crate) fn open_segments(&self) -> Vec<SegmentId> {
        self.open.keys().copied().collect()
    }

    /// The segment's footer is durable: its entries need no memory of their own any more.
    pub(crate) fn seal(&mut self, segment: SegmentId, rows: &[Row]) {
        self.open.remove(&segment);
        let state = self.segments.get_mut(&segment).expect("what is sealed was begun");
        for (row, run) in state.seal(segment, rows) {
            if let Some(ledger) = self.ledgers.get_mut(&row.ledger) {
                ledger.runs.push(run);
                state.gain(&run);
            }
        }
    }

    /// Takes in a sealed segment's directory at start.
    pub(crate) fn load(&mut self, segment: SegmentId, extent: Extent, sequence: u64, rows: &[Row]) {
        if !segment.is_sorted() {
            (self.next, self.sequence) = (self.next.max(segment.next()), self.sequence.max(sequence + 1));
        }
        for row in rows.iter().filter(|row| row.flags.fenced) {
            self.marks.fence(row.ledger);
        }
        for row in rows.iter().filter(|row| row.flags.deleted) {
            if self.marks.delete(row.ledger) {
                self.forget(row.ledger);
            }
        }
        let mut state = Segment::new(extent);
        for (row, run) in state.seal(segment, rows).filter(|(row, _)| !self.marks.is_deleted(row.ledger)) {
            let ledger = self.ledgers.entry(row.ledger).or_default();
            ledger.confirmed = ledger.confirmed.max(row.confirmed);
            ledger.end = ledger.end.max(row.end);
            ledger.entries += u64::from(row.count);
            self.entries += u64::from(row.count);
            ledger.runs.push(run);
            state.gain(&run);
        }
        self.segments.insert(segment, state);
    }

    /// How much of each sealed segment is wanted, in the order of their numbers.
    pub(crate) fn usages(&self) -> impl Iterator<Item = Usage> {
        let sealed = self.segments.iter().filter(|(segment, _)| !self.open.contains_key(segment));
        sealed.map(|(segment, state)| state.usage(*segment))
    }

    /// What must be true of a directory that holds all that is held here, when segments of the journal before `settled` count only if
    /// they are listed.
    pub(crate) fn manifest(&self, identity: &Identity, settled: SegmentId) -> Manifest {
        let next = self.settled(settled);
        let counts = |segment: &SegmentId| segment.is_sorted() || *segment < next;
        let listed = self.segments.iter().filter(|(segment, _)| counts(segment));
        let listed = listed.map(|(segment, Segment { extent, .. })| Listed {
            segment: *segment,
            generation: extent.generation,
            data_end: extent.data_end,
        });
        Manifest {
            bookie: identity.bookie.clone(),
            cluster: identity.cluster.clone(),
            next,
            sequence: self.sequence,
            segments: listed.collect(),
            marks: self.marks.clone(),
        }
    }

    /// The first of the journal's segments that may still change. `before` is what it was, for it only grows.
    pub(crate) fn settled(&self, before: SegmentId) -> SegmentId {
        let unsealed = self.open.keys().find(|segment| !segment.is_sorted());
        before.max(unsealed.copied().unwrap_or(self.next))
    }

    /// Takes in a sorted segment whose entries are still found elsewhere.
    pub(crate) fn hold(&mut self, Prepared { segment, state, .. }: Prepared) {
        self.segments.insert(segment, state);
    }

    /// How many entries of the ledger lie in these segments. `None` when it is deleted.
    pub(crate) fn entries_in(&self, ledger: LedgerId, segments: &[SegmentId]) -> Option<u64> {
        if self.marks.is_deleted(ledger) {
            return None;
        }
        let runs = self.ledgers.get(&ledger).map_or(&[][..], |state| &state.runs);
        Some(runs.iter().filter(|run| segments.contains(&run.segment)).map(|run| u64::from(run.count)).sum())
    }

    /// From now on the ledger's entries of the segments `old` are found in these runs, which hold the same.
    pub(crate) fn replace(&mut self, ledger: LedgerId, old: &[SegmentId], new: &[Run]) {
        let Some(state) = self.ledgers.get_mut(&ledger) else { return };
        for run in state.runs.extract_if(.., |run| old.contains(&run.segment)) {
            self.segments.get_mut(&run.segment).expect("runs lie in segments that are held").lose(&run);
        }
        for run in new {
            self.segments.get_mut(&run.segment).expect("it is held").gain(run);
            state.runs.push(*run);
        }
        state.runs.shrink_to_fit();
    }

    /// Forgets a segment in which nothing is wanted. Whoever still reads it holds its extent as well.
    pub(crate) fn retire(&mut self, segment: SegmentId) -> Extent {
        let state = self.segments.remove(&segment).expect("it is held");
        assert!(state.usage(segment).dead && !self.open.contains_key(&segment), "{segment} is still wanted");
        state.extent
    }

    /// Bytes that the index keeps per entry and run, for the promise that a backlog does not live in memory.
    pub(crate) fn retained_bytes(&self) -> usize {
        let runs: usize = self.ledgers.values().map(|ledger| ledger.runs.capacity() * size_of::<Run>()).sum();
        let open = self.open.values().flat_map(|segment| segment.ledgers.values());
        let entries: usize = open.map(|ledger| ledger.entries.bytes()).sum();
        let ledgers = self.ledgers.capacity() * (size_of::<Ledger>() + size_of::<LedgerId>());
        let segments = self.segments.len() * (size_of::<Segment>() + size_of::<SegmentId>());
        ledgers + segments + runs + entries + self.marks.bytes()
    }

    /// Of a ledger that is deleted only the mark is left. Its bytes in segments are dead from here on.
    fn forget(&mut self, ledger: LedgerId) {
        let Some(state) = self.ledgers.remove(&ledger) else { return };
        self.entries -= state.entries;
        for run in &state.runs {
            self.segments.get_mut(&run.segment).expect("runs lie in segments that are held").lose(run);
        }
    }
}

/// A sorted segment before the index holds it.
#[derive(Debug)]
pub(crate) struct Prepared {
    segment: SegmentId,
    state: Segment,
    /// By ledger, in order.
    pub(crate) runs: Vec<(LedgerId, Run)>,
}

impl Prepared {
    /// With nothing locked: a directory may be long.
    pub(crate) fn new(segment: SegmentId, extent: Extent, rows: &[Row]) -> Self {
        let mut state = Segment::new(extent);
        let runs = state.seal(segment, rows).map(|(row, run)| (row.ledger, run)).collect();
        Self { segment, state, runs }
    }
}
