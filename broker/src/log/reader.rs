//! Reading a log.
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use ledger::{LedgerError, Sealed};
use parking_lot::{Mutex, RwLock};
use proto::{EntryId, LedgerId, Position, TopicName};
use tokio::sync::watch;

use super::{Chain, ChainLedger, LogContext, LogError};

/// The most that is asked of a ledger at once, by a reader that goes on where it stopped.
const WINDOW_MAX: usize = 1 << 20;

/// An entry and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredEntry {
    /// Its place.
    pub position: Position,
    /// As published.
    pub bytes: Bytes,
}

/// Reads a topic's log as far as it is confirmed. Cheap to clone; each sequential reader has its own clone.
pub(crate) struct LogReader {
    shared: Arc<Shared>,
    /// A lock because `read` takes `&self`; nobody else has this clone's.
    sequence: Mutex<Sequence>,
}

struct Shared {
    topic: TopicName,
    context: LogContext,
    /// A lock and not a task: written once per batch of confirmations, asked many times per dispatched entry.
    chain: RwLock<Chain>,
    tail: watch::Sender<Position>,
}

/// How far a reader reads ahead: further while it goes on where it stopped.
#[derive(Debug, Clone, Copy, Default)]
struct Sequence {
    next: Position,
    window: usize,
}

impl Clone for LogReader {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), sequence: Mutex::default() }
    }
}

impl fmt::Debug for LogReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogReader").field("topic", &self.shared.topic).field("end", &self.end()).finish_non_exhaustive()
    }
}

impl LogReader {
    pub(super) fn new(context: &LogContext, topic: &TopicName, chain: Chain) -> Self {
        let tail = watch::Sender::new(chain.end());
        let shared = Shared { topic: topic.clone(), context: context.clone(), chain: RwLock::new(chain), tail };
        Self { shared: Arc::new(shared), sequence: Mutex::default() }
    }

    /// Changes with every confirmation: the position after the last confirmed entry.
    pub(crate) fn tail(&self) -> watch::Receiver<Position> {
        self.shared.tail.subscribe()
    }

    /// Runs `f` on the chain as it is now. Short: appends wait meanwhile.
    pub(crate) fn with_chain<R>(&self, f: impl FnOnce(&Chain) -> R) -> R {
        f(&self.shared.chain.read())
    }

    /// The first existing position, or the end.
    pub(crate) fn first(&self) -> Position {
        self.with_chain(Chain::first)
    }

    /// The position after the last confirmed entry.
    pub(crate) fn end(&self) -> Position {
        self.with_chain(Chain::end)
    }

    /// The last confirmed entry.
    pub(crate) fn last(&self) -> Option<Position> {
        self.with_chain(Chain::last)
    }

    /// The first existing position not before `position`, or the end.
    pub(crate) fn at_or_after(&self, position: Position) -> Position {
        self.with_chain(|chain| chain.at_or_after(position))
    }

    /// The ledgers, in order. The last may be open: then its numbers are of what is confirmed.
    pub(crate) fn chain(&self) -> Vec<ChainLedger> {
        self.with_chain(|chain| chain.ledgers().to_vec())
    }

    /// Entries from the first existing one not before `from`, in order: at most `entries_max`, at most `bytes_max` but at least one.
    /// May return fewer than there are; returns none only at the end. Never waits for entries to come. Cancel safe.
    pub(crate) async fn read(
        &self,
        from: Position,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<StoredEntry>, LogError> {
        let Shared { context, .. } = &*self.shared;
        let (first, found) = loop {
            let (first, end) = self.with_chain(|chain| {
                let first = chain.at_or_after(from);
                (first, chain.ledger(first.ledger).map_or(0, |listed| listed.entries))
            });
            if end <= first.entry.0 || entries_max == 0 {
                return Ok(Vec::new());
            }
            let wanted = EntryId(end.min(first.entry.0.saturating_add(entries_max as u64)));
            let found = context.cache.get(first.ledger, first.entry, wanted, bytes_max);
            if !found.is_empty() {
                break (first, found);
            }
            let window = self.window(first, bytes_max);
            match context.cache.read(&context.ledgers, first.ledger, first.entry, EntryId(end), window).await {
                Ok(read) => break (first, within(&read, first.entry, wanted, bytes_max)),
                // It left the chain while it was read: what comes after it is the first that exists.
                Err(_) if self.with_chain(|chain| chain.ledger(first.ledger).is_none()) => {}
                Err(error) => return Err(self.read_error(error)),
            }
        };
        self.sequence.lock().next = Position { entry: EntryId(first.entry.0 + found.len() as u64), ..first };
        let place =
            |(entry, bytes)| StoredEntry { position: Position { ledger: first.ledger, entry: EntryId(entry) }, bytes };
        Ok((first.entry.0..).zip(found).map(place).collect())
    }

    /// A ledger takes entries now.
    pub(super) fn opened(&self, ledger: LedgerId, now_ms: u64) {
        self.shared.chain.write().push(ledger, now_ms);
    }

    /// Entries are durable: from now on readers see them.
    pub(super) fn confirmed(&self, first: Position, entries: Vec<Bytes>, now_ms: u64) {
        let bytes = entries.iter().map(|entry| entry.len() as u64).sum();
        self.shared.context.cache.insert(first.ledger, first.entry, &entries);
        let end = {
            let mut chain = self.shared.chain.write();
            chain.grow(first.ledger, entries.len() as u64, bytes, now_ms);
            chain.end()
        };
        self.shared.tail.send_replace(end);
    }

    /// A ledger takes no more entries.
    pub(super) fn sealed(&self, ledger: LedgerId, sealed: Sealed, now_ms: u64) {
        self.shared.chain.write().seal(ledger, sealed.end.0, sealed.length, now_ms);
    }

    /// The first ledgers have left the chain for good. The tail is not told: nothing has come.
    pub(super) fn trimmed(&self, gone: &[LedgerId]) {
        self.shared.chain.write().drop_first(gone);
    }

    fn window(&self, first: Position, bytes_max: usize) -> usize {
        let mut sequence = self.sequence.lock();
        let smallest = bytes_max.clamp(1, WINDOW_MAX);
        sequence.window =
            if sequence.next == first { (2 * sequence.window).clamp(smallest, WINDOW_MAX) } else { smallest };
        sequence.window
    }

    fn read_error(&self, error: LedgerError) -> LogError {
        match error {
            LedgerError::NotFound { ledger } | LedgerError::Lost { ledger, .. } => {
                LogError::DataMissing { topic: self.shared.topic.clone(), ledger }
            }
            error => error.into(),
        }
    }
}

/// Of what a ledger gave, which may start earlier, the entries asked for.
fn within(read: &[ledger::Entry], first: EntryId, end: EntryId, bytes_max: usize) -> Vec<Bytes> {
    let mut room = bytes_max;
    let mut found: Vec<Bytes> = Vec::new();
    for entry in read.iter().filter(|entry| first <= entry.entry && entry.entry < end) {
        if !found.is_empty() && room < entry.payload.len() {
            break;
        }
        room = room.saturating_sub(entry.payload.len());
        found.push(entry.payload.clone());
    }
    found
}
