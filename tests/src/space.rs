//! What giving space back costs and buys on a real disk: bytes written per byte in fresh files and in used ones, what reading some of many
//! ledgers reads before and after they are sorted, and what a publisher feels meanwhile.
//!
//! One bookie in this process, so that the process's own counts of disk bytes are the bookie's.
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bookie::{Bookie, Handle, Options, Session};
use bytes::Bytes;
use daemon::Failure;
use daemon::metrics::MetricText;
use metadata::MemoryStore;
use proto::bookie::request::Body;
use proto::bookie::{Add, Answer, Delete, Read, Request, Status};
use proto::digest::entry_digest;
use proto::{EntryId, LedgerId};
use rand::TryRngCore;
use rand::rngs::OsRng;
use tokio::sync::mpsc::Receiver;

use crate::deadline::eventually;

/// A producer's batch of messages of 1 KiB.
const BATCH_BYTES: usize = 128 << 10;
const CHUNK_BYTES: usize = 8 << 20;
const WITHIN: Duration = Duration::from_secs(1800);
/// Until then nothing is rewritten because it is old.
const LATER: Duration = Duration::from_secs(3600);
/// The flood's ledgers come first, then the one that a lone publisher writes to, then those that lie among each other.
const LONE: u64 = 1000;
const FIRST_AMONG: u64 = 1001;
/// A prime: with it every ledger has its turn, unless their number is a multiple of it.
const STRIDE: u64 = 379;

/// What is done.
#[derive(Debug, Clone)]
pub struct SpaceRun {
    /// Bytes published in batches into used files.
    pub flood_bytes: u64,
    /// Of the segments.
    pub segment_bytes: u64,
    /// That lie among each other.
    pub ledgers: u64,
    /// Of each of them, 1 KiB each.
    pub entries: u64,
    /// Ledgers read at a time.
    pub readers: u64,
    /// How long a segment is left as it was.
    pub rewrite_after: Duration,
    /// A directory on the disk that is measured.
    pub directory: PathBuf,
}

/// Bytes for the disk, as this process's counters and the bookie's own have them.
#[derive(Debug, Clone, Copy)]
struct Written {
    payload: u64,
    process: u64,
    journal: u64,
    zeros: u64,
}

/// How long single entries took, sorted.
#[derive(Debug, Clone)]
struct Lone(Vec<Duration>);

/// What was measured.
#[derive(Debug, Clone)]
pub struct SpaceReport {
    fresh: Written,
    used: Written,
    recycled: f64,
    unsorted: f64,
    sorted: f64,
    calm: Lone,
    rewriting: Lone,
    rewritten: f64,
    rewrite_read: f64,
    rewrite_written: f64,
    took: Duration,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_byte = |bytes: u64| bytes as f64 / self.payload as f64;
        let (process, journal, zeros) = (per_byte(self.process), per_byte(self.journal), per_byte(self.zeros));
        write!(f, "{process:.3} bytes written per byte (journal {journal:.3}, zeros {zeros:.3})")
    }
}

impl fmt::Display for Lone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |quantile: f64| self.0.get(((self.0.len() as f64 * quantile) as usize).min(self.0.len() - 1));
        let ms = |quantile| at(quantile).map_or(f64::NAN, |took| took.as_secs_f64() * 1e3);
        let (half, most, nearly_all) = (ms(0.5), ms(0.99), ms(0.999));
        write!(f, "p50 {half:.2} ms, p99 {most:.2} ms, p99.9 {nearly_all:.2} ms of {}", self.0.len())
    }
}

impl fmt::Display for SpaceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "flood into fresh files: {}", self.fresh)?;
        writeln!(f, "flood into used files:  {}, {} files used again", self.used, self.recycled)?;
        writeln!(
            f,
            "some of many ledgers, cold: {:.2} bytes read per byte as they came, {:.2} sorted",
            self.unsorted, self.sorted
        )?;
        let (mib, seconds) = ((1 << 20) as f64, self.took.as_secs_f64());
        let (read, written) = (self.rewrite_read / mib, self.rewrite_written / mib);
        writeln!(
            f,
            "rewriting {} segments: read {read:.0} MiB, wrote {written:.0} MiB in {seconds:.0} s",
            self.rewritten
        )?;
        writeln!(f, "lone entries of 1 KiB, nothing rewritten: {}", self.calm)?;
        writeln!(f, "lone entries of 1 KiB, while rewriting:   {}", self.rewriting)
    }
}

impl SpaceReport {
    /// Whether used files cost no zeros and sorted ledgers are read by themselves: the goals that a slow machine does not blur.
    #[must_use]
    pub fn keeps_its_goals(&self) -> bool {
        let own = self.used.journal + self.used.zeros;
        own as f64 <= 1.15 * self.used.payload as f64 && self.sorted <= 2.0
    }
}

