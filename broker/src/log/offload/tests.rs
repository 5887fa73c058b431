//! Goal: whatever happens while ledgers move, everything reads as it was published, nothing is deleted too early and nothing is left
//! over. Method: the decision beside a model; then whole topics over storage in memory, with a process that dies at each commit and
//! at each request to the store, faults of the store, answers of the metadata that never come, and a second owner.
use std::collections::{BTreeSet, HashMap};
use std::future::pending;
use std::sync::Arc;

use futures::TryStreamExt;
use ledger::LedgerError;
use metadata::MetadataStoreExt;
use proptest::prelude::*;
use proto::{LedgerId, Position, keys};
use tokio::time::timeout;

use super::super::rig::{Rig, publish, read_all};
use super::super::{Loaded, create, delete as delete_topic, load};
use super::*;
use crate::intents;
use crate::offload::faults::{Fault, Faults};
use crate::offload::{AttemptId, Backend, Location, Operation as Asked};

// The decision.

fn ledger(id: u64, bytes: u64, sealed_at: Option<u64>, moved_at: Option<u64>) -> ChainLedger {
    let objects = moved_at.map(|since| {
        let attempt = Attempt {
            instance: "rig".into(),
            topic: "orders".parse().unwrap(),
            ledger: LedgerId(id),
            id: AttemptId(id),
        };
        let copy = OffloadedLedger { store: place(), attempt, objects: 1, bytes };
        Arc::new(InObjects { copy, since })
    });
    ChainLedger { ledger: LedgerId(id), entries: 1, bytes, sealed_at, objects, bookies_freed: false }
}

prop_compose! {
    fn chains()(
        ledgers in prop::collection::vec((0..30_u64, 0..100_u64, prop::option::of(0..100_u64), any::<bool>()), 0..7),
        open in any::<bool>(),
    ) -> Chain {
        let last = ledgers.len().checked_sub(1);
        let listed = |(at, (bytes, sealed_at, moved_at, freed)): (usize, &(u64, u64, Option<u64>, bool))| {
            if open && Some(at) == last {
                return ledger(at as u64 + 1, *bytes, None, None);
            }
            let listed = ledger(at as u64 + 1, *bytes, Some(*sealed_at), *moved_at);
            ChainLedger { bookies_freed: *freed && moved_at.is_some(), ..listed }
        };
        Chain::new(ledgers.iter().enumerate().map(listed).collect(), LedgerId(0))
    }
}

