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
use proto::pulsar::command_subscribe::SubType;

use self::timing::Delays;
use super::chunks::{Chunks, Whole};
use super::consumers::{Consumer, Consumers, Seat};
use super::keys::Keys;
use super::queue::Queue;
use super::read_ahead::{Fetched, ReadAhead};
use super::slots::{KeyPolicy, RangeConflict, Slot, SlotRange, Slots};
use crate::cursor::AckSet;
use crate::outbox::Serial;
use crate::policies::Terms;

/// Acknowledged entries above the mark, beyond which nothing is delivered that was not before, because none of them may be forgotten: 4 MiB
/// where nearly all are acknowledged, 64 MiB in the worst pattern.
const HOLES_MAX: u64 = 32_000_000;
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
    /// Of the keys that the holder of an Exclusive subscription wants. `None`: all.
    slots_wanted: Option<Slots>,
    /// How often an entry was given back. Shared and Key_Shared only, and only while it is unacknowledged.
    redelivered: BTreeMap<Position, u32>,
    /// Shared and Key_Shared only.
    delays: Delays,
    /// Never ends below `next`.
    ahead: ReadAhead,
    /// A new active consumer waits for the last acknowledgements of the one before.
    held: bool,
    /// Entries that no consumer must see.
    markers: Vec<Position>,
    holes_max: u64,
}

impl Dispatch {
    pub(crate) fn new(kind: SubType, acks: AckSet) -> Self {
        let (next, default) = (acks.mark(), Terms::default());
        let mut consumers = Consumers::default();
        consumers.limit(default.unacked_of_consumer, default.unacked_of_subscription);
        Self {
            kind,
            acks,
            next,
            consumers,
            pending: BTreeMap::new(),
            queue: Queue::default(),
            chunks: Chunks::default(),
            keys: None,
            slots_wanted: None,
            redelivered: BTreeMap::new(),
            delays: Delays::default(),
            ahead: ReadAhead::new(next),
            held: false,
            markers: Vec::new(),
            holes_max: HOLES_MAX,
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

    /// Whether all consumers receive.
    pub(crate) fn shared(&self) -> bool {
        matches!(self.kind, SubType::Shared | SubType::KeyShared)
    }

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
            Some(position) if self.is_beyond(position) => None,
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
            self.consumers.charge(serial, messages, part);
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
        self.held || self.consumers.unacked().is_blocked()
    }

    /// Whether an entry is not delivered, because too much is acknowledged beyond what is not. What lies before that is delivered again all the
    /// same, also by a broker that has just loaded it: else the mark could never move.
    fn is_beyond(&self, position: Position) -> bool {
        self.holes_max <= self.acks.holes() && self.acks.end() <= position
    }

    /// Whether nothing new is delivered for that reason.
    fn is_full(&self) -> bool {
        self.is_beyond(self.ahead.first_from(self.next).unwrap_or_else(|| self.ahead.end()))
    }

    /// Gives read-ahead back when nobody can take it for now.
    pub(crate) fn rest(&mut self) {
        let idle =
            self.is_paused() || (self.is_full() && self.queue.is_empty()) || self.consumers.permits(self.shared()) == 0;
        if idle && IDLE_BYTES_MAX < self.ahead.bytes() {
            self.ahead.restart(self.next);
        }
        if idle {
            self.delays.give_back();
        }
    }
}

mod acknowledgement;
mod attaching;
mod keyed;
mod reading;
mod redelivery;
mod shared;
mod standstill;
mod timing;
pub(crate) use standstill::Standstill;

#[cfg(test)]
mod bench;
#[cfg(test)]
mod seeds;
#[cfg(test)]
mod tests;
