//! The entry cache: entries just confirmed or read, of all topics of a broker.
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use ledger::{Entry, LedgerError, Ledgers};
use parking_lot::Mutex;
use proto::{EntryId, LedgerId};

/// A run takes no more entries once it has so many bytes: whole runs are evicted.
const RUN_BYTES: usize = 64 * 1024;
/// What an entry and a run cost beyond their payload.
const ENTRY_OVERHEAD: usize = size_of::<Bytes>();
const RUN_OVERHEAD: usize = 160;
/// Entries that have fewer bytes together are copied. They are parts of a buffer that a socket was read into, all of which is held as long
/// as one of them is; what was read with more fills its buffer well enough.
const COPIED_BELOW: usize = 4 * 1024;
/// A reader this close behind the start of a read under way waits for it instead of reading the same again.
const JOIN_ENTRIES: u64 = 1024;

type Read = BoxFuture<'static, Result<Arc<Vec<Entry>>, LedgerError>>;

/// Holds entries within a bound in bytes, oldest out first. Cheap to clone.
#[derive(Clone)]
pub(crate) struct EntryCache {
    /// A lock and not a task: every topic and every reader of a broker looks in here, each for a few lookups, and a hop per read
    /// would cost more than the read. Never held across an await.
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for EntryCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntryCache").field("bytes", &self.state.lock().bytes).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    bytes_max: usize,
    bytes: usize,
    /// By the first entry of each run. Runs of a ledger do not overlap.
    ledgers: HashMap<LedgerId, BTreeMap<u64, Run>>,
    /// Oldest first.
    age: VecDeque<(LedgerId, u64)>,
    /// Reads under way, by the entry they start at.
    reads: HashMap<LedgerId, Vec<(u64, WeakShared<Read>)>>,
}

#[derive(Default)]
struct Run {
    entries: Vec<Bytes>,
    bytes: usize,
}

impl Run {
    fn weight(&self) -> usize {
        RUN_OVERHEAD + self.bytes + ENTRY_OVERHEAD * self.entries.len()
    }
}

impl EntryCache {
    /// Holds up to `bytes_max`, overhead included.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { state: Arc::new(Mutex::new(State { bytes_max, ..State::default() })) }
    }

    /// What is held now, overhead included.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// Adds entries of a ledger, in order from `first` on. They must be confirmed: whoever asks for them gets them.
    pub(crate) fn insert(&self, ledger: LedgerId, first: EntryId, entries: &[Bytes]) {
        let bytes = entries.iter().map(Bytes::len).sum();
        if bytes < COPIED_BELOW {
            self.state.lock().insert(ledger, first.0, &copied(entries, bytes));
        } else {
            self.state.lock().insert(ledger, first.0, entries);
        }
    }

    /// The entries held from `first` on without a gap, below `end`: at most `bytes_max` but at least one, if it is held.
    pub(crate) fn get(&self, ledger: LedgerId, first: EntryId, end: EntryId, bytes_max: usize) -> Vec<Bytes> {
        self.state.lock().get(ledger, first.0, end.0, bytes_max)
    }

    /// Reads from the ledger, `bytes_max` at most but one entry at least, and keeps what came. Readers that ask for the same at
    /// the same time share one read. The entries start at or before `first`.
    pub(crate) async fn read(
        &self,
        ledgers: &Arc<dyn Ledgers>,
        ledger: LedgerId,
        first: EntryId,
        end: EntryId,
        bytes_max: usize,
    ) -> Result<Arc<Vec<Entry>>, LedgerError> {
        let joined = self.state.lock().under_way(ledger, first.0);
        if let Some(read) = joined {
            let found = read.await?;
            if found.last().is_some_and(|last| first <= last.entry) {
                return Ok(found);
            }
        }
        self.start_read(ledgers.clone(), ledger, first, end, bytes_max).await
    }

    fn start_read(
        &self,
        ledgers: Arc<dyn Ledgers>,
        ledger: LedgerId,
        first: EntryId,
        end: EntryId,
        bytes_max: usize,
    ) -> Shared<Read> {
        let cache = self.clone();
        let work = async move {
            let found = ledgers.read(ledger, first..end, bytes_max).await;
            let mut state = cache.state.lock();
            state.reads_done(ledger, first.0);
            let found = found?;
            let payloads: Vec<Bytes> = found.iter().map(|entry| entry.payload.clone()).collect();
            state.insert(ledger, first.0, &payloads);
            Ok(Arc::new(found))
        };
        let read = work.boxed().shared();
        if let Some(weak) = read.downgrade() {
            // Weak: when every reader has gone away, so has the read.
            self.state.lock().reads.entry(ledger).or_default().push((first.0, weak));
        }
        read
    }
}

