//! The tables of policies: retention and offload, of topics and of namespaces.
use serde_json::Value;

use super::namespaces::NAMESPACE;
use super::show;
use super::topics::TOPIC;
use super::value::Kind;
use super::verb::{Argument, Resource, Shows, Verb, Way, before, delete, flag, get, post, put, switch};
use super::{daily, plain};

pub(super) const TOPIC_POLICIES: Resource = Resource {
    name: "topicPolicies",
    about: "What holds for one topic",
    verbs: &[OF_TOPICS, plain::OF_TOPICS, plain::QUOTAS_OF_TOPIC_POLICIES, daily::INACTIVE_TOPICS],
};

pub(super) const APPLIED: Argument =
    switch("applied", "-ap --applied", "What holds, be it the topic's, the namespace's or the broker's")
        .query("applied");

const RETENTION: [Argument; 2] = [
    flag("time", "-t --time", Kind::Minutes, "Acknowledged messages stay so long, such as 3h or 2d; -1 for ever")
        .needed()
        .field("retentionTimeInMinutes"),
    flag("size", "-s --size", Kind::Mebibytes, "Within so much, such as 10G; -1 without a limit")
        .needed()
        .field("retentionSizeInMB"),
];

const SECRETS: Kind = Kind::Refused("credentials are not kept in policies: brokers take them from their environment");

/// As topics and namespaces spell them; each takes the spellings of both.
const OFFLOAD: [Argument; 14] = [
    flag("driver", "-d --driver", Kind::Text("DRIVER"), "aws-s3, S3, google-cloud-storage, azureblob or filesystem")
        .needed()
        .field("managedLedgerOffloadDriver"),
    flag("bucket", "-b --bucket", Kind::Text("BUCKET"), "Where objects go").field("managedLedgerOffloadBucket"),
    flag("region", "-r --region", Kind::Text("REGION"), "Where the bucket is").field("managedLedgerOffloadRegion"),
    flag("endpoint", "-e --endpoint", Kind::Text("URL"), "The store's address, where it is not the provider's own")
        .field("managedLedgerOffloadServiceEndpoint"),
    flag(
        "threshold",
        "-t -oat --offloadAfterThreshold --offloadThresholdInBytes",
        Kind::Bytes,
        "A topic's ledgers move once it has more than so much on bookies, such as 10G; 0 at once",
    )
    .field("managedLedgerOffloadThresholdInBytes"),
    flag(
        "age",
        "-ts -oats --offloadAfterThresholdInSeconds --offloadThresholdInSeconds",
        Kind::Seconds,
        "A ledger moves once it is so old, such as 3h",
    )
    .field("managedLedgerOffloadThresholdInSeconds"),
    flag(
        "lag",
        "-dl -oae --offloadDeletionLagInMillis --offloadAfterElapsed",
        Kind::Millis,
        "Bookies keep their copy so long after the move, such as 4h",
    )
    .field("managedLedgerOffloadDeletionLagInMillis"),
    flag(
        "priority",
        "-orp --offloadedReadPriority",
        Kind::Choice(&["tiered-storage-first", "bookkeeper-first"]),
        "Which copy is read while there are two: tiered-storage-first or bookkeeper-first",
    )
    .field("managedLedgerOffloadedReadPriority"),
    flag("block", "-m -mbs --maxBlockSizeInBytes --maxBlockSize", Kind::Bytes, "The size of a part of an upload")
        .field("managedLedgerOffloadMaxBlockSizeInBytes"),
    flag("buffer", "-rb -rbs --readBufferSizeInBytes --readBufferSize", Kind::Bytes, "The size of a read")
        .field("managedLedgerOffloadReadBufferSizeInBytes"),
    flag("id", "-i --aws-id", SECRETS, "Not taken"),
    flag("secret", "-s --aws-secret", SECRETS, "Not taken"),
    flag("role", "-ro --ro --s3-role", SECRETS, "Not taken"),
    flag("role-session", "-rsn --s3-role-session-name", SECRETS, "Not taken"),
];

