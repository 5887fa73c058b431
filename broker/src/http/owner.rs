//! Asking the broker that has a topic: this one, or another inside the cluster. Redirects would lose a client's credentials.
use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::{HeaderMap, Method, StatusCode};
use proto::records::BrokerRecord;
use proto::{Domain, TopicName};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::body::MessageId;
use super::properties::PropertyChange;
use super::{Pages, Refusal, compaction, messages, offload, topics};
use crate::outbox::NextOwner;
use crate::ownership::Owner;
use crate::topic::{SubscribeAt, TopicError, TopicHandle};

/// On requests that a broker sends to another: they are not sent on.
pub(super) const FORWARDED: &str = "x-geminga-forwarded";

/// While ownership moves, a request is tried so often.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);
const PEER_TIME: Duration = Duration::from_secs(20);

/// What is asked of a topic.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    Stats {
        /// How old what waits is, too: that is read.
        ages: bool,
    },
    InternalStats,
    LastMessageId,
    /// One that is not stored.
    Make,
    Unload,
    Trim,
    Truncate,
    Terminate,
    Offload {
        before: MessageId,
    },
    OffloadProgress,
    Compact,
    CompactionProgress,
    Delete {
        force: bool,
    },
    Subscriptions,
    Subscribe {
        name: String,
        start: MessageId,
    },
    Unsubscribe {
        name: String,
        force: bool,
    },
    SkipAll {
        name: String,
    },
    Reset {
        name: String,
        to: MessageId,
    },
    ResetToTime {
        name: String,
        time_ms: u64,
    },
    /// As people have noted them with the topic.
    Properties,
    ChangeProperties(PropertyChange),
    InternalInfo,
    Messages(messages::Ask),
}

impl Ask {
    /// As a request to another broker: what stands after the topic's path.
    fn request(&self) -> (Method, String, Option<Value>) {
        let subscription = |name: &str| format!("/subscription/{}", encode(name));
        match self {
            Self::Stats { ages } => (Method::GET, format!("/stats?getEarliestTimeInBacklog={ages}"), None),
            Self::InternalStats => (Method::GET, "/internalStats".into(), None),
            Self::LastMessageId => (Method::GET, "/lastMessageId".into(), None),
            Self::Make => (Method::PUT, String::new(), None),
            Self::Unload => (Method::PUT, "/unload".into(), None),
            Self::Trim => (Method::POST, "/trim".into(), None),
            Self::Truncate => (Method::DELETE, "/truncate".into(), None),
            Self::Terminate => (Method::POST, "/terminate".into(), None),
            Self::Offload { before } => (Method::PUT, "/offload".into(), Some(json!(before))),
            Self::OffloadProgress => (Method::GET, "/offload".into(), None),
            Self::Compact => (Method::PUT, "/compaction".into(), None),
            Self::CompactionProgress => (Method::GET, "/compaction".into(), None),
            Self::Delete { force } => (Method::DELETE, format!("?force={force}"), None),
            Self::Subscriptions => (Method::GET, "/subscriptions".into(), None),
            Self::Subscribe { name, start } => (Method::PUT, subscription(name), Some(json!(start))),
            Self::Unsubscribe { name, force } => {
                (Method::DELETE, format!("{}?force={force}", subscription(name)), None)
            }
            Self::SkipAll { name } => (Method::POST, format!("{}/skip_all", subscription(name)), None),
            Self::Reset { name, to } => (Method::POST, format!("{}/resetcursor", subscription(name)), Some(json!(to))),
            Self::ResetToTime { name, time_ms } => {
                (Method::POST, format!("{}/resetcursor/{time_ms}", subscription(name)), None)
            }
            Self::Properties => (Method::GET, "/properties".into(), None),
            Self::ChangeProperties(change) => change.request(),
            Self::InternalInfo => (Method::GET, "/internal-info".into(), None),
            Self::Messages(ask) => ask.request(),
        }
    }
}

/// Percent-encodes everything that may not stand in a segment of a path.
pub(super) fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Whether a request came from another broker.
pub(super) fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.contains_key(FORWARDED)
}

