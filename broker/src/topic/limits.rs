//! What policies say of how many there may be, where the topic decides it.
use proto::pulsar::ProducerAccessMode as Mode;

use super::producers::{AttachProducer, Producers};
use super::task::Topic;
use crate::subscription::{Attach, SubscriptionError, kind_name};

impl Producers {
    /// Whether one more is one too many. Who comes back does not count twice; who wants the topic for itself has other rules.
    pub(super) fn are_too_many(&self, name: &str, attach: &AttachProducer) -> bool {
        let comes_back = self.named(name).is_some_and(|there| there.is_succeeded_by(attach));
        let others = self.all.len() - usize::from(comes_back);
        attach.mode == Mode::Shared && attach.producers_max.is_some_and(|max| max <= others)
    }
}

impl Topic {
    /// Whether a consumer may come in, as far as that is not for its subscription to say. In the order in which Apache Pulsar looks.
    pub(super) fn may_subscribe(&self, name: &str, attach: &Attach) -> Result<(), SubscriptionError> {
        let (topic, limits) = (&self.shared.name, &attach.limits);
        let there = self.subscriptions.get(name).is_some_and(|there| !there.is_closed());
        if attach.durable && !there && !limits.makes_subscriptions {
            return Err(SubscriptionError::NotFound);
        }
        if !limits.allows(attach.kind) {
            let text = format!("Topic[{{{topic}}}] doesn't support {} sub type!", kind_name(attach.kind));
            return Err(SubscriptionError::NotAllowed(text.into()));
        }
        self.attendance.has_room(limits.consumers)?;
        if !there && limits.subscriptions.is_some_and(|max| max <= self.open_subscriptions().len()) {
            let text = format!("Exceed the maximum number of subscriptions of the topic: {topic}");
            return Err(SubscriptionError::NotAllowed(text.into()));
        }
        Ok(())
    }
}
