//! The state machines of writer, recoverers and repairs against bookies and a ledger's record, under seeded random schedules of
//! delay, loss, broken sessions, lost answers and bookies that go for good.
//!
//! A failing seed is printed: run it alone by putting it into `SEEDS`.
use std::ops::Range;

use proto::bookie::{Held, Request, request};
use proto::records::LedgerState;
use proto::{EntryId, LedgerId};

use self::world::{Seen, World};
use crate::defects::Defect;
use crate::records;
use crate::repair::plan;

mod recoverers;
mod repairers;
mod world;

const SEEDS: Range<u64> = 0..2000;
const LEDGER: LedgerId = LedgerId(4);
const STEPS: usize = 600;

impl World {
    /// Once nothing is lost any more, a recovery settles the ledger and repairs make it whole.
    fn settle(&mut self) {
        self.calm = true;
        for round in 0.. {
            assert!(round < 20, "a recovery without faults settles the ledger: {:?}", self.recoverers.last());
            self.start_recovery();
            while self.record.state() != LedgerState::Closed && self.recoverers.last().is_some_and(|last| !last.over) {
                self.step_recoverer(self.recoverers.len() - 1);
                self.deliver_request(); // The old writer's adds still arrive.
                self.deliver_answer();
                self.observe();
            }
            if self.record.state() == LedgerState::Closed {
                break;
            }
        }
        self.calm = false;
        for _ in 0..200 {
            self.deliver_request();
            self.deliver_answer();
            self.step_some_recoverer(); // Losers go on for a while.
            self.step_some_repair();
            self.observe();
        }
        self.calm = true;
        for round in 0.. {
            assert!(round < 100, "repairs without faults make a ledger whole: {:?}", self.record);
            let gone = self.gone_names();
            if plan::tasks(&self.record, &gone, &[]).is_empty() {
                break;
            }
            self.repairs.clear();
            self.start_repair();
            while !self.repairs.is_empty() {
                self.step_some_repair();
            }
        }
    }

    /// L2, L3, L10, L11, L12, and that every member holds all it should.
    fn check(&mut self) {
        assert!(records::is_sound(&self.record, LEDGER), "L10: {:?}", self.record);
        let entries = &self.appended[..self.record.end as usize];
        assert_eq!(self.record.length, entries.iter().map(|payload| payload.len() as u64).sum::<u64>(), "L12");
        for (number, payload) in entries.iter().enumerate() {
            let entry = EntryId(number as u64);
            for bookie in &self.bookies {
                let found = bookie.payload(LEDGER, entry);
                assert!(found.is_none_or(|found| found == *payload), "L3: the same bytes everywhere");
            }
            let fragment = self.record.fragments.iter().rfind(|fragment| fragment.first <= entry.0).expect("from 0 on");
            for seat in self.policy.write_set(entry).iter() {
                let bookie = World::index(&fragment.bookies[seat]);
                let held = !self.gone[bookie] && self.bookies[bookie].payload(LEDGER, entry).is_some();
                assert!(held, "L2: {} should hold entry {entry}: {:?}", fragment.bookies[seat], self.record);
            }
        }
        for bookie in &mut self.bookies {
            let held = Request { id: 1, ledger: LEDGER.0, body: Some(request::Body::Held(Held {})) };
            let confirmed = bookie.handle(held).holding.map_or(0, |holding| holding.confirmed);
            assert!(confirmed <= self.record.end, "L11: readers are shown nothing beyond the end");
        }
    }
}

fn run(seed: u64, defect: Option<Defect>) -> (Seen, proto::records::LedgerRecord) {
    let mut world = World::new(seed, defect);
    (0..STEPS).for_each(|_| world.step());
    world.settle();
    world.check();
    (world.seen, world.record)
}

#[test]
fn every_schedule_keeps_what_was_confirmed_and_agrees_on_one_end() {
    let mut all = Seen::default();
    for seed in SEEDS {
        match std::panic::catch_unwind(|| run(seed, None)) {
            Ok((seen, _)) => all.add(&seen),
            Err(_) => panic!("seed {seed}"),
        }
    }
    assert!(all.is_rich(), "something never came up: {all:?}");
}

#[test]
fn the_same_seed_ends_the_same_way() {
    for seed in 0..20 {
        assert_eq!(run(seed, None), run(seed, None));
    }
}

fn finds(defect: Defect) -> bool {
    SEEDS.into_iter().any(|seed| std::panic::catch_unwind(|| run(seed, Some(defect))).is_err())
}

#[test]
fn defects_that_others_had_are_found() {
    for defect in [
        Defect::ReadsDoNotFence,
        Defect::RecoveryBeginsBelowFragment,
        Defect::AcknowledgementsCountWhileChanging,
        Defect::ConfirmedEndMoves,
    ] {
        assert!(finds(defect), "{defect:?} goes unnoticed");
    }
}
