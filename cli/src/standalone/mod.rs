//! `geminga standalone`: a broker, one bookie and their metadata in one process, made of the same parts as a cluster.
//!
//! Owns: the directory, and the order in which the parts start and stop.
//! Promises: the same durability as a cluster with one copy; whoever finds `ports.json` is served.
//! Never: does anything that a broker or a bookie does.
mod banner;
mod bookies;
mod place; // In the order of use.

use std::path::PathBuf;
use std::sync::Arc;

use bookie::{Bookie, Identity, OpenError, Options};
use broker::offload::Location;
use broker::{Bound, Clock, House, OtherMetrics};
use daemon::config::{Loaded, Sources};
use daemon::{Drain, Failure, Health};
use ledger::{QuorumLedgers, WallClock};
use metadata::{MetadataStore, RedbStore};
use proto::records::BookieAvailability;

use self::banner::Banner;
use self::bookies::OwnBookie;
use self::place::Place;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where everything is kept
    #[arg(long, value_name = "DIR", default_value = "data")]
    data_dir: PathBuf,
    /// Where clients connect; 0 picks a free port
    #[arg(long, value_name = "PORT", default_value_t = 6650)]
    broker_port: u16,
    /// Where administration, health and metrics are served; 0 picks a free port
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    http_port: u16,
    /// Move closed ledgers to an object store soon, and drop them from this disk: s3://BUCKET[?endpoint=URL], gs://BUCKET,
    /// az://CONTAINER or file:///DIRECTORY. Credentials come from the environment, as AWS_ACCESS_KEY_ID
    #[arg(long, value_name = "URL")]
    offload: Option<String>,
    /// Sets a key of the broker, as in deploy/broker.toml; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// With `--offload`. A server keeps what has moved for hours, in case the store loses something.
const OFFLOAD_DELETION_LAG_S: u32 = 5;

/// The cluster's name, which clients see in `GET /admin/v2/clusters`.
const CLUSTER: &str = "standalone";

/// Serves until `drain` is requested.
pub(crate) async fn run(arguments: Arguments, drain: Drain) -> Result<(), Failure> {
    let config = configure(&arguments)?;
    let place = Place::take(&arguments.data_dir)?;
    let clock = Clock::system();
    let (start, seed) = fresh_name();

    let metadata = open_metadata(&place).await?;
    let options = Options { seed, ..Options::default() };
    let opened = bookie::open(&place.bookie(), metadata.as_ref(), "", options, clock.now_ms()).await;
    let (bookie, identity) = opened.map_err(|error: OpenError| Failure::from(error))?;
    let (leaving, handle) = (Drain::new(), bookie.handle());
    bookie::refuse_older(metadata.as_ref(), &handle).await.map_err(|error: OpenError| Failure::from(error))?;
    let available = tokio::spawn(bookie::keep_available(
        Arc::clone(&metadata),
        identity.clone(),
        BookieAvailability {
            bookie: identity.bookie.to_string(),
            address: "in this process".into(),
            ..Default::default()
        },
        handle.clone(),
        Health::new(),
        leaving.clone(),
    ));

    let health = Health::new();
    let limbo = bookie::leave_limbo(Arc::clone(&metadata), handle.clone(), health.clone(), leaving.clone());
    let limbo = tokio::spawn(limbo);

    let house = House {
        ledgers: Arc::new(ledgers(&metadata, &bookie, &identity, &clock, seed)),
        repairs: None,
        metadata,
        clock,
        start,
        standalone: true,
        metrics: OtherMetrics::new({
            let handle = handle.clone();
            move |page| handle.write_metrics(page)
        }),
        health,
    };
    // A bookie that cannot sync must not leave the broker waiting for it.
    let stop_broker = Drain::new();
    let offload = config.offload.clone();
    let announce = |bound: &Bound| announce(&place, bound, &offload);
    let serving = Box::pin(broker::serve(config, house, announce, stop_broker.clone()));
    let watching = async {
        tokio::select! {
            () = drain.requested() => Ok(()),
            error = handle.failed() => Err(Failure::internal(error)),
        }
    };
    let outcome = serve_until(serving, watching, &stop_broker).await;

    // In the order of the data flow: the bookie stops when nobody needs it any more.
    leaving.request();
    let _ = available.await;
    let _ = limbo.await;
    let stopped = tokio::task::spawn_blocking(move || bookie.stop()).await;
    let withdrawn = place.withdraw_ports().map_err(Failure::internal);
    outcome.and(stopped.map_err(Failure::internal)).and(withdrawn)
}

