//! What may be asked of a topic about ledgers that move to objects.
use std::sync::Arc;

use parking_lot::Mutex;
use proto::{LedgerId, Position};

use super::task::Command;
use super::{TopicError, TopicHandle, TopicStats};
use crate::log::{LogError, OffloadError, Offloader};
use crate::offload::Store;

/// How an offload goes that somebody asked for, since the topic was loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum OffloadProgress {
    /// Nobody asked.
    #[default]
    NotRun,
    /// It is being done.
    Running,
    /// It is done. What lies there and after it has not moved.
    Success(Position),
    /// It failed, for this reason.
    Error(String),
}

/// What is known of the offloads of one topic since it was loaded.
#[derive(Debug, Default)]
pub(super) struct Offloads {
    /// A lock and not the topic's task: only people ask for it.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    progress: OffloadProgress,
    /// Of the last ledger that moved, and when.
    moved: Option<(LedgerId, u64)>,
    /// Why the last one did not that failed since, and when.
    failed: Option<(String, u64)>,
}

impl Offloads {
    pub(super) fn show(&self, stats: &mut TopicStats) {
        let known = self.known.lock();
        if let Some((ledger, at_ms)) = known.moved {
            (stats.last_offload_ledger_id, stats.last_offload_success_time_stamp) = (ledger.0, at_ms);
        }
        stats.last_offload_failure_time_stamp = known.failed.as_ref().map_or(0, |(_, at_ms)| *at_ms);
    }
}

impl TopicHandle {
    /// Notes that somebody asked for an offload. `false`: one is under way.
    pub(crate) fn begin_offload(&self) -> bool {
        let mut known = self.shared.offloads.known.lock();
        let idle = known.progress != OffloadProgress::Running;
        known.progress = OffloadProgress::Running;
        idle
    }

    /// Notes how it went.
    pub(crate) fn end_offload(&self, outcome: Result<Position, String>) {
        self.shared.offloads.known.lock().progress = match outcome {
            Ok(unmoved) => OffloadProgress::Success(unmoved),
            Err(reason) => OffloadProgress::Error(reason),
        };
    }

    /// How it goes.
    pub(crate) fn offload_progress(&self) -> OffloadProgress {
        self.shared.offloads.known.lock().progress.clone()
    }

    /// Notes that a ledger moved, or why one did not.
    pub(crate) fn note_offload(&self, outcome: Result<LedgerId, String>, now_ms: u64) {
        let mut known = self.shared.offloads.known.lock();
        match outcome {
            Ok(ledger) => (known.moved, known.failed) = (Some((ledger, now_ms)), None),
            Err(reason) => known.failed = Some((reason, now_ms)),
        }
    }

    /// Why the last ledger that should have moved did not.
    pub(crate) fn offload_failure(&self) -> Option<String> {
        self.shared.offloads.known.lock().failed.as_ref().map(|(reason, _)| reason.clone())
    }

    /// Moves one sealed ledger to objects. `false`: there was nothing to do. Ends without success when `until` does.
    pub(crate) async fn offload(
        &self,
        ledger: LedgerId,
        store: &Arc<Store>,
        progress: impl Fn(u64) + Send + Sync,
        until: impl Future<Output = ()> + Send,
    ) -> Result<bool, OffloadError> {
        let moved = self.offloader()?.offload(ledger, store, progress, until).await;
        self.unless_given_up(moved).await
    }

    /// Lets bookies forget a ledger that lies in objects. `false`: there was nothing to do.
    pub(crate) async fn free(
        &self,
        ledger: LedgerId,
        until: impl Future<Output = ()> + Send,
    ) -> Result<bool, OffloadError> {
        let freed = self.offloader()?.free(ledger, until).await;
        self.unless_given_up(freed).await
    }

    fn offloader(&self) -> Result<&Offloader, OffloadError> {
        let stored = self.shared.stored.as_ref().ok_or(LogError::Closed)?; // Nobody asks: it has no ledgers.
        Ok(&stored.offloader)
    }

    async fn unless_given_up(&self, outcome: Result<bool, OffloadError>) -> Result<bool, OffloadError> {
        if let Err(OffloadError::Log(error @ LogError::Fenced { .. })) = &outcome {
            let _ = self.mailbox.send(Command::GiveUp(Box::new(error.clone()))).await;
        }
        outcome
    }

    /// Returns once the topic is on its way out.
    pub(crate) async fn closing(&self) {
        self.mailbox.closed().await;
    }

    /// Returns once a ledger takes no more entries.
    pub(crate) async fn until_sealed(&self, ledger: LedgerId) -> Result<(), TopicError> {
        tokio::select! {
            () = self.shared.reader.until_sealed(ledger) => Ok(()),
            () = self.closing() => Err(TopicError::Unavailable(self.name().clone())),
        }
    }
}
