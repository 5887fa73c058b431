//! How a request is refused: a status, and `{"reason": …}` in the words of Apache Pulsar, which tools compare.
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use proto::TopicNameError;
use serde_json::json;

use crate::log::LogError;
use crate::moves::MoveError;
use crate::namespaces::{ChangeError, NamespaceError};
use crate::ownership::{OwnershipError, SplitError};
use crate::schemas::SchemaError;
use crate::topic::TopicError;
use crate::upkeep::UpkeepError;

/// A status and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) reason: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into() }
    }

    pub(super) fn not_found(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, reason)
    }

    pub(super) fn not_built(what: &str) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, format!("{what} is not supported by this broker yet"))
    }

    /// Whether the same request may succeed soon: ownership moves, or a dependency is away.
    pub(super) fn is_passing(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(json!({"reason": self.reason}))).into_response()
    }
}

impl From<metadata::Error> for Refusal {
    fn from(error: metadata::Error) -> Self {
        let status = match error {
            metadata::Error::Conflict { .. } | metadata::Error::OutcomeUnknown => StatusCode::CONFLICT,
            metadata::Error::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            metadata::Error::Refused { .. } => StatusCode::BAD_REQUEST, // What was asked for is too long or too large to keep.
            metadata::Error::Corrupt { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

impl From<TopicNameError> for Refusal {
    fn from(error: TopicNameError) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, error.to_string())
    }
}

impl From<NamespaceError> for Refusal {
    fn from(error: NamespaceError) -> Self {
        match error {
            NamespaceError::NamespaceNotFound | NamespaceError::TopicNotFound(_) => Self::not_found(error.to_string()),
            NamespaceError::NotAllowed(_) => Self::new(StatusCode::PRECONDITION_FAILED, error.to_string()),
            NamespaceError::TooManyTopics => Self::new(StatusCode::CONFLICT, error.to_string()),
            NamespaceError::Metadata(error) => error.into(),
        }
    }
}

impl From<ChangeError> for Refusal {
    fn from(error: ChangeError) -> Self {
        let status = match &error {
            ChangeError::NotFound(_) => StatusCode::NOT_FOUND,
            ChangeError::Conflict(_) => StatusCode::CONFLICT,
            ChangeError::Invalid(_) | ChangeError::TooManyTopics => StatusCode::PRECONDITION_FAILED,
            ChangeError::Forbidden(_) => StatusCode::FORBIDDEN,
            ChangeError::PartitionCount(_) => StatusCode::NOT_ACCEPTABLE,
            ChangeError::FewerPartitions { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            ChangeError::Metadata(error) => return error.clone().into(),
        };
        Self::new(status, error.to_string())
    }
}

impl From<OwnershipError> for Refusal {
    fn from(error: OwnershipError) -> Self {
        let status = match &error {
            OwnershipError::NamespaceNotFound => StatusCode::NOT_FOUND,
            OwnershipError::Moving { .. } => StatusCode::SERVICE_UNAVAILABLE,
            OwnershipError::DestinationNotFound => StatusCode::CONFLICT,
            OwnershipError::Metadata(error) => return error.clone().into(),
        };
        Self::new(status, error.to_string())
    }
}

impl From<MoveError> for Refusal {
    fn from(error: MoveError) -> Self {
        match error {
            MoveError::Ownership(error) => error.into(),
            MoveError::NotTaken { .. } | MoveError::Silent { .. } | MoveError::Interrupted => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
        }
    }
}

impl From<SplitError> for Refusal {
    fn from(error: SplitError) -> Self {
        let status = match &error {
            SplitError::Boundaries => StatusCode::PRECONDITION_FAILED,
            SplitError::NotHere(_) => StatusCode::SERVICE_UNAVAILABLE,
            SplitError::Overtaken(_) => StatusCode::CONFLICT,
            SplitError::Ownership(error) => return error.clone().into(),
        };
        Self::new(status, error.to_string())
    }
}

impl From<SchemaError> for Refusal {
    fn from(error: SchemaError) -> Self {
        match error {
            SchemaError::Incompatible(reason) => Self::new(StatusCode::CONFLICT, reason),
            SchemaError::Invalid(reason) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, reason),
            SchemaError::Metadata(error) => error.into(),
        }
    }
}

impl From<LogError> for Refusal {
    fn from(error: LogError) -> Self {
        match error {
            LogError::NotFound { topic } => Self::not_found(format!("Topic {topic} not found")),
            LogError::Metadata(error) => error.into(),
            LogError::DataMissing { .. } | LogError::Corrupt { .. } => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
            }
            LogError::Fenced { .. }
            | LogError::Outdated { .. }
            | LogError::Closed
            | LogError::Object(_)
            | LogError::Ledger(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        }
    }
}

impl From<UpkeepError> for Refusal {
    fn from(error: UpkeepError) -> Self {
        match error {
            UpkeepError::Policies(metadata) => {
                Self { reason: UpkeepError::Policies(metadata.clone()).to_string(), ..metadata.into() }
            }
            UpkeepError::Schemas(error) => error.into(),
            UpkeepError::Topic(error) => error.into(),
        }
    }
}

/// Errors whose text depends on what was asked are worded by the asker; this is the rest.
impl From<TopicError> for Refusal {
    fn from(error: TopicError) -> Self {
        let status = match &error {
            TopicError::NotFound(topic) => return Self::not_found(format!("Topic {topic} not found")),
            TopicError::SubscriptionNotFound => StatusCode::NOT_FOUND,
            TopicError::NotOwner(_) | TopicError::Unavailable(_) | TopicError::Storage(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            TopicError::ActiveUsers | TopicError::Refused(_) => StatusCode::PRECONDITION_FAILED,
            TopicError::ProducerBusy(_)
            | TopicError::ProducerFenced(_)
            | TopicError::ConsumerBusy(_)
            | TopicError::ConsumerKeys(_)
            | TopicError::Terminated
            | TopicError::BacklogHeld
            | TopicError::BacklogFull
            | TopicError::SubscriptionExists => StatusCode::CONFLICT,
            TopicError::NotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
        };
        Self::new(status, error.to_string())
    }
}
