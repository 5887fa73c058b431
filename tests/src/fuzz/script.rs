//! A fuzz input, read as what two clients say one after the other.
//!
//! ```text
//! repeat { [operation u8][who u8][arguments, as many as the operation has] }
//! who: ssttiiic   c connection, i producer or consumer id, t topic, s subscription
//!
//!  0 settle              8 CLOSE_CONSUMER       16 WATCH_TOPIC_LIST        24 CONNECT
//!  1 PRODUCER            9 CLOSE_PRODUCER       17 WATCH_TOPIC_LIST_CLOSE  25 bytes
//!  2 SEND               10 UNSUBSCRIBE          18 GET_SCHEMA              26 a frame of any bytes
//!  3 SUBSCRIBE          11 GET_LAST_MESSAGE_ID  19 GET_OR_CREATE_SCHEMA    27 damage the next command
//!  4 FLOW               12 CONSUMER_STATS       20 PING                    28 administration
//!  5 ACK                13 LOOKUP               21 PONG                    29 hang up
//!  6 REDELIVER          14 PARTITIONED_METADATA 22 AUTH_RESPONSE
//!  7 SEEK               15 topics of namespace  23 NEW_TXN
//! ```
//! Bytes that are missing are 0, numbers beyond a table begin again at its start: each input is a script, and a change of one byte
//! changes little of it. So what is found goes beyond the greeting: producers, consumers, permits, acknowledgements, seeks.
use bytes::Bytes;
use proto::entry;
use proto::pulsar::command_ack::{AckType, ValidationError};
use proto::pulsar::command_subscribe::InitialPosition;
use proto::pulsar::*;

/// Topics of one script.
pub(super) const TOPICS: u8 = 3;
/// Of which this one stores nothing.
const NON_PERSISTENT: u8 = 2;
/// Longer scripts end here.
const STEPS_MAX: u32 = 64;
/// How many operations there are.
const OPERATIONS: u8 = 30;

/// What happens next.
#[derive(Debug)]
pub(super) enum Step {
    /// Both clients read until their server has nothing more to say.
    Settle,
    Say(Box<Saying>),
    /// Bytes outside any frame.
    Raw {
        connection: usize,
        bytes: Vec<u8>,
    },
    /// Administration comes in between.
    Admin {
        topic: u8,
        method: &'static str,
        page: &'static str,
    },
    HangUp {
        connection: usize,
    },
}

/// One frame.
#[derive(Debug)]
pub(super) struct Saying {
    pub(super) connection: usize,
    pub(super) command: BaseCommand,
    pub(super) entry: Bytes,
    /// The request that must be answered once.
    pub(super) request: Option<u64>,
    /// Which byte of the encoded command is changed, and how.
    pub(super) damage: Option<(u8, u8)>,
}

/// Who says it, about what.
#[derive(Clone, Copy)]
struct Who(u8);

impl Who {
    fn connection(self) -> usize {
        usize::from(self.0 & 1)
    }

    fn id(self) -> u64 {
        match (self.0 >> 1) & 7 {
            7 => u64::MAX,
            id => u64::from(id),
        }
    }

    fn topic(self) -> u8 {
        ((self.0 >> 4) & 3) % TOPICS
    }

    fn subscription(self) -> String {
        format!("s{}", self.0 >> 6)
    }
}

/// Reads an input step by step.
pub(super) struct Script<'a> {
    rest: &'a [u8],
    /// Goes into the names of topics, so that each run has its own.
    run: u64,
    requests: u64,
    steps: u32,
    damage: Option<(u8, u8)>,
}

impl<'a> Script<'a> {
    pub(super) fn new(input: &'a [u8], run: u64) -> Self {
        Self { rest: input, run, requests: 0, steps: 0, damage: None }
    }

    pub(super) fn topic(run: u64, topic: u8) -> String {
        let domain = if topic == NON_PERSISTENT { "non-persistent" } else { "persistent" };
        format!("{domain}://public/default/r{run}t{topic}")
    }

