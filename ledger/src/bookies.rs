//! The seam to bookies: a sink of request batches and a stream of answer batches, over gRPC or within one process.
use std::fmt;

use async_trait::async_trait;
use proto::BookieId;
use proto::bookie::{Answer, Request};
use tokio::sync::mpsc;

/// Opens sessions with bookies by their identity.
#[async_trait]
pub trait Bookies: fmt::Debug + Send + Sync + 'static {
    /// Opens a session. Takes at most five seconds.
    async fn connect(&self, bookie: &BookieId) -> Result<Session, ConnectError>;
}

/// One stream of requests and its answers.
///
/// Requests of a session are taken in order, each is answered at most once, and within a ledger adds are answered in order.
/// When `answers` ends, the session is over: whatever was not answered has an unknown outcome.
#[derive(Debug)]
pub struct Session {
    /// Takes requests.
    pub requests: Box<dyn RequestSink>,
    /// Gives all answers that have come since last asked, as one batch.
    pub answers: mpsc::Receiver<Vec<Answer>>,
}

/// Where requests go. Dropping it ends the session.
pub trait RequestSink: fmt::Debug + Send + Sync + 'static {
    /// Queues a batch and returns at once. The caller bounds what is unanswered; a session that is over drops the batch
    /// and says `false`.
    fn send(&self, requests: Vec<Request>) -> bool;
}

/// Why there is no session.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectError {
    /// No live bookie registered this identity.
    #[error("bookie {bookie} is not registered as available")]
    Unknown {
        /// Which.
        bookie: BookieId,
    },
    /// It is registered but does not take connections.
    #[error("bookie {bookie} at {address} does not answer: {reason}")]
    Unreachable {
        /// Which.
        bookie: BookieId,
        /// Where it was looked for.
        address: String,
        /// For people.
        reason: String,
    },
}
