//! Lists of topics that somebody watches: one task per watched namespace follows the metadata, however many watch it.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use metadata::{DEADLINE, Error, Event, MetadataStore, MetadataStoreExt, Watch};
use parking_lot::Mutex;
use prost::Message;
use proto::records::PartitionedTopicRecord;
use proto::{Domain, NamespaceName, TopicName, keys};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, watch};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

/// Changes that may wait for a slow watcher. One that lags further compares with the whole list.
const CHANGES_MAX: usize = 1024;
/// Between attempts while the store is away.
const PAUSE: Duration = Duration::from_millis(500);

/// The lists of this broker. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Listings {
    metadata: Arc<dyn MetadataStore>,
    /// A mutex and not a task: it is held for a look-up.
    lists: Arc<Mutex<HashMap<NamespaceName, Weak<List>>>>,
}

/// One namespace's list, kept up to date as long as somebody holds it.
#[derive(Debug)]
struct List {
    /// A mutex and not a task: whoever begins to watch must see list and changes without a gap between them.
    state: Mutex<State>,
    listed: watch::Sender<bool>,
    task: Mutex<Option<AbortOnDropHandle<()>>>,
}

#[derive(Debug)]
struct State {
    names: Names,
    changes: broadcast::Sender<Arc<Changes>>,
}

/// Full names, and whether each is there now.
type Changes = BTreeMap<String, bool>;

impl Listings {
    pub(super) fn new(metadata: Arc<dyn MetadataStore>) -> Self {
        Self { metadata, lists: Arc::default() }
    }

    /// Watches the stored topics of a namespace. One that does not exist has none, and may come.
    pub(crate) async fn watch(&self, namespace: &NamespaceName) -> Result<Listing, Error> {
        let list = self.list(namespace);
        let mut listed = list.listed.subscribe();
        let ready = timeout(DEADLINE, listed.wait_for(|listed| *listed)).await;
        if !matches!(ready, Ok(Ok(_))) {
            return Err(Error::Unavailable { reason: "the topics could not be listed in time".into() });
        }
        drop(ready);
        let changes = list.state.lock().changes.subscribe();
        Ok(Listing { list, changes })
    }

    fn list(&self, namespace: &NamespaceName) -> Arc<List> {
        let mut lists = self.lists.lock();
        if let Some(list) = lists.get(namespace).and_then(Weak::upgrade) {
            return list;
        }
        lists.retain(|_, list| 0 < list.strong_count());
        let names = Names::new(namespace.clone());
        let list = Arc::new(List {
            state: Mutex::new(State { names, changes: broadcast::Sender::new(CHANGES_MAX) }),
            listed: watch::Sender::new(false),
            task: Mutex::default(),
        });
        let task = tokio::spawn(follow(Arc::clone(&self.metadata), namespace.clone(), Arc::downgrade(&list)));
        *list.task.lock() = Some(AbortOnDropHandle::new(task));
        lists.insert(namespace.clone(), Arc::downgrade(&list));
        list
    }
}

/// Follows the metadata until nobody holds the list.
async fn follow(metadata: Arc<dyn MetadataStore>, namespace: NamespaceName, list: Weak<List>) {
    let (topics, partitioned) = (keys::topics(&namespace), partitioned_prefix(&namespace, Domain::Persistent));
    loop {
        let Err(error) = follow_once(&*metadata, &topics, &partitioned, &list).await else { return };
        tracing::info!(%namespace, %error, "the list of topics is read again");
        sleep(PAUSE).await;
    }
}

/// Returns when nobody holds the list, or with the error after which it must be read again.
async fn follow_once(
    metadata: &dyn MetadataStore,
    topics: &str,
    partitioned: &str,
    list: &Weak<List>,
) -> Result<(), Error> {
    // Watches first: what changes in between is seen twice rather than never.
    let mut of_topics: Watch = metadata.watch(topics).await?;
    let mut of_partitioned: Watch = metadata.watch(partitioned).await?;
    let stored = metadata.list_all(topics).await?;
    let parents = metadata.list_all(partitioned).await?;
    let stored = stored.iter().filter_map(|record| record.key.as_str().strip_prefix(topics).map(str::to_owned));
    let parents = parents.iter().filter_map(|record| {
        let local = record.key.as_str().strip_prefix(partitioned)?.to_owned();
        Some((local, PartitionedTopicRecord::decode(record.value.clone()).ok()?.partitions))
    });
    let (stored, parents) = (stored.collect(), parents.collect());
    let Some(held) = list.upgrade() else { return Ok(()) };
    held.change(|names| names.replace(stored, parents));
    held.listed.send_replace(true);
    drop(held);
    loop {
        let (prefix, events) = tokio::select! {
            events = of_topics.next() => (topics, events?),
            events = of_partitioned.next() => (partitioned, events?),
        };
        let Some(held) = list.upgrade() else { return Ok(()) };
        held.change(|names| events.iter().flat_map(|event| names.note(event, prefix, prefix == topics)).collect());
    }
}

