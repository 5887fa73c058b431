//! Ledgers that move to objects: which topics want it, and one ledger at a time for the whole broker.
//!
//! Owns: the queue of topics that have something to move, and whose turn it is.
//! Promises: one upload at a time, so that memory is bounded; topics take turns ledger by ledger; a store that fails makes only those wait
//! that want to go there; what is begun is seen to its end or given up.
//! Never: decides which ledgers may go (`log`), or what is wanted (`policies`).
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use daemon::Drain;
use parking_lot::Mutex;
use proto::{LedgerId, Position, TopicName};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::wanted::{Defaults, Wanted};
use crate::Clock;
use crate::log::{ObjectTier, OffloadError, free_due, next_due, offload_asked, offload_due};
use crate::offload::{Location, ObjectError};
use crate::policies::{Effective, Policies};
use crate::topic::{TopicError, TopicHandle};

/// Topics that wait for their turn. What does not fit waits for the next walk.
const WAITING_MAX: usize = 1024;
/// Topics that are looked at again by themselves: those for which something is due before the next walk.
const SOON: Duration = Duration::from_secs(60);
/// A store that failed is left alone for so long.
const STORE_RESTS: Duration = Duration::from_secs(30);
/// A ledger that somebody wants moved is closed within that, or it is not known when.
const CLOSED_WITHIN: Duration = Duration::from_secs(60);

/// Moves ledgers. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Tiering {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    tier: ObjectTier,
    policies: Policies,
    defaults: Defaults,
    clock: Clock,
    waiting: mpsc::Sender<TopicHandle>,
    /// Until the worker begins.
    turns: Mutex<Option<mpsc::Receiver<TopicHandle>>>,
    /// A lock and not a task: a look-up for each topic of a walk.
    queued: Mutex<HashSet<TopicName>>,
    /// Whose turn it is to upload.
    upload: Semaphore,
    under_way: Mutex<Option<UnderWay>>,
    /// What somebody asked for.
    asked: TaskTracker,
    end: CancellationToken,
}

#[derive(Debug, Clone)]
struct UnderWay {
    topic: TopicName,
    ledger: LedgerId,
    bytes: u64,
    read: Arc<AtomicU64>,
}

/// An upload of this broker, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upload {
    pub(crate) topic: TopicName,
    pub(crate) ledger: LedgerId,
    /// Payload of the ledger, and how much of it has been read from bookies.
    pub(crate) bytes: u64,
    pub(crate) read_bytes: u64,
}

