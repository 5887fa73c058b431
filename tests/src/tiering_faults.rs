//! Standalone is killed again and again while its ledgers move to an S3 server that fails.
//!
//! Method: messages are published and acknowledged all the time. Under each fault, a third of the requests to the store meet it, and the
//! process is killed with -9 at random moments and starts again, half of the times with the fault still on. At the end all is well:
//! everything moves, bookies forget it, a scrub removes what nobody needs, and all that was promised is read back from objects.
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use daemon::Failure;
use futures::TryStreamExt;
use hyper::StatusCode;
use object_store::ObjectStore;
use object_store::aws::AmazonS3;
use object_store::path::Path as Name;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::cluster::{Admin, BUCKET, Effect, Fate, HttpProxy, Rule, S3, Standalone};
use crate::crash::{Keeping, Load, Report};
use crate::deadline::{eventually, under_load_for};

/// Ledgers close all the time.
const ROLLOVER: (&str, &str) = ("GEMINGA_LEDGER_ENTRIES_MAX", "2000");
const PAGE: &str = "/admin/v2/persistent/public/default/crash";
/// A store that failed rests for 30 s, and then has much to take.
const MOVED_WITHIN: Duration = Duration::from_secs(300);
/// One request in so many meets the fault.
const ONE_IN: u32 = 3;

/// What is done.
#[derive(Debug, Clone)]
pub struct TieringFaultsRun {
    /// The S3 server's.
    pub program: PathBuf,
    /// Kills under each fault.
    pub times: u32,
    /// Names for people, and what happens to requests.
    pub faults: Vec<(&'static str, Fate)>,
    /// Of the random moments.
    pub seed: u64,
    /// For data and output. Must be there.
    pub directory: PathBuf,
}

/// Every fault.
#[must_use]
pub fn all() -> Vec<(&'static str, Fate)> {
    vec![
        ("500", Fate::Answered(StatusCode::INTERNAL_SERVER_ERROR, Effect::None)),
        ("500 after the effect", Fate::Answered(StatusCode::INTERNAL_SERVER_ERROR, Effect::Done)),
        ("503", Fate::Answered(StatusCode::SERVICE_UNAVAILABLE, Effect::None)),
        ("timeout before the effect", Fate::Unanswered(Effect::None)),
        ("timeout after the effect", Fate::Unanswered(Effect::Done)),
        ("cut before the effect", Fate::Dropped(Effect::None)),
        ("cut after the effect", Fate::Dropped(Effect::Done)),
        ("cut in the answer", Fate::BodyCut(100)),
        ("404 on what exists", Fate::Answered(StatusCode::NOT_FOUND, Effect::None)),
        ("1 KiB a second", Fate::Dripped(1024)),
        ("credentials refused", Fate::Answered(StatusCode::FORBIDDEN, Effect::None)),
        ("a bit flipped", Fate::BitFlipped(4_321)),
    ]
}

/// What was done under one fault.
#[derive(Debug, Clone, Copy)]
struct Row {
    fault: &'static str,
    kills: u32,
    requests: usize,
    spoiled: usize,
    receipts: u64,
}

/// What a run found.
#[derive(Debug, Clone)]
pub struct TieringFaultsReport {
    rows: Vec<Row>,
    /// What was promised to clients.
    pub promises: Report,
    /// Removed by the scrub at the end.
    pub removed: u64,
    /// Left after it, in the bucket or in the eyes of another scrub.
    pub orphans: u64,
    /// Objects that are as recorded.
    pub sound: u64,
}

impl TieringFaultsReport {
    /// Broken promises of any kind.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.promises.faults() + self.orphans + u64::from(self.sound == 0)
    }

    /// Requests that met a fault, by the row that met the fewest.
    #[must_use]
    pub fn spoiled_min(&self) -> usize {
        self.rows.iter().map(|row| row.spoiled).min().unwrap_or(0)
    }
}

impl fmt::Display for TieringFaultsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<28}{:>6}{:>10}{:>10}{:>10}", "fault", "kills", "requests", "spoiled", "receipts")?;
        for Row { fault, kills, requests, spoiled, receipts } in &self.rows {
            writeln!(f, "{fault:<28}{kills:>6}{requests:>10}{spoiled:>10}{receipts:>10}")?;
        }
        writeln!(f, "{}", self.promises)?;
        writeln!(f, "objects as recorded         {}", self.sound)?;
        writeln!(f, "removed by the scrub        {}", self.removed)?;
        write!(f, "orphans after it            {}", self.orphans)
    }
}

