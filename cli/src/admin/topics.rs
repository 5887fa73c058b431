//! The table of topics and their subscriptions.
use daemon::Failure;
use serde_json::Value;

use super::given::Given;
use super::namespaces::NAMESPACE;
use super::show::{Format, Part};
use super::value::Kind;
use super::verb::{Argument, Resource, Shows, Verb, Way, delete, flag, get, positional, post, put, switch};
use super::{daily, messages, plain, policies};

pub(super) const TOPICS: Resource = Resource {
    name: "topics",
    about: "Topics and their subscriptions",
    verbs: &[
        LIFE,
        SEEN,
        messages::OF_TOPICS,
        USED,
        STORED,
        daily::OF_TOPICS,
        daily::INACTIVE_TOPICS,
        policies::OF_TOPICS,
        plain::OF_TOPICS,
        plain::QUOTAS_OF_TOPICS,
        plain::OLDER_OF_TOPICS,
    ],
};

pub(super) const LOOKUP: Resource = Resource { name: "lookup", about: "Who serves a topic", verbs: &[&[LOOKUP_TOPIC]] };

pub(super) const TOPIC: Argument =
    positional("topic", Kind::Topic, "persistent://tenant/namespace/topic; a short name is a topic of public/default");
pub(super) const SUBSCRIPTION: Argument =
    flag("subscription", "-s --subscription", Kind::Text("NAME"), "Name of the subscription").needed();
const FORCE: Argument =
    switch("force", "-f --force", "Also while it is used: whoever uses it is disconnected").query("force");
const DOMAIN: Argument = flag(
    "domain",
    "-td --topic-domain",
    Kind::Choice(&["persistent", "non_persistent"]),
    "Only topics that are stored, or only those that are not: persistent or non_persistent",
);
const SYSTEM: Argument =
    switch("system", "-ist --include-system-topic", "With the topics that a server keeps for itself")
        .query("includeSystemTopic");
const BUNDLE: Argument =
    flag("bundle", "-b --bundle", Kind::Text("BUNDLE"), "Only those of this bundle").query("bundle");
const PARTITIONS: Argument = flag("partitions", "-p --partitions", Kind::Count, "How many partitions").needed().body();
const PROPERTIES: Argument = flag("properties", "-m --metadata", Kind::Properties, "Properties of the topic");

const LIFE: &[Verb] = &[
    get("list", "{domain}/{namespace}", "Topics of a namespace; each partition is one of them")
        .takes(&[NAMESPACE, DOMAIN, BUNDLE, SYSTEM])
        .way(Way::EachDomain),
    put("create", "{topic}", "Make a topic without partitions").takes(&[TOPIC, PROPERTIES.body()]),
    delete("delete", "{topic}", "Delete a topic and all of its messages").takes(&[TOPIC, FORCE]),
    put("create-partitioned-topic", "{topic}/partitions", "Make a topic with partitions").takes(&[
        TOPIC,
        PARTITIONS,
        PROPERTIES.field("properties"),
    ]),
    get("get-partitioned-topic-metadata", "{topic}/partitions", "How many partitions a topic has; 0 without any")
        .takes(&[TOPIC]),
    post("update-partitioned-topic", "{topic}/partitions", "Give a topic more partitions").takes(&[
        TOPIC,
        PARTITIONS,
        switch("local", "-ulo --update-local-only", "In this cluster only").query("updateLocalTopicOnly"),
        switch("force", "-f --force", "Without looking at what there is").query("force"),
    ]),
    delete("delete-partitioned-topic", "{topic}/partitions", "Delete a topic with all of its partitions")
        .takes(&[TOPIC, FORCE]),
    get("list-partitioned-topics", "{domain}/{namespace}/partitioned", "Topics of a namespace that have partitions")
        .takes(&[NAMESPACE, SYSTEM])
        .way(Way::EachDomain),
    put("unload", "{topic}/unload", "Let go of a topic; whoever is asked for it next loads it").takes(&[TOPIC]),
    post("terminate", "{topic}/terminate", "Take no more messages, for ever")
        .takes(&[TOPIC])
        .shows(Shows::Text(terminated)),
];

const LOOKUP_TOPIC: Verb = get("topic", "/lookup/v2/topic/{topic}", "The broker that serves a topic")
    .takes(&[TOPIC])
    .shows(Shows::Text(broker));

const PRECISE: Argument =
    switch("precise", "-gpb --get-precise-backlog", "Count backlogs exactly").query("getPreciseBacklog");
const SIZES: Argument = switch("sizes", "-sbs --get-subscription-backlog-size", "With the size of each backlog")
    .query("subscriptionBacklogSize");
