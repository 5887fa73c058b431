//! The rows of policies that are kept as the JSON that their page shows. Names, defaults and texts are those of Apache Pulsar, and so
//! are the small differences between a policy's page at a namespace and the same at a topic: hence two rows.
use proto::records::PoliciesRecord;
use serde_json::{Value, json};

use super::PolicyError;
use super::inactivity;
use super::lenient::{INT, LONG};
use super::permissions;
use super::plain::{self, flag, name, one_of, whole};
use super::quotas;
use super::table::{LevelPage, Member, Missing, Policy, USUAL, Unset, Verb, nothing_more};
use crate::schemas::Rules;

const STRATEGIES: [&str; 9] = [
    "UNDEFINED",
    "ALWAYS_INCOMPATIBLE",
    "ALWAYS_COMPATIBLE",
    "BACKWARD",
    "FORWARD",
    "FULL",
    "BACKWARD_TRANSITIVE",
    "FORWARD_TRANSITIVE",
    "FULL_TRANSITIVE",
];
const AUTO_UPDATE: [&str; 8] = [
    "AutoUpdateDisabled",
    "Backward",
    "Forward",
    "Full",
    "AlwaysCompatible",
    "BackwardTransitive",
    "ForwardTransitive",
    "FullTransitive",
];

const NUMBER: LevelPage = LevelPage { body_optional: false, ..USUAL };

macro_rules! row {
    ($page:literal, $key:expr, $of_namespace:expr, $of_topic:expr, $member:expr, $read:expr, $or:expr) => {
        Policy {
            page: $page,
            of_namespace: $of_namespace,
            of_topic: $of_topic,
            member: $member,
            set: |record, value| {
                let read: fn(&Value) -> Result<Value, PolicyError> = $read;
                plain::put(record, $key, &read(value)?);
                Ok(())
            },
            check: nothing_more,
            clear: |record| plain::put(record, $key, &Value::Null),
            show: |record| plain::get(record, $key),
            show_applied: |effective| match effective.plain($key) {
                Value::Null => $or,
                set => set,
            },
        }
    };
}

/// Of a namespace, shown in its JSON under the name it is kept by.
macro_rules! of_namespace {
    ($page:literal, $key:expr, $level:expr, $read:expr) => {
        row!(
            $page,
            $key,
            Some(LevelPage { remove_at: Some($page), ..$level }),
            None,
            Member::Shown($key),
            $read,
            Value::Null
        )
    };
}

/// The same, where nothing removes it.
macro_rules! fixed {
    ($page:literal, $key:literal, $level:expr, $read:expr) => {
        row!($page, $key, Some($level), None, Member::Shown($key), $read, Value::Null)
    };
}

/// Of a namespace, shown in its JSON below the name of the cluster.
macro_rules! by_cluster {
    ($page:literal, $key:literal, $read:expr) => {
        row!(
            $page,
            $key,
            Some(LevelPage { remove_at: Some($page), ..USUAL }),
            None,
            Member::ByCluster($key),
            $read,
            Value::Null
        )
    };
}

/// Of a topic.
macro_rules! of_topic {
    ($page:literal, $key:expr, $level:expr, $read:expr, $or:expr) => {
        row!($page, $key, None, Some(LevelPage { remove_at: Some($page), ..$level }), Member::Apart, $read, $or)
    };
}

const POLICIES: LevelPage = LevelPage { missing: Missing::Policies, ..USUAL };
const NO_CONTENT: LevelPage = LevelPage { unset: Unset::NoContent, ..USUAL };
const OFF: LevelPage = LevelPage { unset: Unset::Json("false"), ..NUMBER };
const STRATEGY: LevelPage = LevelPage { verb: Verb::Put, unset: Unset::Json("\"UNDEFINED\""), ..USUAL };
const TYPES: LevelPage = LevelPage { unset: Unset::Json("[]"), ..USUAL };
const QUOTAS: LevelPage = LevelPage { unset: Unset::Json("{}"), ..NUMBER };
const TTL: LevelPage = LevelPage { parameter: Some("messageTTL"), ..USUAL };

const TOPICS_MAX: &str = "max_topics_per_namespace";
pub(super) const PERSISTENCE: &str = "persistence";
pub(super) const MESSAGE_SIZE: &str = "max_message_size";
const MESSAGE_SIZE_BOUNDS: &str = "topic-level maxMessageSize must be greater than or equal to 0 and must be smaller than that in the \
                                   broker-level";

