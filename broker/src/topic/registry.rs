//! The topics that are loaded here.
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::StreamExt;
use metadata::Transaction;
use parking_lot::Mutex;
use proto::{Domain, TopicName};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::compaction::Compactions;
use super::handle::{Shared, Stored};
use super::offloads::Offloads;
use super::remember::remembered;
use super::{Idle, TopicError, TopicHandle, non_persistent, task};
use crate::Clock;
use crate::heed::Heeded;
use crate::log::{self, LogContext, LogReader};
use crate::outbox::{NextOwner, Serial};
use crate::policies;

/// Topics that are being unloaded together. Closing one waits for bookies and metadata, not for a processor.
const UNLOADED_AT_ONCE: usize = 500;

/// What the registry is made of.
pub(crate) struct TopicSetup {
    pub(crate) log: LogContext,
    /// Whether this broker serves a topic.
    pub(crate) owns: Box<dyn Fn(&TopicName) -> bool + Send + Sync>,
    /// `<cluster>-<number of this start>`: names of producers begin with it, so that no two starts give the same.
    pub(crate) producer_prefix: String,
    pub(crate) clock: Clock,
}

impl fmt::Debug for TopicSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicSetup").field("log", &self.log).finish_non_exhaustive()
    }
}

/// The registry of loaded topics: one per process. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Topics(Arc<Registry>);

/// What topic tasks share.
pub(super) struct Registry {
    setup: TopicSetup,
    /// A mutex and not a task: it is held for a look-up, and each SEND of a new connection would wait for such a task.
    slots: Mutex<HashMap<TopicName, Slot>>,
    pub(super) tasks: TaskTracker,
    pub(super) clock: Clock,
    producers: AtomicU64,
    serials: AtomicU64,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("topics", &self.slots.lock().len()).finish_non_exhaustive()
    }
}

/// `None` until whoever is at it has done it.
type Outcome = Option<Result<TopicHandle, TopicError>>;

#[derive(Clone)]
enum Slot {
    /// Someone loads or deletes it; changes once that is done.
    Busy(watch::Receiver<Outcome>),
    Loaded(TopicHandle),
}

impl Registry {
    /// A name that no producer had before.
    pub(super) fn producer_name(&self) -> String {
        format!("{}-{}", self.setup.producer_prefix, self.producers.fetch_add(1, Ordering::Relaxed))
    }

    /// The task of `topic` has ended.
    pub(super) fn forget(&self, topic: &Arc<Shared>) {
        let mut slots = self.slots.lock();
        if matches!(slots.get(&topic.name), Some(Slot::Loaded(handle)) if Arc::ptr_eq(&handle.shared, topic)) {
            slots.remove(&topic.name);
        }
    }

    async fn load(self: &Arc<Self>, name: &TopicName, create: bool) -> Result<TopicHandle, TopicError> {
        let failed = |error: log::LogError| TopicError::from_log(&error, name);
        if name.domain() == Domain::NonPersistent {
            return if create { Ok(self.make_non_persistent(name)) } else { Err(TopicError::NotFound(name.clone())) };
        }
        let loaded = match log::load(&self.setup.log, name).await {
            Err(log::LogError::NotFound { .. }) if create => {
                log::create(&self.setup.log, name, HashMap::new()).await.map_err(failed)?;
                log::load(&self.setup.log, name).await.map_err(failed)?
            }
            outcome => outcome.map_err(failed)?,
        };
        let mut loaded = loaded;
        let sequences = remembered(&mut loaded, self.clock.now_ms()).await.map_err(failed)?;
        let shared = Arc::new(Shared {
            name: name.clone(),
            partition: partition(name),
            reader: loaded.log.reader(),
            stored: Some(Stored {
                trimmer: loaded.trimmer.clone(),
                offloader: loaded.offloader.clone(),
                compactor: loaded.compactor.clone(),
                record: loaded.record.clone(),
            }),
            offloads: Offloads::default(),
            compactions: Compactions::default(),
            created_at: loaded.created_at,
            deduplicates: AtomicBool::new(sequences.is_some()),
            terminated: Arc::new(AtomicBool::new(loaded.terminated.is_some())),
            heeded: Arc::new(Heeded::with(loaded.record.replication())),
            gone: CancellationToken::new(),
        });
        Ok(task::spawn(shared, loaded, sequences, self.clone()))
    }

    /// There is nothing to load: it begins.
    fn make_non_persistent(self: &Arc<Self>, name: &TopicName) -> TopicHandle {
        let shared = Arc::new(Shared {
            name: name.clone(),
            partition: partition(name),
            reader: LogReader::empty(&self.setup.log, name),
            stored: None,
            offloads: Offloads::default(),
            compactions: Compactions::default(),
            created_at: self.clock.now_ms(),
            deduplicates: AtomicBool::new(false),
            terminated: Arc::default(),
            heeded: Arc::default(),
            gone: CancellationToken::new(),
        });
        non_persistent::spawn(shared, self.clone())
    }
}

