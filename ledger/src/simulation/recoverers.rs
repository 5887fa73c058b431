//! Those who settle the ledger's end, several at once.
use proto::BookieId;
use proto::bookie::{Request, request};
use proto::records::LedgerState;
use rand::Rng;

use super::LEDGER;
use super::world::World;
use crate::fake_bookies::FakeBookies;
use crate::quorum::Members;
use crate::records::Decision;
use crate::records::changes;
use crate::recovery::{Ask, Recovery, Reply, Verdict};
use crate::seal;

#[derive(Debug)]
pub(super) struct Recoverer {
    name: String,
    machine: Recovery,
    /// By number: the ensemble first, then replacements.
    members: Vec<usize>,
    /// Who sits where.
    current: Vec<usize>,
    /// On their way to a bookie.
    asks: Vec<Ask>,
    /// On their way back.
    replies: Vec<(Ask, Vec<Reply>)>,
    pub(super) over: bool,
}

impl World {
    pub(super) fn start_recovery(&mut self) {
        let name = format!("recoverer-{}", self.recoverers.len());
        if !self.decide(changes::begin_recovery(&self.record, &name)) {
            return;
        }
        self.seen.recoveries += 1;
        let scope = seal::scope(&self.record, self.planted);
        let last = self.record.fragments.last().expect("there is one");
        let members: Vec<usize> = last.bookies.iter().map(|name| Self::index(name)).collect();
        self.recoverers.push(Recoverer {
            name,
            machine: Recovery::new(scope),
            current: members.clone(),
            members,
            asks: Vec::new(),
            replies: Vec::new(),
            over: false,
        });
    }

    pub(super) fn step_some_recoverer(&mut self) {
        if !self.recoverers.is_empty() {
            let which = self.random.random_range(0..self.recoverers.len());
            self.step_recoverer(which);
        }
    }

    /// Moves one ask or one reply, puts somebody on a seat, or writes the verdict.
    pub(super) fn step_recoverer(&mut self, which: usize) {
        if self.recoverers[which].over {
            return;
        }
        if let Some(verdict) = self.recoverers[which].machine.verdict().cloned() {
            return self.conclude(which, &verdict);
        }
        let wanted = self.recoverers[which].machine.replacements_wanted();
        if !wanted.is_empty() {
            return self.move_write_backs(which, wanted);
        }
        let recoverer = &mut self.recoverers[which];
        recoverer.asks.extend(recoverer.machine.asks());
        let back = !recoverer.replies.is_empty() && (recoverer.asks.is_empty() || self.random.random());
        if back {
            let at = self.random.random_range(0..recoverer.replies.len());
            let (ask, replies) = recoverer.replies.swap_remove(at);
            recoverer.machine.answered(&ask, replies);
        } else if !recoverer.asks.is_empty() {
            let at = self.random.random_range(0..recoverer.asks.len());
            let ask = recoverer.asks.swap_remove(at);
            let replies = self.carry(which, &ask);
            self.recoverers[which].replies.push((ask, replies));
        }
        let impatient = !self.calm && self.happens(30);
        let machine = &mut self.recoverers[which].machine;
        if impatient && machine.may_finish() {
            machine.finish();
        }
    }

    /// Brings an ask to its bookie and the replies back; some are lost on either way.
    fn carry(&mut self, which: usize, ask: &Ask) -> Vec<Reply> {
        // Fences are lost often: that is where a writer could slip past a recovery.
        let odds = if matches!(ask.bodies[..], [request::Body::Fence(_)]) { 5 } else { 20 };
        let fate = if self.calm { 2 } else { self.random.random_range(0..odds) };
        let bookie = self.recoverers[which].members[ask.member];
        let silence = vec![Reply::Silence; ask.bodies.len()];
        if fate == 0 || self.gone[bookie] {
            return silence;
        }
        let number = |body: &request::Body| Request { id: 1, ledger: LEDGER.0, body: Some(body.clone()) };
        let replies = ask.bodies.iter().map(|body| self.bookies[bookie].handle(number(body)).into()).collect();
        if fate == 1 { silence } else { replies }
    }

    fn move_write_backs(&mut self, which: usize, out: Members) {
        let mut taken = self.recoverers[which].members.clone();
        let mut seats = Members::default();
        let mut found = Vec::new();
        for seat in out.iter() {
            if let Some(spare) = self.spare(&taken) {
                taken.push(spare);
                found.push((seat, spare));
                seats.insert(seat);
            }
        }
        let names: Vec<BookieId> = found.iter().map(|(_, bookie)| FakeBookies::id(*bookie)).collect();
        if found.is_empty() || !self.decide(changes::note_holders(&self.record, &names)) {
            return self.recoverers[which].machine.cannot_replace("there is no other");
        }
        self.seen.write_backs_moved += 1;
        let recoverer = &mut self.recoverers[which];
        for (seat, bookie) in found {
            recoverer.members.push(bookie);
            recoverer.current[seat] = bookie;
        }
        recoverer.machine.replaced(seats);
    }

    fn conclude(&mut self, which: usize, verdict: &Verdict) {
        let recoverer = &mut self.recoverers[which];
        recoverer.over = true;
        let Verdict::Ended(sealed, parts) = verdict else { return };
        let ended = seal::ended(parts, |number| FakeBookies::id(recoverer.members[number]));
        let decision = changes::close_recovered(&self.record, &recoverer.name, *sealed, &ended, false);
        self.seen.races_lost += u64::from(decision == Decision::Refused);
        if self.decide(decision) {
            assert_eq!(self.record.state(), LedgerState::Closed);
        }
    }
}