impl State {
    fn get(&self, ledger: LedgerId, first: u64, end: u64, bytes_max: usize) -> Vec<Bytes> {
        let mut found = Vec::new();
        let Some(runs) = self.ledgers.get(&ledger) else { return found };
        let Some((&start, _)) = runs.range(..=first).next_back() else { return found };
        let (mut at, mut room) = (first, bytes_max);
        for (&run_first, run) in runs.range(start..) {
            if at < run_first {
                break;
            }
            for entry in run.entries.iter().skip(usize::try_from(at - run_first).unwrap_or(usize::MAX)) {
                if end <= at || (!found.is_empty() && room < entry.len()) {
                    return found;
                }
                room = room.saturating_sub(entry.len());
                found.push(entry.clone());
                at += 1;
            }
        }
        found
    }

    fn insert(&mut self, ledger: LedgerId, first: u64, entries: &[Bytes]) {
        let end = first + entries.len() as u64;
        let mut at = first;
        while at < end {
            // What is held already is left as it is; the gaps are filled.
            let runs = self.ledgers.entry(ledger).or_default();
            if let Some((run_first, run)) = runs.range(..=at).next_back() {
                let run_end = run_first + run.entries.len() as u64;
                if at < run_end {
                    at = run_end;
                    continue;
                }
            }
            let gap_end = runs.range(at..).next().map_or(end, |(next, _)| *next).min(end);
            let piece = &entries[(at - first) as usize..(gap_end - first) as usize];
            self.insert_piece(ledger, at, piece);
            at = gap_end;
        }
        self.evict();
    }

    fn insert_piece(&mut self, ledger: LedgerId, first: u64, piece: &[Bytes]) {
        let runs = self.ledgers.entry(ledger).or_default();
        let mut rest = piece;
        let mut at = first;
        if let Some((run_first, run)) = runs.range_mut(..first).next_back()
            && run_first + run.entries.len() as u64 == first
        {
            self.bytes -= run.weight();
            let taken = fill(run, rest);
            self.bytes += run.weight();
            rest = &rest[taken..];
            at += taken as u64;
        }
        while !rest.is_empty() {
            let mut run = Run::default();
            let taken = fill(&mut run, rest);
            self.bytes += run.weight();
            runs.insert(at, run);
            self.age.push_back((ledger, at));
            rest = &rest[taken..];
            at += taken as u64;
        }
    }

    fn evict(&mut self) {
        while self.bytes_max < self.bytes {
            let Some((ledger, first)) = self.age.pop_front() else { return };
            let Some(runs) = self.ledgers.get_mut(&ledger) else { continue };
            if let Some(run) = runs.remove(&first) {
                self.bytes -= run.weight();
            }
            if runs.is_empty() {
                self.ledgers.remove(&ledger);
            }
        }
    }

    fn under_way(&self, ledger: LedgerId, first: u64) -> Option<Shared<Read>> {
        let reads = self.reads.get(&ledger)?;
        let near = |start: u64| start <= first && first - start < JOIN_ENTRIES;
        reads.iter().filter(|(start, _)| near(*start)).find_map(|(_, read)| read.upgrade())
    }

    fn reads_done(&mut self, ledger: LedgerId, first: u64) {
        if let Some(reads) = self.reads.get_mut(&ledger) {
            // Reads that were given up leave their entries behind for this to sweep.
            reads.retain(|(start, read)| *start != first && read.upgrade().is_some());
            if reads.is_empty() {
                self.reads.remove(&ledger);
            }
        }
    }
}

/// Moves entries into a run until it has enough, at least one if it is empty. Returns how many.
fn fill(run: &mut Run, entries: &[Bytes]) -> usize {
    let before = run.entries.len();
    for entry in entries {
        if !run.entries.is_empty() && RUN_BYTES < run.bytes + entry.len() {
            break;
        }
        run.bytes += entry.len();
        run.entries.push(entry.clone());
    }
    run.entries.len() - before
}

/// The same entries in a buffer of their own.
fn copied(entries: &[Bytes], bytes: usize) -> Vec<Bytes> {
    let mut all = BytesMut::with_capacity(bytes);
    entries.iter().for_each(|entry| all.extend_from_slice(entry));
    let mut all = all.freeze();
    entries.iter().map(|entry| all.split_to(entry.len())).collect()
}

#[cfg(test)]
mod tests;
