//! The consumers of one subscription, and whose turn it is.
use proto::TopicName;

use super::murmur3::murmur3;
use super::slots::elected;
use super::unacked::Unacked;
use crate::outbox::Serial;

/// Messages a consumer gets before the next has its turn, as in Apache Pulsar.
const TURN_MESSAGES: u32 = 20;

/// What decides what a consumer gets.
#[derive(Debug, Clone)]
pub(crate) struct Consumer {
    pub(crate) serial: Serial,
    pub(crate) name: String,
    /// Lower comes first.
    pub(crate) priority: i32,
    /// Messages it has room for: what it granted less what it got (F1). A batch may take it below zero.
    pub(crate) permits: i64,
    granted: i64,
    /// Whether its connection takes more.
    pub(crate) room: bool,
    /// What it has not acknowledged. Counted for Shared and Key_Shared subscriptions only.
    unacked: Unacked,
    pub(crate) epoch: Option<u64>,
    /// Of each key only the last message, as far as the topic was compacted.
    pub(crate) read_compacted: bool,
    pub(crate) messages_out: u64,
    pub(crate) bytes_out: u64,
    pub(crate) entries_out: u64,
}

impl Consumer {
    pub(crate) fn new(serial: Serial, name: String, priority: i32, epoch: Option<u64>) -> Self {
        Self {
            serial,
            name,
            priority,
            permits: 0,
            granted: 0,
            room: true,
            unacked: Unacked::default(),
            epoch,
            read_compacted: false,
            messages_out: 0,
            bytes_out: 0,
            entries_out: 0,
        }
    }

    /// Adds permits. They never wrap, however many a client grants.
    pub(super) fn grant(&mut self, permits: u32) {
        let before = self.permits;
        self.permits = before.saturating_add(i64::from(permits)).min(i64::from(i32::MAX));
        self.granted += self.permits - before;
    }

    pub(super) fn takes(&self) -> bool {
        0 < self.permits && self.room && !self.unacked.is_blocked()
    }

    pub(super) fn delivered(&mut self, messages: u32, bytes: usize) {
        self.permits -= i64::from(messages);
        self.messages_out += u64::from(messages);
        self.bytes_out += bytes as u64;
        self.entries_out += 1;
        let exact = self.granted - self.messages_out.cast_signed();
        assert!(self.permits == exact, "permits are what was granted less what was sent (F1)");
    }

    pub(super) fn unacked(&self) -> &Unacked {
        &self.unacked
    }
}

/// What spreads active consumers over topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seat {
    /// Partitions take their turns through the names.
    Partition(u32),
    /// Of another topic, the hash of its name decides.
    Topic(u32),
}

impl Seat {
    /// Of a topic.
    pub(crate) fn of(topic: &TopicName) -> Self {
        topic.partition().map_or_else(|| Self::Topic(murmur3(topic.to_string().as_bytes())), Self::Partition)
    }
}

/// All of them, ordered by priority, then name, then arrival. What is charged to one is charged to all together.
#[derive(Debug, Default)]
pub(crate) struct Consumers {
    all: Vec<Consumer>,
    active: Option<Serial>,
    turn: Turn,
    /// Of all together, also of those who have left and whose entries have no other place yet.
    unacked: Unacked,
    /// How many messages each may hold unacknowledged.
    unacked_max: Option<u64>,
}

#[derive(Debug, Default)]
struct Turn {
    of: Option<Serial>,
    /// Messages it had before this turn.
    since: u64,
}

impl Consumers {
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Consumer> {
        self.all.iter()
    }

    pub(crate) fn get(&self, serial: Serial) -> Option<&Consumer> {
        self.all.iter().find(|consumer| consumer.serial == serial)
    }

    pub(super) fn get_mut(&mut self, serial: Serial) -> Option<&mut Consumer> {
        self.all.iter_mut().find(|consumer| consumer.serial == serial)
    }

