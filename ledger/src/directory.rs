//! Which bookies there are, as metadata says: a list kept fresh by a watch and read again now and then, because watches may lose events.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use metadata::{Error, MetadataStore, MetadataStoreExt};
use parking_lot::Mutex;
use prost::Message;
use proto::records::{BookieAvailability, BookieRecord, BookieStanding};
use proto::{BookieId, keys};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::placement::{Candidate, Condition};

/// How long the list may be wrong when the watch misses something.
const READ_AGAIN: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(1);
/// Before both identities and availabilities.
const PREFIX: &str = "bookies/";

/// What metadata says of bookies.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    pub(crate) candidates: Vec<Candidate>,
    /// Their data are gone for good, and they never come back.
    pub(crate) retired: Vec<BookieId>,
    /// They have said at their start that they may lack entries.
    pub(crate) in_limbo: Vec<BookieId>,
}

/// The bookies of the cluster.
#[derive(Debug)]
pub(crate) struct Directory {
    metadata: Arc<dyn MetadataStore>,
    latest: Arc<Latest>,
    _reader: AbortOnDropHandle<()>,
}

/// What was read last.
#[derive(Debug, Default)]
struct Latest {
    /// A lock and not a task: held for a copy of a reference.
    known: Mutex<Option<Arc<Known>>>,
    changed: Notify,
}

impl Latest {
    fn set(&self, known: Known) {
        *self.known.lock() = Some(Arc::new(known));
        self.changed.notify_waiters();
    }

    /// Waits until there is something.
    async fn get(&self) -> Arc<Known> {
        loop {
            let changed = self.changed.notified(); // From here on no change is missed.
            if let Some(known) = self.known.lock().clone() {
                return known;
            }
            changed.await;
        }
    }
}

impl Directory {
    pub(crate) fn spawn(metadata: Arc<dyn MetadataStore>) -> Self {
        let latest = Arc::new(Latest::default());
        let reader = AbortOnDropHandle::new(tokio::spawn(keep_fresh(metadata.clone(), latest.clone())));
        Self { metadata, latest, _reader: reader }
    }

    /// As last seen. Waits for the first reading, at most as long as a reading takes.
    pub(crate) async fn known(&self) -> Result<Arc<Known>, Error> {
        match timeout(metadata::DEADLINE, self.latest.get()).await {
            Ok(known) => Ok(known),
            Err(_) => Ok(Arc::new(self.read().await?)),
        }
    }

    /// As it is now.
    pub(crate) async fn read(&self) -> Result<Known, Error> {
        read(&self.metadata).await
    }
}

async fn keep_fresh(metadata: Arc<dyn MetadataStore>, latest: Arc<Latest>) {
    loop {
        // The watch comes first, so that what changes while reading is seen.
        if let Ok(mut changes) = metadata.watch(PREFIX).await {
            while let Ok(known) = read(&metadata).await {
                latest.set(known);
                if let Ok(Err(_)) = timeout(READ_AGAIN, changes.next()).await {
                    break;
                }
            }
        }
        sleep(PAUSE).await;
    }
}

/// As it is now.
pub(crate) async fn read(metadata: &Arc<dyn MetadataStore>) -> Result<Known, Error> {
    let available: HashMap<String, BookieAvailability> = metadata
        .list_all(keys::BOOKIES_AVAILABLE)
        .await?
        .into_iter()
        .filter_map(|record| BookieAvailability::decode(record.value).ok())
        .map(|available| (available.bookie.clone(), available))
        .collect();
    let mut known = Known::default();
    let in_limbo = available.values().filter(|available| available.limbo);
    known.in_limbo = in_limbo.filter_map(|available| available.bookie.parse().ok()).collect();
    known.in_limbo.sort();
    for record in metadata.list_all(keys::BOOKIES).await? {
        let Ok(record) = BookieRecord::decode(record.value) else { continue };
        let Ok(bookie) = record.bookie.parse::<BookieId>() else { continue };
        match record.standing() {
            BookieStanding::Retired => known.retired.push(bookie),
            _ => known.candidates.push(candidate(bookie, &record, available.get(&record.bookie))),
        }
    }
    Ok(known)
}

fn candidate(bookie: BookieId, record: &BookieRecord, available: Option<&BookieAvailability>) -> Candidate {
    let condition = match available {
        None => Condition::Away,
        Some(available) if available.read_only => Condition::ReadOnly,
        Some(_) => Condition::Ready,
    };
    let rack = available.map(|available| &available.rack).filter(|rack| !rack.is_empty()).unwrap_or(&record.rack);
    Candidate {
        bookie,
        rack: rack.clone(),
        condition,
        draining: record.standing() == BookieStanding::Draining,
        suspect: None,
        free_bytes: available.filter(|available| available.total_bytes != 0).map(|available| available.free_bytes),
    }
}
