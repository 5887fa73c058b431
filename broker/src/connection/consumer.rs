//! SUBSCRIBE and what a consumer asks for afterwards.
use std::sync::Arc;

use proto::pulsar::command_subscribe::{InitialPosition, SubType};
use proto::pulsar::schema::Type;
use proto::pulsar::{
    BaseCommand, CommandCloseConsumer, CommandConsumerStats, CommandConsumerStatsResponse, CommandError,
    CommandGetLastMessageId, CommandGetLastMessageIdResponse, CommandSubscribe, CommandSuccess, CommandUnsubscribe,
    KeySharedMode, MessageIdData, ServerError,
};
use proto::{Domain, Position};

use super::errors::{Answer, answer};
use super::producer::{Ends, open_topic, pairs, wanted};
use super::schemas::of_consumer;
use super::session::{Done, Session};
use crate::Context;
use crate::outbox::{Client, Serial, no_message_id};
use crate::policies::Limits;
use crate::subscription::{
    Attach, Command, ConsumerEvent, ConsumerHandle, KeyPolicy, KeyTerms, SubscribeAt, SubscriptionError,
};
use crate::topic::{ConsumerWanted, TopicError, TopicHandle};

/// Longer names are refused: they are kept in every record of the cursor log.
const NAME_BYTES_MAX: usize = 1024;

/// What a client calls by a consumer id.
pub(super) enum ConsumerSlot {
    /// It is being attached. `ends` when it was closed, or its topic has ended, meanwhile.
    Opening {
        serial: Serial,
        ends: Option<Ends>,
    },
    Open(OpenConsumer),
}

#[derive(Clone)]
pub(super) struct OpenConsumer {
    pub(super) handle: ConsumerHandle,
    pub(super) topic: TopicHandle,
    read_compacted: bool,
}

/// What became of a SUBSCRIBE.
pub(super) struct ConsumerOpened {
    consumer_id: u64,
    request_id: u64,
    outcome: Result<OpenConsumer, Answer>,
}

impl Session {
    pub(super) fn subscribe(&mut self, command: CommandSubscribe) {
        let (consumer_id, request_id) = (command.consumer_id, command.request_id);
        match self.consumers.get(&consumer_id) {
            // Its permits stay as they are: a repeated SUBSCRIBE grants none.
            Some(ConsumerSlot::Open(_)) => return self.succeed(request_id),
            Some(ConsumerSlot::Opening { .. }) => {
                let text = "Consumer is already being created on this connection";
                return self.error(request_id, ServerError::ServiceNotReady, text);
            }
            None => {}
        }
        let (serial, context, client) = (self.serial(), self.house.context.clone(), self.client());
        self.consumers.insert(consumer_id, ConsumerSlot::Opening { serial, ends: None });
        let opening = async move {
            let outcome = open(&context, client, command, serial).await;
            Done::Consumer(ConsumerOpened { consumer_id, request_id, outcome })
        };
        if !self.request(request_id, opening) {
            self.consumers.remove(&consumer_id);
        }
    }

    pub(super) fn succeed(&self, request_id: u64) {
        self.outbox.send(CommandSuccess { request_id, schema: None });
    }

    pub(super) fn consumer_opened(&mut self, opened: ConsumerOpened) {
        let ConsumerOpened { consumer_id, request_id, outcome } = opened;
        let Some(ConsumerSlot::Opening { ends, .. }) = self.consumers.remove(&consumer_id) else { return };
        match (outcome, ends) {
            (Ok(consumer), None) => {
                self.succeed(request_id);
                let (subscription, serial) = (consumer.handle.subscription.clone(), consumer.handle.serial);
                self.consumers.insert(consumer_id, ConsumerSlot::Open(consumer));
                // Only now may the subscription tell it whether it is active: not before SUCCESS.
                self.requests.push(Box::pin(async move {
                    subscription.events(vec![(serial, ConsumerEvent::Announced)]).await;
                    Done::Nothing
                }));
            }
            (Ok(consumer), Some(ends)) => {
                self.error(request_id, ServerError::ServiceNotReady, "Consumer was closed before it was created");
                self.leave_subscription(consumer.handle, ends);
            }
            (Err((error, text)), ends) => {
                self.error(request_id, error, text);
                if let Some(Ends::Closed(close_id)) = ends {
                    self.succeed(close_id);
                }
            }
        }
    }

    fn leave_subscription(&mut self, handle: ConsumerHandle, ends: Ends) {
        self.requests.push(Box::pin(async move {
            handle.detach().await;
            match ends {
                Ends::Closed(request_id) => done(CommandSuccess { request_id, schema: None }),
                Ends::SentAway => Done::Nothing,
            }
        }));
    }

