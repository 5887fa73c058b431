//! What nobody uses.
use serde_json::{Value, json};

use super::*;

const POLICY: &str = "inactive_topic_policies";
const MINUTE: Duration = Duration::from_secs(60);

fn inactive(mode: &str) -> (&'static str, Value) {
    (POLICY, json!({"inactiveTopicDeleteMode": mode, "maxInactiveDurationSeconds": 60, "deleteWhileInactive": true}))
}

impl House {
    async fn look(&self) {
        self.upkeep.remove_unused(self.upkeep.topics.loaded(), &Drain::new()).await;
    }

    async fn is_there(&self, topic: &TopicName) -> bool {
        match topic.domain() {
            proto::Domain::Persistent => self.rig.store.get(&keys::topic(topic).into()).await.unwrap().is_some(),
            proto::Domain::NonPersistent => self.upkeep.topics.get(topic).is_some(),
        }
    }

    async fn opened(&self, name: &str) -> TopicHandle {
        self.upkeep.topics.open(&name.parse().unwrap(), true).await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_goes_once_nobody_has_used_it_for_so_long_and_not_before() {
    let house = House::new().await;
    house.namespace_says(&[inactive("delete_when_no_subscriptions")]).await;
    for name in ["unused", "non-persistent://public/default/unused"] {
        let topic = house.opened(name).await.name().clone();
        house.look().await;
        pass(MINUTE - Duration::from_millis(1)).await;
        house.look().await;
        assert!(house.is_there(&topic).await, "{topic}: not yet");
        pass(Duration::from_millis(1)).await;
        house.look().await;
        assert!(!house.is_there(&topic).await, "{topic}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_stays_without_a_policy_with_a_subscription_with_a_producer_and_while_it_is_retained() {
    let house = House::new().await;
    let plain = house.opened("plain").await;
    house.look().await;
    pass(100 * HOUR).await;
    house.look().await;
    assert!(house.is_there(plain.name()).await, "nobody wants it gone");

    house.namespace_says(&[inactive("delete_when_no_subscriptions")]).await;
    let subscribed = house.subscribed("subscribed", &["s"]).await;
    let produced = house.opened("produced").await;
    produced.attach(|reply| producer(&house, client(), reply)).await.unwrap();
    let retained = house.opened("retained").await;
    house.retain(Level::Topic(retained.name().clone()), 10, 1).await;
    let unread = house.upkeep.topics.open(&house.stored("unread", 3).await, false).await.unwrap();
    for _ in 0..2 {
        house.look().await;
        pass(2 * MINUTE).await;
    }
    house.look().await;
    for (handle, stays) in [(&plain, false), (&subscribed, true), (&produced, true), (&retained, true), (&unread, true)]
    {
        assert_eq!(house.is_there(handle.name()).await, stays, "{}", handle.name());
    }
    pass(10 * MINUTE).await;
    house.look().await;
    assert!(!house.is_there(retained.name()).await, "for ten minutes");
    assert!(house.is_there(unread.name()).await, "a newcomer may come within the hour");
    pass(HOUR).await;
    house.look().await;
    assert!(!house.is_there(unread.name()).await, "nobody came");
}

#[tokio::test(start_paused = true)]
async fn subscriptions_that_have_caught_up_are_no_reason_to_stay_where_that_is_enough() {
    let house = House::new().await;
    house.namespace_says(&[inactive("delete_when_subscriptions_caught_up")]).await;
    let behind = house.subscribed("behind", &["fast", "slow"]).await;
    let topic = house.stored("caught-up", 3).await;
    let caught_up = house.upkeep.topics.open(&topic, false).await.unwrap();
    caught_up.create_subscription("s", SubscribeAt::Latest, BTreeMap::new()).await.unwrap();
    publish_one(&house, &behind, 10).await;
    behind.send_producers_away().await.unwrap();
    behind.skip_all("fast").await.unwrap();
    for _ in 0..2 {
        house.look().await;
        pass(MINUTE).await;
    }
    house.look().await;
    assert!(!house.is_there(&topic).await);
    assert!(house.is_there(behind.name()).await);
    behind.skip_all("slow").await.unwrap();
    house.look().await;
    pass(MINUTE).await;
    house.look().await;
    assert!(!house.is_there(behind.name()).await);
}

/// Goal: whoever comes between the look and the end is not lost. Method: it comes exactly there, in each way a client can.
#[tokio::test(start_paused = true)]
async fn a_topic_that_somebody_comes_to_while_it_is_being_removed_stays_or_is_new_to_them() {
    let house = House::new().await;
    for name in ["orders", "non-persistent://public/default/orders"] {
        let handle = house.opened(name).await;
        let topics = &house.upkeep.topics;
        let now = || house.log.clock.now_ms();
        let idle = handle.idle(now()).await.unwrap().expect("nobody is there");
        let attached = handle.attach(|reply| producer(&house, client(), reply)).await;
        assert!(attached.is_ok());
        assert_eq!(topics.delete_idle(handle.name(), idle).await, Err(TopicError::ActiveUsers), "a producer came");
        assert_eq!(topics.delete(handle.name(), false).await, Err(TopicError::ActiveUsers));
        handle.send_producers_away().await.unwrap();
        assert_eq!(topics.delete_idle(handle.name(), idle).await, Err(TopicError::ActiveUsers), "and has gone again");
        let idle = handle.idle(now()).await.unwrap().expect("it has gone");
        topics.unload(handle.name(), &crate::outbox::NextOwner::default()).await;
        assert_eq!(topics.delete_idle(handle.name(), idle).await, Err(TopicError::ActiveUsers), "nothing is known now");
        let handle = house.opened(name).await;
        let idle = handle.idle(now()).await.unwrap().expect("nobody is there");
        // Both at once: the newcomer finds no topic or a new one, and is let in by that.
        let (deleted, came) = tokio::join!(topics.delete_idle(handle.name(), idle), async {
            loop {
                let there = topics.open(handle.name(), true).await.unwrap();
                if let Ok(attached) = there.attach(|reply| producer(&house, client(), reply)).await {
                    return (there, attached);
                }
            }
        });
        assert!(house.is_there(handle.name()).await, "{deleted:?}");
        assert_eq!(came.0.stats().await.unwrap().publishers.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_goes_once_nobody_has_used_it_for_so_long() {
    let house = House::new().await;
    let handle = house.subscribed("orders", &["left", "used"]).await;
    pass(HOUR).await;
    house.look().await;
    let names = async || handle.subscriptions().await.unwrap();
    assert_eq!(names().await, ["left", "used"], "without a policy they stay");
    house.namespace_says(&[("subscription_expiration_time_minutes", json!(90))]).await;
    publish_one(&house, &handle, 10).await;
    handle.skip_all("used").await.unwrap();
    house.look().await;
    assert_eq!(names().await, ["left", "used"]);
    pass(30 * MINUTE + Duration::from_millis(1)).await;
    house.look().await;
    assert_eq!(names().await, ["used"]);
    let topic = handle.name().clone();
    house.upkeep.topics.unload(&topic, &crate::outbox::NextOwner::default()).await;
    let handle = house.upkeep.topics.open(&topic, false).await.unwrap();
    assert_eq!(handle.subscriptions().await.unwrap(), ["used"], "and is gone for good");
}
