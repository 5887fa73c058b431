//! One socket, spoken to frame by frame.
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use proto::frame::{self, FRAME_PADDING, Frame, MESSAGE_BYTES_MAX};
use proto::pulsar::base_command::Type;
use proto::pulsar::{BaseCommand, CommandConnect, CommandPong, FeatureFlags};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::ClientError;

/// Longer silence is a fault of the server: its own promise is to answer or close within 15 s.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// As other clients have it.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const PROTOCOL_VERSION: i32 = 21;

/// A greeted connection. Used by one task: what it queues is written by [`Connection::flush`].
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    incoming: BytesMut,
    outgoing: BytesMut,
    early: VecDeque<Box<Frame>>, // Came while an answer was awaited.
    requests: u64,
}

impl Connection {
    /// Connects to `host:port` and exchanges greetings. `proxied` names the broker meant, when the address is a way to it.
    pub async fn open(address: &str, proxied: Option<&str>) -> Result<Self, ClientError> {
        let connected = tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(address)).await;
        let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        stream.set_nodelay(true)?;
        let mut connection =
            Self { stream, incoming: BytesMut::new(), outgoing: BytesMut::new(), early: VecDeque::new(), requests: 0 };
        connection.queue(CommandConnect {
            client_version: "geminga-tests".into(),
            protocol_version: Some(PROTOCOL_VERSION),
            proxy_to_broker_url: proxied.map(str::to_owned),
            feature_flags: Some(FeatureFlags { supports_auth_refresh: Some(true), ..Default::default() }),
            ..Default::default()
        });
        let greeting = in_time(async {
            connection.flush().await?;
            connection.receive().await
        });
        check_greeting(*greeting.await?)?;
        Ok(connection)
    }

    /// A number no earlier request of this connection has.
    pub fn request_id(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    /// Puts a command behind what is to be written.
    pub fn queue(&mut self, command: impl Into<BaseCommand>) {
        frame::encode(&command.into(), &mut self.outgoing);
    }

    /// Puts a command with an entry behind what is to be written.
    pub fn queue_entry(&mut self, command: impl Into<BaseCommand>, entry: &[u8]) {
        frame::encode_head(&command.into(), entry.len(), &mut self.outgoing);
        self.outgoing.extend_from_slice(entry);
    }

    /// Bytes queued and not yet written.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.outgoing.len()
    }

    /// Writes what is queued. Cancel safe: what was written is forgotten, the rest stays.
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        Ok(self.stream.write_all_buf(&mut self.outgoing).await?)
    }

    /// The next frame that is no answer to a request, without a deadline. Answers pings. Cancel safe.
    pub async fn next(&mut self) -> Result<Box<Frame>, ClientError> {
        match self.early.pop_front() {
            Some(frame) => Ok(frame),
            None => self.receive().await,
        }
    }

    /// The next frame that is no answer to a request, in time.
    pub async fn next_in_time(&mut self) -> Result<Box<Frame>, ClientError> {
        in_time(self.next()).await
    }

    /// Drops frames that came early: of a consumer that is detached.
    pub(super) fn forget_early(&mut self) {
        self.early.clear();
    }

    /// Whether a frame is at hand without asking the socket.
    #[must_use]
    pub fn has_frame(&self) -> bool {
        let whole = |head: &[u8; 4]| 4 + u32::from_be_bytes(*head) as usize <= self.incoming.len();
        !self.early.is_empty() || self.incoming.first_chunk::<4>().is_some_and(whole)
    }

    async fn receive(&mut self) -> Result<Box<Frame>, ClientError> {
        loop {
            if let Some(frame) = self.take_frame()? {
                match frame.command.r#type() {
                    Type::Ping => {
                        self.queue(CommandPong {});
                        self.flush().await?;
                    }
                    Type::Pong => {}
                    _ => return Ok(frame),
                }
            } else if self.stream.read_buf(&mut self.incoming).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    /// Boxed: a frame has room for every command there is, too much to carry in futures.
    fn take_frame(&mut self) -> Result<Option<Box<Frame>>, ClientError> {
        Ok(frame::decode(&mut self.incoming, MESSAGE_BYTES_MAX + FRAME_PADDING)?.map(Box::new))
    }

    /// Sends a request and waits for its answer; other frames wait for [`Connection::next`].
    /// An ERROR with the request's id is the error [`ClientError::Refused`].
    pub async fn ask(&mut self, command: impl Into<BaseCommand>, request_id: u64) -> Result<Box<Frame>, ClientError> {
        self.queue(command);
        in_time(self.answer(request_id)).await
    }

    async fn answer(&mut self, request_id: u64) -> Result<Box<Frame>, ClientError> {
        self.flush().await?;
        loop {
            let mut frame = self.receive().await?;
            if answered_request(&frame.command) != Some(request_id) {
                self.early.push_back(frame);
            } else if let Some(error) = frame.command.error.take() {
                return Err(ClientError::refused(Some(error.error), Some(error.message)));
            } else {
                return Ok(frame);
            }
        }
    }
}

fn check_greeting(greeting: Frame) -> Result<(), ClientError> {
    let command = greeting.command;
    match (command.r#type(), command.connected, command.error) {
        (Type::Connected, Some(connected), _) if connected.protocol_version.is_some() => Ok(()),
        (Type::Error, _, Some(error)) => Err(ClientError::refused(Some(error.error), Some(error.message))),
        (other, ..) => Err(ClientError::Protocol(format!("greeted with {other:?}"))),
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    tokio::time::timeout(ANSWER_WITHIN, work).await.unwrap_or(Err(ClientError::Silent(ANSWER_WITHIN.as_secs())))
}

/// Which request a command answers. Acknowledgements are pipelined and therefore not requests in this sense.
fn answered_request(command: &BaseCommand) -> Option<u64> {
    let BaseCommand { success, error, producer_success, partition_metadata_response, .. } = command;
    let BaseCommand { lookup_topic_response, get_last_message_id_response, .. } = command;
    (success.as_ref().map(|answer| answer.request_id))
        .or(error.as_ref().map(|answer| answer.request_id))
        .or(producer_success.as_ref().map(|answer| answer.request_id))
        .or(partition_metadata_response.as_ref().map(|answer| answer.request_id))
        .or(lookup_topic_response.as_ref().map(|answer| answer.request_id))
        .or(get_last_message_id_response.as_ref().map(|answer| answer.request_id))
}
