//! Checks of what subscriptions promise.
use std::time::Duration;

use clap::Subcommand;
use daemon::Failure;
use tests::delayed::{DelayedRun, deliver_in_time};
use tests::fan_out::{FanOutRun, keep_up};
use tests::holes::{HolesRun, keep_holes};

use crate::{Place, kept};

/// What has to do with subscriptions.
#[derive(Debug, Subcommand)]
pub(crate) enum Subscriptions {
    /// Leaves holes between acknowledgements, kills standalone every so often, and counts what comes again that must not.
    Holes {
        /// Messages.
        #[arg(long, default_value_t = 10_000_000)]
        messages: usize,
        /// About so many are never acknowledged.
        #[arg(long, default_value_t = 1_000_000)]
        holes: usize,
        /// Seconds between two kills.
        #[arg(long, default_value_t = 10.0)]
        kill_every: f64,
        /// Acknowledge what is known to lie there, not what is delivered: a consumer that starts again gets all holes first, and a
        /// million of them take longer than there is between two kills.
        #[arg(long)]
        by_position: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Lets very many messages wait for their time, kills all processes once all wait, and tells what that cost and how late they come.
    Delayed {
        /// Messages.
        #[arg(long, default_value_t = 1_000_000)]
        messages: usize,
        /// Seconds within which all are due, in random order.
        #[arg(long, default_value_t = 120.0)]
        spread: f64,
        /// Seconds between the last that is published, if 20 000 are in a second, and the first that is due.
        #[arg(long, default_value_t = 30.0)]
        lead: f64,
        /// A cluster of processes instead of standalone: memory is then that of the brokers alone.
        #[arg(long)]
        cluster: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Lets one of many subscriptions be slow, and measures whether the others have their messages later for it.
    FanOut {
        /// Subscriptions of one topic.
        #[arg(long, default_value_t = 1000)]
        subscriptions: usize,
        /// Messages a second, each to all of them.
        #[arg(long, default_value_t = 10)]
        rate: u32,
        /// Pairs of phases: none is slow, one is.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Seconds of a phase.
        #[arg(long, default_value_t = 10.0)]
        phase: f64,
        #[command(flatten)]
        place: Place,
    },
}

/// Runs one of them.
pub(crate) async fn run(check: Subscriptions) -> Result<(), Failure> {
    match check {
        Subscriptions::Holes { messages, holes, kill_every, by_position, place } => {
            let ground = place.prepare()?;
            let (seed, directory) = (ground.seed, ground.directory.clone());
            let kill_every = Duration::from_secs_f64(kill_every);
            let run = HolesRun { messages, holes, kill_every, by_position, seed, directory };
            let report = Box::pin(keep_holes(&run)).await?;
            println!("{report}");
            kept(report.faults() as u64)
        }
        Subscriptions::Delayed { messages, spread, lead, cluster, place } => {
            let ground = place.prepare()?;
            let (seed, directory) = (ground.seed, ground.directory.clone());
            let (spread, lead) = (Duration::from_secs_f64(spread), Duration::from_secs_f64(lead));
            let report =
                Box::pin(deliver_in_time(&DelayedRun { messages, spread, lead, cluster, seed, directory })).await?;
            println!("{report}");
            kept((report.lost + report.early) as u64)
        }
        Subscriptions::FanOut { subscriptions, rate, rounds, phase, place } => {
            let (ground, phase) = (place.prepare()?, Duration::from_secs_f64(phase));
            let run = FanOutRun { subscriptions, rate, rounds, phase, directory: ground.directory.clone() };
            println!("{}", Box::pin(keep_up(&run)).await?);
            Ok(())
        }
    }
}
