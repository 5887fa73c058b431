//! The tables of policies that are a value or a few of them. Of most there are three rows: to set it, to show it, and to leave it to the
//! level above.
use super::namespaces::NAMESPACE;
use super::policies::{APPLIED, NOT_SET};
use super::topics::TOPIC;
use super::value::Kind;
use super::verb::{Argument, Verb, delete, flag, get, post, put, switch};

/// A line of the table: how it is set, its name, its page, what it takes, and what it says.
macro_rules! three_of_each {
    ($whom:expr, $base:literal, $above:literal, $shown:expr;
     $($set:ident $name:literal at $page:literal takes [$($argument:expr),*] says $what:literal;)*) => {
        &[$(
            $set(concat!("set-", $name), concat!($base, "/", $page), concat!("Say ", $what))
                .takes(&[$whom, $($argument),*]),
            get(concat!("get-", $name), concat!($base, "/", $page), concat!("Show ", $what))
                .takes($shown)
                .shows(NOT_SET),
            delete(concat!("remove-", $name), concat!($base, "/", $page), concat!("Leave to the ", $above, " ", $what))
                .takes(&[$whom]),
        )*]
    };
}

/// A number that is the policy.
const fn count(flags: &'static str, help: &'static str) -> Argument {
    flag("number", flags, Kind::Count, help).needed().body()
}

const ON: Argument = switch("enable", "-e --enable", "Yes");
const OFF: Argument = switch("disable", "-d --disable", "No");
const LIMIT: &str = "So many; 0 without a limit";

const TTL: Argument =
    flag("time", "-ttl -t --ttl --messageTTL", Kind::Seconds, "So long, such as 3h or 2d; 0 for ever").needed();
const TYPES: Argument =
    flag("types", "-t --types", Kind::List, "Some of Exclusive, Shared, Failover, Key_Shared").needed().body();
const INTERVAL: Argument = flag("interval", "-i --interval", Kind::Count, "In seconds").needed().body();
const THRESHOLD: Argument =
    flag("threshold", "-t --threshold", Kind::Bytes, "So much, such as 10M; 0 leaves it to people").needed().body();
const STRATEGY: Kind = Kind::Choice(&[
    "undefined",
    "always_incompatible",
    "always_compatible",
    "backward",
    "forward",
    "full",
    "backward_transitive",
    "forward_transitive",
    "full_transitive",
]);
const COMPATIBILITY: Argument = flag(
    "compatibility",
    "-c -s --compatibility --strategy",
    STRATEGY,
    "backward, forward, full, each of them with _transitive; always_compatible, always_incompatible or undefined",
)
.needed()
.body();

const ENSEMBLE: Argument = flag("ensemble", "-e --bookkeeper-ensemble", Kind::Count, "Bookies that share a ledger")
    .or("2")
    .field("bookkeeperEnsemble");
const WRITES: Argument = flag("writes", "-w --bookkeeper-write-quorum", Kind::Count, "Copies of each entry")
    .or("2")
    .field("bookkeeperWriteQuorum");
const ACKS: Argument =
    flag("acks", "-a --bookkeeper-ack-quorum", Kind::Count, "Copies that are synced before a producer has its receipt")
        .or("2")
        .field("bookkeeperAckQuorum");
const MARK_DELETES: Argument = flag(
    "rate",
    "-r --ml-mark-delete-max-rate",
    Kind::Number,
    "Kept for other servers; nothing here is slowed down by it",
)
.or("0")
.field("managedLedgerMaxMarkDeleteRate");

const DISPATCHED: Argument =
    flag("messages", "-md --msg-dispatch-rate", Kind::Number, "So many messages in a period; -1 without a limit")
        .or("-1")
        .field("dispatchThrottlingRateInMsg");
const DISPATCHED_BYTES: Argument =
    flag("bytes", "-bd --byte-dispatch-rate", Kind::Bytes, "So much in a period, such as 10M; -1 without a limit")
        .or("-1")
        .field("dispatchThrottlingRateInByte");
const PERIOD: Argument = flag("period", "-dt --dispatch-rate-period", Kind::Count, "How long a period is, in seconds")
    .or("1")
    .field("ratePeriodInSecond");
const RELATIVE: Argument =
    switch("relative", "-rp --relative-to-publish-rate", "Kept for other servers; here the numbers count as they are")
        .field("relativeToPublishRate");
