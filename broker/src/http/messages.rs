//! Single messages, and what subscriptions skip or leave to time.
use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::IntoResponse;
use prost::Message;
use proto::pulsar::{CompressionType, MessageMetadata};
use proto::{Position, entry};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::about::About;
use super::body::{self, MessageId, json as page};
use super::owner::{Ask as Asked, encode, word};
use super::routes::{Routes, get, post, put};
use super::{Answer, Pages, Refusal};
use crate::clock::rfc3339;
use crate::log::StoredEntry;
use crate::topic::{Analysis, Expired, From, SubscribeAt, TopicError, TopicHandle};

/// Apache Pulsar's Java client looks for this header letter by letter.
const PROPERTIES: &str = "X-Pulsar-PROPERTY";
static SPELLED: OnceCell<Extensions> = OnceCell::const_new();

/// What is asked of messages of a topic.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    Peek { name: String, number: u64 },
    Read { position: Position },
    Examine { from: From, number: u64 },
    Analyze { name: String, from: MessageId },
    PublishedAt { time_ms: u64 },
    BytesBehind { id: MessageId },
    Skip { name: String, entries: i64 },
    ExpireOlder { name: String, seconds: i64 },
    ExpireOlderForAll { seconds: i64 },
    ExpireUpTo { name: String, id: MessageId },
    Properties { name: String },
    SetProperties { name: String, properties: BTreeMap<String, String> },
}

impl Ask {
    /// As a request to another broker: what stands after the topic's path.
    pub(super) fn request(&self) -> (Method, String, Option<Value>) {
        let of = |name: &str, rest: &str| format!("/subscription/{}/{rest}", encode(name));
        match self {
            Self::Peek { name, number } => (Method::GET, of(name, &format!("position/{}", number + 1)), None),
            Self::Read { position } => {
                (Method::GET, format!("/ledger/{}/entry/{}", position.ledger.0, position.entry.0), None)
            }
            Self::Examine { from, number } => {
                let from = if *from == From::Earliest { "earliest" } else { "latest" };
                let query = format!("/examinemessage?initialPosition={from}&messagePosition={}", number + 1);
                (Method::GET, query, None)
            }
            Self::Analyze { name, from } => (Method::POST, of(name, "analyzeBacklog"), Some(json!(from))),
            Self::PublishedAt { time_ms } => (Method::GET, format!("/messageid/{time_ms}"), None),
            Self::BytesBehind { id } => (Method::PUT, "/backlogSize".into(), Some(json!(id))),
            Self::Skip { name, entries } => (Method::POST, of(name, &format!("skip/{entries}")), None),
            Self::ExpireOlder { name, seconds } => (Method::POST, of(name, &format!("expireMessages/{seconds}")), None),
            Self::ExpireOlderForAll { seconds } => {
                (Method::POST, format!("/all_subscription/expireMessages/{seconds}"), None)
            }
            Self::ExpireUpTo { name, id } => (Method::POST, of(name, "expireMessages"), Some(json!(id))),
            Self::Properties { name } => (Method::GET, of(name, "properties"), None),
            Self::SetProperties { name, properties } => (Method::PUT, of(name, "properties"), Some(json!(properties))),
        }
    }

    fn subscription(&self) -> &str {
        match self {
            Self::Peek { name, .. }
            | Self::Analyze { name, .. }
            | Self::Skip { name, .. }
            | Self::ExpireOlder { name, .. }
            | Self::ExpireUpTo { name, .. }
            | Self::Properties { name }
            | Self::SetProperties { name, .. } => name,
            Self::Read { .. }
            | Self::Examine { .. }
            | Self::PublishedAt { .. }
            | Self::BytesBehind { .. }
            | Self::ExpireOlderForAll { .. } => "",
        }
    }

