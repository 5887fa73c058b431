//! Deletion: tombstones on every bookie first, then the record goes together with its intent.
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use metadata::{Error, MetadataStore, MetadataStoreExt, Transaction};
use prost::Message;
use proto::bookie::{Delete, request};
use proto::records::{Intent, LedgerState, intent};
use proto::{BookieId, LedgerId, keys};

use crate::links::Links;
use crate::recovery::Reply;
use crate::{LedgerError, records};

const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) async fn delete(
    metadata: &Arc<dyn MetadataStore>,
    links: &Links,
    ledger: LedgerId,
) -> Result<(), LedgerError> {
    loop {
        let Some(mut found) = records::read(metadata, ledger).await? else {
            return missing(metadata, ledger).await;
        };
        if !found.is_deleted() {
            // From here on no writer, recoverer or reader finds the ledger; the tombstones stop those that had found it.
            found.record.set_state(LedgerState::Deleted);
            match records::replace(metadata, found.record, found.version).await {
                Ok(deleted) => found = deleted,
                Err(Error::Conflict { .. }) => continue,
                Err(error) => return Err(error.into()),
            }
        }
        bury(links, ledger, found.all_bookies()).await?;
        match metadata.commit(Transaction::new(records::forget(ledger, found.version))).await {
            Ok(_) => return Ok(()),
            Err(Error::Conflict { .. }) => {} // Someone else deletes it too: look again.
            Err(error) => return Err(error.into()),
        }
    }
}

/// A missing record with an intent means that metadata was lost or changed by hand: nothing is freed on account of it.
async fn missing(metadata: &Arc<dyn MetadataStore>, ledger: LedgerId) -> Result<(), LedgerError> {
    if metadata.get(&keys::delete_ledger(ledger).into()).await?.is_some() {
        tracing::error!(%ledger, "there is an intent to delete a ledger that has no record: its data is left alone");
    }
    Ok(())
}

async fn bury(links: &Links, ledger: LedgerId, bookies: Vec<BookieId>) -> Result<(), LedgerError> {
    let tombstones = bookies.iter().map(|bookie| async move {
        let replies = links.to(bookie).ask(ledger, vec![request::Body::Delete(Delete {})], PATIENCE).await;
        matches!(replies[..], [Reply::Done | Reply::Deleted]).then_some(()).ok_or(bookie.as_str())
    });
    let outcomes = join_all(tombstones).await;
    let missing: Vec<&str> = outcomes.into_iter().filter_map(Result::err).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let reason = format!("no tombstone is confirmed by {}", missing.join(", "));
    Err(LedgerError::NotDeletedYet { ledger, reason })
}

/// The ledgers that intents name.
pub(crate) async fn intended(metadata: &Arc<dyn MetadataStore>) -> Result<Vec<LedgerId>, Error> {
    let mut ledgers = Vec::new();
    for record in metadata.list_all(keys::LEDGER_INTENTS).await? {
        match Intent::decode(record.value).map(|intent| intent.subject) {
            Ok(Some(intent::Subject::DeleteLedger(ledger))) => ledgers.push(LedgerId(ledger)),
            _ => tracing::error!(key = %record.key, "an intent cannot be understood and is left alone"),
        }
    }
    Ok(ledgers)
}
