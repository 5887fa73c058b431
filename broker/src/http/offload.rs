//! Ledgers in objects: moving those of a topic, as Apache Pulsar's tools ask for it, and our own pages over the whole cluster.
use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use proto::Position;
use proto::records::BrokerRecord;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::body::{self, done};
use super::owner::{Ask, FORWARDED, is_forwarded};
use super::topics::{TopicPath, persistent};
use super::{Answer, Pages, Refusal};
use crate::offload::{Location, Usage, monthly_cost};
use crate::survey::{
    CostPage, LocalStatus, LocalUsage, PricesAsked, ScrubWanted, StoreUsage, Survey, SurveyError, UploadShown,
};
use crate::topic::{OffloadProgress, TopicHandle};

/// A broker that does not answer by then is left out, and said to be.
const PEER_TIME: Duration = Duration::from_secs(5);

/// Moves what lies before a message, and answers at once.
pub(super) async fn begin(
    State(pages): State<Pages>,
    Path((tenant, namespace, local)): TopicPath,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let missing = || Refusal::new(StatusCode::BAD_REQUEST, "messageId is null");
    let before = body::message_id(&body)?.ok_or_else(missing)?;
    let topic = persistent(&tenant, &namespace, &local)?;
    pages.ask(&topic, &Ask::Offload { before }, is_forwarded(&headers)).await?;
    Ok(done())
}

pub(super) async fn progress(
    State(pages): State<Pages>,
    Path((tenant, namespace, local)): TopicPath,
    headers: HeaderMap,
) -> Answer {
    let topic = persistent(&tenant, &namespace, &local)?;
    Ok(body::json(pages.ask(&topic, &Ask::OffloadProgress, is_forwarded(&headers)).await?))
}

/// On the broker that has the topic.
pub(super) fn begin_here(pages: &Pages, topic: &TopicHandle, before: &body::MessageId) -> Result<Value, Refusal> {
    let at = |number: i64| u64::try_from(number).unwrap_or(0);
    let before = Position::new(at(before.ledger_id), at(before.entry_id));
    if pages.context.upkeep.offload(topic, before) {
        Ok(Value::Null)
    } else {
        Err(Refusal::new(StatusCode::CONFLICT, "Offload already in progress"))
    }
}

