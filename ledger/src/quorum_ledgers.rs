//! Ledgers on bookies.
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use metadata::{Expect, MetadataStore, Operation, Transaction};
use parking_lot::Mutex;
use proto::{EntryId, LedgerId};

use crate::ids::LedgerIds;
use crate::links::Links;
use crate::placement::Ensemble;
use crate::placer::Placer;
use crate::quorum_writer::{QuorumWriter, Shared};
use crate::records::{self, Versioned};
use crate::repair::{RepairLimits, Repairs};
use crate::writer::Limits;
use crate::{Above, Bookies, Entry, LedgerError, LedgerWriter, Ledgers, QuorumPolicy, Sealed, delete, seal};

mod reads;
#[cfg(test)]
mod tests;

/// Records kept in memory for reading.
const RECORDS_MAX: usize = 4096;

/// Milliseconds since 1970, from whoever owns the clock.
#[derive(Clone)]
pub struct WallClock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl WallClock {
    /// A clock that asks `read`.
    pub fn new(read: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    fn now(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallClock")
    }
}

/// Ledgers spread over bookies, with their records in metadata. Must be made inside a runtime; its tasks end with it.
#[derive(Debug)]
pub struct QuorumLedgers {
    shared: Shared,
    ids: LedgerIds,
    clock: WallClock,
    /// Hints for readers: a stale one is found out because the bookies say no or nothing.
    /// A lock and not a task: held for a look-up.
    records: Mutex<HashMap<LedgerId, Arc<Versioned>>>,
}

impl QuorumLedgers {
    /// `seed` is for placement and for names of recoverers; take a random one in production.
    #[must_use]
    pub fn new(metadata: Arc<dyn MetadataStore>, bookies: Arc<dyn Bookies>, clock: WallClock, seed: u64) -> Self {
        let links = Arc::new(Links::new(bookies));
        let placer = Arc::new(Placer::new(metadata.clone(), links.clone(), seed));
        Self {
            ids: LedgerIds::new(metadata.clone()),
            shared: Shared { metadata, links, placer, limits: Limits::default() },
            clock,
            records: Mutex::default(),
        }
    }

    /// Keeps at most `bytes` for a member of an ensemble that does not acknowledge, per ledger; beyond it the member is marked as
    /// lacking. 16 MiB unless told.
    #[must_use]
    pub fn keep_for_absent_members(mut self, bytes: usize) -> Self {
        self.shared.limits.kept_max = bytes;
        self
    }

    /// Puts a defect in that the simulation must find.
    #[cfg(feature = "defects")]
    #[must_use]
    pub fn with_defect(mut self, defect: Option<crate::Defect>) -> Self {
        self.shared.limits.planted = defect.into();
        self
    }

    /// What makes good the copies that bookies take with them.
    #[must_use]
    pub fn repairs(&self, limits: RepairLimits) -> Repairs {
        Repairs::new(self.shared.clone(), limits)
    }

    /// Finishes every deletion that was begun by an intent ([`crate::delete_intent`]). Says how many are left for next time.
    /// Several processes may do this at once.
    pub async fn work_off_intents(&self) -> Result<usize, LedgerError> {
        let mut left = 0;
        for ledger in delete::intended(&self.shared.metadata).await? {
            if let Err(error) = self.delete(ledger).await {
                tracing::warn!(%ledger, %error, "a ledger is not deleted yet");
                left += 1;
            }
        }
        Ok(left)
    }

    async fn make(
        &self,
        ledger: LedgerId,
        policy: QuorumPolicy,
        owner: &str,
        also: Vec<Operation>,
        urgent: bool,
    ) -> Result<Box<dyn LedgerWriter>, LedgerError> {
        assert!(policy.is_valid(), "{policy:?} makes no sense");
        let Ensemble { bookies, away, .. } = self.shared.placer.ensemble(policy, urgent).await?;
        let lacking: Vec<_> = away.iter().map(|member| bookies[member].clone()).collect();
        let record = records::new_record(ledger, policy, owner, &bookies, &lacking, self.clock.now());
        let mut operations = vec![records::put(&record, Expect::Absent)];
        operations.extend(also);
        let version = self.shared.metadata.commit(Transaction::new(operations)).await?;
        let limits = Limits { urgent, ..self.shared.limits };
        let shared = Shared { limits, ..self.shared.clone() };
        Ok(Box::new(QuorumWriter::new(shared, &Versioned { record, version })))
    }

    fn remembered(&self, ledger: LedgerId) -> Option<Arc<Versioned>> {
        self.records.lock().get(&ledger).cloned()
    }

    fn remember(&self, ledger: LedgerId, record: Versioned) -> Arc<Versioned> {
        let record = Arc::new(record);
        let mut records = self.records.lock();
        if RECORDS_MAX <= records.len() {
            records.clear();
        }
        records.insert(ledger, record.clone());
        record
    }

    async fn record_now(&self, ledger: LedgerId) -> Result<Arc<Versioned>, LedgerError> {
        self.records.lock().remove(&ledger);
        Ok(self.remember(ledger, records::read_existing(&self.shared.metadata, ledger).await?))
    }
}

#[async_trait]
impl Ledgers for QuorumLedgers {
    async fn next_id(&self, above: Above) -> Result<LedgerId, LedgerError> {
        Ok(self.ids.next(above).await?)
    }

    async fn create(
        &self,
        ledger: LedgerId,
        policy: QuorumPolicy,
        owner: &str,
        also: Vec<Operation>,
    ) -> Result<Box<dyn LedgerWriter>, LedgerError> {
        self.make(ledger, policy, owner, also, false).await
    }

    async fn create_urgent(
        &self,
        ledger: LedgerId,
        policy: QuorumPolicy,
        owner: &str,
        also: Vec<Operation>,
    ) -> Result<Box<dyn LedgerWriter>, LedgerError> {
        self.make(ledger, policy, owner, also, true).await
    }

    async fn read(
        &self,
        ledger: LedgerId,
        entries: Range<EntryId>,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, LedgerError> {
        if let Some(record) = self.remembered(ledger)
            && let Ok(found) = reads::read(&self.shared.links, &record, &entries, bytes_max).await
        {
            return Ok(found);
        }
        // What the record says may have changed: nothing is called lost or missing on an old one.
        let record = self.record_now(ledger).await?;
        reads::read(&self.shared.links, &record, &entries, bytes_max).await
    }

    async fn seal(&self, ledger: LedgerId) -> Result<Sealed, LedgerError> {
        seal::seal(&self.shared, ledger).await
    }

    async fn delete(&self, ledger: LedgerId) -> Result<(), LedgerError> {
        self.records.lock().remove(&ledger);
        delete::delete(&self.shared.metadata, &self.shared.links, ledger).await
    }
}
