//! Blocks that were read or are on their way, within a bound in bytes. Pure: it decides what is kept and who may read how much.
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use proto::LedgerId;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::offload::error::ObjectError;
use crate::offload::format::Block;
use crate::offload::name::AttemptId;

/// What was read for somebody stays so long for him; then others who wait may have its room.
const UNREAD_KEPT: Duration = Duration::from_secs(5);

/// One object of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ObjectKey {
    pub(super) ledger: LedgerId,
    pub(super) attempt: AttemptId,
    pub(super) number: u32,
}

/// One block of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct BlockKey {
    pub(super) object: ObjectKey,
    pub(super) block: u32,
}

/// Where a block will be, or why it will not. Whoever waits for it holds this, so that it gets the block even if the cache does not
/// keep it.
pub(super) type Slot = Arc<watch::Sender<Option<Result<Arc<Block>, ObjectError>>>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A request for it is under way: its room is taken.
    Coming,
    /// Nobody has read it to its end yet: evicting it costs another request.
    Unread,
    /// Somebody has. Others may come after.
    Read,
}

#[derive(Debug)]
struct Held {
    slot: Slot,
    weight: usize,
    state: State,
    /// Its place in the order of its state.
    age: u64,
    /// When it came.
    since: Instant,
}

impl Held {
    fn is_forgotten(&self, now: Instant) -> bool {
        UNREAD_KEPT <= now.saturating_duration_since(self.since)
    }
}

/// Holds blocks. What is coming counts with the room it will take.
#[derive(Debug)]
pub(super) struct BlockCache {
    bytes_max: usize,
    held: HashMap<BlockKey, Held>,
    coming: usize,
    unread: usize,
    read: usize,
    /// By age. What is coming is in neither.
    unread_order: BTreeMap<u64, BlockKey>,
    read_order: BTreeMap<u64, BlockKey>,
    coming_of: HashMap<ObjectKey, usize>,
    clock: u64,
}

