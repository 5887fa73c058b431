//! Writing what compaction leaves: a ledger that counts once the topic's record says so.
use std::sync::Arc;

use ledger::{LedgerError, LedgerWriter};
use proto::{LedgerId, Position};

use super::compacted::{Compacted, prefixed};
use super::record::{List, RecordOwner};
use super::{LogError, LogReader};

/// What may be on its way to bookies. Beyond it the pass waits.
const UNCONFIRMED_BYTES_MAX: usize = 4 << 20;

/// Changes what compaction has left of one topic. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Compactor {
    record: RecordOwner,
    reader: LogReader,
}

/// What one pass writes.
#[derive(Debug)]
pub(crate) struct Rewrite {
    compactor: Compactor,
    /// Made for the first entry.
    writer: Option<Box<dyn LedgerWriter>>,
    entries: u64,
    bytes: u64,
}

impl Compactor {
    pub(super) fn new(record: RecordOwner, reader: LogReader) -> Self {
        Self { record, reader }
    }

    /// Begins to write. What an earlier pass has left unfinished goes first.
    pub(crate) async fn begin(&self) -> Result<Rewrite, LogError> {
        self.drop_unfinished().await?;
        Ok(Rewrite { compactor: self.clone(), writer: None, entries: 0, bytes: 0 })
    }

    /// Deletes the ledger of a pass that came to nothing.
    pub(crate) async fn drop_unfinished(&self) -> Result<(), LogError> {
        let unfinished = self.record.record().await.compacting;
        if unfinished == 0 {
            return Ok(());
        }
        self.record.change(&[LedgerId(unfinished)], |record| record.compacting = 0).await
    }

    /// Forgets what compaction has left: the chain is all there is.
    pub(crate) async fn forget(&self) -> Result<(), LogError> {
        let record = self.record.record().await;
        let Some(compacted) = record.compacted else { return Ok(()) };
        let gone: Vec<LedgerId> = Some(LedgerId(compacted.ledger)).filter(|ledger| ledger.0 != 0).into_iter().collect();
        self.record.change(&gone, |record| record.compacted = None).await?;
        self.reader.compacted_is(None);
        Ok(())
    }
}

impl Rewrite {
    /// Writes an entry. Waits only while too much is on its way.
    pub(crate) async fn append(&mut self, position: Position, entry: &[u8]) -> Result<(), LogError> {
        if self.writer.is_none() {
            self.writer = Some(self.compactor.record.create_ledger(List::Compacted).await?);
        }
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let bytes = prefixed(position, entry);
        self.entries += 1;
        self.bytes += bytes.len() as u64;
        writer.append(bytes)?;
        writer.flush();
        while UNCONFIRMED_BYTES_MAX < writer.unconfirmed_bytes() {
            writer.confirmed().await?;
        }
        Ok(())
    }

    /// Closes the ledger and makes it count, with everything below `horizon`; the one before goes.
    pub(crate) async fn publish(mut self, horizon: Position) -> Result<Arc<Compacted>, LogError> {
        let record = &self.compactor.record;
        let ledger = match &mut self.writer {
            Some(writer) => Some(close(record, &mut **writer, self.entries).await?),
            None => None,
        };
        let compacted = Arc::new(Compacted { ledger, entries: self.entries, bytes: self.bytes, horizon });
        let before = record.record().await.compacted.map(|before| LedgerId(before.ledger));
        let gone: Vec<LedgerId> = before.filter(|before| before.0 != 0).into_iter().collect();
        let edit = |record: &mut proto::records::TopicRecord| {
            record.compacted = Some(compacted.record());
            record.compacting = 0;
        };
        record.change(&gone, edit).await?;
        self.compactor.reader.compacted_is(Some(compacted.clone()));
        Ok(compacted)
    }
}

/// A ledger that was sealed with fewer entries than were written to it does not count.
async fn close(record: &RecordOwner, writer: &mut dyn LedgerWriter, entries: u64) -> Result<LedgerId, LogError> {
    let ledger = writer.ledger();
    let sealed = match writer.close().await {
        Ok(sealed) => sealed,
        Err(error @ LedgerError::Fenced { .. }) => return Err(error.into()),
        Err(_) => record.seal(ledger).await?,
    };
    if sealed.end.0 == entries {
        Ok(ledger)
    } else {
        Err(LogError::DataMissing { topic: record.topic().clone(), ledger })
    }
}
