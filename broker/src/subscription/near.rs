//! Entries that are due soon: read before their time, so that they can go the moment it comes (ADR 17). Pure.
//!
//! They are read in the order of their positions, round and round: one read of a log serves many that lie near each other, in whatever
//! order their times come.
use std::collections::{BTreeMap, BTreeSet};

use proto::Position;

use super::delayed::Due;
use super::read_ahead::Fetched;

/// How long before its time an entry comes near.
pub(super) const SOON_MS: u64 = 2000;
/// How long before its time it is read at the latest, if reading keeps up. What comes near until then is read together.
const READ_MS: u64 = SOON_MS / 2;
/// Entries that may be due soon at once; where they are large, as many as these bytes hold.
const ENTRIES_MAX: u64 = 16_384;
const BYTES_MAX: u64 = 2 * 1024 * 1024;
/// Fewer are too few to read them in any order.
const ENTRIES_MIN: u64 = 64;
/// What was read and was due so long ago takes memory for nothing: nobody has permits, or may have more.
const STALE_MS: u64 = 1000;
/// Nothing more is read while so much waits for its moment, whatever entries were thought to take.
const HELD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Positions, and when each is due.
#[derive(Debug)]
struct Timed<T> {
    entries: BTreeMap<Position, (Due, T)>,
    order: BTreeSet<(Due, Position)>,
}

impl<T> Default for Timed<T> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), order: BTreeSet::new() }
    }
}

impl<T> Timed<T> {
    fn insert(&mut self, position: Position, due: Due, what: T) {
        let before = self.entries.insert(position, (due, what));
        assert!(before.is_none(), "an entry waits in one place (C4)");
        self.order.insert((due, position));
    }

    fn remove(&mut self, position: Position) -> Option<(Due, T)> {
        let (due, what) = self.entries.remove(&position)?;
        self.order.remove(&(due, position));
        Some((due, what))
    }

    fn first_due(&self) -> Option<Due> {
        self.order.first().map(|(due, _)| *due)
    }
}

/// What is due soon.
#[derive(Debug)]
pub(super) struct Near {
    unread: Timed<()>,
    read: Timed<Fetched>,
    /// Of what was read.
    bytes: usize,
    /// Of the entries seen lately.
    bytes_per_entry: u64,
    /// Where the next read goes on, while something is left there.
    sweep: Option<Position>,
}

impl Default for Near {
    fn default() -> Self {
        Self { unread: Timed::default(), read: Timed::default(), bytes: 0, bytes_per_entry: 1024, sweep: None }
    }
}

impl Near {
    pub(super) fn len(&self) -> u64 {
        (self.unread.entries.len() + self.read.entries.len()) as u64
    }

    pub(super) fn len_below(&self, end: Position) -> u64 {
        let read = self.read.entries.range(..end).count();
        (self.unread.entries.range(..end).count() + read) as u64
    }

    pub(super) fn contains(&self, position: Position) -> bool {
        self.unread.entries.contains_key(&position) || self.read.entries.contains_key(&position)
    }

    /// Whether more may come near.
    pub(super) fn has_room(&self) -> bool {
        self.len() < (BYTES_MAX / self.bytes_per_entry.max(1)).clamp(ENTRIES_MIN, ENTRIES_MAX)
    }

    pub(super) fn insert(&mut self, position: Position, due: Due) {
        self.unread.insert(position, due, ());
    }

    pub(super) fn remove(&mut self, position: Position) {
        self.unread.remove(position);
        if let Some((_, fetched)) = self.read.remove(position) {
            self.bytes -= fetched.bytes.len();
        }
    }

    pub(super) fn remove_below(&mut self, mark: Position) {
        let unread = self.unread.entries.range(..mark).map(|(at, _)| *at);
        let below: Vec<Position> = unread.chain(self.read.entries.range(..mark).map(|(at, _)| *at)).collect();
        below.into_iter().for_each(|at| self.remove(at));
    }

    pub(super) fn clear(&mut self) {
        *self = Self { bytes_per_entry: self.bytes_per_entry, ..Self::default() };
    }

    /// What is to be read next, in order, of what lies below `end`: from where the last read ended; and where that was the last, all, as soon as it
    /// is worth it.
    pub(super) fn unread(&self, end: Position, now: Due) -> impl Iterator<Item = Position> {
        let room = self.bytes < HELD_BYTES_MAX;
        let sweep = self.sweep.filter(|sweep| self.unread_in(*sweep, end).next().is_some());
        let begins = !self.has_room() || self.sweep_at().is_some_and(|at| at <= now);
        let start = sweep.unwrap_or(Position::new(0, 0));
        self.unread_in(start, end).take_while(move |_| room && (sweep.is_some() || begins))
    }

    /// When reading begins anew at the latest.
    pub(super) fn sweep_at(&self) -> Option<Due> {
        self.unread.first_due().map(|due| due.saturating_sub(READ_MS))
    }

    /// What was not read, from `start` to `end`.
    pub(super) fn unread_in(&self, start: Position, end: Position) -> impl Iterator<Item = Position> {
        self.unread.entries.range(start..end.max(start)).map(|(at, _)| *at)
    }

    /// A read has ended there.
    pub(super) fn swept(&mut self, to: Position) {
        self.sweep = Some(to).filter(|to| self.unread.entries.range(to..).next().is_some());
    }

    /// About so many entries take as many bytes.
    pub(super) fn entries_in(&self, bytes: usize) -> u64 {
        bytes as u64 / self.bytes_per_entry.max(1)
    }

