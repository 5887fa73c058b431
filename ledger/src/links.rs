//! Sessions with bookies: one link per bookie, shared by all ledgers of the process.
//!
//! Owns: request ids, and which inbox an answer belongs to.
//! Promises: requests of a session are sent in the order of their ids; answers come to the inbox of whoever asked, a batch with
//! one wake-up; when a session ends, everyone who waits for it is told; a link that is down connects again while someone wants it.
//! Never: looks into a request, or holds more unanswered payload for a bookie than a bound.
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use proto::BookieId;
use proto::bookie::{Answer, Request, request};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

pub(crate) use self::inbox::{Changed, Event, Inbox};
pub(crate) use self::suspects::Suspects;
use crate::{Bookies, RequestSink, Session};

mod ask;
mod inbox;
mod suspects;

/// Payload bytes that may be unanswered in one session, over all ledgers.
const IN_FLIGHT_MAX: usize = 64 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// All links of a process.
#[derive(Debug)]
pub(crate) struct Links {
    bookies: Arc<dyn Bookies>,
    suspects: Arc<Suspects>,
    /// A lock and not a task: held for a look-up.
    links: Mutex<BTreeMap<BookieId, Running>>,
}

#[derive(Debug)]
struct Running {
    link: Arc<Link>,
    _task: AbortOnDropHandle<()>,
}

impl Links {
    pub(crate) fn new(bookies: Arc<dyn Bookies>) -> Self {
        Self { bookies, suspects: Arc::default(), links: Mutex::default() }
    }

    /// Of whom ill was heard lately.
    pub(crate) fn suspects(&self) -> &Suspects {
        &self.suspects
    }

    /// Whether ill was heard of `bookie` lately.
    pub(crate) fn is_suspect(&self, bookie: &BookieId) -> bool {
        self.suspects.reason(bookie, Instant::now()).is_some()
    }

    /// The link to `bookie`. Its task ends with the process's [`Links`].
    pub(crate) fn to(&self, bookie: &BookieId) -> Arc<Link> {
        let mut links = self.links.lock();
        let running = links.entry(bookie.clone()).or_insert_with(|| {
            let link = Arc::new(Link::new(bookie.clone(), self.suspects.clone()));
            let task = tokio::spawn(keep_connected(link.clone(), self.bookies.clone()));
            Running { link, _task: AbortOnDropHandle::new(task) }
        });
        running.link.clone()
    }
}

/// One bookie as all ledgers of this process see it.
#[derive(Debug)]
pub(crate) struct Link {
    bookie: BookieId,
    /// A lock and not a task: a lone append goes to the bookie's sink without a hop. Held while ids are given and the sink, which
    /// never waits, takes the requests in the order of their ids.
    state: Mutex<State>,
    /// A lock with a notification and not a watch channel, which wakes those who wait in no order that could be repeated.
    status: Mutex<Status>,
    changed: Notify,
    wanted: Notify,
    /// Bytes that writers keep for this bookie because it has not acknowledged them.
    kept: AtomicUsize,
    suspects: Arc<Suspects>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Status {
    session: Option<u64>,
    /// Attempts to connect that failed.
    failed: u64,
}

#[derive(Debug, Default)]
struct State {
    live: Option<Live>,
    sessions: u64,
    subscribers: Vec<(Weak<Inbox>, usize)>,
}

#[derive(Debug)]
struct Live {
    session: u64,
    sink: Box<dyn RequestSink>,
    next_id: u64,
    /// What is unanswered, by the first id of each batch.
    routes: BTreeMap<u64, Route>,
    in_flight: usize,
    /// Someone was told that there is no room.
    full: bool,
}

#[derive(Debug)]
struct Route {
    inbox: Weak<Inbox>,
    member: usize,
    count: u64,
    left: u64,
    bytes: usize,
}

/// What became of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// They are on their way, with ids from this one on.
    From(u64),
    /// Too much is unanswered. The inbox is woken when there is room.
    Full,
    /// The session is over.
    Gone,
}

fn payload_bytes(requests: &[Request]) -> usize {
    let bytes = |request: &Request| match &request.body {
        Some(request::Body::Add(add)) => add.payload.len(),
        _ => 0,
    };
    requests.iter().map(bytes).sum()
}

impl Link {
    fn new(bookie: BookieId, suspects: Arc<Suspects>) -> Self {
        Self {
            bookie,
            state: Mutex::default(),
            status: Mutex::default(),
            changed: Notify::new(),
            wanted: Notify::new(),
            kept: AtomicUsize::new(0),
            suspects,
        }
    }