const PUBLISHED: Argument =
    flag("messages", "-m --msg-publish-rate", Kind::Number, "So many messages a second; -1 without a limit")
        .or("-1")
        .field("publishThrottlingRateInMsg");
const PUBLISHED_BYTES: Argument =
    flag("bytes", "-b --byte-publish-rate", Kind::Bytes, "So much a second, such as 10M; -1 without a limit")
        .or("-1")
        .field("publishThrottlingRateInByte");
const SUBSCRIBES: Argument =
    flag("times", "-sr --subscribe-rate", Kind::Number, "So often in a period; -1 without a limit")
        .or("-1")
        .field("subscribeThrottlingRatePerConsumer");
const SUBSCRIBE_PERIOD: Argument =
    flag("period", "-st --subscribe-rate-period", Kind::Count, "How long a period is, in seconds")
        .or("30")
        .field("ratePeriodInSecond");

const TICK: Argument =
    flag("tick", "-t --time", Kind::Millis, "Times that lie so close together may be looked at together, such as 1s")
        .or("1s")
        .field("tickTime");
const DELAY_MAX: Argument =
    flag("max", "-md --maxDelay", Kind::Millis, "Messages that are to wait longer are refused; 0 without a limit")
        .or("0")
        .field("maxDeliveryDelayInMillis");
const SUBSCRIPTIONS: Argument =
    switch("enable", "-e --enable", "It does; without this flag it does not").field("allowAutoSubscriptionCreation");

pub(super) const OF_TOPICS: &[Verb] = three_of_each! {
    TOPIC, "{topic}", "namespace", &[TOPIC, APPLIED];
    post "message-ttl" at "messageTTL" takes [TTL.query("messageTTL")] says "how long messages wait to be acknowledged";
    post "persistence" at "persistence" takes [ENSEMBLE, WRITES, ACKS, MARK_DELETES] says "how many copies new ledgers have";
    post "max-message-size" at "maxMessageSize"
        takes [flag("size", "-m --max-message-size", Kind::Bytes, "So large, such as 100K; 0 as large as brokers take them").needed().body()]
        says "how large messages may be";
    post "publish-rate" at "publishRate" takes [PUBLISHED, PUBLISHED_BYTES] says "how fast messages are taken";
    post "dispatch-rate" at "dispatchRate" takes [DISPATCHED, DISPATCHED_BYTES, PERIOD, RELATIVE]
        says "how fast messages are delivered, of all subscriptions together";
    post "subscription-dispatch-rate" at "subscriptionDispatchRate" takes [DISPATCHED, DISPATCHED_BYTES, PERIOD, RELATIVE]
        says "how fast messages are delivered, of each subscription";
    post "replicator-dispatch-rate" at "replicatorDispatchRate" takes [DISPATCHED, DISPATCHED_BYTES, PERIOD, RELATIVE]
        says "how fast messages go to other clusters";
    post "subscribe-rate" at "subscribeRate" takes [SUBSCRIBES, SUBSCRIBE_PERIOD] says "how often a consumer may come";
    post "delayed-delivery" at "delayedDelivery" takes [ON.field("active"), OFF, TICK, DELAY_MAX]
        says "whether messages wait for their time";
    post "max-producers" at "maxProducers" takes [count("-p --max-producers", LIMIT)] says "how many producers there may be";
    post "max-consumers" at "maxConsumers" takes [count("-c --max-consumers", LIMIT)] says "how many consumers there may be";
    post "max-consumers-per-subscription" at "maxConsumersPerSubscription"
        takes [count("-c --max-consumers-per-subscription", LIMIT)] says "how many consumers a subscription may have";
    post "max-subscriptions-per-topic" at "maxSubscriptionsPerTopic"
        takes [count("-s -m --max-subscriptions-per-topic", LIMIT)] says "how many subscriptions there may be";
    post "max-unacked-messages-per-consumer" at "maxUnackedMessagesOnConsumer" takes [count("-m --maxNum", LIMIT)]
        says "how many messages a consumer may hold unacknowledged";
    post "max-unacked-messages-per-subscription" at "maxUnackedMessagesOnSubscription" takes [count("-m --maxNum", LIMIT)]
        says "how many messages a subscription may hold unacknowledged";
    post "deduplication" at "deduplicationEnabled" takes [ON.body(), OFF] says "whether messages that come twice are stored once";
    post "deduplication-snapshot-interval" at "deduplicationSnapshotInterval" takes [INTERVAL]
        says "how often it is written down what producers have published";
    post "compaction-threshold" at "compactionThreshold" takes [THRESHOLD] says "when a topic is compacted";
    post "subscription-types-enabled" at "subscriptionTypesEnabled" takes [TYPES] says "which kinds of subscriptions there may be";
    post "auto-subscription-creation" at "autoSubscriptionCreation" takes [SUBSCRIPTIONS]
        says "whether a subscription comes into being when a consumer names it";
    put "schema-compatibility-strategy" at "schemaCompatibilityStrategy" takes [COMPATIBILITY]
        says "which schemas may follow which";
};

