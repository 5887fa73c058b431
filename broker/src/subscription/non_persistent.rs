//! The task of a subscription to a topic that stores nothing: what comes goes to a consumer that can take it, or is lost and counted.
//!
//! It is there as long as a consumer is.
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use proto::pulsar::command_subscribe::SubType;
use proto::pulsar::{CommandMessage, MessageIdData};
use tokio::sync::{Notify, mpsc};
use tokio_util::task::TaskTracker;

use super::acks::Answer;
use super::admission::Admission;
use super::attached::Attached;
use super::attendance::Attendance;
use super::consumers::Consumer;
use super::receivers::Receivers;
use super::report::{consumer_stats, kind_name, told};
use super::slots::Slots;
use super::task::{Counters, Next, WeakHandle};
use super::{
    Attach, Command, ConsumerEvent, ConsumerHandle, MAILBOX, Properties, Reply, Seat, SubscriptionError,
    SubscriptionHandle,
};
use crate::Clock;
use crate::outbox::{NextOwner, Serial};
use crate::rate::Rate;
use crate::stats::{ConsumerStats, CursorStats, SubscriptionStats};

/// What may wait for a subscription. It does nothing but hand on, so whatever waits longer meets a consumer that is too slow.
const QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes that one consumer gets before its connection is asked again whether it has room.
const RUN_BYTES: usize = 128 * 1024;
/// What is said to whoever asks for what only a log can do.
const WITHOUT_LOG: &str = "not possible on a non-persistent topic";

/// An entry on its way through.
#[derive(Debug, Clone)]
pub(crate) struct Passed {
    pub(crate) bytes: Bytes,
    pub(crate) messages: u32,
}

/// What a topic hands on at once, to all its subscriptions.
#[derive(Debug, Clone)]
pub(crate) struct Burst {
    entries: Arc<[Passed]>,
    pub(crate) bytes: usize,
    pub(crate) messages: u64,
}

impl Burst {
    pub(crate) fn new(entries: Vec<Passed>) -> Self {
        let bytes = entries.iter().map(|entry| entry.bytes.len()).sum();
        let messages = entries.iter().map(|entry| u64::from(entry.messages)).sum();
        Self { entries: entries.into(), bytes, messages }
    }
}

/// How a topic reaches one of its subscriptions.
#[derive(Debug)]
pub(crate) struct Feed {
    bursts: mpsc::Sender<Burst>,
    queue: Arc<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Handed on and not looked at.
    bytes: AtomicUsize,
    /// Messages that found no room.
    dropped: AtomicU64,
}

impl Feed {
    /// Hands a burst on, or drops it: nobody ever waits.
    pub(crate) fn pass(&self, burst: &Burst) {
        let waiting = self.queue.bytes.fetch_add(burst.bytes, Ordering::Relaxed);
        if QUEUE_BYTES_MAX < waiting + burst.bytes || self.bursts.try_send(burst.clone()).is_err() {
            self.queue.bytes.fetch_sub(burst.bytes, Ordering::Relaxed);
            self.queue.dropped.fetch_add(burst.messages, Ordering::Relaxed);
        }
    }
}

/// What a subscription is made of.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) name: Arc<str>,
    pub(crate) kind: SubType,
    /// Of message ids.
    pub(crate) partition: Option<i32>,
    pub(crate) seat: Seat,
    pub(crate) properties: Properties,
    pub(crate) clock: Clock,
    pub(crate) attendance: Attendance,
}

/// Starts its task, which ends when it is closed or deleted, or with its last consumer.
pub(crate) fn spawn(setup: Setup, tasks: &TaskTracker) -> (SubscriptionHandle, Feed) {
    let (mailbox, inbox) = mpsc::channel(MAILBOX);
    let (bursts, entries) = mpsc::channel(MAILBOX);
    let queue = Arc::new(Queue::default());
    let handle = SubscriptionHandle { name: setup.name.clone(), durable: false, mailbox };
    let task = Task {
        partition: setup.partition,
        seat: setup.seat,
        properties: setup.properties,
        clock: setup.clock,
        attendance: setup.attendance,
        handle: handle.clone().downgrade(),
        receivers: Receivers::new(setup.kind),
        attached: HashMap::new(),
        counters: Counters::default(),
        dropped: Rate::default(),
        queue: queue.clone(),
        room: Arc::new(Notify::new()),
        finished: None,
    };
    tasks.spawn(task.run(inbox, entries));
    (handle, Feed { bursts, queue })
}

