//! Entries that wait for their time: when to wake for them, and what is written down (ADR 17).
use std::time::Duration;

use tokio::time::Instant;

use super::task::Task;
use crate::cursor::Room;

/// What is due sooner is not worth writing down: it is read again.
const FAR_MS: u64 = 10_000;
/// The longest sleep, in case the clock was set meanwhile.
const SLEEP_MAX_MS: u64 = 10_000;
/// Fewer are read again rather than written down when a subscription is closed.
const KEPT_MIN: usize = 1000;

impl Task {
    /// When something may be delivered that could not just now.
    pub(super) fn due_at(&self) -> Option<Instant> {
        let due = self.dispatch.next_due()?;
        let wait = due.saturating_sub(self.clock.now_ms()).min(SLEEP_MAX_MS);
        Some(Instant::now() + Duration::from_millis(wait))
    }

    /// Writes down what is new of times.
    pub(super) fn note_delays(&mut self) {
        for run in self.dispatch.take_runs(FAR_MS) {
            if self.durable {
                self.cursor_full |= self.cursor_log.delay(&self.name, run) == Room::Full;
            }
        }
    }

    /// The same with what waits to become enough.
    pub(super) fn keep_delays(&mut self) {
        self.dispatch.pack_delays(KEPT_MIN);
        self.note_delays();
    }
}
