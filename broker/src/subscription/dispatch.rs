//! Who gets which entry next: a state machine without I/O.
//!
//! The entries between the mark of the acknowledged set and `next` are each exactly one of: acknowledged, pending at one
//! consumer, waiting for their time (`delays`), or queued: to be delivered again, or passed over because who must have them cannot take them:
//! with Key_Shared the owner of their key, of chunks the consumer that has the beginning of their message. With a single active consumer the
//! second needs no list: it is what remains. Entries from `next` on were delivered to nobody, but for those whose time was known before they
//! were reached.
//! [`ReadAhead`] holds what was read of them, and never decides anything.
use std::collections::BTreeMap;

use bytes::Bytes;
use proto::Position;
use proto::pulsar::MessageIdData;
use proto::pulsar::command_subscribe::SubType;

use self::delays::Delays;
use super::chunks::{Chunks, Whole};
use super::consumers::{Consumer, Consumers, Seat, are_too_many};
use super::keys::Keys;
use super::queue::Queue;
use super::read_ahead::{Fetched, ReadAhead};
use super::slots::{KeyPolicy, RangeConflict, Slot, SlotRange, Slots};
use crate::cursor::AckSet;
use crate::outbox::Serial;
use crate::policies::Terms;

/// Acknowledged entries above the mark. Beyond it deliveries pause, because none of them may be forgotten: about 1 MiB each
/// in the worst pattern, and far less in any usual one.
const HOLES_MAX: u64 = 4_000_000;
/// Bytes that one read asks for: half of what a subscription may hold.
const FETCH_BYTES_MAX: usize = 1024 * 1024;
/// Read ahead that may stay while nobody can take it.
const IDLE_BYTES_MAX: usize = 64 * 1024;

/// An entry on its way to a consumer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Delivery {
    pub(crate) consumer: Serial,
    pub(crate) position: Position,
    pub(crate) entry: Bytes,
    /// Permits it takes: messages in it that are not acknowledged.
    pub(crate) messages: u32,
    pub(crate) redelivery_count: u32,
    /// Empty, or what is left of a batch.
    pub(crate) ack_set: Vec<i64>,
    /// As the consumer told it last.
    pub(crate) epoch: Option<u64>,
}

/// A read that should be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fetch {
    pub(crate) from: Position,
    pub(crate) entries_max: usize,
    pub(crate) bytes_max: usize,
    again: bool,
}

/// At a consumer of a Shared or Key_Shared subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pending {
    consumer: Serial,
    messages: u32,
    slot: Slot,
    /// It is a chunk, and not the last of its message.
    part: bool,
}

/// What a consumer of a Key_Shared subscription asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KeyTerms {
    pub(crate) policy: KeyPolicy,
    /// Its slots, when it names them.
    pub(crate) ranges: Vec<SlotRange>,
}

/// The state of a subscription.
#[derive(Debug)]
pub(crate) struct Dispatch {
    kind: SubType,
    acks: AckSet,
    next: Position,
    consumers: Consumers,
    /// Shared and Key_Shared only.
    pending: BTreeMap<Position, Pending>,
    /// Shared and Key_Shared only.
    queue: Queue,
    /// Shared and Key_Shared only.
    chunks: Chunks,
    /// Key_Shared only.
    keys: Option<Keys>,
    /// The keys that the holder of an Exclusive subscription wants. `None`: all.
    wanted_keys: Option<Keys>,
    /// How often an entry was given back. Shared and Key_Shared only, and only while it is unacknowledged.
    redelivered: BTreeMap<Position, u32>,
    /// Shared and Key_Shared only.
    delays: Delays,
    /// Never ends below `next`.
    ahead: ReadAhead,
    unacked: u64,
    /// Of these, chunks that are not the last of their message.
    parts: u64,
    unacked_blocked: bool,
    /// What all consumers of a Shared or Key_Shared subscription together may hold unacknowledged,
    unacked_max: Option<u64>,
    /// and each.
    unacked_max_of_consumer: Option<u64>,
    /// A new active consumer waits for the last acknowledgements of the one before.
    held: bool,
    /// Entries that no consumer must see.
    markers: Vec<Position>,
}