pub(super) const OF_NAMESPACES: &[Verb] = three_of_each! {
    NAMESPACE, "namespaces/{namespace}", "brokers", &[NAMESPACE];
    post "message-ttl" at "messageTTL" takes [TTL.body()] says "how long messages wait to be acknowledged";
    post "persistence" at "persistence" takes [ENSEMBLE, WRITES, ACKS, MARK_DELETES] says "how many copies new ledgers have";
    post "publish-rate" at "publishRate" takes [PUBLISHED, PUBLISHED_BYTES] says "how fast each topic takes messages";
    post "dispatch-rate" at "dispatchRate" takes [DISPATCHED, DISPATCHED_BYTES, PERIOD, RELATIVE]
        says "how fast each topic delivers messages";
    post "subscription-dispatch-rate" at "subscriptionDispatchRate" takes [DISPATCHED, DISPATCHED_BYTES, PERIOD, RELATIVE]
        says "how fast each subscription is delivered messages";
    post "replicator-dispatch-rate" at "replicatorDispatchRate" takes [DISPATCHED, DISPATCHED_BYTES, PERIOD]
        says "how fast messages go to other clusters";
    post "subscribe-rate" at "subscribeRate" takes [SUBSCRIBES, SUBSCRIBE_PERIOD] says "how often a consumer may come";
    post "delayed-delivery" at "delayedDelivery" takes [ON.field("active"), OFF, TICK, DELAY_MAX]
        says "whether messages wait for their time";
    post "max-producers-per-topic" at "maxProducersPerTopic" takes [count("-p --max-producers-per-topic", LIMIT)]
        says "how many producers a topic may have";
    post "max-consumers-per-topic" at "maxConsumersPerTopic" takes [count("-c --max-consumers-per-topic", LIMIT)]
        says "how many consumers a topic may have";
    post "max-consumers-per-subscription" at "maxConsumersPerSubscription"
        takes [count("-c --max-consumers-per-subscription", LIMIT)] says "how many consumers a subscription may have";
    post "max-subscriptions-per-topic" at "maxSubscriptionsPerTopic"
        takes [count("-m --max-subscriptions-per-topic", LIMIT)] says "how many subscriptions a topic may have";
    post "max-topics-per-namespace" at "maxTopicsPerNamespace" takes [count("-t --max-topics-per-namespace", LIMIT)]
        says "how many topics there may be, each partition for itself";
    post "max-unacked-messages-per-consumer" at "maxUnackedMessagesPerConsumer"
        takes [count("-c --max-unacked-messages-per-topic --max-unacked-messages-per-consumer", LIMIT)]
        says "how many messages a consumer may hold unacknowledged";
    post "max-unacked-messages-per-subscription" at "maxUnackedMessagesPerSubscription"
        takes [count("-c --max-unacked-messages-per-subscription", LIMIT)]
        says "how many messages a subscription may hold unacknowledged";
    post "deduplication" at "deduplication" takes [ON.body(), OFF] says "whether messages that come twice are stored once";
    put "compaction-threshold" at "compactionThreshold" takes [THRESHOLD] says "when a topic is compacted";
    post "subscription-types-enabled" at "subscriptionTypesEnabled" takes [TYPES] says "which kinds of subscriptions there may be";
    post "auto-subscription-creation" at "autoSubscriptionCreation" takes [SUBSCRIPTIONS]
        says "whether a subscription comes into being when a consumer names it";
    post "auto-topic-creation" at "autoTopicCreation"
        takes [ON.field("allowAutoTopicCreation"), OFF,
               flag("type", "-t --type", Kind::Word(&["partitioned", "non-partitioned"]), "partitioned or non-partitioned").or("non-partitioned").field("topicType"),
               flag("partitions", "-n --num-partitions", Kind::Count, "How many partitions, with partitioned").field("defaultNumPartitions")]
        says "whether a topic comes into being when a client names it";
};

