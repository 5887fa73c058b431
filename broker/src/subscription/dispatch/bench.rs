//! A topic and one subscription to it, for tests: what consumers are granted and get, and what must hold after each event.
use std::collections::HashMap;

use proto::LedgerId;
use proto::pulsar::MessageMetadata;

use super::standstill::Standstill;
use super::*;
use crate::log::{Chain, StoredEntry};

/// A topic and its subscription: entries by position, and what each consumer was granted.
pub(super) struct Bench {
    pub(super) dispatch: Dispatch,
    pub(super) chain: Chain,
    pub(super) entries: BTreeMap<Position, Bytes>,
    pub(super) granted: HashMap<Serial, i64>,
    /// When entries are to be delivered.
    pub(super) dues: BTreeMap<Position, u64>,
    pub(super) now: u64,
    terms: KeyTerms,
    ledger: u64,
}

/// A part of a message, and when that is to be delivered.
pub(super) struct Part<'a> {
    pub(super) uuid: &'a str,
    pub(super) number: u32,
    pub(super) count: u32,
    pub(super) key: &'a str,
    pub(super) due: Option<u64>,
}

/// Not to be delivered before then.
fn delayed(due: u64, key: &str) -> Bytes {
    let metadata = MessageMetadata {
        producer_name: "p".into(),
        partition_key: Some(key.into()),
        deliver_at_time: Some(due.cast_signed()),
        ..Default::default()
    };
    proto::entry::build(&metadata, b"x")
}

pub(super) fn entry(messages: Option<u32>, marker: bool, key: &str) -> Bytes {
    let metadata = MessageMetadata {
        producer_name: "p".into(),
        partition_key: Some(key.into()),
        num_messages_in_batch: messages.map(|count| count as i32),
        marker_type: marker.then_some(1),
        ..Default::default()
    };
    proto::entry::build(&metadata, b"x")
}

impl Bench {
    pub(super) fn new(kind: SubType) -> Self {
        let mut chain = Chain::new(Vec::new(), LedgerId(0));
        chain.push(LedgerId(1), 0);
        Self {
            dispatch: Dispatch::new(kind, AckSet::at(Position::new(1, 0))),
            chain,
            entries: BTreeMap::new(),
            granted: HashMap::new(),
            dues: BTreeMap::new(),
            now: 0,
            terms: KeyTerms::default(),
            ledger: 1,
        }
    }

    pub(super) fn publish(&mut self, messages: Option<u32>) -> Position {
        self.publish_key(messages, "")
    }

    pub(super) fn publish_key(&mut self, messages: Option<u32>, key: &str) -> Position {
        self.publish_entry(entry(messages, false, key))
    }

    pub(super) fn publish_delayed(&mut self, due: u64, key: &str) -> Position {
        let position = self.publish_entry(delayed(due, key));
        self.dues.insert(position, due);
        position
    }

    pub(super) fn publish_chunk(&mut self, part: &Part<'_>) -> Position {
        let metadata = MessageMetadata {
            producer_name: "p".into(),
            partition_key: Some(part.key.into()),
            uuid: Some(part.uuid.into()),
            chunk_id: Some(part.number as i32),
            num_chunks_from_msg: Some(part.count as i32),
            deliver_at_time: part.due.map(u64::cast_signed),
            ..Default::default()
        };
        let position = self.publish_entry(proto::entry::build(&metadata, b"x"));
        self.dues.extend(part.due.map(|due| (position, due)));
        position
    }

    /// The time is `now`.
    pub(super) fn at(&mut self, now: u64) {
        self.now = now;
        self.dispatch.at(now);
    }

    /// Whether an entry waits for its time, where entries do.
    pub(super) fn waits(&self, position: Position) -> bool {
        self.dispatch.shared() && self.dues.get(&position).is_some_and(|due| self.now < *due)
    }

    pub(super) fn publish_entry(&mut self, bytes: Bytes) -> Position {
        let number = self.chain.ledger(LedgerId(self.ledger)).expect("listed").entries;
        let position = Position::new(self.ledger, number);
        self.chain.grow(LedgerId(self.ledger), 1, bytes.len() as u64, 0);
        self.entries.insert(position, bytes);
        position
    }

    pub(super) fn roll(&mut self) {
        let listed = self.chain.ledger(LedgerId(self.ledger)).expect("listed").clone();
        self.chain.seal(LedgerId(self.ledger), listed.entries, listed.bytes, 1);
        self.ledger += 3;
        self.chain.push(LedgerId(self.ledger), 0);
    }

    /// The first ledgers leave, as they may for a subscription that is not durable whatever it has acknowledged.
    pub(super) fn trim(&mut self, count: usize) {
        let sealed = self.chain.ledgers().iter().take_while(|listed| listed.sealed_at.is_some());
        let gone: Vec<LedgerId> = sealed.take(count).map(|listed| listed.ledger).collect();
        self.chain.drop_first(&gone);
        self.entries.retain(|position, _| !gone.contains(&position.ledger));
    }

