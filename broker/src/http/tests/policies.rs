//! The pages of policies. Codes, bodies and reasons are those that Apache Pulsar 4.0.8 gave to the same requests. Where the text of a
//! reason is Jackson's or the code is 500, ours says it in its own words, as 400: such rows leave the reason out.
use super::*;

const ZERO: &str = "Invalid retention policy: Setting a single time or size limit to 0 is invalid when one of the limits has a \
                    non-zero value. Use the value of -1 instead of 0 to ignore a specific limit. To disable retention both \
                    limits must be set to 0.";
const TIME: &str = "Invalid retention policy: time limit must be >= -1";
const SIZE: &str = "Invalid retention policy: size limit must be >= -1";
/// Pulsar names aliyun-oss as well.
const DRIVERS: &str = "The driver is not supported, support value: S3,aws-s3,google-cloud-storage,filesystem,azureblob";
const BUCKET: &str = "The bucket must be specified for namespace offload.";
const SPECIFIED: &str = "The offloadPolicies must be specified for namespace offload.";
const PARTITION: &str = "Not allowed to set/get topic policy for a partition";
const AWS: &str = r#"{"managedLedgerOffloadDriver":"aws-s3","managedLedgerOffloadBucket":"b"}"#;

fn retention(minutes: &str, mebibytes: &str) -> String {
    format!(r#"{{"retentionTimeInMinutes":{minutes},"retentionSizeInMB":{mebibytes}}}"#)
}

fn kept(minutes: i64, mebibytes: i64) -> Option<Value> {
    Some(json!({"retentionTimeInMinutes": minutes, "retentionSizeInMB": mebibytes}))
}

/// What `path` shows, `None` when that is an empty answer.
async fn shown(broker: &Broker, path: &str) -> Option<Value> {
    let (status, body) = broker.ask("GET", path, "").await;
    assert_eq!(status, 200, "{path}: {body}");
    (!body.is_empty()).then(|| serde_json::from_str(&body).unwrap())
}

/// A body, the status and reason it is answered with, and what is shown afterwards.
type Row = (String, u16, &'static str, Option<Value>);

async fn takes(broker: &Broker, method: &str, path: &str, rows: &[Row]) {
    for (body, status, reason, after) in rows {
        broker.rows(&[(method, path, body, *status, reason)]).await;
        let body: String = body.chars().take(200).collect();
        assert_eq!(shown(broker, path).await, *after, "{path} after {body}");
    }
}

fn retention_rows() -> Vec<Row> {
    let set = retention;
    let refused = |body: String, reason| (body, 400, reason, kept(-1, -1));
    let bad = |body: &str| (body.to_owned(), 400, "", kept(-1, -1));
    let taken = |body: &str, after| (body.to_owned(), 204, "", after);
    vec![
        taken(&set("10", "20"), kept(10, 20)),
        taken("", None),
        taken(&set("10", "20"), kept(10, 20)),
        taken("null", None),
        taken("{}", kept(0, 0)),
        taken(&set("-1", "-1"), kept(-1, -1)),
        refused(set("-2", "-1"), TIME),
        refused(set("-1", "-2"), SIZE),
        refused(set("0", "5"), ZERO),
        refused(set("5", "0"), ZERO),
        refused(set("-1", "0"), ZERO),
        refused(set("0", "-1"), ZERO),
        refused(set("null", "7"), ZERO),
        refused(set("\"\"", "7"), ZERO),
        bad(&set("99999999999999", "5")),
        bad(&set("2147483648", "1")),
        bad(&set("5", "9223372036854775808")),
        bad(&set("NaN", "7")),
        bad(&set("1e400", "7")),
        bad(&set("true", "7")),
        bad(&set("[1]", "7")),
        bad(&set("{}", "7")),
        bad(&set("\"abc\"", "7")),
        bad("[1,2]"),
        bad("\"x\""),
        bad("5"),
        bad("{bad"),
        bad(&"[".repeat(10_000)),
        // Pulsar skips this without counting, and stores zeros.
        bad(&format!(r#"{{"x":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000))),
        taken(&set("5", "9223372036854775807"), kept(5, i64::MAX)),
        taken(&set("2147483647", "1"), kept(2_147_483_647, 1)),
        taken(&set("\"5\"", "\"7\""), kept(5, 7)),
        taken(&set("5.7", "7.9"), kept(5, 7)),
        taken(&set("1e2", "7"), kept(100, 7)),
        taken(r#"{"retentionTimeInMinutes":3,"retentionSizeInMB":7,"extra":1}"#, kept(3, 7)),
        taken(r#"{"retentionTimeInMinutes":3,"retentionTimeInMinutes":4,"retentionSizeInMB":7}"#, kept(4, 7)),
    ]
}

#[tokio::test]
async fn retention_of_a_namespace_and_of_a_topic() {
    let broker = broker().await;
    broker
        .rows(&[("PUT", "/namespaces/public/n1", "", 204, ""), ("PUT", "/persistent/public/n1/t", "", 204, "")])
        .await;
    for path in ["/namespaces/public/n1/retention", "/persistent/public/n1/t/retention"] {
        assert_eq!(shown(&broker, path).await, None);
        takes(&broker, "POST", path, &retention_rows()).await;
        broker
            .rows(&[("DELETE", path, "", 204, ""), ("DELETE", path, "", 204, ""), ("PUT", path, "{}", 405, "")])
            .await;
        assert_eq!(shown(&broker, path).await, None);
    }
    let namespace = |rest: &str| format!("/namespaces/{rest}/retention");
    let topic = |rest: &str| format!("/persistent/{rest}/retention");
    let no_topic = "Topic persistent://public/n1/nix not found";
    broker
        .rows(&[
            ("GET", &namespace("public/nix"), "", 404, "Namespace does not exist"),
            ("GET", &namespace("nix/nix"), "", 404, "Namespace does not exist"),
            ("POST", &namespace("public/nix"), "{}", 404, "Namespace policies does not exist"),
            ("POST", &namespace("public/nix"), "", 404, "Namespace policies does not exist"),
            ("DELETE", &namespace("public/nix"), "", 404, "Namespace policies does not exist"),
            ("GET", &namespace("pub%20lic/n1"), "", 412, "Namespace name is not valid"),
            ("GET", &topic("public/n1/nix"), "", 404, no_topic),
            ("POST", &topic("public/n1/nix"), &retention("1", "2"), 404, no_topic),
            ("DELETE", &topic("public/n1/nix"), "", 404, no_topic),
            ("GET", &topic("public/nix/t"), "", 404, "Namespace not found"),
            ("POST", &topic("nix/nix/t"), "{}", 404, "Namespace not found"),
            ("GET", &topic("public/n1/t-partition-0"), "", 412, PARTITION),
            ("POST", &topic("public/n1/t-partition-0"), "{}", 412, PARTITION),
        ])
        .await;
}

#[tokio::test]
async fn what_is_applied_to_a_topic_comes_from_the_nearest_level() {
    let broker = broker().await;
    let (namespace, topic) = ("/namespaces/public/default/retention", "/persistent/public/default/t/retention");
    let applied = format!("{topic}?applied=true");
    broker.rows(&[("PUT", "/persistent/public/default/t", "", 204, "")]).await;
    assert_eq!(shown(&broker, &applied).await, kept(0, 0));
    broker.rows(&[("POST", namespace, &retention("10", "20"), 204, "")]).await;
    assert_eq!(shown(&broker, &applied).await, kept(10, 20));
    for other in ["applied=false", "applied=xx", "isGlobal=true"] {
        assert_eq!(shown(&broker, &format!("{topic}?{other}")).await, None, "{other}");
    }
    broker.rows(&[("POST", topic, &retention("100", "20000"), 204, "")]).await;
    assert_eq!(shown(&broker, &applied).await, kept(100, 20_000));
    broker.rows(&[("POST", &format!("{topic}?isGlobal=true"), &retention("1", "1"), 501, "")]).await;
    broker.rows(&[("DELETE", topic, "", 204, "")]).await;
    assert_eq!(shown(&broker, &applied).await, kept(10, 20));
}

#[tokio::test]
async fn thresholds_of_offloading() {
    let broker = broker().await;
    let path = |name: &str| format!("/namespaces/public/default/{name}");
    for (name, done, unset) in [
        ("offloadThreshold", 204, Some(json!(-1))),
        ("offloadThresholdInSeconds", 200, Some(json!(-1))),
        ("offloadDeletionLagMs", 204, None),
    ] {
        let path = path(name);
        assert_eq!(shown(&broker, &path).await, unset);
        let taken = |body: &str, after: i64| (body.to_owned(), done, "", Some(json!(after)));
        let bad = |body: &str, after: i64| (body.to_owned(), 400, "", Some(json!(after)));
        let rows = [
            taken("5", 5),
            taken("0", 0),
            taken("-1", -1),
            taken("-100", -100),
            taken("\"7\"", 7),
            taken("7.5", 7),
            taken("1e3", 1000),
            bad("NaN", 1000),
            bad("1e400", 1000),
            taken("9223372036854775807", i64::MAX),
            bad("9223372036854775808", i64::MAX),
            taken("null", 0),
            (String::new(), 400, "The request entity cannot be empty.", Some(json!(0))),
            bad("[1]", 0),
            bad("{}", 0),
            bad("true", 0),
            bad("abc", 0),
        ];
        takes(&broker, "PUT", &path, &rows).await;
        let nowhere = format!("/namespaces/public/nix/{name}");
        broker
            .rows(&[
                ("POST", &path, "5", 405, ""),
                ("GET", &nowhere, "", 404, "Namespace does not exist"),
                ("PUT", &nowhere, "5", 404, "Namespace does not exist"),
            ])
            .await;
    }
    let lag = path("offloadDeletionLagMs");
    broker.rows(&[("DELETE", &lag, "", 204, ""), ("DELETE", &lag, "", 204, "")]).await;
    assert_eq!(shown(&broker, &lag).await, None);
    assert_eq!(shown(&broker, &path("offloadThreshold")).await, Some(json!(0)), "the others stay");
}

/// What is shown of [`AWS`] with more members.
fn shown_with(members: Value) -> Option<Value> {
    let mut all = json!({
        "offloadersDirectory": "./offloaders", "managedLedgerOffloadMaxThreads": 2,
        "managedLedgerOffloadReadThreads": 2, "managedLedgerOffloadPrefetchRounds": 1,
        "managedLedgerExtraConfigurations": {}, "s3ManagedLedgerOffloadMaxBlockSizeInBytes": 67_108_864,
        "s3ManagedLedgerOffloadReadBufferSizeInBytes": 1_048_576,
        "s3ManagedLedgerOffloadRoleSessionName": "pulsar-s3-offload",
        "gcsManagedLedgerOffloadMaxBlockSizeInBytes": 134_217_728,
        "gcsManagedLedgerOffloadReadBufferSizeInBytes": 1_048_576,
        "managedLedgerOffloadDriver": "aws-s3", "managedLedgerOffloadBucket": "b",
        "s3Driver": true, "gcsDriver": false, "fileSystemDriver": false,
    });
    members.as_object().unwrap().iter().for_each(|(name, value)| all[name] = value.clone());
    Some(all)
}

fn aws_with(members: &str) -> String {
    AWS.replace('}', &format!(",{members}}}"))
}

/// Under the names of one driver, as it was given.
fn older_shown() -> Option<Value> {
    let mut all = shown_with(json!({"s3ManagedLedgerOffloadBucket": "b", "s3ManagedLedgerOffloadRegion": "r"}))?;
    all.as_object_mut()?.remove("managedLedgerOffloadBucket");
    Some(all)
}

fn offload_rows() -> Vec<Row> {
    let plain = || shown_with(json!({}));
    let refused = |body: &str, reason| (body.to_owned(), 412, reason, None);
    let bad = |body: &str, after| (body.to_owned(), 400, "", after);
    let taken = |body: &str, after| (body.to_owned(), 204, "", after);
    let numbers = r#""managedLedgerOffloadRegion":"r","managedLedgerOffloadThresholdInBytes":-5,
        "managedLedgerOffloadThresholdInSeconds":"7","managedLedgerOffloadDeletionLagInMillis":-3"#;
    let shown_numbers = json!({
        "managedLedgerOffloadRegion": "r", "managedLedgerOffloadThresholdInBytes": -5,
        "managedLedgerOffloadThresholdInSeconds": 7, "managedLedgerOffloadDeletionLagInMillis": -3,
    });
    let older_names = r#"{"managedLedgerOffloadDriver":"aws-s3","s3ManagedLedgerOffloadBucket":"b",
        "s3ManagedLedgerOffloadRegion":"r"}"#;
    let secrets = r#""s3ManagedLedgerOffloadCredentialId":"id","s3ManagedLedgerOffloadCredentialSecret":"secret""#;
    vec![
        refused("", SPECIFIED),
        refused("null", SPECIFIED),
        refused("{}", DRIVERS),
        refused(r#"{"managedLedgerOffloadDriver":"nix"}"#, DRIVERS),
        refused(r#"{"managedLedgerOffloadDriver":5}"#, DRIVERS),
        refused(r#"{"managedLedgerOffloadThresholdInBytes":5}"#, DRIVERS),
        refused(r#"{"managedLedgerOffloadDriver":"s3"}"#, BUCKET),
        refused(r#"{"managedLedgerOffloadDriver":"aws-s3","managedLedgerOffloadBucket":""}"#, BUCKET),
        refused(r#"{"managedLedgerOffloadDriver":"azureblob"}"#, BUCKET),
        bad(r#"{"managedLedgerOffloadDriver":{}}"#, None),
        bad("[]", None),
        bad("5", None),
        bad("{bad", None),
        taken(AWS, plain()),
        bad(&aws_with(r#""managedLedgerOffloadThresholdInBytes":"x""#), plain()),
        taken(&aws_with(numbers), shown_with(shown_numbers)),
        taken(AWS, plain()), // As a whole: what is not said is not kept.
        taken(&aws_with(r#""extra":{"a":1},"managedLedgerOffloadedReadPriority":"x""#), plain()),
        // Whoever reads policies reads no secrets. Pulsar keeps them and shows them.
        taken(&aws_with(secrets), plain()),
        (aws_with(r#""managedLedgerOffloadServiceEndpoint":"http://id:secret@host""#), 412, "", plain()),
        taken(older_names, older_shown()),
    ]
}

#[tokio::test]
async fn offload_policies_of_a_namespace_and_of_a_topic() {
    let broker = broker().await;
    broker.rows(&[("PUT", "/persistent/public/default/t", "", 204, "")]).await;
    for (path, removed_at) in [
        ("/namespaces/public/default/offloadPolicies", "/namespaces/public/default/removeOffloadPolicies"),
        ("/persistent/public/default/t/offloadPolicies", "/persistent/public/default/t/offloadPolicies"),
    ] {
        assert_eq!(shown(&broker, path).await, None);
        takes(&broker, "POST", path, &offload_rows()).await;
        let file = r#"{"managedLedgerOffloadDriver":"filesystem","managedLedgerOffloadBucket":"/mnt"}"#;
        broker.rows(&[("POST", path, file, 204, ""), ("PUT", path, "{}", 405, "")]).await;
        let file = shown(&broker, path).await.unwrap();
        assert_eq!([&file["s3Driver"], &file["gcsDriver"], &file["fileSystemDriver"]], [false, false, true]);
        broker.rows(&[("DELETE", removed_at, "", 204, ""), ("DELETE", removed_at, "", 204, "")]).await;
        assert_eq!(shown(&broker, path).await, None);
    }
    let nowhere = "/namespaces/public/nix/offloadPolicies";
    let (no_topic, text) =
        ("/persistent/public/default/nix/offloadPolicies", "Topic persistent://public/default/nix not found");
    broker
        .rows(&[
            ("GET", nowhere, "", 404, "Namespace does not exist"),
            ("POST", nowhere, AWS, 404, "Namespace does not exist"), // Pulsar breaks: 500.
            ("POST", nowhere, "{bad", 400, ""),
            ("GET", no_topic, "", 404, text),
            ("POST", no_topic, AWS, 404, text),
            ("DELETE", no_topic, "", 404, text),
            ("GET", "/persistent/public/nix/t/offloadPolicies", "", 404, "Namespace not found"),
            ("GET", "/persistent/public/default/t-partition-0/offloadPolicies", "", 412, PARTITION),
        ])
        .await;
}

#[tokio::test]
async fn offload_policies_are_shown_under_the_names_that_they_were_given() {
    let broker = broker().await;
    let page = "/persistent/public/default/t/offloadPolicies";
    let set = r#"{"managedLedgerOffloadDriver":"aws-s3","managedLedgerOffloadMaxThreads":4,"s3ManagedLedgerOffloadBucket":"b",
        "s3ManagedLedgerOffloadRegion":"r","s3ManagedLedgerOffloadServiceEndpoint":"https://s3","gcsManagedLedgerOffloadBucket":null,
        "s3ManagedLedgerOffloadCredentialSecret":"hidden","unheardOf":1}"#;
    broker.rows(&[("PUT", "/persistent/public/default/t", "", 204, ""), ("POST", page, set, 204, "")]).await;
    let kept = shown(&broker, page).await.unwrap();
    let of_s3 = |name: &str| kept[format!("s3ManagedLedgerOffload{name}")].clone();
    assert_eq!(["Bucket", "Region", "ServiceEndpoint"].map(of_s3), [json!("b"), json!("r"), json!("https://s3")]);
    assert_eq!(kept["managedLedgerOffloadMaxThreads"], 4);
    let others = ["managedLedgerOffloadBucket", "gcsManagedLedgerOffloadBucket", "unheardOf"];
    assert!(others.iter().all(|name| kept.get(*name).is_none()), "{kept}");
    assert!(!kept.to_string().contains("hidden"), "{kept}");
    let list = r#"{"managedLedgerOffloadDriver":"aws-s3","s3ManagedLedgerOffloadBucket":["b"]}"#;
    let key = r#"{"managedLedgerOffloadDriver":"aws-s3","managedLedgerOffloadBucket":"b",
        "managedLedgerOffloadServiceEndpoint":"https://s3","s3ManagedLedgerOffloadServiceEndpoint":"https://key:secret@s3"}"#;
    broker.rows(&[("POST", page, list, 400, ""), ("POST", page, key, 412, "")]).await;
}

#[tokio::test]
async fn applied_offload_policies_are_merged_field_by_field() {
    let broker = broker().await;
    let topic = "/persistent/public/default/t/offloadPolicies";
    let applied = format!("{topic}?applied=true");
    broker.rows(&[("PUT", "/persistent/public/default/t", "", 204, "")]).await;
    assert_eq!(shown(&broker, &applied).await, None);
    broker.rows(&[("PUT", "/namespaces/public/default/offloadThreshold", "77", 204, "")]).await;
    assert_eq!(shown(&broker, &applied).await.unwrap()["managedLedgerOffloadThresholdInBytes"], 77);
    let of_namespace = r#"{"managedLedgerOffloadDriver":"google-cloud-storage","managedLedgerOffloadBucket":"gcb",
        "managedLedgerOffloadRegion":"nsr","managedLedgerOffloadThresholdInBytes":100,
        "managedLedgerOffloadDeletionLagInMillis":8}"#;
    let of_topic = r#"{"managedLedgerOffloadDriver":"aws-s3","managedLedgerOffloadBucket":"tb",
        "managedLedgerOffloadThresholdInSeconds":7}"#;
    broker
        .rows(&[
            ("POST", "/namespaces/public/default/offloadPolicies", of_namespace, 204, ""),
            ("POST", topic, of_topic, 204, ""),
        ])
        .await;
    let merged = shown(&broker, &applied).await.unwrap();
    let of = |name: &str| merged[format!("managedLedgerOffload{name}")].clone();
    assert_eq!(["Driver", "Bucket", "Region"].map(of), [json!("aws-s3"), json!("tb"), json!("nsr")]);
    assert_eq!(
        ["ThresholdInBytes", "ThresholdInSeconds", "DeletionLagInMillis"].map(of),
        [json!(100), json!(7), json!(8)]
    );
    assert_eq!((&merged["s3Driver"], &merged["gcsDriver"]), (&json!(true), &json!(false)));
}

#[tokio::test]
async fn policies_stand_in_the_json_of_a_namespace_and_go_with_what_they_are_about() {
    let broker = broker().await;
    let made =
        r#"{"retention_policies":{"retentionTimeInMinutes":10,"retentionSizeInMB":20},"max_producers_per_topic":3}"#;
    let negative = r#"{"retention_policies":{"retentionTimeInMinutes":-10,"retentionSizeInMB":20}}"#;
    broker
        .rows(&[
            ("PUT", "/namespaces/public/n1", made, 204, ""),
            ("PUT", "/namespaces/public/n2", negative, 400, TIME),
            ("PUT", "/namespaces/public/n2", r#"{"retention_policies":"x"}"#, 400, ""),
            ("GET", "/namespaces/public/n2", "", 404, "Namespace does not exist"),
            ("PUT", "/namespaces/public/n1/offloadThreshold", "1000", 204, ""),
        ])
        .await;
    let policies = broker.json("/namespaces/public/n1").await;
    assert_eq!(policies["retention_policies"], json!({"retentionTimeInMinutes": 10, "retentionSizeInMB": 20}));
    assert_eq!(policies["offload_policies"]["managedLedgerOffloadThresholdInBytes"], 1000);
    assert_eq!((&policies["offload_threshold"], &policies["max_producers_per_topic"]), (&json!(-1), &json!(3)));
    let plain = broker.json("/namespaces/public/default").await;
    assert!(plain.get("retention_policies").is_none() && plain.get("offload_policies").is_none());

    let (topic, parted) = ("/persistent/public/n1/t", "/persistent/public/n1/p");
    let (of_topic, of_parted) = (format!("{topic}/retention"), format!("{parted}/retention"));
    let partitions = format!("{parted}/partitions");
    broker
        .rows(&[
            ("PUT", topic, "", 204, ""),
            ("PUT", &partitions, "2", 204, ""),
            ("POST", &of_topic, &retention("1", "2"), 204, ""),
            ("POST", &of_parted, &retention("3", "4"), 204, ""),
            ("DELETE", &format!("{parted}-partition-0"), "", 204, ""),
        ])
        .await;
    assert_eq!(shown(&broker, &of_parted).await, kept(3, 4), "the end of a partition is not the topic's");
    broker
        .rows(&[
            ("DELETE", &partitions, "", 204, ""),
            ("DELETE", topic, "", 204, ""),
            ("PUT", topic, "", 204, ""),
            ("PUT", &partitions, "2", 204, ""),
        ])
        .await;
    let both = (shown(&broker, &of_topic).await, shown(&broker, &of_parted).await);
    assert_eq!(both, (None, None), "new topics of old names");
    broker
        .rows(&[
            ("DELETE", "/namespaces/public/n1?force=true", "", 204, ""),
            ("PUT", "/namespaces/public/n1", "", 204, ""),
        ])
        .await;
    assert_eq!(shown(&broker, "/namespaces/public/n1/retention").await, None, "a new namespace of an old name");
    let left = broker.pages.context.metadata.list("policies/", None, 10).await.unwrap().records;
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn topics_are_trimmed_and_truncated() {
    let broker = broker().await;
    let path = |rest: &str| format!("/persistent/public/default/{rest}");
    let no_topic = "Topic persistent://public/default/nix not found";
    broker
        .rows(&[
            ("PUT", &path("t"), "", 204, ""),
            ("PUT", &path("p/partitions"), "2", 204, ""),
            ("PUT", &path("t/subscription/s"), "", 204, ""),
            ("POST", &path("t/trim"), "", 200, ""),
            ("POST", &path("p/trim"), "", 200, ""),
            ("POST", &path("p-partition-0/trim"), "", 200, ""),
            ("PUT", &path("t/trim"), "", 405, ""),
            ("POST", &path("nix/trim"), "", 404, no_topic),
            ("DELETE", &path("t/truncate"), "", 204, ""),
            ("DELETE", &path("p/truncate"), "", 204, ""),
            ("PUT", &path("t/truncate"), "", 405, ""),
            ("DELETE", &path("nix/truncate"), "", 404, no_topic),
            ("POST", "/non-persistent/public/default/nix/trim", "", 405, ""),
        ])
        .await;
}

#[tokio::test]
async fn messages_of_a_topic_are_never_larger_than_the_broker_takes_them() {
    let broker = broker().await;
    broker.rows(&[("PUT", "/persistent/public/default/t", "", 204, "")]).await;
    let path = "/persistent/public/default/t/maxMessageSize";
    let bounds = "topic-level maxMessageSize must be greater than or equal to 0 and must be smaller than that in the broker-level";
    broker
        .rows(&[
            ("GET", path, "", 204, ""),
            ("POST", path, "5242881", 412, bounds),
            ("POST", path, "-1", 412, bounds),
            ("POST", path, "5242880", 204, ""),
            ("POST", path, "", 400, "The request entity cannot be empty."),
            ("POST", path, "x", 400, ""),
            ("GET", path, "", 200, "5242880"),
            ("POST", path, "0", 204, ""),
            ("GET", path, "", 200, "0"),
        ])
        .await;
}

#[tokio::test]
async fn copies_are_as_many_as_make_sense() {
    let broker = broker().await;
    broker.rows(&[("PUT", "/persistent/public/default/t", "", 204, "")]).await;
    let copies = |ensemble: i64, write: i64, ack: i64| {
        json!({"bookkeeperEnsemble": ensemble, "bookkeeperWriteQuorum": write, "bookkeeperAckQuorum": ack,
               "managedLedgerMaxMarkDeleteRate": 0.0})
    };
    let refused = [
        (6, 2, 2, "Bookkeeper-Ensemble must be <= 5 and > 0."),
        (5, 6, 2, "Bookkeeper-WriteQuorum must be <= 5 and > 0."),
        (1, 1, 0, "Bookkeeper-AckQuorum must be <= 5 and > 0."),
        (-1, -1, -1, "Bookkeeper-Ensemble must be <= 5 and > 0."),
        (2, 3, 2, "Bookkeeper Ensemble (2) >= WriteQuorum (3) >= AckQuorum (2)"),
        (2, 1, 2, "Bookkeeper Ensemble (2) >= WriteQuorum (1) >= AckQuorum (2)"),
    ];
    let applied = "/persistent/public/default/t/persistence?applied=true";
    let by_default = json!({"bookkeeperEnsemble": 1, "bookkeeperWriteQuorum": 1, "bookkeeperAckQuorum": 1,
                            "managedLedgerMaxMarkDeleteRate": 1.0});
    assert_eq!(shown(&broker, applied).await, Some(by_default.clone()), "as this broker is configured");
    for path in ["/namespaces/public/default/persistence", "/persistent/public/default/t/persistence"] {
        for (ensemble, write, ack, reason) in refused {
            broker.rows(&[("POST", path, &copies(ensemble, write, ack).to_string(), 400, reason)]).await;
        }
        broker
            .rows(&[
                ("POST", path, "null", 400, "persistence policies should not be null"),
                ("POST", path, "{}", 204, ""),
                ("POST", path, &copies(5, 5, 5).to_string(), 204, ""),
            ])
            .await;
        assert_eq!(shown(&broker, applied).await, Some(copies(5, 5, 5)));
        broker.rows(&[("DELETE", path, "", 204, "")]).await;
    }
    assert_eq!(shown(&broker, applied).await, Some(by_default));
}

#[tokio::test]
async fn a_namespace_takes_no_more_topics_than_it_says() {
    let broker = broker().await;
    let limit = "/namespaces/public/default/maxTopicsPerNamespace";
    let at = |rest: &str| format!("/persistent/public/default/{rest}");
    let too_many = "Exceed maximum number of topics in namespace.";
    broker
        .rows(&[
            ("POST", limit, "3", 204, ""),
            ("PUT", &at("a"), "", 204, ""),
            ("PUT", &at("p/partitions"), "2", 204, ""),
            ("PUT", &at("a"), "", 409, "This topic already exists"),
            ("PUT", &at("p/partitions"), "2", 412, too_many),
            ("PUT", &at("b"), "", 409, too_many),
            ("PUT", &at("q/partitions"), "1", 412, too_many),
            ("PUT", "/non-persistent/public/default/n", "", 204, ""),
            ("PUT", "/non-persistent/public/default/np/partitions", "1", 412, too_many),
            ("DELETE", &at("a"), "", 204, ""),
            ("PUT", &at("b"), "", 204, ""),
            ("POST", &at("p/partitions"), "3", 204, ""), // As Apache Pulsar.
            ("PUT", &at("c"), "", 409, too_many),
            ("POST", limit, "0", 204, ""),
            ("PUT", &at("c"), "", 204, ""),
        ])
        .await;
}

#[tokio::test]
async fn counters_are_told_while_policies_cannot_be_read() {
    let store = MemoryStore::default();
    let broker = broker_at(&store, "a", "a:8080").await;
    let limit = r#"{"limitSize":1000,"policy":"producer_exception"}"#;
    let topic = "/persistent/public/default/orders";
    broker
        .rows(&[
            ("PUT", topic, "", 204, ""),
            ("PUT", &format!("{topic}/subscription/s"), "", 204, ""),
            ("POST", "/namespaces/public/default/backlogQuota", limit, 204, ""),
        ])
        .await;
    let stats = format!("{topic}/stats");
    assert_eq!(broker.json(&stats).await["backlogQuotaLimitSize"], 1000);
    store.set_away(true);
    let told = broker.json(&stats).await;
    assert_eq!(told["backlogQuotaLimitSize"], -1);
    assert!(told["subscriptions"]["s"].is_object(), "{told}");
    let (status, _) = broker.ask("GET", "/namespaces/public/default/backlogQuotaMap", "").await;
    assert_eq!(status, 503, "the store is away indeed");
}
