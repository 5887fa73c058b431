//! Compaction under kills, moves, and of what lies in a store.
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tests::client::{Event, ProducerId, Publisher, Subscriber, Subscription, connect_to_owner};
use tests::cluster::{Admin, Cluster, Shape, Standalone};
use tests::deadline::eventually;

use crate::directory;

const TOPIC: &str = "persistent://public/default/keys";
const PAGE: &str = "/admin/v2/persistent/public/default/keys";
const KEYS: u64 = 500;
const MESSAGES: u64 = 4_000;
const ROUNDS: u64 = 6;
const WITHIN: Duration = Duration::from_secs(60);

/// Publishes values whose last of each key is known.
async fn publish(addresses: &[String], first: u64, values: &mut BTreeMap<String, u64>) {
    let mut publisher = Publisher::over(connect_to_owner(addresses, TOPIC).await.expect("it serves"));
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
async fn read(addresses: &[String], compacted: bool) -> (BTreeMap<String, u64>, u64) {
    let subscription = Subscription { compacted, ..Subscription::reader(TOPIC) };
    let mut reader = Subscriber::open(addresses, &subscription).await.expect("it serves");
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

async fn status(admin: &Admin) -> String {
    let page = admin.get(&format!("{PAGE}/compaction")).await.expect("it answers");
    page["status"].as_str().expect("a text").to_owned()
}

/// Begins a pass, and looks at it so often. Says how it stands then.
async fn begin(admin: &Admin, looks: u64) -> String {
    admin.put(&format!("{PAGE}/compaction"), Some(Value::Null)).await.expect("it begins");
    let mut found = status(admin).await;
    for _ in 0..looks {
        if found == "RUNNING" {
            found = status(admin).await;
        }
    }
    found
}

/// A pass from its beginning to its end.
async fn compact(admin: &Admin) {
    begin(admin, 0).await;
    eventually("the pass ends", WITHIN, async || (status(admin).await != "RUNNING").then_some(()))
        .await
        .expect("it does");
    assert_eq!(status(admin).await, "SUCCESS");
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
        let addresses = [server.address()];
        publish(&addresses, round * MESSAGES, &mut values).await;
        let found = begin(&server.admin(), round * 8).await;
        (killed_running, killed_after) =
            (killed_running + u64::from(found == "RUNNING"), killed_after + u64::from(found == "SUCCESS"));
        server.process().kill();
        server.restart().await.expect("it starts again");
        assert_eq!(read(&addresses, true).await.0, values, "round {round}: killed when it was {found}");
        assert_eq!(read(&addresses, false).await, (values.clone(), (round + 1) * MESSAGES), "round {round}");
    }
    println!("killed while it ran: {killed_running}, after: {killed_after}");
    assert!(0 < killed_running, "no pass was met");
    compact(&server.admin()).await;
    assert_eq!(read(&[server.address()], true).await, (values, KEYS), "one message for each key");
}

/// Waits until all ledgers but the last lie in a store, and bookies were told to forget them.
async fn stored(admin: &Admin) {
    let look = async || {
        let internal = admin.get(&format!("{PAGE}/internalStats")).await.ok()?;
        let ledgers = internal["ledgers"].as_array()?;
        let (_, closed) = ledgers.split_last()?;
        let bytes: u64 = closed.iter().filter_map(|ledger| ledger["size"].as_u64()).sum();
        let offloaded = !closed.is_empty() && closed.iter().all(|ledger| ledger["offloaded"] == true);
        let status = admin.get("/admin/v2/geminga/offload/status").await.ok()?;
        (offloaded && bytes <= status["savedBytes"].as_u64()?).then_some(())
    };
    eventually("bookies have forgotten what lies in the store", WITHIN, look).await.expect("it moves by itself");
}

/// Goal: what lies in a store is compacted like what lies on bookies, and readers find the last value of each key, and all others everything,
/// also when the topic moves to another broker in the middle of a pass.
/// Method: each round publishes, waits until bookies have forgotten all but the last ledger, begins a pass, and moves the bundle.
#[tokio::test]
async fn a_topic_that_moves_is_compacted_out_of_a_store() {
    let place = directory();
    let objects = place.path().join("objects");
    std::fs::create_dir(&objects).expect("made");
    let mut shape = Shape::default();
    let more = [&format!("offload=file://{}", objects.display()), "offload_threshold_s=0", "offload_deletion_lag_s=0"];
    shape.broker_settings.extend(more.map(str::to_owned));
    shape.broker_settings.extend(["ledger_entries_max=1000", "balance_moves_per_min=0"].map(str::to_owned));
    let cluster = Box::pin(Cluster::start(place.path(), &shape)).await.expect("the cluster starts");
    let (addresses, admin) = (cluster.addresses(), cluster.brokers[0].admin());
    let forever = json!({"retentionTimeInMinutes": -1, "retentionSizeInMB": -1});
    admin.post("/admin/v2/namespaces/public/default/retention", Some(forever)).await.expect("it is taken");
    let bundle = admin.bundle("public/default/keys").await.expect("it has one");
    let mut values = BTreeMap::new();
    let mut moved_running = 0;
    for round in 0..ROUNDS {
        publish(&addresses, round * MESSAGES, &mut values).await;
        stored(&admin).await;
        let found = begin(&admin, round * 2).await;
        let (_, owner) = admin.owner("public/default/keys").await.expect("it is served");
        let other = admin.brokers().await.expect("a list").into_iter().find(|broker| *broker != owner);
        admin.move_bundle("public/default", &bundle, &other.expect("there are two")).await.expect("it moves");
        moved_running += u64::from(found == "RUNNING");
        assert_eq!(read(&addresses, true).await.0, values, "round {round}: moved when it was {found}");
        let (all, count) = read(&addresses, false).await;
        assert_eq!(count, (round + 1) * MESSAGES, "round {round}: moved when it was {found}");
        assert_eq!(all, values, "round {round}");
    }
    println!("moved while it ran: {moved_running}");
    assert!(0 < moved_running, "no pass was met");
    compact(&admin).await;
    assert_eq!(read(&addresses, true).await, (values, KEYS), "one message for each key");
}