/// All of them.
pub(super) static PLAIN: [Policy; 48] = [
    of_namespace!("messageTTL", "message_ttl_in_seconds", NUMBER, |value| {
        whole(value, INT, 0, "Invalid value for message TTL, message TTL must >= 0")
    }),
    of_topic!(
        "messageTTL",
        "message_ttl_in_seconds",
        TTL,
        |value| whole(value, INT, 0, "Invalid value for message TTL"),
        json!(0)
    ),
    of_namespace!("persistence", PERSISTENCE, USUAL, plain::persistence),
    Policy {
        show_applied: |effective| match effective.plain(PERSISTENCE) {
            Value::Null => effective.of_broker.persistence(),
            set => set,
        },
        ..of_topic!("persistence", PERSISTENCE, USUAL, plain::persistence, Value::Null)
    },
    of_namespace!("deduplication", "deduplicationEnabled", NUMBER, flag),
    of_topic!("deduplicationEnabled", "deduplicationEnabled", USUAL, flag, json!(false)),
    fixed!("deduplicationSnapshotInterval", "deduplicationSnapshotIntervalSeconds", POLICIES, |value| {
        whole(value, INT, 0, "interval must be greater than or equal to 0")
    }),
    of_topic!(
        "deduplicationSnapshotInterval",
        "deduplicationSnapshotIntervalSeconds",
        USUAL,
        |value| whole(value, INT, 0, "interval must be 0 or more"),
        Value::Null
    ),
    of_namespace!("autoTopicCreation", "autoTopicCreationOverride", USUAL, plain::auto_topics),
    of_namespace!("autoSubscriptionCreation", "autoSubscriptionCreationOverride", USUAL, plain::auto_subscriptions),
    of_topic!(
        "autoSubscriptionCreation",
        "autoSubscriptionCreationOverride",
        USUAL,
        plain::auto_subscriptions,
        json!({"allowAutoSubscriptionCreation": true})
    ),
    of_namespace!("delayedDelivery", "delayed_delivery_policies", POLICIES, plain::delayed_delivery),
    of_topic!(
        "delayedDelivery",
        "delayed_delivery_policies",
        USUAL,
        plain::delayed_delivery,
        json!({"tickTime": 1000, "active": true, "maxDeliveryDelayInMillis": 0})
    ),
    of_namespace!("inactiveTopicPolicies", "inactive_topic_policies", POLICIES, plain::inactive_topics),
    of_topic!("inactiveTopicPolicies", "inactive_topic_policies", USUAL, plain::inactive_topics, inactivity::none()),
    of_namespace!("maxProducersPerTopic", "max_producers_per_topic", NUMBER, |value| {
        whole(value, INT, 0, "maxProducersPerTopic must be 0 or more")
    }),
    of_topic!(
        "maxProducers",
        "max_producers_per_topic",
        NUMBER,
        |value| whole(value, INT, 0, "maxProducers must be 0 or more"),
        json!(0)
    ),
    of_namespace!("maxConsumersPerTopic", "max_consumers_per_topic", NUMBER, |value| {
        whole(value, INT, 0, "maxConsumersPerTopic must be 0 or more")
    }),
    of_topic!(
        "maxConsumers",
        "max_consumers_per_topic",
        NUMBER,
        |value| whole(value, INT, 0, "maxConsumers must be 0 or more"),
        json!(0)
    ),
    of_namespace!(
        "maxSubscriptionsPerTopic",
        "max_subscriptions_per_topic",
        LevelPage { missing: Missing::Policies, ..NUMBER },
        |value| whole(value, INT, 0, "maxSubscriptionsPerTopic must be 0 or more")
    ),
    of_topic!(
        "maxSubscriptionsPerTopic",
        "max_subscriptions_per_topic",
        LevelPage { unset: Unset::NoContent, ..NUMBER },
        |value| whole(value, INT, 0, "maxSubscriptionsPerTopic must be 0 or more"),
        Value::Null
    ),
    of_namespace!("maxConsumersPerSubscription", "max_consumers_per_subscription", NUMBER, |value| {
        whole(value, INT, 0, "maxConsumersPerSubscription must be 0 or more")
    }),
    of_topic!(
        "maxConsumersPerSubscription",
        "max_consumers_per_subscription",
        LevelPage { unset: Unset::NoContent, ..NUMBER },
        |value| whole(value, INT, 0, "Invalid value for maxConsumersPerSubscription"),
        Value::Null
    ),
    of_namespace!("maxUnackedMessagesPerConsumer", "max_unacked_messages_per_consumer", NUMBER, |value| {
        whole(value, INT, 0, "maxUnackedMessagesPerConsumer must be 0 or more")
    }),
    of_topic!(
        "maxUnackedMessagesOnConsumer",
        "max_unacked_messages_per_consumer",
        USUAL,
        |value| whole(value, INT, 0, "maxUnackedNum must be 0 or more"),
        json!(50_000)
    ),
    of_namespace!("maxUnackedMessagesPerSubscription", "max_unacked_messages_per_subscription", NUMBER, |value| {
        whole(value, INT, 0, "maxUnackedMessagesPerSubscription must be 0 or more")
    }),
    of_topic!(
        "maxUnackedMessagesOnSubscription",
        "max_unacked_messages_per_subscription",
        USUAL,
        |value| whole(value, INT, 0, "maxUnackedNum must be 0 or more"),
        json!(200_000)
    ),
    of_namespace!(
        "maxTopicsPerNamespace",
        TOPICS_MAX,
        LevelPage { missing: Missing::Policies, unset: Unset::Json("0"), ..NUMBER },
        |value| whole(value, INT, 0, "maxTopicsPerNamespace must be 0 or more")
    ),
    of_namespace!("compactionThreshold", "compaction_threshold", LevelPage { verb: Verb::Put, ..NUMBER }, |value| {
        whole(value, LONG, 0, "compactionThreshold must be 0 or more")
    }),
    of_topic!(
        "compactionThreshold",
        "compaction_threshold",
        NUMBER,
        |value| whole(value, LONG, 0, "Invalid value for compactionThreshold"),
        json!(0)
    ),
    by_cluster!("publishRate", "publishMaxMessageRate", plain::publish_rate),
    of_topic!("publishRate", "publishMaxMessageRate", NO_CONTENT, plain::publish_rate, Value::Null),
    by_cluster!("dispatchRate", "topicDispatchRate", plain::dispatch_rate),
    of_topic!("dispatchRate", "topicDispatchRate", USUAL, plain::dispatch_rate, plain::no_dispatch_rate()),
    by_cluster!("subscriptionDispatchRate", "subscriptionDispatchRate", plain::dispatch_rate),
    of_topic!(
        "subscriptionDispatchRate",
        "subscriptionDispatchRate",
        USUAL,
        plain::dispatch_rate,
        plain::no_dispatch_rate()
    ),
    by_cluster!("replicatorDispatchRate", "replicatorDispatchRate", plain::dispatch_rate),
    of_topic!(
        "replicatorDispatchRate",
        "replicatorDispatchRate",
        USUAL,
        plain::dispatch_rate,
        plain::no_dispatch_rate()
    ),
    by_cluster!("subscribeRate", "clusterSubscribeRate", plain::subscribe_rate),
    of_topic!(
        "subscribeRate",
        "clusterSubscribeRate",
        USUAL,
        plain::subscribe_rate,
        json!({"subscribeThrottlingRatePerConsumer": 0, "ratePeriodInSecond": 30})
    ),
    fixed!("encryptionRequired", "encryption_required", OFF, flag),
    of_namespace!("subscriptionExpirationTime", "subscription_expiration_time_minutes", NUMBER, |value| {
        whole(value, INT, 0, "Invalid value for subscription expiration time")
    }),
    of_namespace!("subscriptionTypesEnabled", "subscription_types_enabled", TYPES, plain::subscription_types),
    of_topic!("subscriptionTypesEnabled", "subscription_types_enabled", TYPES, plain::subscription_types, Value::Null),
    fixed!("schemaCompatibilityStrategy", "schema_compatibility_strategy", STRATEGY, |value| {
        one_of(value, &STRATEGIES)
    }),
    fixed!(
        "schemaAutoUpdateCompatibilityStrategy",
        "schema_auto_update_compatibility_strategy",
        LevelPage { verb: Verb::Put, unset: Unset::NoContent, ..USUAL },
        |value| one_of(value, &AUTO_UPDATE)
    ),
    fixed!("schemaValidationEnforced", "schema_validation_enforced", OFF, flag),
    fixed!(
        "isAllowAutoUpdateSchema",
        "is_allow_auto_update_schema",
        LevelPage { unset: Unset::Json("true"), ..NUMBER },
        flag
    ),
];

