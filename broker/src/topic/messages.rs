//! Single messages of a topic, and subscriptions that skip them.
use std::collections::BTreeMap;
use std::sync::Arc;

use proto::Position;
use proto::entry::head_of_stored;

use super::task::{Command, Make};
use super::{SubscribeAt, TopicError, TopicHandle};
use crate::cursor::OF_COMPACTION;
use crate::log::StoredEntry;
use crate::subscription::{self, Properties};

/// Fewer messages than these do not expire under connected consumers while the oldest is younger, as in Apache Pulsar.
const ALMOST_CAUGHT_UP: u64 = 1000;

/// What became of a wish that messages expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expired {
    Done,
    /// There is nothing to expire, or consumers are about to take it.
    CaughtUp,
    /// The topic has no such message yet.
    Beyond,
}

/// From which end messages are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Earliest,
    Latest,
}

impl TopicHandle {
    /// The entry at a position, if there is one.
    pub(crate) async fn entry(&self, position: Position) -> Result<Option<StoredEntry>, TopicError> {
        if !self.with_chain(|chain| chain.contains(position)) {
            return Ok(None);
        }
        let read = self.shared.reader.read(position, 1, 1).await.map_err(|error| self.log_error(&error))?;
        Ok(read.into_iter().next().filter(|entry| entry.position == position)) // Else it was trimmed meanwhile.
    }

    /// The n-th entry that a subscription has not acknowledged, counted from 0. One that is not there is made, at the first entry, as in
    /// Apache Pulsar: tools look at topics through subscriptions that nobody made.
    pub(crate) async fn peek(&self, name: &str, number: u64) -> Result<Option<StoredEntry>, TopicError> {
        let make = (name != OF_COMPACTION).then(|| Make::durable(SubscribeAt::Earliest, Properties::new()));
        let subscription = self.find(name, make).await?;
        let asked = subscription.ask(|reply| subscription::Command::Peek(number, reply)).await;
        match self.of(asked)? {
            Some(position) => self.entry(position).await,
            None => Ok(None),
        }
    }

    /// The n-th entry from one end, counted from 0; the last there is when it has fewer. `None` while it has none.
    pub(crate) async fn examine(&self, from: From, number: u64) -> Result<Option<StoredEntry>, TopicError> {
        let position = self.with_chain(|chain| {
            let count = chain.count(chain.first(), chain.end());
            let number = number.min(count.checked_sub(1)?);
            chain.nth(match from {
                From::Earliest => number,
                From::Latest => count - 1 - number,
            })
        });
        match position {
            Some(position) => self.entry(position).await,
            None => Ok(None),
        }
    }

    /// The first position whose message was published then or later, or the end.
    pub(crate) async fn published_at(&self, time_ms: u64) -> Result<Position, TopicError> {
        let found = SubscribeAt::Time(time_ms).resolve(&self.shared.reader, false).await;
        Ok(found.map_err(|error| self.log_error(&error))?.mark())
    }

    /// Bytes behind a position, in proportion: sizes of single entries are not kept.
    pub(crate) fn bytes_behind(&self, position: Position) -> u64 {
        self.with_chain(|chain| {
            let behind = chain.ledgers().iter().filter(|listed| position.ledger <= listed.ledger);
            behind
                .map(|listed| {
                    let below = if listed.ledger == position.ledger { position.entry.0.saturating_add(1) } else { 0 };
                    let left = u128::from(listed.entries.saturating_sub(below));
                    let bytes = u128::from(listed.bytes) * left / u128::from(listed.entries.max(1));
                    u64::try_from(bytes).unwrap_or(u64::MAX)
                })
                .sum()
        })
    }

    /// A place inside the batch at `position`, if that is one.
    pub(crate) async fn inside(&self, position: Position, batch_index: u32) -> Result<SubscribeAt, TopicError> {
        let head = self.entry(position).await?.and_then(|entry| head_of_stored(&entry.bytes).ok());
        let messages = head.filter(|head| head.num_messages_in_batch.is_some()).map_or(0, |head| head.messages());
        if messages <= batch_index {
            return Ok(SubscribeAt::Position(position));
        }
        let mut left = vec![0_u64; (messages as usize).div_ceil(64)];
        (batch_index..messages).for_each(|index| left[index as usize / 64] |= 1 << (index % 64));
        Ok(SubscribeAt::Inside(position, Arc::from(left)))
    }

    /// Acknowledges the next `entries` that a subscription has not acknowledged.
    pub(crate) async fn skip(&self, name: &str, entries: u64) -> Result<(), TopicError> {
        let subscription = self.find(name, None).await?;
        self.of(subscription.ask(|reply| subscription::Command::Skip(entries, reply)).await)
    }

    /// Acknowledges what was published before a time.
    pub(crate) async fn expire_older(&self, name: &str, time_ms: u64) -> Result<Expired, TopicError> {
        let subscription = self.find(name, None).await?;
        let stats = self.of(subscription.ask(subscription::Command::Stats).await)?;
        let below = self.published_at(time_ms).await?;
        let oldest = self.of(subscription.ask(|reply| subscription::Command::Peek(0, reply)).await)?;
        let young = oldest.is_none_or(|oldest| below <= oldest);
        if oldest.is_none() || (young && !stats.consumers.is_empty() && stats.msg_backlog < ALMOST_CAUGHT_UP) {
            return Ok(Expired::CaughtUp);
        }
        self.of(self.expire_of(&subscription, below).await)?;
        Ok(Expired::Done)
    }

    /// Acknowledges what lies before a position.
    pub(crate) async fn expire_below(&self, name: &str, below: Position) -> Result<Expired, TopicError> {
        let subscription = self.find(name, None).await?;
        if self.shared.reader.end() < below {
            return Ok(Expired::Beyond);
        }
        self.of(self.expire_of(&subscription, below).await)?;
        Ok(Expired::Done)
    }

    /// Names of the subscriptions that outlive their consumers, but for that of compaction.
    pub(crate) async fn durable_subscriptions(&self) -> Result<Vec<String>, TopicError> {
        let all = self.ask(Command::Subscriptions).await?;
        Ok(all
            .into_iter()
            .filter(|one| one.durable && &*one.name != OF_COMPACTION)
            .map(|one| one.name.to_string())
            .collect())
    }

    /// What a client or a person has noted with a subscription.
    pub(crate) async fn properties(&self, name: &str) -> Result<BTreeMap<String, String>, TopicError> {
        let subscription = self.find(name, None).await?;
        Ok(self.of(subscription.ask(subscription::Command::Properties).await)?.into_iter().collect())
    }

    /// Replaces them.
    pub(crate) async fn set_properties(
        &self,
        name: &str,
        properties: BTreeMap<String, String>,
    ) -> Result<(), TopicError> {
        let (subscription, properties) = (self.find(name, None).await?, properties.into_iter().collect());
        self.of(subscription.ask(|reply| subscription::Command::SetProperties(properties, reply)).await)
    }
}
