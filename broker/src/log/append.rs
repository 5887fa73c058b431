//! Appending: the shell around [`Tail`], a value that the topic task drives.
use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use ledger::{LedgerError, LedgerWriter, Sealed};
use proto::{EntryId, LedgerId, Position};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::record::{List, RecordOwner};
use super::tail::{Durable, Next, Phase, Tail};
use super::{LogError, LogReader};
use crate::cursor::{CursorEnd, CursorLog};

type Writer = Box<dyn LedgerWriter>;
type Work<T> = AbortOnDropHandle<Result<T, LogError>>;

/// So long a full ledger waits for the next. When metadata are away it goes on without: what is loaded is served.
const NEXT_WITHIN: Duration = Duration::from_millis(200);

/// The end of a topic's log.
///
/// Creating, closing and sealing ledgers run as tasks of their own, because they take turns with the cursor log; a mere append
/// and its confirmation run within the caller.
#[derive(Debug)]
pub(crate) struct TopicLog {
    tail: Tail,
    reader: LogReader,
    record: RecordOwner,
    cursor_log: CursorLog,
    cursor_failure: watch::Receiver<Option<LogError>>,
    writer: Option<Writer>,
    creating: Option<Work<Writer>>,
    creating_since: Instant,
    next: Option<Writer>,
    ending: Option<Work<Sealed>>,
    failure: Option<LogError>,
    lost: bool,
}

/// What became of appends.
#[derive(Debug)]
pub(crate) enum Settled {
    /// The next `count` appends, in order, lie at `first` and after it, in one ledger.
    Confirmed {
        /// Of the first of them.
        first: Position,
        /// How many.
        count: usize,
    },
    /// Nothing more will be confirmed: stop answering for the topic, and load it again. Returned once.
    Lost(LogError),
}

enum Event {
    Confirmed(Result<EntryId, LedgerError>),
    Ended(Result<Sealed, LogError>),
    Created(Result<Writer, LogError>),
    CursorsFailed(LogError),
    /// The next ledger takes too long.
    NextIsAway,
}

impl TopicLog {
    pub(super) fn new(reader: LogReader, record: RecordOwner, cursor_log: CursorLog) -> Self {
        Self {
            tail: Tail::new(record.context().rollover),
            reader,
            record,
            cursor_failure: cursor_log.failure(),
            cursor_log,
            writer: None,
            creating: None,
            creating_since: Instant::now(),
            next: None,
            ending: None,
            failure: None,
            lost: false,
        }
    }

    /// Takes an entry. The order of calls is the order of positions.
    pub(crate) fn append(&mut self, entry: Bytes) {
        self.tail.push(entry);
    }

    /// Hands over what was appended to the bookies. Call it after a batch of appends. Returns at once.
    pub(crate) fn flush(&mut self) {
        if self.lost || self.failure.is_some() {
            return;
        }
        let now_ms = self.record.context().clock.now_ms();
        if self.tail.waits_for_ledger()
            && let Some(writer) = self.next.take()
        {
            self.tail.open(writer.ledger(), now_ms);
            self.reader.opened(writer.ledger(), now_ms);
            self.writer = Some(writer);
            self.tail.note_next(Next::Awaited);
        }
        self.send(now_ms);
        if self.tail.phase() == Phase::Closing && self.ending.is_none() {
            self.start_closing();
        }
        if self.tail.wants_ledger(now_ms) && self.next.is_none() && self.creating.is_none() {
            let record = self.record.clone();
            self.creating_since = Instant::now();
            self.creating = Some(spawn(async move { record.create_ledger(List::Entries).await }));
        }
    }

    /// Closes the open ledger, if it is still this one and has entries. Returns at once.
    pub(crate) fn roll(&mut self, ledger: LedgerId) {
        self.tail.roll(ledger);
        self.flush();
    }

    /// Bytes appended and not settled: take no more when they are too many.
    pub(crate) fn unconfirmed_bytes(&self) -> usize {
        self.tail.unsettled_bytes()
    }

    /// Appends not settled.
    #[cfg(test)]
    pub(crate) fn unconfirmed(&self) -> usize {
        self.tail.unsettled()
    }

