//! A socket without manners.
use std::time::Duration;

use bytes::BytesMut;
use proto::entry;
use proto::frame::{self, Frame};
use proto::pulsar::base_command::Type;
use proto::pulsar::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Closing or answering takes no longer.
const REACTS_WITHIN: Duration = Duration::from_secs(10);
const FRAME_BYTES_MAX: usize = 6 << 20;

/// One connection.
pub(crate) struct Raw {
    stream: TcpStream,
    incoming: BytesMut,
}

/// A command as it stands on the wire.
pub(crate) fn frame(command: impl Into<BaseCommand>) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    frame::encode(&command.into(), &mut bytes);
    bytes.to_vec()
}

pub(crate) fn connect_frame() -> Vec<u8> {
    frame(CommandConnect { client_version: "raw".into(), protocol_version: Some(21), ..Default::default() })
}

/// The producer's id is that of the request.
pub(crate) fn producer_frame(topic: &str, id: u64) -> Vec<u8> {
    frame(CommandProducer { topic: topic.into(), producer_id: id, request_id: id, ..Default::default() })
}

/// The consumer's id is that of the request.
pub(crate) fn subscribe_frame(topic: &str, id: u64) -> Vec<u8> {
    frame(CommandSubscribe {
        topic: topic.into(),
        subscription: "raw".into(),
        sub_type: command_subscribe::SubType::Shared as i32,
        consumer_id: id,
        request_id: id,
        ..Default::default()
    })
}

pub(crate) fn send_frame(producer_id: u64, sequence_id: u64, payload: &[u8]) -> Vec<u8> {
    let metadata = MessageMetadata { producer_name: "raw".into(), sequence_id, publish_time: 1, ..Default::default() };
    entry_frame(CommandSend { producer_id, sequence_id, ..Default::default() }, &entry::build(&metadata, payload))
}

/// Any bytes as the entry of a SEND.
pub(crate) fn entry_frame(command: CommandSend, entry: &[u8]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    frame::encode_head(&command.into(), entry.len(), &mut bytes);
    bytes.extend_from_slice(entry);
    bytes.to_vec()
}

impl Raw {
    pub(crate) async fn connect(address: &str) -> Self {
        let stream = timeout(REACTS_WITHIN, TcpStream::connect(address)).await.expect("in time").expect("it accepts");
        Self { stream, incoming: BytesMut::new() }
    }

    pub(crate) async fn greeted(address: &str) -> Self {
        let mut raw = Self::connect(address).await;
        raw.write(&connect_frame()).await;
        raw.answer(Type::Connected).await;
        raw
    }

    /// A server that has hung up already is as good as one that reads: what counts is how it ends.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        let _ = timeout(REACTS_WITHIN, self.stream.write_all(bytes)).await.expect("the server reads or hangs up");
    }

    /// Writes until the server has stopped reading for a second.
    pub(crate) async fn write_until_blocked(&mut self, bytes: &[u8]) {
        while timeout(Duration::from_secs(1), self.stream.write_all(bytes)).await.is_ok_and(|written| written.is_ok()) {
        }
    }

    /// Says that nothing more comes.
    pub(crate) async fn end_of_writing(&mut self) {
        let _ = self.stream.shutdown().await; // It may have hung up already.
    }

    /// The next answer, whatever it is.
    pub(crate) async fn next_answer(&mut self) -> Box<BaseCommand> {
        let frame = timeout(REACTS_WITHIN, self.read()).await.expect("it answers in time");
        Box::new(frame.expect("it answers and does not hang up").command)
    }

    /// The next answer, which must be of this type.
    pub(crate) async fn answer(&mut self, kind: Type) -> Box<BaseCommand> {
        let answer = self.next_answer().await;
        assert_eq!(answer.r#type(), kind, "{answer:?}");
        answer
    }

    /// It answers with an error, or hangs up, or both.
    pub(crate) async fn is_refused(&mut self, what: &str) {
        let first = timeout(REACTS_WITHIN, self.read()).await;
        if let Some(frame) = first.unwrap_or_else(|_| panic!("{what}: neither answered nor hung up on")) {
            let kind = frame.command.r#type();
            let refused = matches!(kind, Type::Error | Type::SendError);
            assert!(refused, "{what}: answered with {kind:?}");
        }
    }

    /// What comes of what was said, as a text: the answers with their errors in order, `closed` at the end if it hung up. Waits for as
    /// many answers as `expected` has, and for the answer to a PING.
    pub(crate) async fn outcome(&mut self, expected: &str) -> String {
        self.write(&frame(CommandPing {})).await;
        let wanted: Vec<&str> = expected.split(", ").filter(|part| !part.is_empty()).collect();
        let closes = wanted.last().is_some_and(|last| last.starts_with("closed"));
        let (mut answers, mut ponged) = (Vec::new(), false);
        while closes || !ponged || answers.len() < wanted.len() {
            match timeout(REACTS_WITHIN, self.read()).await {
                Err(_) => {
                    answers.push("silence".to_owned());
                    break;
                }
                Ok(None) => {
                    answers.push("closed".to_owned());
                    break;
                }
                Ok(Some(said)) => match said.command.r#type() {
                    Type::Pong => ponged = true,
                    Type::Ping => self.write(&frame(CommandPong {})).await,
                    Type::ActiveConsumerChange => {}
                    kind => answers.push(match error_of(&said.command) {
                        Some(error) => format!("{kind:?} {error:?}"),
                        None => format!("{kind:?}"),
                    }),
                },
            }
        }
        answers.join(", ")
    }

    /// All that comes until it hangs up.
    pub(crate) async fn ends(&mut self, what: &str) -> Vec<BaseCommand> {
        let mut answers = Vec::new();
        let all = async {
            while let Some(frame) = self.read().await {
                answers.push(frame.command);
            }
        };
        timeout(REACTS_WITHIN, all).await.unwrap_or_else(|_| panic!("{what}: the connection was left open"));
        answers
    }

    /// The next frame, or `None` once the server has hung up.
    async fn read(&mut self) -> Option<Box<Frame>> {
        loop {
            let frame = frame::decode(&mut self.incoming, FRAME_BYTES_MAX).expect("a server sends valid frames");
            if let Some(frame) = frame {
                return Some(Box::new(frame));
            }
            match self.stream.read_buf(&mut self.incoming).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}

/// The error that an answer carries.
fn error_of(command: &BaseCommand) -> Option<ServerError> {
    let code = match command.r#type() {
        Type::Error => Some(command.error.as_ref()?.error),
        Type::SendError => Some(command.send_error.as_ref()?.error),
        Type::LookupResponse => command.lookup_topic_response.as_ref()?.error,
        Type::PartitionedMetadataResponse => command.partition_metadata_response.as_ref()?.error,
        Type::GetSchemaResponse => command.get_schema_response.as_ref()?.error_code,
        Type::GetOrCreateSchemaResponse => command.get_or_create_schema_response.as_ref()?.error_code,
        Type::AckResponse => command.ack_response.as_ref()?.error,
        Type::ConsumerStatsResponse => command.consumer_stats_response.as_ref()?.error_code,
        Type::NewTxnResponse => command.new_txn_response.as_ref()?.error,
        _ => None,
    };
    Some(ServerError::try_from(code?).unwrap_or(ServerError::UnknownError))
}
