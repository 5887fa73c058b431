//! Checks that start clusters and do something to them.
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use daemon::Failure;
use tests::faults::{self, Fault, FaultsRun};

use crate::Place;

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
            match report.faults() {
                0 => Ok(()),
                faults => Err(Failure::internal(format!("{faults} promises were not kept"))),
            }
        }
    }
}
