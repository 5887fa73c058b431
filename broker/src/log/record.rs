//! The topic's record: one owner per load, through which the chain and the cursor log make their changes one after the other.
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ledger::{Above, LedgerError, LedgerWriter, QuorumPolicy, Sealed};
use metadata::{Expect, MetadataStore, Operation, Record, Transaction, Version};
use parking_lot::Mutex as BlockingMutex;
use prost::Message;
use proto::records::{DeleteObjects, Intent, TopicRecord, intent};
use proto::{LedgerId, TopicName, keys};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::{LogContext, LogError};

/// How long sealing, creating and metadata are tried before a log gives up.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Pauses between attempts, growing, until patience ends.
struct Attempts {
    until: Instant,
    pause: Duration,
}

impl Attempts {
    fn new() -> Self {
        Self { until: Instant::now() + PATIENCE, pause: FIRST_PAUSE }
    }

    /// `false`: enough was tried.
    async fn again(&mut self) -> bool {
        if self.until < Instant::now() + self.pause {
            return false;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        true
    }
}

/// Which of the record's lists a new ledger goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    /// The chain.
    Entries,
    /// The cursor log.
    Cursors,
    /// What a compaction writes, until it counts.
    Compacted,
}

/// How many copies the next ledgers of a topic's entries have. A lock and not a message: it is read when a ledger is made.
#[derive(Debug, Default)]
pub(crate) struct Replication(BlockingMutex<Option<QuorumPolicy>>);

impl Replication {
    /// From now on so many. `None`: as many as the broker is configured for.
    pub(crate) fn set(&self, policy: Option<QuorumPolicy>) {
        *self.0.lock() = policy;
    }

    fn or(&self, of_broker: QuorumPolicy) -> QuorumPolicy {
        self.0.lock().unwrap_or(of_broker)
    }
}

/// Changes the record of one load of a topic. Cheap to clone.
///
/// Every change expects the version that the last one left, so that whoever loads the topic later ends all changes of this load.
#[derive(Debug, Clone)]
pub(crate) struct RecordOwner {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    context: LogContext,
    topic: TopicName,
    key: String,
    replication: Arc<Replication>,
    /// An asynchronous lock and not a task: two rare users (a roll, a new cursor ledger) take turns for a whole transaction,
    /// and an idle topic must not cost a task.
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    record: TopicRecord,
    version: Version,
    /// `record` says more than what is stored.
    noted: bool,
    /// A transaction began and its outcome was not learned: nobody may build on `version` any more.
    in_doubt: bool,
}

impl RecordOwner {
    /// Raises the epoch: from now on no other load of the topic can change its record.
    pub(super) async fn take(context: &LogContext, topic: &TopicName) -> Result<Self, LogError> {
        let key = keys::topic(topic);
        let found = read(context, topic).await?.ok_or_else(|| LogError::NotFound { topic: topic.clone() })?;
        let mut record = decode(topic, &found)?;
        record.epoch += 1;
        record.loaded_by = context.start.to_string();
        let held = Held { record: record.clone(), version: found.version, noted: false, in_doubt: false };
        let (context, topic, replication) = (context.clone(), topic.clone(), Arc::default());
        let shared = Shared { context, topic, key, replication, held: Mutex::new(held) };
        let owner = Self { shared: Arc::new(shared) };
        owner.change(&[], |_| ()).await?;
        Ok(owner)
    }

    /// The record as it is known here.
    pub(crate) async fn record(&self) -> TopicRecord {
        self.shared.held.lock().await.record.clone()
    }

    /// Changes what the next change writes.
    pub(crate) async fn note(&self, edit: impl FnOnce(&mut TopicRecord)) {
        let mut held = self.shared.held.lock().await;
        edit(&mut held.record);
        held.noted = true;
    }

    /// Writes what was noted, if anything was.
    pub(crate) async fn write_noted(&self) -> Result<(), LogError> {
        let noted = self.shared.held.lock().await.noted;
        if noted { self.change(&[], |_| ()).await } else { Ok(()) }
    }

    /// Changes the record and leaves an intent for all there is of every ledger in `gone`, which the change must no longer refer to.
    pub(crate) async fn change(&self, gone: &[LedgerId], edit: impl FnOnce(&mut TopicRecord)) -> Result<(), LogError> {
        self.change_while(&[], gone, edit).await
    }

    /// [`change`](Self::change), as long as other records are as `checks` say: else [`LogError::Outdated`], and nothing is done.
    pub(super) async fn change_while(
        &self,
        checks: &[Operation],
        gone: &[LedgerId],
        edit: impl FnOnce(&mut TopicRecord),
    ) -> Result<(), LogError> {
        let edit = |record: &mut TopicRecord| {
            edit(record);
            true
        };
        self.change_with(checks, gone, edit).await.map(|_| ())
    }

