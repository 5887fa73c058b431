//! What a cluster's metadata say about its bookies and ledgers, read beside it.
use std::collections::BTreeMap;
use std::sync::Arc;

use daemon::Failure;
use ledger::repair::{Audit, Extent, RepairLimits};
use ledger::{GrpcBookies, LedgerError, QuorumLedgers, WallClock};
use metadata::{MetadataStore, MetadataStoreExt};
use prost::Message;
use proto::records::{BookieAvailability, LedgerRecord, LedgerState};
use proto::{LedgerId, keys};

use crate::cluster::Cluster;

/// A way to the records of a [`Cluster`].
#[derive(Debug, Clone)]
pub struct Records {
    metadata: Arc<dyn MetadataStore>,
    seed: u64,
}

impl Records {
    /// Connects. `seed` is for whatever an audit chooses.
    pub async fn of(cluster: &Cluster, seed: u64) -> Result<Self, Failure> {
        let metadata = metadata::connect(&cluster.etcd.url(), "tests").await.map_err(Failure::internal)?;
        Ok(Self { metadata, seed })
    }

    /// All records behind a prefix.
    pub async fn all<M: Message + Default>(&self, prefix: &str) -> Result<Vec<M>, Failure> {
        let found = self.metadata.list_all(prefix).await.map_err(Failure::internal)?;
        let decoded = found.into_iter().map(|record| M::decode(record.value).map_err(Failure::internal));
        decoded.collect()
    }

    /// All ledgers.
    pub async fn ledgers(&self) -> Result<Vec<LedgerRecord>, Failure> {
        self.all(keys::LEDGERS).await
    }

    /// The identities of bookies that are registered, by their addresses.
    pub async fn registered(&self) -> Result<BTreeMap<String, String>, Failure> {
        let available: Vec<BookieAvailability> = self.all(keys::BOOKIES_AVAILABLE).await?;
        Ok(available.into_iter().map(|one| (one.address, one.bookie)).collect())
    }

    /// Ledgers of which a fragment names `bookie`, without those that are deleted: they wait for it until it is retired.
    pub async fn named(&self, bookie: &str) -> Result<Vec<u64>, Failure> {
        let names = |record: &LedgerRecord| {
            let members = record.fragments.iter().flat_map(|fragment| &fragment.bookies);
            record.state() != LedgerState::Deleted && members.into_iter().any(|member| member == bookie)
        };
        Ok(self.ledgers().await?.into_iter().filter(names).map(|record| record.ledger).collect())
    }

    /// Closed ledgers that lack copies.
    pub async fn lacking(&self) -> Result<usize, Failure> {
        let closed = self.closed().await?;
        let lacks = |record: &&LedgerRecord| record.fragments.iter().any(|fragment| !fragment.lacking.is_empty());
        Ok(closed.iter().filter(lacks).count())
    }

    /// Reads every copy of every closed ledger from its bookies.
    pub async fn audit(&self) -> Result<Vec<Audit>, Failure> {
        let doors = Arc::new(GrpcBookies::new(Arc::clone(&self.metadata)));
        let ledgers = QuorumLedgers::new(Arc::clone(&self.metadata), doors, WallClock::new(|| 1), self.seed);
        let repairs = ledgers.repairs(RepairLimits::default());
        let mut audits = Vec::new();
        for record in self.closed().await? {
            match repairs.audit(LedgerId(record.ledger), Extent::All).await {
                Ok(audit) => audits.push(audit),
                Err(LedgerError::NotFound { .. }) => {} // Deleted meanwhile.
                Err(error) => return Err(Failure::internal(error)),
            }
        }
        Ok(audits)
    }

    async fn closed(&self) -> Result<Vec<LedgerRecord>, Failure> {
        let records = self.ledgers().await?;
        Ok(records.into_iter().filter(|record| record.state() == LedgerState::Closed).collect())
    }
}
