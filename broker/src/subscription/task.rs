//! The task of a subscription: it reads, hands deliveries to connections, and notes acknowledgements.
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures::future::BoxFuture;
use proto::Position;
use proto::pulsar::command_subscribe::SubType;
use proto::pulsar::{CommandMessage, MessageIdData};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use super::attached::Attached;
use super::attendance::Attendance;
use super::dispatch::{Delivery, Dispatch, Fetch};
use super::watch::Watch;
use super::{Command, ConsumerEvent, MAILBOX, Properties, Reply, Seat, SubscribeAt, SubscriptionHandle};
use crate::Clock;
use crate::cursor::{AckSet, CursorLog, Run};
use crate::heed::Heeded;
use crate::log::{LogError, LogReader, StoredEntry};
use crate::outbox::{NextOwner, Serial};
use crate::pace::Pace;
use crate::policies::Terms;
use crate::rate::Rate;

/// Before a read that failed is tried again.
const READ_AGAIN: Duration = Duration::from_millis(500);
/// What a subscription is made of.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) name: Arc<str>,
    pub(crate) durable: bool,
    pub(crate) kind: SubType,
    /// Number of the partition, when the topic is one.
    pub(crate) partition: Option<u32>,
    pub(crate) seat: Seat,
    pub(crate) start: Start,
    pub(crate) properties: Properties,
    pub(crate) reader: LogReader,
    pub(crate) cursor_log: CursorLog,
    pub(crate) clock: Clock,
    /// The topic takes no more messages.
    pub(crate) terminated: Arc<AtomicBool>,
    pub(crate) attendance: Attendance,
    pub(crate) heeded: Arc<Heeded>,
}

/// Where it stands.
#[derive(Debug)]
pub(crate) enum Start {
    /// As it was kept, with what is known of times.
    Kept(AckSet, Vec<Run>),
    /// New: it is written down before anyone is told of it. Whether it starts in what compaction has left.
    New(SubscribeAt, bool),
}

/// Starts a subscription's task. It ends when it is closed or deleted, or, if it is not durable, with its last consumer.
pub(crate) fn spawn(setup: Setup, tasks: &tokio_util::task::TaskTracker) -> SubscriptionHandle {
    let (mailbox, inbox) = mpsc::channel(MAILBOX);
    let handle = SubscriptionHandle { name: setup.name.clone(), durable: setup.durable, mailbox };
    tasks.spawn(run(setup, handle.clone().downgrade(), inbox));
    handle
}

/// Makes handles of a subscription without keeping it alive.
#[derive(Debug, Clone)]
pub(super) struct WeakHandle {
    name: Arc<str>,
    durable: bool,
    mailbox: mpsc::WeakSender<Command>,
}

impl SubscriptionHandle {
    pub(super) fn downgrade(self) -> WeakHandle {
        WeakHandle { name: self.name, durable: self.durable, mailbox: self.mailbox.downgrade() }
    }
}

impl WeakHandle {
    pub(super) fn upgrade(&self) -> Option<SubscriptionHandle> {
        let mailbox = self.mailbox.upgrade()?;
        Some(SubscriptionHandle { name: self.name.clone(), durable: self.durable, mailbox })
    }
}

/// Counters of the subscription.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) out: Rate,
    pub(super) acked: Rate,
    pub(super) redelivered: Rate,
    pub(super) expired: Rate,
    pub(super) last_expired: u64,
    pub(super) last_flow: u64,
    pub(super) last_consumed: u64,
    pub(super) last_acked: u64,
    pub(super) last_mark: u64,
}

pub(super) struct Task {
    pub(super) name: Arc<str>,
    pub(super) durable: bool,
    pub(super) partition: Option<u32>,
    pub(super) seat: Seat,
    pub(super) properties: Properties,
    /// Shared by the reads one after the other, so that each goes on where the last one stopped.
    pub(super) reader: Arc<LogReader>,
    pub(super) cursor_log: CursorLog,
    pub(super) clock: Clock,
    pub(super) terminated: Arc<AtomicBool>,
    pub(super) attendance: Attendance,
    pub(super) handle: WeakHandle,
    pub(super) heeded: Arc<Heeded>,
    pub(super) terms: watch::Receiver<Terms>,
    /// Of this subscription.
    pub(super) pace: Pace,
    /// Policies let nothing be delivered until then.
    pub(super) paced_until: Option<Instant>,
    pub(super) dispatch: Dispatch,
    pub(super) attached: HashMap<Serial, Attached>,
    pub(super) counters: Counters,
    /// When the last consumer left, somebody skipped messages, or it was loaded.
    pub(super) unused_since: u64,
    /// The cursor log has too much to write: nothing is delivered meanwhile.
    pub(super) cursor_full: bool,
    pub(super) hold_until: Option<Instant>,
    /// A reader has moved, and was sent away for it.
    pub(super) reader_expected_until: Option<Instant>,
    read_again_at: Option<Instant>,
    pub(super) watch: Watch,
    /// A connection has room again.
    room: Arc<Notify>,
    /// Who waits to hear that the subscription is gone.
    pub(super) finished: Option<Reply<()>>,
}

