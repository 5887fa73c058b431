//! Compaction under kills.
use std::collections::BTreeMap;

use serde_json::{Value, json};
use tests::client::{Event, ProducerId, Publisher, Subscriber, Subscription, connect_to_owner};
use tests::cluster::Standalone;

use crate::directory;

const TOPIC: &str = "persistent://public/default/keys";
const PAGE: &str = "/admin/v2/persistent/public/default/keys";
const KEYS: u64 = 500;
const MESSAGES: u64 = 4_000;
const ROUNDS: u64 = 6;

/// Publishes values whose last of each key is known.
async fn publish(server: &Standalone, first: u64, values: &mut BTreeMap<String, u64>) {
    let mut publisher = Publisher::over(connect_to_owner(&[server.address()], TOPIC).await.expect("it serves"));
    let id = publisher.attach(TOPIC).await.expect("it is let in");
    assert_eq!(id, ProducerId(0));
    for number in first..first + MESSAGES {
        let key = format!("key-{}", number * 7 % KEYS);
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(600, 0);
        publisher.publish_keyed(id, Some(&key), &payload);
        values.insert(key, number);
    }
    publisher.flush().await.expect("it reads");
    while 0 < publisher.awaited() {
        publisher.receipt().await.expect("it serves");
    }
}

/// The last value of each key as a reader sees it, and how many messages that took.
async fn read(server: &Standalone, compacted: bool) -> (BTreeMap<String, u64>, u64) {
    let subscription = Subscription { compacted, ..Subscription::reader(TOPIC) };
    let mut reader = Subscriber::open(&[server.address()], &subscription).await.expect("it serves");
    let last = reader.last().await.expect("it answers").expect("there are messages");
    let (mut values, mut count) = (BTreeMap::new(), 0);
    loop {
        let Event::Message(message) = reader.next().await.expect("it serves") else {
            panic!("nothing was acknowledged")
        };
        let number = u64::from_be_bytes(*message.payload.first_chunk().expect("a number"));
        values.insert(message.metadata.partition_key.expect("all have a key"), number);
        count += 1;
        if message.position == last {
            return (values, count);
        }
    }
}

async fn status(server: &Standalone) -> String {
    let page = server.admin().get(&format!("{PAGE}/compaction")).await.expect("it answers");
    page["status"].as_str().expect("a text").to_owned()
}

/// Goal: whenever a broker dies in the middle of a pass, readers of what compaction has left find the last value of each key, and all other
/// readers everything.
/// Method: each round publishes, begins a pass, looks at it a few times more than the round before, and kills it.
#[tokio::test]
async fn a_kill_in_the_middle_of_a_compaction_loses_no_key_and_no_message() {
    let place = directory();
    let mut server = Standalone::start(place.path()).await.expect("it starts");
    let mut values = BTreeMap::new();
    let (mut killed_running, mut killed_after) = (0, 0);
    for round in 0..ROUNDS {
        publish(&server, round * MESSAGES, &mut values).await;
        server.admin().put(&format!("{PAGE}/compaction"), Some(Value::Null)).await.expect("it begins");
        let mut found = status(&server).await;
        for _ in 0..round * 8 {
            if found == "RUNNING" {
                found = status(&server).await;
            }
        }
        (killed_running, killed_after) =
            (killed_running + u64::from(found == "RUNNING"), killed_after + u64::from(found == "SUCCESS"));
        server.process().kill();
        server.restart().await.expect("it starts again");
        assert_eq!(read(&server, true).await.0, values, "round {round}: killed when it was {found}");
        assert_eq!(read(&server, false).await, (values.clone(), (round + 1) * MESSAGES), "round {round}");
    }
    println!("killed while it ran: {killed_running}, after: {killed_after}");
    assert!(0 < killed_running, "no pass was met");
    server.admin().put(&format!("{PAGE}/compaction"), Some(json!(null))).await.expect("it begins");
    while status(&server).await == "RUNNING" {
        tokio::task::yield_now().await;
    }
    assert_eq!(read(&server, true).await, (values, KEYS), "one message for each key");
}