/// Those of which only topics or only namespaces know, or whose pages are alone in something.
pub(super) static APART: [Policy; 9] = [
    row!("permissions", "auth_policies", None, None, Member::Shown(permissions::KEY), permissions::read, Value::Null),
    row!(
        "backlogQuotaMap",
        "backlog_quota_map",
        Some(QUOTAS),
        Some(QUOTAS),
        Member::Shown(quotas::KEY),
        quotas::read_both,
        quotas::none()
    ),
    Policy {
        page: "properties",
        of_namespace: Some(LevelPage {
            verb: Verb::Put,
            remove_at: Some("properties"),
            unset: Unset::Json("{}"),
            ..NUMBER
        }),
        of_topic: None,
        member: Member::Shown("properties"),
        set: plain::add_properties,
        check: nothing_more,
        clear: |record| plain::put(record, "properties", &Value::Null),
        show: |record| plain::get(record, "properties"),
        show_applied: |_| Value::Null,
    },
    Policy {
        page: "schemaCompatibilityStrategy",
        of_namespace: None,
        of_topic: Some(LevelPage { verb: Verb::Put, remove_at: Some("schemaCompatibilityStrategy"), ..USUAL }),
        member: Member::Apart,
        set: |record, value| {
            // UNDEFINED says that others count: nothing is set.
            let strategy = Some(one_of(value, &STRATEGIES)?).filter(|strategy| *strategy != json!("UNDEFINED"));
            plain::put(record, "schema_compatibility_strategy", &strategy.unwrap_or_default());
            Ok(())
        },
        check: nothing_more,
        clear: |record| plain::put(record, "schema_compatibility_strategy", &Value::Null),
        show: |record| plain::get(record, "schema_compatibility_strategy"),
        show_applied: |effective| json!(Rules::of(effective).strategy.name()),
    },
    row!("schemaValidationEnforced", "schema_validation_enforced", None, Some(OFF), Member::Apart, flag, json!(false)),
    Policy {
        check: |record, of_broker| {
            let max = plain::get(record, MESSAGE_SIZE).as_u64();
            let fits = max.is_none_or(|max| max <= of_broker.message_bytes_max);
            if fits { Ok(()) } else { Err(PolicyError::Refused(MESSAGE_SIZE_BOUNDS.into())) }
        },
        ..of_topic!(
            "maxMessageSize",
            MESSAGE_SIZE,
            LevelPage { unset: Unset::NoContent, ..NUMBER },
            |value| whole(value, INT, 0, MESSAGE_SIZE_BOUNDS),
            Value::Null
        )
    },
    row!(
        "antiAffinity",
        "anti_affinity_group",
        Some(LevelPage { remove_at: Some("antiAffinity"), ..NO_CONTENT }),
        None,
        Member::Apart,
        name,
        Value::Null
    ),
    row!(
        "persistence/bookieAffinity",
        "bookie_affinity_group",
        Some(LevelPage { remove_at: Some("persistence/bookieAffinity"), ..NO_CONTENT }),
        None,
        Member::Apart,
        plain::affinity,
        Value::Null
    ),
    fixed!(
        "subscriptionAuthMode",
        "subscription_auth_mode",
        LevelPage { unset: Unset::Json("\"None\""), ..USUAL },
        |value| one_of(value, &["None", "Prefix"])
    ),
];

