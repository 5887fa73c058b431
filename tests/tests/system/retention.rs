//! What becomes of consumed messages, down to the records of ledgers.
use std::path::Path;
use std::time::Duration;

use metadata::MetadataStoreExt;
use proto::{LedgerId, keys};
use tests::cluster::{Cluster, Servers, Shape, python};
use tests::deadline::eventually;
use tokio::process::Command;

use crate::directory;
use crate::programs::{JavaTools, run};

/// Intents are looked at every 5 s, and every bookie must confirm.
const WORKED_OFF_WITHIN: Duration = Duration::from_secs(60);

/// Goal: what every subscription has acknowledged leaves topics, bookies and metadata; nothing comes twice and nothing needed goes.
/// Method: the stock client works on a cluster with ledgers of 10 entries; then the ledgers it saw leave are looked up in the metadata.
#[tokio::test]
async fn consumed_ledgers_leave_a_cluster_without_a_trace_and_take_nothing_with_them() {
    let Some(python) = python().or_say_so() else { return };
    let place = directory();
    let mut shape = Shape::default();
    shape.broker_settings.push("ledger_entries_max=10".into());
    let cluster = Box::pin(Cluster::start(place.path(), &shape)).await.expect("the cluster starts");
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python/retention.py"));
    command.args([cluster.url(), cluster.brokers[0].admin().base().to_owned()]);
    let printed = run(command).await;
    let gone: Vec<u64> = serde_json::from_str(printed.trim()).expect("ids of ledgers");
    assert_eq!(gone.len(), 10);

    let store = metadata::connect(&cluster.etcd.url(), "tests").await.expect("etcd is there");
    eventually("intents are worked off, and no record of the ledgers is left", WORKED_OFF_WITHIN, async || {
        let intents = store.list_all(keys::INTENTS).await.ok()?;
        let mut records = Vec::new();
        for ledger in gone.iter().copied().map(LedgerId) {
            records.extend(store.get(&keys::ledger(ledger).into()).await.ok()?);
        }
        (intents.is_empty() && records.is_empty()).then_some(())
    })
    .await
    .expect("bookies confirm");
}

/// What a person types, and what the tool prints of it.
#[tokio::test]
async fn pulsars_own_admin_tool_sets_and_shows_policies() {
    let place = directory();
    let servers = Servers::one(place.path()).await.expect("standalone starts");
    let Some(java) = JavaTools::against(&servers, place.path()) else { return };
    let (namespace, topic) = ("public/default", "persistent://public/default/policies");
    java.admin(&["topics", "create", topic]).await;
    java.admin(&["namespaces", "set-retention", namespace, "--time", "3h", "--size", "1G"]).await;
    let shown = java.admin(&["namespaces", "get-retention", namespace]).await;
    assert!(shown.contains("180") && shown.contains("1024"), "{shown}");
    java.admin(&["topicPolicies", "set-retention", topic, "--time", "-1", "--size", "-1"]).await;
    let shown = java.admin(&["topicPolicies", "get-retention", topic, "--applied"]).await;
    assert!(shown.contains("-1"), "{shown}");
    java.admin(&["topicPolicies", "remove-retention", topic]).await;
    let shown = java.admin(&["topicPolicies", "get-retention", topic, "--applied"]).await;
    assert!(shown.contains("180"), "{shown}");
    java.admin(&["namespaces", "remove-retention", namespace]).await;

    java.admin(&["namespaces", "set-offload-threshold", namespace, "--size", "10M"]).await;
    let shown = java.admin(&["namespaces", "get-offload-threshold", namespace]).await;
    assert!(shown.contains("10485760"), "{shown}");
    let store = ["--driver", "aws-s3", "--bucket", "bucket", "--region", "region", "--endpoint", "http://host:9000"];
    java.admin(&[&["namespaces", "set-offload-policies", namespace][..], &store, &["-oat", "5M"]].concat()).await;
    let shown = java.admin(&["namespaces", "get-offload-policies", namespace]).await;
    for part in ["aws-s3", "bucket", "region", "http://host:9000", "5242880"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    java.admin(&[&["topicPolicies", "set-offload-policies", topic][..], &store].concat()).await;
    let shown = java.admin(&["topicPolicies", "get-offload-policies", topic, "--applied"]).await;
    assert!(shown.contains("5242880"), "the namespace's threshold: {shown}");
    java.admin(&["topics", "trim-topic", topic]).await;
    java.admin(&["topics", "truncate", topic]).await;
    java.admin(&["namespaces", "remove-offload-policies", namespace]).await;
}
