//! Replacing members: when a writer wants to, and what it does meanwhile.
//!
//! The caller looks for replacements, begins the change, carries it to the record, and says what came of it. From its beginning
//! on, acknowledgements of those that go do not count for unconfirmed entries, whether they come or had come; what the others
//! confirm by themselves is confirmed, because they are members before and after.
use std::time::Duration;

use proto::EntryId;

use super::member::Member;
use super::{Failure, Writer};
use crate::defects::Defect;
use crate::quorum::Members;

#[cfg(test)]
mod tests;

/// How long a member is waited for before it is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    /// While it acknowledges nothing of what it should, or lags by half the bound.
    pub(crate) silent: Duration,
    /// While it has no session and an entry waits for its ack quorum.
    pub(crate) needed: Duration,
    /// While it has no session and there is nothing to tell it.
    pub(crate) idle: Duration,
    /// Before a member whose disk is full is asked again, when it cannot be replaced.
    pub(crate) full: Duration,
    /// Before asking again when there was nobody to replace it, at first and at most.
    pub(crate) again_min: Duration,
    pub(crate) again_max: Duration,
    /// Changes of one ledger: each leaves a fragment in its record.
    pub(crate) changes_max: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            silent: Duration::from_secs(5),
            needed: Duration::from_secs(1),
            idle: Duration::from_secs(30),
            full: Duration::from_secs(1),
            again_min: Duration::from_secs(5),
            again_max: Duration::from_secs(60),
            changes_max: 64,
        }
    }
}

/// A change that is on its way to the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Begun {
    /// Where the new members begin: the confirmed end.
    pub(crate) first: EntryId,
    /// Sum of payload bytes below it.
    pub(crate) length_before: u64,
    /// Members that go.
    pub(crate) out: Members,
    /// Members, those that go or stay, that have not acknowledged everything below `first`.
    pub(crate) behind: Members,
}

/// How far a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Changing {
    #[default]
    No,
    /// The caller looks for replacements of these.
    Looking,
    Begun(Begun),
}

/// The changes of one writer.
#[derive(Debug, Default)]
pub(super) struct Changes {
    changing: Changing,
    done: u32,
    not_before: Duration,
    again: Duration,
    /// Where the last fragment begins.
    last_first: EntryId,
    ended: bool,
}

impl Changes {
    pub(super) fn over(&mut self) {
        self.changing = Changing::No;
        self.ended = true;
    }
}

impl Writer {
    /// Whether a change is on its way to the record: until it is known what came of it, nothing else may be written there.
    pub(crate) fn is_changing(&self) -> bool {
        matches!(self.changes.changing, Changing::Begun(_))
    }

    /// No change is begun any more.
    pub(crate) fn stop_changing(&mut self) {
        self.changes.ended = true;
        if self.changes.changing == Changing::Looking {
            self.changes.changing = Changing::No;
        }
    }

    /// Members that are to be replaced now, if others can be had. Asked for once; answer with
    /// [`begin_change`](Self::begin_change) or [`nobody_to_change_to`](Self::nobody_to_change_to).
    pub(crate) fn change_wanted(&mut self, now: Duration) -> Option<Members> {
        if !self.may_change() || now < self.changes.not_before {
            return None;
        }
        let is_due = |member: &usize| self.due_at(*member).is_some_and(|due| due <= now);
        if !(0..self.members.len()).any(|member| is_due(&member)) {
            return None;
        }
        // Those that are about to be due go along: one change is enough.
        let gone = |member: &usize| {
            self.members[*member].gone_since.is_some_and(|since| since + self.limits.patience.needed <= now)
        };
        let out = (0..self.members.len()).filter(|member| is_due(member) || gone(member)).collect();
        self.changes.changing = Changing::Looking;
        Some(out)
    }

    fn may_change(&self) -> bool {
        let changes = &self.changes;
        self.failure.is_none()
            && !changes.ended
            && changes.changing == Changing::No
            && changes.done < self.limits.patience.changes_max
    }

    /// When `member` has been waited for long enough, if it is waited for.
    fn due_at(&self, member: usize) -> Option<Duration> {
        let (member, patience) = (&self.members[member], &self.limits.patience);
        let waits = self.flushes.front().map(|(_, since)| *since);
        let idle = member.gone_since.map(|since| since + patience.idle);
        let needed = member.gone_since.zip(waits).map(|(gone, waits)| gone.max(waits) + patience.needed);
        let silent = (member.front < self.flushed).then(|| member.heard_at + patience.silent);
        let lagging = member.lagging_since.map(|since| since + patience.silent);
        let full = member.full_since; // It has said so itself.
        [idle, needed, silent, lagging, full].into_iter().flatten().min()
    }

