//! Handing a bundle over: who has it next, letting it go, and being ready for it on the other side.
use std::time::Duration;

use metadata::{Error, Expect, LeaseId, Version};
use proto::records::BrokerRecord;
use tokio::time::Instant;

use super::{Bundle, Ownership, OwnershipError, RESERVATION_MS, Shared, owner_record};

/// How long a bundle that was announced is waited for: longer than its topics may take to end.
const COMING: Duration = Duration::from_secs(15);

/// Who has a bundle after this broker.
#[derive(Debug, Clone)]
pub(crate) enum Next {
    /// Whoever is elected when somebody asks for it.
    Anyone,
    /// This broker: it has only unloaded everything.
    Here,
    /// Another one: at once when the lease is known under which it keeps its keys, else nobody else may take it for ten seconds.
    Broker { broker: BrokerRecord, lease: Option<LeaseId> },
}

impl Next {
    /// Which broker, when it is another and known.
    pub(crate) fn broker(&self) -> Option<&BrokerRecord> {
        match self {
            Self::Anyone | Self::Here => None,
            Self::Broker { broker, .. } => Some(broker),
        }
    }
}

/// Puts a bundle back among those that are served when its release did not end.
struct Releasing<'a> {
    shared: &'a Shared,
    bundle: &'a Bundle,
}

impl Drop for Releasing<'_> {
    fn drop(&mut self) {
        self.shared.view.write().cancel_release(self.bundle);
    }
}

impl Ownership {
    /// Who has a bundle next when this broker gives it up, as long as nobody is named. This broker too, if it still serves.
    pub(crate) fn successor(&self, bundle: &Bundle) -> Option<BrokerRecord> {
        self.shared.view.read().successor(bundle, "", Instant::now()).cloned()
    }

    /// Prepares for a bundle that its owner is about to hand over: until that has happened, or for fifteen seconds, whoever asks for
    /// it here waits. `at` is the version of its key now. Gives the lease to put its key under; `None` when this broker takes no bundles now.
    pub(crate) async fn expect(&self, bundle: &Bundle, at: Version) -> Result<Option<LeaseId>, OwnershipError> {
        self.bundles_of(&bundle.namespace).await?; // What is not known to exist would not be believed to be ours.
        let lease = *self.shared.lease.read();
        let mut view = self.shared.view.write();
        let lease = lease.filter(|_| view.serving());
        if lease.is_some() {
            view.set_coming(bundle, at, Instant::now() + COMING);
        }
        Ok(lease)
    }

    /// The version of a bundle's key, as this broker knows it.
    pub(crate) fn version_of(&self, bundle: &Bundle) -> Version {
        match self.shared.view.read().expect(bundle) {
            Expect::Version(version) => version,
            Expect::Absent | Expect::Any => Version(0),
        }
    }

    /// Waits until this broker has a bundle that it [expects](Self::expect). False when that does not happen in time.
    pub(crate) async fn arrival(&self, bundle: &Bundle) -> bool {
        let mut changed = self.shared.changed.subscribe();
        let arrives = async {
            while !self.shared.view.read().ours().contains(bundle) {
                if changed.changed().await.is_err() {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(COMING, arrives).await.unwrap_or(false)
    }

    /// Gives a bundle up: lets nobody in, waits for `unload`, and then leaves it to `next`. Without effect on a bundle that is not here.
    /// When dropped half way, the bundle stays here.
    pub(crate) async fn release(
        &self,
        bundle: &Bundle,
        next: &Next,
        unload: impl Future<Output = ()>,
    ) -> Result<(), OwnershipError> {
        if !self.shared.view.write().begin_release(bundle) {
            return Ok(());
        }
        let stays = Releasing { shared: &self.shared, bundle };
        unload.await;
        if !matches!(next, Next::Here) {
            self.shared.give_up(bundle, next).await?;
        }
        drop(stays); // Without effect once the key says otherwise.
        self.shared.wake();
        Ok(())
    }

    /// Reserves a bundle that nobody has for the broker `to`.
    pub(crate) async fn reserve(&self, bundle: &Bundle, to: &BrokerRecord) -> Result<(), OwnershipError> {
        let expect = self.shared.view.read().expect(bundle);
        Ok(self.shared.write(bundle, self.shared.free(Some(to), RESERVATION_MS), expect).await?)
    }
}

impl Shared {
    /// Leaves a bundle of ours to `next`. Its key may have been rewritten meanwhile, under a new lease.
    async fn give_up(&self, bundle: &Bundle, next: &Next) -> Result<(), Error> {
        let mut ready = match next {
            Next::Broker { broker, lease: Some(lease) } => Some((owner_record(broker), *lease)),
            Next::Broker { lease: None, .. } | Next::Anyone | Next::Here => None,
        };
        while self.view.read().ours().contains(bundle) {
            let expect = self.view.read().expect(bundle);
            match &ready {
                Some((owner, lease)) => match self.write_under(bundle, owner.clone(), expect, *lease).await {
                    Err(Error::Refused { reason }) => {
                        tracing::warn!(%bundle, reason, "the next owner's lease has gone: the bundle is reserved for it");
                        ready = None;
                    }
                    written => written?,
                },
                None => {
                    let to = next.broker();
                    self.write(bundle, self.free(to, if to.is_some() { RESERVATION_MS } else { 0 }), expect).await?;
                }
            }
        }
        Ok(())
    }
}
