//! What is done for all topics of a namespace, or of one of its bundles.
use std::collections::HashMap;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use proto::TopicName;
use serde_json::Value;

use super::body::done;
use super::owner::{Ask, is_forwarded};
use super::topics::{namespace_name, of_namespace};
use super::{Answer, Pages, Refusal};

impl Pages {
    /// Stored topics of a namespace; of one bundle, if it is named.
    async fn topics_in(&self, path: &HashMap<String, String>) -> Result<Vec<TopicName>, Refusal> {
        let part = |name: &str| named(path, name).unwrap_or_default();
        let (namespace, bundle) = (namespace_name(part("tenant"), part("namespace"))?, named(path, "bundle"));
        let names = self.context.namespaces.topics(&namespace).await.map_err(of_namespace)?;
        let bundles = self.context.ownership.bundles_of(&namespace).await?;
        let topics = names.iter().filter_map(|name| name.parse::<TopicName>().ok());
        Ok(topics.filter(|topic| bundle.is_none_or(|bundle| bundles.of(topic).to_string() == bundle)).collect())
    }

    /// Does it for the subscription of each topic that has it, or for all of them.
    async fn for_subscriptions(
        &self,
        topics: Vec<TopicName>,
        wanted: Option<&str>,
        ask: impl Fn(String) -> Ask,
        headers: &HeaderMap,
    ) -> Answer {
        let forwarded = is_forwarded(headers);
        for topic in topics {
            let missing = |refusal: &Refusal| refusal.status == StatusCode::NOT_FOUND; // Deleted meanwhile.
            let names = match self.ask(&topic, &Ask::Subscriptions, forwarded).await {
                Err(refusal) if missing(&refusal) => continue,
                names => names?,
            };
            let names = names.as_array().into_iter().flatten().filter_map(Value::as_str);
            for name in names.filter(|name| wanted.is_none_or(|wanted| wanted == *name)) {
                match self.ask(&topic, &ask(name.into()), forwarded).await {
                    Err(refusal) if missing(&refusal) => {}
                    asked => drop(asked?),
                }
            }
        }
        Ok(done())
    }
}

/// What the path names besides the namespace, as far as it does.
fn named<'a>(path: &'a HashMap<String, String>, name: &str) -> Option<&'a str> {
    path.get(name).map(String::as_str)
}

pub(super) async fn clear(
    State(pages): State<Pages>,
    Path(path): Path<HashMap<String, String>>,
    headers: HeaderMap,
) -> Answer {
    let topics = pages.topics_in(&path).await?;
    pages.for_subscriptions(topics, named(&path, "subscription"), |name| Ask::SkipAll { name }, &headers).await
}

pub(super) async fn unsubscribe(
    State(pages): State<Pages>,
    Path(path): Path<HashMap<String, String>>,
    headers: HeaderMap,
) -> Answer {
    let topics = pages.topics_in(&path).await?;
    let ask = |name| Ask::Unsubscribe { name, force: false };
    pages.for_subscriptions(topics, named(&path, "subscription"), ask, &headers).await
}
