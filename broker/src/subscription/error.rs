//! Why a subscription does not do what was asked.
use std::borrow::Cow;

use crate::log::LogError;
use crate::outbox::Outbox;

/// Named by what the asker does next.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum SubscriptionError {
    /// Others hold it. When there is one who does, it may be worth asking whether it still lives.
    #[error("{text}")]
    Busy { text: Cow<'static, str>, holder: Option<Outbox> },
    /// The keys that a consumer wants are not to be had.
    #[error("{0}")]
    Keys(String),
    /// There is none of that name, and it is not to be made.
    #[error("Subscription not found")]
    NotFound,
    /// It will not be done.
    #[error("{0}")]
    NotAllowed(Cow<'static, str>),
    /// Consumers are in the way.
    #[error("Subscription has active connected consumers")]
    ActiveConsumers,
    /// Not from this consumer, or not while others are there.
    #[error("{0}")]
    Refused(&'static str),
    /// It has just ended: ask the topic again.
    #[error("subscription is closed")]
    Closed,
    /// Try again.
    #[error(transparent)]
    Log(#[from] LogError),
}
