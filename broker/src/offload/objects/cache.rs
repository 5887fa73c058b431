//! Blocks that were read or are on their way, within a bound in bytes. Pure: it decides what is kept and who may read how much.
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use proto::LedgerId;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::offload::error::ObjectError;
use crate::offload::format::Block;
use crate::offload::name::AttemptId;

/// What somebody wanted stays so long for him; then others who wait may have its room.
const UNREAD_KEPT: Duration = Duration::from_secs(5);

/// One object of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ObjectKey {
    /// Which of the stores of this process.
    pub(super) store: u32,
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
    /// It came before anybody wanted it. Under pressure it goes again: maybe nobody comes.
    Ahead,
    /// Somebody wants it and has not read it to its end yet: evicting it costs another request.
    Unread,
    /// Somebody has. Others may come after.
    Read,
}

#[derive(Debug)]
struct Held {
    slot: Slot,
    weight: usize,
    state: State,
    /// Whether a reader has asked for it.
    wanted: bool,
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
    ahead: usize,
    unread: usize,
    read: usize,
    /// By age. What is coming is in none.
    ahead_order: BTreeMap<u64, BlockKey>,
    unread_order: BTreeMap<u64, BlockKey>,
    read_order: BTreeMap<u64, BlockKey>,
    coming_of: HashMap<ObjectKey, usize>,
    coming_from: HashMap<u32, usize>,
    clock: u64,
}

