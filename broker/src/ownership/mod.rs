//! Which broker serves which topics.
//!
//! Owns: the leased keys of this broker and of the bundles it serves, and a view of everyone else's.
//! Promises: a topic it says is here was taken by compare-and-set; a lost lease alone never gives one up.
//! Never: relied upon for safety. Two owners at once are harmless, because loading a topic fences the other.
mod bundles; // What is owned.
mod handover; // How it changes hands.
mod keeper; // Who keeps it.
mod probe;
mod registration;
mod split;
mod view; // What follows from what is known.

#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use metadata::{Error, Expect, Key, LeaseId, MetadataStore, Operation, Transaction};
use parking_lot::RwLock;
use prost::Message;
use proto::records::{BrokerRecord, BundleOwner, NamespaceRecord};
use proto::{NamespaceName, TopicName, keys};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

pub(crate) use bundles::{BUNDLES_DEFAULT, BUNDLES_MAX, Bundle, BundleRange, BundleRangeError, Bundles, hash};
pub(crate) use handover::Next;
pub(crate) use keeper::Keeping;
pub(crate) use probe::{Probe, START_HEADER};
pub(crate) use split::SplitError;

use crate::Clock;
use view::{Decision, View};

/// How long a lookup waits for a bundle that moves. Clients give up after 30 s.
const LOOKUP_TIME: Duration = Duration::from_secs(15);
/// What depends on time alone is looked at again so often while someone waits.
const TICK: Duration = Duration::from_millis(100);
/// For the broker that a hash has chosen to take a free bundle.
const NOMINATION_MS: u64 = 2_000;
/// For the broker that a person has chosen to take a bundle.
pub(crate) const RESERVATION_MS: u64 = 10_000;
/// Of all leased keys of a broker.
const LEASE: Duration = Duration::from_secs(2);
/// Brokers waiting to be probed.
const SUSPECTS_MAX: usize = 64;

/// Where a topic is served.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Owner {
    /// By this broker.
    Here,
    /// By another, which has taken it already.
    At(BrokerRecord),
}

/// Why it is not known where a topic is served.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum OwnershipError {
    /// Create it first.
    #[error("Namespace not found")]
    NamespaceNotFound,
    /// Nobody took the bundle while the asker waited. Ask again.
    #[error("Namespace bundle {bundle} is being unloaded")]
    Moving {
        /// `tenant/namespace/range`.
        bundle: String,
    },
    /// A bundle cannot go to a broker that is not there.
    #[error("Not allowed unload namespace bundle to inactive destination broker")]
    DestinationNotFound,
    /// Ask again.
    #[error("metadata: {0}")]
    Metadata(#[from] Error),
}

/// Asks for and changes ownership. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Ownership {
    shared: Arc<Shared>,
}

/// What lookups and the keeper have in common.
pub(crate) struct Shared {
    me: BrokerRecord,
    metadata: Arc<dyn MetadataStore>,
    clock: Clock,
    probe: Probe,
    // A lock and no task: whether a topic is owned is asked without waiting, and every change is one step on a map.
    view: RwLock<View>,
    lease: RwLock<Option<LeaseId>>, // None while there is none: the keeper is getting a new one.
    changed: watch::Sender<u64>,
    lost: watch::Sender<u64>,
    suspects: mpsc::Sender<BrokerRecord>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("me", &self.me).finish_non_exhaustive()
    }
}

impl Ownership {
    /// Registers this broker as `me`, which listens already, and keeps its keys until the returned [`Keeping`] is stopped.
    /// A failure that says wrong usage means that another live process has this identity.
    pub(crate) async fn start(
        me: BrokerRecord,
        metadata: Arc<dyn MetadataStore>,
        clock: Clock,
        probe: Probe,
    ) -> Result<(Self, Keeping), daemon::Failure> {
        let (suspects, suspected) = mpsc::channel(SUSPECTS_MAX);
        let shared = Arc::new(Shared {
            view: RwLock::new(View::new(me.clone())),
            me,
            metadata,
            clock,
            probe,
            lease: RwLock::new(None),
            changed: watch::Sender::new(0),
            lost: watch::Sender::new(0),
            suspects,
        });
        let keeping = Keeping::start(Arc::clone(&shared), suspected).await?;
        Ok((Self { shared }, keeping))
    }

    /// Where `topic` is served. Takes its bundle when that is free and this broker is the one to take it; waits up to
    /// 15 s while it moves.
    pub(crate) async fn lookup(&self, topic: &TopicName) -> Result<Owner, OwnershipError> {
        self.settled(Wanted::Topic(topic)).await
    }

