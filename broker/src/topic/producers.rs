//! The producers of one topic.
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use proto::pulsar::{CommandSuccess, ProducerAccessMode, ServerError};
use tokio::sync::oneshot;

use super::TopicError;
use super::access::Access;
use super::sequences::Stamp;
use crate::outbox::{Client, NextOwner, Outbox, Serial};
use crate::rate::Rate;
use crate::stats::PublisherStats;

/// A producer that wants in.
#[derive(Debug)]
pub(crate) struct AttachProducer {
    pub(crate) serial: Serial,
    pub(crate) producer_id: u64,
    /// `None`: the topic makes one.
    pub(crate) name: Option<String>,
    /// Chosen by a person, not by an earlier attachment.
    pub(crate) user_provided: bool,
    /// Rises each time the client attaches the same producer again.
    pub(crate) epoch: u64,
    /// Who else may publish meanwhile.
    pub(crate) mode: ProducerAccessMode,
    /// The epoch of the topic that an earlier attachment of this producer was told.
    pub(crate) topic_epoch: Option<u64>,
    /// Whether policies want that messages which come twice are stored once.
    pub(crate) deduplication: bool,
    /// How many there may be, if policies say so.
    pub(crate) producers_max: Option<usize>,
    pub(crate) client: Arc<Client>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) reply: ProducerReply,
}

pub(crate) type ProducerReply = oneshot::Sender<Result<ProducerAttached, ProducerRefused>>;

/// A producer that is in, or waits for its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProducerAttached {
    pub(crate) name: String,
    /// Rises with each producer that has had the topic for itself.
    pub(crate) topic_epoch: Option<u64>,
    /// The highest that is stored of those this name has published, where that is remembered.
    pub(crate) last_sequence_id: Option<u64>,
    /// `false`: it waits, and is told by [`News::ProducerTurn`](crate::outbox::News).
    pub(crate) ready: bool,
}

/// One that is not. When another is in the way, it may be worth asking whether it still lives.
#[derive(Debug)]
pub(crate) struct ProducerRefused {
    pub(crate) error: TopicError,
    pub(crate) holder: Option<Outbox>,
}

/// CLOSE_PRODUCER: answered when it is dropped, whatever has become of the producer and its topic meanwhile.
#[derive(Debug)]
pub(crate) struct Leaving {
    pub(crate) serial: Serial,
    pub(crate) request_id: u64,
    pub(crate) outbox: Outbox,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.outbox.push(|push| {
            push.write_off(self.serial);
            push.command(&CommandSuccess { request_id: self.request_id, schema: None }.into());
        });
    }
}

/// One SEND.
#[derive(Debug)]
pub(crate) struct Publish {
    pub(crate) serial: Serial,
    pub(crate) sequence_id: u64,
    pub(crate) highest_sequence_id: u64,
    pub(crate) messages: u32,
    /// What the frame counts for in the budget of its connection.
    pub(crate) bytes: usize,
    /// Where it comes from, as its own bytes say.
    pub(crate) stamp: Stamp,
    /// What to store, or why it is not: a refusal waits for its turn among the receipts.
    pub(crate) entry: Result<Bytes, Refusal>,
}

/// A SEND_ERROR.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) error: ServerError,
    pub(crate) text: String,
}

#[derive(Debug)]
pub(super) struct Producer {
    pub(super) serial: Serial,
    pub(super) producer_id: u64,
    pub(super) name: String,
    user_provided: bool,
    epoch: u64,
    pub(super) mode: ProducerAccessMode,
    pub(super) client: Arc<Client>,
    metadata: BTreeMap<String, String>,
    pub(super) rate: Rate,
    /// Too much for a topic that stores nothing.
    pub(super) dropped: Rate,
}

/// All of a topic: those that are in, and in [`access`](super::access) those that wait.
#[derive(Debug, Default)]
pub(super) struct Producers {
    pub(super) all: HashMap<Serial, Producer>,
    pub(super) names: HashMap<String, Serial>,
    pub(super) access: Access,
}

impl Producers {
    pub(super) fn get_mut(&mut self, serial: Serial) -> Option<&mut Producer> {
        self.all.get_mut(&serial)
    }

    /// Whoever is in under a name.
    pub(super) fn named(&self, name: &str) -> Option<&Producer> {
        self.names.get(name).and_then(|serial| self.all.get(serial))
    }

    pub(super) fn insert(&mut self, producer: Producer) {
        self.names.insert(producer.name.clone(), producer.serial);
        self.all.insert(producer.serial, producer);
    }

    /// Takes one out that was in, and nothing else.
    pub(super) fn take(&mut self, serial: Serial) -> Option<Producer> {
        let producer = self.all.remove(&serial)?;
        self.names.remove(&producer.name);
        Some(producer)
    }

    /// They attach again, at the next owner.
    pub(super) fn send_everyone_away(&mut self, to: &NextOwner) {
        let waiting = self.access.drain().map(|waiting| (waiting.producer_id, waiting.serial, waiting.client));
        let all = std::mem::take(&mut self.all).into_values();
        self.names.clear();
        for (producer_id, serial, client) in all.map(|one| (one.producer_id, one.serial, one.client)).chain(waiting) {
            client.outbox.push(|push| push.send_producer_away(producer_id, serial, to));
        }
    }

    pub(super) fn stats(&mut self, now_ms: u64) -> Vec<PublisherStats> {
        let mut all: Vec<_> = self.all.values_mut().map(|producer| producer.stats(now_ms)).collect();
        all.sort_by(|a, b| (&a.producer_name, a.producer_id).cmp(&(&b.producer_name, b.producer_id)));
        all
    }
}

impl Producer {
    pub(super) fn new(name: String, attach: &AttachProducer) -> Self {
        Self {
            serial: attach.serial,
            producer_id: attach.producer_id,
            name,
            user_provided: attach.user_provided,
            epoch: attach.epoch,
            mode: attach.mode,
            client: attach.client.clone(),
            metadata: attach.metadata.clone(),
            rate: Rate::default(),
            dropped: Rate::default(),
        }
    }

    /// Whether `attach` is the same producer, come again under the name it was given.
    pub(super) fn is_succeeded_by(&self, attach: &AttachProducer) -> bool {
        !self.user_provided && !attach.user_provided && self.epoch < attach.epoch
    }

    /// CLOSE_PRODUCER, unasked.
    pub(super) fn send_away(&self) {
        let (producer_id, serial) = (self.producer_id, self.serial);
        self.client.outbox.push(|push| push.send_producer_away(producer_id, serial, &NextOwner::default()));
    }
}

impl Producer {
    fn stats(&mut self, now_ms: u64) -> PublisherStats {
        let (messages, bytes) = self.rate.per_second(now_ms);
        PublisherStats {
            access_mode: self.mode.as_str_name().into(),
            producer_id: self.producer_id,
            msg_rate_in: messages,
            msg_throughput_in: bytes,
            average_msg_size: if 0.0 < messages { bytes / messages } else { 0.0 },
            producer_name: self.name.clone(),
            address: self.client.address.clone(),
            connected_since: self.client.connected_since.clone(),
            client_version: self.client.version.clone(),
            metadata: self.metadata.clone(),
            msg_drop_rate: (0 < self.dropped.messages).then(|| self.dropped.per_second(now_ms).0),
            ..Default::default()
        }
    }
}
