//! When a topic that nobody uses goes.
use std::time::Duration;

use serde_json::{Value, json};

/// What counts where nothing is said of it, as in Apache Pulsar standalone.
const AFTER: Duration = Duration::from_secs(60);

/// It goes once it has had no producer and no consumer for so long, and these besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inactivity {
    pub(crate) after: Duration,
    /// Subscriptions may be there if they have acknowledged everything; else there must be none.
    pub(crate) caught_up_is_enough: bool,
}

impl Inactivity {
    pub(super) fn of(policy: &Value) -> Option<Self> {
        if policy["deleteWhileInactive"] != json!(true) {
            return None;
        }
        let seconds = policy["maxInactiveDurationSeconds"].as_u64().filter(|seconds| 0 < *seconds);
        Some(Self {
            after: seconds.map_or(AFTER, Duration::from_secs),
            caught_up_is_enough: policy["inactiveTopicDeleteMode"] == json!("delete_when_subscriptions_caught_up"),
        })
    }
}

/// What is shown where no policy is set.
pub(super) fn none() -> Value {
    json!({"inactiveTopicDeleteMode": "delete_when_no_subscriptions", "maxInactiveDurationSeconds": AFTER.as_secs(),
           "deleteWhileInactive": false})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_stays_unless_a_policy_says_otherwise() {
        assert_eq!(Inactivity::of(&Value::Null), None);
        assert_eq!(Inactivity::of(&none()), None);
        let policy = |mode: &str| json!({"deleteWhileInactive": true, "maxInactiveDurationSeconds": 5, "inactiveTopicDeleteMode": mode});
        let after = Duration::from_secs(5);
        let of = |mode| Inactivity::of(&policy(mode));
        assert_eq!(of("delete_when_no_subscriptions"), Some(Inactivity { after, caught_up_is_enough: false }));
        assert_eq!(of("delete_when_subscriptions_caught_up"), Some(Inactivity { after, caught_up_is_enough: true }));
        assert_eq!(Inactivity::of(&json!({"deleteWhileInactive": true})).map(|policy| policy.after), Some(AFTER));
    }
}
