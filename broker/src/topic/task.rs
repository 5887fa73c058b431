//! The task of a topic: the only one that moves its tail.
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use proto::LedgerId;
use proto::pulsar::command_subscribe::SubType;
use tokio::sync::{mpsc, oneshot};

use super::TopicHandle;
use super::arrivals::Arrivals;
use super::errands::Errands;
use super::handle::Shared;
use super::idle::{Activity, Idle};
use super::producers::{AttachProducer, Leaving, Producers, Publish};
use super::publishing::{Waiting, What};
use super::registry::Registry;
use super::sequences::Sequences;
use super::terminate::{Ending, TerminateReply};
use crate::cursor::{CursorLog, OF_COMPACTION, OF_PRODUCERS};
use crate::log::{Loaded, LogError, Settled, TopicLog};
use crate::outbox::{NextOwner, Serial};
use crate::rate::Rate;
use crate::stats::TopicStats;
use crate::subscription::{self, Attach, Attendance, Properties, Seat, Setup, Start, SubscribeAt, SubscriptionHandle};

/// Commands that may wait for a topic. Each is a burst of one socket at most, so few suffice.
pub(super) const MAILBOX: usize = 64;
/// How long a topic that is closed waits for what is in flight.
const SETTLE: Duration = Duration::from_secs(10);

/// What is large is boxed: each mailbox has room for 32 from its first moment on, so that a byte here is 32 of each topic.
#[derive(Debug)]
pub(super) enum Command {
    /// All that one read of a socket brought for this topic.
    Publish(Vec<Publish>),
    Attach(Box<AttachProducer>),
    /// A producer is not there any more.
    Detach(Serial),
    /// A producer leaves after its receipts.
    Leave(Leaving),
    /// Attaches a consumer, to a subscription that is made if it is not there.
    Subscribe {
        name: Arc<str>,
        make: Option<Box<Make>>,
        attach: Box<Attach>,
    },
    /// A subscription, made if it is not there and `make` says how; else `None`.
    Subscription {
        name: Arc<str>,
        make: Option<Box<Make>>,
        reply: oneshot::Sender<Option<SubscriptionHandle>>,
    },
    Subscriptions(oneshot::Sender<Vec<SubscriptionHandle>>),
    Stats(oneshot::Sender<Box<TopicStats>>),
    /// Takes no more messages, for ever.
    Terminate(TerminateReply),
    /// Producers come again: what they may do is to be decided anew.
    SendProducersAway,
    /// Writes down what producers have published.
    Remember(oneshot::Sender<()>),
    /// Closes the open ledger, if it is still this one.
    Roll(LedgerId),
    /// Ledgers have left the chain: whoever stood in one goes on behind it.
    Trimmed,
    /// The topic's record is another's, or in doubt.
    GiveUp(Box<LogError>),
    /// Since when nobody uses it.
    Idle {
        now_ms: u64,
        reply: oneshot::Sender<Option<Idle>>,
    },
    /// Ends it for good, if it is still as it was.
    EndIdle {
        idle: Idle,
        to: NextOwner,
        reply: oneshot::Sender<bool>,
    },
    /// Ends the topic's task, once everyone is answered; `keep` closes the log properly, else it is about to be deleted.
    End {
        keep: bool,
        to: NextOwner,
    },
}

/// How a subscription is made.
#[derive(Debug)]
pub(super) struct Make {
    pub(super) durable: bool,
    pub(super) kind: SubType,
    pub(super) at: SubscribeAt,
    /// Where it starts is told by what compaction has left.
    pub(super) compacted: bool,
    pub(super) properties: Properties,
}

impl Make {
    /// One that lasts, for no consumer yet.
    pub(super) fn durable(at: SubscribeAt, properties: Properties) -> Box<Self> {
        Box::new(Self { durable: true, kind: SubType::Exclusive, at, compacted: false, properties })
    }
}

pub(super) struct Topic {
    pub(super) shared: Arc<Shared>,
    pub(super) registry: Arc<Registry>,
    pub(super) log: TopicLog,
    pub(super) cursor_log: CursorLog,
    /// `None`: messages that come twice are stored twice.
    pub(super) sequences: Option<Sequences>,
    pub(super) producers: Producers,
    pub(super) errands: Errands,
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) ending: Ending,
    pub(super) attendance: Attendance,
    pub(super) activity: Activity,
    pub(super) arrivals: Arrivals,
    pub(super) subscriptions: BTreeMap<Arc<str>, SubscriptionHandle>,
    pub(super) published: Rate,
    pub(super) last_publish: u64,
}

