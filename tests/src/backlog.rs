//! A backlog does not live in memory: many topics are filled without a consumer, everything is started again, and read back.
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use daemon::Failure;
use futures::{StreamExt, TryStreamExt, stream};
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

use crate::client::{Event, ProducerId, Publisher, Route, Subscriber, Subscription, find_owner};
use crate::cluster::Servers;
use crate::deadline::eventually;

const MESSAGE_WITHIN: Duration = Duration::from_secs(60);
/// Bookies wait for five minutes, for as long again while younger segments could join, and then take their time.
const SORTED_WITHIN: Duration = Duration::from_secs(3600);
/// Messages whose receipts are not yet there, over one connection.
const WINDOW: usize = 1024;

/// How much and where.
#[derive(Debug, Clone)]
pub struct BacklogRun {
    /// Topics.
    pub topics: u32,
    /// Messages for each.
    pub messages: u32,
    /// Of one message.
    pub message_bytes: usize,
    /// What each process may keep in memory at most.
    pub resident_bytes_max: u64,
    /// A cluster of processes, or standalone.
    pub cluster: bool,
    /// Wait until bookies have sorted what was written, before reading.
    pub sorted: bool,
    /// Topics read at a time.
    pub at_once: usize,
    /// For data and output. Must be there.
    pub directory: PathBuf,
}

/// What was measured. That it is there says that all came back equal and in order.
#[derive(Debug, Clone, Default)]
pub struct BacklogReport {
    /// Of all messages.
    pub bytes: u64,
    /// Until the last receipt.
    pub published_in: Duration,
    /// From then until bookies had sorted it all. `None`: nobody waited for that.
    pub sorted_in: Option<Duration>,
    /// Until the last message.
    pub read_in: Duration,
    /// What our processes read from disks meanwhile.
    pub disk_bytes_read: u64,
    /// Whether the kernel had forgotten the files.
    pub caches_dropped: bool,
    /// Of each process: its name, and its memory at most while it was filled and while it was read.
    pub resident_bytes_max: Vec<(String, u64)>,
}

impl fmt::Display for BacklogReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.bytes as f64 / f64::from(1 << 20);
        writeln!(f, "{mib:.0} MiB came back equal and in order")?;
        let published = self.published_in.as_secs_f64();
        writeln!(f, "published in {published:.1} s, {:.1} MiB/s", mib / published)?;
        if let Some(sorted) = self.sorted_in {
            writeln!(f, "sorted in {:.0} s", sorted.as_secs_f64())?;
        }
        let read = self.read_in.as_secs_f64();
        writeln!(f, "read in {read:.1} s, {:.1} MiB/s", mib / read)?;
        let dropped = if self.caches_dropped { "" } else { " (caches were not dropped: that needs root)" };
        writeln!(f, "disk bytes read per byte: {:.2}{dropped}", self.disk_bytes_read as f64 / self.bytes as f64)?;
        for (name, bytes) in &self.resident_bytes_max {
            writeln!(f, "resident at most: {name} {:.0} MiB", *bytes as f64 / f64::from(1 << 20))?;
        }
        Ok(())
    }
}

fn topic(number: u32) -> String {
    format!("persistent://public/default/backlog-{number}")
}

/// Bytes that do not compress and are another message's in no place.
fn payload(topic: u32, message: u32, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    SmallRng::seed_from_u64(u64::from(topic) << 32 | u64::from(message)).fill_bytes(&mut bytes);
    bytes
}

/// Fills, starts again, reads back.
pub async fn fill_and_read_back(run: &BacklogRun) -> Result<BacklogReport, Failure> {
    let start =
        async { if run.cluster { Servers::many(&run.directory).await } else { Servers::one(&run.directory).await } };
    let mut servers = Box::pin(start).await?;
    let mut report = BacklogReport { bytes: bytes_of(run), ..Default::default() };
    let began = Instant::now();
    publish(run, &servers).await?;
    report.published_in = began.elapsed();
    note_memory(&mut servers, "filled", run.resident_bytes_max, &mut report)?;
    if run.sorted {
        let began = Instant::now();
        all_sorted(&servers).await?;
        report.sorted_in = Some(began.elapsed());
    }
    servers.restart().await?;
    report.caches_dropped = drop_caches();
    let before = disk_bytes_read(&mut servers);
    let began = Instant::now();
    read_back(run, &servers).await?;
    report.read_in = began.elapsed();
    report.disk_bytes_read = disk_bytes_read(&mut servers) - before;
    note_memory(&mut servers, "read", run.resident_bytes_max, &mut report)?;
    Ok(report)
}