    pub(super) fn attach(&mut self, serial: u64, priority: i32) {
        self.attach_as(self.dispatch.kind(), &self.terms.clone(), serial, priority);
    }

    pub(super) fn attach_as(&mut self, kind: SubType, terms: &KeyTerms, serial: u64, priority: i32) {
        let consumer = Consumer::new(Serial(serial), format!("c{serial}"), priority, None);
        self.dispatch.attach(kind, terms, consumer);
        self.granted.insert(Serial(serial), 0);
        self.dispatch.elect(Seat::Partition(0));
    }

    pub(super) fn detach(&mut self, serial: u64) {
        self.dispatch.detach(Serial(serial));
        self.granted.remove(&Serial(serial));
        self.dispatch.elect(Seat::Partition(0));
    }

    pub(super) fn flow(&mut self, serial: u64, permits: u32) {
        self.dispatch.flow(Serial(serial), permits);
        if let Some(granted) = self.granted.get_mut(&Serial(serial)) {
            *granted += i64::from(permits);
        }
    }

    pub(super) fn ack(&mut self, position: Position) {
        self.dispatch.acknowledge(&position.to_message_id(), &self.chain);
    }

    /// Reads and delivers until nothing more can be done, and returns what was delivered.
    pub(super) fn drain(&mut self) -> Vec<Delivery> {
        self.drain_into(|_, _| {})
    }

    /// As [`Self::drain`], with a look at each delivery.
    pub(super) fn drain_into(&mut self, mut look: impl FnMut(&Self, &Delivery)) -> Vec<Delivery> {
        let mut all = Vec::new();
        loop {
            while let Some(delivery) = self.dispatch.next() {
                if let Some(granted) = self.granted.get_mut(&delivery.consumer) {
                    *granted -= i64::from(delivery.messages);
                }
                assert!(!self.waits(delivery.position), "{} comes early (Y1)", delivery.position);
                look(self, &delivery);
                all.push(delivery);
            }
            self.dispatch.rest();
            let Some(fetch) = self.dispatch.wanted(self.chain.end()) else { break };
            let found = self.entries.range(fetch.from..).take(fetch.entries_max);
            let found: Vec<StoredEntry> =
                found.map(|(at, bytes)| StoredEntry { position: *at, bytes: bytes.clone() }).collect();
            assert!(!found.is_empty(), "a read is asked for only where something is");
            self.dispatch.supply(&fetch, found, &self.chain);
            self.dispatch.acknowledge_markers(&self.chain);
            self.check();
        }
        self.check();
        all
    }

    pub(super) fn check(&self) {
        let dispatch = &self.dispatch;
        dispatch.check(&self.chain);
        let mut unacked: HashMap<Serial, (u64, u64)> = HashMap::new();
        for position in self.entries.keys().copied() {
            let acked = dispatch.acks.contains(position);
            let pending = dispatch.pending.get(&position);
            let queued = dispatch.queue.contains(position);
            let marker = dispatch.markers.contains(&position);
            let delayed = dispatch.delays.contains(position);
            let states = [acked, pending.is_some(), queued, delayed].into_iter().filter(|state| *state).count();
            if dispatch.shared() && position < dispatch.next && !marker {
                assert_eq!(states, 1, "{position}: acked {acked}, pending {pending:?}, queued {queued}, {delayed}");
            } else if self.dues.contains_key(&position) {
                assert!(states <= 1, "{position}: acked {acked}, pending {pending:?}, queued {queued}, {delayed}");
            } else {
                assert!(pending.is_none() && !queued && !delayed, "{position} was delivered to nobody");
            }
            if let Some(pending) = pending {
                let counted = unacked.entry(pending.consumer).or_default();
                counted.0 += u64::from(pending.messages);
                counted.1 += u64::from(pending.part);
            }
        }
        let together = unacked.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        assert_eq!(dispatch.consumers.unacked().counts(), together);
        for consumer in dispatch.consumers.iter() {
            let counted = unacked.get(&consumer.serial).copied().unwrap_or_default();
            assert_eq!(consumer.unacked().counts(), counted);
            assert_eq!(consumer.permits, self.granted[&consumer.serial], "permits are granted minus delivered");
        }
        assert!(dispatch.next <= dispatch.ahead.end());
        dispatch.chunks.check(&dispatch.queue);
        dispatch.ahead.check();
    }

    /// Whoever can take gets everything there is (F2).
    pub(super) fn assert_not_frozen(&self) {
        assert_ne!(self.dispatch.standstill(self.chain.end()), Some(Standstill::Unexplained));
        if self.dispatch.keys.is_some() {
            return; // Keys may be elsewhere: whoever drives it knows more.
        }
        let takes = self.dispatch.consumers.permits(self.dispatch.shared());
        if 0 < takes && !self.dispatch.is_paused() {
            let next = self.dispatch.acks.next_unacknowledged(self.dispatch.next, &self.chain);
            assert_eq!(next, None, "{takes} permits wait");
            assert!(!self.dispatch.delays.is_due(), "{takes} permits wait");
            assert!(self.dispatch.queue.is_empty(), "{takes} permits wait");
        }
    }
}
