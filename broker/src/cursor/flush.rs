//! The cursor task of a topic: writes changes to a cursor ledger, one flush after the other.
use bytes::Bytes;
use ledger::{LedgerError, LedgerWriter};
use proto::{EntryId, LedgerId};

use super::encode;
use super::log::{Batch, CursorEnd, Queue};
use super::replay::apply;
use super::{Change, Cursor, Cursors, Need, OF_PRODUCERS};
use crate::log::{List, LogError, LogReader, RecordOwner};

/// A log shorter than this is not rewritten.
const REWRITE_BYTES_MIN: u64 = 1 << 20;
/// How many times its live snapshots a log may be long.
const REWRITE_FACTOR: u64 = 4;
/// State that is no larger may stand in the topic's record while nobody has the topic loaded.
const FOLD_BYTES_MAX: usize = 2048;
/// Ledgers that may fail one after the other while a snapshot is written.
const SNAPSHOT_ATTEMPTS: usize = 3;

/// Owns the cursors of a topic as far as they are written, and the ledger they are written to.
#[derive(Debug)]
pub(super) struct Flusher {
    record: RecordOwner,
    reader: LogReader,
    /// As after the last flush, or the one under way.
    cursors: Cursors,
    /// While there are none. Counted from the load: what was before is not known.
    nobody_since: u64,
    ledger: Option<Open>,
}

#[derive(Debug)]
struct Open {
    writer: Box<dyn LedgerWriter>,
    /// The entry after the last given to the writer.
    end: EntryId,
    bytes: u64,
    /// From here on a rewrite is worth a look.
    look_at: u64,
}

impl Flusher {
    pub(super) fn new(record: RecordOwner, reader: LogReader, cursors: Cursors) -> Self {
        let nobody_since = record.context().clock.now_ms();
        Self { record, reader, cursors, nobody_since, ledger: None }
    }

    /// What is needed of the topic, as it is written. To be asked between flushes only: within one, `cursors` is ahead of what is durable.
    pub(super) fn need(&self) -> Need {
        // What producers have published is written down before ledgers leave: it alone keeps none in place.
        match self.cursors.values().map(|cursor| cursor.acks.mark()).min().filter(|_| self.is_somebody()) {
            Some(lowest) => Need::From(lowest),
            None => Need::NobodySince(self.nobody_since),
        }
    }

    /// Whether there is a durable subscription.
    fn is_somebody(&self) -> bool {
        self.cursors.keys().any(|name| &**name != OF_PRODUCERS)
    }

    pub(super) async fn run(mut self: Box<Self>, queue: std::sync::Arc<Queue>) {
        let guard = Guard(&queue);
        loop {
            let Batch { changes, receipts, asked, closing } = tokio::select! {
                biased;
                batch = queue.next_batch() => batch,
                never = tend(&mut self.ledger) => match never {},
            };
            let outcome = self.flush(changes).await;
            match &outcome {
                Ok(()) => asked.into_iter().for_each(|asked| {
                    let _ = asked.send(self.need()); // Who asked may have gone away.
                }),
                Err(error) => {
                    tracing::warn!(topic = %self.record.topic(), %error, "the cursor log cannot be written");
                    queue.fail(error);
                }
            }
            receipts.into_iter().for_each(|receipt| receipt.answer(outcome.clone()));
            match (outcome, closing) {
                (Err(error), closing) => {
                    closing.into_iter().for_each(|done| drop(done.send(Err(error.clone()))));
                    return;
                }
                (Ok(()), Some(done)) => {
                    std::mem::forget(guard); // In good order.
                    let _ = done.send((*self).close().await);
                    return;
                }
                (Ok(()), None) => {}
            }
        }
    }

    /// Makes changes durable.
    async fn flush(&mut self, changes: Vec<Change>) -> Result<(), LogError> {
        if changes.is_empty() {
            return Ok(());
        }
        let changes: Vec<Change> = changes.into_iter().map(|change| self.keep_age(change)).collect();
        let entries = encode::changes(&changes);
        let somebody = self.is_somebody();
        let Self { reader, cursors, .. } = self;
        reader.with_chain(|chain| changes.into_iter().for_each(|change| apply(cursors, change, chain)));
        if somebody || self.is_somebody() {
            self.nobody_since = self.record.context().clock.now_ms();
        }
        let (Some(open), Some(entries)) = (&mut self.ledger, entries) else {
            return self.open().await; // The opening snapshot says it all.
        };
        match open.write(entries).await {
            Ok(()) => self.rewrite_if_long().await,
            Err(error @ LedgerError::Fenced { .. }) => Err(self.record.fenced(&error)),
            Err(error) => {
                tracing::warn!(topic = %self.record.topic(), %error, "a cursor ledger failed: it is followed by another");
                let failed = open.writer.ledger();
                self.ledger = None;
                self.record.seal(failed).await?;
                // Whether the changes were stored does not matter: the next ledger's snapshot has them.
                self.open().await
            }
        }
    }

