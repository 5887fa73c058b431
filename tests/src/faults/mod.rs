//! One fault after the other, each on a cluster of processes of its own under load, and what came of it: a table.
//!
//! Faults of the network need root, because each process then gets a network namespace of its own.
mod network; // In the order of a row: what happens, to what, how it is told.
mod processes;
mod report;
mod scene;
mod witness;

use std::path::PathBuf;
use std::time::Duration;

use daemon::Failure;

pub use report::{FaultReport, Row};
use scene::Scene;

/// What happens to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// One of exactly three bookies is killed with -9, and starts again after the pause.
    BookieKilled,
    /// The broker that serves the topic is killed with -9, and starts again.
    BrokerKilled,
    /// A bookie stands still for the pause.
    BookieStandsStill,
    /// The broker that serves the topic stands still for the pause.
    BrokerStandsStill,
    /// A bookie hears nobody and nobody hears it.
    BookieCutOff,
    /// A bookie hears nobody.
    BookieDeaf,
    /// Nobody hears a bookie.
    BookieMute,
    /// The broker that serves the topic hears nobody and nobody hears it.
    BrokerCutOff,
    /// The broker that serves the topic hears nobody.
    BrokerDeaf,
    /// Nobody but clients hears the broker that serves the topic.
    BrokerMute,
    /// Two halves, each with a broker and a bookie, that share nothing but etcd and the third bookie.
    Bridge,
    /// Of three etcd servers, the one that leads is killed.
    EtcdLeaderKilled,
    /// etcd is killed and starts again after the pause.
    EtcdStopped,
    /// All brokers are drained and started again, one after the other, and then all bookies.
    RollingRestart,
    /// The topic's bundle is unloaded again and again.
    Moves,
}

/// Which faults, and how long they last.
#[derive(Debug, Clone)]
pub struct FaultsRun {
    /// In this order.
    pub faults: Vec<Fault>,
    /// From a fault to its end.
    pub pause: Duration,
    /// The same for an etcd that is away.
    pub etcd_pause: Duration,
    /// How often a bundle moves.
    pub moves: u32,
    /// Of the load.
    pub seed: u64,
    /// For data and output. Must be there.
    pub directory: PathBuf,
}

/// Does them all. What a row found is printed as soon as it is known.
pub async fn strike(run: &FaultsRun) -> Result<FaultReport, Failure> {
    let mut report = FaultReport::default();
    println!("{}", Row::HEAD);
    for fault in &run.faults {
        let row = Box::pin(strike_once(run, *fault)).await;
        let row = row.map_err(|failure| Failure { message: format!("{fault:?}: {failure}"), ..failure })?;
        println!("{row}");
        report.rows.push(row);
    }
    Ok(report)
}

async fn strike_once(run: &FaultsRun, fault: Fault) -> Result<Row, Failure> {
    let mut scene = Scene::start(run, fault).await?;
    scene.receipts("before the fault").await?;
    let outcome = if fault.is_of_network() {
        scene.cut(fault, run.pause).await?
    } else {
        Box::pin(scene.strike(fault, run)).await?
    };
    scene.receipts("after the fault").await?;
    scene.end(fault, outcome).await
}

impl Fault {
    fn is_of_network(self) -> bool {
        match self {
            Self::BookieCutOff | Self::BookieDeaf | Self::BookieMute | Self::Bridge => true,
            Self::BrokerCutOff | Self::BrokerDeaf | Self::BrokerMute => true,
            Self::BookieKilled | Self::BookieStandsStill | Self::BrokerKilled | Self::BrokerStandsStill => false,
            Self::EtcdLeaderKilled | Self::EtcdStopped | Self::RollingRestart | Self::Moves => false,
        }
    }
}