fn bytes_of(run: &BacklogRun) -> u64 {
    u64::from(run.topics) * u64::from(run.messages) * run.message_bytes as u64
}

fn disk_bytes_read(servers: &mut Servers) -> u64 {
    servers.processes().iter().map(|process| process.spending().read_bytes).sum()
}

fn note_memory(servers: &mut Servers, phase: &str, limit: u64, report: &mut BacklogReport) -> Result<(), Failure> {
    for process in servers.processes() {
        let bytes = process.spending().resident_bytes_max;
        report.resident_bytes_max.push((format!("{} when {phase}", process.name()), bytes));
        if limit < bytes {
            let mib = |bytes: u64| bytes >> 20;
            let what = format!("{} took {} MiB when {phase}, more than {}", process.name(), mib(bytes), mib(limit));
            return Err(Failure::internal(what));
        }
    }
    Ok(())
}

/// Makes the kernel forget what it keeps of files, if we may.
fn drop_caches() -> bool {
    rustix::fs::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}

/// Fills all topics.
pub(crate) async fn publish(run: &BacklogRun, servers: &Servers) -> Result<(), Failure> {
    let addresses = servers.addresses();
    let mut publishers: HashMap<Route, Publisher> = HashMap::new();
    let mut producers: Vec<(Route, ProducerId)> = Vec::new();
    for number in 0..run.topics {
        let route = find_owner(&addresses, &topic(number)).await?;
        if !publishers.contains_key(&route) {
            publishers.insert(route.clone(), Publisher::over(route.connect().await?));
        }
        let publisher = publishers.get_mut(&route).expect("it was put there");
        let producer = publisher.attach(&topic(number)).await?;
        producers.push((route, producer));
    }
    for message in 0..run.messages {
        for (number, (route, producer)) in (0_u32..).zip(&producers) {
            let publisher = publishers.get_mut(route).expect("each route has a publisher");
            publisher.publish(*producer, &payload(number, message, run.message_bytes));
            if WINDOW <= publisher.awaited() {
                settle(publisher, WINDOW / 2).await?;
            }
        }
    }
    for publisher in publishers.values_mut() {
        settle(publisher, 0).await?;
    }
    Ok(())
}

/// Sends what is queued and waits until at most `left` receipts are missing.
async fn settle(publisher: &mut Publisher, left: usize) -> Result<(), Failure> {
    publisher.flush().await?;
    while left < publisher.awaited() {
        publisher.receipt().await?;
    }
    Ok(())
}

/// Waits until every segment that is sealed by now was rewritten. The one that is being written stays as it is.
async fn all_sorted(servers: &Servers) -> Result<(), Failure> {
    for bookie in servers.bookies() {
        let sealed = bookie.metric("bookie_ACTIVE_ENTRY_LOG_COUNT").await?;
        let rewritten = bookie.metric("bookie_segments_rewritten_total").await?;
        eventually("old segments are sorted", SORTED_WITHIN, async || {
            let now = bookie.metric("bookie_segments_rewritten_total").await.ok()?;
            (rewritten.max(sealed) <= now).then_some(())
        })
        .await?;
    }
    Ok(())
}

/// Reads all topics back and compares every message.
pub(crate) async fn read_back(run: &BacklogRun, servers: &Servers) -> Result<(), Failure> {
    let addresses = servers.addresses();
    let read = |number| read_topic(run, number, &addresses);
    stream::iter((0..run.topics).map(read)).buffer_unordered(run.at_once).try_collect().await
}

async fn read_topic(run: &BacklogRun, number: u32, addresses: &[String]) -> Result<(), Failure> {
    let name = topic(number);
    let connection = find_owner(addresses, &name).await?.connect().await?;
    let mut reader = Subscriber::attach(connection, &Subscription::reader(&name)).await?;
    let mut message = 0;
    while message < run.messages {
        let event = tokio::time::timeout(MESSAGE_WITHIN, reader.next()).await;
        let event = event.map_err(|_| Failure::internal(format!("message {message} of {name} did not come")))??;
        let Event::Message(delivery) = event else { continue };
        if delivery.payload != payload(number, message, run.message_bytes) {
            return Err(Failure::internal(format!("message {message} of {name} came back different")));
        }
        message += 1;
    }
    reader.close().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_messages_are_alike() {
        let all = [payload(0, 0, 64), payload(0, 1, 64), payload(1, 0, 64)];
        assert!(all[0] != all[1] && all[0] != all[2] && all[1] != all[2]);
        assert_eq!(all[1], payload(0, 1, 64), "and each is always the same");
    }
}
