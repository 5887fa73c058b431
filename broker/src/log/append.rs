//! Appending: a value that the topic task drives.
use bytes::Bytes;
use proto::Position;

use super::{LogError, LogReader};

/// The end of a topic's log.
#[derive(Debug)]
pub(crate) struct TopicLog {
    reader: LogReader,
}

/// What became of appends.
#[derive(Debug)]
pub(crate) enum Settled {
    /// The next `count` appends, in order, lie at `first` and after it, in one ledger.
    Confirmed {
        /// Of the first of them.
        first: Position,
        /// How many.
        count: usize,
    },
    /// Nothing more will be confirmed: stop answering for the topic, and load it again. Returned once.
    Lost(LogError),
}

impl TopicLog {
    /// Takes an entry. The order of calls is the order of positions.
    pub(crate) fn append(&mut self, entry: Bytes) {
        drop(entry);
        unreachable!("not built yet")
    }

    /// Hands over what was appended to the bookies. Call it after a batch of appends. Returns at once.
    pub(crate) fn flush(&mut self) {
        unreachable!("not built yet")
    }

    /// Bytes appended and not settled: take no more when they are too many.
    pub(crate) fn unconfirmed_bytes(&self) -> usize {
        unreachable!("not built yet")
    }

    /// What became of the next appends. Waits forever when nothing is in flight. Cancel safe.
    pub(crate) async fn settled(&mut self) -> Settled {
        unreachable!("not built yet")
    }

    /// Reads this log, as far as it is confirmed.
    pub(crate) fn reader(&self) -> LogReader {
        self.reader.clone()
    }

    /// Waits for what is in flight, closes the ledger and the cursor log. The next load has nothing to recover then.
    pub(crate) async fn close(self) -> Result<(), LogError> {
        unreachable!("not built yet")
    }
}
