//! Whether anybody uses a topic, and its end when nobody does.
//!
//! What a task says of itself is true at that moment only. So it says with it how much was asked of it on behalf of clients until then, and
//! ends itself later only if that is still so: whoever came meanwhile was before, whoever comes then finds a closed mailbox and asks again.
use tokio::sync::oneshot;

use super::task::{Command, Topic};
use super::{TopicError, TopicHandle};
use crate::cursor::OF_COMPACTION;
use crate::outbox::NextOwner;
use crate::subscription::{self, SubscriptionError};

/// What was asked of a topic for clients, and since when that has not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Activity {
    asked: u64,
    /// As far as it was looked at, and when.
    seen: Option<(u64, u64)>,
}

/// A topic without producers and consumers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Idle {
    asked: u64,
    /// At the latest, in milliseconds since 1970: when somebody looked and found it so.
    pub(crate) since_ms: u64,
    /// There are none.
    pub(crate) without_subscriptions: bool,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self { asked: 0, seen: None }
    }

    pub(super) fn note(&mut self, command: &Command) {
        match command {
            // Upkeep looks at it in each walk.
            Command::Subscription { name, .. } if &**name == OF_COMPACTION => {}
            Command::Publish(_)
            | Command::Attach(_)
            | Command::Detach(_)
            | Command::Leave(_)
            | Command::Subscribe { .. }
            | Command::Subscription { .. }
            | Command::Terminate(_) => self.asked += 1,
            Command::Subscriptions(_)
            | Command::Stats(_)
            | Command::SendProducersAway
            | Command::Remember(_)
            | Command::Roll(_)
            | Command::Trimmed
            | Command::GiveUp(_)
            | Command::Idle { .. }
            | Command::EndIdle { .. }
            | Command::End { .. } => {}
        }
    }

    /// `used`: somebody is there.
    pub(super) fn idle(&mut self, used: bool, without_subscriptions: bool, now_ms: u64) -> Option<Idle> {
        if used {
            self.seen = None;
            return None;
        }
        let (asked, since_ms) = self.seen.filter(|(asked, _)| *asked == self.asked).unwrap_or((self.asked, now_ms));
        self.seen = Some((asked, since_ms));
        Some(Idle { asked, since_ms, without_subscriptions })
    }

    /// Whether it is as it was.
    pub(super) fn is_still(&self, idle: Idle) -> bool {
        self.asked == idle.asked
    }
}

impl Topic {
    /// Whether a producer or a consumer is there, or was and waits for an answer.
    fn is_used(&self) -> bool {
        self.producers.is_used()
            || !self.waiting.is_empty()
            || self.errands.is_switching()
            || !self.attendance.is_empty()
    }

    pub(super) fn idle(&mut self, now_ms: u64) -> Option<Idle> {
        let (used, without) = (self.is_used(), self.open_subscriptions().is_empty());
        self.activity.idle(used, without, now_ms)
    }

    /// Whether it may end now.
    pub(super) fn ends_idle(&self, idle: Idle) -> bool {
        self.activity.is_still(idle) && !self.is_used()
    }
}

impl TopicHandle {
    /// `None`: somebody uses it.
    pub(crate) async fn idle(&self, now_ms: u64) -> Result<Option<Idle>, TopicError> {
        self.ask(|reply| Command::Idle { now_ms, reply }).await
    }

    /// Ends the topic for good, if it is still idle: `true`, and nobody can reach it any more.
    pub(super) async fn end_idle(&self, idle: Idle) -> Result<bool, TopicError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::EndIdle { idle, to: NextOwner::default(), reply };
        self.mailbox.send(command).await.map_err(|_| self.unavailable())?;
        let ends = answer.await.map_err(|_| self.unavailable())?;
        if ends {
            self.gone().await;
        }
        Ok(ends)
    }

    /// Whether every subscription has acknowledged everything.
    pub(crate) async fn is_caught_up(&self) -> Result<bool, TopicError> {
        for subscription in self.ask(Command::Subscriptions).await? {
            match subscription.ask(subscription::Command::Stats).await {
                Ok(stats) if 0 < stats.msg_backlog => return Ok(false),
                Ok(_) | Err(SubscriptionError::Closed) => {} // Deleted meanwhile.
                Err(error) => return self.of(Err(error)),
            }
        }
        Ok(true)
    }

    /// Removes durable subscriptions that nobody has used since `before_ms`. Says which.
    pub(crate) async fn expire_subscriptions(&self, before_ms: u64) -> Result<Vec<String>, TopicError> {
        let mut expired = Vec::new();
        let all = self.ask(Command::Subscriptions).await?;
        for subscription in all.iter().filter(|one| one.durable && &*one.name != OF_COMPACTION) {
            match subscription.ask(|reply| subscription::Command::DeleteUnused { before_ms, reply }).await {
                Ok(()) => expired.push(subscription.name.to_string()),
                Err(SubscriptionError::ActiveConsumers | SubscriptionError::Closed) => {}
                Err(error) => return self.of(Err(error)),
            }
        }
        Ok(expired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_idle_since_somebody_looked_and_nothing_was_asked_of_it() {
        let mut activity = Activity::new();
        assert_eq!(activity.idle(true, true, 1), None);
        let first = activity.idle(false, true, 5).expect("nobody is there");
        assert_eq!((first.since_ms, activity.idle(false, true, 9)), (5, Some(first)));
        activity.note(&Command::Publish(Vec::new()));
        assert!(!activity.is_still(first), "somebody came and went");
        let second = activity.idle(false, false, 12).expect("and is gone");
        assert_eq!((second.since_ms, second.without_subscriptions, activity.is_still(second)), (12, false, true));
        activity.note(&Command::Trimmed);
        assert!(activity.is_still(second), "no client asked for that");
        assert_eq!(activity.idle(true, false, 20), None);
        assert_eq!(activity.idle(false, false, 30).map(|idle| idle.since_ms), Some(30));
    }
}
