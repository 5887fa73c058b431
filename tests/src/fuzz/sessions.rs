//! The body of sessions: a broker in this process, and a script of two clients.
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use broker::{Bound, Clock, Config, House, OtherMetrics};
use bytes::Bytes;
use daemon::{Drain, Health, HostPort};
use ledger::MemoryLedgers;
use metadata::{MemoryStore, MetadataStore};
use proto::entry;
use proto::frame::Frame;
use proto::pulsar::MessageIdData;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::timeout;

use super::Reached;
use super::admin::Admin;
use super::neighbour::Neighbour;
use super::script::{Script, Step, TOPICS};
use super::talk::{Heard, Talk};

/// Scripts after which the broker is replaced, so that what it has in memory stays small.
const RUNS_MAX: u64 = 1000;
/// Nothing here takes as long, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);
/// A message that claims to be a batch of more is refused.
const BATCH_MESSAGES_MAX: u32 = 1 << 20;
/// Threads on which the broker does what takes long.
const BLOCKING: &str = "session-blocking";
/// Connections of one script. A server that hangs up is called again, but not for ever.
const CALLS_MAX: u32 = 8;

/// Serves scripts to a broker in this process.
#[derive(Debug)]
pub(super) struct Sessions {
    runtime: Runtime,
    /// Where the broker is served: its future stays on one thread.
    tasks: LocalSet,
    panics: Arc<AtomicUsize>,
    runs: u64,
    world: Option<World>,
}

impl Sessions {
    /// One thread for broker and clients, so that an input means the same each time. From here on, panics on it and on those that its
    /// runtime adds count.
    pub(super) fn start() -> Self {
        let panics = Arc::new(AtomicUsize::new(0));
        let (counter, here, before) = (Arc::clone(&panics), thread::current().id(), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |info| {
            let thread = thread::current();
            if thread.id() == here || thread.name() == Some(BLOCKING) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
            before(info);
        }));
        let runtime = tokio::runtime::Builder::new_current_thread().thread_name(BLOCKING).enable_all().build();
        Self {
            runtime: runtime.expect("a runtime needs a few descriptors"),
            tasks: LocalSet::new(),
            panics,
            runs: 0,
            world: None,
        }
    }

    /// Plays one input. A defect panics.
    pub(super) fn run(&mut self, input: &[u8], reached: &mut Reached) {
        if RUNS_MAX <= self.runs
            && let Some(world) = self.world.take()
        {
            self.tasks.block_on(&self.runtime, world.end());
            self.runs = 0;
        }
        self.runs += 1;
        let before = self.panics.load(Ordering::Relaxed);
        let world = &mut self.world;
        let run = self.runs;
        self.tasks.block_on(&self.runtime, async {
            let world = match world {
                Some(world) => world,
                None => world.insert(World::begin().await),
            };
            world.play(input, run, reached).await;
        });
        assert_eq!(self.panics.load(Ordering::Relaxed), before, "a task of the broker panicked");
    }
}

/// A broker and who is always there.
#[derive(Debug)]
struct World {
    address: SocketAddr,
    admin: Admin,
    neighbour: Neighbour,
    drain: Drain,
    serving: JoinHandle<Result<(), daemon::Failure>>,
}

impl World {
    async fn begin() -> Self {
        let metadata: Arc<dyn MetadataStore> = Arc::new(MemoryStore::default());
        let here = HostPort { host: "127.0.0.1".into(), port: 0 };
        let config = Config {
            cluster: "standalone".into(),
            listen: here.clone(),
            http_listen: here,
            ensemble_size: 1,
            write_quorum: 1,
            ack_quorum: 1,
            ledger_entries_max: 3, // Many ledgers.
            ..Config::default()
        };
        let house = House {
            ledgers: Arc::new(MemoryLedgers::new(Arc::clone(&metadata))),
            metadata,
            repairs: None,
            clock: Clock::runtime(1_700_000_000_000),
            start: "fuzz".into(),
            standalone: true,
            metrics: OtherMetrics::default(),
            health: Health::new(),
        };
        let (told, bound) = oneshot::channel();
        let ready = move |bound: &Bound| {
            let _ = told.send((bound.broker_port, bound.http_port)); // Whoever asked has given up.
        };
        let drain = Drain::new();
        let serving = spawn_local(Box::pin(broker::serve(config, house, ready, drain.clone())));
        let (broker_port, http_port) = within("the broker starts", bound).await.expect("it is ready before it ends");
        let address = SocketAddr::from(([127, 0, 0, 1], broker_port));
        let neighbour = Neighbour::move_in(address).await;
        Self { address, admin: Admin::new(http_port), neighbour, drain, serving }
    }

    async fn end(self) {
        self.drain.request();
        let ended = within("the broker ends", self.serving).await;
        ended.expect("serving does not panic").expect("a drained broker ends in good order");
    }

    async fn play(&mut self, input: &[u8], run: u64, reached: &mut Reached) {
        let mut play = Play::new(self.address, reached);
        let mut script = Script::new(input, run);
        while let Some(step) = script.next_step(&play.known) {
            match step {
                Step::Settle => play.settle().await,
                Step::Say(saying) => {
                    if let Some(talk) = play.talk(saying.connection).await {
                        talk.speak(&saying).await;
                        if !saying.entry.is_empty() {
                            play.sent.insert(saying.entry);
                        }
                    }
                }
                Step::Raw { connection, bytes } => {
                    if let Some(talk) = play.talk(connection).await {
                        talk.raw(&bytes).await;
                        play.all_exact = false;
                    }
                }
                Step::Admin { topic, method, page } => {
                    play.settle().await;
                    let topic = Script::topic(run, topic);
                    let status = self.admin.ask(method, &topic, page).await;
                    play.reached.note("administration", if status < 300 { "did it" } else { "refused" });
                }
                Step::HangUp { connection } => play.talks[connection] = None,
            }
        }
        play.end().await;
        self.neighbour.lives().await;
        for topic in 0..TOPICS {
            self.nobody_is_left(&Script::topic(run, topic)).await;
        }
    }

