//! Ledgers on bookies.
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metadata::{Expect, MetadataStore, Operation, Transaction};
use parking_lot::Mutex;
use proto::{EntryId, LedgerId};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::directory::Directory;
use crate::ids::LedgerIds;
use crate::links::{Link, Links};
use crate::placement::{self, Ensemble};
use crate::quorum::Members;
use crate::quorum_writer::QuorumWriter;
use crate::reader::{Reading, Step};
use crate::records::{self, Versioned};
use crate::recovery::Reply;
use crate::writer::Limits;
use crate::{Above, Bookies, Entry, LedgerError, LedgerWriter, Ledgers, QuorumPolicy, Sealed, delete, seal};

#[cfg(test)]
mod tests;

/// How long one replica may take before the next is asked.
const REPLICA_PATIENCE: Duration = Duration::from_secs(3);
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
    metadata: Arc<dyn MetadataStore>,
    links: Arc<Links>,
    directory: Directory,
    ids: LedgerIds,
    clock: WallClock,
    limits: Limits,
    /// A lock and not a task: held for a few instructions.
    random: Mutex<SmallRng>,
    /// Hints for readers: a stale one is found out because the bookies say no or nothing.
    /// A lock and not a task: held for a look-up.
    records: Mutex<HashMap<LedgerId, Arc<Versioned>>>,
}

impl QuorumLedgers {
    /// `seed` is for placement and for names of recoverers; take a random one in production.
    #[must_use]
    pub fn new(metadata: Arc<dyn MetadataStore>, bookies: Arc<dyn Bookies>, clock: WallClock, seed: u64) -> Self {
        Self {
            links: Arc::new(Links::new(bookies)),
            directory: Directory::spawn(metadata.clone()),
            ids: LedgerIds::new(metadata.clone()),
            metadata,
            clock,
            limits: Limits::default(),
            random: Mutex::new(SmallRng::seed_from_u64(seed)),
            records: Mutex::default(),
        }
    }

    /// Keeps at most `bytes` for a member of an ensemble that does not acknowledge, per ledger; beyond it the member is marked as
    /// lacking. 16 MiB unless told.
    #[must_use]
    pub fn keep_for_absent_members(mut self, bytes: usize) -> Self {
        self.limits.kept_max = bytes;
        self
    }

    /// Finishes every deletion that was begun by an intent ([`crate::delete_intent`]). Says how many are left for next time.
    /// Several processes may do this at once.
    pub async fn work_off_intents(&self) -> Result<usize, LedgerError> {
        let mut left = 0;
        for ledger in delete::intended(&self.metadata).await? {
            if let Err(error) = self.delete(ledger).await {
                tracing::warn!(%ledger, %error, "a ledger is not deleted yet");
                left += 1;
            }
        }
        Ok(left)
    }

    async fn place(&self, policy: QuorumPolicy) -> Result<Ensemble, LedgerError> {
        let known = self.directory.known().await?;
        let chosen = placement::choose(&known, policy, &mut self.random.lock());
        if chosen.as_ref().is_ok_and(|ensemble| ensemble.away.is_empty()) {
            return chosen;
        }
        // Before settling for less, look at the truth.
        let known = self.directory.read().await?;
        placement::choose(&known, policy, &mut self.random.lock())
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
        Ok(self.remember(ledger, records::read_existing(&self.metadata, ledger).await?))
    }

    async fn read_with(
        &self,
        record: &Versioned,
        entries: &Range<EntryId>,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, LedgerError> {
        let ledger = LedgerId(record.record.ledger);
        let (entry, mut end) = (entries.start, entries.end);
        if let Some(sealed) = record.sealed() {
            end = end.min(sealed.end); // Bookies may hold more than the ledger does.
        }
        if let Some(border) = record.fragment_end(entry) {
            end = end.min(border);
        }
        if end <= entry {
            return Err(LedgerError::Unreadable { ledger, entry, reason: "it lies beyond the ledger's end".into() });
        }
        let fragment = record.fragment(entry);
        let links: Vec<Arc<Link>> = records::bookies(fragment).iter().map(|bookie| self.links.to(bookie)).collect();
        let away: Members = (0..links.len()).filter(|member| !links[*member].is_live()).collect();
        let lacking = records::lacking(fragment);
        let mut reading = Reading::new(ledger, record.policy(), entry..end, bytes_max, lacking, away);
        loop {
            match reading.step() {
                Step::Ask(member, body) => {
                    let link = &links[member];
                    let reply = link.ask(ledger, vec![body], REPLICA_PATIENCE).await.pop().unwrap_or(Reply::Unknown);
                    if let Some(found) = reading.answered(member, link.bookie().as_str(), reply) {
                        return Ok(found);
                    }
                }
                Step::Lost => return Err(LedgerError::Lost { ledger, entry }),
                Step::Unreadable(reason) => return Err(LedgerError::Unreadable { ledger, entry, reason }),
            }
        }
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
        assert!(policy.is_valid(), "{policy:?} makes no sense");
        let Ensemble { bookies, away } = self.place(policy).await?;
        let lacking: Vec<_> = away.iter().map(|member| bookies[member].clone()).collect();
        let record = records::new_record(ledger, policy, owner, &bookies, &lacking, self.clock.now());
        let mut operations = vec![records::put(&record, Expect::Absent)];
        operations.extend(also);
        let version = self.metadata.commit(Transaction::new(operations)).await?;
        let created = Versioned { record, version };
        Ok(Box::new(QuorumWriter::new(self.metadata.clone(), &self.links, &created, self.limits)))
    }

    async fn read(
        &self,
        ledger: LedgerId,
        entries: Range<EntryId>,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, LedgerError> {
        if let Some(record) = self.remembered(ledger)
            && let Ok(found) = self.read_with(&record, &entries, bytes_max).await
        {
            return Ok(found);
        }
        // What the record says may have changed: nothing is called lost or missing on an old one.
        let record = self.record_now(ledger).await?;
        self.read_with(&record, &entries, bytes_max).await
    }

    async fn seal(&self, ledger: LedgerId) -> Result<Sealed, LedgerError> {
        let recoverer = format!("{:016x}", self.random.lock().random::<u64>());
        seal::seal(&self.metadata, &self.links, ledger, &recoverer).await
    }

    async fn delete(&self, ledger: LedgerId) -> Result<(), LedgerError> {
        self.records.lock().remove(&ledger);
        delete::delete(&self.metadata, &self.links, ledger).await
    }
}
