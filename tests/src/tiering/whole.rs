//! All that was published comes back from the store, byte by byte, when the bookies' copies are gone and everything was started again.
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use daemon::Failure;
use futures::future::try_join_all;
use serde::Deserialize;
use tokio::process::Command;

use super::house::{Asked, House, StoreKind};
use crate::cluster::python;

/// Copies of an entry in the cluster that is started here.
const CLUSTER_COPIES: u64 = 3;
/// What a bookie without entries may take, beside freed files: a segment that is written, the one to follow it, its index, and in
/// standalone the metadata.
const BOOKIE_BYTES_MAX: u64 = 160 << 20;

/// How much and where.
#[derive(Debug, Clone)]
pub struct TieringRun {
    /// A cluster of processes, or standalone.
    pub cluster: bool,
    /// Which store.
    pub store: StoreKind,
    /// Of all messages, about.
    pub bytes: u64,
    /// That share them.
    pub topics: u32,
    /// Of a message, about.
    pub message_bytes: u64,
    /// What each of our processes may take in memory at most.
    pub resident_bytes_max: u64,
    /// Tells runs apart: no two seeds have a message in common.
    pub seed: u32,
    /// For data and output. Must be there.
    pub directory: PathBuf,
}

/// What passed by the Python client.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Seen {
    messages: u64,
    bytes: u64,
    hash: String,
}

