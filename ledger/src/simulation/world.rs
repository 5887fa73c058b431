//! One ledger, its record, its writer, and the bookies.
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use proto::bookie::{Answer, Request, Status};
use proto::records::{LedgerRecord, LedgerState};
use proto::{BookieId, EntryId};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::LEDGER;
use super::recoverers::Recoverer;
use super::repairers::Repair;
use crate::defects::{Defect, Planted};
use crate::fake_bookies::{FakeBookie, FakeBookies};
use crate::quorum::Members;
use crate::records::changes::{self, Change};
use crate::records::{self, Decision};
use crate::writer::{Limits, Patience, Writer};
use crate::{QuorumPolicy, Sealed};

/// How often what was looked for has come up.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) confirmed: u64,
    pub(super) marks: u64,
    pub(super) changes: u64,
    pub(super) changes_refused: u64,
    pub(super) unknown_outcomes: u64,
    pub(super) recoveries: u64,
    pub(super) races_lost: u64,
    pub(super) write_backs_moved: u64,
    pub(super) bookies_gone: u64,
    pub(super) members_replaced: u64,
    pub(super) members_filled: u64,
    pub(super) closed_by_writer: u64,
}

impl Seen {
    pub(super) fn add(&mut self, other: &Self) {
        self.confirmed += other.confirmed;
        self.marks += other.marks;
        self.changes += other.changes;
        self.changes_refused += other.changes_refused;
        self.unknown_outcomes += other.unknown_outcomes;
        self.recoveries += other.recoveries;
        self.races_lost += other.races_lost;
        self.write_backs_moved += other.write_backs_moved;
        self.bookies_gone += other.bookies_gone;
        self.members_replaced += other.members_replaced;
        self.members_filled += other.members_filled;
        self.closed_by_writer += other.closed_by_writer;
    }

    /// Whether everything has come up.
    pub(super) fn is_rich(&self) -> bool {
        let Self { confirmed, marks, changes, changes_refused, unknown_outcomes, recoveries, .. } = *self;
        let Self {
            races_lost,
            write_backs_moved,
            bookies_gone,
            members_replaced,
            members_filled,
            closed_by_writer,
            ..
        } = *self;
        let writing = [confirmed, marks, changes, changes_refused, unknown_outcomes, closed_by_writer];
        let healing = [recoveries, races_lost, write_backs_moved, bookies_gone, members_replaced, members_filled];
        writing.into_iter().chain(healing).all(|count| 0 < count)
    }
}

/// The writer's session with one who ever had a seat: both directions keep their order.
#[derive(Debug, Default)]
struct Wire {
    bookie: usize,
    session: u64,
    next_id: u64,
    requests: VecDeque<Request>,
    answers: VecDeque<Answer>,
}

/// What the writer wants of the record.
#[derive(Debug)]
enum Wish {
    Mark(Vec<BookieId>),
    /// With who takes which seat.
    Change(Change, Vec<(usize, usize)>),
}

/// A wish on its way, and what the record has said to it, if it has.
#[derive(Debug)]
struct Flight {
    wish: Wish,
    heard: Option<bool>,
}

pub(super) struct World {
    pub(super) random: SmallRng,
    pub(super) policy: QuorumPolicy,
    pub(super) planted: Planted,
    pub(super) bookies: Vec<FakeBookie>,
    /// They never answer again.
    pub(super) gone: Vec<bool>,
    /// What compare-and-set protects.
    pub(super) record: LedgerRecord,
    writer: Writer,
    /// By seat number.
    wires: Vec<Wire>,
    /// Whose number sits where.
    seats: Vec<usize>,
    looking: Option<Members>,
    flight: Option<Flight>,
    pub(super) appended: Vec<Bytes>,
    confirmed: EntryId,
    pub(super) recoverers: Vec<Recoverer>,
    pub(super) repairs: Vec<Repair>,
    now: Duration,
    /// Nothing is lost now.
    pub(super) calm: bool,
    pub(super) seen: Seen,
}

