//! Writer and recoverers against bookies, under seeded random schedules of delay, loss and broken sessions.
//!
//! A failing seed is printed: run it alone by putting it into `SEEDS`.
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use proto::bookie::{Answer, Held, Request, request};
use proto::{EntryId, LedgerId};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::fake_bookies::FakeBookie;
use crate::quorum::Members;
use crate::recovery::{Ask, Recovery, Reply, Scope, Verdict};
use crate::writer::{Limits, Writer};
use crate::{QuorumPolicy, Sealed};

const SEEDS: Range<u64> = 0..1500;
const LEDGER: LedgerId = LedgerId(4);
const STEPS: usize = 400;

/// What compare-and-set protects.
#[derive(Debug, Default)]
struct Record {
    epoch: u64,
    closed: Option<(Sealed, Members)>,
    lacking: Members,
}

/// The writer's session with one member: both directions keep their order.
#[derive(Debug, Default)]
struct Wire {
    session: u64,
    next_id: u64,
    requests: VecDeque<Request>,
    answers: VecDeque<Answer>,
}

struct Recoverer {
    epoch: u64,
    machine: Recovery,
    /// On their way to a bookie.
    asks: Vec<Ask>,
    /// On their way back.
    replies: Vec<(Ask, Vec<Reply>)>,
    over: bool,
}

