//! What a topic heeds while it is used: how large messages may be, how many copies they have, how fast they come and go, how long they
//! wait, how many may be unacknowledged.
use ledger::QuorumPolicy;
use serde_json::Value;

use super::Effective;
use super::rows::{MESSAGE_SIZE, PERSISTENCE};
use crate::pace::Speed;

/// What counts for a topic. Changes reach it while it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Changes of policies that were known of before it was read: what has more is newer.
    pub(crate) seen: u64,
    pub(crate) delays: DelayTerms,
    /// Messages that a consumer of a Shared or Key_Shared subscription may hold unacknowledged. `None` is no limit.
    pub(crate) unacked_of_consumer: Option<u64>,
    /// The same for all of them together.
    pub(crate) unacked_of_subscription: Option<u64>,
    /// Larger messages are refused, but for those in chunks. `None`: the broker's own limit counts.
    pub(crate) message_bytes_max: Option<u64>,
    /// Of new ledgers. `None`: as the broker says.
    pub(crate) replication: Option<QuorumPolicy>,
    /// Of all producers together.
    pub(crate) publish: Speed,
    /// Of all subscriptions together.
    pub(crate) dispatch: Speed,
    /// Of each subscription.
    pub(crate) subscription_dispatch: Speed,
    /// Of each consumer: how often it may come.
    pub(crate) subscribe: Speed,
}

/// How messages wait for their time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DelayTerms {
    /// Whether what is read from now on does.
    pub(crate) active: bool,
    /// Times that lie so many milliseconds apart may be looked at together. 0: each by itself.
    pub(crate) tick_ms: u64,
    /// Longer delays are refused. `None` is no limit.
    pub(crate) max_ms: Option<u64>,
}

impl Default for DelayTerms {
    fn default() -> Self {
        Self { active: true, tick_ms: 0, max_ms: None }
    }
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            seen: 0,
            delays: DelayTerms::default(),
            unacked_of_consumer: Some(50_000),      // As in Apache Pulsar,
            unacked_of_subscription: Some(200_000), // these two.
            message_bytes_max: None,
            replication: None,
            publish: Speed::default(),
            dispatch: Speed::default(),
            subscription_dispatch: Speed::default(),
            subscribe: Speed::default(),
        }
    }
}

impl Terms {
    pub(super) fn of(effective: &Effective, seen: u64) -> Self {
        let default = Self::default();
        let plain = |key: &str| effective.plain(key);
        // 0 is no limit, also where there is one by default.
        let unacked = |key: &str, default: Option<u64>| match plain(key) {
            Value::Null => default,
            set => positive(&set),
        };
        let speed = |key: &str, messages: &str, bytes: &str| {
            let set = plain(key);
            let seconds = positive(&set["ratePeriodInSecond"]).unwrap_or(1);
            Speed {
                messages: positive(&set[messages]),
                bytes: positive(&set[bytes]),
                period_ms: seconds.saturating_mul(1000),
            }
        };
        let dispatch = |key| speed(key, "dispatchThrottlingRateInMsg", "dispatchThrottlingRateInByte");
        Self {
            seen,
            delays: delays(&plain("delayed_delivery_policies")),
            unacked_of_consumer: unacked("max_unacked_messages_per_consumer", default.unacked_of_consumer),
            unacked_of_subscription: unacked("max_unacked_messages_per_subscription", default.unacked_of_subscription),
            message_bytes_max: positive(&plain(MESSAGE_SIZE)),
            replication: replication(&plain(PERSISTENCE)),
            publish: speed("publishMaxMessageRate", "publishThrottlingRateInMsg", "publishThrottlingRateInByte"),
            dispatch: dispatch("topicDispatchRate"),
            subscription_dispatch: dispatch("subscriptionDispatchRate"),
            subscribe: speed("clusterSubscribeRate", "subscribeThrottlingRatePerConsumer", ""),
        }
    }
}

fn delays(set: &Value) -> DelayTerms {
    if set.is_null() {
        return DelayTerms::default();
    }
    DelayTerms {
        active: set["active"] == Value::Bool(true),
        tick_ms: positive(&set["tickTime"]).unwrap_or(0),
        max_ms: positive(&set["maxDeliveryDelayInMillis"]),
    }
}

/// What no page takes, but an earlier version did, is nothing.
fn replication(set: &Value) -> Option<QuorumPolicy> {
    let number = |name: &str| set[name].as_u64().and_then(|number| u32::try_from(number).ok());
    let (ensemble, write) = (number("bookkeeperEnsemble")?, number("bookkeeperWriteQuorum")?);
    let policy = QuorumPolicy { ensemble, write, ack: number("bookkeeperAckQuorum")? };
    policy.is_valid().then_some(policy)
}

fn positive(value: &Value) -> Option<u64> {
    value.as_u64().filter(|number| 0 < *number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn copies_are_as_many_as_make_sense_together() {
        let of = |ensemble: i64, write: i64, ack: i64| {
            let set =
                json!({"bookkeeperEnsemble": ensemble, "bookkeeperWriteQuorum": write, "bookkeeperAckQuorum": ack});
            replication(&set)
        };
        assert_eq!(of(5, 3, 2), Some(QuorumPolicy { ensemble: 5, write: 3, ack: 2 }));
        assert_eq!((of(2, 3, 2), of(2, 2, 0), of(-1, -1, -1), of(1000, 1, 1)), (None, None, None, None));
        assert_eq!(replication(&Value::Null), None);
    }

    #[test]
    fn what_is_set_of_delays_counts_as_a_whole() {
        assert_eq!(delays(&Value::Null), DelayTerms { active: true, tick_ms: 0, max_ms: None });
        let set = json!({"active": true, "tickTime": 5, "maxDeliveryDelayInMillis": 0});
        assert_eq!(delays(&set), DelayTerms { active: true, tick_ms: 5, max_ms: None });
        let off = json!({"active": false, "tickTime": 0, "maxDeliveryDelayInMillis": 7});
        assert_eq!(delays(&off), DelayTerms { active: false, tick_ms: 0, max_ms: Some(7) });
    }
}
