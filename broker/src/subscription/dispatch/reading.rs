//! Which entries are read when, and what becomes of them.
use bytes::Bytes;
use proto::entry::head_of_stored;
use proto::{EntryId, Position};

use super::{Dispatch, FETCH_BYTES_MAX, Fetch, Fetched};
use crate::log::{Chain, StoredEntry};

/// Entries that one read asks for.
const FETCH_ENTRIES_MAX: usize = 1000;
/// Entries between two that are read again, for which one read is enough.
const GAP_MAX: u64 = 16;

impl Dispatch {
    /// Whether the one who receives wants only what compaction has left.
    pub(crate) fn reads_compacted(&self) -> bool {
        let active = self.consumers.active().filter(|_| !self.shared());
        active.and_then(|active| self.consumers.get(active)).is_some_and(|consumer| consumer.read_compacted)
    }

    /// The read that should be made now, if any: somebody can take what it brings, and nothing read before is left.
    pub(crate) fn wanted(&self, end: Position) -> Option<Fetch> {
        let permits = if self.is_paused() { 0 } else { self.consumers.permits(self.shared()) };
        if permits == 0 {
            return None;
        }
        let entries = self.ahead.entries_for(permits);
        let entries_max = usize::try_from(entries).unwrap_or(usize::MAX).clamp(1, FETCH_ENTRIES_MAX);
        let first = match &self.keys {
            Some(_) => self.ready_and_unread(),
            None => match self.queued.first_key_value() {
                Some((first, _)) if self.ahead.contains(*first) => return None,
                first => first.map(|(first, _)| *first),
            },
        };
        if let Some(first) = first {
            let entries_max = self.queued_run(first, entries_max);
            return Some(Fetch { from: first, entries_max, bytes_max: FETCH_BYTES_MAX, again: true });
        }
        let unread = self.ahead.first_from(self.next).is_none() && self.ahead.end() < end && self.looks_ahead();
        unread.then_some(Fetch { from: self.ahead.end(), entries_max, bytes_max: FETCH_BYTES_MAX, again: false })
    }

    /// Entries from `first` to the last queued one that the same read should bring: small gaps cost less than another read.
    fn queued_run(&self, first: Position, entries_max: usize) -> usize {
        let end = first.entry.0.saturating_add(entries_max as u64);
        let mut last = first.entry.0;
        for at in self.queued.range(first..).map(|(at, _)| *at) {
            if at.ledger != first.ledger || end <= at.entry.0 || last + GAP_MAX < at.entry.0 {
                break;
            }
            last = at.entry.0;
        }
        usize::try_from(last - first.entry.0 + 1).expect("it is at most entries_max")
    }

    /// Compaction has left nothing from the start of a read up to there.
    pub(crate) fn nothing_below(&mut self, fetch: &Fetch, horizon: Position) {
        if fetch.from == self.ahead.end() {
            self.ahead.reach(horizon);
        }
    }

    /// What a read brought. What is not wanted any more is dropped.
    pub(crate) fn supply(&mut self, fetch: &Fetch, entries: Vec<StoredEntry>, chain: &Chain) {
        if fetch.again {
            self.forget_missing(fetch, chain);
            if FETCH_BYTES_MAX < self.ahead.bytes() {
                self.ahead.drop_below(self.next); // What nobody can take now gives way. It is read again.
            }
        } else if fetch.from != self.ahead.end() {
            return; // Rewound meanwhile.
        } else if entries.is_empty() {
            self.ahead.reach(chain.at_or_after(fetch.from)); // Nothing is left between.
        }
        for StoredEntry { position, bytes } in entries {
            if !fetch.again {
                self.ahead.reach(position.next());
            }
            let wanted = if fetch.again { self.queued.contains_key(&position) } else { !self.acks.contains(position) };
            if !wanted || self.is_left_out(&bytes) {
                continue;
            }
            // An entry whose metadata does not decode was refused at publishing; if one is there, a client shall see it.
            let (messages, marker) =
                head_of_stored(&bytes).map_or((1, false), |head| (head.messages(), head.marker_type.is_some()));
            if marker {
                self.markers.push(position);
                continue;
            }
            let slot = self.keys.as_ref().map(|keys| keys.slot_of(&bytes));
            self.ahead.put(position, Fetched { bytes, messages, slot: slot.unwrap_or_default() });
        }
    }

    /// Whether the holder of an Exclusive subscription has said that it wants other keys. Such entries stay unacknowledged.
    fn is_left_out(&self, entry: &Bytes) -> bool {
        self.wanted_keys.as_ref().is_some_and(|wanted| wanted.slots().owner(wanted.slot_of(entry)).is_none())
    }

    /// Queued entries that no ledger holds any more cannot be delivered.
    fn forget_missing(&mut self, fetch: &Fetch, chain: &Chain) {
        let end = Position {
            ledger: fetch.from.ledger,
            entry: EntryId(fetch.from.entry.0.saturating_add(fetch.entries_max as u64)),
        };
        let missing: Vec<Position> =
            self.queued.range(fetch.from..end).map(|(at, _)| *at).filter(|at| !chain.contains(*at)).collect();
        missing.into_iter().for_each(|position| self.forget(position));
    }
}
