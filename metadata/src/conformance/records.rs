//! Single records.
use super::{assert_conflict, commit, get, put};
use crate::store::{Expect, MetadataStore, Operation, Transaction, Version};

pub(super) async fn what_is_put_is_read_until_it_is_deleted(store: &dyn MetadataStore) {
    assert_eq!(get(store, "a").await, None, "a new store is empty");
    let transaction = Transaction::new(vec![Operation::put("a", "one", Expect::Absent)]);
    let token = transaction.token;
    let version = store.commit(transaction).await.expect("the key is absent");

    let record = get(store, "a").await.expect("it was put");
    assert_eq!(record.key.as_str(), "a");
    assert_eq!(record.value, "one");
    assert_eq!(record.version, version, "a record has the version of the transaction that put it");
    assert_eq!(record.token, token, "a record has the token of the transaction that put it");

    put(store, "empty", "").await;
    assert_eq!(get(store, "empty").await.map(|record| record.value), Some("".into()), "an empty value is a value");

    commit(store, vec![Operation::delete("a", Expect::Any)]).await.expect("a delete that expects nothing succeeds");
    assert_eq!(get(store, "a").await, None, "it was deleted");
    commit(store, vec![Operation::delete("a", Expect::Any)]).await.expect("deleting what is absent is no error");
}

pub(super) async fn a_put_asks_what_it_expects(store: &dyn MetadataStore) {
    let with = |value: &'static str, expect| vec![Operation::put("a", value, expect)];
    assert_conflict(commit(store, with("early", Expect::Version(Version(1)))).await, "a");
    let first = commit(store, with("first", Expect::Absent)).await.expect("absent");
    assert_conflict(commit(store, with("again", Expect::Absent)).await, "a");
    let second = commit(store, with("second", Expect::Version(first))).await.expect("unchanged");
    assert_conflict(commit(store, with("stale", Expect::Version(first))).await, "a");
    assert_conflict(commit(store, with("future", Expect::Version(Version(second.0 + 1000)))).await, "a");
    assert_eq!(get(store, "a").await.map(|record| record.value), Some("second".into()), "conflicts write nothing");

    let record = get(store, "a").await;
    commit(store, with("third", Expect::unchanged(record.as_ref()))).await.expect("unchanged since it was read");
    commit(store, with("fourth", Expect::Any)).await.expect("nothing is expected");
    assert_eq!(get(store, "a").await.map(|record| record.value), Some("fourth".into()));
}

pub(super) async fn a_delete_asks_what_it_expects(store: &dyn MetadataStore) {
    let with = |expect| vec![Operation::delete("a", expect)];
    assert_conflict(commit(store, with(Expect::Version(Version(1)))).await, "a");
    commit(store, with(Expect::Absent)).await.expect("it is absent as expected");
    let first = put(store, "a", "first").await;
    let second = put(store, "a", "second").await;
    assert_conflict(commit(store, with(Expect::Version(first))).await, "a");
    assert_conflict(commit(store, with(Expect::Absent)).await, "a");
    assert!(get(store, "a").await.is_some(), "conflicts delete nothing");
    commit(store, with(Expect::Version(second))).await.expect("unchanged");
    assert_eq!(get(store, "a").await, None);
}

pub(super) async fn versions_only_grow(store: &dyn MetadataStore) {
    let mut last = put(store, "a", "same").await;
    for key in ["b", "a", "a", "b"] {
        let next = put(store, key, "same").await;
        assert!(last < next, "{next:?} does not grow over {last:?}");
        last = next;
    }
    commit(store, vec![Operation::delete("a", Expect::Any)]).await.expect("deleting succeeds");
    let reborn = put(store, "a", "same").await;
    assert!(last < reborn, "a record that was deleted and put again has a version of its own");
}
