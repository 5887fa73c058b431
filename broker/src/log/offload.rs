//! What moves to objects, and when: decided without I/O, and then done so that a crash at any point leaves the old or the new truth.
use std::sync::Arc;
use std::time::Duration;

use ledger::Sealed;
use metadata::{Expect, MetadataStoreExt, Operation, Transaction, Version};
use prost::Message;
use proto::records::{self, DeleteObjects, Intent, TopicRecord, intent};
use proto::{EntryId, LedgerId, keys};

use super::record::{self, RecordOwner};
use super::{Chain, ChainLedger, InObjects, LogError, LogReader};
use crate::offload::{
    Attempt, ObjectError, OffloadedLedger, Store, UploadError, Uploaded, delete, ledger_entries, still_there, upload,
};

/// When ledgers move to objects, and when bookies may forget them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moving {
    /// So much of what is sealed may be on bookies only: the oldest beyond it moves. `None`: never by size.
    pub bytes: Option<u64>,
    /// What was sealed so long ago moves. `None`: never by age.
    pub age: Option<Duration>,
    /// For so long bookies keep what has moved. `None`: for ever.
    pub lag: Option<Duration>,
}

/// The ledgers that should move now, oldest first.
pub(crate) fn offload_due(chain: &Chain, moving: &Moving, now_ms: u64) -> Vec<LedgerId> {
    let mut on_bookies: u64 = 0;
    let mut due = Vec::new();
    for listed in chain.ledgers().iter().rev().filter(|listed| may_move(listed)) {
        on_bookies += listed.bytes;
        let too_much = moving.bytes.is_some_and(|bytes| bytes < on_bookies);
        if too_much || age_due(listed, moving).is_some_and(|due_ms| due_ms <= now_ms) {
            due.push(listed.ledger);
        }
    }
    due.reverse();
    due
}

/// The ledgers that bookies may forget now.
pub(crate) fn free_due(chain: &Chain, moving: &Moving, now_ms: u64) -> Vec<LedgerId> {
    let due = chain.ledgers().iter().filter(|listed| lag_due(listed, moving).is_some_and(|due_ms| due_ms <= now_ms));
    due.map(|listed| listed.ledger).collect()
}

/// When there will be more to do without anything else happening, in milliseconds since 1970.
pub(crate) fn next_due(chain: &Chain, moving: &Moving, now_ms: u64) -> Option<u64> {
    let dues = chain.ledgers().iter().flat_map(|listed| {
        let age = may_move(listed).then(|| age_due(listed, moving)).flatten();
        age.into_iter().chain(lag_due(listed, moving))
    });
    dues.filter(|due_ms| now_ms < *due_ms).min()
}

/// The ledgers that somebody who asks for it moves: all that lie before a ledger and can, oldest first. If there are none, the last
/// ledger of the topic, open or not, if it can and is not before that ledger: a newcomer has only this one.
pub(crate) fn offload_asked(chain: &Chain, before: LedgerId) -> Vec<LedgerId> {
    let earlier = chain.ledgers().iter().filter(|listed| may_move(listed) && listed.ledger < before);
    let earlier: Vec<LedgerId> = earlier.map(|listed| listed.ledger).collect();
    if !earlier.is_empty() {
        return earlier;
    }
    let last =
        chain.ledgers().last().filter(|last| last.ledger <= before && last.objects.is_none() && 0 < last.entries);
    last.map(|last| last.ledger).into_iter().collect()
}

fn may_move(listed: &ChainLedger) -> bool {
    listed.sealed_at.is_some() && listed.objects.is_none() && 0 < listed.entries
}

fn age_due(listed: &ChainLedger, moving: &Moving) -> Option<u64> {
    Some(listed.sealed_at?.saturating_add(millis(moving.age?)))
}

