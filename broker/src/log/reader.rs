//! Reading a log.
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ledger::{LedgerError, Sealed};
use parking_lot::{Mutex, RwLock};
use proto::{EntryId, LedgerId, Position, TopicName};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::compacted::{Compacted, Place};
use super::{Chain, ChainLedger, InObjects, LogContext, LogError};
use crate::offload;

/// The most that is asked of a ledger at once, by a reader that goes on where it stopped.
const WINDOW_MAX: usize = 1 << 20;
/// A reader to whom bookies could not give what lies in objects too asks the objects first for so long.
const BOOKIES_AVOIDED: Duration = Duration::from_secs(30);

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
    pub(super) shared: Arc<Shared>,
    /// A lock because `read` takes `&self`; nobody else has this clone's.
    pub(super) sequence: Mutex<Sequence>,
}

pub(super) struct Shared {
    pub(super) topic: TopicName,
    pub(super) context: LogContext,
    /// A lock and not a task: written once per batch of confirmations, asked many times per dispatched entry.
    chain: RwLock<Chain>,
    tail: watch::Sender<Position>,
    /// A lock like that of the chain.
    pub(super) compacted: RwLock<Option<Arc<Compacted>>>,
    /// Told when a ledger takes no more entries.
    sealed: Notify,
}

/// How far a reader reads ahead: further while it goes on where it stopped.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sequence {
    next: Position,
    window: usize,
    /// The same, of objects.
    objects: offload::Sequence,
    avoid_bookies_until: Option<Instant>,
    /// In the compacted ledger.
    pub(super) place: Option<Place>,
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
    /// Of a topic that stores nothing.
    pub(crate) fn empty(context: &LogContext, topic: &TopicName) -> Self {
        Self::new(context, topic, Chain::new(Vec::new(), LedgerId(0)), None)
    }

    pub(super) fn new(
        context: &LogContext,
        topic: &TopicName,
        chain: Chain,
        compacted: Option<Arc<Compacted>>,
    ) -> Self {
        let tail = watch::Sender::new(chain.end());
        let shared = Shared {
            topic: topic.clone(),
            context: context.clone(),
            chain: RwLock::new(chain),
            tail,
            compacted: RwLock::new(compacted),
            sealed: Notify::new(),
        };
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
        let (first, found) = loop {
            let (first, listed) = self.with_chain(|chain| {
                let first = chain.at_or_after(from);
                (first, chain.ledger(first.ledger).cloned())
            });
            let Some(listed) = listed.filter(|listed| first.entry.0 < listed.entries && 0 < entries_max) else {
                return Ok(Vec::new());
            };
            let wanted = EntryId(listed.entries.min(first.entry.0.saturating_add(entries_max as u64)));
            let found = self.shared.context.cache.get(first.ledger, first.entry, wanted, bytes_max);
            if !found.is_empty() {
                break (first, found);
            }
            match self.fetch(&listed, first, wanted, bytes_max).await {
                Ok(found) => break (first, found),
                // It left the chain while it was read: what comes after it is the first that exists. Or it is elsewhere now.
                Err(_) if self.with_chain(|chain| has_moved(&listed, chain.ledger(first.ledger))) => {}
                Err(error) => return Err(error),
            }
        };
        self.sequence.lock().next = Position { entry: EntryId(first.entry.0 + found.len() as u64), ..first };
        let place =
            |(entry, bytes)| StoredEntry { position: Position { ledger: first.ledger, entry: EntryId(entry) }, bytes };
        Ok((first.entry.0..).zip(found).map(place).collect())
    }

    /// From whichever copy there is. While there are two, the bookies are asked first: they answer sooner and cost nothing.
    async fn fetch(
        &self,
        listed: &ChainLedger,
        first: Position,
        end: EntryId,
        bytes_max: usize,
    ) -> Result<Vec<Bytes>, LogError> {
        let of_bookies = || self.ask_bookies(listed, first, end, bytes_max);
        let Some(objects) = &listed.objects else { return of_bookies().await.map_err(|error| self.read_error(error)) };
        let of_objects = || self.ask_objects(objects, first.entry, end, bytes_max);
        if listed.bookies_freed {
            return Ok(of_objects().await?);
        }
        let avoided = self.sequence.lock().avoid_bookies_until.is_some_and(|until| Instant::now() < until);
        if avoided {
            return match of_objects().await {
                Ok(found) => Ok(found),
                Err(error) => of_bookies().await.map_err(|_| error.into()),
            };
        }
        match of_bookies().await {
            Ok(found) => Ok(found),
            Err(error) => {
                tracing::info!(topic = %self.shared.topic, %error, "bookies do not give what lies in objects too");
                self.sequence.lock().avoid_bookies_until = Some(Instant::now() + BOOKIES_AVOIDED);
                of_objects().await.map_err(|_| self.read_error(error))
            }
        }
    }

    async fn ask_bookies(
        &self,
        listed: &ChainLedger,
        first: Position,
        end: EntryId,
        bytes_max: usize,
    ) -> Result<Vec<Bytes>, LedgerError> {
        let LogContext { cache, ledgers, .. } = &self.shared.context;
        let window = self.window(first, bytes_max);
        let read = cache.read(ledgers, first.ledger, first.entry, EntryId(listed.entries), window).await?;
        Ok(within(&read, first.entry, end, bytes_max))
    }

    /// Past the entry cache: the blocks of objects have one of their own, and would only push out what consumers that keep up need.
    async fn ask_objects(
        &self,
        objects: &InObjects,
        first: EntryId,
        end: EntryId,
        bytes_max: usize,
    ) -> Result<Vec<Bytes>, offload::ObjectError> {
        let mut sequence = self.sequence.lock().objects;
        let read = self.shared.context.tier.objects().read(&objects.copy, first..end, bytes_max, &mut sequence).await?;
        self.sequence.lock().objects = sequence;
        Ok(read.into_iter().map(|entry| entry.payload).collect())
    }

    /// Waits until a ledger takes no more entries. One that is not listed takes none.
    pub(crate) async fn until_sealed(&self, ledger: LedgerId) {
        loop {
            let mut changed = std::pin::pin!(self.shared.sealed.notified());
            changed.as_mut().enable();
            if self.with_chain(|chain| chain.ledger(ledger).is_none_or(|listed| listed.sealed_at.is_some())) {
                return;
            }
            changed.await;
        }
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
        self.shared.sealed.notify_waiters();
    }

    /// The topic's record refers to a copy of a ledger in objects.
    pub(super) fn offloaded(&self, ledger: LedgerId, objects: InObjects) {
        self.shared.chain.write().offloaded(ledger, Arc::new(objects));
    }

    /// The topic's record says that bookies may forget these ledgers.
    pub(super) fn freed(&self, ledgers: &[LedgerId]) {
        let mut chain = self.shared.chain.write();
        ledgers.iter().for_each(|ledger| chain.freed(*ledger));
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

    pub(super) fn read_error(&self, error: LedgerError) -> LogError {
        match error {
            LedgerError::NotFound { ledger } | LedgerError::Lost { ledger, .. } => {
                LogError::DataMissing { topic: self.shared.topic.clone(), ledger }
            }
            error => error.into(),
        }
    }
}

/// Whether a ledger that was `before` so is elsewhere now, or nowhere.
fn has_moved(before: &ChainLedger, now: Option<&ChainLedger>) -> bool {
    now.is_none_or(|now| now.objects != before.objects || now.bookies_freed != before.bookies_freed)
}

/// Of what a ledger gave, which may start earlier, the entries asked for.
pub(super) fn within(read: &[ledger::Entry], first: EntryId, end: EntryId, bytes_max: usize) -> Vec<Bytes> {
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
