//! Bodies, read as kindly as Apache Pulsar reads them: with or without a content type, empty, `null`, numbers in quotes.
use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use proto::Position;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Refusal;
use crate::topic::SubscribeAt;

/// 204, as every change answers that has nothing to say.
pub(super) fn done() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

pub(super) fn json(value: impl Serialize) -> Response {
    Json(value).into_response()
}

/// The body's JSON; nothing and `null` are `None`.
pub(super) fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<Option<T>, Refusal> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    serde_json::from_slice::<Option<T>>(body).map_err(bad)
}

pub(super) fn bad(problem: impl std::fmt::Display) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, format!("the body cannot be read: {problem}"))
}

/// A number of partitions: `3`, `"3"`, or `{"partitions": 3, "properties": {…}}`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Partitions {
    pub(super) count: u32,
    pub(super) properties: BTreeMap<String, String>,
}

pub(super) fn partitions(body: &Bytes) -> Result<Partitions, Refusal> {
    #[derive(Deserialize)]
    struct Object {
        partitions: Value,
        #[serde(default)]
        properties: Option<BTreeMap<String, String>>,
    }
    let empty = || Refusal::new(StatusCode::BAD_REQUEST, "The request entity cannot be empty.");
    let value: Value = parse(body)?.ok_or_else(empty)?;
    let (count, properties) = match value {
        Value::Object(_) => {
            let object: Object = serde_json::from_value(value).map_err(bad)?;
            (object.partitions, object.properties.unwrap_or_default())
        }
        number => (number, BTreeMap::new()),
    };
    let count = match &count {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let count = count.ok_or_else(|| bad("expected a number of partitions"))?;
    // What is negative is too small, what is beyond 32 bits too large: both are for the room that counts.
    Ok(Partitions { count: u32::try_from(count.max(0)).unwrap_or(u32::MAX), properties })
}

/// A message id of the administration, with what tools send along.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct MessageId {
    pub(super) ledger_id: i64,
    pub(super) entry_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) properties: Option<BTreeMap<String, String>>,
    /// Which message of a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) batch_index: Option<i32>,
    /// Whether the message itself is left out.
    #[serde(alias = "isExcluded")]
    pub(super) excluded: bool,
}

impl MessageId {
    pub(super) fn earliest() -> Self {
        Self { ledger_id: -1, entry_id: -1, ..Self::default() }
    }

    pub(super) fn latest() -> Self {
        Self { ledger_id: i64::MAX, entry_id: i64::MAX, ..Self::default() }
    }

    /// The position and the message of its batch, when it is inside one.
    pub(super) fn inside(&self) -> Option<(Position, u32)> {
        let index = u32::try_from(self.batch_index?).ok()?;
        let (ledger, entry) = (u64::try_from(self.ledger_id).ok()?, u64::try_from(self.entry_id).ok()?);
        let index = if self.excluded { index.saturating_add(1) } else { index };
        (self.ledger_id != i64::MAX).then_some((Position::new(ledger, entry), index))
    }

    /// Where it points.
    pub(super) fn place(&self) -> SubscribeAt {
        match (u64::try_from(self.ledger_id), u64::try_from(self.entry_id)) {
            (Err(_), _) => SubscribeAt::Earliest,
            (Ok(ledger), _) if ledger == i64::MAX as u64 => SubscribeAt::Latest,
            (Ok(ledger), Err(_)) => SubscribeAt::Position(Position::new(ledger, 0)), // Before its first entry.
            (Ok(ledger), Ok(entry)) if self.excluded => {
                SubscribeAt::Position(Position::new(ledger, entry.saturating_add(1)))
            }
            (Ok(ledger), Ok(entry)) => SubscribeAt::Position(Position::new(ledger, entry)),
        }
    }
}

/// An object, `"earliest"`, `"latest"`, or nothing.
pub(super) fn message_id(body: &Bytes) -> Result<Option<MessageId>, Refusal> {
    match parse::<Value>(body)? {
        None => Ok(None),
        Some(Value::String(text)) if text == "earliest" => Ok(Some(MessageId::earliest())),
        Some(Value::String(text)) if text == "latest" => Ok(Some(MessageId::latest())),
        Some(object @ Value::Object(_)) => serde_json::from_value(object).map(Some).map_err(bad),
        Some(_) => Err(bad("expected a message id, `earliest` or `latest`")),
    }
}
