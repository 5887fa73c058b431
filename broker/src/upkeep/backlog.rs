//! What waits for subscriptions longer than it should, or is more than it should be.
use super::Upkeep;
use crate::policies::Effective;
use crate::topic::{Excess, TopicError, TopicHandle};

impl Upkeep {
    /// Acknowledges what has outlived its time, and does about the rest what quotas want.
    pub(super) async fn bound_backlog(&self, topic: &TopicHandle, wanted: &Effective) {
        let bounded = async {
            if let Some(ttl) = wanted.message_ttl() {
                topic.expire(ttl, self.clock.now_ms()).await?;
            }
            match topic.excess(&wanted.quotas(), self.clock.now_ms()).await? {
                Some(Excess::Evict(below)) => topic.expire_before(below).await,
                Some(Excess::Hold | Excess::Refuse) => topic.send_producers_away().await,
                None => Ok::<_, TopicError>(()),
            }
        };
        if let Err(error) = bounded.await {
            tracing::info!(topic = %topic.name(), %error, "its backlog stays as it is for now");
        }
    }
}
