//! What tests of logs and cursors stand on: metadata and ledgers in memory, and a store that a process can die in.
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ledger::{MemoryLedgers, QuorumPolicy};
use metadata::{
    Error, Expect, Key, Lease, MemoryStore, MetadataStore, MetadataStoreExt, Operation, Page, Record, Transaction,
    Version, Watch,
};
use parking_lot::Mutex;
use prost::Message;
use proto::records::{ClusterRecord, TopicRecord};
use proto::{LedgerId, Position, TopicName, keys};
use tokio::sync::{Notify, watch};

use super::{EntryCache, LogContext, LogReader, ObjectTier, Rollover, Settled, TopicLog};
use crate::clock::Clock;
use crate::intents;
use crate::offload::{Kinds, Stores};

#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) store: MemoryStore,
    pub(crate) mortal: Arc<MortalStore>,
    pub(crate) ledgers: MemoryLedgers,
    pub(crate) topic: TopicName,
    /// All brokers of a test see the same objects.
    pub(crate) stores: Stores,
    seeds: AtomicU64,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let store = MemoryStore::default();
        let cluster = ClusterRecord { instance: "rig".into(), created_at: 0 }.encode_to_vec();
        futures::executor::block_on(store.put(keys::CLUSTER, cluster, Expect::Absent)).expect("nothing is there yet");
        let mortal = Arc::new(MortalStore::over(store.clone()));
        let ledgers = MemoryLedgers::new(mortal.clone());
        Self {
            store,
            mortal,
            ledgers,
            topic: "orders".parse().expect("valid"),
            stores: Stores::new(5, Kinds::All),
            seeds: AtomicU64::new(1),
        }
    }

    /// As one start of a broker has it: with a cache of its own.
    pub(crate) fn context(&self, start: &str, entries_max: u64) -> LogContext {
        LogContext {
            metadata: self.mortal.clone(),
            ledgers: Arc::new(self.ledgers.clone()),
            policy: QuorumPolicy { ensemble: 3, write: 3, ack: 2 },
            rollover: Rollover { entries_max, ..Rollover::default() },
            cache: EntryCache::new(1 << 20),
            tier: ObjectTier::new(
                self.mortal.clone(),
                self.stores.clone(),
                8 << 20,
                self.seeds.fetch_add(1, Ordering::Relaxed),
            ),
            start: start.into(),
            clock: Clock::runtime(1_000_000),
            sealed: tokio::sync::mpsc::channel(1).0,
        }
    }

    pub(crate) async fn record(&self) -> TopicRecord {
        let found = self.store.get(&keys::topic(&self.topic).into()).await.unwrap().expect("the topic exists");
        TopicRecord::decode(found.value).unwrap()
    }

    /// All intents, as a broker does.
    pub(crate) async fn work_off(&self) {
        let LogContext { metadata, ledgers, tier, .. } = self.context("worker", 2);
        intents::work_off(&metadata, &ledgers).await;
        intents::Worker { metadata, ledgers, tier }.work_off_objects().await;
    }

    pub(crate) async fn intents(&self) -> Vec<LedgerId> {
        let page = self.store.list(keys::INTENTS, None, 1000).await.unwrap();
        let id = |record: &Record| record.key.as_str().rsplit('/').next().and_then(|id| id.parse().ok());
        page.records.iter().map(|record| LedgerId(id(record).expect("ends in a ledger's id"))).collect()
    }
}

/// Appends `first` to before `end` as texts, and returns where each came to lie.
pub(crate) async fn publish(log: &mut TopicLog, first: u32, end: u32) -> Vec<Position> {
    (first..end).for_each(|number| log.append(number.to_string().into()));
    log.flush();
    settle(log).await
}

/// Waits until nothing is unsettled.
pub(crate) async fn settle(log: &mut TopicLog) -> Vec<Position> {
    let mut positions = Vec::new();
    while 0 < log.unconfirmed() {
        match log.settled().await {
            Settled::Confirmed { first, count } => positions.extend(following(first, count)),
            Settled::Lost(error) => panic!("lost: {error}"),
        }
    }
    positions
}

