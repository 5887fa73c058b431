//! Subscriptions: what each has acknowledged, and who gets which entry next.
//!
//! Owns: one task per subscription with its cursor, its consumers' permits and what is to be delivered again. A task of its
//! own, and not a part of the topic's: a subscription that reads old entries from bookies must delay neither publishing nor
//! its neighbours.
//! Promises: every unacknowledged entry is at one consumer at most; an acknowledgement with a receipt is durable when answered.
//! Never: appends to the topic, or waits for a client's socket.
mod chunks;
mod consumers;
mod delayed;
mod dispatch;
mod keys;
mod murmur3;
mod near; // Pure, from whose turn it is to what is read ahead.
mod queue;
mod read_ahead;
mod receivers;
mod slots;
mod unacked;

mod acks; // The shell around it.
mod admission;
mod attached;
mod attendance;
mod ended;
mod error;
mod expire;
mod heed;
mod non_persistent; // Where nothing is stored.
mod report;
mod requests;
mod start;
mod task;
mod waking;
mod watch;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use proto::Position;
use proto::pulsar::command_subscribe::SubType;
use proto::pulsar::{CommandAck, CommandConsumerStatsResponse, MessageIdData};
use tokio::sync::{mpsc, oneshot};

pub(crate) use attendance::Attendance;
pub(crate) use consumers::Seat;
pub(crate) use dispatch::KeyTerms;
pub(crate) use error::SubscriptionError;
pub(crate) use non_persistent::{Burst, Feed, Passed, Setup as PassingSetup, passing_id, spawn as spawn_passing};
pub(crate) use report::kind_name;
pub(crate) use slots::KeyPolicy;
pub(crate) use start::{SubscribeAt, first_published_at};
pub(crate) use task::{Setup, Start, spawn};

use crate::outbox::{Client, NextOwner, Serial};
use crate::policies::Limits;
use crate::stats::{CursorStats, SubscriptionStats};

/// Commands that may wait for a subscription. Each is a burst of one socket at most, so few suffice.
const MAILBOX: usize = 64;

/// A consumer that wants in.
#[derive(Debug)]
pub(crate) struct Attach {
    pub(crate) serial: Serial,
    pub(crate) consumer_id: u64,
    pub(crate) kind: SubType,
    pub(crate) keys: KeyTerms,
    pub(crate) durable: bool,
    /// Wants of each key only the last message, as far as the topic was compacted.
    pub(crate) read_compacted: bool,
    pub(crate) name: String,
    pub(crate) priority: i32,
    pub(crate) epoch: Option<u64>,
    pub(crate) limits: Limits,
    pub(crate) client: Arc<Client>,
    pub(crate) metadata: BTreeMap<String, String>,
    /// AUTO_CONSUME: whatever schema the topic has or gets.
    pub(crate) takes_any_schema: bool,
    pub(crate) reply: Reply<ConsumerHandle>,
}

pub(crate) type Reply<T> = oneshot::Sender<Result<T, SubscriptionError>>;

/// What a consumer says without waiting for an answer.
#[derive(Debug)]
pub(crate) enum ConsumerEvent {
    /// The client has been told that it is attached.
    Announced,
    /// FLOW.
    Permits(u32),
    /// ACK. Answered to the client if it asks for a receipt.
    Acknowledge(Box<CommandAck>),
    /// REDELIVER_UNACKNOWLEDGED_MESSAGES.
    Redeliver { ids: Vec<MessageIdData>, epoch: Option<u64> },
}

#[derive(Debug)]
pub(crate) enum Command {
    Attach(Box<Attach>),
    /// All that one read of a socket brought for this subscription.
    Events(Vec<(Serial, ConsumerEvent)>),
    Detach(Serial, oneshot::Sender<()>),
    Unsubscribe {
        serial: Serial,
        force: bool,
        reply: Reply<()>,
    },
    /// The last entry below the mark.
    MarkDelete(Serial, Reply<Option<Position>>),
    ConsumerStats(Serial, Reply<Box<CommandConsumerStatsResponse>>),
    Stats(Reply<Box<SubscriptionStats>>),
    Cursor(Reply<Box<CursorStats>>),
    /// Removes the subscription.
    Delete {
        force: bool,
        reply: Reply<()>,
    },
    /// The same, if it has had no consumer since then and nothing was acknowledged: else [`SubscriptionError::ActiveConsumers`].
    DeleteUnused {
        before_ms: u64,
        reply: Reply<()>,
    },
    SkipAll(Reply<()>),
    /// Acknowledges so many unacknowledged entries.
    Skip(u64, Reply<()>),
    /// The entry that so many unacknowledged ones lie in front of.
    Peek(u64, Reply<Option<Position>>),
    /// The first unacknowledged entries from a position on.
    Unacknowledged {
        from: Position,
        entries_max: usize,
        reply: Reply<Vec<Position>>,
    },
    Properties(Reply<Properties>),
    /// Replaces the properties.
    SetProperties(Properties, Reply<()>),
    Reset(SubscribeAt, Reply<()>),
    /// SEEK: as [`Command::Reset`], asked by a consumer.
    Seek {
        serial: Serial,
        to: SubscribeAt,
        reply: Reply<()>,
    },
    /// Acknowledges all that lies below: compaction has seen it.
    CompactedTo(Position, Reply<()>),
    /// Acknowledges all that lies below because it is too old, or too much: it counts as expired. Says how many entries, once that is
    /// durable.
    ExpireBefore(Position, Reply<u64>),
    /// Ledgers have left the chain.
    Trimmed,
    /// The topic takes no more messages.
    Terminated,
    /// Sends the consumers away and ends. What is acknowledged stays.
    Close(NextOwner, Reply<()>),
}

/// Talks to one subscription's task. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct SubscriptionHandle {
    pub(crate) name: Arc<str>,
    pub(crate) durable: bool,
    mailbox: mpsc::Sender<Command>,
}

impl SubscriptionHandle {
    /// Whether its task has ended or is about to.
    pub(crate) fn is_closed(&self) -> bool {
        self.mailbox.is_closed()
    }

    /// Whether both talk to the same task.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.mailbox.same_channel(&other.mailbox)
    }

    /// Passes a command on without waiting; back when there is no room or nobody.
    pub(crate) fn pass(&self, command: Command) -> Result<(), Command> {
        self.mailbox.try_send(command).map_err(mpsc::error::TrySendError::into_inner)
    }

    /// Passes on what consumers said. Dropped when the subscription has ended.
    pub(crate) async fn events(&self, events: Vec<(Serial, ConsumerEvent)>) {
        let _ = self.mailbox.send(Command::Events(events)).await;
    }

    /// Asks and waits for the answer.
    pub(crate) async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, SubscriptionError> {
        let (reply, answer) = oneshot::channel();
        self.mailbox.send(command(reply)).await.map_err(|_| SubscriptionError::Closed)?;
        answer.await.map_err(|_| SubscriptionError::Closed)?
    }
}

/// Talks for one attached consumer. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ConsumerHandle {
    pub(crate) serial: Serial,
    pub(crate) subscription: SubscriptionHandle,
}

impl ConsumerHandle {
    /// Lets the consumer go. Returns once nothing is delivered to it any more.
    pub(crate) async fn detach(&self) {
        let (done, answer) = oneshot::channel();
        if self.subscription.mailbox.send(Command::Detach(self.serial, done)).await.is_ok() {
            let _ = answer.await;
        }
    }
}

/// Properties as they are kept.
pub(crate) type Properties = HashMap<String, String>;

#[cfg(test)]
mod tests;