    /// The same for a bundle.
    pub(crate) async fn lookup_bundle(&self, bundle: &Bundle) -> Result<Owner, OwnershipError> {
        self.settled(Wanted::Bundle(bundle)).await
    }

    async fn settled(&self, wanted: Wanted<'_>) -> Result<Owner, OwnershipError> {
        let deadline = Instant::now() + LOOKUP_TIME;
        let mut changed = self.shared.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let bundle = match wanted {
                Wanted::Topic(topic) => self.bundle_of(topic).await,
                Wanted::Bundle(bundle) => Ok(bundle.clone()),
            };
            let outcome = match bundle {
                Ok(bundle) => self.settle(&bundle).await,
                Err(error) => Err(error),
            };
            let failure = match outcome {
                Ok(owner) => return Ok(owner),
                Err(OwnershipError::NamespaceNotFound) => return Err(OwnershipError::NamespaceNotFound),
                Err(failure) => failure,
            };
            if deadline <= Instant::now() {
                return Err(failure);
            }
            tokio::select! {
                _ = changed.changed() => {}
                () = sleep_until(deadline.min(Instant::now() + TICK)) => {}
            }
        }
    }

    /// Whether this broker serves `topic` now. Cheap, asks nobody.
    pub(crate) fn owns(&self, topic: &TopicName) -> bool {
        self.shared.view.read().owns(topic)
    }

    /// All live brokers, this one too, in the order of their names.
    pub(crate) fn brokers(&self) -> Vec<BrokerRecord> {
        self.shared.view.read().brokers()
    }

    /// This broker.
    pub(crate) fn me(&self) -> &BrokerRecord {
        &self.shared.me
    }

    /// Changes each time a bundle was lost to another broker: topics that are not owned any more must be unloaded then.
    pub(crate) fn losses(&self) -> watch::Receiver<u64> {
        self.shared.lost.subscribe()
    }

    /// Bundles that this broker serves.
    pub(crate) fn bundles(&self) -> Vec<Bundle> {
        self.shared.view.read().ours()
    }

    /// Bundles that a broker serves, as far as this one knows, in order.
    pub(crate) fn bundles_at(&self, broker: &BrokerRecord) -> Vec<Bundle> {
        self.shared.view.read().bundles_at(broker)
    }

    /// Which broker has a bundle, when one has. Asks nobody.
    pub(crate) fn owner_of(&self, bundle: &Bundle) -> Option<Owner> {
        let view = self.shared.view.read();
        let owner = view.owner(bundle)?;
        if owner.start == self.shared.me.start {
            return Some(Owner::Here);
        }
        view.broker(&owner.broker).cloned().map(Owner::At)
    }

    /// From now on nobody sends anyone here, and no bundle is taken.
    pub(crate) async fn withdraw(&self) {
        self.shared.view.write().set_serving(false);
        if let Err(error) = registration::withdraw(&self.shared).await {
            tracing::warn!(%error, "cannot withdraw from the list of brokers; the lease will");
        }
    }

    async fn bundle_of(&self, topic: &TopicName) -> Result<Bundle, OwnershipError> {
        let bundles = self.bundles_of(topic.namespace()).await?;
        Ok(Bundle { namespace: topic.namespace().clone(), range: bundles.of(topic) })
    }

    /// How a namespace is cut.
    pub(crate) async fn bundles_of(&self, namespace: &NamespaceName) -> Result<Arc<Bundles>, OwnershipError> {
        if let Some(bundles) = self.shared.view.read().bundles_of(namespace) {
            return Ok(bundles);
        }
        let record = self.shared.metadata.get(&Key::from(keys::namespace(namespace))).await?;
        let record = record.ok_or(OwnershipError::NamespaceNotFound)?;
        let (bundles, version) = decode_bundles(&record)?;
        self.shared.view.write().set_bundles_of(namespace, Some((bundles.clone(), version)));
        Ok(Arc::new(bundles))
    }

    /// One attempt: decides, and takes or nominates if that is decided. [`OwnershipError::Moving`] means to wait for a change.
    async fn settle(&self, bundle: &Bundle) -> Result<Owner, OwnershipError> {
        let shared = &self.shared;
        for _ in 0..3 {
            let decision = shared.view.read().decide(bundle, Instant::now(), shared.clock.now_ms());
            match decision {
                Decision::Here => return Ok(Owner::Here),
                Decision::At(broker) => {
                    shared.suspect(broker.clone());
                    return Ok(Owner::At(broker));
                }
                Decision::Take(expect) => shared.take(bundle, expect).await?,
                Decision::Nominate(broker, expect) => {
                    let broker = BrokerRecord { broker, ..Default::default() };
                    shared.write(bundle, shared.free(Some(&broker), NOMINATION_MS), expect).await?;
                }
                Decision::Wait => break,
            }
        }
        let suspect = shared.view.read().suspect(bundle);
        if let Some(broker) = suspect {
            shared.suspect(broker);
        }
        Err(OwnershipError::Moving { bundle: bundle.to_string() })
    }
}

