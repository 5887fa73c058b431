//! Connections driven frame by frame over loopback, with topics in memory.
mod access_modes;
mod amnesia;
mod consuming;
mod deduplication;
mod ending;
mod greeting;
mod hostile;
mod limits;
mod listing;
mod non_persistent;
mod power_cuts;
mod publishing;
mod rates;
mod requests;
mod schemas;
mod seeking;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use daemon::Drain;
use ledger::{MemoryLedgers, QuorumPolicy};
use metadata::{Expect, MemoryStore, MetadataStore, Operation, Transaction};
use prost::Message;
use proto::frame::{self, Frame};
use proto::pulsar::base_command::Type;
use proto::pulsar::command_ack::AckType;
use proto::pulsar::command_subscribe::{InitialPosition, SubType};
use proto::pulsar::*;
use proto::records::{BrokerRecord, NamespaceRecord, TenantRecord};
use proto::{Position, TopicName, keys};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::log::rig::MortalStore;
use crate::log::{EntryCache, LogContext, ObjectTier, Rollover};
use crate::moves::{Balancer, Moves};
use crate::namespaces::Namespaces;
use crate::offload::{Kinds, Stores};
use crate::ownership::{Keeping, Ownership, Probe};
use crate::policies::Policies;
use crate::schemas::Schemas;
use crate::topic::{TopicSetup, Topics};
use crate::upkeep::{Rooms, Tiering, Upkeep};
use crate::{Clock, Config, Context};

const TOPIC: &str = "persistent://public/default/orders";
/// Longer than anything takes here. Reached only when a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// What outlives a broker, with faults on request.
#[derive(Clone)]
struct Storage {
    metadata: Arc<MortalStore>,
    ledgers: MemoryLedgers,
}

impl Storage {
    async fn new() -> Self {
        let metadata = Arc::new(MortalStore::over(MemoryStore::default()));
        make_default_namespace(&*metadata).await;
        Self { ledgers: MemoryLedgers::new(metadata.clone()), metadata }
    }
}

struct Broker {
    address: SocketAddr,
    context: Arc<Context>,
    drain: Drain,
    serving: JoinHandle<()>,
    keeping: Keeping,
}

impl Broker {
    async fn start() -> Self {
        Self::with(Config::default(), true).await
    }

    async fn with(config: Config, standalone: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Self::serve(listener, &Storage::new().await, &address, "start", config, standalone).await
    }

    /// One start of a broker that clients know by one name.
    async fn started(storage: &Storage, start: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::serve(listener, storage, "broker.test:6650", start, Config::default(), true).await
    }

    async fn serve(
        listener: TcpListener,
        storage: &Storage,
        name: &str,
        start: &str,
        config: Config,
        standalone: bool,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let (context, keeping) = context(config, standalone, storage.clone(), name, start).await;
        for topic in [TOPIC, "persistent://public/default/__change_events"] {
            context.ownership.lookup(&self::name(topic)).await.unwrap(); // As clients do: it takes the bundle.
        }
        let drain = Drain::new();
        let serving = tokio::spawn(super::serve(listener, context.clone(), drain.clone()));
        Self { address, context, drain, serving, keeping }
    }

    /// Its lease is over, and it does not know: all else is left running, which is worse than a crash. It may still write and answer.
    async fn loses_its_lease(self) {
        self.keeping.stop().await;
    }

    async fn client(&self) -> Client {
        let mut client = self.stranger().await;
        client
            .send(CommandConnect { client_version: "test".into(), protocol_version: Some(21), ..Default::default() })
            .await;
        client.expect(Type::Connected).await;
        client
    }

    async fn stranger(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        Client { stream, buffer: BytesMut::new(), requests: 100 }
    }

    async fn stop(self) {
        self.drain.request();
        self.serving.await.unwrap();
    }

    fn topic(&self, name: &str) -> crate::topic::TopicHandle {
        self.context.topics.get(&name.parse().unwrap()).expect("it is loaded")
    }
}

async fn make_default_namespace(metadata: &dyn MetadataStore) {
    let tenant = TenantRecord::default().encode_to_vec();
    let boundaries = vec![0, 0x4000_0000, 0x8000_0000, 0xc000_0000, u32::MAX];
    let namespace = NamespaceRecord { boundaries, ..Default::default() }.encode_to_vec();
    let default = "public/default".parse().unwrap();
    let puts = vec![
        Operation::put(keys::tenant("public"), tenant, Expect::Absent),
        Operation::put(keys::namespace(&default), namespace, Expect::Absent),
    ];
    metadata.commit(Transaction::new(puts)).await.unwrap();
}

