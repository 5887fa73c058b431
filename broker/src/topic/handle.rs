//! What others may ask of a topic.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use metadata::Operation;
use proto::entry::head_of_stored;
use proto::pulsar::MessageIdData;
use proto::{LedgerId, Position, TopicName};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::compaction::Compactions;
use super::offloads::Offloads;
use super::producers::{AttachProducer, Leaving, ProducerAttached, ProducerRefused, ProducerReply, Publish};
use super::task::{Command, Make};
use super::{ResetTo, SubscribeAt, TopicError};
use crate::cursor::{Need, OF_COMPACTION};
use crate::heed::Heeded;
use crate::log::{Chain, Compactor, Keep, LogError, LogReader, Offloader, RecordOwner, Trimmer};
use crate::outbox::{NextOwner, Serial, no_message_id};
use crate::policies::Terms;
use crate::stats::{InternalStats, LedgerStats, TopicStats};
use crate::subscription::{self, Attach, ConsumerHandle, Properties, SubscriptionError, SubscriptionHandle};

/// What can be known of a topic without asking its task.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) name: TopicName,
    /// Of message ids.
    pub(super) partition: Option<i32>,
    /// Of a non-persistent topic, that of an empty log.
    pub(super) reader: LogReader,
    /// Not of a non-persistent topic.
    pub(super) stored: Option<Stored>,
    pub(super) offloads: Offloads,
    pub(super) compactions: Compactions,
    pub(super) created_at: u64,
    /// Whether messages that come twice are stored once.
    pub(super) deduplicates: AtomicBool,
    /// It takes no more messages, for ever. Subscriptions look at it too.
    pub(super) terminated: Arc<AtomicBool>,
    /// What counts of policies while the topic is used.
    pub(super) heeded: Arc<Heeded>,
    /// The task has ended and the log is closed.
    pub(super) gone: CancellationToken,
}

/// What works on the log of a topic beside its task.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) trimmer: Trimmer,
    pub(super) offloader: Offloader,
    pub(super) compactor: Compactor,
    pub(super) record: RecordOwner,
}

/// Talks to one topic's task. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct TopicHandle {
    pub(super) shared: Arc<Shared>,
    pub(super) mailbox: mpsc::Sender<Command>,
}

/// A consumer that wants in, and how its subscription is made if it is not there.
#[derive(Debug)]
pub(crate) struct ConsumerWanted {
    pub(crate) subscription: Arc<str>,
    pub(crate) at: SubscribeAt,
    pub(crate) properties: Properties,
    pub(crate) attach: Attach,
}

impl TopicHandle {
    /// Which topic.
    pub(crate) fn name(&self) -> &TopicName {
        &self.shared.name
    }

    /// Whether both talk to the same task.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Whether the topic is on its way out.
    pub(crate) fn is_closed(&self) -> bool {
        self.mailbox.is_closed()
    }

    /// What counts of policies.
    pub(crate) fn heeded(&self) -> &Heeded {
        &self.shared.heeded
    }

    /// From now on these terms count, unless newer ones do already.
    pub(crate) fn heed(&self, terms: Terms, now_ms: u64) {
        self.shared.heeded.heed(terms, now_ms);
    }

    pub(super) fn stored(&self) -> Result<&Stored, TopicError> {
        let text = "not possible on a non-persistent topic";
        self.shared.stored.as_ref().ok_or(TopicError::NotAllowed(text.into()))
    }

    /// Returns once the topic's task has ended.
    pub(super) async fn gone(&self) {
        self.shared.gone.cancelled().await;
    }

    /// Hands over all that one read of a socket brought for this topic. `false` when the topic has ended.
    pub(crate) async fn publish(&self, batch: Vec<Publish>) -> bool {
        self.mailbox.send(Command::Publish(batch)).await.is_ok()
    }