/// What a lookup is for.
#[derive(Debug, Clone, Copy)]
enum Wanted<'a> {
    /// Whichever bundle it lies in, which may change while it is waited for.
    Topic(&'a TopicName),
    Bundle(&'a Bundle),
}

impl Shared {
    /// A key that says who may take a bundle that nobody has.
    fn free(&self, to: Option<&BrokerRecord>, for_ms: u64) -> BundleOwner {
        BundleOwner {
            reserved_for: to.map(|broker| broker.broker.clone()).unwrap_or_default(),
            reserved_until: self.clock.now_ms() + for_ms,
            ..Default::default()
        }
    }

    async fn take(&self, bundle: &Bundle, expect: Expect) -> Result<(), Error> {
        self.write(bundle, owner_record(&self.me), expect).await
    }

    /// Writes a bundle's key and notes what became of it: `Ok` also when someone else was first.
    async fn write(&self, bundle: &Bundle, owner: BundleOwner, expect: Expect) -> Result<(), Error> {
        let Some(lease) = *self.lease.read() else {
            return Err(Error::Unavailable { reason: "this broker has no lease at the moment".into() });
        };
        self.write_under(bundle, owner, expect, lease).await
    }

    async fn write_under(
        &self,
        bundle: &Bundle,
        owner: BundleOwner,
        expect: Expect,
        lease: LeaseId,
    ) -> Result<(), Error> {
        let key = keys::bundle(&bundle.namespace, &bundle.range.to_string());
        let put = Operation::put_leased(key, owner.encode_to_vec(), expect, lease);
        match self.metadata.commit(Transaction::new(vec![put])).await {
            Ok(version) => {
                self.note(bundle, Some((owner, version)));
                Ok(())
            }
            Err(Error::Conflict { .. } | Error::OutcomeUnknown) => self.refresh(bundle).await,
            Err(error) => Err(error),
        }
    }

    async fn refresh(&self, bundle: &Bundle) -> Result<(), Error> {
        let key = keys::bundle(&bundle.namespace, &bundle.range.to_string());
        let record = self.metadata.get(&Key::from(key)).await?;
        self.note(bundle, record.as_ref().map(decode_owner).transpose()?);
        Ok(())
    }

    async fn refresh_cut(&self, namespace: &NamespaceName) -> Result<(), Error> {
        let record = self.metadata.get(&Key::from(keys::namespace(namespace))).await?;
        if let Some(record) = record {
            self.view.write().set_bundles_of(namespace, Some(decode_bundles(&record)?));
        }
        Ok(())
    }

    fn note(&self, bundle: &Bundle, key: Option<(BundleOwner, metadata::Version)>) {
        let lost = self.view.write().apply(bundle, key, Instant::now());
        if lost {
            self.lost.send_modify(|count| *count += 1);
        }
        self.wake();
    }

    fn wake(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    fn suspect(&self, broker: BrokerRecord) {
        let _ = self.suspects.try_send(broker); // Full: others are being probed, and who asks will ask again.
    }
}

fn owner_record(broker: &BrokerRecord) -> BundleOwner {
    let BrokerRecord { broker, http, start, .. } = broker.clone();
    BundleOwner { broker, http, start, ..Default::default() }
}

fn decode_owner(record: &metadata::Record) -> Result<(BundleOwner, metadata::Version), Error> {
    let owner = BundleOwner::decode(record.value.clone()).map_err(|_| Error::Corrupt { key: record.key.clone() })?;
    Ok((owner, record.version))
}

fn decode_bundles(record: &metadata::Record) -> Result<(Bundles, metadata::Version), Error> {
    let corrupt = || Error::Corrupt { key: record.key.clone() };
    let namespace = NamespaceRecord::decode(record.value.clone()).map_err(|_| corrupt())?;
    let bundles = Bundles::with_boundaries(&namespace.boundaries).ok_or_else(corrupt)?;
    Ok((bundles, record.version))
}

async fn for_each_concurrently(work: impl Iterator<Item = impl Future<Output = ()>>) {
    use futures::StreamExt;
    const AT_ONCE: usize = 16;
    futures::stream::iter(work).for_each_concurrent(AT_ONCE, |one| one).await;
}
