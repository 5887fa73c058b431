//! What a topic has written down beside its log, without waiting for it: one thing of each kind at a time.
use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use proto::Position;
use proto::records::TerminatedAt;
use tokio::sync::oneshot;

use super::TopicError;
use super::producers::AttachProducer;
use super::sequences::Sequences;
use super::task::{End, Topic};
use crate::log::{LogError, RecordOwner};

/// What was written down, or why it was not.
pub(super) enum Errand {
    /// Of the producers that have the topic for themselves.
    Epoch(u64, Result<(), LogError>),
    /// Whether it is remembered what producers have published.
    Remembers(Result<Option<Sequences>, LogError>),
    /// Where the topic ends, for ever.
    Terminated(Option<Position>, Result<(), LogError>),
    /// What they have.
    Written(Result<(), LogError>),
}

/// Runs within the topic's task, whenever that waits.
pub(super) struct Errands {
    record: RecordOwner,
    epoch: Option<BoxFuture<'static, Errand>>,
    sequences: Option<BoxFuture<'static, Errand>>,
    end: Option<BoxFuture<'static, Errand>>,
    /// Come in once it is remembered what they publish, or not any more.
    held: VecDeque<Box<AttachProducer>>,
    /// Want to know once what producers have published is written down. Administration asks, a few at a time.
    asked: Vec<oneshot::Sender<()>>,
}

impl Errands {
    pub(super) fn new(record: RecordOwner) -> Self {
        Self { record, epoch: None, sequences: None, end: None, held: VecDeque::new(), asked: Vec::new() }
    }

    /// The next that is done. Waits forever when there is none. Cancel safe.
    pub(super) async fn next(&mut self) -> Errand {
        tokio::select! {
            errand = done(&mut self.epoch) => errand,
            errand = done(&mut self.sequences) => errand,
            errand = done(&mut self.end) => errand,
        }
    }

    /// Sees to their end those that are under way. `false`: one was not, and the next load finds out what became of it.
    pub(super) async fn finish(&mut self, within: Duration) -> bool {
        let finished = async {
            while self.epoch.is_some() || self.sequences.is_some() || self.end.is_some() {
                self.next().await;
            }
        };
        tokio::time::timeout(within, finished).await.is_ok()
    }

    fn write_epoch(&mut self, epoch: u64) {
        let record = self.record.clone();
        let write = async move {
            let written = record.change(&[], |record| record.producer_epoch = Some(epoch)).await;
            Errand::Epoch(epoch, written)
        };
        self.epoch = Some(write.boxed());
    }

    pub(super) fn is_writing_end(&self) -> bool {
        self.end.is_some()
    }

    pub(super) fn write_end(&mut self, last: Option<Position>) {
        let record = self.record.clone();
        let at = last.map_or_else(TerminatedAt::default, |last| TerminatedAt {
            ledger: last.ledger.0,
            entries: last.entry.0 + 1,
        });
        let write =
            async move { Errand::Terminated(last, record.change(&[], |record| record.terminated = Some(at)).await) };
        self.end = Some(write.boxed());
    }

    // What producers have published.

    pub(super) fn is_writing(&self) -> bool {
        self.sequences.is_some()
    }

    pub(super) fn write(&mut self, write: impl Future<Output = Errand> + Send + 'static) {
        self.sequences = Some(write.boxed());
    }

    /// Whether producers wait for a change of what is remembered.
    pub(super) fn is_switching(&self) -> bool {
        !self.held.is_empty()
    }

    pub(super) fn hold(&mut self, attach: Box<AttachProducer>) {
        self.held.push_back(attach);
    }

    /// Whether the first of those who wait wants it to be remembered.
    pub(super) fn next_held(&self) -> Option<bool> {
        self.held.front().map(|attach| attach.deduplication)
    }

    pub(super) fn held(&mut self) -> VecDeque<Box<AttachProducer>> {
        std::mem::take(&mut self.held)
    }

    pub(super) fn remember(&mut self, reply: oneshot::Sender<()>) {
        self.asked.push(reply);
    }

    pub(super) fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    pub(super) fn asked(&mut self) -> Vec<oneshot::Sender<()>> {
        std::mem::take(&mut self.asked)
    }
}

async fn done(slot: &mut Option<BoxFuture<'static, Errand>>) -> Errand {
    let Some(running) = slot else { return pending().await };
    let done = running.await;
    *slot = None;
    done
}

impl Topic {
    /// Starts what is to be written down.
    pub(super) fn run_errands(&mut self) {
        if self.errands.epoch.is_none()
            && let Some(epoch) = self.producers.access.wanted_epoch()
        {
            self.errands.write_epoch(epoch);
        }
        self.remember();
        self.end_for_producers();
    }

    /// An errand is done.
    pub(super) fn ran(&mut self, errand: Errand) -> Option<End> {
        let failed = match errand {
            Errand::Epoch(epoch, Ok(())) => {
                self.producers.epoch_written(epoch);
                None
            }
            Errand::Epoch(_, Err(error)) if error.passes() => {
                self.producers.epoch_not_written(&TopicError::from_log(&error, &self.shared.name));
                None
            }
            Errand::Remembers(Ok(sequences)) => {
                self.remembers(sequences);
                None
            }
            Errand::Written(Ok(())) => None,
            Errand::Terminated(last, Ok(())) => {
                self.terminated(last);
                None
            }
            Errand::Terminated(_, Err(error)) if error.passes() => {
                self.not_terminated(&error);
                None
            }
            Errand::Terminated(_, Err(error)) => Some(error),
            Errand::Epoch(_, Err(error)) | Errand::Remembers(Err(error)) | Errand::Written(Err(error)) => Some(error),
        };
        let error = failed?;
        tracing::warn!(topic = %self.shared.name, %error, "topic is given up and loaded again on demand");
        Some(End::Lost)
    }
}
