//! Where a topic is served, for clients whose service URL is HTTP.
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use proto::{Domain, TopicName};
use serde::Deserialize;
use serde_json::json;

use super::topics::namespace_name;
use super::{Answer, Pages, Refusal, body};
use crate::ownership::Owner;

type TopicPath = Path<(String, String, String, String)>;

fn topic(Path((domain, tenant, namespace, local)): TopicPath) -> Result<TopicName, Refusal> {
    let domain = match domain.as_str() {
        "persistent" => Domain::Persistent,
        "non-persistent" => Domain::NonPersistent,
        other => return Err(Refusal::not_found(format!("there is no domain `{other}`"))),
    };
    Ok(TopicName::new(domain, namespace_name(&tenant, &namespace)?, &local)?)
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Listener {
    listener_name: Option<String>,
}

/// Names the listener where there is no query.
const LISTENER_HEADER: &str = "x-pulsar-listenername";

pub(super) async fn owner(
    State(pages): State<Pages>,
    path: TopicPath,
    Query(query): Query<Listener>,
    headers: HeaderMap,
) -> Answer {
    let topic = topic(path)?;
    let context = &pages.context;
    let named = headers.get(LISTENER_HEADER).and_then(|name| name.to_str().ok()).map(str::to_owned);
    let listener = query.listener_name.or(named).filter(|name| !name.is_empty());
    let owner = context.ownership.lookup(&topic).await?;
    let record = match &owner {
        Owner::Here => context.ownership.me(),
        Owner::At(record) => record,
    };
    let listener = listener.map(|name| match record.listeners.get(&name) {
        Some(address) => Ok((address.clone(), record.http.clone())),
        None => {
            let reason = format!("the broker do not have {name} listener");
            Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, reason)) // As Apache Pulsar answers.
        }
    });
    let listener = listener.transpose()?;
    let (broker, http) = match owner {
        _ if listener.is_some() => listener.unwrap_or_default(),
        Owner::At(other) => (other.broker, other.http),
        Owner::Here => {
            let me = context.ownership.me();
            let asked = headers.get(header::HOST).and_then(|host| host.to_str().ok());
            let back = context.standalone && context.config.advertised_address.is_empty();
            match asked.filter(|_| back) {
                Some(host) => (with_port(host, &context.broker), host.to_owned()),
                None => (me.broker.clone(), me.http.clone()),
            }
        }
    };
    // Some clients read keys of TLS without asking whether they are there.
    let url = format!("pulsar://{broker}");
    Ok(body::json(json!({
        "brokerUrl": url, "brokerUrlTls": "", "brokerUrlSsl": "",
        "httpUrl": format!("http://{http}"), "httpUrlTls": "", "nativeUrl": url,
    })))
}

/// The host by which the client came, with the port of the binary protocol.
fn with_port(host: &str, broker: &str) -> String {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let port = broker.rsplit_once(':').map_or("6650", |(_, port)| port);
    format!("{name}:{port}")
}

pub(super) async fn bundle(State(pages): State<Pages>, path: TopicPath) -> Answer {
    let topic = topic(path)?;
    let bundles = pages.context.ownership.bundles_of(topic.namespace()).await?;
    Ok(bundles.of(&topic).to_string().into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_comes_back_the_way_it_came() {
        for (host, expected) in [
            ("localhost:18080", "localhost:6651"),
            ("localhost", "localhost:6651"),
            ("[::1]:8080", "[::1]:6651"),
            ("[::1]", "[::1]:6651"),
        ] {
            assert_eq!(with_port(host, "localhost:6651"), expected, "{host}");
        }
    }
}