    /// Lets a producer in.
    pub(crate) async fn attach(
        &self,
        attach: impl FnOnce(ProducerReply) -> AttachProducer,
    ) -> Result<ProducerAttached, ProducerRefused> {
        let (reply, answer) = oneshot::channel();
        let gone = || ProducerRefused { error: self.unavailable(), holder: None };
        self.mailbox.send(Command::Attach(Box::new(attach(reply)))).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Lets a producer go whose connection has ended, or who is sent away.
    pub(crate) async fn detach(&self, serial: Serial) {
        let _ = self.mailbox.send(Command::Detach(serial)).await; // A topic that has ended has let it go.
    }

    /// Lets a producer go that wants to, after its receipts.
    pub(crate) async fn leave(&self, leaving: Leaving) {
        if let Err(late) = self.mailbox.send(Command::Leave(leaving)).await {
            let gone = self.shared.gone.clone();
            // It is answered when it is dropped, and the topic still gives the receipts of what is in flight.
            tokio::spawn(async move {
                gone.cancelled().await;
                drop(late);
            });
        }
    }

    /// Lets a consumer in.
    pub(crate) async fn subscribe(
        &self,
        wanted: impl FnOnce(subscription::Reply<ConsumerHandle>) -> ConsumerWanted,
    ) -> Result<ConsumerHandle, SubscriptionError> {
        let (reply, answer) = oneshot::channel();
        let ConsumerWanted { subscription: name, at, properties, attach } = wanted(reply);
        let (durable, kind, compacted) = (attach.durable, attach.kind, attach.read_compacted);
        let make = Some(Box::new(Make { durable, kind, at, compacted, properties }));
        let command = Command::Subscribe { name, make, attach: Box::new(attach) };
        self.mailbox.send(command).await.map_err(|_| SubscriptionError::Closed)?;
        answer.await.map_err(|_| SubscriptionError::Closed)?
    }

    /// The last entry, or `None` while there is none.
    pub(crate) fn last_position(&self) -> Option<Position> {
        self.shared.reader.last()
    }

    /// The id of the last message, within its batch if it is in one; of an empty topic the id that says none. `compacted`: of what
    /// compaction has left.
    pub(crate) async fn last_message_id(&self, compacted: bool) -> Result<MessageIdData, TopicError> {
        let partition = self.shared.partition;
        let reader = &self.shared.reader;
        let last = if compacted { reader.last_compacted().await } else { reader.last_entry().await };
        let Some(last) = last.map_err(|error| self.log_error(&error))? else {
            return Ok(MessageIdData { partition, ..no_message_id() });
        };
        let head = head_of_stored(&last.bytes).ok();
        let batch_index = head.and_then(|head| head.last_index());
        Ok(MessageIdData { partition, batch_index, ..last.position.to_message_id() })
    }

    /// Counters of the topic, its producers and its subscriptions.
    pub(crate) async fn stats(&self) -> Result<TopicStats, TopicError> {
        let mut stats = *self.ask(Command::Stats).await?;
        stats.oldest_backlog_message_age_seconds = -1;
        for subscription in self.ask(Command::Subscriptions).await? {
            if let Ok(one) = subscription.ask(subscription::Command::Stats).await {
                stats.msg_rate_out += one.msg_rate_out;
                stats.msg_throughput_out += one.msg_throughput_out;
                stats.msg_out_counter += one.msg_out_counter;
                stats.bytes_out_counter += one.bytes_out_counter;
                stats.backlog_size = stats.backlog_size.max(one.backlog_size);
                stats.non_contiguous_deleted_messages_ranges += one.non_contiguous_deleted_messages_ranges;
                stats.msg_drop_rate = stats.msg_drop_rate.map(|rate| rate + one.msg_drop_rate.unwrap_or(0.0));
                stats.subscriptions.insert(subscription.name.to_string(), *one);
            }
        }
        let chain = self.shared.reader.chain();
        stats.storage_size = chain.iter().map(|listed| listed.bytes).sum();
        let in_objects = chain.iter().filter(|listed| listed.objects.is_some());
        stats.offloaded_storage_size = in_objects.map(|listed| listed.bytes).sum();
        self.shared.offloads.show(&mut stats);
        self.shared.compactions.show(&mut stats);
        stats.topic_creation_time_stamp = self.shared.created_at;
        let deduplicates = self.shared.deduplicates.load(Ordering::Relaxed);
        stats.deduplication_status = if deduplicates { "Enabled" } else { "Disabled" }.into();
        Ok(stats)
    }

    /// Ledgers and cursors.
    pub(crate) async fn internal_stats(&self) -> Result<InternalStats, TopicError> {
        let chain = self.shared.reader.chain();
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let last = chain.last();
        let compacted = self.shared.reader.compacted();
        let none = LedgerStats { ledger_id: -1, entries: -1, size: -1, ..Default::default() };
        // Made by the first message. Tools expect one in every list.
        let to_come = LedgerStats { ledger_id: -1, ..Default::default() };
        let compacted_ledger = compacted.as_ref().map_or(none, |compacted| LedgerStats {
            ledger_id: compacted.ledger.map_or(-1, |ledger| signed(ledger.0)),
            entries: signed(compacted.entries),
            size: signed(compacted.bytes),
            ..Default::default()
        });
        let mut stats = InternalStats {
            entries_added_counter: self.ask(Command::Stats).await?.msg_in_counter,
            number_of_entries: chain.iter().map(|listed| listed.entries).sum(),
            total_size: chain.iter().map(|listed| listed.bytes).sum(),
            // Of the last, open or not: tools take them for the size of the last in the list.
            current_ledger_entries: last.map_or(0, |listed| listed.entries),
            current_ledger_size: last.map_or(0, |listed| listed.bytes),
            last_confirmed_entry: self.last_position().map_or_else(|| "-1:-1".into(), |last| last.to_string()),
            // Whether or not a ledger is open: the next message opens one.
            state: if self.shared.terminated.load(Ordering::Relaxed) { "Terminated" } else { "LedgerOpened" }.into(),
            ledgers: chain
                .iter()
                .map(|listed| LedgerStats {
                    ledger_id: signed(listed.ledger.0),
                    entries: signed(listed.entries),
                    size: signed(listed.bytes),
                    offloaded: listed.objects.is_some(),
                    ..Default::default()
                })
                .chain(last.is_none().then_some(to_come))
                .collect(),
            compacted_ledger,
            ..Default::default()
        };
        for subscription in self.ask(Command::Subscriptions).await? {
            if let Ok(cursor) = subscription.ask(subscription::Command::Cursor).await {
                stats.cursors.insert(subscription.name.to_string(), *cursor);
            }
        }
        let ledger = compacted.and_then(|compacted| compacted.ledger);
        if let (Some(cursor), Some(ledger)) = (stats.cursors.get_mut(OF_COMPACTION), ledger) {
            cursor.properties.insert("CompactedTopicLedger".into(), ledger.0);
        }
        Ok(stats)
    }

    /// Whether messages, producers, or consumers that care about schemas are there.
    pub(crate) async fn is_in_use(&self) -> Result<bool, TopicError> {
        let stats = self.stats().await?;
        let mut consumers = stats.subscriptions.values().flat_map(|subscription| &subscription.consumers);
        let in_use = 0 < stats.storage_size || !stats.publishers.is_empty();
        Ok(in_use || consumers.any(|consumer| !consumer.takes_any_schema))
    }

    /// Names of the subscriptions, non-durable ones too.
    pub(crate) async fn subscriptions(&self) -> Result<Vec<String>, TopicError> {
        let all = self.ask(Command::Subscriptions).await?;
        Ok(all.into_iter().map(|subscription| subscription.name.to_string()).collect())
    }

    /// Makes a durable subscription without a consumer. [`TopicError::SubscriptionExists`] when it is there.
    pub(crate) async fn create_subscription(
        &self,
        name: &str,
        at: SubscribeAt,
        properties: BTreeMap<String, String>,
    ) -> Result<(), TopicError> {
        if self.find(name, None).await.is_ok() {
            return Err(TopicError::SubscriptionExists);
        }
        let properties = properties.into_iter().collect();
        let subscription = self.find(name, Some(Make::durable(at, properties))).await?;
        self.of(subscription.ask(subscription::Command::Cursor).await)?; // Answered once it is written down.
        Ok(())
    }

    /// Removes a subscription. Without `force`, connected consumers are in the way ([`TopicError::ActiveUsers`]).
    pub(crate) async fn delete_subscription(&self, name: &str, force: bool) -> Result<(), TopicError> {
        let subscription = self.find(name, None).await?;
        if name == OF_COMPACTION {
            self.forget_compaction().await?;
        }
        self.of(subscription.ask(|reply| subscription::Command::Delete { force, reply }).await)
    }

    /// Acknowledges everything that is there.
    pub(crate) async fn skip_all(&self, name: &str) -> Result<(), TopicError> {
        let subscription = self.find(name, None).await?;
        self.of(subscription.ask(subscription::Command::SkipAll).await)
    }

    /// Moves a subscription. Its consumers are closed first and come back by themselves.
    pub(crate) async fn reset(&self, name: &str, to: ResetTo) -> Result<(), TopicError> {
        let subscription = self.find(name, None).await?;
        self.of(subscription.ask(|reply| subscription::Command::Reset(to, reply)).await)
    }

    /// Runs `f` on the chain as it is now. Short: appends wait meanwhile.
    pub(crate) fn with_chain<R>(&self, f: impl FnOnce(&Chain) -> R) -> R {
        self.shared.reader.with_chain(f)
    }

    /// Writes down what producers have published, so that it keeps no ledger in place.
    async fn remember(&self) -> Result<(), TopicError> {
        if self.shared.deduplicates.load(Ordering::Relaxed) { self.ask(Command::Remember).await } else { Ok(()) }
    }

    /// What durable subscriptions need of the topic at this moment.
    pub(crate) async fn need(&self) -> Result<Need, TopicError> {
        self.remember().await?;
        self.stored()?.trimmer.need().await.map_err(|error| self.log_error(&error))
    }

    /// Closes the open ledger, if it is this one and has entries. It is closed some time after this has returned.
    pub(crate) async fn roll(&self, ledger: LedgerId) -> Result<(), TopicError> {
        self.mailbox.send(Command::Roll(ledger)).await.map_err(|_| self.unavailable())
    }

    /// Takes ledgers out of the chain that nobody needs and `keep` does not hold, as long as other records are as `checks` say. Says how
    /// many. [`TopicError::Unavailable`] when one was not.
    pub(crate) async fn trim(&self, keep: &Keep, checks: &[Operation]) -> Result<usize, TopicError> {
        self.remember().await?;
        let trimmed = self.stored()?.trimmer.trim(keep, checks).await;
        match &trimmed {
            Ok(gone) if gone.is_empty() => return Ok(0),
            // Some may have left before the rest could not.
            Ok(_) | Err(LogError::Outdated { .. } | LogError::Ledger(_) | LogError::Metadata(_)) => {
                let _ = self.mailbox.send(Command::Trimmed).await;
            }
            Err(error @ LogError::Fenced { .. }) => {
                let _ = self.mailbox.send(Command::GiveUp(Box::new(error.clone()))).await;
            }
            Err(_) => {}
        }
        trimmed.map(|gone| gone.len()).map_err(|error| self.log_error(&error))
    }

    /// Acknowledges everything that is there for every durable subscription, and takes out all ledgers that this leaves to nobody.
    pub(crate) async fn truncate(&self) -> Result<(), TopicError> {
        for subscription in self.ask(Command::Subscriptions).await?.iter().filter(|subscription| subscription.durable) {
            match subscription.ask(subscription::Command::SkipAll).await {
                Err(SubscriptionError::Closed) => {} // Deleted meanwhile.
                skipped => self.of(skipped)?,
            }
        }
        self.trim(&Keep::NOTHING, &[]).await?;
        Ok(())
    }

    /// Asks the task to end, which sends clients to the next owner, and waits until it has.
    pub(super) async fn end(&self, keep: bool, to: &NextOwner) {
        let _ = self.mailbox.send(Command::End { keep, to: to.clone() }).await;
        self.gone().await;
    }

    pub(super) async fn find(&self, name: &str, make: Option<Box<Make>>) -> Result<SubscriptionHandle, TopicError> {
        let found = self.ask(|reply| Command::Subscription { name: name.into(), make, reply }).await?;
        found.ok_or(TopicError::SubscriptionNotFound)
    }

    pub(super) async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, TopicError> {
        let (reply, answer) = oneshot::channel();
        self.mailbox.send(command(reply)).await.map_err(|_| self.unavailable())?;
        answer.await.map_err(|_| self.unavailable())
    }

    pub(super) fn of<T>(&self, outcome: Result<T, SubscriptionError>) -> Result<T, TopicError> {
        outcome.map_err(|error| TopicError::from_subscription(&error, self.name()))
    }

    pub(super) fn log_error(&self, error: &LogError) -> TopicError {
        TopicError::from_log(error, self.name())
    }

    pub(super) fn unavailable(&self) -> TopicError {
        TopicError::Unavailable(self.name().clone())
    }
}
