use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use redb::StorageBackend;
use redb::backends::InMemoryBackend;

use super::*;
use crate::{Expect, MetadataStoreExt, conformance};

/// A disk that counts syncs and can fail them.
#[derive(Debug, Default)]
struct Disk {
    memory: InMemoryBackend,
    switch: Arc<Switch>,
}

#[derive(Debug, Default)]
struct Switch {
    fails: AtomicBool,
    syncs: AtomicUsize,
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.memory.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.memory.set_len(len)
    }

    fn sync_data(&self) -> Result<(), std::io::Error> {
        self.switch.syncs.fetch_add(1, Ordering::SeqCst);
        if self.switch.fails.load(Ordering::SeqCst) {
            return Err(std::io::Error::other("the disk is broken"));
        }
        self.memory.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.memory.write(offset, data)
    }
}

fn on_disk() -> (RedbStore, Arc<Switch>) {
    let disk = Disk::default();
    let switch = disk.switch.clone();
    let database = Database::builder().create_with_backend(disk).unwrap();
    (RedbStore::start(database, None).unwrap(), switch)
}

#[tokio::test]
async fn it_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    conformance::check(async |name: &str| {
        Arc::new(RedbStore::open(&folder.path().join(name)).unwrap()) as Arc<dyn MetadataStore>
    })
    .await;
}

#[tokio::test]
async fn a_new_process_finds_durable_records_and_no_leased_ones_and_counts_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metadata.redb");
    let store = RedbStore::open(&path).unwrap();
    let written = store.put("durable", "value", Expect::Absent).await.unwrap();
    let before = store.get(&"durable".into()).await.unwrap();
    let lease = store.lease(Duration::from_secs(600)).await.unwrap();
    let put = Operation::put_leased("leased", "value", Expect::Absent, lease.id());
    let last = store.commit(Transaction::new(vec![put])).await.unwrap();
    assert!(written < last);
    drop(store);

    let store = RedbStore::open(&path).unwrap();
    assert_eq!(store.get(&"durable".into()).await.unwrap(), before);
    assert_eq!(store.get(&"leased".into()).await.unwrap(), None, "a lease ends with the process");
    let next = store.put("next", "", Expect::Absent).await.unwrap();
    assert!(last < next, "also versions of records that are gone are not given out again");
    drop(lease);
}

#[tokio::test]
async fn a_file_that_is_open_elsewhere_or_foreign_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metadata.redb");
    let _open = RedbStore::open(&path).unwrap();
    let refused = RedbStore::open(&path).unwrap_err();
    assert!(matches!(&refused, Error::Refused { reason } if reason.contains("another process")), "{refused}");

    let foreign = folder.path().join("foreign");
    std::fs::write(&foreign, "not a database, but long enough to look at".repeat(100)).unwrap();
    let refused = RedbStore::open(&foreign).unwrap_err();
    assert!(matches!(&refused, Error::Refused { reason } if reason.contains("foreign")), "{refused}");
}

#[tokio::test]
async fn a_damaged_record_is_corrupt_and_the_others_are_read() {
    let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(RECORDS).unwrap().insert("bad", &b"\x02junk"[..]).unwrap();
    transaction.commit().unwrap();
    let store = RedbStore::start(database, None).unwrap();
    let corrupt = Error::Corrupt { key: "bad".into() };
    assert_eq!(store.get(&"bad".into()).await, Err(corrupt.clone()));
    assert_eq!(store.put("bad", "", Expect::Any).await, Err(corrupt));
    store.put("good", "", Expect::Any).await.unwrap();
}

/// Goal: neither half of a transaction happens when the sync fails, and nobody is told that it did.
#[tokio::test]
async fn after_a_failed_sync_nothing_is_promised_and_nothing_is_read() {
    let (store, switch) = on_disk();
    let lease = store.lease(Duration::from_secs(600)).await.unwrap();
    store.put("before", "", Expect::Any).await.unwrap();
    let mut watch = store.watch("").await.unwrap();

    switch.fails.store(true, Ordering::SeqCst);
    let both = vec![
        Operation::put("durable", "", Expect::Absent),
        Operation::put_leased("leased", "", Expect::Absent, lease.id()),
    ];
    assert_eq!(store.commit(Transaction::new(both)).await, Err(Error::OutcomeUnknown));
    assert_eq!(store.get(&"leased".into()).await, Err(failed()), "what is durable is not known any more");
    assert_eq!(store.get(&"before".into()).await, Err(failed()));
    assert!(watch.next().await.is_err());

    switch.fails.store(false, Ordering::SeqCst);
    assert_eq!(store.put("later", "", Expect::Any).await, Err(failed()), "a failed sync is not tried again");
    assert_eq!(store.watch("").await.unwrap_err(), failed());
    lease.revoke().await;
}

#[tokio::test]
async fn a_thousand_commits_at_once_share_syncs() {
    let (store, switch) = on_disk();
    let before = switch.syncs.load(Ordering::SeqCst);
    let puts = (0..1000).map(|number| store.put(format!("topic/{number}"), "record", Expect::Absent));
    for outcome in futures::future::join_all(puts).await {
        outcome.unwrap();
    }
    let syncs = switch.syncs.load(Ordering::SeqCst) - before;
    assert!((1..100).contains(&syncs), "{syncs} syncs");
    assert_eq!(store.list_all("topic/").await.unwrap().len(), 1000);
}

#[tokio::test]
async fn leased_records_need_no_sync() {
    let (store, switch) = on_disk();
    store.put("first", "reserves versions", Expect::Any).await.unwrap();
    let before = switch.syncs.load(Ordering::SeqCst);
    let lease = store.lease(Duration::from_secs(600)).await.unwrap();
    let put = Operation::put_leased("leased", "", Expect::Absent, lease.id());
    store.commit(Transaction::new(vec![put])).await.unwrap();
    assert!(store.get(&"leased".into()).await.unwrap().is_some());
    lease.revoke().await;
    assert_eq!(store.get(&"leased".into()).await.unwrap(), None);
    assert_eq!(switch.syncs.load(Ordering::SeqCst), before);
}

/// Goal: what is written next has its blocks already, whoever else fills the disk.
#[tokio::test]
async fn the_file_has_blocks_for_what_comes() {
    use std::os::unix::fs::MetadataExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metadata");
    let spare = || {
        let found = std::fs::metadata(&path).unwrap();
        (found.blocks() * 512).saturating_sub(found.len())
    };
    let mut lengths = std::collections::BTreeSet::new();
    for round in 0..3 {
        let store = RedbStore::open(&path).unwrap();
        for number in 0..20 {
            let key = format!("k/{round}/{number}");
            store.put(key.clone(), vec![7; 100 << 10], Expect::Any).await.unwrap();
            // Room is made behind an answer, and before the next.
            store.put(key, "x", Expect::Any).await.unwrap();
            assert!(4 << 20 <= spare(), "round {round}, {number}: {}", spare());
            lengths.insert(std::fs::metadata(&path).unwrap().len());
        }
    }
    assert!(1 < lengths.len(), "the file has grown: {lengths:?}");
}
