//! What was read lately: windows of segments and runs of footers, both bounded in bytes.
use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use proto::{EntryId, LedgerId};

use crate::disk::{AlignedBuffer, BLOCK};
use crate::format::{IndexEntry, SegmentId};
use crate::index::{Extent, Found, Index, Run};
use crate::segments::{Segments, read_run};

/// One read of a segment: large enough that reading many ledgers in turn finds most of their entries read already.
pub(crate) const WINDOW: u64 = 256 << 10;
/// Windows whose touches are counted, and the touch that reads one whole.
const TOUCHED_MAX: usize = 512;
const TOUCHES_MAX: u32 = 4;
/// Of index entries of sealed segments.
const RUN_BYTES_MAX: usize = 4 << 20;

#[derive(Debug)]
struct Slot<V> {
    value: V,
    bytes: usize,
    used: u64,
}

/// Keeps what was used last. Searching all slots for the oldest is cheap beside the read that makes it necessary.
#[derive(Debug)]
struct Recent<K, V> {
    slots: HashMap<K, Slot<V>>,
    bytes: usize,
    bytes_max: usize,
    uses: u64,
}

impl<K: Hash + Eq + Clone, V: Clone> Recent<K, V> {
    fn new(bytes_max: usize) -> Self {
        Self { slots: HashMap::new(), bytes: 0, bytes_max, uses: 0 }
    }

    fn get(&mut self, key: &K) -> Option<V> {
        self.uses += 1;
        let slot = self.slots.get_mut(key)?;
        slot.used = self.uses;
        Some(slot.value.clone())
    }

    /// Says what had to go.
    fn put(&mut self, key: K, value: V, bytes: usize) -> Vec<V> {
        self.uses += 1;
        let mut gone = Vec::new();
        if let Some(old) = self.slots.insert(key, Slot { value, bytes, used: self.uses }) {
            self.bytes -= old.bytes;
            gone.push(old.value);
        }
        self.bytes += bytes;
        while self.bytes_max < self.bytes && 1 < self.slots.len() {
            let oldest = self.slots.iter().min_by_key(|(_, slot)| slot.used).map(|(key, _)| key.clone());
            if let Some(slot) = oldest.and_then(|key| self.slots.remove(&key)) {
                self.bytes -= slot.bytes;
                gone.push(slot.value);
            }
        }
        gone
    }
}

/// Runs by their place: segment and offset.
type RunCache = Recent<(SegmentId, u32), Arc<Vec<IndexEntry>>>;

/// What was read of a window.
#[derive(Debug)]
struct Held {
    /// Where in the file it begins.
    from: u64,
    bytes: AlignedBuffer,
}

impl Held {
    fn covers(&self, from: u64, upto: u64) -> bool {
        self.from <= from && upto <= self.from + self.bytes.len() as u64
    }
}

/// What a reader will want next besides the bytes that it asks for.
#[derive(Debug, Clone)]
pub(crate) enum Near {
    /// Nothing: windows that nobody else asks for either are not read as a whole.
    Nothing,
    /// What is in this range, and nothing around it.
    Run(Range<u64>),
    /// Much of what is around them.
    All,
}

/// Shared by all threads that read; each lock is held for a look-up, never over a read of the disk.
#[derive(Debug)]
pub(crate) struct Caches {
    windows: Mutex<Recent<(SegmentId, u64), Arc<Held>>>,
    spare: Mutex<Vec<AlignedBuffer>>,
    /// How often windows that are not held were touched lately.
    touched: Mutex<Recent<(SegmentId, u64), u32>>,
    runs: Mutex<RunCache>,
    pub(crate) hits: AtomicU64,
    pub(crate) misses: AtomicU64,
}

impl Caches {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            windows: Mutex::new(Recent::new(bytes_max)),
            spare: Mutex::default(),
            touched: Mutex::new(Recent::new(TOUCHED_MAX)),
            runs: Mutex::new(Recent::new(RUN_BYTES_MAX)),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// Whether a window is neither held nor touched so often that it should be. Readers of many ledgers in turn touch the
    /// same windows and get them whole; a reader of one ledger among a thousand would read a thousand times its bytes.
    fn is_lonely(&self, segment: SegmentId, offset: u64, end: u64) -> bool {
        let key = (segment, offset / WINDOW);
        if self.windows.lock().get(&key).is_some_and(|window| window.covers(offset, end)) {
            return false;
        }
        let mut touched = self.touched.lock();
        let times = touched.get(&key).unwrap_or(0) + 1;
        let lonely = times < TOUCHES_MAX;
        touched.put(key, if lonely { times } else { 0 }, 1);
        lonely
    }

    /// Bytes of windows held.
    pub(crate) fn bytes(&self) -> usize {
        self.windows.lock().bytes
    }
}

