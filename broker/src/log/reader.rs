//! Reading a log.
use bytes::Bytes;
use proto::Position;
use tokio::sync::watch;

use super::{Chain, ChainLedger, LogError};

/// An entry and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredEntry {
    /// Its place.
    pub position: Position,
    /// As published.
    pub bytes: Bytes,
}

/// Reads a topic's log as far as it is confirmed. Cheap to clone; each sequential reader has its own clone.
#[derive(Debug, Clone)]
pub(crate) struct LogReader {}

impl LogReader {
    /// Changes with every confirmation: the position after the last confirmed entry.
    pub(crate) fn tail(&self) -> watch::Receiver<Position> {
        unreachable!("not built yet")
    }

    /// Runs `f` on the chain as it is now. Short: appends wait meanwhile.
    pub(crate) fn with_chain<R>(&self, f: impl FnOnce(&Chain) -> R) -> R {
        let _ = f;
        unreachable!("not built yet")
    }

    /// The first existing position, or the end.
    pub(crate) fn first(&self) -> Position {
        self.with_chain(Chain::first)
    }

    /// The position after the last confirmed entry.
    pub(crate) fn end(&self) -> Position {
        self.with_chain(Chain::end)
    }

    /// The last confirmed entry.
    pub(crate) fn last(&self) -> Option<Position> {
        self.with_chain(Chain::last)
    }

    /// The first existing position not before `position`, or the end.
    pub(crate) fn at_or_after(&self, position: Position) -> Position {
        self.with_chain(|chain| chain.at_or_after(position))
    }

    /// The last existing position before `position`.
    pub(crate) fn before(&self, position: Position) -> Option<Position> {
        self.with_chain(|chain| chain.before(position))
    }

    /// Whether an entry lies there.
    pub(crate) fn contains(&self, position: Position) -> bool {
        self.with_chain(|chain| chain.contains(position))
    }

    /// Entries in `[from, to)`.
    pub(crate) fn count(&self, from: Position, to: Position) -> u64 {
        self.with_chain(|chain| chain.count(from, to))
    }

    /// The ledgers, in order. The last may be open: then its numbers are of what is confirmed.
    pub(crate) fn chain(&self) -> Vec<ChainLedger> {
        self.with_chain(|chain| chain.ledgers().to_vec())
    }

    /// Entries from the first existing one not before `from`, in order: at most `entries_max`, at most `bytes_max` but at least one.
    /// May return fewer than there are; returns none only at the end. Never waits for entries to come. Cancel safe.
    pub(crate) async fn read(
        &self,
        from: Position,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<StoredEntry>, LogError> {
        let _ = (from, entries_max, bytes_max);
        unreachable!("not built yet")
    }
}
