//! The life of a broker: from its ports to its last answer.
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use daemon::metrics::MetricText;
use daemon::{Drain, Failure, Health, HostPort};
use ledger::Ledgers;
use ledger::repair::Repairs;
use metadata::{MetadataStore, Retry};
use proto::records::BrokerRecord;
use proto::{Domain, TopicName};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tower_service::Service;

use crate::connection;
use crate::http::{self, Pages};
use crate::log::{EntryCache, LogContext, ObjectTier, Rollover};
use crate::moves::{Balancer, Moves};
use crate::namespaces::Namespaces;
use crate::offload::{self, Kinds, Stores};
use crate::outbox::NextOwner;
use crate::ownership::{Keeping, Ownership, Probe};
use crate::policies::Policies;
use crate::repair::Repairer;
use crate::schemas::Schemas;
use crate::topic::{TopicSetup, Topics};
use crate::upkeep::{self, Rooms, Tiering, Upkeep};
use crate::{Clock, Config, Context, intents, listeners, metrics};

/// What a broker is given beside its configuration.
#[derive(Debug)]
pub struct House {
    /// Who owns what.
    pub metadata: Arc<dyn MetadataStore>,
    /// Where entries go.
    pub ledgers: Arc<dyn Ledgers>,
    /// What makes copies good that bookies take with them. Nothing where there is one bookie only.
    pub repairs: Option<Arc<Repairs>>,
    /// The time of day.
    pub clock: Clock,
    /// Names this start: letters, digits and `-`, never used before.
    pub start: String,
    /// Whether this process is all there is, so that clients may come back the way they came.
    pub standalone: bool,
    /// Whoever else lives in this process tells of itself on the same page,
    pub metrics: OtherMetrics,
    /// and here, if it is unwell.
    pub health: Health,
}

type WriteMetrics = dyn Fn(&mut MetricText) + Send + Sync;

/// Writes metrics that are not the broker's.
#[derive(Clone, Default)]
pub struct OtherMetrics(Option<Arc<WriteMetrics>>);

impl OtherMetrics {
    /// `write` is called for each page, after the broker's own.
    pub fn new(write: impl Fn(&mut MetricText) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(write)))
    }

    fn write(&self, page: &mut MetricText) {
        if let Some(write) = &self.0 {
            write(page);
        }
    }
}

impl fmt::Debug for OtherMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OtherMetrics").field(&self.0.is_some()).finish()
    }
}

/// Where a broker serves.
#[derive(Debug, Clone)]
pub struct Bound {
    /// As others reach the binary protocol.
    pub broker: HostPort,
    /// As others reach HTTP.
    pub http: HostPort,
    /// The port that is listened at, which the advertised one may differ from.
    pub broker_port: u16,
    /// The port that is listened at.
    pub http_port: u16,
}

/// Between attempts at something that metadata being away prevents.
const PAUSE: Duration = Duration::from_millis(500);

/// Serves until `drain` is requested, then returns once nothing acknowledged is at risk. `ready` is called once requests are served.
pub async fn serve(
    config: Config,
    house: House,
    ready: impl FnOnce(&Bound) + Send,
    drain: Drain,
) -> Result<(), Failure> {
    // What a taken port is blamed on is what the person who started this process can change.
    let (key, http_key) = if house.standalone { ("--broker-port", "--http-port") } else { ("listen", "http_listen") };
    let listener = daemon::bind(&config.listen, key).await?;
    let http_listener = daemon::bind(&config.http_listen, http_key).await?;
    let bound = bound(&config, house.standalone, &listener, &http_listener)?;
    let me = BrokerRecord {
        broker: bound.broker.to_string(),
        http: bound.http.to_string(),
        start: house.start.clone(),
        started_at: house.clock.now_ms(),
        version: env!("CARGO_PKG_VERSION").into(),
        listeners: listeners_of(&config)?,
    };

    // Health is served from here on, and says which start this is: whoever doubts our identity asks there.
    let (health, http_drain) = (house.health.clone(), Drain::new());
    let door = Door { metrics: house.metrics.clone(), ..Door::default() };
    let http = tokio::spawn(daemon::http::serve(http_listener, door.router(&health, &house.start), http_drain.clone()));

    let Some((ownership, mut keeping)) = register(&config, &house, me, &drain).await? else { return Ok(()) };
    let Assembled { context, log, sealed } = assemble(config, house, ownership);
    door.open(&context, log);

    let losses = tokio::spawn(unload_what_is_lost(Arc::clone(&context)));
    let (work_drain, connection_drain) = (Drain::new(), Drain::new());
    let worker = intents::Worker {
        metadata: Arc::clone(&context.metadata),
        ledgers: Arc::clone(&context.ledgers),
        tier: context.upkeep.tiering().tier().clone(),
    };
    let worker = tokio::spawn(worker.work(context.ownership.clone(), work_drain.clone()));
    let upkeep = tokio::spawn(context.upkeep.clone().work(sealed, work_drain.clone()));
    let repairs = tokio::spawn(repair(Arc::clone(&context), work_drain.clone()));
    let balance = tokio::spawn(context.balance.clone().work(work_drain.clone()));
    let connections = tokio::spawn(connection::serve(listener, Arc::clone(&context), connection_drain.clone()));
    health.ready();
    ready(&bound);

    let outcome = tokio::select! {
        () = drain.requested() => Ok(()),
        failure = keeping.failed() => Err(failure),
    };

    health.not_ready("draining");
    work_drain.request();
    if outcome.is_ok() {
        context.ownership.withdraw().await; // Nobody is sent here any more.
        context.moves.release_all().await; // Others take the topics.
    }
    connection_drain.request(); // What is in flight is answered.
    join(connections, "connections").await;
    http_drain.request();
    join(http, "HTTP").await;
    losses.abort();
    join(worker, "intents").await;
    join(upkeep, "upkeep").await;
    join(repairs, "repairs").await;
    join(balance, "balance").await;
    context.upkeep.tiering().stop().await;
    if outcome.is_ok() {
        keeping.stop().await;
    }
    outcome
}

