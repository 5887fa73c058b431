//! Receiving and acknowledging over one connection.
use std::collections::HashMap;

use bytes::Bytes;
use prost::Message;
use proto::frame::Frame;
use proto::pulsar::base_command::Type;
use proto::pulsar::command_ack::AckType;
use proto::pulsar::command_subscribe::{InitialPosition, SubType};
use proto::pulsar::{
    CommandAck, CommandCloseConsumer, CommandFlow, CommandGetLastMessageId, CommandSubscribe, MessageIdData,
    MessageMetadata,
};
use proto::{EntryId, LedgerId, Position, entry};

use super::{ClientError, Connection, connect_to_owner};

const CONSUMER: u64 = 1;

pub use proto::pulsar::command_subscribe::SubType as Kind;

/// Where a new subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the first message of the topic.
    Earliest,
    /// After the last.
    Latest,
    /// At this message; only for what leaves no subscription behind. A client of others leaves out the message itself unless it is
    /// asked not to: the server always sends it.
    At(Position),
}

/// What to attach to.
#[derive(Debug, Clone)]
pub struct Subscription<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its name.
    pub name: &'a str,
    /// How consumers share it.
    pub kind: SubType,
    /// Where it begins if it is new.
    pub start: Start,
    /// Whether it outlives its consumers.
    pub durable: bool,
    /// Whether only the last message of each key is wanted, as far as the topic was compacted.
    pub compacted: bool,
    /// How many messages may be under way to us.
    pub permits: u32,
}

impl<'a> Subscription<'a> {
    /// A durable Exclusive subscription from the first message on.
    #[must_use]
    pub fn durable(topic: &'a str, name: &'a str) -> Self {
        let (kind, start) = (SubType::Exclusive, Start::Earliest);
        Self { topic, name, kind, start, durable: true, compacted: false, permits: 1000 }
    }

    /// A reader of everything there is: it leaves no subscription behind.
    #[must_use]
    pub fn reader(topic: &'a str) -> Self {
        Self { durable: false, ..Self::durable(topic, "tests-reader") }
    }
}

/// One message that came.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Where it lies.
    pub position: Position,
    /// How often it was sent before, as the server counts.
    pub redelivered: u32,
    /// As its producer wrote it.
    pub metadata: MessageMetadata,
    /// As its producer wrote it: compressed or batched if it did so.
    pub payload: Bytes,
}

/// What a consumer can be told.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A message.
    Message(Box<Delivery>),
    /// The acknowledgements sent under this request are durable.
    Acknowledged(Vec<Position>),
}

/// One consumer on a connection of its own.
#[derive(Debug)]
pub struct Subscriber {
    connection: Connection,
    permits: u32,
    used: u32,
    asked: HashMap<u64, Vec<Position>>, // Acknowledgements whose receipt has not come.
}

impl Subscriber {
    /// Connects to the owner of the topic and attaches.
    pub async fn open(addresses: &[String], subscription: &Subscription<'_>) -> Result<Self, ClientError> {
        Self::attach(connect_to_owner(addresses, subscription.topic).await?, subscription).await
    }

    /// Attaches over a connection to the topic's owner.
    pub async fn attach(mut connection: Connection, subscription: &Subscription<'_>) -> Result<Self, ClientError> {
        let request_id = connection.request_id();
        let edge = |at| MessageIdData { ledger_id: at, entry_id: at, ..Default::default() };
        let (initial, start_message_id) = match subscription.start {
            Start::Earliest => (InitialPosition::Earliest, edge(u64::MAX)), // The protocol's (-1, -1).
            Start::Latest => (InitialPosition::Latest, edge(i64::MAX as u64)),
            Start::At(position) => (InitialPosition::Earliest, position.to_message_id()),
        };
        let ask = CommandSubscribe {
            topic: subscription.topic.into(),
            subscription: subscription.name.into(),
            sub_type: subscription.kind as i32,
            consumer_id: CONSUMER,
            request_id,
            durable: Some(subscription.durable),
            read_compacted: Some(subscription.compacted),
            initial_position: Some(initial as i32),
            start_message_id: (!subscription.durable).then_some(start_message_id),
            ..Default::default()
        };
        connection.ask(ask, request_id).await?;
        if 0 < subscription.permits {
            connection.queue(CommandFlow { consumer_id: CONSUMER, message_permits: subscription.permits });
        }
        connection.flush().await?;
        Ok(Self { connection, permits: subscription.permits, used: 0, asked: HashMap::new() })
    }

