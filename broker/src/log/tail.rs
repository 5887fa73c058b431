//! The end of a log as a state machine without I/O: which entries are where, and what is to be done next.
use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use ledger::Sealed;
use proto::{EntryId, LedgerId, Position};

use super::Rollover;

/// What the open end of the log is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is no ledger to write to.
    NoLedger,
    /// The current ledger takes entries.
    Open,
    /// The current ledger is full: what was sent is still to be confirmed, the rest waits.
    Draining,
    /// Everything sent is confirmed, and the ledger is being closed.
    Closing,
    /// The writer failed: what became of the entries that were sent is being settled.
    Sealing,
}

#[derive(Debug)]
struct Current {
    ledger: LedgerId,
    made_at_ms: u64,
    /// Given to the writer.
    entries: u64,
    bytes: u64,
    /// Of these, settled.
    settled: u64,
}

/// Entries that turned out to be durable, in order, from `first` on.
#[derive(Debug, PartialEq)]
pub(super) struct Durable {
    pub(super) first: Position,
    pub(super) entries: Vec<Bytes>,
}

/// The queue of entries not settled yet, and the ledger that a part of them was sent to.
#[derive(Debug)]
pub(super) struct Tail {
    rollover: Rollover,
    /// In order of appending. The first `sent` of them were given to the current ledger.
    queue: VecDeque<Bytes>,
    queue_bytes: usize,
    sent: usize,
    current: Option<Current>,
    phase: Phase,
}

impl Tail {
    pub(super) fn new(rollover: Rollover) -> Self {
        Self { rollover, queue: VecDeque::new(), queue_bytes: 0, sent: 0, current: None, phase: Phase::NoLedger }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn push(&mut self, entry: Bytes) {
        self.queue_bytes += entry.len();
        self.queue.push_back(entry);
    }

    pub(super) fn unsettled(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn unsettled_bytes(&self) -> usize {
        self.queue_bytes
    }

    /// Whether the writer has something to confirm.
    pub(super) fn in_flight(&self) -> bool {
        0 < self.sent && matches!(self.phase, Phase::Open | Phase::Draining)
    }

    /// The next entry for the writer of the current ledger, which must take it. A full ledger takes no more and is drained.
    pub(super) fn next_to_send(&mut self, now_ms: u64) -> Option<Bytes> {
        if self.phase != Phase::Open || self.queue.len() <= self.sent {
            return None;
        }
        let current = self.current.as_mut().expect("an open log has a ledger");
        let age = Duration::from_millis(now_ms.saturating_sub(current.made_at_ms));
        let full = self.rollover.entries_max <= current.entries
            || self.rollover.bytes_max <= current.bytes
            || self.rollover.age_max <= age;
        if full && 0 < current.entries {
            self.phase = if self.sent == 0 { Phase::Closing } else { Phase::Draining };
            return None;
        }
        let entry = self.queue[self.sent].clone();
        self.sent += 1;
        current.entries += 1;
        current.bytes += entry.len() as u64;
        Some(entry)
    }

    /// Ends the current ledger, if it is this one and has entries: it takes no more and is drained.
    pub(super) fn roll(&mut self, ledger: LedgerId) {
        let Some(current) = self.current.as_ref().filter(|current| current.ledger == ledger) else { return };
        if self.phase == Phase::Open && 0 < current.entries {
            self.phase = if self.sent == 0 { Phase::Closing } else { Phase::Draining };
        }
    }

    /// Whether the next ledger should be in the making: one is missing, or will be soon.
    pub(super) fn wants_ledger(&self) -> bool {
        match (self.phase, &self.current) {
            (Phase::Open, Some(current)) => {
                let nearly = |max: u64| max - max / 8;
                nearly(self.rollover.entries_max) <= current.entries || nearly(self.rollover.bytes_max) <= current.bytes
            }
            (Phase::NoLedger | Phase::Draining | Phase::Closing, _) => !self.queue.is_empty(),
            // The record is better told first how this one ended.
            (Phase::Open | Phase::Sealing, _) => false,
        }
    }

    /// Whether a ledger can be taken into use.
    pub(super) fn waits_for_ledger(&self) -> bool {
        self.phase == Phase::NoLedger && !self.queue.is_empty()
    }

    pub(super) fn open(&mut self, ledger: LedgerId, now_ms: u64) {
        assert!(self.phase == Phase::NoLedger && self.sent == 0, "one ledger at a time takes entries");
        self.current = Some(Current { ledger, made_at_ms: now_ms, entries: 0, bytes: 0, settled: 0 });
        self.phase = Phase::Open;
    }

    /// Entries below `end` are confirmed.
    pub(super) fn confirmed(&mut self, end: EntryId) -> Option<Durable> {
        let durable = self.settle(end);
        if self.phase == Phase::Draining && self.sent == 0 {
            self.phase = Phase::Closing;
        }
        durable
    }

    /// The writer failed, and not because of another owner.
    pub(super) fn failed(&mut self) -> LedgerId {
        self.phase = Phase::Sealing;
        self.current.as_ref().expect("a writer has a ledger").ledger
    }

    /// The ledger has ended. What lies below its end is durable; what was sent and does not is sent again, to the next.
    pub(super) fn ended(&mut self, sealed: Sealed) -> Option<Durable> {
        let durable = self.settle(sealed.end);
        self.current = None;
        self.sent = 0;
        self.phase = Phase::NoLedger;
        durable
    }

    /// The current ledger, and how many entries it was given.
    pub(super) fn current(&self) -> Option<(LedgerId, u64)> {
        self.current.as_ref().map(|current| (current.ledger, current.entries))
    }

    fn settle(&mut self, end: EntryId) -> Option<Durable> {
        let current = self.current.as_mut().expect("only a ledger confirms");
        assert!(end.0 <= current.entries, "a ledger holds only what its writer was given");
        let count = end.0.checked_sub(current.settled).expect("a ledger's end covers everything that was confirmed");
        let count = usize::try_from(count).expect("entries are in memory");
        let first = Position { ledger: current.ledger, entry: EntryId(current.settled) };
        current.settled = end.0;
        self.sent -= count;
        let entries: Vec<Bytes> = self.queue.drain(..count).collect();
        self.queue_bytes -= entries.iter().map(Bytes::len).sum::<usize>();
        (!entries.is_empty()).then_some(Durable { first, entries })
    }
}