impl Dispatch {
    pub(crate) fn new(kind: SubType, acks: AckSet) -> Self {
        let (next, default) = (acks.mark(), Terms::default());
        Self {
            kind,
            acks,
            next,
            consumers: Consumers::default(),
            pending: BTreeMap::new(),
            queue: Queue::default(),
            chunks: Chunks::default(),
            keys: None,
            wanted_keys: None,
            redelivered: BTreeMap::new(),
            delays: Delays::default(),
            ahead: ReadAhead::new(next),
            unacked: 0,
            parts: 0,
            unacked_blocked: false,
            unacked_max: default.unacked_of_subscription,
            unacked_max_of_consumer: default.unacked_of_consumer,
            held: false,
            markers: Vec::new(),
        }
    }

    pub(crate) fn kind(&self) -> SubType {
        self.kind
    }

    pub(crate) fn acks(&self) -> &AckSet {
        &self.acks
    }

    pub(crate) fn consumers(&self) -> &Consumers {
        &self.consumers
    }

    /// Entries from here on were delivered to nobody since the last rewind.
    pub(crate) fn next_position(&self) -> Position {
        self.next
    }

    /// Entries that wait to be delivered again, for their key, or for the consumer that has the beginning of their message.
    pub(crate) fn queued(&self) -> u64 {
        self.queue.len() as u64
    }

    pub(crate) fn unacked(&self) -> u64 {
        self.unacked
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.unacked_blocked
    }

    /// Whether all consumers receive.
    pub(crate) fn shared(&self) -> bool {
        matches!(self.kind, SubType::Shared | SubType::KeyShared)
    }

    // Consumers.

    /// Lets a consumer in. The caller has checked that there is room for it; the kind may change while nobody is there.
    pub(crate) fn attach(&mut self, kind: SubType, terms: &KeyTerms, mut consumer: Consumer) {
        consumer.unacked_max = self.unacked_max_of_consumer;
        if self.consumers.is_empty() && self.differs(kind, terms.policy) {
            self.kind = kind;
            self.keys = (kind == SubType::KeyShared).then(|| Keys::new(terms.policy));
            self.rewind();
            self.redelivered.clear();
        }
        assert!(!self.differs(kind, terms.policy), "a consumer of another kind must be refused before");
        assert!(
            kind != SubType::Exclusive || self.consumers.is_empty(),
            "one consumer holds an Exclusive subscription"
        );
        self.wanted_keys = (kind == SubType::Exclusive && !terms.ranges.is_empty())
            .then(|| Keys::new(KeyPolicy { sticky: true, ..terms.policy }));
        if let Some(keys) = self.keys.as_mut().or(self.wanted_keys.as_mut()) {
            keys.join(consumer.serial, &consumer.name, &terms.ranges);
        }
        self.consumers.add(consumer);
    }

    fn differs(&self, kind: SubType, policy: KeyPolicy) -> bool {
        kind != self.kind || (kind == SubType::KeyShared && self.keys.as_ref().map(Keys::policy) != Some(policy))
    }

    /// What the consumers of a Key_Shared subscription agree on.
    pub(crate) fn keys(&self) -> Option<&Keys> {
        self.keys.as_ref()
    }

    /// Why a consumer cannot have the slots that it names. Its policy is that of the others, if there are any.
    pub(crate) fn conflict(&self, terms: &KeyTerms) -> Option<RangeConflict> {
        match self.keys.as_ref().filter(|_| !self.consumers.is_empty()) {
            Some(keys) => keys.slots().conflict(&terms.ranges),
            None => Slots::new(terms.policy).conflict(&terms.ranges),
        }
    }

    /// Lets a consumer go. What it held unacknowledged is delivered again.
    pub(crate) fn detach(&mut self, serial: Serial) {
        if self.consumers.remove(serial).is_none() {
            return;
        }
        if self.shared() {
            self.requeue(serial, false);
            let freed = self.chunks.leave(serial);
            self.let_go(freed);
        } else if self.consumers.active() == Some(serial) {
            self.consumers.set_active(None);
            self.rewind();
        }
        if let Some(keys) = &mut self.keys {
            keys.leave(serial);
        }
        if self.consumers.is_empty() {
            self.ahead.restart(self.next);
        }
    }

