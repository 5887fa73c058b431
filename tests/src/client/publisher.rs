//! Publishing, pipelined, over one connection; receipts checked for order.
use std::collections::VecDeque;

use proto::entry;
use proto::pulsar::base_command::Type;
use proto::pulsar::{BaseCommand, CommandCloseProducer, CommandProducer, CommandSend, MessageMetadata};
use proto::{EntryId, LedgerId, Position};

use super::{ClientError, Connection, connect_to_owner};

/// Names one producer of a [`Publisher`], counted from 0 as they were attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerId(pub usize);

/// The server's word that a message is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Of this producer.
    pub producer: ProducerId,
    /// The message's number, as [`Publisher::publish`] returned it.
    pub sequence: u64,
    /// Where it lies.
    pub position: Position,
}

#[derive(Debug)]
struct Producer {
    name: String,
    next_sequence: u64,
    awaited: VecDeque<u64>,
}

/// Producers of topics that one broker serves. Messages are sent one by one, not in batches.
#[derive(Debug)]
pub struct Publisher {
    connection: Connection,
    producers: Vec<Producer>,
    awaited: usize,
    next_owner: Option<String>,
}

impl Publisher {
    /// Connects to the owner of `topic` and attaches the producer 0 to it.
    pub async fn open(addresses: &[String], topic: &str) -> Result<Self, ClientError> {
        let mut publisher = Self::over(connect_to_owner(addresses, topic).await?);
        publisher.attach(topic).await?;
        Ok(publisher)
    }

    /// Without producers yet.
    #[must_use]
    pub fn over(connection: Connection) -> Self {
        Self { connection, producers: Vec::new(), awaited: 0, next_owner: None }
    }

    /// Attaches one more producer, to a topic of the same broker.
    pub async fn attach(&mut self, topic: &str) -> Result<ProducerId, ClientError> {
        self.attach_as(topic, None).await
    }

    /// The same, under a name of its own.
    pub async fn attach_as(&mut self, topic: &str, name: Option<&str>) -> Result<ProducerId, ClientError> {
        let producer_name = name.map(str::to_owned);
        let id = ProducerId(self.producers.len());
        let request_id = self.connection.request_id();
        let ask = CommandProducer {
            topic: topic.into(),
            producer_id: id.0 as u64,
            request_id,
            producer_name,
            ..Default::default()
        };
        let answer = self.connection.ask(ask, request_id).await?.command.producer_success;
        let answer =
            answer.ok_or_else(|| ClientError::Protocol("a PRODUCER was answered with another command".into()))?;
        self.producers.push(Producer { name: answer.producer_name, next_sequence: 0, awaited: VecDeque::new() });
        Ok(id)
    }

    /// Queues one message; [`Publisher::flush`] sends what is queued.
    pub fn publish(&mut self, id: ProducerId, payload: &[u8]) -> u64 {
        self.queue(id, payload, MessageMetadata::default())
    }

    /// The same, not to be delivered before then, in milliseconds since 1970.
    pub fn publish_at(&mut self, id: ProducerId, payload: &[u8], due_ms: u64) -> u64 {
        let deliver_at_time = Some(due_ms.cast_signed());
        self.queue(id, payload, MessageMetadata { deliver_at_time, ..Default::default() })
    }

    /// The same, of a key.
    pub fn publish_keyed(&mut self, id: ProducerId, key: Option<&str>, payload: &[u8]) -> u64 {
        let partition_key = key.map(str::to_owned);
        self.queue(id, payload, MessageMetadata { partition_key, ..Default::default() })
    }

    fn queue(&mut self, id: ProducerId, payload: &[u8], metadata: MessageMetadata) -> u64 {
        let producer = &mut self.producers[id.0];
        let sequence = producer.next_sequence;
        let metadata = MessageMetadata {
            producer_name: producer.name.clone(),
            sequence_id: sequence,
            publish_time: 1,
            ..metadata
        };
        let send = CommandSend { producer_id: id.0 as u64, sequence_id: sequence, ..Default::default() };
        self.connection.queue_entry(send, &entry::build(&metadata, payload));
        producer.awaited.push_back(sequence);
        producer.next_sequence += 1;
        self.awaited += 1;
        sequence
    }

    /// Writes what is queued.
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        self.connection.flush().await
    }

    /// `pulsar://host:port` of the broker that the server named when it closed a producer, if it did.
    #[must_use]
    pub fn next_owner(&self) -> Option<&str> {
        self.next_owner.as_deref()
    }

    /// Messages sent or queued whose receipt has not come.
    #[must_use]
    pub fn awaited(&self) -> usize {
        self.awaited
    }

    /// Bytes queued and not yet written.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.connection.queued_bytes()
    }

    /// The next receipt. One that is out of order, of an unknown producer, or comes twice breaks the protocol.
    pub async fn receipt(&mut self) -> Result<Receipt, ClientError> {
        let frame = self.connection.next_in_time().await?;
        self.note(&frame.command)
    }

    /// The same, for one that may never come. Cancel safe.
    pub async fn receipt_without_deadline(&mut self) -> Result<Receipt, ClientError> {
        let frame = self.connection.next().await?;
        self.note(&frame.command)
    }

    fn note(&mut self, command: &BaseCommand) -> Result<Receipt, ClientError> {
        match command.r#type() {
            Type::SendReceipt => {}
            Type::CloseProducer => {
                let close = command.close_producer.clone().unwrap_or_default();
                self.next_owner = close.assigned_broker_service_url;
                return Err(ClientError::Moved);
            }
            Type::SendError => {
                let error = command.send_error.clone().unwrap_or_default();
                return Err(ClientError::refused(Some(error.error), Some(error.message)));
            }
            other => return Err(ClientError::Protocol(format!("{other:?} instead of a receipt"))),
        }
        let receipt = command.send_receipt.clone().unwrap_or_default();
        let unexpected = || ClientError::Protocol(format!("receipt out of order: {receipt:?}"));
        let producer = ProducerId(receipt.producer_id as usize);
        let awaited = &mut self.producers.get_mut(producer.0).ok_or_else(unexpected)?.awaited;
        if awaited.pop_front() != Some(receipt.sequence_id) {
            return Err(unexpected());
        }
        self.awaited -= 1;
        let id =
            receipt.message_id.as_ref().ok_or_else(|| ClientError::Protocol("a receipt without a position".into()))?;
        let position = Position { ledger: LedgerId(id.ledger_id), entry: EntryId(id.entry_id) };
        Ok(Receipt { producer, sequence: receipt.sequence_id, position })
    }

    /// Detaches every producer and hands the connection back. All receipts must have come.
    pub async fn close(mut self) -> Result<Connection, ClientError> {
        assert_eq!(self.awaited, 0, "receipts are still awaited");
        for id in 0..self.producers.len() as u64 {
            let request_id = self.connection.request_id();
            let ask = CommandCloseProducer { producer_id: id, request_id, ..Default::default() };
            self.connection.ask(ask, request_id).await?;
        }
        Ok(self.connection)
    }
}
