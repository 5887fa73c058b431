//! What was delivered comes back to be delivered again, or is over.
use proto::Position;
use proto::pulsar::MessageIdData;

use super::{Dispatch, Serial, Slot, Whole};

impl Dispatch {
    /// Delivers again all that a consumer holds; with a single active consumer, everything that is unacknowledged.
    pub(crate) fn redeliver_all(&mut self, serial: Serial, epoch: Option<u64>) {
        if let Some(consumer) = self.consumers.get_mut(serial) {
            consumer.epoch = consumer.epoch.max(epoch);
        }
        if self.shared() {
            self.requeue(serial, true);
        } else if self.consumers.active() == Some(serial) {
            self.rewind();
        }
    }

    /// Delivers some entries again, of a message in chunks all. Only what this consumer of a Shared subscription holds.
    pub(crate) fn redeliver(&mut self, serial: Serial, ids: &[MessageIdData]) {
        for id in ids {
            let position = Position::new(id.ledger_id, id.entry_id);
            if self.pending.get(&position).is_some_and(|pending| pending.consumer == serial) {
                self.chunks.together(position).into_iter().for_each(|part| self.requeue_one(part, true));
            }
        }
    }

    /// Queues what a consumer holds. It counts as redelivery when the consumer gave it back, and not when it just left: it may
    /// never have looked at it.
    pub(super) fn requeue(&mut self, serial: Serial, counted: bool) {
        let held = self.pending.iter().filter(|(_, pending)| pending.consumer == serial);
        let held: Vec<Position> = held.map(|(position, _)| *position).collect();
        held.into_iter().for_each(|position| self.requeue_one(position, counted));
    }

    fn requeue_one(&mut self, position: Position, counted: bool) {
        let whole = self.chunks.whole(position);
        let slot = self.end_pending(position, false).expect("the caller found it");
        if counted {
            let count = self.redelivered.entry(position).or_default();
            *count = count.saturating_add(1);
        }
        self.enqueue(position, slot, whole);
    }

    pub(super) fn enqueue(&mut self, position: Position, slot: Slot, whole: Option<Whole>) {
        let kept = whole.is_some_and(|whole| self.chunks.queue(position, whole));
        self.queue.insert(position, slot, kept);
        if let Some(keys) = self.keys.as_mut().filter(|_| !kept) {
            keys.wait(position, slot);
        }
    }

    pub(super) fn unqueue(&mut self, position: Position) {
        let Some((slot, free)) = self.queue.remove(position) else { return };
        self.chunks.release(position, false);
        if let Some(keys) = self.keys.as_mut().filter(|_| free) {
            keys.wait_no_more(position, slot);
        }
    }

    /// Chunks whose message is at nobody any more go like all others.
    pub(super) fn let_go(&mut self, chunks: Vec<Position>) {
        for position in chunks {
            let slot = self.queue.let_go(position);
            if let Some(keys) = &mut self.keys {
                keys.wait(position, slot);
            }
        }
    }

    /// Chunks whose message a consumer has begun with are for it alone, whoever owns their key meanwhile.
    pub(super) fn keep(&mut self, chunks: Vec<Position>) {
        for position in chunks {
            let slot = self.queue.keep(position);
            if let Some(keys) = &mut self.keys {
                keys.wait_no_more(position, slot);
            }
        }
    }

    /// Takes an entry from the consumer that holds it, because it is acknowledged or because it is given back.
    pub(super) fn end_pending(&mut self, position: Position, acknowledged: bool) -> Option<Slot> {
        let pending = self.pending.remove(&position)?;
        self.consumers.settle(pending.consumer, pending.messages, pending.part);
        if let Some(keys) = &mut self.keys {
            keys.release(pending.slot);
        }
        let freed = self.chunks.release(position, acknowledged && self.keys.is_none());
        self.let_go(freed);
        Some(pending.slot)
    }

    /// Everything unacknowledged was delivered to nobody.
    pub(super) fn rewind(&mut self) {
        self.next = self.acks.mark();
        for (_, pending) in std::mem::take(&mut self.pending) {
            self.consumers.settle(pending.consumer, pending.messages, pending.part);
        }
        self.queue.clear();
        self.chunks.clear();
        if let Some(keys) = &mut self.keys {
            keys.forget_entries();
        }
        self.recall_delays();
        self.ahead.restart(self.next);
    }

    /// Nothing is to be done with an acknowledged entry.
    pub(super) fn forget(&mut self, position: Position) {
        self.end_pending(position, true);
        self.unqueue(position);
        self.delays.remove(position);
        self.redelivered.remove(&position);
        self.ahead.take(position);
        self.next = self.next.max(self.acks.mark());
        self.ahead.reach(self.next);
    }
}
