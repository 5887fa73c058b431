//! Ledgers in memory: the same contract as [`crate::QuorumLedgers`], without bookies. For tests, with faults on request.
//!
//! Clones share their ledgers, so that several brokers of a test see the same ones. Records are kept in the metadata store.
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use metadata::{Expect, MetadataStore, Operation, Transaction};
use parking_lot::Mutex;
use proto::records::LedgerState;
use proto::{BookieId, EntryId, LedgerId};
use tokio::sync::{Notify, watch};

use crate::ids::LedgerIds;
use crate::{Above, Entry, LedgerError, LedgerWriter, Ledgers, QuorumPolicy, Sealed, records};

/// In-memory ledgers. Cheap to clone; clones share everything.
#[derive(Debug, Clone)]
pub struct MemoryLedgers {
    metadata: Arc<dyn MetadataStore>,
    ids: Arc<LedgerIds>,
    /// A lock and not a task: held for a few instructions, and tests look inside.
    shared: Arc<Mutex<Shared>>,
    reads_held: Arc<watch::Sender<bool>>,
}

#[derive(Debug, Default)]
struct Shared {
    ledgers: HashMap<LedgerId, Stored>,
    held: bool,
    fail_create: Option<LedgerError>,
    fail_seal: Option<LedgerError>,
    fail_read: Option<LedgerError>,
}

#[derive(Debug, Default)]
struct Stored {
    entries: Vec<Bytes>,
    length: u64,
    /// How many entries the writer may be told of.
    confirmed: usize,
    ack: u32,
    sealed: Option<Sealed>,
    failure: Option<LedgerError>,
    changed: Arc<Notify>,
}

impl Stored {
    fn confirm(&mut self) {
        if self.failure.is_none() {
            self.confirmed = self.entries.len();
        }
        self.changed.notify_one();
    }

    fn fail(&mut self, error: LedgerError) {
        self.failure.get_or_insert(error);
        self.changed.notify_one();
    }

    fn seal(&mut self, ledger: LedgerId) -> Sealed {
        let end = Sealed { end: EntryId(self.entries.len() as u64), length: self.length };
        let sealed = *self.sealed.get_or_insert(end);
        self.fail(LedgerError::Fenced { ledger });
        sealed
    }
}

impl MemoryLedgers {
    /// Empty, with records and ids kept in `metadata`.
    #[must_use]
    pub fn new(metadata: Arc<dyn MetadataStore>) -> Self {
        let ids = Arc::new(LedgerIds::new(metadata.clone()));
        Self { metadata, ids, shared: Arc::default(), reads_held: Arc::new(watch::Sender::new(false)) }
    }

    /// The next `create` fails with `error` and leaves nothing.
    pub fn fail_next_create(&self, error: LedgerError) {
        self.shared.lock().fail_create = Some(error);
    }

    /// The next `seal` fails with `error` and decides nothing.
    pub fn fail_next_seal(&self, error: LedgerError) {
        self.shared.lock().fail_seal = Some(error);
    }

    /// The next `read` fails with `error`.
    pub fn fail_next_read(&self, error: LedgerError) {
        self.shared.lock().fail_read = Some(error);
    }

    /// From now on reads wait before they look, or go on.
    pub fn hold_reads(&self, held: bool) {
        self.reads_held.send_replace(held);
    }

    /// Fences the writer of `ledger` as a recoverer on another machine would. Entries that were flushed stay.
    pub fn fence(&self, ledger: LedgerId) {
        if let Some(stored) = self.shared.lock().ledgers.get_mut(&ledger) {
            stored.fail(LedgerError::Fenced { ledger });
        }
    }

    /// Ends the writer of `ledger` with [`LedgerError::OutcomeUnknown`]. Entries that were flushed stay.
    pub fn lose_quorum(&self, ledger: LedgerId) {
        if let Some(stored) = self.shared.lock().ledgers.get_mut(&ledger) {
            let (entry, needed) = (EntryId(stored.confirmed as u64), stored.ack);
            stored.fail(LedgerError::OutcomeUnknown { ledger, entry, needed });
        }
    }

    /// From now on flushed entries are kept but not confirmed.
    pub fn hold_confirmations(&self) {
        self.shared.lock().held = true;
    }

    /// Confirms what was held, and from now on what comes.
    pub fn release_confirmations(&self) {
        let mut shared = self.shared.lock();
        shared.held = false;
        shared.ledgers.values_mut().for_each(Stored::confirm);
    }

    /// Drops flushed entries that were never confirmed, as if they had reached no bookie. Fences the writer.
    pub fn lose_unconfirmed(&self, ledger: LedgerId) {
        if let Some(stored) = self.shared.lock().ledgers.get_mut(&ledger)
            && stored.sealed.is_none()
        {
            stored.entries.truncate(stored.confirmed);
            stored.length = stored.entries.iter().map(|entry| entry.len() as u64).sum();
            stored.fail(LedgerError::Fenced { ledger });
        }
    }

