//! Asking whether the objects of a ledger are still there, before its other copy goes.
use super::error::ObjectError;
use super::fetch;
use super::format::FormatError;
use super::objects::OffloadedLedger;
use super::stores::Store;

/// Asks for the size of each object. One request each; what the objects hold was read back when they were written.
pub async fn still_there(store: &Store, ledger: &OffloadedLedger) -> Result<(), ObjectError> {
    let mut bytes = 0;
    for number in 0..ledger.objects {
        bytes += fetch::size(store, &store.path(&ledger.attempt.object(number))).await?;
    }
    if bytes == ledger.bytes {
        return Ok(());
    }
    let object = store.text(&store.path(&ledger.attempt.prefix()));
    Err(ObjectError::Corrupt {
        object,
        reason: FormatError::Inconsistent("its objects have another size than recorded"),
    })
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;

    use super::*;
    use crate::offload::rig::{SMALL_CUTS, memory, offloaded, payload};

    #[tokio::test(start_paused = true)]
    async fn a_ledger_lacks_any_object_that_is_gone_or_shorter() {
        let store = memory();
        let payloads: Vec<_> = (0..40).map(|number| payload(number, 500_000)).collect();
        let ledger = offloaded(&store, 1, &payloads, SMALL_CUTS).await;
        assert!(1 < ledger.objects);
        still_there(&store, &ledger).await.unwrap();
        let last = store.path(&ledger.attempt.object(ledger.objects - 1));
        store.objects().put(&last, "short".into()).await.unwrap();
        assert!(matches!(still_there(&store, &ledger).await, Err(ObjectError::Corrupt { .. })));
        store.objects().delete(&last).await.unwrap();
        assert!(matches!(still_there(&store, &ledger).await, Err(ObjectError::NotFound { .. })));
    }
}
