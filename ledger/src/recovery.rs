//! Settling the end of a ledger whose writer is gone, as a value without I/O: answers go in, asks and a verdict come out.
//!
//! The caller has made itself the recoverer by compare-and-set before, and writes the verdict by compare-and-set after.
//! Promises: every entry that was confirmed is inside the end; nothing is decided on an unknown answer; the same entry is never
//! written back with other bytes. Reads fence: what was answered No can never be confirmed later. Only members of the ensemble as it
//! was at the start vote: a replacement, which takes write-backs where an ack quorum cannot be reached otherwise, could only say no.
use std::collections::BTreeMap;

use proto::bookie::{Add, Fence, Held, Read, request};
use proto::{EntryId, LedgerId};

use self::member::Member;
pub(crate) use self::replies::{Reply, is_whole};
use self::tally::Tally;
pub(crate) use self::write_back::Part;
use self::write_back::WriteBack;
use crate::defects::{Defect, Planted};
use crate::quorum::Members;
use crate::{QuorumPolicy, Sealed};

mod member;
mod replies;
mod tally;
#[cfg(test)]
mod tests;
mod write_back;

/// Payload bytes asked for with one read, and written back with one batch.
const BATCH_BYTES: usize = 1 << 20;
/// How far a member is read ahead of what is settled.
const AHEAD_ENTRIES: u64 = 4096;
/// Recovered bytes that may wait for their write-back before reading pauses.
const WAITING_BYTES_MAX: usize = 16 << 20;

/// Requests for one member, to be answered once with a reply to each, or with [`Reply::Silence`] for what got no answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ask {
    /// Members are counted as the last fragment lists them, and replacements after them in the order in which they came.
    pub(crate) member: usize,
    pub(crate) bodies: Vec<request::Body>,
}

/// What a recovery came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The end, and the fragments that are to stand for the last one.
    Ended(Sealed, Vec<Part>),
    /// Nothing is known for sure. Nothing was decided.
    Unsettled(String),
    /// A bookie has a tombstone: the ledger is being deleted.
    Deleted,
}

/// What is known of the last fragment before the first answer.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) ledger: LedgerId,
    pub(crate) policy: QuorumPolicy,
    /// Where the last fragment begins, and the sum of payload bytes before it.
    pub(crate) first: EntryId,
    pub(crate) length_before: u64,
    /// How many entries each member of it should hold of earlier fragments. Nothing, if a count says nothing of this member,
    /// because it may hold others as well.
    pub(crate) earlier: Vec<Option<u64>>,
    /// A defect put in on purpose.
    pub(crate) planted: Planted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Fencing,
    Reading,
    /// The end is known; entries are written back, then members show what they hold.
    Closing,
    Over,
}

/// One recovery of one ledger.
#[derive(Debug)]
pub(crate) struct Recovery {
    scope: Scope,
    phase: Phase,
    members: Vec<Member>,
    fenced: Members,
    /// The highest `confirmed` that any bookie reported.
    confirmed: EntryId,
    /// Entries below it are settled. The entry before `confirmed` is read too, for its length.
    settled: EntryId,
    length: u64,
    tallies: BTreeMap<EntryId, Tally>,
    /// The only copy was damaged: this is the end as far as it can be known.
    in_doubt: Option<EntryId>,
    writing: WriteBack,
    verdict: Option<Verdict>,
    asks: Vec<Ask>,
}

impl Recovery {
    pub(crate) fn new(scope: Scope) -> Self {
        let members: Vec<Member> = scope.earlier.iter().map(|earlier| Member::new(earlier.is_some())).collect();
        let fence = |member| Ask { member, bodies: vec![request::Body::Fence(Fence {})] };
        let asks = (0..members.len()).map(fence).collect();
        let length = scope.length_before;
        let first = if scope.planted.is(Defect::RecoveryBeginsBelowFragment) { EntryId::FIRST } else { scope.first };
        Self {
            writing: WriteBack::new(scope.policy, first),
            scope,
            phase: Phase::Fencing,
            members,
            fenced: Members::default(),
            confirmed: first,
            settled: first,
            length,
            tallies: BTreeMap::new(),
            in_doubt: None,
            verdict: None,
            asks,
        }
    }

    /// What is to be asked now. A member has at most one ask of a kind at a time.
    pub(crate) fn asks(&mut self) -> Vec<Ask> {
        std::mem::take(&mut self.asks)
    }

    /// What it came to, once it has.
    pub(crate) fn verdict(&self) -> Option<&Verdict> {
        self.verdict.as_ref()
    }

    /// Whether entries may have followed the end that nobody can know of any more.
    pub(crate) fn end_is_in_doubt(&self) -> bool {
        self.in_doubt.is_some()
    }

    /// Whether everything is decided but which members hold all of it, so that nobody need be waited for any longer.
    pub(crate) fn may_finish(&self) -> bool {
        self.phase == Phase::Closing && self.writing.is_safe()
    }

