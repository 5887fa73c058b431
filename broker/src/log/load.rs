//! Making, loading and deleting a topic.
use std::collections::HashMap;
use std::sync::Arc;

use ledger::Sealed;
use metadata::{Expect, Operation, Transaction};
use prost::Message;
use proto::records::TopicRecord;
use proto::{LedgerId, Position, TopicName, keys};

use super::record::{self, RecordOwner};
use super::tier::chain_of;
use super::{Compacted, Compactor, LogContext, LogError, LogReader, Offloader, TopicLog, Trimmer};
use crate::cursor::{self, AckSet, CursorLog, Run};

/// A topic that this broker may serve.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// For the topic task.
    pub log: TopicLog,
    /// Its durable subscriptions.
    pub cursors: Vec<LoadedCursor>,
    /// For the subscription tasks.
    pub cursor_log: CursorLog,
    /// For whoever looks after the topic.
    pub trimmer: Trimmer,
    /// For whoever moves its ledgers.
    pub offloader: Offloader,
    /// For whoever compacts it.
    pub compactor: Compactor,
    /// For what else is written down of the topic.
    pub record: RecordOwner,
    /// Of the producers that have had the topic for themselves.
    pub producer_epoch: Option<u64>,
    /// Where it ended for producers, once it has: the last message, if there was one.
    pub terminated: Option<Option<Position>>,
    /// Milliseconds since 1970.
    pub created_at: u64,
}

/// A durable subscription as it was when its topic was loaded.
#[derive(Debug, Clone)]
pub(crate) struct LoadedCursor {
    /// The subscription's name.
    pub name: Arc<str>,
    /// What is acknowledged.
    pub acks: AckSet,
    /// Of the subscription.
    pub properties: HashMap<String, String>,
    /// What is known of when its entries are to be delivered.
    pub delays: Vec<Run>,
}

