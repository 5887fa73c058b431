//! PRODUCER and CLOSE_PRODUCER.
use std::collections::BTreeMap;
use std::sync::Arc;

use proto::pulsar::{
    CommandCloseProducer, CommandProducer, CommandProducerSuccess, CommandSuccess, KeyValue, ServerError,
};
use proto::{Domain, TopicName};

use super::errors::{Answer, Fault, answer};
use super::schemas::{of_producer, version_bytes};
use super::session::{Done, Session};
use crate::Context;
use crate::outbox::{Client, Serial, Turn};
use crate::policies::Effective;
use crate::topic::{AttachProducer, Leaving, ProducerAttached, SubscribeAt, TopicError, TopicHandle};

/// What a client calls by a producer id.
pub(super) enum ProducerSlot {
    /// It is being attached. `ends` when it was closed, or its topic has ended, meanwhile; `turn` when it was to wait and need not.
    Opening {
        serial: Serial,
        ends: Option<Ends>,
        turn: Option<Turn>,
    },
    Open(OpenProducer),
}

/// How something ends that has not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// The client closed it with this request id.
    Closed(u64),
    SentAway,
}

pub(super) struct OpenProducer {
    pub(super) serial: Serial,
    pub(super) topic: TopicHandle,
    pub(super) attached: ProducerAttached,
    schema_version: Option<u64>,
    request_id: u64,
    /// Nothing else is taken.
    pub(super) encryption_required: bool,
}

/// What became of a PRODUCER.
pub(super) struct ProducerOpened {
    producer_id: u64,
    request_id: u64,
    outcome: Result<OpenProducer, Answer>,
}

impl Session {
    pub(super) fn open_producer(&mut self, command: CommandProducer) {
        let (producer_id, request_id) = (command.producer_id, command.request_id);
        match self.producers.get(&producer_id) {
            Some(ProducerSlot::Open(producer)) => return self.outbox.send(success(request_id, producer)),
            Some(ProducerSlot::Opening { .. }) => {
                let text = "Producer is already being created on this connection";
                return self.error(request_id, ServerError::ServiceNotReady, text);
            }
            None => {}
        }
        let (serial, context, client) = (self.serial(), self.house.context.clone(), self.client());
        self.producers.insert(producer_id, ProducerSlot::Opening { serial, ends: None, turn: None });
        let opening = async move {
            let outcome = open(&context, client, command, serial).await;
            Done::Producer(ProducerOpened { producer_id, request_id, outcome })
        };
        if !self.request(request_id, opening) {
            self.producers.remove(&producer_id);
        }
    }

    pub(super) fn producer_opened(&mut self, opened: ProducerOpened) {
        let ProducerOpened { producer_id, request_id, outcome } = opened;
        let Some(ProducerSlot::Opening { ends, turn, .. }) = self.producers.remove(&producer_id) else { return };
        match (outcome, ends) {
            (Ok(producer), None) => {
                self.outbox.send(success(request_id, &producer));
                let serial = producer.serial;
                self.producers.insert(producer_id, ProducerSlot::Open(producer));
                if let Some(turn) = turn {
                    self.producer_turn(producer_id, serial, turn);
                }
            }
            (Ok(producer), Some(ends)) => {
                self.error(request_id, ServerError::ServiceNotReady, "Producer was closed before it was created");
                if let Ends::Closed(close_id) = ends {
                    self.outbox.send(CommandSuccess { request_id: close_id, schema: None });
                }
                self.leave_topic(producer);
            }
            (Err((error, text)), ends) => {
                self.error(request_id, error, text);
                if let Some(Ends::Closed(close_id)) = ends {
                    self.outbox.send(CommandSuccess { request_id: close_id, schema: None });
                }
            }
        }
    }

    /// Detaches without an answer to the client.
    fn leave_topic(&mut self, producer: OpenProducer) {
        self.requests.push(Box::pin(async move {
            producer.topic.detach(producer.serial).await;
            Done::Nothing
        }));
    }

    pub(super) async fn close_producer(&mut self, command: &CommandCloseProducer) {
        let (producer_id, request_id) = (command.producer_id, command.request_id);
        match self.producers.get_mut(&producer_id) {
            Some(ProducerSlot::Opening { ends: ends @ None, .. }) => *ends = Some(Ends::Closed(request_id)),
            Some(ProducerSlot::Open(producer)) => {
                // Answered by the topic, after the last receipt.
                self.held.let_go(producer.serial, &mut self.burst);
                self.burst.hand_over_publishes().await;
                let leaving = Leaving { serial: producer.serial, request_id, outbox: self.outbox.clone() };
                producer.topic.leave(leaving).await;
                self.producers.remove(&producer_id);
                self.note_former(producer_id);
            }
            Some(ProducerSlot::Opening { .. }) | None => self.outbox.send(CommandSuccess { request_id, schema: None }),
        }
    }

    pub(super) fn producer_sent_away(&mut self, producer_id: u64, away: Serial) {
        match self.producers.get_mut(&producer_id) {
            Some(ProducerSlot::Opening { serial, ends, .. }) if *serial == away => {
                *ends = ends.or(Some(Ends::SentAway))
            }
            Some(ProducerSlot::Open(producer)) if producer.serial == away => {
                self.held.forget(away);
                self.producers.remove(&producer_id);
                self.note_former(producer_id);
            }
            _ => {}
        }
    }
}