const KEY: Argument = flag("key", "-k --key", Kind::Text("KEY"), "Which").needed();
const GROUP: Argument = flag("group", "-g --group", Kind::Text("GROUP"), "Its name").needed().body();
const MODE: Argument =
    flag("mode", "-m --subscription-auth-mode", Kind::Word(&["None", "Prefix"]), "None, or Prefix: by the role's name")
        .needed()
        .body();

/// Those of which nothing but another value takes the place, and properties.
pub(super) const FIXED_OF_NAMESPACES: &[Verb] = &[
    post(
        "set-encryption-required",
        "namespaces/{namespace}/encryptionRequired",
        "Say whether only encrypted messages are taken",
    )
    .takes(&[NAMESPACE, ON.body(), OFF]),
    get(
        "get-encryption-required",
        "namespaces/{namespace}/encryptionRequired",
        "Show whether only encrypted messages are taken",
    )
    .takes(&[NAMESPACE]),
    put(
        "set-schema-compatibility-strategy",
        "namespaces/{namespace}/schemaCompatibilityStrategy",
        "Say which schemas may follow which",
    )
    .takes(&[NAMESPACE, COMPATIBILITY]),
    get(
        "get-schema-compatibility-strategy",
        "namespaces/{namespace}/schemaCompatibilityStrategy",
        "Show which schemas may follow which",
    )
    .takes(&[NAMESPACE]),
    post(
        "set-schema-validation-enforce",
        "namespaces/{namespace}/schemaValidationEnforced",
        "Say whether producers need a schema where there is one",
    )
    .takes(&[NAMESPACE, ON.body(), OFF]),
    get(
        "get-schema-validation-enforce",
        "namespaces/{namespace}/schemaValidationEnforced",
        "Show whether producers need a schema where there is one",
    )
    .takes(&[NAMESPACE]),
    post(
        "set-is-allow-auto-update-schema",
        "namespaces/{namespace}/isAllowAutoUpdateSchema",
        "Say whether producers and consumers bring new schemas",
    )
    .takes(&[NAMESPACE, ON.body(), OFF]),
    get(
        "get-is-allow-auto-update-schema",
        "namespaces/{namespace}/isAllowAutoUpdateSchema",
        "Show whether producers and consumers bring new schemas",
    )
    .takes(&[NAMESPACE]),
    post(
        "set-deduplication-snapshot-interval",
        "namespaces/{namespace}/deduplicationSnapshotInterval",
        "Say how often it is written down what producers have published",
    )
    .takes(&[NAMESPACE, INTERVAL]),
    get(
        "get-deduplication-snapshot-interval",
        "namespaces/{namespace}/deduplicationSnapshotInterval",
        "Show how often it is written down what producers have published",
    )
    .takes(&[NAMESPACE])
    .shows(NOT_SET),
    // Without a body there is none.
    post(
        "remove-deduplication-snapshot-interval",
        "namespaces/{namespace}/deduplicationSnapshotInterval",
        "Leave that to the brokers",
    )
    .takes(&[NAMESPACE]),
    post(
        "set-subscription-auth-mode",
        "namespaces/{namespace}/subscriptionAuthMode",
        "Note how subscriptions may be called",
    )
    .takes(&[NAMESPACE, MODE]),
    get(
        "get-subscription-auth-mode",
        "namespaces/{namespace}/subscriptionAuthMode",
        "Show how subscriptions may be called",
    )
    .takes(&[NAMESPACE]),
    post("set-anti-affinity-group", "namespaces/{namespace}/antiAffinity", "Note which namespaces should lie apart")
        .takes(&[NAMESPACE, GROUP]),
    get(
        "get-anti-affinity-group",
        "namespaces/{namespace}/antiAffinity",
        "Show the group of namespaces that should lie apart",
    )
    .takes(&[NAMESPACE])
    .shows(NOT_SET),
    delete("delete-anti-affinity-group", "namespaces/{namespace}/antiAffinity", "Forget that group")
        .takes(&[NAMESPACE]),
    put("set-properties", "namespaces/{namespace}/properties", "Note something with a namespace, beside what is there")
        .takes(&[NAMESPACE, flag("properties", "-p --properties", Kind::Properties, "What to note").needed().body()]),
    get("get-properties", "namespaces/{namespace}/properties", "What was noted with a namespace").takes(&[NAMESPACE]),
    delete("clear-properties", "namespaces/{namespace}/properties", "Forget all that was noted").takes(&[NAMESPACE]),
    put("set-property", "namespaces/{namespace}/property/{key}/{value}", "Note one thing").takes(&[
        NAMESPACE,
        KEY,
        flag("value", "-v --value", Kind::Text("VALUE"), "What").needed(),
    ]),
    get("get-property", "namespaces/{namespace}/property/{key}", "Show one thing that was noted")
        .takes(&[NAMESPACE, KEY]),
    delete("remove-property", "namespaces/{namespace}/property/{key}", "Forget one thing that was noted")
        .takes(&[NAMESPACE, KEY]),
];

