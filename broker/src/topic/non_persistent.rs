//! The task of a topic that stores nothing: what is published is handed on to whoever is there, and answered.
//!
//! A task of its own beside [`Topic`](super::task::Topic), because nothing here waits for a log: producers are answered at once, and
//! nothing is in flight when the topic ends.
use std::collections::BTreeMap;
use std::sync::Arc;

use proto::pulsar::{CommandSendError, CommandSendReceipt};
use tokio::sync::mpsc;

use super::handle::Shared;
use super::idle::Activity;
use super::limits::may_subscribe;
use super::producers::{AttachProducer, Producer, ProducerRefused, Producers, Publish, Refusal};
use super::registry::Registry;
use super::task::{Command, MAILBOX, Make};
use super::{TopicError, TopicHandle};
use crate::outbox::{NextOwner, Serial, no_message_id};
use crate::rate::Rate;
use crate::stats::TopicStats;
use crate::subscription::{
    self, Attach, Attendance, Burst, Feed, Passed, PassingSetup, Seat, SubscriptionError, SubscriptionHandle,
    passing_id, spawn_passing,
};

/// SENDs of one producer that may be under way. Apache Pulsar counts those of a whole connection.
const UNDER_WAY_MAX: usize = 1000;

struct Subscribed {
    subscription: SubscriptionHandle,
    feed: Feed,
}

struct NonPersistentTopic {
    shared: Arc<Shared>,
    registry: Arc<Registry>,
    producers: Producers,
    attendance: Attendance,
    activity: Activity,
    subscriptions: BTreeMap<Arc<str>, Subscribed>,
    published: Rate,
    last_publish: u64,
}

/// Starts the task of a topic.
pub(super) fn spawn(shared: Arc<Shared>, registry: Arc<Registry>) -> TopicHandle {
    let (mailbox, inbox) = mpsc::channel(MAILBOX);
    let handle = TopicHandle { shared: shared.clone(), mailbox };
    let topic = NonPersistentTopic {
        shared,
        registry: registry.clone(),
        producers: Producers::new(None),
        attendance: Attendance::default(),
        activity: Activity::new(),
        subscriptions: BTreeMap::new(),
        published: Rate::default(),
        last_publish: 0,
    };
    registry.tasks.spawn(topic.run(inbox));
    handle
}

