//! How quickly consumers read a topic from the store when no bookie has it, beside plain requests for the same objects in the same run.
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemon::Failure;
use futures::TryStreamExt;
use futures::future::try_join_all;
use proto::Position;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

use super::house::{House, StoreKind};
use crate::client::{Event, Publisher, Start, Subscriber, Subscription};
use crate::goals::Goals;
use crate::plain::{Plain, SMALLEST, read_ranges};

const TOPIC: &str = "persistent://public/default/tiered-reading";
/// The same as the admin interface has it.
const TOPIC_NAME: &str = "public/default/tiered-reading";
const MESSAGE_WITHIN: Duration = Duration::from_secs(60);
/// Bytes published whose receipt is not there.
const WINDOW_BYTES: usize = 16 << 20;
/// Messages under way to one consumer.
const PERMITS: u32 = 500;

/// What is written and read.
#[derive(Debug, Clone)]
pub struct ReadingRun {
    /// Which store.
    pub store: StoreKind,
    /// Payload of the topic.
    pub bytes: u64,
    /// Of one message; a batch of small ones is one to the server.
    pub message_bytes: usize,
    /// How many consumers start together, one number after the other.
    pub readers: Vec<u32>,
    /// That start equally far apart.
    pub apart: u32,
    /// Bytes that each of these reads at most; without it they read everything between them.
    pub apart_bytes: Option<u64>,
    /// For data and output. Must be there.
    pub directory: PathBuf,
}

/// One way of reading.
#[derive(Debug, Clone)]
struct Row {
    what: String,
    bytes: u64,
    took: Duration,
    gets: u64,
    resident_bytes: u64,
}

/// What was measured.
#[derive(Debug, Clone)]
pub struct ReadingReport {
    moved: Duration,
    payload_bytes: u64,
    object_bytes: u64,
    puts: u64,
    plain: Plain,
    rows: Vec<Row>,
    /// What was missed. Rates of small runs and of builds without optimisation mean nothing.
    pub goals: Goals,
}

impl fmt::Display for ReadingReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (gb, seconds) = (self.object_bytes as f64 / 1e9, self.moved.as_secs_f64());
        let rate = self.payload_bytes as f64 / 1e6 / seconds;
        writeln!(
            f,
            "moved {} bytes at {rate:.0} MB/s with {:.1} PUTs per GB",
            self.payload_bytes,
            self.puts as f64 / gb
        )?;
        write!(f, "{}", self.plain)?;
        let plain = self.plain.best();
        for Row { what, bytes, took, gets, resident_bytes } in &self.rows {
            let (bytes, mib) = (*bytes as f64, resident_bytes >> 20);
            let (rate, per_gb) = (bytes / 1e6 / took.as_secs_f64(), *gets as f64 / (bytes / 1e9));
            let ratio = rate / plain;
            writeln!(
                f,
                "{what:<40} {rate:>7.0} MB/s, {ratio:.2} of plain, {gets:>6} GETs {per_gb:>6.1} per GB, {mib} MiB"
            )?;
        }
        write!(f, "{}", self.goals)
    }
}

/// Publishes one topic, moves it, waits until the bookie has forgotten it, and reads it in several ways. The server is started again
/// before each, so that nothing is in its memory.
pub async fn read_as_consumers(run: &ReadingRun) -> Result<ReadingReport, Failure> {
    let mut house = Box::pin(House::start(false, run.store, &run.directory)).await?;
    let positions = Arc::new(publish(run, &house).await?);
    let payload_bytes = (positions.len() * run.message_bytes) as u64;
    let began = Instant::now();
    house.move_all(&[TOPIC_NAME.to_owned()]).await?;
    let moved = began.elapsed();
    house.forgotten(payload_bytes, 1).await?;
    let (object_bytes, _) = house.objects().await?;
    let puts = house.asked().await?.puts;
    let plain = read_plainly(&house).await?;
    let mut report =
        ReadingReport { moved, payload_bytes, object_bytes, puts, plain, rows: Vec::new(), goals: Goals::default() };

    let count = positions.len();
    for readers in &run.readers {
        let parts = vec![(0, count); *readers as usize];
        let what = if *readers == 1 { "one consumer".into() } else { format!("{readers} consumers together") };
        report.rows.push(row(run, &mut house, what, &positions, parts).await?);
    }
    let share = count / run.apart.max(1) as usize;
    let each = run.apart_bytes.map_or(share, |bytes| share.min((bytes / run.message_bytes as u64) as usize));
    let parts = (0..run.apart as usize).map(|at| (at * share, each)).collect();
    let far = (share * run.message_bytes) as f64 / 1e9;
    let what = format!("{} consumers {far:.2} GB apart", run.apart);
    report.rows.push(row(run, &mut house, what, &positions, parts).await?);
    judge(run, &mut report);
    Ok(report)
}

