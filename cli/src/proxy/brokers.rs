//! The brokers behind a proxy: names that resolve to them, asked anew for each connection, because they come and go.
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use daemon::HostPort;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// Inside one network an address that does not answer sooner will not answer.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
const RESOLVE_WITHIN: Duration = Duration::from_secs(5);

/// Why a connection goes nowhere, for the client.
#[derive(Debug, thiserror::Error)]
pub(super) enum Nowhere {
    /// Try again.
    #[error("no broker answers behind this proxy")]
    NobodyAnswers,
    /// Look the topic up again: that broker is gone, or never was.
    #[error("`{0}` is none of the brokers behind this proxy")]
    NoBroker(String),
    /// Look the topic up again.
    #[error("the broker `{0}` does not answer")]
    Silent(String),
}

/// Where connections may go.
#[derive(Debug)]
pub(super) struct Brokers {
    names: Vec<HostPort>,
    turn: AtomicUsize,
}

impl Brokers {
    pub(super) fn new(names: Vec<HostPort>) -> Self {
        Self { names, turn: AtomicUsize::new(0) }
    }

    /// All brokers, each time beginning with another.
    pub(super) async fn all(&self) -> Vec<SocketAddr> {
        let mut found = Vec::new();
        for name in &self.names {
            found.extend(resolve(name).await);
        }
        found.sort_unstable();
        found.dedup();
        if !found.is_empty() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % found.len();
            found.rotate_left(turn);
        }
        found
    }

    /// A connection to the first that takes one.
    pub(super) async fn any(&self) -> Result<TcpStream, Nowhere> {
        for address in self.all().await {
            if let Some(stream) = connect(address).await {
                return Ok(stream);
            }
        }
        Err(Nowhere::NobodyAnswers)
    }

    /// A connection to the one that advertises itself as `url`.
    pub(super) async fn named(&self, url: &str) -> Result<TcpStream, Nowhere> {
        let text = url.strip_prefix("pulsar://").unwrap_or(url).trim_end_matches('/');
        let name: HostPort = text.parse().map_err(|_| Nowhere::NoBroker(url.into()))?;
        let (mut addresses, allowed) = (resolve(&name).await, self.all().await);
        addresses.retain(|address| allowed.contains(address));
        if addresses.is_empty() {
            return Err(Nowhere::NoBroker(text.into()));
        }
        for address in addresses {
            if let Some(stream) = connect(address).await {
                return Ok(stream);
            }
        }
        Err(Nowhere::Silent(text.into()))
    }
}

async fn resolve(name: &HostPort) -> Vec<SocketAddr> {
    match timeout(RESOLVE_WITHIN, lookup_host((name.host.as_str(), name.port))).await {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(error)) => {
            tracing::debug!(%name, %error, "a name does not resolve");
            Vec::new()
        }
        Err(_elapsed) => Vec::new(),
    }
}

pub(super) async fn connect(address: SocketAddr) -> Option<TcpStream> {
    let stream = timeout(CONNECT_WITHIN, TcpStream::connect(address)).await.ok()?.ok()?;
    let _ = stream.set_nodelay(true); // Only latency is lost without.
    Some(stream)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn at(address: SocketAddr) -> HostPort {
        HostPort { host: address.ip().to_string(), port: address.port() }
    }

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn brokers_take_turns_and_a_dead_one_is_passed_over() {
        let ((first, one), (second, other)) = (listener().await, listener().await);
        let brokers = Brokers::new(vec![at(one), at(other)]);
        let mut seen =
            [brokers.any().await.unwrap().peer_addr().unwrap(), brokers.any().await.unwrap().peer_addr().unwrap()];
        seen.sort_unstable();
        let mut both = [one, other];
        both.sort_unstable();
        assert_eq!(seen, both);
        drop(first);
        for _ in 0..2 {
            assert_eq!(brokers.any().await.unwrap().peer_addr().unwrap(), other);
        }
        drop(second);
        assert!(matches!(brokers.any().await, Err(Nowhere::NobodyAnswers)));
    }

    #[tokio::test]
    async fn only_brokers_can_be_named() {
        let ((_first, one), (_second, stranger)) = (listener().await, listener().await);
        let brokers = Brokers::new(vec![at(one)]);
        let found = brokers.named(&format!("pulsar://localhost:{}/", one.port())).await.unwrap();
        assert_eq!(found.peer_addr().unwrap(), one);
        for url in [format!("pulsar://{stranger}"), "pulsar://no.such.host.invalid:1".into(), "pulsar://".into()] {
            assert!(matches!(brokers.named(&url).await, Err(Nowhere::NoBroker(_))), "{url}");
        }
    }
}
