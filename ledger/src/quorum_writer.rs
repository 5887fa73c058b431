//! The writer of a ledger on bookies: carries the state machine's requests and answers, and its changes to the record.
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use metadata::MetadataStore;
use proto::{BookieId, EntryId, LedgerId};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use self::ensemble::Changing;
use crate::links::{Event, Inbox, Link, Links, Sent};
use crate::placer::Placer;
use crate::quorum::Members;
use crate::records::changes;
use crate::records::{self, Updated, Versioned};
use crate::writer::{Failure, Limits, Writer};
use crate::{LedgerError, LedgerWriter, QuorumPolicy, Sealed};

mod ensemble;
#[cfg(test)]
mod tests;

/// How long a close waits for members that an ack quorum can do without, before it marks them as lacking.
const CLOSE_GRACE: Duration = Duration::from_millis(500);
/// What all writers of a process may keep for one bookie together. Beyond it each keeps little.
const KEPT_FOR_A_BOOKIE_MAX: usize = 64 << 20;
const KEPT_UNDER_PRESSURE: usize = 256 << 10;
const MARK_PAUSE: Duration = Duration::from_millis(200);
/// Idle timers are set this far ahead.
const FAR: Duration = Duration::from_secs(24 * 3600);

/// What a writer shares with others of its process.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) metadata: Arc<dyn MetadataStore>,
    pub(crate) links: Arc<Links>,
    pub(crate) placer: Arc<Placer>,
    pub(crate) limits: Limits,
}

/// One member of the ensemble.
#[derive(Debug)]
struct Seat {
    /// Its number among all that ever were members.
    number: usize,
    link: Arc<Link>,
    /// What was last told to the link as kept for it.
    kept: usize,
}

#[derive(Debug)]
pub(crate) struct QuorumWriter {
    shared: Shared,
    ledger: LedgerId,
    policy: QuorumPolicy,
    machine: Writer,
    inbox: Arc<Inbox>,
    seats: Vec<Seat>,
    /// Seats that ever were.
    seated: usize,
    events: Vec<Event>,
    origin: Instant,
    timer: Pin<Box<Sleep>>,
    marking: Option<AbortOnDropHandle<()>>,
    changing: Changing,
}

impl QuorumWriter {
    pub(crate) fn new(shared: Shared, created: &Versioned) -> Self {
        let ledger = LedgerId(created.record.ledger);
        let fragment = created.last_fragment();
        let inbox = Arc::new(Inbox::default());
        let links = records::bookies(fragment).into_iter().map(|bookie| shared.links.to(&bookie));
        let seats: Vec<Seat> = links.enumerate().map(|(number, link)| Seat { number, link, kept: 0 }).collect();
        for seat in &seats {
            seat.link.subscribe(&inbox, seat.number);
        }
        let origin = Instant::now();
        Self {
            ledger,
            policy: created.policy(),
            machine: Writer::new(ledger, created.policy(), records::lacking(fragment), shared.limits),
            shared,
            inbox,
            seated: seats.len(),
            seats,
            events: Vec::new(),
            origin,
            timer: Box::pin(sleep_until(origin + FAR)),
            marking: None,
            changing: Changing::default(),
        }
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Takes what has come and does what follows from it.
    fn turn(&mut self) {
        let now = self.now();
        let mut events = std::mem::take(&mut self.events);
        self.inbox.take(&mut events);
        for event in events.drain(..) {
            match event {
                Event::Connected { member, session } => self.machine.connected(member, session),
                Event::Ended { member, session } => self.machine.disconnected(member, session, now),
                Event::Answered { member, session, answer } => self.machine.answered(member, session, &answer, now),
                Event::Marked(true) => self.machine.marked(),
                Event::Marked(false) => self.machine.mark_refused(),
                Event::Found(found) => self.begin_change(found),
                Event::Changed(outcome) => self.finish_change(outcome),
            }
        }
        self.events = events;
        self.machine.tick(now);
        self.send();
        self.account();
        let wanted = self.machine.marks_wanted();
        if !wanted.is_empty() {
            self.mark(wanted);
        }
        if let Some(out) = self.machine.change_wanted(now) {
            self.look_for_replacements(out);
        }
    }

    fn send(&mut self) {
        let now = self.now();
        for (member, seat) in self.seats.iter().enumerate() {
            while let Some(session) = self.machine.wants_to_send(member) {
                let machine = &mut self.machine;
                let build = |first, room| machine.requests(member, first, room);
                match seat.link.send(session, &self.inbox, seat.number, build) {
                    Sent::From(_) => {}
                    Sent::Full => break, // Woken when there is room.
                    Sent::Gone => self.machine.disconnected(seat.number, session, now),
                }
            }
        }
    }

    /// Keeps less for a bookie when all writers together keep much for it.
    fn account(&mut self) {
        let kept_max = self.shared.limits.kept_max;
        for (member, seat) in self.seats.iter_mut().enumerate() {
            let now = self.machine.kept_bytes(member);
            if now != seat.kept {
                let total = seat.link.keep(seat.kept, now);
                seat.kept = now;
                let pressed = KEPT_FOR_A_BOOKIE_MAX < total;
                self.machine.bound(member, if pressed { kept_max.min(KEPT_UNDER_PRESSURE) } else { kept_max });
            }
        }
    }

    fn names(&self, members: Members) -> Vec<BookieId> {
        members.iter().map(|member| self.seats[member].link.bookie().clone()).collect()
    }

    fn mark(&mut self, members: Members) {
        let (metadata, ledger, names) = (self.shared.metadata.clone(), self.ledger, self.names(members));
        let inbox = self.inbox.clone();
        tracing::warn!(%ledger, ?names, "entries are withheld from bookies that do not acknowledge");
        // Awaited through the inbox; ends with the writer.
        self.marking = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let done = mark_in_record(&metadata, ledger, &names).await;
            inbox.put(Event::Marked(done));
        })));
    }

    fn error(&self, failure: Failure) -> LedgerError {
        match failure {
            Failure::Fenced => LedgerError::Fenced { ledger: self.ledger },
            Failure::TimedOut { entry } => {
                LedgerError::OutcomeUnknown { ledger: self.ledger, entry, needed: self.policy.ack }
            }
        }
    }

    /// Waits for something to come, or for the state machine's deadline.
    async fn wait(&mut self) {
        // The timer is moved only when it must ring earlier or has rung: a deadline that moves on costs nothing.
        let deadline = self.machine.deadline().map_or(FAR, |deadline| deadline.max(self.now()));
        let deadline = self.origin + deadline;
        if deadline < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(deadline);
        }
        tokio::select! {
            biased;
            () = self.inbox.filled() => {}
            () = self.timer.as_mut() => {}
        }
    }

    async fn close_record(&self, sealed: Sealed) -> Result<(), LedgerError> {
        let lacking = self.names(self.machine.lacking());
        let close = |record: &_| changes::close(record, sealed, &lacking);
        match records::update(&self.shared.metadata, self.ledger, close).await? {
            Updated::Done(_) => Ok(()),
            Updated::Refused(_) | Updated::Missing => Err(LedgerError::Fenced { ledger: self.ledger }),
        }
    }
}