fn lag_due(listed: &ChainLedger, moving: &Moving) -> Option<u64> {
    let objects = listed.objects.as_ref().filter(|_| !listed.bookies_freed)?;
    Some(objects.since.saturating_add(millis(moving.lag?)))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What a topic's record says about the objects of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It refers to them.
    Needed,
    /// Whoever makes the attempt may yet make it refer to them.
    Awaited,
    /// It lists the ledger, and will never refer to them: the bookies' copy is the one that counts.
    GivenUp,
    /// It refers to another attempt, or not to this ledger, or there is no record any more.
    Unneeded,
}

/// Of the objects that an intent names. Pure: the epoch in a record only grows, ledgers that left it never come back, and a change of
/// the record that would refer to the objects expects both the record and the intent as they were when the attempt began.
pub(crate) fn fate(record: Option<&TopicRecord>, objects: &DeleteObjects) -> Fate {
    let Some(record) = record else { return Fate::Unneeded };
    let Some(listed) = record.ledgers.iter().find(|listed| listed.ledger == objects.ledger) else {
        return Fate::Unneeded;
    };
    match &listed.offloaded {
        Some(offloaded) if offloaded.attempt == objects.attempt => Fate::Needed,
        Some(_) => Fate::Unneeded,
        None if objects.epoch != 0 && objects.epoch == record.epoch => Fate::Awaited,
        None => Fate::GivenUp,
    }
}

/// Why a ledger was not moved, or not freed. Whatever was begun is given up, and is removed by its intent.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum OffloadError {
    /// The topic closes, or this broker ends.
    #[error("interrupted")]
    Interrupted,
    /// Nothing refers to what was written, if anything was.
    #[error("ledger {ledger} was not moved: {source}")]
    Upload {
        /// Which.
        ledger: LedgerId,
        /// Why.
        source: UploadError,
    },
    /// The store is not what it should be.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// Of the topic's record. After [`LogError::Fenced`] the topic is to be given up.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl OffloadError {
    /// Whether the store is to blame, so that others who want to go there may as well wait.
    pub(crate) fn is_of_store(&self) -> bool {
        matches!(
            self,
            Self::Object(_) | Self::Upload { source: UploadError::Store(_) | UploadError::NotVerified(_), .. }
        )
    }
}

/// An attempt whose intent stands in the metadata.
struct Begun {
    attempt: Attempt,
    objects: DeleteObjects,
    /// Of the intent. Whoever changes the intent ends the attempt.
    version: Version,
}

impl Begun {
    fn key(&self) -> String {
        keys::delete_objects(self.attempt.ledger, self.attempt.id.0)
    }
}

/// Moves ledgers of one topic. Cheap to clone, and apart from the topic's task, which must not wait for stores.
#[derive(Debug, Clone)]
pub(crate) struct Offloader {
    record: RecordOwner,
    reader: LogReader,
}

impl Offloader {
    pub(super) fn new(record: RecordOwner, reader: LogReader) -> Self {
        Self { record, reader }
    }

    /// Copies a sealed ledger into objects, reads them back, and makes the topic's record refer to them. `false`: there was nothing to
    /// do. What waits for the store ends when `until` does; no change of a record is cut short. Of one topic, one call at a time.
    pub(crate) async fn offload(
        &self,
        ledger: LedgerId,
        store: &Arc<Store>,
        progress: impl Fn(u64) + Send + Sync,
        until: impl Future<Output = ()> + Send,
    ) -> Result<bool, OffloadError> {
        let listed = self.reader.with_chain(|chain| chain.ledger(ledger).filter(|listed| may_move(listed)).cloned());
        let Some(listed) = listed else { return Ok(false) };
        let mut until = std::pin::pin!(until);
        tokio::select! {
            probed = store.probe() => drop(probed?),
            () = &mut until => return Err(OffloadError::Interrupted),
        }
        let begun = self.begin(ledger, store).await?;
        let uploaded = tokio::select! {
            uploaded = self.copy(&begun.attempt, &listed, store, progress) => uploaded,
            () = until => Err(OffloadError::Interrupted),
        };
        let official = match uploaded {
            Ok(uploaded) => self.make_official(&begun, &listed, store, uploaded).await.map_err(OffloadError::from),
            Err(error) => Err(error),
        };
        if let Err(error) = official {
            self.abandon(&begun, store).await;
            return Err(error);
        }
        Ok(true)
    }

