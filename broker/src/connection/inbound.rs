//! What a client says: frames taken apart, and handed on in bursts.
use bytes::{Bytes, BytesMut};
use prost::Message;
use proto::entry::{self, EntryHead};
use proto::frame::{self, FRAME_BYTES_BEFORE_CONNECT, FRAME_PADDING, FrameError};
use proto::pulsar::base_command::Type;
use proto::pulsar::{BaseCommand, CommandAck, CommandFlow, CommandPong, CommandSend, ServerError};

use super::consumer::ConsumerSlot;
use super::producer::ProducerSlot;
use super::session::{Closed, Session};
use crate::heed::Heeded;
use crate::outbox::Serial;
use crate::subscription::{ConsumerEvent, SubscriptionHandle};
use crate::topic::{Publish, Refusal, Stamp, TopicHandle};

/// More messages than any honest batch has: a number beyond it would starve consumers of their permits.
const BATCH_MESSAGES_MAX: u32 = 1 << 20;

/// The kinds that make up all traffic, decoded without the width of [`BaseCommand`]. Other fields are skipped.
#[derive(Clone, PartialEq, prost::Message)]
struct Frequent {
    #[prost(int32, required, tag = "1")]
    kind: i32,
    #[prost(message, optional, tag = "6")]
    send: Option<CommandSend>,
    #[prost(message, optional, tag = "10")]
    ack: Option<CommandAck>,
    #[prost(message, optional, tag = "11")]
    flow: Option<CommandFlow>,
}

/// What one read brought for topics and subscriptions. Each gets its part as one message.
#[derive(Default)]
pub(super) struct Burst {
    publishes: Vec<(TopicHandle, Vec<Publish>)>,
    events: Vec<(SubscriptionHandle, Vec<(Serial, ConsumerEvent)>)>,
}

impl Burst {
    pub(super) fn publish(&mut self, topic: &TopicHandle, publish: Publish) {
        // From the back: a client mostly goes on with the topic it wrote to last.
        match self.publishes.iter_mut().rev().find(|(there, _)| there.is_same(topic)) {
            Some((_, batch)) => batch.push(publish),
            None => self.publishes.push((topic.clone(), vec![publish])),
        }
    }

    pub(super) async fn hand_over_publishes(&mut self) {
        for (topic, batch) in std::mem::take(&mut self.publishes) {
            topic.publish(batch).await; // A topic that has ended has sent its producers away.
        }
    }

    pub(super) fn event(&mut self, subscription: &SubscriptionHandle, serial: Serial, event: ConsumerEvent) {
        match self.events.iter_mut().rev().find(|(there, _)| there.is_same(subscription)) {
            Some((_, batch)) => batch.push((serial, event)),
            None => self.events.push((subscription.clone(), vec![(serial, event)])),
        }
    }
}

impl Session {
    /// Handles every complete frame in `buffer`.
    pub(super) async fn frames(&mut self, buffer: &mut BytesMut) -> Result<(), Closed> {
        loop {
            let limit = match self.client {
                Some(_) => self.message_bytes_max() + FRAME_PADDING,
                None => FRAME_BYTES_BEFORE_CONNECT,
            };
            match frame::split(buffer, limit) {
                Ok(Some((command, rest))) => self.frame(command, rest).await?,
                Ok(None) => break,
                Err(error) => {
                    self.hand_over().await; // What came before the damage counts.
                    return Err(error.into());
                }
            }
        }
        self.hand_over().await;
        Ok(())
    }

    pub(super) fn message_bytes_max(&self) -> usize {
        usize::try_from(self.house.context.config.message_bytes_max.0).unwrap_or(usize::MAX)
    }

    /// Passes the burst on. Waits while a mailbox is full, and then nothing else is read from this socket.
    pub(super) async fn hand_over(&mut self) {
        self.burst.hand_over_publishes().await;
        for (subscription, batch) in std::mem::take(&mut self.burst.events) {
            subscription.events(batch).await;
        }
    }

