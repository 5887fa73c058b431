//! Which entries are read when, and what becomes of them.
use bytes::Bytes;
use proto::entry::{EntryHead, head_of_stored};
use proto::{EntryId, Position};

use super::{Dispatch, FETCH_BYTES_MAX, Fetch, Fetched};
use crate::log::{Chain, StoredEntry};
use crate::subscription::chunks::Chunk;

/// Entries that one read asks for.
pub(super) const FETCH_ENTRIES_MAX: usize = 1000;
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
        let queued = match &self.keys {
            Some(_) => self.ready_and_unread(),
            None => match self.ready_and_unread().or_else(|| self.queue.first_free()) {
                Some(first) if self.ahead.contains(first) => return None,
                first => first,
            },
        };
        if let Some(first) = queued {
            let entries_max = one_read(first, entries_max, self.queue.like(first));
            return Some(Fetch { from: first, entries_max, bytes_max: FETCH_BYTES_MAX, again: true });
        }
        if let Some(near) = self.wanted_near() {
            return Some(near);
        }
        // What waits for its time takes no permit: where there is much of it, as much is read as for many permits.
        let entries_max = if self.delays.prevail() { FETCH_ENTRIES_MAX } else { entries_max };
        let unread = self.ahead.first_from(self.next).is_none() && self.ahead.end() < end && self.reads_on();
        unread.then_some(Fetch { from: self.ahead.end(), entries_max, bytes_max: FETCH_BYTES_MAX, again: false })
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
        let (count, delayed) = (entries.len(), self.delays.len());
        for StoredEntry { position, bytes } in entries {
            if !fetch.again {
                self.ahead.reach(position.next());
            }
            let is_near = fetch.again && position < self.near_end() && self.delays.take_unread(position);
            let wanted = if fetch.again { is_near || self.queue.contains(position) } else { !self.is_known(position) };
            if !wanted || self.is_left_out(&bytes) {
                continue;
            }
            // An entry whose metadata does not decode was refused at publishing; if one is there, a client shall see it.
            let head = head_of_stored(&bytes).ok();
            if head.as_ref().is_some_and(|head| head.marker_type.is_some()) {
                self.markers.push(position);
                continue;
            }
            let slot = self.keys.as_ref().map(|keys| keys.slots().slot_of(&bytes)).unwrap_or_default();
            let chunk = head.as_ref().filter(|_| self.shared()).and_then(|head| Chunk::of(head, slot));
            let due = head.as_ref().and_then(EntryHead::due);
            if !fetch.again && self.postpone(position, due, chunk) {
                continue;
            }
            let messages = head.map_or(1, |head| head.messages());
            let fetched = Fetched { bytes, messages, slot, chunk };
            if is_near {
                self.delays.swept(position.next());
                self.hold_near(position, due, fetched);
            } else {
                self.ahead.put(position, fetched);
            }
        }
        if !fetch.again {
            self.delays.note_read(count, self.delays.len() - delayed);
        }
    }

    /// Whether the holder of an Exclusive subscription has said that it wants other keys. Such entries stay unacknowledged.
    fn is_left_out(&self, entry: &Bytes) -> bool {
        self.slots_wanted.as_ref().is_some_and(|wanted| wanted.owner(wanted.slot_of(entry)).is_none())
    }

    /// Queued entries that no ledger holds any more cannot be delivered.
    fn forget_missing(&mut self, fetch: &Fetch, chain: &Chain) {
        let end = Position {
            ledger: fetch.from.ledger,
            entry: EntryId(fetch.from.entry.0.saturating_add(fetch.entries_max as u64)),
        };
        let queued = self.queue.range(fetch.from..end);
        let asked = queued.chain(self.delays.near().unread_in(fetch.from, end));
        let missing: Vec<Position> = asked.filter(|at| !chain.contains(*at)).collect();
        missing.into_iter().for_each(|position| self.forget(position));
    }
}

/// Entries from `first` to the last of `wanted` that the same read should bring: small gaps cost less than another read.
pub(super) fn one_read(first: Position, entries_max: usize, wanted: impl Iterator<Item = Position>) -> usize {
    let end = first.entry.0.saturating_add(entries_max as u64);
    let mut last = first.entry.0;
    for at in wanted {
        if at.ledger != first.ledger || end <= at.entry.0 || last + GAP_MAX < at.entry.0 {
            break;
        }
        last = at.entry.0;
    }
    usize::try_from(last - first.entry.0 + 1).expect("it is at most entries_max")
}
