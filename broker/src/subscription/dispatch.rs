//! Who gets which entry next: a state machine without I/O.
//!
//! The entries between the mark of the acknowledged set and `next` are each exactly one of: acknowledged, pending at one
//! consumer, or queued to be delivered again. With a single active consumer the second needs no list: it is what remains.
//! Entries from `next` on were delivered to nobody. [`ReadAhead`] holds what was read
//! of them, and never decides anything.
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proto::entry::head_of_stored;
use proto::pulsar::MessageIdData;
use proto::pulsar::command_subscribe::SubType;
use proto::{EntryId, Position};

use super::consumers::{Consumer, Consumers};
use super::read_ahead::{Fetched, ReadAhead};
use crate::cursor::AckSet;
use crate::log::{Chain, StoredEntry};
use crate::outbox::Serial;

/// Messages that all consumers of a Shared subscription together may hold unacknowledged, as in Apache Pulsar.
const UNACKED_MAX: u64 = 200_000;
/// Acknowledged entries above the mark. Beyond it deliveries pause, because none of them may be forgotten: about 1 MiB each
/// in the worst pattern, and far less in any usual one.
const HOLES_MAX: u64 = 4_000_000;
/// Entries that one read asks for.
const FETCH_ENTRIES_MAX: usize = 1000;
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

/// At a consumer of a Shared subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pending {
    consumer: Serial,
    messages: u32,
}

/// The state of a subscription.
#[derive(Debug)]
pub(crate) struct Dispatch {
    kind: SubType,
    acks: AckSet,
    next: Position,
    consumers: Consumers,
    /// Shared only.
    pending: BTreeMap<Position, Pending>,
    /// Shared only.
    queued: BTreeSet<Position>,
    /// How often an entry was delivered before. Shared only, and only while it is unacknowledged.
    redelivered: BTreeMap<Position, u32>,
    /// Never ends below `next`.
    ahead: ReadAhead,
    unacked: u64,
    unacked_blocked: bool,
    /// A new active consumer waits for the last acknowledgements of the one before.
    held: bool,
    /// Entries that no consumer must see.
    markers: Vec<Position>,
}

