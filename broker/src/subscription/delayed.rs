//! Entries whose time has not come, and when it comes (ADR 17). Pure.
//!
//! The bitmaps say which entries are delayed; everything else only says when one of them is due, and may say so of others.
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use proto::{EntryId, LedgerId, Position};
use roaring::RoaringTreemap;

use crate::cursor::{Items, Run, first_absent};

/// Entries that are not packed yet.
const YOUNG_MAX: usize = 16_384;
/// Of how long entries may have to wait, by powers of four milliseconds.
const CLASSES: usize = 32;

/// When an entry is to be delivered: milliseconds since 1970.
pub(super) type Due = u64;

/// The delayed entries of one subscription.
#[derive(Debug, Default)]
pub(super) struct Delayed {
    entries: BTreeMap<LedgerId, RoaringTreemap>,
    count: u64,
    young: BTreeSet<(Due, Position)>,
    /// By their heads, the first on top.
    runs: BinaryHeap<Reverse<Rest>>,
}

/// What is left of a run.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rest {
    head: (Due, Position),
    rest: Items,
    highest: Position,
}

impl Rest {
    fn of(mut items: Items, highest: Position) -> Option<Self> {
        items.next().map(|head| Self { head, rest: items, highest })
    }
}

/// Entries of one class end to wait at about the same time: none of them keeps a run much longer than it waits itself.
fn class(wait_ms: u64) -> usize {
    wait_ms.max(1).ilog2() as usize / 2
}

impl Delayed {
    /// How many.
    pub(super) fn len(&self) -> u64 {
        self.count
    }

    /// How many are in no run, at most.
    pub(super) fn young(&self) -> usize {
        self.young.len()
    }

    pub(super) fn contains(&self, position: Position) -> bool {
        self.entries.get(&position.ledger).is_some_and(|entries| entries.contains(position.entry.0))
    }

    /// How many of them lie below `end`.
    pub(super) fn len_below(&self, end: Position) -> u64 {
        let whole: u64 = self.entries.range(..end.ledger).map(|(_, entries)| entries.len()).sum();
        let part = self.entries.get(&end.ledger).zip(end.entry.0.checked_sub(1));
        whole + part.map_or(0, |(entries, last)| entries.rank(last))
    }

    /// One more, unless it is known. Gives a new run when there are enough for one.
    pub(super) fn insert(&mut self, position: Position, due: Due, now: Due) -> Option<Run> {
        if !self.mark(position) {
            return None;
        }
        self.young.insert((due, position));
        if self.young.len() < YOUNG_MAX { None } else { self.pack_most(now) }
    }

    /// Packs all that is young, in as many runs as there are classes.
    pub(super) fn pack_young(&mut self, now: Due) -> Vec<Run> {
        let mut runs = Vec::new();
        while !self.young.is_empty() {
            runs.extend(self.pack_most(now));
        }
        runs
    }

    /// Packs those of the young that wait about as long as most do.
    fn pack_most(&mut self, now: Due) -> Option<Run> {
        let class_of = |due: Due| class(due.saturating_sub(now));
        let mut counts = [0; CLASSES];
        self.young.iter().for_each(|(due, _)| counts[class_of(*due)] += 1);
        let most = (0..CLASSES).max_by_key(|class| counts[*class])?;
        let entries = &self.entries;
        let known = |at: &Position| entries.get(&at.ledger).is_some_and(|all| all.contains(at.entry.0));
        let packed = self.young.iter().filter(|(due, at)| class_of(*due) == most && known(at));
        let run = Run::pack(packed.copied());
        self.young.retain(|(due, _)| class_of(*due) != most);
        self.runs.extend(run.iter().filter_map(|run| Rest::of(run.items(), run.highest())).map(Reverse));
        run
    }

    /// Those of a run that `wanted` takes.
    pub(super) fn insert_run(&mut self, run: &Run, mut wanted: impl FnMut(Due, Position) -> bool) {
        let mut any = false;
        for (due, position) in run.items() {
            if wanted(due, position) {
                any |= self.mark(position);
            }
        }
        if any {
            self.runs.extend(Rest::of(run.items(), run.highest()).map(Reverse));
        }
    }

    /// Lets go of runs that lie below `mark`.
    pub(super) fn forget_runs_below(&mut self, mark: Position) {
        self.runs.retain(|Reverse(run)| mark <= run.highest);
    }

    fn mark(&mut self, position: Position) -> bool {
        let new = self.entries.entry(position.ledger).or_default().insert(position.entry.0);
        self.count += u64::from(new);
        new
    }

    /// It is delayed no more. `false` if it was not.
    pub(super) fn remove(&mut self, position: Position) -> bool {
        let Some(entries) = self.entries.get_mut(&position.ledger) else { return false };
        if !entries.remove(position.entry.0) {
            return false;
        }
        if entries.is_empty() {
            self.entries.remove(&position.ledger);
        }
        self.count -= 1;
        if self.count == 0 {
            self.clear(); // Nobody needs what runs still say.
        }
        true
    }

    /// What lies below `mark` is not wanted any more.
    pub(super) fn remove_below(&mut self, mark: Position) {
        while let Some(lowest) = self.entries.first_entry().filter(|lowest| *lowest.key() < mark.ledger) {
            self.count -= lowest.remove().len();
        }
        if let Some(entries) = self.entries.get_mut(&mark.ledger) {
            self.count -= entries.remove_range(..mark.entry.0);
            if entries.is_empty() {
                self.entries.remove(&mark.ledger);
            }
        }
        if self.count == 0 {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// When to look for the first. It may have been removed meanwhile, so this may be too soon, and is never too late.
    pub(super) fn first_due(&self) -> Option<Due> {
        let young = self.young.first().map(|(due, _)| *due);
        let packed = self.runs.peek().map(|Reverse(run)| run.head.0);
        young.into_iter().chain(packed).min()
    }

    /// Takes out the first that is due then.
    pub(super) fn pop_due(&mut self, then: Due) -> Option<(Due, Position)> {
        while self.first_due().is_some_and(|due| due <= then) {
            let (due, position) = self.pop_first()?;
            if self.remove(position) {
                return Some((due, position));
            }
        }
        None
    }

    fn pop_first(&mut self) -> Option<(Due, Position)> {
        let packed = self.runs.peek().map(|Reverse(run)| run.head);
        if let Some(young) = self.young.first().copied()
            && packed.is_none_or(|packed| young < packed)
        {
            return self.young.pop_first();
        }
        let Reverse(run) = self.runs.pop()?;
        self.runs.extend(Rest::of(run.rest, run.highest).map(Reverse));
        Some(run.head)
    }

    /// The first position not before `from` in its ledger that is neither delayed nor in `others`.
    pub(super) fn first_unknown(&self, from: Position, others: Option<&RoaringTreemap>) -> Position {
        let at = from.entry.0;
        let holds = |entries: Option<&RoaringTreemap>| entries.is_some_and(|entries| entries.contains(at));
        let delayed = self.entries.get(&from.ledger);
        let entry = match (delayed, others) {
            _ if !holds(delayed) && !holds(others) => at,
            (Some(delayed), Some(others)) => first_absent(&(delayed | others), at),
            (delayed, others) => delayed.or(others).map_or(at, |entries| first_absent(entries, at)),
        };
        Position { ledger: from.ledger, entry: EntryId(entry) }
    }
}

#[cfg(test)]
mod tests;
