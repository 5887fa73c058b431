//! The tables of what people do with topics and namespaces from day to day: properties, permissions, backlogs, what nobody uses.
use super::namespaces::NAMESPACE;
use super::show::{Format, Part};
use super::topics::{SUBSCRIPTION, TOPIC};
use super::value::Kind;
use super::verb::{Argument, Resource, Shows, Verb, before, delete, flag, get, post, put, switch};

pub(super) const BROKER_STATS: Resource =
    Resource { name: "broker-stats", about: "What one broker serves", verbs: &[OF_BROKERS] };

const ROLE: Argument = flag("role", "-r --role --role-name", Kind::Text("ROLE"), "Whose permissions").needed();
const ACTIONS: Argument = flag(
    "actions",
    "-a --actions",
    Kind::List,
    "What it may do: produce, consume, functions, sources, sinks or packages",
)
.needed()
.body();

const INACTIVE: [Argument; 4] = [
    switch("enable", "-e --enable-delete-while-inactive", "Delete what nobody uses").field("deleteWhileInactive"),
    switch("disable", "-d --disable-delete-while-inactive", "Do not; so it is without the other"),
    flag("time", "-t --max-inactive-duration", Kind::Seconds, "Once it was unused for so long, such as 10m")
        .needed()
        .field("maxInactiveDurationSeconds"),
    flag(
        "mode",
        "-m --delete-mode",
        Kind::Text("MODE"),
        "delete_when_no_subscriptions or delete_when_subscriptions_caught_up",
    )
    .needed()
    .field("inactiveTopicDeleteMode"),
];
const TOPIC_INACTIVE: [Argument; 5] = before(TOPIC, INACTIVE);
const NAMESPACE_INACTIVE: [Argument; 5] = before(NAMESPACE, INACTIVE);
const APPLIED: Argument =
    switch("applied", "-ap --applied", "What holds, be it the topic's or the namespace's").query("applied");

pub(super) const OF_TOPICS: &[Verb] = &[
    get("get-properties", "{topic}/properties", "What was noted with a topic").takes(&[TOPIC]),
    put("update-properties", "{topic}/properties", "Note something with a topic, beside what is there")
        .takes(&[TOPIC, flag("properties", "-p --property", Kind::Properties, "What to note").needed().body()]),
    delete("remove-properties", "{topic}/properties", "Forget what was noted")
        .takes(&[TOPIC, flag("key", "-k --key", Kind::Text("KEY"), "Which").needed().query("key")]),
    get("permissions", "{topic}/permissions", "Who may do what with a topic").takes(&[TOPIC]),
    post("grant-permission", "{topic}/permissions/{role}", "Note what a role may do").takes(&[TOPIC, ROLE, ACTIONS]),
    delete("revoke-permission", "{topic}/permissions/{role}", "A role may do nothing any more").takes(&[TOPIC, ROLE]),
    post("skip", "{topic}/subscription/{subscription}/skip/{count}", "Acknowledge the next messages").takes(&[
        TOPIC,
        SUBSCRIPTION,
        flag("count", "-n --count", Kind::Count, "How many").needed(),
    ]),
    post(
        "analyze-backlog",
        "{topic}/subscription/{subscription}/analyzeBacklog",
        "Count what a subscription has not acknowledged",
    )
    .takes(&[TOPIC, SUBSCRIPTION, flag("position", "-p --position", Kind::Position, "Where to begin").body()]),
    post("expire-messages", "{topic}/subscription/{subscription}/expireMessages/{time}", "Acknowledge what is older")
        .takes(&[TOPIC, SUBSCRIPTION, OLDER]),
    post(
        "expire-messages-all-subscriptions",
        "{topic}/all_subscription/expireMessages/{time}",
        "The same for all subscriptions",
    )
    .takes(&[TOPIC, OLDER]),
    get(
        "get-subscription-properties",
        "{topic}/subscription/{subscription}/properties",
        "What was noted with a subscription",
    )
    .takes(&[TOPIC, SUBSCRIPTION]),
    put(
        "update-subscription-properties",
        "{topic}/subscription/{subscription}/properties",
        "Note something else with it",
    )
    .takes(&[
        TOPIC,
        SUBSCRIPTION,
        flag("properties", "-p --property", Kind::Properties, "What to note").needed().body(),
    ]),
    post("create-missed-partitions", "{topic}/createMissedPartitions", "Make partitions that are not there")
        .takes(&[TOPIC]),
    get("partitioned-stats-internal", "{topic}/partitioned-internalStats", "Ledgers and cursors of each partition")
        .takes(&[TOPIC]),
];

