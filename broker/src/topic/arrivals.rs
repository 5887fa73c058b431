//! How often each consumer has come to a topic, where policies bound it.
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::pace::{Pace, Speed};
use crate::subscription::Attach;

/// Consumers of which it is remembered when they came. Beyond it, those that may come at once are forgotten, and no further one waits.
const ARRIVALS_MAX: usize = 10_000;

/// A consumer as Apache Pulsar tells them apart: by its host, its name, and its number in its client. A hash: names may be long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Who(u64);

impl Who {
    pub(super) fn wants(attach: &Attach) -> Self {
        let host = attach.client.address.rsplit_once(':').map_or("", |(host, _)| host);
        Self::of(host, &attach.name, attach.consumer_id)
    }

    fn of(host: &str, name: &str, consumer_id: u64) -> Self {
        let mut hasher = DefaultHasher::new();
        (host, name, consumer_id).hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// What each has left of how often it may come.
#[derive(Debug, Default)]
pub(super) struct Arrivals(HashMap<Who, Pace>);

impl Arrivals {
    /// Lets it come, and counts that, unless it comes too often.
    pub(super) fn admit(&mut self, who: Who, speed: Speed, now_ms: u64) -> bool {
        if speed.messages.is_none() {
            self.0.clear();
            return true;
        }
        if ARRIVALS_MAX <= self.0.len() && !self.0.contains_key(&who) {
            self.0.retain(|_, pace| pace.wait(now_ms).is_some());
            if ARRIVALS_MAX <= self.0.len() {
                return true;
            }
        }
        let pace = self.0.entry(who).or_default();
        pace.set(speed, now_ms);
        let comes = pace.wait(now_ms).is_none();
        if comes {
            pace.spend(1, 0);
        }
        comes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONCE: Speed = Speed { messages: Some(1), bytes: None, period_ms: 1000 };

    #[test]
    fn each_consumer_comes_as_often_as_it_may() {
        let mut arrivals = Arrivals::default();
        let (one, other) = (Who::of("/10.0.0.1", "c", 1), Who::of("/10.0.0.1", "c", 2));
        assert!(arrivals.admit(one, ONCE, 0) && arrivals.admit(other, ONCE, 0));
        assert!(!arrivals.admit(one, ONCE, 999));
        assert!(arrivals.admit(one, ONCE, 1000));
        assert!((0..9).all(|_| arrivals.admit(one, Speed::default(), 1000)), "without a limit");
        assert!(arrivals.0.is_empty());
    }

    #[test]
    fn of_very_many_consumers_some_are_forgotten() {
        let mut arrivals = Arrivals::default();
        let who = |number: u64| Who::of("h", "c", number);
        let max = ARRIVALS_MAX as u64;
        assert!((0..max).all(|number| arrivals.admit(who(number), ONCE, number)));
        assert!(arrivals.admit(who(max), ONCE, 999) && arrivals.admit(who(max), ONCE, 999), "all others wait");
        assert_eq!(arrivals.0.len(), ARRIVALS_MAX);
        assert!(arrivals.admit(who(max), ONCE, 1500));
        assert!(arrivals.0.len() < ARRIVALS_MAX, "the first have paid off what they took");
        assert!(!arrivals.admit(who(max), ONCE, 1500));
    }
}
