//! A small client of the Pulsar protocol that trusts nothing: one socket per role, every answer checked.
//!
//! Promises: receipts are matched to sends in order, entries are checked against their checksum, and a server that
//! breaks the protocol is an error with a name, not a retry.
mod connection; // In the order a client works.
mod lookup;
mod publisher;
mod subscriber;

pub use connection::Connection;
pub use lookup::{Route, connect_to_owner, find_owner};
pub use publisher::{ProducerId, Publisher, Receipt};
pub use subscriber::{Delivery, Event, Kind, Start, Subscriber, Subscription};

use daemon::Failure;
use proto::pulsar::ServerError;

/// Why the client stopped, named by what its caller does next.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The socket ended or would not open: connect again, perhaps elsewhere.
    #[error("connection lost: {0}")]
    Lost(#[from] std::io::Error),
    /// The server asks to look the topic up again.
    #[error("the server closed a producer or consumer: look up again")]
    Moved,
    /// The server answered with an error code.
    #[error("refused with {code:?}: {message}")]
    Refused {
        /// The protocol's code.
        code: ServerError,
        /// The server's words.
        message: String,
    },
    /// No answer in time. Whatever was asked may have happened.
    #[error("no answer within {0} s")]
    Silent(u64),
    /// The server broke the protocol. A finding, not a condition.
    #[error("protocol broken: {0}")]
    Protocol(String),
}

impl ClientError {
    /// Whether another attempt may succeed. What breaks the protocol must be seen by a person.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self {
            Self::Lost(_) | Self::Moved | Self::Silent(_) => true,
            Self::Refused { code, .. } => matches!(
                code,
                ServerError::ServiceNotReady
                    | ServerError::MetadataError
                    | ServerError::PersistenceError
                    | ServerError::ConsumerBusy
                    | ServerError::ProducerBusy
                    | ServerError::TooManyRequests
            ),
            Self::Protocol(_) => false,
        }
    }

    pub(crate) fn refused(code: Option<i32>, message: Option<String>) -> Self {
        let code = code.and_then(|code| ServerError::try_from(code).ok()).unwrap_or(ServerError::UnknownError);
        Self::Refused { code, message: message.unwrap_or_default() }
    }
}

impl From<proto::frame::FrameError> for ClientError {
    fn from(error: proto::frame::FrameError) -> Self {
        Self::Protocol(error.to_string())
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::internal(error)
    }
}
