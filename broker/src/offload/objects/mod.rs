//! Reading ledgers from objects: one cache of blocks for all readers of a broker, and one request for what several want.
mod cache;
mod indexes;
mod request;
mod sequence;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ledger::Entry;
use parking_lot::Mutex;
use proto::EntryId;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::ObjectError;
use super::format::{Block, FormatError, Index};
use super::location::Location;
use super::name::Attempt;
use super::stores::{Store, Stores};
use cache::{BlockCache, BlockKey, ObjectKey};
use indexes::Indexes;
use request::Request;
pub use sequence::Sequence;

/// A read that finds no room in the cache waits so long for some.
const ROOM_WITHIN: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The part of the cache that indexes of objects may take.
const INDEX_SHARE: usize = 8;
/// Below it not even a few blocks fit.
const CACHE_BYTES_MIN: usize = 8 << 20;

/// A ledger that lies in objects, as the topic's record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffloadedLedger {
    /// In which store.
    pub store: Location,
    /// What the objects are called.
    pub attempt: Attempt,
    /// How many there are, numbered from 0.
    pub objects: u32,
    /// Of all objects together.
    pub bytes: u64,
}

/// Reads ledgers from objects. One per broker; cheap to clone.
#[derive(Debug, Clone)]
pub struct Objects {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    stores: Stores,
    /// A lock and not a task: every reader looks in here, each for a few lookups, and a hop per read would cost more than the
    /// read. Never held across an await.
    state: Mutex<State>,
    /// Told whenever something that was coming has come or failed.
    room: Notify,
    tasks: TaskTracker,
    end: CancellationToken,
    hits: AtomicU64,
    misses: AtomicU64,
}

#[derive(Debug)]
struct State {
    blocks: BlockCache,
    indexes: Indexes,
}

/// An object that was opened.
#[derive(Debug, Clone)]
struct Opened {
    store: Arc<Store>,
    attempt: Attempt,
    key: ObjectKey,
    index: Arc<Index>,
}

