//! The room without its pages: what counts, how it changes beside others, and that one row is all a policy takes.
use metadata::{Error, Expect, MemoryStore, MetadataStoreExt, Operation, Transaction};
use prost::Message;
use proto::records::{self, OffloadPolicy, PoliciesRecord, TopicRecord};
use proto::{NamespaceName, TopicName, keys};
use serde_json::{Value, json};

use std::time::Duration;

use super::*;

fn namespace() -> NamespaceName {
    "public/default".parse().unwrap()
}

fn topic(name: &str) -> TopicName {
    name.parse().unwrap()
}

/// With a namespace, and one topic in it.
async fn policies() -> (MemoryStore, Policies) {
    let store = MemoryStore::default();
    store.put(keys::namespace(&namespace()), "", Expect::Absent).await.unwrap();
    store.put(keys::topic(&topic("orders")), "", Expect::Absent).await.unwrap();
    (store.clone(), Policies::new(Arc::new(store), of_broker()))
}

fn of_broker() -> OfBroker {
    crate::Config::default().of_broker()
}

fn retained(minutes: i64, mebibytes: i64) -> impl Fn(&mut PoliciesRecord) -> Result<(), PolicyError> {
    move |record| {
        record.retention = Some(records::Retention { minutes, mebibytes });
        Ok(())
    }
}

fn on_topic(name: &str) -> Level {
    Level::Topic(topic(name))
}

fn on_namespace() -> Level {
    Level::Namespace(namespace())
}

