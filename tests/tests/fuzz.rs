//! Each fuzz body for ten seconds on stable Rust, all at once. `tests/fuzz` is the command that goes on for longer.
//!
//! A program of its own: it counts the panics of its whole process and bounds its memory, and it needs both cores for a while.
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, setrlimit};
use tests::fuzz::{Generator, Reached, Target};

const SEED: u64 = 6;
const EACH: Duration = Duration::from_secs(10);
/// Addresses of this process. Whoever believes a length that a peer claims ends it.
const ADDRESSES_MAX: u64 = 4 << 30;

/// A whole number from the environment, to try other inputs or to go on for longer.
fn wanted(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|error| panic!("{variable}: {error}")))
}

/// The seeds as they are, then inputs for as long as said: how many, and what they led to. The seed decides them, the clock only
/// when it is enough.
fn run(target: Target, seed: u64, time: Duration) -> (u64, Reached) {
    let (mut body, mut inputs) = (target.body(), Generator::new(seed, target.seeds()));
    let mut reached = Reached::default();
    target.seeds().iter().for_each(|seed| body(seed, &mut reached));
    let mut count = target.seeds().len() as u64;
    let began = Instant::now();
    while began.elapsed() < time {
        let input = inputs.next_input();
        if catch_unwind(AssertUnwindSafe(|| body(&input, &mut reached))).is_err() {
            panic!("{}: seed {seed}, input {count}: {input:02x?}", target.name());
        }
        count += 1;
    }
    (count, reached)
}

/// Goal: no bytes make any decoder panic or reserve what a peer merely claims, and no session disturbs another or leaves anything
/// behind. Method: valid inputs, changed as a seed says; what they lead to is counted, and all that is meant to come up has to.
#[test]
fn no_input_hurts() {
    let seed = wanted("FUZZ_SEED").unwrap_or(SEED);
    let time = wanted("FUZZ_SECONDS").map_or(EACH, Duration::from_secs);
    println!("seed {seed}; FUZZ_SEED=… tries others, FUZZ_SECONDS=… takes longer");
    setrlimit(Resource::As, Rlimit { current: Some(ADDRESSES_MAX), maximum: Some(ADDRESSES_MAX) })
        .expect("a limit may be lowered");
    let outcomes = thread::scope(|scope| {
        let running = Target::ALL.map(|target| scope.spawn(move || run(target, seed, time)));
        running.map(|thread| thread.join().ok())
    });
    for (target, outcome) in Target::ALL.into_iter().zip(&outcomes) {
        let Some((count, reached)) = outcome else { continue };
        println!("{}: {count} inputs; {reached}", target.name());
    }
    for (target, outcome) in Target::ALL.into_iter().zip(outcomes) {
        let (count, reached) = outcome.unwrap_or_else(|| panic!("{}: see above", target.name()));
        let goals = target.goals();
        assert_eq!(reached.missing(goals.events), [], "{} of {count} inputs", target.name());
        let through = reached.count(goals.through) * 100 / count;
        assert!(goals.percent <= through, "{}: {through} % get through, not {} %", target.name(), goals.percent);
    }
}

/// Goal: the seeds are what they claim to be.
#[test]
fn the_seeds_are_valid() {
    use prost::Message;
    for seed in Target::Command.seeds() {
        proto::pulsar::BaseCommand::decode(&seed[..]).expect("a command");
    }
    for seed in Target::Entry.seeds() {
        let parts = proto::entry::split(seed.into()).expect("an entry");
        parts.complete_head().expect("with metadata that clients can read");
    }
}
