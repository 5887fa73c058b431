//! A running bookie: one thread for the journal, one that keeps segments, one that gives space back, some that read.
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use proto::LedgerId;
use proto::bookie::{Answer, Status};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::disk::Disk;
use crate::error::{JournalError, OpenError};
use crate::fullness::Capacity;
use crate::identity::Identity;
use crate::journal::{BATCH_BYTES, Journal};
use crate::metrics::Counters;
use crate::queue::Queue;
use crate::reader;
use crate::request::{Then, answer, held, push_run, reading};
use crate::segments::{Keeper, Options, Segments};
use crate::session::{Origin, ReadJob, Session, Submission, Ticket, busy_read, room};
use crate::space::{Space, Turn};
use crate::store::Store;

/// Bytes of adds that are accepted but not yet synced, of all sessions together.
pub(crate) const QUEUE_BYTES_MAX: usize = 64 << 20;
/// Orders of one batch, so that small entries do not make one sync's answers wait for thousands.
const BATCH_ORDERS: usize = 4096;
const READ_THREADS: usize = 2;
/// Reads that wait, of all sessions together.
const READS_MAX: usize = 16_384;

/// What sessions and threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) segments: Arc<Segments>,
    pub(crate) journal: Queue<Submission>,
    pub(crate) reads: Queue<ReadJob>,
    pub(crate) room: Arc<Semaphore>,
    pub(crate) counters: Counters,
    // Sessions open now, so that a failure ends them all. Touched when one opens.
    origins: Mutex<Vec<Weak<Origin>>>,
    failure: watch::Sender<Option<JournalError>>,
}

impl Shared {
    pub(crate) fn register(&self, origin: &Arc<Origin>) {
        let mut origins = self.origins.lock();
        origins.retain(|origin| 0 < origin.strong_count());
        origins.push(Arc::downgrade(origin));
        if self.failure.borrow().is_some() {
            origin.end();
        }
    }

    /// Says what to answer when there is no room for it.
    pub(crate) fn queue_read(&self, job: ReadJob) -> Option<Answer> {
        self.reads.push(job, READS_MAX).err().map(|job| busy_read(job.id, job.ledger))
    }

    fn fail(&self, error: JournalError) {
        tracing::error!(%error, "the journal failed");
        self.journal.abandon();
        self.reads.abandon();
        self.failure.send_replace(Some(error));
        self.end_sessions();
    }

    fn end_sessions(&self) {
        self.origins.lock().drain(..).filter_map(|origin| origin.upgrade()).for_each(|origin| origin.end());
    }
}

/// Opens sessions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl Handle {
    /// A session within this process. Requests are taken in order; each answer that comes carries all that was ready at once.
    /// When the answers end, the session is over and whatever was not answered has an unknown outcome.
    #[must_use]
    pub fn connect(&self) -> (Session, mpsc::Receiver<Vec<Answer>>) {
        Session::open(self.shared.clone())
    }

    /// Whether it may lack entries of some ledger.
    #[must_use]
    pub fn is_in_limbo(&self) -> bool {
        !self.shared.segments.index.read().limbo.is_empty()
    }

    /// Of those that it holds entries of. Looks through all of them.
    #[must_use]
    pub fn highest_ledger(&self) -> Option<LedgerId> {
        self.shared.segments.index.read().ledgers().into_iter().max()
    }

    /// What its disk allows.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        let fullness = &self.shared.segments.fullness;
        Capacity { read_only: fullness.is_read_only(), room: fullness.room() }
    }

    /// Why the disk failed under the journal, if it has.
    #[must_use]
    pub fn has_failed(&self) -> Option<JournalError> {
        self.shared.failure.borrow().clone()
    }

    /// Returns when the disk failed under the journal. The process must end then. Cancel safe.
    pub async fn failed(&self) -> JournalError {
        let mut failure = self.shared.failure.subscribe();
        loop {
            if let Some(error) = failure.borrow_and_update().clone() {
                return error;
            }
            if failure.changed().await.is_err() {
                std::future::pending::<()>().await; // Stopped without a failure.
            }
        }
    }
}

/// An open directory and its threads.
#[derive(Debug)]
pub struct Bookie {
    handle: Handle,
    keeper: Arc<Keeper>,
    /// Nothing is sent: the thread that gives space back ends when this is dropped.
    space_lives: Option<SyncSender<()>>,
    journal_thread: Option<JoinHandle<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Bookie {
    /// Opens a directory that was [claimed](Identity::claim) for `identity`, and starts. Blocks while unsealed segments are scanned.
    pub fn open(disk: Arc<dyn Disk>, identity: &Identity, options: Options) -> Result<Self, OpenError> {
        Self::start(Store::open(disk, identity, options)?)
    }

    /// Gives a store its threads.
    pub(crate) fn start(store: Store) -> Result<Self, OpenError> {
        let Store { journal, keeper, segments, space } = store;
        let place = segments.disk.place();
        let shared = Arc::new(Shared {
            segments,
            journal: Queue::new(),
            reads: Queue::new(),
            room: room(QUEUE_BYTES_MAX),
            counters: Counters::default(),
            origins: Mutex::default(),
            failure: watch::Sender::new(None),
        });
        let spawn = |name: String, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name)
                .spawn(run)
                .map_err(|error| OpenError::disk(place.clone(), "start a thread for", error))
        };
        let mut threads = Vec::new();
        let kept = keeper.clone();
        threads.push(spawn("segments".into(), Box::new(move || kept.run()))?);
        let (space_lives, stopped) = sync_channel(0);
        let spaced = shared.clone();
        threads.push(spawn("space".into(), Box::new(move || give_space_back(space, &spaced, &stopped)))?);
        for number in 0..READ_THREADS {
            let shared = shared.clone();
            threads.push(spawn(format!("read-{number}"), Box::new(move || serve_reads(&shared)))?);
        }
        let journaled = shared.clone();
        let journal_thread = Some(spawn("journal".into(), Box::new(move || serve_journal(journal, &journaled)))?);
        let space_lives = Some(space_lives);
        Ok(Self { handle: Handle { shared }, keeper, space_lives, journal_thread, threads })
    }

    /// Opens sessions with it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Answers what was taken, refuses the rest, seals all segments, and lets the directory go. Blocks while it does.
    pub fn stop(mut self) {
        self.shut();
        if self.handle.shared.failure.borrow().is_none() {
            self.keeper.seal_all();
        }
    }

    fn shut(&mut self) {
        let shared = &self.handle.shared;
        shared.journal.close();
        join(self.journal_thread.take()); // It still hands reads over.
        shared.reads.close();
        shared.room.close();
        self.keeper.stop();
        self.space_lives = None;
        self.threads.drain(..).for_each(|thread| join(Some(thread)));
        shared.end_sessions();
    }
}

