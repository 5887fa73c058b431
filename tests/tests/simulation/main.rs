//! The whole ledger layer under one seeded scheduler on one thread: writers, recoverers and repairs of crate `ledger`, bookies of crate
//! `bookie` over the model of a disk, metadata with lost watches and unknown outcomes.
//!
//! The seed decides everything. `GEMINGA_SIMULATION_SEEDS=A..B` chooses others; `GEMINGA_SIMULATION_TRACE=1` shows what led to a failure.
mod book;
mod chance;
mod check;
mod defects;
mod faults;
mod losses;
mod nodes;
mod processes;
mod scenarios;
mod troubles;
mod wires;
mod world;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use defects::Defect;
use world::run;

/// What a good number of runs must have come across.
const EVENTS: [&str; 27] = [
    "bookies killed",
    "bookies lost for good",
    "bookies that came back in limbo",
    "bookies that left limbo",
    "bookies that stood still",
    "bookies without power",
    "connections that broke",
    "disks failed while they wrote",
    "ensembles that changed",
    "entries of unknown outcome",
    "leases that ended although their bookie lived",
    "ledgers closed by their writers",
    "ledgers given up for deletion",
    "ledgers in limbo",
    "members filled up by repair",
    "members replaced by repair",
    "partitions",
    "processes that stood still",
    "processes that were killed",
    "processes without metadata",
    "recoveries that took over from another",
    "requests lost with their connection",
    "requests that arrived after their connection broke",
    "slow bookies",
    "topics taken over while their owner lived",
    "transactions of unknown outcome",
    "writers that were fenced",
];

fn seeds() -> Range<u64> {
    let text = std::env::var("GEMINGA_SIMULATION_SEEDS").unwrap_or_else(|_| "0..1000".into());
    let (start, end) = text.split_once("..").expect("A..B");
    start.parse().expect("a number")..end.parse().expect("a number")
}

#[test]
fn nothing_that_was_confirmed_is_lost_wrong_or_out_of_order() {
    let (mut confirmed, mut lived, mut seen) = (0, Duration::ZERO, BTreeMap::<&str, u64>::new());
    let seeds = seeds();
    for seed in seeds.clone() {
        let outcome = std::panic::catch_unwind(|| run(seed, None));
        let outcome = outcome.unwrap_or_else(|_| panic!("seed {seed}"));
        confirmed += outcome.confirmed;
        lived += outcome.lived;
        outcome.seen.into_iter().for_each(|(event, times)| *seen.entry(event).or_default() += times);
    }
    let hours = lived.as_secs_f64() / 3600.0;
    println!(
        "seeds {seeds:?}, {hours:.1} simulated hours: {confirmed} entries confirmed; lost, wrong, out of order: 0"
    );
    seen.iter().for_each(|(event, times)| println!("{times:>9} {event}"));
    let missing: Vec<&&str> = EVENTS.iter().filter(|event| !seen.contains_key(*event)).collect();
    assert!(missing.is_empty() || seeds.end - seeds.start < 100, "never came up: {missing:?}");
}

#[test]
fn the_same_seed_makes_the_same_trace() {
    for seed in 0..10 {
        assert_eq!(run(seed, None), run(seed, None), "seed {seed}");
    }
}

/// The first seed that a defect shows with.
fn finds(defect: Defect) -> Option<u64> {
    seeds().find(|seed| std::panic::catch_unwind(|| run(*seed, Some(defect))).is_err())
}

/// With the feature `defects` there are more of them.
#[test]
fn each_defect_is_found() {
    let defects = Defect::all();
    let found: Vec<(Defect, u64)> =
        defects.iter().filter_map(|defect| finds(*defect).map(|seed| (*defect, seed))).collect();
    found.iter().for_each(|(defect, seed)| println!("{defect:?}: found by seed {seed}"));
    println!("defects found: {} of {}", found.len(), defects.len());
    assert_eq!(found.len(), defects.len());
}
