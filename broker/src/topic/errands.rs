//! What a topic has written down beside its log, without waiting for it: one thing of each kind at a time.
use std::future::pending;
use std::time::Duration;

use futures::future::BoxFuture;

use super::TopicError;
use super::producers::AttachProducer;
use super::producers::ProducerRefused;
use super::task::{End, Topic};
use crate::log::{LogError, RecordOwner};

/// While this much is unconfirmed, no further producers: bookies are away, and each newcomer would bring its own flood.
const UNCONFIRMED_MAX: usize = 32 * 1024 * 1024;

/// What was written down, or why it was not.
pub(super) enum Errand {
    /// Of the producers that have the topic for themselves.
    Epoch(u64, Result<(), LogError>),
}

/// Runs within the topic's task, whenever that waits.
pub(super) struct Errands {
    record: RecordOwner,
    epoch: Option<BoxFuture<'static, Errand>>,
}

impl Errands {
    pub(super) fn new(record: RecordOwner) -> Self {
        Self { record, epoch: None }
    }

    /// The next that is done. Waits forever when there is none. Cancel safe.
    pub(super) async fn next(&mut self) -> Errand {
        let Some(epoch) = &mut self.epoch else { return pending().await };
        let done = epoch.await;
        self.epoch = None;
        done
    }

    /// Sees to their end those that are under way. `false`: one was not, and the next load finds out what became of it.
    pub(super) async fn finish(&mut self, within: Duration) -> bool {
        let finished = async {
            while self.epoch.is_some() {
                self.next().await;
            }
        };
        tokio::time::timeout(within, finished).await.is_ok()
    }

    fn write_epoch(&mut self, epoch: u64) {
        let record = self.record.clone();
        self.epoch = Some(Box::pin(async move {
            let written = record.change(&[], |record| record.producer_epoch = Some(epoch)).await;
            Errand::Epoch(epoch, written)
        }));
    }
}

impl Topic {
    pub(super) fn attach(&mut self, attach: AttachProducer) {
        if UNCONFIRMED_MAX <= self.log.unconfirmed_bytes() {
            let error = TopicError::Unavailable(self.shared.name.clone());
            let _ = attach.reply.send(Err(ProducerRefused { error, holder: None }));
            return;
        }
        let name = attach.name.clone().unwrap_or_else(|| self.registry.producer_name());
        self.producers.attach(name, attach, None);
    }

    /// Starts what is to be written down.
    pub(super) fn run_errands(&mut self) {
        if self.errands.epoch.is_none()
            && let Some(epoch) = self.producers.access.wanted_epoch()
        {
            self.errands.write_epoch(epoch);
        }
    }

    /// An errand is done.
    pub(super) fn ran(&mut self, errand: Errand) -> Option<End> {
        match errand {
            Errand::Epoch(epoch, Ok(())) => self.producers.epoch_written(epoch),
            Errand::Epoch(_, Err(error)) if error.passes() => {
                self.producers.epoch_not_written(&TopicError::from_log(&error, &self.shared.name));
            }
            Errand::Epoch(_, Err(error)) => {
                tracing::warn!(topic = %self.shared.name, %error, "topic is given up and loaded again on demand");
                return Some(End::Lost);
            }
        }
        None
    }
}
