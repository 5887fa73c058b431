//! The watchdog: a subscription that has permits and a backlog and does not move is noticed, with the reason.
use std::time::Duration;

use proto::Position;
use tokio::time::Instant;

use super::dispatch::Standstill;
use super::task::Task;

/// Longer than any read takes that goes well.
const PATIENCE: Duration = Duration::from_secs(5);

/// Since when nothing has moved that could.
#[derive(Debug, Default)]
pub(super) struct Watch {
    since: Option<Instant>,
    found: Option<Standstill>,
}

impl Watch {
    /// When to look for the reason. Once per standstill.
    pub(super) fn due(&self) -> Option<Instant> {
        self.since.filter(|_| self.found.is_none()).map(|since| since + PATIENCE)
    }

    pub(super) fn standstill(&self) -> Option<Standstill> {
        self.found
    }
}

impl Task {
    /// After each attempt to deliver.
    pub(super) fn watch(&mut self, moved: bool, end: Position) {
        if cfg!(debug_assertions) {
            self.check();
        }
        if moved || !self.dispatch.has_demand(end) {
            self.watch.since = None;
            if self.watch.found.take().is_some() {
                tracing::info!(subscription = %self.name, "subscription moves again");
            }
        } else if self.watch.since.is_none() {
            self.watch.since = Some(Instant::now());
        }
    }

    /// Nothing has moved for a while.
    pub(super) fn find_standstill(&mut self, end: Position) {
        let found = match self.dispatch.standstill(end) {
            Some(_) if self.cursor_full => Some(Standstill::CursorLog),
            Some(_) if self.paced_until.is_some() => Some(Standstill::Pace),
            found => found,
        };
        match found {
            None => self.watch.since = None,
            Some(Standstill::Unexplained) => {
                let (next, queued) = (self.dispatch.next_position(), self.dispatch.queued());
                tracing::error!(subscription = %self.name, %next, %end, queued, "subscription stands still for no known reason");
            }
            Some(reason) => {
                let permits: i64 = self.dispatch.consumers().iter().map(|consumer| consumer.permits.max(0)).sum();
                tracing::warn!(subscription = %self.name, %reason, permits, "subscription stands still");
            }
        }
        self.watch.found = found;
    }

    /// What the dispatcher knows is what the topic holds. Not while ledgers have left of which it was not told yet.
    fn check(&self) {
        self.reader.with_chain(|chain| {
            if chain.first() <= self.dispatch.acks().mark() {
                self.dispatch.check(chain);
            }
        });
    }
}
