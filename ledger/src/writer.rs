//! A ledger's writer as a value without I/O: entries, sessions and answers go in, requests and confirmations come out.
//!
//! Owns: entry ids, who has acknowledged what, what must still be kept for whom, and who should be replaced.
//! Promises: entries are confirmed in order, each by an ack quorum of synced disks; after a failure nothing is confirmed;
//! a confirmed entry is withheld from a member only once the ledger's record says that this member lacks entries; no member that is
//! being replaced helps to confirm anything.
//! Never: waits for a member that an ack quorum can do without, or keeps more than a bound in bytes for it.
use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use proto::bookie::{Add, Answer, Request, Status, request};
use proto::{EntryId, LedgerId, digest};

use self::change::Changes;
pub(crate) use self::change::Patience;
use self::member::Member;
use crate::QuorumPolicy;
use crate::defects::Planted;
use crate::quorum::Members;

mod change;
mod member;
#[cfg(test)]
mod tests;

/// How patient a writer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Payload bytes kept for a member that does not acknowledge. Beyond it, confirmed entries are withheld.
    pub(crate) kept_max: usize,
    /// How long an entry may lack its ack quorum.
    pub(crate) quorum_timeout: Duration,
    /// How long after a refusal a member is tried again.
    pub(crate) resend_after: Duration,
    /// How long a member is waited for before it is replaced.
    pub(crate) patience: Patience,
    /// Bookies whose disks are full take what it writes as well.
    pub(crate) urgent: bool,
    /// A defect put in on purpose.
    pub(crate) planted: Planted,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            kept_max: 16 << 20,
            quorum_timeout: Duration::from_secs(10),
            resend_after: Duration::from_millis(100),
            patience: Patience::default(),
            urgent: false,
            planted: Planted::default(),
        }
    }
}

/// Why a writer stopped for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Someone else decides how the ledger ends.
    Fenced,
    /// `entry` lacked its ack quorum for too long. It may exist.
    TimedOut {
        /// The first that was not confirmed.
        entry: EntryId,
    },
}

/// An entry from its appending until every member of its write set has acknowledged it or lacks it.
#[derive(Debug)]
struct Kept {
    payload: Bytes,
    length: u64,
    digest: u32,
    acks: Members,
}

/// What an entry costs beside its payload, so that empty entries are bounded too.
const ENTRY_OVERHEAD: usize = 128;

impl Kept {
    fn cost(&self) -> usize {
        self.payload.len() + ENTRY_OVERHEAD
    }
}

/// One ledger's writer. Times are since an origin that the caller chooses.
#[derive(Debug)]
pub(crate) struct Writer {
    ledger: LedgerId,
    policy: QuorumPolicy,
    limits: Limits,
    members: Vec<Member>,
    /// Entries `base` to before `next`.
    kept: VecDeque<Kept>,
    base: EntryId,
    confirmed: EntryId,
    /// Sum of payload bytes below `confirmed`.
    confirmed_length: u64,
    reported: EntryId,
    /// Entries below it may be sent.
    flushed: EntryId,
    next: EntryId,
    length: u64,
    unconfirmed_bytes: usize,
    /// What unconfirmed entries cost.
    unconfirmed_cost: usize,
    /// Up to where each flush went and when, as long as it is not confirmed.
    flushes: VecDeque<(EntryId, Duration)>,
    /// Members whose mark in the record is on its way.
    marking: Members,
    changes: Changes,
    failure: Option<Failure>,
}

impl Writer {
    /// The writer of a ledger that was just created. Members in `lacking` are marked in the record already.
    pub(crate) fn new(ledger: LedgerId, policy: QuorumPolicy, lacking: Members, limits: Limits) -> Self {
        assert!(policy.is_valid(), "{policy:?} makes no sense");
        let member = |index| {
            let mut member = Member::new(index, EntryId::FIRST, limits.kept_max, Duration::ZERO);
            member.lacking = lacking.contains(index);
            member
        };
        Self {
            ledger,
            policy,
            limits,
            members: (0..policy.ensemble as usize).map(member).collect(),
            kept: VecDeque::new(),
            base: EntryId::FIRST,
            confirmed: EntryId::FIRST,
            confirmed_length: 0,
            reported: EntryId::FIRST,
            flushed: EntryId::FIRST,
            next: EntryId::FIRST,
            length: 0,
            unconfirmed_bytes: 0,
            unconfirmed_cost: 0,
            flushes: VecDeque::new(),
            marking: Members::default(),
            changes: Changes::default(),
            failure: None,
        }
    }