/// Floods, deletes, floods again, lays ledgers among each other, and reads some of them before and after they are sorted.
pub async fn measure(run: &SpaceRun) -> Result<SpaceReport, Failure> {
    if run.ledgers.is_multiple_of(STRIDE) || run.ledgers < run.readers {
        return Err(Failure::usage(format!("ledgers: at least as many as readers, and no multiple of {STRIDE}")));
    }
    let metadata = MemoryStore::default();
    let bookie = open(run, &metadata, LATER).await?;
    let mut client = Client::of(&bookie.handle());
    let fresh = client.flood(1, run.flood_bytes + 4 * run.segment_bytes).await?;
    client.all_ok(vec![Request { id: 0, ledger: 1, body: Some(Body::Delete(Delete {})) }]).await?;
    let needed = (run.flood_bytes / run.segment_bytes + 3) as f64;
    let enough = async || (needed <= client.metric("bookie_spare_segments")).then_some(());
    eventually("freed files are kept", WITHIN, enough).await?;
    // The rest of the active file, and the one prepared to follow it, were not used before.
    let mut ledger = 2;
    while client.metric("bookie_segments_recycled_total") < 2.0 {
        client.flood(ledger, run.segment_bytes / 4).await?;
        ledger += 1;
    }
    let recycled = client.metric("bookie_segments_recycled_total");
    let used = client.flood(ledger, run.flood_bytes).await?;
    let recycled = client.metric("bookie_segments_recycled_total") - recycled;

    client.lay(run).await?;
    drop(client);
    let unsorted = cold(run, &metadata, bookie).await?;
    let bookie = open(run, &metadata, run.rewrite_after).await?;
    let mut client = Client::of(&bookie.handle());
    // Old ones come first: when so many are rewritten, all of these are.
    let sealed = client.metric("bookie_ACTIVE_ENTRY_LOG_COUNT");
    let mut lone = 0;
    let calm = client.lone(&mut lone, |client| client.metric("bookie_rewrite_read_bytes_total") == 0.0).await?;
    let began = Instant::now();
    let rewriting = client.lone(&mut lone, |client| client.metric("bookie_segments_rewritten_total") < sealed).await?;
    let took = began.elapsed();
    let [rewritten, rewrite_read, rewrite_written] =
        ["segments_rewritten", "rewrite_read_bytes", "rewrite_written_bytes"]
            .map(|name| client.metric(&format!("bookie_{name}_total")));
    drop(client);
    let sorted = cold(run, &metadata, bookie).await?;
    Ok(SpaceReport {
        fresh,
        used,
        recycled,
        unsorted,
        sorted,
        calm,
        rewriting,
        rewritten,
        rewrite_read,
        rewrite_written,
        took,
    })
}

async fn open(run: &SpaceRun, metadata: &MemoryStore, rewrite_after: Duration) -> Result<Bookie, Failure> {
    let (segment_bytes, seed) = (run.segment_bytes, OsRng.try_next_u64().map_err(Failure::internal)?);
    let options = Options { segment_bytes, rewrite_after, seed, ..Options::default() };
    let (bookie, _) = bookie::open(&run.directory, metadata, "", options, 1).await?;
    Ok(bookie)
}

/// Starts again, so that nothing is in memory, reads `readers` of the ledgers in turn, and stops. Files are read past the system's cache.
async fn cold(run: &SpaceRun, metadata: &MemoryStore, bookie: Bookie) -> Result<f64, Failure> {
    stop(bookie).await?;
    let bookie = open(run, metadata, LATER).await?;
    let mut client = Client::of(&bookie.handle());
    let (before, _) = disk_bytes()?;
    let mut next: Vec<(u64, u64)> =
        (0..run.readers).map(|reader| (FIRST_AMONG + reader * run.ledgers / run.readers, 0)).collect();
    let mut payload = 0;
    while next.iter().any(|(_, entry)| *entry < run.entries) {
        let left = next.iter().filter(|(_, entry)| *entry < run.entries);
        let reads = left.map(|(ledger, first)| {
            let read = Read { first: *first, end: run.entries, bytes_max: 256 << 10, fence: false };
            Request { id: *ledger, ledger: *ledger, body: Some(Body::Read(read)) }
        });
        for answer in client.all_ok(reads.collect()).await? {
            let of = next.iter_mut().find(|(ledger, _)| *ledger == answer.ledger);
            let (_, entry) = of.ok_or_else(|| Failure::internal("an answer about another ledger"))?;
            *entry += answer.entries.len() as u64;
            payload += answer.entries.iter().map(|entry| entry.payload.len() as u64).sum::<u64>();
        }
    }
    let (after, _) = disk_bytes()?;
    drop(client);
    stop(bookie).await?;
    if payload != run.readers * run.entries * 1024 {
        return Err(Failure::internal(format!("{payload} bytes were read back")));
    }
    Ok((after - before) as f64 / payload as f64)
}

