//! The exchange over gRPC: one stream per client process, many requests per message.
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use daemon::Drain;
use futures::Stream;
use parking_lot::Mutex;
use proto::bookie::bookie_server::{Bookie as Exchange, BookieServer};
use proto::bookie::request::Body;
use proto::bookie::{Answer, Answers, Request, Requests};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::handle::Handle;
use crate::journal::ENTRY_BYTES_MAX;
use crate::reader::READ_BYTES_MAX;
use crate::session::Session;

/// The largest message of requests. Above it a stream ends.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Sized for few streams that carry much; the defaults of HTTP/2 would wait for the network after each 64 KiB.
const STREAM_WINDOW: u32 = 8 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
const FRAME_BYTES: u32 = 1 << 20;
/// A client opens one stream. More only to tell old from new.
const STREAMS_MAX: u32 = 16;
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Answers are joined into one message up to this size.
const ANSWERS_BYTES: usize = 1 << 20;
/// Entries read for a stream that its client has not taken yet.
const UNREAD_BYTES_MAX: usize = 32 << 20;
/// What any read costs at least.
const READ_BYTES_MIN: usize = 16 << 10;

/// Serves `listener` until the drain was asked for and what was taken is answered.
pub(crate) async fn serve(listener: TcpListener, handle: Handle, drain: Drain) -> Result<(), tonic::transport::Error> {
    let service = BookieServer::new(Service { handle, drain: drain.clone() })
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, async move { drain.requested().await })
        .await
}

#[derive(Debug)]
struct Service {
    handle: Handle,
    drain: Drain,
}

type AnswerStream = Pin<Box<dyn Stream<Item = Result<Answers, tonic::Status>> + Send>>;

#[tonic::async_trait]
impl Exchange for Service {
    type ExchangeStream = AnswerStream;

    async fn exchange(
        &self,
        request: tonic::Request<tonic::Streaming<Requests>>,
    ) -> Result<tonic::Response<AnswerStream>, tonic::Status> {
        let (session, answers) = self.handle.connect();
        let unread = Unread::new();
        let pump = tokio::spawn(pump(request.into_inner(), session, unread.clone(), self.drain.clone()));
        let outgoing = Outgoing { answers, unread, left: None, _pump: AbortOnDropHandle::new(pump) };
        let stream = futures::stream::unfold(outgoing, async |mut outgoing| {
            let answers = outgoing.next().await?;
            Some((Ok(Answers { answers }), outgoing))
        });
        Ok(tonic::Response::new(Box::pin(stream)))
    }
}

/// Takes requests until the client ends, errs, or the bookie drains. Dropping the session then lets the answers end.
async fn pump(mut requests: tonic::Streaming<Requests>, session: Session, unread: Unread, drain: Drain) {
    loop {
        let message = tokio::select! {
            biased; // A client that never pauses must not keep the bookie from stopping.
            () = drain.requested() => return,
            message = requests.message() => message,
        };
        match message {
            Ok(Some(Requests { requests })) => {
                if !unread.pass_on(requests, &session).await {
                    return;
                }
            }
            Ok(None) => return,
            Err(status) => {
                tracing::debug!(%status, "a stream of requests ended");
                return;
            }
        }
    }
}

/// Bounds what is read for a client that does not take it.
#[derive(Debug, Clone)]
struct Unread {
    room: Arc<Semaphore>,
    // By request. Two tasks of one stream: one takes requests, one gives answers.
    reads: Arc<Mutex<HashMap<u64, OwnedSemaphorePermit>>>,
}

impl Unread {
    fn new() -> Self {
        Self { room: Arc::new(Semaphore::new(UNREAD_BYTES_MAX)), reads: Arc::default() }
    }

    /// Gives the requests of a message to the session, reads only when there is room for them. `false` once the session is over.
    async fn pass_on(&self, requests: Vec<Request>, session: &Session) -> bool {
        let mut ready = Vec::with_capacity(requests.len());
        for request in requests {
            if let Some(Body::Read(read)) = &request.body {
                let bytes = (read.bytes_max as usize).clamp(READ_BYTES_MIN, READ_BYTES_MAX.max(ENTRY_BYTES_MAX));
                let bytes = u32::try_from(bytes).expect("far below 4 GiB");
                let mut room = self.room.clone().try_acquire_many_owned(bytes).ok();
                if room.is_none() {
                    // Room comes from the answers to what stands before it, in this very message perhaps.
                    if !session.send_when_room(std::mem::take(&mut ready)).await {
                        return false;
                    }
                    room = self.room.clone().acquire_many_owned(bytes).await.ok();
                }
                self.reads.lock().extend(room.map(|room| (request.id, room)));
            }
            ready.push(request);
        }
        session.send_when_room(ready).await
    }

    fn give_back(&self, answers: &[Answer]) {
        let mut reads = self.reads.lock();
        if !reads.is_empty() {
            answers.iter().for_each(|answer| drop(reads.remove(&answer.id)));
        }
    }
}

/// Answers on their way out. Asked for more only when the connection has room.
struct Outgoing {
    answers: mpsc::Receiver<Vec<Answer>>,
    unread: Unread,
    left: Option<Vec<Answer>>,
    _pump: AbortOnDropHandle<()>,
}

impl Outgoing {
    /// All that is ready, up to the size of a message.
    async fn next(&mut self) -> Option<Vec<Answer>> {
        let mut all = match self.left.take() {
            Some(left) => left,
            None => self.answers.recv().await?,
        };
        let mut bytes = payload_bytes(&all);
        while bytes < ANSWERS_BYTES {
            let Ok(more) = self.answers.try_recv() else { break };
            let size = payload_bytes(&more);
            if ANSWERS_BYTES < bytes + size {
                self.left = Some(more);
                break;
            }
            bytes += size;
            all.extend(more);
        }
        self.unread.give_back(&all);
        Some(all)
    }
}

fn payload_bytes(answers: &[Answer]) -> usize {
    let entries = answers.iter().flat_map(|answer| &answer.entries);
    32 * answers.len() + entries.map(|entry| 64 + entry.payload.len()).sum::<usize>()
}

#[cfg(test)]
mod tests;
