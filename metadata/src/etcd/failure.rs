//! What an error of etcd's client says about the request.
use std::error::Error as _;
use std::io;

use tonic::{Code, Status};

use crate::store::Error;

/// Why a request did not bring an answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was not carried out, and may be repeated.
    NotDone(String),
    /// Whether it was carried out is not known.
    Lost(String),
    /// The answer exceeds what the client takes.
    TooLarge(String),
    /// It was not carried out, and never will be.
    Refused(String),
}

impl Failure {
    /// For calls that change nothing.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::NotDone(reason) | Self::Lost(reason) => Error::Unavailable { reason },
            Self::TooLarge(reason) | Self::Refused(reason) => Error::Refused { reason },
        }
    }
}

/// Sorts an error by what it leaves behind. What is not known to be harmless is lost.
pub(super) fn failure(error: etcd_client::Error) -> Failure {
    use etcd_client::Error as Etcd;
    match error {
        Etcd::GRpcStatus(status) => of_status(&status),
        Etcd::InvalidArgs(_) | Etcd::InvalidUri(_) | Etcd::InvalidMetadataValue(_) => {
            Failure::Refused(error.to_string())
        }
        error => Failure::Lost(error.to_string()),
    }
}

fn of_status(status: &Status) -> Failure {
    let reason = format!("etcd: {}", status.message());
    match status.code() {
        Code::Unavailable if never_connected(status) => Failure::NotDone("no connection to etcd".into()),
        // Out of space, or too many requests queue: said before anything is proposed.
        Code::ResourceExhausted => Failure::NotDone(reason),
        Code::OutOfRange => Failure::TooLarge(reason),
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::Unimplemented => Failure::Refused(reason),
        _ => Failure::Lost(reason),
    }
}

/// Whether the server's port was closed, so that nothing can have reached it.
fn never_connected(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.kind() == io::ErrorKind::ConnectionRefused;
        }
        source = error.source();
    }
    false
}
