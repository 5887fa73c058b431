//! Runs one bookie. Everything worth reading is in the library.
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use bookie::{Birth, Config};
use daemon::{Failure, PATIENCE, retry_until};
use metadata::Retry;

fn main() -> ExitCode {
    daemon::run("geminga-bookie", "Keeps entries of many ledgers on local disks", async |config: Config, drain| {
        let what = format!("the metadata store at {}", config.metadata);
        let connected = retry_until(&what, PATIENCE, &drain, async || {
            metadata::connect(&config.metadata, &config.cluster).await.map_err(|error| match error.retry() {
                Retry::Later | Retry::AfterReading => Failure::try_again(error),
                Retry::Never => Failure::usage(format!("metadata: {error}")),
            })
        });
        match connected.await? {
            Some(metadata) => Box::pin(bookie::serve(config, metadata, birth(), drain)).await,
            None => Ok(()), // Asked to stop before anything began.
        }
    })
}

#[allow(clippy::disallowed_methods)] // The one place that asks the machine.
fn birth() -> Birth {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(); // Before 1970 counts as 1970.
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    Birth { now_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX), seed: high ^ low }
}