    /// `known` are ids of messages that have been published or delivered.
    pub(super) fn next_step(&mut self, known: &[MessageIdData]) -> Option<Step> {
        if self.rest.is_empty() || self.steps == STEPS_MAX {
            return None;
        }
        self.steps += 1;
        let (operation, who) = (self.byte() % OPERATIONS, Who(self.byte()));
        let connection = who.connection();
        Some(match operation {
            0 => Step::Settle,
            25 => Step::Raw { connection, bytes: self.piece() },
            26 => {
                let bytes = self.piece();
                let length = u32::try_from(bytes.len()).expect("short");
                let head = [(length + 4).to_be_bytes(), length.to_be_bytes()].concat();
                Step::Raw { connection, bytes: [head, bytes].concat() }
            }
            27 => {
                self.damage = Some((self.byte(), self.byte()));
                return self.next_step(known);
            }
            28 => self.admin(who),
            29 => Step::HangUp { connection },
            _ => self.say(operation, who, known),
        })
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    /// As many bytes as the next one says.
    fn piece(&mut self) -> Vec<u8> {
        let length = usize::from(self.byte()).min(self.rest.len());
        let (piece, rest) = self.rest.split_at(length);
        self.rest = rest;
        piece.to_vec()
    }

    fn request(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    fn admin(&mut self, who: Who) -> Step {
        const PAGES: [(&str, &str); 7] = [
            ("PUT", "/unload"),
            ("POST", "/terminate"),
            ("DELETE", "?force=true"),
            ("DELETE", ""),
            ("DELETE", "/truncate"),
            ("POST", "/subscription/s0/skip_all"),
            ("DELETE", "/subscription/s0?force=true"),
        ];
        let (method, page) = PAGES[usize::from(self.byte()) % PAGES.len()];
        Step::Admin { topic: who.topic(), method, page }
    }

    fn say(&mut self, operation: u8, who: Who, known: &[MessageIdData]) -> Step {
        let (mut entry, mut request) = (Bytes::new(), None);
        let command = match operation {
            2 => {
                let (send, sent) = self.send(who);
                entry = sent;
                send.into()
            }
            4 => CommandFlow { consumer_id: who.id(), message_permits: self.permits() }.into(),
            5 => {
                let ack = self.ack(who, known);
                request = ack.request_id;
                ack.into()
            }
            6 => self.redeliver(who, known).into(),
            20 => CommandPing {}.into(),
            21 => CommandPong {}.into(),
            22 => BaseCommand { r#type: base_command::Type::AuthResponse.into(), ..Default::default() },
            24 => super::talk::connect().into(),
            _ => {
                let request_id = self.request();
                request = Some(request_id);
                self.ask(operation, who, request_id, known)
            }
        };
        let damage = self.damage.take();
        Step::Say(Box::new(Saying { connection: who.connection(), command, entry, request, damage }))
    }

    fn ask(&mut self, operation: u8, who: Who, request_id: u64, known: &[MessageIdData]) -> BaseCommand {
        let (id, topic) = (who.id(), Self::topic(self.run, who.topic()));
        match operation {
            1 => self.producer(who, request_id).into(),
            3 => self.subscribe(who, request_id, known).into(),
            7 => self.seek(who, request_id, known).into(),
            8 => CommandCloseConsumer { consumer_id: id, request_id, ..Default::default() }.into(),
            9 => CommandCloseProducer { producer_id: id, request_id, ..Default::default() }.into(),
            10 => CommandUnsubscribe { consumer_id: id, request_id, force: Some(self.byte() & 1 == 1) }.into(),
            11 => CommandGetLastMessageId { consumer_id: id, request_id }.into(),
            12 => CommandConsumerStats { consumer_id: id, request_id }.into(),
            13 => CommandLookupTopic { topic, request_id, ..Default::default() }.into(),
            14 => CommandPartitionedTopicMetadata { topic, request_id, ..Default::default() }.into(),
            15 | 16 => self.list(operation, id, request_id),
            17 => CommandWatchTopicListClose { watcher_id: id, request_id }.into(),
            18 => CommandGetSchema { request_id, topic, schema_version: None }.into(),
            19 => self.register(topic, request_id).into(),
            _ => CommandNewTxn { request_id, ..Default::default() }.into(),
        }
    }

    fn producer(&mut self, who: Who, request_id: u64) -> CommandProducer {
        let shape = self.byte();
        let has = |bit: u8| shape >> bit & 1 == 1;
        CommandProducer {
            topic: Self::topic(self.run, who.topic()),
            producer_id: who.id(),
            request_id,
            producer_name: has(2).then(|| "named".into()),
            user_provided_producer_name: Some(has(2)),
            producer_access_mode: Some(i32::from(shape & 3)),
            initial_subscription_name: has(3).then(|| who.subscription()),
            encrypted: Some(has(4)),
            topic_epoch: has(5).then_some(u64::from(shape >> 6)),
            epoch: Some(u64::from(shape >> 6)),
            schema: (shape == 0xff).then(|| self.schema()),
            ..Default::default()
        }
    }

    fn send(&mut self, who: Who) -> (CommandSend, Bytes) {
        let (sequence, shape) = (self.byte(), self.byte() % 16);
        let sequence_id = if sequence == u8::MAX { u64::MAX } else { u64::from(sequence) };
        let mut send = CommandSend { producer_id: who.id(), sequence_id, num_messages: Some(1), ..Default::default() };
        let mut metadata =
            MessageMetadata { producer_name: "named".into(), sequence_id, publish_time: 1, ..Default::default() };
        let chunk = |metadata: &mut MessageMetadata, id| {
            metadata.uuid = Some("whole".into());
            (metadata.chunk_id, metadata.num_chunks_from_msg, metadata.total_chunk_msg_size) =
                (Some(id), Some(2), Some(20));
        };
        match shape {
            1 => (metadata.num_messages_in_batch, send.num_messages) = (Some(3), Some(3)),
            2 => metadata.num_messages_in_batch = Some(1 << (self.byte() % 32)), // What no batch holds, and below 0.
            6 => chunk(&mut metadata, 0),
            7 => chunk(&mut metadata, i32::from(self.byte())),
            8 => metadata.partition_key = Some(format!("k{}", sequence % 8)),
            9 => (metadata.num_messages_in_batch, send.num_messages) = (Some(-1), Some(-1)),
            10 => metadata.deliver_at_time = Some(i64::MAX >> (self.byte() % 64)),
            12 => (send.txnid_least_bits, send.txnid_most_bits) = (Some(1), Some(1)),
            13 => send.highest_sequence_id = Some(sequence_id / 2),
            14 => metadata.marker_type = Some(i32::from(self.byte())),
            _ => {}
        }
        let payload = if shape == 11 { Vec::new() } else { format!("payload {sequence}").into_bytes() };
        let mut entry = entry::build(&metadata, &payload).to_vec();
        match shape {
            3 => drop(entry.drain(..6)),
            4 => *entry.last_mut().expect("never empty") ^= 1,
            5 => entry = self.piece(),
            15 => drop(entry.splice(0..0, [0x0e, 0x02, 0, 0, 0, 2, 8, 1])),
            _ => {}
        }
        (send, entry.into())
    }

    fn subscribe(&mut self, who: Who, request_id: u64, known: &[MessageIdData]) -> CommandSubscribe {
        let (shape, terms) = (self.byte(), self.byte());
        let has = |bit: u8| shape >> bit & 1 == 1;
        let meta = |sticky: bool| KeySharedMeta {
            key_shared_mode: i32::from(sticky),
            hash_ranges: vec![IntRange { start: i32::from(terms) << 6, end: (i32::from(terms) << 8) - 1 }],
            allow_out_of_order_delivery: Some(terms & 1 == 1),
        };
        CommandSubscribe {
            topic: Self::topic(self.run, who.topic()),
            subscription: who.subscription(),
            sub_type: i32::from(shape & 3) + if shape == 0xff { 9 } else { 0 },
            consumer_id: who.id(),
            request_id,
            consumer_name: (terms & 2 == 2).then(|| format!("c{}", who.0)),
            priority_level: Some(i32::from(terms >> 6) - 1),
            durable: Some(!has(2)),
            initial_position: Some(if has(3) { InitialPosition::Latest } else { InitialPosition::Earliest }.into()),
            start_message_id: has(4).then(|| self.message(known)),
            key_shared_meta: (shape & 3 == 3).then(|| meta(has(5))),
            consumer_epoch: has(6).then_some(u64::from(terms & 3)),
            read_compacted: Some(has(7)),
            ..Default::default()
        }
    }

    fn permits(&mut self) -> u32 {
        match self.byte() {
            255 => u32::MAX,
            254 => 1 << 31,
            permits => u32::from(permits),
        }
    }

    /// One that is known, or one that nobody ever had.
    fn message(&mut self, known: &[MessageIdData]) -> MessageIdData {
        let number = self.byte();
        match (number, known.len()) {
            (250..=255, _) | (_, 0) => {
                let far = [0, 1, u64::MAX, i64::MAX as u64, 1 << 40, 7];
                let (ledger_id, entry_id) =
                    (far[usize::from(number) % far.len()], far[usize::from(self.byte()) % far.len()]);
                MessageIdData { ledger_id, entry_id, ..Default::default() }
            }
            (number, length) => known[usize::from(number) % length].clone(),
        }
    }

    fn ack(&mut self, who: Who, known: &[MessageIdData]) -> CommandAck {
        let shape = self.byte();
        let has = |bit: u8| shape >> bit & 1 == 1;
        let count = if has(7) { 3 } else { 1 };
        let mut ids: Vec<_> = (0..count).map(|_| self.message(known)).collect();
        if has(2) {
            let word = i64::from(self.byte().cast_signed());
            ids.iter_mut().for_each(|id| (id.ack_set, id.batch_size) = (vec![word; 1 + usize::from(has(6))], Some(3)));
        }
        CommandAck {
            consumer_id: who.id(),
            ack_type: if has(0) { AckType::Cumulative } else { AckType::Individual }.into(),
            message_id: ids,
            validation_error: has(3).then(|| ValidationError::ChecksumMismatch.into()),
            txnid_least_bits: has(4).then_some(1),
            txnid_most_bits: has(4).then_some(1),
            request_id: has(1).then(|| self.request()),
            ..Default::default()
        }
    }

    fn redeliver(&mut self, who: Who, known: &[MessageIdData]) -> CommandRedeliverUnacknowledgedMessages {
        let shape = self.byte();
        let message_ids = (0..shape & 3).map(|_| self.message(known)).collect();
        let consumer_epoch = (shape & 4 == 4).then_some(u64::from(shape >> 3));
        CommandRedeliverUnacknowledgedMessages { consumer_id: who.id(), message_ids, consumer_epoch }
    }

    fn seek(&mut self, who: Who, request_id: u64, known: &[MessageIdData]) -> CommandSeek {
        let shape = self.byte();
        let mut seek = CommandSeek { consumer_id: who.id(), request_id, ..Default::default() };
        match shape & 3 {
            0 => {}
            1 => seek.message_publish_time = Some(u64::MAX >> (shape >> 2)),
            _ => {
                let mut id = self.message(known);
                if shape & 4 == 4 {
                    id.ack_set = vec![i64::from(shape >> 3)];
                }
                seek.message_id = Some(id);
            }
        }
        seek
    }

    fn list(&mut self, operation: u8, watcher_id: u64, request_id: u64) -> BaseCommand {
        const PATTERNS: [&str; 6] = [".*", "(", "(a*)*b", "public/default/r.*", "", "persistent://public/default/.*t1"];
        let pattern = PATTERNS[usize::from(self.byte()) % PATTERNS.len()].to_owned();
        let namespace = "public/default".to_owned();
        if operation == 15 {
            let topics_pattern = Some(pattern);
            return CommandGetTopicsOfNamespace { request_id, namespace, topics_pattern, ..Default::default() }.into();
        }
        let topics_hash = None;
        CommandWatchTopicList { request_id, watcher_id, namespace, topics_pattern: pattern, topics_hash }.into()
    }

    fn register(&mut self, topic: String, request_id: u64) -> CommandGetOrCreateSchema {
        CommandGetOrCreateSchema { request_id, topic, schema: self.schema(), ..Default::default() }
    }

    fn schema(&mut self) -> Schema {
        let r#type = i32::from(self.byte().cast_signed());
        Schema { name: "s".into(), schema_data: self.piece().into(), r#type, properties: Vec::new() }
    }
}
