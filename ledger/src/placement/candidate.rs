//! What is known of a bookie that may be chosen.
use proto::BookieId;

/// Whether a bookie takes requests, as it says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It takes writes.
    Ready,
    /// It can only be read.
    ReadOnly,
    /// It is not registered as available.
    Away,
}

/// A bookie whose identity is known and not retired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) bookie: BookieId,
    /// Bookies with the same text fail together; of a path the first part is the zone. Empty when it was not told.
    pub(crate) rack: String,
    pub(crate) condition: Condition,
    /// What it holds is being copied elsewhere, so that it can go.
    pub(crate) draining: bool,
    /// Why this process thinks ill of it.
    pub(crate) suspect: Option<&'static str>,
    /// Of its disk, when it was told.
    pub(crate) free_bytes: Option<u64>,
}

impl Candidate {
    /// A bookie that is read-only takes what is urgent, and others are better.
    pub(crate) fn take_urgent(&mut self) {
        if self.condition == Condition::ReadOnly {
            (self.condition, self.suspect) = (Condition::Ready, Some("is read-only"));
        }
    }

    /// Whether it takes writes now.
    pub(crate) fn is_live(&self) -> bool {
        self.condition == Condition::Ready
    }

    /// Smaller is better. 0: without fault; 1: only suspect.
    pub(super) fn preference(&self) -> u8 {
        match (self.condition, self.draining) {
            (Condition::Ready, false) => u8::from(self.suspect.is_some()),
            (Condition::Ready, true) => 2,
            (Condition::Away, false) => 3,
            (Condition::ReadOnly, false) => 4,
            (Condition::Away | Condition::ReadOnly, true) => 5,
        }
    }

    /// Why it takes no writes or is not liked, for people.
    pub(crate) fn reason(&self) -> Option<String> {
        let reason = match self.condition {
            Condition::Away => "is not registered as available",
            Condition::ReadOnly => "is read-only",
            Condition::Ready if self.draining => "is being drained",
            Condition::Ready => self.suspect?,
        };
        Some(format!("{} {reason}", self.bookie))
    }
}