    /// What became of the next appends. Waits forever when nothing is in flight and the topic is not lost. Cancel safe.
    pub(crate) async fn settled(&mut self) -> Settled {
        loop {
            self.flush();
            if let Some(error) = self.failure.take() {
                self.lost = true;
                return Settled::Lost(error);
            }
            let event = self.next_event().await;
            if let Some((first, count)) = self.handle(event) {
                return Settled::Confirmed { first, count };
            }
        }
    }

    /// Reads this log, as far as it is confirmed.
    pub(crate) fn reader(&self) -> LogReader {
        self.reader.clone()
    }

    /// Waits for what is in flight, closes the ledger and the cursor log. The next load has nothing to recover then.
    /// Who wants to answer for what is in flight waits with [`settled`](Self::settled) first.
    pub(crate) async fn close(mut self) -> Result<(), LogError> {
        while 0 < self.tail.unsettled() {
            if let Settled::Lost(error) = self.settled().await {
                return Err(error);
            }
        }
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        if let Some(ending) = self.ending.take() {
            joined(ending.await, &self.record)?;
        }
        if let Some(creating) = self.creating.take() {
            self.next = joined(creating.await, &self.record).ok(); // A ledger that was not made need not be dropped.
        }
        let unused = self.next.take().map(|writer| writer.ledger());
        let mut gone: Vec<LedgerId> = unused.into_iter().collect();
        if let (Some(mut writer), Some((ledger, entries))) = (self.writer.take(), self.tail.current()) {
            if entries == 0 {
                gone.push(ledger);
            } else if let Ok(sealed) = writer.close().await {
                note_sealed(&self.record, ledger, sealed).await; // Else the next load seals it.
            }
        }
        let cursors = self.cursor_log.close().await?;
        let dropped = gone.clone();
        if let CursorEnd::Folded { .. } = cursors {
            gone.extend(self.record.record().await.cursor_ledgers.into_iter().map(LedgerId));
        }
        if gone.is_empty() && cursors == CursorEnd::Unchanged {
            return self.record.write_noted().await;
        }
        let edit = |record: &mut proto::records::TopicRecord| {
            record.ledgers.retain(|listed| !dropped.contains(&LedgerId(listed.ledger)));
            if let CursorEnd::Folded { state } = cursors {
                record.cursor_ledgers.clear();
                record.folded_cursors = state;
            }
        };
        self.record.change(&gone, edit).await
    }

    fn send(&mut self, now_ms: u64) {
        let Some(writer) = &mut self.writer else { return };
        let mut sent = false;
        while let Some(entry) = self.tail.next_to_send(now_ms) {
            // A refusal is reported by `confirmed` as well, which then settles everything that was sent, this one too.
            let _ = writer.append(entry);
            sent = true;
        }
        if sent {
            writer.flush();
        }
    }

    fn start_closing(&mut self) {
        let Some((ledger, _)) = self.tail.current() else { return };
        let Some(mut writer) = self.writer.take() else { return };
        let record = self.record.clone();
        self.ending = Some(spawn(async move {
            let sealed = match writer.close().await {
                Ok(sealed) => sealed,
                Err(error @ LedgerError::Fenced { .. }) => return Err(record.fenced(&error)),
                Err(_) => record.seal(ledger).await?,
            };
            note_sealed(&record, ledger, sealed).await;
            Ok(sealed)
        }));
    }

    fn start_sealing(&mut self) {
        let ledger = self.tail.failed();
        self.writer = None;
        let record = self.record.clone();
        self.ending = Some(spawn(async move {
            let sealed = record.seal(ledger).await?;
            note_sealed(&record, ledger, sealed).await;
            Ok(sealed)
        }));
    }

    async fn next_event(&mut self) -> Event {
        if self.lost {
            return pending().await;
        }
        let in_flight = self.tail.in_flight();
        let held = self.tail.is_held(self.record.context().clock.now_ms());
        tokio::select! {
            biased; // Confirmations first: they are what everyone waits for.
            outcome = writing(&mut self.writer, &mut self.next, in_flight) => Event::Confirmed(outcome),
            outcome = finished(&mut self.ending, &self.record) => Event::Ended(outcome),
            outcome = finished(&mut self.creating, &self.record) => Event::Created(outcome),
            error = failed(&mut self.cursor_failure) => Event::CursorsFailed(error),
            () = sleep_until(self.creating_since + NEXT_WITHIN), if held => Event::NextIsAway,
        }
    }

