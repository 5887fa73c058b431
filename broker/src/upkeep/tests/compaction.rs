//! When topics are compacted, and what comes between.
use proto::records::LedgerRecord;
use serde_json::json;

use super::backlog::says_of_namespace;
use super::*;
use crate::outbox::NextOwner;
use crate::topic::CompactionProgress;

/// A message of some key.
async fn publish_key(house: &House, handle: &TopicHandle, key: &str) {
    let metadata = proto::pulsar::MessageMetadata {
        publish_time: house.log.clock.now_ms(),
        partition_key: Some(key.into()),
        ..Default::default()
    };
    publish_entry(house, handle, proto::entry::build(&metadata, b"value")).await;
}

async fn compacted(handle: &TopicHandle) -> CompactionProgress {
    while handle.compaction_progress() == CompactionProgress::Running {
        pass(Duration::from_millis(1)).await;
    }
    handle.compaction_progress()
}

async fn kept(handle: &TopicHandle) -> i64 {
    handle.internal_stats().await.unwrap().compacted_ledger.entries
}

async fn open(house: &House) -> TopicHandle {
    house.upkeep.topics.open(&house.rig.topic, true).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_compacted_when_more_has_come_than_policies_say() {
    let house = House::new().await;
    let handle = open(&house).await;
    publish_key(&house, &handle, "a").await;
    house.walk().await;
    assert!(handle.subscriptions().await.unwrap().is_empty(), "nobody wants it");
    let one = handle.uncompacted_bytes();
    says_of_namespace(&house, &[("compaction_threshold", json!(one * 3))]).await;
    publish_key(&house, &handle, "a").await;
    publish_key(&house, &handle, "b").await;
    house.walk().await;
    assert_eq!(handle.subscriptions().await.unwrap(), ["__compaction"], "what is there is held for it");
    assert_eq!(compacted(&handle).await, CompactionProgress::NotRun, "not more than that");
    publish_key(&house, &handle, "b").await;
    house.walk().await;
    assert_eq!(compacted(&handle).await, CompactionProgress::Success);
    assert_eq!((kept(&handle).await, handle.uncompacted_bytes()), (2, 0));
    let stats = handle.stats().await.unwrap();
    assert_eq!(
        (stats.compaction.last_compaction_removed_event_count, stats.subscriptions["__compaction"].msg_backlog),
        (2, 0)
    );
}

/// Goal: what compaction writes has as many copies as wanted. Method: nobody uses the topic who has told it; then policies are away.
#[tokio::test(start_paused = true)]
async fn what_is_left_has_as_many_copies_as_policies_say() {
    let house = House::new().await;
    let handle = open(&house).await;
    publish_key(&house, &handle, "a").await;
    let persistence = json!({"bookkeeperEnsemble": 4, "bookkeeperWriteQuorum": 2, "bookkeeperAckQuorum": 1});
    says_of_namespace(&house, &[("persistence", persistence)]).await;
    assert!(house.upkeep.compact(&handle));
    assert_eq!(compacted(&handle).await, CompactionProgress::Success);
    let ledger = LedgerId(house.rig.record().await.compacted.unwrap().ledger);
    let found = house.rig.store.get(&keys::ledger(ledger).into()).await.unwrap().unwrap();
    let record = LedgerRecord::decode(found.value).unwrap();
    assert_eq!((record.ensemble_size, record.write_quorum, record.ack_quorum), (4, 2, 1));
    publish_key(&house, &handle, "b").await;
    house.rig.mortal.set_unreadable(Some("policies/"));
    assert!(house.upkeep.compact(&handle));
    let CompactionProgress::Error(error) = compacted(&handle).await else { panic!("nobody knows how many") };
    assert!(error.starts_with("policies cannot be read"), "{error}");
    assert_eq!(kept(&handle).await, 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_leaves_or_expires_that_was_not_compacted() {
    let house = House::new().await;
    let handle = open(&house).await;
    says_of_namespace(&house, &[("compaction_threshold", json!(1_000_000)), ("message_ttl_in_seconds", json!(1))])
        .await;
    for key in ["a", "b", "a", "b", "a"] {
        publish_key(&house, &handle, key).await;
    }
    house.walk().await;
    handle.create_subscription("s", SubscribeAt::Earliest, BTreeMap::new()).await.unwrap();
    pass(2 * HOUR).await;
    house.walk().await;
    house.walk().await;
    let stats = handle.stats().await.unwrap();
    assert_eq!((stats.subscriptions["s"].msg_backlog, stats.subscriptions["__compaction"].msg_backlog), (0, 5));
    assert_eq!(ledgers(&handle), 3);
    assert!(house.upkeep.compact(&handle));
    assert_eq!(compacted(&handle).await, CompactionProgress::Success);
    house.walk().await;
    assert!(ledgers(&handle) <= 1, "what is compacted may go");
    assert_eq!(kept(&handle).await, 2);
    // Nothing new: nothing is done, and nothing lost.
    assert!(house.upkeep.compact(&handle));
    assert_eq!((compacted(&handle).await, kept(&handle).await), (CompactionProgress::Success, 2));
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_closes_ends_its_compaction_and_the_next_load_begins_anew() {
    let house = House::new().await;
    let handle = open(&house).await;
    for key in ["a", "b", "a"] {
        publish_key(&house, &handle, key).await;
    }
    handle.hold_for_compaction().await.unwrap();
    house.rig.ledgers.hold_reads(true);
    house.rig.mortal.hold_commits(true);
    assert!(house.upkeep.compact(&handle) && !house.upkeep.compact(&handle), "one at a time");
    assert_eq!(handle.delete_subscription("__compaction", true).await, Err(TopicError::ActiveUsers));
    let topics = house.upkeep.topics.clone();
    let name = handle.name().clone();
    let unload = tokio::spawn(async move { topics.unload(&name, &NextOwner::default()).await });
    pass(Duration::from_secs(1)).await;
    house.rig.ledgers.hold_reads(false);
    house.rig.mortal.hold_commits(false);
    unload.await.unwrap();
    assert!(matches!(compacted(&handle).await, CompactionProgress::Error(_)));
    let handle = open(&house).await;
    let record = house.rig.record().await;
    assert_eq!((record.compacting, record.compacted), (0, None));
    assert_eq!(handle.compaction_progress(), CompactionProgress::NotRun);
    assert!(house.upkeep.compact(&handle));
    assert_eq!((compacted(&handle).await, kept(&handle).await), (CompactionProgress::Success, 2));
    handle.delete_subscription("__compaction", false).await.unwrap();
    assert_eq!((kept(&handle).await, house.rig.record().await.compacted), (-1, None));
}

/// The record is what counts: a load puts the mark of the subscription right.
#[tokio::test(start_paused = true)]
async fn a_crash_between_record_and_mark_moves_the_mark_with_the_next_load() {
    let house = House::new().await;
    let handle = open(&house).await;
    for key in ["a", "b", "a"] {
        publish_key(&house, &handle, key).await;
    }
    handle.hold_for_compaction().await.unwrap();
    let end = handle.with_chain(|chain| chain.end());
    house.upkeep.topics.unload(handle.name(), &NextOwner::default()).await;
    let loaded = log::load(&house.log, &house.rig.topic).await.unwrap();
    loaded.compactor.begin().await.unwrap().publish(end).await.unwrap();
    drop(loaded);
    let handle = open(&house).await;
    assert_eq!(handle.stats().await.unwrap().subscriptions["__compaction"].msg_backlog, 0);
}