impl Session {
    /// A producer that was to wait may publish, or never will.
    pub(super) fn producer_turn(&mut self, producer_id: u64, of: Serial, what: Turn) {
        match (self.producers.get_mut(&producer_id), what) {
            (Some(ProducerSlot::Opening { serial, turn, .. }), what) if *serial == of => *turn = Some(what),
            (Some(ProducerSlot::Open(producer)), Turn::Ready { topic_epoch, last_sequence_id })
                if producer.serial == of =>
            {
                let attached = &mut producer.attached;
                (attached.ready, attached.topic_epoch) = (true, Some(topic_epoch));
                attached.last_sequence_id = last_sequence_id;
                self.outbox.send(success(producer.request_id, producer));
            }
            (Some(ProducerSlot::Open(producer)), Turn::Fenced(text)) if producer.serial == of => {
                self.outbox.write_off(of);
                let request_id = producer.request_id;
                self.producers.remove(&producer_id);
                self.note_former(producer_id);
                self.error(request_id, ServerError::ProducerFenced, text);
            }
            _ => {}
        }
    }
}

fn success(request_id: u64, producer: &OpenProducer) -> CommandProducerSuccess {
    CommandProducerSuccess {
        request_id,
        producer_name: producer.attached.name.clone(),
        // -1: none is known.
        last_sequence_id: Some(producer.attached.last_sequence_id.map_or(-1, u64::cast_signed)),
        schema_version: Some(producer.schema_version.map(version_bytes).unwrap_or_default()),
        topic_epoch: producer.attached.topic_epoch,
        producer_ready: Some(producer.attached.ready),
    }
}

async fn open(
    context: &Context,
    client: Arc<Client>,
    command: CommandProducer,
    serial: Serial,
) -> Result<OpenProducer, Answer> {
    let refused = |text: &str| Err((ServerError::NotAllowedError, text.to_string()));
    if command.txn_enabled() {
        return refused("Transactions are not enabled.");
    }
    let topic = open_topic(context, &command.topic, true).await.map_err(answer)?;
    let wanted = wanted(context, &topic).await?;
    topic.heed(wanted.terms(), context.clock.now_ms());
    let limits = wanted.limits();
    let encryption_required = wanted.encryption_required();
    if encryption_required && !command.encrypted() {
        return Err((ServerError::MetadataError, format!("Encryption is required in {}", topic.name())));
    }
    let schema_version = of_producer(context, topic.name(), command.schema.as_ref(), &wanted).await?;
    let stored = topic.name().domain() == Domain::Persistent; // Else a subscription is there as long as a consumer is.
    if let Some(subscription) = command.initial_subscription_name.as_deref().filter(|name| stored && !name.is_empty()) {
        let makes = limits.makes_subscriptions
            || topic.subscriptions().await.is_ok_and(|all| all.iter().any(|one| one == subscription));
        if !makes {
            return refused(
                "Could not create the initial subscription due to the auto subscription creation is not allowed.",
            );
        }
        match topic.create_subscription(subscription, SubscribeAt::Earliest, BTreeMap::new()).await {
            Ok(()) | Err(TopicError::SubscriptionExists) => {}
            Err(error) => return Err(answer(error.into())),
        }
    }
    topic.admits_producers(&wanted.quotas(), context.clock.now_ms()).await.map_err(|error| answer(error.into()))?;
    let terms = Terms { deduplication: wanted.deduplication(), producers_max: limits.producers };
    let attached = attach(&topic, &client, &command, serial, terms).await;
    let attached = attached.map_err(|error| answer(error.into()))?;
    Ok(OpenProducer { serial, topic, attached, schema_version, request_id: command.request_id, encryption_required })
}

/// What policies want of a topic.
pub(super) async fn wanted(context: &Context, topic: &TopicHandle) -> Result<Effective, Answer> {
    let wanted = context.policies.effective(topic.name()).await;
    wanted.map_err(|error| (ServerError::ServiceNotReady, format!("policies cannot be read: {error}")))
}

/// What policies say of those who publish.
#[derive(Clone, Copy)]
struct Terms {
    deduplication: bool,
    producers_max: Option<usize>,
}

/// Attaches, if need be after the connection of whoever is in the way has turned out to be dead.
async fn attach(
    topic: &TopicHandle,
    client: &Arc<Client>,
    command: &CommandProducer,
    serial: Serial,
    terms: Terms,
) -> Result<ProducerAttached, TopicError> {
    let name = command.producer_name.clone().filter(|name| !name.is_empty());
    let mut probed = false;
    loop {
        let attached = topic.attach(|reply| AttachProducer {
            serial,
            producer_id: command.producer_id,
            name: name.clone(),
            user_provided: command.user_provided_producer_name() && name.is_some(),
            epoch: command.epoch(),
            mode: command.producer_access_mode(),
            topic_epoch: command.topic_epoch,
            deduplication: terms.deduplication,
            producers_max: terms.producers_max,
            client: client.clone(),
            metadata: pairs(&command.metadata),
            reply,
        });
        match attached.await {
            Ok(attached) => return Ok(attached),
            Err(refused) => match refused.holder.filter(|holder| !probed && !holder.is_same(&client.outbox)) {
                Some(holder) if !holder.is_alive().await => {
                    holder.end().await;
                    probed = true;
                }
                _ => return Err(refused.error),
            },
        }
    }
}

/// The topic, made if it may be.
pub(super) async fn open_topic(context: &Context, topic: &str, create: bool) -> Result<TopicHandle, Fault> {
    let name: TopicName = topic.parse()?;
    if !context.ownership.owns(&name) {
        // Another broker may have read of our taking the bundle before our own commit was answered. Waiting for what we own
        // is cheaper than a refusal: some clients take half a minute to get over one.
        context.ownership.lookup(&name).await?;
    }
    match context.topics.open(&name, false).await {
        Err(TopicError::NotFound(_)) if create => {
            context.namespaces.may_create(&name).await?;
            Ok(context.topics.open(&name, true).await?)
        }
        opened => Ok(opened?),
    }
}

pub(super) fn pairs(pairs: &[KeyValue]) -> BTreeMap<String, String> {
    pairs.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect()
}
