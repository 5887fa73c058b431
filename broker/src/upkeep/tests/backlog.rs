//! What waits too long, or is too much.
use serde_json::{Value, json};

use super::*;
use crate::outbox::NextOwner;

pub(super) async fn says_of_namespace(house: &House, policies: &[(&str, Value)]) {
    house.namespace_says(policies).await;
}

impl House {
    pub(super) async fn says(&self, level: Level, policies: &[(&str, Value)]) {
        let set = |record: &mut PoliciesRecord| {
            record.plain = policies.iter().map(|(name, value)| ((*name).into(), value.to_string())).collect();
            Ok(())
        };
        self.upkeep.policies.change(&level, set).await.unwrap();
    }

    pub(super) async fn namespace_says(&self, policies: &[(&str, Value)]) {
        self.says(Level::Namespace(self.rig.topic.namespace().clone()), policies).await;
    }

    /// A topic with durable subscriptions that get nothing.
    pub(super) async fn subscribed(&self, name: &str, subscriptions: &[&str]) -> TopicHandle {
        let topic: TopicName = name.parse().unwrap();
        let handle = self.upkeep.topics.open(&topic, true).await.unwrap();
        for subscription in subscriptions {
            handle.create_subscription(subscription, SubscribeAt::Earliest, BTreeMap::new()).await.unwrap();
        }
        handle
    }

    pub(super) async fn publish_now(&self, handle: &TopicHandle, bytes: usize) {
        publish_at(self, handle, bytes, self.log.clock.now_ms()).await;
    }
}

async fn backlogs(handle: &TopicHandle) -> Vec<u64> {
    handle.stats().await.unwrap().subscriptions.values().map(|one| one.msg_backlog).collect()
}

const TTL: &str = "message_ttl_in_seconds";