/// How many stored topics a namespace may have, as `record` says. `None` is no limit.
pub(crate) fn topics_max(record: &PoliciesRecord) -> Option<u64> {
    plain::get(record, TOPICS_MAX).as_u64().filter(|max| 0 < *max)
}

/// What a namespace says of topics that clients use before anybody made them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AutoTopics {
    /// What the broker's configuration says counts.
    Unset,
    /// They are not made.
    Refused,
    /// They are made: with so many partitions, or without any.
    Made { partitions: Option<u32> },
}

impl AutoTopics {
    /// As `record`, of a namespace, says.
    pub(crate) fn of(record: &PoliciesRecord) -> Self {
        let set = plain::get(record, "autoTopicCreationOverride");
        if set.is_null() {
            return Self::Unset;
        }
        if set["allowAutoTopicCreation"] != json!(true) {
            return Self::Refused;
        }
        let partitioned = set["topicType"] == json!("partitioned");
        let count = set["defaultNumPartitions"].as_u64().and_then(|count| u32::try_from(count).ok());
        Self::Made { partitions: count.filter(|_| partitioned) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_says_what_becomes_of_topics_that_nobody_made() {
        let of = |value: Value| {
            let mut record = PoliciesRecord::default();
            plain::put(&mut record, "autoTopicCreationOverride", &plain::auto_topics(&value).unwrap());
            AutoTopics::of(&record)
        };
        assert_eq!(of(Value::Null), AutoTopics::Unset);
        assert_eq!(of(json!({})), AutoTopics::Refused);
        let made = |kind: &str| json!({"allowAutoTopicCreation": true, "topicType": kind});
        assert_eq!(of(made("non-partitioned")), AutoTopics::Made { partitions: None });
        let mut three = made("partitioned");
        three["defaultNumPartitions"] = json!(3);
        assert_eq!(of(three), AutoTopics::Made { partitions: Some(3) });
        assert!(plain::auto_topics(&made("partitioned")).is_err() && plain::auto_topics(&made("bad")).is_err());
    }
}
