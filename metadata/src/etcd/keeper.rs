//! Keeps one lease alive, also over times in which etcd is away.
use std::time::Duration;

use etcd_client::LeaseClient;
use tokio::time::{sleep, timeout};

use super::{ATTEMPT, PAUSE_MAX};
use crate::lease::Keeper;

/// Between two tries to reach etcd.
const PAUSE: Duration = Duration::from_millis(100);

/// Ends when the lease is dropped, revoked, or gone. Only etcd's word ends a lease: when it was away, it grants the full time
/// again as it comes back.
pub(super) async fn keep(mut client: LeaseClient, mut keeper: Keeper, id: i64, ttl: Duration) {
    let revoked = tokio::select! {
        () = kept_until_gone(client.clone(), id, ttl) => {
            tracing::warn!(lease = id, "a lease has ended");
            keeper.lost.send_replace(true);
            return;
        }
        revoked = keeper.revokes.recv() => revoked,
    };
    if let Some(done) = revoked {
        // Best effort: otherwise it runs out.
        let _ = timeout(ATTEMPT, client.revoke(id)).await;
        keeper.lost.send_replace(true);
        // Who revoked may have stopped waiting.
        let _ = done.send(());
    }
}

/// Returns when etcd says that the lease is no more.
async fn kept_until_gone(mut client: LeaseClient, id: i64, ttl: Duration) {
    let mut pause = PAUSE;
    // A member that is stuck must leave time to ask another one.
    let wait = ATTEMPT.min(ttl / 2);
    loop {
        match timeout(wait, client.keep_alive(id)).await {
            Ok(Ok((mut sender, mut answers))) => {
                pause = PAUSE;
                loop {
                    sleep(ttl / 3).await;
                    if sender.keep_alive().await.is_err() {
                        break;
                    }
                    match timeout(wait, answers.message()).await {
                        Ok(Ok(Some(answer))) if 0 < answer.ttl() => {}
                        Ok(Ok(Some(_))) => return,
                        Ok(Ok(None) | Err(_)) | Err(_) => break,
                    }
                }
            }
            Ok(Err(_)) | Err(_) => {
                // The client has one error for a lost lease and for a lost line, so ask.
                if let Ok(Ok(answer)) = timeout(wait, client.time_to_live(id, None)).await
                    && answer.ttl() <= 0
                {
                    return;
                }
                sleep(pause).await;
                pause = (2 * pause).min(PAUSE_MAX);
            }
        }
    }
}