prop_compose! {
    fn movings()(
        bytes in prop::option::of(0..90_u64),
        age in prop::option::of(0..100_u64),
        lag in prop::option::of(0..100_u64),
    ) -> Moving {
        Moving { bytes, age: age.map(Duration::from_millis), lag: lag.map(Duration::from_millis) }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_moves_and_what_is_freed_is_what_the_model_says(chain in chains(), moving in movings(), now_ms in 0..200_u64) {
        let only_on_bookies = |listed: &&ChainLedger| listed.sealed_at.is_some() && listed.objects.is_none();
        let moves = |listed: &&ChainLedger| {
            let later = chain.ledgers().iter().filter(|later| listed.ledger <= later.ledger).filter(only_on_bookies);
            let with_later: u64 = later.map(|later| later.bytes).sum();
            let old = moving.age.is_some_and(|age| listed.sealed_at.unwrap() + age.as_millis() as u64 <= now_ms);
            old || moving.bytes.is_some_and(|bytes| bytes < with_later)
        };
        let expected: Vec<LedgerId> =
            chain.ledgers().iter().filter(only_on_bookies).filter(moves).map(|listed| listed.ledger).collect();
        prop_assert_eq!(offload_due(&chain, &moving, now_ms), expected);

        let goes = |listed: &&ChainLedger| {
            let old = |objects: &Arc<InObjects>| {
                moving.lag.is_some_and(|lag| objects.since + lag.as_millis() as u64 <= now_ms)
            };
            !listed.bookies_freed && listed.objects.as_ref().is_some_and(old)
        };
        let expected: Vec<LedgerId> = chain.ledgers().iter().filter(goes).map(|listed| listed.ledger).collect();
        prop_assert_eq!(free_due(&chain, &moving, now_ms), expected);
    }

    /// Whoever sleeps until the time that is said misses nothing.
    #[test]
    fn between_two_dues_nothing_is_due(chain in chains(), moving in movings(), now_ms in 0..200_u64, step in 0..200_u64) {
        let due = |at| (offload_due(&chain, &moving, at), free_due(&chain, &moving, at));
        let next = next_due(&chain, &moving, now_ms);
        if next.is_none_or(|next| now_ms + step < next) {
            prop_assert_eq!(due(now_ms), due(now_ms + step));
        }
        if let Some(next) = next {
            prop_assert!(now_ms < next);
        }
    }
}

#[test]
fn who_asks_moves_what_lies_before_and_a_newcomer_the_only_ledger_there_is() {
    let chain = |ledgers: Vec<ChainLedger>| Chain::new(ledgers, LedgerId(0));
    let (sealed, moved, open) =
        (|id| ledger(id, 1, Some(1), None), |id| ledger(id, 1, Some(1), Some(1)), |id| ledger(id, 1, None, None));
    let asked = |ledgers: Vec<ChainLedger>, before| {
        offload_asked(&chain(ledgers), LedgerId(before)).iter().map(|ledger| ledger.0).collect::<Vec<_>>()
    };
    assert_eq!(asked(vec![moved(1), sealed(2), sealed(3), open(4)], 4), [2, 3]);
    assert_eq!(asked(vec![moved(1), sealed(2), sealed(3), open(4)], 3), [2]);
    assert_eq!(asked(vec![open(4)], 4), [4]);
    assert_eq!(asked(vec![moved(1), open(4)], u64::MAX), [4]);
    assert_eq!(asked(vec![moved(1), sealed(4)], 4), [4], "it was closed meanwhile");
    assert!(asked(vec![moved(1), open(4)], 3).is_empty());
    assert!(asked(vec![moved(4)], 4).is_empty());
    assert!(asked(vec![], 4).is_empty());
    assert!(asked(vec![ChainLedger { entries: 0, ..open(4) }], 4).is_empty());
}

#[test]
fn an_attempt_is_awaited_only_in_the_load_that_makes_it() {
    let listed = |attempt: Option<u64>| records::ChainLedger {
        ledger: 7,
        offloaded: attempt.map(|attempt| records::Offloaded { attempt, ..Default::default() }),
        ..Default::default()
    };
    let record = |attempt| TopicRecord { epoch: 3, ledgers: vec![listed(attempt)], ..Default::default() };
    let objects = |epoch| DeleteObjects { ledger: 7, attempt: 5, epoch, ..Default::default() };
    assert_eq!(fate(Some(&record(None)), &objects(3)), Fate::Awaited);
    assert_eq!(fate(Some(&record(None)), &objects(2)), Fate::GivenUp);
    assert_eq!(fate(Some(&record(None)), &objects(0)), Fate::GivenUp);
    for epoch in [0, 2, 3] {
        assert_eq!(fate(Some(&record(Some(5))), &objects(epoch)), Fate::Needed);
        assert_eq!(fate(Some(&record(Some(6))), &objects(epoch)), Fate::Unneeded);
        assert_eq!(fate(Some(&TopicRecord { epoch: 3, ..Default::default() }), &objects(epoch)), Fate::Unneeded);
        assert_eq!(fate(None, &objects(epoch)), Fate::Unneeded);
    }
}

// The change itself.

fn place() -> Location {
    Location::Memory { name: "rig".into() }
}

/// A topic of three sealed ledgers with two entries each and an open one with one, and its store behind faults.
struct Moved {
    rig: Rig,
    loaded: Loaded,
    positions: Vec<Position>,
    store: Arc<Store>,
    faults: Faults,
}

const ENTRIES: u32 = 7;

impl Moved {
    async fn new() -> Self {
        let (rig, faults) = (Rig::new(), Faults::new(3));
        let store = rig.stores.put(&place(), faults.before(Backend::memory()));
        let context = rig.context("a", 2);
        create(&context, &rig.topic, HashMap::new()).await.unwrap();
        let mut loaded = load(&context, &rig.topic).await.unwrap();
        let positions = publish(&mut loaded.log, 0, ENTRIES).await;
        store.probe().await.unwrap();
        Self { rig, loaded, positions, store, faults }
    }

    fn sealed(&self) -> Vec<LedgerId> {
        let chain = self.loaded.log.reader().chain();
        chain.iter().filter(|listed| listed.sealed_at.is_some()).map(|listed| listed.ledger).collect()
    }

    async fn move_one(&self, ledger: LedgerId) -> Result<bool, OffloadError> {
        self.loaded.offloader.offload(ledger, &self.store, |_| (), pending()).await
    }

    /// What upkeep does, to the end.
    async fn move_and_free(&self) -> Result<(), OffloadError> {
        for ledger in self.sealed() {
            self.move_one(ledger).await?;
            self.loaded.offloader.free(ledger, pending()).await?;
        }
        Ok(())
    }

    /// As another broker that takes the topic over; what was there before has died.
    async fn reload(&mut self, start: &str) {
        self.rig.mortal.live();
        self.loaded = load(&self.rig.context(start, 2), &self.rig.topic).await.unwrap();
    }

    async fn work_off(&self) {
        self.rig.work_off().await;
    }

    async fn names(&self) -> BTreeSet<(LedgerId, AttemptId)> {
        let listed = crate::offload::list(&self.store, "rig").await.unwrap();
        listed.iter().map(|one| one.name.as_ref().map(|name| (name.ledger, name.attempt)).unwrap()).collect()
    }

    /// Every entry, whoever reads it.
    async fn check_read(&self, what: &str) {
        let read = read_all(&self.loaded.log.reader()).await;
        let expected: Vec<_> = (0..ENTRIES).map(|number| bytes::Bytes::from(number.to_string())).collect();
        let (positions, entries): (Vec<_>, Vec<_>) = read.into_iter().unzip();
        assert_eq!(entries, expected, "{what}");
        assert_eq!(positions, self.positions, "{what}");
    }

    /// Whatever has happened, each listed ledger has a copy where the record says, and it is whole.
    async fn check_copies(&self, what: &str) {
        let record = self.rig.record().await;
        let there = self.rig.ledgers.ledgers();
        for listed in &record.ledgers {
            assert!(!listed.bookies_freed || listed.offloaded.is_some(), "{what}: {listed:?}");
            assert!(listed.bookies_freed || there.contains(&LedgerId(listed.ledger)), "{what}: {listed:?} is gone");
        }
        let instance: Arc<str> = "rig".into();
        let chain = super::super::chain_of(&self.rig.topic, &record, &instance).unwrap();
        for objects in chain.ledgers().iter().filter_map(|listed| listed.objects.as_ref()) {
            still_there(&self.store, &objects.copy).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        }
    }

    /// Once all intents are worked off: as many copies as the record says, and no more.
    async fn check_nothing_is_left_over(&self, what: &str) {
        self.work_off().await;
        assert!(self.rig.store.list_all(keys::INTENTS).await.unwrap().is_empty(), "{what}: intents are left");
        let record = self.rig.record().await;
        let referred = record
            .ledgers
            .iter()
            .filter_map(|listed| Some((LedgerId(listed.ledger), AttemptId(listed.offloaded.as_ref()?.attempt))));
        assert_eq!(self.names().await, referred.collect(), "{what}: objects");
        let listed = record.ledgers.iter().filter(|listed| !listed.bookies_freed).map(|listed| listed.ledger);
        let listed: BTreeSet<u64> = listed.chain(record.cursor_ledgers.iter().copied()).collect();
        let there: BTreeSet<u64> = self.rig.ledgers.ledgers().iter().map(|ledger| ledger.0).collect();
        assert_eq!(there, listed, "{what}: ledgers on bookies");
    }
}

#[tokio::test(start_paused = true)]
async fn ledgers_that_moved_read_as_if_they_had_not() {
    let mut moved = Moved::new().await;
    let sealed = moved.sealed();
    assert_eq!(sealed.len(), 3);
    let reader = moved.loaded.log.reader();
    let before = (reader.first(), reader.end(), reader.last());
    moved.move_and_free().await.unwrap();
    assert!(
        !moved.move_one(sealed[0]).await.unwrap() && !moved.loaded.offloader.free(sealed[0], pending()).await.unwrap()
    );
    moved.check_copies("moved").await;
    moved.check_nothing_is_left_over("moved").await;
    assert!(sealed.iter().all(|ledger| !moved.rig.ledgers.ledgers().contains(ledger)), "bookies have forgotten them");
    moved.check_read("moved").await;
    moved.reload("b").await;
    moved.check_read("loaded again").await;
    let reader = moved.loaded.log.reader();
    assert_eq!((reader.first(), reader.end(), reader.last()), before);
    assert_eq!(reader.with_chain(|chain| chain.count(chain.first(), chain.end())), u64::from(ENTRIES));
    let next = publish(&mut moved.loaded.log, 7, 8).await[0];
    assert!(before.1 <= next);
}

/// A topic whose last ledger bookies have forgotten loads: its end stands in the record.
#[tokio::test(start_paused = true)]
async fn a_topic_loads_when_even_its_last_ledger_lies_in_objects_only() {
    let mut moved = Moved::new().await;
    moved.loaded.log.roll(moved.positions[6].ledger);
    assert!(timeout(Duration::from_secs(1), moved.loaded.log.settled()).await.is_err(), "nothing else happens");
    moved.move_and_free().await.unwrap();
    moved.check_nothing_is_left_over("moved").await;
    assert!(moved.rig.ledgers.ledgers().is_empty());
    moved.reload("b").await;
    moved.check_read("loaded again").await;
    assert_eq!(moved.loaded.log.reader().last(), Some(moved.positions[6]));
}

/// Goal: a crash leaves the old or the new truth. Method: a process dies at each commit, before or after it happens.
#[tokio::test(start_paused = true)]
async fn a_crash_at_any_commit_loses_nothing_and_leaves_nothing() {
    let mut half_commits = 1;
    loop {
        let mut moved = Moved::new().await;
        let what = format!("died at {half_commits}");
        moved.rig.mortal.die_after(half_commits);
        let finished = tokio::select! {
            done = moved.move_and_free() => { done.unwrap(); true }
            () = moved.rig.mortal.died() => false,
        };
        moved.check_copies(&what).await;
        moved.reload("b").await;
        moved.check_read(&what).await;
        moved.work_off().await;
        moved.check_copies(&what).await;
        moved.check_read(&what).await;
        moved.move_and_free().await.unwrap();
        moved.check_nothing_is_left_over(&what).await;
        moved.check_read(&what).await;
        moved.reload("c").await;
        moved.check_read(&what).await;
        if finished {
            assert!(18 <= half_commits, "three commits for each of three ledgers");
            return;
        }
        half_commits += 1;
    }
}

/// The same for requests to the store: the process dies while one hangs, carried out or not.
#[tokio::test(start_paused = true)]
async fn a_crash_at_any_request_loses_nothing_and_leaves_nothing() {
    for asked in [Asked::Put, Asked::Get, Asked::Head] {
        for fault in [Fault::TimeoutBefore, Fault::TimeoutAfter] {
            for spared in 0.. {
                let mut moved = Moved::new().await;
                let what = format!("died at {asked:?} {spared}, {fault:?}");
                moved.faults.spare(asked, spared);
                moved.faults.next(asked, fault, 1);
                let finished = timeout(Duration::from_secs(1), moved.move_and_free()).await.is_ok();
                moved.faults.stop();
                moved.check_copies(&what).await;
                moved.reload("b").await;
                moved.work_off().await;
                moved.check_copies(&what).await;
                moved.check_read(&what).await;
                moved.move_and_free().await.unwrap();
                moved.check_nothing_is_left_over(&what).await;
                moved.check_read(&what).await;
                if finished {
                    assert!(3 <= spared, "at least one for each ledger");
                    break;
                }
            }
        }
    }
}

/// Goal: a store that fails costs time, never data. Method: each fault for each kind of request, for ever and then for a while.
#[tokio::test(start_paused = true)]
async fn no_fault_of_a_store_loses_or_spoils_anything() {
    for asked in [Asked::Put, Asked::Get, Asked::Head, Asked::Delete, Asked::List] {
        for fault in Fault::ALL {
            let mut moved = Moved::new().await;
            let what = format!("{fault:?} of every {asked:?}");
            moved.faults.always(asked, fault);
            let outcome = moved.move_and_free().await;
            moved.check_read(&what).await;
            moved.faults.stop();
            moved.check_copies(&what).await;
            moved.check_read(&what).await;
            if let Err(error) = outcome {
                assert!(error.is_of_store(), "{what}: {error}");
                moved.work_off().await;
            }
            moved.faults.next(asked, fault, 2);
            let _ = moved.move_and_free().await;
            moved.faults.stop();
            moved.check_read(&what).await;
            moved.move_and_free().await.unwrap_or_else(|error| panic!("{what}: {error}"));
            moved.check_nothing_is_left_over(&what).await;
            moved.reload("b").await;
            moved.check_read(&what).await;
        }
    }
}

/// N20: what was answered as written cannot be read back.
#[tokio::test(start_paused = true)]
async fn nothing_becomes_official_that_does_not_read_back() {
    let moved = Moved::new().await;
    let ledger = moved.sealed()[0];
    moved.faults.always(Asked::Get, Fault::NotFound);
    let failed = moved.move_one(ledger).await;
    assert!(matches!(&failed, Err(OffloadError::Upload { source: UploadError::NotVerified(_), .. })), "{failed:?}");
    assert!(moved.rig.record().await.ledgers.iter().all(|listed| listed.offloaded.is_none()));
    moved.faults.stop();
    moved.check_nothing_is_left_over("not read back").await;
    moved.check_read("not read back").await;
}

#[tokio::test(start_paused = true)]
async fn bookies_forget_nothing_whose_objects_are_gone() {
    let moved = Moved::new().await;
    let ledger = moved.sealed()[0];
    assert!(!moved.loaded.offloader.free(ledger, pending()).await.unwrap(), "it has not moved");
    assert!(moved.move_one(ledger).await.unwrap());
    let all: Vec<_> = moved.store.objects().list(None).try_collect().await.unwrap();
    for object in &all {
        object_store::ObjectStoreExt::delete(&**moved.store.objects(), &object.location).await.unwrap();
    }
    let failed = moved.loaded.offloader.free(ledger, pending()).await;
    assert!(matches!(failed, Err(OffloadError::Object(ObjectError::NotFound { .. }))), "{failed:?}");
    moved.work_off().await;
    assert!(moved.rig.ledgers.ledgers().contains(&ledger));
    moved.check_read("the objects are gone").await;
}

/// N17 and N18: the one change that counts has no known outcome.
#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_found_out_by_the_next_load_and_never_guessed() {
    for happened in [true, false] {
        let mut moved = Moved::new().await;
        let (ledger, what) = (moved.sealed()[0], format!("happened: {happened}"));
        moved.rig.mortal.set_unanswered(Some((keys::OBJECT_INTENTS, happened)));
        let failed = moved.move_one(ledger).await;
        assert!(matches!(failed, Err(OffloadError::Log(LogError::Fenced { .. }))), "{what}: {failed:?}");
        moved.rig.mortal.set_unanswered(None);
        moved.work_off().await; // It decides nothing that it cannot know.
        moved.check_copies(&what).await;
        moved.reload("b").await;
        let official = moved.rig.record().await.ledgers[0].offloaded.is_some();
        assert_eq!(official, happened);
        moved.work_off().await;
        moved.check_read(&what).await;
        assert_eq!(moved.move_one(ledger).await.unwrap(), !happened, "{what}");
        moved.check_nothing_is_left_over(&what).await;
        moved.check_read(&what).await;
    }
}