    /// [`change`](Self::change) together with `also`. When one of these conflicts, or when `edit` finds something else than it needs
    /// and says so, nothing is done: [`LogError::Outdated`]. Returns the version of all that was written.
    pub(super) async fn change_with(
        &self,
        also: &[Operation],
        gone: &[LedgerId],
        edit: impl FnOnce(&mut TopicRecord) -> bool,
    ) -> Result<Version, LogError> {
        let Shared { context, key, .. } = &*self.shared;
        let mut held = self.held().await?;
        let mut record = held.record.clone();
        if !edit(&mut record) {
            return Err(LogError::Outdated { key: key.as_str().into() });
        }
        // First, because of several records that have changed the first is reported.
        let mut operations = vec![Operation::put(key.as_str(), record.encode_to_vec(), Expect::Version(held.version))];
        operations.extend(also.iter().cloned());
        let now_ms = context.clock.now_ms();
        operations.extend(gone.iter().flat_map(|ledger| departure(&held.record, *ledger, now_ms)));
        held.in_doubt = true;
        match commit(&*context.metadata, key, Transaction::new(operations)).await {
            Ok(version) => {
                *held = Held { record, version, noted: false, in_doubt: false };
                Ok(version)
            }
            Err(error @ metadata::Error::Unavailable { .. }) => {
                held.in_doubt = false; // Known not to have happened.
                Err(error.into())
            }
            Err(metadata::Error::Conflict { key: changed }) if changed.as_str() != key => {
                held.in_doubt = false; // Nor has this.
                Err(LogError::Outdated { key: changed })
            }
            Err(error) => Err(self.fenced(&error)),
        }
    }

    /// Makes a ledger and lists it, in one transaction. Tries again while bookies or metadata are away.
    pub(crate) async fn create_ledger(&self, list: List) -> Result<Box<dyn LedgerWriter>, LogError> {
        let mut attempts = Attempts::new();
        loop {
            match self.try_create_ledger(list).await {
                Err(error) if error.passes() && attempts.again().await => {
                    tracing::debug!(topic = %self.shared.topic, %error, "a ledger cannot be made yet");
                }
                outcome => return outcome,
            }
        }
    }

    async fn try_create_ledger(&self, list: List) -> Result<Box<dyn LedgerWriter>, LogError> {
        let Shared { context, topic, key, .. } = &*self.shared;
        let mut held = self.held().await?;
        let above = match (list, held.record.highest_ledger) {
            (List::Cursors | List::Compacted, _) => Above::Ledger(LedgerId(0)),
            // Clients may remember positions of a topic of this name that was deleted.
            (List::Entries, 0) => Above::AllHandedOut,
            (List::Entries, highest) => Above::Ledger(LedgerId(highest)),
        };
        let ledger = context.ledgers.next_id(above).await?;
        let mut record = held.record.clone();
        let owner = match list {
            List::Entries => {
                assert!(record.highest_ledger < ledger.0, "ledger ids of a topic only grow");
                record.highest_ledger = ledger.0;
                record.ledgers.push(proto::records::ChainLedger { ledger: ledger.0, ..Default::default() });
                format!("topic/{topic}")
            }
            List::Cursors => {
                record.cursor_ledgers.push(ledger.0);
                format!("cursors/{topic}")
            }
            List::Compacted => {
                assert!(record.compacting == 0, "a topic has one compaction at a time");
                record.compacting = ledger.0;
                format!("compacted/{topic}")
            }
        };
        let value = Bytes::from(record.encode_to_vec());
        let listing = Operation::put(key.as_str(), value.clone(), Expect::Version(held.version));
        held.in_doubt = true;
        let ledgers = &context.ledgers;
        let created = match list {
            List::Entries | List::Compacted => {
                let policy = self.shared.replication.or(context.policy);
                ledgers.create(ledger, policy, &owner, vec![listing]).await
            }
            // Acknowledgements are what frees space.
            List::Cursors => ledgers.create_urgent(ledger, context.policy, &owner, vec![listing]).await,
        };
        match created {
            Ok(writer) => {
                // The transaction was not ours to see: its version is learned from the value, which names this load's epoch.
                let found = read(context, topic).await?.filter(|found| found.value == value);
                let found = found.ok_or_else(|| self.fenced(&"the record changed after a ledger was made"))?;
                *held = Held { record, version: found.version, noted: false, in_doubt: false };
                Ok(writer)
            }
            Err(LedgerError::Metadata(error @ metadata::Error::Conflict { .. })) => match &error {
                metadata::Error::Conflict { key: other } if other.as_str() != key => {
                    held.in_doubt = false; // The id had been used: nothing was written, and another will do.
                    Err(LogError::Metadata(metadata::Error::Unavailable { reason: error.to_string() }))
                }
                _ => Err(self.fenced(&error)),
            },
            Err(LedgerError::Metadata(metadata::Error::OutcomeUnknown)) => {
                Err(self.fenced(&metadata::Error::OutcomeUnknown))
            }
            Err(error) => {
                held.in_doubt = false;
                Err(error.into())
            }
        }
    }

