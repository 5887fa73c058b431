use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;

use super::*;
use crate::offload::faults::{Fault, Faults};
use crate::offload::rig::{self, ONE_OBJECT, SMALL_CUTS, payload};
use crate::offload::stores::{Backend, Kinds};
use crate::offload::{Operation, Retry};

const MIB: usize = 1 << 20;

struct House {
    objects: Objects,
    store: Arc<Store>,
    faults: Faults,
}

impl House {
    fn new(cache_bytes: usize) -> Self {
        let (stores, faults) = rig::faulty_stores(Backend::memory());
        let store = stores.open(&rig::location()).unwrap();
        Self { objects: Objects::new(stores, cache_bytes), store, faults }
    }

    fn gets(&self) -> u64 {
        self.store.requests().made(Operation::Get)
    }

    async fn read(&self, ledger: &OffloadedLedger, range: Range<u64>) -> Result<Vec<Entry>, ObjectError> {
        let range = EntryId(range.start)..EntryId(range.end);
        self.objects.read(ledger, range, usize::MAX, &mut Sequence::default()).await
    }
}

fn payloads(count: u64, size: usize) -> Vec<Bytes> {
    (0..count).map(|number| payload(number, size)).collect()
}

/// Reads to the end as one sequential reader does, `bytes_max` at a time.
async fn read_on(
    objects: &Objects,
    ledger: &OffloadedLedger,
    from: u64,
    end: u64,
    bytes_max: usize,
) -> Result<Vec<Bytes>, ObjectError> {
    let (mut next, mut sequence, mut found) = (EntryId(from), Sequence::default(), Vec::new());
    while next < EntryId(end) {
        let read = objects.read(ledger, next..EntryId(end), bytes_max, &mut sequence).await?;
        assert!(!read.is_empty(), "at least one");
        for entry in read {
            assert_eq!(entry.entry, next);
            next = next.next();
            found.push(entry.payload);
        }
        tokio::task::yield_now().await;
    }
    Ok(found)
}

#[tokio::test]
async fn every_entry_reads_back_from_memory_and_from_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let payloads = payloads(300, 70_000);
    let stores = Stores::new(1, Kinds::All);
    for location in [rig::location(), Location::Directory { path: directory.path().to_path_buf() }] {
        let store = stores.open(&location).unwrap();
        for (id, cuts) in [(1, ONE_OBJECT), (2, SMALL_CUTS)] {
            let ledger = rig::offloaded(&store, id, &payloads, cuts).await;
            let objects = Objects::new(stores.clone(), 32 * MIB);
            for bytes_max in [1, 200_000, 4 * MIB, usize::MAX] {
                assert_eq!(read_on(&objects, &ledger, 0, 300, bytes_max).await.unwrap(), payloads);
            }
            for at in [299, 0, 150, 74, 75, 298, 1] {
                let read = objects.read(&ledger, EntryId(at)..EntryId(at + 1), 1, &mut Sequence::default()).await;
                let expected = vec![Entry { entry: EntryId(at), payload: payloads[at as usize].clone() }];
                assert_eq!(read.unwrap(), expected);
            }
            let none = objects.read(&ledger, EntryId(5)..EntryId(5), 1, &mut Sequence::default()).await;
            assert!(none.unwrap().is_empty());
            let beyond = objects.read(&ledger, EntryId(300)..EntryId(301), 1, &mut Sequence::default()).await;
            assert!(matches!(beyond, Err(ObjectError::Corrupt { .. })), "{beyond:?}");
            objects.stop().await;
        }
    }
}

#[tokio::test]
async fn a_read_gives_at_most_what_was_asked_for_but_one_entry_at_least() {
    let house = House::new(32 * MIB);
    let payloads = payloads(50, 10_000);
    let ledger = rig::offloaded(&house.store, 1, &payloads, ONE_OBJECT).await;
    for (bytes_max, expected) in [(0, 1), (9_999, 1), (10_000, 1), (25_000, 2), (30_000, 3), (usize::MAX, 40)] {
        let range = EntryId(5)..EntryId(45);
        let read = house.objects.read(&ledger, range, bytes_max, &mut Sequence::default()).await.unwrap();
        assert_eq!(read.len(), expected, "{bytes_max}");
    }
}

