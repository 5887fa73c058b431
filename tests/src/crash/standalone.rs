//! Standalone is killed under load, again and again.
use std::path::PathBuf;
use std::time::Duration;

use daemon::Failure;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{Keeping, Load, Report};
use crate::cluster::Standalone;
use crate::deadline::under_load_for;

/// How often and where.
#[derive(Debug, Clone)]
pub struct StandaloneRun {
    /// Kills.
    pub times: u32,
    /// Whether consumed ledgers stay.
    pub keeping: Keeping,
    /// Of the random moments.
    pub seed: u64,
    /// For data and output. Must be there.
    pub directory: PathBuf,
}

/// Small ledgers, so that kills fall on their borders too.
pub(super) const ROLLOVER: (&str, &str) = ("GEMINGA_LEDGER_ENTRIES_MAX", "1000");

/// Kills with -9 at random moments while messages are published and acknowledged.
pub async fn crash_standalone(run: &StandaloneRun) -> Result<Report, Failure> {
    let mut rng = SmallRng::seed_from_u64(run.seed);
    let mut server = Standalone::start_with(&run.directory, &run.directory.join("data"), &[ROLLOVER]).await?;
    let load = Load::start(vec![server.address()], &server.admin(), run.keeping, run.seed).await?;
    for time in 1..=run.times {
        load.receipts_grow_by(50, &format!("before kill {time}")).await?;
        under_load_for(Duration::from_millis(rng.random_range(0..1000))).await;
        server.process().kill();
        let took = server.restart().await?;
        load.restarted();
        println!("kill {time} of {}: ready again after {:.3} s", run.times, took.as_secs_f64());
    }
    load.receipts_grow_by(50, "at the end").await?;
    load.finish().await
}