fn listeners_of(config: &Config) -> Result<HashMap<String, String>, Failure> {
    Ok(listeners::parse(&config.advertised_listeners).map_err(Failure::usage)?.into_iter().collect())
}

async fn repair(context: Arc<Context>, drain: Drain) {
    let Some(repairs) = context.repairs.clone() else { return };
    let after = Duration::from_secs(context.config.repair_after_s);
    Repairer::new(repairs, after).work(context.ownership.clone(), drain).await;
}

async fn join(task: JoinHandle<()>, what: &str) {
    if let Err(error) = task.await {
        tracing::error!(what, %error, "a task of this broker did not end as it should");
    }
}

fn bound(config: &Config, standalone: bool, listener: &TcpListener, http: &TcpListener) -> Result<Bound, Failure> {
    let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port()).map_err(Failure::internal);
    let (broker_port, http_port) = (port(listener)?, port(http)?);
    let given = Some(config.advertised_address.as_str()).filter(|given| !given.is_empty());
    let broker = match given {
        None if standalone => HostPort { host: "localhost".into(), port: broker_port },
        given => daemon::advertised(given, &config.listen, broker_port)?,
    };
    let http = HostPort { host: broker.host.clone(), port: http_port };
    Ok(Bound { broker, http, broker_port, http_port })
}

/// Makes what exists from the first start, and registers this broker. `None` when the drain was quicker.
async fn register(
    config: &Config,
    house: &House,
    me: BrokerRecord,
    drain: &Drain,
) -> Result<Option<(Ownership, Keeping)>, Failure> {
    let namespaces = namespaces(config, house);
    let probe = Probe::network(peers());
    daemon::retry_until("the metadata store", daemon::PATIENCE, drain, async || {
        namespaces.bootstrap(&house.start).await.map_err(|error| match error.retry() {
            Retry::Later | Retry::AfterReading => Failure::try_again(error),
            Retry::Never => Failure::internal(error),
        })?;
        Ownership::start(me.clone(), Arc::clone(&house.metadata), house.clock.clone(), probe.clone()).await
    })
    .await
}

fn namespaces(config: &Config, house: &House) -> Namespaces {
    Namespaces::new(Arc::clone(&house.metadata), house.clock.clone(), &config.cluster, config.auto_create_topics)
}

/// Asks other brokers, which are inside the cluster: no proxy stands between.
fn peers() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build();
    client.expect("without TLS and names of its own there is nothing that could fail")
}

/// The rooms, put together.
pub(crate) struct Assembled {
    pub(crate) context: Arc<Context>,
    pub(crate) log: LogContext,
    /// Names topics whose ledger was closed, for upkeep.
    pub(crate) sealed: mpsc::Receiver<TopicName>,
}