const EARLIEST: Argument = switch("earliest", "-etb --get-earliest-time-in-backlog", "With the age of each backlog")
    .query("getEarliestTimeInBacklog");
const METADATA: Argument = switch("metadata", "-m --metadata", "With the metadata of ledgers").query("metadata");

const SEEN: &[Verb] = &[
    Verb { name: "lookup", ..LOOKUP_TOPIC },
    get("bundle-range", "/lookup/v2/topic/{topic}/bundle", "The bundle that holds a topic").takes(&[TOPIC]),
    get("stats", "{topic}/stats", "Rates, sizes and backlogs, with producers and consumers")
        .takes(&[TOPIC, PRECISE, SIZES, EARLIEST])
        .shows(Shows::Parts(STATS)),
    get("stats-internal", "{topic}/internalStats", "The ledgers and cursors of a topic")
        .takes(&[TOPIC, METADATA])
        .shows(Shows::Parts(INTERNAL_STATS)),
    get("partitioned-stats", "{topic}/partitioned-stats", "The same as stats, added up over the partitions")
        .takes(&[
            TOPIC,
            PRECISE,
            SIZES,
            EARLIEST,
            switch("each", "--per-partition", "With each partition's own").query("perPartition"),
        ])
        .shows(Shows::Parts(PARTITIONED_STATS)),
    get("info-internal", "{topic}/internal-info", "What is recorded about a topic").takes(&[TOPIC]),
    get("last-message-id", "{topic}/lastMessageId", "The position of the last message")
        .takes(&[TOPIC])
        .shows(Shows::Text(|_, id| Ok(position(id) + "\n"))),
];

const SKIP_ALL: Verb = post("skip-all", "{topic}/subscription/{subscription}/skip_all", "Acknowledge all there is")
    .takes(&[TOPIC, SUBSCRIPTION]);

const USED: &[Verb] = &[
    get("subscriptions", "{topic}/subscriptions", "The subscriptions of a topic").takes(&[TOPIC]),
    put("create-subscription", "{topic}/subscription/{subscription}", "Make a subscription that keeps messages").takes(
        &[
            TOPIC,
            SUBSCRIPTION,
            flag("position", "-m --messageId", Kind::Position, "Where it begins").or("latest").body(),
            flag("properties", "-p --property", Kind::Properties, "Properties of the subscription").field("properties"),
            switch("replicated", "-r --replicated", "It is the same in all clusters").query("replicated"),
        ],
    ),
    delete("unsubscribe", "{topic}/subscription/{subscription}", "Delete a subscription").takes(&[
        TOPIC,
        SUBSCRIPTION,
        FORCE,
    ]),
    SKIP_ALL,
    Verb { name: "clear-backlog", ..SKIP_ALL },
    post("reset-cursor", "{topic}/subscription/{subscription}/resetcursor", "Begin again at a message or at a time")
        .takes(&[
            TOPIC,
            SUBSCRIPTION,
            flag("position", "-m --messageId", Kind::Position, "The first message to come").body(),
            switch("exclude", "-e --exclude-reset-position", "The one after that message").field("isExcluded"),
            flag("time", "-t --time", Kind::Millis, "What was published since, such as 30m, 3h or 2d"),
        ])
        .way(Way::ResetCursor),
];

const WAIT: Argument = switch("wait", "-w --wait-complete", "Wait until it is done");

const STORED: &[Verb] = &[
    put("offload", "{topic}/offload", "Move sealed ledgers to objects, the oldest first")
        .takes(&[
            TOPIC,
            flag("keep", "-s --size-threshold", Kind::Bytes, "So much stays on bookies, such as 10M or 5G").needed(),
        ])
        .way(Way::Offload)
        .shows(Shows::Text(offload_begun)),
    get("offload-status", "{topic}/offload", "How the last offload of a topic went")
        .takes(&[TOPIC, WAIT])
        .way(Way::UntilDone)
        .shows(Shows::Text(|given, answer| Ok(progress("offload", given, answer))))
        .alarm(failed),
    put("compact", "{topic}/compaction", "Keep only the last message of each key").takes(&[TOPIC]),
    get("compaction-status", "{topic}/compaction", "How the last compaction of a topic went")
        .takes(&[TOPIC, WAIT])
        .way(Way::UntilDone)
        .shows(Shows::Text(|given, answer| Ok(progress("compaction", given, answer))))
        .alarm(failed),
    delete("truncate", "{topic}/truncate", "Acknowledge everything for everybody, and drop it").takes(&[TOPIC]),
    post("trim-topic", "{topic}/trim", "Drop now what nobody needs").takes(&[TOPIC]),
];