    /// Takes the next entry id.
    pub(crate) fn append(&mut self, payload: Bytes) -> Result<EntryId, Failure> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let entry = self.next;
        let size = payload.len();
        self.next = entry.next();
        self.length += size as u64;
        self.unconfirmed_bytes += size;
        self.unconfirmed_cost += size + ENTRY_OVERHEAD;
        for (index, member) in self.members.iter_mut().enumerate() {
            member.appended(entry, self.policy.holds(index, entry), size + ENTRY_OVERHEAD);
        }
        let digest = digest::entry_digest(self.ledger, entry, self.length, &payload);
        self.kept.push_back(Kept { payload, length: self.length, digest, acks: Members::default() });
        Ok(entry)
    }

    /// What was appended may now be sent.
    pub(crate) fn flush(&mut self, now: Duration) {
        if self.next <= self.flushed || self.failure.is_some() {
            return;
        }
        for member in self.members.iter_mut().filter(|member| self.flushed <= member.front) {
            member.heard_at = now; // It owed nothing until now.
        }
        self.flushed = self.next;
        self.flushes.push_back((self.next, now));
    }

    /// Where the member with this number sits now. Members that were replaced sit nowhere: what comes from them is discarded.
    fn member_at(&self, seat: usize) -> Option<usize> {
        self.members.iter().position(|member| member.seat == seat)
    }

    /// A session with the member in `seat` has begun. Everything it has not acknowledged is sent to it again.
    pub(crate) fn connected(&mut self, seat: usize, session: u64) {
        if let Some(member) = self.member_at(seat) {
            self.members[member].connected(session);
        }
    }

    /// The session has ended. What it had not answered has an unknown outcome.
    pub(crate) fn disconnected(&mut self, seat: usize, session: u64, now: Duration) {
        if let Some(member) = self.member_at(seat) {
            self.members[member].disconnected(session, now);
        }
    }

    /// The session in which requests for `member` are to be sent now, if there are any.
    pub(crate) fn wants_to_send(&self, member: usize) -> Option<u64> {
        let member = &self.members[member];
        let idle = self.failure.is_some() || member.dismissed;
        member.session().filter(|_| !idle && member.next_send < self.flushed && member.resend_at.is_none())
    }

    /// Requests for `member` with the ids from `first_id` on: all that may be sent, or the first `bytes_max` of payload.
    pub(crate) fn requests(&mut self, member: usize, first_id: u64, bytes_max: usize) -> Vec<Request> {
        let mut requests = Vec::new();
        let mut bytes = 0;
        let to = &mut self.members[member];
        while to.next_send < self.flushed && (bytes < bytes_max || requests.is_empty()) {
            let entry = to.next_send;
            to.next_send = entry.next();
            let kept = &self.kept[(entry.0 - self.base.0) as usize];
            if !self.policy.holds(member, entry) || kept.acks.contains(member) {
                continue;
            }
            let id = first_id + requests.len() as u64;
            to.sent.push_back((id, entry));
            bytes += kept.payload.len();
            let add = Add {
                entry: entry.0,
                confirmed: self.confirmed.0,
                length: kept.length,
                digest: kept.digest,
                recovery: false,
                payload: kept.payload.clone(),
                urgent: self.limits.urgent,
            };
            requests.push(Request { id, ledger: self.ledger.0, body: Some(request::Body::Add(add)) });
        }
        requests
    }

    /// The member in `seat` has answered in `session`.
    pub(crate) fn answered(&mut self, seat: usize, session: u64, answer: &Answer, now: Duration) {
        let Some(member) = self.member_at(seat).filter(|_| self.failure.is_none()) else { return };
        match answer.status() {
            // True of the ledger, whichever session says it.
            Status::Fenced | Status::Deleted => self.fail(Failure::Fenced),
            _ if self.members[member].dismissed => {}
            Status::Ok if self.members[member].session() == Some(session) => {
                self.members[member].heard_at = now;
                self.members[member].full_since = None;
                self.acknowledged(member, answer.id, answer.run.max(1));
            }
            Status::ReadOnly => {
                self.members[member].refused(session, answer.id, now + self.limits.patience.full);
                self.members[member].full_since.get_or_insert(now);
            }
            Status::Unknown | Status::Busy | Status::Invalid | Status::NotHeld => {
                let again = now + self.limits.resend_after;
                self.members[member].refused(session, answer.id, again);
            }
            Status::Ok => {} // Of a session that is over: what it acknowledges was sent again.
        }
    }

    fn acknowledged(&mut self, member: usize, first_id: u64, run: u32) {
        let from = &mut self.members[member];
        let start = from.sent.partition_point(|(id, _)| *id < first_id);
        let end = from.sent.partition_point(|(id, _)| *id < first_id + u64::from(run));
        for (_, entry) in from.sent.drain(start..end) {
            if entry < from.front {
                continue; // Withheld meanwhile: the record says so, and it stays said.
            }
            let kept = &mut self.kept[(entry.0 - self.base.0) as usize];
            kept.acks.insert(member);
            from.kept_bytes -= kept.cost();
        }
        self.advance(member);
        self.settle();
    }

    /// Moves a member's front over what it has acknowledged or need not hold.
    fn advance(&mut self, member: usize) {
        let from = &mut self.members[member];
        while from.front < self.next {
            let kept = &self.kept[(from.front.0 - self.base.0) as usize];
            if self.policy.holds(member, from.front) && !kept.acks.contains(member) {
                break;
            }
            from.front = from.front.next();
        }
        from.next_send = from.next_send.max(from.front);
    }

    /// Confirms what can be confirmed, withholds what must be withheld, forgets what nobody needs.
    fn settle(&mut self) {
        while self.confirmed < self.next && !self.is_held_back() {
            let kept = &self.kept[(self.confirmed.0 - self.base.0) as usize];
            if kept.acks.len() < self.policy.ack {
                break;
            }
            self.unconfirmed_bytes -= kept.payload.len();
            self.unconfirmed_cost -= kept.cost();
            self.confirmed_length = kept.length;
            self.confirmed = self.confirmed.next();
        }
        while self.flushes.front().is_some_and(|(end, _)| *end <= self.confirmed) {
            self.flushes.pop_front();
        }
        for member in 0..self.members.len() {
            self.withhold(member);
        }
        let needed = self.members.iter().map(|member| member.front).min().unwrap_or(self.next).min(self.confirmed);
        self.kept.drain(..(needed.0 - self.base.0) as usize);
        self.base = needed;
    }

    /// Drops the oldest confirmed entries that are kept for a marked member beyond its bound.
    fn withhold(&mut self, member: usize) {
        let end = self.confirmed.min(self.withheld_to(member));
        let from = &mut self.members[member];
        while from.may_lack(from.front) && from.is_over_bound() && from.front < end {
            let kept = &self.kept[(from.front.0 - self.base.0) as usize];
            if self.policy.holds(member, from.front) && !kept.acks.contains(member) {
                from.kept_bytes -= kept.cost();
            }
            from.front = from.front.next();
        }
        self.advance(member);
    }

    /// Whether confirmations wait for the record, because what is kept for a member has reached twice its bound. The caller then
    /// stops taking more, so that memory stays bounded while the record cannot be changed.
    fn is_held_back(&self) -> bool {
        let waits =
            |member: &Member| member.is_far_over_bound() && (member.dismissed || !member.may_lack(member.front));
        if self.is_changing() {
            return self.members.iter().any(|member| waits(member) && member.front < self.confirmed);
        }
        self.marking.iter().any(|member| waits(&self.members[member]))
    }

    /// Members that must be marked as lacking in the ledger's record now. Asked for once; answer with
    /// [`marked`](Self::marked) or [`mark_refused`](Self::mark_refused).
    pub(crate) fn marks_wanted(&mut self) -> Members {
        if !self.marking.is_empty() || self.is_changing() || self.failure.is_some() {
            return Members::default();
        }
        let wanted =
            |member: &Member| !member.may_lack(member.front) && member.is_over_bound() && member.front < self.confirmed;
        self.marking = (0..self.members.len()).filter(|index| wanted(&self.members[*index])).collect();
        self.marking
    }

    /// The record says that the members asked for lack entries.
    pub(crate) fn marked(&mut self) {
        for member in self.marking.iter() {
            self.members[member].lacking = true;
        }
        self.marking = Members::default();
        if self.failure.is_none() {
            self.settle();
        }
    }

    /// The record is not this writer's any more.
    pub(crate) fn mark_refused(&mut self) {
        self.fail(Failure::Fenced);
    }

    /// How many bytes may be kept for `member` from now on.
    pub(crate) fn bound(&mut self, member: usize, kept_max: usize) {
        self.members[member].kept_max = kept_max;
    }

    /// Bytes kept for `member`.
    pub(crate) fn kept_bytes(&self, member: usize) -> usize {
        self.members[member].kept_bytes
    }

    /// Ends the writer when an entry has waited too long, and the pause after a refusal when it is over.
    pub(crate) fn tick(&mut self, now: Duration) {
        for member in &mut self.members {
            member.resend_at = member.resend_at.filter(|at| now < *at);
            let lags = member.kept_max / 2 < member.kept_bytes.saturating_sub(self.unconfirmed_cost);
            member.lagging_since = if lags { member.lagging_since.or(Some(now)) } else { None };
        }
        if self.failure.is_none() && self.quorum_deadline().is_some_and(|deadline| deadline <= now) {
            self.fail(Failure::TimedOut { entry: self.confirmed });
        }
    }

    /// When the writer must be looked after even if nothing comes.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        if self.failure.is_some() {
            return None;
        }
        let waiting =
            |member: &&Member| member.session().is_some() && !member.dismissed && member.next_send < self.flushed;
        let resends = self.members.iter().filter(waiting).filter_map(|member| member.resend_at);
        resends.chain(self.quorum_deadline()).chain(self.change_deadline()).min()
    }

    fn quorum_deadline(&self) -> Option<Duration> {
        let (_, since) = self.flushes.front().filter(|_| !self.is_held_back())?;
        Some(*since + self.limits.quorum_timeout)
    }

    fn fail(&mut self, failure: Failure) {
        if self.failure.is_none() {
            self.failure = Some(failure);
            self.kept.clear(); // Nothing is sent any more: a recoverer takes over.
            self.members.iter_mut().for_each(Member::forget);
            self.changes.over();
        }
    }

    /// The end of what is confirmed, if it has risen since last asked.
    pub(crate) fn take_confirmed(&mut self) -> Option<EntryId> {
        let risen = self.reported < self.confirmed;
        self.reported = self.confirmed;
        risen.then_some(self.confirmed)
    }

    pub(crate) fn failure(&self) -> Option<Failure> {
        self.failure
    }

    pub(crate) fn unconfirmed_bytes(&self) -> usize {
        self.unconfirmed_bytes
    }

    /// The entry after the last appended, once everything is confirmed, and the sum of payload bytes.
    pub(crate) fn end(&self) -> Option<(EntryId, u64)> {
        (self.confirmed == self.next).then_some((self.next, self.length))
    }

    /// Members that have not acknowledged everything of the last fragment, or were marked in it.
    pub(crate) fn lacking(&self) -> Members {
        let lacks = |member: &Member| member.lacking || member.front < self.next;
        (0..self.members.len()).filter(|index| lacks(&self.members[*index])).collect()
    }

    /// Whether a member that could still acknowledge something has not yet.
    pub(crate) fn has_stragglers(&self) -> bool {
        self.members.iter().any(|member| member.session().is_some() && !member.dismissed && member.front < self.next)
    }
}
