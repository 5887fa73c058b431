//! `geminga admin` against a real server: what its tests check against a stub, once more with the answers that brokers give.
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use tests::client::{ProducerId, Publisher};
use tests::cluster::{Servers, binary};
use tokio::process::Command;

use crate::directory;

const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// Runs one command against the server at `url`.
async fn run(url: &str, line: &str) -> Output {
    let mut command = Command::new(binary("geminga").expect("it is built"));
    command.arg("admin").args(line.split(' ')).env("GEMINGA_ADMIN", url).kill_on_drop(true);
    let ended = tokio::time::timeout(ENDS_WITHIN, command.output()).await;
    ended.unwrap_or_else(|_| panic!("{line}: not within {ENDS_WITHIN:?}")).expect("it starts")
}

/// What a command prints that must succeed.
async fn done(servers: &Servers, line: &str) -> String {
    let output = run(servers.admin().base(), line).await;
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {}: {complained}", output.status);
    assert_eq!(complained, "", "{line}");
    String::from_utf8(output.stdout).expect("text")
}

/// What a command complains about that must fail with `code`.
async fn fails(url: &str, line: &str, code: i32) -> String {
    let output = run(url, line).await;
    let complained = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{line}: {complained}");
    assert!(output.stdout.is_empty(), "{line}: {}", String::from_utf8_lossy(&output.stdout));
    complained
}

