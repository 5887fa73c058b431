//! Checks that start clusters and do something to them.
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use daemon::Failure;
use tests::faults::{self, Fault, FaultsRun};
use tests::heal::{self, HealRun};
use tests::many_topics::{self, TopicsRun};

use crate::{Place, kept, reached};

/// What has to do with tiers that scale apart and heal.
#[derive(Debug, Subcommand)]
pub(crate) enum Clusters {
    /// Lets faults happen to clusters under load, one after the other, and prints a table. Faults of the network need root.
    Faults {
        /// Only these, in this order.
        #[arg(long, value_enum, value_delimiter = ',')]
        only: Vec<Fault>,
        /// Seconds that a fault lasts.
        #[arg(long, default_value_t = 60)]
        pause: u64,
        /// Seconds that etcd is away.
        #[arg(long, default_value_t = 300)]
        etcd_pause: u64,
        /// Moves of a bundle.
        #[arg(long, default_value_t = 1000)]
        moves: u32,
        #[command(flatten)]
        place: Place,
    },
    /// Loses the disk of one of five bookies for good, and another bookie half way through making its copies again.
    Heal {
        /// Of each disk, about.
        #[arg(long, default_value_t = 2_000_000_000)]
        bytes: u64,
        /// MiB of a ledger.
        #[arg(long, default_value_t = 64)]
        ledger_mib: u64,
        /// MiB a second that may be copied. Without it: the broker's default.
        #[arg(long)]
        pace_mib: Option<u64>,
        #[command(flatten)]
        place: Place,
    },
    /// Measures what topics cost that nobody uses, and what idle ones do.
    ManyTopics {
        /// That get one message each and are unloaded.
        #[arg(long, default_value_t = 100_000)]
        topics: u32,
        /// That stay loaded, each with a producer that does nothing.
        #[arg(long, default_value_t = 10_000)]
        idle: u32,
        /// That are published to when nobody has touched them since the brokers started.
        #[arg(long, default_value_t = 1000)]
        cold: u32,
        #[command(flatten)]
        place: Place,
    },
}

/// Runs one of them.
pub(crate) async fn run(check: Clusters) -> Result<(), Failure> {
    match check {
        Clusters::Faults { only, pause, etcd_pause, moves, place } => {
            let ground = place.prepare()?;
            let faults = if only.is_empty() { Fault::value_variants().to_vec() } else { only };
            let (pause, etcd_pause) = (Duration::from_secs(pause), Duration::from_secs(etcd_pause));
            let (seed, directory) = (ground.seed, ground.directory.clone());
            let run = FaultsRun { faults, pause, etcd_pause, moves, seed, directory };
            let report = Box::pin(faults::strike(&run)).await?;
            kept(report.faults())
        }
        Clusters::Heal { bytes, ledger_mib, pace_mib, place } => {
            let ground = place.prepare()?;
            let run = HealRun { bytes, ledger_mib, pace_mib, seed: ground.seed, directory: ground.directory.clone() };
            let report = Box::pin(heal::lose_disks(&run)).await?;
            println!("{report}");
            kept(report.load.faults())
        }
        Clusters::ManyTopics { topics, idle, cold, place } => {
            let ground = place.prepare()?;
            let run = TopicsRun { topics, idle, cold, directory: ground.directory.clone() };
            let goals = Box::pin(many_topics::measure(&run)).await?;
            print!("{goals}");
            reached(&goals)
        }
    }
}
