//! The policies of which there are three rows each: what they ask for.
use super::Stub;

/// What follows `set-`, what it is given, its page, and the body that is sent. With `get-` and `remove-`, the page is asked and deleted.
pub(super) type Case = (&'static str, &'static str, &'static str, &'static str);

const COPIES: &str = r#"{"bookkeeperAckQuorum":2,"bookkeeperEnsemble":3,"bookkeeperWriteQuorum":3,"managedLedgerMaxMarkDeleteRate":0.5}"#;
const TWO_COPIES: &str =
    r#"{"bookkeeperAckQuorum":2,"bookkeeperEnsemble":2,"bookkeeperWriteQuorum":2,"managedLedgerMaxMarkDeleteRate":0}"#;
const PUBLISH: &str = r#"{"publishThrottlingRateInByte":10485760,"publishThrottlingRateInMsg":10}"#;
const ANY_PUBLISH: &str = r#"{"publishThrottlingRateInByte":-1,"publishThrottlingRateInMsg":-1}"#;
const DISPATCH: &str = r#"{"dispatchThrottlingRateInByte":-1,"dispatchThrottlingRateInMsg":10,"ratePeriodInSecond":1}"#;
const RELATIVE: &str = r#"{"dispatchThrottlingRateInByte":2048,"dispatchThrottlingRateInMsg":-1,"ratePeriodInSecond":7,"relativeToPublishRate":true}"#;
const OFTEN: &str = r#"{"ratePeriodInSecond":60,"subscribeThrottlingRatePerConsumer":2}"#;
const DELAYS: &str = r#"{"active":true,"maxDeliveryDelayInMillis":86400000,"tickTime":1000}"#;
const NO_DELAYS: &str = r#"{"maxDeliveryDelayInMillis":0,"tickTime":1000}"#;
const MAKES: &str = r#"{"allowAutoSubscriptionCreation":true}"#;

