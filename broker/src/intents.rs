//! Works off intents: ledgers that nobody refers to any more are deleted here, after whoever wrote the intent has gone on.
use std::sync::Arc;
use std::time::Duration;

use daemon::Drain;
use ledger::{LedgerError, Ledgers};
use metadata::{MetadataStore, MetadataStoreExt, Record};
use proto::records::{Intent, intent::Subject};
use proto::{LedgerId, keys};
use tokio::time::{MissedTickBehavior, interval};

use crate::ownership::Ownership;

/// Space is not wanted back at once.
const PAUSE: Duration = Duration::from_secs(5);

/// Runs until `drain`. Of all brokers, the first works: two would only be in each other's way, and when it goes the next is first.
pub(crate) async fn work(
    metadata: Arc<dyn MetadataStore>,
    ledgers: Arc<dyn Ledgers>,
    ownership: Ownership,
    drain: Drain,
) {
    let mut ticks = interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = drain.requested() => return,
            _ = ticks.tick() => {}
        }
        if ownership.brokers().first().is_none_or(|first| first.start != ownership.me().start) {
            continue;
        }
        tokio::select! {
            () = drain.requested() => return, // What is left half way is repeated by whoever comes next.
            () = work_off(&metadata, &ledgers) => {}
        }
    }
}

/// Works off all there are now. What fails stays for the next time.
pub(crate) async fn work_off(metadata: &Arc<dyn MetadataStore>, ledgers: &Arc<dyn Ledgers>) {
    let intents = match metadata.list_all(keys::INTENTS).await {
        Ok(intents) => intents,
        Err(error) => return tracing::warn!(%error, "intents cannot be listed"),
    };
    for record in intents {
        if let Err(error) = delete(&record, ledgers).await {
            tracing::info!(intent = %record.key, %error, "an intent waits");
        }
    }
}

async fn delete(record: &Record, ledgers: &Arc<dyn Ledgers>) -> Result<(), LedgerError> {
    let corrupt = || metadata::Error::Corrupt { key: record.key.clone() };
    let intent: Intent = prost::Message::decode(record.value.clone()).map_err(|_| corrupt())?;
    match intent.subject {
        Some(Subject::DeleteLedger(ledger)) => ledgers.delete(LedgerId(ledger)).await,
        Some(Subject::DeleteObjects(_)) | None => Err(corrupt().into()), // Of a later version.
    }
}