    pub(super) fn add(&mut self, mut consumer: Consumer) {
        consumer.unacked.limit(self.unacked_max);
        fn rank(consumer: &Consumer) -> (i32, &str, Serial) {
            (consumer.priority, &consumer.name, consumer.serial)
        }
        let at = self.all.partition_point(|there| rank(there) < rank(&consumer));
        self.all.insert(at, consumer);
    }

    pub(super) fn remove(&mut self, serial: Serial) -> Option<Consumer> {
        let at = self.all.iter().position(|consumer| consumer.serial == serial)?;
        if self.turn.of == Some(serial) {
            self.turn = Turn::default(); // The next of that name starts a turn of its own.
        }
        Some(self.all.remove(at))
    }

    /// The one that receives, unless all do.
    pub(crate) fn active(&self) -> Option<Serial> {
        self.active
    }

    pub(super) fn set_active(&mut self, active: Option<Serial>) {
        self.active = active;
    }

    /// Out of those with the best priority.
    pub(super) fn elect(&self, seat: Seat) -> Option<Serial> {
        let best = self.all.first()?.priority;
        let group = self.all.iter().take_while(|consumer| consumer.priority == best);
        let names: Vec<&str> = group.map(|consumer| consumer.name.as_str()).collect();
        let at = match seat {
            Seat::Partition(number) => number as usize % names.len(),
            Seat::Topic(hash) => elected(&names, hash),
        };
        Some(self.all[at].serial)
    }

    /// What all have not acknowledged.
    pub(super) fn unacked(&self) -> &Unacked {
        &self.unacked
    }

    /// How many messages each may hold unacknowledged, and all together.
    pub(super) fn limit(&mut self, each: Option<u64>, together: Option<u64>) {
        self.unacked_max = each;
        self.unacked.limit(together);
        self.all.iter_mut().for_each(|consumer| consumer.unacked.limit(each));
    }

    /// A consumer holds more messages unacknowledged. `part`: a chunk, and not the last of its message.
    pub(super) fn charge(&mut self, serial: Serial, messages: u32, part: bool) {
        self.unacked.charge(messages.into(), part);
        if let Some(consumer) = self.get_mut(serial) {
            consumer.unacked.charge(messages.into(), part);
        }
    }

    /// A consumer, who may have left, holds them no more.
    pub(super) fn settle(&mut self, serial: Serial, messages: u32, part: bool) {
        self.unacked.settle(messages.into(), part);
        if let Some(consumer) = self.get_mut(serial) {
            consumer.unacked.settle(messages.into(), part);
        }
    }

    /// Messages that can be taken now.
    pub(super) fn permits(&self, shared: bool) -> u64 {
        let counted = self.all.iter().filter(|consumer| shared || Some(consumer.serial) == self.active);
        counted.filter(|consumer| consumer.takes()).map(|consumer| consumer.permits.unsigned_abs()).sum()
    }

    /// Who gets the next entry.
    pub(super) fn pick(&mut self, shared: bool) -> Option<Serial> {
        self.pick_in_turns(shared, TURN_MESSAGES)
    }

    /// The same with turns of so many messages.
    pub(super) fn pick_in_turns(&mut self, shared: bool, turn_messages: u32) -> Option<Serial> {
        if !shared {
            return self.active.filter(|active| self.get(*active).is_some_and(Consumer::takes));
        }
        let best = self.all.iter().find(|consumer| consumer.takes())?.priority;
        let takes = |consumer: &&Consumer| consumer.priority == best && consumer.takes();
        let current = self.turn.of.and_then(|serial| self.all.iter().position(|consumer| consumer.serial == serial));
        if let Some(current) = current.map(|at| &self.all[at]).filter(takes)
            && current.messages_out - self.turn.since < u64::from(turn_messages)
        {
            return Some(current.serial);
        }
        let start = current.map_or(0, |at| at + 1);
        let (before, after) = self.all.split_at(start);
        let next = after.iter().chain(before).find(takes)?;
        self.turn = Turn { of: Some(next.serial), since: next.messages_out };
        Some(next.serial)
    }
}