pub(crate) fn following(first: Position, count: usize) -> impl Iterator<Item = Position> {
    std::iter::successors(Some(first), |position| Some(position.next())).take(count)
}

pub(crate) async fn read_all(reader: &LogReader) -> Vec<(Position, Bytes)> {
    let mut all = Vec::new();
    let mut at = Position::EARLIEST;
    loop {
        let found = reader.read(at, 3, 1 << 20).await.unwrap();
        let Some(last) = found.last() else { return all };
        at = last.position.next();
        all.extend(found.into_iter().map(|entry| (entry.position, entry.bytes)));
    }
}

/// Dies at a commit: the caller waits forever, whether or not the transaction happened.
#[derive(Debug)]
pub(crate) struct MortalStore {
    inner: MemoryStore,
    /// Twice the commits until death; odd: the last one still happens.
    left: AtomicI64,
    died: Notify,
    /// Commits wait.
    held: watch::Sender<bool>,
    /// Reads of keys that begin so find the store away.
    unreadable: Mutex<Option<&'static str>>,
    /// Of transactions that remove a key that begins so, nobody learns whether they happened; `true`: they do.
    unanswered: Mutex<Option<(&'static str, bool)>>,
}

impl MortalStore {
    /// As one process sees `inner`.
    pub(crate) fn over(inner: MemoryStore) -> Self {
        Self {
            inner,
            left: AtomicI64::new(i64::MAX),
            died: Notify::new(),
            held: watch::Sender::new(false),
            unreadable: Mutex::default(),
            unanswered: Mutex::default(),
        }
    }

    pub(crate) fn die_after(&self, half_commits: i64) {
        self.left.store(half_commits, Ordering::SeqCst);
    }

    pub(crate) fn live(&self) {
        self.left.store(i64::MAX, Ordering::SeqCst);
    }

    pub(crate) async fn died(&self) {
        self.died.notified().await;
    }

    /// From now on commits wait, or go on.
    pub(crate) fn hold_commits(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// From now on, what lies below `prefix` cannot be read.
    pub(crate) fn set_unreadable(&self, prefix: Option<&'static str>) {
        *self.unreadable.lock() = prefix;
    }

    /// From now on, nobody learns of transactions that remove a key below the prefix whether they happened; `true`: they do.
    pub(crate) fn set_unanswered(&self, removes: Option<(&'static str, bool)>) {
        *self.unanswered.lock() = removes;
    }

    fn unanswered(&self, transaction: &Transaction) -> Option<bool> {
        let (prefix, happens) = (*self.unanswered.lock())?;
        let removes = |operation: &Operation| match operation {
            Operation::Delete { key, .. } => key.as_str().starts_with(prefix),
            _ => false,
        };
        transaction.operations.iter().any(removes).then_some(happens)
    }

    fn readable(&self, key: &str) -> Result<(), Error> {
        match *self.unreadable.lock() {
            Some(prefix) if key.starts_with(prefix) => Err(Error::Unavailable { reason: "as the test asked".into() }),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl MetadataStore for MortalStore {
    async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        self.readable(key.as_str())?;
        self.inner.get(key).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Version, Error> {
        tokio::task::yield_now().await; // Others may come between.
        let _ = self.held.subscribe().wait_for(|held| !held).await;
        if let Some(happens) = self.unanswered(&transaction) {
            if happens {
                let _ = self.inner.commit(transaction).await; // Nor that it had happened before.
            }
            return Err(Error::OutcomeUnknown);
        }
        let left = self.left.fetch_sub(2, Ordering::SeqCst);
        if left <= 1 {
            if left == 1 {
                let _ = self.inner.commit(transaction).await;
            }
            self.died.notify_one();
            return std::future::pending().await;
        }
        self.inner.commit(transaction).await
    }

    async fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Page, Error> {
        self.readable(prefix)?;
        self.inner.list(prefix, after, limit).await
    }

    async fn watch(&self, prefix: &str) -> Result<Watch, Error> {
        self.inner.watch(prefix).await
    }

    async fn lease(&self, ttl: Duration) -> Result<Lease, Error> {
        self.inner.lease(ttl).await
    }
}
