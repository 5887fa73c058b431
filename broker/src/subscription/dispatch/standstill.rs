//! Why nothing moves, for the watchdog; and what must hold whatever happens.
use std::fmt;

use proto::Position;

use super::{Consumer, Dispatch};
use crate::log::Chain;

/// Why a consumer with permits gets nothing although there is a backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standstill {
    /// A new active consumer waits for acknowledgements of the one before.
    HandOver,
    /// All consumers together hold too many messages unacknowledged.
    SubscriptionUnacked,
    /// Whoever has permits holds too many messages unacknowledged.
    ConsumerUnacked,
    /// Acknowledgements have too many gaps between them.
    Holes,
    /// The connections of those who have permits do not take what they are sent.
    Connection,
    /// Of a Key_Shared subscription: the keys of what is left are still at their consumers before, or belong to consumers
    /// without permits, or to nobody.
    Keys,
    /// As before, and so much of it that nothing new is looked at.
    LookAhead,
    /// Of a Shared subscription: what is left, or what comes next, are chunks of messages whose consumers have no permits.
    Chunks,
    /// Entries are not read.
    Unread,
    /// Policies let no more be delivered for now.
    Pace,
    /// The cursor log has too much to write.
    CursorLog,
    /// There is no reason: this is a defect.
    Unexplained,
}

impl fmt::Display for Standstill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HandOver => "the consumer before may still acknowledge",
            Self::SubscriptionUnacked => "the subscription has too many unacknowledged messages",
            Self::ConsumerUnacked => "its consumers have too many unacknowledged messages",
            Self::Holes => "too many acknowledged messages lie beyond unacknowledged ones",
            Self::Connection => "clients do not read what they were sent",
            Self::Keys => "the keys of what is left are at other consumers",
            Self::LookAhead => "too many messages wait for keys at other consumers",
            Self::Chunks => "the rest of messages in chunks waits for the consumers that have their beginning",
            Self::Unread => "entries are not read",
            Self::Pace => "its rate is limited",
            Self::CursorLog => "acknowledgements are not written",
            Self::Unexplained => "for no known reason",
        })
    }
}

impl Dispatch {
    /// Whether somebody has permits and there is something to deliver. Cheap.
    pub(crate) fn has_demand(&self, end: Position) -> bool {
        let active = self.consumers.active();
        let mut receiving = self.consumers.iter().filter(|consumer| self.shared() || Some(consumer.serial) == active);
        (self.next < end || !self.queue.is_empty() || self.delays.is_due())
            && receiving.any(|consumer| 0 < consumer.permits)
    }

    /// Why nothing is delivered, when [`Self::next`] has nothing to deliver though there is demand.
    pub(crate) fn standstill(&self, end: Position) -> Option<Standstill> {
        if !self.has_demand(end) {
            return None;
        }
        let active = self.consumers.active();
        let with_permits: Vec<&Consumer> = self
            .consumers
            .iter()
            .filter(|consumer| 0 < consumer.permits && (self.shared() || Some(consumer.serial) == active))
            .collect();
        Some(if self.held {
            Standstill::HandOver
        } else if self.consumers.unacked().is_blocked() {
            Standstill::SubscriptionUnacked
        } else if with_permits.iter().all(|consumer| consumer.unacked().is_blocked()) {
            Standstill::ConsumerUnacked
        } else if !with_permits.iter().any(|consumer| consumer.takes()) {
            Standstill::Connection
        } else if self.wanted(end).is_some() {
            Standstill::Unread
        } else if self.is_full() {
            Standstill::Holes
        } else if self.keys.is_none() {
            let only_kept = 0 < self.queue.kept() && self.queue.first_free().is_none();
            let passed = end <= self.next || !self.passes_more();
            if only_kept && passed { Standstill::Chunks } else { Standstill::Unexplained }
        } else if !self.passes_more() {
            Standstill::LookAhead
        } else if end <= self.next {
            Standstill::Keys
        } else {
            Standstill::Unexplained
        })
    }

    /// Panics unless every entry below `next` is acknowledged, pending, queued or waits for its time, and none is two of these (C4). Not while
    /// ledgers have left of which the subscription was not told yet.
    pub(crate) fn check(&self, chain: &Chain) {
        let (mark, next) = (self.acks.mark(), self.next);
        let pending = self.pending.first_key_value().map(|(at, _)| *at);
        let below = pending.filter(|at| *at < mark).or_else(|| self.queue.range(..mark).next());
        assert!(below.is_none(), "{below:?} is acknowledged (C4)");
        if self.shared() {
            let entries = chain.count(mark, next) - self.acks.holes_below(next);
            let pending = self.pending.len() - self.pending.range(next..).count();
            let queued = self.queue.len() - self.queue.range(next..).count();
            let known = (pending + queued) as u64 + self.delays.len_below(next);
            assert!(entries == known, "of {entries} unacknowledged entries {known} are known (C4)");
        } else {
            let beyond = self.pending.len() + self.queue.len() + self.delays.len() as usize;
            assert!(beyond == 0, "{beyond} entries have a place of their own (C4)");
        }
    }
}