const TOPIC_RETENTION: [Argument; 3] = before(TOPIC, RETENTION);
const NAMESPACE_RETENTION: [Argument; 3] = before(NAMESPACE, RETENTION);
const TOPIC_OFFLOAD: [Argument; 15] = before(TOPIC, OFFLOAD);
const NAMESPACE_OFFLOAD: [Argument; 15] = before(NAMESPACE, OFFLOAD);

pub(super) const NOT_SET: Shows =
    Shows::Text(|_, answer| Ok(if is_nothing(answer) { "not set\n".into() } else { show::shape(answer) }));

fn is_nothing(answer: &Value) -> bool {
    match answer {
        Value::Object(members) => members.is_empty(),
        Value::Array(list) => list.is_empty(),
        answer => answer.is_null(),
    }
}

pub(super) const OF_TOPICS: &[Verb] = &[
    post("set-retention", "{topic}/retention", "Keep acknowledged messages").takes(&TOPIC_RETENTION),
    get("get-retention", "{topic}/retention", "How long acknowledged messages stay")
        .takes(&[TOPIC, APPLIED])
        .shows(NOT_SET),
    delete("remove-retention", "{topic}/retention", "Leave retention to the namespace").takes(&[TOPIC]),
    post("set-offload-policies", "{topic}/offloadPolicies", "Say where and when sealed ledgers move to objects")
        .takes(&TOPIC_OFFLOAD),
    get("get-offload-policies", "{topic}/offloadPolicies", "Where and when sealed ledgers move to objects")
        .takes(&[TOPIC, APPLIED])
        .shows(NOT_SET),
    delete("remove-offload-policies", "{topic}/offloadPolicies", "Leave offload to the namespace").takes(&[TOPIC]),
];

const SIZE: Argument =
    flag("size", "-s --size", Kind::Bytes, "So much, such as 10G; 0 moves at once, -1 leaves it to the brokers");
const TIME: Argument = flag("time", "-t --time", Kind::Seconds, "And nothing older than this, such as 3h");
const LAG: Argument = flag("lag", "-l --lag", Kind::Millis, "So long, such as 4h").needed().body();

const POLICIES: &str = "namespaces/{namespace}/offloadPolicies";
const REMOVE_POLICIES: &str = "namespaces/{namespace}/removeOffloadPolicies";
const THRESHOLD: &str = "namespaces/{namespace}/offloadThreshold";
const DELETION_LAG: &str = "namespaces/{namespace}/offloadDeletionLagMs";

pub(super) const OF_NAMESPACES: &[Verb] = &[
    post("set-retention", "namespaces/{namespace}/retention", "Keep acknowledged messages").takes(&NAMESPACE_RETENTION),
    get("get-retention", "namespaces/{namespace}/retention", "How long acknowledged messages stay")
        .takes(&[NAMESPACE])
        .shows(NOT_SET),
    delete("remove-retention", "namespaces/{namespace}/retention", "Leave retention to the brokers")
        .takes(&[NAMESPACE]),
    post("set-offload-policies", POLICIES, "Say where and when sealed ledgers move to objects")
        .takes(&NAMESPACE_OFFLOAD),
    get("get-offload-policies", POLICIES, "Where and when sealed ledgers move to objects")
        .takes(&[NAMESPACE])
        .shows(NOT_SET),
    delete("remove-offload-policies", REMOVE_POLICIES, "Leave offload to the brokers").takes(&[NAMESPACE]),
    put("set-offload-threshold", THRESHOLD, "Say how much of a topic stays on bookies")
        .takes(&[NAMESPACE, SIZE.needed().body(), TIME])
        .way(Way::Threshold),
    get("get-offload-threshold", THRESHOLD, "How much of a topic stays on bookies")
        .takes(&[NAMESPACE])
        .way(Way::BothThresholds),
    put("set-offload-deletion-lag", DELETION_LAG, "Say how long bookies keep what was moved").takes(&[NAMESPACE, LAG]),
    get("get-offload-deletion-lag", DELETION_LAG, "How long bookies keep what was moved").takes(&[NAMESPACE]).shows(
        Shows::Text(|_, lag| {
            Ok(lag.as_f64().map_or("not set\n".into(), |lag| format!("{} minutes\n", lag / 60_000.0)))
        }),
    ),
    delete("clear-offload-deletion-lag", DELETION_LAG, "Leave that time to the brokers").takes(&[NAMESPACE]),
];
