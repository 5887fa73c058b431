//! What a path says: which topic, which subscription, and the numbers behind them.
use std::collections::HashMap;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use proto::TopicName;

use super::owner::is_forwarded;
use super::{Pages, Refusal};

/// Of a request about a topic.
#[derive(Debug)]
pub(super) struct About {
    pub(super) topic: TopicName,
    /// Whether another broker asks: then it is answered here, or not at all.
    pub(super) forwarded: bool,
    named: HashMap<String, String>,
}

impl FromRequestParts<Pages> for About {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &Pages) -> Result<Self, Refusal> {
        let named = Path::<HashMap<String, String>>::from_request_parts(parts, state).await;
        let Path(named) = named.map_err(|error| Refusal::new(error.status(), error.body_text()))?;
        let part = |name: &str| named.get(name).map_or("", String::as_str);
        let topic = state.topic(part("tenant"), part("namespace"), part("topic"))?;
        Ok(Self { topic, forwarded: is_forwarded(&parts.headers), named })
    }
}

impl About {
    /// A part of the path. Empty where it names none.
    pub(super) fn part(&self, name: &str) -> &str {
        self.named.get(name).map_or("", String::as_str)
    }

    /// The subscription's name. Empty where the path names none.
    pub(super) fn subscription(&self) -> String {
        self.named.get("subscription").cloned().unwrap_or_default()
    }

    /// A number in the path. Apache Pulsar's paths take numbers only: another is no page.
    pub(super) fn number<T: FromStr>(&self, name: &str) -> Result<T, Refusal> {
        let text = self.named.get(name).map_or("", String::as_str);
        text.parse().map_err(|_| Refusal::not_found(format!("`{text}` is no number that this page takes")))
    }
}
