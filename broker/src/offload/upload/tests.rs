use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::stream;
use metadata::MemoryStore;

use super::*;
use crate::offload::faults::{Fault, Faults};
use crate::offload::format::FormatError;
use crate::offload::rig::{self, SMALL_CUTS, attempt};
use crate::offload::{Backend, Kinds, Location, Operation, Stores, delete};

fn payloads(count: u64, size: usize) -> Vec<Bytes> {
    (0..count).map(|number| rig::payload(number, size)).collect()
}

async fn upload_small(store: &Store, payloads: &[Bytes]) -> Result<Uploaded, UploadError> {
    upload_cut(store, &attempt(1), rig::sealed(payloads), rig::batches(payloads, 7), SMALL_CUTS).await
}

/// Stores that each test of a promise runs on.
fn stores(directory: &std::path::Path) -> Vec<Arc<Store>> {
    let stores = Stores::new(5, Kinds::All);
    let locations = [Location::Memory { name: "a".into() }, Location::Directory { path: directory.to_path_buf() }];
    locations.iter().map(|location| stores.open(location).unwrap()).collect()
}

#[tokio::test]
async fn a_ledger_of_several_objects_of_several_parts_reads_back_whole() {
    let directory = tempfile::tempdir().unwrap();
    let payloads = payloads(300, 70_000);
    for store in stores(directory.path()) {
        store.probe().await.unwrap();
        let (puts, gets) = (store.requests().made(Operation::Put), store.requests().made(Operation::Get));
        let uploaded = upload_small(&store, &payloads).await.unwrap();
        assert_eq!((uploaded.objects, uploaded.entries, uploaded.payload_bytes), (3, 300, 300 * 70_000));
        let (puts, gets) = (store.requests().made(Operation::Put) - puts, store.requests().made(Operation::Get) - gets);
        assert_eq!(puts, 3 * 2 + 4 + 4 + 3, "begun and completed, and parts");
        assert_eq!(gets, 3 * 2, "each is read back by its tail and one range");
        assert_eq!(rig::entries(&store, 1).await, payloads, "{}", store.location());
        let listed = rig::names(&store).await;
        assert_eq!(listed, (0..3).map(|number| attempt(1).object(number).to_string()).collect::<Vec<_>>());

        let deleted = delete(&store, &attempt(1)).await.unwrap();
        assert_eq!((deleted.objects, deleted.bytes), (3, uploaded.bytes));
        assert!(rig::names(&store).await.is_empty());
        assert_eq!(delete(&store, &attempt(1)).await.unwrap().objects, 0, "again");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "directories go too");
}

#[tokio::test]
async fn a_small_ledger_is_one_request() {
    let directory = tempfile::tempdir().unwrap();
    for store in stores(directory.path()) {
        store.probe().await.unwrap();
        let before = store.requests().made(Operation::Put);
        let payloads = payloads(3, 10);
        let uploaded = upload(&store, &attempt(1), rig::sealed(&payloads), rig::batches(&payloads, 2)).await.unwrap();
        assert_eq!((uploaded.objects, store.requests().made(Operation::Put) - before), (1, 1));
        assert_eq!(rig::entries(&store, 1).await, payloads);
    }
}

#[tokio::test]
async fn what_is_uploaded_is_what_bookies_keep() {
    let ledgers = ledger::MemoryLedgers::new(Arc::new(MemoryStore::default()));
    let policy = ledger::QuorumPolicy { ensemble: 1, write: 1, ack: 1 };
    let id = ledgers.next_id(ledger::Above::AllHandedOut).await.unwrap();
    let mut writer = ledgers.create(id, policy, "test", Vec::new()).await.unwrap();
    let payloads = payloads(200, 60_000);
    for payload in &payloads {
        writer.append(payload.clone()).unwrap();
    }
    writer.flush();
    writer.confirmed().await.unwrap();
    let sealed = ledgers.seal(id).await.unwrap();
    let store = rig::memory();
    let attempt = Attempt { ledger: id, ..attempt(1) };
    let entries = ledger_entries(Arc::new(ledgers), id, sealed.end);
    let uploaded = upload(&store, &attempt, sealed, entries).await.unwrap();
    assert_eq!((uploaded.entries, uploaded.payload_bytes), (sealed.end.0, sealed.length));
}