    /// One is being read: it is not waited for any more.
    pub(super) fn take_unread(&mut self, position: Position) -> bool {
        self.unread.remove(position).is_some()
    }

    /// It was read, and waits for its moment.
    pub(super) fn put_read(&mut self, position: Position, due: Due, fetched: Fetched) {
        self.bytes_per_entry = (self.bytes_per_entry * 15 + fetched.bytes.len() as u64).div_ceil(16);
        self.bytes += fetched.bytes.len();
        self.read.insert(position, due, fetched);
    }

    /// Takes out the first that was read and whose time has come.
    pub(super) fn pop_due(&mut self, now: Due) -> Option<(Position, Fetched)> {
        let (_, position) = self.read.order.first().copied().filter(|(due, _)| *due <= now)?;
        let (_, fetched) = self.read.remove(position)?;
        self.bytes -= fetched.bytes.len();
        Some((position, fetched))
    }

    /// When to look whether what was read is taken at all.
    pub(super) fn stale_at(&self) -> Option<Due> {
        self.read.first_due().map(|due| due.saturating_add(STALE_MS))
    }

    /// Gives back what was read when nobody has taken it for a while.
    pub(super) fn give_back(&mut self, now: Due) {
        if self.stale_at().is_some_and(|at| at <= now) {
            self.bytes = 0;
            for (position, (due, _)) in std::mem::take(&mut self.read).entries {
                self.unread.insert(position, due, ());
            }
        }
    }

    /// When the first that was read may go.
    pub(super) fn first_read_due(&self) -> Option<Due> {
        self.read.first_due()
    }

    /// Whether something below a position is due then.
    pub(super) fn holds_before(&self, due: Due, position: Position) -> bool {
        let range = (due, Position::new(0, 0))..(due, position);
        self.unread.order.range(range.clone()).chain(self.read.order.range(range)).next().is_some()
    }

    /// Whether something's time has come.
    pub(super) fn is_due(&self, now: Due) -> bool {
        let first = [self.unread.first_due(), self.read.first_due()];
        first.into_iter().flatten().any(|due| due <= now)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::subscription::slots::Slot;

    fn at(entry: u64) -> Position {
        Position::new(1, entry)
    }

    fn fetched(bytes: usize) -> Fetched {
        Fetched { bytes: Bytes::from(vec![0; bytes]), messages: 1, slot: Slot::default(), chunk: None }
    }

    fn unread(near: &Near) -> Vec<u64> {
        near.unread(at(1000), 0).map(|position| position.entry.0).collect()
    }

    #[test]
    fn it_is_read_in_the_order_of_positions_round_and_round_and_goes_in_the_order_of_times() {
        let mut near = Near::default();
        for (entry, due) in [(5, 30), (1, 20), (9, 10)] {
            near.insert(at(entry), due);
        }
        assert_eq!(unread(&near), [1, 5, 9]);
        near.swept(at(4));
        assert_eq!(unread(&near), [5, 9], "on from where the last read ended");
        assert_eq!(near.unread(at(9), 0).count(), 1, "up to an end");
        near.swept(at(10));
        assert_eq!(unread(&near), [1, 5, 9]);
        for (entry, due) in [(1, 20), (5, 30), (9, 10)] {
            assert!(near.take_unread(at(entry)));
            near.put_read(at(entry), due, fetched(10));
        }
        assert_eq!((near.len(), near.len_below(at(9)), near.first_read_due()), (3, 2, Some(10)));
        let went: Vec<u64> = std::iter::from_fn(|| near.pop_due(20)).map(|(position, _)| position.entry.0).collect();
        assert_eq!((went, near.len(), near.bytes), (vec![9, 1], 1, 10));
        assert!(!near.is_due(29) && near.is_due(30));
        near.remove_below(at(6));
        assert_eq!((near.len(), near.bytes), (0, 0));
    }

    #[test]
    fn what_comes_near_is_read_together() {
        let mut near = Near::default();
        near.insert(at(1), SOON_MS);
        near.insert(at(5), SOON_MS + 1);
        assert_eq!((unread(&near), near.sweep_at()), (vec![], Some(READ_MS)));
        assert_eq!(near.unread(at(9), SOON_MS - READ_MS).count(), 2, "it begins with the first for whom it is time,");
        near.take_unread(at(1));
        near.swept(at(2));
        assert_eq!(unread(&near), [5], "and goes on");
        near.take_unread(at(5));
        near.swept(at(6));
        near.insert(at(7), SOON_MS);
        assert_eq!(unread(&near), [0; 0], "until all of them were read");
    }

    #[test]
    fn of_large_entries_fewer_come_near() {
        let count = |bytes: usize| {
            let mut near = Near::default();
            for entry in 0..200 {
                near.put_read(at(entry), 1, fetched(bytes));
                near.remove(at(entry));
            }
            (0..ENTRIES_MAX)
                .take_while(|entry| {
                    near.insert(at(*entry), 1);
                    near.has_room()
                })
                .count()
        };
        assert_eq!((count(50), count(1024), count(100_000)), (16_383, 2047, 63));
    }

    #[test]
    fn nothing_more_is_read_while_too_much_waits_until_it_is_given_back() {
        let mut near = Near::default();
        near.insert(at(1), 5);
        near.put_read(at(2), 5, fetched(HELD_BYTES_MAX));
        near.give_back(5);
        assert_eq!(unread(&near), [0; 0], "it may go any moment");
        near.give_back(5 + STALE_MS);
        assert_eq!(unread(&near), [1, 2]);
    }
}
