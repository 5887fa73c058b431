//! Acknowledging what no consumer has asked to: it is too old, or too much waits.
use proto::Position;

use super::Reply;
use super::task::Task;
use crate::cursor::AckReceipt;

impl Task {
    /// Acknowledges all that lies below a position. Answered once that is durable, with how many entries it was.
    pub(super) fn expire_before(&mut self, below: Position, reply: Reply<u64>) {
        let reader = self.reader.clone();
        let (delta, entries) = reader.with_chain(|chain| {
            let before = self.dispatch.acks().unacknowledged(chain);
            let delta = self.dispatch.cumulative(below, chain);
            (delta, before.saturating_sub(self.dispatch.acks().unacknowledged(chain)))
        });
        let Some(delta) = delta else {
            let _ = reply.send(Ok(0)); // Who asked may have gone away.
            return;
        };
        let now = self.clock.now_ms();
        self.counters.expired.add(entries, 0, now);
        (self.counters.last_expired, self.counters.last_mark) = (now, now);
        if self.durable {
            let answer = move |outcome: Result<(), _>| drop(reply.send(outcome.map(|()| entries).map_err(Into::into)));
            self.cursor_log.acknowledge(&self.name, delta, Some(AckReceipt::new(answer)));
        } else {
            let _ = reply.send(Ok(entries));
        }
    }
}