impl BlockCache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            held: HashMap::new(),
            coming: 0,
            ahead: 0,
            unread: 0,
            read: 0,
            ahead_order: BTreeMap::new(),
            unread_order: BTreeMap::new(),
            read_order: BTreeMap::new(),
            coming_of: HashMap::new(),
            coming_from: HashMap::new(),
            clock: 0,
        }
    }

    /// Bytes held and on their way.
    pub(super) fn bytes(&self) -> usize {
        self.coming + self.ahead + self.unread + self.read
    }

    /// The slot of a block that is held or coming, for a reader that wants it.
    pub(super) fn get(&mut self, key: BlockKey) -> Option<Slot> {
        let held = self.held.get_mut(&key)?;
        held.wanted = true;
        let slot = held.slot.clone();
        if held.state == State::Ahead {
            let held = self.remove(key)?;
            self.insert(key, Held { state: State::Unread, ..held });
        }
        Some(slot)
    }

    pub(super) fn contains(&self, key: BlockKey) -> bool {
        self.held.contains_key(&key)
    }

    /// How much one request should ask for at most: half of what neither comes nor waits to be read, and a quarter of everything. Many
    /// readers thus share what there is, and what was fetched for one of them is not thrown away for another.
    pub(super) fn share(&self) -> usize {
        let free = self.bytes_max.saturating_sub(self.coming + self.ahead + self.unread);
        (free / 2).min(self.bytes_max / 4)
    }

    /// Takes room for blocks of an object, given by number and weight, and makes a slot for each. `wanted`: somebody waits for the first,
    /// and gets it with as many others as there is room for; blocks may go for it that nobody wanted yet, or came to read for a while.
    /// Otherwise: all, in free room, or none. `None`: there is no room.
    pub(super) fn reserve(
        &mut self,
        object: ObjectKey,
        blocks: &[(u32, usize)],
        wanted: bool,
        now: Instant,
    ) -> Option<Vec<Slot>> {
        let (_, first) = *blocks.first()?;
        let kept = if wanted { self.unread - self.forgotten(now) } else { self.ahead + self.unread };
        let mut room = self.bytes_max.saturating_sub(self.coming + kept).min(self.allowed(object, first));
        if wanted && self.coming == 0 && self.bytes_max < first {
            room = first; // Larger than everything there is, and it must come all the same.
        }
        let mut taken = Vec::new();
        for (block, weight) in blocks {
            let Some(rest) = room.checked_sub(*weight) else { break };
            room = rest;
            taken.push((*block, *weight));
        }
        if taken.is_empty() || (!wanted && taken.len() < blocks.len()) {
            return None;
        }
        self.evict_for(taken.iter().map(|(_, weight)| weight).sum(), wanted.then_some(now));
        let mut slots = Vec::with_capacity(taken.len());
        for (at, (block, weight)) in taken.into_iter().enumerate() {
            let slot = Arc::new(watch::Sender::new(None));
            slots.push(Arc::clone(&slot));
            let wanted = wanted && at == 0;
            let held = Held { slot, weight, state: State::Coming, wanted, age: 0, since: now };
            self.insert(BlockKey { object, block }, held);
        }
        Some(slots)
    }

    /// How much more may be on its way of an object: half of everything, and three quarters of its store, so that an object or a store
    /// that hangs leaves room for others. `first` may be in any case when nothing else is.
    fn allowed(&self, object: ObjectKey, first: usize) -> usize {
        let rest = |coming: Option<&usize>, limit: usize| match coming {
            Some(coming) => limit.saturating_sub(*coming),
            None => limit.max(first),
        };
        let of_object = rest(self.coming_of.get(&object), self.bytes_max / 2);
        of_object.min(rest(self.coming_from.get(&object.store), self.bytes_max / 4 * 3))
    }

    /// A block has come, with the weight that room was taken for.
    pub(super) fn arrived(&mut self, key: BlockKey, block: Arc<Block>, now: Instant) {
        if self.held.get(&key).is_none_or(|held| held.state != State::Coming) {
            return;
        }
        let Some(held) = self.remove(key) else { return };
        let (slot, weight) = (held.slot.clone(), block.weight());
        if weight <= self.bytes_max {
            let state = if held.wanted { State::Unread } else { State::Ahead };
            self.insert(key, Held { state, weight, since: now, ..held });
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
        if self.contains(key) || self.bytes_max < self.coming + self.ahead + self.unread + weight {
            return;
        }
        self.evict_for(weight, None);
        let slot = Arc::new(watch::Sender::new(Some(Ok(block))));
        self.insert(key, Held { slot, weight, state: State::Ahead, wanted: false, age: 0, since: now });
    }

    /// Somebody has read a block to its end: it is the first to go, after those that were read before.
    pub(super) fn consumed(&mut self, key: BlockKey) {
        if self.held.get(&key).is_none_or(|held| held.state == State::Coming) {
            return;
        }
        if let Some(held) = self.remove(key) {
            self.insert(key, Held { state: State::Read, ..held });
        }
    }

    /// Weight of what nobody came to read for a while.
    fn forgotten(&self, now: Instant) -> usize {
        let held = self.unread_order.values().filter_map(|key| self.held.get(key));
        held.take_while(|held| held.is_forgotten(now)).map(|held| held.weight).sum()
    }

    fn insert(&mut self, key: BlockKey, held: Held) {
        self.clock += 1;
        let (total, order) = match held.state {
            State::Coming => {
                *self.coming_of.entry(key.object).or_default() += held.weight;
                *self.coming_from.entry(key.object.store).or_default() += held.weight;
                (&mut self.coming, None)
            }
            State::Ahead => (&mut self.ahead, Some(&mut self.ahead_order)),
            State::Unread => (&mut self.unread, Some(&mut self.unread_order)),
            State::Read => (&mut self.read, Some(&mut self.read_order)),
        };
        *total += held.weight;
        if let Some(order) = order {
            order.insert(self.clock, key);
        }
        let before = self.held.insert(key, Held { age: self.clock, ..held });
        assert!(before.is_none(), "a block is held once");
    }

    fn remove(&mut self, key: BlockKey) -> Option<Held> {
        let held = self.held.remove(&key)?;
        match held.state {
            State::Coming => {
                self.coming -= held.weight;
                take_off(&mut self.coming_of, key.object, held.weight);
                take_off(&mut self.coming_from, key.object.store, held.weight);
            }
            State::Ahead => {
                self.ahead -= held.weight;
                self.ahead_order.remove(&held.age);
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

    /// Makes room: what was read goes first. With the time given, what nobody wanted yet follows, and then what nobody came to read.
    /// Of each the oldest.
    fn evict_for(&mut self, needed: usize, now: Option<Instant>) {
        while self.bytes_max < self.bytes() + needed {
            let oldest = |order: &BTreeMap<u64, BlockKey>| order.first_key_value().map(|(_, key)| *key);
            let forgotten = |key: &BlockKey| now.is_some_and(|now| self.held[key].is_forgotten(now));
            let found = oldest(&self.read_order)
                .or_else(|| oldest(&self.ahead_order).filter(|_| now.is_some()))
                .or_else(|| oldest(&self.unread_order).filter(forgotten));
            let Some(key) = found else { return };
            self.remove(key);
        }
    }
}

fn take_off<K: Copy + Eq + Hash>(coming: &mut HashMap<K, usize>, key: K, weight: usize) {
    let of = coming.get_mut(&key).expect("counted when it was reserved");
    *of -= weight;
    if *of == 0 {
        coming.remove(&key);
    }
}

#[cfg(test)]
mod tests;