impl Pages {
    /// Asks whoever has `topic`. `Null` is an answer without content.
    pub(super) async fn ask(&self, topic: &TopicName, ask: &Ask, forwarded: bool) -> Result<Value, Refusal> {
        let mut attempt = 1;
        loop {
            let outcome = match self.context.ownership.lookup(topic).await? {
                Owner::Here => self.ask_here(topic, ask).await,
                Owner::At(_) if forwarded => {
                    Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, format!("{topic} is moving between brokers")))
                }
                Owner::At(broker) => self.ask_at(&broker, topic, ask).await,
            };
            match outcome {
                Err(refusal) if refusal.is_passing() && attempt < ATTEMPTS => sleep(PAUSE).await,
                outcome => return outcome,
            }
            attempt += 1;
        }
    }

    async fn ask_at(&self, broker: &BrokerRecord, topic: &TopicName, ask: &Ask) -> Result<Value, Refusal> {
        let (method, rest, body) = ask.request();
        let namespace = topic.namespace();
        let path = format!("{}/{namespace}/{}", topic.domain().as_str(), encode(topic.local()));
        let request = self
            .peers
            .request(method, format!("http://{}/admin/v2/{path}{rest}", broker.http))
            .header(FORWARDED, &self.context.start)
            .timeout(PEER_TIME);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let unreachable = |error: reqwest::Error| {
            // Only what never arrived may be asked again.
            let status = if error.is_connect() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::GATEWAY_TIMEOUT };
            Refusal::new(status, format!("broker {} does not answer: {error}", broker.broker))
        };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let text = response.bytes().await.map_err(unreachable)?;
        let value: Value = serde_json::from_slice(&text).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(value);
        }
        let reason = value.get("reason").and_then(Value::as_str).unwrap_or("no reason given");
        Err(Refusal::new(status, reason))
    }

    async fn ask_here(&self, topic: &TopicName, ask: &Ask) -> Result<Value, Refusal> {
        let context = &self.context;
        match ask {
            Ask::Make => {
                context.topics.open(topic, true).await.map_err(|error| word(error, topic, ""))?;
                Ok(Value::Null)
            }
            Ask::Unload => {
                if !context.namespaces.exists(topic).await? && context.topics.get(topic).is_none() {
                    return Err(Refusal::not_found(format!("Topic {topic} not found")));
                }
                context.topics.unload(topic, &NextOwner::default()).await;
                Ok(Value::Null)
            }
            Ask::Delete { force } => {
                if topic.domain() == Domain::NonPersistent && !force {
                    self.require_unused(topic).await?;
                }
                context.topics.delete(topic, *force).await.map_err(|error| word(error, topic, ""))?;
                if topic.partition().is_none() && topic.domain() == Domain::Persistent {
                    context.schemas.delete(topic).await?;
                }
                Ok(Value::Null)
            }
            Ask::Subscribe { name, start } => {
                let handle = self.open_or_create(topic).await?;
                let properties = start.properties.clone().unwrap_or_default();
                let made = handle.create_subscription(name, start.place(), properties).await;
                made.map_err(|error| word(error, topic, name))?;
                Ok(Value::Null)
            }
            _ => {
                // A partition that is not stored comes with whoever asks for it.
                let make = topic.domain() == Domain::NonPersistent && context.namespaces.is_partition(topic).await?;
                let handle = context.topics.open(topic, make).await.map_err(|error| word(error, topic, ""))?;
                self.ask_open(&handle, ask).await
            }
        }
    }

    /// The text says how many are in the way. Whether they still are is decided when the topic ends.
    async fn require_unused(&self, topic: &TopicName) -> Result<(), Refusal> {
        let Some(handle) = self.context.topics.get(topic) else { return Ok(()) };
        let stats = handle.stats().await.map_err(|error| word(error, topic, ""))?;
        let consumers: usize = stats.subscriptions.values().map(|one| one.consumers.len()).sum();
        match consumers + stats.publishers.len() {
            0 => Ok(()),
            count => {
                let reason = format!("Topic has {count} connected producers/consumers");
                Err(Refusal::new(StatusCode::PRECONDITION_FAILED, reason))
            }
        }
    }

    async fn open_or_create(&self, topic: &TopicName) -> Result<TopicHandle, Refusal> {
        match self.context.topics.open(topic, false).await {
            Err(TopicError::NotFound(_)) => {
                self.context.namespaces.may_create(topic).await?;
                self.context.topics.open(topic, true).await.map_err(|error| word(error, topic, ""))
            }
            opened => opened.map_err(|error| word(error, topic, "")),
        }
    }

    async fn ask_open(&self, handle: &TopicHandle, ask: &Ask) -> Result<Value, Refusal> {
        let topic = handle.name();
        let value = match ask {
            Ask::Stats { ages } => return self.stats(handle, *ages).await,
            Ask::InternalStats => handle.internal_stats().await.map(|stats| json!(stats)),
            Ask::LastMessageId => handle.last_message_id(false).await.map(|id| {
                let signed = |id: u64| i64::try_from(id).unwrap_or(-1); // None is written as the largest number.
                let partition = topic.partition().map_or(-1, i64::from);
                json!({"ledgerId": signed(id.ledger_id), "entryId": signed(id.entry_id), "partitionIndex": partition,
                       "batchIndex": id.batch_index.unwrap_or(-1), "batchSize": 0})
            }),
            Ask::Trim => return Ok(self.context.upkeep.trim(handle).await.map(|()| Value::Null)?),
            Ask::Truncate => return Ok(self.context.upkeep.truncate(handle).await.map(|()| Value::Null)?),
            Ask::Terminate => handle.terminate().await.map(|last| {
                let last = last.map(|last| last.to_message_id());
                let signed = |id: Option<u64>| id.and_then(|id| i64::try_from(id).ok()).unwrap_or(-1);
                json!({"ledgerId": signed(last.as_ref().map(|id| id.ledger_id)),
                       "entryId": signed(last.as_ref().map(|id| id.entry_id)), "partitionIndex": -1, "batchSize": 0, "batchIndex": -1})
            }),
            Ask::Offload { before } => return offload::begin_here(self, handle, before),
            Ask::OffloadProgress => Ok(offload::shown(&handle.offload_progress())),
            Ask::Compact => return compaction::begin_here(self, handle),
            Ask::CompactionProgress => Ok(compaction::shown(&handle.compaction_progress())),
            Ask::Subscriptions => handle.subscriptions().await.map(|names| json!(names)),
            Ask::Unsubscribe { name, force } => handle.delete_subscription(name, *force).await.map(|()| Value::Null),
            Ask::SkipAll { name } => handle.skip_all(name).await.map(|()| Value::Null),
            Ask::Reset { name, to } => messages::reset(handle, name, to).await.map(|()| Value::Null),
            Ask::Properties => handle.topic_properties().await.map(|all| json!(BTreeMap::from_iter(all))),
            Ask::ChangeProperties(change) => {
                handle.change_topic_properties(|properties| change.apply(properties)).await.map(|()| Value::Null)
            }
            Ask::InternalInfo => handle.internal_stats().await.map(|stats| topics::internal_info(&stats)),
            Ask::Messages(ask) => return messages::ask_open(self, handle, ask).await,
            Ask::ResetToTime { name, time_ms } => {
                handle.reset(name, SubscribeAt::Time(*time_ms)).await.map(|()| Value::Null)
            }
            Ask::Make | Ask::Unload | Ask::Delete { .. } | Ask::Subscribe { .. } => {
                unreachable!("answered without an open topic, see ask_here")
            }
        };
        let subscription = match ask {
            Ask::Unsubscribe { name, .. }
            | Ask::SkipAll { name }
            | Ask::Reset { name, .. }
            | Ask::ResetToTime { name, .. } => name,
            _ => "",
        };
        value.map_err(|error| word(error, topic, subscription))
    }
}

/// The texts that depend on what was asked.
pub(super) fn word(error: TopicError, topic: &TopicName, subscription: &str) -> Refusal {
    match error {
        TopicError::NotFound(_) => Refusal::not_found(format!("Topic {topic} not found")),
        TopicError::SubscriptionNotFound => {
            Refusal::not_found(format!("Subscription {subscription} not found for topic {topic}"))
        }
        TopicError::ActiveUsers if !subscription.is_empty() => {
            Refusal::new(StatusCode::PRECONDITION_FAILED, "Subscription has active connected consumers")
        }
        error => error.into(),
    }
}
