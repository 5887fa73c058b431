//! Works off intents: ledgers and objects that nobody refers to any more are deleted here, after whoever wrote the intent has gone on.
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use daemon::Drain;
use ledger::{LedgerError, Ledgers};
use metadata::{Expect, MetadataStore, MetadataStoreExt, Operation, Record, Transaction};
use prost::Message;
use proto::records::{ColdLedger, DeleteObjects, Intent, LedgerRecord, LedgerState, TopicRecord, intent::Subject};
use proto::{EntryId, LedgerId, TopicName, keys};
use tokio::time::{MissedTickBehavior, interval};

use crate::log::{Fate, ObjectTier, fate};
use crate::offload::{self, Attempt, AttemptId, Location, ObjectError, Retry};
use crate::ownership::Ownership;

/// Space is not wanted back at once.
const PAUSE: Duration = Duration::from_secs(5);

/// What intents are worked off with.
#[derive(Debug, Clone)]
pub(crate) struct Worker {
    pub(crate) metadata: Arc<dyn MetadataStore>,
    pub(crate) ledgers: Arc<dyn Ledgers>,
    pub(crate) tier: ObjectTier,
}

/// Why an intent waits.
#[derive(Debug, thiserror::Error)]
enum Waits {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// Whoever makes the attempt is at it, or its topic has not been loaded since.
    #[error("the attempt is not given up")]
    Awaited,
    /// An alarm: what the intent says and what the records say cannot both be true.
    #[error("{0}: the objects are left alone")]
    Contradicted(&'static str),
}

impl Worker {
    /// Runs until `drain`. Of all brokers, the first works: two would only be in each other's way, and when it goes the next is first.
    /// A store that is away does not hold up the deletion of ledgers.
    pub(crate) async fn work(self, ownership: Ownership, drain: Drain) {
        let ledgers = each_pause(&ownership, &drain, || work_off(&self.metadata, &self.ledgers));
        let objects = each_pause(&ownership, &drain, || self.work_off_objects());
        tokio::join!(ledgers, objects);
    }

    /// Works off all intents to delete objects that there are now. What fails stays for the next time.
    pub(crate) async fn work_off_objects(&self) {
        let intents = match self.metadata.list_all(keys::OBJECT_INTENTS).await {
            Ok(intents) => intents,
            Err(error) => return tracing::warn!(%error, "intents cannot be listed"),
        };
        let mut away: HashSet<String> = HashSet::new(); // A store that fails is not waited for once more.
        for record in intents {
            let Ok(Intent { subject: Some(Subject::DeleteObjects(objects)), .. }) =
                Intent::decode(record.value.clone())
            else {
                tracing::error!(intent = %record.key, "an intent cannot be understood and is left alone");
                continue;
            };
            if away.contains(&objects.store) {
                continue;
            }
            match self.delete_objects(&record, &objects).await {
                Ok(()) => {}
                Err(Waits::Awaited) => tracing::trace!(intent = %record.key, "an attempt is under way"),
                Err(error @ Waits::Contradicted(_)) => tracing::error!(intent = %record.key, %error),
                Err(error) => {
                    tracing::info!(intent = %record.key, %error, "an intent waits");
                    if let Waits::Object(error) = &error
                        && error.retry() != Retry::Alarm
                    {
                        away.insert(objects.store.clone());
                    }
                }
            }
        }
    }

    async fn delete_objects(&self, intent: &Record, objects: &DeleteObjects) -> Result<(), Waits> {
        let corrupt = || metadata::Error::Corrupt { key: intent.key.clone() };
        let topic: TopicName = objects.topic.parse().map_err(|_| corrupt())?;
        let ledger = LedgerId(objects.ledger);
        let record = match self.metadata.get(&keys::topic(&topic).into()).await? {
            Some(found) => Some(TopicRecord::decode(found.value).map_err(|_| corrupt())?),
            None => None,
        };
        match fate(record.as_ref(), objects) {
            Fate::Needed => return Err(Waits::Contradicted("the topic's record refers to what an intent deletes")),
            Fate::Awaited => return Err(Waits::Awaited),
            Fate::GivenUp => self.bookies_have(ledger, record.as_ref()).await?,
            Fate::Unneeded => self.nobody_else_has_lost(ledger, record.as_ref()).await?,
        }
        let store = Location::parse(&objects.store).map_err(|_| corrupt())?;
        let store = self.tier.open(&store)?;
        let attempt = Attempt { instance: self.tier.instance().await?, topic, ledger, id: AttemptId(objects.attempt) };
        offload::delete(&store, &attempt).await?;
        let mut operations = vec![Operation::delete(intent.key.clone(), Expect::Version(intent.version))];
        operations.extend(self.no_longer_cold(ledger, objects.attempt).await?);
        match self.metadata.commit(Transaction::new(operations)).await {
            Ok(_) | Err(metadata::Error::Conflict { .. }) => Ok(()), // Changed meanwhile: looked at again.
            Err(error) => Err(error.into()),
        }
    }

