//! A cluster under load, and the clock of its faults.
use std::time::{Duration, Instant};

use daemon::Failure;

use super::report::Outcome;
use super::witness::Witness;
use super::{Fault, FaultsRun, Row};
use crate::client::{ProducerId, Publisher};
use crate::cluster::{Cluster, Shape};
use crate::crash::Load;
use crate::deadline::eventually;

/// The topic of every load.
pub(super) const TOPIC: &str = "public/default/crash";
const ENOUGH: u64 = 300;
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(60);
/// A connection that was cut ends when its next packet after the cut is answered with a reset; the kernel waits up to so long between two.
const TOLD_WITHIN: Duration = Duration::from_secs(150);

/// What a row is about.
pub(super) struct Scene {
    pub(super) cluster: Cluster,
    pub(super) load: Load,
    begun: Instant,
    silent_before: Duration,
}

impl Scene {
    /// Starts a cluster and its load.
    pub(super) async fn start(run: &FaultsRun, fault: Fault) -> Result<Self, Failure> {
        let directory = run.directory.join(format!("{fault:?}"));
        std::fs::create_dir_all(&directory).map_err(Failure::usage)?;
        let cluster = Cluster::start(&directory, &shape(fault)).await?;
        let load = Load::start_at_pace(cluster.addresses(), &cluster.brokers[0].admin(), run.seed).await?;
        Ok(Self { cluster, load, begun: Instant::now(), silent_before: Duration::ZERO })
    }

    /// Waits until some receipts have come.
    pub(super) async fn receipts(&self, why: &str) -> Result<(), Failure> {
        self.load.receipts_grow_by(ENOUGH, why).await
    }

    /// From now on is the fault.
    pub(super) fn begin(&mut self) {
        self.load.take_gap();
        self.silent_before = self.load.silent();
        self.begun = Instant::now();
    }

    /// Stops the load, reads everything back, and tells.
    pub(super) async fn end(self, fault: Fault, more: Outcome) -> Result<Row, Failure> {
        let took = self.begun.elapsed();
        let gap = more.gaps.iter().copied().max().unwrap_or_else(|| self.load.take_gap());
        let silent = self.load.silent() - self.silent_before;
        let report = self.load.finish().await?;
        Ok(Row { fault, took, silent, gap, more, report })
    }

    /// The number of the broker that serves `topic`.
    pub(super) async fn owner(&self, topic: &str) -> Result<usize, Failure> {
        let (owner, _) = self.cluster.brokers[0].admin().owner(topic).await?;
        let found = self.cluster.brokers.iter().position(|broker| broker.address() == owner);
        found.ok_or_else(|| Failure::internal(format!("{owner} serves {topic} and is none of the brokers")))
    }

    /// A producer at the broker `owner`, of a topic that this broker serves too.
    pub(super) async fn witness(&self, owner: usize) -> Result<(String, Witness), Failure> {
        for number in 0..64 {
            let topic = format!("public/default/witness-{number}");
            if self.owner(&topic).await? == owner {
                // Balance may take the bundle away just now: another topic will do.
                let Ok(witness) = Witness::start(&self.cluster.addresses(), &topic).await else { continue };
                let begins = async || (0 < witness.receipts()).then_some(());
                eventually("a witness is served", TAKEN_OVER_WITHIN, begins).await?;
                return Ok((topic, witness));
            }
        }
        Err(Failure::internal("one broker serves none of 64 topics"))
    }

    /// Waits until another broker has taken `topic` over, which seals what the one before had written.
    pub(super) async fn taken_over(&self, topic: &str, from: usize) -> Result<(), Failure> {
        let others = self.cluster.addresses();
        let others: Vec<String> =
            others.into_iter().enumerate().filter(|(at, _)| *at != from).map(|(_, it)| it).collect();
        let publishes = async || {
            let mut publisher = Publisher::open(&others, topic).await.ok()?;
            publisher.publish(ProducerId(0), b"successor");
            publisher.flush().await.ok()?;
            publisher.receipt().await.ok()
        };
        eventually("another broker takes over", TAKEN_OVER_WITHIN, publishes).await.map(drop)
    }

    /// Waits until the witness was told to go, and counts what it was promised since it had `before` receipts.
    pub(super) async fn late(witness: Witness, before: u64) -> Result<Outcome, Failure> {
        let receipts = witness.ended(TOLD_WITHIN).await?;
        Ok(Outcome { late_receipts: Some(receipts - before), ..Outcome::default() })
    }
}

fn shape(fault: Fault) -> Shape {
    let mut shape = Shape { network: fault.is_of_network(), ..Shape::default() };
    if fault == Fault::EtcdLeaderKilled {
        shape.etcds = 3;
    }
    // Short ledgers, so that faults fall on their borders too: with etcd away, each is full within seconds.
    shape.broker_settings.push("ledger_entries_max=5000".to_owned());
    shape
}
