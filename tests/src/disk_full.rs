//! Disks become full and empty again: what is refused, what goes on, and whether anybody has to help.
//!
//! Each bookie gets a small file system in memory of its own, which needs root.
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use daemon::Failure;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use serde_json::json;

use crate::client::{ClientError, Event, ProducerId, Publisher, Subscriber, Subscription};
use crate::cluster::{Admin, Bookie, Cluster, Shape, Standalone};
use crate::deadline::{eventually, under_load_for};

/// The first stays, the others are deleted.
const TOPICS: usize = 4;
const MESSAGE_BYTES: usize = 16 << 10;
const WINDOW: usize = 64;
/// Without a receipt for so long, and with every bookie read-only, the disks are full.
const SILENCE: Duration = Duration::from_secs(5);
const FULL_WITHIN: Duration = Duration::from_secs(300);
const READ_WITHIN: Duration = Duration::from_secs(60);
const SPACE_WITHIN: Duration = Duration::from_secs(120);
const WRITES_WITHIN: Duration = Duration::from_secs(120);
/// The subscription that reads while disks are full.
const READS_ON: &str = "reads-on";
/// Made while disks are full.
const CHANGES: u32 = 200;
/// What a bookie keeps on any but a small disk.
const RESERVE: u64 = 32 << 20;
const PAUSE: Duration = Duration::from_millis(200);

/// How much and where.
#[derive(Debug, Clone)]
pub struct DiskFullRun {
    /// Three bookies, or standalone.
    pub cluster: bool,
    /// Of each file system.
    pub disk_mib: u64,
    /// Fill the disk with somebody else's bytes as well, to the last block.
    pub to_the_last_block: bool,
    /// For mount points and output. Must be there.
    pub directory: PathBuf,
}

/// What was seen.
#[derive(Debug, Clone, Default)]
pub struct DiskFullReport {
    /// Messages with a receipt.
    pub acknowledged: u64,
    /// Of these, those in the topic that stayed,
    pub kept: u64,
    /// and of these, those that could not be read at the end.
    pub lost: u64,
    /// Until every bookie was read-only.
    pub full_after: Duration,
    /// Free bytes per disk then.
    pub free_when_full: Vec<u64>,
    /// Messages read and acknowledged by a consumer meanwhile.
    pub read_while_full: u64,
    /// Until a process that was killed was ready again.
    pub started_again_in: Duration,
    /// From the deletion of topics until bookies took entries.
    pub space_after: Duration,
    /// From then until the producer, which kept trying, had a receipt.
    pub writes_after: Duration,
}

impl fmt::Display for DiskFullReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acknowledged, kept, lost, read_while_full, .. } = self;
        writeln!(f, "acknowledged {acknowledged}, of these {kept} in the topic that stayed, lost {lost}")?;
        let free: Vec<String> = self.free_when_full.iter().map(|free| format!("{:.1} MiB", mib(*free))).collect();
        writeln!(f, "full after {:.1} s, free: {}", self.full_after.as_secs_f64(), free.join(", "))?;
        writeln!(f, "read and acknowledged while full: {read_while_full}")?;
        writeln!(f, "killed and started on the full disk: ready in {:.1} s", self.started_again_in.as_secs_f64())?;
        writeln!(f, "entries taken {:.1} s after topics were deleted", self.space_after.as_secs_f64())?;
        writeln!(f, "first receipt {:.1} s after that", self.writes_after.as_secs_f64())
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Why this machine cannot run the check, if so.
#[must_use]
pub fn obstacle() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("it mounts file systems, which needs root".into());
    }
    let place = tempfile::tempdir().ok()?;
    Disk::mount(place.path(), 1).err().map(|failure| failure.message)
}

/// A file system in memory.
#[derive(Debug)]
struct Disk {
    at: PathBuf,
}

fn run(program: &str, arguments: &[&str]) -> Result<(), Failure> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| Failure::usage(format!("{program}: {error}")))?;
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(()),
        false => Err(Failure::usage(format!("{program} {}: {}: {said}", arguments.join(" "), output.status))),
    }
}

