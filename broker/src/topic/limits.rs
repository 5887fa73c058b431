//! What policies say of how many there may be, where the topic decides it.
use proto::TopicName;
use proto::pulsar::ProducerAccessMode as Mode;

use super::arrivals::Who;
use super::producers::{AttachProducer, Producers};
use super::task::Topic;
use crate::subscription::{Attach, Attendance, SubscriptionError, kind_name};

impl Producers {
    /// Whether one more is one too many. Who comes back does not count twice; who wants the topic for itself has other rules.
    pub(super) fn are_too_many(&self, name: &str, attach: &AttachProducer) -> bool {
        let comes_back = self.named(name).is_some_and(|there| there.is_succeeded_by(attach));
        let others = self.all.len() - usize::from(comes_back);
        attach.mode == Mode::Shared && attach.producers_max.is_some_and(|max| max <= others)
    }
}

impl Topic {
    /// Whether a consumer may come in, as far as that is not for its subscription to say.
    pub(super) fn may_subscribe(&mut self, name: &str, attach: &Attach) -> Result<(), SubscriptionError> {
        let now_ms = self.registry.clock.now_ms();
        if !self.arrivals.admit(Who::wants(attach), self.shared.heeded.terms().subscribe, now_ms) {
            let text = "Subscribe limited by subscribe rate limit per consumer.";
            return Err(SubscriptionError::NotAllowed(text.into()));
        }
        let there = self.subscriptions.get(name).is_some_and(|there| !there.is_closed());
        if attach.durable && !there && !attach.limits.makes_subscriptions {
            return Err(SubscriptionError::NotFound);
        }
        let others = (!there).then(|| self.open_subscriptions().len());
        may_subscribe(&self.shared.name, attach, &self.attendance, others)
    }
}

/// What policies say of a consumer, in the order in which Apache Pulsar looks. `others`: subscriptions beside the one that would be made
/// for it.
pub(super) fn may_subscribe(
    topic: &TopicName,
    attach: &Attach,
    attendance: &Attendance,
    others: Option<usize>,
) -> Result<(), SubscriptionError> {
    let limits = &attach.limits;
    if !limits.allows(attach.kind) {
        let text = format!("Topic[{{{topic}}}] doesn't support {} sub type!", kind_name(attach.kind));
        return Err(SubscriptionError::NotAllowed(text.into()));
    }
    attendance.has_room(limits.consumers)?;
    if others.is_some_and(|others| limits.subscriptions.is_some_and(|max| max <= others)) {
        let text = format!("Exceed the maximum number of subscriptions of the topic: {topic}");
        return Err(SubscriptionError::NotAllowed(text.into()));
    }
    Ok(())
}
