//! Ledgers that move to objects and are read as if they had not.
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tests::cluster::{Admin, Cluster, S3, Servers, Shape, Standalone, binary, python, s3_server};
use tests::deadline::eventually;
use tests::tiering_faults::{self, TieringFaultsRun};
use tokio::process::Command;
use tokio::time::Instant;

use crate::directory;
use crate::programs::run;

const TOPIC: &str = "persistent://public/default/tiered";
const PAGE: &str = "/admin/v2/persistent/public/default/tiered";
/// What a newcomer is promised.
const WITHIN: Duration = Duration::from_secs(60);

/// The stock Python client, with payloads that follow from their numbers.
struct Script {
    python: std::path::PathBuf,
    size: u64,
}

impl Script {
    async fn run(&self, arguments: &[&str]) {
        let mut command = Command::new(&self.python);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python/tiering.py")).args(arguments);
        command.arg(self.size.to_string());
        run(command).await;
    }

    async fn publish(&self, servers: &Servers, first: u64, count: u64) {
        self.run(&["publish", &servers.url(), TOPIC, &first.to_string(), &count.to_string()]).await;
    }

    /// Everything there is, byte by byte, by a reader and by a new subscription.
    async fn read(&self, servers: &Servers, count: u64) {
        self.run(&["read", &servers.url(), TOPIC, &count.to_string()]).await;
    }
}

/// Goal: with one option, what is published lies in a store within a minute, leaves the disk, and reads back byte-equal; also after a
/// crash, and beside what comes later. Method: a directory as the store, the stock Python client, our own command and pages.
#[tokio::test]
async fn one_option_is_enough_to_read_from_a_store_what_the_disk_has_forgotten() {
    let Some(python) = python().or_say_so() else { return };
    let place = directory();
    let objects = place.path().join("objects");
    std::fs::create_dir(&objects).expect("made");
    let url = format!("file://{}", objects.display());
    let begun = Instant::now();
    let server = Standalone::start_offloading(place.path(), &url, &[]).await.expect("standalone starts");
    let mut servers = Servers::One(Box::new(server));
    moves_and_comes_back(&mut servers, &Script { python, size: 4096 }, 3_000, begun).await;
    assert!(3_000 * 4096 < stored(&objects), "{} bytes in the directory", stored(&objects));

    let internal = servers.admin().get(&format!("{PAGE}/internalStats")).await.expect("answered");
    let ledgers = internal["ledgers"].as_array().expect("a list");
    assert_eq!((&ledgers[0]["offloaded"], &ledgers[0]["entries"]), (&json!(true), &json!(3_000)));
    let last = servers.admin().get(&format!("{PAGE}/lastMessageId")).await.expect("answered");
    assert_eq!(last["entryId"], 99);
    is_sound(&servers.admin(), 1).await;
    let cost = servers.admin().get("/admin/v2/geminga/offload/cost?storageGbMonth=1000").await.expect("answered");
    assert!(0 < cost["usage"]["storedBytes"].as_u64().expect("a number"), "{cost}");
    assert!(0.0 < cost["monthly"]["storage"].as_f64().expect("a number"), "{cost}");

    servers.admin().delete(&format!("{PAGE}?force=true")).await.expect("deleted");
    eventually("a deleted topic leaves nothing in the store", WITHIN, async || (stored(&objects) == 0).then_some(()))
        .await
        .expect("intents are worked off");
}

/// The same with a real S3 server, of which the process ends and comes back.
#[tokio::test]
async fn an_s3_server_keeps_what_the_disk_has_forgotten() {
    let (Some(python), Some(weed)) = (python().or_say_so(), s3_server().or_say_so()) else { return };
    let place = directory();
    let mut s3 = S3::start(&weed, place.path()).await.expect("it starts");
    let environment = s3.environment();
    let environment: Vec<(&str, &str)> = environment.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let begun = Instant::now();
    let server = Standalone::start_offloading(place.path(), "s3://tests/some/prefix", &environment).await;
    let mut servers = Servers::One(Box::new(server.expect("standalone starts")));
    let script = Script { python, size: 64 * 1024 };
    moves_and_comes_back(&mut servers, &script, 1_600, begun).await;
    is_sound(&servers.admin(), 1).await;
    s3.process().kill();
    s3.restart().await.expect("it starts again");
    script.read(&servers, 1_700).await;
}

