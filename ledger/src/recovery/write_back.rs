//! Entries that were recovered, until an ack quorum holds each of them again.
//!
//! They go to all members of their write sets, those that hold them too: a copy that was read may not be synced.
use std::collections::VecDeque;

use proto::EntryId;
use proto::bookie::{Add, request};

use super::{Ask, BATCH_BYTES, WAITING_BYTES_MAX};
use crate::QuorumPolicy;
use crate::quorum::Members;

/// A fragment that a recovery leaves behind. Who sits in it is told by number, as in [`Ask::member`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) first: EntryId,
    pub(crate) length_before: u64,
    pub(crate) seats: Vec<usize>,
    /// Seats whose members are not known to hold everything they should.
    pub(crate) lacking: Members,
}

/// An entry that was found.
#[derive(Debug)]
struct Recovered {
    add: Add,
    acks: Members,
    failed: Members,
}

/// How far writing to one bookie is.
#[derive(Debug)]
struct Copy {
    /// Its place in the ensemble.
    seat: usize,
    next: EntryId,
    writing: bool,
    /// A write failed: it cannot be shown to hold everything.
    incomplete: bool,
}

#[derive(Debug)]
pub(super) struct WriteBack {
    policy: QuorumPolicy,
    /// By number.
    copies: Vec<Copy>,
    /// Who sits where, by number.
    current: Vec<usize>,
    /// Entries from `written` on.
    recovered: VecDeque<Recovered>,
    written: EntryId,
    waiting_bytes: usize,
    wanted: Members,
    /// What began when somebody was replaced.
    parts: Vec<Part>,
}

impl WriteBack {
    pub(super) fn new(policy: QuorumPolicy, first: EntryId) -> Self {
        let seats = 0..policy.ensemble as usize;
        Self {
            policy,
            copies: seats.clone().map(|seat| Copy { seat, next: first, writing: false, incomplete: false }).collect(),
            current: seats.collect(),
            recovered: VecDeque::new(),
            written: first,
            waiting_bytes: 0,
            wanted: Members::default(),
            parts: Vec::new(),
        }
    }

    /// Entries below `confirmed` are on ack quorums and need no writing.
    pub(super) fn begin(&mut self, confirmed: EntryId) {
        self.written = confirmed;
    }

