//! One bookie as a process.
use std::process::ExitCode;

use daemon::{Failure, PATIENCE, retry_until};
use metadata::Retry;

use crate::{Config, clock, serve};

/// The whole program `geminga-bookie`: from the command line of this process to its exit code.
pub fn main() -> ExitCode {
    daemon::run("geminga-bookie", "Keeps entries of many ledgers on local disks", async |config: Config, drain| {
        let what = format!("the metadata store at {}", config.metadata);
        let connected = retry_until(&what, PATIENCE, &drain, async || {
            metadata::connect(&config.metadata, &config.cluster).await.map_err(|error| match error.retry() {
                Retry::Later | Retry::AfterReading => Failure::try_again(error),
                Retry::Never => Failure::usage(format!("metadata: {error}")),
            })
        });
        match connected.await? {
            Some(metadata) => Box::pin(serve(config, metadata, clock::birth(), drain)).await,
            None => Ok(()), // Asked to stop before anything began.
        }
    })
}
