//! Which bookies have stayed away, as a value without I/O: looks go in, a verdict comes out.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proto::BookieId;
use tokio::time::Instant;

/// Looks that are further apart say nothing of the time between them.
const APART_MAX: Duration = Duration::from_secs(20);

/// Since when bookies have been away, as far as was looked.
#[derive(Debug)]
pub(super) struct Absences {
    /// So long a bookie must be away at every look.
    patience: Duration,
    since: BTreeMap<BookieId, Instant>,
    looked: Option<Instant>,
}

impl Absences {
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, since: BTreeMap::new(), looked: None }
    }

    /// Takes a look at who is there, and says who is given up.
    pub(super) fn look(&mut self, bookies: &BTreeMap<BookieId, bool>, now: Instant) -> BTreeSet<BookieId> {
        if self.looked.is_none_or(|before| APART_MAX < now - before) {
            self.since.clear(); // Nobody knows who was there meanwhile.
        }
        self.looked = Some(now);
        self.since.retain(|bookie, _| bookies.get(bookie) == Some(&false));
        for (bookie, _) in bookies.iter().filter(|(_, is_there)| !**is_there) {
            self.since.entry(bookie.clone()).or_insert(now);
        }
        let is_over = |(_, since): &(&BookieId, &Instant)| self.patience <= now - **since;
        self.since.iter().filter(is_over).map(|(bookie, _)| bookie.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);
    const STEP: Duration = Duration::from_secs(5);

    fn name(letter: &str) -> BookieId {
        letter.parse().expect("valid")
    }

    /// `a` is there, and `b` is or is not.
    fn seen(b: bool) -> BTreeMap<BookieId, bool> {
        [(name("a"), true), (name("b"), b)].into()
    }

    #[test]
    fn a_bookie_is_given_up_once_it_was_away_at_every_look_for_long_enough() {
        let (mut absences, start) = (Absences::new(PATIENCE), Instant::now());
        for step in 0..12 {
            assert!(absences.look(&seen(false), start + STEP * step).is_empty(), "{step}");
        }
        assert_eq!(absences.look(&seen(false), start + PATIENCE), [name("b")].into());
        assert!(absences.look(&seen(true), start + PATIENCE + STEP).is_empty(), "it is back");
    }

    /// Goal: no storm when leases flap.
    #[test]
    fn one_that_comes_and_goes_is_never_given_up() {
        let (mut absences, start) = (Absences::new(PATIENCE), Instant::now());
        for step in 0..200 {
            assert!(absences.look(&seen(step % 11 == 0), start + STEP * step).is_empty(), "{step}");
        }
    }

    #[test]
    fn the_time_in_which_nobody_looked_does_not_count() {
        let (mut absences, start) = (Absences::new(PATIENCE), Instant::now());
        absences.look(&seen(false), start);
        let again = start + PATIENCE * 10; // Metadata was away, or this process stood still.
        assert!(absences.look(&seen(false), again).is_empty());
        for step in 1..12 {
            assert!(absences.look(&seen(false), again + STEP * step).is_empty(), "{step}");
        }
        assert!(!absences.look(&seen(false), again + PATIENCE).is_empty());
    }

    #[test]
    fn one_that_is_retired_is_not_waited_for() {
        let (mut absences, start) = (Absences::new(PATIENCE), Instant::now());
        absences.look(&seen(false), start);
        absences.look(&[(name("a"), true)].into(), start + STEP);
        assert!(absences.since.is_empty());
    }
}
