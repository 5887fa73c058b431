//! Bundles that go from broker to broker, or change their shape, while their topics are used.
//!
//! Owns: nothing that must survive; who has a bundle stands in the room `ownership`.
//! Promises: a bundle that is moved on purpose is never without an owner, and its next owner knows what is coming before the first topic
//! is closed; a move that was begun ends, whoever asked for it has gone or not.
//! Never: relied upon for safety. A broker that does the contrary of what it announced costs time, nothing else.
mod announce; // What brokers tell each other.
mod balance; // When they go by themselves,
mod balancer; // and who sees to it.
mod split; // How one becomes several.

use std::time::Duration;

use futures::StreamExt;
use metadata::Version;
use proto::TopicName;
use proto::records::BrokerRecord;

pub(crate) use announce::{Announced, Expected};
pub(crate) use balancer::Balancer;
pub(crate) use split::SplitAt;

use crate::outbox::NextOwner;
use crate::ownership::{Bundle, Next, Ownership, OwnershipError};
use crate::topic::Topics;

/// Bundles that are given up side by side when a broker drains.
const BUNDLES_AT_ONCE: usize = 16;
/// Topics that are opened side by side when a bundle arrives.
const TOPICS_AT_ONCE: usize = 32;
/// For the next owner to answer.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// Why a bundle was not moved.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum MoveError {
    /// Name another one, or wait for it. Nothing has happened.
    #[error("broker {broker} does not take the bundle: {reason}")]
    NotTaken { broker: String, reason: String },
    /// Whatever was asked may have happened.
    #[error("broker {broker} does not answer as it should: {reason}")]
    Silent { broker: String, reason: String },
    #[error(transparent)]
    Ownership(#[from] OwnershipError),
    /// The task that moved it did not end as it should. The bundle is served.
    #[error("the move ended before its time")]
    Interrupted,
}

/// Moves bundles of this broker. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Moves {
    pub(crate) ownership: Ownership,
    pub(crate) topics: Topics,
    /// Asks other brokers.
    pub(crate) peers: reqwest::Client,
    /// Whether clients know a way to a broker that its advertised address is not.
    pub(crate) addresses_mislead: bool,
}

impl Moves {
    /// Gives up a bundle of this broker, to the broker `to` or else to the one that is elected. Says who has it now, when that is known.
    /// Goes on when it is dropped.
    pub(crate) async fn release(
        &self,
        bundle: &Bundle,
        to: Option<BrokerRecord>,
    ) -> Result<Option<BrokerRecord>, MoveError> {
        let (moves, bundle) = (self.clone(), bundle.clone());
        tokio::spawn(async move { moves.move_away(&bundle, to).await }).await.unwrap_or(Err(MoveError::Interrupted))
    }

    /// Gives up all bundles. For a broker that has withdrawn.
    pub(crate) async fn release_all(&self) {
        let releases = self.ownership.bundles().into_iter().map(|bundle| async move {
            if let Err(error) = self.move_away(&bundle, None).await {
                tracing::warn!(%bundle, %error, "cannot release a bundle; the lease will");
            }
        });
        futures::stream::iter(releases).for_each_concurrent(BUNDLES_AT_ONCE, |release| release).await;
        self.topics.unload_where(|_| true, &NextOwner::default()).await; // Of bundles that were lost, or cannot be given up.
    }

    #[tracing::instrument(target = "geminga", name = "bundle.move", skip_all, fields(%bundle, to = to.as_ref().map(|to| &*to.broker)))]
    async fn move_away(&self, bundle: &Bundle, to: Option<BrokerRecord>) -> Result<Option<BrokerRecord>, MoveError> {
        let cut = self.ownership.bundles_of(&bundle.namespace).await?;
        let inside = |topic: &TopicName| *topic.namespace() == bundle.namespace && cut.of(topic) == bundle.range;
        let next = self.announce(bundle, to, &self.topics.names_where(inside)).await?;
        let address = match &next {
            Next::Anyone => NextOwner::default(),
            Next::Here => self.address(self.ownership.me()),
            Next::Broker { broker, .. } => self.address(broker),
        };
        self.ownership.release(bundle, &next, self.topics.unload_where(inside, &address)).await?;
        Ok(next.broker().cloned())
    }

    /// Where clients find a broker; nothing when it is not the same for all of them.
    fn address(&self, broker: &BrokerRecord) -> NextOwner {
        let misleads = self.addresses_mislead || !broker.listeners.is_empty();
        if misleads { NextOwner::default() } else { NextOwner::at(&broker.broker) }
    }

    /// Chooses who comes next and tells it. A broker that was named must agree; an elected one that does not leaves the bundle to whoever
    /// is nominated.
    async fn announce(
        &self,
        bundle: &Bundle,
        to: Option<BrokerRecord>,
        topics: &[TopicName],
    ) -> Result<Next, MoveError> {
        let (named, broker) = match (to, self.ownership.successor(bundle)) {
            (Some(to), _) => (true, to),
            (None, Some(elected)) => (false, elected),
            (None, None) => return Ok(Next::Anyone),
        };
        if broker.start == self.ownership.me().start {
            return Ok(Next::Here);
        }
        match self.ask_to_expect(&broker, bundle, topics).await {
            Ok(lease) => Ok(Next::Broker { broker, lease: Some(lease) }),
            Err(reason) if named => Err(MoveError::NotTaken { broker: broker.broker, reason }),
            Err(reason) => {
                tracing::warn!(%bundle, broker = broker.broker, reason, "a bundle is not announced");
                Ok(Next::Anyone)
            }
        }
    }

    /// Gets ready for a bundle that its owner announces, and opens its topics once it is here.
    pub(crate) async fn expect(&self, bundle: Bundle, coming: Announced) -> Result<Option<Expected>, OwnershipError> {
        let at = Version(coming.version);
        let Some(lease) = self.ownership.expect(&bundle, at).await? else { return Ok(None) };
        let moves = self.clone();
        tokio::spawn(async move {
            if moves.ownership.arrival(&bundle).await {
                let names = coming.topics.into_iter().filter_map(|name| name.parse::<TopicName>().ok());
                let open = |name: TopicName| {
                    let topics = &moves.topics;
                    async move { drop(topics.open(&name, false).await) } // Whoever needs it meets the error again.
                };
                futures::stream::iter(names).for_each_concurrent(TOPICS_AT_ONCE, open).await;
            }
        });
        Ok(Some(Expected { lease: lease.0, start: self.ownership.me().start.clone() }))
    }
}