async fn context(
    config: Config,
    standalone: bool,
    Storage { metadata, ledgers }: Storage,
    broker: &str,
    start: &str,
) -> (Arc<Context>, Keeping) {
    let (metadata, ledgers): (Arc<dyn MetadataStore>, _) = (metadata, Arc::new(ledgers));
    let clock = Clock::runtime(1_700_000_000_000);
    let listeners = [("outside".into(), "203.0.113.1:16650".into())].into();
    let me = BrokerRecord { broker: broker.into(), start: start.into(), listeners, ..Default::default() };
    let (ownership, keeping) = Ownership::start(me, metadata.clone(), clock.clone(), Probe::told()).await.unwrap();
    let tier = ObjectTier::new(metadata.clone(), Stores::new(1, Kinds::All), 8 << 20, 1);
    let log = LogContext {
        metadata: metadata.clone(),
        ledgers: ledgers.clone(),
        policy: QuorumPolicy { ensemble: 1, write: 1, ack: 1 },
        rollover: Rollover { entries_max: 7, ..Default::default() },
        cache: EntryCache::new(1 << 20),
        tier: tier.clone(),
        start: start.into(),
        clock: clock.clone(),
        sealed: tokio::sync::mpsc::channel(1).0,
    };
    let rollover = log.rollover;
    let owner = ownership.clone();
    let topics = Topics::new(TopicSetup {
        log,
        owns: Box::new(move |topic| owner.owns(topic)),
        producer_prefix: "test-1".into(),
        clock: clock.clone(),
    });
    let policies = Policies::new(metadata.clone(), config.of_broker());
    let tiering = Tiering::new(tier, policies.clone(), config.offload(), clock.clone());
    let schemas = Schemas::new(metadata.clone(), clock.clone());
    let rooms = Rooms { topics: topics.clone(), policies: policies.clone(), schemas: schemas.clone() };
    let upkeep = Upkeep::new(rooms, tiering, rollover, Duration::ZERO, clock.clone(), 1);
    let moves = Moves {
        ownership: ownership.clone(),
        topics: topics.clone(),
        peers: reqwest::Client::new(),
        addresses_mislead: false,
    };
    let balance = Balancer::new(moves.clone(), clock.clone(), 0);
    let context = Context {
        moves,
        balance,
        policies,
        upkeep,
        broker: broker.into(),
        start: start.into(),
        standalone,
        namespaces: Namespaces::new(metadata.clone(), clock.clone(), &config.cluster, config.auto_create_topics),
        schemas,
        config,
        clock,
        metadata,
        ledgers,
        repairs: None,
        ownership,
        topics,
    };
    (Arc::new(context), keeping)
}

struct Client {
    stream: TcpStream,
    buffer: BytesMut,
    requests: u64,
}

