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
    done(servers, "topics reset-cursor used -s late -t 1h").await;
    assert_eq!((backlog("early").await, backlog("late").await), (Some(0), Some(10)));
    done(servers, &format!("topics reset-cursor used -s late -m {last}")).await;
    assert_eq!(backlog("late").await, Some(1));
    let table = done(servers, "topics stats used").await;
    assert!(table.contains("SUBSCRIPTION") && table.contains("stored "), "{table}");
    assert!(done(servers, "topics stats-internal used").await.contains("LEDGER  ENTRIES"));
    done(servers, "topics unsubscribe used -s late").await;
    assert_eq!(done(servers, "topics subscriptions used").await, "early\n");
    done(servers, "topics unload used").await;
}

async fn brokers_and_clusters_are_seen(servers: &Servers) {
    let address = servers.admin().base().trim_start_matches("http://").to_owned();
    assert!(done(servers, "brokers list").await.contains(&address));
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
    assert!(fails("http://127.0.0.1:1", "tenants list", 75).await.contains("cannot reach http://127.0.0.1:1"));
}

async fn everything_works(servers: &Servers) {
    tenants_namespaces_and_topics_are_made_and_deleted(servers).await;
    subscriptions_are_made_moved_and_deleted(servers).await;
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