    /// When a change will be wanted if nothing comes.
    pub(super) fn change_deadline(&self) -> Option<Duration> {
        if !self.may_change() {
            return None;
        }
        let due = (0..self.members.len()).filter_map(|member| self.due_at(member)).min()?;
        Some(due.max(self.changes.not_before))
    }

    /// There is nobody who could take the place of those that were asked for.
    pub(crate) fn nobody_to_change_to(&mut self, now: Duration) {
        if self.changes.changing == Changing::Looking {
            let patience = &self.limits.patience;
            self.changes.changing = Changing::No;
            self.changes.again = (self.changes.again * 2).clamp(patience.again_min, patience.again_max);
            self.changes.not_before = now + self.changes.again;
        }
    }

    /// `found` of those that were asked for can be replaced. Says what is to be written, or nothing if it is not wanted any more
    /// or must wait. Answer with [`changed`](Self::changed), [`change_refused`](Self::change_refused) or
    /// [`change_not_written`](Self::change_not_written).
    pub(crate) fn begin_change(&mut self, found: Members, now: Duration) -> Option<Begun> {
        if self.changes.changing != Changing::Looking {
            return None;
        }
        self.changes.changing = Changing::No;
        let still = |member: &usize| {
            self.members[*member].gone_since.is_some() || self.due_at(*member).is_some_and(|due| due <= now)
        };
        let out: Members = found.iter().filter(still).collect();
        if out.is_empty() || !self.marking.is_empty() || self.failure.is_some() {
            self.changes.not_before = now + self.limits.resend_after;
            return None;
        }
        for member in out.iter() {
            self.dismiss(member);
        }
        let first = self.confirmed;
        let behind = (0..self.members.len()).filter(|member| self.members[*member].front < first).collect();
        let begun = Begun { first, length_before: self.confirmed_length, out, behind };
        self.changes.changing = Changing::Begun(begun);
        Some(begun)
    }

    /// Takes back what a member has acknowledged of what is not confirmed.
    fn dismiss(&mut self, member: usize) {
        if self.limits.planted.is(Defect::AcknowledgementsCountWhileChanging) {
            return;
        }
        let from = self.confirmed.0 - self.base.0;
        for kept in self.kept.iter_mut().skip(from as usize) {
            kept.acks = kept.acks.without([member].into_iter().collect());
        }
        let out = &mut self.members[member];
        out.dismissed = true;
        out.front = out.front.min(self.confirmed);
        out.rewind();
        self.count_kept(member);
    }

    /// Entries from here on are not withheld: whoever takes the place of a member that goes needs them.
    pub(super) fn withheld_to(&self, member: usize) -> EntryId {
        match self.changes.changing {
            Changing::Begun(begun) if begun.out.contains(member) => begun.first,
            _ => self.next,
        }
    }

    fn count_kept(&mut self, member: usize) {
        let front = self.members[member].front;
        let from = (front.0 - self.base.0) as usize;
        let owed = self
            .kept
            .iter()
            .zip(self.base.0..)
            .skip(from)
            .filter(|(kept, entry)| self.policy.holds(member, EntryId(*entry)) && !kept.acks.contains(member));
        self.members[member].kept_bytes = owed.map(|(kept, _)| kept.cost()).sum();
    }

    /// The record says it. The members that went are replaced by those in `seats`, one for each, in order.
    pub(crate) fn changed(&mut self, seats: &[usize], now: Duration) {
        let Changing::Begun(begun) = self.changes.changing else { return };
        assert_eq!(begun.out.len() as usize, seats.len(), "each member that goes has a replacement");
        self.changes.changing = Changing::No;
        self.changes.done += 1;
        self.changes.again = Duration::ZERO;
        if self.failure.is_some() {
            return;
        }
        if self.changes.last_first < begun.first {
            self.changes.last_first = begun.first;
            for (index, member) in self.members.iter_mut().enumerate() {
                member.lacking_below = if begun.behind.contains(index) { begun.first } else { member.lacking_below };
                member.lacking = false;
            }
        }
        for (member, seat) in begun.out.iter().zip(seats) {
            let first = begun.first.max(self.base); // Below it nothing is for this member.
            self.members[member] = Member::new(*seat, first, self.limits.kept_max, now);
            self.count_kept(member);
            self.advance(member);
        }
        self.flushes.iter_mut().for_each(|(_, since)| *since = now); // The new members have their time.
        self.settle();
    }

    /// The record is not this writer's any more.
    pub(crate) fn change_refused(&mut self) {
        self.fail(Failure::Fenced);
    }

    /// The record says nothing of it and never will: everything is as before.
    pub(crate) fn change_not_written(&mut self, now: Duration) {
        if let Changing::Begun(begun) = self.changes.changing {
            begun.out.iter().for_each(|member| self.members[member].dismissed = false);
            self.changes.changing = Changing::Looking;
            self.nobody_to_change_to(now);
        }
    }
}
