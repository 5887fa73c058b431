//! Listings.
use super::{commit, put};
use crate::ext::MetadataStoreExt;
use crate::store::{Error, Expect, Key, MetadataStore, Operation};

async fn keys(store: &dyn MetadataStore, prefix: &str) -> Vec<String> {
    let records = store.list_all(prefix).await.expect("listing succeeds");
    records.into_iter().map(|record| record.key.to_string()).collect()
}

pub(super) async fn a_listing_has_what_lies_below_its_prefix(store: &dyn MetadataStore) {
    // Names that are beginnings of other names, and neighbours of the separator.
    for key in ["topics/a", "topics/a/1", "topics/a/2", "topics/ab", "topics/a.", "topics/a0", "topic", "topicz", "ä/ö"]
    {
        put(store, key, key).await;
    }
    assert_eq!(keys(store, "topics/a/").await, ["topics/a/1", "topics/a/2"]);
    assert_eq!(
        keys(store, "topics/a").await,
        ["topics/a", "topics/a.", "topics/a/1", "topics/a/2", "topics/a0", "topics/ab"],
        "sorted as bytes, the name itself included"
    );
    assert_eq!(keys(store, "ä/").await, ["ä/ö"]);
    assert_eq!(keys(store, "none").await, [""; 0]);
    assert_eq!(keys(store, "").await.len(), 9, "the empty prefix is below all");
    let record = store.list("topics/a/", None, 1).await.expect("listing succeeds").records.remove(0);
    assert_eq!(Some(record), store.get(&"topics/a/1".into()).await.expect("reading succeeds"));
}

pub(super) async fn pages_join_without_gap_or_overlap(store: &dyn MetadataStore) {
    let names: Vec<String> = (0..250).map(|number| format!("n/{number:03}")).collect();
    for hundred in names.chunks(100) {
        let puts = hundred.iter().map(|name| Operation::put(name.clone(), "", Expect::Absent)).collect();
        commit(store, puts).await.expect("all are absent");
    }
    put(store, "m", "").await;
    put(store, "o", "").await;
    for limit in [1, 7, 125, 249, 250, 251, 1000] {
        let mut seen = Vec::new();
        let mut after: Option<Key> = None;
        loop {
            let page = store.list("n/", after.as_ref(), limit).await.expect("listing succeeds");
            assert!(page.records.len() <= limit);
            after = page.records.last().map(|record| record.key.clone());
            seen.extend(page.records.into_iter().map(|record| record.key.to_string()));
            if !page.more {
                break;
            }
        }
        assert_eq!(seen, names, "with a limit of {limit}");
        assert!(limit != 250 || seen.len() == 250);
    }
    let whole = store.list("n/", None, 250).await.expect("listing succeeds");
    assert!(!whole.more, "a page that ends with the last record has no more");
    for (after, first) in [("n/1005", "n/101"), ("a", "n/000"), ("n/", "n/000"), ("n/2490", "")] {
        let page = store.list("n/", Some(&after.into()), 1).await.expect("listing succeeds");
        let found = page.records.first().map_or("", |record| record.key.as_str());
        assert_eq!(found, first, "after `{after}`, which need not exist");
    }
    for limit in [0, 1001] {
        let outcome = store.list("n/", None, limit).await;
        assert!(matches!(outcome, Err(Error::Refused { .. })), "a page of {limit}: {outcome:?}");
    }
}
