//! Lists of topics as watchers see them.
use metadata::{Expect, MemoryStore, Operation, Transaction};

use super::*;

fn namespace() -> NamespaceName {
    "public/default".parse().unwrap()
}

fn full(local: &str) -> String {
    format!("persistent://public/default/{local}")
}

fn changes<const N: usize>(expected: [(&str, bool); N]) -> Changes {
    expected.into_iter().map(|(local, is_there)| (full(local), is_there)).collect()
}

fn topic(local: &str) -> TopicName {
    full(local).parse().unwrap()
}

async fn put(store: &MemoryStore, key: String, value: Vec<u8>) {
    store.commit(Transaction::new(vec![Operation::put(key, value, Expect::Any)])).await.unwrap();
}

async fn delete(store: &MemoryStore, key: String) {
    store.commit(Transaction::new(vec![Operation::delete(key, Expect::Any)])).await.unwrap();
}

fn parent(partitions: u32) -> Vec<u8> {
    PartitionedTopicRecord { partitions, ..Default::default() }.encode_to_vec()
}

#[test]
fn a_partition_is_there_by_its_own_record_or_by_its_parents_count() {
    let mut names = Names::new(namespace());
    assert_eq!(names.note_stored("a", true), changes([("a", true)]));
    assert_eq!(names.note_stored("a", true), Changes::new(), "a record that changes is no news");
    assert_eq!(names.note_stored("p-partition-1", true), changes([("p-partition-1", true)]));
    assert_eq!(names.note_partitioned("p", 3), changes([("p-partition-0", true), ("p-partition-2", true)]));
    assert_eq!(names.note_stored("p-partition-1", false), Changes::new(), "its parent counts it");
    assert_eq!(names.note_partitioned("p", 4), changes([("p-partition-3", true)]));
    assert_eq!(names.note_stored("p-partition-0", true), Changes::new());
    let gone = changes([("p-partition-1", false), ("p-partition-2", false), ("p-partition-3", false)]);
    assert_eq!(names.note_partitioned("p", 0), gone);
    assert_eq!(names.note_stored("p-partition-0", false), changes([("p-partition-0", false)]));
    assert_eq!(names.all(), [full("a")].into());
    assert_eq!(names.replace(["b".into()].into(), BTreeMap::new()), changes([("a", false), ("b", true)]));
}

#[tokio::test(start_paused = true)]
async fn watchers_see_what_comes_and_goes_and_share_one_task() {
    let store = MemoryStore::default();
    put(&store, keys::topic(&topic("a")), vec![]).await;
    put(&store, keys::topic(&"other/space/x".parse().unwrap()), vec![]).await;
    let listings = Listings::new(Arc::new(store.clone()));
    let mut one = listings.watch(&namespace()).await.unwrap();
    let mut other = listings.watch(&namespace()).await.unwrap();
    assert!(Arc::ptr_eq(&one.list, &other.list));
    assert_eq!(one.all(|_| true), [full("a")].into());
    assert_eq!(one.all(|name| !name.ends_with('a')), BTreeSet::new());
    put(&store, keys::topic(&topic("b")), vec![]).await;
    assert_eq!(one.next().await, Some(changes([("b", true)])));
    assert_eq!(other.next().await, Some(changes([("b", true)])));
    put(&store, keys::partitioned_topic(&topic("p")), parent(2)).await;
    assert_eq!(one.next().await, Some(changes([("p-partition-0", true), ("p-partition-1", true)])));
    delete(&store, keys::topic(&topic("a"))).await;
    assert_eq!(one.next().await, Some(changes([("a", false)])));
    let list = Arc::downgrade(&one.list);
    drop((one, other));
    assert_eq!(list.strong_count(), 0, "nobody watches: nothing is followed");
}

/// Goal: nothing is missed when the metadata's watch ends, as it does whenever the store is away. Method: change while it is.
#[tokio::test(start_paused = true)]
async fn what_changes_while_the_store_is_away_is_found_afterwards() {
    let store = MemoryStore::default();
    let mut listing = Listings::new(Arc::new(store.clone())).watch(&namespace()).await.unwrap();
    assert_eq!(listing.all(|_| true), BTreeSet::new());
    store.set_away(true);
    store.set_away(false);
    put(&store, keys::topic(&topic("late")), vec![]).await;
    assert_eq!(listing.next().await, Some(changes([("late", true)])));
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_lags_is_told_to_compare() {
    let store = MemoryStore::default();
    let mut listing = Listings::new(Arc::new(store.clone())).watch(&namespace()).await.unwrap();
    for number in 0..=CHANGES_MAX {
        listing.list.change(|names| names.note_stored(&number.to_string(), true));
    }
    assert_eq!(listing.next().await, None);
    assert_eq!(listing.all(|_| true).len(), CHANGES_MAX + 1);
    put(&store, keys::topic(&topic("next")), vec![]).await;
    assert_eq!(listing.next().await, Some(changes([("next", true)])), "from there on it is told again");
}