impl Disk {
    fn mount(at: &Path, disk_mib: u64) -> Result<Self, Failure> {
        std::fs::create_dir_all(at).map_err(Failure::internal)?;
        let text = at.to_str().expect("test directories have plain names");
        run("mount", &["-t", "tmpfs", "-o", &format!("size={disk_mib}m"), "tmpfs", text])?;
        Ok(Self { at: at.into() })
    }

    fn free(&self) -> Result<u64, Failure> {
        let numbers = rustix::fs::statvfs(&self.at).map_err(Failure::internal)?;
        Ok(numbers.f_bavail * numbers.f_frsize)
    }

    fn strangers(&self) -> PathBuf {
        self.at.join("somebody-elses")
    }

    /// Somebody else takes all there is.
    fn fill(&self) -> Result<(), Failure> {
        use std::io::Write;
        let mut file = std::fs::File::create(self.strangers()).map_err(Failure::internal)?;
        let block = vec![7; 1 << 16];
        while file.write_all(&block).is_ok() {}
        Ok(())
    }

    fn clear(&self) -> Result<(), Failure> {
        std::fs::remove_file(self.strangers()).map_err(Failure::internal)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let text = self.at.to_str().unwrap_or_default();
        if run("umount", &["-l", text]).is_err() {
            eprintln!("{text} is still mounted");
        }
    }
}

/// A running system.
enum Servers {
    One(Box<Standalone>),
    Many(Box<Cluster>),
}

impl Servers {
    fn addresses(&self) -> Vec<String> {
        match self {
            Self::One(server) => vec![server.address()],
            Self::Many(cluster) => cluster.addresses(),
        }
    }

    fn admin(&self) -> Admin {
        match self {
            Self::One(server) => server.admin(),
            Self::Many(cluster) => cluster.brokers[0].admin(),
        }
    }

    fn bookies(&self) -> Vec<Admin> {
        match self {
            Self::One(server) => vec![server.admin()],
            Self::Many(cluster) => cluster.bookies.iter().map(Bookie::admin).collect(),
        }
    }

    /// Kills what keeps entries, and starts it again.
    async fn killed_and_started(&mut self) -> Result<Duration, Failure> {
        let began = Instant::now();
        match self {
            Self::One(server) => {
                server.process().kill();
                server.restart().await?;
            }
            Self::Many(cluster) => {
                cluster.bookies.iter_mut().for_each(|bookie| bookie.process().kill());
                for bookie in &mut cluster.bookies {
                    bookie.restart().await?;
                }
            }
        }
        Ok(began.elapsed())
    }

    /// Waits until each bookie has made so much of its reserve, or all of it.
    async fn have_a_reserve(&self, wanted: u64) -> Result<(), Failure> {
        eventually("bookies have something in reserve", SPACE_WITHIN, async || {
            for bookie in self.bookies() {
                let kept = bookie.metric("bookie_reserve_bytes").await.ok()?;
                (wanted.min(RESERVE) as f64 <= kept).then_some(())?;
            }
            Some(())
        })
        .await
    }

    /// How many bookies take entries.
    async fn writable(&self) -> Result<usize, Failure> {
        let mut writable = 0;
        for bookie in self.bookies() {
            writable += usize::from(0.0 < bookie.metric("bookie_ledger_writable_dirs").await?);
        }
        Ok(writable)
    }
}

fn topic(number: usize) -> String {
    format!("persistent://public/default/disk-{number}")
}