    pub(super) fn push(&mut self, add: Add) {
        self.waiting_bytes += add.payload.len();
        self.recovered.push_back(Recovered { add, acks: Members::default(), failed: Members::default() });
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Entries below it are on an ack quorum.
    pub(super) fn written(&self) -> EntryId {
        self.written
    }

    /// Batches for members that are not busy with one, of entries to before `end`.
    pub(super) fn asks(&mut self, end: EntryId) -> Vec<Ask> {
        let mut asks = Vec::new();
        for (seat, number) in self.current.iter().enumerate() {
            let copy = &mut self.copies[*number];
            if copy.writing {
                continue;
            }
            let mut bodies = Vec::new();
            let mut bytes = 0;
            if self.policy.ensemble as usize <= *number && copy.next < self.written {
                copy.incomplete = true; // What it should have got was let go of meanwhile. Members are counted instead.
            }
            copy.next = copy.next.max(self.written);
            while bytes < BATCH_BYTES && copy.next < end {
                let add = &self.recovered[(copy.next.0 - self.written.0) as usize].add;
                if self.policy.holds(seat, copy.next) {
                    bytes += add.payload.len() + 128;
                    bodies.push(request::Body::Add(add.clone()));
                }
                copy.next = copy.next.next();
            }
            if !bodies.is_empty() {
                copy.writing = true;
                asks.push(Ask { member: *number, bodies });
            }
        }
        asks
    }

    pub(super) fn batch_answered(&mut self, number: usize) {
        self.copies[number].writing = false;
    }

    /// The one with this number has synced `entry`, or has not.
    pub(super) fn answered(&mut self, number: usize, entry: EntryId, done: bool) {
        let seat = self.copies[number].seat;
        self.copies[number].incomplete |= !done;
        if entry < self.written || self.current[seat] != number {
            return; // An ack quorum has it already, or another sits there now.
        }
        let recovered = &mut self.recovered[(entry.0 - self.written.0) as usize];
        if done {
            recovered.acks.insert(seat);
        } else {
            recovered.failed.insert(seat);
        }
        if self.policy.write - recovered.failed.len() < self.policy.ack {
            self.wanted = self.wanted.union(recovered.failed);
        }
        self.release();
    }

    /// Lets go of entries that all have answered; under pressure, of those that an ack quorum holds.
    fn release(&mut self) {
        while let Some(front) = self.recovered.front() {
            let id = EntryId(front.add.entry);
            let unanswered = self.policy.write_set(id).without(front.acks.union(front.failed));
            let pressed = WAITING_BYTES_MAX / 2 < self.waiting_bytes;
            if front.acks.len() < self.policy.ack || !(pressed || unanswered.is_empty()) {
                break;
            }
            self.waiting_bytes -= front.add.payload.len();
            self.written = id.next();
            self.recovered.pop_front();
        }
    }

    pub(super) fn wanted(&self) -> Members {
        self.wanted
    }

    /// Others sit on these seats from now on and get everything that is not on an ack quorum yet. `end` and `length` are those of
    /// what is recovered so far.
    pub(super) fn replaced(&mut self, seats: Members, end: EntryId, length: u64) {
        for seat in seats.iter() {
            self.current[seat] = self.copies.len();
            self.copies.push(Copy { seat, next: self.written, writing: false, incomplete: false });
        }
        for recovered in &mut self.recovered {
            recovered.acks = recovered.acks.without(seats);
            recovered.failed = recovered.failed.without(seats);
        }
        let front = self.recovered.front().map(|front| front.add.length - front.add.payload.len() as u64);
        assert!(front.is_some() || self.written == end, "what is not written is here");
        let part = Part {
            first: self.written,
            length_before: front.unwrap_or(length),
            seats: self.current.clone(),
            lacking: Members::default(),
        };
        self.parts.retain(|earlier| earlier.first < part.first);
        self.parts.push(part);
        self.wanted = Members::default();
        let is_stuck = |entry: &Recovered| self.policy.write - entry.failed.len() < self.policy.ack;
        let stuck = self.recovered.iter().filter(|entry| is_stuck(entry));
        self.wanted = stuck.fold(Members::default(), |wanted, entry| wanted.union(entry.failed));
    }

    /// Whether every entry is on an ack quorum, as far as entries were recovered.
    pub(super) fn is_safe(&self) -> bool {
        self.wanted.is_empty() && self.recovered.iter().all(|recovered| self.policy.ack <= recovered.acks.len())
    }

    /// Whether the one with this number still sits where it sat and no write to it has failed.
    pub(super) fn is_complete(&self, number: usize) -> bool {
        let copy = &self.copies[number];
        !copy.incomplete && self.current[copy.seat] == number
    }

    /// Whether there is something to write to it, or an answer to wait for.
    pub(super) fn is_busy(&self, number: usize, end: EntryId) -> bool {
        self.copies[number].writing || self.copies[number].next < end && !self.recovered.is_empty()
    }

    /// Whether nothing is left to write to anybody who could still be shown to hold everything.
    pub(super) fn is_done(&self, end: EntryId) -> bool {
        self.current.iter().all(|number| self.copies[*number].incomplete || !self.is_busy(*number, end))
    }

    /// The fragments that stand for the one from `first` to `end`. `unverified` are those of its members that are not known to hold
    /// everything.
    pub(super) fn parts(&self, first: EntryId, length_before: u64, end: EntryId, unverified: Members) -> Vec<Part> {
        let lacks = |number: &usize| {
            let is_member = *number < self.policy.ensemble as usize;
            self.copies[*number].incomplete || self.is_busy(*number, end) || is_member && unverified.contains(*number)
        };
        let lacking = |seats: &[usize]| (0..seats.len()).filter(|seat| lacks(&seats[*seat])).collect();
        let whole = Part { first, length_before, seats: (0..self.current.len()).collect(), lacking: unverified };
        let begins_later = self.parts.first().is_none_or(|part| first < part.first);
        let later = self.parts.iter().map(|part| Part { lacking: lacking(&part.seats), ..part.clone() });
        begins_later.then_some(whole).into_iter().chain(later).collect()
    }
}