/// Puts the rooms together.
pub(crate) fn assemble(config: Config, house: House, ownership: Ownership) -> Assembled {
    let (sealing, sealed) = mpsc::channel(upkeep::SEALED_MAX);
    let tier = object_tier(&config, &house);
    let log = LogContext {
        metadata: Arc::clone(&house.metadata),
        ledgers: Arc::clone(&house.ledgers),
        policy: config.quorum(),
        rollover: Rollover {
            entries_max: config.ledger_entries_max,
            bytes_max: config.ledger_bytes_max.0,
            age_max: Duration::from_secs(config.ledger_age_max_s),
        },
        cache: EntryCache::new(usize::try_from(config.cache_bytes.0).unwrap_or(usize::MAX)),
        tier: tier.clone(),
        start: house.start.as_str().into(),
        clock: house.clock.clone(),
        sealed: sealing,
    };
    let owns = ownership.clone();
    let short: String = house.start.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    let topics = Topics::new(TopicSetup {
        log: log.clone(),
        owns: Box::new(move |topic| owns.owns(topic)),
        producer_prefix: format!("{}-{short}", config.cluster),
        clock: house.clock.clone(),
    });
    let policies = Policies::new(Arc::clone(&house.metadata), config.of_broker());
    let tiering = Tiering::new(tier, policies.clone(), config.offload(), house.clock.clone());
    let schemas = Schemas::new(Arc::clone(&house.metadata), house.clock.clone());
    let rooms = Rooms { topics: topics.clone(), policies: policies.clone(), schemas: schemas.clone() };
    let without_subscription = Duration::from_secs(config.retention_without_subscription_s);
    let seed = offload::seed(&house.start);
    let upkeep = Upkeep::new(rooms, tiering, log.rollover, without_subscription, house.clock.clone(), seed);
    let moves = Moves {
        ownership: ownership.clone(),
        topics: topics.clone(),
        peers: peers(),
        addresses_mislead: house.standalone && config.advertised_address.is_empty(),
    };
    let balance = Balancer::new(moves.clone(), house.clock.clone(), config.balance_moves_per_min);
    let context = Context {
        moves,
        balance,
        policies,
        upkeep,
        namespaces: namespaces(&config, &house),
        schemas,
        broker: ownership.me().broker.clone(),
        config,
        clock: house.clock,
        start: house.start,
        standalone: house.standalone,
        metadata: house.metadata,
        ledgers: house.ledgers,
        repairs: house.repairs,
        ownership,
        topics,
    };
    Assembled { context: Arc::new(context), log, sealed }
}

/// Directories are possible because policies may name only the one that is configured.
fn object_tier(config: &Config, house: &House) -> ObjectTier {
    let seed = offload::seed(&house.start); // As random as the start's name.
    let cache_bytes = usize::try_from(config.offload_cache_bytes.0).unwrap_or(usize::MAX);
    ObjectTier::new(Arc::clone(&house.metadata), Stores::new(seed, Kinds::Directories), cache_bytes, seed)
}

/// Topics whose bundle another broker has taken are of no use here: their next write would be fenced.
async fn unload_what_is_lost(context: Arc<Context>) {
    let mut losses = context.ownership.losses();
    while losses.changed().await.is_ok() {
        context.topics.unload_where(|topic| !context.ownership.owns(topic), &NextOwner::default()).await;
        tokio::time::sleep(PAUSE).await; // Many bundles are often lost together.
    }
}

/// The HTTP side: health from the beginning, the rest once there is something to ask.
#[derive(Debug, Clone, Default)]
struct Door {
    inside: Arc<OnceLock<(Router, Arc<Context>)>>,
    metrics: OtherMetrics,
}

impl Door {
    fn router(&self, health: &Health, start: &str) -> Router {
        let (door, metrics) = (self.clone(), self.clone());
        let render = move |page: MetricText, query: Option<String>| {
            let door = metrics.clone();
            async move {
                let mut page = match door.inside.get() {
                    Some((_, context)) => {
                        metrics::render(context, page, metrics::Detail::wanted(query.as_deref())).await
                    }
                    None => page,
                };
                door.metrics.write(&mut page);
                page
            }
        };
        let pages = daemon::http::pages(health.clone(), render).fallback(async move |request: Request| {
            match door.inside.get() {
                Some((router, _)) => router.clone().call(request).await.into_response(),
                None => http::starting().into_response(),
            }
        });
        http::outside(pages, start)
    }

    fn open(&self, context: &Arc<Context>, log: LogContext) {
        let pages = Pages { context: Arc::clone(context), log, peers: peers(), domain: Domain::Persistent };
        let _ = self.inside.set((http::router(pages), Arc::clone(context))); // Opened once only.
    }
}