impl World {
    pub(super) fn new(seed: u64, defect: Option<Defect>) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let policies = [(3, 3, 2), (3, 3, 2), (5, 3, 2), (2, 2, 2), (4, 3, 3), (3, 2, 2), (1, 1, 1)];
        let (ensemble, write, ack) = policies[random.random_range(0..policies.len())];
        let policy = QuorumPolicy { ensemble, write, ack };
        let patience = Patience {
            silent: Duration::from_millis(random.random_range(20..2000)),
            needed: Duration::from_millis(random.random_range(10..500)),
            idle: Duration::from_millis(random.random_range(100..3000)),
            full: Duration::from_millis(100),
            again_min: Duration::from_millis(50),
            again_max: Duration::from_millis(200),
            ..Patience::default()
        };
        let planted = defect.into();
        let limits = Limits { kept_max: random.random_range(200..3000), patience, planted, ..Limits::default() };
        let members = ensemble as usize;
        let bookies = members + random.random_range(0..4);
        let names: Vec<BookieId> = (0..members).map(FakeBookies::id).collect();
        let mut world = Self {
            random,
            policy,
            planted,
            bookies: (0..bookies).map(|_| FakeBookie::default()).collect(),
            gone: vec![false; bookies],
            record: records::new_record(LEDGER, policy, "topic/t", &names, &[], 1),
            writer: Writer::new(LEDGER, policy, Members::default(), limits),
            wires: (0..members).map(|bookie| Wire { bookie, ..Wire::default() }).collect(),
            seats: (0..members).collect(),
            looking: None,
            flight: None,
            appended: Vec::new(),
            confirmed: EntryId(0),
            recoverers: Vec::new(),
            repairs: Vec::new(),
            now: Duration::ZERO,
            calm: false,
            seen: Seen::default(),
        };
        (0..members).for_each(|number| world.connect(number));
        world
    }

    /// Which bookie a name in the record is.
    pub(super) fn index(name: &str) -> usize {
        name.strip_prefix("fake-").and_then(|number| number.parse().ok()).expect("a fake one")
    }

    pub(super) fn gone_names(&self) -> BTreeSet<BookieId> {
        (0..self.bookies.len()).filter(|bookie| self.gone[*bookie]).map(FakeBookies::id).collect()
    }

    /// One chance in `odds`.
    pub(super) fn happens(&mut self, odds: u32) -> bool {
        self.random.random_range(0..odds) == 0
    }

    /// One that lives and is none of `others`.
    pub(super) fn spare(&mut self, others: &[usize]) -> Option<usize> {
        let fits = |bookie: &usize| !self.gone[*bookie] && !others.contains(bookie);
        let spares: Vec<usize> = (0..self.bookies.len()).filter(fits).collect();
        (!spares.is_empty()).then(|| spares[self.random.random_range(0..spares.len())])
    }

    /// Writes what a decision says. Whether the record says it now.
    pub(super) fn decide(&mut self, decision: Decision) -> bool {
        match decision {
            Decision::Write(record) => {
                let ended = |record: &LedgerRecord| {
                    (record.state() == LedgerState::Closed)
                        .then_some(Sealed { end: EntryId(record.end), length: record.length })
                };
                let (before, after) = (ended(&self.record), ended(&record));
                assert!(before.is_none() || before == after, "L5, L6: a ledger ends once");
                self.record = *record;
                true
            }
            Decision::Already => true,
            Decision::Refused => false,
        }
    }

    pub(super) fn step(&mut self) {
        match self.random.random_range(0..1000) {
            0..200 => self.append(),
            200..440 => self.deliver_request(),
            440..640 => self.deliver_answer(),
            640..665 => {
                let number = self.random.random_range(0..self.wires.len());
                self.connect(number);
            }
            665..720 => self.step_record(),
            720..724 if self.recoverers.len() < 3 && 5 < self.appended.len() => self.start_recovery(),
            724..730 => self.close_as_writer(),
            730..790 => self.now += Duration::from_millis(self.random.random_range(0..120)),
            790..792 => self.lose_a_bookie(),
            792..800 if self.repairs.len() < 2 => self.start_repair(),
            800..860 => self.step_some_repair(),
            _ => self.step_some_recoverer(),
        }
        self.writer.tick(self.now);
        self.send();
        self.observe();
    }

    /// A session begins, after the end of the one before. None with one that is gone.
    fn connect(&mut self, number: usize) {
        let wire = &mut self.wires[number];
        self.writer.disconnected(number, wire.session, self.now);
        let (bookie, session) = (wire.bookie, wire.session + 1);
        *wire = Wire { bookie, session, next_id: 1, ..Wire::default() };
        if !self.gone[bookie] {
            self.writer.connected(number, session);
        }
    }

    fn append(&mut self) {
        let payload = Bytes::from(vec![self.appended.len() as u8; self.random.random_range(0..100)]);
        if self.writer.append(payload.clone()).is_ok() {
            self.appended.push(payload);
            self.writer.flush(self.now);
        }
    }

    fn send(&mut self) {
        for (member, number) in self.seats.iter().enumerate() {
            if let Some(session) = self.writer.wants_to_send(member) {
                let wire = &mut self.wires[*number];
                assert_eq!(session, wire.session);
                let requests = self.writer.requests(member, wire.next_id, 150);
                wire.next_id += requests.len() as u64;
                wire.requests.extend(requests);
            }
        }
    }

    pub(super) fn deliver_request(&mut self) {
        let number = self.random.random_range(0..self.wires.len());
        let bookie = self.wires[number].bookie;
        if let Some(request) = self.wires[number].requests.pop_front()
            && !self.gone[bookie]
        {
            let refused = self.happens(20);
            let full = refused && self.happens(3);
            let refusal = if full { Status::ReadOnly } else { Status::Busy };
            self.bookies[bookie].refuse_adds(refused.then_some(refusal));
            let answer = self.bookies[bookie].handle(request);
            self.bookies[bookie].refuse_adds(None);
            self.wires[number].answers.push_back(answer);
        }
    }

    pub(super) fn deliver_answer(&mut self) {
        let number = self.random.random_range(0..self.wires.len());
        if let Some(answer) = self.wires[number].answers.pop_front() {
            self.writer.answered(number, self.wires[number].session, &answer, self.now);
        }
    }

    fn lose_a_bookie(&mut self) {
        let living = self.gone.iter().filter(|gone| !**gone).count();
        let lost = self.gone.len() - living;
        // As many as the ack quorum can do without, and so many are left that everything can be made good.
        if (self.policy.ack as usize) <= lost + 1 || living <= self.policy.ensemble as usize {
            return;
        }
        let bookie = self.random.random_range(0..self.bookies.len());
        if !std::mem::replace(&mut self.gone[bookie], true) {
            self.seen.bookies_gone += 1;
            for number in 0..self.wires.len() {
                if self.wires[number].bookie == bookie {
                    self.connect(number);
                }
            }
        }
    }

    /// Carries the writer's wishes to the record and back, each at any time.
    fn step_record(&mut self) {
        let Some(flight) = &mut self.flight else { return self.wish() };
        let answered = flight.heard.is_some() && self.random.random();
        if !answered {
            return self.write_wish();
        }
        let Some(Flight { wish, heard: Some(written) }) = self.flight.take() else { return };
        match (wish, written) {
            (Wish::Mark(_), true) => {
                self.seen.marks += 1;
                self.writer.marked();
            }
            (Wish::Mark(_), false) => self.writer.mark_refused(),
            (Wish::Change(..), false) => {
                self.seen.changes_refused += 1;
                self.writer.change_refused();
            }
            (Wish::Change(_, replacements), true) => self.take_seats(&replacements),
        }
    }

    /// Also when it was written before: its answer was lost then.
    fn write_wish(&mut self) {
        let certainly_not = self.happens(10);
        let Some(mut flight) = self.flight.take() else { return };
        if certainly_not && flight.heard.is_none() && matches!(flight.wish, Wish::Change(..)) {
            return self.writer.change_not_written(self.now);
        }
        let decision = match &flight.wish {
            Wish::Mark(names) => changes::mark(&self.record, names),
            Wish::Change(change, _) => changes::change(&self.record, change),
        };
        self.seen.unknown_outcomes += u64::from(flight.heard.is_some());
        flight.heard = Some(self.decide(decision));
        self.flight = Some(flight);
    }

    fn wish(&mut self) {
        if let Some(out) = self.looking.take() {
            return self.begin_change(out);
        }
        let wanted = self.writer.marks_wanted();
        if !wanted.is_empty() {
            let names = self.names(wanted);
            self.flight = Some(Flight { wish: Wish::Mark(names), heard: None });
            return;
        }
        self.looking = self.writer.change_wanted(self.now);
    }

    fn ensemble(&self) -> Vec<usize> {
        self.seats.iter().map(|number| self.wires[*number].bookie).collect()
    }

    fn names(&self, members: Members) -> Vec<BookieId> {
        let ensemble = self.ensemble();
        members.iter().map(|member| FakeBookies::id(ensemble[member])).collect()
    }

    fn begin_change(&mut self, out: Members) {
        let mut taken = self.ensemble();
        let mut replacements = Vec::new();
        for seat in out.iter() {
            if let Some(spare) = self.spare(&taken) {
                taken.push(spare);
                replacements.push((seat, spare));
            }
        }
        if replacements.is_empty() {
            return self.writer.nobody_to_change_to(self.now);
        }
        let found = replacements.iter().map(|(seat, _)| *seat).collect();
        let Some(begun) = self.writer.begin_change(found, self.now) else { return };
        replacements.retain(|(seat, _)| begun.out.contains(*seat));
        let from: Vec<BookieId> = self.ensemble().into_iter().map(FakeBookies::id).collect();
        let mut to = from.clone();
        replacements.iter().for_each(|(seat, bookie)| to[*seat] = FakeBookies::id(*bookie));
        let behind = self.names(begun.behind);
        let change = Change { first: begun.first, length_before: begun.length_before, from, to, behind };
        self.flight = Some(Flight { wish: Wish::Change(change, replacements), heard: None });
    }

    fn take_seats(&mut self, replacements: &[(usize, usize)]) {
        self.seen.changes += 1;
        let mut numbers = Vec::new();
        for (seat, bookie) in replacements {
            self.seats[*seat] = self.wires.len();
            numbers.push(self.wires.len());
            self.wires.push(Wire { bookie: *bookie, ..Wire::default() });
        }
        self.writer.changed(&numbers, self.now);
        numbers.into_iter().for_each(|number| self.connect(number));
    }

    fn close_as_writer(&mut self) {
        if self.writer.failure().is_some() || self.flight.is_some() {
            return;
        }
        let Some((end, length)) = self.writer.end() else { return };
        self.writer.stop_changing();
        self.looking = None;
        let lacking = self.names(self.writer.lacking());
        if self.decide(changes::close(&self.record, Sealed { end, length }, &lacking)) {
            self.seen.closed_by_writer += 1;
        }
        self.writer.mark_refused(); // Nothing more is appended.
    }

    /// L4, L1 and L7: confirmations rise one after another and never beyond an end that is decided.
    pub(super) fn observe(&mut self) {
        if let Some(end) = self.writer.take_confirmed() {
            assert!(self.confirmed < end, "confirmations rise");
            self.seen.confirmed += end.0 - self.confirmed.0;
            self.confirmed = end;
        }
        if self.record.state() == LedgerState::Closed {
            let (confirmed, end) = (self.confirmed, self.record.end);
            assert!(confirmed.0 <= end, "{confirmed} is confirmed and the ledger ends at {end}");
        }
    }
}