fn judge(run: &ReadingRun, report: &mut ReadingReport) {
    let plain = report.plain.best();
    let gb = report.object_bytes as f64 / 1e9;
    let goals = &mut report.goals;
    let is_large = SMALLEST <= report.object_bytes;
    if is_large {
        goals.at_most("PUTs per GB", report.puts as f64 / gb, 20.0);
    }
    let alone = report.rows.iter().zip(&run.readers).find(|(_, readers)| **readers == 1).map(|(row, _)| row.gets);
    for (row, readers) in report.rows.iter().zip(run.readers.iter().map(Some).chain([None])) {
        let rate = row.bytes as f64 / 1e6 / row.took.as_secs_f64();
        goals.at_least(&format!("{}: share of plain requests", row.what), rate / plain, 0.7);
        if readers == Some(&1) {
            if is_large {
                goals.at_most("GETs per GB of one consumer", row.gets as f64 / gb, 70.0);
            }
            if run.store == StoreKind::Directory {
                goals.at_least("MB/s of one consumer from a local directory", rate, 400.0);
            }
        }
        if let (Some(_), Some(alone)) = (readers, alone) {
            goals.at_most(&format!("{}: GETs per GET of one", row.what), row.gets as f64 / alone.max(1) as f64, 1.2);
        }
    }
}

/// Each position is of the message with that number.
async fn publish(run: &ReadingRun, house: &House) -> Result<Vec<Position>, Failure> {
    let count = (run.bytes / run.message_bytes as u64).max(1);
    let mut publisher = Publisher::open(&house.servers.addresses(), TOPIC).await?;
    let producer = crate::client::ProducerId(0);
    let window = (WINDOW_BYTES / run.message_bytes).max(1);
    let (mut positions, mut payload) = (Vec::new(), vec![0; run.message_bytes]);
    for number in 0..count {
        SmallRng::seed_from_u64(number).fill_bytes(&mut payload);
        payload[..8].copy_from_slice(&number.to_be_bytes());
        publisher.publish(producer, &payload);
        if window <= publisher.awaited() {
            publisher.flush().await?;
            while window / 2 < publisher.awaited() {
                positions.push(publisher.receipt().await?.position);
            }
        }
    }
    publisher.flush().await?;
    while 0 < publisher.awaited() {
        positions.push(publisher.receipt().await?.position);
    }
    publisher.close().await?;
    Ok(positions)
}

/// All objects, as the crate gives them.
async fn read_plainly(house: &House) -> Result<Plain, Failure> {
    let objects = house.target.objects()?;
    let listed: Vec<_> = objects
        .list(None)
        .map_ok(|object| (object.location, object.size))
        .try_collect()
        .await
        .map_err(Failure::internal)?;
    let mut plain = Plain::default();
    for _ in 0..2 {
        for at_once in [1, 2] {
            let began = Instant::now();
            let bytes = read_ranges(&objects, &listed, at_once).await?;
            plain.note(at_once, bytes, began.elapsed());
        }
    }
    Ok(plain)
}

/// Every part is read by a consumer of its own: from which message on, and how many.
async fn row(
    run: &ReadingRun,
    house: &mut House,
    what: String,
    positions: &Arc<Vec<Position>>,
    parts: Vec<(usize, usize)>,
) -> Result<Row, Failure> {
    house.servers.restart().await?;
    let addresses = house.servers.addresses();
    let bytes = parts.iter().map(|(_, count)| (count * run.message_bytes) as u64).sum();
    let began = Instant::now();
    let tasks = (0..).zip(parts).map(|(number, (first, count)): (u32, _)| {
        let (addresses, positions, size) = (addresses.clone(), Arc::clone(positions), run.message_bytes);
        // Tasks of their own: each on any of the processors, like processes of strangers.
        let name = format!("reader-{number}");
        tokio::spawn(async move { consume(&name, &addresses, &positions, first, count, size).await })
    });
    for ended in try_join_all(tasks).await.map_err(Failure::internal)? {
        ended?;
    }
    let took = began.elapsed();
    let resident_bytes = house.resident().first().map_or(0, |(_, bytes)| *bytes);
    Ok(Row { what, bytes, took, gets: house.asked().await?.gets, resident_bytes })
}

async fn consume(
    name: &str,
    addresses: &[String],
    positions: &[Position],
    first: usize,
    count: usize,
    size: usize,
) -> Result<(), Failure> {
    let start = positions.get(first).map_or(Start::Earliest, |position| Start::At(*position));
    let subscription = Subscription { name, start, permits: PERMITS, ..Subscription::reader(TOPIC) };
    let mut subscriber = Subscriber::open(addresses, &subscription).await?;
    for (number, position) in positions.iter().enumerate().skip(first).take(count) {
        let delivery = loop {
            let event = tokio::time::timeout(MESSAGE_WITHIN, subscriber.next()).await;
            let event = event.map_err(|_| Failure::internal(format!("message {number} did not come")))??;
            if let Event::Message(delivery) = event {
                break delivery;
            }
        };
        // Its bytes were compared with its checksum by the client.
        let found = delivery.payload.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes) as usize);
        if found != Some(number) || delivery.position != *position || delivery.payload.len() != size {
            let (came, length) = (delivery.position, delivery.payload.len());
            return Err(Failure::internal(format!("message {number} is {found:?} at {came}, of {length} bytes")));
        }
    }
    Ok(())
}
