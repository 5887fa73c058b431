//! Several operations at once, and several writers.
use std::sync::Arc;

use super::{assert_conflict, commit, get, put};
use crate::store::{Error, Expect, MetadataStore, Operation, Transaction};

pub(super) async fn all_operations_happen_or_none(store: &dyn MetadataStore) {
    let old = put(store, "old", "x").await;
    let all = |expect| {
        vec![
            Operation::put("a", "1", Expect::Absent),
            Operation::put("b", "2", Expect::Absent),
            Operation::delete("old", expect),
            Operation::check("guard", Expect::Absent),
        ]
    };
    put(store, "old", "y").await;
    assert_conflict(commit(store, all(Expect::Version(old))).await, "old");
    assert_eq!(get(store, "a").await, None, "nothing of a conflicting transaction happens");
    assert_eq!(get(store, "b").await, None, "nothing of a conflicting transaction happens");
    let old = get(store, "old").await.expect("nothing of a conflicting transaction happens");

    let transaction = Transaction::new(all(Expect::Version(old.version)));
    let token = transaction.token;
    let version = store.commit(transaction).await.expect("all is as expected");
    for key in ["a", "b"] {
        let record = get(store, key).await.expect("all of a transaction happens");
        assert_eq!((record.version, record.token), (version, token), "one transaction, one version, one token");
    }
    assert_eq!(get(store, "old").await, None, "all of a transaction happens");
}

pub(super) async fn a_conflict_names_the_first_key_that_differs(store: &dyn MetadataStore) {
    put(store, "b", "there").await;
    put(store, "c", "there").await;
    let operations = ["a", "b", "c"].map(|key| Operation::put(key, "new", Expect::Absent)).to_vec();
    assert_conflict(commit(store, operations).await, "b");
    let operations = vec![Operation::put("a", "new", Expect::Absent), Operation::check("c", Expect::Absent)];
    assert_conflict(commit(store, operations).await, "c");
    assert_eq!(get(store, "a").await, None);
}

pub(super) async fn a_check_changes_nothing(store: &dyn MetadataStore) {
    let version = put(store, "a", "1").await;
    let checks = vec![Operation::check("a", Expect::Version(version)), Operation::check("none", Expect::Absent)];
    let at = commit(store, checks).await.expect("all is as asked");
    assert!(version <= at);
    assert_eq!(get(store, "a").await.map(|record| record.version), Some(version));
    assert_conflict(commit(store, vec![Operation::check("a", Expect::Absent)]).await, "a");
    commit(store, vec![]).await.expect("a transaction that asks nothing has its way");
}

pub(super) async fn of_two_racing_writers_one_wins(store: Arc<dyn MetadataStore>) {
    let mut expect = Expect::Absent;
    for round in 0..20 {
        let race = |who: &'static str| {
            let store = store.clone();
            tokio::spawn(async move { commit(&*store, vec![Operation::put("a", who, expect)]).await })
        };
        let (left, right) = futures::join!(race("left"), race("right"));
        let (left, right) = (left.expect("no panic"), right.expect("no panic"));
        let (winner, version, loser) = match (left, right) {
            (Ok(version), loser) => ("left", version, loser),
            (loser, Ok(version)) => ("right", version, loser),
            (left, right) => panic!("nobody won round {round}: {left:?} {right:?}"),
        };
        assert_conflict(loser, "a");
        let record = get(&*store, "a").await.expect("somebody won");
        assert_eq!((&*record.value, record.version), (winner.as_bytes(), version));
        expect = Expect::Version(version);
    }
}

pub(super) async fn counting_together_loses_no_step(store: Arc<dyn MetadataStore>) {
    const WRITERS: usize = 4;
    const STEPS: usize = 10;
    let writers = (0..WRITERS).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut done = 0;
            while done < STEPS {
                let record = get(&*store, "sum").await;
                let sum = record.as_ref().map_or(0, |record| record.value.len());
                let put = Operation::put("sum", vec![b'1'; sum + 1], Expect::unchanged(record.as_ref()));
                match commit(&*store, vec![put]).await {
                    Ok(_) => done += 1,
                    Err(Error::Conflict { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        })
    });
    for writer in futures::future::join_all(writers).await {
        writer.expect("no panic");
    }
    assert_eq!(get(&*store, "sum").await.map(|record| record.value.len()), Some(WRITERS * STEPS));
}
