//! The set of acknowledged positions of one subscription. Pure.
use std::collections::BTreeMap;

use proto::{EntryId, LedgerId, Position};
use roaring::RoaringTreemap;

use crate::log::Chain;

/// What a subscription has acknowledged: everything below a mark, single entries above it, and parts of batches.
///
/// It never forgets: its size is bounded by who dispatches, not here.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct AckSet {
    mark: Position,
    holes: BTreeMap<LedgerId, RoaringTreemap>,
    holes_count: u64,
    /// Words as in the protocol's `ack_set`: a bit that is set is a message still unacknowledged. Never all zero.
    partial: BTreeMap<Position, Box<[u64]>>,
}

/// A change of an [`AckSet`], as the cursor log keeps it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct AckDelta {
    pub(super) below: Option<Position>,
    /// Half open, of one ledger each.
    pub(super) ranges: Vec<(LedgerId, u64, u64)>,
    pub(super) batches: Vec<(Position, Box<[u64]>)>,
}

impl AckDelta {
    /// One entry.
    pub(crate) fn entry(position: Position) -> Self {
        Self { ranges: vec![(position.ledger, position.entry.0, position.entry.0 + 1)], ..Self::default() }
    }

    /// Everything below a position.
    pub(crate) fn below(position: Position) -> Self {
        Self { below: Some(position), ..Self::default() }
    }

    /// Part of a batch: `remaining` is what [`AckSet::partial`] says after the acknowledgement.
    pub(crate) fn batch(position: Position, remaining: &[u64]) -> Self {
        Self { batches: vec![(position, remaining.into())], ..Self::default() }
    }

    /// Adds a later change.
    pub(crate) fn merge(&mut self, later: Self) {
        self.below = self.below.max(later.below);
        for (ledger, first, end) in later.ranges {
            match self.ranges.last_mut() {
                Some(last) if last.0 == ledger && last.1 <= first && first <= last.2 => last.2 = last.2.max(end),
                _ => self.ranges.push((ledger, first, end)),
            }
        }
        self.batches.extend(later.batches);
    }

    /// Roughly what it takes in memory and when written.
    pub(super) fn weight(&self) -> usize {
        let batches: usize = self.batches.iter().map(|(_, words)| 40 + 8 * words.len()).sum();
        40 + 32 * self.ranges.len() + batches
    }
}

impl AckSet {
    /// Everything below `position` is acknowledged, nothing else.
    pub(crate) fn at(position: Position) -> Self {
        Self { mark: position, ..Self::default() }
    }

    /// Everything below the first existing entry not before `position` is acknowledged, and of the batch there, if it lies at
    /// `position` itself, what `left` leaves out: one bit per message still unacknowledged.
    pub(crate) fn inside(position: Position, left: &[u64], chain: &Chain) -> Self {
        let first = chain.at_or_after(position);
        if first != position || !chain.contains(first) || BATCH_MESSAGES_MAX as usize / 64 < left.len() {
            return Self::at(first); // What is left of another entry says nothing of this one.
        }
        if left.iter().all(|word| *word == 0) {
            return Self::at(chain.at_or_after(position.next()));
        }
        Self { mark: position, partial: BTreeMap::from([(position, left.into())]), ..Self::default() }
    }

    /// Everything below it is acknowledged.
    pub(crate) fn mark(&self) -> Position {
        self.mark
    }

    /// After the last that is acknowledged.
    pub(crate) fn end(&self) -> Position {
        let last = self.holes.last_key_value().and_then(|(ledger, entries)| Some((*ledger, entries.max()?)));
        last.map_or(self.mark, |(ledger, entry)| Position { ledger, entry: EntryId(entry + 1) })
    }

    /// The last existing entry below the mark: Pulsar's mark-delete position.
    pub(crate) fn mark_delete(&self, chain: &Chain) -> Option<Position> {
        chain.before(self.mark)
    }

    /// Entries acknowledged above the mark.
    pub(crate) fn holes(&self) -> u64 {
        self.holes_count
    }

    /// Those below `end`.
    pub(crate) fn holes_below(&self, end: Position) -> u64 {
        let whole: u64 = self.holes.range(..end.ledger).map(|(_, entries)| entries.len()).sum();
        let part = self.holes.get(&end.ledger).zip(end.entry.0.checked_sub(1));
        whole + part.map_or(0, |(entries, last)| entries.rank(last))
    }

    /// Existing entries that are not acknowledged. A batch counts until all of it is.
    pub(crate) fn unacknowledged(&self, chain: &Chain) -> u64 {
        chain.count(self.mark, chain.end()).saturating_sub(self.holes_count)
    }

