//! The disk of a bookie is lost for good, and half way through making its copies again another bookie is, too.
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use daemon::Failure;

use crate::backlog::{self, BacklogRun};
use crate::cluster::{Cluster, Servers, Shape};
use crate::crash::{Load, Report};
use crate::deadline::eventually_every;
use crate::records::Records;

/// Three must be left after two are lost.
const BOOKIES: usize = 5;
const COPIES: u64 = 3;
const WITHIN: Duration = Duration::from_secs(3600);
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How much is lost.
#[derive(Debug, Clone)]
pub struct HealRun {
    /// On each bookie's disk, about.
    pub bytes: u64,
    /// Of a ledger.
    pub ledger_mib: u64,
    /// Bytes per second that a repair may copy, in MiB. Without it: the broker's default.
    pub pace_mib: Option<u64>,
    /// Of the load beside it.
    pub seed: u64,
    /// For data and output. Must be there.
    pub directory: PathBuf,
}

/// What came of it. That it is there says that everything written before was read back equal and in order.
#[derive(Debug, Clone)]
pub struct HealReport {
    /// On the disk that was lost first.
    pub lost_bytes: u64,
    /// Ledgers that had a copy there.
    pub ledgers: usize,
    /// Payload that was copied to others.
    pub copied_bytes: u64,
    /// From the first loss until every ledger was whole again.
    pub took: Duration,
    /// Of that, until the second bookie was lost.
    pub half: Duration,
    /// Copies that were read and found whole, of closed ledgers.
    pub whole: u64,
    /// Of the load beside it.
    pub load: Report,
}

impl fmt::Display for HealReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let (lost, copied, took) = (mib(self.lost_bytes), mib(self.copied_bytes), self.took.as_secs_f64());
        writeln!(
            f,
            "lost a disk of {lost:.0} MiB with copies of {} ledgers, and another bookie after {:.0} s",
            self.ledgers,
            self.half.as_secs_f64()
        )?;
        writeln!(
            f,
            "whole again after {took:.0} s: {copied:.0} MiB were copied, {:.1} MiB/s from loss to end",
            copied / took
        )?;
        writeln!(
            f,
            "{} copies of entries were read and are whole; everything written before was read back",
            self.whole
        )?;
        write!(f, "beside it:\n{}", self.load)
    }
}

/// Loses the disks and waits; nothing else is done.
pub async fn lose_disks(run: &HealRun) -> Result<HealReport, Failure> {
    let mut servers = Servers::Many(Box::new(Box::pin(Cluster::start(&run.directory, &shape(run))).await?));
    let filling = filling(run);
    backlog::publish(&filling, &servers).await?;
    let Servers::Many(cluster) = &mut servers else { return Err(Failure::internal("a cluster was started")) };
    let load = Load::start_at_pace(cluster.addresses(), &cluster.brokers[0].admin(), run.seed).await?;
    load.receipts_grow_by(1000, "before anything is lost").await?;
    let records = Records::of(cluster, run.seed).await?;
    let names = names(cluster, &records).await?;

    let begun = Instant::now();
    let (lost_bytes, ledgers) = (lose(cluster, 0, &run.directory)?, records.named(&names[0]).await?.len());
    let half_of_it = lost_bytes / 2;
    let look = async || (half_of_it <= copied(cluster).await).then_some(());
    eventually_every(LOOK_EVERY, "half of what was lost is copied", WITHIN, look).await?;
    let half = begun.elapsed();
    lose(cluster, 1, &run.directory)?;
    let look = async || {
        let named = records.named(&names[0]).await.ok()?.len() + records.named(&names[1]).await.ok()?.len();
        (named == 0 && records.lacking().await.ok()? == 0).then_some(())
    };
    eventually_every(LOOK_EVERY, "every ledger is whole without the bookies that were lost", WITHIN, look).await?;
    let (took, copied_bytes) = (begun.elapsed(), copied(cluster).await);

    let load = load.finish().await?;
    let mut whole = 0;
    for audit in records.audit().await? {
        if let Some(bad) = audit.members.iter().find(|held| !held.answered || held.is_bad()) {
            return Err(Failure::internal(format!("a copy of ledger {} is not whole: {bad:?}", audit.ledger)));
        }
        whole += audit.members.iter().map(|held| held.whole).sum::<u64>();
    }
    for broker in &mut cluster.brokers {
        broker.process().kill(); // Nothing is read from its cache.
        broker.restart().await?;
    }
    backlog::read_back(&filling, &servers).await?;
    Ok(HealReport { lost_bytes, ledgers, copied_bytes, took, half, whole, load })
}

fn shape(run: &HealRun) -> Shape {
    let mut shape = Shape { bookies: BOOKIES, ..Shape::default() };
    let ledger = format!("ledger_bytes_max={}MiB", run.ledger_mib);
    shape.broker_settings.extend([ledger, "repair_after_s=10".to_owned()]);
    shape.broker_settings.extend(run.pace_mib.map(|mib| format!("repair_bytes_per_s={mib}MiB")));
    shape
}

fn filling(run: &HealRun) -> BacklogRun {
    let (topics, message_bytes) = (8, 64 << 10);
    let written = run.bytes * BOOKIES as u64 / COPIES;
    let messages = u32::try_from(written / message_bytes as u64 / u64::from(topics)).unwrap_or(u32::MAX);
    BacklogRun {
        topics,
        messages,
        message_bytes,
        resident_bytes_max: u64::MAX,
        cluster: true,
        sorted: false,
        at_once: 1,
        directory: run.directory.clone(),
    }
}

/// The identities of the bookies, as they were started.
async fn names(cluster: &Cluster, records: &Records) -> Result<Vec<String>, Failure> {
    let registered = records.registered().await?;
    let of = |address: String| registered.get(&address).cloned();
    let names = cluster.bookies.iter().map(|bookie| of(bookie.address())).collect::<Option<_>>();
    names.ok_or_else(|| Failure::internal("a bookie that was started is not registered"))
}

/// Kills a bookie and takes its disk. Returns what lay on it.
fn lose(cluster: &mut Cluster, number: usize, directory: &Path) -> Result<u64, Failure> {
    cluster.bookies[number].process().kill();
    let data = directory.join(format!("bookie-{number}"));
    let files = std::fs::read_dir(&data).map_err(Failure::internal)?;
    let sizes = files.filter_map(|file| file.ok()?.metadata().ok()).map(|metadata| metadata.len());
    let bytes = sizes.sum();
    std::fs::remove_dir_all(&data).map_err(Failure::internal)?;
    Ok(bytes)
}

/// What brokers have copied so far.
async fn copied(cluster: &Cluster) -> u64 {
    let mut bytes = 0.0;
    for broker in &cluster.brokers {
        bytes += broker.admin().metric("ledger_repair_bytes_copied_total").await.unwrap_or(0.0);
    }
    bytes as u64
}
