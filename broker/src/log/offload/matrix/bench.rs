//! One topic with its store behind faults, and eyes that no fault can deceive: they look at the bytes in both places themselves.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use ledger::Ledgers;
use metadata::{Expect, MetadataStore, MetadataStoreExt, Record};
use object_store::ObjectStoreExt;
use prost::Message;
use proto::records::{Intent, TopicRecord, intent::Subject};
use proto::{EntryId, LedgerId, Position, keys};
use tokio::time::timeout;

use super::Tally;
use crate::Clock;
use crate::log::rig::{MortalStore, Rig, settle};
use crate::log::{Loaded, LogContext, LogError, LogReader, OffloadError, create, load};
use crate::offload::faults::{Fault, Faults};
use crate::offload::{
    Attempt, AttemptId, Backend, Kinds, Location, ObjectName, Objects, OffloadedLedger, Operation, Sequence, Store,
    Stores,
};
use crate::survey::{ScrubWanted, ScrubbedStore, Survey, SurveyError};

/// Three closed ledgers of four entries, and an open one with the last entry.
const LEDGER_ENTRIES: u64 = 4;
const ENTRIES: usize = 13;
/// Longer than any patience of the product.
pub(super) const HOURS: Duration = Duration::from_secs(6 * 3600);

const OPERATIONS: [Operation; 5] =
    [Operation::Put, Operation::Get, Operation::Head, Operation::Delete, Operation::List];

pub(super) fn place() -> Location {
    Location::Memory { name: "matrix".into() }
}

/// Requests that one ledger takes: its upload, and what is asked before it is freed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Requests {
    pub(super) puts: usize,
    pub(super) gets: usize,
    pub(super) heads: usize,
}

pub(super) struct Bench {
    pub(super) rig: Rig,
    pub(super) faults: Faults,
    pub(super) store: Arc<Store>,
    pub(super) loaded: Loaded,
    /// The closed ledgers, in order.
    pub(super) sealed: Vec<LedgerId>,
    entries: Vec<(Position, Bytes)>,
    /// The store without its faults.
    raw: Backend,
    starts: u32,
}

impl Bench {
    pub(super) async fn new(seed: u64) -> Self {
        let (rig, faults, raw) = (Rig::new(), Faults::new(seed), Backend::memory());
        let store = rig.stores.put_small(&place(), faults.before(raw.clone()));
        let context = rig.context("0", LEDGER_ENTRIES);
        create(&context, &rig.topic, HashMap::new()).await.unwrap();
        let mut loaded = load(&context, &rig.topic).await.unwrap();
        let payloads: Vec<Bytes> = (0..ENTRIES).map(|number| format!("{number:07}").repeat(100).into()).collect();
        payloads.iter().for_each(|payload| loaded.log.append(payload.clone()));
        loaded.log.flush();
        let entries: Vec<_> = settle(&mut loaded.log).await.into_iter().zip(payloads).collect();
        assert_eq!(entries.len(), ENTRIES);
        let chain = loaded.log.reader().chain();
        let sealed: Vec<_> = chain.iter().filter(|one| one.sealed_at.is_some()).map(|one| one.ledger).collect();
        assert_eq!(sealed.len(), 3);
        store.probe().await.unwrap();
        Self { rig, faults, store, loaded, sealed, entries, raw, starts: 0 }
    }

    /// What the first ledger takes when nothing goes wrong.
    pub(super) async fn requests_of_a_ledger() -> Requests {
        let bench = Self::new(1).await;
        let made = |operation| usize::try_from(bench.store.requests().made(operation)).unwrap();
        let before = [made(Operation::Put), made(Operation::Get), made(Operation::Head)];
        assert!(
            bench.offload(0).await.unwrap() && bench.loaded.offloader.free(bench.sealed[0], pending()).await.unwrap()
        );
        Requests {
            puts: made(Operation::Put) - before[0],
            gets: made(Operation::Get) - before[1],
            heads: made(Operation::Head) - before[2],
        }
    }

    /// After `spared` have passed, every request fails so.
    pub(super) fn fail_after(&self, spared: Requests, fault: Fault) {
        self.faults.spare(Operation::Put, spared.puts);
        self.faults.spare(Operation::Get, spared.gets);
        self.faults.spare(Operation::Head, spared.heads);
        OPERATIONS.iter().for_each(|operation| self.faults.always(*operation, fault));
    }

    pub(super) async fn offload(&self, at: usize) -> Result<bool, OffloadError> {
        self.loaded.offloader.offload(self.sealed[at], &self.store, |_| (), pending()).await
    }

    /// What upkeep does, until everything closed lies in objects only.
    pub(super) async fn move_and_free(&self) -> Result<(), OffloadError> {
        for (at, ledger) in self.sealed.iter().enumerate() {
            self.offload(at).await?;
            self.loaded.offloader.free(*ledger, pending()).await?;
        }
        Ok(())
    }