async fn stop(bookie: Bookie) -> Result<(), Failure> {
    tokio::task::spawn_blocking(move || bookie.stop()).await.map_err(Failure::internal)
}

/// What this process has read from disks and written to them.
fn disk_bytes() -> Result<(u64, u64), Failure> {
    let page = std::fs::read_to_string("/proc/self/io").map_err(Failure::internal)?;
    let value = |name| page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0);
    Ok((value("read_bytes:"), value("write_bytes:")))
}

/// A session and what it is about.
struct Client {
    handle: Handle,
    session: Session,
    answers: Receiver<Vec<Answer>>,
}

impl Client {
    fn of(handle: &Handle) -> Self {
        let (session, answers) = handle.connect();
        Self { handle: handle.clone(), session, answers }
    }

    fn metric(&self, name: &str) -> f64 {
        let mut page = MetricText::new();
        self.handle.write_metrics(&mut page);
        let page = page.finish();
        page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(f64::NAN)
    }

    /// Sends, and waits for all answers.
    async fn all_ok(&mut self, requests: Vec<Request>) -> Result<Vec<Answer>, Failure> {
        let (mut left, mut all) = (requests.len(), Vec::new());
        self.session.send(requests);
        while 0 < left {
            let answers = self.answers.recv().await.ok_or_else(|| Failure::internal("the bookie ended"))?;
            if let Some(refused) = answers.iter().find(|answer| answer.status() != Status::Ok) {
                return Err(Failure::internal(format!("{:?}: {}", refused.status(), refused.reason)));
            }
            left -= answers.iter().map(|answer| answer.run as usize).sum::<usize>();
            all.extend(answers);
        }
        Ok(all)
    }

    async fn flood(&mut self, ledger: u64, bytes: u64) -> Result<Written, Failure> {
        let counts =
            |client: &Self| ["bookie_WRITE_BYTES", "bookie_zero_ahead_bytes_total"].map(|name| client.metric(name));
        let ([journal, zeros], (_, process)) = (counts(self), disk_bytes()?);
        let payload = Bytes::from(vec![7; BATCH_BYTES]);
        let entries: Vec<u64> = (0..bytes / BATCH_BYTES as u64).collect();
        for chunk in entries.chunks(CHUNK_BYTES / BATCH_BYTES) {
            self.all_ok(chunk.iter().map(|entry| add(ledger, *entry, &payload)).collect()).await?;
        }
        let ([journal_now, zeros_now], (_, process_now)) = (counts(self), disk_bytes()?);
        let (journal, zeros) = ((journal_now - journal) as u64, (zeros_now - zeros) as u64);
        Ok(Written { payload: (entries.len() * BATCH_BYTES) as u64, process: process_now - process, journal, zeros })
    }

    /// One entry of each ledger, then the next of each, so that ledgers which are sorted next to each other lie far apart.
    async fn lay(&mut self, run: &SpaceRun) -> Result<(), Failure> {
        let payload = Bytes::from(vec![5; 1024]);
        for entry in 0..run.entries {
            let adds = (0..run.ledgers).map(|at| add(FIRST_AMONG + at * STRIDE % run.ledgers, entry, &payload));
            self.all_ok(adds.collect()).await?;
        }
        Ok(())
    }

    /// One entry after the other while `goes_on`.
    async fn lone(&mut self, next: &mut u64, goes_on: impl Fn(&Self) -> bool) -> Result<Lone, Failure> {
        let (payload, mut times) = (Bytes::from(vec![3; 1024]), Vec::new());
        while goes_on(self) {
            for _ in 0..100 {
                let began = Instant::now();
                self.all_ok(vec![add(LONE, *next, &payload)]).await?;
                times.push(began.elapsed());
                *next += 1;
            }
        }
        times.sort_unstable();
        Ok(Lone(times))
    }
}

fn add(ledger: u64, entry: u64, payload: &Bytes) -> Request {
    let length = (entry + 1) * payload.len() as u64;
    let digest = entry_digest(LedgerId(ledger), EntryId(entry), length, payload);
    let add = Add { entry, confirmed: entry, length, digest, payload: payload.clone(), ..Add::default() };
    Request { id: entry, ledger, body: Some(Body::Add(add)) }
}