/// Of message ids.
fn partition(name: &TopicName) -> Option<i32> {
    name.partition().and_then(|number| i32::try_from(number).ok())
}

/// Under which condition a topic is deleted.
#[derive(Debug, Clone, Copy)]
enum If {
    Always,
    /// Nobody is there.
    Unused,
    /// And nobody was since that was found out.
    Still(Idle),
}

/// What to do about a slot.
enum Found {
    Handle(TopicHandle),
    Wait(watch::Receiver<Outcome>),
    /// Nobody is at it: the finder is, now.
    Mine(watch::Sender<Outcome>, watch::Receiver<Outcome>),
}

impl Topics {
    /// No topic is loaded yet.
    pub(crate) fn new(setup: TopicSetup) -> Self {
        let clock = setup.clock.clone();
        Self(Arc::new(Registry {
            setup,
            slots: Mutex::default(),
            tasks: TaskTracker::new(),
            clock,
            producers: AtomicU64::new(0),
            serials: AtomicU64::new(0),
        }))
    }

    /// A name for a producer or consumer that no other has.
    pub(crate) fn serial(&self) -> Serial {
        Serial(self.0.serials.fetch_add(1, Ordering::Relaxed))
    }

    /// The topic, loaded if it is not. A topic without a record is made first when `create` says so; whether it may be made
    /// (tenant, namespace, partition count) is for the caller to check before. [`TopicError::NotFound`] otherwise.
    pub(crate) async fn open(&self, name: &TopicName, create: bool) -> Result<TopicHandle, TopicError> {
        loop {
            if !(self.0.setup.owns)(name) {
                return Err(TopicError::NotOwner(name.clone()));
            }
            match self.find(name) {
                Found::Handle(handle) if !handle.is_closed() => return Ok(handle),
                Found::Handle(closing) => closing.gone().await,
                Found::Wait(outcome) => match wait(outcome).await {
                    Some(Err(TopicError::NotFound(_))) if create => {} // That one was not to make it.
                    Some(outcome) => return outcome,
                    None => {} // Deleted, or given up: look again.
                },
                Found::Mine(sender, outcome) => {
                    self.start_loading(name, create, sender);
                    return wait(outcome).await.unwrap_or_else(|| Err(TopicError::Unavailable(name.clone())));
                }
            }
        }
    }

    fn find(&self, name: &TopicName) -> Found {
        let mut slots = self.0.slots.lock();
        match slots.get(name) {
            Some(Slot::Loaded(handle)) => Found::Handle(handle.clone()),
            Some(Slot::Busy(outcome)) => Found::Wait(outcome.clone()),
            None => {
                let (sender, outcome) = watch::channel(None);
                slots.insert(name.clone(), Slot::Busy(outcome.clone()));
                Found::Mine(sender, outcome)
            }
        }
    }

    /// In a task of its own: the one who asked may go away, the others who wait may not be let down.
    fn start_loading(&self, name: &TopicName, create: bool, outcome: watch::Sender<Outcome>) {
        let (topics, name) = (self.clone(), name.clone());
        self.0.tasks.spawn(async move {
            let mut freed = Freed { topics: &topics, name: &name, handle: None };
            let loaded = topics.0.load(&name, create).await;
            let loaded = match loaded {
                Ok(handle) if !(topics.0.setup.owns)(&name) => {
                    handle.end(true, &NextOwner::default()).await;
                    Err(TopicError::NotOwner(name.clone()))
                }
                loaded => loaded,
            };
            if let Err(error) = &loaded {
                tracing::debug!(topic = %name, %error, "topic was not loaded");
            }
            freed.handle = loaded.as_ref().ok().cloned();
            drop(freed);
            outcome.send_replace(Some(loaded));
        });
    }

    /// The topic, if it is loaded.
    pub(crate) fn get(&self, name: &TopicName) -> Option<TopicHandle> {
        match self.0.slots.lock().get(name) {
            Some(Slot::Loaded(handle)) if !handle.is_closed() => Some(handle.clone()),
            _ => None,
        }
    }

    /// All that are loaded.
    pub(crate) fn loaded(&self) -> Vec<TopicHandle> {
        let slots = self.0.slots.lock();
        let loaded = slots.values().filter_map(|slot| match slot {
            Slot::Loaded(handle) if !handle.is_closed() => Some(handle.clone()),
            _ => None,
        });
        loaded.collect()
    }

