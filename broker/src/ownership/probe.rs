//! Asking another broker whether it is still there.
use std::io::ErrorKind;
use std::time::Duration;

use proto::records::BrokerRecord;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

/// Names the start of the broker that answered, on every HTTP answer.
pub(crate) const START_HEADER: &str = "x-geminga-start";

/// As often as this, spread over [`REFUSAL_TIME`].
const REFUSALS: u32 = 3;
const REFUSAL_TIME: Duration = Duration::from_millis(500);
const ANSWER_TIME: Duration = Duration::from_millis(500);

/// What asking brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Presence {
    /// A broker answers there, and this is its start.
    Start(String),
    /// The machine is there and nobody listens: every attempt was refused.
    Refused,
    /// Anything else: no proof of anything.
    Unclear,
}

/// Asks over the network. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Probe(Source);

#[derive(Debug, Clone)]
enum Source {
    Network(reqwest::Client),
    #[cfg(test)]
    Told(std::sync::Arc<parking_lot::Mutex<std::collections::HashMap<String, Presence>>>),
}

impl Probe {
    /// Asks with `client`.
    pub(crate) fn network(client: reqwest::Client) -> Self {
        Self(Source::Network(client))
    }

    /// Answers what [`tell`](Self::tell) says; unclear before.
    #[cfg(test)]
    pub(crate) fn told() -> Self {
        Self(Source::Told(std::sync::Arc::default()))
    }

    /// What is found at the address `broker` from now on.
    #[cfg(test)]
    pub(crate) fn tell(&self, broker: &str, presence: Presence) {
        if let Source::Told(told) = &self.0 {
            told.lock().insert(broker.into(), presence);
        }
    }

    /// Who listens on the HTTP port of `broker`.
    pub(crate) async fn http(&self, broker: &BrokerRecord) -> Presence {
        self.ask(broker, &[&broker.http]).await
    }

    /// Who listens at `broker`; refused only when both of its ports are.
    pub(crate) async fn both_ports(&self, broker: &BrokerRecord) -> Presence {
        self.ask(broker, &[&broker.http, &broker.broker]).await
    }

    async fn ask(&self, broker: &BrokerRecord, ports: &[&str]) -> Presence {
        match &self.0 {
            Source::Network(client) => match start_at(client, &broker.http).await {
                Some(start) => Presence::Start(start),
                None if refused(ports).await => Presence::Refused,
                None => Presence::Unclear,
            },
            #[cfg(test)]
            Source::Told(told) => told.lock().get(&broker.broker).cloned().unwrap_or(Presence::Unclear),
        }
    }
}

async fn start_at(client: &reqwest::Client, http: &str) -> Option<String> {
    let answer = client.get(format!("http://{http}/healthz")).timeout(ANSWER_TIME).send().await.ok()?;
    Some(answer.headers().get(START_HEADER)?.to_str().ok()?.to_owned())
}

async fn refused(ports: &[&str]) -> bool {
    let begin = Instant::now();
    for attempt in 1..=REFUSALS {
        for port in ports {
            match timeout(ANSWER_TIME, TcpStream::connect(port)).await {
                Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {}
                _ => return false,
            }
        }
        if attempt < REFUSALS {
            sleep_until(begin + REFUSAL_TIME * attempt / REFUSALS).await;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn at(broker: String, http: String) -> BrokerRecord {
        BrokerRecord { broker, http, ..Default::default() }
    }

    #[tokio::test]
    async fn only_two_closed_ports_are_a_refusal() {
        let (first, second) =
            (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let address = |listener: &TcpListener| listener.local_addr().unwrap().to_string();
        let record = at(address(&first), address(&second));
        let probe = Probe::network(reqwest::Client::new());
        drop(second);
        assert_eq!(probe.both_ports(&record).await, Presence::Unclear);
        assert_eq!(probe.http(&record).await, Presence::Refused);
        drop(first);
        assert_eq!(probe.both_ports(&record).await, Presence::Refused);
    }
}