impl List {
    /// Changes the list and tells everyone, in one step.
    fn change(&self, change: impl FnOnce(&mut Names) -> Changes) {
        let mut state = self.state.lock();
        let changes = change(&mut state.names);
        if !changes.is_empty() {
            let _ = state.changes.send(Arc::new(changes)); // Perhaps nobody watches yet.
        }
    }
}

/// Before the partitioned topics of a namespace that are stored.
pub(super) fn partitioned_prefix(namespace: &NamespaceName, domain: Domain) -> String {
    format!("{}{}/", keys::partitioned_topics(namespace), domain.as_str())
}

/// What a watcher holds.
#[derive(Debug)]
pub(crate) struct Listing {
    list: Arc<List>,
    changes: broadcast::Receiver<Arc<Changes>>,
}

impl Listing {
    /// Full names of those that are there now and that `wanted` takes. Changes from here on come from [`next`](Self::next).
    pub(crate) fn all(&mut self, wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
        let names = {
            let state = self.list.state.lock();
            self.changes = state.changes.subscribe();
            state.names.all()
        };
        names.into_iter().filter(|name| wanted(name)).collect()
    }

    /// The next changes, gathered; `None` when too many were missed: then [`all`](Self::all) tells. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<BTreeMap<String, bool>> {
        let mut gathered = match self.changes.recv().await {
            Ok(changes) => (*changes).clone(),
            Err(RecvError::Lagged(_)) => return None,
            Err(RecvError::Closed) => return std::future::pending().await, // Not while the list is held here.
        };
        loop {
            match self.changes.try_recv() {
                Ok(changes) => gathered.extend((*changes).clone()),
                Err(TryRecvError::Lagged(_)) => return None,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return Some(gathered),
            }
        }
    }
}

/// Which topics there are. A partition is there if it has a record of its own, or its parent counts it. Pure.
#[derive(Debug)]
struct Names {
    namespace: NamespaceName,
    stored: BTreeSet<String>,
    partitioned: BTreeMap<String, u32>,
}

impl Names {
    fn new(namespace: NamespaceName) -> Self {
        Self { namespace, stored: BTreeSet::new(), partitioned: BTreeMap::new() }
    }

    fn full(&self, local: &str) -> String {
        format!("{}://{}/{local}", Domain::Persistent.as_str(), self.namespace)
    }

    fn all(&self) -> BTreeSet<String> {
        let stored = self.stored.iter().cloned();
        let counted = self.partitioned.iter().flat_map(|(local, count)| (0..*count).map(|number| part(local, number)));
        stored.chain(counted).map(|local| self.full(&local)).collect()
    }

    fn replace(&mut self, stored: BTreeSet<String>, partitioned: BTreeMap<String, u32>) -> Changes {
        let before = self.all();
        (self.stored, self.partitioned) = (stored, partitioned);
        let after = self.all();
        let gone = before.difference(&after).map(|name| (name.clone(), false));
        gone.chain(after.difference(&before).map(|name| (name.clone(), true))).collect()
    }

    /// Takes a change of a record in. Names whose presence did not change are not in the result.
    fn note(&mut self, event: &Event, prefix: &str, is_topic: bool) -> Changes {
        let Some(local) = event.key.as_str().strip_prefix(prefix) else { return Changes::new() };
        if is_topic {
            return self.note_stored(local, event.record.is_some());
        }
        let decoded = event.record.as_ref().map(|record| PartitionedTopicRecord::decode(record.value.clone()));
        let count = decoded.and_then(Result::ok).map_or(0, |record| record.partitions);
        self.note_partitioned(local, count)
    }

    fn note_stored(&mut self, local: &str, is_there: bool) -> Changes {
        let changed = if is_there { self.stored.insert(local.into()) } else { self.stored.remove(local) };
        if !changed || self.is_counted(local) { Changes::new() } else { [(self.full(local), is_there)].into() }
    }

    fn note_partitioned(&mut self, local: &str, count: u32) -> Changes {
        let before = match count {
            0 => self.partitioned.remove(local),
            count => self.partitioned.insert(local.into(), count),
        };
        let before = before.unwrap_or(0);
        let numbers = before.min(count)..before.max(count);
        let changed = numbers.map(|number| part(local, number)).filter(|local| !self.stored.contains(local));
        changed.map(|local| (self.full(&local), before < count)).collect()
    }

    fn is_counted(&self, local: &str) -> bool {
        let Ok(topic) = TopicName::new(Domain::Persistent, self.namespace.clone(), local) else { return false };
        let parent = topic.partitioned();
        topic
            .partition()
            .is_some_and(|number| self.partitioned.get(parent.local()).is_some_and(|count| number < *count))
    }
}

fn part(local: &str, number: u32) -> String {
    format!("{local}-partition-{number}")
}

#[cfg(test)]
mod tests;
