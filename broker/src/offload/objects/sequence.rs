//! How far ahead a reader reads: further while it goes on where it stopped.
use proto::EntryId;

use super::OffloadedLedger;
use crate::offload::name::AttemptId;

/// What a reader that knows nothing yet asks for.
const WINDOW_MIN: usize = 1 << 20;
/// The most that one request asks for.
pub(super) const WINDOW_MAX: usize = 16 << 20;

/// Remembers where a sequential reader is. Each has its own, and passes it to every read. A default one has not read yet.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sequence {
    place: Option<(AttemptId, EntryId)>,
    window: usize,
    /// Bytes read since the window grew last.
    since: usize,
}

impl Sequence {
    /// Before a read: whether it goes on where the last one stopped, and how much to ask for. The first entry of a ledger goes on
    /// from the one before.
    pub(super) fn begin(&mut self, ledger: &OffloadedLedger, entry: EntryId) -> Reach {
        let place = (ledger.attempt.id, entry);
        let on = self.place.is_some_and(|next| next == place || (next.0 != place.0 && entry == EntryId::FIRST));
        if !on {
            *self = Self::default();
        }
        self.window = self.window.max(WINDOW_MIN);
        Reach { window: self.window, ahead: on }
    }

    /// How much the next read may ask for, if it goes on.
    pub(super) fn window(&self) -> usize {
        self.window
    }

    /// After a read. The window grows fourfold each time a whole one was read, so that readers at the same place have the same.
    pub(super) fn end(&mut self, ledger: &OffloadedLedger, next: EntryId, bytes: usize) {
        self.place = Some((ledger.attempt.id, next));
        self.since += bytes;
        if self.window <= self.since {
            self.since = 0;
            self.window = (4 * self.window).min(WINDOW_MAX);
        }
    }
}

/// How much a read may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reach {
    pub(super) window: usize,
    /// Whether to ask for what follows before it is wanted.
    pub(super) ahead: bool,
}