/// Marks members in the record of an open ledger, however long it takes. `false`: the record is not the writer's any more.
async fn mark_in_record(metadata: &Arc<dyn MetadataStore>, ledger: LedgerId, names: &[BookieId]) -> bool {
    loop {
        match records::update(metadata, ledger, |record| changes::mark(record, names)).await {
            Ok(updated) => return matches!(updated, Updated::Done(_)),
            Err(error) => tracing::warn!(%ledger, %error, "the ledger's record cannot be marked now"),
        }
        sleep(MARK_PAUSE).await;
    }
}

impl Drop for QuorumWriter {
    fn drop(&mut self) {
        for seat in &self.seats {
            seat.link.keep(seat.kept, 0);
        }
    }
}

#[async_trait]
impl LedgerWriter for QuorumWriter {
    fn ledger(&self) -> LedgerId {
        self.ledger
    }

    fn append(&mut self, payload: Bytes) -> Result<EntryId, LedgerError> {
        self.machine.append(payload).map_err(|failure| self.error(failure))
    }

    fn flush(&mut self) {
        self.machine.flush(self.now());
        self.turn();
    }

    fn unconfirmed_bytes(&self) -> usize {
        self.machine.unconfirmed_bytes()
    }

    async fn confirmed(&mut self) -> Result<EntryId, LedgerError> {
        loop {
            self.turn();
            if let Some(end) = self.machine.take_confirmed() {
                return Ok(end);
            }
            if let Some(failure) = self.machine.failure() {
                return Err(self.error(failure));
            }
            self.wait().await;
        }
    }

    async fn tend(&mut self) -> LedgerError {
        loop {
            self.turn();
            if let Some(failure) = self.machine.failure() {
                return self.error(failure);
            }
            self.wait().await;
        }
    }

    async fn close(&mut self) -> Result<Sealed, LedgerError> {
        self.flush();
        let (end, length) = loop {
            if let Some(end) = self.machine.end() {
                break end;
            }
            self.confirmed().await?;
        };
        self.machine.stop_changing();
        while self.machine.is_changing() {
            self.wait().await; // The closing record depends on it.
            self.turn();
        }
        let stragglers = async {
            while self.machine.has_stragglers() && self.machine.failure().is_none() {
                self.wait().await;
                self.turn();
            }
        };
        let _ = timeout(CLOSE_GRACE, stragglers).await;
        if let Some(failure) = self.machine.failure() {
            return Err(self.error(failure));
        }
        self.marking = None; // The closing record says it all.
        let sealed = Sealed { end, length };
        self.close_record(sealed).await?;
        self.machine.mark_refused(); // Nothing more is appended.
        Ok(sealed)
    }
}
