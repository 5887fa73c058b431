//! Those who make copies good, several at once, while the ledger is still written and settled.
use proto::EntryId;
use proto::bookie::{Request, request};
use rand::Rng;

use super::LEDGER;
use super::world::World;
use crate::fake_bookies::FakeBookies;
use crate::reader::Holder;
use crate::records::{self, changes};
use crate::recovery::Reply;
use crate::repair::copying::{Ask, Copying, Job, Party, Verdict};
use crate::repair::plan::{self, Task};

/// One task of the plan on its way.
#[derive(Debug)]
pub(super) struct Repair {
    first: EntryId,
    /// Who is to be replaced, if it is not filled up.
    old: Option<usize>,
    target: usize,
    sources: Vec<usize>,
    machine: Copying,
    asks: Vec<Ask>,
    replies: Vec<(Ask, Vec<Reply>)>,
}

impl World {
    /// Begins a task. A bookie that lives is also left sometimes, as one that is drained.
    pub(super) fn start_repair(&mut self) {
        let mut bad = self.gone_names();
        if !self.calm && self.happens(3) {
            let drained = self.random.random_range(0..self.bookies.len());
            bad.insert(FakeBookies::id(drained));
        }
        let tasks: Vec<Task> =
            plan::tasks(&self.record, &bad, &[]).into_iter().filter(|task| *task != Task::Seal).collect();
        if tasks.is_empty() {
            return;
        }
        let (first, seat, member, replace) = match tasks[self.random.random_range(0..tasks.len())].clone() {
            Task::Replace { first, seat, old } => (first, seat, old, true),
            Task::FillUp { first, seat, member } => (first, seat, member, false),
            Task::Seal | Task::Forget(_) => return,
        };
        let Some((fragment, end)) = plan::fragment(&self.record, first) else { return };
        let members: Vec<usize> = fragment.bookies.iter().map(|name| Self::index(name)).collect();
        let lacking = records::lacking(fragment);
        let member = Self::index(member.as_str());
        let target = if replace { self.spare(&members) } else { Some(member) };
        let Some(target) = target else { return };
        if replace && !self.decide(changes::note_holders(&self.record, &[FakeBookies::id(target)])) {
            return;
        }
        let seated = members.iter().enumerate().map(|(seat, bookie)| (*bookie, Some(seat)));
        let beside = self.record.may_hold.iter().map(|name| (Self::index(name), None));
        let beside = beside.filter(|(bookie, _)| !members.contains(bookie));
        let others: Vec<(usize, Option<usize>)> =
            seated.chain(beside).filter(|(bookie, _)| *bookie != target).collect();
        let holder = |(bookie, seat): &(usize, Option<usize>)| Holder {
            seat: *seat,
            lacking: seat.is_some_and(|seat| lacking.contains(seat)),
            doubtful: self.gone[*bookie],
        };
        let job = Job {
            ledger: LEDGER,
            policy: self.policy,
            seat,
            entries: std::iter::once(first..end).collect(),
            entry_bytes: plan::entry_bytes(&self.record),
            sources: others.iter().map(holder).collect(),
            look: false,
        };
        self.repairs.push(Repair {
            first,
            old: replace.then_some(member),
            target,
            sources: others.into_iter().map(|(bookie, _)| bookie).collect(),
            machine: Copying::new(job),
            asks: Vec::new(),
            replies: Vec::new(),
        });
    }

    /// Moves one ask or one reply, or writes what came of it.
    pub(super) fn step_some_repair(&mut self) {
        if self.repairs.is_empty() {
            return;
        }
        let which = self.random.random_range(0..self.repairs.len());
        let repair = &mut self.repairs[which];
        if let Some(verdict) = repair.machine.verdict() {
            let repair = self.repairs.swap_remove(which);
            return self.finish_repair(&repair, verdict);
        }
        repair.asks.extend(repair.machine.asks());
        if let Some((ask, replies)) = repair.replies.pop() {
            return repair.machine.answered(&ask, replies);
        }
        let Some(ask) = repair.asks.pop() else { return };
        let bookie = match ask.party {
            Party::Target => repair.target,
            Party::Source(source) => repair.sources[source],
        };
        let fate = if self.calm { 2 } else { self.random.random_range(0..20) };
        let silence = vec![Reply::Silence; ask.bodies.len()];
        let replies = if fate == 0 || self.gone[bookie] {
            silence
        } else {
            let number = |body: &request::Body| Request { id: 1, ledger: LEDGER.0, body: Some(body.clone()) };
            let replies = ask.bodies.iter().map(|body| self.bookies[bookie].handle(number(body)).into()).collect();
            if fate == 1 { silence } else { replies }
        };
        self.repairs[which].replies.push((ask, replies));
    }

    fn finish_repair(&mut self, repair: &Repair, verdict: Verdict) {
        let Verdict::Done(tally) = verdict else { return };
        assert_eq!(tally.lost, 0, "nothing is on none of its bookies: {:?}", self.record);
        if 0 < tally.unreadable {
            return;
        }
        let target = FakeBookies::id(repair.target);
        match repair.old {
            Some(old) => {
                let decision =
                    changes::replace_member(&self.record, &self.record, repair.first, &FakeBookies::id(old), &target);
                self.seen.members_replaced += u64::from(self.decide(decision));
            }
            None => {
                let decision = changes::unmark(&self.record, &self.record, repair.first, &target);
                self.seen.members_filled += u64::from(self.decide(decision));
            }
        }
    }
}
