//! The writer of a ledger on bookies: carries the state machine's requests and answers.
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use metadata::MetadataStore;
use proto::records::LedgerState;
use proto::{BookieId, EntryId, LedgerId};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::links::{Event, Inbox, Link, Links, Sent};
use crate::quorum::Members;
use crate::records::{self, Versioned};
use crate::writer::{Failure, Limits, Writer};
use crate::{LedgerError, LedgerWriter, Sealed};

/// How long a close waits for members that an ack quorum can do without, before it marks them as lacking.
const CLOSE_GRACE: Duration = Duration::from_millis(500);
/// What all writers of a process may keep for one bookie together. Beyond it each keeps little.
const KEPT_FOR_A_BOOKIE_MAX: usize = 64 << 20;
const KEPT_UNDER_PRESSURE: usize = 256 << 10;
const MARK_PAUSE: Duration = Duration::from_millis(200);
/// Idle timers are set this far ahead.
const FAR: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug)]
pub(crate) struct QuorumWriter {
    metadata: Arc<dyn MetadataStore>,
    ledger: LedgerId,
    needed: u32,
    limits: Limits,
    machine: Writer,
    inbox: Arc<Inbox>,
    links: Vec<Arc<Link>>,
    /// What was last told to each link as kept for it.
    kept: Vec<usize>,
    events: Vec<Event>,
    origin: Instant,
    timer: Pin<Box<Sleep>>,
    marking: Option<AbortOnDropHandle<()>>,
}

impl QuorumWriter {
    pub(crate) fn new(metadata: Arc<dyn MetadataStore>, links: &Links, created: &Versioned, limits: Limits) -> Self {
        let ledger = LedgerId(created.record.ledger);
        let fragment = created.last_fragment();
        let inbox = Arc::new(Inbox::default());
        let links: Vec<Arc<Link>> = records::bookies(fragment).iter().map(|bookie| links.to(bookie)).collect();
        for (member, link) in links.iter().enumerate() {
            link.subscribe(&inbox, member);
        }
        let origin = Instant::now();
        Self {
            metadata,
            ledger,
            needed: created.policy().ack,
            limits,
            machine: Writer::new(ledger, created.policy(), records::lacking(fragment), limits),
            inbox,
            kept: vec![0; links.len()],
            links,
            events: Vec::new(),
            origin,
            timer: Box::pin(sleep_until(origin + FAR)),
            marking: None,
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
                Event::Ended { member, session } => self.machine.disconnected(member, session),
                Event::Answered { member, session, answer } => self.machine.answered(member, session, &answer, now),
                Event::Marked(true) => self.machine.marked(),
                Event::Marked(false) => self.machine.mark_refused(),
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
    }

    fn send(&mut self) {
        for member in 0..self.links.len() {
            while let Some(session) = self.machine.wants_to_send(member) {
                let machine = &mut self.machine;
                let build = |first, room| machine.requests(member, first, room);
                match self.links[member].send(session, &self.inbox, member, build) {
                    Sent::From(_) => {}
                    Sent::Full => break, // Woken when there is room.
                    Sent::Gone => self.machine.disconnected(member, session),
                }
            }
        }
    }

    /// Keeps less for a bookie when all writers together keep much for it.
    fn account(&mut self) {
        for (member, link) in self.links.iter().enumerate() {
            let now = self.machine.kept_bytes(member);
            if now != self.kept[member] {
                let total = link.keep(self.kept[member], now);
                self.kept[member] = now;
                let pressed = KEPT_FOR_A_BOOKIE_MAX < total;
                let bound = if pressed { self.limits.kept_max.min(KEPT_UNDER_PRESSURE) } else { self.limits.kept_max };
                self.machine.bound(member, bound);
            }
        }
    }

    fn names(&self, members: Members) -> Vec<BookieId> {
        members.iter().map(|member| self.links[member].bookie().clone()).collect()
    }

    fn mark(&mut self, members: Members) {
        let (metadata, ledger, names) = (self.metadata.clone(), self.ledger, self.names(members));
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
                LedgerError::OutcomeUnknown { ledger: self.ledger, entry, needed: self.needed }
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
        loop {
            let fenced = LedgerError::Fenced { ledger: self.ledger };
            let Some(found) = records::read(&self.metadata, self.ledger).await? else { return Err(fenced) };
            match (found.record.state(), found.sealed()) {
                (LedgerState::Open, _) => {}
                (_, Some(other)) if other == sealed => return Ok(()),
                _ => return Err(fenced),
            }
            let record = records::closed(found.record, sealed, &lacking);
            match records::replace(&self.metadata, record, found.version).await {
                Ok(_) => return Ok(()),
                Err(metadata::Error::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Marks members in the record of an open ledger, however long it takes. `false`: the record is not the writer's any more.
async fn mark_in_record(metadata: &Arc<dyn MetadataStore>, ledger: LedgerId, names: &[BookieId]) -> bool {
    loop {
        match records::read(metadata, ledger).await {
            Ok(Some(mut found)) if found.record.state() == LedgerState::Open => {
                let last = found.record.fragments.last_mut().expect("checked when decoded");
                if !records::mark_lacking(last, names)
                    || records::replace(metadata, found.record, found.version).await.is_ok()
                {
                    return true;
                }
            }
            Ok(_) => return false,
            Err(error) => tracing::warn!(%ledger, %error, "the ledger's record cannot be marked now"),
        }
        sleep(MARK_PAUSE).await;
    }
}

impl Drop for QuorumWriter {
    fn drop(&mut self) {
        for (link, kept) in self.links.iter().zip(&self.kept) {
            link.keep(*kept, 0);
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

    async fn close(&mut self) -> Result<Sealed, LedgerError> {
        self.flush();
        let (end, length) = loop {
            if let Some(end) = self.machine.end() {
                break end;
            }
            self.confirmed().await?;
        };
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