    /// The next event, without a deadline: a topic may be silent. Gives permits back as messages come. Cancel safe.
    pub async fn next(&mut self) -> Result<Event, ClientError> {
        loop {
            let mut frame = self.connection.next().await?;
            match frame.command.r#type() {
                Type::Message => {
                    self.used += 1;
                    if self.permits / 2 <= self.used {
                        self.connection.queue(CommandFlow {
                            consumer_id: CONSUMER,
                            message_permits: std::mem::take(&mut self.used),
                        });
                    }
                    let delivery = delivery(*frame)?;
                    if !self.connection.has_frame() {
                        self.connection.flush().await?; // Permits go out at the latest when nothing else is at hand.
                    }
                    return Ok(Event::Message(Box::new(delivery)));
                }
                Type::AckResponse => {
                    let answer = frame.command.ack_response.take().unwrap_or_default();
                    if answer.error.is_some() {
                        return Err(ClientError::refused(answer.error, answer.message));
                    }
                    let asked = answer.request_id.and_then(|request| self.asked.remove(&request));
                    let positions =
                        asked.ok_or_else(|| ClientError::Protocol("a receipt for no acknowledgement".into()))?;
                    return Ok(Event::Acknowledged(positions));
                }
                Type::CloseConsumer => return Err(ClientError::Moved),
                Type::ActiveConsumerChange | Type::ReachedEndOfTopic => {}
                other => return Err(ClientError::Protocol(format!("{other:?} to a consumer"))),
            }
        }
    }

    /// Acknowledges these messages and asks for a receipt, which comes as [`Event::Acknowledged`].
    pub fn acknowledge_with_receipt(&mut self, positions: Vec<Position>) {
        let request_id = self.connection.request_id();
        self.queue_acknowledgement(&positions, AckType::Individual, Some(request_id));
        self.asked.insert(request_id, positions);
    }

    /// Acknowledges these messages, without a receipt.
    pub fn acknowledge(&mut self, positions: &[Position]) {
        self.queue_acknowledgement(positions, AckType::Individual, None);
    }

    /// Acknowledges everything up to this message, without a receipt.
    pub fn acknowledge_up_to(&mut self, position: Position) {
        self.queue_acknowledgement(&[position], AckType::Cumulative, None);
    }

    fn queue_acknowledgement(&mut self, positions: &[Position], kind: AckType, request_id: Option<u64>) {
        self.connection.queue(CommandAck {
            consumer_id: CONSUMER,
            ack_type: kind as i32,
            message_id: positions.iter().map(|position| position.to_message_id()).collect(),
            request_id,
            ..Default::default()
        });
    }

    /// Whether another event is at hand without waiting.
    #[must_use]
    pub fn has_event(&self) -> bool {
        self.connection.has_frame()
    }

    /// Acknowledgements whose receipt has not come.
    #[must_use]
    pub fn awaited(&self) -> usize {
        self.asked.len()
    }

    /// Writes queued acknowledgements and permits.
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        self.connection.flush().await
    }

    /// The last message of the topic, or `None` when it holds none.
    pub async fn last(&mut self) -> Result<Option<Position>, ClientError> {
        let request_id = self.connection.request_id();
        let ask = CommandGetLastMessageId { consumer_id: CONSUMER, request_id };
        let answer = self.connection.ask(ask, request_id).await?.command.get_last_message_id_response;
        let id =
            answer.ok_or_else(|| ClientError::Protocol("asked for the last message id, got no such answer".into()))?;
        let id = id.last_message_id;
        let position = Position { ledger: LedgerId(id.ledger_id), entry: EntryId(id.entry_id) };
        Ok((id.entry_id != u64::MAX).then_some(position)) // The protocol's -1: nothing there.
    }

    /// Detaches and hands the connection back.
    pub async fn close(mut self) -> Result<Connection, ClientError> {
        let request_id = self.connection.request_id();
        let ask = CommandCloseConsumer { consumer_id: CONSUMER, request_id, ..Default::default() };
        self.connection.ask(ask, request_id).await?;
        self.connection.forget_early();
        Ok(self.connection)
    }
}

fn delivery(frame: Frame) -> Result<Delivery, ClientError> {
    let command = frame.command.message.unwrap_or_default();
    let broken = |error: String| ClientError::Protocol(format!("message {:?}: {error}", command.message_id));
    let parts = entry::split(frame.rest).map_err(|error| broken(error.to_string()))?;
    let metadata = MessageMetadata::decode(parts.metadata).map_err(|error| broken(error.to_string()))?;
    let position =
        Position { ledger: LedgerId(command.message_id.ledger_id), entry: EntryId(command.message_id.entry_id) };
    Ok(Delivery { position, redelivered: command.redelivery_count(), metadata, payload: parts.payload })
}