#[tokio::test]
async fn a_source_that_is_not_what_was_sealed_is_refused_and_leaves_nothing_behind() {
    let payloads = payloads(100, 70_000);
    let sealed = rig::sealed(&payloads);
    let wrong = [
        Sealed { end: EntryId(101), ..sealed },
        Sealed { end: EntryId(99), ..sealed },
        Sealed { length: sealed.length + 1, ..sealed },
    ];
    for sealed in wrong {
        let store = rig::memory();
        let failed = upload_cut(&store, &attempt(1), sealed, rig::batches(&payloads, 7), SMALL_CUTS).await;
        assert!(matches!(failed, Err(UploadError::SourceDiffers { .. })), "{failed:?}");
        assert!(rig::names(&store).await.is_empty());
    }
    let store = rig::memory();
    let gap = stream::iter([Ok(rig::batch(&payloads, 0..5)), Ok(rig::batch(&payloads, 6..100))]);
    let failed = upload_cut(&store, &attempt(1), sealed, gap, SMALL_CUTS).await;
    assert!(matches!(failed, Err(UploadError::SourceDiffers { .. })), "{failed:?}");
    let empty = upload(&store, &attempt(1), rig::sealed(&[]), rig::batches(&[], 1)).await;
    assert!(matches!(empty, Err(UploadError::SourceDiffers { .. })), "{empty:?}");
}

#[tokio::test]
async fn a_ledger_that_cannot_be_read_any_more_ends_the_upload() {
    let payloads = payloads(100, 70_000);
    let store = rig::memory();
    let lost = LedgerError::Lost { ledger: LedgerId(7), entry: EntryId(50) };
    let source = stream::iter([Ok(rig::batch(&payloads, 0..50)), Err(lost)]);
    let failed = upload_cut(&store, &attempt(1), rig::sealed(&payloads), source, SMALL_CUTS).await;
    assert!(matches!(failed, Err(UploadError::Ledger(LedgerError::Lost { .. }))), "{failed:?}");
    assert!(store.requests().made(Operation::Delete) > 1, "parts were given up");
}

/// A part is in memory, and one batch of the source: not more is read before the part is sent.
#[tokio::test(start_paused = true)]
async fn the_source_is_read_one_batch_ahead_of_what_is_sent() {
    let faults = Faults::new(1);
    let stores = Stores::new(1, Kinds::All);
    let store = stores.put(&Location::Memory { name: "a".into() }, faults.before(Backend::memory()));
    store.probe().await.unwrap();
    let payloads = payloads(200, 70_000);
    let read = AtomicUsize::new(0);
    let batches: Vec<_> = (0..20_usize).map(|batch| rig::batch(&payloads, 10 * batch..10 * batch + 10)).collect();
    let source = stream::iter(batches).map(|batch| {
        read.fetch_add(1, Ordering::SeqCst);
        Ok(batch)
    });
    faults.spare(Operation::Put, 1);
    faults.next(Operation::Put, Fault::TimeoutBefore, 1); // The first part.
    let limits = SMALL_CUTS;
    let attempt = attempt(1);
    let mut upload = Box::pin(upload_cut(&store, &attempt, rig::sealed(&payloads), source, limits));
    let waited = tokio::time::timeout(std::time::Duration::from_secs(60), &mut upload).await;
    assert!(waited.is_err(), "the part hangs");
    let needed = (SMALL_CUTS.part_bytes + (1 << 20)).div_ceil(10 * 70_000) + 1;
    assert!(read.load(Ordering::SeqCst) <= needed + 1, "{} batches of {needed}", read.load(Ordering::SeqCst));
    upload.await.unwrap();
    assert_eq!(rig::entries(&store, 1).await, payloads);
}

