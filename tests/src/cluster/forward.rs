//! A port forwarder: what stands between a client and a server in a container, on another port.
use std::net::SocketAddr;

use daemon::Failure;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Forwards every connection until it is dropped.
#[derive(Debug)]
pub struct Forwarder {
    address: SocketAddr,
    _stop: DropGuard,
}

impl Forwarder {
    /// Listens on a free port of loopback and forwards to `target` (`host:port`).
    pub async fn to(target: String) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(Failure::internal)?;
        let address = listener.local_addr().map_err(Failure::internal)?;
        let stop = CancellationToken::new();
        let work = forward(listener, target);
        let stopped = stop.clone();
        tokio::spawn(async move { stopped.run_until_cancelled(work).await });
        Ok(Self { address, _stop: stop.drop_guard() })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Ends its connections when it is dropped.
async fn forward(listener: TcpListener, target: String) {
    let mut connections = JoinSet::new();
    while let Ok((mut from, _)) = listener.accept().await {
        let target = target.clone();
        connections.spawn(async move {
            if let Ok(mut to) = TcpStream::connect(target).await {
                // Either side may end a connection at any time: that is what is being tested.
                let _ = copy_bidirectional(&mut from, &mut to).await;
            }
        });
    }
}
