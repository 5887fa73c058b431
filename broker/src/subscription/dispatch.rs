//! Who gets which entry next: a state machine without I/O.
//!
//! The entries between the mark of the acknowledged set and `next` are each exactly one of: acknowledged, pending at one
//! consumer, or queued to be delivered again. With a single active consumer the second needs no list: it is what remains.
//! Entries from `next` on were delivered to nobody. `fetched` is a window of bytes read ahead, and never decides anything.
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proto::entry::head_of_stored;
use proto::pulsar::MessageIdData;
use proto::pulsar::command_subscribe::SubType;
use proto::{EntryId, Position};

use super::consumers::{Consumer, Consumers};
use crate::cursor::{AckDelta, AckSet};
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

#[derive(Debug, Clone)]
struct Fetched {
    bytes: Bytes,
    messages: u32,
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
    fetched: BTreeMap<Position, Fetched>,
    fetched_bytes: usize,
    /// Up to where new entries were read. Never below `next`.
    read_to: Position,
    /// Of the entries seen lately, in 1/16.
    messages_per_entry: u64,
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
            fetched: BTreeMap::new(),
            fetched_bytes: 0,
            read_to: next,
            messages_per_entry: 16,
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
            self.drop_fetched();
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

    // Acknowledgement.

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
            let done = u64::from(pending.messages - left);
            pending.messages = left;
            let consumer = pending.consumer;
            self.settle(consumer, done);
        }
        Some(delta)
    }

    fn acknowledge_entry(&mut self, position: Position, chain: &Chain) -> Option<AckDelta> {
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
        let kept = self.pending.split_off(&mark);
        for (_, pending) in std::mem::replace(&mut self.pending, kept) {
            self.settle(pending.consumer, u64::from(pending.messages));
        }
        self.queued = self.queued.split_off(&mark);
        self.redelivered = self.redelivered.split_off(&mark);
        self.fetched = self.fetched.split_off(&mark);
        self.fetched_bytes = self.fetched.values().map(|fetched| fetched.bytes.len()).sum();
        self.next = self.next.max(mark);
        self.read_to = self.read_to.max(mark);
        Some(AckDelta::below(mark))
    }

    /// Ledgers have left the chain: what lay in them is not waited for any more. Nothing to write down, because a position that is gone
    /// stands for the first behind it.
    pub(crate) fn trimmed(&mut self, chain: &Chain) {
        self.cumulative(chain.first(), chain);
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
        self.drop_fetched();
    }

    // Reading.

    /// The read that should be made now, if any: somebody can take what it brings, and nothing read before is left.
    pub(crate) fn wanted(&self, end: Position) -> Option<Fetch> {
        let permits = if self.is_paused() { 0 } else { self.consumers.permits(self.shared()) };
        if permits == 0 {
            return None;
        }
        let entries = permits.saturating_mul(16).div_ceil(self.messages_per_entry.max(1));
        let entries_max = usize::try_from(entries).unwrap_or(usize::MAX).clamp(1, FETCH_ENTRIES_MAX);
        if let Some(&first) = self.queued.first() {
            if self.fetched.contains_key(&first) {
                return None;
            }
            let run = self.queued.iter().zip(first.entry.0..).take(entries_max);
            let run = run.take_while(|(at, entry)| at.ledger == first.ledger && at.entry == EntryId(*entry)).count();
            return Some(Fetch { from: first, entries_max: run, bytes_max: FETCH_BYTES_MAX, again: true });
        }
        let unread = self.fetched.range(self.next..).next().is_none() && self.read_to < end;
        unread.then_some(Fetch { from: self.read_to, entries_max, bytes_max: FETCH_BYTES_MAX, again: false })
    }

    /// What a read brought. What is not wanted any more is dropped.
    pub(crate) fn supply(&mut self, fetch: &Fetch, entries: Vec<StoredEntry>, chain: &Chain) {
        if fetch.again {
            self.forget_missing(fetch, chain);
        } else if fetch.from != self.read_to {
            return; // Rewound meanwhile.
        } else if entries.is_empty() {
            self.read_to = chain.at_or_after(fetch.from); // Nothing is left between.
        }
        for StoredEntry { position, bytes } in entries {
            if !fetch.again {
                self.read_to = position.next();
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
            self.messages_per_entry = (self.messages_per_entry * 15).div_ceil(16) + u64::from(messages);
            self.fetched_bytes += bytes.len();
            if let Some(twice) = self.fetched.insert(position, Fetched { bytes, messages }) {
                self.fetched_bytes -= twice.bytes.len();
            }
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

    // Delivery.

    /// The next delivery, if somebody can take it.
    pub(crate) fn next(&mut self) -> Option<Delivery> {
        if self.is_paused() {
            return None;
        }
        let serial = self.consumers.pick(self.shared())?;
        let (position, again) = match self.queued.first() {
            Some(first) => (*first, true),
            None => match self.fetched.range(self.next..).next() {
                Some((position, _)) => (*position, false),
                None => {
                    self.next = self.read_to; // All that was read was acknowledged already.
                    return None;
                }
            },
        };
        let fetched = self.fetched.remove(&position)?; // None: queued and not read yet.
        self.fetched_bytes -= fetched.bytes.len();
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
        if idle && IDLE_BYTES_MAX < self.fetched_bytes {
            self.drop_fetched();
        }
    }

    fn drop_fetched(&mut self) {
        self.fetched.clear();
        self.fetched_bytes = 0;
        self.read_to = self.next;
    }

    fn forget(&mut self, position: Position) {
        if let Some(pending) = self.pending.remove(&position) {
            self.settle(pending.consumer, u64::from(pending.messages));
        }
        self.queued.remove(&position);
        self.redelivered.remove(&position);
        if let Some(fetched) = self.fetched.remove(&position) {
            self.fetched_bytes -= fetched.bytes.len();
        }
        self.next = self.next.max(self.acks.mark());
        self.read_to = self.read_to.max(self.next);
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

#[cfg(test)]
mod tests;
