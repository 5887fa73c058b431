//! Bookies: their own code over the model of a disk, with power that goes and comes.
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bookie::{Disk, Identity, Options, SimDisk, Store};
use metadata::{Expect, MemoryStore, MetadataStore, Operation, Transaction};
use parking_lot::Mutex;
use prost::Message;
use proto::bookie::{Answer, Request, Status, request};
use proto::records::{BookieAvailability, BookieRecord, BookieStanding};
use proto::{BookieId, keys};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::chance::Chance;
use crate::defects::Defect;
use crate::wires::Wire;

/// What came over one wire together.
type Batch = (Arc<Wire>, Vec<Request>);

/// One machine with one bookie.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) number: usize,
    pub(crate) identity: Identity,
    rack: String,
    chance: Chance,
    metadata: MemoryStore,
    state: Mutex<State>,
    journal: Notify,
    reads: Notify,
    resumed: Notify,
}

#[derive(Debug, Default)]
struct State {
    disk: SimDisk,
    store: Option<Store>,
    started: Option<Instant>,
    /// Counts starts and ends: what was taken in another life is lost.
    life: u64,
    /// The process stands still.
    paused: bool,
    /// Everything takes so many times longer.
    slow: u32,
    /// Never comes back.
    lost: bool,
    orders: VecDeque<Batch>,
    looks: VecDeque<Batch>,
    wires: Vec<Arc<Wire>>,
    defect: Option<Defect>,
}

impl Node {
    pub(crate) fn new(
        number: usize,
        rack: String,
        chance: Chance,
        metadata: MemoryStore,
        defect: Option<Defect>,
    ) -> Arc<Self> {
        let bookie: BookieId = format!("bookie-{number}").parse().expect("letters, digits and a dash");
        let identity = Identity { bookie, cluster: "simulated".into(), created_at: 1 };
        let state = State { slow: 1, defect, ..State::default() };
        let state = Mutex::new(state);
        let (journal, reads, resumed) = (Notify::new(), Notify::new(), Notify::new());
        Arc::new(Self { number, identity, rack, chance, metadata, state, journal, reads, resumed })
    }

    /// Runs the node until the world ends.
    pub(crate) async fn run(self: Arc<Self>) {
        self.write_standing(BookieStanding::InService).await;
        self.start().await;
        tokio::join!(self.serve(true), self.serve(false));
    }

    pub(crate) async fn write_standing(&self, standing: BookieStanding) {
        let bookie = self.identity.bookie.to_string();
        let mut record = BookieRecord { bookie, created_at: 1, rack: self.rack.clone(), ..BookieRecord::default() };
        record.set_standing(standing);
        let put = Operation::put(keys::bookie(&self.identity.bookie), record.encode_to_vec(), Expect::Any);
        self.metadata.commit(Transaction::new(vec![put])).await.expect("it is never away");
    }

    /// Says in metadata whether it takes requests.
    pub(crate) async fn announce(&self, available: bool) {
        let key = keys::bookie_available(&self.identity.bookie);
        let bookie = self.identity.bookie.to_string();
        let record = BookieAvailability { bookie, rack: self.rack.clone(), ..BookieAvailability::default() };
        let operation = if available {
            Operation::put(key, record.encode_to_vec(), Expect::Any)
        } else {
            Operation::delete(key, Expect::Any)
        };
        self.metadata.commit(Transaction::new(vec![operation])).await.expect("it is never away");
    }

    pub(crate) fn is_up(&self) -> bool {
        self.state.lock().store.is_some()
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.state.lock().lost
    }

    pub(crate) fn life(&self) -> u64 {
        self.state.lock().life
    }

    /// Starts the process: opens the disk as it is, then says that it is there.
    pub(crate) async fn start(&self) {
        {
            let mut state = self.state.lock();
            if state.store.is_some() || state.lost {
                return;
            }
            let disk: Arc<dyn Disk> = Arc::new(state.disk.clone());
            if Identity::claim(disk.as_ref()).expect("it starts").is_none() {
                self.identity.store(disk.as_ref()).expect("it starts");
            }
            let options = Options {
                segment_bytes: 64 << 10,
                cache_bytes: 1 << 20,
                rewrite_after: Duration::from_secs(5),
                rewrite_rate: 1 << 20,
                seed: self.chance.below(u64::MAX),
                reserve_bytes: 0,
                ..Options::default()
            };
            let store = Store::open(disk, &self.identity, options).expect("it starts");
            let store = match state.defect {
                Some(defect) => defect.plant(store, &state.disk),
                None => store,
            };
            state.store = Some(store);
            state.started = Some(Instant::now());
            state.life += 1;
        }
        self.chance.note(format_args!("{} starts", self.identity.bookie));
        self.announce(true).await;
    }

