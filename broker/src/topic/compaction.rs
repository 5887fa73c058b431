//! Compaction of a topic: one pass from its first entry to its last, and how it went.
use std::sync::Arc;

use parking_lot::Mutex;
use proto::Position;

use super::task::{Command, Make};
use super::{SubscribeAt, TopicError, TopicHandle, TopicStats};
use crate::compaction::{KEYS_MAX, Outcome, Pass, PassError, Then};
use crate::cursor::OF_COMPACTION;
use crate::log::{LogError, Rewrite};
use crate::policies::Terms;
use crate::subscription::{self, Properties, SubscriptionError};

/// Entries and bytes that one read asks for.
const READ: (usize, usize) = (1000, 1 << 20);

/// How a compaction goes, since the topic was loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum CompactionProgress {
    /// There was none.
    #[default]
    NotRun,
    /// It is being done, or waits for its turn.
    Running,
    /// It is done.
    Success,
    /// It failed, for this reason.
    Error(String),
}

/// Why a compaction came to nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CompactionError {
    /// The topic closes: it is for whoever has it next.
    #[error("the topic is being closed")]
    Closing,
    /// It is not known how many copies are wanted.
    #[error("policies cannot be read: {0}")]
    Policies(metadata::Error),
    /// Something came between. Begin again.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// Of the log or the record.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Of the subscription that stands for it.
    #[error(transparent)]
    Topic(#[from] TopicError),
}

/// What is known of the compactions of one topic since it was loaded.
#[derive(Debug, Default)]
pub(super) struct Compactions {
    /// A lock and not the topic's task: only people ask for it.
    known: Mutex<Known>,
    /// Held while a pass runs, so that the topic can wait for its end. Asynchronous: a pass waits for storage.
    pass: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct Known {
    progress: CompactionProgress,
    removed: u64,
    succeeded_at: u64,
    failed_at: u64,
    took_ms: u64,
    /// Up to where the walk of upkeep has seen the topic.
    looked_at: Position,
}

impl Compactions {
    pub(super) fn show(&self, stats: &mut TopicStats) {
        let known = self.known.lock();
        stats.compaction.last_compaction_removed_event_count = known.removed;
        stats.compaction.last_compaction_succeed_timestamp = known.succeeded_at;
        stats.compaction.last_compaction_failed_timestamp = known.failed_at;
        stats.compaction.last_compaction_duration_time_in_mills = known.took_ms;
    }

    /// Returns once no pass runs.
    pub(super) async fn idle(&self) {
        drop(self.pass.lock().await);
    }
}

impl TopicHandle {
    /// Notes that a compaction is wanted. `false`: one is under way.
    pub(crate) fn begin_compaction(&self) -> bool {
        let mut known = self.shared.compactions.known.lock();
        let idle = known.progress != CompactionProgress::Running;
        known.progress = CompactionProgress::Running;
        idle
    }

    /// How it goes.
    pub(crate) fn compaction_progress(&self) -> CompactionProgress {
        self.shared.compactions.known.lock().progress.clone()
    }

    /// Bytes that compaction has not seen, in proportion.
    pub(crate) fn uncompacted_bytes(&self) -> u64 {
        let horizon = self.shared.reader.compacted().map_or(Position::EARLIEST, |compacted| compacted.horizon);
        self.with_chain(|chain| chain.bytes_from(horizon))
    }

    /// Whether the topic has grown since it was asked this last.
    pub(crate) fn grown_since_looked_at(&self) -> bool {
        let end = self.shared.reader.end();
        let mut known = self.shared.compactions.known.lock();
        std::mem::replace(&mut known.looked_at, end) < end
            && 0 < self.with_chain(|chain| chain.bytes_from(Position::EARLIEST))
    }