struct World {
    random: SmallRng,
    policy: QuorumPolicy,
    bookies: Vec<FakeBookie>,
    record: Record,
    writer: Writer,
    wires: Vec<Wire>,
    appended: Vec<Bytes>,
    confirmed: EntryId,
    mark_pending: bool,
    recoverers: Vec<Recoverer>,
    now: Duration,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let policies = [(3, 3, 2), (5, 3, 2), (2, 2, 2), (4, 3, 3), (1, 1, 1)];
        let (ensemble, write, ack) = policies[random.random_range(0..policies.len())];
        let policy = QuorumPolicy { ensemble, write, ack };
        let limits = Limits { kept_max: random.random_range(200..3000), ..Limits::default() };
        let members = ensemble as usize;
        let mut world = Self {
            random,
            policy,
            bookies: (0..members).map(|_| FakeBookie::default()).collect(),
            record: Record::default(),
            writer: Writer::new(LEDGER, policy, Members::default(), limits),
            wires: (0..members).map(|_| Wire::default()).collect(),
            appended: Vec::new(),
            confirmed: EntryId(0),
            mark_pending: false,
            recoverers: Vec::new(),
            now: Duration::ZERO,
        };
        (0..members).for_each(|member| world.connect(member));
        world
    }

    fn pick(&mut self) -> usize {
        self.random.random_range(0..self.bookies.len())
    }

    fn connect(&mut self, member: usize) {
        let session = self.wires[member].session + 1;
        self.writer.disconnected(member, session - 1);
        self.wires[member] = Wire { session, next_id: 1, ..Wire::default() };
        self.writer.connected(member, session);
    }

    fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..20 => self.append(),
            20..45 => self.deliver_request(),
            45..65 => self.deliver_answer(),
            65..68 => {
                let member = self.pick();
                self.connect(member);
            }
            68..72 => self.mark(),
            72..73 if self.recoverers.len() < 3 && 5 < self.appended.len() => self.start_recovery(),
            73..74 => self.close_as_writer(),
            74..76 => self.now += Duration::from_millis(60),
            _ => {
                if !self.recoverers.is_empty() {
                    let which = self.random.random_range(0..self.recoverers.len());
                    self.step_recoverer(which, true);
                }
            }
        }
        self.writer.tick(self.now);
        self.observe();
    }

    fn append(&mut self) {
        let payload = Bytes::from(vec![self.appended.len() as u8; self.random.random_range(0..100)]);
        if self.writer.append(payload.clone()).is_ok() {
            self.appended.push(payload);
            self.writer.flush(self.now);
        }
        for member in 0..self.bookies.len() {
            if let Some(session) = self.writer.wants_to_send(member) {
                let wire = &mut self.wires[member];
                assert_eq!(session, wire.session);
                let requests = self.writer.requests(member, wire.next_id, 150);
                wire.next_id += requests.len() as u64;
                wire.requests.extend(requests);
            }
        }
    }

    fn deliver_request(&mut self) {
        let member = self.pick();
        if let Some(request) = self.wires[member].requests.pop_front() {
            let busy = self.random.random_range(0..20) == 0;
            self.bookies[member].refuse_adds(busy.then_some(proto::bookie::Status::Busy));
            let answer = self.bookies[member].handle(request);
            self.bookies[member].refuse_adds(None);
            self.wires[member].answers.push_back(answer);
        }
    }

    fn deliver_answer(&mut self) {
        let member = self.pick();
        if let Some(answer) = self.wires[member].answers.pop_front() {
            self.writer.answered(member, self.wires[member].session, &answer, self.now);
        }
    }

    fn mark(&mut self) {
        if self.mark_pending {
            self.mark_pending = false;
            if self.record.epoch == 0 && self.record.closed.is_none() {
                self.writer.marked();
            } else {
                self.writer.mark_refused();
            }
            return;
        }
        let wanted = self.writer.marks_wanted();
        if !wanted.is_empty() {
            self.mark_pending = true;
            if self.record.epoch == 0 && self.record.closed.is_none() {
                self.record.lacking = self.record.lacking.union(wanted);
            }
        }
    }

    fn close_as_writer(&mut self) {
        if self.writer.failure().is_none()
            && self.record.epoch == 0
            && self.record.closed.is_none()
            && let Some((end, length)) = self.writer.end()
        {
            self.record.closed = Some((Sealed { end, length }, self.writer.lacking()));
            self.writer.mark_refused();
        }
    }

    fn start_recovery(&mut self) {
        if self.record.closed.is_some() {
            return;
        }
        self.record.epoch += 1;
        let earlier = vec![0; self.bookies.len()];
        let scope = Scope { ledger: LEDGER, policy: self.policy, first: EntryId(0), length_before: 0, earlier };
        let machine = Recovery::new(scope);
        let epoch = self.record.epoch;
        self.recoverers.push(Recoverer { epoch, machine, asks: Vec::new(), replies: Vec::new(), over: false });
    }

    /// Moves one ask or one reply; with `losses`, some are lost on either way.
    fn step_recoverer(&mut self, which: usize, losses: bool) {
        let recoverer = &mut self.recoverers[which];
        if recoverer.over {
            return;
        }
        recoverer.asks.extend(recoverer.machine.asks());
        let back = !recoverer.replies.is_empty() && (recoverer.asks.is_empty() || self.random.random());
        if back {
            let at = self.random.random_range(0..recoverer.replies.len());
            let (ask, replies) = recoverer.replies.swap_remove(at);
            recoverer.machine.answered(&ask, replies);
        } else if !recoverer.asks.is_empty() {
            let at = self.random.random_range(0..recoverer.asks.len());
            let ask = recoverer.asks.swap_remove(at);
            let number = |body: &request::Body| Request { id: 1, ledger: LEDGER.0, body: Some(body.clone()) };
            // Fences are lost often: that is where a writer could slip past a recovery.
            let odds = if matches!(ask.bodies[..], [request::Body::Fence(_)]) { 5 } else { 20 };
            let fate = if losses { self.random.random_range(0..odds) } else { 2 };
            let silence = vec![Reply::Unknown; ask.bodies.len()];
            let replies = match fate {
                0 => silence,
                fate => {
                    let bookie = &mut self.bookies[ask.member];
                    let replies = ask.bodies.iter().map(|body| bookie.handle(number(body)).into()).collect();
                    if fate == 1 { silence } else { replies }
                }
            };
            recoverer.replies.push((ask, replies));
        }
        if recoverer.machine.may_finish() && losses && self.random.random_range(0..30) == 0 {
            recoverer.machine.finish();
        }
        if let Some(verdict) = recoverer.machine.verdict() {
            recoverer.over = true;
            if let Verdict::Ended(sealed, lacking) = verdict
                && self.record.closed.is_none()
                && self.record.epoch == recoverer.epoch
            {
                self.record.closed = Some((*sealed, *lacking));
            }
        }
    }

    /// L4, L1 and L7: confirmations rise one after another and never beyond an end that is decided.
    fn observe(&mut self) {
        if let Some(end) = self.writer.take_confirmed() {
            assert!(self.confirmed < end, "confirmations rise");
            self.confirmed = end;
        }
        if let Some((sealed, _)) = &self.record.closed {
            assert!(
                self.confirmed <= sealed.end,
                "{} is confirmed and the ledger ends at {}",
                self.confirmed,
                sealed.end
            );
        }
    }

    /// Once nothing is lost any more, a recovery settles the ledger.
    fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 10, "a recovery without faults settles the ledger");
            self.start_recovery();
            while self.record.closed.is_none() && !self.recoverers.last().is_none_or(|last| last.over) {
                self.step_recoverer(self.recoverers.len() - 1, false);
                self.deliver_request(); // The old writer's adds still arrive.
                self.deliver_answer();
                self.observe();
            }
            if self.record.closed.is_some() {
                break;
            }
        }
        for _ in 0..200 {
            self.deliver_request();
            self.deliver_answer();
            if !self.recoverers.is_empty() {
                let which = self.random.random_range(0..self.recoverers.len());
                self.step_recoverer(which, true); // Losers go on for a while.
            }
            self.observe();
        }
    }

    /// L2, L6, L11, L12, and that every member without a mark holds all it should.
    fn check(&mut self) {
        let (sealed, lacking) = self.record.closed.expect("it was settled");
        let entries = &self.appended[..sealed.end.0 as usize];
        assert_eq!(sealed.length, entries.iter().map(|payload| payload.len() as u64).sum::<u64>(), "L12");
        for (number, payload) in entries.iter().enumerate() {
            let entry = EntryId(number as u64);
            let mut copies = 0;
            for (member, bookie) in self.bookies.iter().enumerate() {
                match bookie.payload(LEDGER, entry) {
                    Some(found) => {
                        assert_eq!(found, *payload, "L3: the same bytes everywhere");
                        copies += 1;
                    }
                    None => assert!(
                        lacking.contains(member) || !self.policy.holds(member, entry),
                        "member {member} has no mark and lacks entry {entry} of {lacking:?}"
                    ),
                }
            }
            assert!(self.policy.ack <= copies, "L2: entry {entry} has {copies} copies");
        }
        for bookie in &mut self.bookies {
            let held = Request { id: 1, ledger: LEDGER.0, body: Some(request::Body::Held(Held {})) };
            let confirmed = bookie.handle(held).holding.map_or(0, |holding| holding.confirmed);
            assert!(confirmed <= sealed.end.0, "L11: readers are shown nothing beyond the end");
        }
    }
}

#[test]
fn every_schedule_keeps_what_was_confirmed_and_agrees_on_one_end() {
    for seed in SEEDS {
        let outcome = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            (0..STEPS).for_each(|_| world.step());
            world.settle();
            world.check();
        });
        assert!(outcome.is_ok(), "seed {seed}");
    }
}
