//! Accepting sockets, and the end of all connections.
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use daemon::Drain;
use futures::FutureExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::session::Session;
use crate::Context;
use crate::outbox::{NextOwner, PublishBudget};

/// Connections that have not introduced themselves. Strangers beyond it are turned away.
const STRANGERS_MAX: usize = 4096;
/// After an error of `accept`, which is almost always a lack of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// How long connections may take to write their last bytes.
const FAREWELL: Duration = Duration::from_secs(5);

/// What all connections share.
#[derive(Debug, Clone)]
pub(super) struct House {
    pub(super) context: Arc<Context>,
    pub(super) budget: Arc<PublishBudget>,
    pub(super) strangers: Arc<Semaphore>,
    /// Connections write what they hold and end.
    pub(super) closing: CancellationToken,
}

impl House {
    fn new(context: Arc<Context>) -> Self {
        let budget = usize::try_from(context.config.publish_bytes_max.0).unwrap_or(usize::MAX);
        Self {
            context,
            budget: Arc::new(PublishBudget::new(budget)),
            strangers: Arc::new(Semaphore::new(STRANGERS_MAX)),
            closing: CancellationToken::new(),
        }
    }
}

/// Serves clients until `drain` is requested. Then topics are closed, which answers what is in flight and sends everyone
/// away, and connections end.
pub(crate) async fn serve(listener: TcpListener, context: Arc<Context>, drain: Drain) {
    let house = House::new(context.clone());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(connection(stream, house.clone()))),
                Err(error) => {
                    tracing::warn!(%error, "no connection was accepted");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = drain.requested() => break,
        }
    }
    drop(listener);
    context.topics.unload_where(|_| true, &NextOwner::default()).await;
    house.closing.cancel();
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(FAREWELL, ended).await.is_err() {
        tracing::warn!(left = connections.len(), "connections did not end in time");
    }
}

/// One connection from its first byte to its last. A panic ends it alone, and its topics are told all the same.
async fn connection(stream: TcpStream, house: House) {
    let Ok(permit) = house.strangers.clone().try_acquire_owned() else {
        tracing::debug!("too many connections that have not introduced themselves");
        return;
    };
    let Ok(address) = stream.peer_addr() else { return };
    let _ = stream.set_nodelay(true); // Without it small answers wait for earlier ones. Not worth refusing anyone.
    let mut session = Session::new(house, address, permit);
    match AssertUnwindSafe(session.run(&stream)).catch_unwind().await {
        Ok(Ok(())) => tracing::debug!(%address, "connection ended"),
        Ok(Err(reason)) => tracing::debug!(%address, %reason, "connection closed"),
        Err(_) => tracing::error!(%address, "connection panicked"),
    }
    session.leave(stream).await;
}