    /// Acknowledges one entry. `false` if it was already, or does not exist.
    pub(crate) fn acknowledge(&mut self, position: Position, chain: &Chain) -> bool {
        if self.contains(position) || !chain.contains(position) {
            return false;
        }
        self.insert(position.ledger, position.entry.0, position.entry.0 + 1);
        self.partial.remove(&position);
        self.advance(chain);
        true
    }

    /// Acknowledges messages of a batch: of `ack_set`, a bit that is not set is a message acknowledged now or earlier.
    /// `true` once the whole entry is acknowledged by this call.
    pub(crate) fn acknowledge_batch(
        &mut self,
        position: Position,
        ack_set: &[i64],
        batch_size: u32,
        chain: &Chain,
    ) -> bool {
        if self.contains(position) || !chain.contains(position) {
            return false;
        }
        let words = self.partial.entry(position).or_insert_with(|| full_batch(batch_size));
        for (at, word) in words.iter_mut().enumerate() {
            *word &= ack_set.get(at).map_or(0, |bits| bits.cast_unsigned()); // Clients leave out trailing zeros.
        }
        words.iter().all(|word| *word == 0) && self.acknowledge(position, chain)
    }

    /// Acknowledges everything below a position; beyond the end, up to the end. `false` if it was already.
    pub(crate) fn cumulative(&mut self, below: Position, chain: &Chain) -> bool {
        let below = below.min(chain.end());
        if below <= self.mark {
            return false;
        }
        self.mark = below;
        self.drop_below(below);
        self.advance(chain);
        true
    }

    /// Does what a delta says, as a replay of the cursor log does.
    pub(crate) fn apply(&mut self, delta: &AckDelta, chain: &Chain) {
        if let Some(below) = delta.below {
            self.cumulative(below, chain);
        }
        for &(ledger, first, end) in &delta.ranges {
            let exists = chain.ledger(ledger).map_or(0, |listed| listed.entries);
            let first = if ledger == self.mark.ledger { first.max(self.mark.entry.0) } else { first };
            let end = end.min(exists);
            if self.mark.ledger <= ledger && first < end {
                self.insert(ledger, first, end);
                let range = Position { ledger, entry: EntryId(first) }..Position { ledger, entry: EntryId(end) };
                let done: Vec<Position> = self.partial.range(range).map(|(position, _)| *position).collect();
                done.iter().for_each(|position| drop(self.partial.remove(position)));
            }
        }
        for (position, remaining) in &delta.batches {
            if !self.contains(*position) && chain.contains(*position) {
                self.keep_partial(*position, remaining);
            }
        }
        self.advance(chain);
    }

    /// Whether the whole entry is acknowledged.
    pub(crate) fn contains(&self, position: Position) -> bool {
        position < self.mark
            || self.holes.get(&position.ledger).is_some_and(|entries| entries.contains(position.entry.0))
    }

    /// What is left of a batch that is acknowledged in part: one bit per message still unacknowledged.
    pub(crate) fn partial(&self, position: Position) -> Option<&[u64]> {
        self.partial.get(&position).map(AsRef::as_ref)
    }

    /// The first existing entry not before `from` that is not acknowledged.
    pub(crate) fn next_unacknowledged(&self, from: Position, chain: &Chain) -> Option<Position> {
        let mut at = chain.at_or_after(from.max(self.mark));
        while chain.contains(at) {
            match self.holes.get(&at.ledger) {
                Some(entries) if entries.contains(at.entry.0) => {
                    let entry = EntryId(first_absent(entries, at.entry.0));
                    at = chain.at_or_after(Position { ledger: at.ledger, entry });
                }
                _ => return Some(at),
            }
        }
        None
    }

    /// The first `entries_max` existing entries not before `from` that are not acknowledged.
    pub(crate) fn unacknowledged_from(&self, from: Position, entries_max: usize, chain: &Chain) -> Vec<Position> {
        let first = self.next_unacknowledged(from, chain);
        std::iter::successors(first, |last| self.next_unacknowledged(last.next(), chain)).take(entries_max).collect()
    }