/// Three copies on three bookies, and two brokers that move and read: whichever has the topic.
#[tokio::test]
async fn a_cluster_reads_from_a_store_what_its_bookies_have_forgotten() {
    let Some(python) = python().or_say_so() else { return };
    let place = directory();
    let objects = place.path().join("objects");
    std::fs::create_dir(&objects).expect("made");
    let mut shape = Shape::default();
    let more = [&format!("offload=file://{}", objects.display()), "offload_threshold_s=0", "offload_deletion_lag_s=2"];
    shape.broker_settings.extend(more.map(str::to_owned));
    shape.broker_settings.push("ledger_entries_max=1000".into());
    let begun = Instant::now();
    let cluster = Box::pin(Cluster::start(place.path(), &shape)).await.expect("the cluster starts");
    let mut servers = Servers::Many(Box::new(cluster));
    let script = Script { python, size: 64 * 1024 };
    moves_and_comes_back(&mut servers, &script, 4_096, begun + WITHIN).await;
    is_sound(&servers.admin(), 5).await;
    for address in servers.addresses() {
        let stats = servers.admin().get(&format!("{PAGE}/stats")).await.expect("any broker answers");
        assert!(4_096 * 64 * 1024 <= stats["offloadedStorageSize"].as_u64().expect("a number"), "{address}: {stats}");
    }
}

/// Publishes, moves, waits until bookies have forgotten it, reads, restarts everything, publishes a little more, and reads all of it.
async fn moves_and_comes_back(servers: &mut Servers, script: &Script, count: u64, begun: Instant) {
    script.publish(servers, 0, count).await;
    offload(&servers.admin()).await;
    forgotten(servers, count * script.size).await;
    assert!(begun.elapsed() < WITHIN, "it took {:?}", begun.elapsed());
    script.read(servers, count).await;
    for process in servers.processes() {
        process.kill();
    }
    servers.start_again().await.expect("all start again");
    script.publish(servers, count, 100).await;
    script.read(servers, count + 100).await;
}

/// What a newcomer types. Again where ledgers were on their way by themselves: then the open one stayed.
async fn offload(admin: &Admin) {
    loop {
        for line in ["offload tiered -s 0", "offload-status tiered -w"] {
            let mut command = Command::new(binary("geminga").expect("it is built"));
            command.args(["admin", "topics"]).args(line.split(' ')).env("GEMINGA_ADMIN", admin.base());
            run(command).await;
        }
        let progress = admin.get(&format!("{PAGE}/offload")).await.expect("answered");
        assert_eq!(progress["status"], "SUCCESS", "{progress}");
        let internal = admin.get(&format!("{PAGE}/internalStats")).await.expect("answered");
        let ledgers = internal["ledgers"].as_array().expect("a list");
        if ledgers.iter().all(|ledger| ledger["offloaded"] == true) {
            return;
        }
    }
}

async fn forgotten(servers: &mut Servers, bytes: u64) {
    let admin = servers.admin();
    eventually("bookies are told to forget it", WITHIN, async || {
        let status = admin.get("/admin/v2/geminga/offload/status").await.ok()?;
        let at_least = |name: &str| bytes <= status[name].as_u64().unwrap_or(0);
        (at_least("coldBytes") && at_least("savedBytes") && status["hotBytes"] == 0).then_some(())
    })
    .await
    .expect("the lag is short");
    let pages = match servers {
        Servers::One(server) => vec![server.admin()],
        Servers::Many(cluster) => cluster.bookies.iter().map(|bookie| bookie.admin()).collect(),
    };
    eventually("the bookies have forgotten it", WITHIN, async || {
        for page in &pages {
            let page = page.get("/metrics").await.ok()?;
            let count = page.as_str()?.lines().find(|line| line.starts_with("bookie_ledgers_count"))?;
            if !count.ends_with(" 0") {
                return None;
            }
        }
        Some(())
    })
    .await
    .expect("intents are worked off");
}

async fn is_sound(admin: &Admin, objects: u64) {
    let scrubbed = admin.ask("/admin/v2/geminga/offload/scrub?remove=true&graceSeconds=0").await.expect("answered");
    let store: &Value = &scrubbed["stores"][0];
    assert!(objects <= store["sound"].as_u64().expect("a number"), "{scrubbed}");
    for none in ["missing", "wrongSize", "orphans", "surplus", "unknown"] {
        assert_eq!(store[none], json!([]), "{none}: {scrubbed}");
    }
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

/// Kills while the store fails. Change the seed to see other moments; `geminga-check tiering-faults` draws one for each run.
#[tokio::test]
async fn nothing_is_lost_or_left_over_when_standalone_is_killed_while_the_store_fails() {
    let Some(program) = s3_server().or_say_so() else { return };
    let place = directory();
    let some = ["500 after the effect", "timeout after the effect", "cut before the effect", "404 on what exists"];
    let faults = tiering_faults::all().into_iter().filter(|(name, _)| some.contains(name)).collect();
    let run = TieringFaultsRun { program, times: 1, faults, seed: 4, directory: place.path().into() };
    let report = Box::pin(tiering_faults::kill_and_read_back(&run)).await.expect("it starts again each time");
    println!("{report}");
    assert_eq!(report.faults(), 0, "promises were not kept:\n{report}");
    assert!(0 < report.spoiled_min() && 4 < report.sound, "nothing went wrong, so nothing was shown:\n{report}");
}