pub(super) const OF_TOPICS: &[Case] = &[
    ("persistence", "-e 3 -w 3 -a 2 -r 0.5", "persistence", COPIES),
    ("persistence", "", "persistence", TWO_COPIES),
    ("max-message-size", "-m 100K", "maxMessageSize", "102400"),
    ("publish-rate", "-m 10 -b 10M", "publishRate", PUBLISH),
    ("publish-rate", "", "publishRate", ANY_PUBLISH),
    ("dispatch-rate", "-md 10", "dispatchRate", DISPATCH),
    ("subscription-dispatch-rate", "-bd 2K -dt 7 -rp", "subscriptionDispatchRate", RELATIVE),
    ("replicator-dispatch-rate", "-md 10", "replicatorDispatchRate", DISPATCH),
    ("subscribe-rate", "-sr 2 -st 60", "subscribeRate", OFTEN),
    ("delayed-delivery", "-e -t 1s -md 1d", "delayedDelivery", DELAYS),
    ("delayed-delivery", "-d", "delayedDelivery", NO_DELAYS),
    ("max-producers", "-p 3", "maxProducers", "3"),
    ("max-consumers", "-c 3", "maxConsumers", "3"),
    ("max-consumers-per-subscription", "-c 3", "maxConsumersPerSubscription", "3"),
    ("max-subscriptions-per-topic", "-s 3", "maxSubscriptionsPerTopic", "3"),
    ("max-unacked-messages-per-consumer", "-m 3", "maxUnackedMessagesOnConsumer", "3"),
    ("max-unacked-messages-per-subscription", "--maxNum 3", "maxUnackedMessagesOnSubscription", "3"),
    ("deduplication", "-e", "deduplicationEnabled", "true"),
    ("deduplication", "-d", "deduplicationEnabled", "false"),
    ("deduplication-snapshot-interval", "-i 60", "deduplicationSnapshotInterval", "60"),
    ("compaction-threshold", "-t 1M", "compactionThreshold", "1048576"),
    ("subscription-types-enabled", "-t Shared,Exclusive", "subscriptionTypesEnabled", r#"["Shared","Exclusive"]"#),
    ("auto-subscription-creation", "-e", "autoSubscriptionCreation", MAKES),
    ("auto-subscription-creation", "", "autoSubscriptionCreation", "{}"),
    ("schema-compatibility-strategy", "-s full_transitive", "schemaCompatibilityStrategy", r#""FULL_TRANSITIVE""#),
];

pub(super) const OLDER_OF_TOPICS: &[Case] = &[
    ("max-subscriptions", "-m 3", "maxSubscriptionsPerTopic", "3"),
    ("max-unacked-messages-on-consumer", "-m 3", "maxUnackedMessagesOnConsumer", "3"),
    ("max-unacked-messages-on-subscription", "-m 3", "maxUnackedMessagesOnSubscription", "3"),
];

pub(super) const OF_NAMESPACES: &[Case] = &[
    ("message-ttl", "-ttl 3h", "messageTTL", "10800"),
    ("persistence", "-e 3 -w 3 -a 2 -r 0.5", "persistence", COPIES),
    ("publish-rate", "-m 10 -b 10M", "publishRate", PUBLISH),
    ("dispatch-rate", "-md 10", "dispatchRate", DISPATCH),
    ("subscription-dispatch-rate", "-bd 2K -dt 7 -rp", "subscriptionDispatchRate", RELATIVE),
    ("replicator-dispatch-rate", "-md 10", "replicatorDispatchRate", DISPATCH),
    ("subscribe-rate", "-sr 2 -st 60", "subscribeRate", OFTEN),
    ("delayed-delivery", "-e -t 1s -md 1d", "delayedDelivery", DELAYS),
    ("max-producers-per-topic", "-p 3", "maxProducersPerTopic", "3"),
    ("max-consumers-per-topic", "-c 3", "maxConsumersPerTopic", "3"),
    ("max-consumers-per-subscription", "-c 3", "maxConsumersPerSubscription", "3"),
    ("max-subscriptions-per-topic", "-m 3", "maxSubscriptionsPerTopic", "3"),
    ("max-topics-per-namespace", "-t 3", "maxTopicsPerNamespace", "3"),
    ("max-unacked-messages-per-consumer", "-c 3", "maxUnackedMessagesPerConsumer", "3"),
    ("max-unacked-messages-per-subscription", "-c 3", "maxUnackedMessagesPerSubscription", "3"),
    ("deduplication", "--disable", "deduplication", "false"),
    ("compaction-threshold", "-t 1M", "compactionThreshold", "1048576"),
    ("subscription-types-enabled", "-t Shared", "subscriptionTypesEnabled", r#"["Shared"]"#),
    ("auto-subscription-creation", "-e", "autoSubscriptionCreation", MAKES),
    (
        "auto-topic-creation",
        "-e -t partitioned -n 3",
        "autoTopicCreation",
        r#"{"allowAutoTopicCreation":true,"defaultNumPartitions":3,"topicType":"partitioned"}"#,
    ),
    ("auto-topic-creation", "-d", "autoTopicCreation", r#"{"topicType":"non-partitioned"}"#),
];

/// Which rows of a resource these are about.
pub(super) fn rows(cases: &'static [Case]) -> impl Iterator<Item = String> {
    cases.iter().flat_map(|(name, ..)| ["set", "get", "remove"].map(|verb| format!("{verb}-{name}")))
}

async fn ask(resource: &str, whom: &str, base: &str, (name, given, page, body): &Case) {
    const BY_PUT: [&str; 2] = ["schemaCompatibilityStrategy", "compactionThreshold"];
    let put = BY_PUT.contains(page) && (resource == "namespaces" || *page == "schemaCompatibilityStrategy");
    let set = if put { "PUT" } else { "POST" };
    let line = format!("{resource} set-{name} {whom} {given}");
    for (line, request) in [
        (line.trim_end().to_owned(), format!("{set} {base}/{page} {body}")),
        (format!("{resource} get-{name} {whom}"), format!("GET {base}/{page}")),
        (format!("{resource} remove-{name} {whom}"), format!("DELETE {base}/{page}")),
    ] {
        let stub = Stub::answering(&[(204, "")]).await;
        let (printed, outcome) = stub.run(&line).await;
        assert_eq!(outcome, Ok(()), "{line}");
        assert_eq!(stub.seen(), [request], "{line}");
        assert_eq!(printed, if line.contains(" get-") { "not set\n" } else { "" }, "{line}");
    }
}

#[tokio::test]
async fn policies_are_set_shown_and_left_to_the_level_above() {
    let topic = "/admin/v2/persistent/public/default/t";
    for case in OF_TOPICS {
        ask("topics", "t", topic, case).await;
        ask("topicPolicies", "t", topic, case).await;
    }
    for case in OLDER_OF_TOPICS {
        ask("topics", "t", topic, case).await;
    }
    for case in OF_NAMESPACES {
        ask("namespaces", "a/b", "/admin/v2/namespaces/a/b", case).await;
    }
}
