//! Messages that came in chunks: who has the beginning of one gets the rest of it (ADR 22). Pure.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use proto::Position;
use proto::entry::EntryHead;

use super::delayed::Due;
use super::slots::Slot;
use crate::outbox::Serial;

/// Messages that are remembered though all that was delivered of them is acknowledged: clients that take each chunk for a message do so.
const IDLE_MAX: usize = 1000;

/// A message, by a hash of what its producer calls it and of its slot: however long names are, none is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Whole(u64);

/// An entry that is a part of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) of: Whole,
    pub(super) first: bool,
    pub(super) last: bool,
    /// When it is to be delivered: the same for the whole message.
    pub(super) due: Option<Due>,
}

impl Chunk {
    /// What an entry says, if it is one.
    pub(super) fn of(head: &EntryHead, slot: Slot) -> Option<Self> {
        let (uuid, number, count) = (head.uuid.as_ref()?, head.chunk_id?, head.num_chunks_from_msg?);
        if count < 2 || head.messages() != 1 {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        (&head.producer_name, uuid, slot).hash(&mut hasher);
        let (first, last) = (number <= 0, count - 1 <= number);
        Some(Self { of: Whole(hasher.finish()), first, last, due: head.due() })
    }
}

/// What is known of one message.
#[derive(Debug, Default)]
struct Message {
    /// Who gets the rest of it.
    holder: Option<Serial>,
    pending: BTreeSet<Position>,
    queued: BTreeSet<Position>,
    /// The holder was sent the last one.
    complete: bool,
    /// Its place among those of which the holder has acknowledged all that it was sent.
    idle: Option<u64>,
}

/// Messages of which chunks are pending or queued, or that were begun with and are not complete.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    messages: HashMap<Whole, Message>,
    of: BTreeMap<Position, Whole>,
    /// Of those that are queued, what a consumer gets as soon as it has permits.
    waiting: BTreeMap<Serial, BTreeSet<Position>>,
    /// Messages with a holder of which nothing is pending, the oldest first.
    idle: BTreeMap<u64, Whole>,
    /// How many there ever were.
    idled: u64,
}

impl Chunks {
    /// Who has begun with its message.
    pub(super) fn holder(&self, chunk: Chunk) -> Option<Serial> {
        self.messages.get(&chunk.of)?.holder
    }

    /// Whether others of its message are queued, and go before it.
    pub(super) fn are_queued(&self, chunk: Chunk) -> bool {
        self.messages.get(&chunk.of).is_some_and(|message| !message.queued.is_empty())
    }

    /// A chunk is delivered. Gives those that are queued for this consumer from now on.
    pub(super) fn hold(&mut self, position: Position, chunk: Chunk, serial: Serial) -> Vec<Position> {
        let message = self.messages.entry(chunk.of).or_default();
        assert!(message.holder.is_none_or(|holder| holder == serial), "a message in chunks is at one consumer");
        let begins = message.holder.replace(serial).is_none();
        message.complete = chunk.last || (message.complete && !chunk.first);
        message.pending.insert(position);
        self.of.insert(position, chunk.of);
        if let Some(idle) = message.idle.take() {
            self.idle.remove(&idle);
        }
        if !begins || message.queued.is_empty() {
            return Vec::new();
        }
        self.waiting.entry(serial).or_default().extend(&message.queued);
        message.queued.iter().copied().collect()
    }

    /// What was pending or queued is not any more. `remember`: it was acknowledged, and the rest is for who has done so. Gives the chunks that are
    /// free again, because nobody has begun with their message now.
    pub(super) fn release(&mut self, position: Position, remember: bool) -> Vec<Position> {
        let Some(whole) = self.of.remove(&position) else { return Vec::new() };
        let message = self.messages.get_mut(&whole).expect("a message of which there are chunks is known");
        if message.queued.remove(&position)
            && let Some(waiting) = message.holder.and_then(|holder| self.waiting.get_mut(&holder))
        {
            waiting.remove(&position);
        }
        let was_last = message.pending.remove(&position) && message.pending.is_empty();
        if was_last && remember && !message.complete {
            self.idled += 1;
            message.idle = Some(self.idled);
            self.idle.insert(self.idled, whole);
            let oldest = self.idle.first_key_value().filter(|_| IDLE_MAX < self.idle.len()).map(|(_, oldest)| *oldest);
            return oldest.map(|oldest| self.let_go(oldest)).unwrap_or_default();
        }
        if was_last {
            return self.let_go(whole);
        }
        self.forget_if_empty(whole);
        Vec::new()
    }

