//! Bookies in memory behind [`Bookies`], with faults on request. For tests of whatever uses ledgers.
//!
//! They keep what they hold through restarts, answer in order, and put adds of a batch together into runs as real ones do.
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metadata::{Expect, MetadataStore, Operation, Transaction};
use parking_lot::Mutex;
use prost::Message;
use proto::bookie::{Answer, Request, Status};
use proto::records::{BookieAvailability, BookieRecord};
use proto::{BookieId, keys};
use tokio::sync::{Notify, mpsc};

pub use self::bookie::FakeBookie;
use crate::{Bookies, ConnectError, RequestSink, Session};

mod bookie;

/// A handful of bookies called `fake-0`, `fake-1` and so on. Clones share them.
#[derive(Debug, Clone)]
pub struct FakeBookies {
    /// A lock and not a task: a call is answered within it.
    bookies: Arc<Mutex<Vec<Place>>>,
}

#[derive(Debug, Default)]
struct Place {
    bookie: FakeBookie,
    cut: bool,
    stalled: bool,
    delay: Duration,
    sessions: Vec<Arc<Wire>>,
}

/// One session as both ends see it.
#[derive(Default)]
struct Wire {
    state: Mutex<WireState>,
    changed: Notify,
}

#[derive(Default)]
struct WireState {
    over: bool,
    /// Not handled yet, because the bookie is stalled.
    waiting: Vec<Request>,
    answers: Vec<Answer>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl Wire {
    fn end(&self) {
        self.state.lock().over = true;
        self.changed.notify_one();
    }
}

impl Place {
    fn handle(&mut self, wire: &Wire, requests: Vec<Request>) {
        let answers: Vec<Answer> = requests.into_iter().map(|request| self.bookie.handle(request)).collect();
        let mut state = wire.state.lock();
        for answer in answers {
            push(&mut state.answers, answer);
        }
        drop(state);
        wire.changed.notify_one();
    }

    fn end_sessions(&mut self) {
        self.sessions.drain(..).for_each(|wire| wire.end());
    }
}

/// Adds of one ledger with the same outcome and consecutive ids make a run.
fn push(answers: &mut Vec<Answer>, answer: Answer) {
    let plain =
        |answer: &Answer| answer.holding.is_none() && answer.entries.is_empty() && answer.status() != Status::NotHeld;
    match answers.last_mut() {
        Some(last)
            if plain(last)
                && plain(&answer)
                && last.ledger == answer.ledger
                && last.status == answer.status
                && last.id + u64::from(last.run) == answer.id =>
        {
            last.run += answer.run;
        }
        _ => answers.push(answer),
    }
}

impl FakeBookies {
    /// `count` bookies that hold nothing.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self { bookies: Arc::new(Mutex::new((0..count).map(|_| Place::default()).collect())) }
    }

    /// What bookie `index` is called.
    #[must_use]
    pub fn id(index: usize) -> BookieId {
        format!("fake-{index}").parse().expect("letters, digits and a dash")
    }

    /// Writes identities and availabilities of all into metadata.
    pub async fn register(&self, metadata: &Arc<dyn MetadataStore>) {
        let count = self.bookies.lock().len();
        for index in 0..count {
            let bookie = Self::id(index);
            let record = BookieRecord { bookie: bookie.to_string(), ..BookieRecord::default() };
            let put = Operation::put(keys::bookie(&bookie), record.encode_to_vec(), Expect::Any);
            metadata.commit(Transaction::new(vec![put])).await.expect("a test's metadata answers");
            self.set_available(metadata, index, true).await;
        }
    }

    /// Writes or removes the availability of one.
    pub async fn set_available(&self, metadata: &Arc<dyn MetadataStore>, index: usize, available: bool) {
        let bookie = Self::id(index);
        let key = keys::bookie_available(&bookie);
        let record = BookieAvailability { bookie: bookie.to_string(), ..BookieAvailability::default() };
        let operation = if available {
            Operation::put(key, record.encode_to_vec(), Expect::Any)
        } else {
            Operation::delete(key, Expect::Any)
        };
        metadata.commit(Transaction::new(vec![operation])).await.expect("a test's metadata answers");
    }

