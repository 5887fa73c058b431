//! Where answers wait for the one who asked.
use parking_lot::Mutex;
use proto::BookieId;
use proto::bookie::Answer;
use tokio::sync::Notify;

/// What became of a change of a ledger's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Changed {
    /// It is there.
    Written,
    /// The record is not the writer's any more.
    Refused,
    /// It is not there and never will be.
    NotWritten,
}

/// What a ledger's writer, or whoever else asked, is told. Members are counted as the one who asked counts them.
#[derive(Debug)]
pub(crate) enum Event {
    Connected {
        member: usize,
        session: u64,
    },
    Ended {
        member: usize,
        session: u64,
    },
    Answered {
        member: usize,
        session: u64,
        answer: Answer,
    },
    /// Whether the ledger's record was marked; else it is not the writer's any more.
    Marked(bool),
    /// Who can take which seat of members that go; nobody, if there is none or metadata is away.
    Found(Vec<(usize, BookieId)>),
    Changed(Changed),
}

/// Takes whole batches. Bounded by what is unanswered: each request is answered at most once.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// A lock and not a channel: a batch goes in and out with one swap.
    events: Mutex<Vec<Event>>,
    filled: Notify,
}

impl Inbox {
    pub(crate) fn put(&self, event: Event) {
        self.events.lock().push(event);
        self.filled.notify_one();
    }

    pub(crate) fn put_all(&self, mut events: Vec<Event>) {
        self.events.lock().append(&mut events);
        self.filled.notify_one();
    }

    pub(crate) fn wake(&self) {
        self.filled.notify_one();
    }

    /// Moves everything into `events`, which must be empty.
    pub(crate) fn take(&self, events: &mut Vec<Event>) {
        std::mem::swap(&mut *self.events.lock(), events);
    }

    /// Returns once something was put or the inbox was woken. Cancel safe. One waits at a time.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }
}
