//! What the broker itself says, which bounds policies.

/// As it is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OfBroker {
    /// Larger messages are not taken, whatever policies say.
    pub(crate) message_bytes_max: u64,
}