#[tokio::test]
async fn a_small_ledger_is_opened_and_read_with_one_request() {
    let house = House::new(32 * MIB);
    let payloads = payloads(20, 1000);
    let ledger = rig::offloaded(&house.store, 1, &payloads, ONE_OBJECT).await;
    let before = house.gets();
    assert_eq!(read_on(&house.objects, &ledger, 0, 20, 3000).await.unwrap(), payloads);
    assert_eq!(house.gets() - before, 1);
}

#[tokio::test]
async fn any_entry_of_a_large_object_is_two_requests_away() {
    let house = House::new(32 * MIB);
    let payloads = payloads(300, 100_000);
    let ledger = rig::offloaded(&house.store, 1, &payloads, ONE_OBJECT).await;
    let before = house.gets();
    assert_eq!(house.read(&ledger, 150..151).await.unwrap()[0].payload, payloads[150]);
    assert_eq!(house.gets() - before, 2);
    assert_eq!(house.read(&ledger, 10..11).await.unwrap()[0].payload, payloads[10]);
    assert_eq!(house.gets() - before, 3, "opened once");
}

#[tokio::test]
async fn a_sequential_reader_asks_for_ranges_that_grow() {
    let house = House::new(64 * MIB);
    let payloads = payloads(256, MIB - 100);
    let ledger = rig::offloaded(&house.store, 1, &payloads, ONE_OBJECT).await;
    let before = house.gets();
    assert_eq!(read_on(&house.objects, &ledger, 0, 256, MIB).await.unwrap(), payloads);
    let gets = house.gets() - before;
    assert!(gets <= 256 / 16 + 6, "{gets} requests for 256 MiB");
    assert!(house.objects.cache().bytes <= 64 * MIB);
}