    /// The process ends: with the machine's power, or by a kill that leaves the machine running.
    pub(crate) fn end(&self, power: bool) {
        let mut state = self.state.lock();
        if state.store.take().is_none() {
            return;
        }
        state.life += 1;
        state.paused = false;
        state.orders.clear();
        state.looks.clear();
        if power {
            state.disk.lose_power(self.chance.below(u64::MAX));
        } else {
            state.disk.kill();
        }
        state.wires.drain(..).for_each(|wire| wire.end());
        drop(state);
        self.resumed.notify_waiters();
        self.chance.note(format_args!("{} ends, {}", self.identity.bookie, if power { "powerless" } else { "killed" }));
    }

    /// The next operations of its disk go through, then the power goes.
    pub(crate) fn end_within(&self, operations: u64) {
        let state = self.state.lock();
        if state.store.is_some() {
            state.disk.fail_after(operations);
        }
    }

    /// Its disk is gone for good.
    pub(crate) fn lose(&self) {
        self.end(true);
        self.state.lock().lost = true;
        self.chance.note(format_args!("{} is lost", self.identity.bookie));
    }

    pub(crate) fn pause(&self, paused: bool) {
        self.state.lock().paused = paused;
        self.resumed.notify_waiters();
    }

    pub(crate) fn slow_down(&self, times: u32) {
        self.state.lock().slow = times;
    }

    pub(crate) fn slowness(&self) -> u32 {
        self.state.lock().slow
    }

    pub(crate) fn attach(&self, wire: &Arc<Wire>) {
        let mut state = self.state.lock();
        state.wires.retain(|wire| !wire.is_over());
        state.wires.push(wire.clone());
    }

    /// Takes what a wire brings, if it is of this life.
    pub(crate) fn take(&self, wire: &Arc<Wire>, requests: Vec<Request>) {
        let mut state = self.state.lock();
        if state.store.is_none() || state.life != wire.life {
            return;
        }
        let is_look = |request: &Request| match &request.body {
            Some(request::Body::Read(read)) => !read.fence,
            Some(request::Body::Held(_)) => true,
            _ => false,
        };
        let (looks, orders): (Vec<Request>, Vec<Request>) = requests.into_iter().partition(is_look);
        if !orders.is_empty() {
            state.orders.push_back((wire.clone(), orders));
            self.journal.notify_one();
        }
        if !looks.is_empty() {
            state.looks.push_back((wire.clone(), looks));
            self.reads.notify_one();
        }
    }

    /// Reads overtake what waits for a sync, as threads of their own let them.
    async fn serve(&self, journal: bool) {
        loop {
            let batches: Vec<Batch> = {
                let mut state = self.state.lock();
                let queue = if journal { &mut state.orders } else { &mut state.looks };
                queue.drain(..).collect()
            };
            if batches.is_empty() {
                if journal {
                    self.journal.notified().await
                } else {
                    self.reads.notified().await
                }
                continue;
            }
            let work = if self.chance.happens(40) { self.chance.millis(5, 80) } else { self.chance.millis(0, 3) };
            sleep(work * self.slowness()).await;
            self.resume().await;
            for (wire, requests) in batches {
                if !self.step(&wire, requests) {
                    break;
                }
            }
        }
    }

    async fn resume(&self) {
        loop {
            let resumed = self.resumed.notified();
            if !self.state.lock().paused {
                return;
            }
            resumed.await;
        }
    }

    fn step(&self, wire: &Arc<Wire>, requests: Vec<Request>) -> bool {
        let outcome = {
            let mut state = self.state.lock();
            let is_of_this_life = state.life == wire.life;
            let age = state.started.map_or(Duration::ZERO, |started| started.elapsed());
            let Some(store) = state.store.as_mut().filter(|_| is_of_this_life) else { return false };
            let outcome = store.step(requests);
            while self.chance.happens(3) && store.turn() {}
            while self.chance.happens(2) && store.give_back(age) {}
            outcome
        };
        match outcome {
            Ok(answers) => {
                self.chance.note(format_args!(
                    "{} answers {} to {}",
                    self.identity.bookie,
                    answers.len(),
                    wire.process
                ));
                wire.answer(answers);
                true
            }
            Err(_) => {
                self.chance.saw("disks failed while they wrote");
                self.end(true);
                false
            }
        }
    }

    /// Asks its store past all wires. Only what is up answers.
    pub(crate) fn ask(&self, request: Request) -> Option<Answer> {
        let mut state = self.state.lock();
        state.store.as_mut()?.step(vec![request]).ok()?.pop()
    }

    /// The bytes that it holds of an entry.
    pub(crate) fn payload(&self, ledger: u64, entry: u64) -> Option<bytes::Bytes> {
        let read = proto::bookie::Read { first: entry, end: entry + 1, bytes_max: 1, fence: false };
        let answer = self.ask(Request { id: 1, ledger, body: Some(request::Body::Read(read)) })?;
        (answer.status() == Status::Ok).then_some(answer.entries)?.pop().map(|entry| entry.payload)
    }
}
