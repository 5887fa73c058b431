//! Which bookies there are, as metadata says: a list kept fresh by a watch and read again now and then, because watches may lose events.
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use metadata::{Error, MetadataStore, MetadataStoreExt};
use prost::Message;
use proto::keys;
use proto::records::{BookieAvailability, BookieRecord};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::placement::Candidate;

/// How long the list may be wrong when the watch misses something.
const READ_AGAIN: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(1);
/// Before both identities and availabilities.
const PREFIX: &str = "bookies/";

type Known = Option<Arc<Vec<Candidate>>>;

/// The bookies of the cluster.
#[derive(Debug)]
pub(crate) struct Directory {
    metadata: Arc<dyn MetadataStore>,
    known: watch::Receiver<Known>,
    _reader: AbortOnDropHandle<()>,
}

impl Directory {
    pub(crate) fn spawn(metadata: Arc<dyn MetadataStore>) -> Self {
        let (sender, known) = watch::channel(None);
        let reader = AbortOnDropHandle::new(tokio::spawn(keep_fresh(metadata.clone(), sender)));
        Self { metadata, known, _reader: reader }
    }

    /// As last seen. Waits for the first reading, at most as long as a reading takes.
    pub(crate) async fn known(&self) -> Result<Arc<Vec<Candidate>>, Error> {
        let mut known = self.known.clone();
        let first = timeout(metadata::DEADLINE, known.wait_for(Option::is_some)).await;
        match first.ok().and_then(Result::ok).and_then(|known| known.clone()) {
            Some(known) => Ok(known),
            None => Ok(Arc::new(self.read().await?)),
        }
    }

    /// As it is now.
    pub(crate) async fn read(&self) -> Result<Vec<Candidate>, Error> {
        read(&self.metadata).await
    }
}

async fn keep_fresh(metadata: Arc<dyn MetadataStore>, sender: watch::Sender<Known>) {
    loop {
        // The watch comes first, so that what changes while reading is seen.
        if let Ok(mut changes) = metadata.watch(PREFIX).await {
            while let Ok(known) = read(&metadata).await {
                sender.send_replace(Some(Arc::new(known)));
                if let Ok(Err(_)) = timeout(READ_AGAIN, changes.next()).await {
                    break;
                }
            }
        }
        sleep(PAUSE).await;
    }
}

async fn read(metadata: &Arc<dyn MetadataStore>) -> Result<Vec<Candidate>, Error> {
    let writable: HashSet<String> = metadata
        .list_all(keys::BOOKIES_AVAILABLE)
        .await?
        .into_iter()
        .filter_map(|record| BookieAvailability::decode(record.value).ok())
        .filter(|available| !available.read_only)
        .map(|available| available.bookie)
        .collect();
    let known = metadata.list_all(keys::BOOKIES).await?.into_iter();
    Ok(known
        .filter_map(|record| BookieRecord::decode(record.value).ok())
        .filter_map(|record| {
            let live = writable.contains(&record.bookie);
            Some(Candidate { bookie: record.bookie.parse().ok()?, rack: record.rack, live })
        })
        .collect())
}
