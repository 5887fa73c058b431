//! Watches.
use super::{commit, events, get, put};
use crate::store::{Expect, MetadataStore, Operation};

pub(super) async fn a_watch_sees_changes_below_its_prefix_in_order(store: &dyn MetadataStore) {
    put(store, "w/before", "not seen").await;
    let mut watch = store.watch("w/").await.expect("watching succeeds");
    let mut narrow = store.watch("w/a/").await.expect("watching succeeds");

    put(store, "w/a", "1").await;
    put(store, "x", "elsewhere").await;
    put(store, "w", "elsewhere").await;
    put(store, "w/a", "2").await;
    let conflicting = Operation::put("w/a", "never", Expect::Absent);
    commit(store, vec![conflicting]).await.expect_err("it is there");
    let both = vec![Operation::delete("w/a", Expect::Any), Operation::put("w/a/b", "3", Expect::Any)];
    commit(store, both).await.expect("nothing is expected");
    let last = get(store, "w/a/b").await;

    let mut seen = events(&mut watch, 4).await;
    // Within one transaction there is no order.
    seen[2..].sort_by_key(|event| event.key.clone());
    let seen: Vec<(String, Option<String>)> = seen
        .into_iter()
        .map(|event| {
            let value = event.record.map(|record| String::from_utf8_lossy(&record.value).into_owned());
            (event.key.to_string(), value)
        })
        .collect();
    let expected = [("w/a", Some("1")), ("w/a", Some("2")), ("w/a", None), ("w/a/b", Some("3"))];
    assert_eq!(seen, expected.map(|(key, value)| (key.to_owned(), value.map(str::to_owned))));

    let seen = events(&mut narrow, 1).await;
    assert_eq!(seen.len(), 1, "only what lies below the prefix: {seen:?}");
    assert_eq!(seen[0].record, last, "an event has the record as a read would");
}