impl Dispatch {
    pub(crate) fn new(kind: SubType, acks: AckSet) -> Self {
        let next = acks.mark();
        Self {
            kind,
            acks,
            next,
            consumers: Consumers::default(),
            pending: BTreeMap::new(),
            queued: BTreeSet::new(),
            redelivered: BTreeMap::new(),
            ahead: ReadAhead::new(next),
            unacked: 0,
            unacked_blocked: false,
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

    pub(crate) fn unacked(&self) -> u64 {
        self.unacked
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.unacked_blocked
    }

    fn shared(&self) -> bool {
        matches!(self.kind, SubType::Shared | SubType::KeyShared)
    }

    // Consumers.

    /// Lets a consumer in. The caller has checked that there is room for it; the kind may change while nobody is there.
    pub(crate) fn attach(&mut self, kind: SubType, consumer: Consumer) {
        if self.consumers.is_empty() && kind != self.kind {
            self.kind = kind;
            self.rewind();
            self.redelivered.clear();
        }
        assert!(kind == self.kind, "a consumer of another kind must be refused before");
        assert!(
            kind != SubType::Exclusive || self.consumers.is_empty(),
            "one consumer holds an Exclusive subscription"
        );
        self.consumers.add(consumer);
    }

    /// Lets a consumer go. What it held unacknowledged is delivered again.
    pub(crate) fn detach(&mut self, serial: Serial) {
        if self.consumers.remove(serial).is_none() {
            return;
        }
        if self.shared() {
            self.requeue(|pending, _| pending.consumer == serial);
        } else if self.consumers.active() == Some(serial) {
            self.consumers.set_active(None);
            self.rewind();
        }
        if self.consumers.is_empty() {
            self.ahead.restart(self.next);
        }
    }

    /// Picks who receives from a subscription with a single active consumer; `true` if that changed. `partition` spreads the
    /// partitions of a topic over consumers of equal priority.
    pub(crate) fn elect(&mut self, partition: Option<u32>) -> bool {
        if self.shared() {
            return false;
        }
        let elected = self.consumers.elect(partition);
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

    /// Adds permits. They never wrap, however many a client grants.
    pub(crate) fn flow(&mut self, serial: Serial, permits: u32) {
        if let Some(consumer) = self.consumers.get_mut(serial) {
            consumer.permits = consumer.permits.saturating_add(i64::from(permits)).min(i64::from(i32::MAX));
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
        if self.shared() {
            self.requeue(|pending, _| pending.consumer == serial);
        } else if self.consumers.active() == Some(serial) {
            if let Some(consumer) = self.consumers.get_mut(serial) {
                consumer.epoch = consumer.epoch.max(epoch);
            }
            self.rewind();
        }
    }

    /// Delivers some entries again. Only what this consumer of a Shared subscription holds.
    pub(crate) fn redeliver(&mut self, serial: Serial, ids: &[MessageIdData]) {
        for id in ids {
            let position = Position::new(id.ledger_id, id.entry_id);
            if self.pending.get(&position).is_some_and(|pending| pending.consumer == serial) {
                self.requeue_one(position);
            }
        }
    }

    fn requeue(&mut self, which: impl Fn(&Pending, Position) -> bool) {
        let matching: Vec<Position> = self
            .pending
            .iter()
            .filter(|(position, pending)| which(pending, **position))
            .map(|(position, _)| *position)
            .collect();
        matching.into_iter().for_each(|position| self.requeue_one(position));
    }

    fn requeue_one(&mut self, position: Position) {
        let pending = self.pending.remove(&position).expect("the caller found it");
        self.settle(pending.consumer, u64::from(pending.messages));
        let count = self.redelivered.entry(position).or_default();
        *count = count.saturating_add(1);
        let fresh = self.queued.insert(position);
        assert!(fresh, "an entry that is pending is not queued");
    }

    /// Everything unacknowledged was delivered to nobody.
    fn rewind(&mut self) {
        self.next = self.acks.mark();
        for (_, pending) in std::mem::take(&mut self.pending) {
            self.settle(pending.consumer, u64::from(pending.messages));
        }
        self.queued.clear();
        self.ahead.restart(self.next);
    }

    // Reading.

    /// The read that should be made now, if any: somebody can take what it brings, and nothing read before is left.
    pub(crate) fn wanted(&self, end: Position) -> Option<Fetch> {
        let permits = if self.is_paused() { 0 } else { self.consumers.permits(self.shared()) };
        if permits == 0 {
            return None;
        }
        let entries = self.ahead.entries_for(permits);
        let entries_max = usize::try_from(entries).unwrap_or(usize::MAX).clamp(1, FETCH_ENTRIES_MAX);
        if let Some(&first) = self.queued.first() {
            if self.ahead.contains(first) {
                return None;
            }
            let run = self.queued.iter().zip(first.entry.0..).take(entries_max);
            let run = run.take_while(|(at, entry)| at.ledger == first.ledger && at.entry == EntryId(*entry)).count();
            return Some(Fetch { from: first, entries_max: run, bytes_max: FETCH_BYTES_MAX, again: true });
        }
        let unread = self.ahead.first_from(self.next).is_none() && self.ahead.end() < end;
        unread.then_some(Fetch { from: self.ahead.end(), entries_max, bytes_max: FETCH_BYTES_MAX, again: false })
    }

    /// What a read brought. What is not wanted any more is dropped.
    pub(crate) fn supply(&mut self, fetch: &Fetch, entries: Vec<StoredEntry>, chain: &Chain) {
        if fetch.again {
            self.forget_missing(fetch, chain);
        } else if fetch.from != self.ahead.end() {
            return; // Rewound meanwhile.
        } else if entries.is_empty() {
            self.ahead.reach(chain.at_or_after(fetch.from)); // Nothing is left between.
        }
        for StoredEntry { position, bytes } in entries {
            if !fetch.again {
                self.ahead.reach(position.next());
            }
            let wanted = if fetch.again { self.queued.contains(&position) } else { !self.acks.contains(position) };
            if !wanted {
                continue;
            }
            // An entry whose metadata does not decode was refused at publishing; if one is there, a client shall see it.
            let (messages, marker) =
                head_of_stored(&bytes).map_or((1, false), |head| (head.messages(), head.marker_type.is_some()));
            if marker {
                self.markers.push(position);
                continue;
            }
            self.ahead.put(position, Fetched { bytes, messages });
        }
    }

    /// Queued entries that no ledger holds any more cannot be delivered.
    fn forget_missing(&mut self, fetch: &Fetch, chain: &Chain) {
        let end = Position {
            ledger: fetch.from.ledger,
            entry: EntryId(fetch.from.entry.0.saturating_add(fetch.entries_max as u64)),
        };
        let missing: Vec<Position> =
            self.queued.range(fetch.from..end).copied().filter(|position| !chain.contains(*position)).collect();
        missing.into_iter().for_each(|position| self.forget(position));
    }

    // Delivery.

    /// The next delivery, if somebody can take it.
    pub(crate) fn next(&mut self) -> Option<Delivery> {
        if self.is_paused() {
            return None;
        }
        let serial = self.consumers.pick(self.shared())?;
        let (position, again) = match self.queued.first() {
            Some(first) => (*first, true),
            None => match self.ahead.first_from(self.next) {
                Some(position) => (position, false),
                None => {
                    self.next = self.ahead.end(); // All that was read was acknowledged already.
                    return None;
                }
            },
        };
        let fetched = self.ahead.take(position)?; // None: queued and not read yet.
        if again {
            self.queued.remove(&position);
        } else {
            self.next = position.next();
        }
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
        let epoch = consumer.epoch;
        if shared {
            consumer.unacked += u64::from(messages);
            consumer.block();
            self.unacked += u64::from(messages);
            self.unacked_blocked |= UNACKED_MAX <= self.unacked;
            let before = self.pending.insert(position, Pending { consumer: serial, messages });
            assert!(before.is_none(), "an entry is pending at one consumer");
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
    }

    fn forget(&mut self, position: Position) {
        if let Some(pending) = self.pending.remove(&position) {
            self.settle(pending.consumer, u64::from(pending.messages));
        }
        self.queued.remove(&position);
        self.redelivered.remove(&position);
        self.ahead.take(position);
        self.next = self.next.max(self.acks.mark());
        self.ahead.reach(self.next);
    }

    fn settle(&mut self, serial: Serial, messages: u64) {
        self.unacked -= messages;
        self.unacked_blocked &= UNACKED_MAX / 2 < self.unacked;
        if let Some(consumer) = self.consumers.get_mut(serial) {
            consumer.unacked -= messages;
            consumer.block();
        }
    }
}

mod acknowledgement;
#[cfg(test)]
mod tests;
