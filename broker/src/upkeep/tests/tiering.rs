//! Goal: what is closed moves and is freed in time, in turns, without anybody waiting for a store that fails. Method: as its parent, with
//! the task that moves ledgers beside it and objects in memory.
use proto::Position;
use proto::records::OffloadPolicy;
use tokio::task::JoinHandle;

use super::*;
use crate::log::{ChainLedger, Moving};
use crate::offload::faults::{Fault, Faults};
use crate::offload::{Backend, Location, Operation};
use crate::topic::OffloadProgress;

struct Tiered {
    house: House,
    drain: Drain,
    working: JoinHandle<()>,
}

const LAG: Duration = Duration::from_secs(30);

impl Tiered {
    /// As one whose brokers move what is closed at once, and free it a little later.
    async fn new() -> Self {
        let store = Some(Location::Memory { name: "upkeep".into() });
        Self::with(Defaults { store, moving: Moving { bytes: Some(0), age: None, lag: Some(LAG) } }).await
    }

    async fn with(defaults: Defaults) -> Self {
        let mut house = House::new().await;
        let policies = house.upkeep.policies.clone();
        house.upkeep.tiering = Tiering::new(house.log.tier.clone(), policies, defaults, house.log.clock.clone());
        let (drain, tiering) = (Drain::new(), house.upkeep.tiering.clone());
        let working = tokio::spawn({
            let drain = drain.clone();
            async move { tiering.work(&drain).await }
        });
        Self { house, drain, working }
    }

    async fn open(&self, topic: &TopicName) -> TopicHandle {
        self.house.upkeep.topics.open(topic, false).await.unwrap()
    }

    async fn until(&self, done: impl Fn() -> bool) {
        let looking = async {
            while !done() {
                pass(Duration::from_millis(100)).await; // The clock is paused.
            }
        };
        tokio::time::timeout(HOUR, looking).await.expect("it gets there");
    }

    async fn stop(self) -> House {
        self.drain.request();
        self.working.await.unwrap();
        self.house
    }
}

fn count(handle: &TopicHandle, which: fn(&ChainLedger) -> bool) -> usize {
    handle.with_chain(|chain| chain.ledgers().iter().filter(|listed| which(listed)).count())
}

fn moved(handle: &TopicHandle) -> usize {
    count(handle, |listed| listed.objects.is_some())
}

fn freed(handle: &TopicHandle) -> usize {
    count(handle, |listed| listed.bookies_freed)
}

#[tokio::test(start_paused = true)]
async fn closed_ledgers_move_and_leave_bookies_after_the_lag_without_another_walk() {
    let tiered = Tiered::new().await;
    let names = [tiered.house.stored("one", 7).await, tiered.house.stored("two", 7).await];
    let handles = [tiered.open(&names[0]).await, tiered.open(&names[1]).await];
    let begin = Instant::now();
    tiered.house.walk().await;
    tiered.until(|| handles.iter().all(|handle| moved(handle) == 4)).await;
    assert!(handles.iter().all(|handle| freed(handle) == 0) && begin.elapsed() < LAG);
    tiered.until(|| handles.iter().all(|handle| freed(handle) == 4)).await;
    assert!(LAG <= begin.elapsed() && begin.elapsed() < LAG + Duration::from_secs(2), "{:?}", begin.elapsed());
    for handle in &handles {
        let stats = handle.stats().await.unwrap();
        assert_eq!((stats.storage_size, stats.offloaded_storage_size), (7, 7));
        assert!(0 < stats.last_offload_ledger_id && 0 < stats.last_offload_success_time_stamp);
        assert!(handle.internal_stats().await.unwrap().ledgers.iter().all(|ledger| ledger.offloaded));
        assert_eq!(handle.last_message_id(false).await.unwrap().entry_id, 0, "the only one of the fourth ledger");
    }
    let house = tiered.stop().await;
    house.work_off().await;
    assert!(house.rig.ledgers.ledgers().is_empty());
    let again = log::load(&house.log, &names[1]).await.unwrap();
    assert_eq!(read_all(&again.log.reader()).await.len(), 7);
}

#[tokio::test(start_paused = true)]
async fn who_asks_has_the_open_ledger_closed_and_moved_and_is_told() {
    let tiered = Tiered::new().await;
    let handle = tiered.house.consumed("orders", 0).await;
    publish_one(&tiered.house, &handle, 100).await;
    let open = handle.with_chain(|chain| chain.open().map(|(open, ..)| open.ledger)).expect("it takes entries");
    assert_eq!(handle.offload_progress(), OffloadProgress::NotRun);
    assert!(tiered.house.upkeep.offload(&handle, Position { ledger: open, ..Position::EARLIEST }));
    assert!(!tiered.house.upkeep.offload(&handle, Position::EARLIEST), "one at a time");
    tiered.until(|| handle.offload_progress() != OffloadProgress::Running).await;
    assert_eq!(handle.offload_progress(), OffloadProgress::Success(Position::new(open.0, 1)), "all of it");
    assert_eq!(moved(&handle), 1);
    tiered.until(|| freed(&handle) == 1).await;
}

#[tokio::test(start_paused = true)]
async fn who_asks_without_a_store_is_told_why_nothing_moves() {
    let tiered = Tiered::with(defaults()).await;
    let handle = tiered.house.consumed("orders", 3).await;
    let last = Position::new(u64::MAX, 0);
    assert!(tiered.house.upkeep.offload(&handle, last));
    tiered.until(|| handle.offload_progress() != OffloadProgress::Running).await;
    let OffloadProgress::Error(reason) = handle.offload_progress() else { panic!("{:?}", handle.offload_progress()) };
    assert!(reason.contains("no object store is set"), "{reason}");
    assert!(tiered.house.upkeep.offload(&handle, last), "it may be asked for again");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_makes_nobody_wait_who_goes_elsewhere() {
    let tiered = Tiered::new().await;
    let names = [tiered.house.stored("one", 3).await, tiered.house.stored("two", 3).await];
    let faults = Faults::new(1);
    faults.always(Operation::Put, Fault::BucketGone);
    let gone = Location::S3 { bucket: "gone".into(), prefix: String::new(), endpoint: None, region: None };
    tiered.house.rig.stores.put(&gone, faults.before(Backend::memory()));
    let set = |record: &mut PoliciesRecord| {
        let (driver, bucket) = (Some("S3".into()), Some("gone".into()));
        record.offload = Some(OffloadPolicy { driver, bucket, ..Default::default() });
        Ok(())
    };
    tiered.house.upkeep.policies.change(&Level::Topic(names[0].clone()), set).await.unwrap();
    let (one, two) = (tiered.open(&names[0]).await, tiered.open(&names[1]).await);
    tiered.house.walk().await;
    tiered.until(|| moved(&two) == 2 && one.offload_failure().is_some()).await;
    assert_eq!((moved(&one), freed(&one)), (0, 0));
    let reason = one.offload_failure().unwrap();
    assert!(reason.contains("refuses"), "{reason}");
    faults.stop();
    pass(Duration::from_secs(60)).await;
    tiered.house.walk().await;
    tiered.until(|| moved(&one) == 2 && one.offload_failure().is_none()).await;
}

/// Nothing is configured, and topics pay nothing for it.
#[tokio::test(start_paused = true)]
async fn by_default_nothing_moves() {
    let tiered = Tiered::with(defaults()).await;
    let name = tiered.house.stored("orders", 7).await;
    let handle = tiered.open(&name).await;
    for _ in 0..3 {
        tiered.house.walk().await;
        pass(HOUR / 4).await;
    }
    assert_eq!(moved(&handle), 0);
}
