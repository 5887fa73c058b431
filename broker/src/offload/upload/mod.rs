//! Writing a ledger into objects, and reading it back before anyone may rely on it.
mod cutter;
mod sender;
mod verify;

use std::sync::Arc;

use futures::{Stream, StreamExt};
use ledger::{Entry, LedgerError, Ledgers, Sealed};
use proto::{EntryId, LedgerId};
use tokio::time::Instant;

use super::error::ObjectError;
use super::metrics::Outcome;
use super::name::Attempt;
use super::stores::Store;
use cutter::Cutter;
pub(super) use cutter::Limits;
use sender::Sender;

/// Asked of a ledger at once.
const BATCH_BYTES: usize = 4 << 20;

/// What was written and read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uploaded {
    /// Numbered from 0.
    pub objects: u32,
    /// Of all objects together.
    pub bytes: u64,
    /// All of the ledger.
    pub entries: u64,
    /// Of all entries.
    pub payload_bytes: u64,
}

/// Why an attempt did not succeed. Its objects, if any, are of no use: delete the attempt, and make another later.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UploadError {
    /// The entries could not be read.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    /// What was read is not what the ledger was sealed with: an alarm.
    #[error("ledger {ledger} is not what its record says: {reason}")]
    SourceDiffers {
        /// Which ledger.
        ledger: LedgerId,
        /// What differs.
        reason: String,
    },
    /// The store did not take an object.
    #[error("{0}")]
    Store(#[source] ObjectError),
    /// What was written could not be read back, or was something else.
    #[error("not read back: {0}")]
    NotVerified(#[source] ObjectError),
}

/// Writes a whole sealed ledger as the objects of `attempt`, reads all of it back, and only then returns. About one part of 64 MiB is
/// in memory. After an error, and when it is dropped, objects may be left: the intent of the attempt removes them. Parts of an upload that
/// was dropped or cut off stay until the store's own rule for unfinished uploads removes them.
pub async fn upload(
    store: &Store,
    attempt: &Attempt,
    sealed: Sealed,
    entries: impl Stream<Item = Result<Vec<Entry>, LedgerError>> + Send,
) -> Result<Uploaded, UploadError> {
    let uploaded = upload_cut(store, attempt, sealed, entries, store.limits()).await;
    let outcome = match &uploaded {
        Ok(uploaded) => Outcome::Done(uploaded.payload_bytes),
        Err(UploadError::Store(_) | UploadError::NotVerified(_)) => Outcome::StoreFailed,
        Err(UploadError::Ledger(_) | UploadError::SourceDiffers { .. }) => Outcome::Failed,
    };
    store.offloading().uploaded(&attempt.topic, outcome);
    uploaded
}

/// As [`upload`], cut elsewhere.
pub(super) async fn upload_cut(
    store: &Store,
    attempt: &Attempt,
    sealed: Sealed,
    entries: impl Stream<Item = Result<Vec<Entry>, LedgerError>> + Send,
    limits: Limits,
) -> Result<Uploaded, UploadError> {
    let mut sender = Sender::new(store, attempt).await.map_err(UploadError::Store)?;
    let entries = timed(store, attempt, entries);
    let sent = send_all(&mut sender, Cutter::new(attempt, sealed, limits), entries).await;
    if let Err(error) = sent {
        sender.abort().await;
        return Err(error);
    }
    let trailers = sender.finished();
    let mut bytes = 0;
    for trailer in &trailers {
        verify::verify(store, attempt, trailer).await.map_err(UploadError::NotVerified)?;
        bytes += trailer.object_bytes;
    }
    let objects = u32::try_from(trailers.len()).expect("numbered with as many bits");
    Ok(Uploaded { objects, bytes, entries: sealed.end.0, payload_bytes: sealed.length })
}

async fn send_all(
    sender: &mut Sender<'_>,
    mut cutter: Cutter,
    entries: impl Stream<Item = Result<Vec<Entry>, LedgerError>> + Send,
) -> Result<(), UploadError> {
    let mut entries = std::pin::pin!(entries);
    let mut ahead = entries.next().await;
    while let Some(batch) = ahead.take() {
        let mut read = false;
        for entry in batch? {
            cutter.push(&entry)?;
            while let Some(piece) = cutter.take() {
                // The next batch is read while a part is sent, and no more than that.
                let next = async {
                    if !read {
                        ahead = entries.next().await;
                    }
                };
                let (sent, ()) = futures::join!(sender.send(piece), next);
                read = true;
                sent.map_err(UploadError::Store)?;
            }
        }
        if !read {
            ahead = entries.next().await;
        }
    }
    cutter.finish()?;
    while let Some(piece) = cutter.take() {
        sender.send(piece).await.map_err(UploadError::Store)?;
    }
    Ok(())
}

/// Measures how long each batch was waited for.
fn timed<T>(store: &Store, attempt: &Attempt, entries: impl Stream<Item = T> + Send) -> impl Stream<Item = T> + Send {
    futures::stream::unfold(Box::pin(entries), move |mut entries| async move {
        let began = Instant::now();
        let batch = entries.next().await?;
        store.offloading().ledger_read(&attempt.topic, began.elapsed());
        Some((batch, entries))
    })
}

/// All entries of a sealed ledger, in batches, read as the caller asks for them.
pub fn ledger_entries(
    ledgers: Arc<dyn Ledgers>,
    ledger: LedgerId,
    end: EntryId,
) -> impl Stream<Item = Result<Vec<Entry>, LedgerError>> + Send {
    futures::stream::try_unfold(EntryId::FIRST, move |next| {
        let ledgers = ledgers.clone();
        async move {
            if end <= next {
                return Ok(None);
            }
            let batch = ledgers.read(ledger, next..end, BATCH_BYTES).await?;
            let after = batch.last().map_or(end, |last| last.entry.next()); // An empty batch ends it, and is found out.
            Ok(Some((batch, after)))
        }
    })
}

#[cfg(test)]
mod tests;
