//! Where the entries of one ledger lie in a segment that has no footer yet.
use proto::EntryId;

use crate::format::IndexEntry;

/// Index entries that one directory row covers: what a reader fetches at once.
const PIECE: usize = 2048;

/// Sorted by entry, in pieces that become runs of the footer. Small messages fill a segment with hundreds of thousands of entries: in
/// one piece they would be copied as it grows, and allocators keep blocks of that size when they are given back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entries {
    /// In order, none of them empty.
    full: Vec<Vec<IndexEntry>>,
    /// After all in those.
    tail: Vec<IndexEntry>,
}

impl Entries {
    /// Takes in an entry that is not held.
    pub(crate) fn insert(&mut self, entry: IndexEntry) {
        if self.last().is_none_or(|last| last < entry.entry) {
            self.tail.push(entry);
        } else {
            self.insert_before_the_last(entry);
        }
        if self.tail.len() == PIECE {
            self.full.push(std::mem::take(&mut self.tail));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.last().is_none()
    }

    /// In order, none empty, each short enough for a run.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &[IndexEntry]> {
        let tail = Some(&self.tail).filter(|tail| !tail.is_empty());
        self.full.iter().chain(tail).map(Vec::as_slice)
    }

    /// `entry` and up to `limit` entries in all that follow it without a gap.
    pub(crate) fn without_gap(&self, entry: EntryId, limit: usize) -> Vec<IndexEntry> {
        let mut found = Vec::new();
        for piece in self.full[self.piece_of(entry)..].iter().chain([&self.tail]) {
            let next = EntryId(entry.0 + found.len() as u64);
            let more = without_gap(piece, next, limit - found.len());
            let ends = more.last().is_none_or(|last| Some(last) != piece.last());
            found.extend(more);
            if ends || found.len() == limit {
                break;
            }
        }
        found
    }

    /// Of memory.
    pub(crate) fn bytes(&self) -> usize {
        let entries: usize = self.full.iter().chain([&self.tail]).map(Vec::capacity).sum();
        entries * size_of::<IndexEntry>() + self.full.capacity() * size_of::<Vec<IndexEntry>>()
    }

    fn last(&self) -> Option<EntryId> {
        self.tail.last().or_else(|| self.full.last()?.last()).map(|last| last.entry)
    }

    /// The first full piece that does not end before `entry`; beyond them is the tail.
    fn piece_of(&self, entry: EntryId) -> usize {
        self.full.partition_point(|piece| piece.last().is_some_and(|last| last.entry < entry))
    }

    fn insert_before_the_last(&mut self, entry: IndexEntry) {
        let number = self.piece_of(entry.entry);
        let piece = self.full.get_mut(number).unwrap_or(&mut self.tail);
        let at = piece.partition_point(|held| held.entry < entry.entry);
        assert!(piece[at].entry != entry.entry, "an entry is indexed once");
        piece.insert(at, entry);
        if PIECE < piece.len() {
            let half = piece.split_off(PIECE / 2);
            self.full.insert(number + 1, half);
        }
    }
}

/// `entry` and up to `limit` entries in all that follow it without a gap, of sorted ones.
pub(crate) fn without_gap(entries: &[IndexEntry], entry: EntryId, limit: usize) -> Vec<IndexEntry> {
    let Ok(from) = entries.binary_search_by_key(&entry, |held| held.entry) else { return Vec::new() };
    let following = entries[from..].iter().zip(entry.0..).take(limit);
    following.take_while(|(held, expected)| held.entry.0 == *expected).map(|(held, _)| *held).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn at(entry: u64) -> IndexEntry {
        IndexEntry { entry: EntryId(entry), offset: 7, size: 8, digest: 9 }
    }

    fn held(entries: &Entries) -> Vec<u64> {
        entries.pieces().flatten().map(|held| held.entry.0).collect()
    }

    #[test]
    fn entries_in_order_make_whole_pieces_and_no_block_larger_than_one() {
        let mut entries = Entries::default();
        assert!(entries.is_empty());
        (0..3 * PIECE as u64 + 5).for_each(|entry| entries.insert(at(entry)));
        let lengths: Vec<_> = entries.pieces().map(<[_]>::len).collect();
        assert_eq!(lengths, [PIECE, PIECE, PIECE, 5]);
        assert!(
            entries.full.iter().all(|piece| piece.capacity() == PIECE),
            "a piece is grown to its length and no further"
        );
        assert_eq!(entries.without_gap(EntryId(10), 2 * PIECE).len(), 2 * PIECE, "across pieces");
        assert_eq!(
            entries.without_gap(EntryId(PIECE as u64 * 3), 100).len(),
            5,
            "from the first of a piece to the end"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Runs of entries in random order, with holes, against a plain set.
        #[test]
        fn entries_in_any_order_are_found_as_in_a_plain_set(
            runs in prop::collection::vec((0u64..12_000, 1u64..3_000), 1..12),
            asks in prop::collection::vec((0u64..16_000, 1usize..6_000), 1..20),
        ) {
            let (mut entries, mut plain) = (Entries::default(), BTreeSet::new());
            for (first, count) in runs {
                for entry in (first..first + count).rev().step_by(3).chain(first..first + count) {
                    if plain.insert(entry) {
                        entries.insert(at(entry));
                    }
                }
            }
            prop_assert_eq!(held(&entries), plain.iter().copied().collect::<Vec<_>>());
            prop_assert!(entries.pieces().all(|piece| (1..=PIECE).contains(&piece.len())));
            for (from, limit) in asks {
                let expected: Vec<_> = (from..).take(limit).take_while(|entry| plain.contains(entry)).collect();
                let found: Vec<_> = entries.without_gap(EntryId(from), limit).iter().map(|held| held.entry.0).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
