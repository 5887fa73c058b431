//! One broker of a cluster as a process.
use std::process::ExitCode;
use std::sync::Arc;

use daemon::{Drain, Failure};
use metadata::{MetadataStore, Retry};

use crate::{Bound, Clock, Config, House, OtherMetrics, serve};

/// The whole program `geminga-broker`: from the command line of this process to its exit code.
pub fn main() -> ExitCode {
    daemon::run("geminga-broker", "Serves the Pulsar protocol out of bookies", async |config: Config, drain| {
        Box::pin(run(config, drain)).await
    })
}

async fn run(config: Config, drain: Drain) -> Result<(), Failure> {
    let Some(metadata) = connect(&config, &drain).await? else { return Ok(()) };
    let clock = Clock::system();
    // A name for this start, and a seed for its choices.
    let start = uuid::Uuid::new_v4();
    let (high, low) = start.as_u64_pair();
    let ledgers = ledger::QuorumLedgers::new(
        Arc::clone(&metadata),
        Arc::new(ledger::GrpcBookies::new(Arc::clone(&metadata))),
        ledger::WallClock::new({
            let clock = clock.clone();
            move || clock.now_ms()
        }),
        high ^ low,
    );
    let start = start.to_string();
    let repairs = Some(Arc::new(ledgers.repairs(config.repairs())));
    let (ledgers, metrics) = (Arc::new(ledgers), OtherMetrics::default());
    let health = daemon::Health::new();
    let house = House { metadata, ledgers, repairs, clock, start, standalone: false, metrics, health };
    let announce = |bound: &Bound| {
        daemon::announce_ready(&[("broker", bound.broker.to_string()), ("http", bound.http.to_string())]);
    };
    serve(config, house, announce, drain).await
}

/// Waits for etcd. `None` when the drain was quicker.
async fn connect(config: &Config, drain: &Drain) -> Result<Option<Arc<dyn MetadataStore>>, Failure> {
    let url = metadata::Url::parse(&config.metadata).map_err(|error| Failure::usage(format!("metadata: {error}")))?;
    if !url.is_for_clusters() {
        return Err(Failure::usage(format!(
            "metadata: `{}` is for one process only: write etcd://HOST:PORT, or run `geminga standalone`",
            config.metadata
        )));
    }
    daemon::retry_until(&config.metadata, daemon::PATIENCE, drain, async || {
        metadata::connect(&config.metadata, &config.cluster).await.map_err(|error| match error.retry() {
            Retry::Later | Retry::AfterReading => Failure::try_again(error),
            Retry::Never => Failure::usage(format!("metadata: {error}")),
        })
    })
    .await
}