    pub(super) fn close_consumer(&mut self, command: &CommandCloseConsumer) {
        let (consumer_id, request_id) = (command.consumer_id, command.request_id);
        match self.consumers.get_mut(&consumer_id) {
            Some(ConsumerSlot::Opening { ends: ends @ None, .. }) => *ends = Some(Ends::Closed(request_id)),
            Some(ConsumerSlot::Open(consumer)) => {
                let handle = consumer.handle.clone();
                self.consumers.remove(&consumer_id);
                self.leave_subscription(handle, Ends::Closed(request_id));
            }
            Some(ConsumerSlot::Opening { .. }) | None => self.succeed(request_id),
        }
    }

    pub(super) fn consumer_sent_away(&mut self, consumer_id: u64, away: Serial) {
        match self.consumers.get_mut(&consumer_id) {
            Some(ConsumerSlot::Opening { serial, ends }) if *serial == away => *ends = ends.or(Some(Ends::SentAway)),
            Some(ConsumerSlot::Open(consumer)) if consumer.handle.serial == away => {
                self.consumers.remove(&consumer_id);
            }
            _ => {}
        }
    }

    pub(super) fn open_consumer(&self, consumer_id: u64) -> Option<OpenConsumer> {
        match self.consumers.get(&consumer_id) {
            Some(ConsumerSlot::Open(consumer)) => Some(consumer.clone()),
            _ => None,
        }
    }

    pub(super) fn unsubscribe(&mut self, command: &CommandUnsubscribe) {
        let (request_id, force) = (command.request_id, command.force());
        let Some(OpenConsumer { handle, topic, .. }) = self.open_consumer(command.consumer_id) else {
            return self.error(request_id, ServerError::MetadataError, "Consumer not found");
        };
        let serial = handle.serial;
        let consumer_id = command.consumer_id;
        self.request(request_id, async move {
            let asked = handle.subscription.ask(|reply| Command::Unsubscribe { serial, force, reply }).await;
            match asked.map_err(|error| answer(TopicError::from_subscription(&error, topic.name()).into())) {
                Ok(()) => Done::Unsubscribed { request_id, consumer_id, serial },
                Err((error, message)) => done(CommandError { request_id, error: error.into(), message }),
            }
        });
    }

    pub(super) fn unsubscribed(&mut self, request_id: u64, consumer_id: u64, serial: Serial) {
        self.consumer_sent_away(consumer_id, serial);
        self.succeed(request_id);
    }

    pub(super) fn last_message_id(&mut self, command: &CommandGetLastMessageId) {
        let request_id = command.request_id;
        let Some(OpenConsumer { handle, topic, read_compacted }) = self.open_consumer(command.consumer_id) else {
            return self.error(request_id, ServerError::MetadataError, "Consumer not found");
        };
        self.request(request_id, async move {
            let found = async {
                let mark = handle.subscription.ask(|reply| Command::MarkDelete(handle.serial, reply)).await;
                let mark = mark.map_err(|error| TopicError::from_subscription(&error, topic.name()))?;
                Ok::<_, TopicError>((topic.last_message_id(read_compacted).await?, mark))
            };
            match found.await.map_err(|error| answer(error.into())) {
                Ok((last_message_id, mark)) => done(CommandGetLastMessageIdResponse {
                    last_message_id,
                    request_id,
                    consumer_mark_delete_position: Some(mark.map_or_else(no_message_id, Position::to_message_id)),
                }),
                Err((error, message)) => done(CommandError { request_id, error: error.into(), message }),
            }
        });
    }

    pub(super) fn consumer_stats(&mut self, command: &CommandConsumerStats) {
        let request_id = command.request_id;
        let consumer = self.open_consumer(command.consumer_id);
        self.request(request_id, async move {
            let stats = match consumer {
                Some(OpenConsumer { handle, .. }) => {
                    let serial = handle.serial;
                    handle.subscription.ask(|reply| Command::ConsumerStats(serial, reply)).await.ok()
                }
                None => None,
            };
            done(stats.map_or_else(
                || CommandConsumerStatsResponse {
                    request_id,
                    error_code: Some(ServerError::ConsumerNotFound.into()),
                    error_message: Some("Consumer not found".into()),
                    ..Default::default()
                },
                |stats| CommandConsumerStatsResponse { request_id, ..*stats },
            ))
        });
    }
}

pub(super) fn done(command: impl Into<BaseCommand>) -> Done {
    Done::Answer(Box::new(command.into()))
}