fn payload(topic: usize, number: u64) -> Vec<u8> {
    let mut bytes = vec![0; MESSAGE_BYTES];
    SmallRng::seed_from_u64((topic as u64) << 48 | number).fill_bytes(&mut bytes);
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// A producer of one topic that never gives up. What it had no receipt for is not sent again, under another number or this one.
struct Writer {
    addresses: Vec<String>,
    topic: usize,
    open: Option<Publisher>,
    /// Numbers under way.
    sent: Vec<u64>,
    next: u64,
    acknowledged: BTreeSet<u64>,
}

impl Writer {
    fn new(addresses: Vec<String>, topic: usize) -> Self {
        Self { addresses, topic, open: None, sent: Vec::new(), next: 0, acknowledged: BTreeSet::new() }
    }

    /// Sends what fits into the window and takes a receipt, if one comes soon.
    async fn step(&mut self) -> Result<bool, Failure> {
        let attempt = tokio::time::timeout(Duration::from_secs(1), self.attempt()).await;
        match attempt {
            Ok(Ok(())) => Ok(true),
            Err(_) => Ok(false),
            Ok(Err(error)) if error.passes() => {
                (self.open, self.sent) = (None, Vec::new());
                under_load_for(PAUSE).await;
                Ok(false)
            }
            Ok(Err(error)) => Err(error.into()),
        }
    }

    async fn attempt(&mut self) -> Result<(), ClientError> {
        let publisher = match &mut self.open {
            Some(publisher) => publisher,
            None => self.open.insert(Publisher::open(&self.addresses, &topic(self.topic)).await?),
        };
        while self.sent.len() < WINDOW {
            publisher.publish(ProducerId(0), &payload(self.topic, self.next));
            self.sent.push(self.next);
            self.next += 1;
        }
        publisher.flush().await?;
        publisher.receipt().await?;
        self.acknowledged.insert(self.sent.remove(0));
        Ok(())
    }
}

/// Reads a topic from its first message on until all of `wanted` has come, and acknowledges if the subscription is durable.
async fn read(
    addresses: &[String],
    subscription: &Subscription<'_>,
    wanted: &BTreeSet<u64>,
) -> Result<BTreeSet<u64>, Failure> {
    let mut missing = wanted.clone();
    let end = Instant::now() + READ_WITHIN;
    while !missing.is_empty() && Instant::now() < end {
        let attempt = read_on(addresses, subscription, &mut missing);
        match tokio::time::timeout_at(end.into(), attempt).await {
            Ok(Ok(())) | Err(_) => break,
            Ok(Err(error)) if error.passes() => under_load_for(PAUSE).await,
            Ok(Err(error)) => return Err(error.into()),
        }
    }
    Ok(missing)
}

async fn read_on(
    addresses: &[String],
    subscription: &Subscription<'_>,
    missing: &mut BTreeSet<u64>,
) -> Result<(), ClientError> {
    let mut subscriber = Subscriber::open(addresses, subscription).await?;
    while !missing.is_empty() {
        let Event::Message(delivery) = subscriber.next().await? else { continue };
        let number: [u8; 8] = delivery.payload[..8].try_into().expect("a message is longer");
        let number = u64::from_le_bytes(number);
        if delivery.payload != payload(0, number) {
            return Err(ClientError::Protocol(format!("message {number} came back as another")));
        }
        missing.remove(&number);
        if subscription.durable {
            subscriber.acknowledge_up_to(delivery.position);
            subscriber.flush().await?;
        }
    }
    Ok(())
}

/// Fills, reads, kills, deletes, and waits for writes to go on.
pub async fn fill_disks(check: &DiskFullRun) -> Result<DiskFullReport, Failure> {
    let name = if check.cluster { "bookie" } else { "data" };
    let disks: Result<Vec<Disk>, Failure> = (0..if check.cluster { 3 } else { 1 })
        .map(|number| Disk::mount(&check.directory.join(format!("{name}-{number}")), check.disk_mib))
        .collect();
    let disks = disks?;
    // Declared after the disks, so dropped before they are unmounted.
    let mut servers = if check.cluster {
        Servers::Many(Box::new(Box::pin(Cluster::start(&check.directory, &Shape::default())).await?))
    } else {
        Servers::One(Box::new(Standalone::start_with(&check.directory, &disks[0].at.join("data"), &[]).await?))
    };
    // What is read and acknowledged is looked for at the end, too.
    let for_ever = json!({"retentionTimeInMinutes": -1, "retentionSizeInMB": -1});
    servers.admin().post("/admin/v2/namespaces/public/default/retention", Some(for_ever)).await?;
    servers.have_a_reserve((check.disk_mib << 20) / 16).await?;
    let mut report = DiskFullReport::default();
    let mut writers: Vec<Writer> = (0..TOPICS).map(|number| Writer::new(servers.addresses(), number)).collect();
    if check.to_the_last_block {
        // Made while there is room: then there is none for another. Elsewhere it is made on the full disk.
        writers[0].step().await?;
        Subscriber::open(&servers.addresses(), &Subscription::durable(&topic(0), READS_ON)).await?.close().await?;
    }
    report.full_after = fill_until_refused(&servers, &mut writers).await?;
    for disk in &disks {
        report.free_when_full.push(disk.free()?);
    }
    if check.to_the_last_block {
        disks.iter().try_for_each(Disk::fill)?;
    }
    change_metadata(&servers).await?;
    let mut kept = writers.swap_remove(0);
    let (stays, full) = (topic(0), kept.acknowledged.clone());
    let missing = read(&servers.addresses(), &Subscription::durable(&stays, READS_ON), &full).await?;
    report.read_while_full = (full.len() - missing.len()) as u64;
    report.started_again_in = servers.killed_and_started().await?;
    (kept.open, kept.sent) = (None, Vec::new());
    report.acknowledged = writers.iter().map(|writer| writer.acknowledged.len() as u64).sum();
    drop(writers);

    delete_and_resume(&servers, &mut kept, &mut report).await?;
    if check.to_the_last_block {
        disks.iter().try_for_each(Disk::clear)?;
    }
    for _ in 0..200 {
        kept.step().await?;
    }
    report.kept = kept.acknowledged.len() as u64;
    report.acknowledged += report.kept;
    let missing = read(&servers.addresses(), &Subscription::reader(&stays), &kept.acknowledged).await?;
    report.lost = missing.len() as u64;
    Ok(report)
}

/// What is known of names and policies can be changed on a full disk: deletes are.
async fn change_metadata(servers: &Servers) -> Result<(), Failure> {
    let retention = |minutes: u32| json!({"retentionTimeInMinutes": minutes, "retentionSizeInMB": -1});
    for number in 0..CHANGES {
        servers.admin().put(&format!("/admin/v2/namespaces/public/full-{number}"), None).await?;
        let page = format!("/admin/v2/namespaces/public/full-{number}/retention");
        servers.admin().post(&page, Some(retention(number + 1))).await?;
    }
    Ok(())
}

/// Deletes all topics but the first, and waits for space and for a receipt.
async fn delete_and_resume(servers: &Servers, kept: &mut Writer, report: &mut DiskFullReport) -> Result<(), Failure> {
    let before = kept.acknowledged.len();
    let deleted = Instant::now();
    for number in 1..TOPICS {
        let path = format!("/admin/v2/persistent/public/default/disk-{number}?force=true");
        let admin = servers.admin();
        eventually("a topic is deleted", SPACE_WITHIN, async || admin.delete(&path).await.ok()).await?;
    }
    eventually("bookies take entries again", SPACE_WITHIN, async || {
        (servers.writable().await.ok()? == servers.bookies().len()).then_some(())
    })
    .await?;
    report.space_after = deleted.elapsed();
    let resumed = Instant::now();
    while kept.acknowledged.len() == before {
        kept.step().await?;
        if WRITES_WITHIN < resumed.elapsed() {
            return Err(Failure::internal("there is space, and nothing is acknowledged"));
        }
    }
    report.writes_after = resumed.elapsed();
    Ok(())
}

/// Publishes to all topics in turn until nothing is acknowledged any more.
async fn fill_until_refused(servers: &Servers, writers: &mut [Writer]) -> Result<Duration, Failure> {
    let began = Instant::now();
    let (mut heard, mut rounds, mut full_after) = (Instant::now(), 0_u64, None);
    while began.elapsed() < FULL_WITHIN {
        let silent = SILENCE < heard.elapsed();
        rounds += 1;
        if full_after.is_none() && (silent || rounds.is_multiple_of(64)) && servers.writable().await? == 0 {
            full_after = Some(began.elapsed());
        }
        for writer in writers.iter_mut() {
            if writer.step().await? {
                heard = Instant::now();
            }
        }
        if silent
            && SILENCE < heard.elapsed()
            && let Some(full_after) = full_after
        {
            return Ok(full_after);
        }
    }
    Err(Failure::internal("the disks do not become full"))
}