impl NonPersistentTopic {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let mut commands = Vec::new();
        let mut end = None;
        while end.is_none() {
            let count = inbox.recv_many(&mut commands, MAILBOX).await;
            if count == 0 {
                end = Some(NextOwner::default()); // The registry and everyone else has let go.
            }
            for command in commands.drain(..) {
                if end.is_none() {
                    end = self.handle(command).err();
                }
            }
        }
        inbox.close(); // Whoever waits in it is sent away below, or asks again.
        let to = end.unwrap_or_default();
        self.producers.send_everyone_away(&to);
        for one in self.subscriptions.values() {
            // Its answer waits for no disk.
            let _ = one.subscription.ask(|reply| subscription::Command::Close(to.clone(), reply)).await;
        }
        self.registry.forget(&self.shared);
        self.shared.gone.cancel();
    }

    /// `Err`: it ends, and clients go there.
    fn handle(&mut self, command: Command) -> Result<(), NextOwner> {
        self.activity.note(&command);
        match command {
            Command::Publish(batch) => self.publish(batch),
            Command::Attach(attach) => self.attach(*attach),
            Command::Detach(serial) => self.let_go(serial),
            Command::Leave(leaving) => self.let_go(leaving.serial),
            Command::Subscribe { name, make, attach } => self.subscribe(name, make, attach),
            Command::Subscription { name, reply, .. } => {
                let found = self.subscriptions.get(&name).map(|one| one.subscription.clone());
                let _ = reply.send(found.filter(|found| !found.is_closed()));
            }
            Command::Subscriptions(reply) => drop(reply.send(self.open().cloned().collect())),
            Command::Stats(reply) => drop(reply.send(Box::new(self.stats()))),
            Command::Terminate(reply) => {
                let text = "Need to provide a persistent topic name";
                let _ = reply.send(Err(TopicError::NotAllowed(text.into())));
            }
            Command::SendProducersAway => self.producers.send_everyone_away(&NextOwner::default()),
            Command::Remember(reply) => {
                let _ = reply.send(());
            }
            Command::Roll(_) | Command::Trimmed | Command::GiveUp(_) => {} // Of a log.
            Command::Idle { now_ms, reply } => {
                let (used, without) = (self.is_used(), self.open().next().is_none());
                let _ = reply.send(self.activity.idle(used, without, now_ms));
            }
            Command::EndIdle { idle, to, reply } => {
                let ends = self.activity.is_still(idle) && !self.is_used();
                if reply.send(ends).is_ok() && ends {
                    return Err(to);
                }
            }
            Command::End { to, .. } => return Err(to),
        }
        Ok(())
    }

    fn let_go(&mut self, serial: Serial) {
        self.producers.remove(serial);
        self.write_down_epoch();
    }

    fn is_used(&self) -> bool {
        self.producers.is_used() || !self.attendance.is_empty()
    }

    fn open(&self) -> impl Iterator<Item = &SubscriptionHandle> {
        self.subscriptions.values().map(|one| &one.subscription).filter(|subscription| !subscription.is_closed())
    }

    // Publishing.

    /// Answers, in order, all that one read of a socket brought, and hands it on.
    fn publish(&mut self, batch: Vec<Publish>) {
        let now = self.registry.clock.now_ms();
        let mut passed = Vec::new();
        let mut left = batch.into_iter().peekable();
        while let Some(serial) = left.peek().map(|first| first.serial) {
            let of_one = std::iter::from_fn(|| left.next_if(|next| next.serial == serial));
            match self.producers.get_mut(serial) {
                Some(producer) => take(producer, of_one, self.shared.partition, &mut passed, now),
                None => of_one.for_each(drop), // It was sent away meanwhile.
            }
        }
        if passed.is_empty() {
            return;
        }
        self.last_publish = now;
        let burst = Burst::new(passed);
        self.published.add(burst.messages, burst.bytes as u64, now);
        self.subscriptions.values().for_each(|one| one.feed.pass(&burst));
    }

    // Producers.

    fn attach(&mut self, attach: AttachProducer) {
        let name = attach.name.clone().unwrap_or_else(|| self.registry.producer_name());
        if self.producers.are_too_many(&name, &attach) {
            let text = format!("Topic '{}' reached max producers limit", self.shared.name);
            let error = TopicError::ProducerBusy(text);
            let _ = attach.reply.send(Err(ProducerRefused { error, holder: None })); // The connection may be gone.
            return;
        }
        self.producers.attach(name, attach, None);
        self.write_down_epoch();
    }

    /// Where nothing outlives the task, that is done at once.
    fn write_down_epoch(&mut self) {
        while let Some(epoch) = self.producers.access.wanted_epoch() {
            self.producers.epoch_written(epoch);
        }
    }

    // Subscriptions.

    fn subscribe(&mut self, name: Arc<str>, make: Option<Box<Make>>, attach: Box<Attach>) {
        self.subscriptions.retain(|_, one| !one.subscription.is_closed());
        let there = self.subscriptions.get(&name).map(|one| one.subscription.clone());
        let others = if there.is_none() { Some(self.subscriptions.len()) } else { None };
        if let Err(error) = may_subscribe(&self.shared.name, &attach, &self.attendance, others) {
            let _ = attach.reply.send(Err(error));
            return;
        }
        let subscription = match (there, make) {
            (Some(there), _) => there,
            (None, Some(make)) => self.start(name, *make),
            (None, None) => {
                let _ = attach.reply.send(Err(SubscriptionError::NotFound));
                return;
            }
        };
        // When its mailbox is full or it ends just now, the reply is dropped and the client asks again.
        let _ = subscription.pass(subscription::Command::Attach(attach));
    }

    fn start(&mut self, name: Arc<str>, make: Make) -> SubscriptionHandle {
        let setup = PassingSetup {
            name: name.clone(),
            kind: make.kind,
            partition: self.shared.partition,
            seat: Seat::of(&self.shared.name),
            properties: make.properties,
            clock: self.registry.clock.clone(),
            attendance: self.attendance.clone(),
        };
        let (subscription, feed) = spawn_passing(setup, &self.registry.tasks);
        self.subscriptions.insert(name, Subscribed { subscription: subscription.clone(), feed });
        subscription
    }

    /// Without the subscriptions' part, which the asker collects.
    fn stats(&mut self) -> TopicStats {
        let now = self.registry.clock.now_ms();
        let mut publishers = self.producers.stats(now);
        for one in &mut publishers {
            one.msg_drop_rate.get_or_insert(0.0);
        }
        TopicStats {
            msg_drop_rate: Some(publishers.iter().filter_map(|one| one.msg_drop_rate).sum()),
            publishers,
            last_publish_time_stamp: self.last_publish,
            ..TopicStats::of_published(&mut self.published, now)
        }
    }
}

/// Answers what one producer has sent, and gathers what is to be handed on. What is too much is dropped, and its receipt says so.
fn take(
    producer: &mut Producer,
    sent: impl Iterator<Item = Publish>,
    partition: Option<i32>,
    passed: &mut Vec<Passed>,
    now: u64,
) {
    let producer_id = producer.producer_id;
    producer.client.outbox.push(|push| {
        for Publish { serial, sequence_id, highest_sequence_id, messages, bytes, entry, .. } in sent {
            let excess = UNDER_WAY_MAX < push.under_way(serial);
            push.settled(serial, bytes);
            let message_id = match entry {
                Err(Refusal { error, text: message }) => {
                    push.command(&CommandSendError { producer_id, sequence_id, error: error.into(), message }.into());
                    continue;
                }
                Ok(_) if excess => {
                    producer.dropped.add(u64::from(messages), 0, now);
                    no_message_id()
                }
                Ok(bytes) => {
                    producer.rate.add(u64::from(messages), bytes.len() as u64, now);
                    passed.push(Passed { bytes, messages });
                    passing_id(partition)
                }
            };
            push.receipt(&CommandSendReceipt {
                producer_id,
                sequence_id,
                message_id: Some(message_id),
                highest_sequence_id: Some(highest_sequence_id).filter(|highest| 0 < *highest),
            });
        }
    });
}
