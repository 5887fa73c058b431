//! Key_Shared: each entry to the owner of its slot, past those whose slot is not free (ADR 13).
use proto::Position;

use super::{Consumer, Delivery, Dispatch, FETCH_BYTES_MAX, Keys, Serial};

/// Entries that may be queued for each consumer, and together, before nothing new is looked at, as in Apache Pulsar.
const LOOK_AHEAD: (usize, usize) = (2_000, 20_000);

impl Dispatch {
    /// The next delivery of a Key_Shared subscription, if somebody can take it.
    pub(super) fn next_keyed(&mut self) -> Option<Delivery> {
        if !self.consumers.iter().any(Consumer::takes) {
            return None;
        }
        let can = |(serial, first): &(Serial, Position)| self.takes(*serial) && self.ahead.contains(*first);
        let again = self.keys.as_ref()?.ready().find(can);
        if let Some((serial, position)) = again {
            self.unqueue(position);
            let fetched = self.ahead.take(position)?;
            return Some(self.deliver(serial, position, fetched));
        }
        while let Some(position) = self.ahead.first_from(self.next) {
            let slot = self.ahead.slot(position)?;
            let receiver = self.keys.as_ref().and_then(|keys| keys.receiver(slot));
            if let Some(serial) = receiver.filter(|serial| self.takes(*serial)) {
                self.next = position.next();
                let fetched = self.ahead.take(position)?;
                return Some(self.deliver(serial, position, fetched));
            }
            if !self.looks_ahead() {
                return None;
            }
            self.next = position.next();
            self.enqueue(position, slot);
            self.give_way(position);
        }
        self.pass_known();
        None
    }

    /// An entry that cannot be delivered yet is read again once it can, when too much is held.
    pub(super) fn give_way(&mut self, position: Position) {
        if 2 * FETCH_BYTES_MAX < self.ahead.bytes() {
            self.ahead.take(position);
        }
    }

    fn takes(&self, serial: Serial) -> bool {
        self.consumers.get(serial).is_some_and(Consumer::takes)
    }

    /// The first entry that was not read, of those that a consumer can take at once.
    pub(super) fn ready_and_unread(&self) -> Option<Position> {
        let mut ready = self.keys.iter().flat_map(Keys::ready);
        let unread = ready.find(|(serial, first)| self.takes(*serial) && !self.ahead.contains(*first));
        unread.map(|(_, first)| first)
    }

    /// Whether one more entry may be passed over. Without keys, none is.
    pub(super) fn looks_ahead(&self) -> bool {
        let (each, together) = LOOK_AHEAD;
        self.keys.is_none() || self.queued.len() < together.min(each * self.consumers.iter().count())
    }
}