impl Client {
    fn request_id(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    async fn send(&mut self, command: impl Into<BaseCommand>) {
        let mut bytes = BytesMut::new();
        frame::encode(&command.into(), &mut bytes);
        self.write(&bytes).await;
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next frame, or `None` when the broker has closed the connection.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = frame::decode(&mut self.buffer, 8 << 20).expect("the broker sends whole frames") {
                return Some(frame);
            }
            let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await;
            match read.expect("the broker says something") {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    async fn expect(&mut self, kind: Type) -> BaseCommand {
        self.expect_frame(kind).await.command
    }

    async fn expect_frame(&mut self, kind: Type) -> Frame {
        let frame = self.next().await.expect("the connection is open");
        assert_eq!(frame.command.r#type(), kind, "{:?}", frame.command);
        frame
    }

    async fn expect_error(&mut self, request_id: u64, error: ServerError) -> String {
        let answer = self.expect(Type::Error).await.error.unwrap();
        assert_eq!((answer.request_id, answer.error()), (request_id, error), "{}", answer.message);
        answer.message
    }

    async fn expect_success(&mut self, request_id: u64) {
        assert_eq!(self.expect(Type::Success).await.success.unwrap().request_id, request_id);
    }

    async fn expect_end(&mut self) {
        let frame = self.next().await;
        assert!(frame.is_none(), "{frame:?}");
    }

    /// Nothing else is on its way: the answer to a PING comes next.
    async fn expect_silence(&mut self) {
        self.send(CommandPing {}).await;
        self.expect(Type::Pong).await;
    }

    async fn producer(&mut self, topic: &str, producer_id: u64) -> CommandProducerSuccess {
        let request_id = self.request_id();
        self.send(CommandProducer { topic: topic.into(), producer_id, request_id, ..Default::default() }).await;
        let success = self.expect(Type::ProducerSuccess).await.producer_success.unwrap();
        assert_eq!(success.request_id, request_id);
        success
    }

    async fn publish(&mut self, producer_id: u64, sequence_id: u64, text: &str) -> MessageIdData {
        self.write(&send_bytes(producer_id, sequence_id, &message(text))).await;
        let receipt = self.expect(Type::SendReceipt).await.send_receipt.unwrap();
        assert_eq!((receipt.producer_id, receipt.sequence_id), (producer_id, sequence_id));
        receipt.message_id.unwrap()
    }

    async fn subscribe(&mut self, subscription: &str, kind: SubType, consumer_id: u64) -> u64 {
        let request_id = self.request_id();
        let mut command = subscription_command(subscription, kind, consumer_id);
        command.request_id = request_id;
        self.send(command).await;
        request_id
    }

    async fn subscribed(&mut self, subscription: &str, kind: SubType, consumer_id: u64) {
        let request_id = self.subscribe(subscription, kind, consumer_id).await;
        self.expect_success(request_id).await;
    }

    async fn flow(&mut self, consumer_id: u64, message_permits: u32) {
        self.send(CommandFlow { consumer_id, message_permits }).await;
    }

    /// The next message: what it says and the command it came with.
    async fn message(&mut self) -> (String, CommandMessage) {
        let frame = self.expect_frame(Type::Message).await;
        let parts = proto::entry::split(frame.rest).expect("bytes are those that were published");
        (String::from_utf8(parts.payload.to_vec()).unwrap(), frame.command.message.unwrap())
    }

    async fn messages(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        for _ in 0..count {
            texts.push(self.message().await.0);
        }
        texts
    }

    /// Acknowledges with a receipt.
    async fn ack(&mut self, consumer_id: u64, ack_type: AckType, ids: &[MessageIdData]) -> CommandAckResponse {
        let request_id = Some(self.request_id());
        let message_id = ids.to_vec();
        let ack = CommandAck { consumer_id, ack_type: ack_type.into(), message_id, request_id, ..Default::default() };
        self.send(ack).await;
        let response = self.expect(Type::AckResponse).await.ack_response.unwrap();
        assert_eq!((response.consumer_id, response.request_id), (consumer_id, request_id));
        response
    }
}

fn subscription_command(subscription: &str, kind: SubType, consumer_id: u64) -> CommandSubscribe {
    CommandSubscribe {
        topic: TOPIC.into(),
        subscription: subscription.into(),
        sub_type: kind.into(),
        consumer_id,
        consumer_name: Some(format!("c{consumer_id}")),
        initial_position: Some(InitialPosition::Earliest.into()),
        ..Default::default()
    }
}

fn message(text: &str) -> Bytes {
    let metadata = MessageMetadata { producer_name: "p".into(), publish_time: 5, ..Default::default() };
    proto::entry::build(&metadata, text.as_bytes())
}

fn batch(count: i32, text: &str) -> Bytes {
    let num_messages_in_batch = Some(count);
    let metadata = MessageMetadata { producer_name: "p".into(), num_messages_in_batch, ..Default::default() };
    proto::entry::build(&metadata, text.as_bytes())
}

fn send_bytes(producer_id: u64, sequence_id: u64, entry: &[u8]) -> Vec<u8> {
    let send = CommandSend { producer_id, sequence_id, num_messages: Some(1), ..Default::default() };
    let mut bytes = BytesMut::new();
    frame::encode_head(&send.into(), entry.len(), &mut bytes);
    bytes.extend_from_slice(entry);
    bytes.to_vec()
}

fn position(id: &MessageIdData) -> Position {
    Position::new(id.ledger_id, id.entry_id)
}

fn name(topic: &str) -> TopicName {
    topic.parse().unwrap()
}
