//! One client of a script, and what it may expect of its server.
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use prost::Message;
use proto::frame::{self, Frame};
use proto::pulsar::base_command::Type;
use proto::pulsar::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Reached;
use super::script::Saying;

/// No answer here is larger.
const FRAME_BYTES_MAX: usize = 1 << 20;

pub(super) fn connect() -> CommandConnect {
    CommandConnect { client_version: "fuzz".into(), protocol_version: Some(21), ..Default::default() }
}

/// A connection and its expectations.
pub(super) struct Talk {
    stream: TcpStream,
    buffer: BytesMut,
    /// What was said were whole frames, so that the server is listening for the next one.
    framed: bool,
    /// Each frame was one of ours, so that all answers are known beforehand.
    exact: bool,
    /// Something was said for which servers hang up.
    provoked: bool,
    /// What was asked, and how often it was answered, by request id.
    requests: HashMap<u64, (Type, u32)>,
    /// Permits granted and entries received, by consumer id.
    permits: HashMap<u64, (u64, u64)>,
    pub(super) pongs: u32,
}

/// What a frame of the server's means to a script.
pub(super) enum Heard {
    /// An id that later steps can speak of.
    Message(MessageIdData, Option<Bytes>),
    /// To be answered.
    Ping,
    Nothing,
}

/// A command as it travels. Commands are wide, and so would futures be that hold them.
pub(super) fn framed(command: impl Into<BaseCommand>, entry: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::new();
    frame::encode_head(&command.into(), entry.len(), &mut bytes);
    bytes.extend_from_slice(entry);
    bytes
}