/// As Apache Pulsar shows it.
pub(super) fn shown(progress: &OffloadProgress) -> Value {
    let (status, error, (ledger, entry)) = match progress {
        OffloadProgress::NotRun => ("NOT_RUN", "", (-1, -1)),
        OffloadProgress::Running => ("RUNNING", "", (-1, -1)),
        OffloadProgress::Success(Position { ledger, entry }) => {
            let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            ("SUCCESS", "", (signed(ledger.0), signed(entry.0)))
        }
        OffloadProgress::Error(reason) => ("ERROR", reason.as_str(), (-1, -1)),
    };
    let unmoved = json!({"ledgerId": ledger, "entryId": entry, "partitionIndex": -1, "batchIndex": -1, "batchSize": 0});
    json!({"status": status, "lastError": error, "firstUnoffloadedMessage": unmoved})
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Scrub {
    remove: bool,
    grace_seconds: u64,
    store: Option<String>,
}

impl Default for Scrub {
    fn default() -> Self {
        Self { remove: false, grace_seconds: 24 * 60 * 60, store: None }
    }
}

/// Compares stores with records.
pub(super) async fn scrub(State(pages): State<Pages>, Query(asked): Query<Scrub>) -> Answer {
    let store = asked.store.filter(|store| !store.is_empty()).map(|store| store.parse::<Location>());
    let store = store.transpose().map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let wanted = ScrubWanted {
        remove: asked.remove,
        grace: Duration::from_secs(asked.grace_seconds),
        store,
        default: pages.context.config.offload().store,
    };
    let survey = pages.survey();
    // To its end, also when whoever asked goes away: half a removal is no harm, half an answer is.
    let scrubbed = tokio::spawn(async move { survey.scrub(&wanted).await }).await;
    let ended = |_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the scrub ended early");
    Ok(body::json(scrubbed.map_err(ended)??))
}

/// What is where.
pub(super) async fn status(State(pages): State<Pages>, headers: HeaderMap) -> Answer {
    if is_forwarded(&headers) {
        return Ok(body::json(pages.local_status()));
    }
    let context = &pages.context;
    let copies = u64::from(context.config.write_quorum);
    let mut status = pages.survey().status(&context.policies, context.upkeep.tiering(), copies).await?;
    let locals: Vec<LocalStatus> = pages.of_all_brokers("status", pages.local_status()).await;
    let mut errors = BTreeMap::new();
    for local in locals {
        status.uploads.extend(local.uploads);
        errors.extend(local.errors);
    }
    for topic in &mut status.topics {
        topic.last_error = errors.remove(&topic.topic);
    }
    Ok(body::json(status))
}

/// What a month costs that goes on as it did.
pub(super) async fn cost(State(pages): State<Pages>, headers: HeaderMap, Query(prices): Query<PricesAsked>) -> Answer {
    if is_forwarded(&headers) {
        return Ok(body::json(pages.local_usage()));
    }
    let stored_bytes = pages.survey().stored_bytes().await?;
    let locals: Vec<LocalUsage> = pages.of_all_brokers("cost", pages.local_usage()).await;
    let nothing = Usage { stored_bytes, puts: 0, gets: 0, read_bytes: 0, over: Duration::ZERO };
    let (mut usage, mut monthly) = (nothing, monthly_cost(&nothing, &prices.into()));
    let mut stores: BTreeMap<String, StoreUsage> = BTreeMap::new();
    for local in locals {
        let mut sum = StoreUsage::default();
        for (store, used) in &local.stores {
            sum.add(used);
            stores.entry(store.clone()).or_default().add(used);
        }
        let over = Duration::from_secs(local.over_seconds);
        let (puts, gets) = (sum.put + sum.list, sum.get + sum.head);
        let of_broker = Usage { stored_bytes: 0, puts, gets, read_bytes: sum.received_bytes, over };
        // Brokers started at different times: each is reckoned over its own.
        let cost = monthly_cost(&of_broker, &prices.into());
        monthly.puts += cost.puts;
        monthly.gets += cost.gets;
        monthly.egress += cost.egress;
        usage.puts += puts;
        usage.gets += gets;
        usage.read_bytes += sum.received_bytes;
        usage.over = usage.over.max(over);
    }
    Ok(body::json(CostPage { usage: usage.into(), prices, monthly: monthly.into(), stores }))
}

impl Pages {
    fn survey(&self) -> Survey {
        let context = &self.context;
        Survey {
            metadata: context.metadata.clone(),
            ledgers: context.ledgers.clone(),
            tier: context.upkeep.tiering().tier().clone(),
            clock: context.clock.clone(),
        }
    }

    fn local_status(&self) -> LocalStatus {
        let context = &self.context;
        let uploads = context.upkeep.tiering().uploads().into_iter().map(|upload| UploadShown {
            broker: context.broker.clone(),
            topic: upload.topic.to_string(),
            ledger: upload.ledger.0,
            bytes: upload.bytes,
            uploaded_bytes: upload.read_bytes,
        });
        let failed = |topic: &TopicHandle| Some((topic.name().to_string(), topic.offload_failure()?));
        let errors = context.topics.loaded().iter().filter_map(failed).collect();
        LocalStatus { uploads: uploads.collect(), errors }
    }

    fn local_usage(&self) -> LocalUsage {
        let context = &self.context;
        let over_ms = context.clock.now_ms().saturating_sub(context.ownership.me().started_at);
        let opened = context.upkeep.tiering().tier().stores().opened();
        let stores = opened.iter().map(|store| (store.location().to_string(), StoreUsage::of(store))).collect();
        LocalUsage { over_seconds: over_ms / 1000, stores }
    }

    /// The same page of every other broker, beside our own part. One that does not answer is left out.
    async fn of_all_brokers<T: DeserializeOwned>(&self, page: &str, own: T) -> Vec<T> {
        let me = &self.context.ownership.me().start;
        let others = self.context.ownership.brokers().into_iter().filter(|broker| broker.start != *me);
        let asked = others.map(|broker| async move {
            let answer = self.of_broker(&broker, page).await;
            answer.inspect_err(|error| tracing::warn!(broker = %broker.http, %error, "a broker does not tell")).ok()
        });
        let found: Vec<Option<T>> = futures::future::join_all(asked).await;
        std::iter::once(own).chain(found.into_iter().flatten()).collect()
    }

    async fn of_broker<T: DeserializeOwned>(&self, broker: &BrokerRecord, page: &str) -> Result<T, reqwest::Error> {
        let url = format!("http://{}/admin/v2/geminga/offload/{page}", broker.http);
        let request = self.peers.get(url).header(FORWARDED, &self.context.start).timeout(PEER_TIME);
        let bytes = request.send().await?.error_for_status()?;
        bytes.json().await
    }
}

impl From<SurveyError> for Refusal {
    fn from(error: SurveyError) -> Self {
        match error {
            SurveyError::Metadata(error) => error.into(),
            SurveyError::Object(error) => Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
            SurveyError::Location(error) => Self::new(StatusCode::PRECONDITION_FAILED, error.to_string()),
        }
    }
}
