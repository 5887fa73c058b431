//! The store of a single process: one redb file, and a thread of its own that writes it.
//!
//! Reads look at the last published [`View`] and wait for nobody. All else queues for the thread, which takes whatever has
//! come, carries it out in one redb transaction with one sync, publishes, and answers.
mod committer;
mod room;

use std::fmt;
use std::fs::File;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use redb::{Database, ReadOnlyTable, ReadableDatabase, TableDefinition};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::keyspace::{self, Keyspace, Leased, Readable};
use crate::lease::{Lease, keep_in_process, lease};
use crate::store::{DEADLINE, Error, Key, LeaseId, MetadataStore, Operation, Page, Record, Transaction, Version};
use crate::watch::Watch;
use crate::{envelope, limits};
use committer::Committer;
use room::Room;

/// Key to envelope.
const RECORDS: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("records");
/// Names of this module to numbers.
const COUNTERS: TableDefinition<'static, &'static str, u64> = TableDefinition::new("counters");
/// Which layout the file has.
const LAYOUT_KEY: &str = "layout";
const LAYOUT: u64 = 1;
/// No version above this has been given out by any process.
const RESERVED_KEY: &str = "reserved";

/// Requests waiting for the thread: more than one group takes.
const QUEUE_MAX: usize = 1024;
/// Bytes of transactions waiting for the thread, each of which is far smaller.
const QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What redb keeps of the file. A standalone server has a memory budget, and the kernel caches as well.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// Durable records in a redb file, leased ones in memory. Dropping it closes the file.
///
/// It waits for a thread and a disk, which tokio's paused time does not know of: under paused time its deadlines pass at
/// once, so tests with paused time take a [`MemoryStore`](crate::MemoryStore).
pub struct RedbStore {
    // Only taken by `drop`.
    requests: Option<mpsc::Sender<Request>>,
    room: Arc<Semaphore>,
    view: Arc<Published>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is asked for.
enum Request {
    Commit { transaction: Transaction, answer: oneshot::Sender<Result<Version, Error>>, _room: OwnedSemaphorePermit },
    Watch { prefix: String, answer: oneshot::Sender<Watch> },
    Grant { answer: oneshot::Sender<LeaseId> },
    End { lease: LeaseId, answer: oneshot::Sender<()> },
}

/// What readers see: everything that was committed, and nothing else.
struct View {
    leased: Arc<Leased>,
    records: Arc<ReadOnlyTable<&'static str, &'static [u8]>>,
}

/// The newest [`View`], or `None` after the file has failed.
///
/// A lock and no task, because readers only copy a pointer out of it: both halves of a view change at once.
struct Published(Mutex<Option<Arc<View>>>);

impl Published {
    fn get(&self) -> Result<Arc<View>, Error> {
        self.0.lock().clone().ok_or_else(failed)
    }
}

fn failed() -> Error {
    Error::Unavailable { reason: "the metadata file has failed, see the log; restart the process".into() }
}

fn storage(error: impl Into<redb::Error>) -> Error {
    Error::Unavailable { reason: error.into().to_string() }
}

fn unusable(path: &Path, error: impl Into<redb::Error>) -> Error {
    let reason = match error.into() {
        redb::Error::DatabaseAlreadyOpen => format!("another process has `{}` open", path.display()),
        error => format!("cannot open `{}`: {error}", path.display()),
    };
    Error::Refused { reason }
}

impl RedbStore {
    /// Opens the file, or makes it. Its folder must exist.
    ///
    /// # Errors
    /// [`Error::Refused`] when the file is not ours, damaged, or open in another process.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let database =
            Database::builder().set_cache_size(CACHE_BYTES).create(path).map_err(|error| unusable(path, error))?;
        let room = Room::of(path).map_err(|error| unusable(path, redb::Error::Io(error)))?;
        let store = Self::start(database, Some(room))
            .map_err(|error| Error::Refused { reason: format!("cannot use `{}`: {error}", path.display()) })?;
        // The name of a new file is durable only with its folder.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| unusable(path, redb::Error::Io(error)))?;
        Ok(store)
    }

    /// `room`: of its file, if it has one.
    fn start(database: Database, room: Option<Room>) -> Result<Self, Error> {
        let revision = committer::prepare(&database)?;
        let records = read(&database)?;
        let view = Arc::new(View { leased: Arc::default(), records: Arc::new(records) });
        let view = Arc::new(Published(Mutex::new(Some(view))));
        let (requests, queue) = mpsc::channel(QUEUE_MAX);
        let committer = Committer::new(database, room, Keyspace::after(revision), view.clone());
        let thread = std::thread::Builder::new()
            .name("metadata".into())
            .spawn(move || committer.run(queue))
            .map_err(|error| storage(redb::Error::Io(error)))?;
        let room = Arc::new(Semaphore::new(QUEUE_BYTES_MAX));
        Ok(Self { requests: Some(requests), room, view, thread: Some(thread) })
    }

