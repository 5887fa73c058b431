//! How quickly offloaded ledgers read back, beside plain requests for the same objects in the same run.
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::offload::{
    Attempt, AttemptId, Backend, Kinds, Location, Objects, OffloadedLedger, Operation, Sequence, Store, Stores,
    Uploaded, delete, upload,
};
use bytes::Bytes;
use daemon::Failure;
use futures::{Stream, stream};
use ledger::{Entry, LedgerError, Sealed};
use object_store::ObjectStoreExt;
use proto::{EntryId, LedgerId};
use tokio::task::JoinHandle;

use crate::goals::Goals;
use crate::plain::{Plain, SMALLEST, read_ranges};

const READ_BYTES: usize = 1 << 20;

/// What is written and read.
#[derive(Debug, Clone)]
pub struct OffloadReadRun {
    /// In which store. Its credentials come from the environment.
    pub location: Location,
    /// A client of that store, instead of one made from the environment.
    pub backend: Option<Backend>,
    /// Payload of the ledger.
    pub bytes: u64,
    /// Of one entry.
    pub entry_bytes: usize,
    /// Of the reader.
    pub cache_bytes: usize,
    /// How many start together, one number after the other.
    pub readers: Vec<u32>,
    /// That start equally far apart.
    pub apart: u32,
    /// Bytes that each of these reads at most; without it they read everything between them.
    pub apart_bytes: Option<u64>,
    /// Tells runs apart, in names of objects.
    pub seed: u64,
}

/// One way of reading everything once.
#[derive(Debug, Clone)]
struct Row {
    what: String,
    bytes: u64,
    took: Duration,
    gets: u64,
}

/// What was measured.
#[derive(Debug, Clone)]
pub struct OffloadReadReport {
    uploaded: Uploaded,
    upload_took: Duration,
    puts: u64,
    verify_gets: u64,
    plain: Plain,
    rows: Vec<Row>,
    resident: Vec<(String, u64)>,
    /// What was missed. Rates of small runs and of builds without optimisation mean nothing.
    pub goals: Goals,
}

impl fmt::Display for OffloadReadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Uploaded { objects, bytes, payload_bytes, .. } = self.uploaded;
        let gb = bytes as f64 / 1e9;
        let rate = payload_bytes as f64 / 1e6 / self.upload_took.as_secs_f64();
        writeln!(f, "uploaded and read back {bytes} bytes in {objects} objects at {rate:.0} MB/s")?;
        writeln!(f, "  {:.1} PUTs and {:.1} GETs per GB", self.puts as f64 / gb, self.verify_gets as f64 / gb)?;
        write!(f, "{}", self.plain)?;
        for row in &self.rows {
            let Row { what, bytes, gets, .. } = row;
            let (rate, gb) = (row.rate(), *bytes as f64 / 1e9);
            let (ratio, per_gb) = (rate / self.plain.best(), *gets as f64 / gb);
            writeln!(f, "{what:<40} {rate:>7.0} MB/s, {ratio:.2} of plain, {gets:>6} GETs {per_gb:>6.1} per GB")?;
        }
        for (when, bytes) in &self.resident {
            writeln!(f, "memory at most, {when}: {} MiB", bytes >> 20)?;
        }
        write!(f, "{}", self.goals)
    }
}

impl Row {
    /// MB/s.
    fn rate(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.took.as_secs_f64()
    }
}

/// Writes a ledger, reads it in several ways, and removes it.
pub async fn measure(run: &OffloadReadRun) -> Result<OffloadReadReport, Failure> {
    let stores = Stores::new(run.seed, Kinds::All);
    let store = match &run.backend {
        Some(backend) => stores.put(&run.location, backend.clone()),
        None => stores.open(&run.location).map_err(Failure::usage)?,
    };
    store.probe().await.map_err(Failure::usage)?;
    let topic = "persistent://public/default/offload-read".parse().map_err(Failure::internal)?;
    let id = AttemptId(run.seed);
    let attempt = Attempt { instance: "check".into(), topic, ledger: LedgerId(1), id };
    let outcome = measure_attempt(run, &stores, &store, &attempt).await;
    delete(&store, &attempt).await.map_err(Failure::internal)?;
    outcome
}

async fn measure_attempt(
    run: &OffloadReadRun,
    stores: &Stores,
    store: &Arc<Store>,
    attempt: &Attempt,
) -> Result<OffloadReadReport, Failure> {
    let entries = run.bytes / run.entry_bytes as u64;
    let sealed = Sealed { end: EntryId(entries), length: entries * run.entry_bytes as u64 };
    let made = |operation| store.requests().made(operation);
    let (puts, gets, began) = (made(Operation::Put), made(Operation::Get), Instant::now());
    let uploaded = upload(store, attempt, sealed, source(entries, run.entry_bytes)).await.map_err(Failure::internal)?;
    let mut report = OffloadReadReport {
        uploaded,
        upload_took: began.elapsed(),
        puts: made(Operation::Put) - puts,
        verify_gets: made(Operation::Get) - gets,
        plain: Plain::default(),
        rows: Vec::new(),
        resident: vec![("uploading".into(), peak_and_reset())],
        goals: Goals::default(),
    };
    let Uploaded { objects, bytes, .. } = uploaded;
    let ledger = OffloadedLedger { store: run.location.clone(), attempt: attempt.clone(), objects, bytes };
    read_plainly(store, &ledger, &mut report.plain).await?;
    let mut parts: Vec<(String, Vec<(u64, u64)>)> = Vec::new();
    for readers in &run.readers {
        let what = if *readers == 1 { "one reader".into() } else { format!("{readers} readers together") };
        parts.push((what, vec![(0, entries); *readers as usize]));
    }
    let share = entries / u64::from(run.apart.max(1));
    let each = run.apart_bytes.map_or(share, |bytes| share.min(bytes / run.entry_bytes as u64));
    let far = (share * run.entry_bytes as u64) as f64 / 1e9;
    let apart = (0..u64::from(run.apart)).map(|at| (at * share, each)).collect();
    parts.push((format!("{} readers {far:.2} GB apart", run.apart), apart));
    for (what, parts) in parts {
        peak_and_reset();
        let reader = Objects::new(stores.clone(), run.cache_bytes);
        let reads = parts.into_iter().map(|(first, count)| {
            let (reader, ledger, size) = (reader.clone(), ledger.clone(), run.entry_bytes);
            // Tasks of their own, as consumers have them.
            tokio::spawn(async move { read_on(&reader, &ledger, first, count, size).await })
        });
        report.rows.push(row(store, what.clone(), all(reads)).await?);
        report.resident.push((what, peak_and_reset()));
    }
    read_plainly(store, &ledger, &mut report.plain).await?;
    judge(run, &mut report);
    Ok(report)
}