#[tokio::test]
async fn topic_comes_before_namespace_before_nothing() {
    let (store, policies) = policies().await;
    let counts = async || {
        let one = policies.effective(&topic("orders")).await.unwrap();
        let all = policies.of_namespace(&namespace()).await.unwrap().effective(&topic("orders")).unwrap();
        assert_eq!((one.retention(), one.offload()), (all.retention(), all.offload()));
        assert_eq!(one.unchanged(), all.unchanged());
        one.retention_record()
    };
    let record = |minutes, mebibytes| records::Retention { minutes, mebibytes };
    assert_eq!(counts().await, record(0, 0));
    policies.change(&on_namespace(), retained(10, -1)).await.unwrap();
    assert_eq!(counts().await, record(10, -1));
    policies.change(&on_topic("orders"), retained(-1, 7)).await.unwrap();
    assert_eq!(counts().await, record(-1, 7), "as a whole, not field by field");
    policies
        .change(&on_topic("orders"), |record| {
            record.retention = None;
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(counts().await, record(10, -1));
    let key = keys::topic_policies(&topic("orders")).into();
    assert_eq!(store.get(&key).await.unwrap(), None, "what says nothing is not kept");
}

#[test]
fn retention_is_bounded_by_time_and_size_and_never_overflows() {
    let of = |minutes, mebibytes| Retention::from(records::Retention { minutes, mebibytes });
    assert_eq!(of(-1, -1), Retention { age: None, bytes: None });
    assert_eq!(of(0, 0), Retention { age: Some(Duration::ZERO), bytes: Some(0) });
    assert_eq!(of(2, 3), Retention { age: Some(Duration::from_secs(120)), bytes: Some(3 << 20) });
    assert_eq!(of(i64::MAX, i64::MAX), Retention { age: Some(Duration::from_secs(u64::MAX)), bytes: Some(u64::MAX) });
}

/// What Apache Pulsar 4.0.8 answered to `?applied=true` of a topic with the first over a namespace with the second.
#[test]
fn offload_is_overridden_field_by_field() {
    let text = |text: &str| Some(text.to_owned());
    let shown = |all: &[(&str, &str)]| all.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let own = OffloadPolicy {
        driver: text("aws-s3"),
        bucket: text("tb"),
        threshold_seconds: Some(7),
        shown: shown(&[("a", "1")]),
        ..Default::default()
    };
    let namespace = OffloadPolicy {
        driver: text("google-cloud-storage"),
        bucket: text("gcb"),
        region: text("nsr"),
        threshold_bytes: Some(100),
        deletion_lag_ms: Some(8),
        shown: shown(&[("a", "2"), ("b", "3")]),
        ..Default::default()
    };
    let both = OffloadPolicy {
        driver: text("aws-s3"),
        bucket: text("tb"),
        region: text("nsr"),
        endpoint: None,
        threshold_bytes: Some(100),
        threshold_seconds: Some(7),
        deletion_lag_ms: Some(8),
        shown: shown(&[("a", "1"), ("b", "3")]),
    };
    assert_eq!(offload::over(Some(&own), Some(&namespace)), Some(both));
    assert_eq!(offload::over(None, Some(&namespace)).as_ref(), Some(&namespace));
    assert_eq!(offload::over(Some(&own), None).as_ref(), Some(&own));
    assert_eq!(offload::over(None, None), None);
}

#[tokio::test]
async fn a_partition_has_the_policies_of_its_topic() {
    let (store, policies) = policies().await;
    store.put(keys::partitioned_topic(&topic("parted")), "", Expect::Absent).await.unwrap();
    policies.change(&on_topic("parted"), retained(5, -1)).await.unwrap();
    let partition = topic("parted-partition-3");
    let minutes = |effective: &Effective| effective.retention_record().minutes;
    assert_eq!(minutes(&policies.effective(&partition).await.unwrap()), 5);
    assert_eq!(minutes(&policies.of_namespace(&namespace()).await.unwrap().effective(&partition).unwrap()), 5);
    assert!(forget_topic(&partition).is_empty(), "its end is not the topic's");
}

#[tokio::test]
async fn nothing_is_set_for_what_does_not_exist() {
    let (store, policies) = policies().await;
    for level in [on_topic("nix"), Level::Namespace("public/nix".parse().unwrap())] {
        assert!(matches!(policies.change(&level, retained(1, 1)).await, Err(PoliciesError::NotFound)));
        assert!(matches!(policies.set_at(&level).await, Err(PoliciesError::NotFound)));
    }
    assert!(store.list("policies/", None, 10).await.unwrap().records.is_empty());
}

/// Goal: two changes at once are both there. Method: between its reading and its writing, each of the first attempts finds another's
/// change, or that of the topic's own record.
#[tokio::test]
async fn a_change_beside_others_is_decided_again() {
    let (store, policies) = policies().await;
    let attempts = std::sync::atomic::AtomicI64::new(0);
    let edit = |record: &mut PoliciesRecord| {
        let attempt = attempts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let other = PoliciesRecord {
            offload: Some(OffloadPolicy { threshold_bytes: Some(attempt), ..Default::default() }),
            ..record.clone()
        };
        let put = match attempt {
            0..3 => Operation::put(keys::topic_policies(&topic("orders")), other.encode_to_vec(), Expect::Any),
            3..6 => Operation::put(keys::topic(&topic("orders")), TopicRecord::default().encode_to_vec(), Expect::Any),
            _ => return retained(4, 4)(record),
        };
        futures::executor::block_on(store.commit(Transaction::new(vec![put]))).unwrap();
        retained(attempt, 1)(record)
    };
    policies.change(&on_topic("orders"), edit).await.unwrap();
    let effective = policies.effective(&topic("orders")).await.unwrap();
    assert_eq!(effective.retention_record(), records::Retention { minutes: 4, mebibytes: 4 });
    assert_eq!(effective.offload().and_then(|offload| offload.threshold_bytes), Some(2), "the other's change stays");
}

#[tokio::test]
async fn a_refused_change_and_one_that_changes_nothing_write_nothing() {
    let (store, policies) = policies().await;
    policies.change(&on_namespace(), retained(1, 1)).await.unwrap();
    let key = keys::namespace_policies(&namespace()).into();
    let before = store.get(&key).await.unwrap();
    policies.change(&on_namespace(), retained(1, 1)).await.unwrap();
    let refuse = |_: &mut PoliciesRecord| Err(PolicyError::Refused("no".into()));
    assert!(matches!(policies.change(&on_namespace(), refuse).await, Err(PoliciesError::Value(_))));
    assert_eq!(store.get(&key).await.unwrap(), before);
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error_and_is_not_written_over() {
    let (store, policies) = policies().await;
    let key = keys::topic_policies(&topic("orders"));
    store.put(key.clone(), "\u{7}\u{7}\u{7}", Expect::Absent).await.unwrap();
    assert!(matches!(policies.effective(&topic("orders")).await, Err(Error::Corrupt { .. })));
    let all = policies.of_namespace(&namespace()).await.unwrap();
    assert!(matches!(all.effective(&topic("orders")), Err(Error::Corrupt { .. })));
    assert!(all.effective(&topic("other")).is_ok());
    let changed = policies.change(&on_topic("orders"), retained(1, 1)).await;
    assert!(matches!(changed, Err(PoliciesError::Metadata(Error::Corrupt { .. }))));
    assert_eq!(&store.get(&key.as_str().into()).await.unwrap().unwrap().value[..], b"\x07\x07\x07");
    let unreadable =
        PoliciesRecord { plain: [("persistence".to_owned(), "{".to_owned())].into(), ..Default::default() };
    store.put(key, unreadable.encode_to_vec(), Expect::Any).await.unwrap();
    assert!(matches!(policies.effective(&topic("orders")).await, Err(Error::Corrupt { .. })));
    store.set_away(true);
    assert!(policies.effective(&topic("orders")).await.is_err() && policies.of_namespace(&namespace()).await.is_err());
}

#[test]
fn a_namespace_is_made_with_what_its_json_says() {
    let of = |value: Value| of_new_namespace(value.as_object().unwrap().clone());
    let record = of(json!({
        "retention_policies": {"retentionTimeInMinutes": 10, "retentionSizeInMB": "20"}, "offload_threshold": 55,
        "offload_threshold_in_seconds": 7, "offload_deletion_lag_ms": 9, "max_producers_per_topic": 3, "persistence": null,
    }))
    .unwrap();
    let shown = shown_of_namespace(&record, "standalone");
    assert_eq!(shown["retention_policies"], json!({"retentionTimeInMinutes": 10, "retentionSizeInMB": 20}));
    assert_eq!(shown["max_producers_per_topic"], 3);
    let offload = &shown["offload_policies"];
    let numbers = ["ThresholdInBytes", "ThresholdInSeconds", "DeletionLagInMillis"];
    assert_eq!(
        numbers.map(|name| offload[format!("managedLedgerOffload{name}")].as_i64()),
        [Some(55), Some(7), Some(9)]
    );

    // As one namespace shows itself, another can be made.
    let mut again = Value::Object(shown);
    again["offload_threshold"] = json!(-1);
    assert_eq!(of(again).unwrap(), record);

    assert_eq!(of(json!({"offload_threshold": -1, "retention_policies": null})).unwrap(), PoliciesRecord::default());
    assert!(of(json!({"offload_policies": {"managedLedgerOffloadThresholdInBytes": 6}})).is_ok(), "a part is enough");
    for wrong in [
        json!({"retention_policies": "x"}),
        json!({"retention_policies": {"retentionTimeInMinutes": -10, "retentionSizeInMB": 20}}),
        json!({"offload_threshold": "x"}),
        json!({"offload_policies": {"managedLedgerOffloadServiceEndpoint": "https://key:secret@host/"}}),
        json!({"unknown": "x".repeat(100_000)}),
    ] {
        assert!(of(wrong.clone()).is_err(), "{wrong}");
    }
}

/// Rows must not shadow each other.
#[test]
fn every_page_of_a_level_has_one_row() {
    for level in [|policy: &Policy| policy.of_namespace, |policy: &Policy| policy.of_topic] {
        let rows = || table().filter(move |policy| level(policy).is_some());
        let mut pages: Vec<&str> = rows().map(|policy| policy.page).collect();
        let removals = rows().filter_map(|policy| level(policy)?.remove_at);
        pages.extend(removals.filter(|page| !rows().any(|policy| policy.page == *page)));
        let count = pages.len();
        pages.sort_unstable();
        pages.dedup();
        assert_eq!(pages.len(), count);
    }
    for policy in table() {
        let mut record = PoliciesRecord::default();
        policy.clear(&mut record);
        let has_pages_of_many_parts = policy.page == "permissions"; // Which name roles, and stand in no table.
        assert!(policy.of_namespace.is_some() || policy.of_topic.is_some() || has_pages_of_many_parts);
        let nothing = policy.show(&record);
        assert!(nothing.is_null() || [json!(-1), json!(false)].contains(&nothing), "{}", policy.page);
    }
}

/// Goal: one row is all that such a policy takes. Method: set the same at both levels, and in the JSON of a new namespace.
#[tokio::test]
async fn a_policy_without_a_field_of_its_own_is_overridden_as_all_are() {
    let (_, policies) = policies().await;
    let row = |page: &str, topic: bool| {
        let of_level = |policy: &&Policy| if topic { policy.of_topic.is_some() } else { policy.of_namespace.is_some() };
        table().filter(|policy| policy.page == page).find(of_level).unwrap()
    };
    let (of_namespace, of_topic) = (row("maxProducersPerTopic", false), row("maxProducers", true));
    let applied = async || of_topic.show_applied(&policies.effective(&topic("orders")).await.unwrap());
    assert_eq!(applied().await, json!(0));
    policies.change(&on_namespace(), |record| of_namespace.set(record, &json!("7"), of_broker())).await.unwrap();
    assert_eq!(applied().await, json!(7));
    policies.change(&on_topic("orders"), |record| of_topic.set(record, &json!(3), of_broker())).await.unwrap();
    assert_eq!(applied().await, json!(3));
    let refused = policies.change(&on_topic("orders"), |record| of_topic.set(record, &json!(-1), of_broker())).await;
    assert!(
        matches!(refused, Err(PoliciesError::Value(PolicyError::Refused(text))) if text == "maxProducers must be 0 or more")
    );
    let set = policies.set_at(&on_namespace()).await.unwrap();
    assert_eq!(shown_of_namespace(&set, "c"), [("max_producers_per_topic".to_owned(), json!(7))].into_iter().collect());
    let rate = json!({"publishThrottlingRateInMsg": 1, "publishThrottlingRateInByte": 2});
    let made =
        of_new_namespace(json!({"publishMaxMessageRate": {"other": rate}}).as_object().unwrap().clone()).unwrap();
    assert_eq!(shown_of_namespace(&made, "c")["publishMaxMessageRate"], json!({"c": rate}));
}
