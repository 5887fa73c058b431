//! The task that keeps this broker's keys alive and its view of the others fresh.
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use daemon::{Drain, Failure};
use futures::FutureExt;
use metadata::{Error, Event, Expect, Lease, MetadataStoreExt, Operation, Record, Transaction, Watch};
use proto::records::BrokerRecord;
use proto::{NamespaceName, keys};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::probe::Presence;
use super::registration::{self, RegistrationError};
use super::{Bundle, LEASE, Shared, decode_bundles, decode_owner, for_each_concurrently};

/// Events may be lost: everything is listed again so often.
const RELIST: Duration = Duration::from_secs(30);
/// Between attempts while the store is away.
const PAUSE: Duration = Duration::from_millis(500);
/// Each broker is probed at most so often.
const PROBE_PAUSE: Duration = Duration::from_secs(1);
/// Before all namespaces.
const NAMESPACES: &str = "namespaces/";

/// The running task.
#[derive(Debug)]
pub(crate) struct Keeping {
    stop: Drain,
    task: JoinHandle<Result<(), Failure>>,
}

impl Keeping {
    /// Takes a lease, registers, lists what there is, and starts the task.
    pub(super) async fn start(shared: Arc<Shared>, suspected: mpsc::Receiver<BrokerRecord>) -> Result<Self, Failure> {
        let away = |error: &dyn std::fmt::Display| Failure::try_again(format!("cannot register this broker: {error}"));
        let lease = shared.metadata.lease(LEASE).await.map_err(|error| away(&error))?;
        *shared.lease.write() = Some(lease.id());
        registration::register(&shared, lease.id()).await.map_err(|error| match error {
            RegistrationError::Taken(_) => Failure::usage(&error),
            RegistrationError::Metadata(_) => away(&error),
        })?;
        let mut keeper = Keeper { shared, lease, suspected, probes: JoinSet::new(), probed: HashMap::new() };
        let watches = keeper.subscribe().await.map_err(|error| away(&error))?;
        keeper.shared.view.write().set_serving(true);
        let stop = Drain::new();
        let task = tokio::spawn(keeper.run(watches, stop.clone()));
        Ok(Self { stop, task })
    }

    /// Returns when the task has ended by itself: this process must end.
    pub(crate) async fn failed(&mut self) -> Failure {
        match (&mut self.task).await {
            Ok(Err(failure)) => failure,
            Ok(Ok(())) => Failure::internal("the keeper of ownership ended without being asked"),
            Err(error) => Failure::internal(format!("the keeper of ownership: {error}")),
        }
    }

    /// As if the process were killed: the lease runs out.
    #[cfg(test)]
    pub(super) fn kill(self) {
        self.task.abort();
    }

    /// Ends the lease and the task.
    pub(crate) async fn stop(self) {
        self.stop.request();
        let _ = self.task.await; // This process is ending anyway.
    }
}

struct Watches {
    brokers: Watch,
    bundles: Watch,
    namespaces: Watch,
}

struct Keeper {
    shared: Arc<Shared>,
    lease: Lease,
    suspected: mpsc::Receiver<BrokerRecord>,
    probes: JoinSet<(BrokerRecord, Presence)>,
    /// When each start was last probed.
    probed: HashMap<String, Instant>,
}

impl Keeper {
    async fn run(mut self, first: Watches, stop: Drain) -> Result<(), Failure> {
        let mut watches = Some(first);
        loop {
            let ended = tokio::select! {
                () = stop.requested() => break,
                ended = self.watch(watches.take()) => ended,
            };
            match ended {
                Err(RegistrationError::Taken(other)) => return Err(Failure::usage(RegistrationError::Taken(other))),
                Err(RegistrationError::Metadata(error)) => {
                    tracing::warn!(%error, "ownership is not up to date; what is served here goes on");
                }
                Ok(()) => {}
            }
            tokio::select! {
                () = stop.requested() => break,
                () = sleep(PAUSE) => {}
            }
        }
        self.lease.revoke().await;
        Ok(())
    }

    /// Watches first, then lists: what changes in between is seen twice rather than never.
    async fn subscribe(&mut self) -> Result<Watches, Error> {
        let metadata = &self.shared.metadata;
        let watches = Watches {
            brokers: metadata.watch(keys::BROKERS).await?,
            bundles: metadata.watch(keys::BUNDLES).await?,
            namespaces: metadata.watch(NAMESPACES).await?,
        };
        self.relist().await?;
        Ok(watches)
    }

