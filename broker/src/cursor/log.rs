//! The cursor log of a topic, as subscriptions see it: a queue of changes, and the task that it starts.
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedRwLockWriteGuard, RwLock, oneshot, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::flush::Flusher;
use super::{AckDelta, AckSet, Change, Cursor, Cursors, Need, Run};
use crate::clock::Clock;
use crate::log::{LogError, LogReader, RecordOwner};

/// How long acknowledgements without receipt may gather.
const GATHER: Duration = Duration::from_millis(50);

/// What may wait to be written before dispatch has to pause.
const QUEUE_BYTES_MAX: usize = 4 << 20;

/// What may wait for more to come.
const GATHER_BYTES_MAX: usize = 128 * 1024;

type Answer = Box<dyn FnOnce(Result<(), LogError>) + Send>;

/// Answered once what it stands for is durable, or with the error; when it is dropped, with [`LogError::Closed`].
pub(crate) struct AckReceipt {
    answer: Option<Answer>,
}

impl AckReceipt {
    /// `answer` is called exactly once and must not block.
    pub(crate) fn new(answer: impl FnOnce(Result<(), LogError>) + Send + 'static) -> Self {
        Self { answer: Some(Box::new(answer)) }
    }

    pub(super) fn answer(mut self, outcome: Result<(), LogError>) {
        if let Some(answer) = self.answer.take() {
            answer(outcome);
        }
    }
}

impl Drop for AckReceipt {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take() {
            answer(Err(LogError::Closed));
        }
    }
}

impl fmt::Debug for AckReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AckReceipt")
    }
}

/// Whether the cursor log keeps up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// Go on.
    Enough,
    /// What was given is kept, but too much waits to be written: pause dispatch until a flush has gone through.
    Full,
}

/// What closing has left of the cursor log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CursorEnd {
    /// The record already says what there is.
    Unchanged,
    /// So small that it may stand in the record, and the cursor ledgers go.
    Folded {
        /// An entry of the cursor log: a finished snapshot. Empty without subscriptions.
        state: Bytes,
    },
    /// The cursor ledgers hold it.
    Kept,
}

/// Talks to the one cursor task of a topic, which starts at the first change. Cheap to clone. When the last clone is dropped,
/// the task ends where it is.
#[derive(Debug, Clone)]
pub(crate) struct CursorLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Arc<Queue>,
    clock: Clock,
    /// A lock and not a task, because it holds what the task is made of, and then the task.
    writer: Mutex<Writer>,
    /// Shared by those who make subscriptions or move them back, held alone while a trim rests on where they stand.
    /// An asynchronous lock and not a task: both wait for storage in between, both are rare, and an idle topic must not cost a task.
    puts: Arc<RwLock<()>>,
}

/// While it is held, no subscription comes into being, and none moves back.
#[derive(Debug)]
pub(crate) struct Held {
    need: Need,
    _alone: OwnedRwLockWriteGuard<()>,
}

impl Held {
    /// What durable subscriptions need at least.
    pub(crate) fn need(&self) -> Need {
        self.need
    }
}

#[derive(Debug)]
enum Writer {
    /// Nothing has changed since the topic was loaded.
    Idle(Option<Box<Flusher>>),
    Running {
        _task: AbortOnDropHandle<()>,
    },
}

/// What waits to be written, between the subscriptions and the cursor task.
#[derive(Debug)]
pub(super) struct Queue {
    /// A lock and not a channel: acknowledgements of a subscription merge here, and the writer takes all there is at once.
    waiting: Mutex<Waiting>,
    wake: Notify,
    room: watch::Sender<Room>,
    failure: watch::Sender<Option<LogError>>,
}

#[derive(Debug, Default)]
struct Waiting {
    changes: Vec<Change>,
    /// Where in `changes` the acknowledgements of a subscription gather.
    gathering: HashMap<Arc<str>, usize>,
    bytes: usize,
    receipts: Vec<AckReceipt>,
    /// Who wants to know what is needed, once all this is written.
    asked: Vec<oneshot::Sender<Need>>,
    /// When the oldest change has waited long enough.
    due: Option<Instant>,
    closing: Option<oneshot::Sender<Result<CursorEnd, LogError>>>,
    closed: bool,
}

/// What one flush writes.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) changes: Vec<Change>,
    pub(super) receipts: Vec<AckReceipt>,
    pub(super) asked: Vec<oneshot::Sender<Need>>,
    /// It is the last.
    pub(super) closing: Option<oneshot::Sender<Result<CursorEnd, LogError>>>,
}