    /// An intent comes first: from here on, whatever happens, somebody knows what may lie in the store.
    async fn begin(&self, ledger: LedgerId, store: &Store) -> Result<Begun, LogError> {
        let context = self.record.context();
        let record = self.record.record().await;
        self.give_up_earlier(ledger, record.epoch).await?;
        let attempt = context.tier.next_attempt(self.record.topic(), ledger).await?;
        let objects = DeleteObjects {
            store: store.location().to_string(),
            topic: record.topic,
            ledger: ledger.0,
            attempt: attempt.id.0,
            epoch: record.epoch,
        };
        let key = keys::delete_objects(ledger, attempt.id.0);
        let intent = Operation::put(key, encode(&objects, context.clock.now_ms()), Expect::Absent);
        let version = self.record.change_with(&[intent], &[], |_| true).await?;
        Ok(Begun { attempt, objects, version })
    }

    /// What this load began before and did not see to its end is no longer awaited.
    async fn give_up_earlier(&self, ledger: LedgerId, epoch: u64) -> Result<(), LogError> {
        let context = self.record.context();
        for found in context.metadata.list_all(&keys::delete_objects_of(ledger)).await? {
            let Ok(Intent { subject: Some(intent::Subject::DeleteObjects(objects)), created_at }) =
                Intent::decode(found.value.clone())
            else {
                continue; // The worker of intents tells of it.
            };
            if objects.epoch == epoch {
                let given_up = DeleteObjects { epoch: 0, ..objects };
                let put = Operation::put(found.key, encode(&given_up, created_at), Expect::Version(found.version));
                context.metadata.commit(Transaction::new(vec![put])).await?;
            }
        }
        Ok(())
    }

