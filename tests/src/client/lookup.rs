//! Finding the broker that serves a topic.
use proto::pulsar::CommandLookupTopic;
use proto::pulsar::command_lookup_topic_response::LookupType;

use super::{ClientError, Connection};

/// As other clients have it.
const REDIRECTS_MAX: usize = 20;

/// Asks the brokers at `addresses` (`host:port`), in turn until one answers, and connects to the owner of `topic`.
pub async fn connect_to_owner(addresses: &[String], topic: &str) -> Result<Connection, ClientError> {
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

async fn follow(address: &str, topic: &str) -> Result<Connection, ClientError> {
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
        let answer = connection.ask(ask, request_id).await?.lookup_topic_response;
        let answer =
            answer.ok_or_else(|| ClientError::Protocol("a lookup was answered with another command".into()))?;
        let url = answer.broker_service_url.clone().unwrap_or_default();
        match answer.response() {
            LookupType::Failed => return Err(ClientError::refused(answer.error, answer.message)),
            LookupType::Connect if answer.proxy_through_service_url() => {
                return Connection::open(&address, Some(authority(&url)?)).await;
            }
            LookupType::Connect if authority(&url)? == address => return Ok(connection),
            LookupType::Connect => return Connection::open(authority(&url)?, None).await,
            LookupType::Redirect => (address, authoritative) = (authority(&url)?.into(), answer.authoritative()),
        }
    }
    Err(ClientError::Protocol(format!("more than {REDIRECTS_MAX} redirects for {topic}")))
}

fn authority(url: &str) -> Result<&str, ClientError> {
    url.strip_prefix("pulsar://").ok_or_else(|| ClientError::Protocol(format!("`{url}` is no broker url")))
}
