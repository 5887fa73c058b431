//! When it is worth looking over all ledgers, as a value without I/O.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ledger::repair::Seen;
use proto::BookieId;
use tokio::time::Instant;

/// After a change, and while something is left to do.
const PAUSE_MIN: Duration = Duration::from_secs(30);
/// While nothing happens: a look reads the record of every ledger.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// How many times as long as a look has taken, none is taken while nothing happens.
const APART: u32 = 50;

/// What a round came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Round {
    /// Nothing can be done before some bookie comes or goes.
    Done,
    /// Something is left that may succeed later.
    Left,
    /// Other bookies are gone now than at its start.
    Overtaken,
}

/// Decides when rounds are made.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    seen: Option<(BTreeMap<BookieId, Seen>, BTreeSet<BookieId>)>,
    in_limbo: Vec<BookieId>,
    pause: Duration,
    /// What a look over all ledgers takes.
    look: Duration,
    next: Option<Instant>,
}

impl Rounds {
    /// A bookie that has just said that it may lack entries is news.
    pub(super) fn look_at_limbo(&mut self, in_limbo: &[BookieId]) {
        if in_limbo.iter().any(|bookie| !self.in_limbo.contains(bookie)) {
            self.seen = None;
        }
        self.in_limbo = in_limbo.to_vec();
    }

    /// Whether a round is due: when bookies come or go, become full, or are to be left, at once, else after a pause that grows.
    pub(super) fn is_due(
        &mut self,
        bookies: &BTreeMap<BookieId, Seen>,
        gone: &BTreeSet<BookieId>,
        now: Instant,
    ) -> bool {
        let is_news = self.seen.as_ref().is_none_or(|(before, gave_up)| before != bookies || gave_up != gone);
        if is_news {
            self.seen = Some((bookies.clone(), gone.clone()));
            self.pause = Duration::ZERO;
        }
        is_news || self.next.is_none_or(|next| next <= now)
    }

    /// A look over all ledgers has taken so long.
    pub(super) fn has_looked(&mut self, took: Duration) {
        self.look = took;
    }

    pub(super) fn ended(&mut self, round: Round, now: Instant) {
        self.pause = match round {
            Round::Overtaken => Duration::ZERO,
            Round::Left => PAUSE_MIN,
            Round::Done => (self.pause * 2).max(self.look * APART).clamp(PAUSE_MIN, PAUSE_MAX),
        };
        self.next = Some(now + self.pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THERE: Seen = Seen { there: true, takes_copies: true, drained: false };

    fn name(letter: &str) -> BookieId {
        letter.parse().expect("valid")
    }

    #[test]
    fn a_bookie_that_comes_or_goes_makes_a_round_due_at_once() {
        let (mut rounds, now) = (Rounds::default(), Instant::now());
        let at = |seen| [(name("a"), seen)].into();
        let full = Seen { takes_copies: false, ..THERE };
        let (there, away) = (at(THERE), at(Seen { there: false, ..full }));
        let (full, drained) = (at(full), at(Seen { drained: true, ..THERE }));
        let (nobody, gone) = (BTreeSet::new(), BTreeSet::from([name("a")]));
        assert!(rounds.is_due(&there, &nobody, now), "nobody has looked yet");
        rounds.ended(Round::Done, now);
        assert!(!rounds.is_due(&there, &nobody, now));
        for (bookies, gone) in
            [(&away, &nobody), (&away, &gone), (&there, &nobody), (&full, &nobody), (&drained, &nobody)]
        {
            assert!(rounds.is_due(bookies, gone, now), "{bookies:?} {gone:?}");
            rounds.ended(Round::Done, now);
            assert!(!rounds.is_due(bookies, gone, now));
        }
    }

    #[test]
    fn a_bookie_that_enters_limbo_makes_a_round_due_at_once() {
        let (mut rounds, now) = (Rounds::default(), Instant::now());
        let (there, nobody) = ([(name("a"), THERE)].into(), BTreeSet::new());
        assert!(rounds.is_due(&there, &nobody, now));
        for (in_limbo, due) in [(vec![], false), (vec![name("a")], true), (vec![name("a")], false), (vec![], false)] {
            rounds.ended(Round::Done, now);
            rounds.look_at_limbo(&in_limbo);
            assert_eq!(rounds.is_due(&there, &nobody, now), due, "{in_limbo:?}");
        }
    }

    #[test]
    fn rounds_become_rare_while_nothing_happens_and_come_soon_while_something_is_left() {
        let (mut rounds, mut now) = (Rounds::default(), Instant::now());
        let (there, nobody) = ([(name("a"), THERE)].into(), BTreeSet::new());
        let mut pauses = Vec::new();
        let mut after = |round| {
            assert!(rounds.is_due(&there, &nobody, now));
            rounds.ended(round, now);
            let start = now;
            while !rounds.is_due(&there, &nobody, now) {
                now += Duration::from_secs(10);
            }
            pauses.push((now - start).as_secs());
        };
        (0..7).for_each(|_| after(Round::Done));
        after(Round::Left);
        after(Round::Overtaken);
        assert_eq!(pauses, [30, 60, 120, 240, 480, 600, 600, 30, 0]);
    }

    /// A look reads the record of every ledger: where there are very many, it must not be most of what an idle broker does.
    #[test]
    fn the_longer_a_look_takes_the_rarer_they_are() {
        for (look, pause) in [(0, 30), (500, 30), (3000, 150), (60_000, 600)] {
            let (mut rounds, now) = (Rounds::default(), Instant::now());
            let (there, nobody) = ([(name("a"), THERE)].into(), BTreeSet::new());
            assert!(rounds.is_due(&there, &nobody, now));
            rounds.has_looked(Duration::from_millis(look));
            rounds.ended(Round::Done, now);
            let after = |seconds: u64| now + Duration::from_secs(seconds);
            assert!(!rounds.is_due(&there, &nobody, after(pause - 1)), "{look} ms");
            assert!(rounds.is_due(&there, &nobody, after(pause)), "{look} ms");
            rounds.ended(Round::Left, now);
            assert!(rounds.is_due(&there, &nobody, after(30)), "what is left to do does not wait for that");
        }
    }
}