/// Starts the task of a topic that was loaded.
pub(super) fn spawn(
    shared: Arc<Shared>,
    loaded: Loaded,
    sequences: Option<Sequences>,
    registry: Arc<Registry>,
) -> TopicHandle {
    let (mailbox, inbox) = mpsc::channel(MAILBOX);
    let handle = TopicHandle { shared: shared.clone(), mailbox };
    let mut topic = Topic {
        shared,
        registry: registry.clone(),
        log: loaded.log,
        cursor_log: loaded.cursor_log,
        sequences,
        producers: Producers::new(loaded.producer_epoch),
        errands: Errands::new(loaded.record),
        waiting: VecDeque::new(),
        ending: Ending::new(loaded.terminated),
        attendance: Attendance::default(),
        activity: Activity::new(),
        arrivals: Arrivals::default(),
        subscriptions: BTreeMap::new(),
        published: Rate::default(),
        last_publish: 0,
    };
    for mut cursor in loaded.cursors {
        if let Some(compacted) = topic.shared.reader.compacted().filter(|_| &*cursor.name == OF_COMPACTION) {
            // The record is what counts: its mark may not have been written any more.
            topic.shared.reader.with_chain(|chain| cursor.acks.cumulative(compacted.horizon, chain));
        }
        // The kind is that of whoever comes first.
        topic.start(cursor.name, true, SubType::Exclusive, Start::Kept(cursor.acks, cursor.delays), cursor.properties);
    }
    registry.tasks.spawn(topic.run(inbox));
    handle
}

/// Why the task ends.
pub(super) enum End {
    Close { keep: bool, to: NextOwner },
    Lost,
}