fn judge(run: &OffloadReadRun, report: &mut OffloadReadReport) {
    let (plain, gb) = (report.plain.best(), report.uploaded.bytes as f64 / 1e9);
    let goals = &mut report.goals;
    let is_large = SMALLEST <= report.uploaded.bytes;
    if is_large {
        goals.at_most("PUTs per GB", report.puts as f64 / gb, 20.0);
    }
    let alone = report.rows.iter().zip(&run.readers).find(|(_, readers)| **readers == 1).map(|(row, _)| row.gets);
    for (row, readers) in report.rows.iter().zip(run.readers.iter().map(Some).chain([None])) {
        goals.at_least(&format!("{}: share of plain requests", row.what), row.rate() / plain, 0.7);
        if readers == Some(&1) {
            if is_large {
                goals.at_most("GETs per GB of one reader", row.gets as f64 / gb, 70.0);
            }
            if matches!(run.location, Location::Directory { .. }) {
                goals.at_least("MB/s of one reader from a local directory", row.rate(), 400.0);
            }
        }
        if let (Some(_), Some(alone)) = (readers, alone) {
            goals.at_most(&format!("{}: GETs per GET of one", row.what), row.gets as f64 / alone.max(1) as f64, 1.2);
        }
    }
}

async fn row(store: &Store, what: String, read: impl Future<Output = Result<u64, Failure>>) -> Result<Row, Failure> {
    let (gets, began) = (store.requests().made(Operation::Get), Instant::now());
    let bytes = read.await?;
    Ok(Row { what, bytes, took: began.elapsed(), gets: store.requests().made(Operation::Get) - gets })
}

async fn all(reads: impl Iterator<Item = JoinHandle<Result<u64, Failure>>>) -> Result<u64, Failure> {
    futures::future::try_join_all(reads).await.map_err(Failure::internal)?.into_iter().sum()
}

/// All objects, as the crate gives them.
async fn read_plainly(store: &Store, ledger: &OffloadedLedger, plain: &mut Plain) -> Result<(), Failure> {
    let mut objects = Vec::new();
    for number in 0..ledger.objects {
        let path = store.path(&ledger.attempt.object(number));
        let size = store.objects().head(&path).await.map_err(Failure::internal)?.size;
        objects.push((path, size));
    }
    for at_once in [1, 2] {
        let began = Instant::now();
        let bytes = read_ranges(store.objects(), &objects, at_once).await?;
        plain.note(at_once, bytes, began.elapsed());
    }
    Ok(())
}

/// Reads as a consumer of the topic would, and looks at each entry's number.
async fn read_on(
    reader: &Objects,
    ledger: &OffloadedLedger,
    first: u64,
    count: u64,
    entry_bytes: usize,
) -> Result<u64, Failure> {
    let (mut next, end, mut sequence) = (EntryId(first), EntryId(first + count), Sequence::default());
    let mut bytes = 0;
    while next < end {
        let read = reader.read(ledger, next..end, READ_BYTES, &mut sequence).await.map_err(Failure::internal)?;
        for entry in read {
            let number = entry.payload.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
            if number != Some(next.0) || entry.payload.len() != entry_bytes {
                return Err(Failure::internal(format!("entry {next} is another")));
            }
            bytes += entry.payload.len() as u64;
            next = next.next();
        }
    }
    Ok(bytes)
}

/// Entries that begin with their number, in batches of about a MiB.
fn source(entries: u64, entry_bytes: usize) -> impl Stream<Item = Result<Vec<Entry>, LedgerError>> + Send {
    let at_once = ((1 << 20) / entry_bytes).max(1) as u64;
    let entry = move |number: u64| {
        let mut payload = vec![(number % 251) as u8; entry_bytes];
        payload[..8].copy_from_slice(&number.to_le_bytes());
        Entry { entry: EntryId(number), payload: Bytes::from(payload) }
    };
    let batch = move |start: u64| Ok((start..(start + at_once).min(entries)).map(entry).collect());
    stream::iter((0..entries).step_by(at_once as usize).map(batch))
}

/// The most memory this process had since the last call.
fn peak_and_reset() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok());
    let _ = std::fs::write("/proc/self/clear_refs", "5"); // Where it is not allowed, the figures are of the whole run.
    peak.unwrap_or(0) * 1024
}