    /// Answers what is in flight, sends producers and consumers to the next owner, closes the topic. Returns when it is closed.
    #[tracing::instrument(target = "geminga", name = "topic.unload", skip_all, fields(topic = %name))]
    pub(crate) async fn unload(&self, name: &TopicName, to: &NextOwner) {
        let slot = self.0.slots.lock().get(name).cloned();
        let handle = match slot {
            None => return,
            Some(Slot::Loaded(handle)) => handle,
            Some(Slot::Busy(outcome)) => match wait(outcome).await {
                Some(Ok(handle)) => handle,
                _ => return,
            },
        };
        handle.end(true, to).await;
    }

    /// [`unload`](Self::unload) for all that match, some at once: what each needs meanwhile adds up.
    pub(crate) async fn unload_where(&self, which: impl Fn(&TopicName) -> bool + Send, to: &NextOwner) {
        let names = self.names_where(which);
        let unloads = names.iter().map(|name| self.unload(name, to));
        futures::stream::iter(unloads).for_each_concurrent(UNLOADED_AT_ONCE, |unload| unload).await;
    }

    /// Those that match of all that are loaded, or about to be.
    pub(crate) fn names_where(&self, which: impl Fn(&TopicName) -> bool) -> Vec<TopicName> {
        self.0.slots.lock().keys().filter(|name| which(name)).cloned().collect()
    }

    /// Deletes a topic, loaded or not. Without `force`, producers and connected consumers are in the way.
    pub(crate) async fn delete(&self, name: &TopicName, force: bool) -> Result<(), TopicError> {
        self.delete_if(name, if force { If::Always } else { If::Unused }).await
    }

    /// Deletes a topic that is still as idle as it was. [`TopicError::ActiveUsers`]: it is not.
    pub(crate) async fn delete_idle(&self, name: &TopicName, idle: Idle) -> Result<(), TopicError> {
        self.delete_if(name, If::Still(idle)).await
    }

    #[tracing::instrument(target = "geminga", name = "topic.delete", skip_all, fields(topic = %name))]
    async fn delete_if(&self, name: &TopicName, allowed: If) -> Result<(), TopicError> {
        if !(self.0.setup.owns)(name) {
            return Err(TopicError::NotOwner(name.clone()));
        }
        let mut ended = false;
        let sender = loop {
            match self.find(name) {
                Found::Mine(sender, _) => break sender,
                Found::Wait(outcome) => drop(wait(outcome).await),
                Found::Handle(handle) if handle.is_closed() => handle.gone().await,
                Found::Handle(handle) => match allowed {
                    If::Always => handle.end(false, &NextOwner::default()).await,
                    If::Unused => match handle.idle(self.0.clock.now_ms()).await? {
                        Some(idle) => {
                            handle.end_idle(idle).await?; // If not, it is looked at again.
                        }
                        None => return Err(TopicError::ActiveUsers),
                    },
                    If::Still(idle) => {
                        if ended || !handle.end_idle(idle).await? {
                            return Err(TopicError::ActiveUsers);
                        }
                        ended = true;
                    }
                },
            }
        };
        let freed = Freed { topics: self, name, handle: None };
        if matches!(allowed, If::Still(_)) && !ended {
            return Err(TopicError::ActiveUsers); // Somebody has unloaded it: nothing is known any more.
        }
        let deleted = match name.domain() {
            Domain::Persistent => log::delete(&self.0.setup.log, name, policies::forget_topic(name)).await,
            // It has gone with its task, but for what was wanted of it.
            Domain::NonPersistent => match policies::forget_topic(name) {
                nothing if nothing.is_empty() => Ok(()),
                forget => {
                    let forgotten = self.0.setup.log.metadata.commit(Transaction::new(forget)).await;
                    forgotten.map(drop).map_err(log::LogError::from)
                }
            },
        };
        drop(freed);
        drop(sender); // Whoever waits looks again.
        deleted.map_err(|error| TopicError::from_log(&error, name))
    }
}

/// Ends [`Slot::Busy`], also when its task is dropped halfway.
struct Freed<'a> {
    topics: &'a Topics,
    name: &'a TopicName,
    handle: Option<TopicHandle>,
}

impl Drop for Freed<'_> {
    fn drop(&mut self) {
        let mut slots = self.topics.0.slots.lock();
        match self.handle.take().filter(|handle| !handle.is_closed()) {
            Some(handle) => drop(slots.insert(self.name.clone(), Slot::Loaded(handle))),
            None => drop(slots.remove(self.name)),
        }
    }
}

/// `None` when whoever was at it gave up without an outcome.
async fn wait(mut outcome: watch::Receiver<Outcome>) -> Option<Result<TopicHandle, TopicError>> {
    outcome.wait_for(Option::is_some).await.ok()?.clone()
}
