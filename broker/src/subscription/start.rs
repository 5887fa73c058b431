//! Where a subscription starts, and where it is moved to.
use std::sync::Arc;

use proto::entry::head_of_stored;
use proto::{EntryId, Position};

use crate::cursor::AckSet;
use crate::log::{ChainLedger, LogError, LogReader};

/// Where a subscription starts or is moved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SubscribeAt {
    /// Before everything that is kept.
    Earliest,
    /// After everything that is there.
    Latest,
    /// At this position: what lies there is delivered.
    Position(Position),
    /// In the middle of a batch: a bit that is set is a message that is delivered.
    Inside(Position, Arc<[u64]>),
    /// At the first entry published at that time or later, in milliseconds since 1970.
    Time(u64),
}

impl SubscribeAt {
    /// What counts as acknowledged then: everything below the first entry that is delivered. What compaction has left may begin before
    /// the chain does.
    pub(crate) async fn resolve(&self, reader: &LogReader, compacted: bool) -> Result<AckSet, LogError> {
        if let Some(horizon) = reader.compacted().filter(|_| compacted).map(|compacted| compacted.horizon)
            && let Some(position) = self.below(horizon, reader).await?
        {
            return Ok(AckSet::at(position));
        }
        let position = match self {
            Self::Earliest => reader.first(),
            Self::Latest => reader.end(),
            Self::Position(position) => reader.at_or_after(*position),
            Self::Inside(position, left) => {
                return Ok(reader.with_chain(|chain| AckSet::inside(*position, left, chain)));
            }
            Self::Time(time) => first_published_at(reader, Position::EARLIEST, *time).await?,
        };
        Ok(AckSet::at(position))
    }

    /// The place, if it lies in what compaction has left. A place inside a batch that is only there stands for the whole batch.
    async fn below(&self, horizon: Position, reader: &LogReader) -> Result<Option<Position>, LogError> {
        Ok(match self {
            Self::Earliest => Some(Position::EARLIEST),
            Self::Latest => None,
            Self::Position(position) => Some(*position).filter(|position| *position < horizon),
            Self::Inside(position, _) => {
                let only_there = *position < horizon && !reader.with_chain(|chain| chain.contains(*position));
                only_there.then_some(*position)
            }
            Self::Time(time) => reader.first_kept_since(*time).await?,
        })
    }
}

/// The first entry from `from` on that was published at `time` or later, or the end. Halves the entries between what is older and what is
/// not. Clocks of producers differ, so a few may lie on the wrong side.
pub(crate) async fn first_published_at(reader: &LogReader, from: Position, time: u64) -> Result<Position, LogError> {
    let chain = reader.chain();
    let before = reader.with_chain(|chain| chain.count(chain.first(), from));
    let (mut low, mut high) = (before, chain.iter().map(|listed| listed.entries).sum::<u64>());
    while low < high {
        let middle = low + (high - low) / 2;
        let Some(position) = nth(&chain, middle) else { break };
        let entries = reader.read(position, 1, 1).await?;
        let older = entries.first().and_then(|entry| head_of_stored(&entry.bytes).ok());
        match older {
            Some(head) if head.publish_time < time => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(nth(&chain, low).map_or_else(|| reader.end(), |position| reader.at_or_after(position)))
}

fn nth(chain: &[ChainLedger], mut index: u64) -> Option<Position> {
    for listed in chain {
        if index < listed.entries {
            return Some(Position { ledger: listed.ledger, entry: EntryId(index) });
        }
        index -= listed.entries;
    }
    None
}