    /// Members whose place others must take, or no ack quorum can be reached. Answer with [`replaced`](Self::replaced) or
    /// [`cannot_replace`](Self::cannot_replace).
    pub(crate) fn replacements_wanted(&self) -> Members {
        if self.phase == Phase::Over { Members::default() } else { self.writing.wanted() }
    }

    /// Others take the places of `members`. They have the next numbers, in order.
    pub(crate) fn replaced(&mut self, members: Members) {
        self.writing.replaced(members, self.settled, self.length);
        self.write_back();
    }

    /// Nobody can take the place of those that were asked for.
    pub(crate) fn cannot_replace(&mut self, reason: &str) {
        let entry = self.writing.written();
        self.end_with(Verdict::Unsettled(format!("entry {entry} could not be written back: {reason}")));
    }

    /// Ends the wait for members that have not shown what they hold. Call it only if [`may_finish`](Self::may_finish).
    pub(crate) fn finish(&mut self) {
        assert!(self.may_finish(), "an end is decided before the wait for stragglers ends");
        self.conclude();
    }

    /// Takes the replies to an ask, one for each of its bodies.
    pub(crate) fn answered(&mut self, ask: &Ask, replies: Vec<Reply>) {
        assert_eq!(ask.bodies.len(), replies.len(), "each body has its reply");
        for (body, reply) in ask.bodies.iter().zip(replies) {
            if self.phase == Phase::Over {
                return;
            }
            if reply == Reply::Deleted {
                return self.end_with(Verdict::Deleted);
            }
            match body {
                request::Body::Fence(_) => self.fence_answered(ask.member, &reply),
                request::Body::Read(read) => self.read_answered(ask.member, read, reply),
                request::Body::Add(add) => self.add_answered(ask.member, EntryId(add.entry), &reply),
                request::Body::Held(_) => self.held_answered(ask.member, &reply),
                request::Body::Delete(_) => unreachable!("a recovery deletes nothing"),
            }
        }
        self.go_on(ask);
    }

    fn go_on(&mut self, ask: &Ask) {
        match ask.bodies.first() {
            Some(request::Body::Add(_)) => self.writing.batch_answered(ask.member),
            Some(request::Body::Read(_)) => self.members[ask.member].reading = false,
            _ => {}
        }
        self.settle();
        match self.phase {
            Phase::Reading => {
                self.read_on();
                self.write_back();
            }
            Phase::Closing => {
                self.write_back();
                self.verify();
            }
            Phase::Fencing | Phase::Over => {}
        }
    }

    fn fence_answered(&mut self, member: usize, reply: &Reply) {
        self.members[member].fence_answered = true;
        if let Reply::Holding(holding) = reply {
            self.fenced.insert(member);
            if self.phase == Phase::Fencing {
                self.confirmed = self.confirmed.max(EntryId(holding.confirmed));
                if holding.limbo && self.members.len() == 1 {
                    // Nobody else can know, now or later. What is there is read for its length.
                    let held = EntryId(holding.end).max(self.settled);
                    self.in_doubt = Some(self.confirmed.max(held));
                    self.confirmed = held;
                }
            }
        }
        if self.phase != Phase::Fencing {
            return;
        }
        if self.scope.policy.covered(self.fenced) {
            self.phase = Phase::Reading;
            // The entry before the first unknown one is confirmed, so it is there; it tells the length so far.
            self.settled = EntryId(self.confirmed.0.saturating_sub(1)).max(self.settled);
            self.writing.begin(self.in_doubt.unwrap_or(self.confirmed));
        } else if self.members.iter().all(|member| member.fence_answered) {
            self.end_with(Verdict::Unsettled(format!(
                "{} of {} bookies could be fenced",
                self.fenced.len(),
                self.members.len()
            )));
        }
    }

    /// Asks members that are not being asked for the entries that are not settled.
    fn read_on(&mut self) {
        if WAITING_BYTES_MAX < self.writing.waiting_bytes() {
            return;
        }
        let policy = self.scope.policy;
        let fence = !self.scope.planted.is(Defect::ReadsDoNotFence);
        for (index, member) in self.members.iter_mut().enumerate() {
            let Some(first) = member.reads_from(self.settled) else { continue };
            if AHEAD_ENTRIES <= first.0 - self.settled.0 {
                continue;
            }
            let bodies = member::reads(policy, index, first, BATCH_BYTES, fence);
            if bodies.is_empty() {
                continue;
            }
            member.reading = true;
            self.asks.push(Ask { member: index, bodies });
        }
    }

    fn read_answered(&mut self, member: usize, read: &Read, reply: Reply) {
        let first = EntryId(read.first);
        match reply {
            Reply::Entries(entries) => {
                let mut next = first;
                for entry in entries {
                    if entry.entry != next.0 || read.end <= entry.entry {
                        self.vote_unknown(member, next);
                        break;
                    }
                    self.vote_entry(member, entry);
                    next = next.next();
                }
                self.members[member].has_read(next);
            }
            Reply::NotHeld => {
                self.tally(first, |tally| tally.no.insert(member));
                self.members[member].stopped_at(first);
            }
            _ => self.vote_unknown(member, first),
        }
    }