impl Objects {
    /// Holds `cache_bytes` of blocks, at least 8 MiB, and indexes of an eighth of that besides.
    #[must_use]
    pub fn new(stores: Stores, cache_bytes: usize) -> Self {
        let cache_bytes = cache_bytes.max(CACHE_BYTES_MIN);
        let blocks = BlockCache::new(cache_bytes);
        let state = State { blocks, indexes: Indexes::new(cache_bytes / INDEX_SHARE) };
        let shared = Shared {
            stores,
            state: Mutex::new(state),
            room: Notify::new(),
            tasks: TaskTracker::new(),
            end: CancellationToken::new(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Entries from the start of `entries`, at most `bytes_max` of payload but at least one, without gaps. The range must lie within
    /// the ledger. Each payload is a slice of a block, which holds about 1 MiB or that one entry. Cancel safe: what was asked for
    /// comes into the cache all the same.
    pub async fn read(
        &self,
        ledger: &OffloadedLedger,
        entries: Range<EntryId>,
        bytes_max: usize,
        sequence: &mut Sequence,
    ) -> Result<Vec<Entry>, ObjectError> {
        if entries.end <= entries.start {
            return Ok(Vec::new());
        }
        let read = self.read_some(ledger, &entries, bytes_max, sequence).await;
        let bytes = read.as_ref().map(|found| found.iter().map(|entry| entry.payload.len()).sum()).ok();
        self.shared.stores.offloading().read(&ledger.attempt.topic, bytes);
        read
    }

    /// Waits for the reads under way, which end soon: nothing is asked any more.
    pub async fn stop(&self) {
        self.shared.end.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    /// What the cache holds and what it was good for.
    #[must_use]
    pub fn cache(&self) -> CacheNumbers {
        let (bytes, index_bytes) = {
            let state = self.shared.state.lock();
            (state.blocks.bytes(), state.indexes.bytes())
        };
        let (hits, misses) = (self.shared.hits.load(Ordering::Relaxed), self.shared.misses.load(Ordering::Relaxed));
        CacheNumbers { bytes, index_bytes, hits, misses }
    }

    async fn read_some(
        &self,
        ledger: &OffloadedLedger,
        entries: &Range<EntryId>,
        bytes_max: usize,
        sequence: &mut Sequence,
    ) -> Result<Vec<Entry>, ObjectError> {
        let object = self.shared.find(ledger, entries.start).await?;
        let reach = sequence.begin(ledger, entries.start);
        let number = object.index.find(entries.start).expect("the object was chosen because it holds the entry");
        let block = self.shared.block(&object, number, reach.window).await?;
        let mut found = Found { entries: Vec::new(), bytes: 0, next: entries.start };
        let mut last = number;
        let mut goes_on = found.take(&block, entries.end, bytes_max);
        while goes_on {
            self.shared.consumed(&object, last);
            let ready = self.shared.ready(&object, last + 1).filter(|_| found.next < entries.end);
            let Some(block) = ready else { break };
            last += 1;
            goes_on = found.take(&block, entries.end, bytes_max);
        }
        sequence.end(ledger, found.next, found.bytes);
        if reach.ahead {
            self.shared.ask_ahead(&object, last, sequence.window());
        }
        Ok(found.entries)
    }
}

/// What the cache of blocks holds and what it was good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheNumbers {
    /// Bytes of blocks, held and on their way.
    pub bytes: usize,
    /// Bytes of indexes.
    pub index_bytes: usize,
    /// Blocks that were there when a reader wanted them.
    pub hits: u64,
    /// Blocks that a reader had to wait for.
    pub misses: u64,
}

/// Entries collected for one read.
struct Found {
    entries: Vec<Entry>,
    bytes: usize,
    next: EntryId,
}

impl Found {
    /// Takes what is wanted of a block. Whether its last entry was taken.
    fn take(&mut self, block: &Block, end: EntryId, bytes_max: usize) -> bool {
        while self.next < end.min(block.end()) {
            let Some(entry) = block.entry(self.next) else { return false };
            let bytes = self.bytes + entry.payload.len();
            if !self.entries.is_empty() && bytes_max < bytes {
                return false;
            }
            self.bytes = bytes;
            self.entries.push(entry);
            self.next = self.next.next();
        }
        self.next == block.end()
    }
}

impl Shared {
    /// The object that holds an entry. With several, they are opened as a dictionary is.
    async fn find(self: &Arc<Self>, ledger: &OffloadedLedger, entry: EntryId) -> Result<Opened, ObjectError> {
        let (mut low, mut high) = (0, ledger.objects);
        while low < high {
            let middle = low + (high - low) / 2;
            let opened = self.open(ledger, middle).await?;
            let trailer = opened.index.trailer();
            if entry < trailer.first {
                high = middle;
            } else if trailer.end <= entry {
                low = middle + 1;
            } else {
                return Ok(opened);
            }
        }
        let object = format!("{}/{}", ledger.store.root(), ledger.attempt.prefix());
        Err(ObjectError::Corrupt { object, reason: FormatError::Inconsistent("no object holds the entry") })
    }

    async fn open(self: &Arc<Self>, ledger: &OffloadedLedger, number: u32) -> Result<Opened, ObjectError> {
        let object = || format!("{}/{}", ledger.store.root(), ledger.attempt.object(number));
        let store = self.stores.open(&ledger.store);
        let store = store.map_err(|error| ObjectError::Refused { object: object(), reason: error.to_string() })?;
        let Attempt { ledger: id, id: attempt, .. } = ledger.attempt;
        let key = ObjectKey { store: store.number(), ledger: id, attempt, number };
        let (slot, opening) = {
            let mut state = self.state.lock();
            match state.indexes.get(key) {
                Some(slot) => (slot, None),
                None => {
                    let slot = state.indexes.come(key);
                    let opening = indexes::opening(self, key, store.clone(), ledger, &slot);
                    (slot, Some(opening))
                }
            }
        };
        if let Some(opening) = opening {
            self.tasks.spawn(opening);
        }
        let index = answer(&slot).await.ok_or_else(|| stopped(object()))??;
        Ok(Opened { store, attempt: ledger.attempt.clone(), key, index })
    }

    /// A block, from the cache or from the store. The request asks for up to `window` bytes of what follows too.
    async fn block(self: &Arc<Self>, object: &Opened, number: u32, window: usize) -> Result<Arc<Block>, ObjectError> {
        let until = Instant::now() + ROOM_WITHIN;
        let key = BlockKey { object: object.key, block: number };
        let text = || object.store.text(&object.store.path(&object.attempt.object(object.key.number)));
        loop {
            let room = self.room.notified();
            let begun = {
                let mut state = self.state.lock();
                match state.blocks.get(key) {
                    Some(slot) => Some((slot, None)),
                    None => {
                        let request = Request::new(&state.blocks, object, number, window);
                        let begun = request.begin(self, &mut state.blocks, true);
                        begun.map(|(slot, under_way)| (slot, Some(under_way)))
                    }
                }
            };
            if let Some((slot, under_way)) = begun {
                if let Some(under_way) = under_way {
                    self.tasks.spawn(under_way.run());
                }
                let hit = slot.borrow().is_some();
                let count = if hit { &self.hits } else { &self.misses };
                count.fetch_add(1, Ordering::Relaxed);
                return answer(&slot).await.ok_or_else(|| stopped(text()))?;
            }
            // Room comes by itself too, when what nobody reads gets old.
            let _ = timeout_at(until.min(Instant::now() + LOOK_AGAIN), room).await;
            if until <= Instant::now() {
                return Err(ObjectError::Unavailable { object: text(), reason: "too much is being read".into() });
            }
        }
    }

    /// A block that is there.
    fn ready(&self, object: &Opened, number: u32) -> Option<Arc<Block>> {
        let slot = self.state.lock().blocks.get(BlockKey { object: object.key, block: number })?;
        let block = slot.borrow().as_ref()?.as_ref().ok()?.clone();
        self.hits.fetch_add(1, Ordering::Relaxed);
        Some(block)
    }

    fn consumed(&self, object: &Opened, number: u32) {
        self.state.lock().blocks.consumed(BlockKey { object: object.key, block: number });
        self.room.notify_waiters();
    }

    /// Asks for what follows the block that a sequential reader is at, when less than half a window of it is there or coming.
    fn ask_ahead(self: &Arc<Self>, object: &Opened, at: u32, window: usize) {
        let begun = {
            let mut state = self.state.lock();
            let (mut next, mut ahead) = (at + 1, 0);
            while next < object.index.blocks() && state.blocks.contains(BlockKey { object: object.key, block: next }) {
                ahead += object.index.block(next).length as usize;
                next += 1;
            }
            if next == object.index.blocks() || window / 2 <= ahead {
                return;
            }
            Request::new(&state.blocks, object, next, window).begin(self, &mut state.blocks, false)
        };
        if let Some((_, under_way)) = begun {
            self.tasks.spawn(under_way.run());
        }
    }
}

/// Waits for what will be in a slot. `None`: whoever was to fill it is gone.
async fn answer<T: Clone>(slot: &Arc<tokio::sync::watch::Sender<Option<T>>>) -> Option<T> {
    let mut receiver = slot.subscribe();
    let filled = receiver.wait_for(Option::is_some).await.ok()?;
    filled.clone()
}

fn stopped(object: String) -> ObjectError {
    ObjectError::Unavailable { object, reason: "this broker stops reading objects".into() }
}

#[cfg(test)]
mod tests;