const TRAFFIC: Part = Part::Fields(&[
    ("messages in/s", "/msgRateIn", Format::Rate),
    ("messages out/s", "/msgRateOut", Format::Rate),
    ("bytes in/s", "/msgThroughputIn", Format::Rate),
    ("bytes out/s", "/msgThroughputOut", Format::Rate),
    ("stored", "/storageSize", Format::Bytes),
    ("of it in objects", "/offloadedStorageSize", Format::Bytes),
    ("backlog", "/backlogSize", Format::Bytes),
]);

const SUBSCRIPTIONS: Part = Part::Rows {
    at: "/subscriptions",
    name: "subscription",
    columns: &[
        ("type", "/type", Format::Plain),
        ("backlog", "/msgBacklog", Format::Plain),
        ("unacked", "/unackedMessages", Format::Plain),
        ("out/s", "/msgRateOut", Format::Rate),
        ("consumers", "/consumers", Format::Length),
    ],
};

const STATS: &[Part] = &[
    TRAFFIC,
    SUBSCRIPTIONS,
    Part::Rows {
        at: "/publishers",
        name: "producer",
        columns: &[
            ("producer", "/producerName", Format::Plain),
            ("in/s", "/msgRateIn", Format::Rate),
            ("address", "/address", Format::Plain),
            ("since", "/connectedSince", Format::Plain),
        ],
    },
];

const PARTITIONED_STATS: &[Part] = &[
    Part::Fields(&[("partitions", "/metadata/partitions", Format::Plain)]),
    TRAFFIC,
    SUBSCRIPTIONS,
    Part::Rows {
        at: "/partitions",
        name: "partition",
        columns: &[
            ("in/s", "/msgRateIn", Format::Rate),
            ("out/s", "/msgRateOut", Format::Rate),
            ("stored", "/storageSize", Format::Bytes),
            ("backlog", "/backlogSize", Format::Bytes),
        ],
    },
];

const INTERNAL_STATS: &[Part] = &[
    Part::Fields(&[
        ("state", "/state", Format::Plain),
        ("last confirmed", "/lastConfirmedEntry", Format::Plain),
        ("entries", "/numberOfEntries", Format::Plain),
        ("stored", "/totalSize", Format::Bytes),
    ]),
    Part::Rows {
        at: "/ledgers",
        name: "ledger",
        columns: &[
            ("ledger", "/ledgerId", Format::Plain),
            ("entries", "/entries", Format::Plain),
            ("size", "/size", Format::Bytes),
            ("in objects", "/offloaded", Format::Plain),
        ],
    },
    Part::Rows {
        at: "/cursors",
        name: "cursor",
        columns: &[
            ("all before", "/markDeletePosition", Format::Plain),
            ("reads at", "/readPosition", Format::Plain),
            ("acked beyond", "/individuallyDeletedMessages", Format::Plain),
            ("state", "/state", Format::Plain),
        ],
    },
];

/// As `-m` takes it, with the partition where there is one.
pub(super) fn position(id: &Value) -> String {
    let number = |name: &str| id.get(name).and_then(Value::as_i64).unwrap_or(-1);
    let partition = number("partitionIndex");
    let place = format!("{}:{}", number("ledgerId"), number("entryId"));
    if 0 <= partition { format!("{place}:{partition}") } else { place }
}

fn broker(_: &Given, answer: &Value) -> Result<String, Failure> {
    let url = answer.get("brokerUrl").and_then(Value::as_str);
    url.map(|url| format!("{url}\n")).ok_or_else(|| Failure::internal(format!("the answer names no broker: {answer}")))
}

fn terminated(given: &Given, answer: &Value) -> Result<String, Failure> {
    Ok(format!("{} ends with {}\n", given.text("topic"), position(answer)))
}

fn offload_begun(given: &Given, answer: &Value) -> Result<String, Failure> {
    Ok(match answer {
        Value::Null => "nothing to offload\n".into(),
        before => format!("offload of {} begins, of messages before {}\n", given.text("topic"), position(before)),
    })
}

fn progress(work: &str, given: &Given, answer: &Value) -> String {
    let topic = given.text("topic");
    match answer.get("status").and_then(Value::as_str).unwrap_or_default() {
        "NOT_RUN" => format!("no {work} of {topic} since its broker loaded it\n"),
        "RUNNING" => format!("{work} of {topic} is running\n"),
        "SUCCESS" => format!("{work} of {topic} is done\n"),
        "ERROR" => format!("{work} of {topic} failed\n"),
        _ => format!("{work} of {topic}: {answer}\n"),
    }
}

fn failed(answer: &Value) -> Option<Failure> {
    let is_error = answer.get("status").and_then(Value::as_str) == Some("ERROR");
    let reason = answer.get("lastError").and_then(Value::as_str).unwrap_or("no reason given");
    is_error.then(|| Failure::internal(reason))
}
