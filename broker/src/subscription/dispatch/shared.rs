//! Shared: each entry to whoever is next, past chunks that are for a consumer which cannot take them yet (ADR 22). And what it has in common with
//! Key_Shared.
use proto::Position;

use super::{Consumer, Delivery, Dispatch, FETCH_BYTES_MAX, Keys, Serial};

/// Entries that may be passed over for each consumer, and together, before nothing new is looked at, as in Apache Pulsar with Key_Shared.
const LOOK_AHEAD: (usize, usize) = (2_000, 20_000);

impl Dispatch {
    /// The next delivery of a Shared subscription, if somebody can take it.
    pub(super) fn next_shared(&mut self) -> Option<Delivery> {
        let kept = self.ready().find(|(_, first)| self.ahead.contains(*first));
        if let Some((serial, position)) = kept {
            return self.deliver_queued(serial, position);
        }
        loop {
            let serial = self.consumers.pick(true)?;
            if let Some(position) = self.queue.first_free() {
                return self.deliver_queued(serial, position);
            }
            let Some(position) = self.ahead.first_from(self.next) else {
                self.pass_known();
                return None;
            };
            if self.is_beyond(position) {
                return None;
            }
            let chunk = self.ahead.get(position)?.chunk;
            match chunk.and_then(|chunk| self.chunks.holder(chunk)) {
                None => return self.deliver_new(serial, position),
                Some(holder) if self.takes_new(holder) => return self.deliver_new(holder, position),
                Some(_) if self.passes_more() => self.pass_over(position),
                Some(_) => return None,
            }
        }
    }

    /// A new entry is queued until the one who must have it can.
    pub(super) fn pass_over(&mut self, position: Position) {
        let fetched = self.ahead.get(position).expect("the caller has found it there");
        let (slot, chunk) = (fetched.slot, fetched.chunk);
        self.next = position.next();
        self.enqueue(position, slot, chunk.map(|chunk| chunk.of));
        self.give_way(position);
    }

    /// An entry that cannot be delivered yet is read again once it can, when too much is held.
    pub(super) fn give_way(&mut self, position: Position) {
        if 2 * FETCH_BYTES_MAX < self.ahead.bytes() {
            self.ahead.take(position);
        }
    }

    /// Whether a consumer can take an entry that was not looked at before. What is kept for it goes first.
    pub(super) fn takes_new(&self, serial: Serial) -> bool {
        self.consumers.get(serial).is_some_and(Consumer::takes) && self.chunks.first_waiting(serial).is_none()
    }

    /// Of those that are queued for certain consumers, the first for each that can take it now.
    pub(super) fn ready(&self) -> impl Iterator<Item = (Serial, Position)> {
        let of_keys = self.keys.iter().flat_map(Keys::ready);
        let of_keys = of_keys.filter(|(serial, first)| is_before(*first, self.chunks.first_waiting(*serial)));
        let first_of_keys = |serial| self.keys.as_ref().and_then(|keys| keys.first_ready(serial));
        let kept = self.chunks.waiting().filter(move |(serial, first)| is_before(*first, first_of_keys(*serial)));
        of_keys.chain(kept).filter(|(serial, _)| self.consumers.get(*serial).is_some_and(Consumer::takes))
    }

    /// The first of them that was not read.
    pub(super) fn ready_and_unread(&self) -> Option<Position> {
        self.ready().map(|(_, first)| first).find(|first| !self.ahead.contains(*first))
    }

    /// Whether one more entry may be passed over.
    pub(super) fn passes_more(&self) -> bool {
        let (each, together) = LOOK_AHEAD;
        let passed = if self.keys.is_some() { self.queue.len() } else { self.queue.kept() };
        passed < together.min(each * self.consumers.iter().count())
    }

    /// Whether new entries are looked at. A Shared subscription finds out with each what it may do with it.
    pub(super) fn reads_on(&self) -> bool {
        !self.is_full() && (self.keys.is_none() || self.passes_more())
    }
}

fn is_before(one: Position, other: Option<Position>) -> bool {
    other.is_none_or(|other| one < other)
}
