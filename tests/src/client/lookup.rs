//! Finding the broker that serves a topic.
use proto::frame::Frame;
use proto::pulsar::CommandLookupTopic;
use proto::pulsar::command_lookup_topic_response::LookupType;

use super::{ClientError, Connection};

/// As other clients have it.
const REDIRECTS_MAX: usize = 20;

/// The way to a broker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    address: String,
    proxied: Option<String>,
}

impl Route {
    /// Straight to the broker at `pulsar://host:port`.
    pub fn straight(url: &str) -> Result<Self, ClientError> {
        Ok(Self { address: authority(url)?.into(), proxied: None })
    }

    /// Connects and exchanges greetings.
    pub async fn connect(&self) -> Result<Connection, ClientError> {
        Connection::open(&self.address, self.proxied.as_deref()).await
    }
}

/// Connects to the owner of `topic`.
pub async fn connect_to_owner(addresses: &[String], topic: &str) -> Result<Connection, ClientError> {
    find_owner(addresses, topic).await?.connect().await
}

/// Asks the brokers at `addresses` (`host:port`), in turn until one answers, which of them serves `topic`.
pub async fn find_owner(addresses: &[String], topic: &str) -> Result<Route, ClientError> {
    let mut outcome = Err(ClientError::Protocol("no address to connect to".into()));
    for address in addresses {
        outcome = follow(address, topic).await;
        match &outcome {
            Err(error) if error.passes() => {}
            _ => break,
        }
    }
    outcome
}

async fn follow(address: &str, topic: &str) -> Result<Route, ClientError> {
    let (mut address, mut authoritative) = (address.to_owned(), false);
    for _ in 0..REDIRECTS_MAX {
        let mut connection = Connection::open(&address, None).await?;
        let request_id = connection.request_id();
        let ask = CommandLookupTopic {
            topic: topic.into(),
            request_id,
            authoritative: Some(authoritative),
            ..Default::default()
        };
        match step(&address, *connection.ask(ask, request_id).await?)? {
            Step::There(route) => return Ok(route),
            Step::Ask(next, decided) => (address, authoritative) = (next, decided),
        }
    }
    Err(ClientError::Protocol(format!("more than {REDIRECTS_MAX} redirects for {topic}")))
}

enum Step {
    There(Route),
    Ask(String, bool),
}

fn step(asked: &str, answer: Frame) -> Result<Step, ClientError> {
    let answer = answer.command.lookup_topic_response;
    let answer = answer.ok_or_else(|| ClientError::Protocol("a lookup was answered with another command".into()))?;
    let url = answer.broker_service_url.clone().unwrap_or_default();
    Ok(match answer.response() {
        LookupType::Failed => return Err(ClientError::refused(answer.error, answer.message)),
        LookupType::Redirect => Step::Ask(authority(&url)?.into(), answer.authoritative()),
        LookupType::Connect if answer.proxy_through_service_url() => {
            Step::There(Route { address: asked.into(), proxied: Some(authority(&url)?.into()) })
        }
        LookupType::Connect => Step::There(Route { address: authority(&url)?.into(), proxied: None }),
    })
}

fn authority(url: &str) -> Result<&str, ClientError> {
    url.strip_prefix("pulsar://").ok_or_else(|| ClientError::Protocol(format!("`{url}` is no broker url")))
}