impl Topic {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let mut commands = Vec::new();
        let end = loop {
            tokio::select! {
                biased; // Finish old work before taking new.
                settled = self.log.settled() => match settled {
                    Settled::Confirmed { first, count } => self.confirmed(first, count),
                    Settled::Lost(error) => {
                        tracing::warn!(topic = %self.shared.name, %error, "topic is given up and loaded again on demand");
                        break End::Lost;
                    }
                },
                errand = self.errands.next() => if let Some(end) = self.ran(errand) {
                    break end;
                },
                count = inbox.recv_many(&mut commands, MAILBOX) => {
                    if count == 0 {
                        break End::Close { keep: true, to: NextOwner::default() }; // The registry and everyone else has let go.
                    }
                    let mut came = commands.drain(..);
                    if let Some(end) = came.find_map(|command| self.handle(command)) {
                        self.leave_unanswered(came);
                        break end;
                    }
                    drop(came);
                    self.log.flush();
                }
            }
            self.run_errands();
        };
        Box::pin(self.end(end, inbox)).await; // Boxed: what it needs is several times a topic, and only an end is to pay for it.
    }

    fn handle(&mut self, command: Command) -> Option<End> {
        self.activity.note(&command);
        match command {
            Command::Publish(batch) => batch.into_iter().for_each(|publish| self.publish(publish)),
            Command::Attach(attach) => self.attach(attach),
            Command::Terminate(reply) => self.terminate(reply),
            Command::SendProducersAway => self.ending.send_away(),
            Command::Remember(reply) => self.errands.remember(reply),
            Command::Leave(leaving) => {
                self.waiting.push_back(Waiting { serial: leaving.serial, what: What::Leave(leaving) });
                self.answer_ready();
            }
            Command::Detach(serial) => drop(self.producers.remove(serial)),
            Command::Subscribe { name, make, attach } => self.subscribe(name, make, attach),
            Command::Subscription { name, make, reply } => {
                let _ = reply.send(self.subscription(name, make));
            }
            Command::Subscriptions(reply) => {
                let _ = reply.send(self.open_subscriptions());
            }
            Command::Stats(reply) => {
                let _ = reply.send(Box::new(self.stats()));
            }
            Command::Roll(ledger) => self.log.roll(ledger),
            Command::Trimmed => {
                for subscription in self.open_subscriptions() {
                    // One with a full mailbox finds out when it reads, and what it waits for in vain is forgotten next time.
                    let _ = subscription.pass(subscription::Command::Trimmed);
                }
            }
            Command::GiveUp(error) => {
                tracing::warn!(topic = %self.shared.name, %error, "topic is given up and loaded again on demand");
                return Some(End::Lost);
            }
            Command::Idle { now_ms, reply } => {
                let _ = reply.send(self.idle(now_ms));
            }
            Command::EndIdle { idle, to, reply } => {
                let ends = self.ends_idle(idle);
                if reply.send(ends).is_ok() && ends {
                    return Some(End::Close { keep: false, to });
                }
            }
            Command::End { keep, to } => return Some(End::Close { keep, to }),
        }
        None
    }

    // Subscriptions.

    fn subscribe(&mut self, name: Arc<str>, make: Option<Box<Make>>, attach: Box<Attach>) {
        if [OF_PRODUCERS, OF_COMPACTION].contains(&&*name) {
            let text = "Subscription with reserved subscription name attempted";
            let _ = attach.reply.send(Err(subscription::SubscriptionError::NotAllowed(text.into())));
            return;
        }
        if let Err(error) = self.may_subscribe(&name, &attach) {
            let _ = attach.reply.send(Err(error));
            return;
        }
        match self.subscription(name, make) {
            // When its mailbox is full or it ends just now, the reply is dropped and the client asks again.
            Some(subscription) => drop(subscription.pass(subscription::Command::Attach(attach))),
            None => {
                let _ = attach.reply.send(Err(subscription::SubscriptionError::NotFound));
            }
        }
    }

    fn subscription(&mut self, name: Arc<str>, make: Option<Box<Make>>) -> Option<SubscriptionHandle> {
        if let Some(there) = self.subscriptions.get(&name).filter(|there| !there.is_closed()) {
            return Some(there.clone());
        }
        let make = *make.filter(|_| &*name != OF_PRODUCERS)?;
        self.subscriptions.retain(|_, subscription| !subscription.is_closed());
        Some(self.start(name, make.durable, make.kind, Start::New(make.at, make.compacted), make.properties))
    }

    fn start(
        &mut self,
        name: Arc<str>,
        durable: bool,
        kind: SubType,
        start: Start,
        properties: Properties,
    ) -> SubscriptionHandle {
        let setup = Setup {
            name: name.clone(),
            durable,
            kind,
            partition: self.shared.name.partition(),
            seat: Seat::of(&self.shared.name),
            start,
            properties,
            reader: self.shared.reader.clone(),
            cursor_log: self.cursor_log.clone(),
            clock: self.registry.clock.clone(),
            terminated: self.shared.terminated.clone(),
            attendance: self.attendance.clone(),
            heeded: self.shared.heeded.clone(),
        };
        let handle = subscription::spawn(setup, &self.registry.tasks);
        self.subscriptions.insert(name, handle.clone());
        handle
    }

    pub(super) fn open_subscriptions(&self) -> Vec<SubscriptionHandle> {
        self.subscriptions.values().filter(|subscription| !subscription.is_closed()).cloned().collect()
    }

    /// Without the subscriptions' part, which the asker collects.
    fn stats(&mut self) -> TopicStats {
        let now = self.registry.clock.now_ms();
        TopicStats {
            publishers: self.producers.stats(now),
            last_publish_time_stamp: self.last_publish,
            ..TopicStats::of_published(&mut self.published, now)
        }
    }

    // The end.

    async fn end(mut self, end: End, mut inbox: mpsc::Receiver<Command>) {
        inbox.close();
        self.leave_unanswered(std::iter::from_fn(|| inbox.try_recv().ok()));
        let in_good_order = self.errands.finish(SETTLE).await;
        // It hears that the mailbox is closed; one that does not end is found unfinished by the next load.
        let _ = tokio::time::timeout(SETTLE, self.shared.compactions.idle()).await;
        let (keep, to) = match end {
            End::Close { keep: true, to } => (in_good_order && self.settle().await, to),
            End::Close { keep: false, to } => (false, to),
            End::Lost => (false, NextOwner::default()),
        };
        // Behind an append of which nobody knows what became, only what does not rest on it is answered.
        let mut unsettled = false;
        for waiting in std::mem::take(&mut self.waiting) {
            unsettled |= matches!(waiting.what, What::Append { .. });
            if !unsettled || matches!(waiting.what, What::Refused { .. } | What::Leave(_)) {
                self.answer(waiting);
            }
        }
        self.producers.send_everyone_away(&to);
        for subscription in self.subscriptions.values() {
            let closed = subscription.ask(|reply| subscription::Command::Close(to.clone(), reply));
            let _ = tokio::time::timeout(SETTLE, closed).await;
        }
        if keep {
            self.remember_last().await;
        }
        if keep && let Err(error) = self.log.close().await {
            tracing::warn!(topic = %self.shared.name, %error, "closing failed; the next load recovers");
        }
        self.registry.forget(&self.shared);
        self.shared.gone.cancel();
    }

    /// What comes in behind the end is not answered: those who sent it are sent away, and come again. But who leaves is told so, after
    /// the receipts of what is in flight.
    fn leave_unanswered(&mut self, commands: impl Iterator<Item = Command>) {
        for command in commands {
            if let Command::Leave(leaving) = command {
                self.waiting.push_back(Waiting { serial: leaving.serial, what: What::Leave(leaving) });
            }
        }
    }

    /// Waits for what is in flight. `false` when it was not settled: the next load finds out what became of it.
    async fn settle(&mut self) -> bool {
        self.log.flush();
        let settled = async {
            while self.waiting.iter().any(|waiting| matches!(waiting.what, What::Append { .. })) {
                match self.log.settled().await {
                    Settled::Confirmed { first, count } => self.confirmed(first, count),
                    Settled::Lost(_) => return false,
                }
            }
            true
        };
        tokio::time::timeout(SETTLE, settled).await.unwrap_or(false)
    }
}