    /// Returns when the watches have to be taken again.
    async fn watch(&mut self, watches: Option<Watches>) -> Result<(), RegistrationError> {
        let mut watches = match watches {
            Some(watches) => watches,
            None => self.subscribe().await?,
        };
        let mut changed = self.shared.changed.subscribe();
        let mut relist = interval(RELIST);
        relist.set_missed_tick_behavior(MissedTickBehavior::Delay);
        relist.tick().await; // The first comes at once.
        loop {
            changed.mark_unchanged();
            if self.lease.lost().now_or_never().is_some() {
                self.renew().await?;
            }
            self.mend().await?;
            tokio::select! {
                () = self.lease.lost() => {}
                events = watches.brokers.next() => self.note_brokers(events?),
                events = watches.bundles.next() => self.note_bundles(events?),
                events = watches.namespaces.next() => self.note_namespaces(events?).await?,
                _ = relist.tick() => self.relist().await?,
                _ = changed.changed() => {}
                Some(broker) = self.suspected.recv() => self.probe(broker),
                Some(probed) = self.probes.join_next() => self.note_probe(probed.ok()),
            }
        }
    }

    /// Brings this broker's keys to what they should be.
    async fn mend(&self) -> Result<(), RegistrationError> {
        let (registered, missing, reserved) = {
            let view = self.shared.view.read();
            let me = view.broker(&self.shared.me.broker).is_some_and(|broker| broker.start == self.shared.me.start);
            (me || !view.serving(), view.missing(), view.reserved())
        };
        if !registered {
            registration::register(&self.shared, self.lease.id()).await?;
        }
        for bundle in missing {
            self.shared.refresh(&bundle).await?; // Perhaps the news was old,
            self.shared.refresh_cut(&bundle.namespace).await?; // or it was split, and the news of that is late.
            if self.shared.view.read().missing().contains(&bundle) {
                self.shared.take(&bundle, Expect::Absent).await?;
            }
        }
        for (bundle, expect) in reserved {
            self.shared.take(&bundle, expect).await?;
        }
        Ok(())
    }

    /// Puts everything under a new lease. What another broker has taken meanwhile stays with it.
    async fn renew(&mut self) -> Result<(), Error> {
        *self.shared.lease.write() = None;
        self.lease = self.shared.metadata.lease(LEASE).await?;
        *self.shared.lease.write() = Some(self.lease.id());
        tracing::warn!("the lease was lost; keys are put under a new one");
        let (me, serving, ours) = {
            let view = self.shared.view.read();
            (self.shared.me.broker.clone(), view.serving(), view.ours())
        };
        if serving {
            self.shared.view.write().set_broker(&me, None); // So that `mend` registers.
        }
        let failed = std::sync::Mutex::new(None);
        for_each_concurrently(ours.iter().map(|bundle| self.take_again(bundle, &failed))).await;
        let failed = failed.into_inner().unwrap_or_default();
        failed.map_or(Ok(()), Err)
    }

    async fn take_again(&self, bundle: &Bundle, failed: &std::sync::Mutex<Option<Error>>) {
        let again = async {
            self.shared.refresh(bundle).await?;
            let (still, expect) = {
                let view = self.shared.view.read();
                (view.ours().contains(bundle), view.expect(bundle))
            };
            if still { self.shared.take(bundle, expect).await } else { Ok(()) }
        };
        if let Err(error) = again.await
            && let Ok(mut failed) = failed.lock()
        {
            *failed = Some(error);
        }
    }

    async fn relist(&mut self) -> Result<(), Error> {
        let metadata = Arc::clone(&self.shared.metadata);
        let brokers = metadata.list_all(keys::BROKERS).await?;
        let listed: HashSet<String> = brokers.iter().map(|record| after(keys::BROKERS, record.key.as_str())).collect();
        let known = self.shared.view.read().broker_addresses();
        known.iter().filter(|known| !listed.contains(*known)).for_each(|gone| self.note_broker(gone, None));
        brokers.iter().for_each(|record| self.note_broker(&after(keys::BROKERS, record.key.as_str()), Some(record)));

        let known = self.shared.view.read().known(); // Before listing: what is taken meanwhile is no news of old.
        let bundles = metadata.list_all(keys::BUNDLES).await?;
        let listed: HashSet<Bundle> = bundles.iter().filter_map(bundle_of).collect();
        known.iter().filter(|known| !listed.contains(*known)).for_each(|gone| self.shared.note(gone, None));
        bundles.iter().for_each(|record| self.note_bundle(record));

        let known = self.shared.view.read().namespaces();
        let namespaces = metadata.list_all(NAMESPACES).await?;
        let listed: HashSet<NamespaceName> = namespaces.iter().filter_map(namespace_of).collect();
        for gone in known.iter().filter(|known| !listed.contains(*known)) {
            self.forget_namespace(gone).await?;
        }
        namespaces.iter().for_each(|record| self.note_namespace(record));
        Ok(())
    }