/// Whether the task goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    GoOn,
    End,
}

/// With what was read, the horizon of what compaction had left before, if that was read.
type Reading = BoxFuture<'static, (Fetch, Option<Position>, Result<Vec<StoredEntry>, LogError>)>;

async fn run(setup: Setup, handle: WeakHandle, mut inbox: mpsc::Receiver<Command>) {
    let mut finished = None;
    match Task::start(setup, handle).await {
        Ok(mut task) => {
            let mut tail = task.reader.tail();
            let mut reading: Option<Reading> = None;
            let mut commands = Vec::new();
            while task.step(&mut inbox, &mut commands, &mut tail, &mut reading).await == Next::GoOn {}
            task.send_everyone_away(&NextOwner::default());
            finished = task.finished.take();
        }
        Err(error) => {
            tracing::warn!(%error, "subscription was not made");
            inbox.close();
            while let Some(command) = inbox.recv().await {
                if let Command::Attach(attach) = command {
                    let _ = attach.reply.send(Err(error.clone().into()));
                }
            }
        }
    }
    // What still waits in the mailbox is answered by dropping it: its senders ask the topic again.
    inbox.close();
    if let Some(reply) = finished {
        let _ = reply.send(Ok(())); // Nobody can reach it any more, so its name is free.
    }
    while inbox.recv().await.is_some() {}
}

impl Task {
    async fn start(setup: Setup, handle: WeakHandle) -> Result<Self, LogError> {
        let (acks, delays) = match setup.start {
            Start::Kept(acks, delays) => (acks, delays),
            Start::New(at, compacted) => {
                let acks = at.resolve(&setup.reader, compacted).await?;
                if setup.durable {
                    setup.cursor_log.put(&setup.name, acks.clone(), setup.properties.clone()).await?;
                }
                (acks, Vec::new())
            }
        };
        let mut dispatch = Dispatch::new(setup.kind, acks);
        let now = setup.clock.now_ms();
        dispatch.at(now);
        let mut task = Self {
            name: setup.name,
            durable: setup.durable,
            partition: setup.partition,
            seat: setup.seat,
            properties: setup.properties,
            reader: Arc::new(setup.reader),
            cursor_log: setup.cursor_log,
            clock: setup.clock,
            terminated: setup.terminated,
            attendance: setup.attendance,
            handle,
            terms: setup.heeded.changes(),
            heeded: setup.heeded,
            pace: Pace::default(),
            paced_until: None,
            dispatch,
            attached: HashMap::new(),
            counters: Counters::default(),
            unused_since: now,
            cursor_full: false,
            hold_until: None,
            reader_expected_until: None,
            read_again_at: None,
            watch: Watch::default(),
            room: Arc::new(Notify::new()),
            finished: None,
        };
        task.heed();
        task.dispatch.know(delays);
        Ok(task)
    }

    /// Delivers what can be delivered, then waits for the next thing to happen.
    async fn step(
        &mut self,
        inbox: &mut mpsc::Receiver<Command>,
        commands: &mut Vec<Command>,
        tail: &mut watch::Receiver<Position>,
        reading: &mut Option<Reading>,
    ) -> Next {
        let end = *tail.borrow_and_update();
        let moved = self.deliver();
        let due = self.due_at();
        self.watch(moved, end);
        self.tell_end();
        if reading.is_none() && !self.cursor_full && self.read_again_at.is_none() && self.paced_until.is_none() {
            *reading = self.dispatch.wanted(end).map(|fetch| self.read(fetch));
        }
        tokio::select! {
            count = inbox.recv_many(commands, MAILBOX) => {
                if count == 0 {
                    return Next::End;
                }
                for command in commands.drain(..) {
                    if self.handle(command).await == Next::End {
                        return Next::End;
                    }
                }
            }
            (fetch, horizon, entries) = async { reading.as_mut().expect("guarded").await }, if reading.is_some() => {
                *reading = None;
                self.supply(fetch, horizon, entries);
            }
            changed = tail.changed(), if reading.is_none() => if changed.is_err() {
                return Next::End; // The log was closed or lost.
            },
            () = self.room.notified() => self.look_for_room(),
            () = self.cursor_log.roomy(), if self.cursor_full => self.cursor_full = false,
            () = sleep_until(self.hold_until), if self.hold_until.is_some() => {
                self.hold_until = None;
                self.dispatch.hold(false);
            }
            () = sleep_until(self.reader_expected_until), if self.reader_expected_until.is_some() => return Next::End,
            () = sleep_until(self.read_again_at), if self.read_again_at.is_some() => self.read_again_at = None,
            _ = self.terms.changed() => self.heed(),
            () = sleep_until(self.paced_until), if self.paced_until.is_some() => {} // More can be delivered now.
            () = sleep_until(due), if due.is_some() => {} // Something can be delivered now.
            () = sleep_until(self.watch.due()), if self.watch.due().is_some() => self.find_standstill(end),
        }
        Next::GoOn
    }