    async fn frame(&mut self, command: Bytes, rest: Bytes) -> Result<(), Closed> {
        if self.client.is_none() {
            return self.greet(BaseCommand::decode(command).map_err(FrameError::from)?);
        }
        let frequent = Frequent::decode(command.clone()).map_err(FrameError::from)?;
        match (Type::try_from(frequent.kind), frequent) {
            (Ok(Type::Send), Frequent { send: Some(send), .. }) => self.send(&send, rest),
            (Ok(Type::Ack), Frequent { ack: Some(ack), .. }) => {
                self.event(ack.consumer_id, |_| ConsumerEvent::Acknowledge(Box::new(ack)));
                Ok(())
            }
            (Ok(Type::Flow), Frequent { flow: Some(flow), .. }) => {
                if 0 < flow.message_permits {
                    self.event(flow.consumer_id, |_| ConsumerEvent::Permits(flow.message_permits));
                }
                Ok(())
            }
            (Ok(Type::Ping), _) => {
                self.outbox.send(CommandPong {});
                Ok(())
            }
            (Ok(Type::Pong), _) => Ok(()),
            (Ok(kind), _) => {
                self.hand_over().await; // Requests see what was said before them.
                self.command(kind, &command).await
            }
            (Err(_), frequent) => {
                self.refuse_unknown(frequent.kind, &command);
                Ok(())
            }
        }
    }

    async fn command(&mut self, kind: Type, bytes: &Bytes) -> Result<(), Closed> {
        let command = Box::new(BaseCommand::decode(bytes.clone()).map_err(FrameError::from)?);
        let missing = Closed::Protocol("a command without its body");
        match kind {
            Type::Connect => {
                self.error(u64::MAX, ServerError::UnknownError, "CONNECT came twice");
                return Err(Closed::Refused("CONNECT came twice"));
            }
            Type::Lookup => self.lookup(command.lookup_topic.ok_or(missing)?),
            Type::PartitionedMetadata => self.partition_metadata(command.partition_metadata.ok_or(missing)?),
            Type::GetTopicsOfNamespace => self.topics_of_namespace(command.get_topics_of_namespace.ok_or(missing)?),
            Type::WatchTopicList => self.watch_topics(command.watch_topic_list.ok_or(missing)?),
            Type::WatchTopicListClose => self.close_watcher(&command.watch_topic_list_close.ok_or(missing)?),
            Type::GetSchema => self.get_schema(command.get_schema.ok_or(missing)?),
            Type::GetOrCreateSchema => self.get_or_create_schema(command.get_or_create_schema.ok_or(missing)?),
            Type::Producer => self.open_producer(command.producer.ok_or(missing)?),
            Type::CloseProducer => self.close_producer(&command.close_producer.ok_or(missing)?).await,
            Type::Subscribe => self.subscribe(command.subscribe.ok_or(missing)?),
            Type::CloseConsumer => self.close_consumer(&command.close_consumer.ok_or(missing)?),
            Type::Unsubscribe => self.unsubscribe(&command.unsubscribe.ok_or(missing)?),
            Type::RedeliverUnacknowledgedMessages => {
                let redeliver = command.redeliver_unacknowledged_messages.ok_or(missing)?;
                let (ids, epoch) = (redeliver.message_ids, redeliver.consumer_epoch);
                self.event(redeliver.consumer_id, |_| ConsumerEvent::Redeliver { ids, epoch });
            }
            Type::GetLastMessageId => self.last_message_id(&command.get_last_message_id.ok_or(missing)?),
            Type::Seek => self.seek(&command.seek.ok_or(missing)?),
            Type::ConsumerStats => self.consumer_stats(&command.consumer_stats.ok_or(missing)?),
            other => return self.refuse(other, &command, bytes),
        }
        Ok(())
    }