    /// Picks who receives from a subscription with a single active consumer; `true` if that changed. `seat` spreads
    /// topics over consumers of equal priority.
    pub(crate) fn elect(&mut self, seat: Seat) -> bool {
        if self.shared() {
            return false;
        }
        let elected = self.consumers.elect(seat);
        let changed = elected != self.consumers.active();
        if changed {
            self.consumers.set_active(elected);
            self.rewind();
        }
        changed
    }

    /// Holds deliveries back, or lets them go on with what is unacknowledged then.
    pub(crate) fn hold(&mut self, held: bool) {
        if self.held && !held {
            self.rewind();
        }
        self.held = held;
    }

    /// What counts from now on.
    pub(crate) fn heed(&mut self, terms: &Terms) {
        self.set_delays(terms.delays);
        self.unacked_max = terms.unacked_of_subscription;
        self.unacked_max_of_consumer = terms.unacked_of_consumer;
        self.block();
        for consumer in self.consumers.iter_mut() {
            consumer.unacked_max = terms.unacked_of_consumer;
            consumer.block();
        }
    }

    /// Adds permits. They never wrap, however many a client grants.
    pub(crate) fn flow(&mut self, serial: Serial, permits: u32) {
        if let Some(consumer) = self.consumers.get_mut(serial) {
            consumer.grant(permits);
        }
    }

    /// Whether deliveries to a consumer may be pushed.
    pub(crate) fn set_room(&mut self, serial: Serial, room: bool) {
        if let Some(consumer) = self.consumers.get_mut(serial) {
            consumer.room = room;
        }
    }

    /// Starts over from `acks`: nothing is pending, nothing was delivered before. Only while no consumer is there.
    pub(crate) fn reset(&mut self, acks: AckSet) {
        assert!(self.consumers.is_empty(), "consumers are closed before a subscription is moved");
        self.acks = acks;
        self.redelivered.clear();
        self.rewind();
    }