impl Drop for Bookie {
    fn drop(&mut self) {
        self.shut();
    }
}

fn join(thread: Option<JoinHandle<()>>) {
    if thread.is_some_and(|thread| thread.join().is_err()) {
        tracing::error!("a thread of the bookie panicked");
    }
}

/// Ends the sessions when its thread ends early, so that nobody waits for answers that never come.
struct EndOnPanic<'a>(&'a Shared);

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let path = self.0.segments.disk.place();
            let source = Arc::new(std::io::Error::other("a broken invariant, see the log"));
            self.0.fail(JournalError { path, doing: "go on", source });
        }
    }
}

fn serve_journal(mut journal: Journal, shared: &Shared) {
    let _end = EndOnPanic(shared);
    let mut waiting = VecDeque::new();
    loop {
        let idle = waiting.is_empty();
        if !shared.journal.take_all(&mut waiting, idle) {
            return;
        }
        let group = Group::of(&mut waiting);
        let begun = Instant::now();
        match journal.step(group.orders) {
            Ok(verdicts) => {
                shared.counters.synced(begun.elapsed(), &verdicts, journal.bytes_written);
                settle(shared, group.marks.into_iter().zip(verdicts));
            }
            Err(error) => return shared.fail(error),
        }
    }
}

/// Whom to tell about an order.
struct Mark {
    origin: Arc<Origin>,
    id: u64,
    ledger: LedgerId,
    then: Then,
}

/// What goes into one batch.
#[derive(Default)]
struct Group {
    orders: Vec<crate::journal::Order>,
    marks: Vec<Mark>,
    /// Of submissions that end in this group; given back when they were answered.
    _rooms: Vec<Option<tokio::sync::OwnedSemaphorePermit>>,
}

impl Group {
    fn of(waiting: &mut VecDeque<Submission>) -> Self {
        let mut group = Self::default();
        let mut bytes = 0;
        while let Some(submission) = waiting.front_mut() {
            if BATCH_BYTES <= bytes || BATCH_ORDERS <= group.orders.len() {
                break;
            }
            match submission.orders.next() {
                Some(Ticket { id, ledger, order, then }) => {
                    bytes += order.bytes();
                    group.orders.push(order);
                    group.marks.push(Mark { origin: submission.origin.clone(), id, ledger, then });
                }
                None => group._rooms.extend(waiting.pop_front().map(|submission| submission.room)),
            }
        }
        group
    }
}

fn settle(shared: &Shared, settled: impl Iterator<Item = (Mark, crate::journal::Verdict)>) {
    let mut answers: Vec<(Arc<Origin>, Vec<Answer>)> = Vec::new();
    let mut at = 0;
    for (Mark { origin, id, ledger, then }, verdict) in settled {
        if answers.get(at).is_none_or(|(held, _)| !Arc::ptr_eq(held, &origin)) {
            at = answers.iter().position(|(held, _)| Arc::ptr_eq(held, &origin)).unwrap_or(answers.len());
        }
        if at == answers.len() {
            answers.push((origin.clone(), Vec::new()));
        }
        let to = &mut answers[at].1;
        match then {
            Then::Run => push_run(to, id, ledger, &verdict, true),
            _ if verdict.status != Status::Ok => to.push(answer(id, ledger, verdict.status, verdict.reason)),
            Then::Nothing => to.push(answer(id, ledger, Status::Ok, "")),
            Then::Holding => to.push(held(id, ledger, &shared.segments.index.read())),
            Then::Read(read) => to.extend(shared.queue_read(ReadJob { origin, id, ledger, read })),
        }
    }
    for (origin, answers) in answers {
        if !answers.is_empty() {
            origin.send(answers);
        }
    }
}

fn serve_reads(shared: &Shared) {
    let _end = EndOnPanic(shared);
    while let Some(ReadJob { origin, id, ledger, read }) = shared.reads.pop() {
        let begun = Instant::now();
        let found = reader::read(&shared.segments, ledger, &read);
        shared.counters.read(begun.elapsed(), &found);
        let holding = read.fence.then(|| shared.segments.index.read().holding(ledger));
        origin.send(vec![reading(id, ledger, found, holding)]);
    }
}

fn give_space_back(mut space: Space, shared: &Shared, stopped: &Receiver<()>) {
    let _end = EndOnPanic(shared);
    let begun = Instant::now();
    let mut wait = Duration::ZERO;
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(wait) {
        if shared.failure.borrow().is_some() {
            return;
        }
        wait = match space.turn(begun.elapsed()) {
            Turn::Worked => Duration::ZERO,
            Turn::Wait(wait) => wait,
        };
    }
}
