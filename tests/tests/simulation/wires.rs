//! The network between processes and bookies: latency, partitions in either direction, connections that break while bytes are on
//! their way.
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use ledger::{Bookies, ConnectError, RequestSink, Session};
use parking_lot::Mutex;
use proto::BookieId;
use proto::bookie::{Answer, Request};
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;

use crate::chance::Chance;
use crate::nodes::Node;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    ToBookie,
    FromBookie,
}

/// All there is between processes and bookies.
#[derive(Debug)]
pub(crate) struct Network {
    chance: Chance,
    nodes: Vec<Arc<Node>>,
    /// What is cut: process, node, way.
    cuts: Mutex<BTreeSet<(usize, usize, Way)>>,
    healed: Notify,
    wires: Mutex<Vec<Arc<Wire>>>,
}

/// One connection, as both ends see it.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) process: usize,
    pub(crate) node: usize,
    /// Of the bookie it was opened with.
    pub(crate) life: u64,
    state: Mutex<State>,
    asked: Notify,
    answered: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Nothing more is sent, and nothing more comes back. What is on its way to the bookie may arrive all the same.
    over: bool,
    requests: VecDeque<Vec<Request>>,
    answers: VecDeque<Vec<Answer>>,
}

impl Wire {
    pub(crate) fn is_over(&self) -> bool {
        self.state.lock().over
    }

    pub(crate) fn end(&self) {
        let mut state = self.state.lock();
        state.over = true;
        state.answers.clear();
        drop(state);
        self.asked.notify_one();
        self.answered.notify_one();
    }

    pub(crate) fn answer(&self, answers: Vec<Answer>) {
        let mut state = self.state.lock();
        if !state.over {
            state.answers.push_back(answers);
            self.answered.notify_one();
        }
    }
}

impl Network {
    pub(crate) fn new(chance: Chance, nodes: Vec<Arc<Node>>) -> Arc<Self> {
        let (cuts, healed, wires) = (Mutex::default(), Notify::new(), Mutex::default());
        Arc::new(Self { chance, nodes, cuts, healed, wires })
    }

    /// How process `process` reaches bookies.
    pub(crate) fn door(self: &Arc<Self>, process: usize) -> Arc<dyn Bookies> {
        Arc::new(Door { network: self.clone(), process })
    }

    pub(crate) fn cut(&self, process: usize, node: usize, way: Way) {
        self.chance.note(format_args!("nothing goes {way:?} between {process} and bookie-{node}"));
        self.cuts.lock().insert((process, node, way));
    }

    pub(crate) fn mend(&self, process: usize, node: usize, way: Way) {
        self.chance.note(format_args!("bytes go {way:?} again between {process} and bookie-{node}"));
        self.cuts.lock().remove(&(process, node, way));
        self.healed.notify_waiters();
    }

    pub(crate) fn mend_all(&self) {
        self.cuts.lock().clear();
        self.healed.notify_waiters();
    }

    /// Breaks connections between the two; what is on its way to the bookie may still arrive.
    pub(crate) fn break_wires(&self, process: usize, node: usize) {
        let mut wires = self.wires.lock();
        wires.retain(|wire| !wire.is_over());
        for wire in wires.iter().filter(|wire| wire.process == process && wire.node == node) {
            self.chance.note(format_args!("a connection of {process} with bookie-{node} breaks"));
            wire.end();
        }
    }

    /// All connections of a process that has ended.
    pub(crate) fn end_process(&self, process: usize) {
        (0..self.nodes.len()).for_each(|node| self.break_wires(process, node));
    }

    async fn pass(&self, process: usize, node: usize, way: Way) {
        loop {
            let healed = self.healed.notified();
            if !self.cuts.lock().contains(&(process, node, way)) {
                return;
            }
            healed.await;
        }
    }

    async fn travel(&self, process: usize, node: usize, way: Way) {
        let time = if self.chance.happens(50) { self.chance.millis(1, 100) } else { self.chance.millis(0, 2) };
        sleep(time * self.nodes[node].slowness()).await;
        self.pass(process, node, way).await;
    }

    async fn carry_requests(self: Arc<Self>, wire: Arc<Wire>) {
        loop {
            let (next, over) = {
                let mut state = wire.state.lock();
                (state.requests.pop_front(), state.over)
            };
            let Some(requests) = next else {
                if over {
                    return;
                }
                wire.asked.notified().await;
                continue;
            };
            self.travel(wire.process, wire.node, Way::ToBookie).await;
            if wire.is_over() && self.chance.happens(2) {
                self.chance.saw("requests lost with their connection");
                return; // The rest goes with it.
            }
            if wire.is_over() {
                self.chance.saw("requests that arrived after their connection broke");
            }
            self.nodes[wire.node].take(&wire, requests);
        }
    }

    async fn carry_answers(self: Arc<Self>, wire: Arc<Wire>, sender: mpsc::Sender<Vec<Answer>>) {
        loop {
            let (next, over) = {
                let mut state = wire.state.lock();
                (state.answers.pop_front(), state.over)
            };
            if over {
                return; // The other end learns of it by the sender that goes.
            }
            let Some(answers) = next else {
                wire.answered.notified().await;
                continue;
            };
            self.travel(wire.process, wire.node, Way::FromBookie).await;
            if wire.is_over() || sender.send(answers).await.is_err() {
                wire.end();
                return;
            }
        }
    }
}

#[derive(Debug)]
struct Door {
    network: Arc<Network>,
    process: usize,
}

#[async_trait]
impl Bookies for Door {
    async fn connect(&self, bookie: &BookieId) -> Result<Session, ConnectError> {
        let (network, process) = (&self.network, self.process);
        let found = network.nodes.iter().find(|node| node.identity.bookie == *bookie);
        let Some(node) = found else { return Err(ConnectError::Unknown { bookie: bookie.clone() }) };
        network.travel(process, node.number, Way::ToBookie).await;
        network.pass(process, node.number, Way::FromBookie).await;
        if !node.is_up() {
            let (bookie, address, reason) = (bookie.clone(), "simulated".to_owned(), "nobody listens".to_owned());
            return Err(ConnectError::Unreachable { bookie, address, reason });
        }
        let wire = Arc::new(Wire {
            process,
            node: node.number,
            life: node.life(),
            state: Mutex::default(),
            asked: Notify::new(),
            answered: Notify::new(),
        });
        node.attach(&wire);
        network.wires.lock().push(wire.clone());
        let (sender, answers) = mpsc::channel(1 << 10);
        tokio::spawn(network.clone().carry_requests(wire.clone())); // Both end with the wire.
        tokio::spawn(network.clone().carry_answers(wire.clone(), sender));
        Ok(Session { requests: Box::new(Sink { wire }), answers })
    }
}

#[derive(Debug)]
struct Sink {
    wire: Arc<Wire>,
}

impl RequestSink for Sink {
    fn send(&self, requests: Vec<Request>) -> bool {
        let mut state = self.wire.state.lock();
        if state.over {
            return false;
        }
        state.requests.push_back(requests);
        self.wire.asked.notify_one();
        true
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.wire.end();
    }
}
