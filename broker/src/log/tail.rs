//! The end of a log as a state machine without I/O: which entries are where, and what is to be done next.
use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use ledger::Sealed;
use proto::{EntryId, LedgerId, Position};

use super::Rollover;

/// Cursors count the entries of a ledger in 32 bits: beyond so many, even a ledger without a successor takes no more.
const ENTRIES_MAX: u64 = u32::MAX as u64;

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
    next: Next,
}

/// The ledger after the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It is not there yet, and is waited for.
    Awaited,
    /// It is not to be had now: a full ledger goes on.
    Away,
    /// It can be taken into use.
    Ready,
}

impl Tail {
    pub(super) fn new(rollover: Rollover) -> Self {
        Self {
            rollover,
            queue: VecDeque::new(),
            queue_bytes: 0,
            sent: 0,
            current: None,
            phase: Phase::NoLedger,
            next: Next::Awaited,
        }
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

    /// What is known of the next ledger.
    pub(super) fn note_next(&mut self, next: Next) {
        self.next = next;
    }

    /// Whether entries wait for nothing but the next ledger, while the current one could take them.
    pub(super) fn is_held(&self, now_ms: u64) -> bool {
        self.phase == Phase::Open && self.next == Next::Awaited && self.sent < self.queue.len() && self.is_full(now_ms)
    }

    fn is_at_its_end(&self) -> bool {
        self.current.as_ref().is_some_and(|current| ENTRIES_MAX <= current.entries)
    }

    fn is_full(&self, now_ms: u64) -> bool {
        self.current.as_ref().is_some_and(|current| {
            let age = Duration::from_millis(now_ms.saturating_sub(current.made_at_ms));
            let full = self.rollover.entries_max <= current.entries
                || self.rollover.bytes_max <= current.bytes
                || self.rollover.age_max <= age;
            full && 0 < current.entries
        })
    }

    /// The next entry for the writer of the current ledger, which must take it. A full ledger takes no more once the next is there, and is
    /// drained; until then entries wait, or, when the next is not to be had, go into it all the same.
    pub(super) fn next_to_send(&mut self, now_ms: u64) -> Option<Bytes> {
        if self.phase != Phase::Open || self.queue.len() <= self.sent {
            return None;
        }
        if self.is_full(now_ms) {
            match self.next {
                Next::Ready => self.phase = if self.sent == 0 { Phase::Closing } else { Phase::Draining },
                Next::Awaited => {}
                Next::Away if !self.is_at_its_end() => return Some(self.send_next()),
                Next::Away => {}
            }
            return None;
        }
        Some(self.send_next())
    }

    fn send_next(&mut self) -> Bytes {
        let current = self.current.as_mut().expect("an open log has a ledger");
        let entry = self.queue[self.sent].clone();
        self.sent += 1;
        current.entries += 1;
        current.bytes += entry.len() as u64;
        entry
    }

    /// Ends the current ledger, if it is this one and has entries: it takes no more and is drained.
    pub(super) fn roll(&mut self, ledger: LedgerId) {
        let Some(current) = self.current.as_ref().filter(|current| current.ledger == ledger) else { return };
        if self.phase == Phase::Open && 0 < current.entries {
            self.phase = if self.sent == 0 { Phase::Closing } else { Phase::Draining };
        }
    }

    /// Whether the next ledger should be in the making: one is missing, or will be soon.
    pub(super) fn wants_ledger(&self, now_ms: u64) -> bool {
        match (self.phase, &self.current) {
            (Phase::Open, Some(current)) => {
                let nearly = |max: u64| max - max / 8;
                nearly(self.rollover.entries_max) <= current.entries
                    || nearly(self.rollover.bytes_max) <= current.bytes
                    || self.is_held(now_ms)
                    || (self.next == Next::Away && self.is_full(now_ms))
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

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Rollover = Rollover { entries_max: 2, bytes_max: 1 << 20, age_max: Duration::from_secs(60) };

    /// Five entries are there, and an open ledger that is full with two.
    fn full() -> Tail {
        let mut tail = Tail::new(SMALL);
        (0..5).for_each(|_| tail.push(Bytes::from_static(b"entry")));
        tail.open(LedgerId(1), 0);
        assert_eq!(sent(&mut tail), 2);
        tail
    }

    fn sent(tail: &mut Tail) -> usize {
        std::iter::from_fn(|| tail.next_to_send(0)).count()
    }

    #[test]
    fn a_full_ledger_waits_for_the_next_and_is_drained_once_that_is_there() {
        let mut tail = full();
        assert!(tail.is_held(0) && tail.wants_ledger(0) && tail.phase() == Phase::Open);
        tail.note_next(Next::Ready);
        assert_eq!((sent(&mut tail), tail.phase()), (0, Phase::Draining));
        tail.confirmed(EntryId(2));
        assert_eq!(tail.phase(), Phase::Closing);
    }

    /// Goal: while metadata are away, what is loaded is served.
    #[test]
    fn a_full_ledger_goes_on_while_the_next_is_not_to_be_had_and_no_longer() {
        let mut tail = full();
        tail.note_next(Next::Away);
        assert_eq!(sent(&mut tail), 3);
        assert!(!tail.is_held(0) && tail.wants_ledger(0), "the next is still asked for");
        tail.push(Bytes::from_static(b"entry"));
        tail.note_next(Next::Ready);
        assert_eq!((sent(&mut tail), tail.phase()), (0, Phase::Draining));
    }

    #[test]
    fn a_ledger_without_a_successor_still_ends_where_cursors_do() {
        let mut tail = full();
        tail.note_next(Next::Away);
        let current = tail.current.as_mut().expect("it is open");
        current.entries = ENTRIES_MAX - 1;
        assert_eq!(sent(&mut tail), 1);
        assert!(tail.wants_ledger(0) && tail.phase() == Phase::Open, "the rest waits");
        tail.note_next(Next::Ready);
        assert_eq!((sent(&mut tail), tail.phase()), (0, Phase::Draining));
    }

    #[test]
    fn an_old_ledger_is_full_as_well() {
        let mut tail = Tail::new(Rollover { entries_max: 100, ..SMALL });
        tail.push(Bytes::from_static(b"entry"));
        tail.open(LedgerId(1), 0);
        assert_eq!(sent(&mut tail), 1);
        tail.push(Bytes::from_static(b"entry"));
        assert!(!tail.is_held(59_999) && tail.is_held(60_000) && tail.wants_ledger(60_000));
        tail.note_next(Next::Away);
        assert!(tail.next_to_send(60_000).is_some() && tail.wants_ledger(60_000));
    }
}
