//! What loaded topics need from time to time, whether or not anybody uses them.
//!
//! Owns: one walk a minute over the topics that are loaded here, a look at each whose ledger was just closed, and one watch of policies.
//! Promises: ledgers that are due are closed, ledgers that may leave do, those that should move to objects get their turn, what nobody
//! uses goes if it is to; a topic that fails waits for the next walk, and one whose cursor log hangs is passed over; what could not be
//! read decides nothing.
//! Never: has a timer for each topic, or keeps anything between two walks.
mod backlog;
mod compaction;
mod heed;
mod tiering;
mod unused;
mod wanted;

use std::collections::BTreeMap;
use std::time::Duration;

use daemon::Drain;
use futures::StreamExt;
use metadata::Error;
use proto::{NamespaceName, Position, TopicName};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::task::TaskTracker;

use crate::Clock;
use crate::cursor::Need;
use crate::log::{Keep, Rollover, roll_due, trimmable};
use crate::policies::{Effective, Policies};
use crate::schemas::{SchemaError, Schemas};
use crate::topic::{TopicError, TopicHandle, Topics};

pub(crate) use tiering::Tiering;
pub(crate) use wanted::Defaults;

/// Space is not wanted back at once, and a walk asks every loaded topic.
const PAUSE: Duration = Duration::from_secs(60);
/// Topics that are looked after at once: each may wait for metadata.
const AT_ONCE: usize = 16;
/// What a topic is given to say what is needed of it: one whose cursor log cannot be written now waits for the next walk.
const SAID_WITHIN: Duration = Duration::from_secs(1);
/// Topics whose ledger was closed and that wait to be looked at. What does not fit waits for the next walk.
pub(crate) const SEALED_MAX: usize = 1024;