    /// A subscription that is put again is as old as it was.
    fn keep_age(&self, change: Change) -> Change {
        match change {
            Change::Put(name, mut cursor) => {
                cursor.created_at = self.cursors.get(&name).map_or(cursor.created_at, |known| known.created_at);
                Change::Put(name, cursor)
            }
            change => change,
        }
    }

    async fn rewrite_if_long(&mut self) -> Result<(), LogError> {
        if self.ledger.as_ref().is_none_or(|open| open.bytes < open.look_at) {
            return Ok(());
        }
        self.forget_runs();
        let snapshot: usize = encode::snapshot(&self.cursors).iter().map(Bytes::len).sum();
        let Some(open) = &mut self.ledger else { return Ok(()) };
        open.look_at = REWRITE_BYTES_MIN.max(REWRITE_FACTOR * snapshot as u64);
        if open.bytes < open.look_at {
            return Ok(());
        }
        match self.open().await {
            // The log stays long until the next look; what was to be written is written.
            Err(error) if error.passes() && self.ledger.is_some() => Ok(()),
            outcome => outcome,
        }
    }

    /// Those that tell nothing any more: their times have come, or all below their ends is acknowledged.
    fn forget_runs(&mut self) {
        let now = self.record.context().clock.now_ms();
        for Cursor { acks, delays, .. } in self.cursors.values_mut() {
            delays.retain(|run| run.tells(acks.mark(), now));
        }
    }

    /// Goes over to a new ledger that opens with all there is. Once that is confirmed, the record names no other.
    async fn open(&mut self) -> Result<(), LogError> {
        self.forget_runs();
        let mut attempts = 0;
        let open = loop {
            attempts += 1;
            let writer = self.record.create_ledger(List::Cursors).await?;
            let ledger = writer.ledger();
            let mut open = Open { writer, end: EntryId::FIRST, bytes: 0, look_at: REWRITE_BYTES_MIN };
            match open.write(encode::snapshot(&self.cursors)).await {
                Ok(()) => break open,
                Err(error @ LedgerError::Fenced { .. }) => return Err(self.record.fenced(&error)),
                Err(error) if attempts == SNAPSHOT_ATTEMPTS => return Err(error.into()),
                Err(_) => {
                    self.record.seal(ledger).await?;
                }
            }
        };
        let ledger = open.writer.ledger();
        self.ledger = Some(open);
        self.drop_others(ledger).await
    }

    async fn drop_others(&mut self, ledger: LedgerId) -> Result<(), LogError> {
        let listed = self.record.record().await.cursor_ledgers;
        let others: Vec<LedgerId> = listed.into_iter().map(LedgerId).filter(|other| *other != ledger).collect();
        let edit = |record: &mut proto::records::TopicRecord| {
            record.cursor_ledgers = vec![ledger.0];
            record.folded_cursors.clear();
        };
        if others.is_empty() {
            // A folded state is older than every listed ledger: it may go with the next change.
            self.record.note(|record| record.folded_cursors.clear()).await;
            return Ok(());
        }
        match self.record.change(&others, edit).await {
            Err(error) if error.passes() => Ok(()), // They stay listed and go with the next rewrite or fold.
            outcome => outcome,
        }
    }

    async fn close(mut self) -> Result<CursorEnd, LogError> {
        let record = self.record.record().await;
        if self.ledger.is_none() && record.cursor_ledgers.is_empty() {
            return Ok(CursorEnd::Unchanged);
        }
        self.forget_runs();
        let mut entries = encode::snapshot(&self.cursors);
        let small = entries.len() == 1 && entries[0].len() <= FOLD_BYTES_MAX;
        if let (true, Some(state)) = (small, entries.pop()) {
            let state = if self.cursors.is_empty() { Bytes::new() } else { state };
            return Ok(CursorEnd::Folded { state });
        }
        if let Some(open) = &mut self.ledger {
            let _ = open.writer.close().await; // Else the next load seals it.
        }
        Ok(CursorEnd::Kept)
    }
}

/// Looks after the ledger while there is nothing to write, so that it leaves bookies that stay away. That it failed is told to whoever
/// writes next.
async fn tend(ledger: &mut Option<Open>) -> std::convert::Infallible {
    if let Some(open) = ledger {
        open.writer.tend().await;
    }
    std::future::pending().await
}

/// A task that ends in another way than by closing leaves nobody waiting.
struct Guard<'a>(&'a Queue);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.fail(&LogError::Closed);
    }
}

impl Open {
    /// Appends entries and waits until they are confirmed.
    async fn write(&mut self, entries: Vec<Bytes>) -> Result<(), LedgerError> {
        for entry in entries {
            self.bytes += entry.len() as u64;
            self.end = self.writer.append(entry)?.next();
        }
        self.writer.flush();
        while self.writer.confirmed().await? < self.end {}
        Ok(())
    }
}
