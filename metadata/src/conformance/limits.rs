//! Sizes.
use super::{assert_refused, commit, get};
use crate::ext::MetadataStoreExt;
use crate::store::{Expect, Key, MetadataStore, Operation, Transaction};

pub(super) async fn what_is_too_large_is_refused(store: &dyn MetadataStore) {
    let value = |bytes| vec![Operation::put("value", vec![7; bytes], Expect::Any)];
    commit(store, value(Operation::VALUE_BYTES_MAX)).await.expect("1 MiB is allowed");
    assert_eq!(get(store, "value").await.map(|record| record.value.len()), Some(Operation::VALUE_BYTES_MAX));
    assert_refused(commit(store, value(Operation::VALUE_BYTES_MAX + 1)).await, "a value above 1 MiB");

    let key = |bytes| vec![Operation::put("k".repeat(bytes), "", Expect::Any)];
    commit(store, key(Key::BYTES_MAX)).await.expect("the longest key is allowed");
    assert!(get(store, &"k".repeat(Key::BYTES_MAX)).await.is_some());
    assert_refused(commit(store, key(Key::BYTES_MAX + 1)).await, "a longer key");
    assert_refused(commit(store, key(0)).await, "an empty key");

    let many = |count| (0..count).map(|number| Operation::put(format!("many/{number}"), "", Expect::Absent)).collect();
    assert_refused(commit(store, many(Transaction::OPERATIONS_MAX + 1)).await, "a transaction of 101 operations");
    commit(store, many(Transaction::OPERATIONS_MAX)).await.expect("100 operations are allowed");

    let long = (0..Transaction::OPERATIONS_MAX)
        .map(|number| Operation::put(format!("{number:04096}"), vec![7; 2000], Expect::Absent))
        .collect();
    commit(store, long).await.expect("100 operations on the longest keys are allowed");
    let half = |key: &'static str| Operation::put(key, vec![7; Transaction::BYTES_MAX / 2], Expect::Any);
    assert_refused(commit(store, vec![half("half/1"), half("half/2")]).await, "a transaction above the size of all");
    assert_eq!(get(store, "half/1").await, None);

    let twice = vec![Operation::put("twice", "1", Expect::Any), Operation::delete("twice", Expect::Any)];
    assert_refused(commit(store, twice).await, "a key twice in one transaction");
}

pub(super) async fn large_values_are_listed_to_the_end(store: &dyn MetadataStore) {
    for number in 0..12_u8 {
        let put =
            Operation::put(format!("large/{number:02}"), vec![number; Operation::VALUE_BYTES_MAX], Expect::Absent);
        commit(store, vec![put]).await.expect("the key is absent");
    }
    let records = store.list_all("large/").await.expect("listing succeeds");
    let firsts: Vec<u8> = records.iter().filter_map(|record| record.value.first().copied()).collect();
    assert_eq!(firsts, (0..12).collect::<Vec<u8>>());
}
