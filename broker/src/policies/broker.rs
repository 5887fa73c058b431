//! What the broker itself says, which bounds policies and counts where they say nothing.
use ledger::QuorumPolicy;
use serde_json::{Value, json};

/// As it is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OfBroker {
    /// Larger messages are not taken, whatever policies say.
    pub(crate) message_bytes_max: u64,
    /// Of new ledgers, where policies say nothing.
    pub(crate) quorum: QuorumPolicy,
}

impl OfBroker {
    /// As the page of `persistence` shows it.
    pub(super) fn persistence(&self) -> Value {
        let QuorumPolicy { ensemble, write, ack } = self.quorum;
        json!({"bookkeeperEnsemble": ensemble, "bookkeeperWriteQuorum": write, "bookkeeperAckQuorum": ack,
               "managedLedgerMaxMarkDeleteRate": 1.0})
    }
}
