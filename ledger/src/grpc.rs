//! Bookies over gRPC: one bidirectional stream per session.
//!
//! Whatever has queued when the connection is ready goes out as one message, so nobody waits for a timer.
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream;
use metadata::MetadataStore;
use parking_lot::Mutex;
use prost::Message;
use proto::bookie::bookie_client::BookieClient;
use proto::bookie::{Answer, Answers, Request, Requests, request};
use proto::records::BookieAvailability;
use proto::{BookieId, keys};
use tokio::sync::{Notify, mpsc};
use tonic::Streaming;
use tonic::transport::Endpoint;

use crate::{Bookies, ConnectError, RequestSink, Session};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A peer that is silent for this long and does not answer a ping is gone.
const PING_EVERY: Duration = Duration::from_secs(2);
const PING_PATIENCE: Duration = Duration::from_secs(2);
const STREAM_WINDOW: u32 = 8 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
const FRAME_MAX: u32 = 1 << 20;
/// The largest message either way.
const MESSAGE_MAX: usize = 64 << 20;
/// Payload put into one message. A single entry may exceed it.
const MESSAGE_PAYLOAD: usize = 4 << 20;
/// Batches of answers that wait for the link's task, which never waits for anyone.
const ANSWERS_MAX: usize = 64;

/// Finds bookies' addresses in metadata and speaks gRPC with them.
#[derive(Debug)]
pub struct GrpcBookies {
    metadata: Arc<dyn MetadataStore>,
}

impl GrpcBookies {
    /// Bookies as they register themselves in `metadata`.
    #[must_use]
    pub fn new(metadata: Arc<dyn MetadataStore>) -> Self {
        Self { metadata }
    }

    async fn address(&self, bookie: &BookieId) -> Result<String, ConnectError> {
        let unreachable = |reason: String| ConnectError::Unreachable {
            bookie: bookie.clone(),
            address: "an unknown address".into(),
            reason,
        };
        let found = self.metadata.get(&keys::bookie_available(bookie).into()).await;
        let Some(record) = found.map_err(|error| unreachable(error.to_string()))? else {
            return Err(ConnectError::Unknown { bookie: bookie.clone() });
        };
        let available = BookieAvailability::decode(record.value).map_err(|error| unreachable(error.to_string()))?;
        Ok(available.address)
    }
}

#[async_trait]
impl Bookies for GrpcBookies {
    async fn connect(&self, bookie: &BookieId) -> Result<Session, ConnectError> {
        let address = self.address(bookie).await?;
        let unreachable =
            |reason: String| ConnectError::Unreachable { bookie: bookie.clone(), address: address.clone(), reason };
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| unreachable(error.to_string()))?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME_MAX)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_PATIENCE)
            .keep_alive_while_idle(true);
        let channel = endpoint.connect().await.map_err(|error| unreachable(cause(&error)))?;
        let mut client =
            BookieClient::new(channel).max_decoding_message_size(MESSAGE_MAX).max_encoding_message_size(MESSAGE_MAX);
        let queue = Arc::new(Queue::default());
        let sink = QueueSink(queue.clone());
        let outgoing = stream::unfold(queue, next_message);
        let exchange = tokio::time::timeout(CONNECT_TIMEOUT, client.exchange(outgoing)).await;
        let answers = match exchange {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return Err(unreachable(status.message().to_owned())),
            Err(_) => return Err(unreachable("it does not take a session in time".into())),
        };
        let (sender, receiver) = mpsc::channel(ANSWERS_MAX);
        // Ends with the stream, or when the session is dropped.
        tokio::spawn(carry(answers, sender, sink.0.clone()));
        Ok(Session { requests: Box::new(sink), answers: receiver })
    }
}

async fn next_message(queue: Arc<Queue>) -> Option<(Requests, Arc<Queue>)> {
    Some((queue.next().await?, queue))
}

fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

async fn carry(mut answers: Streaming<Answers>, sender: mpsc::Sender<Vec<Answer>>, queue: Arc<Queue>) {
    loop {
        tokio::select! {
            message = answers.message() => match message {
                Ok(Some(Answers { answers })) => {
                    if sender.send(answers).await.is_err() {
                        break;
                    }
                }
                Ok(None) => break,
                Err(status) => {
                    tracing::debug!(reason = status.message(), "a session with a bookie broke");
                    break;
                }
            },
            () = sender.closed() => break,
        }
    }
    queue.end();
}

/// What waits for the connection. The link bounds how much.
#[derive(Debug, Default)]
struct Queue {
    /// A lock and not a channel: everything queued is taken at once.
    state: Mutex<QueueState>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct QueueState {
    requests: Vec<Request>,
    over: bool,
}

impl Queue {
    /// The next message: all that has queued, up to a size. `None` once the session is over.
    async fn next(&self) -> Option<Requests> {
        loop {
            {
                let mut state = self.state.lock();
                if state.over {
                    return None;
                }
                if !state.requests.is_empty() {
                    return Some(Requests { requests: front(&mut state.requests) });
                }
            }
            self.filled.notified().await;
        }
    }

    fn end(&self) {
        let mut state = self.state.lock();
        state.over = true;
        state.requests = Vec::new();
        self.filled.notify_one();
    }
}

fn front(requests: &mut Vec<Request>) -> Vec<Request> {
    let mut bytes = 0;
    let mut count = 0;
    while count < requests.len() && bytes < MESSAGE_PAYLOAD {
        bytes += match &requests[count].body {
            Some(request::Body::Add(add)) => add.payload.len() + 64,
            _ => 64,
        };
        count += 1;
    }
    let rest = requests.split_off(count);
    std::mem::replace(requests, rest)
}

#[derive(Debug)]
struct QueueSink(Arc<Queue>);

impl RequestSink for QueueSink {
    fn send(&self, mut requests: Vec<Request>) -> bool {
        let mut state = self.0.state.lock();
        if state.over {
            return false;
        }
        if state.requests.is_empty() {
            state.requests = requests;
        } else {
            state.requests.append(&mut requests);
        }
        drop(state);
        self.0.filled.notify_one();
        true
    }
}

impl Drop for QueueSink {
    fn drop(&mut self) {
        self.0.end();
    }
}