    /// Settles how a ledger ended. Tries again while bookies or metadata are away. A missing ledger is an alarm.
    pub(crate) async fn seal(&self, ledger: LedgerId) -> Result<Sealed, LogError> {
        let Shared { context, topic, .. } = &*self.shared;
        let mut attempts = Attempts::new();
        loop {
            match context.ledgers.seal(ledger).await {
                Ok(sealed) => return Ok(sealed),
                Err(LedgerError::NotFound { .. } | LedgerError::Lost { .. }) => {
                    tracing::error!(%topic, %ledger, "a ledger of this topic is missing: the topic is not served");
                    return Err(LogError::DataMissing { topic: topic.clone(), ledger });
                }
                Err(error) if error.retry() == ledger::Retry::Never || !attempts.again().await => {
                    return Err(error.into());
                }
                Err(error) => tracing::debug!(%topic, %ledger, %error, "a ledger cannot be sealed yet"),
            }
        }
    }

    /// How many copies its next ledgers have: for whoever hears of policies.
    pub(crate) fn replication(&self) -> Arc<Replication> {
        self.shared.replication.clone()
    }

    /// Whose record it is.
    pub(crate) fn topic(&self) -> &TopicName {
        &self.shared.topic
    }

    /// What this log was given.
    pub(crate) fn context(&self) -> &LogContext {
        &self.shared.context
    }

    async fn held(&self) -> Result<MutexGuard<'_, Held>, LogError> {
        let held = self.shared.held.lock().await;
        if held.in_doubt {
            return Err(self.fenced(&"an earlier change of the record has no known outcome"));
        }
        Ok(held)
    }

    pub(crate) fn fenced(&self, reason: &dyn ToString) -> LogError {
        LogError::Fenced { topic: self.shared.topic.clone(), reason: reason.to_string() }
    }
}

/// Operations that [`departure`] takes for one ledger at most.
pub(super) const DEPARTURE_MAX: usize = 2;

/// What stands in the transaction in which `record` stops referring to a ledger: an intent for each copy there is of it.
pub(super) fn departure(record: &TopicRecord, ledger: LedgerId, now_ms: u64) -> Vec<Operation> {
    let listed = record.ledgers.iter().find(|listed| listed.ledger == ledger.0);
    let mut operations = Vec::new();
    // Without a place in the chain it is one of the cursor log or a compacted one: on bookies only.
    if listed.is_none_or(|listed| !listed.bookies_freed) {
        operations.push(ledger::delete_intent(ledger, now_ms));
    }
    if let Some(offloaded) = listed.and_then(|listed| listed.offloaded.as_ref()) {
        let objects = DeleteObjects {
            store: record.stores.get(offloaded.store as usize).cloned().unwrap_or_default(),
            topic: record.topic.clone(),
            ledger: ledger.0,
            attempt: offloaded.attempt,
            epoch: 0, // Nobody is at it any more.
        };
        let intent = Intent { subject: Some(intent::Subject::DeleteObjects(objects)), created_at: now_ms };
        let key = keys::delete_objects(ledger, offloaded.attempt);
        operations.push(Operation::put(key, intent.encode_to_vec(), Expect::Any));
    }
    operations
}

/// Reads a topic's record, trying again while metadata is away.
pub(super) async fn read(context: &LogContext, topic: &TopicName) -> Result<Option<Record>, LogError> {
    let key = keys::topic(topic).into();
    let mut attempts = Attempts::new();
    loop {
        match context.metadata.get(&key).await {
            Err(error) if error.retry() == metadata::Retry::Never || !attempts.again().await => {
                return Err(error.into());
            }
            Err(_) => {}
            Ok(found) => return Ok(found),
        }
    }
}

pub(super) fn decode(topic: &TopicName, found: &Record) -> Result<TopicRecord, LogError> {
    TopicRecord::decode(found.value.clone()).map_err(|_| LogError::Corrupt { topic: topic.clone(), what: "the record" })
}

/// Commits until the outcome is known. [`metadata::Error::Unavailable`] means that nothing was written; a conflict is somebody
/// else's doing, never an earlier attempt of this call.
pub(super) async fn commit(
    metadata: &dyn MetadataStore,
    key: &str,
    transaction: Transaction,
) -> Result<Version, metadata::Error> {
    let mut attempts = Attempts::new();
    let mut unknown = false;
    loop {
        match metadata.commit(transaction.clone()).await {
            Err(metadata::Error::Conflict { key: changed }) if unknown => {
                return match metadata.get(&key.into()).await {
                    Ok(Some(found)) if found.token == transaction.token => Ok(found.version),
                    Ok(_) => Err(metadata::Error::Conflict { key: changed }),
                    Err(_) => Err(metadata::Error::OutcomeUnknown),
                };
            }
            Err(metadata::Error::OutcomeUnknown) => {
                unknown = true;
                if !attempts.again().await {
                    return Err(metadata::Error::OutcomeUnknown);
                }
            }
            Err(error @ metadata::Error::Unavailable { .. }) => {
                if !attempts.again().await {
                    return Err(if unknown { metadata::Error::OutcomeUnknown } else { error });
                }
            }
            outcome => return outcome,
        }
    }
}