    /// Who may have the rest of a message is anybody again.
    fn let_go(&mut self, whole: Whole) -> Vec<Position> {
        let message = self.messages.get_mut(&whole).expect("the caller knows it");
        message.complete = false;
        if let Some(idle) = message.idle.take() {
            self.idle.remove(&idle);
        }
        let freed: Vec<Position> = message.queued.iter().copied().collect();
        if let Some(waiting) = message.holder.take().and_then(|holder| self.waiting.get_mut(&holder)) {
            for position in &freed {
                waiting.remove(position);
            }
        }
        self.forget_if_empty(whole);
        freed
    }

    fn forget_if_empty(&mut self, whole: Whole) {
        let empty = |message: &Message| message.holder.is_none() && message.queued.is_empty();
        if self.messages.get(&whole).is_some_and(empty) {
            self.messages.remove(&whole);
        }
    }

    /// A consumer has left, and nothing is pending there. Gives the chunks that are free again.
    pub(super) fn leave(&mut self, serial: Serial) -> Vec<Position> {
        let held = |whole: &&Whole| self.messages[*whole].holder == Some(serial);
        let held: Vec<Whole> = self.idle.values().filter(held).copied().collect();
        let freed = held.into_iter().flat_map(|whole| self.let_go(whole)).collect();
        self.waiting.remove(&serial);
        freed
    }

    /// A chunk is queued. `true` if it is for the holder of its message alone.
    pub(super) fn queue(&mut self, position: Position, whole: Whole) -> bool {
        self.of.insert(position, whole);
        let message = self.messages.entry(whole).or_default();
        message.queued.insert(position);
        if let Some(holder) = message.holder {
            self.waiting.entry(holder).or_default().insert(position);
        }
        message.holder.is_some()
    }

    /// The message of an entry that is pending or queued, if that is a chunk.
    pub(super) fn whole(&self, position: Position) -> Option<Whole> {
        self.of.get(&position).copied()
    }

    /// All that is pending of the message of an entry that is. An entry that is no chunk is all by itself.
    pub(super) fn together(&self, position: Position) -> Vec<Position> {
        let message = self.whole(position).and_then(|whole| self.messages.get(&whole));
        message.map_or_else(|| vec![position], |message| message.pending.iter().copied().collect())
    }

    /// The first chunk that each consumer shall have before anything new.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (Serial, Position)> {
        self.waiting.iter().filter_map(|(serial, waiting)| Some((*serial, *waiting.first()?)))
    }

    /// The same of one consumer.
    pub(super) fn first_waiting(&self, serial: Serial) -> Option<Position> {
        self.waiting.get(&serial)?.first().copied()
    }

    /// Panics unless what waits is what is queued and whose message has a holder.
    #[cfg(test)]
    pub(super) fn check(&self, queue: &super::queue::Queue) {
        let mut waiting = 0;
        for (serial, position) in self.waiting.iter().flat_map(|(serial, all)| all.iter().map(move |at| (serial, at))) {
            assert_eq!(self.messages[&self.of[position]].holder, Some(*serial), "{position}");
            assert!(queue.contains(*position) && queue.first_free() != Some(*position), "{position}");
            waiting += 1;
        }
        assert_eq!(waiting, queue.kept());
        let known: usize = self.messages.values().map(|message| message.pending.len() + message.queued.len()).sum();
        assert_eq!(known, self.of.len(), "a chunk is pending or queued");
        for (whole, message) in &self.messages {
            let has_holder = !message.pending.is_empty() || message.idle.is_some();
            assert_eq!(message.holder.is_some(), has_holder, "{message:?}");
            assert!(has_holder || !message.queued.is_empty(), "{message:?}");
            assert!(message.idle.is_none_or(|idle| self.idle.get(&idle) == Some(whole)), "{message:?}");
        }
        assert_eq!(self.idle.len(), self.messages.values().filter(|message| message.idle.is_some()).count());
    }

    /// Nothing is pending or queued.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
