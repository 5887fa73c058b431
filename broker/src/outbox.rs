//! Where answers to one client go: the queue between everyone who answers and the connection task that writes.
//!
//! Owns: bytes that wait for a socket, and the count of what a client published that is not confirmed yet.
//! Promises: frames leave whole and in the order they were pushed; pushing never waits.
//! Never: copies the bytes of an entry.
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use proto::frame;
use proto::pulsar::base_command::Type;
use proto::pulsar::{
    BaseCommand, CommandCloseConsumer, CommandCloseProducer, CommandMessage, CommandSendReceipt, MessageIdData,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Bytes that may wait for a client before deliveries to it stop. Large enough to keep a fast link busy while a task is away.
const DELIVERY_BYTES_MAX: usize = 512 * 1024;
/// Commands are gathered up to this size before a new piece is started, so that one allocation serves many.
const PIECE_BYTES: usize = 16 * 1024;
/// The request id of commands that a server sends unasked.
const UNASKED: u64 = u64::MAX;
/// How long a connection that is suspected dead may take to say anything.
const PROBE: Duration = Duration::from_secs(5);

/// Names a producer or consumer within this process, so that a late answer never reaches a newer one with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Serial(pub(crate) u64);

/// What a connection is told of its own producers and consumers, before the client can know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// The server sent it away: it is forgotten.
    ProducerSentAway { producer_id: u64, serial: Serial },
    /// As above.
    ConsumerSentAway { consumer_id: u64, serial: Serial },
    /// A producer that waited for others to leave has its turn, or is told why it never will.
    ProducerTurn { producer_id: u64, serial: Serial, turn: Turn },
}

/// What became of a producer that waited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It may publish.
    Ready { topic_epoch: u64, last_sequence_id: Option<u64> },
    /// It is out, for this reason.
    Fenced(String),
}

/// Where clients that are sent away go on: a broker that is about to have their topic, or, when there is none to name, wherever a lookup
/// leads them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NextOwner(Option<Arc<str>>);

impl NextOwner {
    /// The broker at `host:port`.
    pub(crate) fn at(broker: &str) -> Self {
        Self(Some(format!("pulsar://{broker}").into()))
    }

    fn url(&self) -> Option<String> {
        self.0.as_deref().map(str::to_owned)
    }
}

/// What all clients together may have published without confirmation.
#[derive(Debug)]
pub(crate) struct PublishBudget {
    used: AtomicUsize,
    max: usize,
    freed: Notify,
}

impl PublishBudget {
    pub(crate) fn new(max: usize) -> Self {
        Self { used: AtomicUsize::new(0), max, freed: Notify::new() }
    }

    /// Whether readers of sockets must wait.
    pub(crate) fn is_full(&self) -> bool {
        self.max <= self.used.load(Ordering::Relaxed)
    }

    /// Returns when something was freed after this was first polled.
    pub(crate) async fn freed(&self) {
        self.freed.notified().await;
    }

    fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    fn free(&self, bytes: usize) {
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        if self.max <= before && before - bytes < self.max {
            self.freed.notify_waiters();
        }
    }
}

/// Takes answers for one client. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Outbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// A mutex and not a task: a push is a few stores, and topics and subscriptions must never wait for a socket.
    queue: Mutex<Queue>,
    pushed: Notify,
    heard: Notify,
    /// Asks the connection to end.
    end: CancellationToken,
    /// The connection has ended and taken leave of its topics.
    ended: CancellationToken,
    budget: Arc<PublishBudget>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Finished pieces, oldest first.
    pieces: VecDeque<Bytes>,
    /// Commands that follow them.
    tail: BytesMut,
    /// Bytes pushed and not written, those that the connection has taken included.
    waiting: usize,
    news: Vec<News>,
    unconfirmed: HashMap<Serial, Unconfirmed>,
    unconfirmed_bytes: usize,
    probing: bool,
    /// To be woken once there is room for deliveries again.
    wanting_room: Vec<Arc<Notify>>,
    closed: bool,
}

/// What a producer has sent and was not told of.
#[derive(Debug, Default)]
struct Unconfirmed {
    sends: usize,
    bytes: usize,
}

/// Pushes several commands under one lock.
pub(crate) struct Push<'a> {
    queue: &'a mut Queue,
    freed: usize,
}

impl Outbox {
    pub(crate) fn new(budget: Arc<PublishBudget>) -> Self {
        Self(Arc::new(Shared {
            queue: Mutex::default(),
            pushed: Notify::new(),
            heard: Notify::new(),
            end: CancellationToken::new(),
            ended: CancellationToken::new(),
            budget,
        }))
    }

    /// Whether both lead to the same connection.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Pushes one command.
    pub(crate) fn send(&self, command: impl Into<BaseCommand>) {
        let command = command.into();
        self.push(|push| push.command(&command));
    }