async fn tenants_namespaces_and_topics_are_made_and_deleted(servers: &Servers) {
    for line in ["tenants create acme", "namespaces create acme/shop -b 4", "topics create acme/shop/plain"] {
        assert_eq!(done(servers, line).await, "", "{line}");
    }
    assert!(done(servers, "tenants list").await.lines().any(|tenant| tenant == "acme"));
    assert_eq!(done(servers, "namespaces list acme").await, "acme/shop\n");
    assert!(done(servers, "namespaces bundles acme/shop").await.contains("0x00000000, 0x40000000"));
    done(servers, "topics create-partitioned-topic acme/shop/parts -p 2").await;
    done(servers, "topics update-partitioned-topic acme/shop/parts -p 3").await;
    assert_eq!(done(servers, "topics list-partitioned-topics acme/shop").await, "persistent://acme/shop/parts\n");
    assert!(done(servers, "topics get-partitioned-topic-metadata acme/shop/parts").await.contains("partitions  3\n"));
    let listed: Value = serde_json::from_str(&done(servers, "topics list acme/shop -o json").await).expect("JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(4), "{listed}");
    done(servers, "namespaces unload acme/shop -b 0x00000000_0x40000000").await;
    assert!(done(servers, "topics lookup acme/shop/plain").await.starts_with("pulsar://"));
    done(servers, "topics delete-partitioned-topic acme/shop/parts -f").await;
    for line in ["topics delete acme/shop/plain", "namespaces delete acme/shop", "tenants delete acme"] {
        assert_eq!(done(servers, line).await, "", "{line}");
    }
    assert!(!done(servers, "tenants list").await.lines().any(|tenant| tenant == "acme"));
}

async fn subscriptions_are_made_moved_and_deleted(servers: &Servers) {
    done(servers, "topics create used").await;
    let topic = "persistent://public/default/used";
    let mut publisher = Publisher::open(&servers.addresses(), topic).await.expect("a producer attaches");
    for _ in 0..10 {
        publisher.publish(ProducerId(0), b"hello");
    }
    publisher.flush().await.expect("sent");
    let mut last = None;
    for _ in 0..10 {
        last = Some(publisher.receipt().await.expect("a receipt").position);
    }
    let last = last.expect("ten receipts");
    assert_eq!(done(servers, "topics last-message-id used").await, format!("{last}\n"));
    done(servers, "topics create-subscription used -s late").await;
    done(servers, "topics create-subscription used -s early -m earliest").await;
    assert_eq!(done(servers, "topics subscriptions used").await, "early\nlate\n");
    let backlog = async |subscription: &str| {
        let stats: Value = serde_json::from_str(&done(servers, "topics stats used -o json").await).expect("JSON");
        stats["subscriptions"][subscription]["msgBacklog"].as_u64()
    };
    assert_eq!((backlog("early").await, backlog("late").await), (Some(10), Some(0)));
    done(servers, "topics clear-backlog used -s early").await;
    done(servers, "topics reset-cursor used -s late -t 100y").await;
    assert_eq!((backlog("early").await, backlog("late").await), (Some(0), Some(10)));
    done(servers, "topics reset-cursor used -s late -t 1h").await;
    assert_eq!(backlog("late").await, Some(0), "the publisher's clock stands in 1970");
    done(servers, &format!("topics reset-cursor used -s late -m {last}")).await;
    assert_eq!(backlog("late").await, Some(1));
    let table = done(servers, "topics stats used").await;
    assert!(table.contains("SUBSCRIPTION") && table.contains("stored "), "{table}");
    assert!(done(servers, "topics stats-internal used").await.contains("LEDGER  ENTRIES"));
    done(servers, "topics unsubscribe used -s late").await;
    assert_eq!(done(servers, "topics subscriptions used").await, "early\n");
    done(servers, "topics unload used").await;
}

async fn retention_is_set_shown_and_removed(servers: &Servers) {
    for line in ["namespaces create public/kept", "topics create public/kept/t"] {
        done(servers, line).await;
    }
    let shown = |minutes: i64, mebibytes: i64| {
        format!("retentionSizeInMB       {mebibytes}\nretentionTimeInMinutes  {minutes}\n")
    };
    assert_eq!(done(servers, "namespaces get-retention public/kept").await, "not set\n");
    done(servers, "namespaces set-retention public/kept -t 90s -s 1025K").await;
    assert_eq!(done(servers, "namespaces get-retention public/kept").await, shown(2, 2), "never less than was asked");
    assert_eq!(done(servers, "topicPolicies get-retention public/kept/t").await, "not set\n");
    assert_eq!(done(servers, "topicPolicies get-retention public/kept/t -ap").await, shown(2, 2));
    done(servers, "topics set-retention public/kept/t -t -1 -s -1").await;
    assert_eq!(done(servers, "topics get-retention public/kept/t").await, shown(-1, -1));
    let refused = fails(servers.admin().base(), "namespaces set-retention public/kept -t 0 -s 5M", 64).await;
    assert!(refused.contains("Invalid retention policy"), "{refused}");
    done(servers, "topics remove-retention public/kept/t").await;
    assert_eq!(done(servers, "topics get-retention public/kept/t -ap").await, shown(2, 2));
    done(servers, "namespaces remove-retention public/kept").await;
    assert_eq!(done(servers, "namespaces get-retention public/kept").await, "not set\n");
    assert_eq!(done(servers, "topics trim-topic public/kept/t").await, "");
    assert_eq!(done(servers, "topics truncate public/kept/t").await, "");
    done(servers, "namespaces delete public/kept -f").await;
}

async fn offload_policies_are_set_shown_and_removed(servers: &Servers) {
    for line in ["namespaces create public/moved", "topics create public/moved/t"] {
        done(servers, line).await;
    }
    let policy = async |line: &str| -> Value {
        serde_json::from_str(&done(servers, &format!("{line} -o json")).await).expect("JSON")
    };
    let of_topic = "topics get-offload-policies public/moved/t -ap";
    assert_eq!(done(servers, "namespaces get-offload-policies public/moved").await, "not set\n");
    let refused = fails(servers.admin().base(), "namespaces set-offload-policies public/moved -d aws-s3", 64).await;
    assert!(refused.contains("The bucket must be specified for namespace offload. (412)"), "{refused}");
    done(servers, "namespaces set-offload-policies public/moved -d aws-s3 -b archive -oat 10M -oae 4h -oats 1h").await;
    done(servers, "topics set-offload-policies public/moved/t -d S3 -b other -t 0").await;
    let set = policy("namespaces get-offload-policies public/moved").await;
    assert_eq!((&set["managedLedgerOffloadBucket"], &set["s3Driver"]), (&"archive".into(), &true.into()));
    assert_eq!(set["managedLedgerOffloadDeletionLagInMillis"], 4 * 3_600_000);
    let applied = policy(of_topic).await;
    assert_eq!(applied["managedLedgerOffloadBucket"], "other");
    assert_eq!(applied["managedLedgerOffloadThresholdInBytes"], 0);
    assert_eq!(applied["managedLedgerOffloadThresholdInSeconds"], 3600, "the namespace's");
    done(servers, "topics remove-offload-policies public/moved/t").await;
    assert_eq!(policy(of_topic).await["managedLedgerOffloadBucket"], "archive");
    done(servers, "namespaces set-offload-threshold public/moved -s 1G -t 2w").await;
    let thresholds = "offloadThresholdInBytes    1073741824\noffloadThresholdInSeconds  1209600\n";
    assert_eq!(done(servers, "namespaces get-offload-threshold public/moved").await, thresholds);
    done(servers, "namespaces set-offload-deletion-lag public/moved -l 5h").await;
    assert_eq!(done(servers, "namespaces get-offload-deletion-lag public/moved").await, "300 minutes\n");
    done(servers, "namespaces clear-offload-deletion-lag public/moved").await;
    assert_eq!(done(servers, "namespaces get-offload-deletion-lag public/moved").await, "not set\n");
    assert!(done(servers, "namespaces policies public/moved").await.contains("archive\n"));
    done(servers, "namespaces remove-offload-policies public/moved").await;
    assert_eq!(done(servers, "namespaces get-offload-policies public/moved").await, "not set\n");
    done(servers, "namespaces delete public/moved -f").await;
}

async fn brokers_and_clusters_are_seen(servers: &Servers) {
    let admin = servers.admin();
    let (_, port) = admin.base().rsplit_once(':').expect("an address has a port"); // Standalone calls itself localhost.
    let brokers = done(servers, "brokers list").await;
    assert!(brokers.lines().any(|broker| broker.ends_with(&format!(":{port}"))), "{brokers}");
    assert_eq!(done(servers, "brokers healthcheck").await, "ok\n");
    assert!(done(servers, "brokers leader-broker").await.starts_with("broker  http"));
    assert!(!done(servers, "brokers version").await.is_empty());
    let cluster = done(servers, "clusters list").await;
    assert!(done(servers, &format!("clusters get {}", cluster.trim())).await.contains("brokerServiceUrl"));
}

async fn refusals_have_a_reason_and_a_code(servers: &Servers) {
    let admin = servers.admin();
    let url = admin.base();
    let complained = fails(url, "topics stats nowhere", 64).await;
    let topic = "persistent://public/default/nowhere";
    assert_eq!(complained, format!("geminga admin: topics stats: Topic {topic} not found (404)\n"));
    done(servers, "topics create there").await;
    assert!(fails(url, "topics create there", 64).await.contains("This topic already exists (409)"));
    assert!(fails(url, "topics offload there -s lots", 64).await.contains("--size-threshold"));
    assert!(fails(url, "namespaces create nobody/x", 64).await.contains("Tenant"));
    done(servers, "topics compact there").await;
    assert!(fails("http://127.0.0.1:1", "tenants list", 75).await.contains("cannot reach http://127.0.0.1:1"));
    // What a command for newer brokers meets at an older one: it must know the words of both refusals.
    let lacking = "the server does not offer `GET /admin/v2/tenants` (404)";
    assert!(fails(&format!("{url}/newer"), "tenants list", 70).await.contains(lacking));
    let refused = admin.delete("/admin/v2/clusters").await.expect_err("clusters are not deleted");
    assert!(refused.message.contains(r#"{"reason":"this page does not take this method"}"#), "{refused}");
}

async fn everything_works(servers: &Servers) {
    tenants_namespaces_and_topics_are_made_and_deleted(servers).await;
    subscriptions_are_made_moved_and_deleted(servers).await;
    retention_is_set_shown_and_removed(servers).await;
    offload_policies_are_set_shown_and_removed(servers).await;
    brokers_and_clusters_are_seen(servers).await;
    refusals_have_a_reason_and_a_code(servers).await;
}

#[tokio::test]
async fn the_command_line_administrates_standalone() {
    let place = directory();
    everything_works(&Servers::one(place.path()).await.expect("standalone starts")).await;
}

#[tokio::test]
async fn the_command_line_administrates_a_cluster() {
    let place = directory();
    everything_works(&Servers::many(place.path()).await.expect("the cluster starts")).await;
}