    fn requests(&self) -> &mpsc::Sender<Request> {
        self.requests.as_ref().expect("only drop takes it")
    }

    /// Asks for what needs no disk. Nothing has happened when it fails.
    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            self.requests().send(request(answer)).await.map_err(|_| failed())?;
            answered.await.map_err(|_| failed())
        };
        tokio::time::timeout(DEADLINE, asked).await.map_err(|_| busy())?
    }
}

fn busy() -> Error {
    Error::Unavailable { reason: "the disk under the metadata file does not keep up".into() }
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore").finish_non_exhaustive()
    }
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        self.requests = None;
        // Waits for one group of commits at most, so that the file can be opened again at once.
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed, and every caller has had its error.
            let _ = thread.join();
        }
    }
}

#[async_trait]
impl MetadataStore for RedbStore {
    async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        limits::check_key(key)?;
        let view = self.view.get()?;
        // A few pages, mostly cached: shorter than asking another thread.
        keyspace::get(&view.leased, &*view, key)
    }

    async fn commit(&self, transaction: Transaction) -> Result<Version, Error> {
        limits::check_transaction(&transaction)?;
        let deadline = Instant::now() + DEADLINE;
        let weight = transaction.operations.iter().map(weight).sum::<usize>().min(QUEUE_BYTES_MAX);
        let weight = u32::try_from(weight).expect("the bound fits");
        let (answer, answered) = oneshot::channel();
        let queue = async {
            let room = self.room.clone().acquire_many_owned(weight).await.map_err(|_| failed())?;
            let request = Request::Commit { transaction, answer, _room: room };
            self.requests().send(request).await.map_err(|_| failed())
        };
        timeout_at(deadline, queue).await.map_err(|_| busy())??;
        match timeout_at(deadline, answered).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) | Err(_) => Err(Error::OutcomeUnknown),
        }
    }

    async fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Page, Error> {
        limits::check_limit(limit)?;
        let view = self.view.get()?;
        let (prefix, after) = (prefix.to_owned(), after.cloned());
        let page = tokio::task::spawn_blocking(move || view.page(&prefix, after.as_ref(), limit));
        page.await.map_err(|_| failed())?
    }

    async fn watch(&self, prefix: &str) -> Result<Watch, Error> {
        let prefix = prefix.to_owned();
        self.ask(|answer| Request::Watch { prefix, answer }).await
    }

    async fn lease(&self, ttl: Duration) -> Result<Lease, Error> {
        limits::check_ttl(ttl)?;
        let id = self.ask(|answer| Request::Grant { answer }).await?;
        let (lease, keeper) = lease(id);
        // Weak, so that a lease does not keep the file open.
        let requests = self.requests().downgrade();
        tokio::spawn(keep_in_process(keeper, ttl, async move || {
            let Some(requests) = requests.upgrade() else { return };
            let (answer, ended) = oneshot::channel();
            if requests.send(Request::End { lease: id, answer }).await.is_ok() {
                // Without an answer the store has failed, and its leases with it.
                let _ = ended.await;
            }
        }));
        Ok(lease)
    }
}

fn weight(operation: &Operation) -> usize {
    let value = match operation {
        Operation::Put { value, .. } => value.len(),
        Operation::Delete { .. } | Operation::Check { .. } => 0,
    };
    operation.key().as_str().len() + value
}

fn read(database: &Database) -> Result<ReadOnlyTable<&'static str, &'static [u8]>, Error> {
    let transaction = database.begin_read().map_err(storage)?;
    transaction.open_table(RECORDS).map_err(storage)
}

impl View {
    fn page(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Page, Error> {
        let bounds = (keyspace::start(prefix, after), Bound::Unbounded);
        let range = self.records.range::<&str>(bounds).map_err(storage)?;
        let records = range.map(|entry| {
            let (key, stored) = entry.map_err(storage)?;
            envelope::open_numbered(&key.value().into(), &Bytes::copy_from_slice(stored.value()))
        });
        keyspace::page(&self.leased, records, prefix, after, limit)
    }
}

impl Readable for View {
    fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        let stored = self.records.get(key.as_str()).map_err(storage)?;
        stored.map(|stored| envelope::open_numbered(key, &Bytes::copy_from_slice(stored.value()))).transpose()
    }
}

#[cfg(test)]
mod tests;
