//! Defects that other implementations had, to be put back in on purpose: the simulations must find each of them.
//!
//! Never: in a program that people run. Without the feature `defects` there is no way to put one in.

/// One of them. The names are those of the list in the specification of the ledger protocol.
#[cfg_attr(not(feature = "defects"), expect(unreachable_pub, reason = "only the simulation names them"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// D-1: a recovery's reads do not fence.
    ReadsDoNotFence,
    /// D-2: a recovery begins at what bookies report, even if that is below the last fragment.
    RecoveryBeginsBelowFragment,
    /// D-3: acknowledgements of members that are being replaced still count.
    AcknowledgementsCountWhileChanging,
    /// D-10: the confirmed end that a recovery shows to bookies moves with what it writes back.
    ConfirmedEndMoves,
}

/// What was put in: at most one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Planted {
    #[cfg(any(test, feature = "defects"))]
    defect: Option<Defect>,
}

#[cfg(any(test, feature = "defects"))]
impl From<Option<Defect>> for Planted {
    fn from(defect: Option<Defect>) -> Self {
        Self { defect }
    }
}

impl Planted {
    #[cfg(any(test, feature = "defects"))]
    pub(crate) fn is(self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    #[cfg(not(any(test, feature = "defects")))]
    pub(crate) const fn is(self, _: Defect) -> bool {
        let Self {} = self;
        false
    }
}
