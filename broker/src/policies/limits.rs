//! How many producers, consumers and subscriptions a topic may have, and of which kinds.
use proto::pulsar::command_subscribe::SubType;
use serde_json::{Value, json};

use super::Effective;

/// What counts for a topic. `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) producers: Option<usize>,
    /// Of all subscriptions together.
    pub(crate) consumers: Option<usize>,
    pub(crate) consumers_of_subscription: Option<usize>,
    pub(crate) subscriptions: Option<usize>,
    /// Whether a durable subscription comes into being because a consumer names it.
    pub(crate) makes_subscriptions: bool,
    /// Exclusive, Shared, Failover, Key_Shared, as the protocol numbers them.
    kinds: [bool; 4],
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            producers: None,
            consumers: None,
            consumers_of_subscription: None,
            subscriptions: None,
            makes_subscriptions: true,
            kinds: [true; 4],
        }
    }
}

impl Limits {
    pub(super) fn of(effective: &Effective) -> Self {
        // 0 is no limit, also where the level above has one.
        let number = |key: &str| effective.plain(key).as_u64().filter(|max| 0 < *max).map(saturating);
        let kinds = effective.plain("subscription_types_enabled");
        let is_enabled = |name: &str| match &kinds {
            Value::Array(enabled) => enabled.contains(&json!(name)),
            _ => true,
        };
        let makes = &effective.plain("autoSubscriptionCreationOverride")["allowAutoSubscriptionCreation"];
        Self {
            producers: number("max_producers_per_topic"),
            consumers: number("max_consumers_per_topic"),
            consumers_of_subscription: number("max_consumers_per_subscription"),
            subscriptions: number("max_subscriptions_per_topic"),
            makes_subscriptions: *makes != json!(false),
            kinds: ["Exclusive", "Shared", "Failover", "Key_Shared"].map(is_enabled),
        }
    }

    /// Whether consumers of a kind may come.
    pub(crate) fn allows(&self, kind: SubType) -> bool {
        usize::try_from(i32::from(kind)).ok().and_then(|at| self.kinds.get(at)).copied().unwrap_or(false)
    }
}

fn saturating(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
