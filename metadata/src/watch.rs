//! Watches as their holder sees them, and as a store feeds them.
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::store::{Error, Event};

/// What one watch may hold for a slow reader. One more transaction always fits into an empty queue.
const WATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Small events are bounded by number.
const WATCH_BATCHES_MAX: usize = 4096;

/// Changes below a prefix, from the moment [`MetadataStore::watch`](crate::MetadataStore::watch) returned. A hint only: an event
/// may be lost when the store is away or the reader slow, and then the watch ends with an error, upon which the caller takes
/// a new one and then lists again.
#[derive(Debug)]
pub struct Watch {
    batches: mpsc::Receiver<Batch>,
}

#[derive(Debug)]
struct Batch {
    events: Result<Vec<Event>, Error>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Watch {
    /// The next changes, in order; `Err` at the end, and from then on. Cancel safe.
    pub async fn next(&mut self) -> Result<Vec<Event>, Error> {
        match self.batches.recv().await {
            Some(batch) => batch.events,
            None => Err(Error::Unavailable { reason: "the watch has ended".into() }),
        }
    }
}

/// Where a store puts the events of one watch.
#[derive(Debug)]
pub(crate) struct Sink {
    batches: mpsc::Sender<Batch>,
    room: Arc<Semaphore>,
}

/// Both ends.
pub(crate) fn watch() -> (Sink, Watch) {
    let (sender, batches) = mpsc::channel(WATCH_BATCHES_MAX);
    (Sink { batches: sender, room: Arc::new(Semaphore::new(WATCH_BYTES_MAX)) }, Watch { batches })
}

impl Sink {
    /// Whether anybody still listens.
    pub(crate) fn is_closed(&self) -> bool {
        self.batches.is_closed()
    }

    /// Returns once nobody listens any more.
    pub(crate) async fn closed(&self) {
        self.batches.closed().await;
    }

    /// Hands over without waiting; false when the reader is gone or too slow, and the watch must end.
    pub(crate) fn offer(&self, events: Vec<Event>) -> bool {
        let Ok(room) = self.room.clone().try_acquire_many_owned(weight(&events)) else { return false };
        self.batches.try_send(Batch { events: Ok(events), _room: Some(room) }).is_ok()
    }

    /// Hands over, waiting for room; false when the reader is gone.
    pub(crate) async fn send(&self, events: Vec<Event>) -> bool {
        let Ok(room) = self.room.clone().acquire_many_owned(weight(&events)).await else { return false };
        self.batches.send(Batch { events: Ok(events), _room: Some(room) }).await.is_ok()
    }

    /// Says why it ends.
    pub(crate) async fn fail(self, error: Error) {
        // A reader that is gone needs no reason.
        let _ = self.batches.send(Batch { events: Err(error), _room: None }).await;
    }
}

/// Never above the whole room, for which one would wait forever.
fn weight(events: &[Event]) -> u32 {
    let bytes: usize = events
        .iter()
        .map(|event| event.key.as_str().len() + event.record.as_ref().map_or(0, |record| record.value.len()))
        .sum();
    u32::try_from(bytes.min(WATCH_BYTES_MAX)).unwrap_or(u32::MAX)
}

/// All watches of a store that lives in this process.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    all: Vec<(String, Sink)>,
}

impl Watchers {
    /// Sees what is published from now on.
    pub(crate) fn add(&mut self, prefix: &str) -> Watch {
        self.all.retain(|(_, sink)| !sink.is_closed());
        let (sink, watch) = watch();
        self.all.push((prefix.to_owned(), sink));
        watch
    }

    /// Tells every watch of what lies below its prefix. One that cannot keep up ends.
    pub(crate) fn publish(&mut self, events: &[Event]) {
        if events.is_empty() {
            return;
        }
        self.all.retain(|(prefix, sink)| {
            let seen: Vec<Event> =
                events.iter().filter(|event| event.key.as_str().starts_with(prefix.as_str())).cloned().collect();
            seen.is_empty() || sink.offer(seen)
        });
    }

    /// Ends all of them: what comes next is not known.
    pub(crate) fn end(&mut self) {
        self.all.clear();
    }
}