/// Also among [`TOPIC_POLICIES`](super::policies::TOPIC_POLICIES).
pub(super) const INACTIVE_TOPICS: &[Verb] = &[
    post("set-inactive-topic-policies", "{topic}/inactiveTopicPolicies", "Say when a topic goes that nobody uses")
        .takes(&TOPIC_INACTIVE),
    get("get-inactive-topic-policies", "{topic}/inactiveTopicPolicies", "When a topic goes that nobody uses")
        .takes(&[TOPIC, APPLIED]),
    delete("remove-inactive-topic-policies", "{topic}/inactiveTopicPolicies", "Leave that to the namespace")
        .takes(&[TOPIC]),
];

const OLDER: Argument = flag("time", "-t --expireTime", Kind::Seconds, "Older than so long, such as 3h").needed();
const OPTIONAL_SUBSCRIPTION: Argument = flag("subscription", "-s --sub", Kind::Text("NAME"), "Only of this one");
const BUNDLE: Argument = flag("bundle", "-b --bundle", Kind::Text("BUNDLE"), "Only in this bundle");
const FORCE: Argument = switch("force", "-f --force", "Without being asked").query("force");
const EXPIRATION: &str = "namespaces/{namespace}/subscriptionExpirationTime";
const INACTIVE_OF: &str = "namespaces/{namespace}/inactiveTopicPolicies";

pub(super) const OF_NAMESPACES: &[Verb] = &[
    get("permissions", "namespaces/{namespace}/permissions", "Who may do what with a namespace").takes(&[NAMESPACE]),
    post("grant-permission", "namespaces/{namespace}/permissions/{role}", "Note what a role may do")
        .takes(&[NAMESPACE, ROLE, ACTIONS]),
    delete("revoke-permission", "namespaces/{namespace}/permissions/{role}", "A role may do nothing any more")
        .takes(&[NAMESPACE, ROLE]),
    post(
        "clear-backlog",
        "namespaces/{namespace}{/bundle}/clearBacklog{/subscription}",
        "Acknowledge all there is in all topics",
    )
    .takes(&[NAMESPACE, OPTIONAL_SUBSCRIPTION, BUNDLE, FORCE]),
    post(
        "unsubscribe",
        "namespaces/{namespace}{/bundle}/unsubscribe/{subscription}",
        "Delete a subscription of all topics",
    )
    .takes(&[NAMESPACE, OPTIONAL_SUBSCRIPTION.needed(), BUNDLE]),
    post("set-inactive-topic-policies", INACTIVE_OF, "Say when topics go that nobody uses").takes(&NAMESPACE_INACTIVE),
    get("get-inactive-topic-policies", INACTIVE_OF, "When topics go that nobody uses").takes(&[NAMESPACE]),
    delete("remove-inactive-topic-policies", INACTIVE_OF, "Leave that to the brokers").takes(&[NAMESPACE]),
    post("set-subscription-expiration-time", EXPIRATION, "Say when subscriptions go that nobody uses")
        .takes(&[NAMESPACE, flag("time", "-t --time", Kind::Count, "In minutes; 0 is never").needed().body()]),
    get("get-subscription-expiration-time", EXPIRATION, "When subscriptions go that nobody uses, in minutes")
        .takes(&[NAMESPACE]),
    delete("remove-subscription-expiration-time", EXPIRATION, "Leave that to the brokers").takes(&[NAMESPACE]),
];

const LOAD: &[Part] = &[Part::Fields(&[
    ("topics", "/numTopics", Format::Plain),
    ("bundles", "/numBundles", Format::Plain),
    ("producers", "/numProducers", Format::Plain),
    ("consumers", "/numConsumers", Format::Plain),
    ("messages in/s", "/msgRateIn", Format::Rate),
    ("messages out/s", "/msgRateOut", Format::Rate),
])];

const OF_BROKERS: &[Verb] = &[
    get("topics", "broker-stats/topics", "Stats of all topics that a broker serves"),
    get("monitoring-metrics", "broker-stats/metrics", "Sums of each namespace"),
    get("load-report", "broker-stats/load-report", "What a broker carries").shows(Shows::Parts(LOAD)),
];
