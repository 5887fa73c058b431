//! Indexes of objects that were opened, within a bound in bytes. Each object is opened once for all who want it.
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::cache::{BlockKey, ObjectKey};
use super::{OffloadedLedger, Shared, stopped};
use crate::offload::error::ObjectError;
use crate::offload::fetch::{TailBytes, read_tail};
use crate::offload::format::{Block, FormatError, Index, TAIL_BYTES, Tail};
use crate::offload::stores::Store;

/// Where an index will be, or why it will not.
pub(super) type IndexSlot = Arc<watch::Sender<Option<Result<Arc<Index>, ObjectError>>>>;

#[derive(Debug)]
struct Held {
    slot: IndexSlot,
    /// 0 while it is coming.
    weight: usize,
    age: u64,
}

/// Holds indexes, least recently used out first.
#[derive(Debug)]
pub(super) struct Indexes {
    bytes_max: usize,
    bytes: usize,
    held: HashMap<ObjectKey, Held>,
    order: BTreeMap<u64, ObjectKey>,
    clock: u64,
}

impl Indexes {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: 0, held: HashMap::new(), order: BTreeMap::new(), clock: 0 }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&mut self, key: ObjectKey) -> Option<IndexSlot> {
        let held = self.held.get_mut(&key)?;
        self.order.remove(&held.age);
        self.clock += 1;
        held.age = self.clock;
        self.order.insert(self.clock, key);
        Some(held.slot.clone())
    }

    /// One that is being opened.
    pub(super) fn come(&mut self, key: ObjectKey) -> IndexSlot {
        let slot = Arc::new(watch::Sender::new(None));
        self.clock += 1;
        self.order.insert(self.clock, key);
        self.held.insert(key, Held { slot: slot.clone(), weight: 0, age: self.clock });
        slot
    }

    /// Tells everyone who waits, and keeps what is worth keeping.
    fn settle(&mut self, key: ObjectKey, slot: &IndexSlot, outcome: Result<Arc<Index>, ObjectError>) {
        let ours = self.held.get_mut(&key).filter(|held| Arc::ptr_eq(&held.slot, slot));
        match (&outcome, ours) {
            (Ok(index), Some(held)) => {
                held.weight = index.weight();
                self.bytes += held.weight;
            }
            (Err(_), Some(_)) => self.remove(key), // The next reader tries again.
            (_, None) => {}
        }
        slot.send_replace(Some(outcome));
        while self.bytes_max < self.bytes {
            let Some((_, oldest)) = self.order.first_key_value() else { return };
            self.remove(*oldest);
        }
    }

    fn remove(&mut self, key: ObjectKey) {
        if let Some(held) = self.held.remove(&key) {
            self.order.remove(&held.age);
            self.bytes -= held.weight;
        }
    }
}

/// Answers those who wait also when the task that opens ends early.
struct Opening {
    shared: Arc<Shared>,
    key: ObjectKey,
    slot: IndexSlot,
    text: String,
}

impl Drop for Opening {
    fn drop(&mut self) {
        if self.slot.borrow().is_none() {
            let outcome = Err(stopped(self.text.clone()));
            self.shared.state.lock().indexes.settle(self.key, &self.slot, outcome);
        }
    }
}

/// What opens an object in a task of its own, so that a reader that leaves harms nobody. Spawn it once the lock is released: it takes
/// the lock itself when it is dropped.
pub(super) fn opening(
    shared: &Arc<Shared>,
    key: ObjectKey,
    store: Arc<Store>,
    ledger: &OffloadedLedger,
    slot: &IndexSlot,
) -> impl Future<Output = ()> + use<> {
    let text = store.text(&store.path(&ledger.attempt.object(key.number)));
    let opening = Opening { shared: shared.clone(), key, slot: slot.clone(), text };
    let (ledger, end) = (ledger.clone(), shared.end.clone());
    async move {
        let began = Instant::now();
        let opened = tokio::select! {
            opened = open(&store, &ledger, key.number) => opened,
            () = end.cancelled() => Err(stopped(opening.text.clone())),
        };
        opening.shared.stores.offloading().opened(&ledger.attempt.topic, began.elapsed());
        let mut state = opening.shared.state.lock();
        let opened = opened.map(|(index, blocks)| {
            for (block, content) in blocks {
                state.blocks.offer(BlockKey { object: key, block }, Arc::new(content), Instant::now());
            }
            Arc::new(index)
        });
        state.indexes.settle(key, &opening.slot, opened);
    }
}

/// One request for the end of the object; a second one for an index that does not fit. Blocks that came along are given too.
async fn open(store: &Store, ledger: &OffloadedLedger, number: u32) -> Result<(Index, Vec<(u32, Block)>), ObjectError> {
    let _turn = store.turn().await;
    let attempt = &ledger.attempt;
    let path = store.path(&attempt.object(number));
    let corrupt = |reason| ObjectError::Corrupt { object: store.text(&path), reason };
    let mut object_bytes = (ledger.objects == 1).then_some(ledger.bytes);
    let mut length = TAIL_BYTES;
    let (index, tail) = loop {
        let tail = read_tail(store, &path, object_bytes, length).await?;
        match Tail::parse(&tail.bytes, tail.object_bytes, attempt, number).map_err(corrupt)? {
            Tail::Open(index) => break (index, tail),
            Tail::From(offset) if length == TAIL_BYTES => {
                object_bytes = Some(tail.object_bytes);
                length = tail.object_bytes - offset;
            }
            Tail::From(_) => return Err(corrupt(FormatError::Inconsistent("the index moves"))),
        }
    };
    if index.trailer().last != (number + 1 == ledger.objects) {
        return Err(corrupt(FormatError::Inconsistent("there are more or fewer objects than recorded")));
    }
    let blocks = blocks_in(&tail, &index, ledger).map_err(corrupt)?;
    Ok((index, blocks))
}

/// Small objects come whole with their end.
fn blocks_in(tail: &TailBytes, index: &Index, ledger: &OffloadedLedger) -> Result<Vec<(u32, Block)>, FormatError> {
    let from = tail.object_bytes - tail.bytes.len() as u64;
    let mut found = Vec::new();
    for number in (0..index.blocks()).rev() {
        let place = index.block(number);
        let range = place.bytes();
        let Some(start) = range.start.checked_sub(from).and_then(|start| usize::try_from(start).ok()) else { break };
        let bytes = tail.bytes.slice(start..start + place.length as usize);
        found.push((number, Block::parse(bytes, &place, ledger.attempt.ledger, ledger.attempt.id)?));
    }
    Ok(found)
}
