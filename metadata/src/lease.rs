//! A lease as its holder and as its keeper see it.
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::store::LeaseId;

/// Longer than any network call that ends a lease should take.
const REVOKE_WAIT: Duration = Duration::from_secs(2);

/// A lease that is kept alive in the background until it is dropped, which lets it run out, or revoked, which ends it at once.
#[derive(Debug)]
pub struct Lease {
    id: LeaseId,
    lost: watch::Receiver<bool>,
    // Closed by dropping the lease, by which the keeper knows to stop.
    revoke: mpsc::Sender<oneshot::Sender<()>>,
}

/// The other end: what the task that keeps the lease alive listens to.
pub(crate) struct Keeper {
    /// Set to true once the lease has ended.
    pub(crate) lost: watch::Sender<bool>,
    /// Brings whom to answer after revoking; ends when the lease was dropped.
    pub(crate) revokes: mpsc::Receiver<oneshot::Sender<()>>,
}

/// Both ends.
pub(crate) fn lease(id: LeaseId) -> (Lease, Keeper) {
    let (lost_sender, lost) = watch::channel(false);
    let (revoke, revokes) = mpsc::channel(1);
    (Lease { id, lost, revoke }, Keeper { lost: lost_sender, revokes })
}

impl Lease {
    /// To put in [`Operation::Put`](crate::Operation::Put).
    #[must_use]
    pub fn id(&self) -> LeaseId {
        self.id
    }

    /// Returns once the lease has ended and its records are gone or going. Take a new one then. Cancel safe.
    pub async fn lost(&mut self) {
        // A keeper that is gone keeps nothing alive.
        let _ = self.lost.wait_for(|lost| *lost).await;
    }

    /// Ends the lease now, so that others need not wait for it to run out. Best effort: returns within two seconds.
    pub async fn revoke(self) {
        let (done, ended) = oneshot::channel();
        if self.revoke.send(done).await.is_ok() {
            let _ = tokio::time::timeout(REVOKE_WAIT, ended).await;
        }
    }
}

/// Keeps a lease of a store inside this process, which lives as long as its holder: waits until it is revoked, or until
/// `ttl` after it was dropped, then ends it.
pub(crate) async fn keep_in_process(mut keeper: Keeper, ttl: Duration, end: impl AsyncFnOnce()) {
    let revoked = keeper.revokes.recv().await;
    if revoked.is_none() {
        tokio::time::sleep(ttl).await;
    }
    end().await;
    keeper.lost.send_replace(true);
    if let Some(done) = revoked {
        // Who revoked may have stopped waiting.
        let _ = done.send(());
    }
}
