//! Remembering what producers have published: the shell around [`Sequences`].
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use proto::entry::head_of_stored;
use tokio::sync::oneshot;

use super::TopicError;
use super::errands::Errand;
use super::producers::{AttachProducer, ProducerRefused};
use super::publishing::{Waiting, What};
use super::sequences::Sequences;
use super::task::Topic;
use crate::cursor::{AckSet, OF_PRODUCERS};
use crate::log::{Loaded, LogError};

/// While this much is unconfirmed, no further producers: bookies are away, and each newcomer would bring its own flood.
const UNCONFIRMED_MAX: usize = 32 * 1024 * 1024;
/// Entries and bytes that one read asks for.
const READ: (usize, usize) = (1000, 1 << 20);

/// What was written down when the topic was last loaded, and what its entries say since. `None` when nothing is to be remembered.
pub(super) async fn remembered(loaded: &mut Loaded, now_ms: u64) -> Result<Option<Sequences>, LogError> {
    let Some(at) = loaded.cursors.iter().position(|cursor| &*cursor.name == OF_PRODUCERS) else { return Ok(None) };
    let cursor = loaded.cursors.remove(at);
    let reader = loaded.log.reader();
    let mut next = cursor.acks.mark();
    let mut sequences = Sequences::restored(next, &cursor.properties);
    loop {
        let entries = reader.read(next, READ.0, READ.1).await?;
        let Some(last) = entries.last() else { return Ok(Some(sequences)) };
        next = last.position.next();
        for entry in entries {
            let end = entry.position.next();
            match head_of_stored(&entry.bytes) {
                Ok(head) => sequences.replayed(&head.into(), entry.bytes.len(), end, now_ms),
                Err(_) => sequences.passed(1, entry.bytes.len() as u64, end), // Stored before it was refused.
            }
        }
    }
}

impl Topic {
    /// Lets a producer in, once it is remembered or forgotten as policies want, and once nothing of it is in flight: it is told what of it
    /// is stored.
    pub(super) fn attach(&mut self, attach: Box<AttachProducer>) {
        if UNCONFIRMED_MAX <= self.log.unconfirmed_bytes() {
            return refuse(*attach, TopicError::Unavailable(self.shared.name.clone()));
        }
        let known = self.sequences.as_ref();
        if known.is_some() != attach.deduplication || self.errands.is_switching() {
            return self.errands.hold(attach);
        }
        let in_flight = known.zip(attach.name.as_deref()).is_some_and(|(known, name)| !known.is_settled(name));
        if in_flight {
            self.waiting.push_back(Waiting { serial: attach.serial, what: What::Attach(attach) });
        } else {
            self.let_in(*attach);
        }
    }

    pub(super) fn let_in(&mut self, attach: AttachProducer) {
        let name = attach.name.clone().unwrap_or_else(|| self.registry.producer_name());
        if let Some(error) = self.refuses_producers(&name, &attach) {
            return refuse(attach, error);
        }
        let last = self.sequences.as_ref().and_then(|known| known.last(&name));
        self.producers.attach(name, attach, last);
    }

    /// Starts to remember, stops it, or writes down what is known, as far as there is reason to.
    pub(super) fn remember(&mut self) {
        if self.errands.is_writing() {
            return;
        }
        let wanted = self.errands.next_held();
        let (cursor_log, name): (_, Arc<str>) = (self.cursor_log.clone(), OF_PRODUCERS.into());
        match (&mut self.sequences, wanted) {
            (None, Some(true)) => {
                let end = self.shared.reader.end();
                self.errands.write(async move {
                    let put = cursor_log.put(&name, AckSet::at(end), HashMap::new()).await;
                    Errand::Remembers(put.map(|()| Some(Sequences::new(end))))
                });
            }
            (Some(_), Some(false)) => {
                self.errands.write(async move { Errand::Remembers(cursor_log.remove(&name).await.map(|()| None)) })
            }
            (Some(known), _) if known.is_due() || (self.errands.is_asked() && known.is_behind()) => {
                let producers = &self.producers;
                let now_ms = self.registry.clock.now_ms();
                let (end, written) = known.snapshot(now_ms, |name| producers.named(name).is_some());
                let asked = self.errands.asked();
                self.errands.write(async move {
                    let put = cursor_log.put(&name, AckSet::at(end), written).await;
                    if put.is_ok() {
                        answer(asked);
                    }
                    Errand::Written(put)
                });
            }
            _ => answer(self.errands.asked()),
        }
    }

    /// It is remembered from now on, or not any more.
    pub(super) fn remembers(&mut self, sequences: Option<Sequences>) {
        self.shared.deduplicates.store(sequences.is_some(), Ordering::Relaxed);
        self.sequences = sequences;
        for attach in self.errands.held() {
            self.attach(attach);
        }
    }

    /// Writes it down once more, so that the next load reads nothing again.
    pub(super) async fn remember_last(&mut self) {
        let Some(known) = self.sequences.as_mut().filter(|known| known.is_behind()) else { return };
        let producers = &self.producers;
        let (end, written) = known.snapshot(self.registry.clock.now_ms(), |name| producers.named(name).is_some());
        if let Err(error) = self.cursor_log.put(&OF_PRODUCERS.into(), AckSet::at(end), written).await {
            tracing::debug!(topic = %self.shared.name, %error, "what producers have published is read again by the next load");
        }
    }
}

/// Who asked may have gone away.
fn answer(asked: Vec<oneshot::Sender<()>>) {
    for one in asked {
        let _ = one.send(());
    }
}

fn refuse(attach: AttachProducer, error: TopicError) {
    let _ = attach.reply.send(Err(ProducerRefused { error, holder: None })); // The connection may be gone.
}
