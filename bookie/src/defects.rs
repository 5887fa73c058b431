//! Defects that other bookies had, to be put back in on purpose: the simulation must find each of them.
use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;
use proto::LedgerId;

/// One of them. The names are those of the list in the specification of the ledger protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// D-5: there are two descriptors of a ledger, and adds do not see the fence of the other.
    TwoDescriptors,
    /// S1: a fence is in memory only, and a start forgets it.
    FencesAreNotKept,
    /// S2: a bookie whose store was damaged says No where it may have held an entry.
    LossesAreDenied,
}

/// What was put in, and what it makes the journal believe.
#[derive(Debug, Default)]
pub(crate) struct Planted {
    pub(crate) defect: Option<Defect>,
    // Only the journal's thread comes here.
    descriptors: Mutex<HashMap<LedgerId, bool>>,
    fences: Mutex<HashSet<LedgerId>>,
}

impl Planted {
    /// Whether an add finds the ledger fenced.
    pub(crate) fn is_fenced(&self, ledger: LedgerId, fenced: bool) -> bool {
        match self.defect {
            None | Some(Defect::LossesAreDenied) => fenced,
            Some(Defect::TwoDescriptors) => *self.descriptors.lock().entry(ledger).or_insert(fenced),
            Some(Defect::FencesAreNotKept) => fenced || self.fences.lock().contains(&ledger),
        }
    }

    /// Whether a fence is kept on disk.
    pub(crate) fn keeps_fence(&self, ledger: LedgerId) -> bool {
        if self.defect == Some(Defect::FencesAreNotKept) {
            self.fences.lock().insert(ledger);
            return false;
        }
        true
    }
}