    /// Why it is not asked of all partitions at once. `None`: it is.
    fn of_one_only(&self) -> Option<&'static str> {
        Some(match self {
            Self::Peek { .. } => "Peek messages on a partitioned topic is not allowed",
            Self::Read { .. } => "GetMessageById is not allowed on partitioned-topic",
            Self::Examine { .. } => {
                "Examine messages on a partitioned topic is not allowed, please try examine message on specific topic partition"
            }
            Self::Analyze { .. } => {
                "Analyze backlog on a partitioned topic is not allowed, please try do it on specific topic partition"
            }
            Self::PublishedAt { .. } => {
                "Get message ID by timestamp on a partitioned topic is not allowed, please try do it on specific topic partition"
            }
            Self::BytesBehind { .. } => "calculate backlog size is not allowed for partitioned-topic",
            Self::Skip { .. } => "Skip messages on a partitioned topic is not allowed",
            Self::ExpireUpTo { .. } => "Expire message at position is not supported for partitioned-topic",
            Self::ExpireOlder { .. }
            | Self::ExpireOlderForAll { .. }
            | Self::Properties { .. }
            | Self::SetProperties { .. } => return None,
        })
    }
}

pub(super) fn of_topics() -> Routes {
    Routes::new()
        .route("/ledger/{ledger}/entry/{entry}", get(read))
        .route("/examinemessage", get(examine))
        .route("/messageid/{time}", get(published_at))
        .route("/backlogSize", put(bytes_behind))
        .route("/all_subscription/expireMessages/{seconds}", post(expire_for_all))
        .route("/subscription/{subscription}/position/{number}", get(peek))
        .route("/subscription/{subscription}/analyzeBacklog", post(analyze))
        .route("/subscription/{subscription}/skip/{entries}", post(skip))
        .route("/subscription/{subscription}/expireMessages", post(expire_up_to))
        .route("/subscription/{subscription}/expireMessages/{seconds}", post(expire_older))
        .route("/subscription/{subscription}/properties", get(properties).put(set_properties))
}

impl Pages {
    async fn ask_messages(&self, about: &About, ask: Ask) -> Result<Value, Refusal> {
        if 0 < self.context.namespaces.partitions(&about.topic).await? {
            if let Some(reason) = ask.of_one_only() {
                return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, reason));
            }
            self.ask_each_of(&about.topic, &Asked::Messages(ask), about.forwarded).await?;
            return Ok(Value::Null);
        }
        self.ask(&about.topic, &Asked::Messages(ask), about.forwarded).await
    }

    async fn change_messages(&self, about: &About, ask: Ask) -> Answer {
        self.ask_messages(about, ask).await.map(|_| body::done())
    }

    /// To another broker a message goes as JSON, to everyone else as it would from Apache Pulsar.
    async fn one_message(&self, about: &About, ask: Ask) -> Answer {
        let value = self.ask_messages(about, ask).await?;
        if about.forwarded {
            return Ok(page(value));
        }
        let whole = value["at"].as_str().zip(value["entry"].as_str().and_then(unhex));
        let (at, bytes) = whole.ok_or_else(|| unreadable("the broker that has the topic gave no message"))?;
        let mut answer = shown(at, bytes)?;
        *answer.extensions_mut() = SPELLED.get_or_init(|| daemon::spelled(&[PROPERTIES])).await.clone();
        Ok(answer)
    }
}

async fn peek(State(pages): State<Pages>, about: About) -> Answer {
    let first_is_one = Refusal::new(StatusCode::PRECONDITION_FAILED, "messages are counted from 1");
    let number = about.number::<i64>("number")?.checked_sub(1).and_then(|number| u64::try_from(number).ok());
    let ask = Ask::Peek { name: about.subscription(), number: number.ok_or(first_is_one)? };
    pages.one_message(&about, ask).await
}