    /// Pushes as many as `fill` does and wakes the connection once.
    pub(crate) fn push<T>(&self, fill: impl FnOnce(&mut Push<'_>) -> T) -> T {
        let (result, freed, wake) = {
            let mut queue = self.0.queue.lock();
            let mut push = Push { queue: &mut queue, freed: 0 };
            let result = fill(&mut push);
            let freed = push.freed;
            if queue.closed {
                queue.pieces.clear();
                queue.tail.clear();
            }
            let wake = !queue.pieces.is_empty() || !queue.tail.is_empty() || !queue.news.is_empty() || 0 < freed;
            (result, freed, wake)
        };
        self.0.budget.free(freed);
        if wake {
            self.0.pushed.notify_one();
        }
        result
    }

    /// Whether a delivery may be pushed now. If not, `wake` is notified once there is room.
    pub(crate) fn has_room(&self, wake: &Arc<Notify>) -> bool {
        let mut queue = self.0.queue.lock();
        if queue.waiting < DELIVERY_BYTES_MAX || queue.closed {
            return true;
        }
        if !queue.wanting_room.iter().any(|there| Arc::ptr_eq(there, wake)) {
            queue.wanting_room.push(wake.clone());
        }
        false
    }

    /// Whether the connection still answers: it is asked to ping its client, and given up when nothing comes back.
    pub(crate) async fn is_alive(&self) -> bool {
        let heard = self.0.heard.notified();
        tokio::pin!(heard);
        heard.as_mut().enable();
        self.0.queue.lock().probing = true;
        self.0.pushed.notify_one();
        tokio::select! {
            () = heard => true,
            () = self.0.ended.cancelled() => false,
            () = tokio::time::sleep(PROBE) => false,
        }
    }

    /// Asks the connection to end and waits, for a moment, until it took leave of its topics.
    pub(crate) async fn end(&self) {
        self.0.end.cancel();
        let _ = tokio::time::timeout(PROBE, self.0.ended.cancelled()).await;
    }

    // What follows is for the connection task.

    /// Counts `bytes` that producer `serial` has sent.
    pub(crate) fn sent(&self, serial: Serial, bytes: usize) {
        let mut queue = self.0.queue.lock();
        let unconfirmed = queue.unconfirmed.entry(serial).or_default();
        unconfirmed.sends += 1;
        unconfirmed.bytes += bytes;
        queue.unconfirmed_bytes += bytes;
        drop(queue);
        self.0.budget.take(bytes);
    }

    /// Bytes this client has published that are not confirmed.
    pub(crate) fn unconfirmed_bytes(&self) -> usize {
        self.0.queue.lock().unconfirmed_bytes
    }

    /// The producer with the most unconfirmed bytes.
    pub(crate) fn fullest(&self) -> Option<Serial> {
        let queue = self.0.queue.lock();
        queue.unconfirmed.iter().max_by_key(|(_, unconfirmed)| unconfirmed.bytes).map(|(serial, _)| *serial)
    }

    /// Stops counting what `serial` has sent: it was closed, or its topic is gone.
    pub(crate) fn write_off(&self, serial: Serial) {
        self.push(|push| push.write_off(serial));
    }

    /// Returns once there is something to take. Cancel safe.
    pub(crate) async fn pushed(&self) {
        self.0.pushed.notified().await;
    }

    /// Returns once the connection should end.
    pub(crate) async fn end_requested(&self) {
        self.0.end.cancelled().await;
    }

    /// Moves everything that waits to `writing`, and gives the news and whether to ping.
    pub(crate) fn take(&self, writing: &mut VecDeque<Bytes>) -> (Vec<News>, bool) {
        let mut queue = self.0.queue.lock();
        writing.append(&mut queue.pieces);
        if !queue.tail.is_empty() {
            writing.push_back(queue.tail.split().freeze());
        }
        (std::mem::take(&mut queue.news), queue.probing)
    }

    /// Takes `bytes` off the count of what waits.
    pub(crate) fn written(&self, bytes: usize) {
        let woken = {
            let mut queue = self.0.queue.lock();
            queue.waiting = queue.waiting.saturating_sub(bytes);
            if queue.waiting < DELIVERY_BYTES_MAX / 2 { std::mem::take(&mut queue.wanting_room) } else { Vec::new() }
        };
        woken.iter().for_each(|wake| wake.notify_one());
    }

    /// Bytes pushed and not written.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.0.queue.lock().waiting
    }

    /// The client said something.
    pub(crate) fn heard(&self) {
        let mut queue = self.0.queue.lock();
        if std::mem::take(&mut queue.probing) {
            self.0.heard.notify_waiters();
        }
    }

    /// Nothing is written any more: what is pushed from now on is dropped.
    pub(crate) fn close(&self) {
        let woken = {
            let mut queue = self.0.queue.lock();
            queue.closed = true;
            queue.pieces.clear();
            queue.tail = BytesMut::new();
            queue.waiting = 0;
            std::mem::take(&mut queue.wanting_room)
        };
        woken.iter().for_each(|wake| wake.notify_one());
    }

    /// The connection has taken leave of its topics.
    pub(crate) fn ended(&self) {
        self.0.ended.cancel();
    }
}