    /// With the only copy of a ledger goes what says that it is the only one.
    async fn no_longer_cold(&self, ledger: LedgerId, attempt: u64) -> Result<Option<Operation>, metadata::Error> {
        let key = keys::cold_ledger(ledger);
        let Some(found) = self.metadata.get(&key.as_str().into()).await? else { return Ok(None) };
        let cold = ColdLedger::decode(found.value).map_err(|_| metadata::Error::Corrupt { key: found.key })?;
        Ok((cold.attempt == attempt).then(|| Operation::delete(key, Expect::Version(found.version))))
    }

    /// Objects go while their ledger stays on bookies: then it must really be there. After an older state of the metadata was restored
    /// it may not, and the objects are all there is.
    async fn bookies_have(&self, ledger: LedgerId, record: Option<&TopicRecord>) -> Result<(), Waits> {
        let listed = record.and_then(|record| record.ledgers.iter().find(|listed| listed.ledger == ledger.0));
        let Some(listed) = listed.filter(|listed| 0 < listed.entries) else { return Ok(()) };
        for entry in [0, listed.entries - 1].map(EntryId) {
            match self.ledgers.read(ledger, entry..entry.next(), 1).await {
                Ok(_) => {}
                Err(LedgerError::NotFound { .. } | LedgerError::Lost { .. }) => {
                    return Err(Waits::Contradicted("the ledger is listed, and bookies do not have it"));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// A topic that was deleted and a ledger that was trimmed leave an intent for the ledger too. A ledger that stays although nobody
    /// lists it means that a record was lost.
    async fn nobody_else_has_lost(&self, ledger: LedgerId, record: Option<&TopicRecord>) -> Result<(), Waits> {
        if record.is_some_and(|record| record.ledgers.iter().any(|listed| listed.ledger == ledger.0)) {
            return Ok(());
        }
        let Some(found) = self.metadata.get(&keys::ledger(ledger).into()).await? else { return Ok(()) };
        let deleted = LedgerRecord::decode(found.value).is_ok_and(|record| record.state() == LedgerState::Deleted);
        if deleted || self.metadata.get(&keys::delete_ledger(ledger).into()).await?.is_some() {
            return Ok(());
        }
        Err(Waits::Contradicted("no topic lists the ledger, and nobody deletes it"))
    }
}

async fn each_pause<F: Future<Output = ()>>(ownership: &Ownership, drain: &Drain, work_off: impl Fn() -> F) {
    let mut ticks = interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = drain.requested() => return,
            _ = ticks.tick() => {}
        }
        if ownership.brokers().first().is_none_or(|first| first.start != ownership.me().start) {
            continue;
        }
        tokio::select! {
            () = drain.requested() => return, // What is left half way is repeated by whoever comes next.
            () = work_off() => {}
        }
    }
}

/// Works off all intents to delete ledgers that there are now. What fails stays for the next time.
pub(crate) async fn work_off(metadata: &Arc<dyn MetadataStore>, ledgers: &Arc<dyn Ledgers>) {
    let intents = match metadata.list_all(keys::LEDGER_INTENTS).await {
        Ok(intents) => intents,
        Err(error) => return tracing::warn!(%error, "intents cannot be listed"),
    };
    for record in intents {
        if let Err(error) = delete(&record, ledgers).await {
            tracing::info!(intent = %record.key, %error, "an intent waits");
        }
    }
}

async fn delete(record: &Record, ledgers: &Arc<dyn Ledgers>) -> Result<(), LedgerError> {
    match Intent::decode(record.value.clone()).map(|intent| intent.subject) {
        Ok(Some(Subject::DeleteLedger(ledger))) => ledgers.delete(LedgerId(ledger)).await,
        _ => Err(metadata::Error::Corrupt { key: record.key.clone() }.into()), // Of a later version.
    }
}
