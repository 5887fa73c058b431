//! A cluster: bookies, processes, and the time they live in.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ledger::QuorumPolicy;
use metadata::MemoryStore;
use parking_lot::Mutex;
use proto::BookieId;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::book::Book;
use crate::chance::Chance;
use crate::defects::Defect;
use crate::nodes::Node;
use crate::processes::{Process, Shared};
use crate::troubles::Troubled;
use crate::wires::Network;

const TOPICS: usize = 2;
const PROCESSES: usize = 2;
/// How long things go wrong.
const TROUBLE: Duration = Duration::from_secs(120);

pub(crate) struct World {
    pub(crate) chance: Chance,
    pub(crate) truth: MemoryStore,
    pub(crate) nodes: Vec<Arc<Node>>,
    pub(crate) network: Arc<Network>,
    pub(crate) book: Book,
    pub(crate) policy: QuorumPolicy,
    pub(crate) gone: Arc<Mutex<BTreeSet<BookieId>>>,
    defect: Option<Defect>,
    over: Arc<Mutex<bool>>,
    running: Mutex<Vec<Running>>,
    ever: Mutex<usize>,
}

struct Running {
    process: Arc<Process>,
    _tasks: JoinSet<()>,
}

/// What a run came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) trace: u64,
    pub(crate) confirmed: u64,
    pub(crate) lived: Duration,
    pub(crate) seen: BTreeMap<&'static str, u64>,
}

/// One world from its beginning to its end, on this thread alone.
pub(crate) fn run(seed: u64, defect: Option<Defect>) -> Outcome {
    in_paused_time(async {
        let begun = Instant::now();
        let world = World::new(seed, defect);
        let _lines = Lines(world.chance.clone());
        world.live().await;
        let (trace, confirmed) = (world.chance.trace(), world.book.confirmed_entries());
        Outcome { trace, confirmed, lived: begun.elapsed(), seen: world.chance.seen() }
    })
}

/// Time moves only when every task waits.
pub(crate) fn in_paused_time<T>(script: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime needs nothing that could be missing").block_on(script)
}

/// Shows what led to a failure.
struct Lines(Chance);

impl Drop for Lines {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("GEMINGA_SIMULATION_TRACE").is_some() {
            eprintln!("{}", self.0.lines());
        }
    }
}

impl World {
    pub(crate) fn new(seed: u64, defect: Option<Defect>) -> Arc<Self> {
        let chance = Chance::new(seed);
        let policies = [(3, 3, 2), (3, 3, 2), (3, 3, 2), (3, 2, 2), (5, 3, 2), (2, 2, 2)];
        let (ensemble, write, ack) = policies[chance.index(policies.len())];
        let spares = chance.index(4);
        Self::with(chance, QuorumPolicy { ensemble, write, ack }, ensemble as usize + spares, defect)
    }

    /// With so many bookies, which start at once.
    pub(crate) fn with(chance: Chance, policy: QuorumPolicy, bookies: usize, defect: Option<Defect>) -> Arc<Self> {
        let truth = MemoryStore::default();
        let rack = |number: usize| format!("/zone-{}/rack-{}", number % 2, number % 3);
        let node = |number| Node::new(number, rack(number), chance.clone(), truth.clone(), defect);
        let nodes: Vec<Arc<Node>> = (0..bookies).map(node).collect();
        nodes.iter().for_each(|node| drop(tokio::spawn(node.clone().run())));
        Arc::new(Self {
            network: Network::new(chance.clone(), nodes.clone()),
            book: Book::new(truth.clone()),
            chance,
            truth,
            nodes,
            policy,
            defect,
            gone: Arc::default(),
            over: Arc::default(),
            running: Mutex::default(),
            ever: Mutex::default(),
        })
    }

    fn shared(&self) -> Shared {
        Shared {
            chance: self.chance.clone(),
            book: self.book.clone(),
            policy: self.policy,
            defect: self.defect,
            gone: self.gone.clone(),
            over: self.over.clone(),
        }
    }

    /// A process with a number of its own, which does nothing by itself.
    pub(crate) fn new_process(&self) -> Arc<Process> {
        let number = {
            let mut ever = self.ever.lock();
            *ever += 1;
            *ever - 1
        };
        let metadata = Troubled::new(self.truth.clone(), self.chance.clone());
        Process::new(number, metadata, &self.network, self.shared())
    }

    fn start_process(&self) -> Running {
        let process = self.new_process();
        let mut tasks = JoinSet::new();
        (0..TOPICS).for_each(|topic| drop(tasks.spawn(process.clone().own(topic))));
        tasks.spawn(process.clone().heal());
        self.chance.note(format_args!("process {} starts", process.number));
        Running { process, _tasks: tasks }
    }

    /// How many processes there ever were.
    pub(crate) fn count(&self) -> usize {
        *self.ever.lock()
    }

    /// One that runs.
    pub(crate) fn process(&self) -> Arc<Process> {
        let running = self.running.lock();
        running[self.chance.index(running.len())].process.clone()
    }

    /// One process ends without a word, and another starts.
    pub(crate) async fn process_restarts(&self) {
        self.chance.saw("processes that were killed");
        let at = self.chance.index(PROCESSES);
        let old = self.running.lock().remove(at);
        self.network.end_process(old.process.number);
        drop(old);
        sleep(self.chance.millis(10, 1000)).await;
        let new = self.start_process();
        self.running.lock().push(new);
    }

    async fn live(self: &Arc<Self>) {
        for _ in 0..PROCESSES {
            let running = self.start_process();
            self.running.lock().push(running);
        }
        let loses = self.policy.ensemble as usize + 1 < self.nodes.len() && self.chance.happens(2);
        // With two copies at least, what one has lost is there as long as nobody else loses anything before it is made good.
        let damages = !loses && self.chance.happens(2);
        let loss = async {
            if loses {
                sleep(self.chance.millis(20_000, 100_000)).await;
                self.lose_a_bookie().await;
            } else if damages {
                self.damage_bookies(TROUBLE).await;
            }
        };
        tokio::join!(self.suffer(TROUBLE), loss);
        self.end().await;
        self.check().await;
    }

    /// Everything that can be is well again, and nobody writes.
    async fn end(&self) {
        *self.over.lock() = true;
        self.chance.note(format_args!("all troubles end"));
        sleep(Duration::from_secs(70)).await; // The last of them passes.
        self.network.mend_all();
        for node in &self.nodes {
            node.pause(false);
            node.slow_down(1);
            node.start().await;
            node.announce(!node.is_lost()).await;
        }
        let running = std::mem::take(&mut *self.running.lock());
        for running in running {
            self.network.end_process(running.process.number);
        }
    }
}
