//! What a backlog is made of, counted by reading it.
use proto::Position;
use proto::entry::head_of_stored;

use super::{TopicError, TopicHandle};
use crate::subscription;

/// Entries that are looked at, as in Apache Pulsar.
const ENTRIES_MAX: usize = 10_000;
/// Entries and bytes that one read asks for.
const READ: (usize, usize) = (1000, 1 << 20);

/// What a subscription has not acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Analysis {
    pub(crate) entries: u64,
    /// Those of a batch are counted whether or not some of them are acknowledged.
    pub(crate) messages: u64,
    pub(crate) first: Option<Position>,
    pub(crate) last: Option<Position>,
    /// There is more than was counted.
    pub(crate) incomplete: bool,
}

impl TopicHandle {
    /// Reads what a subscription has not acknowledged, from a position on: as long as there is something, at most ten thousand entries.
    /// Changes nothing, so it may be dropped at any time.
    pub(crate) async fn analyze_backlog(&self, name: &str, from: Position) -> Result<Analysis, TopicError> {
        let subscription = self.find(name, None).await?;
        let entries_max = ENTRIES_MAX + 1;
        let ask = |reply| subscription::Command::Unacknowledged { from, entries_max, reply };
        let mut waiting = self.of(subscription.ask(ask).await)?;
        let mut analysis = Analysis { incomplete: ENTRIES_MAX < waiting.len(), ..Analysis::default() };
        waiting.truncate(ENTRIES_MAX);
        let mut left = waiting.as_slice();
        while let Some(first) = left.first() {
            let read = self.shared.reader.read(*first, READ.0, READ.1).await.map_err(|error| self.log_error(&error))?;
            let Some(end) = read.last().map(|entry| entry.position.next()) else { break }; // Trimmed meanwhile.
            for entry in read.iter().filter(|entry| left.binary_search(&entry.position).is_ok()) {
                analysis.entries += 1;
                analysis.messages += u64::from(head_of_stored(&entry.bytes).map_or(1, |head| head.messages()));
                analysis.first = analysis.first.or(Some(entry.position));
                analysis.last = Some(entry.position);
            }
            left = &left[left.partition_point(|position| *position < end)..];
        }
        Ok(analysis)
    }
}
