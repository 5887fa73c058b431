//! How quickly offloaded ledgers read back, beside plain requests for the same objects in the same run.
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::offload::{
    Attempt, AttemptId, Kinds, Location, Objects, OffloadedLedger, Operation, Sequence, Store, Stores, Uploaded,
    delete, upload,
};
use bytes::Bytes;
use daemon::Failure;
use futures::{Stream, stream};
use ledger::{Entry, LedgerError, Sealed};
use object_store::{ObjectStore, ObjectStoreExt};
use proto::{EntryId, LedgerId};

const RANGE_BYTES: u64 = 16 << 20;
const READ_BYTES: usize = 1 << 20;
const ROUNDS: usize = 3;

/// What is written and read.
#[derive(Debug, Clone)]
pub struct OffloadReadRun {
    /// In which store. Its credentials come from the environment.
    pub location: Location,
    /// Payload of the ledger.
    pub bytes: u64,
    /// Of one entry.
    pub entry_bytes: usize,
    /// Of the reader.
    pub cache_bytes: usize,
    /// That start together, and then as many far apart.
    pub readers: u32,
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
    rows: Vec<Row>,
    resident: Vec<(&'static str, u64)>,
}

impl fmt::Display for OffloadReadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Uploaded { objects, bytes, payload_bytes, .. } = self.uploaded;
        let gb = bytes as f64 / 1e9;
        let rate = payload_bytes as f64 / 1e6 / self.upload_took.as_secs_f64();
        writeln!(f, "uploaded and read back {bytes} bytes in {objects} objects at {rate:.0} MB/s")?;
        writeln!(f, "  {:.1} PUTs and {:.1} GETs per GB", self.puts as f64 / gb, self.verify_gets as f64 / gb)?;
        for Row { what, bytes, took, gets } in &self.rows {
            let (rate, gb) = (*bytes as f64 / 1e6 / took.as_secs_f64(), *bytes as f64 / 1e9);
            writeln!(f, "{what:<44} {rate:>8.0} MB/s {gets:>6} GETs {:>7.1} per GB", *gets as f64 / gb)?;
        }
        for (when, bytes) in &self.resident {
            writeln!(f, "memory at most {when}: {} MiB", bytes >> 20)?;
        }
        Ok(())
    }
}

/// Writes a ledger, reads it in several ways, and removes it.
pub async fn measure(run: &OffloadReadRun) -> Result<OffloadReadReport, Failure> {
    let stores = Stores::new(run.seed, Kinds::All);
    let store = stores.open(&run.location).map_err(Failure::usage)?;
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
        rows: Vec::new(),
        resident: vec![("while uploading", peak_and_reset())],
    };
    let Uploaded { objects, bytes, .. } = uploaded;
    let ledger = OffloadedLedger { store: run.location.clone(), attempt: attempt.clone(), objects, bytes };
    for round in 0..ROUNDS {
        for at_once in [1, 2] {
            let what = format!("round {round}: plain GETs of 16 MiB, {at_once} at once");
            let read = row(store, what, plain(store, &ledger, at_once)).await?;
            report.rows.push(read);
        }
        peak_and_reset();
        let reader = Objects::new(stores.clone(), run.cache_bytes);
        let what = format!("round {round}: one reader");
        let read = row(store, what, read_on(&reader, &ledger, 0, entries, run.entry_bytes)).await?;
        report.rows.push(read);
        report.resident.push(("with one reader", peak_and_reset()));
    }
    let reader = Objects::new(stores.clone(), run.cache_bytes);
    let together = (0..run.readers).map(|_| read_on(&reader, &ledger, 0, entries, run.entry_bytes));
    let what = format!("{} readers that start together", run.readers);
    report.rows.push(row(store, what, all(together)).await?);
    report.resident.push(("with readers that start together", peak_and_reset()));
    let reader = Objects::new(stores.clone(), run.cache_bytes);
    let share = entries / u64::from(run.readers);
    let apart = (0..u64::from(run.readers)).map(|at| read_on(&reader, &ledger, at * share, share, run.entry_bytes));
    let what = format!("{} readers far apart", run.readers);
    report.rows.push(row(store, what, all(apart)).await?);
    report.resident.push(("with readers far apart", peak_and_reset()));
    Ok(report)
}

async fn row(store: &Store, what: String, read: impl Future<Output = Result<u64, Failure>>) -> Result<Row, Failure> {
    let (gets, began) = (store.requests().made(Operation::Get), Instant::now());
    let bytes = read.await?;
    Ok(Row { what, bytes, took: began.elapsed(), gets: store.requests().made(Operation::Get) - gets })
}

async fn all(reads: impl Iterator<Item = impl Future<Output = Result<u64, Failure>>>) -> Result<u64, Failure> {
    Ok(futures::future::try_join_all(reads).await?.into_iter().sum())
}

/// Ranges of 16 MiB of all objects, as the crate gives them.
async fn plain(store: &Store, ledger: &OffloadedLedger, at_once: usize) -> Result<u64, Failure> {
    use futures::{StreamExt, TryStreamExt};
    let objects: Arc<dyn ObjectStore> = store.objects().clone();
    let mut ranges = Vec::new();
    for number in 0..ledger.objects {
        let path = store.path(&ledger.attempt.object(number));
        let size = objects.head(&path).await.map_err(Failure::internal)?.size;
        let starts = (0..size).step_by(RANGE_BYTES as usize);
        ranges.extend(starts.map(|start| (path.clone(), start..(start + RANGE_BYTES).min(size))));
    }
    let read = |(path, range)| {
        let objects = objects.clone();
        async move { objects.get_range(&path, range).await }
    };
    let read = stream::iter(ranges).map(read).buffered(at_once);
    read.try_fold(0, async |sum, bytes| Ok(sum + bytes.len() as u64)).await.map_err(Failure::internal)
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