/// O5: one wins, and of the other nothing is left.
#[tokio::test(start_paused = true)]
async fn of_two_owners_one_moves_a_ledger_and_the_other_leaves_nothing() {
    let mut moved = Moved::new().await;
    let ledger = moved.sealed()[0];
    moved.rig.ledgers.hold_reads(true);
    let first = moved.loaded.offloader.clone();
    let store = Arc::clone(&moved.store);
    let first = tokio::spawn(async move { first.offload(ledger, &store, |_| (), pending()).await });
    tokio::time::sleep(Duration::from_secs(1)).await; // Its intent stands.
    moved.reload("b").await;
    let (second, store) = (moved.loaded.offloader.clone(), Arc::clone(&moved.store));
    let second = tokio::spawn(async move { second.offload(ledger, &store, |_| (), pending()).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    moved.rig.ledgers.hold_reads(false);
    let lost = first.await.unwrap();
    assert!(matches!(lost, Err(OffloadError::Log(LogError::Fenced { .. }))), "{lost:?}");
    assert!(second.await.unwrap().unwrap());
    moved.check_nothing_is_left_over("two owners").await;
    moved.check_read("two owners").await;
}

/// N19.
#[tokio::test(start_paused = true)]
async fn a_topic_that_is_deleted_while_a_ledger_moves_leaves_nothing() {
    let moved = Moved::new().await;
    let ledger = moved.sealed()[1];
    assert!(moved.move_one(moved.sealed()[0]).await.unwrap());
    moved.rig.ledgers.hold_reads(true);
    let (offloader, store) = (moved.loaded.offloader.clone(), Arc::clone(&moved.store));
    let moving = tokio::spawn(async move { offloader.offload(ledger, &store, |_| (), pending()).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    delete_topic(&moved.rig.context("a", 2), &moved.rig.topic, Vec::new()).await.unwrap();
    let context = moved.rig.context("worker", 2);
    let worker = intents::Worker {
        metadata: moved.rig.mortal.clone(),
        ledgers: context.ledgers.clone(),
        tier: context.tier.clone(),
    };
    worker.work_off_objects().await; // Of objects only: the upload can still read, and goes on without an intent.
    moved.rig.ledgers.hold_reads(false);
    assert!(moving.await.unwrap().is_err());
    moved.work_off().await;
    assert!(moved.names().await.is_empty());
    assert!(moved.rig.store.list_all(keys::INTENTS).await.unwrap().is_empty());
    assert!(moved.rig.ledgers.ledgers().is_empty());
}

#[tokio::test(start_paused = true)]
async fn whoever_is_interrupted_gives_up_what_was_begun() {
    let moved = Moved::new().await;
    let ledger = moved.sealed()[0];
    moved.rig.ledgers.hold_reads(true);
    let until = tokio::time::sleep(Duration::from_secs(5));
    let stopped = moved.loaded.offloader.offload(ledger, &moved.store, |_| (), until).await;
    assert!(matches!(stopped, Err(OffloadError::Interrupted)), "{stopped:?}");
    moved.rig.ledgers.hold_reads(false);
    moved.check_nothing_is_left_over("interrupted").await;
    moved.check_read("interrupted").await;
}

/// What could not be given up because the metadata was away is, with the next attempt.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_was_left_behind_is_given_up_by_the_next() {
    let moved = Moved::new().await;
    let ledger = moved.sealed()[0];
    moved.faults.next(Asked::Put, Fault::TimeoutAfter, 1);
    let crashed = timeout(Duration::from_secs(1), moved.move_one(ledger)).await;
    assert!(crashed.is_err(), "dropped where it was");
    moved.work_off().await;
    assert_eq!(moved.names().await.len(), 1, "it is awaited, as far as anybody can know");
    assert!(moved.move_one(ledger).await.unwrap());
    moved.check_nothing_is_left_over("left behind").await;
}

#[tokio::test(start_paused = true)]
async fn readers_go_to_the_other_copy_when_one_fails() {
    let moved = Moved::new().await;
    let ledger = moved.sealed()[0];
    assert!(moved.move_one(ledger).await.unwrap());
    let fresh = load(&moved.rig.context("b", 2), &moved.rig.topic).await.unwrap(); // With nothing in its cache.
    let reader = fresh.log.reader();
    let read = async || reader.read(moved.positions[0], 1, 1).await.map(|found| found[0].bytes.clone());
    let gets = || moved.store.requests().made(Asked::Get);
    let before = gets();
    let lost = LedgerError::Lost { ledger, entry: EntryId(0) };
    moved.rig.ledgers.fail_next_read(lost);
    assert_eq!(read().await.unwrap(), "0");
    assert!(before < gets(), "bookies failed: objects");
    let before = gets();
    assert_eq!(reader.read(moved.positions[1], 1, 1).await.unwrap()[0].bytes, "1");
    assert_eq!(before, gets(), "from a block that is there, without asking bookies: they failed a moment ago");

    let other = load(&moved.rig.context("c", 2), &moved.rig.topic).await.unwrap();
    let reader = other.log.reader();
    moved.rig.ledgers.fail_next_read(LedgerError::Lost { ledger, entry: EntryId(0) });
    moved.faults.always(Asked::Get, Fault::Refused);
    moved.faults.always(Asked::Head, Fault::Refused);
    let neither = reader.read(moved.positions[0], 1, 1).await;
    assert!(matches!(neither, Err(LogError::DataMissing { .. })), "{neither:?}");
    assert_eq!(reader.read(moved.positions[0], 1, 1).await.unwrap()[0].bytes, "0", "objects fail: bookies");
}

#[tokio::test(start_paused = true)]
async fn trimmed_ledgers_take_their_objects_with_them() {
    let mut moved = Moved::new().await;
    moved.move_and_free().await.unwrap();
    moved.loaded.cursor_log.put(&"s".into(), crate::cursor::AckSet::default(), HashMap::new()).await.unwrap();
    let (done, outcome) = tokio::sync::oneshot::channel();
    let receipt = crate::cursor::AckReceipt::new(move |outcome| drop(done.send(outcome)));
    let all = crate::cursor::AckDelta::below(moved.positions[6]);
    moved.loaded.cursor_log.acknowledge(&"s".into(), all, Some(receipt));
    outcome.await.unwrap().unwrap();
    let gone = moved.loaded.trimmer.trim(&super::super::Keep::NOTHING, &[]).await.unwrap();
    assert_eq!(gone.len(), 3);
    moved.check_nothing_is_left_over("trimmed").await;
    assert!(moved.names().await.is_empty());
    moved.reload("b").await;
    assert_eq!(read_all(&moved.loaded.log.reader()).await.len(), 1);
}

/// Goal: metadata that was restored from an older state costs nothing that is only in objects. Method: the state in which the attempt was
/// under way comes back after bookies have forgotten the ledger.
#[tokio::test(start_paused = true)]
async fn an_older_state_of_the_metadata_deletes_no_only_copy() {
    let mut moved = Moved::new().await;
    let ledger = moved.sealed()[0];
    moved.rig.ledgers.hold_reads(true);
    let (offloader, store) = (moved.loaded.offloader.clone(), Arc::clone(&moved.store));
    let moving = tokio::spawn(async move { offloader.offload(ledger, &store, |_| (), pending()).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let older = moved.rig.store.list_all("").await.unwrap();
    moved.rig.ledgers.hold_reads(false);
    assert!(moving.await.unwrap().unwrap());
    moved.loaded.offloader.free(ledger, pending()).await.unwrap();
    moved.work_off().await;
    assert!(!moved.rig.ledgers.ledgers().contains(&ledger));
    for record in older {
        moved.rig.store.put(record.key, record.value, Expect::Any).await.unwrap();
    }
    moved.reload("b").await; // The attempt is of an earlier load now.
    moved.work_off().await;
    assert!(moved.names().await.iter().any(|(listed, _)| *listed == ledger), "the only copy");
    assert_eq!(moved.rig.store.list_all(keys::OBJECT_INTENTS).await.unwrap().len(), 1, "somebody must look");
}
