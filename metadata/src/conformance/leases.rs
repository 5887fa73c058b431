//! Leases.
use std::time::Duration;

use super::{PATIENCE, assert_conflict, assert_refused, commit, events, get, put};
use crate::ext::MetadataStoreExt;
use crate::store::{Error, Expect, LeaseId, MetadataStore, Operation, Version};

const TTL: Duration = Duration::from_secs(1);

async fn put_leased(store: &dyn MetadataStore, key: &str, expect: Expect, lease: LeaseId) -> Version {
    let put = Operation::put_leased(key, "mine", expect, lease);
    commit(store, vec![put]).await.expect("the record is as expected")
}

pub(super) async fn records_of_a_kept_lease_stay(store: &dyn MetadataStore) {
    assert!(matches!(store.lease(TTL / 2).await, Err(Error::Refused { .. })), "half a second is too short");
    let mut lease = store.lease(TTL).await.expect("a lease is granted");
    let version = put_leased(store, "a", Expect::Absent, lease.id()).await;
    let mut watch = store.watch("").await.expect("watching succeeds");

    // Etcd rounds leases up to 2 s, so this is at least two of them.
    let quiet = tokio::time::timeout(4 * TTL, async {
        tokio::select! {
            seen = watch.next() => panic!("the record changed: {seen:?}"),
            () = lease.lost() => panic!("the lease was lost"),
        }
    });
    quiet.await.expect_err("nothing happens while a lease is kept");
    assert_eq!(get(store, "a").await.map(|record| record.version), Some(version));
    assert_eq!(store.list_all("").await.expect("listing succeeds").len(), 1, "listings show leased records");
    lease.revoke().await;
}

pub(super) async fn records_of_a_revoked_lease_go_at_once(store: &dyn MetadataStore) {
    let lease = store.lease(TTL * 600).await.expect("a lease is granted");
    let id = lease.id();
    put(store, "b", "stays").await;
    put_leased(store, "a", Expect::Absent, id).await;
    put_leased(store, "c", Expect::Absent, id).await;
    let both = store.list_all("").await.expect("listing succeeds");
    let keys: Vec<&str> = both.iter().map(|record| record.key.as_str()).collect();
    assert_eq!(keys, ["a", "b", "c"], "leased and other records in one order");

    let mut watch = store.watch("").await.expect("watching succeeds");
    lease.revoke().await;
    assert_eq!(get(store, "a").await, None, "revoking has removed it");
    assert_eq!(get(store, "c").await, None, "revoking has removed it");
    assert!(get(store, "b").await.is_some(), "what has no lease stays");
    let mut gone = events(&mut watch, 2).await;
    gone.sort_by_key(|event| event.key.clone());
    assert!(gone.iter().all(|event| event.record.is_none()), "{gone:?}");
    assert_eq!(gone.iter().map(|event| event.key.as_str()).collect::<Vec<_>>(), ["a", "c"]);

    let late = Operation::put_leased("a", "late", Expect::Absent, id);
    assert_refused(commit(store, vec![late, Operation::put("d", "with it", Expect::Any)]).await, "an ended lease");
    assert_eq!(get(store, "d").await, None, "nothing of a refused transaction happens");
}

pub(super) async fn records_of_a_dropped_lease_go(store: &dyn MetadataStore) {
    let lease = store.lease(TTL).await.expect("a lease is granted");
    let version = put_leased(store, "a", Expect::Absent, lease.id()).await;
    let mut watch = store.watch("").await.expect("watching succeeds");
    drop(lease);
    let gone = tokio::time::timeout(PATIENCE, events(&mut watch, 1)).await.expect("a lease runs out");
    assert_eq!((gone[0].key.as_str(), &gone[0].record), ("a", &None));
    let stale = Operation::put("a", "stale", Expect::Version(version));
    assert_conflict(commit(store, vec![stale]).await, "a");
    let reborn = put(store, "a", "again").await;
    assert!(version < reborn);
}

pub(super) async fn a_record_put_again_leaves_its_lease(store: &dyn MetadataStore) {
    let first = store.lease(TTL * 600).await.expect("a lease is granted");
    let second = store.lease(TTL * 600).await.expect("a lease is granted");
    assert_ne!(first.id(), second.id());
    let version = put_leased(store, "freed", Expect::Absent, first.id()).await;
    put_leased(store, "passed-on", Expect::Absent, first.id()).await;
    let bound = put(store, "bound", "free").await;

    let freed = Operation::put("freed", "free", Expect::Version(version));
    commit(store, vec![freed]).await.expect("unchanged");
    put_leased(store, "passed-on", Expect::Any, second.id()).await;
    put_leased(store, "bound", Expect::Version(bound), first.id()).await;
    assert_eq!(store.list_all("").await.expect("listing succeeds").len(), 3, "each key once");

    first.revoke().await;
    assert!(get(store, "freed").await.is_some(), "put without a lease, it stays");
    assert!(get(store, "passed-on").await.is_some(), "it belongs to another lease");
    assert_eq!(get(store, "bound").await, None, "it belonged to the lease");
    second.revoke().await;
    assert_eq!(get(store, "passed-on").await, None);
}