struct Task {
    partition: Option<i32>,
    seat: Seat,
    properties: Properties,
    clock: Clock,
    attendance: Attendance,
    handle: WeakHandle,
    receivers: Receivers,
    attached: HashMap<Serial, Attached>,
    counters: Counters,
    dropped: Rate,
    queue: Arc<Queue>,
    /// Only asked for because connections want to know whom to tell: what finds no room is lost.
    room: Arc<Notify>,
    /// Who waits to hear that the subscription is gone.
    finished: Option<Reply<()>>,
}

impl Task {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>, mut entries: mpsc::Receiver<Burst>) {
        let mut commands = Vec::new();
        let mut next = Next::GoOn;
        while next == Next::GoOn {
            tokio::select! {
                biased; // Permits first: what comes after them may have a taker.
                count = inbox.recv_many(&mut commands, MAILBOX) => {
                    next = if count == 0 { Next::End } else { Next::GoOn };
                    for command in commands.drain(..) {
                        if next == Next::GoOn {
                            next = self.handle(command);
                        }
                    }
                }
                Some(burst) = entries.recv() => self.deliver(burst),
            }
        }
        self.send_everyone_away(&NextOwner::default());
        inbox.close(); // Whoever waits in it asks the topic again.
        if let Some(reply) = self.finished.take() {
            let _ = reply.send(Ok(())); // Nobody can reach it any more, so its name is free.
        }
    }

    /// Hands each entry to whoever can take it: runs for one consumer go to its connection under one lock.
    fn deliver(&mut self, burst: Burst) {
        self.queue.bytes.fetch_sub(burst.bytes, Ordering::Relaxed);
        let now = self.clock.now_ms();
        self.dropped.add(self.queue.dropped.swap(0, Ordering::Relaxed), 0, now);
        self.look_for_room();
        let (mut run, mut run_bytes): (Vec<&Passed>, _) = (Vec::new(), 0);
        let mut to = None;
        for entry in &*burst.entries {
            let next = self.receivers.receiver(&entry.bytes, entry.messages);
            if next.is_none() {
                self.dropped.add(u64::from(entry.messages), 0, now);
                continue;
            }
            if to != next {
                self.hand_over(to, std::mem::take(&mut run), now);
                (to, run_bytes) = (next, 0);
            }
            run.push(entry);
            run_bytes += entry.bytes.len();
            if RUN_BYTES <= run_bytes {
                self.hand_over(to, std::mem::take(&mut run), now);
                run_bytes = 0;
            }
        }
        self.hand_over(to, run, now);
    }

    fn look_for_room(&mut self) {
        for (serial, attached) in &self.attached {
            if let Some(consumer) = self.receivers.consumers.get_mut(*serial) {
                consumer.room = attached.client.outbox.has_room(&self.room);
            }
        }
    }

    fn hand_over(&mut self, to: Option<Serial>, run: Vec<&Passed>, now: u64) {
        let Some((serial, attached)) = to.and_then(|to| Some((to, self.attached.get_mut(&to)?))) else { return };
        let messages = run.iter().map(|entry| u64::from(entry.messages)).sum();
        let bytes = run.iter().map(|entry| entry.bytes.len() as u64).sum();
        attached.out.add(messages, bytes, now);
        attached.last_consumed = now;
        self.counters.out.add(messages, bytes, now);
        let (consumer_id, partition) = (attached.consumer_id, self.partition);
        let room = attached.client.outbox.push(|push| {
            for entry in run {
                let message_id = passing_id(partition);
                let message = CommandMessage { consumer_id, message_id, ..Default::default() };
                push.message(&message, entry.bytes.clone());
            }
            push.has_room()
        });
        if let Some(consumer) = self.receivers.consumers.get_mut(serial) {
            consumer.room = room;
        }
    }

    // What others ask.

    fn handle(&mut self, command: Command) -> Next {
        match command {
            Command::Events(events) => {
                let now = self.clock.now_ms();
                events.into_iter().for_each(|(serial, event)| self.event(serial, event, now));
            }
            Command::Attach(attach) => return self.attach(*attach),
            Command::Detach(serial, done) => {
                let next = self.detach(serial);
                let _ = done.send(());
                return next;
            }
            Command::Unsubscribe { serial, force, reply } => {
                let there = self.attached.contains_key(&serial);
                if !there || (1 < self.attached.len() && !force) {
                    let text = "Unconnected or shared consumer attempting to unsubscribe";
                    let _ = reply.send(Err(SubscriptionError::Refused(text)));
                    return Next::GoOn;
                }
                self.attached.remove(&serial); // It knows, and is not sent away.
                self.finished = Some(reply);
                return Next::End;
            }
            Command::DeleteUnused { reply, .. } => drop(reply.send(Err(SubscriptionError::ActiveConsumers))),
            // Its consumers are all there is of it: they are no reason to keep it.
            Command::Delete { reply, .. } => {
                self.finished = Some(reply);
                return Next::End;
            }
            Command::Close(to, reply) => {
                self.send_everyone_away(&to);
                let _ = reply.send(Ok(()));
                return Next::End;
            }
            Command::Properties(reply) => drop(reply.send(Ok(self.properties.clone()))),
            Command::SetProperties(properties, reply) => {
                self.properties = properties;
                let _ = reply.send(Ok(()));
            }
            Command::ConsumerStats(serial, reply) => {
                let stats = self.one(serial, self.clock.now_ms()).ok_or(SubscriptionError::Closed);
                let _ = reply.send(stats.map(|stats| Box::new(told(stats, self.receivers.kind, 0))));
            }
            Command::Stats(reply) => drop(reply.send(Ok(Box::new(self.stats())))),
            Command::Cursor(reply) => drop(reply.send(Ok(Box::new(CursorStats::default())))),
            // There is nowhere to go, and nothing to expire: both are done.
            Command::Seek { reply, .. } | Command::Reset(_, reply) => drop(reply.send(Ok(()))),
            Command::ExpireBefore(_, reply) => drop(reply.send(Ok(0))),
            Command::Trimmed | Command::Terminated => {}
            Command::MarkDelete(_, reply) | Command::Peek(_, reply) => drop(reply.send(Err(without_log()))),
            Command::Unacknowledged { reply, .. } => drop(reply.send(Err(without_log()))),
            Command::SkipAll(reply) | Command::CompactedTo(_, reply) | Command::Skip(_, reply) => {
                let _ = reply.send(Err(without_log()));
            }
        }
        Next::GoOn
    }

    fn event(&mut self, serial: Serial, event: ConsumerEvent, now: u64) {
        let Some(attached) = self.attached.get_mut(&serial) else { return };
        match event {
            ConsumerEvent::Announced => {
                attached.announced = true;
                attached.tell_active(self.receivers.kind, self.receivers.consumers.active() == Some(serial));
            }
            ConsumerEvent::Permits(permits) => {
                attached.last_flow = now;
                self.counters.last_flow = now;
                if let Some(consumer) = self.receivers.consumers.get_mut(serial) {
                    consumer.grant(permits);
                }
            }
            ConsumerEvent::Acknowledge(ack) => {
                if let Some(receipt) = Answer::wanted(&ack, attached) {
                    receipt.send(None);
                }
            }
            ConsumerEvent::Redeliver { .. } => {} // It is gone.
        }
    }

    // Consumers.

    fn attach(&mut self, attach: Attach) -> Next {
        let admitted = self.admit(&attach).and_then(|handle| {
            let present = self.attendance.enter(attach.limits.consumers)?;
            let consumer = Consumer::new(attach.serial, attach.name.clone(), attach.priority, attach.epoch);
            self.receivers.attach(attach.kind, &attach.keys, consumer);
            self.attached.insert(attach.serial, Attached::new(&attach, present));
            self.elect();
            Ok(handle)
        });
        match attach.reply.send(admitted) {
            Ok(()) => self.goes_on(),
            Err(_) => self.detach(attach.serial), // The connection is gone.
        }
    }

    fn admit(&self, attach: &Attach) -> Result<ConsumerHandle, SubscriptionError> {
        let keys = self.receivers.keys.as_ref().filter(|_| !self.attached.is_empty());
        let there = Admission {
            durable: attach.durable, // Nothing is, whatever it asks for.
            kind: self.receivers.kind,
            keys: keys.map(|keys| keys.policy()),
            consumers: &self.receivers.consumers,
            attached: &self.attached,
        };
        there.allow(attach, || match keys {
            Some(keys) => keys.slots().conflict(&attach.keys.ranges),
            None => Slots::new(attach.keys.policy).conflict(&attach.keys.ranges),
        })?;
        let subscription = self.handle.upgrade().ok_or(SubscriptionError::Closed)?;
        Ok(ConsumerHandle { serial: attach.serial, subscription })
    }

    fn goes_on(&self) -> Next {
        if self.attached.is_empty() { Next::End } else { Next::GoOn }
    }

    fn detach(&mut self, serial: Serial) -> Next {
        if self.attached.remove(&serial).is_some() {
            self.receivers.detach(serial);
            self.elect();
        }
        self.goes_on()
    }

    fn elect(&mut self) {
        if self.receivers.elect(self.seat) {
            let active = self.receivers.consumers.active();
            for (serial, attached) in &self.attached {
                attached.tell_active(self.receivers.kind, active == Some(*serial));
            }
        }
    }

    fn send_everyone_away(&mut self, to: &NextOwner) {
        for (serial, attached) in self.attached.drain() {
            self.receivers.detach(serial);
            attached.client.outbox.push(|push| push.send_consumer_away(attached.consumer_id, serial, to));
        }
    }

    // What it tells.

    fn stats(&mut self) -> SubscriptionStats {
        let now = self.clock.now_ms();
        self.dropped.add(self.queue.dropped.swap(0, Ordering::Relaxed), 0, now);
        let serials: Vec<Serial> = self.receivers.consumers.iter().map(|consumer| consumer.serial).collect();
        let consumers = serials.into_iter().filter_map(|serial| self.one(serial, now)).collect();
        let (rate_out, throughput_out) = self.counters.out.per_second(now);
        let active = self.receivers.consumers.active().and_then(|serial| self.receivers.consumers.get(serial));
        let policy = self.receivers.keys.as_ref().map(|keys| keys.policy());
        SubscriptionStats {
            msg_rate_out: rate_out,
            msg_throughput_out: throughput_out,
            msg_out_counter: self.counters.out.messages,
            bytes_out_counter: self.counters.out.bytes,
            msg_drop_rate: Some(self.dropped.per_second(now).0),
            kind: kind_name(self.receivers.kind).into(),
            active_consumer_name: active.map(|consumer| consumer.name.clone()),
            allow_out_of_order_delivery: policy.is_some_and(|policy| policy.out_of_order),
            key_shared_mode: policy.map(|policy| policy.mode_name().into()),
            last_consumed_flow_timestamp: self.counters.last_flow,
            subscription_properties: self.properties.clone().into_iter().collect(),
            consumers,
            ..Default::default()
        }
    }

    fn one(&mut self, serial: Serial, now: u64) -> Option<ConsumerStats> {
        let consumer = self.receivers.consumers.get(serial)?;
        Some(consumer_stats(consumer, self.attached.get_mut(&serial)?, self.receivers.keys.as_ref(), now))
    }
}