    fn handle(&mut self, event: Event) -> Option<(Position, usize)> {
        match event {
            Event::Confirmed(Ok(end)) => {
                let durable = self.tail.confirmed(end);
                return self.show(durable);
            }
            Event::Confirmed(Err(error @ LedgerError::Fenced { .. })) => {
                self.failure = Some(self.record.fenced(&error))
            }
            Event::Confirmed(Err(error)) => {
                tracing::warn!(topic = %self.record.topic(), %error, "a ledger failed: it is sealed and followed by another");
                self.start_sealing();
            }
            Event::Ended(Ok(sealed)) => {
                let (ledger, _) = self.tail.current().expect("only a ledger ends");
                let durable = self.tail.ended(sealed);
                let shown = self.show(durable);
                let context = self.record.context();
                self.reader.sealed(ledger, sealed, context.clock.now_ms());
                // When nobody listens or there is no room, the next walk finds it.
                let _ = context.sealed.try_send(self.record.topic().clone());
                return shown;
            }
            Event::Created(Ok(writer)) => {
                self.next = Some(writer);
                self.tail.note_next(Next::Ready);
            }
            Event::NextIsAway => self.tail.note_next(Next::Away),
            // Made ahead of need: the open ledger still takes entries, and the next is asked for again.
            Event::Created(Err(error)) if error.passes() && self.tail.phase() == Phase::Open => {
                self.tail.note_next(Next::Away);
            }
            Event::Ended(Err(error)) | Event::Created(Err(error)) | Event::CursorsFailed(error) => {
                self.failure = Some(error);
            }
        }
        None
    }

    /// Readers see what is durable.
    fn show(&mut self, durable: Option<Durable>) -> Option<(Position, usize)> {
        let Durable { first, entries } = durable?;
        let count = entries.len();
        self.reader.confirmed(first, entries, self.record.context().clock.now_ms());
        Some((first, count))
    }
}

/// Tells the record how a ledger ended, with its next change.
async fn note_sealed(record: &RecordOwner, ledger: LedgerId, sealed: Sealed) {
    let now_ms = record.context().clock.now_ms();
    record.note(|record| super::load::seal_in(record, ledger, sealed, now_ms)).await;
}

fn spawn<T: Send + 'static>(work: impl Future<Output = Result<T, LogError>> + Send + 'static) -> Work<T> {
    AbortOnDropHandle::new(tokio::spawn(work))
}

fn joined<T>(
    outcome: Result<Result<T, LogError>, tokio::task::JoinError>,
    record: &RecordOwner,
) -> Result<T, LogError> {
    outcome.unwrap_or_else(|error| Err(record.fenced(&error)))
}

/// Waits for what is in flight. Writers that have nothing in flight look after their bookies meanwhile; that one has failed is told when
/// it is written to.
async fn writing(
    writer: &mut Option<Writer>,
    next: &mut Option<Writer>,
    in_flight: bool,
) -> Result<EntryId, LedgerError> {
    match writer {
        Some(writer) if in_flight => tokio::select! {
            biased;
            outcome = writer.confirmed() => outcome,
            never = tend(next) => match never {},
        },
        writer => match tokio::join!(tend(writer), tend(next)).0 {},
    }
}

async fn tend(writer: &mut Option<Writer>) -> std::convert::Infallible {
    if let Some(writer) = writer {
        writer.tend().await;
    }
    pending().await
}

async fn finished<T>(work: &mut Option<Work<T>>, record: &RecordOwner) -> Result<T, LogError> {
    let Some(running) = work else { return pending().await };
    let outcome = joined(running.await, record);
    *work = None;
    outcome
}

async fn failed(failure: &mut watch::Receiver<Option<LogError>>) -> LogError {
    let found = failure.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
    match found {
        Some(error) => error,
        None => pending().await, // Closed in good order.
    }
}
