//! What acknowledgements change, those of clients and those that nobody needs to send.
use proto::Position;
use proto::pulsar::MessageIdData;

use super::Dispatch;
use crate::cursor::AckDelta;
use crate::log::Chain;

impl Dispatch {
    /// One message id of an individual acknowledgement. `None` when it changes nothing.
    pub(crate) fn acknowledge(&mut self, id: &MessageIdData, chain: &Chain) -> Option<AckDelta> {
        let position = Position::new(id.ledger_id, id.entry_id);
        if id.ack_set.is_empty() {
            return self.acknowledge_entry(position, chain);
        }
        if self.acks.contains(position) || !chain.contains(position) {
            return None;
        }
        let told = u32::try_from(id.ack_set.len().saturating_mul(64)).unwrap_or(u32::MAX);
        let claimed = id.batch_size.and_then(|size| u32::try_from(size).ok()).filter(|size| 0 < *size);
        let size = claimed.map_or(told, |claimed| claimed.min(told)); // Beyond the set, everything is acknowledged.
        if self.acks.acknowledge_batch(position, &id.ack_set, size, chain) {
            self.forget(position);
            return Some(AckDelta::entry(position));
        }
        let remaining = self.acks.partial(position)?;
        let left = remaining.iter().map(|word| word.count_ones()).sum();
        let delta = AckDelta::batch(position, remaining);
        if let Some(pending) = self.pending.get_mut(&position)
            && left < pending.messages
        {
            let done = pending.messages - left;
            pending.messages = left;
            let (consumer, part) = (pending.consumer, pending.part);
            self.consumers.settle(consumer, done, part);
        }
        Some(delta)
    }

    pub(super) fn acknowledge_entry(&mut self, position: Position, chain: &Chain) -> Option<AckDelta> {
        if !self.acks.acknowledge(position, chain) {
            return None;
        }
        self.forget(position);
        Some(AckDelta::entry(position))
    }

    /// Everything up to and with a message id; of a batch, what its `ack_set` leaves out. `None` when it changes nothing.
    pub(crate) fn acknowledge_up_to(&mut self, id: &MessageIdData, chain: &Chain) -> Option<AckDelta> {
        let position = Position::new(id.ledger_id, id.entry_id);
        let batch = !id.ack_set.is_empty() && chain.contains(position);
        let below = if batch || id.entry_id == u64::MAX { position } else { position.next() };
        let mut delta = self.cumulative(below, chain);
        if batch && let Some(part) = self.acknowledge(id, chain) {
            match &mut delta {
                Some(delta) => delta.merge(part),
                None => delta = Some(part),
            }
        }
        delta
    }

    /// Everything below a position.
    pub(crate) fn cumulative(&mut self, below: Position, chain: &Chain) -> Option<AckDelta> {
        if !self.acks.cumulative(below, chain) {
            return None;
        }
        let mark = self.acks.mark();
        let below: Vec<Position> = self.pending.range(..mark).map(|(at, _)| *at).collect();
        for at in below {
            self.end_pending(at, true);
        }
        let below: Vec<Position> = self.queue.range(..mark).collect();
        below.into_iter().for_each(|at| self.unqueue(at));
        self.redelivered = self.redelivered.split_off(&mark);
        self.delays.remove_below(mark);
        self.ahead.drop_below(mark);
        self.next = self.next.max(mark);
        Some(AckDelta::below(mark))
    }

    /// Ledgers have left the chain: what lay in them is not waited for any more. Nothing to write down, because a position that is gone
    /// stands for the first behind it.
    pub(crate) fn trimmed(&mut self, chain: &Chain) {
        self.cumulative(chain.first(), chain);
    }

    /// Acknowledges markers that were read. `None` when there were none.
    pub(crate) fn acknowledge_markers(&mut self, chain: &Chain) -> Option<AckDelta> {
        let mut delta: Option<AckDelta> = None;
        for position in std::mem::take(&mut self.markers) {
            if let Some(one) = self.acknowledge_entry(position, chain) {
                delta.get_or_insert_default().merge(one);
            }
        }
        delta
    }
}