/// Runs it.
pub async fn kill_and_read_back(run: &TieringFaultsRun) -> Result<TieringFaultsReport, Failure> {
    let mut rng = SmallRng::seed_from_u64(run.seed);
    let s3 = S3::start(&run.program, &run.directory).await?;
    let proxy = HttpProxy::to(s3.address(), run.seed).await?;
    let environment = S3::environment_through(&proxy.address().to_string());
    let environment: Vec<_> = environment.iter().map(|(key, value)| (*key, value.as_str())).chain([ROLLOVER]).collect();
    let store = format!("s3://{BUCKET}");
    let mut server = Standalone::start_offloading(&run.directory, &store, &environment).await?;
    let load = Load::start(vec![server.address()], &server.admin(), Keeping::Everything, run.seed).await?;
    let mut rows = Vec::new();
    for (fault, fate) in &run.faults {
        let (seen, receipts) = (proxy.seen().len(), load.receipts());
        for time in 1..=run.times {
            proxy.set(Vec::new());
            load.receipts_grow_by(1000, &format!("before kill {time} under {fault}")).await?;
            let every = Rule { method: None, one_in: ONE_IN, ..Rule::every(hyper::Method::GET, "geminga", *fate) };
            proxy.set(vec![every]);
            let before = proxy.seen().len();
            eventually("a request meets the fault", MOVED_WITHIN, async || {
                proxy.seen()[before..].iter().any(|seen| seen.fate.is_some()).then_some(())
            })
            .await?;
            under_load_for(Duration::from_millis(rng.random_range(0..500))).await;
            server.process().kill();
            if rng.random() {
                proxy.set(Vec::new());
            }
            server.restart().await?;
            load.restarted();
        }
        let seen = &proxy.seen()[seen..];
        let spoiled = seen.iter().filter(|seen| seen.fate.is_some()).count();
        let (kills, requests, receipts) = (run.times, seen.len(), load.receipts() - receipts);
        rows.push(Row { fault, kills, requests, spoiled, receipts });
    }
    proxy.set(Vec::new());
    load.receipts_grow_by(50, "at the end").await?;
    let admin = server.admin();
    let mut counted = (0, 0, 0);
    let promises = load
        .finish_after(async {
            move_everything(&admin).await?;
            counted = scrub(&admin, &s3.client()?).await?;
            Ok(())
        })
        .await?;
    let (removed, orphans, sound) = counted;
    Ok(TieringFaultsReport { rows, promises, removed, orphans, sound })
}

/// Until nothing of the topic is on bookies any more.
async fn move_everything(admin: &Admin) -> Result<(), Failure> {
    eventually("everything has moved and bookies have forgotten it", MOVED_WITHIN, async || {
        let status = admin.get("/admin/v2/geminga/offload/status").await.ok()?;
        if status["hotBytes"] == 0 && status["coldBytes"] == status["savedBytes"] {
            return Some(());
        }
        let progress = admin.get(&format!("{PAGE}/offload")).await.ok()?;
        if status["hotBytes"] != 0 && progress["status"] != "RUNNING" {
            let all = json!({"ledgerId": i64::MAX, "entryId": 0, "partitionIndex": -1});
            let _ = admin.put(&format!("{PAGE}/offload"), Some(all)).await; // It is asked for again.
        }
        None
    })
    .await
}

/// Removes what nobody needs once intents are worked off. Returns what was removed, what is left and must not be, and what is sound.
async fn scrub(admin: &Admin, bucket: &AmazonS3) -> Result<(u64, u64, u64), Failure> {
    const PATH: &str = "/admin/v2/geminga/offload/scrub?remove=true&graceSeconds=0";
    let count = |found: &Value, what: &str| found["stores"][0][what].as_array().map_or(0, Vec::len) as u64;
    let mut removed = 0;
    let found = eventually("intents are worked off", MOVED_WITHIN, async || {
        let found = admin.ask(PATH).await.ok()?;
        removed += count(&found, "orphans");
        (found["stores"][0]["intended"] == 0 && count(&found, "orphans") == 0).then_some(found)
    })
    .await?;
    let sound = found["stores"][0]["sound"].as_u64().unwrap_or(0);
    let wrong = ["missing", "wrongSize", "surplus", "unknown"].map(|what| count(&found, what));
    let listed: Vec<_> = bucket.list(Some(&Name::from("geminga"))).try_collect().await.map_err(Failure::internal)?;
    Ok((removed, wrong.iter().sum::<u64>() + (listed.len() as u64).abs_diff(sound), sound))
}
