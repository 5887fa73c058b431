//! What leaves a chain, and when: decided without I/O, and then done in one transaction.
use std::time::Duration;

use metadata::{Operation, Transaction};
use proto::{EntryId, LedgerId, Position};

use super::record::{DEPARTURE_MAX, RecordOwner};
use super::{Chain, ChainLedger, LogError, LogReader, Rollover};
use crate::cursor::{CursorLog, Need};

/// An open ledger to which nothing came for so long is closed once all of it is acknowledged.
const IDLE: Duration = Duration::from_secs(2 * 60);
/// One that holds less is closed by its age only: its space is not worth a ledger.
const IDLE_BYTES_MIN: u64 = 1 << 20;

/// What is kept although nobody needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keep {
    /// Ledgers that were sealed so recently. `None`: however long ago.
    pub age: Option<Duration>,
    /// The latest of what is acknowledged, up to so many bytes. `None`: however much.
    pub bytes: Option<u64>,
    /// Everything, for so long, while there is no durable subscription.
    pub without_subscription: Duration,
}

impl Keep {
    /// Nothing at all.
    pub(crate) const NOTHING: Self =
        Self { age: Some(Duration::ZERO), bytes: Some(0), without_subscription: Duration::ZERO };
}

/// The ledgers that may leave now, from the front of the chain: sealed, needed by nobody, and beyond one of the bounds of `keep`.
pub(crate) fn trimmable(chain: &Chain, need: Need, keep: &Keep, now_ms: u64) -> Vec<LedgerId> {
    let unneeded = |listed: &&ChainLedger| match need {
        Need::From(position) => end(listed) <= position,
        Need::NobodySince(_) => true,
    };
    let mut left: u64 = chain.ledgers().iter().take_while(unneeded).map(|listed| listed.bytes).sum();
    let mut gone = Vec::new();
    for listed in chain.ledgers().iter().take_while(unneeded) {
        let Some(sealed_at) = listed.sealed_at else { break };
        left -= listed.bytes;
        let expired = keep.age.is_some_and(|age| millis(age) < now_ms.saturating_sub(sealed_at));
        let in_excess = keep.bytes.is_some_and(|bytes| bytes <= left);
        let awaited = match need {
            Need::From(_) => false,
            Need::NobodySince(since) => now_ms < since.max(sealed_at).saturating_add(millis(keep.without_subscription)),
        };
        if awaited || !(expired || in_excess) {
            break;
        }
        gone.push(listed.ledger);
    }
    gone
}

/// The open ledger, if it should be closed although nobody writes to it: it is old, or it is idle, all of it is acknowledged, and its
/// space is worth having back.
pub(crate) fn roll_due(chain: &Chain, need: Need, rollover: &Rollover, now_ms: u64) -> Option<LedgerId> {
    let (open, opened_at, grown_at) = chain.open().filter(|(open, ..)| 0 < open.entries)?;
    let old = millis(rollover.age_max) <= now_ms.saturating_sub(opened_at);
    let idle = millis(IDLE) <= now_ms.saturating_sub(grown_at) && IDLE_BYTES_MIN <= open.bytes;
    let acknowledged = matches!(need, Need::From(position) if end(open) <= position);
    (old || (idle && acknowledged)).then_some(open.ledger)
}

fn end(listed: &ChainLedger) -> Position {
    Position { ledger: listed.ledger, entry: EntryId(listed.entries) }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Takes ledgers out of one topic's chain. Cheap to clone, and apart from the topic's task, which must not wait for metadata.
#[derive(Debug, Clone)]
pub(crate) struct Trimmer {
    record: RecordOwner,
    reader: LogReader,
    cursor_log: CursorLog,
}

impl Trimmer {
    pub(super) fn new(record: RecordOwner, reader: LogReader, cursor_log: CursorLog) -> Self {
        Self { record, reader, cursor_log }
    }

    /// What durable subscriptions need at this moment: enough to see whether there is something to do.
    pub(crate) async fn need(&self) -> Result<Need, LogError> {
        self.cursor_log.need().await
    }

    /// Takes out what may leave, as long as other records are as `checks` say ([`LogError::Outdated`] otherwise), and leaves intents.
    /// After [`LogError::Fenced`] the topic is to be given up. Says which ledgers have left.
    pub(crate) async fn trim(&self, keep: &Keep, checks: &[Operation]) -> Result<Vec<LedgerId>, LogError> {
        // Until the chain is shorter, nobody may come to need what is about to leave.
        let held = self.cursor_log.hold().await?;
        let now_ms = self.record.context().clock.now_ms();
        let gone = self.reader.with_chain(|chain| trimmable(chain, held.need(), keep, now_ms));
        let at_once = (Transaction::OPERATIONS_MAX - 1 - checks.len()) / DEPARTURE_MAX;
        for some in gone.chunks(at_once) {
            let edit = |record: &mut proto::records::TopicRecord| {
                record.ledgers.retain(|listed| !some.contains(&LedgerId(listed.ledger)));
            };
            self.record.change_while(checks, some, edit).await?;
            self.reader.trimmed(some);
        }
        if let (Some(first), Some(last)) = (gone.first(), gone.last()) {
            tracing::info!(topic = %self.record.topic(), %first, %last, ledgers = gone.len(), "ledgers leave their topic");
        }
        Ok(gone)
    }
}

#[cfg(test)]
mod tests;