#[tokio::test(start_paused = true)]
async fn what_has_outlived_its_time_is_acknowledged_for_every_durable_subscription_and_stays_so() {
    let house = House::new().await;
    let handle = house.subscribed("orders", &["a", "b"]).await;
    house.namespace_says(&[(TTL, json!(60))]).await;
    let begin = Instant::now();
    for _ in 0..3 {
        house.publish_now(&handle, 10).await;
    }
    tokio::time::sleep_until(begin + Duration::from_secs(40)).await;
    house.publish_now(&handle, 10).await;
    tokio::time::sleep_until(begin + Duration::from_secs(60)).await;
    house.walk().await;
    assert_eq!(backlogs(&handle).await, [4, 4], "not older than 60 s");
    pass(Duration::from_secs(1)).await;
    house.walk().await;
    assert_eq!(backlogs(&handle).await, [1, 1]);
    assert_eq!(handle.stats().await.unwrap().subscriptions["a"].total_msg_expired, 3);
    let name = handle.name().clone();
    house.upkeep.topics.unload(&name, &NextOwner::default()).await;
    let handle = house.upkeep.topics.open(&name, false).await.unwrap();
    assert_eq!(backlogs(&handle).await, [1, 1], "it was written down");
    pass(Duration::from_secs(40)).await;
    house.walk().await;
    assert_eq!(backlogs(&handle).await, [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn without_a_time_or_with_0_or_while_it_cannot_be_read_nothing_is_too_old() {
    let house = House::new().await;
    let mut handles = Vec::new();
    for name in ["unset", "zero", "unread"] {
        let handle = house.subscribed(name, &["s"]).await;
        house.publish_now(&handle, 10).await;
        handles.push(handle);
    }
    pass(100 * HOUR).await;
    house.walk().await;
    house.says(Level::Topic("zero".parse().unwrap()), &[(TTL, json!(0))]).await;
    let (unset, rest) = handles.split_first().unwrap();
    assert_eq!(backlogs(unset).await, [1]);
    house.says(Level::Topic("unset".parse().unwrap()), &[(TTL, json!(0))]).await;
    house.namespace_says(&[(TTL, json!(1))]).await;
    house.rig.mortal.set_unreadable(Some("policies/"));
    house.walk().await;
    for handle in rest {
        assert_eq!(backlogs(handle).await, [1]);
    }
    house.rig.mortal.set_unreadable(None);
    house.walk().await;
    let left = [backlogs(unset).await, backlogs(&rest[0]).await, backlogs(&rest[1]).await];
    assert_eq!(left, [[1], [1], [0]], "a topic's own 0 counts before what its namespace says");
}

fn quota(kind: &str, size: i64, seconds: i64, policy: &str) -> (&'static str, Value) {
    ("backlog_quota_map", json!({kind: {"limitSize": size, "limitTime": seconds, "policy": policy}}))
}

#[tokio::test(start_paused = true)]
async fn the_oldest_of_a_backlog_that_is_too_large_is_given_up_and_no_more_of_it() {
    let house = House::new().await;
    let handle = house.subscribed("orders", &["fast", "slow"]).await;
    for _ in 0..10 {
        house.publish_now(&handle, 1000).await;
    }
    handle.skip_all("fast").await.unwrap();
    let size = handle.stats().await.unwrap().storage_size;
    house
        .namespace_says(&[quota("destination_storage", size.cast_signed() + 1, -1, "consumer_backlog_eviction")])
        .await;
    house.walk().await;
    assert_eq!(backlogs(&handle).await, [0, 10], "it fits");
    house
        .namespace_says(&[quota("destination_storage", size.cast_signed() / 2, -1, "consumer_backlog_eviction")])
        .await;
    house.walk().await;
    assert_eq!(backlogs(&handle).await, [0, 4], "nine tenths of half of it");
    house.namespace_says(&[quota("message_age", -1, 60, "consumer_backlog_eviction")]).await;
    house.walk().await;
    assert_eq!(backlogs(&handle).await, [0, 4]);
    pass(Duration::from_secs(61)).await;
    house.publish_now(&handle, 10).await;
    house.walk().await;
    assert_eq!(backlogs(&handle).await, [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn producers_of_a_backlog_that_is_too_old_are_sent_away_and_stay_out_until_it_is_consumed() {
    let house = House::new().await;
    for (policy, error) in
        [("producer_request_hold", TopicError::BacklogHeld), ("producer_exception", TopicError::BacklogFull)]
    {
        let handle = house.subscribed(policy, &["s"]).await;
        house.namespace_says(&[quota("message_age", -1, 60, policy)]).await;
        house.publish_now(&handle, 10).await;
        let admitted = async || {
            let wanted = house.upkeep.policies.effective(handle.name()).await.unwrap();
            handle.admits_producers(&wanted.quotas(), house.log.clock.now_ms()).await
        };
        house.walk().await;
        assert_eq!((admitted().await, handle.stats().await.unwrap().publishers.len()), (Ok(()), 1));
        pass(Duration::from_secs(61)).await;
        house.walk().await;
        assert_eq!((admitted().await, handle.stats().await.unwrap().publishers.len()), (Err(error), 0));
        handle.skip_all("s").await.unwrap();
        assert_eq!(admitted().await, Ok(()));
    }
}

/// Goal: a topic is not said to have ended before that is written down, and nothing is taken meanwhile. Method: the metadata hold back
/// what is written; a producer sends.
#[tokio::test(start_paused = true)]
async fn a_topic_ends_once_that_is_written_down_and_takes_nothing_meanwhile() {
    let house = House::new().await;
    let handle = house.subscribed("orders", &["s"]).await;
    house.publish_now(&handle, 10).await;
    let last = handle.last_position();
    house.rig.mortal.hold_commits(true);
    let asked = handle.clone();
    let terminate = tokio::spawn(async move { asked.terminate().await });
    pass(Duration::from_secs(5)).await;
    let client = client();
    let attach = |reply| producer(&house, client.clone(), reply);
    assert!(matches!(handle.attach(attach).await.unwrap_err().error, TopicError::Unavailable(_)));
    assert!(!terminate.is_finished());
    house.rig.mortal.hold_commits(false);
    assert_eq!(terminate.await.unwrap().unwrap(), last);
    assert_eq!(handle.attach(attach).await.unwrap_err().error, TopicError::Terminated);
    assert!(handle.stats().await.unwrap().publishers.is_empty());
    assert_eq!(backlogs(&handle).await, [1]);
}