    /// A topic that nobody uses can be deleted, soon after its last user has gone.
    async fn nobody_is_left(&mut self, topic: &str) {
        let deleted = async {
            loop {
                match self.admin.ask("DELETE", topic, "").await {
                    200..=299 | 404 => return,
                    412 | 503 => tokio::task::yield_now().await,
                    status => panic!("DELETE {topic}: {status}"),
                }
            }
        };
        within("producers and consumers leave with their connections", deleted).await;
    }
}

/// What does not come is a defect.
pub(super) async fn within<F: Future>(what: &str, work: F) -> F::Output {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// One script on its way.
struct Play<'a> {
    address: SocketAddr,
    talks: [Option<Talk>; 2],
    calls: u32,
    known: Vec<MessageIdData>,
    sent: HashSet<Bytes>,
    /// All that was said is in `sent`.
    all_exact: bool,
    delivered: bool,
    ending: bool,
    reached: &'a mut Reached,
}

impl<'a> Play<'a> {
    fn new(address: SocketAddr, reached: &'a mut Reached) -> Self {
        let (talks, known, sent) = Default::default();
        Self { address, talks, calls: 0, known, sent, all_exact: true, delivered: false, ending: false, reached }
    }

    async fn talk(&mut self, connection: usize) -> Option<&mut Talk> {
        if self.talks[connection].is_none() && self.calls < CALLS_MAX {
            self.calls += 1;
            self.talks[connection] = Some(Talk::open(self.address).await.expect("the broker accepts"));
        }
        self.talks[connection].as_mut()
    }

    /// Until both have heard all that is coming: the answer to a PING is behind everything said before it.
    async fn settle(&mut self) {
        let mut awaited = [None, None];
        for (talk, awaited) in self.talks.iter_mut().zip(&mut awaited) {
            if let Some(talk) = talk.as_mut().filter(|talk| talk.is_framed()) {
                talk.ping().await;
                *awaited = Some(talk.pongs + 1);
            }
        }
        within("PING is answered", self.listen(|at, talk| awaited[at].is_none_or(|pongs| pongs <= talk.pongs))).await;
    }

    /// Listens to both until each is content or has been hung up on. A connection inside a frame hears what comes.
    async fn listen(&mut self, content: impl Fn(usize, &Talk) -> bool) {
        loop {
            let waits = |at: usize, talk: &Option<Talk>| talk.as_ref().is_some_and(|talk| !content(at, talk));
            let waiting = [waits(0, &self.talks[0]), waits(1, &self.talks[1])];
            if waiting == [false, false] {
                return;
            }
            let [first, second] = &mut self.talks;
            // Both are read, also the one that is content: it may be asked whether it is there.
            let (at, frame) = tokio::select! {
                biased;
                frame = next(first) => (0, frame),
                frame = next(second) => (1, frame),
            };
            match frame {
                None => self.hung_up_on(at),
                Some(frame) => {
                    let talk = self.talks[at].as_mut().expect("it said something");
                    let heard = talk.hear(frame, self.reached);
                    if matches!(heard, Heard::Ping) {
                        talk.pong().await;
                    }
                    self.all_exact &= talk.is_exact();
                    self.note(heard);
                }
            }
        }
    }

    fn hung_up_on(&mut self, at: usize) {
        let talk = self.talks[at].take().expect("it heard so");
        if !self.ending {
            assert!(!talk.is_well_behaved(), "hung up on for no reason");
            self.reached.note("script", "hung up on");
        }
    }

    fn note(&mut self, heard: Heard) {
        let Heard::Message(id, delivered) = heard else { return };
        if let Some(bytes) = delivered {
            assert!(!self.all_exact || self.sent.contains(&bytes), "the bytes of {id:?} were never sent");
            let head = entry::split(bytes).and_then(|parts| parts.complete_head());
            let head = head.unwrap_or_else(|error| panic!("{id:?} is nothing that a client can read: {error}"));
            assert!(head.messages() <= BATCH_MESSAGES_MAX, "{id:?} claims {} messages", head.messages());
            self.delivered = true;
        }
        if self.known.len() < 200 {
            self.known.push(id);
        }
    }

    /// All that was asked is answered, and both connections end when their clients end.
    async fn end(mut self) {
        self.settle().await;
        let answered = |_: usize, talk: &Talk| !talk.is_exact() || !talk.is_waiting();
        within("every request is answered", self.listen(answered)).await;
        self.ending = true;
        for talk in self.talks.iter_mut().flatten() {
            talk.end_of_writing().await;
        }
        within("connections end", self.listen(|_, _| false)).await;
        if self.delivered {
            self.reached.note("script", "with a delivery");
        }
    }
}

async fn next(talk: &mut Option<Talk>) -> Option<Box<Frame>> {
    match talk {
        Some(talk) => talk.next().await,
        None => std::future::pending().await,
    }
}