/// Whatever goes wrong, and at whichever request: the upload succeeds with equal bytes, or there is a typed error. Never is there an
/// object of another name than the attempt's.
#[tokio::test(start_paused = true)]
async fn every_fault_at_every_request_ends_in_equal_bytes_or_a_typed_error() {
    let payloads = payloads(150, 70_000);
    let (mut survived, mut refused) = (0, 0);
    for operation in [Operation::Put, Operation::Get, Operation::Head] {
        for fault in Fault::ALL {
            for (spared, times) in [(0, 1), (1, 1), (2, 2), (6, 1), (7, 1), (0, 100), (3, 100)] {
                let (store, faults) = rig::faulty();
                store.probe().await.unwrap();
                faults.spare(operation, spared);
                faults.next(operation, fault, times);
                let outcome = upload_small(&store, &payloads).await;
                faults.stop();
                let context = format!("{fault:?} at {operation:?} {spared} {times}: {outcome:?}");
                let names = rig::names(&store).await;
                assert!(names.iter().all(|name| name.starts_with(&attempt(1).prefix().to_string())), "{context}");
                match outcome {
                    Ok(uploaded) => {
                        survived += 1;
                        assert_eq!(names.len(), uploaded.objects as usize, "{context}");
                        assert_eq!(rig::entries(&store, 1).await, payloads, "{context}");
                    }
                    Err(UploadError::Store(_) | UploadError::NotVerified(_)) => refused += 1,
                    Err(other) => panic!("{context}: {other}"),
                }
                delete(&store, &attempt(1)).await.unwrap();
                assert!(rig::names(&store).await.is_empty(), "{context}");
            }
        }
    }
    assert!(100 < survived && 40 < refused, "{survived} succeeded, {refused} gave an error");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_carried_out_without_an_answer_is_recognised() {
    for (count, size, requests) in [(3, 10, 1), (150, 70_000, 8)] {
        let payloads = payloads(count, size);
        for at in 0.. {
            let (store, faults) = rig::faulty();
            store.probe().await.unwrap();
            faults.spare(Operation::Put, at);
            faults.next(Operation::Put, Fault::TimeoutAfter, 1);
            let uploaded = upload_small(&store, &payloads).await.unwrap();
            if faults.injected() == 0 {
                assert!(requests <= at, "only {at} requests");
                break;
            }
            let names: Vec<_> = (0..uploaded.objects).map(|number| attempt(1).object(number).to_string()).collect();
            assert_eq!(rig::names(&store).await, names, "one object under each name, request {at}");
            assert_eq!(rig::entries(&store, 1).await, payloads);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_change_on_their_way_into_the_store_are_found_when_read_back() {
    let payloads = payloads(150, 70_000);
    for fault in [Fault::Flipped, Fault::Short] {
        for at in 0..10 {
            let (store, faults) = rig::faulty();
            store.probe().await.unwrap();
            faults.spare(Operation::Put, at);
            faults.next(Operation::Put, fault, 1);
            match upload_small(&store, &payloads).await {
                Ok(_) => assert_eq!(rig::entries(&store, 1).await, payloads, "{fault:?} hit a request without bytes"),
                Err(UploadError::NotVerified(ObjectError::Corrupt { .. }) | UploadError::Store(_)) => {}
                Err(other) => panic!("{fault:?} {at}: {other}"),
            }
        }
    }
    let (store, faults) = rig::faulty();
    store.probe().await.unwrap();
    faults.next(Operation::Put, Fault::Flipped, 1);
    let small = rig::batches(&payloads[..3], 3);
    let flipped = upload(&store, &attempt(1), rig::sealed(&payloads[..3]), small).await;
    let Err(UploadError::NotVerified(ObjectError::Corrupt { object, reason })) = flipped else { panic!("{flipped:?}") };
    assert_eq!((object.ends_with("/00000"), reason), (true, FormatError::Checksum { what: "a block" }));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_fails_gives_up_its_parts() {
    let payloads = payloads(150, 70_000);
    let (store, faults) = rig::faulty();
    store.probe().await.unwrap();
    faults.spare(Operation::Put, 3);
    faults.always(Operation::Put, Fault::Status503);
    let deletes = store.requests().made(Operation::Delete);
    let failed = upload_small(&store, &payloads).await;
    assert!(matches!(failed, Err(UploadError::Store(ObjectError::Unavailable { .. }))), "{failed:?}");
    assert_eq!(store.requests().made(Operation::Delete) - deletes, 1, "aborted");
    let tries = u64::from(crate::offload::patience::PART.tries);
    assert_eq!(store.requests().failed(Operation::Put), 1 + tries, "a bounded number of tries, and the probe's");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_is_asked_once_and_says_why() {
    for (fault, words) in [(Fault::Refused, "AccessDenied"), (Fault::BucketGone, "NoSuchBucket")] {
        let (store, faults) = rig::faulty();
        faults.always(Operation::Put, fault);
        let failed = upload_small(&store, &payloads(3, 10)).await;
        let Err(UploadError::Store(ObjectError::Refused { reason, .. })) = failed else { panic!("{failed:?}") };
        assert!(reason.contains(words), "{reason}");
        assert_eq!(store.requests().made(Operation::Put), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn deletion_survives_a_store_that_fails_now_and_then() {
    let payloads = payloads(150, 70_000);
    for seed in 0..20 {
        let faults = Faults::new(seed);
        let stores = Stores::new(seed, Kinds::All);
        let store = stores.put(&Location::Memory { name: "a".into() }, faults.before(Backend::memory()));
        upload_small(&store, &payloads).await.unwrap();
        faults.now_and_then(3, &[Fault::Status500, Fault::TimeoutAfter, Fault::TimeoutBefore, Fault::NotFound]);
        let mut calls = 0;
        while delete(&store, &attempt(1)).await.is_err() {
            calls += 1;
            assert!(calls < 20);
        }
        faults.stop();
        assert!(rig::names(&store).await.is_empty(), "seed {seed}");
    }
}