impl Segments {
    /// Appends `length` bytes of a segment to `target`, through the cache. Fewer where the file ends.
    pub(crate) fn read(
        &self,
        segment: SegmentId,
        data_end: u64,
        (offset, length): (u64, usize),
        near: &Near,
        target: &mut Vec<u8>,
    ) -> io::Result<()> {
        let end = offset + length as u64;
        let bounds = match near {
            Near::Nothing if (end - offset) < WINDOW / 4 && self.caches.is_lonely(segment, offset, end) => {
                return self.read_alone(segment, offset, length, target);
            }
            Near::Nothing | Near::All => 0..data_end,
            Near::Run(range) => range.start.min(offset)..range.end.max(end).min(data_end),
        };
        let mut at = offset;
        while at < end {
            let upto = end.min((at / WINDOW + 1) * WINDOW);
            let window = self.window(segment, &bounds, at, upto)?;
            let from = usize::try_from(at - window.from).expect("within a window");
            let to = usize::try_from(upto - window.from).expect("within a window").min(window.bytes.len());
            if to <= from {
                break;
            }
            target.extend_from_slice(&window.bytes.bytes()[from..to]);
            at = window.from + to as u64;
        }
        Ok(())
    }

    fn read_alone(&self, segment: SegmentId, offset: u64, length: usize, target: &mut Vec<u8>) -> io::Result<()> {
        let from = offset / BLOCK as u64 * BLOCK as u64;
        let skip = usize::try_from(offset - from).expect("within a block");
        let mut buffer = AlignedBuffer::zeroed((skip + length).next_multiple_of(BLOCK));
        let count = self.file(segment)?.read_at(from, buffer.bytes_mut())?;
        target.extend_from_slice(&buffer.bytes()[skip.min(count)..(skip + length).min(count)]);
        Ok(())
    }

    /// The window that `at` lies in: of what is inside of `bounds` at least what is between `at` and `upto`.
    fn window(&self, segment: SegmentId, bounds: &Range<u64>, at: u64, upto: u64) -> io::Result<Arc<Held>> {
        let key = (segment, at / WINDOW);
        if let Some(window) = self.caches.windows.lock().get(&key) {
            // The tail's last window grows, and others were read in part: what is held may not be what is asked for.
            if window.covers(at, upto) {
                self.caches.hits.fetch_add(1, Ordering::Relaxed);
                return Ok(window);
            }
        }
        self.caches.misses.fetch_add(1, Ordering::Relaxed);
        let start = key.1 * WINDOW;
        let from = start.max(bounds.start / BLOCK as u64 * BLOCK as u64);
        let length = (start + WINDOW).min(bounds.end).saturating_sub(from);
        let length = usize::try_from(length).expect("a window is small");
        let spare = self.caches.spare.lock().pop();
        let mut bytes = spare.unwrap_or_else(|| AlignedBuffer::with_capacity(length));
        bytes.resize(length.next_multiple_of(BLOCK));
        let count = self.file(segment)?.read_at(from, bytes.bytes_mut())?;
        bytes.resize(count);
        let capacity = bytes.capacity();
        let window = Arc::new(Held { from, bytes });
        let gone = self.caches.windows.lock().put(key, window.clone(), capacity);
        let mut spare = self.caches.spare.lock();
        spare.extend(gone.into_iter().filter_map(Arc::into_inner).map(|held| held.bytes));
        spare.truncate(2);
        Ok(window)
    }

    /// Index entries of a sealed segment, through the cache.
    pub(crate) fn run(&self, extent: &Extent, run: &Run) -> io::Result<Arc<Vec<IndexEntry>>> {
        let key = (run.segment, run.offset);
        if let Some(entries) = self.caches.runs.lock().get(&key) {
            return Ok(entries);
        }
        let entries = read_run(self.file(run.segment)?.as_ref(), extent.generation, run)?;
        let damaged = || {
            let path = self.path(run.segment);
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: index damaged at {}", path.display(), run.offset))
        };
        let entries = Arc::new(entries.ok_or_else(damaged)?);
        let bytes = entries.capacity() * size_of::<IndexEntry>();
        self.caches.runs.lock().put(key, entries.clone(), bytes);
        Ok(entries)
    }

    /// The entry, if it is held. Reads the disk only for an entry below the highest of its ledger.
    pub(crate) fn held(&self, index: &Index, ledger: LedgerId, entry: EntryId) -> io::Result<Option<IndexEntry>> {
        match index.find(ledger, entry, 1) {
            Found::Nowhere => Ok(None),
            Found::Open(_, _, entries) => Ok(entries.first().copied()),
            Found::Sealed(runs) => {
                for (run, extent) in runs {
                    let entries = self.run(&extent, &run)?;
                    if let Ok(at) = entries.binary_search_by_key(&entry, |held| held.entry) {
                        return Ok(Some(entries[at]));
                    }
                }
                Ok(None)
            }
        }
    }
}