async fn open(
    context: &Context,
    client: Arc<Client>,
    command: CommandSubscribe,
    serial: Serial,
) -> Result<OpenConsumer, Answer> {
    let kind = SubType::try_from(command.sub_type).ok();
    let refused = |text: &str| Err((ServerError::NotAllowedError, text.to_string()));
    if kind.is_none() {
        return refused("This subscription type is not known");
    }
    if command.subscription.is_empty() || NAME_BYTES_MAX < command.subscription.len() {
        return refused("A subscription name has 1 to 1024 bytes");
    }
    if command.read_compacted() && matches!(kind, Some(SubType::Shared | SubType::KeyShared)) {
        return refused("readCompacted only allowed on failover or exclusive subscriptions");
    }
    let topic = open_topic(context, &command.topic, command.force_topic_creation()).await.map_err(answer)?;
    if command.read_compacted() && topic.name().domain() == Domain::NonPersistent {
        return refused("readCompacted only valid on persistent topics");
    }
    let wanted = wanted(context, &topic).await?;
    of_consumer(context, &topic, command.schema.as_ref(), &wanted).await?;
    let at = start(&command, context.clock.now_ms());
    topic.heed(wanted.terms(), context.clock.now_ms());
    let limits = wanted.limits();
    let handle = attach(&topic, &client, &command, serial, at, limits).await;
    let handle = handle.map_err(|error| answer(TopicError::from_subscription(&error, topic.name()).into()))?;
    Ok(OpenConsumer { handle, topic, read_compacted: command.read_compacted() })
}

/// Attaches, if need be after the connection that holds the subscription has turned out to be dead.
async fn attach(
    topic: &TopicHandle,
    client: &Arc<Client>,
    command: &CommandSubscribe,
    serial: Serial,
    at: SubscribeAt,
    limits: Limits,
) -> Result<ConsumerHandle, SubscriptionError> {
    let mut probed = false;
    loop {
        let attached = topic.subscribe(|reply| ConsumerWanted {
            subscription: command.subscription.as_str().into(),
            at: at.clone(),
            properties: pairs(&command.subscription_properties).into_iter().collect(),
            attach: Attach {
                serial,
                consumer_id: command.consumer_id,
                kind: command.sub_type(),
                keys: key_terms(command),
                durable: command.durable(),
                read_compacted: command.read_compacted(),
                name: command.consumer_name().to_string(),
                priority: command.priority_level(),
                epoch: command.consumer_epoch,
                limits,
                client: client.clone(),
                metadata: pairs(&command.metadata),
                takes_any_schema: command.schema.as_ref().is_some_and(|schema| schema.r#type() == Type::AutoConsume),
                reply,
            },
        });
        match attached.await {
            Err(SubscriptionError::Busy { text, holder }) => {
                match holder.filter(|holder| !probed && !holder.is_same(&client.outbox)) {
                    Some(holder) if !holder.is_alive().await => {
                        holder.end().await;
                        probed = true;
                    }
                    _ => return Err(SubscriptionError::Busy { text, holder: None }),
                }
            }
            outcome => return outcome,
        }
    }
}

/// What it asks for if it is a Key_Shared consumer. Saying nothing means that slots are split.
fn key_terms(command: &CommandSubscribe) -> KeyTerms {
    let Some(meta) = &command.key_shared_meta else { return KeyTerms::default() };
    let sticky = meta.key_shared_mode() == KeySharedMode::Sticky;
    let policy = KeyPolicy { sticky, out_of_order: meta.allow_out_of_order_delivery() };
    KeyTerms { policy, ranges: meta.hash_ranges.iter().map(|range| range.start..=range.end).collect() }
}

/// Where a new subscription starts.
fn start(command: &CommandSubscribe, now_ms: u64) -> SubscribeAt {
    let back = command.start_message_rollback_duration_sec();
    if 0 < back {
        return SubscribeAt::Time(now_ms.saturating_sub(back.saturating_mul(1000)));
    }
    match (&command.start_message_id, command.durable()) {
        (Some(id), false) => at_message(id),
        _ => match command.initial_position() {
            InitialPosition::Latest => SubscribeAt::Latest,
            InitialPosition::Earliest => SubscribeAt::Earliest,
        },
    }
}

/// A reader gets the entry of its start id as well, and leaves out itself what it has read before.
pub(super) fn at_message(id: &MessageIdData) -> SubscribeAt {
    match (id.ledger_id.cast_signed(), id.entry_id.cast_signed()) {
        (i64::MAX, _) => SubscribeAt::Latest,
        (ledger, _) if ledger < 0 => SubscribeAt::Earliest,
        (_, entry) => SubscribeAt::Position(Position::new(id.ledger_id, u64::try_from(entry).unwrap_or(0))),
    }
}