    /// Hands an event to a consumer's subscription. One for nobody is dropped, as clients expect.
    fn event(&mut self, consumer_id: u64, event: impl FnOnce(Serial) -> ConsumerEvent) {
        if let Some(ConsumerSlot::Open(consumer)) = self.consumers.get(&consumer_id) {
            let serial = consumer.handle.serial;
            self.burst.event(&consumer.handle.subscription, serial, event(serial));
        }
    }

    fn send(&mut self, send: &CommandSend, rest: Bytes) -> Result<(), Closed> {
        let (serial, topic, encrypted) = match self.producers.get(&send.producer_id) {
            Some(ProducerSlot::Open(producer)) if producer.attached.ready => {
                (producer.serial, &producer.topic, producer.encryption_required)
            }
            Some(ProducerSlot::Open(_)) => return Err(Closed::Protocol("SEND before its producer's turn")),
            Some(ProducerSlot::Opening { .. }) => return Ok(()), // Sent before it was told it may: dropped, as Pulsar does.
            None if self.is_former(send.producer_id) => return Ok(()),
            None => return Err(Closed::Protocol("SEND for a producer that does not exist")),
        };
        let bytes = rest.len();
        let (entry, stamp) = match check(send, rest, encrypted, topic.heeded()) {
            Ok((entry, stamp)) => (Ok(entry), stamp),
            Err(refusal) => (Err(refusal), Stamp::default()),
        };
        let publish = Publish {
            serial,
            sequence_id: send.sequence_id,
            highest_sequence_id: send.highest_sequence_id(),
            messages: u32::try_from(send.num_messages()).unwrap_or(1).clamp(1, BATCH_MESSAGES_MAX),
            bytes,
            stamp,
            entry,
        };
        self.held.pass(topic, publish, &self.house.context.clock, &mut self.burst);
        self.outbox.sent(serial, bytes);
        Ok(())
    }
}

/// How long a message may wait at most, when it is to wait longer.
fn too_late(head: &EntryHead, heeded: &Heeded) -> Option<u64> {
    let delay = head.due()?.saturating_sub(head.publish_time);
    let terms = heeded.terms().delays;
    terms.max_ms.filter(|max_ms| terms.active && *max_ms < delay)
}

/// Whether an entry may be stored, and what it says of its origin.
fn check(send: &CommandSend, entry: Bytes, encrypted: bool, heeded: &Heeded) -> Result<(Bytes, Stamp), Refusal> {
    let refusal = |error, text: &str| Refusal { error, text: text.into() };
    if send.txnid_least_bits() != 0 || send.txnid_most_bits() != 0 {
        return Err(refusal(ServerError::NotAllowedError, "Transactions are not enabled."));
    }
    // The bytes of the read buffer are kept as they are: see D1 of the architecture.
    match entry::split(entry.clone()).and_then(|parts| parts.complete_head()) {
        Ok(head) if BATCH_MESSAGES_MAX < head.messages() => {
            Err(refusal(ServerError::NotAllowedError, "the batch claims more messages than any batch can hold"))
        }
        Ok(head) if encrypted && head.encryption_keys.is_empty() => {
            Err(refusal(ServerError::MetadataError, "Messages must be encrypted"))
        }
        Ok(_) if !send.is_chunk() && heeded.is_too_large(entry.len()) => {
            Err(refusal(ServerError::NotAllowedError, "Exceed maximum message size"))
        }
        Ok(head) => match too_late(&head, heeded) {
            Some(max_ms) => {
                let text = format!("Exceeds max allowed delivery delay of {max_ms} milliseconds");
                Err(refusal(ServerError::NotAllowedError, &text))
            }
            None => Ok((entry, head.into())),
        },
        Err(error @ entry::EntryError::Checksum { .. }) => Err(refusal(ServerError::ChecksumError, &error.to_string())),
        Err(error) => Err(refusal(ServerError::MetadataError, &error.to_string())),
    }
}
