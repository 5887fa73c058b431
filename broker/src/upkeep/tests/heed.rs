//! Goal: loaded topics hear of policies that change, whoever has changed them. Method: the watch runs beside, and the clock is moved
//! rather than waited for.
use serde_json::json;
use tokio::task::JoinHandle;

use super::super::heed::PAUSE as BEFORE_ANOTHER_WATCH;
use super::*;

const MAX: &str = "max_unacked_messages_per_consumer";
const BY_DEFAULT: Option<u64> = Some(50_000);
const AT_ONCE: Duration = Duration::from_millis(1);

struct Telling {
    drain: Drain,
    task: JoinHandle<()>,
}

impl House {
    async fn telling(&self) -> Telling {
        let (upkeep, drain) = (self.upkeep.clone(), Drain::new());
        let until = drain.clone();
        let task = tokio::spawn(async move { upkeep.tell_changes(&until).await });
        pass(AT_ONCE).await;
        Telling { drain, task }
    }
}

impl Telling {
    async fn ends(self) {
        self.drain.request();
        self.task.await.unwrap();
    }
}

fn heard(topics: &[&TopicHandle]) -> Vec<Option<u64>> {
    topics.iter().map(|topic| topic.heeded().terms().unacked_of_consumer).collect()
}

#[tokio::test(start_paused = true)]
async fn a_loaded_topic_hears_of_its_own_policies_and_of_its_namespaces() {
    let house = House::new().await;
    let one = house.subscribed("one", &[]).await;
    house.namespace_says(&[(MAX, json!(5))]).await;
    let telling = house.telling().await;
    assert_eq!(heard(&[&one]), [Some(5)], "what was set before");
    let other = house.subscribed("other", &[]).await;
    let part = house.subscribed("parted-partition-1", &[]).await;
    let all = [&one, &other, &part];
    house.namespace_says(&[(MAX, json!(7))]).await;
    pass(AT_ONCE).await;
    assert_eq!(heard(&all), [Some(7), Some(7), Some(7)]);
    let parted: TopicName = "parted".parse().unwrap();
    house.rig.store.put(keys::partitioned_topic(&parted), vec![], Expect::Absent).await.unwrap();
    house.says(Level::Topic(one.name().clone()), &[(MAX, json!(9))]).await;
    house.says(Level::Topic(parted), &[(MAX, json!(0))]).await;
    pass(AT_ONCE).await;
    assert_eq!(heard(&all), [Some(9), Some(7), None]);
    house.says(Level::Topic(one.name().clone()), &[]).await;
    house.namespace_says(&[]).await;
    pass(AT_ONCE).await;
    assert_eq!(heard(&all), [BY_DEFAULT, BY_DEFAULT, None], "what is removed counts no more");
    telling.ends().await;
}

/// What a producer brought that had read before a change does not undo it.
#[tokio::test(start_paused = true)]
async fn whoever_has_read_earlier_brings_nothing_older() {
    let house = House::new().await;
    let topic = house.subscribed("one", &[]).await;
    let telling = house.telling().await;
    let read = house.upkeep.policies.effective(topic.name()).await.unwrap().terms();
    house.namespace_says(&[(MAX, json!(7))]).await;
    pass(AT_ONCE).await;
    topic.heed(read, house.log.clock.now_ms());
    assert_eq!(heard(&[&topic]), [Some(7)]);
    telling.ends().await;
}

#[tokio::test(start_paused = true)]
async fn what_changed_while_the_watch_was_lost_is_told_with_the_next() {
    let house = House::new().await;
    let topic = house.subscribed("one", &[]).await;
    let telling = house.telling().await;
    house.rig.store.set_away(true);
    house.rig.store.set_away(false);
    pass(AT_ONCE).await;
    house.namespace_says(&[(MAX, json!(7))]).await;
    pass(AT_ONCE).await;
    assert_eq!(heard(&[&topic]), [BY_DEFAULT], "nobody watches");
    pass(BEFORE_ANOTHER_WATCH).await;
    assert_eq!(heard(&[&topic]), [Some(7)]);
    house.namespace_says(&[(MAX, json!(8))]).await;
    pass(AT_ONCE).await;
    assert_eq!(heard(&[&topic]), [Some(8)], "and watched again");
    telling.ends().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_that_cannot_be_read_is_told_once_it_can() {
    let house = House::new().await;
    let topic = house.subscribed("one", &[]).await;
    let telling = house.telling().await;
    let record = PoliciesRecord { plain: [(MAX.to_owned(), "7".to_owned())].into(), ..Default::default() };
    house.rig.mortal.set_unreadable(Some("policies/"));
    let key = keys::namespace_policies(topic.name().namespace());
    house.rig.store.put(key, record.encode_to_vec(), Expect::Absent).await.unwrap();
    pass(AT_ONCE).await;
    assert_eq!(heard(&[&topic]), [BY_DEFAULT]);
    house.rig.mortal.set_unreadable(None);
    pass(BEFORE_ANOTHER_WATCH).await;
    assert_eq!(heard(&[&topic]), [Some(7)]);
    telling.ends().await;
}