async fn read(State(pages): State<Pages>, about: About) -> Answer {
    // A negative number names no ledger: one that cannot be stands for it.
    let id = |name: &str| Ok::<_, Refusal>(u64::try_from(about.number::<i64>(name)?).unwrap_or(u64::MAX));
    let position = Position::new(id("ledger")?, id("entry")?);
    pages.one_message(&about, Ask::Read { position }).await
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Examined {
    initial_position: String,
    message_position: i64,
}

impl Default for Examined {
    fn default() -> Self {
        Self { initial_position: "latest".into(), message_position: 1 }
    }
}

async fn examine(State(pages): State<Pages>, about: About, Query(asked): Query<Examined>) -> Answer {
    let from = if asked.initial_position == "earliest" { From::Earliest } else { From::Latest };
    let number = u64::try_from(asked.message_position).unwrap_or(0).saturating_sub(1);
    pages.one_message(&about, Ask::Examine { from, number }).await
}

async fn analyze(State(pages): State<Pages>, about: About, body: Bytes) -> Answer {
    let from = body::message_id(&body)?.unwrap_or_else(MessageId::earliest);
    Ok(page(pages.ask_messages(&about, Ask::Analyze { name: about.subscription(), from }).await?))
}

async fn published_at(State(pages): State<Pages>, about: About) -> Answer {
    let time_ms = u64::try_from(about.number::<i64>("time")?).unwrap_or(0);
    Ok(page(pages.ask_messages(&about, Ask::PublishedAt { time_ms }).await?))
}

async fn bytes_behind(State(pages): State<Pages>, about: About, body: Bytes) -> Answer {
    let id = body::message_id(&body)?.unwrap_or_else(MessageId::earliest);
    Ok(page(pages.ask_messages(&about, Ask::BytesBehind { id }).await?))
}

async fn skip(State(pages): State<Pages>, about: About) -> Answer {
    let ask = Ask::Skip { name: about.subscription(), entries: about.number("entries")? };
    pages.change_messages(&about, ask).await
}

async fn expire_older(State(pages): State<Pages>, about: About) -> Answer {
    let ask = Ask::ExpireOlder { name: about.subscription(), seconds: about.number("seconds")? };
    pages.change_messages(&about, ask).await
}

async fn expire_for_all(State(pages): State<Pages>, about: About) -> Answer {
    let ask = Ask::ExpireOlderForAll { seconds: about.number("seconds")? };
    pages.change_messages(&about, ask).await
}

async fn expire_up_to(State(pages): State<Pages>, about: About, body: Bytes) -> Answer {
    let id = body::message_id(&body)?.ok_or_else(|| body::bad("a message id is missing"))?;
    pages.change_messages(&about, Ask::ExpireUpTo { name: about.subscription(), id }).await
}

/// Of a partitioned topic, those of its first partition: all have the same.
pub(super) async fn properties(State(pages): State<Pages>, about: About) -> Answer {
    let partitions = pages.each(&about.topic).await?;
    let ask = Asked::Messages(Ask::Properties { name: about.subscription() });
    Ok(page(pages.ask(&partitions[0], &ask, about.forwarded).await?))
}

pub(super) async fn set_properties(State(pages): State<Pages>, about: About, body: Bytes) -> Answer {
    let properties = body::parse(&body)?.unwrap_or_default();
    pages.change_messages(&about, Ask::SetProperties { name: about.subscription(), properties }).await
}

/// Answers where the topic is.
pub(super) async fn ask_open(pages: &Pages, handle: &TopicHandle, ask: &Ask) -> Result<Value, Refusal> {
    let topic = handle.name();
    let of = |error: TopicError| word(error, topic, ask.subscription());
    match ask {
        Ask::Peek { name, number } => {
            let found = handle.peek(name, *number).await.map_err(of)?;
            found.map(carried).ok_or_else(|| Refusal::not_found("Message not found"))
        }
        Ask::Read { position } => {
            let found = handle.entry(*position).await.map_err(of)?;
            found.map(carried).ok_or_else(|| Refusal::not_found("Message id not found"))
        }
        Ask::Examine { from, number } => {
            let reason = "Could not examine messages due to the total message is zero";
            let found = handle.examine(*from, *number).await.map_err(of)?;
            found.map(carried).ok_or_else(|| Refusal::new(StatusCode::PRECONDITION_FAILED, reason))
        }
        Ask::Analyze { name, from } => {
            let from = match from.place() {
                SubscribeAt::Position(position) => position,
                SubscribeAt::Latest => Position::new(u64::MAX, 0),
                SubscribeAt::Earliest | SubscribeAt::Inside(..) | SubscribeAt::Time(_) => Position::EARLIEST,
            };
            handle.analyze_backlog(name, from).await.map(analysis_json).map_err(of)
        }
        Ask::PublishedAt { time_ms } => {
            let Position { ledger, entry } = handle.published_at(*time_ms).await.map_err(of)?;
            let partition = topic.partition().map_or(-1, i64::from);
            Ok(json!({"ledgerId": ledger.0, "entryId": entry.0, "partitionIndex": partition, "batchSize": 0,
                      "batchIndex": -1}))
        }
        Ask::BytesBehind { id } => Ok(json!(match (u64::try_from(id.ledger_id), u64::try_from(id.entry_id)) {
            (Ok(ledger), Ok(entry)) => handle.bytes_behind(Position::new(ledger, entry)),
            _ => handle.with_chain(|chain| chain.ledgers().iter().map(|listed| listed.bytes).sum()),
        })),
        Ask::Skip { name, entries } => {
            let entries = u64::try_from(*entries).unwrap_or(0);
            handle.skip(name, entries).await.map(|()| Value::Null).map_err(of)
        }
        Ask::ExpireOlder { name, seconds } => expire(pages, handle, name, *seconds).await,
        Ask::ExpireOlderForAll { seconds } => {
            let mut outcome = Ok(Value::Null);
            for name in handle.durable_subscriptions().await.map_err(of)? {
                outcome = outcome.and(expire(pages, handle, &name, *seconds).await);
            }
            outcome
        }
        Ask::ExpireUpTo { name, id } => expire_to(handle, name, id).await,
        Ask::Properties { name } => handle.properties(name).await.map(|found| json!(found)).map_err(of),
        Ask::SetProperties { name, properties } => {
            handle.set_properties(name, properties.clone()).await.map(|()| Value::Null).map_err(of)
        }
    }
}

/// Moves a subscription, if need be into a batch.
pub(super) async fn reset(handle: &TopicHandle, name: &str, to: &MessageId) -> Result<(), TopicError> {
    let place = match to.inside() {
        Some((position, index)) => handle.inside(position, index).await?,
        None => to.place(),
    };
    handle.reset(name, place).await
}

async fn expire(pages: &Pages, handle: &TopicHandle, name: &str, seconds: i64) -> Result<Value, Refusal> {
    let topic = handle.name();
    let now = i64::try_from(pages.context.clock.now_ms()).unwrap_or(i64::MAX);
    let before = u64::try_from(now.saturating_sub(seconds.saturating_mul(1000))).unwrap_or(0);
    // As in Apache Pulsar, no age is no wish.
    let before = if seconds == 0 { 0 } else { before };
    match handle.expire_older(name, before).await.map_err(|error| word(error, topic, name))? {
        Expired::Done => Ok(Value::Null),
        Expired::CaughtUp | Expired::Beyond => {
            let reason = format!(
                "Expire message by timestamp not issued on topic {topic} for subscription {name} due to ongoing message expiration not finished or subscription almost catch  up. If it's performed on a partitioned topic operation might succeeded on other partitions, please check stats of individual partition."
            );
            Err(Refusal::new(StatusCode::CONFLICT, reason))
        }
    }
}

async fn expire_to(handle: &TopicHandle, name: &str, id: &MessageId) -> Result<Value, Refusal> {
    let topic = handle.name();
    let below = match id.place() {
        SubscribeAt::Position(position) if id.excluded => Position::new(position.ledger.0, position.entry.0 - 1),
        SubscribeAt::Position(position) => position.next(),
        SubscribeAt::Latest => Position::new(u64::MAX, 0),
        SubscribeAt::Earliest | SubscribeAt::Inside(..) | SubscribeAt::Time(_) => Position::EARLIEST,
    };
    match handle.expire_below(name, below).await.map_err(|error| word(error, topic, name))? {
        Expired::Done => Ok(Value::Null),
        Expired::CaughtUp | Expired::Beyond => {
            let reason = format!(
                "Expire message by position not issued on topic {topic} for subscription {name} due to ongoing message expiration not finished or invalid message position provided."
            );
            Err(Refusal::new(StatusCode::CONFLICT, reason))
        }
    }
}

/// No filters of entries are known here: all of them let everything pass.
fn analysis_json(analysis: Analysis) -> Value {
    let Analysis { entries, messages, first, last, incomplete } = analysis;
    let mut shown = json!({
        "entries": entries, "messages": messages, "aborted": incomplete,
        "filterAcceptedEntries": entries, "filterRejectedEntries": 0, "filterRescheduledEntries": 0,
        "filterAcceptedMessages": messages, "filterRejectedMessages": 0, "filterRescheduledMessages": 0,
    });
    for (name, position) in [("firstMessageId", first), ("lastMessageId", last)] {
        if let Some(position) = position {
            shown[name] = position.to_string().into();
        }
    }
    shown
}

/// An entry as brokers give it to each other.
fn carried(entry: StoredEntry) -> Value {
    let hex: String = entry.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({"at": entry.position.to_string(), "entry": hex})
}

fn unhex(text: &str) -> Option<Bytes> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes: Option<Vec<u8>> =
        text.as_bytes().chunks(2).map(|pair| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?)).collect();
    bytes.map(Bytes::from)
}

