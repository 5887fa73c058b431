//! Leaving limbo, ledger by ledger, as the records allow.
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use daemon::{Drain, Health};
use metadata::{Error, MetadataStore};
use proto::LedgerId;
use proto::records::LedgerState;

use super::{change, held, judge, note};
use crate::format::SegmentId;
use crate::handle::Handle;
use crate::segments::Segments;

/// How often the records are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Ledgers that a message to people names.
const NAMED_MAX: usize = 20;

/// Which ledgers of a store are in limbo.
#[derive(Debug)]
pub struct Limbo {
    segments: Arc<Segments>,
    /// What was held of a ledger when its copies were last looked through.
    looked: HashMap<LedgerId, u64>,
}

impl Limbo {
    pub(crate) fn of(segments: Arc<Segments>) -> Self {
        Self { segments, looked: HashMap::new() }
    }

    /// Those that are.
    #[must_use]
    pub fn ledgers(&self) -> Vec<LedgerId> {
        self.segments.index.read().limbo.iter().copied().collect()
    }

    /// Looks at the records of ledgers in limbo, and ends the limbo of those that miss nothing here any more.
    pub async fn review(&mut self, metadata: &dyn MetadataStore) -> Result<(), Error> {
        for ledger in self.ledgers() {
            let is_over = self.review_one(metadata, ledger).await?;
            if is_over {
                self.segments.index.write().limbo.remove(&ledger);
                self.looked.remove(&ledger);
                tracing::info!(%ledger, "nothing of a ledger is missing here any more");
            }
        }
        Ok(())
    }

    async fn review_one(&mut self, metadata: &dyn MetadataStore, ledger: LedgerId) -> Result<bool, Error> {
        let (me, segments) = (self.segments.identity.bookie.clone(), self.segments.clone());
        let now = {
            let index = segments.index.read();
            if index.standing(ledger).flags.deleted {
                return Ok(true);
            }
            index.holding(ledger).entries
        };
        // Looking through what is held reads the disk: only when something has come.
        let look = self.looked.get(&ledger) != Some(&now);
        let held = held::Index { segments: &segments, after: SegmentId::NEVER, repeated: &HashSet::new() };
        let record = change(metadata, ledger, |record| if look { judge::cleared(record, &me, &held) } else { None });
        let Some(record) = record.await? else { return Ok(false) }; // A missing record is no permission.
        if record.state() == LedgerState::Closed {
            self.looked.insert(ledger, now);
        }
        Ok(!judge::names(&record, &me) && record.state() != LedgerState::Deleted)
    }

    /// Forgets that there was limbo, if there is none any more. Says whether there is none.
    pub fn leave(&self) -> io::Result<bool> {
        if !self.segments.index.read().limbo.is_empty() {
            return Ok(false);
        }
        note::remove(self.segments.disk.as_ref())?;
        Ok(true)
    }
}

/// Ends limbo as repair goes on, and lets the check `limbo` fail until it is over. Returns then, or when the drain is asked for.
pub async fn leave_limbo(metadata: Arc<dyn MetadataStore>, handle: Handle, health: Health, drain: Drain) {
    let mut limbo = Limbo::of(handle.shared.segments.clone());
    loop {
        match limbo.leave() {
            Ok(true) => return health.ok("limbo"),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the file that tells of limbo cannot be removed"),
        }
        let ledgers = limbo.ledgers();
        let named: Vec<String> = ledgers.iter().take(NAMED_MAX).map(LedgerId::to_string).collect();
        let more = ledgers.len().saturating_sub(NAMED_MAX);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        health.failing("limbo", format!("entries may be missing here of ledgers {}{more}", named.join(", ")));
        tokio::select! {
            () = drain.requested() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        if let Err(error) = limbo.review(metadata.as_ref()).await {
            tracing::warn!(%error, "it cannot be seen now whether limbo is over");
        }
    }
}
