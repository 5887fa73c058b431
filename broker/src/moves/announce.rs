//! What the owner of a bundle tells the next one before it lets go.
use std::time::Duration;

use metadata::LeaseId;
use proto::TopicName;
use proto::records::BrokerRecord;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{ANSWER_TIME, MoveError, Moves};
use crate::ownership::Bundle;

/// For a whole move.
const MOVE_TIME: Duration = Duration::from_secs(30);
/// More are opened when somebody asks for them.
const TOPICS_MAX: usize = 10_000;

/// What is coming.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Announced {
    /// Of the bundle's key while it has not been handed over.
    pub(crate) version: u64,
    /// Topics that are loaded where the bundle is now.
    pub(crate) topics: Vec<String>,
}

/// The answer of a broker that is ready.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Expected {
    /// Under which the bundle's key is put.
    pub(crate) lease: i64,
    /// Which start of the broker answers.
    pub(crate) start: String,
}

impl Moves {
    /// What `broker` answers to a question below `/admin/v2/`.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        broker: &BrokerRecord,
        path: &str,
        within: Duration,
    ) -> Result<T, MoveError> {
        let silent =
            |error: reqwest::Error| MoveError::Silent { broker: broker.broker.clone(), reason: error.to_string() };
        let request = self.peers.get(format!("http://{}/admin/v2/{path}", broker.http)).timeout(within);
        let response = request.send().await.and_then(reqwest::Response::error_for_status).map_err(silent)?;
        response.json().await.map_err(silent)
    }

    /// Has the owner of a bundle hand it over to `to`.
    pub(super) async fn ask_to_release(
        &self,
        owner: &BrokerRecord,
        bundle: &Bundle,
        to: &BrokerRecord,
    ) -> Result<(), MoveError> {
        let silent =
            |error: reqwest::Error| MoveError::Silent { broker: owner.broker.clone(), reason: error.to_string() };
        let url = format!("http://{}/admin/v2/namespaces/{bundle}/unload", owner.http);
        let request = self.peers.put(url).query(&[("destinationBroker", &to.http)]).timeout(MOVE_TIME);
        request.send().await.and_then(reqwest::Response::error_for_status).map_err(silent).map(drop)
    }

    /// The lease of `broker`, which waits for the bundle from now on; else why it does not.
    pub(super) async fn ask_to_expect(
        &self,
        broker: &BrokerRecord,
        bundle: &Bundle,
        topics: &[TopicName],
    ) -> Result<LeaseId, String> {
        let topics = topics.iter().take(TOPICS_MAX).map(ToString::to_string).collect();
        let url = format!("http://{}/admin/v2/geminga/bundles/{bundle}/expect", broker.http);
        let request = self
            .peers
            .put(url)
            .json(&Announced { version: self.ownership.version_of(bundle).0, topics })
            .timeout(ANSWER_TIME);
        let response = request.send().await.map_err(|error| error.to_string())?;
        if !response.status().is_success() {
            return Err(format!("it answers {}", response.status()));
        }
        let expected: Expected = response.json().await.map_err(|error| error.to_string())?;
        if expected.start != broker.start {
            return Err("another start of it answers".into());
        }
        Ok(LeaseId(expected.lease))
    }
}
