//! Which code of the protocol each error becomes. What clients do on each code decided this table; it stands in
//! docs of clients, not of the protocol: some codes close a shared socket, some are never tried again.
use proto::TopicNameError;
use proto::pulsar::ServerError;

use crate::namespaces::NamespaceError;
use crate::outbox::Client;
use crate::ownership::OwnershipError;
use crate::schemas::SchemaError;
use crate::topic::TopicError;

/// An error as a client gets it.
pub(super) type Answer = (ServerError, String);

/// Any domain error, for an answer to a request.
pub(super) enum Fault {
    Name(TopicNameError),
    Topic(TopicError),
    Namespace(NamespaceError),
    Schema(SchemaError),
    Ownership(OwnershipError),
}

macro_rules! fault {
    ($($variant:ident $error:ident),*) => {
        $(impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        })*
    };
}
fault! { Name TopicNameError, Topic TopicError, Namespace NamespaceError, Schema SchemaError, Ownership OwnershipError }

/// The one table. Every error that a later attempt may not meet again is ServiceNotReady: it is tried again by all clients,
/// and in answers to PRODUCER and SUBSCRIBE it closes no socket.
pub(super) fn answer(fault: Fault) -> Answer {
    let text = match &fault {
        Fault::Name(error) => error.to_string(),
        Fault::Topic(error) => error.to_string(),
        Fault::Namespace(error) => error.to_string(),
        Fault::Schema(error) => error.to_string(),
        Fault::Ownership(error) => error.to_string(),
    };
    let code = match fault {
        Fault::Name(_) => ServerError::InvalidTopicName,
        Fault::Topic(error) => topic(&error),
        Fault::Namespace(error) => namespace(&error),
        Fault::Schema(SchemaError::Incompatible(_) | SchemaError::Invalid(_)) => ServerError::IncompatibleSchema,
        Fault::Ownership(OwnershipError::NamespaceNotFound) => ServerError::TopicNotFound,
        Fault::Schema(SchemaError::Metadata(_)) | Fault::Ownership(_) => ServerError::ServiceNotReady,
    };
    (code, text)
}

fn topic(error: &TopicError) -> ServerError {
    match error {
        TopicError::NotFound(_) => ServerError::TopicNotFound,
        TopicError::NotOwner(_) | TopicError::Unavailable(_) | TopicError::Storage(_) => ServerError::ServiceNotReady,
        TopicError::ActiveUsers | TopicError::SubscriptionExists | TopicError::Refused(_) => ServerError::MetadataError,
        TopicError::ProducerBusy(_) => ServerError::ProducerBusy,
        TopicError::Terminated => ServerError::TopicTerminatedError,
        TopicError::BacklogHeld => ServerError::ProducerBlockedQuotaExceededError,
        TopicError::BacklogFull => ServerError::ProducerBlockedQuotaExceededException,
        TopicError::ProducerFenced(_) => ServerError::ProducerFenced,
        TopicError::ConsumerBusy(_) => ServerError::ConsumerBusy,
        TopicError::ConsumerKeys(_) => ServerError::ConsumerAssignError,
        TopicError::SubscriptionNotFound => ServerError::SubscriptionNotFound,
        TopicError::NotAllowed(_) => ServerError::NotAllowedError,
    }
}

fn namespace(error: &NamespaceError) -> ServerError {
    match error {
        NamespaceError::NamespaceNotFound | NamespaceError::TopicNotFound(_) => ServerError::TopicNotFound,
        NamespaceError::NotAllowed(_) | NamespaceError::TooManyTopics => ServerError::NotAllowedError,
        _ => ServerError::ServiceNotReady,
    }
}

/// In answers to LOOKUP and PARTITIONED_METADATA, ServiceNotReady makes most clients close the socket they share with all
/// their producers and consumers; MetadataError they try again, except for two, which give up for good.
pub(super) fn answer_to_lookup(fault: Fault, client: &Client) -> Answer {
    let (code, text) = answer(fault);
    let gives_up = ["DotPulsar", "pulsar-rs"].iter().any(|name| client.version.starts_with(name));
    match code {
        ServerError::ServiceNotReady if !gives_up => (ServerError::MetadataError, text),
        code => (code, text),
    }
}