#[tokio::test]
async fn readers_that_start_together_share_their_requests() {
    let payloads = payloads(100, MIB - 100);
    let mut requests = Vec::new();
    for readers in [1, 16] {
        let house = House::new(64 * MIB);
        let ledger = rig::offloaded(&house.store, 1, &payloads, ONE_OBJECT).await;
        let before = house.gets();
        let all = (0..readers).map(|_| read_on(&house.objects, &ledger, 0, 100, MIB));
        for read in join_all(all).await {
            assert_eq!(read.unwrap(), payloads);
        }
        requests.push(house.gets() - before);
    }
    assert!(requests[1] * 10 <= requests[0] * 12, "{requests:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_joins_gets_its_block_and_one_that_leaves_harms_nobody() {
    let house = House::new(64 * MIB);
    let payloads = payloads(30, MIB - 100);
    let ledger = rig::offloaded(&house.store, 1, &payloads, ONE_OBJECT).await;
    house.read(&ledger, 29..30).await.unwrap();
    let before = house.gets();
    house.faults.next(Operation::Get, Fault::TimeoutBefore, 1);
    let mut leaver = Box::pin(house.read(&ledger, 0..1));
    assert!(futures::poll!(&mut leaver).is_pending());
    let joins = house.read(&ledger, 0..1);
    drop(leaver);
    assert_eq!(joins.await.unwrap()[0].payload, payloads[0]);
    assert_eq!(house.gets() - before, 2, "one that hung, and one more");
}

#[tokio::test(start_paused = true)]
async fn many_distant_readers_stay_within_the_bound_and_do_not_read_twice() {
    let house = House::new(8 * MIB);
    let payloads = payloads(640, 100_000); // Ten in a block.
    let ledger = rig::offloaded(&house.store, 1, &payloads, ONE_OBJECT).await;
    let blocks = 64;
    let before = house.gets();
    let reader = |at: u64| {
        let (house, ledger) = (&house, &ledger);
        async move {
            let mut sequence = Sequence::default();
            let mut bytes = 0;
            for entry in 10 * at..10 * at + 10 {
                let range = EntryId(entry)..EntryId(entry + 1);
                bytes = bytes.max(house.objects.cache().bytes);
                house.objects.read(ledger, range, 1, &mut sequence).await.unwrap();
                tokio::task::yield_now().await;
            }
            bytes
        }
    };
    let most = join_all((0..blocks).map(reader)).await.into_iter().max().unwrap();
    assert!(most <= 8 * MIB, "{most}");
    let gets = house.gets() - before;
    assert!(gets <= blocks + blocks / 2, "{gets} requests for {blocks} blocks");
}

#[tokio::test(start_paused = true)]
async fn damage_on_the_way_is_read_again_and_damage_in_the_store_is_an_alarm() {
    let house = House::new(32 * MIB);
    let payloads = payloads(40, 300_000);
    let ledger = rig::offloaded(&house.store, 1, &payloads, ONE_OBJECT).await;
    house.read(&ledger, 39..40).await.unwrap();
    house.faults.next(Operation::Get, Fault::Flipped, 1);
    assert_eq!(house.read(&ledger, 0..1).await.unwrap()[0].payload, payloads[0]);
    house.faults.always(Operation::Get, Fault::Flipped);
    let error = house.read(&ledger, 6..7).await.unwrap_err();
    assert!(matches!(error, ObjectError::Corrupt { reason: FormatError::Checksum { what: "a block" }, .. }), "{error}");
    assert_eq!(error.object(), house.store.text(&ledger.attempt.object(0)));
    assert_eq!(error.retry(), Retry::Alarm);
    house.faults.stop();
    assert_eq!(house.read(&ledger, 6..7).await.unwrap()[0].payload, payloads[6], "an error is not kept");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_gone_is_an_alarm_and_one_that_hides_for_a_moment_is_none() {
    let house = House::new(32 * MIB);
    let payloads = payloads(40, 300_000);
    let ledger = rig::offloaded(&house.store, 1, &payloads, ONE_OBJECT).await;
    house.faults.next(Operation::Get, Fault::NotFound, 2);
    house.read(&ledger, 0..1).await.unwrap();
    let gone = OffloadedLedger { attempt: rig::attempt(99), ..ledger.clone() };
    let error = house.read(&gone, 0..1).await.unwrap_err();
    assert!(matches!(error, ObjectError::NotFound { .. }), "{error}");
    assert!(error.object().ends_with("/0000000000000063/00000"), "{error}");
    house.faults.always(Operation::Get, Fault::NotFound);
    assert!(matches!(house.read(&ledger, 20..21).await, Err(ObjectError::NotFound { .. })));
}

#[tokio::test(start_paused = true)]
async fn another_object_under_the_name_is_not_read() {
    let house = House::new(32 * MIB);
    let ledger = rig::offloaded(&house.store, 1, &payloads(3, 100), ONE_OBJECT).await;
    let other = OffloadedLedger { bytes: ledger.bytes - 1, ..ledger.clone() };
    assert!(matches!(house.read(&other, 0..1).await, Err(ObjectError::Corrupt { .. })), "of another size");
    let other = OffloadedLedger { objects: 2, ..ledger.clone() };
    let error = house.read(&other, 0..1).await.unwrap_err();
    assert!(matches!(error, ObjectError::NotFound { .. } | ObjectError::Corrupt { .. }), "{error}");
    let bytes = {
        use object_store::ObjectStoreExt;
        let (from, to) = (ledger.attempt.object(0), rig::attempt(2).object(0));
        let bytes = house.store.objects().get(&from).await.unwrap().bytes().await.unwrap();
        house.store.objects().put(&to, bytes.clone().into()).await.unwrap();
        bytes.len() as u64
    };
    let moved = OffloadedLedger { attempt: rig::attempt(2), bytes, ..ledger };
    let error = house.read(&moved, 0..1).await.unwrap_err();
    assert!(matches!(error, ObjectError::Corrupt { reason: FormatError::Foreign { .. }, .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_given_up_in_time_and_delays_nobody_else() {
    let house = House::new(32 * MIB);
    let payloads = payloads(40, 300_000);
    let slow = rig::offloaded(&house.store, 1, &payloads, ONE_OBJECT).await;
    let quick = rig::offloaded(&house.store, 2, &payloads, ONE_OBJECT).await;
    house.read(&slow, 39..40).await.unwrap();
    house.faults.only(slow.attempt.prefix().as_ref());
    for fault in [Fault::TimeoutBefore, Fault::Drip] {
        house.faults.always(Operation::Get, fault);
        let began = Instant::now();
        let stuck = join_all((0..8).map(|at| house.read(&slow, 4 * at..4 * at + 1)));
        let others = async {
            let read = read_on(&house.objects, &quick, 0, 40, MIB).await.unwrap();
            (read, began.elapsed())
        };
        let (stuck, (read, took)) = futures::join!(stuck, others);
        assert_eq!((read, took), (payloads.clone(), Duration::ZERO), "{fault:?}");
        for outcome in stuck {
            assert!(matches!(outcome, Err(ObjectError::Unavailable { .. })), "{fault:?}: {outcome:?}");
        }
        assert!(began.elapsed() < Duration::from_secs(200), "{fault:?}: {:?}", began.elapsed());
        house.faults.stop();
    }
    assert_eq!(read_on(&house.objects, &slow, 0, 40, MIB).await.unwrap(), payloads);
}

#[tokio::test(start_paused = true)]
async fn every_fault_at_every_request_ends_in_equal_bytes_or_a_typed_error() {
    let payloads = payloads(60, 300_000);
    let mut outcomes = [0, 0];
    for fault in Fault::ALL {
        for (spared, times) in [(0, 1), (1, 1), (2, 1), (4, 2), (0, 3), (1, 3), (0, 1000), (2, 1000)] {
            let house = House::new(32 * MIB);
            let ledger = rig::offloaded(&house.store, 1, &payloads, SMALL_CUTS).await;
            house.faults.spare(Operation::Get, spared);
            house.faults.next(Operation::Get, fault, times);
            let read = read_on(&house.objects, &ledger, 0, 60, MIB).await;
            match &read {
                Ok(read) => assert_eq!(read, &payloads, "{fault:?} {spared} {times}"),
                Err(error) => assert!(error.object().contains("geminga/"), "{fault:?} {spared} {times}: {error}"),
            }
            outcomes[usize::from(read.is_err())] += 1;
            house.faults.stop();
            assert_eq!(read_on(&house.objects, &ledger, 0, 60, MIB).await.unwrap(), payloads, "afterwards all is well");
        }
    }
    assert!(40 < outcomes[0] && 20 < outcomes[1], "{outcomes:?} succeeded and failed");
}

#[tokio::test(start_paused = true)]
async fn readers_get_an_answer_when_the_broker_stops() {
    let house = House::new(32 * MIB);
    let ledger = rig::offloaded(&house.store, 1, &payloads(40, 300_000), ONE_OBJECT).await;
    house.faults.always(Operation::Get, Fault::TimeoutBefore);
    let (read, ()) = futures::join!(house.read(&ledger, 0..1), async {
        tokio::task::yield_now().await;
        house.objects.stop().await;
    });
    assert!(matches!(read, Err(ObjectError::Unavailable { .. })), "{read:?}");
}

#[tokio::test]
async fn indexes_stay_within_their_bound() {
    let house = House::new(8 * MIB);
    let payloads = payloads(2, 10);
    for id in 0..6000 {
        let ledger = rig::offloaded(&house.store, id, &payloads, ONE_OBJECT).await;
        house.read(&ledger, 0..2).await.unwrap();
        let numbers = house.objects.cache();
        assert!(numbers.index_bytes <= MIB && numbers.bytes <= 8 * MIB, "{numbers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_that_lost_its_end_is_an_alarm_whatever_the_store_says() {
    use object_store::ObjectStoreExt;
    let house = House::new(32 * MIB);
    let ledger = rig::offloaded(&house.store, 1, &payloads(40, 300_000), ONE_OBJECT).await;
    let path = ledger.attempt.object(0);
    let whole = house.store.objects().get(&path).await.unwrap().bytes().await.unwrap();
    for kept in [0, 1, 127, 1000, whole.len() / 2, whole.len() - 1] {
        house.store.objects().put(&path, whole.slice(..kept).into()).await.unwrap();
        let fresh = Objects::new(house.objects.shared.stores.clone(), 32 * MIB);
        let error = fresh.read(&ledger, EntryId(0)..EntryId(1), 1, &mut Sequence::default()).await.unwrap_err();
        assert!(matches!(error, ObjectError::Corrupt { .. }), "{kept} bytes: {error}");
    }
    house.store.objects().put(&path, whole.into()).await.unwrap();
    house.read(&ledger, 0..1).await.unwrap();
    house.store.objects().put(&path, Bytes::from(vec![0; 1000]).into()).await.unwrap();
    let error = house.read(&ledger, 20..21).await.unwrap_err();
    assert!(matches!(error, ObjectError::Corrupt { .. }), "after it was opened: {error}");
}