    pub(crate) fn bookie(&self) -> &BookieId {
        &self.bookie
    }

    /// Whether there is a session now.
    pub(crate) fn is_live(&self) -> bool {
        self.status.lock().session.is_some()
    }

    /// Whether there is a session and nothing ill was heard lately.
    pub(crate) fn is_trusted(&self) -> bool {
        self.is_live() && self.suspects.reason(&self.bookie, Instant::now()).is_none()
    }

    pub(crate) fn suspect(&self, reason: &'static str) {
        self.suspects.add(&self.bookie, reason, Instant::now());
    }

    /// Tells `inbox` of every session that begins and ends, as member `member`, from the present one on.
    pub(crate) fn subscribe(&self, inbox: &Arc<Inbox>, member: usize) {
        let mut state = self.state.lock();
        state.subscribers.retain(|(inbox, _)| inbox.strong_count() > 0);
        state.subscribers.push((Arc::downgrade(inbox), member));
        match &state.live {
            Some(live) => inbox.put(Event::Connected { member, session: live.session }),
            None => self.wanted.notify_one(),
        }
    }

    /// Tells `inbox` nothing more as member `member`. What it has asked for may still be answered.
    pub(crate) fn unsubscribe(&self, inbox: &Arc<Inbox>, member: usize) {
        let inbox = Arc::downgrade(inbox);
        self.state.lock().subscribers.retain(|(other, as_member)| *as_member != member || !other.ptr_eq(&inbox));
    }

    /// Sends what `build` makes of the next request id and of the room there is, if `session` still lasts.
    /// `inbox` gets the answers as those of member `member`.
    pub(crate) fn send(
        &self,
        session: u64,
        inbox: &Arc<Inbox>,
        member: usize,
        build: impl FnOnce(u64, usize) -> Vec<Request>,
    ) -> Sent {
        let mut state = self.state.lock();
        let Some(live) = state.live.as_mut().filter(|live| live.session == session) else { return Sent::Gone };
        if IN_FLIGHT_MAX <= live.in_flight {
            live.full = true;
            return Sent::Full;
        }
        let first = live.next_id;
        let requests = build(first, IN_FLIGHT_MAX - live.in_flight);
        let (count, bytes) = (requests.len() as u64, payload_bytes(&requests));
        if count == 0 {
            return Sent::From(first);
        }
        live.next_id += count;
        if !live.sink.send(requests) {
            return Sent::Gone; // The task is about to notice.
        }
        live.in_flight += bytes;
        live.routes.insert(first, Route { inbox: Arc::downgrade(inbox), member, count, left: count, bytes });
        Sent::From(first)
    }

    /// Notes that a writer keeps `now` bytes for this bookie instead of `before`. Returns what all writers keep.
    pub(crate) fn keep(&self, before: usize, now: usize) -> usize {
        let total = self.kept.fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
        total.wrapping_add(now.wrapping_sub(before))
    }

