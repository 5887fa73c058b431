//! One client's requests and where its answers go.
use std::sync::Arc;

use parking_lot::Mutex;
use proto::LedgerId;
use proto::bookie::request::Body;
use proto::bookie::{Answer, Read, Request, Status};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::handle::Shared;
use crate::journal::{Order, Verdict};
use crate::request::{Task, Then, answer, held, malformed};

/// Batches of answers that wait for a client to take them. One that lags further behind has left.
const ANSWERS_MAX: usize = 1 << 16;
/// What a request costs in the queue besides its payload.
const REQUEST_BYTES: usize = 128;

/// Where a session's answers go. Threads that still owe an answer hold it.
#[derive(Debug)]
pub(crate) struct Origin {
    // Taken away when the session is over, from whichever thread finds that out.
    answers: Mutex<Option<mpsc::Sender<Vec<Answer>>>>,
}

impl Origin {
    /// Never waits: threads that sync disks do not wait for clients.
    pub(crate) fn send(&self, answers: Vec<Answer>) {
        let mut sender = self.answers.lock();
        if sender.as_ref().is_some_and(|sender| sender.try_send(answers).is_err()) {
            *sender = None;
        }
    }

    /// Nothing more is answered.
    pub(crate) fn end(&self) {
        *self.answers.lock() = None;
    }

    fn is_over(&self) -> bool {
        self.answers.lock().as_ref().is_none_or(mpsc::Sender::is_closed)
    }
}

/// Requests for the journal that came together.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) origin: Arc<Origin>,
    pub(crate) orders: std::vec::IntoIter<Ticket>,
    /// Given back when all of it was answered.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

/// An order and whom to tell.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) id: u64,
    pub(crate) ledger: LedgerId,
    pub(crate) order: Order,
    pub(crate) then: Then,
}

/// A read for the reading threads.
#[derive(Debug)]
pub(crate) struct ReadJob {
    pub(crate) origin: Arc<Origin>,
    pub(crate) id: u64,
    pub(crate) ledger: LedgerId,
    pub(crate) read: Read,
}

/// Takes one client's requests. Dropping it ends the session once everything taken was answered.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    origin: Arc<Origin>,
}

impl Session {
    pub(crate) fn open(shared: Arc<Shared>) -> (Self, mpsc::Receiver<Vec<Answer>>) {
        let (sender, answers) = mpsc::channel(ANSWERS_MAX);
        let origin = Arc::new(Origin { answers: Mutex::new(Some(sender)) });
        shared.register(&origin);
        (Self { shared, origin }, answers)
    }

    /// Queues the requests and returns at once. When the queue's bytes are used up, adds are answered BUSY, in their turn.
    /// `false` once the session is over: then nothing was taken.
    pub fn send(&self, requests: Vec<Request>) -> bool {
        let room = self.shared.room.clone().try_acquire_many_owned(room_of(&requests));
        self.take(requests, room.ok())
    }

    /// Like [`send`](Self::send), but waits for room, so that a stream's own flow control holds its client back.
    pub async fn send_when_room(&self, requests: Vec<Request>) -> bool {
        match self.shared.room.clone().acquire_many_owned(room_of(&requests)).await {
            Ok(room) => self.take(requests, Some(room)),
            Err(_) => false,
        }
    }

    fn take(&self, requests: Vec<Request>, room: Option<OwnedSemaphorePermit>) -> bool {
        if self.origin.is_over() {
            return false;
        }
        let mut orders = Vec::with_capacity(requests.len());
        let mut answers = Vec::new();
        for request in requests {
            let (id, ledger) = (request.id, LedgerId(request.ledger));
            match Task::of(request) {
                Task::Journal(order, then) => {
                    let order = if room.is_none() && matches!(order, Order::Add { .. }) { BUSY } else { order };
                    orders.push(Ticket { id, ledger, order, then });
                }
                Task::Read(read) => {
                    let job = ReadJob { origin: self.origin.clone(), id, ledger, read };
                    answers.extend(self.shared.queue_read(job));
                }
                Task::Held => answers.push(held(id, ledger, &self.shared.segments.index.read())),
                Task::Malformed => answers.push(malformed(id, ledger)),
            }
        }
        if !answers.is_empty() {
            self.origin.send(answers);
        }
        if orders.is_empty() {
            return true;
        }
        let submission = Submission { origin: self.origin.clone(), orders: orders.into_iter(), room };
        self.shared.journal.push(submission, usize::MAX).is_ok()
    }
}

const BUSY: Order = Order::Refused(Verdict::new(Status::Busy, "the journal's queue is full"));

pub(crate) fn busy_read(id: u64, ledger: LedgerId) -> Answer {
    answer(id, ledger, Status::Busy, "too many reads are waiting")
}

/// Semaphores of the queue count in bytes.
pub(crate) fn room(bytes: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(bytes))
}

/// Never more than there is, which would wait forever: a message that alone exceeds the queue takes all of it.
fn room_of(requests: &[Request]) -> u32 {
    let payload = |request: &Request| match &request.body {
        Some(Body::Add(add)) => add.payload.len(),
        _ => 0,
    };
    let bytes: usize = requests.iter().map(|request| REQUEST_BYTES + payload(request)).sum();
    u32::try_from(bytes.min(crate::handle::QUEUE_BYTES_MAX)).expect("the queue is smaller than 4 GiB")
}
