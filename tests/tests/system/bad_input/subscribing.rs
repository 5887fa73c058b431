//! Section 8: SUBSCRIBE.
use super::*;

fn subscribe(name: &str) -> CommandSubscribe {
    CommandSubscribe {
        topic: "public/default/subscribing".into(),
        subscription: name.into(),
        sub_type: SubType::Shared.into(),
        consumer_id: 5,
        request_id: 5,
        ..Default::default()
    }
}

fn names() -> Vec<Case> {
    let name = |name: &str, expected| {
        let shown: String = name.chars().take(20).collect();
        case(format!("called {shown:?}"), frame(subscribe(name)), expected)
    };
    vec![
        name("", "Error*"),
        name(&"x".repeat(10_000), "Error*"),
        name("/", "Success"),
        name("..", "Success"),
        name("a\0b", "Success"),
        name("größe/日本/🚀", "Success"),
        name("orders-DLQ", "Success"),
        name("%2e%2e%2f", "Success"),
    ]
}

fn terms() -> Vec<Case> {
    let with = |name: &str, change: fn(&mut CommandSubscribe), expected| {
        let mut command = subscribe(name);
        change(&mut command);
        case(name, frame(command), expected)
    };
    vec![
        with("kind 9", |command| command.sub_type = 9, "Error*"),
        with("kind -1", |command| command.sub_type = -1, "Error*"),
        with("position 9", |command| command.initial_position = Some(9), "Success"),
        with("priority -1", |command| command.priority_level = Some(-1), "Success"),
        with("priority 2^31-1", |command| command.priority_level = Some(i32::MAX), "Success"),
        with("compacted and shared", |command| command.read_compacted = Some(true), "Error NotAllowedError"),
        with("since before 1970", |c| c.start_message_rollback_duration_sec = Some(u64::MAX), "Success"),
        with("an epoch of all ones", |command| command.consumer_epoch = Some(u64::MAX), "Success"),
        with("not durable, without a start", |command| command.durable = Some(false), "Success"),
        with("a topic of another tenant", |command| command.topic = "nobody/none/x".into(), "Error TopicNotFound"),
        with("no topic", |command| command.topic = String::new(), "Error InvalidTopicName"),
    ]
}

fn starts() -> Vec<Case> {
    let at = |name: &str, ledger_id: u64, entry_id: u64, partition: i32, batch_index: i32| {
        let (partition, batch_index) = (Some(partition), Some(batch_index));
        let id = MessageIdData { ledger_id, entry_id, partition, batch_index, ..Default::default() };
        let reader = CommandSubscribe { durable: Some(false), start_message_id: Some(id), ..subscribe(name) };
        case(format!("a reader at {name}"), frame(reader), "Success")
    };
    vec![
        at("a ledger of nobody", 1 << 40, 0, -1, -1),
        at("a ledger before all", 0, 0, -1, -1),
        at("entry 2^63", 1, 1 << 63, -1, -1),
        at("all ones", u64::MAX, u64::MAX, -1, -1),
        at("partition -7", 1, 1, -7, -1),
        at("message 1 000 000 of a batch", 1, 1, -1, 1_000_000),
        at("message -5 of a batch", 1, 1, -1, -5),
    ]
}

fn keys() -> Vec<Case> {
    let sticky = |name: &str, ranges: &[(i32, i32)], expected| {
        let meta = KeySharedMeta {
            key_shared_mode: KeySharedMode::Sticky.into(),
            hash_ranges: ranges.iter().map(|(start, end)| IntRange { start: *start, end: *end }).collect(),
            allow_out_of_order_delivery: None,
        };
        let kind = SubType::KeyShared.into();
        let command = CommandSubscribe { sub_type: kind, key_shared_meta: Some(meta), ..subscribe(name) };
        case(format!("keys: {name}"), frame(command), expected)
    };
    vec![
        sticky("all", &[(0, 65_535)], "Success"),
        sticky("no range", &[], "Error ConsumerAssignError"),
        sticky("a range twice", &[(0, 10), (5, 20)], "Error ConsumerAssignError"),
        sticky("a range backwards", &[(20, 10)], "Error ConsumerAssignError"),
        sticky("a range below zero", &[(-5, 10)], "Success"),
        sticky("a range beyond the last", &[(0, 65_536)], "Success"),
        sticky("the whole of i32", &[(i32::MIN, i32::MAX)], "Success"),
    ]
}

#[tokio::test]
async fn every_subscription_is_made_or_refused_by_name() {
    let mut scene = Scene::set().await;
    let cases = [names(), terms(), starts(), keys()].concat();
    scene.plays(cases, async |scene, _| scene.producing("public/default/subscribing").await).await;
    scene.end().await;
}

#[tokio::test]
async fn consumers_of_one_subscription_must_want_the_same() {
    let mut scene = Scene::set().await;
    let other = |change: fn(&mut CommandSubscribe)| {
        let mut command = CommandSubscribe { topic: "public/default/same".into(), ..subscribe("raw") };
        change(&mut command);
        frame(command)
    };
    let cases = vec![
        case("another kind", other(|command| command.sub_type = SubType::Failover.into()), "Error ConsumerBusy"),
        case("keys", other(|command| command.sub_type = SubType::KeyShared.into()), "Error ConsumerBusy"),
        case("not durable", other(|command| command.durable = Some(false)), "Error*"),
        case("the same", other(|_| ()), "Success"),
    ];
    scene.plays(cases, async |scene, _| scene.consuming("public/default/same").await).await;
    scene.end().await;
}
