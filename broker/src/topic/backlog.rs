//! What waits for the slowest durable subscription: how much, how old, and what is done when it is too much.
use std::time::Duration;

use proto::Position;
use proto::entry::head_of_stored;

use super::task::Command;
use super::{TopicError, TopicHandle};
use crate::cursor::{Need, OF_COMPACTION};
use crate::policies::{QuotaAction, Quotas};
use crate::stats::TopicStats;
use crate::subscription::{self, SubscriptionError, SubscriptionHandle, first_published_at};

/// What is done about a backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excess {
    /// Producers stay out.
    Hold,
    /// They are refused.
    Refuse,
    /// All that lies below counts as acknowledged.
    Evict(Position),
}

impl Excess {
    fn of(action: QuotaAction, below: Position) -> Self {
        match action {
            QuotaAction::Hold => Self::Hold,
            QuotaAction::Refuse => Self::Refuse,
            QuotaAction::Evict => Self::Evict(below),
        }
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl TopicHandle {
    /// The first entry that a durable subscription waits for. `None`: none waits for any.
    async fn first_waiting(&self) -> Result<Option<Position>, TopicError> {
        let Some(stored) = &self.shared.stored else { return Ok(None) };
        let need = stored.trimmer.need().await.map_err(|error| self.log_error(&error))?;
        Ok(match need {
            Need::NobodySince(_) => None,
            Need::From(first) => Some(self.shared.reader.at_or_after(first)),
        })
    }

    /// When an entry was published, as its producer said. `None`: there is none.
    async fn publish_time(&self, at: Position) -> Result<Option<u64>, TopicError> {
        let entries = self.shared.reader.read(at, 1, 1).await.map_err(|error| self.log_error(&error))?;
        Ok(entries.first().and_then(|entry| head_of_stored(&entry.bytes).ok()).map(|head| head.publish_time))
    }

    /// Adds when the oldest message was published that each subscription waits for. Reads an entry for each.
    pub(crate) async fn tell_ages(&self, stats: &mut TopicStats, now_ms: u64) -> Result<(), TopicError> {
        let mut oldest: Option<u64> = None;
        for (name, one) in &mut stats.subscriptions {
            let Ok(subscription) = self.find(name, None).await else { continue }; // It has gone meanwhile.
            let Ok(first) = subscription.ask(|reply| subscription::Command::Peek(0, reply)).await else { continue };
            let published = match first {
                Some(position) => self.publish_time(position).await?,
                None => None,
            };
            one.earliest_msg_publish_time_in_backlog = published.map_or(-1, signed);
            oldest = oldest.into_iter().chain(published).min();
        }
        stats.earliest_msg_publish_time_in_backlogs = oldest.map_or(0, signed);
        stats.oldest_backlog_message_age_seconds =
            oldest.map_or(-1, |published| signed(now_ms.saturating_sub(published) / 1000));
        Ok(())
    }

    /// Whether more waits than `quotas` allow.
    pub(crate) async fn excess(&self, quotas: &Quotas, now_ms: u64) -> Result<Option<Excess>, TopicError> {
        if *quotas == Quotas::default() {
            return Ok(None);
        }
        let Some(first) = self.first_waiting().await? else { return Ok(None) };
        if let Some(quota) = quotas.size
            && quota.limit <= self.with_chain(|chain| chain.bytes_from(first))
        {
            let below = self.with_chain(|chain| chain.last_bytes(quota.limit / 10 * 9)); // As Apache Pulsar: not to the brim.
            return Ok(Some(Excess::of(quota.action, below)));
        }
        if let Some(quota) = quotas.age {
            let oldest = now_ms.saturating_sub(quota.limit.saturating_mul(1000));
            if self.publish_time(first).await?.is_some_and(|published| published < oldest) {
                return Ok(Some(Excess::of(quota.action, self.first_since(first, oldest).await?)));
            }
        }
        Ok(None)
    }

    /// Whether producers may come in beside what waits.
    pub(crate) async fn admits_producers(&self, quotas: &Quotas, now_ms: u64) -> Result<(), TopicError> {
        match self.excess(quotas, now_ms).await? {
            Some(Excess::Hold) => Err(TopicError::BacklogHeld),
            Some(Excess::Refuse) => Err(TopicError::BacklogFull),
            Some(Excess::Evict(_)) | None => Ok(()),
        }
    }

    /// Whoever publishes comes again, and is told then what is wrong.
    pub(crate) async fn send_producers_away(&self) -> Result<(), TopicError> {
        self.mailbox.send(Command::SendProducersAway).await.map_err(|_| self.unavailable())
    }

    /// Acknowledges for every durable subscription what was published longer ago than `ttl`.
    pub(crate) async fn expire(&self, ttl: Duration, now_ms: u64) -> Result<(), TopicError> {
        let oldest = now_ms.saturating_sub(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        let Some(first) = self.first_waiting().await? else { return Ok(()) };
        if self.publish_time(first).await?.is_none_or(|published| oldest <= published) {
            return Ok(());
        }
        self.expire_before(self.first_since(first, oldest).await?).await
    }

    /// Acknowledges for every durable subscription all that lies below.
    pub(crate) async fn expire_before(&self, below: Position) -> Result<(), TopicError> {
        let all = self.ask(Command::Subscriptions).await?;
        // What was not compacted yet is old for nobody.
        let durable = |subscription: &&SubscriptionHandle| subscription.durable && &*subscription.name != OF_COMPACTION;
        for subscription in all.iter().filter(durable) {
            match self.expire_of(subscription, below).await {
                Err(SubscriptionError::Closed) => {} // Deleted meanwhile.
                expired => self.of(expired)?,
            }
        }
        Ok(())
    }

    /// The one way in which messages expire, whoever wants it.
    pub(super) async fn expire_of(
        &self,
        subscription: &SubscriptionHandle,
        below: Position,
    ) -> Result<(), SubscriptionError> {
        let entries = subscription.ask(|reply| subscription::Command::ExpireBefore(below, reply)).await?;
        if 0 < entries {
            tracing::info!(topic = %self.name(), subscription = %subscription.name, entries, %below, "nobody waits for them any more");
        }
        Ok(())
    }

    async fn first_since(&self, from: Position, time: u64) -> Result<Position, TopicError> {
        first_published_at(&self.shared.reader, from, time).await.map_err(|error| self.log_error(&error))
    }
}
