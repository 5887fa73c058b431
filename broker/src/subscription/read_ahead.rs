//! Entries that were read and not delivered yet: a window of bytes that never decides anything. Pure.
use std::collections::BTreeMap;

use bytes::Bytes;
use proto::Position;

use super::chunks::Chunk;
use super::slots::Slot;

/// An entry that was read.
#[derive(Debug, Clone)]
pub(super) struct Fetched {
    pub(super) bytes: Bytes,
    pub(super) messages: u32,
    /// Of its key, on Key_Shared subscriptions.
    pub(super) slot: Slot,
    /// Where it is a part of a message, on Shared and Key_Shared subscriptions.
    pub(super) chunk: Option<Chunk>,
}

/// The window. Its bytes are those of its entries.
#[derive(Debug)]
pub(super) struct ReadAhead {
    entries: BTreeMap<Position, Fetched>,
    bytes: usize,
    /// Up to where new entries were read.
    end: Position,
    /// Of the entries seen lately, in 1/16.
    messages_per_entry: u64,
}

impl ReadAhead {
    /// Nothing was read yet, and the first read will be `from` there.
    pub(super) fn new(from: Position) -> Self {
        Self { entries: BTreeMap::new(), bytes: 0, end: from, messages_per_entry: 16 }
    }

    /// Where the next read of new entries begins.
    pub(super) fn end(&self) -> Position {
        self.end
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// About so many entries hold that many messages.
    pub(super) fn entries_for(&self, messages: u64) -> u64 {
        messages.saturating_mul(16).div_ceil(self.messages_per_entry.max(1))
    }

    pub(super) fn contains(&self, position: Position) -> bool {
        self.entries.contains_key(&position)
    }

    /// The first that is there, from `position` on, up to where new entries were read.
    pub(super) fn first_from(&self, position: Position) -> Option<Position> {
        let first = self.entries.range(position..).next().map(|(position, _)| *position);
        first.filter(|first| *first < self.end) // What lies beyond was read because its time had come.
    }

    /// An entry that is there.
    pub(super) fn get(&self, position: Position) -> Option<&Fetched> {
        self.entries.get(&position)
    }

    pub(super) fn put(&mut self, position: Position, fetched: Fetched) {
        self.messages_per_entry = (self.messages_per_entry * 15).div_ceil(16) + u64::from(fetched.messages);
        self.bytes += fetched.bytes.len();
        if let Some(twice) = self.entries.insert(position, fetched) {
            self.bytes -= twice.bytes.len();
        }
    }

    pub(super) fn take(&mut self, position: Position) -> Option<Fetched> {
        let fetched = self.entries.remove(&position)?;
        self.bytes -= fetched.bytes.len();
        Some(fetched)
    }

    /// New entries were read up to `end`, at least.
    pub(super) fn reach(&mut self, end: Position) {
        self.end = self.end.max(end);
    }

    /// What lies at `end` or behind it will be read again.
    pub(super) fn turn_back(&mut self, end: Position) {
        let again = self.entries.split_off(&end);
        self.bytes -= again.values().map(|fetched| fetched.bytes.len()).sum::<usize>();
        self.end = self.end.min(end);
    }

    /// What lies below `mark` is not wanted any more.
    pub(super) fn drop_below(&mut self, mark: Position) {
        self.entries = self.entries.split_off(&mark);
        self.bytes = self.entries.values().map(|fetched| fetched.bytes.len()).sum();
        self.reach(mark);
    }

    /// Forgets everything. New entries will be read again `from` there.
    pub(super) fn restart(&mut self, from: Position) {
        self.entries.clear();
        self.bytes = 0;
        self.end = from;
    }

    /// Panics unless its bytes are those of its entries.
    #[cfg(test)]
    pub(super) fn check(&self) {
        assert_eq!(self.bytes, self.entries.values().map(|fetched| fetched.bytes.len()).sum::<usize>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(entry: u64) -> Position {
        Position::new(1, entry)
    }

    fn entry(bytes: &'static [u8], messages: u32) -> Fetched {
        Fetched { bytes: Bytes::from_static(bytes), messages, slot: Slot(0), chunk: None }
    }

    #[test]
    fn its_bytes_are_those_of_its_entries() {
        let mut window = ReadAhead::new(at(0));
        for (number, bytes) in [(1, b"abc".as_slice()), (2, b"de"), (4, b"f"), (2, b"ghij")] {
            window.put(at(number), entry(bytes, 1));
        }
        assert_eq!((window.bytes(), window.first_from(at(3))), (8, None), "nothing new was read");
        window.reach(at(5));
        assert_eq!(window.first_from(at(3)), Some(at(4)));
        assert_eq!(window.take(at(4)).map(|fetched| fetched.bytes.len()), Some(1));
        assert!(window.take(at(4)).is_none());
        assert_eq!(window.bytes(), 7);
        window.drop_below(at(2));
        assert_eq!((window.bytes(), window.contains(at(1)), window.end()), (4, false, at(5)));
        window.turn_back(at(7));
        assert_eq!((window.bytes(), window.end()), (4, at(5)));
        window.put(at(3), entry(b"kl", 1));
        window.turn_back(at(3));
        assert_eq!((window.bytes(), window.end(), window.contains(at(2))), (4, at(3), true));
        window.restart(at(0));
        assert_eq!((window.bytes(), window.first_from(at(0)), window.end()), (0, None, at(0)));
    }

    #[test]
    fn reads_ask_for_fewer_entries_where_batches_are_large() {
        let mut window = ReadAhead::new(at(0));
        assert_eq!(window.entries_for(100), 100);
        (0..200).for_each(|number| window.put(at(number), entry(b"a", 50)));
        assert!((2..4).contains(&window.entries_for(100)), "{}", window.entries_for(100));
        assert_eq!(window.entries_for(u64::MAX), u64::MAX.div_ceil(window.messages_per_entry));
    }
}