    /// The disk of one is full, and it says so, or has room again.
    pub async fn set_read_only(&self, metadata: &Arc<dyn MetadataStore>, index: usize, read_only: bool) {
        self.with(index, |bookie| bookie.be_read_only(read_only));
        let bookie = Self::id(index);
        let record = BookieAvailability { bookie: bookie.to_string(), read_only, ..BookieAvailability::default() };
        let put = Operation::put(keys::bookie_available(&bookie), record.encode_to_vec(), Expect::Any);
        metadata.commit(Transaction::new(vec![put])).await.expect("a test's metadata answers");
    }

    /// Looks at, or changes, what a bookie holds.
    pub fn with<T>(&self, index: usize, use_it: impl FnOnce(&mut FakeBookie) -> T) -> T {
        use_it(&mut self.bookies.lock()[index].bookie)
    }

    /// Ends the sessions with these and takes no new ones.
    pub fn cut(&self, indexes: impl IntoIterator<Item = usize>) {
        let mut places = self.bookies.lock();
        for index in indexes {
            places[index].cut = true;
            places[index].end_sessions();
        }
    }

    /// All take sessions again and answer what they had not.
    pub fn heal(&self) {
        let mut places = self.bookies.lock();
        for place in places.iter_mut() {
            place.cut = false;
            place.stalled = false;
            for wire in place.sessions.clone() {
                let waiting = std::mem::take(&mut wire.state.lock().waiting);
                place.handle(&wire, waiting);
            }
        }
    }

    /// These take requests and do nothing with them until they are healed.
    pub fn stall(&self, indexes: impl IntoIterator<Item = usize>) {
        let mut places = self.bookies.lock();
        indexes.into_iter().for_each(|index| places[index].stalled = true);
    }

    /// These answer only after `delay`.
    pub fn delay(&self, indexes: impl IntoIterator<Item = usize>, delay: Duration) {
        let mut places = self.bookies.lock();
        indexes.into_iter().for_each(|index| places[index].delay = delay);
    }

    /// Ends the sessions with these; they take new ones at once and hold what they held. Requests that waited are lost.
    pub fn restart(&self, indexes: impl IntoIterator<Item = usize>) {
        let mut places = self.bookies.lock();
        for index in indexes {
            places[index].end_sessions();
            places[index].stalled = false;
        }
    }

    fn index(bookie: &BookieId) -> Option<usize> {
        bookie.as_str().strip_prefix("fake-")?.parse().ok()
    }
}

#[async_trait]
impl Bookies for FakeBookies {
    async fn connect(&self, bookie: &BookieId) -> Result<Session, ConnectError> {
        let mut places = self.bookies.lock();
        let unknown = ConnectError::Unknown { bookie: bookie.clone() };
        let Some(index) = Self::index(bookie).filter(|index| *index < places.len()) else { return Err(unknown) };
        let place = &mut places[index];
        if place.cut {
            let (bookie, address) = (bookie.clone(), "memory".to_owned());
            return Err(ConnectError::Unreachable { bookie, address, reason: "it is cut off".into() });
        }
        let wire = Arc::new(Wire::default());
        place.sessions.push(wire.clone());
        let (sender, answers) = mpsc::channel(16);
        tokio::spawn(carry(wire.clone(), sender, place.delay)); // Ends with either end of the session.
        let requests = Box::new(Sink { bookies: self.bookies.clone(), index, wire });
        Ok(Session { requests, answers })
    }
}

/// Carries answers to the one who holds the session.
async fn carry(wire: Arc<Wire>, sender: mpsc::Sender<Vec<Answer>>, delay: Duration) {
    loop {
        let (over, answers) = {
            let mut state = wire.state.lock();
            (state.over, std::mem::take(&mut state.answers))
        };
        if over {
            return;
        }
        if answers.is_empty() {
            wire.changed.notified().await;
            continue;
        }
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if sender.send(answers).await.is_err() {
            return;
        }
    }
}

#[derive(Debug)]
struct Sink {
    bookies: Arc<Mutex<Vec<Place>>>,
    index: usize,
    wire: Arc<Wire>,
}

impl RequestSink for Sink {
    fn send(&self, requests: Vec<Request>) -> bool {
        let mut places = self.bookies.lock();
        let place = &mut places[self.index];
        let mut state = self.wire.state.lock();
        if state.over {
            return false;
        }
        if place.stalled {
            state.waiting.extend(requests);
            return true;
        }
        drop(state);
        place.handle(&self.wire, requests);
        true
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.wire.end();
    }
}