    async fn copy(
        &self,
        attempt: &Attempt,
        listed: &ChainLedger,
        store: &Store,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<Uploaded, OffloadError> {
        let ledgers = self.record.context().ledgers.clone();
        let sealed = Sealed { end: EntryId(listed.entries), length: listed.bytes };
        let entries = futures::StreamExt::inspect(ledger_entries(ledgers, listed.ledger, sealed.end), |batch| {
            if let Ok(batch) = batch {
                progress(batch.iter().map(|entry| entry.payload.len() as u64).sum());
            }
        });
        let uploaded = upload(store, attempt, sealed, entries).await;
        uploaded.map_err(|source| OffloadError::Upload { ledger: listed.ledger, source })
    }

    /// The one change that counts: the record refers to the objects, and their intent goes.
    async fn make_official(
        &self,
        begun: &Begun,
        listed: &ChainLedger,
        store: &Store,
        uploaded: Uploaded,
    ) -> Result<(), LogError> {
        let Uploaded { objects, bytes, .. } = uploaded;
        let ledger = listed.ledger;
        let since = self.record.context().clock.now_ms();
        let end_intent = Operation::delete(begun.key(), Expect::Version(begun.version));
        let refer = |record: &mut TopicRecord| {
            let store = place_of(record, &begun.objects.store);
            let found = record.ledgers.iter_mut().find(|found| found.ledger == ledger.0);
            let Some(found) = found.filter(|found| found.offloaded.is_none()) else { return false };
            assert!(found.sealed_at != 0 && found.entries == listed.entries, "only what has ended was copied");
            found.offloaded =
                Some(records::Offloaded { store, attempt: begun.attempt.id.0, objects, bytes, offloaded_at: since });
            true
        };
        self.record.change_with(&[end_intent], &[], refer).await?;
        let copy = OffloadedLedger { store: store.location().clone(), attempt: begun.attempt.clone(), objects, bytes };
        self.reader.offloaded(ledger, InObjects { copy, since });
        let (topic, payload_bytes) = (self.record.topic(), listed.bytes);
        tracing::info!(%topic, %ledger, payload_bytes, objects, store = %store.location(), "a ledger has moved to objects");
        Ok(())
    }

    /// Leaves the objects to their intent. Changing it also ends the change of the record, should that have no known outcome: it expects
    /// the intent as it was.
    async fn abandon(&self, begun: &Begun, store: &Store) {
        let (context, key) = (self.record.context(), begun.key());
        let given_up = DeleteObjects { epoch: 0, ..begun.objects.clone() };
        let value = encode(&given_up, context.clock.now_ms());
        let put = Operation::put(key.as_str(), value, Expect::Version(begun.version));
        match record::commit(&*context.metadata, &key, Transaction::new(vec![put])).await {
            Ok(_) => {}
            // The record refers to the objects after all, or the intent was worked off while they were still being written.
            Err(metadata::Error::Conflict { .. }) => self.remove_unless_needed(begun, store).await,
            Err(error) => {
                let topic = self.record.topic();
                tracing::info!(%topic, %key, %error, "an intent waits for the next attempt or the next load");
            }
        }
    }

    async fn remove_unless_needed(&self, begun: &Begun, store: &Store) {
        let (context, topic) = (self.record.context(), self.record.topic());
        let removed = async {
            let found = record::read(context, topic).await?;
            let found = found.map(|found| record::decode(topic, &found)).transpose()?;
            if fate(found.as_ref(), &begun.objects) == Fate::Needed {
                return Ok(());
            }
            delete(store, &begun.attempt).await.map(|_| ()).map_err(LogError::from)
        };
        if let Err(error) = removed.await {
            tracing::warn!(%topic, ledger = %begun.attempt.ledger, %error, "objects of an attempt may be left for a scrub");
        }
    }

    /// Lets bookies forget a ledger whose objects are there: the record says so in the change that leaves the intent to delete it.
    /// `false`: there was nothing to do. Waiting for the store ends when `until` does.
    pub(crate) async fn free(
        &self,
        ledger: LedgerId,
        until: impl Future<Output = ()> + Send,
    ) -> Result<bool, OffloadError> {
        let objects = self.reader.with_chain(|chain| {
            let listed = chain.ledger(ledger).filter(|listed| !listed.bookies_freed)?;
            listed.objects.clone()
        });
        let Some(objects) = objects else { return Ok(false) };
        let context = self.record.context();
        let store = context.tier.open(&objects.copy.store)?;
        tokio::select! {
            there = still_there(&store, &objects.copy) => there?,
            () = until => return Err(OffloadError::Interrupted),
        }
        let intent = ledger::delete_intent(ledger, context.clock.now_ms());
        let (topic, attempt) = (self.record.topic().to_string(), objects.copy.attempt.id.0);
        let cold = Operation::put(
            keys::cold_ledger(ledger),
            records::ColdLedger { topic, attempt }.encode_to_vec(),
            Expect::Any,
        );
        let forget = |record: &mut TopicRecord| {
            let found = record.ledgers.iter_mut().find(|found| found.ledger == ledger.0);
            let attempt = |found: &records::ChainLedger| found.offloaded.as_ref().map(|offloaded| offloaded.attempt);
            let Some(found) = found.filter(|found| attempt(found) == Some(objects.copy.attempt.id.0)) else {
                return false;
            };
            found.bookies_freed = true;
            true
        };
        self.record.change_with(&[intent, cold], &[], forget).await?;
        self.reader.freed(&[ledger]);
        tracing::info!(topic = %self.record.topic(), %ledger, "bookies may forget a ledger that lies in objects");
        Ok(true)
    }
}

fn encode(objects: &DeleteObjects, created_at: u64) -> Vec<u8> {
    Intent { subject: Some(intent::Subject::DeleteObjects(objects.clone())), created_at }.encode_to_vec()
}

/// The index of a store in the record's list, which gets longer if it is new.
fn place_of(record: &mut TopicRecord, store: &str) -> u32 {
    let at = record.stores.iter().position(|listed| listed == store).unwrap_or_else(|| {
        record.stores.push(store.to_owned());
        record.stores.len() - 1
    });
    u32::try_from(at).expect("a topic has few stores")
}

#[cfg(test)]
mod matrix;
#[cfg(test)]
mod tests;
