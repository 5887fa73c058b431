//! Ledgers that move to objects and are read as if they had not.
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tests::cluster::{Admin, Standalone, python};
use tests::deadline::eventually;
use tokio::process::Command;

use crate::directory;
use crate::programs::run;

const TOPIC: &str = "persistent://public/default/tiered";
const PAGE: &str = "/admin/v2/persistent/public/default/tiered";
/// What a newcomer is promised.
const WITHIN: Duration = Duration::from_secs(60);

const FIRST: u32 = 3_000;
const SECOND: u32 = 500;
const SIZE: u32 = 4096;

/// Goal: with one option, what is published lies in a store within a minute, leaves the disk, and reads back byte-equal; also after a
/// restart, and beside what comes later. Method: a directory as the store, the stock Python client, and the status page.
#[tokio::test]
async fn one_option_is_enough_to_read_from_a_store_what_the_disk_has_forgotten() {
    let Some(python) = python().or_say_so() else { return };
    let script = async |arguments: &[&str]| {
        let mut command = Command::new(&python);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python/tiering.py")).args(arguments);
        run(command).await;
    };
    let place = directory();
    let objects = place.path().join("objects");
    std::fs::create_dir(&objects).expect("made");
    let url = format!("file://{}", objects.display());
    let mut server = Standalone::start_offloading(place.path(), &url).await.expect("standalone starts");
    let begun = tokio::time::Instant::now();
    let (first, size) = (FIRST.to_string(), SIZE.to_string());
    script(&["publish", &server.url(), TOPIC, "0", &first, &size]).await;

    offload(&server.admin()).await;
    forgotten(&server.admin(), u64::from(FIRST * SIZE)).await;
    assert!(begun.elapsed() < WITHIN, "it took {:?}", begun.elapsed());
    let stored = stored(&objects);
    assert!(u64::from(FIRST * SIZE) < stored, "{stored} bytes in the directory");
    script(&["read", &server.url(), TOPIC, &first, &size]).await;

    server.process().kill().expect("killed");
    server.restart().await.expect("it starts again");
    let (second, both) = (SECOND.to_string(), (FIRST + SECOND).to_string());
    script(&["publish", &server.url(), TOPIC, &first, &second, &size]).await;
    script(&["read", &server.url(), TOPIC, &both, &size]).await;
    let internal = server.admin().get(&format!("{PAGE}/internalStats")).await.expect("answered");
    assert_eq!(internal["numberOfEntries"], FIRST + SECOND);
    let ledgers = internal["ledgers"].as_array().expect("a list");
    assert_eq!((&ledgers[0]["offloaded"], &ledgers[0]["entries"]), (&json!(true), &json!(FIRST)));
    let last = server.admin().get(&format!("{PAGE}/lastMessageId")).await.expect("answered");
    assert_eq!(last["entryId"], SECOND - 1);

    let scrubbed = scrub(&server.admin()).await;
    assert_eq!(scrubbed["stores"][0]["sound"], 1, "{scrubbed}");
    for none in ["missing", "wrongSize", "orphans", "surplus", "unknown"] {
        assert_eq!(scrubbed["stores"][0][none], json!([]), "{none}: {scrubbed}");
    }
    let cost = server.admin().get("/admin/v2/geminga/offload/cost?storageGbMonth=1000").await.expect("answered");
    assert!(0 < cost["usage"]["storedBytes"].as_u64().expect("a number"), "{cost}");
    assert!(0.0 < cost["monthly"]["storage"].as_f64().expect("a number"), "{cost}");

    server.admin().delete(&format!("{PAGE}?force=true")).await.expect("deleted");
    eventually("a deleted topic leaves nothing in the store", WITHIN, async || (stored(&objects) == 0).then_some(()))
        .await
        .expect("intents are worked off");
}

/// As Pulsar's tool asks for it with a threshold of 0: what lies before the last ledger, which here is the only one.
async fn offload(admin: &Admin) {
    let internal = admin.get(&format!("{PAGE}/internalStats")).await.expect("answered");
    let last = internal["ledgers"].as_array().and_then(|ledgers| ledgers.last()).expect("there is a ledger");
    let before = json!({"ledgerId": last["ledgerId"], "entryId": 0, "partitionIndex": -1});
    admin.put(&format!("{PAGE}/offload"), Some(before)).await.expect("begun");
    eventually("it is done", WITHIN, async || {
        let progress = admin.get(&format!("{PAGE}/offload")).await.ok()?;
        assert_ne!(progress["status"], "ERROR", "{progress}");
        (progress["status"] == "SUCCESS").then_some(())
    })
    .await
    .expect("a small ledger moves");
}

async fn forgotten(admin: &Admin, bytes: u64) {
    eventually("bookies have been told to forget it", WITHIN, async || {
        let status = admin.get("/admin/v2/geminga/offload/status").await.ok()?;
        let at_least = |name: &str| bytes <= status[name].as_u64().unwrap_or(0);
        (at_least("coldBytes") && at_least("savedBytes") && status["hotBytes"] == 0).then_some(())
    })
    .await
    .expect("the lag is short");
    eventually("the bookie has forgotten it", WITHIN, async || {
        let page = admin.get("/metrics").await.ok()?;
        let page = page.as_str()?;
        page.lines().any(|line| line.starts_with("bookie_ledgers_count") && line.ends_with(" 0")).then_some(())
    })
    .await
    .expect("intents are worked off");
}

async fn scrub(admin: &Admin) -> Value {
    let path = "/admin/v2/geminga/offload/scrub?remove=true&graceSeconds=0";
    admin.ask(path).await.expect("answered")
}

/// Bytes of all files below a directory.
fn stored(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).expect("readable");
    let bytes = entries.flatten().map(|entry| {
        let path = entry.path();
        if path.is_dir() { stored(&path) } else { entry.metadata().map_or(0, |metadata| metadata.len()) }
    });
    bytes.sum()
}