    /// The ledgers that exist, in order.
    #[must_use]
    pub fn ledgers(&self) -> Vec<LedgerId> {
        let mut all: Vec<LedgerId> = self.shared.lock().ledgers.keys().copied().collect();
        all.sort();
        all
    }

    fn with<T>(&self, ledger: LedgerId, use_it: impl FnOnce(&mut Stored) -> T) -> Result<T, LedgerError> {
        self.shared.lock().ledgers.get_mut(&ledger).map(use_it).ok_or(LedgerError::NotFound { ledger })
    }

    /// Writes the decision into the record. Whoever writes it writes the same.
    async fn close_record(&self, ledger: LedgerId, sealed: Sealed) -> Result<Sealed, LedgerError> {
        loop {
            let found = records::read_existing(&self.metadata, ledger).await?;
            if let Some(sealed) = found.sealed() {
                return Ok(sealed);
            }
            let record = records::closed(found.record, sealed, &[]);
            match records::replace(&self.metadata, record, found.version).await {
                Ok(_) => return Ok(sealed),
                Err(metadata::Error::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[async_trait]
impl Ledgers for MemoryLedgers {
    async fn next_id(&self, above: Above) -> Result<LedgerId, LedgerError> {
        Ok(self.ids.next(above).await?)
    }

    async fn create(
        &self,
        ledger: LedgerId,
        policy: QuorumPolicy,
        owner: &str,
        also: Vec<Operation>,
    ) -> Result<Box<dyn LedgerWriter>, LedgerError> {
        if let Some(error) = self.shared.lock().fail_create.take() {
            return Err(error);
        }
        let members: Vec<BookieId> = (0..policy.ensemble)
            .map(|member| format!("memory-{member}").parse().expect("letters and digits"))
            .collect();
        let record = records::new_record(ledger, policy, owner, &members, &[], 0);
        let mut operations = vec![records::put(&record, Expect::Absent)];
        operations.extend(also);
        let stored = Stored { ack: policy.ack, ..Stored::default() };
        let changed = stored.changed.clone();
        // Before the record: a creator that dies at the commit leaves a ledger that can be sealed, as bookies would.
        let fresh = !self.shared.lock().ledgers.contains_key(&ledger);
        if fresh {
            self.shared.lock().ledgers.insert(ledger, stored);
        }
        if let Err(error) = self.metadata.commit(Transaction::new(operations)).await {
            if fresh && !matches!(error, metadata::Error::OutcomeUnknown) {
                self.shared.lock().ledgers.remove(&ledger);
            }
            return Err(error.into());
        }
        Ok(Box::new(MemoryWriter {
            ledgers: self.clone(),
            ledger,
            queued: Vec::new(),
            next: EntryId::FIRST,
            reported: 0,
            unconfirmed: 0,
            changed,
        }))
    }

    async fn read(
        &self,
        ledger: LedgerId,
        entries: Range<EntryId>,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, LedgerError> {
        let _ = self.reads_held.subscribe().wait_for(|held| !held).await; // The sender lives as long as this.
        let failure = self.shared.lock().fail_read.take();
        if let Some(error) = failure {
            return Err(error);
        }
        self.with(ledger, |stored| {
            let (first, end) = (entries.start.0 as usize, (entries.end.0 as usize).min(stored.entries.len()));
            let mut found = Vec::new();
            let mut room = bytes_max;
            for at in first..end {
                let payload = stored.entries[at].clone();
                if !found.is_empty() && room < payload.len() {
                    break;
                }
                room = room.saturating_sub(payload.len());
                found.push(Entry { entry: EntryId(at as u64), payload });
            }
            if found.is_empty() {
                return Err(LedgerError::Unreadable { ledger, entry: entries.start, reason: "beyond the end".into() });
            }
            Ok(found)
        })?
    }

    async fn seal(&self, ledger: LedgerId) -> Result<Sealed, LedgerError> {
        let failure = self.shared.lock().fail_seal.take();
        if let Some(error) = failure {
            return Err(error);
        }
        let sealed = self.with(ledger, |stored| stored.seal(ledger))?;
        self.close_record(ledger, sealed).await
    }

    async fn delete(&self, ledger: LedgerId) -> Result<(), LedgerError> {
        while let Some(mut found) = records::read(&self.metadata, ledger).await? {
            if !found.is_deleted() {
                found.record.set_state(LedgerState::Deleted);
                match records::replace(&self.metadata, found.record, found.version).await {
                    Ok(deleted) => found = deleted,
                    Err(metadata::Error::Conflict { .. }) => continue,
                    Err(error) => return Err(error.into()),
                }
            }
            let outcome = self.metadata.commit(Transaction::new(records::forget(ledger, found.version))).await;
            match outcome {
                Ok(_) | Err(metadata::Error::Conflict { .. }) => {} // Someone else deletes it too: look again.
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(mut stored) = self.shared.lock().ledgers.remove(&ledger) {
            stored.fail(LedgerError::Fenced { ledger });
        }
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryWriter {
    ledgers: MemoryLedgers,
    ledger: LedgerId,
    queued: Vec<Bytes>,
    next: EntryId,
    reported: usize,
    unconfirmed: usize,
    changed: Arc<Notify>,
}

impl MemoryWriter {
    fn poll(&mut self) -> Result<Option<EntryId>, LedgerError> {
        let (fenced, reported) = (LedgerError::Fenced { ledger: self.ledger }, self.reported);
        let (end, bytes) = self
            .ledgers
            .with(self.ledger, |stored| {
                if reported < stored.confirmed {
                    let told = &stored.entries[reported..stored.confirmed];
                    return Ok((stored.confirmed, told.iter().map(Bytes::len).sum::<usize>()));
                }
                stored.failure.clone().map_or(Ok((reported, 0)), Err)
            })
            .map_err(|_| fenced)??;
        if end == reported {
            return Ok(None);
        }
        self.reported = end;
        self.unconfirmed -= bytes;
        Ok(Some(EntryId(end as u64)))
    }
}

#[async_trait]
impl LedgerWriter for MemoryWriter {
    fn ledger(&self) -> LedgerId {
        self.ledger
    }

    fn append(&mut self, payload: Bytes) -> Result<EntryId, LedgerError> {
        let fenced = LedgerError::Fenced { ledger: self.ledger };
        let failure = self.ledgers.with(self.ledger, |stored| stored.failure.clone()).unwrap_or(Some(fenced));
        if let Some(error) = failure {
            return Err(error);
        }
        let entry = self.next;
        self.next = entry.next();
        self.unconfirmed += payload.len();
        self.queued.push(payload);
        Ok(entry)
    }

    fn flush(&mut self) {
        let mut shared = self.ledgers.shared.lock();
        let held = shared.held;
        if let Some(stored) = shared.ledgers.get_mut(&self.ledger)
            && stored.failure.is_none()
        {
            stored.length += self.queued.iter().map(|payload| payload.len() as u64).sum::<u64>();
            stored.entries.append(&mut self.queued);
            if !held {
                stored.confirm();
            }
        }
    }

    fn unconfirmed_bytes(&self) -> usize {
        self.unconfirmed
    }

    async fn confirmed(&mut self) -> Result<EntryId, LedgerError> {
        loop {
            if let Some(end) = self.poll()? {
                return Ok(end);
            }
            self.changed.notified().await;
        }
    }

    async fn close(&mut self) -> Result<Sealed, LedgerError> {
        self.flush();
        while EntryId(self.reported as u64) < self.next {
            self.confirmed().await?;
        }
        let ledger = self.ledger;
        let sealed = self.ledgers.with(ledger, |stored| match &stored.failure {
            Some(error) => Err(error.clone()),
            None => Ok(stored.seal(ledger)),
        })??;
        self.ledgers.close_record(ledger, sealed).await
    }
}

#[cfg(test)]
mod tests {
    use metadata::MemoryStore;

    use super::*;
    use crate::conformance::{self, Subject};

    const POLICY: QuorumPolicy = QuorumPolicy { ensemble: 3, write: 3, ack: 2 };

    fn ledgers() -> (Arc<dyn MetadataStore>, MemoryLedgers) {
        let metadata: Arc<dyn MetadataStore> = Arc::new(MemoryStore::default());
        (metadata.clone(), MemoryLedgers::new(metadata))
    }

    #[tokio::test]
    async fn ledgers_in_memory_keep_the_contract() {
        let (metadata, ledgers) = ledgers();
        let other = Arc::new(ledgers.clone());
        conformance::run(&Subject { ledgers: Arc::new(ledgers), other, metadata, policy: POLICY }).await;
    }

    #[tokio::test]
    async fn held_confirmations_come_when_released_and_a_fence_ends_them() {
        let (_, ledgers) = ledgers();
        let mut writer = ledgers.create(LedgerId(1), POLICY, "topic/t", Vec::new()).await.expect("no fault");
        ledgers.hold_confirmations();
        writer.append(Bytes::from_static(b"one")).expect("no fault");
        writer.flush();
        assert_eq!(writer.unconfirmed_bytes(), 3);
        ledgers.release_confirmations();
        assert_eq!(writer.confirmed().await.expect("released"), EntryId(1));
        ledgers.hold_confirmations();
        writer.append(Bytes::from_static(b"two")).expect("no fault");
        writer.flush();
        ledgers.fence(LedgerId(1));
        assert!(matches!(writer.confirmed().await, Err(LedgerError::Fenced { .. })));
        assert_eq!(ledgers.seal(LedgerId(1)).await.expect("no fault").end, EntryId(2), "flushed entries stay");
    }
}