    // Redelivery.

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
    fn requeue(&mut self, serial: Serial, counted: bool) {
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

    fn enqueue(&mut self, position: Position, slot: Slot, whole: Option<Whole>) {
        let kept = whole.is_some_and(|whole| self.chunks.queue(position, whole));
        self.queue.insert(position, slot, kept);
        if let Some(keys) = self.keys.as_mut().filter(|_| !kept) {
            keys.wait(position, slot);
        }
    }

    fn unqueue(&mut self, position: Position) {
        let Some((slot, free)) = self.queue.remove(position) else { return };
        self.chunks.release(position, false);
        if let Some(keys) = self.keys.as_mut().filter(|_| free) {
            keys.wait_no_more(position, slot);
        }
    }

    /// Chunks whose message is at nobody any more go like all others.
    fn let_go(&mut self, chunks: Vec<Position>) {
        for position in chunks {
            let slot = self.queue.let_go(position);
            if let Some(keys) = &mut self.keys {
                keys.wait(position, slot);
            }
        }
    }

    /// Chunks whose message a consumer has begun with are for it alone, whoever owns their key meanwhile.
    fn keep(&mut self, chunks: Vec<Position>) {
        for position in chunks {
            let slot = self.queue.keep(position);
            if let Some(keys) = &mut self.keys {
                keys.wait_no_more(position, slot);
            }
        }
    }

    /// Takes an entry from the consumer that holds it, because it is acknowledged or because it is given back.
    fn end_pending(&mut self, position: Position, acknowledged: bool) -> Option<Slot> {
        let pending = self.pending.remove(&position)?;
        self.settle(pending.consumer, u64::from(pending.messages), pending.part);
        if let Some(keys) = &mut self.keys {
            keys.release(pending.slot);
        }
        let freed = self.chunks.release(position, acknowledged && self.keys.is_none());
        self.let_go(freed);
        Some(pending.slot)
    }

    /// Everything unacknowledged was delivered to nobody.
    fn rewind(&mut self) {
        self.next = self.acks.mark();
        for (_, pending) in std::mem::take(&mut self.pending) {
            self.settle(pending.consumer, u64::from(pending.messages), pending.part);
        }
        self.queue.clear();
        self.chunks.clear();
        if let Some(keys) = &mut self.keys {
            keys.forget_entries();
        }
        self.recall_delays();
        self.ahead.restart(self.next);
    }

    // Delivery.

    /// The next delivery, if somebody can take it.
    pub(crate) fn next(&mut self) -> Option<Delivery> {
        if self.is_paused() {
            return None;
        }
        self.release();
        if self.keys.is_some() {
            return self.next_keyed();
        }
        if self.shared() {
            return self.next_shared();
        }
        let serial = self.consumers.pick(false)?;
        match self.ahead.first_from(self.next) {
            Some(position) => self.deliver_new(serial, position),
            None => {
                self.pass_known();
                None
            }
        }
    }

    /// `None`: it is queued and not read yet.
    fn deliver_queued(&mut self, serial: Serial, position: Position) -> Option<Delivery> {
        let fetched = self.ahead.take(position)?;
        self.unqueue(position);
        Some(self.deliver(serial, position, fetched))
    }

    fn deliver_new(&mut self, serial: Serial, position: Position) -> Option<Delivery> {
        let fetched = self.ahead.take(position)?;
        self.next = position.next();
        Some(self.deliver(serial, position, fetched))
    }

    fn deliver(&mut self, serial: Serial, position: Position, fetched: Fetched) -> Delivery {
        let left = self.acks.partial(position).unwrap_or_default();
        let ack_set: Vec<i64> = left.iter().map(|word| word.cast_signed()).collect();
        let messages = match left.iter().map(|word| word.count_ones()).sum() {
            0 => fetched.messages,
            left => left.min(fetched.messages),
        };
        let shared = self.shared();
        let consumer = self.consumers.get_mut(serial).expect("it was picked just now");
        consumer.delivered(messages, fetched.bytes.len());
        let epoch = consumer.epoch.filter(|_| !shared);
        if shared {
            let part = fetched.chunk.is_some_and(|chunk| !chunk.last);
            consumer.unacked += u64::from(messages);
            consumer.parts += if part { u64::from(messages) } else { 0 };
            consumer.block();
            self.unacked += u64::from(messages);
            self.parts += if part { u64::from(messages) } else { 0 };
            self.block();
            let pending = Pending { consumer: serial, messages, slot: fetched.slot, part };
            let before = self.pending.insert(position, pending);
            assert!(before.is_none(), "an entry is pending at one consumer (C4)");
            if let Some(keys) = &mut self.keys {
                keys.hold(fetched.slot, serial);
            }
            if let Some(chunk) = fetched.chunk {
                let kept = self.chunks.hold(position, chunk, serial);
                self.keep(kept);
            }
        }
        let redelivery_count = self.redelivered.get(&position).copied().unwrap_or(0);
        Delivery { consumer: serial, position, entry: fetched.bytes, messages, redelivery_count, ack_set, epoch }
    }

    fn is_paused(&self) -> bool {
        self.held || self.unacked_blocked || HOLES_MAX <= self.acks.holes()
    }

    /// Gives read-ahead back when nobody can take it for now.
    pub(crate) fn rest(&mut self) {
        let idle = self.is_paused() || self.consumers.permits(self.shared()) == 0;
        if idle && IDLE_BYTES_MAX < self.ahead.bytes() {
            self.ahead.restart(self.next);
        }
        if idle {
            self.delays.give_back();
        }
    }

    fn forget(&mut self, position: Position) {
        self.end_pending(position, true);
        self.unqueue(position);
        self.delays.remove(position);
        self.redelivered.remove(&position);
        self.ahead.take(position);
        self.next = self.next.max(self.acks.mark());
        self.ahead.reach(self.next);
    }

    fn block(&mut self) {
        self.unacked_blocked = are_too_many(self.unacked, self.parts, self.unacked_max, self.unacked_blocked);
    }

    fn settle(&mut self, serial: Serial, messages: u64, part: bool) {
        let parts = if part { messages } else { 0 };
        self.unacked -= messages;
        self.parts -= parts;
        self.block();
        if let Some(consumer) = self.consumers.get_mut(serial) {
            consumer.unacked -= messages;
            consumer.parts -= parts;
            consumer.block();
        }
    }
}

mod acknowledgement;
mod delays;
mod keyed;
mod reading;
mod shared;
mod standstill;
pub(crate) use standstill::Standstill;

#[cfg(test)]
mod bench;
#[cfg(test)]
mod seeds;
#[cfg(test)]
mod tests;
