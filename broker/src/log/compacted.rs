//! What compaction has left of a topic, and reading it: the same positions, with gaps.
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use proto::entry::head_of_stored;
use proto::records::{self, TopicRecord};
use proto::{EntryId, LedgerId, Position};

use super::reader::{LogReader, StoredEntry};
use super::{LogContext, LogError};

/// What stands before each entry of a compacted ledger: the position it has in the topic.
const PREFIX_BYTES: usize = 16;

/// The last message of each key of everything below a horizon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Compacted {
    /// `None`: no message was left.
    pub ledger: Option<LedgerId>,
    /// Of the ledger.
    pub entries: u64,
    /// Of the ledger.
    pub bytes: u64,
    /// The first position that was not looked at: from here on, the chain counts.
    pub horizon: Position,
}

impl Compacted {
    /// As the topic's record says.
    pub(super) fn of(record: &TopicRecord) -> Option<Arc<Self>> {
        let kept = record.compacted.as_ref()?;
        Some(Arc::new(Self {
            ledger: (kept.ledger != 0).then_some(LedgerId(kept.ledger)),
            entries: kept.entries,
            bytes: kept.bytes,
            horizon: Position::new(kept.horizon_ledger, kept.horizon_entry),
        }))
    }

    pub(super) fn record(&self) -> records::Compacted {
        records::Compacted {
            ledger: self.ledger.map_or(0, |ledger| ledger.0),
            entries: self.entries,
            bytes: self.bytes,
            horizon_ledger: self.horizon.ledger.0,
            horizon_entry: self.horizon.entry.0,
        }
    }
}

/// An entry as it is written to a compacted ledger.
pub(super) fn prefixed(position: Position, entry: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + entry.len());
    bytes.put_u64(position.ledger.0);
    bytes.put_u64(position.entry.0);
    bytes.put_slice(entry);
    bytes.freeze()
}

/// Where a reader that goes on where it stopped finds what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    ledger: LedgerId,
    after: Position,
    index: u64,
}

impl LogReader {
    /// What compaction has left, if it has run.
    pub(crate) fn compacted(&self) -> Option<Arc<Compacted>> {
        self.shared.compacted.read().clone()
    }

    /// The record says something new of it.
    pub(super) fn compacted_is(&self, compacted: Option<Arc<Compacted>>) {
        *self.shared.compacted.write() = compacted;
    }

    /// As [`read`](Self::read), of what compaction has left: below the horizon only what it kept, in one ledger.
    pub(crate) async fn read_compacted(
        &self,
        from: Position,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<StoredEntry>, LogError> {
        loop {
            let Some(compacted) = self.compacted().filter(|compacted| from < compacted.horizon) else {
                return self.read(from, entries_max, bytes_max).await;
            };
            match self.read_kept(&compacted, from, entries_max, bytes_max).await {
                Ok(kept) if kept.is_empty() => return self.read(compacted.horizon, entries_max, bytes_max).await,
                Ok(kept) => return Ok(kept),
                // Another has taken its place: what it keeps from here on is what counts.
                Err(_) if self.compacted().is_none_or(|now| now != compacted) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The last entry that a reader of what compaction has left can get, if there is one.
    pub(crate) async fn last_compacted(&self) -> Result<Option<StoredEntry>, LogError> {
        loop {
            let compacted = self.compacted();
            let horizon = compacted.as_ref().map_or(Position::EARLIEST, |compacted| compacted.horizon);
            if let Some(last) = self.last().filter(|last| horizon <= *last) {
                return Ok(self.read(last, 1, 1).await?.pop());
            }
            let Some(kept) = compacted else { return Ok(None) };
            let Some((ledger, last)) = kept.ledger.zip(kept.entries.checked_sub(1)) else { return Ok(None) };
            match self.kept_entries(ledger, last, kept.entries, 1).await {
                Ok(mut found) => return Ok(found.pop()),
                Err(_) if self.compacted().is_none_or(|now| now != kept) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The first position below the horizon at which something was kept that was published at `time` or later.
    pub(crate) async fn first_kept_since(&self, time: u64) -> Result<Option<Position>, LogError> {
        loop {
            let Some(compacted) = self.compacted() else { return Ok(None) };
            let Some(ledger) = compacted.ledger else { return Ok(None) };
            let older = |entry: &StoredEntry| head_of_stored(&entry.bytes).is_ok_and(|head| head.publish_time < time);
            let found = async {
                let first = self.first_kept(ledger, compacted.entries, older).await?;
                if first == compacted.entries {
                    return Ok(None);
                }
                Ok(self.kept_entries(ledger, first, first + 1, 1).await?.first().map(|entry| entry.position))
            };
            match found.await {
                Err(_) if self.compacted().is_none_or(|now| now != compacted) => {}
                found => return found,
            }
        }
    }

    /// The last confirmed entry itself.
    pub(crate) async fn last_entry(&self) -> Result<Option<StoredEntry>, LogError> {
        match self.last() {
            Some(last) => Ok(self.read(last, 1, 1).await?.pop()),
            None => Ok(None),
        }
    }

    async fn read_kept(
        &self,
        compacted: &Compacted,
        from: Position,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<StoredEntry>, LogError> {
        let Some(ledger) = compacted.ledger else { return Ok(Vec::new()) };
        let known = self.sequence.lock().place.filter(|place| (place.ledger, place.after) == (ledger, from));
        let first = match known {
            Some(place) => place.index,
            None if from == Position::EARLIEST => 0,
            None => self.first_kept(ledger, compacted.entries, |entry| entry.position < from).await?,
        };
        let end = compacted.entries.min(first.saturating_add(entries_max as u64));
        if end <= first {
            return Ok(Vec::new());
        }
        let found = self.kept_entries(ledger, first, end, bytes_max).await?;
        if let Some(last) = found.last() {
            let (after, index) = (last.position.next(), first + found.len() as u64);
            self.sequence.lock().place = Some(Place { ledger, after, index });
        }
        Ok(found)
    }

    /// Halves the entries: some twenty of a million are read.
    async fn first_kept(
        &self,
        ledger: LedgerId,
        entries: u64,
        is_before: impl Fn(&StoredEntry) -> bool,
    ) -> Result<u64, LogError> {
        let (mut low, mut high) = (0, entries);
        while low < high {
            let middle = low + (high - low) / 2;
            let found = self.kept_entries(ledger, middle, middle + 1, 1).await?;
            if found.first().is_some_and(&is_before) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// Entries of a compacted ledger by their number in it: at least one.
    async fn kept_entries(
        &self,
        ledger: LedgerId,
        first: u64,
        end: u64,
        bytes_max: usize,
    ) -> Result<Vec<StoredEntry>, LogError> {
        let LogContext { cache, ledgers, .. } = &self.shared.context;
        let (first, end) = (EntryId(first), EntryId(end));
        let mut found = cache.get(ledger, first, end, bytes_max);
        if found.is_empty() {
            let read =
                cache.read(ledgers, ledger, first, end, bytes_max).await.map_err(|error| self.read_error(error))?;
            found = super::reader::within(&read, first, end, bytes_max);
        }
        let entry = |mut bytes: Bytes| {
            let position = Position::new(bytes.try_get_u64().ok()?, bytes.try_get_u64().ok()?);
            Some(StoredEntry { position, bytes })
        };
        let found: Option<Vec<StoredEntry>> = found.into_iter().map(entry).collect();
        let corrupt = || LogError::Corrupt { topic: self.shared.topic.clone(), what: "the compacted ledger" };
        found.filter(|found| !found.is_empty()).ok_or_else(corrupt)
    }
}

#[cfg(test)]
mod tests;
