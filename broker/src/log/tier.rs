//! Object stores as logs use them: the second place where a ledger may lie.
use std::sync::Arc;

use metadata::MetadataStore;
use prost::Message;
use proto::records::{self, ClusterRecord, TopicRecord};
use proto::{LedgerId, TopicName, keys};
use tokio::sync::OnceCell;

use super::{Chain, ChainLedger, InObjects, LogError};
use crate::offload::{
    Attempt, AttemptId, AttemptIds, Location, LocationError, ObjectError, Objects, OffloadedLedger, Store, Stores,
};

/// The stores of a broker, the one reader of their objects, and what attempts are called. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ObjectTier {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    metadata: Arc<dyn MetadataStore>,
    stores: Stores,
    objects: Objects,
    /// Of the cluster. Made before anything else, and never changed.
    instance: OnceCell<Arc<str>>,
    ids: AttemptIds,
}

impl ObjectTier {
    /// Asks nothing yet. The seed must be of this start of this broker only: attempts are named by it.
    pub(crate) fn new(metadata: Arc<dyn MetadataStore>, stores: Stores, cache_bytes: usize, seed: u64) -> Self {
        let objects = Objects::new(stores.clone(), cache_bytes);
        let (instance, ids) = (OnceCell::new(), AttemptIds::new(seed));
        Self { shared: Arc::new(Shared { metadata, stores, objects, instance, ids }) }
    }

    /// All stores.
    pub(crate) fn stores(&self) -> &Stores {
        &self.shared.stores
    }

    /// The store at a location.
    pub(crate) fn open(&self, location: &Location) -> Result<Arc<Store>, ObjectError> {
        let refused =
            |error: LocationError| ObjectError::Refused { object: location.root(), reason: error.to_string() };
        self.shared.stores.open(location).map_err(refused)
    }

    /// Reads ledgers from them.
    pub(crate) fn objects(&self) -> &Objects {
        &self.shared.objects
    }

    /// The cluster's instance id, which stands in the names of its objects.
    pub(crate) async fn instance(&self) -> Result<Arc<str>, metadata::Error> {
        let read = || async {
            let corrupt = || metadata::Error::Corrupt { key: keys::CLUSTER.into() };
            let found = self.shared.metadata.get(&keys::CLUSTER.into()).await?.ok_or_else(corrupt)?;
            let record = ClusterRecord::decode(found.value).map_err(|_| corrupt())?;
            if record.instance.is_empty() { Err(corrupt()) } else { Ok(record.instance.into()) }
        };
        self.shared.instance.get_or_try_init(read).await.cloned()
    }

    /// A name for one more attempt to copy a ledger.
    pub(super) async fn next_attempt(&self, topic: &TopicName, ledger: LedgerId) -> Result<Attempt, metadata::Error> {
        let id = self.shared.ids.next();
        Ok(Attempt { instance: self.instance().await?, topic: topic.clone(), ledger, id })
    }
}

/// The chain that a record tells of.
pub(crate) fn chain_of(topic: &TopicName, record: &TopicRecord, instance: &Arc<str>) -> Result<Chain, LogError> {
    let listed = |listed: &records::ChainLedger| {
        let objects =
            listed.offloaded.as_ref().map(|offloaded| copy(topic, record, instance, listed.ledger, offloaded));
        Ok(ChainLedger {
            ledger: LedgerId(listed.ledger),
            entries: listed.entries,
            bytes: listed.bytes,
            sealed_at: (listed.sealed_at != 0).then_some(listed.sealed_at),
            objects: objects.transpose()?.map(Arc::new),
            bookies_freed: listed.bookies_freed,
        })
    };
    let ledgers: Result<Vec<ChainLedger>, LogError> = record.ledgers.iter().map(listed).collect();
    Ok(Chain::new(ledgers?, LedgerId(record.highest_ledger)))
}

fn copy(
    topic: &TopicName,
    record: &TopicRecord,
    instance: &Arc<str>,
    ledger: u64,
    offloaded: &records::Offloaded,
) -> Result<InObjects, LogError> {
    let location = record.stores.get(offloaded.store as usize).and_then(|url| Location::parse(url).ok());
    let store = location
        .ok_or_else(|| LogError::Corrupt { topic: topic.clone(), what: "the list of object stores in the record" })?;
    let (ledger, id) = (LedgerId(ledger), AttemptId(offloaded.attempt));
    let attempt = Attempt { instance: Arc::clone(instance), topic: topic.clone(), ledger, id };
    let copy = OffloadedLedger { store, attempt, objects: offloaded.objects, bytes: offloaded.bytes };
    Ok(InObjects { copy, since: offloaded.offloaded_at })
}