/// Why a ledger did not move.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum MoveError {
    /// What is wanted cannot be read.
    #[error("policies cannot be read: {0}")]
    Policies(#[from] metadata::Error),
    /// There is no store, or none that may be used.
    #[error(transparent)]
    Nowhere(#[from] super::wanted::Nowhere),
    /// Of the store, the ledger or the record.
    #[error(transparent)]
    Offload(#[from] OffloadError),
    /// Of the topic.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// A ledger that was to be closed first is still open.
    #[error("the open ledger is not closed yet")]
    StillOpen,
}

impl Tiering {
    /// `defaults` stand where no policy says anything.
    pub(crate) fn new(tier: ObjectTier, policies: Policies, defaults: Defaults, clock: Clock) -> Self {
        let (waiting, turns) = mpsc::channel(WAITING_MAX);
        Self {
            shared: Arc::new(Shared {
                tier,
                policies,
                defaults,
                clock,
                waiting,
                turns: Mutex::new(Some(turns)),
                queued: Mutex::default(),
                upload: Semaphore::new(1),
                under_way: Mutex::new(None),
                asked: TaskTracker::new(),
                end: CancellationToken::new(),
            }),
        }
    }

    /// Stores and the reader of their objects.
    pub(crate) fn tier(&self) -> &ObjectTier {
        &self.shared.tier
    }

    /// What counts for a topic, with the broker's defaults.
    pub(crate) fn wanted(&self, effective: &Effective) -> Wanted {
        self.shared.defaults.with(effective.offload().as_ref())
    }

    /// What this broker uploads now.
    pub(crate) fn uploads(&self) -> Vec<Upload> {
        let under_way = self.shared.under_way.lock().clone();
        let shown = |UnderWay { topic, ledger, bytes, read }| Upload {
            topic,
            ledger,
            bytes,
            read_bytes: read.load(Ordering::Relaxed),
        };
        under_way.into_iter().map(shown).collect()
    }

    /// Puts a topic into the queue, if there is anything to do for it now or soon.
    pub(super) fn consider(&self, topic: &TopicHandle, effective: &Effective) {
        let (moving, now_ms) = (self.wanted(effective).moving, self.shared.clock.now_ms());
        let due = topic.with_chain(|chain| {
            let soon = next_due(chain, &moving, now_ms).is_some_and(|due_ms| due_ms - now_ms < millis(SOON));
            soon || !offload_due(chain, &moving, now_ms).is_empty() || !free_due(chain, &moving, now_ms).is_empty()
        });
        if due {
            self.queue(topic.clone());
        }
    }

    fn queue(&self, topic: TopicHandle) {
        let name = topic.name().clone();
        if self.shared.queued.lock().insert(name.clone()) && self.shared.waiting.try_send(topic).is_err() {
            self.shared.queued.lock().remove(&name);
        }
    }

    /// Runs until `drain`.
    pub(super) async fn work(&self, drain: &Drain) {
        let Some(mut turns) = self.shared.turns.lock().take() else { return };
        let mut soon: BTreeMap<(u64, TopicName), TopicHandle> = BTreeMap::new();
        let mut resting: HashMap<Location, Instant> = HashMap::new();
        let ending = async {
            drain.requested().await;
            self.shared.end.cancel(); // Uploads end where they are.
        };
        let working = async {
            loop {
                let now_ms = self.shared.clock.now_ms();
                let next = soon.first_key_value().map(|((due_ms, _), _)| due_ms.saturating_sub(now_ms));
                let next = next.map(|left_ms| Instant::now() + Duration::from_millis(left_ms));
                tokio::select! {
                    () = self.shared.end.cancelled() => return,
                    () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                        if let Some((_, topic)) = soon.pop_first() {
                            self.queue(topic);
                        }
                    }
                    topic = turns.recv() => {
                        let Some(topic) = topic else { return };
                        self.shared.queued.lock().remove(topic.name());
                        if let Some(due_ms) = self.turn(&topic, &mut resting).await
                            && soon.len() < WAITING_MAX
                        {
                            soon.retain(|(_, name), _| name != topic.name());
                            soon.insert((due_ms, topic.name().clone()), topic);
                        }
                    }
                }
            }
        };
        tokio::join!(ending, working);
        self.shared.asked.close();
        self.shared.asked.wait().await;
    }

    /// One topic's turn: what bookies may forget, then one ledger. Says when there is more to do, if that is soon.
    async fn turn(&self, topic: &TopicHandle, resting: &mut HashMap<Location, Instant>) -> Option<u64> {
        if topic.is_closed() {
            return None;
        }
        let wanted = match self.shared.policies.effective(topic.name()).await {
            Ok(effective) => self.wanted(&effective),
            Err(error) => {
                tracing::warn!(topic = %topic.name(), %error, "policies cannot be read: nothing moves");
                return None;
            }
        };
        let moving = wanted.moving;
        let dues = topic.with_chain(|chain| free_due(chain, &moving, self.shared.clock.now_ms()));
        for ledger in dues {
            if let Err(error) = topic.free(ledger, self.ends(topic)).await {
                tracing::warn!(topic = %topic.name(), %ledger, %error, "bookies keep a ledger that lies in objects");
                break;
            }
        }
        let due = topic.with_chain(|chain| offload_due(chain, &moving, self.shared.clock.now_ms()));
        if let Some(ledger) = due.first() {
            match self.move_one(topic, *ledger, &wanted, resting).await {
                Ok(()) if 1 < due.len() => self.queue(topic.clone()), // Others first.
                Ok(()) => {}
                Err(error) => {
                    topic.note_offload(Err(error.to_string()), self.shared.clock.now_ms());
                    tracing::warn!(topic = %topic.name(), %ledger, %error, "a ledger stays on bookies for now");
                }
            }
        }
        let now_ms = self.shared.clock.now_ms();
        let next = topic.with_chain(|chain| next_due(chain, &moving, now_ms));
        next.filter(|due_ms| due_ms - now_ms < millis(SOON))
    }

    async fn move_one(
        &self,
        topic: &TopicHandle,
        ledger: LedgerId,
        wanted: &Wanted,
        resting: &mut HashMap<Location, Instant>,
    ) -> Result<(), MoveError> {
        let location = wanted.store.clone()?;
        resting.retain(|_, until| Instant::now() < *until);
        if resting.contains_key(&location) {
            return Err(OffloadError::Object(ObjectError::Unavailable {
                object: location.root(),
                reason: "it failed a moment ago".into(),
            })
            .into());
        }
        let moved = self.upload(topic, ledger, &location).await;
        if let Err(MoveError::Offload(error)) = &moved
            && error.is_of_store()
        {
            resting.insert(location, Instant::now() + STORE_RESTS);
        }
        moved
    }

    /// Returns once there is no more use in going on with a topic.
    async fn ends(&self, topic: &TopicHandle) {
        tokio::select! {
            () = self.shared.end.cancelled() => {}
            () = topic.closing() => {}
        }
    }

    /// Waits for its turn and moves one ledger.
    #[tracing::instrument(target = "geminga", name = "ledger.offload", skip_all, fields(topic = %topic.name(), %ledger))]
    async fn upload(&self, topic: &TopicHandle, ledger: LedgerId, location: &Location) -> Result<(), MoveError> {
        let mut until = std::pin::pin!(self.ends(topic));
        let _turn = tokio::select! {
            turn = self.shared.upload.acquire() => turn,
            () = &mut until => return Err(OffloadError::Interrupted.into()),
        };
        let store = self.shared.tier.open(location).map_err(OffloadError::from)?;
        let bytes = topic.with_chain(|chain| chain.ledger(ledger).map_or(0, |listed| listed.bytes));
        let read = Arc::new(AtomicU64::new(0));
        let under_way = UnderWay { topic: topic.name().clone(), ledger, bytes, read: Arc::clone(&read) };
        *self.shared.under_way.lock() = Some(under_way);
        let progress = move |bytes| {
            read.fetch_add(bytes, Ordering::Relaxed);
        };
        let moved = topic.offload(ledger, &store, progress, until).await;
        *self.shared.under_way.lock() = None;
        if moved? {
            topic.note_offload(Ok(ledger), self.shared.clock.now_ms());
        }
        Ok(())
    }

    /// Moves what lies before `before`, whatever policies say of when. `false`: it is being done already. What became of it is told by
    /// [`TopicHandle::offload_progress`].
    pub(super) fn offload(&self, topic: &TopicHandle, before: Position) -> bool {
        if !topic.begin_offload() {
            return false;
        }
        let (this, topic) = (self.clone(), topic.clone());
        self.shared.asked.spawn(async move {
            let moved = this.offload_before(&topic, before.ledger).await;
            if let Err(error) = &moved {
                tracing::warn!(topic = %topic.name(), %error, "an offload that was asked for failed");
            }
            topic.end_offload(moved.map_err(|error| error.to_string()));
            if let Ok(effective) = this.shared.policies.effective(topic.name()).await {
                this.consider(&topic, &effective); // Bookies may soon forget what has moved.
            }
        });
        true
    }

    /// Returns the first position that did not move.
    async fn offload_before(&self, topic: &TopicHandle, before: LedgerId) -> Result<Position, MoveError> {
        let effective = self.shared.policies.effective(topic.name()).await?;
        let location = self.wanted(&effective).store?;
        let ledgers = topic.with_chain(|chain| offload_asked(chain, before));
        for ledger in &ledgers {
            let open = topic.with_chain(|chain| chain.open().is_some_and(|(open, ..)| open.ledger == *ledger));
            if open {
                topic.roll(*ledger).await?;
                timeout(CLOSED_WITHIN, topic.until_sealed(*ledger)).await.map_err(|_| MoveError::StillOpen)??;
            }
            self.upload(topic, *ledger, &location).await?;
        }
        Ok(topic.with_chain(|chain| {
            let unmoved = chain.ledgers().iter().find(|listed| listed.objects.is_none());
            unmoved.map_or_else(|| chain.end(), |listed| Position { ledger: listed.ledger, ..Position::EARLIEST })
        }))
    }

    /// Waits for reads of objects that are under way. After all topics are closed.
    pub(crate) async fn stop(&self) {
        self.shared.tier.objects().stop().await;
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
