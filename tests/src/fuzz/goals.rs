//! What the inputs of each target must lead to. A body whose inputs are all turned away at the door finds nothing, and nobody would notice.
use super::Event;

/// What a target is run for. A run that does not get there is a test of nothing.
#[derive(Debug)]
pub struct Goals {
    /// An input that gets through leads to this event, once.
    pub through: Event,
    /// How many of a hundred inputs must get through.
    pub percent: u64,
    /// What must come up at all.
    pub events: &'static [Event],
}

/// Each way a stream can go on.
pub(super) const FRAME: Goals = Goals {
    through: ("input", "with a frame"),
    percent: 20,
    events: &[
        ("frame", "whole"),
        ("frame", "with an entry"),
        ("stream", "read to its end"),
        ("refused", "too large"),
        ("refused", "truncated"),
        ("refused", "command"),
    ],
};

/// Each kind that clients say.
pub(super) const COMMAND: Goals = Goals {
    through: ("input", "decoded"),
    percent: 15,
    events: &[
        ("decoded", "CONNECT"),
        ("decoded", "PRODUCER"),
        ("decoded", "SEND"),
        ("decoded", "SUBSCRIBE"),
        ("decoded", "FLOW"),
        ("decoded", "ACK"),
        ("decoded", "REDELIVER_UNACKNOWLEDGED_MESSAGES"),
        ("decoded", "SEEK"),
        ("decoded", "UNSUBSCRIBE"),
        ("decoded", "CLOSE_CONSUMER"),
        ("decoded", "CLOSE_PRODUCER"),
        ("decoded", "GET_LAST_MESSAGE_ID"),
        ("decoded", "CONSUMER_STATS"),
        ("decoded", "LOOKUP"),
        ("decoded", "PARTITIONED_METADATA"),
        ("decoded", "GET_TOPICS_OF_NAMESPACE"),
        ("decoded", "WATCH_TOPIC_LIST"),
        ("decoded", "GET_SCHEMA"),
        ("decoded", "GET_OR_CREATE_SCHEMA"),
        ("decoded", "PING"),
        ("decoded", "NEW_TXN"),
        ("refused", "command"),
    ],
};

/// Each way an entry is good or bad.
pub(super) const ENTRY: Goals = Goals {
    through: ("input", "with metadata"),
    percent: 15,
    events: &[
        ("checksum", "right"),
        ("checksum", "wrong"),
        ("checksum", "absent"),
        ("refused", "truncated"),
        ("refused", "metadata"),
        ("refused", "incomplete"),
        ("stored", "with metadata"),
        ("stored", "refused"),
        ("batch", "of several"),
        ("batch", "truncated"),
        ("batch", "metadata"),
        ("key", "of bytes"),
        ("key", "of text"),
        ("key", "of none"),
    ],
};

/// Each request granted and refused, and each thing a server says by itself.
pub(super) const SESSION: Goals = Goals {
    through: ("script", "with a delivery"),
    percent: 15,
    events: &[
        ("granted", "PRODUCER"),
        ("granted", "SUBSCRIBE"),
        ("granted", "SEEK"),
        ("granted", "UNSUBSCRIBE"),
        ("granted", "CLOSE_CONSUMER"),
        ("granted", "CLOSE_PRODUCER"),
        ("granted", "GET_LAST_MESSAGE_ID"),
        ("granted", "CONSUMER_STATS"),
        ("granted", "LOOKUP"),
        ("granted", "PARTITIONED_METADATA"),
        ("granted", "GET_TOPICS_OF_NAMESPACE"),
        ("granted", "WATCH_TOPIC_LIST"),
        ("granted", "WATCH_TOPIC_LIST_CLOSE"),
        ("granted", "GET_SCHEMA"),
        ("granted", "GET_OR_CREATE_SCHEMA"),
        ("granted", "ACK"),
        ("refused", "PRODUCER"),
        ("refused", "SUBSCRIBE"),
        ("refused", "SEEK"),
        ("refused", "GET_SCHEMA"),
        ("refused", "GET_OR_CREATE_SCHEMA"),
        ("refused", "NEW_TXN"),
        ("heard", "CONNECTED"),
        ("heard", "SEND_RECEIPT"),
        ("heard", "SEND_ERROR"),
        ("heard", "MESSAGE"),
        ("heard", "PONG"),
        ("heard", "ACTIVE_CONSUMER_CHANGE"),
        ("heard", "CLOSE_PRODUCER"),
        ("heard", "CLOSE_CONSUMER"),
        ("heard", "REACHED_END_OF_TOPIC"),
        ("heard", "WATCH_TOPIC_UPDATE"),
        ("administration", "did it"),
        ("administration", "refused"),
        ("script", "hung up on"),
    ],
};
