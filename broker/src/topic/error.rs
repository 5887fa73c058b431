//! Why a topic, a producer or a subscription does not do what was asked.
use std::borrow::Cow;

use proto::TopicName;

use crate::log::LogError;
use crate::subscription::SubscriptionError;

/// Named by what the asker does next. [`crate::connection`] turns each into the protocol's code, the HTTP side into a status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TopicError {
    /// There is no such topic. Create it or give up.
    #[error("Topic {0} does not exist")]
    NotFound(TopicName),
    /// Another broker serves it, or will: look it up again.
    #[error("Topic {0} is not served by this broker")]
    NotOwner(TopicName),
    /// It is being closed, moved or reloaded: try again.
    #[error("Topic {0} is temporarily unavailable")]
    Unavailable(TopicName),
    /// Producers or connected consumers are in the way of a delete without force.
    #[error("Topic has active producers/subscriptions")]
    ActiveUsers,
    /// A producer is in the way that lives on another connection: of the same name, or with the topic for itself.
    #[error("{0}")]
    ProducerBusy(String),
    /// Another producer has the topic for itself, or has had it since: this one stays out for good.
    #[error("{0}")]
    ProducerFenced(String),
    /// The topic takes no more messages, for ever.
    #[error("Topic was already terminated")]
    Terminated,
    /// Too much waits for subscriptions: come again, and keep what is to be sent.
    #[error("Cannot create producer on topic with backlog quota exceeded")]
    BacklogHeld,
    /// The same, and whoever wants to send is told that it cannot.
    #[error("Cannot create producer on topic with backlog quota exceeded")]
    BacklogFull,
    /// Another consumer holds the subscription.
    #[error("{0}")]
    ConsumerBusy(Cow<'static, str>),
    /// The keys that a consumer wants are not to be had.
    #[error("{0}")]
    ConsumerKeys(String),
    /// There is no such subscription.
    #[error("Subscription does not exist")]
    SubscriptionNotFound,
    /// A subscription of that name is there already.
    #[error("Subscription already exists for topic")]
    SubscriptionExists,
    /// It will not be done, now or later.
    #[error("{0}")]
    NotAllowed(Cow<'static, str>),
    /// The state of the subscription speaks against it.
    #[error("{0}")]
    Refused(&'static str),
    /// Storage or metadata failed: try again later.
    #[error("{0}")]
    Storage(String),
}

impl TopicError {
    pub(super) fn from_log(error: &LogError, name: &TopicName) -> Self {
        match error {
            LogError::NotFound { .. } => Self::NotFound(name.clone()),
            LogError::Fenced { .. } | LogError::Outdated { .. } | LogError::Closed => Self::Unavailable(name.clone()),
            LogError::DataMissing { .. }
            | LogError::Corrupt { .. }
            | LogError::Object(_)
            | LogError::Ledger(_)
            | LogError::Metadata(_) => Self::Storage(error.to_string()),
        }
    }

    pub(crate) fn from_subscription(error: &SubscriptionError, name: &TopicName) -> Self {
        match error {
            SubscriptionError::Busy { text, .. } => Self::ConsumerBusy(text.clone()),
            SubscriptionError::Keys(text) => Self::ConsumerKeys(text.clone()),
            SubscriptionError::NotFound => Self::SubscriptionNotFound,
            SubscriptionError::NotAllowed(text) => Self::NotAllowed(text.clone()),
            SubscriptionError::ActiveConsumers => Self::ActiveUsers,
            SubscriptionError::Refused(text) => Self::Refused(text),
            SubscriptionError::Closed => Self::Unavailable(name.clone()),
            SubscriptionError::Log(error) => Self::from_log(error, name),
        }
    }
}
