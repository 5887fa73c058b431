//! Defects put in on purpose. The simulation must find each.
use bookie::{SimDisk, Store};
use ledger::QuorumLedgers;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defect {
    /// S2: bookies answer before the sync, so that a loss of power takes entries, and say No afterwards.
    AnswersBeforeTheSync,
    #[cfg(feature = "defects")]
    Bookie(bookie::Defect),
    #[cfg(feature = "defects")]
    Ledger(ledger::Defect),
}

impl Defect {
    pub(crate) fn plant(self, store: Store, disk: &SimDisk) -> Store {
        match self {
            Self::AnswersBeforeTheSync => {
                disk.sync_nothing();
                store
            }
            #[cfg(feature = "defects")]
            Self::Bookie(defect) => {
                let mut store = store;
                store.plant(defect);
                store
            }
            #[cfg(feature = "defects")]
            Self::Ledger(_) => store,
        }
    }

    pub(crate) fn plant_in_process(self, ledgers: QuorumLedgers) -> QuorumLedgers {
        match self {
            #[cfg(feature = "defects")]
            Self::Ledger(defect) => ledgers.with_defect(Some(defect)),
            _ => ledgers,
        }
    }

    /// All that this build can put in.
    pub(crate) fn all() -> Vec<Self> {
        vec![
            Self::AnswersBeforeTheSync,
            #[cfg(feature = "defects")]
            Self::Bookie(bookie::Defect::TwoDescriptors),
            #[cfg(feature = "defects")]
            Self::Bookie(bookie::Defect::FencesAreNotKept),
            #[cfg(feature = "defects")]
            Self::Bookie(bookie::Defect::LossesAreDenied),
            #[cfg(feature = "defects")]
            Self::Ledger(ledger::Defect::ReadsDoNotFence),
            #[cfg(feature = "defects")]
            Self::Ledger(ledger::Defect::RecoveryBeginsBelowFragment),
            #[cfg(feature = "defects")]
            Self::Ledger(ledger::Defect::AcknowledgementsCountWhileChanging),
            #[cfg(feature = "defects")]
            Self::Ledger(ledger::Defect::ConfirmedEndMoves),
        ]
    }
}
