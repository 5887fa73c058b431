//! A proxy for any TCP connection that does what networks do: it delays, slows down, stands still, breaks off and refuses.
//!
//! Promises: bytes keep their order, and none is changed; a seed gives each connection the same draws every time; what
//! [`Proxy::set`] says holds for connections that are open as well.
mod carry; // One connection.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use daemon::Failure;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use carry::carry;

/// What happens to the bytes of one direction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Flow {
    /// Bytes arrive this much later. Drawn anew for what each read brings.
    pub latency: Option<RangeInclusive<Duration>>,
    /// No more than this passes.
    pub bytes_per_second: Option<u64>,
    /// Nothing passes, and nobody is told.
    pub stalled: bool,
}

/// What happens to connections. The default is nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Faults {
    /// From the client to the server.
    pub to_server: Flow,
    /// From the server to the client.
    pub to_client: Flow,
    /// A connection is reset once so many more bytes have passed, both directions together. Drawn for each connection.
    pub cut_after: Option<RangeInclusive<u64>>,
    /// New connections are refused. Those that are there stay.
    pub refused: bool,
}

impl Faults {
    /// The same both ways.
    #[must_use]
    pub fn both_ways(flow: &Flow) -> Self {
        Self { to_server: flow.clone(), to_client: flow.clone(), ..Self::default() }
    }
}

/// What has passed so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Passed {
    /// Connections that were accepted.
    pub connections: u64,
    /// Bytes.
    pub to_server: u64,
    /// Bytes.
    pub to_client: u64,
}

/// What connections look at.
#[derive(Debug, Clone, Default)]
struct Weather {
    faults: Faults,
    /// Raised to reset all connections.
    cuts: u64,
    /// Raised with every change of the faults, so that each connection draws anew.
    changes: u64,
}

#[derive(Debug, Default)]
struct Counters {
    connections: AtomicU64,
    to_server: AtomicU64,
    to_client: AtomicU64,
}

/// Listens on a free port of loopback until it is dropped, which ends all its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    /// The last change that the listening port has followed.
    followed: watch::Receiver<u64>,
    counters: Arc<Counters>,
    _stop: DropGuard,
}

impl Proxy {
    /// In front of `target` (`host:port`), without any fault yet. `seed` repeats its draws.
    pub async fn to(target: String, seed: u64) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(Failure::internal)?;
        let address = listener.local_addr().map_err(Failure::internal)?;
        let (weather, seen) = watch::channel(Weather::default());
        let (follows, followed) = watch::channel(0);
        let counters = Arc::new(Counters::default());
        let stop = CancellationToken::new();
        let shared = Shared { target, seed, weather: seen, counters: counters.clone() };
        let stopped = stop.clone();
        tokio::spawn(async move { stopped.run_until_cancelled(listen(listener, address, shared, follows)).await });
        Ok(Self { address, weather, followed, counters, _stop: stop.drop_guard() })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Holds once this returns, for connections to come and for those that are open; what is just being written still passes.
    pub async fn set(&self, faults: Faults) {
        let mut change = 0;
        self.weather.send_modify(|weather| {
            weather.faults = faults;
            weather.changes += 1;
            change = weather.changes;
        });
        let followed = self.followed.clone().wait_for(|followed| change <= *followed).await.is_ok();
        assert!(followed, "the proxy listens until it is dropped");
    }

    /// Resets every connection there is.
    pub fn cut(&self) {
        self.weather.send_modify(|weather| weather.cuts += 1);
    }

    /// What has passed so far.
    #[must_use]
    pub fn passed(&self) -> Passed {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { connections, to_server, to_client } = &*self.counters;
        Passed { connections: read(connections), to_server: read(to_server), to_client: read(to_client) }
    }
}

/// What every connection is given.
#[derive(Debug, Clone)]
struct Shared {
    target: String,
    seed: u64,
    weather: watch::Receiver<Weather>,
    counters: Arc<Counters>,
}

/// A port that refuses is kept, but nobody listens at it.
enum Port {
    Open(TcpListener),
    Refuses(TcpSocket),
}

impl Port {
    fn refusing(self, refused: bool, address: SocketAddr) -> std::io::Result<Self> {
        match self {
            Self::Open(listener) if refused => {
                drop(listener);
                let socket = TcpSocket::new_v4()?;
                socket.set_reuseaddr(true)?; // Connections that are there keep the port in use.
                socket.bind(address)?;
                Ok(Self::Refuses(socket))
            }
            Self::Refuses(socket) if !refused => Ok(Self::Open(socket.listen(1024)?)),
            unchanged => Ok(unchanged),
        }
    }

    async fn accept(&self) -> std::io::Result<TcpStream> {
        match self {
            Self::Open(listener) => listener.accept().await.map(|(stream, _)| stream),
            Self::Refuses(_) => std::future::pending().await,
        }
    }
}

/// Ends its connections when it is dropped.
async fn listen(listener: TcpListener, address: SocketAddr, mut shared: Shared, follows: watch::Sender<u64>) {
    let mut port = Port::Open(listener);
    let mut connections = JoinSet::new();
    loop {
        let (refused, change) = {
            let weather = shared.weather.borrow_and_update();
            (weather.faults.refused, weather.changes)
        };
        port = port.refusing(refused, address).expect("the port was ours all the time");
        follows.send_replace(change);
        tokio::select! {
            biased; // A connection that comes after a change meets the change.
            changed = shared.weather.changed() => if changed.is_err() { return },
            Some(_) = connections.join_next() => {}
            accepted = port.accept() => if let Ok(client) = accepted {
                let number = shared.counters.connections.fetch_add(1, Ordering::Relaxed);
                connections.spawn(carry(client, number, shared.clone()));
            },
        }
    }
}