/// Makes the topic's record, and nothing else: ledgers are made at the first publish. `false`: there was one.
pub(crate) async fn create(
    context: &LogContext,
    topic: &TopicName,
    properties: HashMap<String, String>,
) -> Result<bool, LogError> {
    let key = keys::topic(topic);
    let created_at = context.clock.now_ms();
    let record = TopicRecord { topic: topic.to_string(), created_at, properties, ..Default::default() };
    let put = Operation::put(key.as_str(), record.encode_to_vec(), Expect::Absent);
    match record::commit(&*context.metadata, &key, Transaction::new(vec![put])).await {
        Ok(_) => Ok(true),
        Err(metadata::Error::Conflict { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Takes the topic over: nobody who loaded it earlier confirms anything once this has returned.
///
/// The epoch is raised first, so that an earlier owner can list no further ledger; then what it may still write to is sealed.
#[tracing::instrument(target = "geminga", name = "topic.load", skip_all, fields(%topic), err(level = "debug"))]
pub(crate) async fn load(context: &LogContext, topic: &TopicName) -> Result<Loaded, LogError> {
    let owner = RecordOwner::take(context, topic).await?;
    seal_chain(&owner).await?;
    let record = owner.record().await;
    // Asked for only if it matters: it is read once, and it may be away.
    let in_objects = record.ledgers.iter().any(|listed| listed.offloaded.is_some());
    let instance = if in_objects { context.tier.instance().await? } else { "".into() };
    let reader = LogReader::new(context, topic, chain_of(topic, &record, &instance)?, Compacted::of(&record));
    let states = cursor::replay(&owner, &record, &reader).await?;
    let cursors = states.iter().map(|(name, state)| LoadedCursor {
        name: name.clone(),
        acks: state.acks.clone(),
        properties: state.properties.clone(),
        delays: state.delays.clone(),
    });
    let cursors = cursors.collect();
    let cursor_log = CursorLog::new(owner.clone(), reader.clone(), states);
    let trimmer = Trimmer::new(owner.clone(), reader.clone(), cursor_log.clone());
    let offloader = Offloader::new(owner.clone(), reader.clone());
    let compactor = Compactor::new(owner.clone(), reader.clone());
    let log = TopicLog::new(reader, owner.clone(), cursor_log.clone());
    let (created_at, producer_epoch) = (record.created_at, record.producer_epoch);
    let terminated =
        record.terminated.as_ref().map(|at| at.entries.checked_sub(1).map(|last| Position::new(at.ledger, last)));
    let record = owner;
    Ok(Loaded {
        log,
        cursors,
        cursor_log,
        trimmer,
        offloader,
        compactor,
        record,
        producer_epoch,
        terminated,
        created_at,
    })
}

/// Removes the topic's record together with `also`, and leaves intents for all of its ledgers. Whoever has it loaded loses it at its
/// next ledger, or when the intents are worked off, whichever comes first: unload it before.
///
/// One transaction, unless there are more ledgers than one can name: then the oldest go first, and a crash between leaves a shorter topic.
pub(crate) async fn delete(context: &LogContext, topic: &TopicName, also: Vec<Operation>) -> Result<(), LogError> {
    let key = keys::topic(topic);
    let found = record::read(context, topic).await?.ok_or_else(|| LogError::NotFound { topic: topic.clone() })?;
    let mut record = record::decode(topic, &found)?;
    let mut version = found.version;
    loop {
        let (operations, whole) =
            farewell(&mut record, context.clock.now_ms(), Transaction::OPERATIONS_MAX - also.len() - 1);
        let last = if whole {
            vec![Operation::delete(key.as_str(), Expect::Version(version))]
        } else {
            record.epoch += 1;
            vec![Operation::put(key.as_str(), record.encode_to_vec(), Expect::Version(version))]
        };
        let also = also.iter().filter(|_| whole).cloned();
        let operations = last.into_iter().chain(operations).chain(also).collect();
        version = match record::commit(&*context.metadata, &key, Transaction::new(operations)).await {
            Ok(version) => version,
            Err(error @ metadata::Error::Conflict { .. }) => {
                return Err(LogError::Fenced { topic: topic.clone(), reason: error.to_string() });
            }
            Err(error) => return Err(error.into()),
        };
        if whole {
            return Ok(());
        }
    }
}

/// Takes ledgers off the record, oldest first, as many as `operations_max` operations can say. `true`: all of them.
fn farewell(record: &mut TopicRecord, now_ms: u64, operations_max: usize) -> (Vec<Operation>, bool) {
    let mut operations: Vec<Operation> = Vec::new();
    let mut ledgers = 0;
    let compacted: Vec<u64> =
        record.compacted.iter().map(|compacted| compacted.ledger).chain([record.compacting]).collect();
    let compacted = compacted.into_iter().filter(|ledger| *ledger != 0);
    let listed = record.ledgers.iter().map(|listed| listed.ledger).chain(record.cursor_ledgers.iter().copied());
    let all: Vec<u64> = compacted.chain(listed).collect();
    for ledger in &all {
        let more = record::departure(record, LedgerId(*ledger), now_ms);
        if operations_max < operations.len() + more.len() {
            break;
        }
        operations.extend(more);
        ledgers += 1;
    }
    let whole = ledgers == all.len();
    ledgers = ledgers.saturating_sub(all.len() - record.ledgers.len() - record.cursor_ledgers.len());
    (record.compacted, record.compacting) = (None, 0);
    let of_chain = ledgers.min(record.ledgers.len());
    record.ledgers.drain(..of_chain);
    record.cursor_ledgers.drain(..ledgers - of_chain);
    (operations, whole)
}

/// Writes how a ledger ended into the record.
pub(super) fn seal_in(record: &mut TopicRecord, ledger: LedgerId, sealed: Sealed, now_ms: u64) {
    if let Some(listed) = record.ledgers.iter_mut().find(|listed| listed.ledger == ledger.0) {
        listed.entries = sealed.end.0;
        listed.bytes = sealed.length;
        listed.sealed_at = now_ms.max(1); // 0 means open.
    }
}

/// Seals what may be open, and the last ledger in any case: a ledger that is missing must be noticed now. One that bookies were told to
/// forget is not looked for: its end stands in the record. Ledgers that turn out empty leave the chain, in the same change that says
/// how the others ended; so does the ledger of a compaction that was not finished.
#[tracing::instrument(target = "geminga", name = "topic.seal", skip_all, fields(topic = %owner.topic()))]
async fn seal_chain(owner: &RecordOwner) -> Result<(), LogError> {
    let record = owner.record().await;
    let last = record.ledgers.last().map(|listed| listed.ledger);
    let mut ended = Vec::new();
    let looked_for = record.ledgers.iter().filter(|listed| !listed.bookies_freed);
    for listed in looked_for.filter(|listed| listed.sealed_at == 0 || Some(listed.ledger) == last) {
        let ledger = LedgerId(listed.ledger);
        let sealed = owner.seal(ledger).await?;
        if listed.sealed_at == 0 {
            ended.push((ledger, sealed));
        } else if sealed.end.0 != listed.entries {
            let (topic, recorded, found) = (owner.topic(), listed.entries, sealed.end);
            tracing::error!(%topic, %ledger, recorded, %found, "a ledger does not end where it did: the topic is not served");
            return Err(LogError::DataMissing { topic: topic.clone(), ledger });
        }
    }
    let unfinished = Some(LedgerId(record.compacting)).filter(|ledger| ledger.0 != 0);
    if ended.is_empty() && unfinished.is_none() {
        return Ok(());
    }
    let now_ms = owner.context().clock.now_ms();
    let empty: Vec<LedgerId> =
        ended.iter().filter(|(_, sealed)| sealed.end.0 == 0).map(|(ledger, _)| *ledger).collect();
    let gone: Vec<LedgerId> = empty.iter().copied().chain(unfinished).collect();
    owner
        .change(&gone, |record| {
            record.compacting = 0;
            ended.iter().for_each(|(ledger, sealed)| seal_in(record, *ledger, *sealed, now_ms));
            record.ledgers.retain(|listed| !empty.contains(&LedgerId(listed.ledger)));
        })
        .await
}