    fn vote_unknown(&mut self, member: usize, entry: EntryId) {
        self.tally(entry, |tally| tally.unknown.insert(member));
        self.members[member].stopped_at(entry);
    }

    fn vote_entry(&mut self, member: usize, entry: proto::bookie::Entry) {
        let id = EntryId(entry.entry);
        if is_whole(self.scope.ledger, &entry) {
            self.tally(id, |tally| {
                tally.found.get_or_insert(entry);
            });
        } else {
            tracing::error!(ledger = %self.scope.ledger, entry = %id, member, "a replica is corrupt");
            self.tally(id, |tally| tally.unknown.insert(member));
        }
    }

    fn tally(&mut self, entry: EntryId, vote: impl FnOnce(&mut Tally)) {
        if self.settled <= entry && self.phase == Phase::Reading {
            vote(self.tallies.entry(entry).or_default());
        }
    }

    /// Decides entry after entry as far as the votes go.
    fn settle(&mut self) {
        while self.phase == Phase::Reading {
            if let Some(end) = self.in_doubt.filter(|_| self.settled == self.confirmed) {
                self.settled = end;
                self.tallies.clear();
                self.phase = Phase::Closing;
                return;
            }
            let entry = self.settled;
            let policy = self.scope.policy;
            let Some(tally) = self.tallies.get_mut(&entry) else { return };
            if let Some(found) = tally.found.take() {
                self.tallies.remove(&entry);
                if !self.accept(entry, found) {
                    return;
                }
            } else if policy.noes_needed() <= tally.no.len() {
                if entry < self.confirmed {
                    let reason = format!("entry {entry} was confirmed and too few of its bookies hold it");
                    return self.end_with(Verdict::Unsettled(reason));
                }
                self.tallies.clear(); // Nothing after the first gap was ever confirmed.
                self.phase = Phase::Closing;
            } else if policy.write_set(entry).without(tally.no.union(tally.unknown)).is_empty() {
                let reason = format!("entry {entry} may be on a bookie that does not say");
                return self.end_with(Verdict::Unsettled(reason));
            } else {
                return;
            }
        }
    }

    /// Counts an entry as part of the ledger. The one before the confirmed end only tells the length.
    fn accept(&mut self, entry: EntryId, found: proto::bookie::Entry) -> bool {
        self.settled = entry.next();
        if entry < self.confirmed {
            self.length = found.length;
            return true;
        }
        if found.length != self.length + found.payload.len() as u64 {
            self.end_with(Verdict::Unsettled(format!("entry {entry} does not continue the length before it")));
            return false;
        }
        self.length = found.length;
        // The same with every write-back, so that no reader is ever shown an entry that another recoverer may leave out.
        let confirmed = if self.scope.planted.is(Defect::ConfirmedEndMoves) { entry.next() } else { self.confirmed };
        self.writing.push(Add {
            entry: entry.0,
            confirmed: confirmed.0,
            length: found.length,
            digest: found.digest,
            recovery: true,
            payload: found.payload,
            urgent: true,
        });
        true
    }

    fn write_back(&mut self) {
        if self.phase != Phase::Over {
            self.asks.extend(self.writing.asks(self.settled));
        }
    }

    fn add_answered(&mut self, member: usize, entry: EntryId, reply: &Reply) {
        self.writing.answered(member, entry, *reply == Reply::Done);
    }

    /// Asks each member what it holds once it has answered its last write.
    fn verify(&mut self) {
        if self.phase != Phase::Closing {
            return;
        }
        for (index, member) in self.members.iter_mut().enumerate() {
            let complete = !member.uncountable && self.writing.is_complete(index);
            if complete && !member.asked_held && !self.writing.is_busy(index, self.settled) {
                member.asked_held = true;
                self.asks.push(Ask { member: index, bodies: vec![request::Body::Held(Held {})] });
            }
        }
        let shown = |index: usize| {
            self.members[index].uncountable || !self.writing.is_complete(index) || self.members[index].held_answered
        };
        let all_shown = (0..self.members.len()).all(shown);
        if self.may_finish() && all_shown && self.writing.is_done(self.settled) {
            self.conclude();
        }
    }

    fn held_answered(&mut self, index: usize, reply: &Reply) {
        let (share, end) = self.scope.policy.share(index, self.scope.first, self.settled);
        let member = &mut self.members[index];
        member.held_answered = true;
        let Some(earlier) = self.scope.earlier[index] else { return };
        // More than expected means entries beyond the end, which could stand in the count for ones that are missing.
        member.verified = matches!(reply, Reply::Holding(holding)
            if !holding.limbo && holding.entries == share + earlier && (share == 0 || holding.end == end.0));
    }

    fn conclude(&mut self) {
        let unverified = (0..self.members.len()).filter(|index| !self.members[*index].verified).collect();
        let parts = self.writing.parts(self.scope.first, self.scope.length_before, self.settled, unverified);
        self.end_with(Verdict::Ended(Sealed { end: self.settled, length: self.length }, parts));
    }

    fn end_with(&mut self, verdict: Verdict) {
        self.phase = Phase::Over;
        self.verdict = Some(verdict);
        self.asks.clear();
    }
}