fn unreadable(reason: &str) -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, reason)
}

/// The payload as the producer wrote it, and what is known of it in headers that Apache Pulsar's tools read.
fn shown(at: &str, bytes: Bytes) -> Answer {
    let parts = entry::split_unchecked(bytes).map_err(|error| unreadable(&error.to_string()))?;
    let metadata = MessageMetadata::decode(parts.metadata).map_err(|error| unreadable(&error.to_string()))?;
    let mut headers = HeaderMap::new();
    let mut note = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value); // What no header can hold is left out.
        }
    };
    let properties: BTreeMap<&str, &str> =
        metadata.properties.iter().map(|pair| (pair.key.as_str(), pair.value.as_str())).collect();
    note("x-pulsar-message-id", at.into());
    note("x-pulsar-property", json!(properties).to_string());
    note("x-pulsar-publish-time", rfc3339(metadata.publish_time));
    note("x-pulsar-producer-name", metadata.producer_name.clone());
    note("x-pulsar-sequence-id", metadata.sequence_id.to_string());
    note("x-pulsar-is-encrypted", (!metadata.encryption_keys.is_empty()).to_string());
    note("x-pulsar-txn-uncommitted", "false".into());
    if let Some(time) = metadata.event_time.filter(|time| 0 < *time) {
        note("x-pulsar-event-time", rfc3339(time));
    }
    if let Some(time) = metadata.deliver_at_time.and_then(|time| u64::try_from(time).ok()) {
        note("x-pulsar-deliver-at-time", rfc3339(time));
    }
    if let Some(messages) = metadata.num_messages_in_batch {
        note("x-pulsar-num-batch-message", messages.to_string());
        note("x-pulsar-batch-size", parts.payload.len().to_string());
    }
    if let Some(key) = &metadata.partition_key {
        note("x-pulsar-partition-key", key.clone());
    }
    if metadata.null_value() {
        note("x-pulsar-null-value", "true".into());
    }
    if metadata.compression() != CompressionType::None {
        note("x-pulsar-compression", metadata.compression().as_str_name().into());
        note("x-pulsar-uncompressed-size", metadata.uncompressed_size().to_string());
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok((headers, parts.payload).into_response())
}
