//! The life of a bookie process.
use std::future::{Ready, ready};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use daemon::metrics::MetricText;
use daemon::{Drain, Failure, Health, HostPort};
use metadata::MetadataStore;
use proto::records::BookieAvailability;
use tokio_util::task::AbortOnDropHandle;

use crate::config::Config;
use crate::disk::{Directory, Disk};
use crate::error::OpenError;
use crate::handle::{Bookie, Handle};
use crate::identity::Identity;
use crate::limbo::{Damaged, leave_limbo};
use crate::place::open_first;
use crate::registration::{identify, keep_available, refuse_older};
use crate::segments::Options;
use crate::service;
use crate::store::Store;

/// For the answers of what was taken when the drain was asked for.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// What a start takes from outside: the time and a number nobody can guess.
#[derive(Debug, Clone, Copy)]
pub struct Birth {
    /// Milliseconds since 1970.
    pub now_ms: u64,
    /// Different for each start.
    pub seed: u64,
}

/// Opens the bookie of a directory on the operating system's disk, under its identity in `metadata`. With this and
/// [`Bookie::handle`] a bookie lives in another's process.
pub async fn open(
    directory: &Path,
    metadata: &dyn MetadataStore,
    rack: &str,
    options: Options,
    now_ms: u64,
) -> Result<(Bookie, Identity), OpenError> {
    let fault = |error| OpenError::disk(directory.into(), "use the directory", error);
    let disk: Arc<dyn Disk> = Arc::new(Directory::create(directory).map_err(fault)?);
    let identity = identify(metadata, &disk, rack, now_ms).await?;
    let (opening, of, with) = (disk.clone(), identity.clone(), options.clone());
    let opened = tokio::task::spawn_blocking(move || Store::open(opening, &of, with)).await;
    let store = match opened.map_err(|error| fault(std::io::Error::other(error)))? {
        Err(error) if error.is_loss() => {
            tracing::error!(%error, "this bookie has lost something: it keeps what is whole and goes on in limbo");
            let (opening, of) = (disk.clone(), identity.clone());
            let opened = tokio::task::spawn_blocking(move || Damaged::open(opening, &of, options)).await;
            let damaged = opened.map_err(|error| fault(std::io::Error::other(error)))??;
            damaged.enter(metadata).await?
        }
        opened => opened?,
    };
    Ok((Bookie::start(store)?, identity))
}

/// Serves until `drain` is requested, then returns once nothing acknowledged is at risk.
pub async fn serve(
    config: Config,
    metadata: Arc<dyn MetadataStore>,
    birth: Birth,
    drain: Drain,
) -> Result<(), Failure> {
    let listener = daemon::bind(&config.listen, "listen").await?;
    let http_listener = daemon::bind(&config.http_listen, "http_listen").await?;
    let port = |listener: &tokio::net::TcpListener| {
        listener.local_addr().map(|address| address.port()).map_err(Failure::internal)
    };
    let (bound, http_bound) = (port(&listener)?, port(&http_listener)?);
    let given = Some(config.advertised_address.as_str()).filter(|given| !given.is_empty());
    let address = daemon::advertised(given, &config.listen, bound)?;
    let http_address = HostPort { host: address.host.clone(), port: http_bound };

    let health = Health::new();
    let options = config.options(birth.seed);
    let opened = open_first(&config.data_dir, metadata.as_ref(), &config.rack, &options, birth.now_ms).await;
    let (bookie, identity) = opened.map_err(Failure::from)?;
    refuse_older(metadata.as_ref(), &bookie.handle()).await.map_err(Failure::from)?;
    health.ok("journal");

    let http_drain = Drain::new(); // Health is answered to the end.
    let router = daemon::http::pages(health.clone(), render(bookie.handle()));
    let http = AbortOnDropHandle::new(tokio::spawn(daemon::http::serve(http_listener, router, http_drain.clone())));
    let leaving = Drain::new();
    let availability = availability(&identity, &address, &http_address, &config.rack, &bookie.handle());
    let limbo = leave_limbo(Arc::clone(&metadata), bookie.handle(), health.clone(), leaving.clone());
    let limbo = AbortOnDropHandle::new(tokio::spawn(limbo));
    let registration =
        keep_available(metadata, identity, availability, bookie.handle(), health.clone(), leaving.clone());
    let registration = AbortOnDropHandle::new(tokio::spawn(registration));
    let stopping = Drain::new();
    let mut server = AbortOnDropHandle::new(tokio::spawn(service::serve(listener, bookie.handle(), stopping.clone())));
    health.ready();
    daemon::announce_ready(&[("bookie", address.to_string()), ("http", http_address.to_string())]);

    let handle = bookie.handle();
    let outcome = tokio::select! {
        () = drain.requested() => Ok(()),
        error = handle.failed() => Err(Failure::internal(error)),
        ended = &mut server => Err(Failure::internal(format!("the exchange service ended: {ended:?}"))),
    };
    health.not_ready("draining");
    if let Err(failure) = &outcome {
        health.failing("journal", failure.to_string());
    }

    // In the order of the data flow, so that nothing accepts work it cannot finish.
    leaving.request();
    let _ = registration.await; // No new ledger chooses this bookie.
    let _ = limbo.await;
    if outcome.is_ok() {
        stopping.request();
        if tokio::time::timeout(ANSWER_TIME_MAX, server).await.is_err() {
            tracing::warn!("a client did not take its answers in time");
        }
    }
    let stopped = tokio::task::spawn_blocking(move || bookie.stop()).await; // The journal is synced and sealed.
    http_drain.request();
    let _ = http.await;
    outcome.and(stopped.map_err(Failure::internal))
}

fn render(handle: Handle) -> impl Fn(MetricText, Option<String>) -> Ready<MetricText> + Clone {
    move |mut page, _query| {
        handle.write_metrics(&mut page);
        ready(page)
    }
}

fn availability(
    identity: &Identity,
    address: &HostPort,
    http_address: &HostPort,
    rack: &str,
    handle: &Handle,
) -> BookieAvailability {
    BookieAvailability {
        bookie: identity.bookie.to_string(),
        address: address.to_string(),
        http_address: http_address.to_string(),
        rack: rack.into(),
        limbo: handle.is_in_limbo(),
        ..BookieAvailability::default()
    }
}
