//! Key_Shared: each entry to the owner of its slot, past those whose slot is not free (ADR 13).
use proto::Position;

use super::{Consumer, Delivery, Dispatch, Serial};

impl Dispatch {
    /// The next delivery of a Key_Shared subscription, if somebody can take it.
    pub(super) fn next_keyed(&mut self) -> Option<Delivery> {
        if !self.consumers.iter().any(Consumer::takes) {
            return None;
        }
        let again = self.ready().find(|(_, first)| self.ahead.contains(*first));
        if let Some((serial, position)) = again {
            return self.deliver_queued(serial, position);
        }
        while let Some(position) = self.ahead.first_from(self.next) {
            if self.is_beyond(position) {
                return None;
            }
            if let Some(serial) = self.keyed_receiver(position).filter(|serial| self.takes_new(*serial)) {
                return self.deliver_new(serial, position);
            }
            if !self.passes_more() {
                return None;
            }
            self.pass_over(position);
        }
        self.pass_known();
        None
    }

    /// Who may have an entry now: the owner of its slot in turn, but of a message in chunks who has begun with it, even while the slot moves to another.
    /// That one could not acknowledge the message before it is complete, and the slot would never be free.
    fn keyed_receiver(&self, position: Position) -> Option<Serial> {
        let fetched = self.ahead.get(position)?;
        let keys = self.keys.as_ref()?;
        if fetched.chunk.is_some_and(|chunk| self.chunks.are_queued(chunk)) {
            return None; // Also where keys have no order.
        }
        let holder = fetched.chunk.and_then(|chunk| self.chunks.holder(chunk));
        match holder.filter(|holder| keys.slots().owner(fetched.slot) != Some(*holder)) {
            Some(holder) => Some(holder),
            None => keys.receiver(fetched.slot),
        }
    }
}