    /// The entry that `before` unacknowledged ones lie in front of. As many steps as there are ledgers, whatever `before` is.
    pub(crate) fn unacknowledged_after(&self, mut before: u64, chain: &Chain) -> Option<Position> {
        let from = chain.at_or_after(self.mark);
        let ledgers = chain.ledgers();
        for listed in &ledgers[ledgers.partition_point(|listed| listed.ledger < from.ledger)..] {
            let first = if listed.ledger == from.ledger { from.entry.0 } else { 0 };
            let holes = self.holes.get(&listed.ledger);
            // What lies below the mark was taken out of the holes, so their rank counts from the mark on.
            let open_below = |end: u64| {
                let acknowledged = end.checked_sub(1).map_or(0, |last| holes.map_or(0, |holes| holes.rank(last)));
                end - first - acknowledged
            };
            let open = if first < listed.entries { open_below(listed.entries) } else { 0 };
            if open <= before {
                before -= open;
                continue;
            }
            let (mut low, mut high) = (first, listed.entries);
            while low < high {
                let middle = low + (high - low) / 2;
                if open_below(middle + 1) <= before {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            return Some(Position { ledger: listed.ledger, entry: EntryId(low) });
        }
        None
    }

    /// Entries of one ledger acknowledged above the mark.
    pub(crate) fn holes_in(&self, ledger: LedgerId) -> Option<&RoaringTreemap> {
        self.holes.get(&ledger)
    }

    /// Entries acknowledged above the mark, by ledger.
    pub(super) fn holes_by_ledger(&self) -> impl Iterator<Item = (LedgerId, &RoaringTreemap)> {
        self.holes.iter().map(|(ledger, entries)| (*ledger, entries))
    }

    /// Batches acknowledged in part.
    pub(super) fn partials(&self) -> impl Iterator<Item = (Position, &[u64])> {
        self.partial.iter().map(|(position, words)| (*position, words.as_ref()))
    }

    /// Adds what a snapshot says of one ledger.
    pub(super) fn add_holes(&mut self, ledger: LedgerId, entries: &RoaringTreemap) {
        let held = self.holes.entry(ledger).or_default();
        let before = held.len();
        *held |= entries;
        self.holes_count += held.len() - before;
    }

    /// Adds what a snapshot says of one batch.
    pub(super) fn keep_partial(&mut self, position: Position, remaining: &[u64]) {
        // A replay may meet an older state of the batch again: what was acknowledged once stays so.
        match self.partial.entry(position) {
            std::collections::btree_map::Entry::Vacant(vacant) => drop(vacant.insert(remaining.into())),
            std::collections::btree_map::Entry::Occupied(mut held) => {
                for (at, word) in held.get_mut().iter_mut().enumerate() {
                    *word &= remaining.get(at).copied().unwrap_or(0);
                }
            }
        }
    }

    /// Moves the mark over what is acknowledged, also from ledger to ledger, and forgets what lies below it.
    pub(super) fn advance(&mut self, chain: &Chain) {
        loop {
            if let Some(entries) = self.holes.get_mut(&self.mark.ledger)
                && entries.contains(self.mark.entry.0)
            {
                let next = first_absent(entries, self.mark.entry.0);
                self.mark.entry = EntryId(next);
                self.drop_below(self.mark);
            }
            let next = chain.at_or_after(self.mark);
            if next.ledger <= self.mark.ledger {
                return;
            }
            // Between the mark and `next` nothing exists (any more).
            self.drop_below(Position { ledger: next.ledger, entry: EntryId::FIRST });
            if !self.holes.get(&next.ledger).is_some_and(|entries| entries.contains(next.entry.0)) {
                return;
            }
            self.mark = next;
        }
    }

    fn insert(&mut self, ledger: LedgerId, first: u64, end: u64) {
        self.holes_count += self.holes.entry(ledger).or_default().insert_range(first..end);
    }

    fn drop_below(&mut self, below: Position) {
        while let Some(lowest) = self.holes.first_entry()
            && *lowest.key() < below.ledger
        {
            self.holes_count -= lowest.remove().len();
        }
        if let Some(entries) = self.holes.get_mut(&below.ledger) {
            self.holes_count -= entries.remove_range(..below.entry.0);
            if entries.is_empty() {
                self.holes.remove(&below.ledger);
            }
        }
        while let Some(lowest) = self.partial.first_entry()
            && *lowest.key() < below
        {
            lowest.remove();
        }
    }
}

/// No honest batch has more: a message takes at least 5 bytes of an entry of at most 5 MiB. A claim beyond it is a lie.
const BATCH_MESSAGES_MAX: u32 = 1 << 20;

/// All messages of a batch are unacknowledged.
fn full_batch(batch_size: u32) -> Box<[u64]> {
    let bits = batch_size.clamp(1, BATCH_MESSAGES_MAX) as usize;
    let mut words = vec![u64::MAX; bits.div_ceil(64)];
    if !bits.is_multiple_of(64) {
        let last = words.len() - 1;
        words[last] = (1 << (bits % 64)) - 1;
    }
    words.into()
}

/// The first entry not in `entries` above `from`, which is in it. Gallops: runs are long.
pub(crate) fn first_absent(entries: &RoaringTreemap, from: u64) -> u64 {
    let mut low = from + 1;
    let mut step = 1;
    while entries.contains_range(low..low + step) {
        low += step;
        step *= 2;
    }
    while 1 < step {
        step /= 2;
        if entries.contains_range(low..low + step) {
            low += step;
        }
    }
    low
}

#[cfg(test)]
mod tests;
