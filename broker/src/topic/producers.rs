//! The producers of one topic, and what they wait for.
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use proto::pulsar::ServerError;
use tokio::sync::oneshot;

use super::TopicError;
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
    pub(crate) client: Arc<Client>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) reply: oneshot::Sender<Result<ProducerAttached, ProducerRefused>>,
}

/// A producer that is in.
#[derive(Debug)]
pub(crate) struct ProducerAttached {
    pub(crate) name: String,
}

/// One that is not. When another holds the name, it may be worth asking whether it still lives.
#[derive(Debug)]
pub(crate) struct ProducerRefused {
    pub(crate) error: TopicError,
    pub(crate) holder: Option<Outbox>,
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
    pub(super) client: Arc<Client>,
    metadata: BTreeMap<String, String>,
    pub(super) rate: Rate,
}

#[derive(Debug, Default)]
pub(super) struct Producers {
    all: HashMap<Serial, Producer>,
    names: HashMap<String, Serial>,
}

impl Producers {
    pub(super) fn get_mut(&mut self, serial: Serial) -> Option<&mut Producer> {
        self.all.get_mut(&serial)
    }

    /// Lets a producer in under `name`. One that attaches again under a name it was given replaces its former self.
    pub(super) fn attach(&mut self, name: String, attach: AttachProducer) {
        let refused = match self.names.get(&name).and_then(|serial| self.all.get(serial)) {
            Some(there) if !succeeds(there, &attach) => Some(ProducerRefused {
                error: TopicError::ProducerBusy(name.clone()),
                holder: Some(there.client.outbox.clone()),
            }),
            _ => None,
        };
        if let Some(refused) = refused {
            let _ = attach.reply.send(Err(refused));
            return;
        }
        if let Some(former) = self.names.get(&name).copied().and_then(|serial| self.remove(serial)) {
            former
                .client
                .outbox
                .push(|push| push.send_producer_away(former.producer_id, former.serial, &NextOwner::default()));
        }
        let serial = attach.serial;
        let producer = Producer {
            serial,
            producer_id: attach.producer_id,
            name: name.clone(),
            user_provided: attach.user_provided,
            epoch: attach.epoch,
            client: attach.client,
            metadata: attach.metadata,
            rate: Rate::default(),
        };
        self.names.insert(name.clone(), serial);
        self.all.insert(serial, producer);
        if attach.reply.send(Ok(ProducerAttached { name })).is_err() {
            self.remove(serial); // The connection is gone.
        }
    }

    pub(super) fn remove(&mut self, serial: Serial) -> Option<Producer> {
        let producer = self.all.remove(&serial)?;
        self.names.remove(&producer.name);
        Some(producer)
    }

    /// They attach again, at the next owner.
    pub(super) fn send_everyone_away(&mut self, to: &NextOwner) {
        for producer in std::mem::take(self).all.into_values() {
            let Producer { producer_id, serial, .. } = producer;
            producer.client.outbox.push(|push| push.send_producer_away(producer_id, serial, to));
        }
    }

    pub(super) fn stats(&mut self, now_ms: u64) -> Vec<PublisherStats> {
        let mut all: Vec<_> = self.all.values_mut().map(|producer| producer.stats(now_ms)).collect();
        all.sort_by(|a, b| (&a.producer_name, a.producer_id).cmp(&(&b.producer_name, b.producer_id)));
        all
    }
}

fn succeeds(there: &Producer, attach: &AttachProducer) -> bool {
    !there.user_provided && !attach.user_provided && there.epoch < attach.epoch
}

impl Producer {
    fn stats(&mut self, now_ms: u64) -> PublisherStats {
        let (messages, bytes) = self.rate.per_second(now_ms);
        PublisherStats {
            access_mode: "Shared".into(),
            producer_id: self.producer_id,
            msg_rate_in: messages,
            msg_throughput_in: bytes,
            average_msg_size: if 0.0 < messages { bytes / messages } else { 0.0 },
            producer_name: self.name.clone(),
            address: self.client.address.clone(),
            connected_since: self.client.connected_since.clone(),
            client_version: self.client.version.clone(),
            metadata: self.metadata.clone(),
            ..Default::default()
        }
    }
}
