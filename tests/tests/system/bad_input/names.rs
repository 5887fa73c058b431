//! Section 12: names in LOOKUP and PARTITIONED_METADATA, and more of them than are waited for.
use super::*;

/// A name, and what a lookup of it and a question for its partitions are answered.
fn named() -> Vec<(String, &'static str, &'static str)> {
    let invalid = ("LookupResponse InvalidTopicName", "PartitionedMetadataResponse InvalidTopicName");
    let absent = ("LookupResponse TopicNotFound", "PartitionedMetadataResponse TopicNotFound");
    let fine = ("LookupResponse", "PartitionedMetadataResponse");
    let rows = [
        ("", invalid),
        ("\0", invalid),
        ("http://public/default/x", invalid),
        ("PERSISTENT://public/default/x", invalid),
        ("persistent://public/default", invalid),
        ("persistent://", invalid),
        ("persistent:///default/x", invalid),
        ("persistent://public//x", invalid),
        ("persistent://public/default/", invalid),
        ("persistent://pub lic/default/x", invalid),
        ("persistent://../default/x", absent),
        ("persistent://nobody/default/x", absent),
        ("persistent://public/nowhere/x", absent),
        ("persistent://public/default/five/parts", fine),
        ("persistent://public/default/%2e%2e%2f", fine),
        ("persistent://public/default/größe", fine),
        ("persistent://public/default/x-partition-00", fine),
        ("persistent://public/default/x-partition--1", fine),
        ("persistent://public/default/x-partition-2147483648", fine),
        ("persistent://public/default/x-partition-", fine),
    ];
    let mut rows: Vec<_> = rows.into_iter().map(|(name, (lookup, count))| (name.to_owned(), lookup, count)).collect();
    rows.push(("x".repeat(60_000), invalid.0, invalid.1));
    rows
}

#[tokio::test]
async fn every_name_is_looked_up_or_refused_by_name() {
    let mut scene = Scene::set().await;
    let mut cases = Vec::new();
    for (topic, looked_up, counted) in named() {
        let shown: String = topic.chars().take(60).collect();
        let lookup = CommandLookupTopic { topic: topic.clone(), request_id: 3, ..Default::default() };
        cases.push(case(format!("lookup of {shown:?}"), frame(lookup), looked_up));
        let count = CommandPartitionedTopicMetadata { topic, request_id: 3, ..Default::default() };
        cases.push(case(format!("partitions of {shown:?}"), frame(count), counted));
    }
    scene.plays(cases, async |scene, _| scene.greeted().await).await;
    scene.end().await;
}

#[tokio::test]
async fn names_that_name_nothing_are_refused_to_producers() {
    let scene = Scene::set().await;
    let long = "x".repeat(60_000);
    let names = ["", "persistent://a/b", "http://a/b/c", "persistent://public/none/x", "a b/c/d", "\0", &long];
    let mut raw = scene.greeted().await;
    for (number, name) in (1_u64..).zip(names) {
        raw.write(&producer_frame(name, number)).await;
        let error = raw.answer(Type::Error).await.error.expect("of this type");
        assert_eq!(error.request_id, number, "{name:.40}: {error:?}");
    }
    scene.end().await;
}

/// Goal: requests beyond those that may be in flight are refused, and each is answered. Method: ten thousand in one write.
#[tokio::test]
async fn a_storm_of_lookups_is_answered_to_the_last() {
    const STORM: u64 = 10_000;
    let mut scene = Scene::set().await;
    let mut raw = scene.greeted().await;
    let lookup = |request_id| {
        frame(CommandLookupTopic { topic: format!("storm{request_id}"), request_id, ..Default::default() })
    };
    let storm: Vec<u8> = (1..=STORM).flat_map(lookup).collect();
    raw.write(&storm).await;
    let mut answered = std::collections::HashSet::new();
    while answered.len() < STORM as usize {
        let answer = raw.next_answer().await;
        let id = match (&answer.lookup_topic_response, &answer.error) {
            (Some(found), _) => found.request_id,
            (None, Some(error)) if error.error() == ServerError::TooManyRequests => error.request_id,
            _ => panic!("{answer:?}"),
        };
        assert!(answered.insert(id), "{id} was answered twice");
    }
    scene.nobody_is_disturbed("after the storm").await;
    scene.end().await;
}