    /// Does what [`begin_compaction`](Self::begin_compaction) has noted. `now_ms` tells the time, with `seed` keys are hashed.
    /// Written as `terms` say.
    pub(crate) async fn compact(&self, terms: Result<Terms, metadata::Error>, seed: u64, now_ms: impl Fn() -> u64) {
        let compactions = &self.shared.compactions;
        let running = compactions.pass.clone().lock_owned().await;
        let began = now_ms();
        let outcome = match terms {
            Ok(terms) => {
                self.heed(terms, began);
                self.run_pass(seed).await
            }
            Err(error) => Err(CompactionError::Policies(error)),
        };
        if let Err(CompactionError::Log(error @ LogError::Fenced { .. })) = &outcome {
            let _ = self.mailbox.send(Command::GiveUp(Box::new(error.clone()))).await;
        } else if outcome.is_err()
            && let Some(stored) = &self.shared.stored
            && let Err(error) = stored.compactor.drop_unfinished().await
        {
            tracing::debug!(topic = %self.name(), %error, "what a compaction has written goes with the next load");
        }
        let mut known = compactions.known.lock();
        match outcome {
            Ok(outcome) => {
                let Outcome { kept, removed } = outcome.unwrap_or_default();
                tracing::info!(topic = %self.name(), kept, removed, "topic is compacted");
                known.progress = CompactionProgress::Success;
                if outcome.is_some() {
                    (known.removed, known.succeeded_at) = (removed, now_ms());
                    known.took_ms = known.succeeded_at.saturating_sub(began);
                }
            }
            Err(error) => {
                tracing::warn!(topic = %self.name(), %error, "topic was not compacted");
                known.progress = CompactionProgress::Error(error.to_string());
                known.failed_at = now_ms();
            }
        }
        drop(running);
    }

    /// `None`: there was nothing new.
    async fn run_pass(&self, seed: u64) -> Result<Option<Outcome>, CompactionError> {
        self.hold_for_compaction().await?;
        let end = self.shared.reader.end();
        let seen = self.shared.reader.compacted().map_or(Position::EARLIEST, |compacted| compacted.horizon);
        if end <= seen || self.last_position().is_none() {
            return Ok(None);
        }
        let mut rewrite = self.stored()?.compactor.begin().await?;
        let mut pass = Pass::new(seed, KEYS_MAX);
        let outcome = loop {
            self.give_all(&mut pass, end, &mut rewrite).await?;
            if let Then::Done(outcome) = pass.all_given() {
                break outcome;
            }
        };
        if self.is_closed() {
            return Err(CompactionError::Closing);
        }
        rewrite.publish(end).await?;
        self.compacted_to(end).await?;
        Ok(Some(outcome))
    }

    /// Gives a pass everything below `end`, and writes what it wants written.
    async fn give_all(&self, pass: &mut Pass, end: Position, rewrite: &mut Rewrite) -> Result<(), CompactionError> {
        let reader = self.shared.reader.clone();
        let mut next = Position::EARLIEST;
        while next < end {
            let entries = tokio::select! {
                biased;
                () = self.closing() => return Err(CompactionError::Closing),
                entries = reader.read_compacted(next, READ.0, READ.1) => entries?,
            };
            let Some(last) = entries.last() else { return Ok(()) };
            next = last.position.next();
            for entry in entries.iter().take_while(|entry| entry.position < end) {
                if let Some(kept) = pass.entry(entry.position, &entry.bytes)? {
                    rewrite.append(entry.position, &kept).await?;
                }
            }
        }
        Ok(())
    }

    /// From now on, nothing leaves the topic that was not compacted.
    pub(crate) async fn hold_for_compaction(&self) -> Result<(), TopicError> {
        let make = Make::durable(SubscribeAt::Earliest, Properties::new());
        let subscription = self.find(OF_COMPACTION, Some(make)).await?;
        self.of(subscription.ask(subscription::Command::Cursor).await)?; // Answered once it is written down.
        Ok(())
    }

    async fn compacted_to(&self, horizon: Position) -> Result<(), TopicError> {
        let subscription = self.find(OF_COMPACTION, None).await;
        let Ok(subscription) = subscription else { return Ok(()) }; // Deleted meanwhile.
        match subscription.ask(|reply| subscription::Command::CompactedTo(horizon, reply)).await {
            Err(SubscriptionError::Closed) => Ok(()), // The next load sees to it.
            moved => self.of(moved),
        }
    }

    /// Deletes what compaction has left. While a pass runs, it is in the way.
    pub(super) async fn forget_compaction(&self) -> Result<(), TopicError> {
        let Ok(_idle) = self.shared.compactions.pass.clone().try_lock_owned() else {
            return Err(TopicError::ActiveUsers);
        };
        match self.stored()?.compactor.forget().await {
            Err(error @ LogError::Fenced { .. }) => {
                let _ = self.mailbox.send(Command::GiveUp(Box::new(error.clone()))).await;
                Err(self.log_error(&error))
            }
            forgotten => forgotten.map_err(|error| self.log_error(&error)),
        }
    }
}
