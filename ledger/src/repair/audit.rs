//! Reading what members of a ledger hold, and saying who lacks what.
use std::ops::Range;

use proto::{BookieId, EntryId, LedgerId};

/// How much of a ledger is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Every entry of every member.
    All,
    /// Of each fragment its first and last entries and so many others, the same for all members.
    Sample(u32),
}

/// What one member holds of one fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Where the fragment begins.
    pub first: EntryId,
    /// Which member.
    pub bookie: BookieId,
    /// It has answered to the end: only then do the counts say anything.
    pub answered: bool,
    /// Entries that it holds whole, of those that were read.
    pub whole: u64,
    /// Entries that it should hold and does not.
    pub missing: u64,
    /// Entries of which it has a damaged copy, or cannot say what it has.
    pub damaged: u64,
    /// The first that is missing or damaged.
    pub first_bad: Option<EntryId>,
    /// The record says already that it may lack entries.
    pub marked: bool,
}

impl Held {
    /// Whether it is known to lack something.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        0 < self.missing || 0 < self.damaged
    }
}

/// What members of a ledger hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Which ledger.
    pub ledger: LedgerId,
    /// One for each member of each fragment that has ended.
    pub members: Vec<Held>,
}

/// What to read of the entries from `first` to before `end`. `pick` gives a number below the one it is given.
pub(super) fn entries(
    extent: Extent,
    first: EntryId,
    end: EntryId,
    mut pick: impl FnMut(u64) -> u64,
) -> Vec<Range<EntryId>> {
    let Extent::Sample(count) = extent else { return vec![first..end] };
    let length = end.0.saturating_sub(first.0);
    if length <= u64::from(count) + 2 {
        return vec![first..end];
    }
    let mut picked: Vec<u64> = (0..count).map(|_| first.0 + pick(length)).collect();
    picked.extend([first.0, end.0 - 1]);
    picked.sort_unstable();
    picked.dedup();
    picked.into_iter().map(|entry| EntryId(entry)..EntryId(entry + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_both_ends_and_no_entry_twice() {
        let ranges = entries(Extent::Sample(3), EntryId(10), EntryId(100), |below| below / 2);
        assert_eq!(ranges, [EntryId(10)..EntryId(11), EntryId(55)..EntryId(56), EntryId(99)..EntryId(100)]);
        assert_eq!(entries(Extent::Sample(3), EntryId(10), EntryId(15), |_| 0), vec![EntryId(10)..EntryId(15)]);
        assert_eq!(entries(Extent::All, EntryId(0), EntryId(7), |_| 0), vec![EntryId(0)..EntryId(7)]);
    }
}
