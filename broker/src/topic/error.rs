//! Why a topic, a producer or a subscription does not do what was asked.

/// Named by what the asker does next. [`crate::connection`] turns each into the protocol's code, the HTTP side into a status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TopicError {
    /// There is no such topic. Create it or give up.
    #[error("Topic not found: {0}")]
    NotFound(String),
    /// Another broker serves it, or will: look it up again.
    #[error("Topic is not served by this broker: {0}")]
    NotOwner(String),
    /// It is being closed, moved or reloaded: try again.
    #[error("Topic is temporarily unavailable: {0}")]
    Unavailable(String),
    /// Producers or connected consumers are in the way of a delete without force.
    #[error("Topic has active producers/subscriptions")]
    ActiveUsers,
    /// A producer of that name is alive on another connection.
    #[error("Producer with name '{0}' is already connected to topic")]
    ProducerBusy(String),
    /// Another consumer holds the subscription.
    #[error("{0}")]
    ConsumerBusy(String),
    /// There is no such subscription.
    #[error("Subscription not found")]
    SubscriptionNotFound,
    /// A subscription of that name is there already.
    #[error("Subscription already exists for topic")]
    SubscriptionExists,
    /// It will not be done, now or later.
    #[error("{0}")]
    NotAllowed(String),
    /// The state of the subscription speaks against it.
    #[error("{0}")]
    Refused(String),
    /// Storage or metadata failed: try again later.
    #[error("{0}")]
    Storage(String),
}
