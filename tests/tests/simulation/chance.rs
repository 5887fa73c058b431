//! The one source of randomness, and the record of what happened.
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

/// Lines kept for whoever looks at a failure.
const LINES: usize = 400;

/// Shared by everything in one world, which runs on one thread: so the seed decides the order of all draws.
#[derive(Clone)]
pub(crate) struct Chance(Arc<Mutex<State>>);

struct State {
    random: SmallRng,
    start: Instant,
    trace: DefaultHasher,
    lines: VecDeque<String>,
    seen: BTreeMap<&'static str, u64>,
}

impl fmt::Debug for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chance")
    }
}

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: SmallRng::seed_from_u64(seed),
            start: Instant::now(),
            trace: DefaultHasher::new(),
            lines: VecDeque::new(),
            seen: BTreeMap::new(),
        })))
    }

    pub(crate) fn below(&self, end: u64) -> u64 {
        self.0.lock().random.random_range(0..end)
    }

    pub(crate) fn index(&self, end: usize) -> usize {
        self.0.lock().random.random_range(0..end)
    }

    /// One chance in `odds`.
    pub(crate) fn happens(&self, odds: u64) -> bool {
        self.below(odds) == 0
    }

    pub(crate) fn millis(&self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }

    /// Something came up that a good run must have seen.
    pub(crate) fn saw(&self, event: &'static str) {
        *self.0.lock().seen.entry(event).or_default() += 1;
    }

    pub(crate) fn saw_if(&self, event: &'static str, came_up: bool) {
        if came_up {
            self.saw(event);
        }
    }

    pub(crate) fn seen(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().seen.clone()
    }

    /// Part of the trace.
    pub(crate) fn note(&self, what: fmt::Arguments<'_>) {
        let mut state = self.0.lock();
        let line = format!("{:>9.3} {what}", state.start.elapsed().as_secs_f64());
        line.hash(&mut state.trace);
        if LINES <= state.lines.len() {
            state.lines.pop_front();
        }
        state.lines.push_back(line);
    }

    /// A number that stands for everything noted.
    pub(crate) fn trace(&self) -> u64 {
        self.0.lock().trace.finish()
    }

    pub(crate) fn lines(&self) -> String {
        self.0.lock().lines.iter().map(|line| format!("{line}\n")).collect()
    }
}
