//! What every store must do, as code: each store's tests run [`check`]. Panics name the promise that was broken.
mod leases;
mod limits;
mod listing;
mod records;
mod transactions;
mod watches;

use std::sync::Arc;
use std::time::Duration;

use crate::store::{Error, Event, Expect, Key, MetadataStore, Operation, Record, Transaction, Version};
use crate::watch::Watch;

/// Longer than any store takes to notice an ended lease. A bound, never waited for in full when the store is right.
const PATIENCE: Duration = Duration::from_secs(15);

/// Runs all cases, each on a store that `open` makes for it: an empty one, for instance a cluster of that name.
///
/// # Panics
/// When the store breaks the contract.
pub async fn check(open: impl AsyncFn(&str) -> Arc<dyn MetadataStore>) {
    records::what_is_put_is_read_until_it_is_deleted(&*open("put-get-delete").await).await;
    records::a_put_asks_what_it_expects(&*open("put-expects").await).await;
    records::a_delete_asks_what_it_expects(&*open("delete-expects").await).await;
    records::versions_only_grow(&*open("versions").await).await;
    transactions::all_operations_happen_or_none(&*open("atomic").await).await;
    transactions::a_conflict_names_the_first_key_that_differs(&*open("conflict").await).await;
    transactions::a_check_changes_nothing(&*open("check").await).await;
    transactions::of_two_racing_writers_one_wins(open("race").await).await;
    transactions::counting_together_loses_no_step(open("count").await).await;
    listing::a_listing_has_what_lies_below_its_prefix(&*open("prefix").await).await;
    listing::pages_join_without_gap_or_overlap(&*open("pages").await).await;
    limits::what_is_too_large_is_refused(&*open("limits").await).await;
    limits::large_values_are_listed_to_the_end(&*open("large").await).await;
    watches::a_watch_sees_changes_below_its_prefix_in_order(&*open("watch").await).await;
    let (kept, revoked, dropped, moved) =
        (open("kept").await, open("revoked").await, open("dropped").await, open("moved").await);
    // These wait for leases to run out, so they share the time.
    futures::join!(
        leases::records_of_a_kept_lease_stay(&*kept),
        leases::records_of_a_revoked_lease_go_at_once(&*revoked),
        leases::records_of_a_dropped_lease_go(&*dropped),
        leases::a_record_put_again_leaves_its_lease(&*moved),
    );
}

async fn commit(store: &dyn MetadataStore, operations: Vec<Operation>) -> Result<Version, Error> {
    store.commit(Transaction::new(operations)).await
}

async fn put(store: &dyn MetadataStore, key: &str, value: &str) -> Version {
    let put = Operation::put(key, value.to_owned(), Expect::Any);
    commit(store, vec![put]).await.expect("a put that expects nothing succeeds")
}

async fn get(store: &dyn MetadataStore, key: &str) -> Option<Record> {
    store.get(&key.into()).await.expect("reading succeeds")
}

/// Waits until the watch has shown `count` events.
async fn events(watch: &mut Watch, count: usize) -> Vec<Event> {
    let mut seen = Vec::new();
    let gather = async {
        while seen.len() < count {
            seen.extend(watch.next().await.expect("the watch goes on"));
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, gather).await.is_ok();
    assert!(in_time, "a watch showed {} of {count} events: {seen:?}", seen.len());
    seen
}

fn assert_conflict(outcome: Result<Version, Error>, on: &str) {
    match outcome {
        Err(Error::Conflict { key }) => assert_eq!(key, Key::from(on), "a conflict names the key that differs"),
        other => panic!("expected a conflict on `{on}`, got {other:?}"),
    }
}

fn assert_refused(outcome: Result<Version, Error>, what: &str) {
    assert!(matches!(outcome, Err(Error::Refused { .. })), "{what} is refused, got {outcome:?}");
}
