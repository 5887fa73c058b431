//! Who is always there, and must not notice what others say to the broker.
use std::net::SocketAddr;

use bytes::BytesMut;
use proto::entry;
use proto::pulsar::base_command::Type;
use proto::pulsar::*;

use super::sessions::within;
use super::talk::{Talk, framed};

const TOPIC: &str = "persistent://public/default/neighbour";
/// Of the producer and the consumer.
const ID: u64 = 1;

/// A client with manners, on a topic of its own.
pub(super) struct Neighbour {
    talk: Talk,
    sequence_id: u64,
}

impl std::fmt::Debug for Neighbour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Neighbour").field("sequence_id", &self.sequence_id).finish_non_exhaustive()
    }
}

impl Neighbour {
    pub(super) async fn move_in(address: SocketAddr) -> Self {
        let mut neighbour = Self { talk: Talk::open(address).await.expect("the broker accepts"), sequence_id: 0 };
        neighbour.hears(Type::Connected).await;
        let (topic, request_id) = (TOPIC.to_owned(), 1);
        let lookup = CommandLookupTopic { topic: topic.clone(), request_id, ..Default::default() };
        neighbour.says(framed(lookup, &[])).await;
        neighbour.hears(Type::LookupResponse).await;
        let producer = CommandProducer { topic: topic.clone(), producer_id: ID, request_id, ..Default::default() };
        neighbour.says(framed(producer, &[])).await;
        neighbour.hears(Type::ProducerSuccess).await;
        let subscription = "s".into();
        let subscribe = CommandSubscribe { topic, subscription, consumer_id: ID, request_id, ..Default::default() };
        neighbour.says(framed(subscribe, &[])).await;
        neighbour.hears(Type::Success).await;
        neighbour
    }

    async fn says(&mut self, frame: BytesMut) {
        self.talk.write(&frame).await;
    }

    /// Publishes, receives and acknowledges one message.
    pub(super) async fn lives(&mut self) {
        self.says(framed(CommandFlow { consumer_id: ID, message_permits: 1 }, &[])).await;
        let sequence_id = self.sequence_id;
        self.sequence_id += 1;
        let metadata =
            MessageMetadata { producer_name: "n".into(), sequence_id, publish_time: 1, ..Default::default() };
        let send = CommandSend { producer_id: ID, sequence_id, ..Default::default() };
        self.says(framed(send, &entry::build(&metadata, b"well"))).await;
        let (mut receipt, mut message) = (None, None);
        while receipt.is_none() || message.is_none() {
            let command = self.hears_something().await;
            receipt = receipt.or(command.send_receipt);
            message = message.or(command.message);
        }
        assert_eq!(receipt.map(|receipt| receipt.sequence_id), Some(sequence_id));
        let id = message.expect("of this type").message_id;
        let ack = CommandAck { consumer_id: ID, message_id: vec![id], request_id: Some(1), ..Default::default() };
        self.says(framed(ack, &[])).await;
        let acked = self.hears(Type::AckResponse).await.ack_response.expect("of this type");
        assert_eq!(acked.error, None);
    }

    async fn hears(&mut self, kind: Type) -> Box<BaseCommand> {
        loop {
            let command = self.hears_something().await;
            if command.r#type() == kind {
                return command;
            }
            assert_eq!(command.r#type(), Type::ActiveConsumerChange, "instead of {kind:?}: {command:?}");
        }
    }

    async fn hears_something(&mut self) -> Box<BaseCommand> {
        loop {
            let frame = within("the neighbour is served", self.talk.next()).await;
            let frame = frame.expect("the neighbour is not hung up on");
            match frame.command.r#type() {
                Type::Ping => self.talk.pong().await,
                _ => return Box::new(frame.command),
            }
        }
    }
}