fn without_log() -> SubscriptionError {
    SubscriptionError::NotAllowed(WITHOUT_LOG.into())
}

/// The id that everything has which is not stored.
pub(crate) fn passing_id(partition: Option<i32>) -> MessageIdData {
    MessageIdData { ledger_id: 0, entry_id: 0, partition, ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_subscription_is_bounded_and_the_rest_is_counted() {
        let (bursts, mut entries) = mpsc::channel(MAILBOX);
        let queue = Arc::new(Queue::default());
        let feed = Feed { bursts, queue: queue.clone() };
        let burst = |bytes: usize| Burst::new(vec![Passed { bytes: vec![0; bytes].into(), messages: 2 }]);
        (0..5).for_each(|_| feed.pass(&burst(QUEUE_BYTES_MAX / 4)));
        let dropped = || queue.dropped.load(Ordering::Relaxed);
        assert_eq!((queue.bytes.load(Ordering::Relaxed), dropped()), (QUEUE_BYTES_MAX, 2), "bytes");
        assert_eq!(std::iter::from_fn(|| entries.try_recv().ok()).count(), 4);
        queue.bytes.store(0, Ordering::Relaxed);
        (0..=MAILBOX).for_each(|_| feed.pass(&burst(1)));
        assert_eq!((queue.bytes.load(Ordering::Relaxed), dropped()), (MAILBOX, 4), "bursts");
    }
}