    fn set_status(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status.lock());
        self.changed.notify_waiters();
    }

    /// Waits for a status that `is` right, and returns it.
    async fn status(&self, is: impl Fn(&Status) -> bool) -> Status {
        loop {
            let changed = self.changed.notified(); // From here on no change is missed.
            let now = *self.status.lock();
            if is(&now) {
                return now;
            }
            changed.await;
        }
    }

    fn forget(&self, session: u64, first_id: u64) {
        let mut state = self.state.lock();
        if let Some(live) = state.live.as_mut().filter(|live| live.session == session)
            && let Some(route) = live.routes.remove(&first_id)
        {
            live.in_flight -= route.bytes;
        }
    }

    fn began(&self, sink: Box<dyn RequestSink>) {
        let mut state = self.state.lock();
        state.sessions += 1;
        let session = state.sessions;
        state.live = Some(Live { session, sink, next_id: 1, routes: BTreeMap::new(), in_flight: 0, full: false });
        for (inbox, member) in &state.subscribers {
            if let Some(inbox) = inbox.upgrade() {
                inbox.put(Event::Connected { member: *member, session });
            }
        }
        self.set_status(|status| status.session = Some(session));
    }

    fn ended(&self) {
        let mut state = self.state.lock();
        let Some(live) = state.live.take() else { return };
        let session = live.session;
        state.subscribers.retain(|(inbox, _)| inbox.strong_count() > 0);
        let waiting = live.routes.values().map(|route| (&route.inbox, route.member));
        let subscribed = state.subscribers.iter().map(|(inbox, member)| (inbox, *member));
        for (inbox, member) in subscribed.chain(waiting) {
            if let Some(inbox) = inbox.upgrade() {
                inbox.put(Event::Ended { member, session });
            }
        }
        self.set_status(|status| status.session = None);
    }

    /// Brings a batch of answers to those who asked, each woken once for a row of them.
    fn deliver(&self, answers: Vec<Answer>) {
        let mut row: Option<(Arc<Inbox>, Vec<Event>)> = None;
        let mut state = self.state.lock();
        let Some(live) = state.live.as_mut() else { return };
        for answer in answers {
            for (inbox, event) in live.assign(answer) {
                match &mut row {
                    Some((same, events)) if Arc::ptr_eq(same, &inbox) => events.push(event),
                    _ => {
                        if let Some((inbox, events)) = row.replace((inbox, vec![event])) {
                            inbox.put_all(events);
                        }
                    }
                }
            }
        }
        if live.full && live.in_flight < IN_FLIGHT_MAX / 2 {
            live.full = false;
            state.subscribers.iter().filter_map(|(inbox, _)| inbox.upgrade()).for_each(|inbox| inbox.wake());
        }
        drop(state);
        if let Some((inbox, events)) = row {
            inbox.put_all(events);
        }
    }

    fn is_wanted(&self) -> bool {
        self.state.lock().subscribers.iter().any(|(inbox, _)| inbox.strong_count() > 0)
    }
}

impl Live {
    /// Splits an answer's run at the borders of the batches that asked.
    fn assign(&mut self, answer: Answer) -> Vec<(Arc<Inbox>, Event)> {
        let mut events = Vec::with_capacity(1);
        let (mut id, end) = (answer.id, answer.id + u64::from(answer.run.max(1)));
        let mut rest = Some(answer);
        while id < end {
            let Some((first, route)) = self.routes.range_mut(..=id).next_back() else { break };
            let first = *first;
            let until = end.min(first + route.count);
            if until <= id {
                break; // Nobody waits for it any more.
            }
            let run = until - id;
            let bytes = route.bytes * usize::try_from(run).unwrap_or(usize::MAX)
                / usize::try_from(route.left.max(1)).unwrap_or(1);
            let bytes = bytes.min(route.bytes);
            route.bytes -= bytes;
            self.in_flight -= bytes;
            route.left = route.left.saturating_sub(run);
            let part = if until == end { rest.take() } else { rest.clone() };
            if let (Some(part), Some(inbox)) = (part, route.inbox.upgrade()) {
                let answer = Answer { id, run: u32::try_from(run).unwrap_or(u32::MAX), ..part };
                events.push((inbox, Event::Answered { member: route.member, session: self.session, answer }));
            }
            if route.left == 0 {
                let route = self.routes.remove(&first);
                self.in_flight -= route.map_or(0, |route| route.bytes);
            }
            id = until;
        }
        events
    }
}

/// Runs for as long as the process has links.
async fn keep_connected(link: Arc<Link>, bookies: Arc<dyn Bookies>) {
    let mut backoff = BACKOFF_MIN;
    let mut asked = false;
    loop {
        if !asked && !link.is_wanted() {
            link.wanted.notified().await;
        }
        let started = Instant::now();
        let outcome = timeout(CONNECT_TIMEOUT, bookies.connect(&link.bookie)).await;
        if let Ok(Ok(Session { requests, mut answers })) = outcome {
            link.began(requests);
            while let Some(answers) = answers.recv().await {
                link.deliver(answers);
            }
            link.ended();
            link.suspect("has ended its session");
            tracing::warn!(bookie = %link.bookie, "the session with a bookie has ended");
            if BACKOFF_MAX < started.elapsed() {
                backoff = BACKOFF_MIN;
            }
        } else {
            tracing::debug!(bookie = %link.bookie, ?outcome, "no session with a bookie");
            link.suspect("takes no session");
            link.set_status(|status| status.failed += 1);
        }
        // Whoever asks now wants a fresh attempt at once; but never more than one per shortest pause.
        let soonest = started + BACKOFF_MIN;
        asked = tokio::select! {
            biased; // Who has asked is not forgotten when both are over.
            () = async { link.wanted.notified().await; sleep_until(soonest).await } => true,
            () = sleep(backoff) => false,
        };
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}