impl BlockCache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            held: HashMap::new(),
            coming: 0,
            unread: 0,
            read: 0,
            unread_order: BTreeMap::new(),
            read_order: BTreeMap::new(),
            coming_of: HashMap::new(),
            clock: 0,
        }
    }

    /// Bytes held and on their way.
    pub(super) fn bytes(&self) -> usize {
        self.coming + self.unread + self.read
    }

    /// The slot of a block that is held or coming.
    pub(super) fn get(&self, key: BlockKey) -> Option<Slot> {
        self.held.get(&key).map(|held| held.slot.clone())
    }

    pub(super) fn contains(&self, key: BlockKey) -> bool {
        self.held.contains_key(&key)
    }

    /// How much one request should ask for at most: half of what neither comes nor waits to be read. Many readers thus share what
    /// there is, and what was fetched for one of them is not thrown away for another.
    pub(super) fn share(&self) -> usize {
        self.bytes_max.saturating_sub(self.coming + self.unread) / 2
    }

    /// Takes room for blocks of an object, given by number and weight, and makes a slot for each: as many from the front as there is
    /// room for. `wanted`: somebody waits for the first, so blocks may go that nobody came to read for a while. `None`: there is no
    /// room even for the first.
    pub(super) fn reserve(
        &mut self,
        object: ObjectKey,
        blocks: &[(u32, usize)],
        wanted: bool,
        now: Instant,
    ) -> Option<Vec<Slot>> {
        let (_, first) = *blocks.first()?;
        // A quarter for one object: one that hangs leaves room for others.
        let own = match self.coming_of.get(&object) {
            Some(coming) => (self.bytes_max / 4).saturating_sub(*coming),
            None => (self.bytes_max / 4).max(first),
        };
        let forgotten = if wanted { self.forgotten(now) } else { 0 };
        let mut room = self.bytes_max.saturating_sub(self.coming + self.unread - forgotten).min(own);
        if wanted && self.coming == 0 && self.bytes_max < first {
            room = first; // Larger than everything there is, and it must come all the same.
        }
        let mut taken = Vec::new();
        for (block, weight) in blocks {
            let Some(rest) = room.checked_sub(*weight) else { break };
            room = rest;
            taken.push((*block, *weight));
        }
        if taken.is_empty() {
            return None;
        }
        self.evict_for(taken.iter().map(|(_, weight)| weight).sum(), wanted.then_some(now));
        let slots = taken.into_iter().map(|(block, weight)| self.come(BlockKey { object, block }, weight, now));
        Some(slots.collect())
    }

    /// A block has come, with the weight that room was taken for.
    pub(super) fn arrived(&mut self, key: BlockKey, block: Arc<Block>, now: Instant) {
        let weight = block.weight();
        let Some(held) = self.held.get(&key).filter(|held| held.state == State::Coming) else { return };
        let slot = held.slot.clone();
        self.remove(key);
        if weight <= self.bytes_max {
            self.insert(key, slot.clone(), weight, State::Unread, now);
        }
        slot.send_replace(Some(Ok(block)));
    }

    /// A block will not come. Whoever waits learns why.
    pub(super) fn failed(&mut self, key: BlockKey, error: ObjectError) {
        if self.held.get(&key).is_some_and(|held| held.state == State::Coming)
            && let Some(held) = self.remove(key)
        {
            held.slot.send_replace(Some(Err(error)));
        }
    }

    /// Keeps a block that came along with something else, if there is room.
    pub(super) fn offer(&mut self, key: BlockKey, block: Arc<Block>, now: Instant) {
        let weight = block.weight();
        if self.contains(key) || self.bytes_max < self.coming + self.unread + weight {
            return;
        }
        self.evict_for(weight, None);
        let slot = Arc::new(watch::Sender::new(Some(Ok(block))));
        self.insert(key, slot, weight, State::Unread, now);
    }

    /// Somebody has read a block to its end: it is the first to go, after those that were read before.
    pub(super) fn consumed(&mut self, key: BlockKey) {
        let Some(held) = self.held.get(&key).filter(|held| held.state != State::Coming) else { return };
        let (slot, weight, since) = (held.slot.clone(), held.weight, held.since);
        self.remove(key);
        self.insert(key, slot, weight, State::Read, since);
    }

    /// Weight of what nobody came to read for a while.
    fn forgotten(&self, now: Instant) -> usize {
        let held = self.unread_order.values().filter_map(|key| self.held.get(key));
        held.take_while(|held| held.is_forgotten(now)).map(|held| held.weight).sum()
    }

    fn come(&mut self, key: BlockKey, weight: usize, now: Instant) -> Slot {
        let slot = Arc::new(watch::Sender::new(None));
        self.insert(key, Arc::clone(&slot), weight, State::Coming, now);
        slot
    }

    fn insert(&mut self, key: BlockKey, slot: Slot, weight: usize, state: State, since: Instant) {
        self.clock += 1;
        match state {
            State::Coming => {
                self.coming += weight;
                *self.coming_of.entry(key.object).or_default() += weight;
            }
            State::Unread => {
                self.unread += weight;
                self.unread_order.insert(self.clock, key);
            }
            State::Read => {
                self.read += weight;
                self.read_order.insert(self.clock, key);
            }
        }
        let before = self.held.insert(key, Held { slot, weight, state, age: self.clock, since });
        assert!(before.is_none(), "a block is held once");
    }

    fn remove(&mut self, key: BlockKey) -> Option<Held> {
        let held = self.held.remove(&key)?;
        match held.state {
            State::Coming => {
                self.coming -= held.weight;
                let of = self.coming_of.get_mut(&key.object).expect("counted when it was reserved");
                *of -= held.weight;
                if *of == 0 {
                    self.coming_of.remove(&key.object);
                }
            }
            State::Unread => {
                self.unread -= held.weight;
                self.unread_order.remove(&held.age);
            }
            State::Read => {
                self.read -= held.weight;
                self.read_order.remove(&held.age);
            }
        }
        Some(held)
    }

    /// Makes room: what was read goes first, oldest first, then what nobody came to read, if the time is given.
    fn evict_for(&mut self, needed: usize, now: Option<Instant>) {
        while self.bytes_max < self.bytes() + needed {
            let oldest_read = self.read_order.first_key_value().map(|(_, key)| *key);
            let oldest_unread = || {
                let (_, key) = self.unread_order.first_key_value()?;
                self.held.get(key).filter(|held| now.is_some_and(|now| held.is_forgotten(now))).map(|_| *key)
            };
            let Some(key) = oldest_read.or_else(oldest_unread) else { return };
            self.remove(key);
        }
    }
}

#[cfg(test)]
mod tests;