/// What was measured. That it is there says that all came back equal, in order, from the store.
#[derive(Debug, Clone, Default)]
pub struct TieringReport {
    /// Of all messages.
    pub bytes: u64,
    /// In the store.
    pub objects: u64,
    messages: u64,
    object_bytes: u64,
    took: Vec<(&'static str, Duration)>,
    bookie_bytes: Vec<(&'static str, u64, u64)>,
    copies: u64,
    writing: Asked,
    reading: Asked,
    resident: Vec<(&'static str, Vec<(String, u64)>)>,
    resident_bytes_max: u64,
}

impl fmt::Display for TieringReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        writeln!(f, "{} messages, {} bytes: came back equal and in order from the store", self.messages, self.bytes)?;
        for (what, took) in &self.took {
            let seconds = took.as_secs_f64();
            writeln!(f, "{what:<44} {seconds:>7.1} s {:>7.1} MB/s", self.bytes as f64 / 1e6 / seconds)?;
        }
        writeln!(f, "in the store: {} objects, {} bytes", self.objects, self.object_bytes)?;
        let gb = self.object_bytes as f64 / 1e9;
        let per_gb = |asked: &Asked| (asked.puts as f64 / gb, asked.gets as f64 / gb);
        let ((puts, gets), (_, read)) = (per_gb(&self.writing), per_gb(&self.reading));
        writeln!(f, "requests per GB: {puts:.1} PUTs and {gets:.1} GETs to move it, {read:.1} GETs to read it")?;
        for (when, used, spare) in &self.bookie_bytes {
            let (all, spare, needed) = (mib(*used), mib(*spare), mib(used - spare));
            let copies = self.copies;
            writeln!(
                f,
                "bookies' disks {when}: {needed:.0} MiB for {copies} copies, and {spare:.0} MiB kept to be used again, {all:.0} MiB in all"
            )?;
        }
        for (when, processes) in &self.resident {
            for (name, bytes) in processes {
                writeln!(f, "resident at most {when}: {name} {:.0} MiB", mib(*bytes))?;
            }
        }
        writeln!(f, "bound of ours: {:.0} MiB each", mib(self.resident_bytes_max))
    }
}

/// Publishes, moves, waits until the bookies have forgotten it, starts again, reads back.
pub async fn move_and_read_back(run: &TieringRun) -> Result<TieringReport, Failure> {
    let python = python().or_say_so().ok_or_else(|| Failure::usage("there is no Python client"))?;
    let mut house = Box::pin(House::start(run.cluster, run.store, &run.directory)).await?;
    let copies = if run.cluster { CLUSTER_COPIES } else { 1 };
    let mut report = TieringReport { copies, resident_bytes_max: run.resident_bytes_max, ..TieringReport::default() };
    let url = house.servers.url();

    let began = Instant::now();
    let published = clients(&python, run, &url, "publish").await?;
    report.bytes = published.iter().map(|seen| seen.bytes).sum();
    report.messages = published.iter().map(|seen| seen.messages).sum();
    report.took.push(("published by the Python client", began.elapsed()));
    let (used, spare) = house.bookie_bytes().await?;
    report.bookie_bytes.push(("before", used, spare));

    let began = Instant::now();
    let topics: Vec<_> = (0..run.topics).map(|number| topic(number).replace("persistent://", "")).collect();
    house.move_all(&topics).await?;
    report.took.push(("moved to the store and read back there", began.elapsed()));
    let began = Instant::now();
    house.forgotten(report.bytes, copies).await?;
    report.took.push(("forgotten by the bookies, after the lag", began.elapsed()));
    let (used, spare) = house.bookie_bytes().await?;
    report.bookie_bytes.push(("after", used, spare));
    let bookies = house.servers.bookies().len() as u64;
    if bookies * BOOKIE_BYTES_MAX < used - spare {
        let what = format!("bookies still need {} bytes when they have forgotten everything", used - spare);
        return Err(Failure::internal(what));
    }
    (report.object_bytes, report.objects) = house.objects().await?;
    report.writing = house.asked().await?;
    note_memory(&mut house, "until it was moved", &mut report)?;
    house.is_sound().await?;

    house.servers.restart().await?;
    let began = Instant::now();
    let read = clients(&python, run, &url, "read").await?;
    report.took.push(("read back by the Python client", began.elapsed()));
    report.reading = house.asked().await?;
    note_memory(&mut house, "while it was read", &mut report)?;
    if read != published {
        return Err(Failure::internal(format!("published {published:?}, read {read:?}")));
    }
    if report.object_bytes < report.bytes || report.reading.received_bytes < report.bytes {
        let (asked, objects) = (report.reading, report.object_bytes);
        let what = format!("{} bytes came back, with {objects} in the store and {asked:?}", report.bytes);
        return Err(Failure::internal(what));
    }
    Ok(report)
}

fn topic(number: u32) -> String {
    format!("persistent://public/default/tiering-{number}")
}

/// One Python client for each topic, side by side.
async fn clients(python: &Path, run: &TieringRun, url: &str, what: &str) -> Result<Vec<Seen>, Failure> {
    let count = (run.bytes / u64::from(run.topics.max(1)) / run.message_bytes.max(1)).max(1);
    let client = async |number: u32| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/tiered_bytes.py");
        let mut command = Command::new(python);
        command.arg(script).args([what, url, &topic(number)]);
        command
            .args([u64::from(run.seed) + u64::from(number), count, run.message_bytes].map(|value| value.to_string()));
        command.stdin(Stdio::null()).kill_on_drop(true);
        let name = format!("{:?}", command.as_std());
        let output = command.output().await.map_err(|error| Failure::internal(format!("{name}: {error}")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::internal(format!("{name}: {}: {said}", output.status)));
        }
        serde_json::from_slice::<Seen>(&output.stdout).map_err(|error| Failure::internal(format!("{name}: {error}")))
    };
    try_join_all((0..run.topics).map(client)).await
}

fn note_memory(house: &mut House, when: &'static str, report: &mut TieringReport) -> Result<(), Failure> {
    let processes = house.resident();
    let is_ours = |name: &str| !name.starts_with("s3-server");
    let too_much = processes.iter().find(|(name, bytes)| is_ours(name) && report.resident_bytes_max < *bytes);
    let outcome = too_much.map_or(Ok(()), |(name, bytes)| {
        let (took, bound) = (bytes >> 20, report.resident_bytes_max >> 20);
        Err(Failure::internal(format!("{name} took {took} MiB {when}, more than {bound}")))
    });
    report.resident.push((when, processes));
    outcome
}