    fn note_brokers(&self, events: Vec<Event>) {
        for Event { key, record } in events {
            self.note_broker(&after(keys::BROKERS, key.as_str()), record.as_ref());
        }
    }

    fn note_broker(&self, address: &str, record: Option<&Record>) {
        match record.map(registration::decode).transpose() {
            Ok(broker) => self.shared.view.write().set_broker(address, broker),
            Err(error) => tracing::error!(%error, "a broker's key is ignored"),
        }
        self.shared.wake();
    }

    fn note_bundles(&self, events: Vec<Event>) {
        for Event { key, record } in events {
            match (record, after(keys::BUNDLES, key.as_str()).parse()) {
                (Some(record), _) => self.note_bundle(&record),
                (None, Ok(bundle)) => self.shared.note(&bundle, None),
                (None, Err(_)) => {}
            }
        }
    }

    fn note_bundle(&self, record: &Record) {
        match (bundle_of(record), decode_owner(record)) {
            (Some(bundle), Ok(owner)) => self.shared.note(&bundle, Some(owner)),
            _ => tracing::error!(key = %record.key, "a bundle's key is ignored"),
        }
    }

    async fn note_namespaces(&self, events: Vec<Event>) -> Result<(), Error> {
        for Event { key, record } in events {
            match record {
                Some(record) => self.note_namespace(&record),
                None => {
                    if let Ok(namespace) = after(NAMESPACES, key.as_str()).parse() {
                        self.forget_namespace(&namespace).await?;
                    }
                }
            }
        }
        Ok(())
    }

    fn note_namespace(&self, record: &Record) {
        match (namespace_of(record), decode_bundles(record)) {
            (Some(namespace), Ok(cut)) => self.shared.view.write().set_bundles_of(&namespace, Some(cut)),
            _ => tracing::error!(key = %record.key, "a namespace's record is ignored"),
        }
        self.shared.wake();
    }

    /// Its bundles go with it: a namespace of the same name may be cut in another way.
    async fn forget_namespace(&self, namespace: &NamespaceName) -> Result<(), Error> {
        let ours: Vec<Bundle> =
            self.shared.view.read().ours().into_iter().filter(|bundle| bundle.namespace == *namespace).collect();
        self.shared.view.write().set_bundles_of(namespace, None);
        self.shared.lost.send_modify(|count| *count += 1);
        for bundle in ours {
            let expect = self.shared.view.read().expect(&bundle);
            self.shared.view.write().drop_ours(&bundle);
            let delete = Operation::delete(keys::bundle(namespace, &bundle.range.to_string()), expect);
            match self.shared.metadata.commit(Transaction::new(vec![delete])).await {
                Ok(_) | Err(Error::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.shared.wake();
        Ok(())
    }

    fn probe(&mut self, broker: BrokerRecord) {
        let now = Instant::now();
        self.probed.retain(|_, last| now < *last + PROBE_PAUSE);
        if self.probed.contains_key(&broker.start) || broker.broker == self.shared.me.broker {
            return;
        }
        self.probed.insert(broker.start.clone(), now);
        let probe = self.shared.probe.clone();
        self.probes.spawn(async move {
            let presence = probe.both_ports(&broker).await;
            (broker, presence)
        });
    }

    fn note_probe(&self, probed: Option<(BrokerRecord, Presence)>) {
        let Some((broker, presence)) = probed else { return };
        let refuses = match presence {
            Presence::Start(start) => start != broker.start,
            Presence::Refused => true,
            Presence::Unclear => return,
        };
        if refuses {
            tracing::warn!(broker = broker.broker, "a broker refuses connections: its bundles may be taken");
        }
        self.shared.view.write().set_refusing(&broker.start, refuses, Instant::now());
        self.shared.wake();
    }
}

fn after(prefix: &str, key: &str) -> String {
    key.strip_prefix(prefix).unwrap_or(key).to_owned()
}

fn bundle_of(record: &Record) -> Option<Bundle> {
    after(keys::BUNDLES, record.key.as_str()).parse().ok()
}

fn namespace_of(record: &Record) -> Option<NamespaceName> {
    after(NAMESPACES, record.key.as_str()).parse().ok()
}