impl Push<'_> {
    /// Any command without an entry.
    pub(crate) fn command(&mut self, command: &BaseCommand) {
        let before = self.queue.tail.len();
        frame::encode(command, &mut self.queue.tail);
        self.grown(before);
    }

    /// SEND_RECEIPT.
    pub(crate) fn receipt(&mut self, receipt: &CommandSendReceipt) {
        let before = self.queue.tail.len();
        encode(Type::SendReceipt, 7, receipt, 0, &mut self.queue.tail);
        self.grown(before);
    }

    /// MESSAGE, with its entry as it was published.
    pub(crate) fn message(&mut self, message: &CommandMessage, entry: Bytes) {
        let before = self.queue.tail.len();
        encode(Type::Message, 9, message, entry.len(), &mut self.queue.tail);
        self.queue.waiting += self.queue.tail.len() - before + entry.len();
        let head = self.queue.tail.split().freeze();
        self.queue.pieces.push_back(head);
        self.queue.pieces.push_back(entry);
    }

    /// Whether more deliveries may follow.
    pub(crate) fn has_room(&self) -> bool {
        self.queue.waiting < DELIVERY_BYTES_MAX
    }

    /// CLOSE_PRODUCER, unasked.
    pub(crate) fn send_producer_away(&mut self, producer_id: u64, serial: Serial, to: &NextOwner) {
        self.write_off(serial);
        self.queue.news.push(News::ProducerSentAway { producer_id, serial });
        let assigned_broker_service_url = to.url();
        let close = CommandCloseProducer {
            producer_id,
            request_id: UNASKED,
            assigned_broker_service_url,
            ..Default::default()
        };
        self.command(&close.into());
    }

    /// Tells a producer that waited what became of it.
    pub(crate) fn producer_turn(&mut self, producer_id: u64, serial: Serial, turn: Turn) {
        self.queue.news.push(News::ProducerTurn { producer_id, serial, turn });
    }

    /// CLOSE_CONSUMER, unasked.
    pub(crate) fn send_consumer_away(&mut self, consumer_id: u64, serial: Serial, to: &NextOwner) {
        self.queue.news.push(News::ConsumerSentAway { consumer_id, serial });
        let assigned_broker_service_url = to.url();
        let close = CommandCloseConsumer {
            consumer_id,
            request_id: UNASKED,
            assigned_broker_service_url,
            ..Default::default()
        };
        self.command(&close.into());
    }

    /// `bytes` of producer `serial` are confirmed or refused.
    pub(crate) fn settled(&mut self, serial: Serial, bytes: usize) {
        if let Some(unconfirmed) = self.queue.unconfirmed.get_mut(&serial) {
            let bytes = bytes.min(unconfirmed.bytes);
            unconfirmed.bytes -= bytes;
            unconfirmed.sends = unconfirmed.sends.saturating_sub(1);
            self.queue.unconfirmed_bytes -= bytes;
            self.freed += bytes;
        }
    }

    /// SENDs of producer `serial` that are not settled.
    pub(crate) fn under_way(&self, serial: Serial) -> usize {
        self.queue.unconfirmed.get(&serial).map_or(0, |unconfirmed| unconfirmed.sends)
    }

    /// See [`Outbox::write_off`].
    pub(crate) fn write_off(&mut self, serial: Serial) {
        if let Some(Unconfirmed { bytes, .. }) = self.queue.unconfirmed.remove(&serial) {
            self.queue.unconfirmed_bytes -= bytes;
            self.freed += bytes;
        }
    }

    fn grown(&mut self, before: usize) {
        self.queue.waiting += self.queue.tail.len() - before;
        if PIECE_BYTES <= self.queue.tail.len() {
            let piece = self.queue.tail.split().freeze();
            self.queue.pieces.push_back(piece);
        }
    }
}

/// As [`frame::encode_head`], without building the wide [`BaseCommand`] for the two commands that make up all traffic.
fn encode(kind: Type, field: u32, command: &impl Message, rest: usize, buffer: &mut BytesMut) {
    let size = command.encoded_len();
    let command_size = 2 + key_len(field) + encoded_len_varint(size as u64) + size;
    buffer.reserve(8 + command_size);
    buffer.put_u32(u32::try_from(4 + command_size + rest).expect("frames are far smaller than 4 GiB"));
    buffer.put_u32(u32::try_from(command_size).expect("commands are far smaller than 4 GiB"));
    buffer.put_u8(0x08); // Field 1, `type`, as a varint. Kinds below 128 take one byte.
    buffer.put_u8(kind as u8);
    encode_key(field, WireType::LengthDelimited, buffer);
    encode_varint(size as u64, buffer);
    command.encode(buffer).expect("room was reserved");
}

/// The message id that says: none.
pub(crate) fn no_message_id() -> MessageIdData {
    MessageIdData { ledger_id: u64::MAX, entry_id: u64::MAX, ..Default::default() }
}

/// A client as topics and subscriptions know it.
#[derive(Debug)]
pub(crate) struct Client {
    /// Where answers go.
    pub(crate) outbox: Outbox,
    /// `/ip:port`, as Pulsar's tools write it.
    pub(crate) address: String,
    /// As it introduced itself.
    pub(crate) version: String,
    /// The step of the protocol that it speaks.
    pub(crate) protocol: i32,
    /// As a text for people.
    pub(crate) connected_since: String,
}