/// Why a topic was not looked after as asked.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum UpkeepError {
    /// What is wanted of the topic cannot be read: nothing was done.
    #[error("policies cannot be read: {0}")]
    Policies(#[from] Error),
    /// The topic has gone, and its schemas have not.
    #[error("schemas: {0}")]
    Schemas(#[from] SchemaError),
    /// As the topic says.
    #[error(transparent)]
    Topic(#[from] TopicError),
}

/// Where upkeep looks, and what goes with a topic.
#[derive(Debug)]
pub(crate) struct Rooms {
    pub(crate) topics: Topics,
    pub(crate) policies: Policies,
    pub(crate) schemas: Schemas,
}

/// Looks after topics. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Upkeep {
    topics: Topics,
    policies: Policies,
    schemas: Schemas,
    tiering: Tiering,
    rollover: Rollover,
    without_subscription: Duration,
    clock: Clock,
    turns: compaction::Turns,
    /// What somebody asked for who may have gone away.
    asked: TaskTracker,
}

impl Upkeep {
    /// Of `topics`. What a topic without subscription holds stays for `without_subscription`. A seed of this start only.
    pub(crate) fn new(
        rooms: Rooms,
        tiering: Tiering,
        rollover: Rollover,
        without_subscription: Duration,
        clock: Clock,
        seed: u64,
    ) -> Self {
        let Rooms { topics, policies, schemas } = rooms;
        let (turns, asked) = (compaction::Turns::new(seed), TaskTracker::new());
        Self { topics, policies, schemas, tiering, rollover, without_subscription, clock, turns, asked }
    }

    /// Runs until `drain`. `sealed` names topics whose ledger was closed.
    pub(crate) async fn work(self, sealed: mpsc::Receiver<TopicName>, drain: Drain) {
        tokio::join!(self.walks(sealed, &drain), self.tiering.work(&drain), self.tell_changes(&drain));
        self.asked.close();
        self.asked.wait().await;
    }

    async fn walks(&self, mut sealed: mpsc::Receiver<TopicName>, drain: &Drain) {
        let mut ticks = interval_at(Instant::now() + PAUSE, PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut names = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = drain.requested() => break,
                _ = ticks.tick() => {
                    self.walk(self.topics.loaded(), drain).await;
                    self.remove_unused(self.topics.loaded(), drain).await;
                }
                count = sealed.recv_many(&mut names, SEALED_MAX), if !sealed.is_closed() || !sealed.is_empty() => {
                    tracing::trace!(count, "ledgers were closed");
                    names.sort();
                    names.dedup();
                    let topics = names.drain(..).filter_map(|name| self.topics.get(&name)).collect();
                    self.walk(topics, drain).await;
                }
            }
        }
    }

    /// Looks after each of `topics`, until `drain`. What is begun is finished: a change of a topic's record that nobody sees to its end
    /// would cost the topic.
    pub(crate) async fn walk(&self, topics: Vec<TopicHandle>, drain: &Drain) {
        let going_on = |_: &_| std::future::ready(!drain.is_requested());
        let looked = futures::stream::iter(topics).take_while(going_on).map(async |topic| {
            let wants = self.look(&topic).await.unwrap_or_else(|error| {
                tracing::debug!(topic = %topic.name(), %error, "a topic was not looked at");
                false
            });
            wants.then_some(topic)
        });
        let mut by_namespace: BTreeMap<NamespaceName, Vec<TopicHandle>> = BTreeMap::new();
        let mut looked = std::pin::pin!(looked.buffer_unordered(AT_ONCE));
        while let Some(found) = looked.next().await {
            if let Some(topic) = found {
                by_namespace.entry(topic.name().namespace().clone()).or_default().push(topic);
            }
        }
        for (namespace, topics) in by_namespace {
            if drain.is_requested() {
                return;
            }
            let policies = match self.policies.of_namespace(&namespace).await {
                Ok(policies) => policies,
                Err(error) => {
                    tracing::warn!(%namespace, %error, "policies cannot be read: nothing leaves");
                    continue;
                }
            };
            let tended = futures::stream::iter(topics).take_while(|_| std::future::ready(!drain.is_requested()));
            tended
                .for_each_concurrent(AT_ONCE, async |topic| match policies.effective(topic.name()) {
                    Ok(wanted) => self.tend(&topic, &wanted).await,
                    Err(error) => {
                        tracing::warn!(topic = %topic.name(), %error, "policies cannot be read: nothing leaves");
                    }
                })
                .await;
        }
    }

    /// Closes what is due without asking policies, and says whether there is anything for them to decide, so that they are to be read:
    /// most topics, most of the time, have nothing.
    async fn look(&self, topic: &TopicHandle) -> Result<bool, TopicError> {
        if topic.with_chain(|chain| chain.ledgers().is_empty()) {
            return Ok(false);
        }
        let need = tokio::time::timeout(SAID_WITHIN, topic.need()).await;
        let need = need.unwrap_or_else(|_| Err(TopicError::Unavailable(topic.name().clone())))?;
        let now_ms = self.clock.now_ms();
        let due = topic.with_chain(|chain| roll_due(chain, need, &self.rollover, now_ms));
        if let Some(ledger) = due {
            topic.roll(ledger).await?; // Heard of again once it is closed.
        }
        let grown = topic.grown_since_looked_at();
        let least = Keep { without_subscription: self.without_subscription, ..Keep::NOTHING };
        Ok(topic.with_chain(|chain| {
            let moves = chain.ledgers().iter().any(|listed| listed.sealed_at.is_some() && !listed.bookies_freed);
            let waits = matches!(need, Need::From(first) if first < chain.end());
            moves || waits || !trimmable(chain, need, &least, now_ms).is_empty()
        }) || grown)
    }

    /// Does what policies want of a topic. What leaves comes before anything else: it need not be done for what is gone.
    async fn tend(&self, topic: &TopicHandle, wanted: &Effective) {
        self.consider_compaction(topic, wanted).await;
        self.bound_backlog(topic, wanted).await;
        if let Err(error) = topic.trim(&self.keep(wanted), &wanted.unchanged()).await {
            tracing::info!(topic = %topic.name(), %error, "nothing leaves for now");
        }
        self.tiering.consider(topic, wanted);
    }

    fn keep(&self, wanted: &Effective) -> Keep {
        let retention = wanted.retention();
        Keep { age: retention.age, bytes: retention.bytes, without_subscription: self.without_subscription }
    }

    /// Takes out of a topic what may leave, now.
    pub(crate) async fn trim(&self, topic: &TopicHandle) -> Result<(), UpkeepError> {
        let (this, asked) = (self.clone(), topic.clone());
        self.seen_to_its_end(topic, async move {
            let wanted = this.policies.effective(asked.name()).await?;
            asked.trim(&this.keep(&wanted), &wanted.unchanged()).await?;
            Ok(())
        })
        .await
    }

    /// Acknowledges all there is for every durable subscription, and takes out all ledgers but the open one.
    pub(crate) async fn truncate(&self, topic: &TopicHandle) -> Result<(), UpkeepError> {
        let asked = topic.clone();
        self.seen_to_its_end(topic, async move { Ok(asked.truncate().await?) }).await
    }

    /// Moves what lies before `before` to objects, whatever policies say of when. `false`: it is being done already.
    pub(crate) fn offload(&self, topic: &TopicHandle, before: Position) -> bool {
        self.tiering.offload(topic, before)
    }

    /// What moves ledgers.
    pub(crate) fn tiering(&self) -> &Tiering {
        &self.tiering
    }

    async fn seen_to_its_end(
        &self,
        topic: &TopicHandle,
        work: impl Future<Output = Result<(), UpkeepError>> + Send + 'static,
    ) -> Result<(), UpkeepError> {
        let ended = self.asked.spawn(work).await;
        ended.unwrap_or_else(|_| Err(TopicError::Unavailable(topic.name().clone()).into())) // This process ends.
    }
}

#[cfg(test)]
mod tests;