impl Talk {
    /// Connects and says hello.
    pub(super) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (requests, permits) = Default::default();
        let mut talk = Self {
            stream,
            buffer: BytesMut::new(),
            framed: true,
            exact: true,
            provoked: false,
            requests,
            permits,
            pongs: 0,
        };
        talk.write(&framed(connect(), &[])).await;
        Ok(talk)
    }

    pub(super) fn is_framed(&self) -> bool {
        self.framed
    }

    pub(super) fn is_exact(&self) -> bool {
        self.exact
    }

    /// Whether the server has no reason to hang up.
    pub(super) fn is_well_behaved(&self) -> bool {
        self.exact && !self.provoked
    }

    pub(super) async fn ping(&mut self) {
        self.write(&framed(CommandPing {}, &[])).await;
    }

    pub(super) async fn pong(&mut self) {
        self.write(&framed(CommandPong {}, &[])).await;
    }

    pub(super) async fn raw(&mut self, bytes: &[u8]) {
        (self.framed, self.exact) = (false, false);
        self.write(bytes).await;
    }

    /// A frame, perhaps with a damaged byte; its sizes stay right.
    pub(super) async fn speak(&mut self, saying: &Saying) {
        if let Some(flow) = &saying.command.flow {
            self.permits.entry(flow.consumer_id).or_default().0 += u64::from(flow.message_permits);
        }
        // A second greeting, or a message of a producer that is not there.
        self.provoked |= matches!(saying.command.r#type(), Type::Connect | Type::AuthResponse | Type::Send);
        let Some((at, change)) = saying.damage.filter(|(_, change)| *change != 0) else {
            if let Some(request) = saying.request {
                self.requests.insert(request, (saying.command.r#type(), 0));
            }
            return self.write(&framed(saying.command.clone(), &saying.entry)).await;
        };
        self.exact = false;
        let mut command = saying.command.encode_to_vec();
        let at = usize::from(at) % command.len();
        command[at] ^= change;
        let size = u32::try_from(command.len()).expect("small");
        let total = size + 4 + u32::try_from(saying.entry.len()).expect("small");
        let sizes = [total.to_be_bytes(), size.to_be_bytes()].concat();
        self.write(&[&sizes[..], &command, &saying.entry].concat()).await;
    }

    /// A server that has hung up says so when it is read from.
    pub(super) async fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    pub(super) async fn end_of_writing(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// The next frame, or `None` once the server has hung up. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Box<Frame>> {
        loop {
            if let Some(frame) = self.buffered() {
                return Some(frame);
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Apart from [`next`](Self::next), whose future would be as wide as a frame.
    fn buffered(&mut self) -> Option<Box<Frame>> {
        let frame = frame::decode(&mut self.buffer, FRAME_BYTES_MAX).expect("a server sends valid frames");
        frame.map(Box::new)
    }

    /// Compares what came with what may come.
    pub(super) fn hear(&mut self, frame: Box<Frame>, reached: &mut Reached) -> Heard {
        let Frame { command, rest } = *frame;
        reached.note("heard", command.r#type().as_str_name());
        if let Some(request) = request_of(&command) {
            self.answered(request, &command, reached);
        }
        match command.r#type() {
            Type::Ping => return Heard::Ping,
            Type::Pong => self.pongs += 1,
            Type::SendReceipt => {
                let id = command.send_receipt.and_then(|receipt| receipt.message_id);
                return id.map_or(Heard::Nothing, |id| Heard::Message(id, None));
            }
            Type::Message => {
                let message = command.message.expect("of this type");
                let (granted, received) = self.permits.entry(message.consumer_id).or_default();
                *received += 1;
                assert!(!self.exact || received <= granted, "{received} entries for {granted} permits");
                return Heard::Message(message.message_id, Some(rest));
            }
            _ => {}
        }
        Heard::Nothing
    }

    fn answered(&mut self, request: u64, command: &BaseCommand, reached: &mut Reached) {
        let Some((asked, answers)) = self.requests.get_mut(&request) else {
            assert!(!self.exact, "an answer to nothing: {command:?}");
            return;
        };
        *answers += 1;
        // A producer that waits for its turn hears of it in a second answer.
        let waited = matches!(command.r#type(), Type::ProducerSuccess | Type::Error);
        assert!(!self.exact || *answers == 1 || (waited && *answers == 2), "answered twice: {command:?}");
        reached.note(if is_refusal(command) { "refused" } else { "granted" }, asked.as_str_name());
    }

    /// Whether something waits for its answer. Acknowledgements do not: whose consumer is not there, nobody answers.
    pub(super) fn is_waiting(&self) -> bool {
        self.requests.values().any(|(asked, answers)| *answers == 0 && *asked != Type::Ack)
    }
}

/// Some answers say in themselves that it was not done.
fn is_refusal(command: &BaseCommand) -> bool {
    command.error.is_some()
        || command.ack_response.as_ref().is_some_and(|answer| answer.error.is_some())
        || command.lookup_topic_response.as_ref().is_some_and(|answer| answer.error.is_some())
        || command.partition_metadata_response.as_ref().is_some_and(|answer| answer.error.is_some())
        || command.consumer_stats_response.as_ref().is_some_and(|answer| answer.error_code.is_some())
        || command.get_schema_response.as_ref().is_some_and(|answer| answer.error_code.is_some())
        || command.get_or_create_schema_response.as_ref().is_some_and(|answer| answer.error_code.is_some())
        || command.new_txn_response.as_ref().is_some_and(|answer| answer.error.is_some())
}

fn request_of(command: &BaseCommand) -> Option<u64> {
    let id = match command.r#type() {
        Type::Success => command.success.as_ref()?.request_id,
        Type::Error => command.error.as_ref()?.request_id,
        Type::ProducerSuccess => command.producer_success.as_ref()?.request_id,
        Type::LookupResponse => command.lookup_topic_response.as_ref()?.request_id,
        Type::PartitionedMetadataResponse => command.partition_metadata_response.as_ref()?.request_id,
        Type::ConsumerStatsResponse => command.consumer_stats_response.as_ref()?.request_id,
        Type::GetLastMessageIdResponse => command.get_last_message_id_response.as_ref()?.request_id,
        Type::GetTopicsOfNamespaceResponse => command.get_topics_of_namespace_response.as_ref()?.request_id,
        Type::GetSchemaResponse => command.get_schema_response.as_ref()?.request_id,
        Type::GetOrCreateSchemaResponse => command.get_or_create_schema_response.as_ref()?.request_id,
        Type::WatchTopicListSuccess => command.watch_topic_list_success.as_ref()?.request_id,
        Type::AckResponse => command.ack_response.as_ref()?.request_id?,
        Type::NewTxnResponse => command.new_txn_response.as_ref()?.request_id,
        _ => return None,
    };
    (id != u64::MAX).then_some(id) // Not an answer, but a word about the connection.
}