/// Ends with the broker. A clean end of `watching` drains it first; a failure ends both at once.
async fn serve_until(
    mut serving: impl Future<Output = Result<(), Failure>> + Unpin,
    watching: impl Future<Output = Result<(), Failure>>,
    stop_broker: &Drain,
) -> Result<(), Failure> {
    tokio::select! {
        outcome = &mut serving => return outcome,
        ended = watching => ended?,
    }
    stop_broker.request();
    serving.await
}

fn configure(arguments: &Arguments) -> Result<broker::Config, Failure> {
    let mut set = vec![
        format!("cluster={CLUSTER}"),
        "ensemble_size=1".into(),
        "write_quorum=1".into(),
        "ack_quorum=1".into(),
        format!("listen=[::]:{}", arguments.broker_port),
        format!("http_listen=[::]:{}", arguments.http_port),
    ];
    if let Some(url) = &arguments.offload {
        is_there(url)?;
        // Someone at a keyboard wants to see it happen.
        set.extend([
            format!("offload={url}"),
            "offload_threshold_s=0".into(),
            format!("offload_deletion_lag_s={OFFLOAD_DELETION_LAG_S}"),
        ]);
    }
    set.extend(arguments.set.iter().cloned());
    let Loaded { config, warnings } =
        daemon::config::load(&Sources { file: None, environment: std::env::vars_os().collect(), set })?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(config)
}

/// A directory is looked for at once, while whoever mistyped it still sits there. What else may be wrong the configuration says, or the
/// store once it is asked.
fn is_there(url: &str) -> Result<(), Failure> {
    match url.parse() {
        Ok(Location::Directory { path }) if !path.is_dir() => {
            let path = path.display();
            Err(Failure::usage(format!("--offload: there is no directory {path}: make it first, or correct the path")))
        }
        _ => Ok(()),
    }
}

async fn open_metadata(place: &Place) -> Result<Arc<dyn MetadataStore>, Failure> {
    let path = place.metadata();
    let opened = tokio::task::spawn_blocking({
        let path = path.clone();
        move || RedbStore::open(&path)
    });
    let store = opened.await.map_err(Failure::internal)?;
    let store = store.map_err(|error| Failure::internal(format!("cannot open {}: {error}", path.display())))?;
    Ok(Arc::new(store))
}

fn ledgers(
    metadata: &Arc<dyn MetadataStore>,
    bookie: &Bookie,
    identity: &Identity,
    clock: &Clock,
    seed: u64,
) -> QuorumLedgers {
    let own = Arc::new(OwnBookie::new(identity.bookie.clone(), bookie.handle()));
    let clock = clock.clone();
    QuorumLedgers::new(Arc::clone(metadata), own, WallClock::new(move || clock.now_ms()), seed)
}

/// A name for this start, and a seed for its choices.
fn fresh_name() -> (String, u64) {
    let unique = uuid::Uuid::new_v4();
    let (high, low) = unique.as_u64_pair();
    (unique.to_string(), high ^ low)
}

fn announce(place: &Place, bound: &Bound, offload: &str) {
    if let Err(failure) = place.publish_ports(bound.broker_port, bound.http_port) {
        tracing::error!(%failure, "requests are served, but the ports are in no file");
    }
    print!("{}", Banner { broker: bound.broker_port, http: bound.http_port, data: place.path(), offload });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_for_objects_must_be_there_at_the_start() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("file://{}", directory.path().display());
        assert!(is_there(&url).is_ok() && is_there("s3://bucket").is_ok());
        let failure = is_there(&format!("{url}/absent")).expect_err("nobody made it");
        assert_eq!(failure.exit, daemon::Exit::Usage);
        assert!(failure.message.contains("/absent: make it first"), "{failure}");
    }
}