    /// As another process that takes the topic over, with nothing in its caches.
    pub(super) async fn load(&mut self) -> Result<(), LogError> {
        self.rig.mortal.live();
        self.starts += 1;
        let context = self.context(self.rig.mortal.clone());
        self.loaded = load(&context, &self.rig.topic).await?;
        Ok(())
    }

    /// A second process of its own, beside the first.
    pub(super) async fn load_beside(&mut self) -> Result<Loaded, LogError> {
        self.starts += 1;
        let process = Arc::new(MortalStore::over(self.rig.store.clone()));
        load(&self.context(process), &self.rig.topic).await
    }

    fn context(&self, metadata: Arc<MortalStore>) -> LogContext {
        LogContext { metadata, ..self.rig.context(&self.starts.to_string(), LEDGER_ENTRIES) }
    }

    /// As an operator asks for it, with no grace at all.
    pub(super) async fn scrub(&self, remove: bool) -> Result<ScrubbedStore, SurveyError> {
        let context = self.context(self.rig.mortal.clone());
        let survey = Survey {
            metadata: context.metadata.clone(),
            ledgers: context.ledgers.clone(),
            tier: context.tier.clone(),
            clock: Clock::fixed(u64::MAX / 2), // The age of an object is by the store's clock, which is not ours to set.
        };
        let wanted = ScrubWanted { remove, grace: Duration::ZERO, store: None, default: Some(place()) };
        Ok(survey.scrub(&wanted).await?.stores.remove(0))
    }

    pub(super) async fn record(&self) -> Option<TopicRecord> {
        let found = self.rig.store.get(&keys::topic(&self.rig.topic).into()).await.unwrap();
        found.map(|found| TopicRecord::decode(found.value).unwrap())
    }

    /// All of the metadata.
    pub(super) async fn metadata(&self) -> Vec<Record> {
        self.rig.store.list_all("").await.unwrap()
    }

    /// The metadata becomes what it was.
    pub(super) async fn restore(&self, state: &[Record]) {
        let then: BTreeSet<&str> = state.iter().map(|record| record.key.as_str()).collect();
        for now in self.metadata().await {
            if !then.contains(now.key.as_str()) {
                self.rig.store.delete(now.key, Expect::Any).await.unwrap();
            }
        }
        for record in state {
            self.rig.store.put(record.key.clone(), record.value.clone(), Expect::Any).await.unwrap();
        }
    }

    /// The attempts that an intent names.
    pub(super) async fn intended(&self) -> Vec<Attempt> {
        let intents = self.rig.store.list_all(keys::OBJECT_INTENTS).await.unwrap();
        let named = intents.into_iter().map(|record| match Intent::decode(record.value).unwrap().subject {
            Some(Subject::DeleteObjects(objects)) => self.attempt(LedgerId(objects.ledger), objects.attempt),
            other => panic!("{other:?}"),
        });
        named.collect()
    }

    fn attempt(&self, ledger: LedgerId, id: u64) -> Attempt {
        Attempt { instance: "rig".into(), topic: self.rig.topic.clone(), ledger, id: AttemptId(id) }
    }

    /// An object of an attempt that comes when everything else is over: its request was on its way for so long.
    pub(super) async fn arrive_late(&self, attempt: &Attempt) {
        self.raw.objects.put(&attempt.object(9), "late".into()).await.unwrap();
    }

    /// What lies in the store: of each attempt, how many objects and bytes.
    async fn stored(&self) -> BTreeMap<(LedgerId, AttemptId), (u32, u64)> {
        let mut stored = BTreeMap::new();
        let all: Vec<_> = self.raw.objects.list(None).try_collect().await.unwrap();
        for object in all {
            if let Some(name) = ObjectName::parse(&object.location, "rig") {
                let (objects, bytes) = stored.entry((name.ledger, name.attempt)).or_insert((0, 0));
                *objects += 1;
                *bytes += object.size;
            }
        }
        stored
    }

    async fn whole_on_bookies(&self, ledger: LedgerId) -> bool {
        if !self.rig.ledgers.ledgers().contains(&ledger) {
            return false;
        }
        let expected = self.payloads(ledger);
        let read = self.rig.ledgers.read(ledger, EntryId(0)..EntryId(expected.len() as u64), usize::MAX).await;
        read.is_ok_and(|read| read.into_iter().map(|entry| entry.payload).eq(expected))
    }

    async fn whole_in_objects(&self, attempt: Attempt, (objects, bytes): (u32, u64)) -> bool {
        let stores = Stores::new(1, Kinds::All);
        stores.put(&place(), self.raw.clone());
        let expected = self.payloads(attempt.ledger);
        let (reader, copy) =
            (Objects::new(stores, 8 << 20), OffloadedLedger { store: place(), attempt, objects, bytes });
        let (mut found, mut sequence) = (Vec::new(), Sequence::default());
        while found.len() < expected.len() {
            let range = EntryId(found.len() as u64)..EntryId(expected.len() as u64);
            match reader.read(&copy, range, usize::MAX, &mut sequence).await {
                Ok(read) => found.extend(read.into_iter().map(|entry| entry.payload)),
                Err(_) => return false,
            }
        }
        found == expected
    }