    fn read(&self, fetch: Fetch) -> Reading {
        let (reader, compacted) = (self.reader.clone(), self.dispatch.reads_compacted());
        Box::pin(async move {
            let Fetch { from, entries_max, bytes_max, .. } = fetch;
            let horizon = reader.compacted().filter(|_| compacted).map(|compacted| compacted.horizon);
            let read = match compacted {
                true => reader.read_compacted(from, entries_max, bytes_max).await,
                false => reader.read(from, entries_max, bytes_max).await,
            };
            (fetch, horizon, read)
        })
    }

    fn supply(&mut self, fetch: Fetch, horizon: Option<Position>, entries: Result<Vec<StoredEntry>, LogError>) {
        match entries {
            Ok(entries) => {
                if let Some(horizon) = horizon.filter(|_| entries.is_empty()) {
                    self.dispatch.nothing_below(&fetch, horizon);
                }
                let reader = self.reader.clone();
                self.dispatch.at(self.clock.now_ms());
                let markers = reader.with_chain(|chain| {
                    self.dispatch.supply(&fetch, entries, chain);
                    self.dispatch.acknowledge_markers(chain)
                });
                if let Some(delta) = markers {
                    self.note(delta, None);
                }
                self.note_delays();
            }
            Err(error) => {
                tracing::warn!(subscription = %self.name, position = %fetch.from, %error, "reading failed");
                self.read_again_at = Some(Instant::now() + READ_AGAIN);
            }
        }
    }

    /// Hands over all that can be delivered now: runs for one consumer go to its connection under one lock. `false` if there
    /// was nothing.
    fn deliver(&mut self) -> bool {
        let now = self.clock.now_ms();
        self.dispatch.at(now);
        self.paced_until = None;
        if self.cursor_full {
            return false;
        }
        let mut moved = false;
        self.look_for_room();
        let mut run: Vec<Delivery> = Vec::new();
        while let Some(delivery) = self.next_in_pace(now) {
            moved = true;
            if run.first().is_some_and(|first| first.consumer != delivery.consumer) {
                self.hand_over(std::mem::take(&mut run), now);
            }
            run.push(delivery);
        }
        if !run.is_empty() {
            self.hand_over(run, now);
        }
        self.dispatch.rest();
        moved
    }

    fn look_for_room(&mut self) {
        for (serial, attached) in &self.attached {
            self.dispatch.set_room(*serial, attached.client.outbox.has_room(&self.room));
        }
    }

    fn hand_over(&mut self, run: Vec<Delivery>, now: u64) {
        let serial = run[0].consumer;
        let attached = self.attached.get_mut(&serial).expect("deliveries go to attached consumers");
        let messages = run.iter().map(|delivery| u64::from(delivery.messages)).sum();
        let again = run.iter().filter(|delivery| 0 < delivery.redelivery_count);
        let again: u64 = again.map(|delivery| u64::from(delivery.messages)).sum();
        let bytes = run.iter().map(|delivery| delivery.entry.len() as u64).sum();
        attached.out.add(messages, bytes, now);
        attached.redelivered.add(again, 0, now);
        attached.last_consumed = now;
        self.counters.out.add(messages, bytes, now);
        self.counters.redelivered.add(again, 0, now);
        self.counters.last_consumed = now;
        let (consumer_id, partition) = (attached.consumer_id, self.partition);
        let room = attached.client.outbox.push(|push| {
            for delivery in run {
                let partition = partition.and_then(|number| i32::try_from(number).ok());
                let message_id = MessageIdData { partition, ..delivery.position.to_message_id() };
                let message = CommandMessage {
                    consumer_id,
                    message_id,
                    redelivery_count: Some(delivery.redelivery_count).filter(|count| 0 < *count),
                    ack_set: delivery.ack_set,
                    consumer_epoch: delivery.epoch,
                };
                push.message(&message, delivery.entry);
            }
            push.has_room()
        });
        if !room {
            let room = attached.client.outbox.has_room(&self.room);
            self.dispatch.set_room(serial, room);
        }
    }

    async fn handle(&mut self, command: Command) -> Next {
        match command {
            Command::Events(events) => {
                let now = self.clock.now_ms();
                events.into_iter().for_each(|(serial, event)| self.event(serial, event, now));
                Next::GoOn
            }
            Command::Attach(attach) => {
                self.attach(*attach);
                Next::GoOn
            }
            Command::Detach(serial, done) => {
                let next = self.detach(serial);
                let _ = done.send(());
                next
            }
            other => self.request(other).await,
        }
    }

    fn event(&mut self, serial: Serial, event: ConsumerEvent, now: u64) {
        let Some(attached) = self.attached.get_mut(&serial) else { return };
        match event {
            ConsumerEvent::Announced => {
                attached.announced = true;
                self.tell_active(serial);
            }
            ConsumerEvent::Permits(permits) => {
                attached.last_flow = now;
                self.counters.last_flow = now;
                self.dispatch.flow(serial, permits);
            }
            ConsumerEvent::Acknowledge(ack) => self.acknowledge(serial, *ack, now),
            ConsumerEvent::Redeliver { ids, epoch } => {
                if ids.is_empty() || !self.dispatch.shared() {
                    self.dispatch.redeliver_all(serial, epoch);
                } else {
                    self.dispatch.redeliver(serial, &ids);
                }
            }
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
