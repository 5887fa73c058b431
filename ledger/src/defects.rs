//! Defects that other implementations had, to be put back in on purpose: the simulation must find each of them.

/// One of them. The names are those of the list in the specification of the ledger protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defect {
    /// D-1: a recovery's reads do not fence.
    ReadsDoNotFence,
    /// D-2: a recovery begins at what bookies report, even if that is below the last fragment.
    RecoveryBeginsBelowFragment,
    /// D-3: acknowledgements of members that are being replaced still count.
    AcknowledgementsCountWhileChanging,
    /// D-10: the confirmed end that a recovery shows to bookies moves with what it writes back.
    ConfirmedEndMoves,
}