impl CursorLog {
    /// `cursors` is what is durable now.
    pub(crate) fn new(record: RecordOwner, reader: LogReader, cursors: Cursors) -> Self {
        let queue = Arc::new(Queue {
            waiting: Mutex::default(),
            wake: Notify::new(),
            room: watch::Sender::new(Room::Enough),
            failure: watch::Sender::new(None),
        });
        let clock = record.context().clock.clone();
        let flusher = Box::new(Flusher::new(record, reader, cursors));
        let writer = Mutex::new(Writer::Idle(Some(flusher)));
        Self { shared: Arc::new(Shared { queue, clock, writer, puts: Arc::default() }) }
    }

    /// Makes or replaces a subscription. Durable when it returns. Waits while a trim rests on where subscriptions stand.
    pub(crate) async fn put(
        &self,
        name: &Arc<str>,
        acks: AckSet,
        properties: HashMap<String, String>,
    ) -> Result<(), LogError> {
        let _together = self.shared.puts.read().await;
        let created_at = self.shared.clock.now_ms();
        self.durable(Change::Put(name.clone(), Cursor { acks, properties, created_at, delays: Vec::new() })).await
    }

    /// Removes a subscription. Durable when it returns. No error when there is none.
    pub(crate) async fn remove(&self, name: &Arc<str>) -> Result<(), LogError> {
        self.durable(Change::Removed(name.clone())).await
    }

    /// Notes acknowledgements; never blocks. With a receipt they are written at once, else within 50 ms.
    pub(crate) fn acknowledge(&self, name: &Arc<str>, delta: AckDelta, receipt: Option<AckReceipt>) -> Room {
        let room = self.shared.queue.push(Change::Acknowledged(name.clone(), delta), receipt);
        self.start();
        room
    }

    /// Notes when entries are to be delivered; never blocks.
    pub(crate) fn delay(&self, name: &Arc<str>, run: Run) -> Room {
        let room = self.shared.queue.push(Change::Delays(name.clone(), run), None);
        self.start();
        room
    }

    /// What durable subscriptions need of the topic. It may need less at once, and more when a subscription is made or moved back.
    pub(crate) async fn need(&self) -> Result<Need, LogError> {
        let asked = {
            let writer = self.shared.writer.lock();
            match &*writer {
                // Nothing has changed, and nobody is about to write: no reason to start a task.
                Writer::Idle(Some(flusher)) if self.shared.queue.is_empty() => return Ok(flusher.need()),
                _ => self.shared.queue.ask()?,
            }
        };
        self.start();
        asked.await.map_err(|_| self.shared.queue.error())
    }

    /// Keeps subscriptions from being made or moved back, once those that are on their way are written down, and says what is needed then.
    pub(crate) async fn hold(&self) -> Result<Held, LogError> {
        let alone = self.shared.puts.clone().write_owned().await;
        Ok(Held { need: self.need().await?, _alone: alone })
    }

    /// Returns once there is room again. Cancel safe.
    pub(crate) async fn roomy(&self) {
        // The sender lives as long as this.
        let _ = self.shared.queue.room.subscribe().wait_for(|room| *room == Room::Enough).await;
    }

    /// Why nothing can be written any more, once that is so. Then the topic is loaded again.
    pub(crate) fn failure(&self) -> watch::Receiver<Option<LogError>> {
        self.shared.queue.failure.subscribe()
    }

    /// Writes what waits and ends the task. Later changes are answered with [`LogError::Closed`].
    pub(crate) async fn close(&self) -> Result<CursorEnd, LogError> {
        let (done, ended) = oneshot::channel();
        if !self.shared.queue.close(done) {
            return Err(self.shared.queue.error());
        }
        self.start();
        ended.await.unwrap_or_else(|_| Err(self.shared.queue.error()))
    }

    async fn durable(&self, change: Change) -> Result<(), LogError> {
        let (done, outcome) = oneshot::channel();
        let receipt = AckReceipt::new(move |outcome| drop(done.send(outcome)));
        self.shared.queue.push(change, Some(receipt));
        self.start();
        outcome.await.unwrap_or(Err(LogError::Closed))
    }