const QUOTA_SIZE: Argument =
    flag("size", "-l --limit", Kind::Bytes, "So much may wait for a subscription, such as 10G; -1 without a limit")
        .or("-1")
        .field("limitSize");
const QUOTA_TIME: Argument =
    flag("time", "-lt --limitTime", Kind::Seconds, "Nothing may wait longer, such as 3h; -1 without a limit")
        .or("-1")
        .field("limitTime");
const QUOTA_POLICY: Argument = flag(
    "policy",
    "-p --policy",
    Kind::Word(&["producer_request_hold", "producer_exception", "consumer_backlog_eviction"]),
    "What happens then: producer_request_hold, producer_exception or consumer_backlog_eviction",
)
.needed()
.field("policy");
const QUOTA_TYPE: Argument = flag(
    "type",
    "-t --type",
    Kind::Word(&["destination_storage", "message_age"]),
    "destination_storage, by size, or message_age, by time",
)
.or("destination_storage")
.query("backlogQuotaType");

macro_rules! quotas {
    ($whom:expr, $base:literal, $get:literal, $above:literal, [$($shown:expr),*]) => {
        &[
            post("set-backlog-quota", concat!($base, "/backlogQuota"), "Say how much may wait, and what happens beyond it")
                .takes(&[$whom, QUOTA_SIZE, QUOTA_TIME, QUOTA_POLICY, QUOTA_TYPE]),
            get($get, concat!($base, "/backlogQuotaMap"), "Show how much may wait, and what happens beyond it")
                .takes(&[$whom, $($shown),*])
                .shows(NOT_SET),
            delete("remove-backlog-quota", concat!($base, "/backlogQuota"), concat!("Leave that to the ", $above))
                .takes(&[$whom, QUOTA_TYPE]),
        ]
    };
}

pub(super) const QUOTAS_OF_TOPICS: &[Verb] = quotas!(TOPIC, "{topic}", "get-backlog-quotas", "namespace", [APPLIED]);
pub(super) const QUOTAS_OF_TOPIC_POLICIES: &[Verb] =
    quotas!(TOPIC, "{topic}", "get-backlog-quota", "namespace", [APPLIED]);
pub(super) const QUOTAS_OF_NAMESPACES: &[Verb] =
    quotas!(NAMESPACE, "namespaces/{namespace}", "get-backlog-quotas", "brokers", []);

/// As older versions of Pulsar's tool call some of [`OF_TOPICS`].
pub(super) const OLDER_OF_TOPICS: &[Verb] = three_of_each! {
    TOPIC, "{topic}", "namespace", &[TOPIC, APPLIED];
    post "max-subscriptions" at "maxSubscriptionsPerTopic" takes [count("-m --max-subscriptions-per-topic", LIMIT)]
        says "how many subscriptions there may be";
    post "max-unacked-messages-on-consumer" at "maxUnackedMessagesOnConsumer" takes [count("-m --maxNum", LIMIT)]
        says "how many messages a consumer may hold unacknowledged";
    post "max-unacked-messages-on-subscription" at "maxUnackedMessagesOnSubscription" takes [count("-m --maxNum", LIMIT)]
        says "how many messages a subscription may hold unacknowledged";
};
