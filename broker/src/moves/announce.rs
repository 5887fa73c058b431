//! What the owner of a bundle tells the next one before it lets go.
use metadata::LeaseId;
use proto::TopicName;
use proto::records::BrokerRecord;
use serde::{Deserialize, Serialize};

use super::{ANSWER_TIME, Moves};
use crate::ownership::Bundle;

/// More are opened when somebody asks for them.
const TOPICS_MAX: usize = 10_000;

/// What is coming.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Announced {
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
    /// The lease of `broker`, which waits for the bundle from now on; else why it does not.
    pub(super) async fn ask_to_expect(
        &self,
        broker: &BrokerRecord,
        bundle: &Bundle,
        topics: &[TopicName],
    ) -> Result<LeaseId, String> {
        let topics = topics.iter().take(TOPICS_MAX).map(ToString::to_string).collect();
        let url = format!("http://{}/admin/v2/geminga/bundles/{bundle}/expect", broker.http);
        let request = self.peers.put(url).json(&Announced { topics }).timeout(ANSWER_TIME);
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
