//! Whether a consumer may come in beside those who are there.
use std::collections::HashMap;

use proto::pulsar::command_subscribe::SubType;

use super::attached::Attached;
use super::consumers::Consumers;
use super::report::kind_name;
use super::slots::{KeyPolicy, RangeConflict, SlotRange};
use super::task::Task;
use super::{Attach, ConsumerHandle, SubscriptionError};
use crate::outbox::Serial;

/// Those who are there.
pub(super) struct Admission<'a> {
    pub(super) durable: bool,
    pub(super) kind: SubType,
    /// What they have agreed on, of a Key_Shared subscription.
    pub(super) keys: Option<KeyPolicy>,
    pub(super) consumers: &'a Consumers,
    pub(super) attached: &'a HashMap<Serial, Attached>,
}

impl Task {
    /// Whether a consumer may come in.
    pub(super) fn admit(&self, attach: &Attach) -> Result<ConsumerHandle, SubscriptionError> {
        let there = Admission {
            durable: self.durable,
            kind: self.dispatch.kind(),
            keys: self.dispatch.keys().map(|keys| keys.policy()),
            consumers: self.dispatch.consumers(),
            attached: &self.attached,
        };
        there.allow(attach, || self.dispatch.conflict(&attach.keys))?;
        let subscription = self.handle.upgrade().ok_or(SubscriptionError::Closed)?;
        Ok(ConsumerHandle { serial: attach.serial, subscription })
    }
}

impl Admission<'_> {
    /// `conflict` says why a Key_Shared consumer cannot have the slots that it names.
    pub(super) fn allow(
        &self,
        attach: &Attach,
        conflict: impl FnOnce() -> Option<RangeConflict>,
    ) -> Result<(), SubscriptionError> {
        if self.durable != attach.durable {
            return Err(SubscriptionError::NotAllowed(match self.durable {
                true => "Durable subscription with the same name already exists.".into(),
                false => "NonDurable subscription with the same name already exists.".into(),
            }));
        }
        let holder = self.attached.values().next().map(|attached| attached.client.outbox.clone());
        if holder.is_some()
            && let Some(text) = self.difference(attach)
        {
            return Err(SubscriptionError::Busy { text: text.into(), holder });
        }
        if holder.is_some() && attach.kind == SubType::Exclusive {
            return Err(SubscriptionError::Busy { text: "Exclusive consumer is already connected".into(), holder });
        }
        if attach.limits.consumers_of_subscription.is_some_and(|max| max <= self.attached.len()) {
            return Err(SubscriptionError::Busy {
                text: "Subscription reached max consumers limit".into(),
                holder: None,
            });
        }
        let names_keys = attach.kind == SubType::Exclusive && !attach.keys.ranges.is_empty();
        if (attach.kind == SubType::KeyShared || names_keys)
            && let Some(conflict) = conflict()
        {
            return Err(SubscriptionError::Keys(self.told(conflict)));
        }
        Ok(())
    }

    /// What a consumer wants otherwise than those who are there, in Apache Pulsar's words.
    fn difference(&self, attach: &Attach) -> Option<String> {
        let (active, wanted) = (self.kind, attach.kind);
        if active != wanted {
            return Some(format!(
                "Subscription is of different type. Active subscription type of '{}' is different than the connecting \
                 consumer's type '{}'.",
                kind_name(active),
                kind_name(wanted)
            ));
        }
        let (active, wanted) = (self.keys?, attach.keys.policy);
        if active.sticky != wanted.sticky {
            return Some(format!(
                "Subscription is of different type. Active subscription key_shared mode of '{}' is different than the \
                 connecting consumer's key_shared mode '{}'.",
                active.mode_name(),
                wanted.mode_name()
            ));
        }
        let text = match (active.out_of_order, wanted.out_of_order) {
            (false, true) => "does not allow out of order delivery while the connecting consumer allows it.",
            (true, false) => "allows out of order delivery while the connecting consumer does not allow it.",
            _ => return None,
        };
        Some(format!("Subscription is of different type. Active subscription {text}"))
    }

    fn told(&self, conflict: RangeConflict) -> String {
        let range = |range: SlotRange| format!("[{},{}]", range.start(), range.end());
        match conflict {
            RangeConflict::Empty => "Ranges for KeyShared policy must not be empty.".into(),
            RangeConflict::Reversed(one) => format!("Fixed hash range start > end for range: {}", range(one)),
            RangeConflict::Own(one, other) => {
                format!("Consumer's own ranges conflict: {} overlaps with {}", range(one), range(other))
            }
            RangeConflict::With(serial) => {
                let name = self.consumers.get(serial).map_or("", |consumer| &consumer.name);
                let address = self.attached.get(&serial).map_or("", |attached| &attached.client.address);
                format!("Range conflict with consumer Consumer{{consumerName={name}, address={address}}}")
            }
        }
    }
}
