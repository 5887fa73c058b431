//! Topics and subscriptions that nobody uses, where policies want them to go.
use std::collections::BTreeMap;
use std::time::Duration;

use daemon::Drain;
use metadata::Error;
use proto::{Domain, NamespaceName};

use super::Upkeep;
use crate::policies::{Effective, Inactivity};
use crate::topic::{Idle, TopicError, TopicHandle};

impl Upkeep {
    /// Looks whether anybody uses `topics`, one namespace after the other, until `drain`.
    pub(crate) async fn remove_unused(&self, topics: Vec<TopicHandle>, drain: &Drain) {
        let mut by_namespace: BTreeMap<NamespaceName, Vec<TopicHandle>> = BTreeMap::new();
        for topic in topics {
            by_namespace.entry(topic.name().namespace().clone()).or_default().push(topic);
        }
        for (namespace, topics) in by_namespace {
            let policies = match self.policies.of_namespace(&namespace).await {
                Ok(policies) => policies,
                Err(error) => {
                    tracing::warn!(%namespace, %error, "policies cannot be read: nothing is removed");
                    continue;
                }
            };
            for topic in topics {
                if drain.is_requested() {
                    return;
                }
                let removed = async {
                    if let Some(after) = policies.subscription_expiration() {
                        self.expire_subscriptions(&topic, after).await?;
                    }
                    self.remove_if_unused(&topic, |topic| policies.effective(topic.name())).await
                };
                if let Err(error) = removed.await {
                    tracing::info!(topic = %topic.name(), %error, "what nobody uses of it stays for now");
                }
            }
        }
    }

    async fn expire_subscriptions(&self, topic: &TopicHandle, after: Duration) -> Result<(), TopicError> {
        let before_ms = self.clock.now_ms().saturating_sub(millis(after));
        for subscription in topic.expire_subscriptions(before_ms).await? {
            tracing::info!(topic = %topic.name(), subscription, "removed: nobody has used it for too long");
        }
        Ok(())
    }

    async fn remove_if_unused(
        &self,
        topic: &TopicHandle,
        wanted: impl FnOnce(&TopicHandle) -> Result<Effective, Error>,
    ) -> Result<(), super::UpkeepError> {
        let Some(idle) = topic.idle(self.clock.now_ms()).await? else { return Ok(()) };
        let wanted = match topic.name().domain() {
            Domain::Persistent => wanted(topic)?,
            Domain::NonPersistent => self.policies.effective(topic.name()).await?,
        };
        let Some(policy) = wanted.inactivity() else { return Ok(()) };
        if !self.is_over(topic, idle, policy, &wanted) {
            return Ok(());
        }
        let holds_nobody_up =
            idle.without_subscriptions || (policy.caught_up_is_enough && topic.is_caught_up().await?);
        if !holds_nobody_up {
            return Ok(());
        }
        let name = topic.name().clone();
        match self.topics.delete_idle(&name, idle).await {
            Ok(()) => tracing::info!(topic = %name, "removed: nobody has used it for too long"),
            Err(TopicError::ActiveUsers | TopicError::NotOwner(_)) => return Ok(()), // Somebody came.
            Err(error) => return Err(error.into()),
        }
        if name.partition().is_none() && name.domain() == Domain::Persistent {
            self.schemas.delete(&name).await?;
        }
        Ok(())
    }

    /// Whether it is idle for longer than the policy wants, and than anything wants that keeps what it holds.
    fn is_over(&self, topic: &TopicHandle, idle: Idle, policy: Inactivity, wanted: &Effective) -> bool {
        let idle_for = Duration::from_millis(self.clock.now_ms().saturating_sub(idle.since_ms));
        let kept = wanted.retention().age.is_none_or(|age| idle_for < age);
        let holds = topic.with_chain(|chain| !chain.ledgers().is_empty());
        let newcomer = holds && idle.without_subscriptions && idle_for < self.without_subscription;
        policy.after <= idle_for && !kept && !newcomer
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
