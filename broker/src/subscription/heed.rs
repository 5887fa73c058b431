//! What policies say of a subscription while it is used.
use tokio::time::Instant;

use super::dispatch::Delivery;
use super::task::Task;

impl Task {
    /// Takes over what counts now.
    pub(super) fn heed(&mut self) {
        let terms = *self.terms.borrow_and_update();
        self.dispatch.heed(&terms);
        self.pace.set(terms.subscription_dispatch, self.clock.now_ms());
    }

    /// The next delivery, as soon as policies allow one. What it takes of them is spent.
    pub(super) fn next_in_pace(&mut self, now_ms: u64) -> Option<Delivery> {
        let wait = self.pace.wait(now_ms).max(self.heeded.dispatch.wait(now_ms));
        self.paced_until = wait.map(|wait| Instant::now() + wait);
        if wait.is_some() {
            return None;
        }
        let delivery = self.dispatch.next()?;
        let (messages, bytes) = (u64::from(delivery.messages), delivery.entry.len() as u64);
        self.pace.spend(messages, bytes);
        self.heeded.dispatch.spend(messages, bytes);
        Some(delivery)
    }
}