    fn start(&self) {
        let mut writer = self.shared.writer.lock();
        if let Writer::Idle(flusher) = &mut *writer {
            let flusher = flusher.take().expect("taken only to become the task");
            let task = tokio::spawn(flusher.run(self.shared.queue.clone()));
            *writer = Writer::Running { _task: AbortOnDropHandle::new(task) };
        }
    }
}

impl Queue {
    /// The answer to a receipt that came too late goes out here.
    fn push(&self, change: Change, receipt: Option<AckReceipt>) -> Room {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            drop(waiting);
            if let Some(receipt) = receipt {
                receipt.answer(Err(self.error()));
            }
            return Room::Full;
        }
        let (before, weight) = (waiting.bytes, weight(&change));
        waiting.add(change);
        waiting.bytes += weight;
        let at_once = receipt.is_some() || GATHER_BYTES_MAX <= waiting.bytes;
        let due = if at_once { Instant::now() } else { waiting.due.unwrap_or_else(|| Instant::now() + GATHER) };
        let sooner = waiting.due.is_none_or(|before| due < before);
        waiting.due = Some(due);
        waiting.receipts.extend(receipt);
        let room = if waiting.bytes < QUEUE_BYTES_MAX { Room::Enough } else { Room::Full };
        if room == Room::Full && before < QUEUE_BYTES_MAX {
            self.room.send_replace(Room::Full);
        }
        drop(waiting);
        if sooner {
            self.wake.notify_one();
        }
        room
    }

    fn is_empty(&self) -> bool {
        let waiting = self.waiting.lock();
        waiting.changes.is_empty() && !waiting.closed
    }

    /// What is needed once everything that waits now is written.
    fn ask(&self) -> Result<oneshot::Receiver<Need>, LogError> {
        let (asked, answer) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            drop(waiting);
            return Err(self.error());
        }
        waiting.asked.push(asked);
        self.wake.notify_one();
        Ok(answer)
    }

    /// `false`: it was closed before.
    fn close(&self, done: oneshot::Sender<Result<CursorEnd, LogError>>) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return false;
        }
        waiting.closed = true;
        waiting.closing = Some(done);
        self.wake.notify_one();
        true
    }

    /// All there is, once it is due. Cancel safe.
    pub(super) async fn next_batch(&self) -> Batch {
        loop {
            let due = {
                let mut waiting = self.waiting.lock();
                let due = waiting.due.is_some_and(|due| due <= Instant::now());
                if due || waiting.closing.is_some() || !waiting.asked.is_empty() {
                    let closed = waiting.closed;
                    let taken = std::mem::replace(&mut *waiting, Waiting { closed, ..Waiting::default() });
                    self.room.send_replace(Room::Enough);
                    let Waiting { changes, receipts, asked, closing, .. } = taken;
                    return Batch { changes, receipts, asked, closing };
                }
                waiting.due
            };
            match due {
                Some(due) => tokio::select! {
                    () = self.wake.notified() => {}
                    () = tokio::time::sleep_until(due) => {}
                },
                None => self.wake.notified().await,
            }
        }
    }

    /// Nothing can be written any more.
    pub(super) fn fail(&self, error: &LogError) {
        let taken = {
            let mut waiting = self.waiting.lock();
            std::mem::replace(&mut *waiting, Waiting { closed: true, ..Waiting::default() })
        };
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            failure.get_or_insert_with(|| error.clone());
            first // The first is the reason, later ones follow from it.
        });
        taken.receipts.into_iter().for_each(|receipt| receipt.answer(Err(error.clone())));
    }

    fn error(&self) -> LogError {
        self.failure.borrow().clone().unwrap_or(LogError::Closed)
    }
}

impl Waiting {
    fn add(&mut self, change: Change) {
        match change {
            Change::Acknowledged(name, delta) => match self.gathering.get(&name).map(|at| &mut self.changes[*at]) {
                Some(Change::Acknowledged(_, gathered)) => gathered.merge(delta),
                _ => {
                    self.gathering.insert(name.clone(), self.changes.len());
                    self.changes.push(Change::Acknowledged(name, delta));
                }
            },
            Change::Delays(..) => self.changes.push(change),
            Change::Put(ref name, _) | Change::Removed(ref name) => {
                self.gathering.remove(name); // What comes later is said later.
                self.changes.push(change);
            }
        }
    }
}

fn weight(change: &Change) -> usize {
    match change {
        Change::Acknowledged(_, delta) => delta.weight(),
        Change::Delays(_, run) => 256 + run.bytes().len(),
        Change::Put(..) | Change::Removed(_) => 256,
    }
}
