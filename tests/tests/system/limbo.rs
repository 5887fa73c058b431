//! Bookies that come back with a damaged disk: what is missing is made good, or told.
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pulsar::SubType;
use pulsar::producer::ProducerOptions;
use tests::cluster::Standalone;
use tests::deadline::eventually;

use crate::bookies::Scene;
use crate::directory;
use crate::rust_client::{Client, connect, message, next, publish, subscribe};

const BLOCK: usize = 4096;
/// An open ledger is left to its writer for 30 s.
const OVER_WITHIN: Duration = Duration::from_secs(120);
const WITHIN: Duration = Duration::from_secs(30);

/// The journal's segments, the oldest first.
fn segments(bookie: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(bookie).expect("it has a directory").map(|file| file.expect("it is there").path());
    let name = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("segment-"));
    let mut segments: Vec<PathBuf> = files.filter(name).collect();
    segments.sort();
    segments
}

/// Spoils the first batches of the segment that was written to last.
fn spoil(bookie: &Path) {
    let written = |path: &PathBuf| {
        let bytes = fs::read(path).expect("it can be read");
        bytes.get(BLOCK..BLOCK + 4) == Some(b"GEMB")
    };
    let last = segments(bookie).into_iter().rfind(written).expect("it has served");
    let mut bytes = fs::read(&last).expect("it can be read");
    let data_end = (BLOCK..bytes.len()).step_by(BLOCK).rfind(|at| bytes[*at..at + 4] == *b"GEMB").expect("batches");
    bytes[BLOCK..BLOCK + (data_end - BLOCK) / 2].fill(0x5a);
    fs::write(last, bytes).expect("it can be written");
}

/// Goal: a bookie whose disk lost what was synced comes back, nothing that was acknowledged is missed meanwhile, and what it lost is made
/// good. Method: exactly three bookies, a load, kill -9, the newer half of a segment overwritten; then an audit of every copy.
#[tokio::test]
async fn a_bookie_with_a_damaged_disk_is_filled_up_and_nothing_is_lost() {
    let place = directory();
    let mut scene = Scene::start(place.path(), 3, &["ledger_entries_max=300", "repair_after_s=30"]).await;
    scene.receipts(1000, "over several ledgers").await;
    scene.cluster.bookies[1].process().kill();
    let data = place.path().join("bookie-1");
    spoil(&data);
    scene.receipts(500, "without it").await;
    scene.cluster.bookies[1].restart().await.expect("it starts with what is whole");
    scene.load.restarted();
    assert!(scene.cluster.bookies[1].process().printed().contains("in limbo"), "it says so");
    scene.receipts(1000, "with one in limbo").await;
    let bookie = scene.cluster.bookies[1].admin();
    let is_over = async || {
        let records = scene.records.ledgers().await.expect("etcd answers");
        let named = records.iter().flat_map(|record| &record.fragments).any(|fragment| !fragment.limbo.is_empty());
        let left = bookie.metric("bookie_limbo_ledgers").await.expect("it serves");
        (!named && left == 0.0 && !data.join("limbo").exists()).then_some(())
    };
    eventually("limbo ends", OVER_WITHIN, is_over).await.expect("two copies are whole");
    assert!(
        fs::read_dir(&data)
            .expect("it is there")
            .any(|file| { file.expect("it is there").file_name().to_string_lossy().starts_with("damaged-segment-") })
    );
    scene.audit().await;
    scene.cluster.bookies[0].process().kill();
    scene.receipts(500, "with the one that was damaged and another").await;
    scene.ends_well().await;
}

fn texts(topic: &str) -> Vec<String> {
    (0..100).map(|number| format!("{topic}-{number:05}")).collect()
}

async fn send(client: &Client, topic: &str) {
    let messages = texts(topic).into_iter().map(|text| message(text.into_bytes())).collect();
    let topic = format!("persistent://public/default/{topic}");
    Box::pin(publish(client, &topic, ProducerOptions::default(), messages)).await;
}

async fn read(client: &Client, topic: &str, subscription: &str, expected: &[String]) {
    let topic = format!("persistent://public/default/{topic}");
    let mut consumer = Box::pin(subscribe(client, &topic, subscription, SubType::Exclusive, None)).await;
    for text in expected {
        assert_eq!(next(&mut consumer).await.payload.data, text.as_bytes());
    }
}

/// Goal: with one copy, a loss is told by the ledger's number, what is intact is read, and all goes on. Method: a byte of one message is
/// flipped on the disk of a killed standalone.
#[tokio::test]
async fn with_one_copy_a_loss_is_named_and_the_rest_is_read() {
    let place = directory();
    let mut server = Standalone::start(place.path()).await.expect("it starts");
    let client = connect(&server.address()).await;
    send(&client, "spoiled").await;
    send(&client, "whole").await;
    server.process().kill();
    let lost = b"spoiled-00050";
    let holds = |path: &PathBuf| find(&fs::read(path).expect("it can be read"), lost).is_some();
    let segment = segments(&server.data().join("bookie")).into_iter().find(holds).expect("it was synced");
    let mut bytes = fs::read(&segment).expect("it can be read");
    let at = find(&bytes, lost).expect("it is there");
    bytes[at] ^= 1;
    fs::write(&segment, bytes).expect("it can be written");
    server.restart().await.expect("it starts with what is whole");

    let client = connect(&server.address()).await;
    read(&client, "whole", "all", &texts("whole")).await;
    read(&client, "spoiled", "before-it", &texts("spoiled")[..50]).await;
    let admin = server.admin();
    let one_is_left = async || {
        let left = admin.metric("bookie_limbo_ledgers").await.expect("it serves");
        (left == 1.0).then_some(())
    };
    eventually("only what is missing stays in limbo", WITHIN, one_is_left).await.expect("the others are whole");
    let unwell = admin.get("/healthz").await.expect_err("it is not well").message;
    assert!(unwell.contains("entries may be missing here of ledgers"), "{unwell}");
    assert!(admin.is_ready().await, "and serves");
    send(&client, "spoiled").await;
    send(&client, "new").await;
    read(&client, "new", "all", &texts("new")).await;
    server.process().kill();
    server.restart().await.expect("it starts again in limbo");
    let client = connect(&server.address()).await;
    read(&client, "whole", "again", &texts("whole")).await;
    one_is_left().await.expect("it is not forgotten");
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