    fn payloads(&self, ledger: LedgerId) -> Vec<Bytes> {
        let of = |(position, bytes): &(Position, Bytes)| (position.ledger == ledger).then(|| bytes.clone());
        self.entries.iter().filter_map(of).collect()
    }

    /// Looks at what there is, whatever the metadata may say: each ledger must have a whole copy; and as long as there is a record, what it
    /// refers to is whole, and bookies have forgotten only what it says.
    pub(super) async fn look(&self, tally: &mut Tally) {
        let (stored, record) = (self.stored().await, self.record().await);
        let mut ledgers: Vec<LedgerId> = self.entries.iter().map(|(position, _)| position.ledger).collect();
        ledgers.dedup();
        for ledger in ledgers {
            let on_bookies = self.whole_on_bookies(ledger).await;
            let mut whole = Vec::new();
            for ((of, id), there) in &stored {
                if *of == ledger && self.whole_in_objects(self.attempt(ledger, id.0), *there).await {
                    whole.push(id.0);
                }
            }
            if !on_bookies && whole.is_empty() {
                tally.lost += self.payloads(ledger).len() as u64;
            }
            let Some(record) = &record else { continue };
            let Some(listed) = record.ledgers.iter().find(|listed| listed.ledger == ledger.0) else { continue };
            let official = listed.offloaded.as_ref().map(|offloaded| offloaded.attempt);
            let referred_is_whole = official.is_none_or(|attempt| whole.contains(&attempt));
            let freed = listed.bookies_freed && official.is_some();
            tally.early += u64::from(!referred_is_whole || !(on_bookies || freed));
        }
    }

    /// Whether objects are all there is of a ledger, and the metadata does not say so.
    pub(super) async fn has_unknown_only_copy(&self) -> bool {
        let record = self.record().await.unwrap_or_default();
        let known = |ledger: LedgerId| {
            record.ledgers.iter().any(|listed| listed.ledger == ledger.0 && listed.offloaded.is_some())
        };
        let there = self.rig.ledgers.ledgers();
        self.sealed.iter().any(|ledger| !there.contains(ledger) && !known(*ledger))
    }

    /// Reads the topic as a consumer does. While things are wrong it may fail, and must not give anything else.
    pub(super) async fn read(&self, tally: &mut Tally, healed: bool) {
        let mut read: Vec<(Position, Bytes)> = Vec::new();
        let outcome = read_all(&self.loaded.log.reader(), &mut read).await;
        let wrong = read.iter().zip(&self.entries).filter(|(found, expected)| found != expected).count();
        tally.mismatching += wrong as u64 + read.len().saturating_sub(self.entries.len()) as u64;
        if healed {
            tally.lost += self.entries.len().saturating_sub(read.len()) as u64;
        } else if outcome.is_ok() && read.len() < self.entries.len() {
            tally.mismatching += 1; // An end where none is.
        }
    }

    /// Everything that is somewhere and belongs nowhere.
    pub(super) async fn count_orphans(&self) -> u64 {
        let record = self.record().await.unwrap_or_default();
        let referred = record
            .ledgers
            .iter()
            .filter_map(|one| Some((LedgerId(one.ledger), AttemptId(one.offloaded.as_ref()?.attempt))));
        let referred: BTreeSet<_> = referred.collect();
        let stored: BTreeSet<_> = self.stored().await.into_keys().collect();
        let listed = record.ledgers.iter().filter(|one| !one.bookies_freed).map(|one| one.ledger);
        let listed: BTreeSet<u64> = listed.chain(record.cursor_ledgers.iter().copied()).collect();
        let there: BTreeSet<u64> = self.rig.ledgers.ledgers().iter().map(|ledger| ledger.0).collect();
        let intents = self.rig.store.list_all(keys::INTENTS).await.unwrap().len();
        (stored.difference(&referred).count() + there.difference(&listed).count() + intents) as u64
    }

    /// Runs `work` until `moment`, when the process dies, unless it dies at a commit before.
    pub(super) async fn until<T>(&self, moment: Duration, work: impl Future<Output = T>) -> Option<T> {
        let died = self.rig.mortal.died();
        let lived = async {
            tokio::select! { done = work => Some(done), () = died => None }
        };
        timeout(moment, lived).await.ok().flatten()
    }
}

async fn read_all(reader: &LogReader, all: &mut Vec<(Position, Bytes)>) -> Result<(), LogError> {
    let mut at = Position::EARLIEST;
    loop {
        let found = reader.read(at, 3, 1 << 20).await?;
        let Some(last) = found.last() else { return Ok(()) };
        at = last.position.next();
        all.extend(found.into_iter().map(|entry| (entry.position, entry.bytes)));
    }
}
