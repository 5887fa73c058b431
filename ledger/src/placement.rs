//! Which bookies a new ledger goes to.
use std::collections::HashMap;

use proto::BookieId;
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;

use crate::quorum::Members;
use crate::{LedgerError, QuorumPolicy};

/// A bookie that may be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) bookie: BookieId,
    /// Empty when it was not told.
    pub(crate) rack: String,
    /// It takes requests now.
    pub(crate) live: bool,
}

/// The members of a new ensemble, and those of them that are away and so lack entries from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ensemble {
    pub(crate) bookies: Vec<BookieId>,
    pub(crate) away: Members,
}

/// Chooses live bookies first, from as many racks as there are, at random otherwise. Bookies that are away fill up an ensemble
/// as long as every write set keeps a live ack quorum.
pub(crate) fn choose(
    known: &[Candidate],
    policy: QuorumPolicy,
    random: &mut SmallRng,
) -> Result<Ensemble, LedgerError> {
    let needed = policy.ensemble as usize;
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    if known.len() < needed {
        return Err(LedgerError::TooFewBookies { needed: policy.ensemble, known: count(known.len()) });
    }
    let (live, away): (Vec<&Candidate>, Vec<&Candidate>) = known.iter().partition(|candidate| candidate.live);
    let no_quorum =
        LedgerError::NoLiveQuorum { live: count(live.len()), known: count(known.len()), needed: policy.ack };
    let mut racks = HashMap::new();
    let chosen_live = spread(live, needed, &mut racks, random);
    let chosen_away = spread(away, needed - chosen_live.len(), &mut racks, random);
    let ensemble = interleave(chosen_live, chosen_away, random.random_range(0..needed));
    let live: Members = (0..needed).filter(|index| ensemble[*index].live).collect();
    if !policy.can_confirm(live) {
        return Err(no_quorum);
    }
    Ok(Ensemble {
        bookies: ensemble.iter().map(|candidate| candidate.bookie.clone()).collect(),
        away: (0..needed).filter(|index| !ensemble[*index].live).collect(),
    })
}

/// Takes up to `count`, each time from the rack that was taken from least.
fn spread<'a>(
    mut from: Vec<&'a Candidate>,
    count: usize,
    racks: &mut HashMap<&'a str, usize>,
    random: &mut SmallRng,
) -> Vec<&'a Candidate> {
    from.shuffle(random);
    let mut chosen = Vec::new();
    while chosen.len() < count {
        let used = |candidate: &Candidate| racks.get(candidate.rack.as_str()).copied().unwrap_or(0);
        let Some(at) = (0..from.len()).min_by_key(|at| used(from[*at])) else { break };
        let candidate = from.swap_remove(at);
        *racks.entry(candidate.rack.as_str()).or_default() += 1;
        chosen.push(candidate);
    }
    chosen
}

/// Puts those that are away as far from one another as can be, so that no write set has more of them than it must.
fn interleave<'a>(live: Vec<&'a Candidate>, away: Vec<&'a Candidate>, turn: usize) -> Vec<&'a Candidate> {
    let total = live.len() + away.len();
    let (mut live, mut away) = (live.into_iter(), away.into_iter());
    let gaps = away.len();
    let mut ensemble: Vec<&Candidate> = (0..total)
        .filter_map(|at| {
            let is_gap = at * gaps / total != (at + 1) * gaps / total;
            if is_gap { away.next() } else { live.next() }
        })
        .collect();
    ensemble.rotate_left(turn);
    ensemble
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const POLICY: QuorumPolicy = QuorumPolicy { ensemble: 3, write: 3, ack: 2 };

    fn bookies(live: usize, away: usize, racks: usize) -> Vec<Candidate> {
        (0..live + away)
            .map(|number| Candidate {
                bookie: format!("b{number}").parse().expect("valid"),
                rack: format!("r{}", number % racks),
                live: number < live,
            })
            .collect()
    }

    fn choose_with(known: &[Candidate], policy: QuorumPolicy, seed: u64) -> Result<Ensemble, LedgerError> {
        choose(known, policy, &mut SmallRng::seed_from_u64(seed))
    }

    #[test]
    fn live_bookies_are_chosen_before_any_that_is_away() {
        for seed in 0..100 {
            let ensemble = choose_with(&bookies(3, 5, 1), POLICY, seed).expect("three live");
            assert!(ensemble.away.is_empty());
        }
    }

    #[test]
    fn members_stand_in_different_racks_while_there_are_some() {
        for seed in 0..100 {
            let ensemble = choose_with(&bookies(9, 0, 3), POLICY, seed).expect("nine live");
            let racks: std::collections::HashSet<u32> = ensemble
                .bookies
                .iter()
                .map(|bookie| bookie.as_str()[1..].parse::<u32>().expect("a number") % 3)
                .collect();
            assert_eq!(racks.len(), 3, "{ensemble:?}");
        }
    }

    #[test]
    fn one_of_three_may_be_away() {
        let ensemble = choose_with(&bookies(2, 1, 1), POLICY, 1).expect("an ack quorum lives");
        assert_eq!(ensemble.away.len(), 1);
        assert!(ensemble.away.iter().all(|index| ensemble.bookies[index].as_str() == "b2"));
        let error = choose_with(&bookies(1, 2, 1), POLICY, 1).expect_err("no ack quorum lives");
        assert!(matches!(error, LedgerError::NoLiveQuorum { live: 1, known: 3, needed: 2 }), "{error:?}");
    }

    #[test]
    fn too_few_known_bookies_are_counted() {
        let error = choose_with(&bookies(2, 0, 1), POLICY, 1).expect_err("two of three");
        assert!(error.to_string().contains("start 1 more"), "{error}");
    }

    #[test]
    fn members_that_are_away_stand_apart() {
        let policy = QuorumPolicy { ensemble: 6, write: 3, ack: 2 };
        for seed in 0..100 {
            let ensemble = choose_with(&bookies(4, 2, 1), policy, seed).expect("each write set has two live");
            assert_eq!(ensemble.away.len(), 2);
        }
    }

    #[test]
    fn each_bookie_gets_its_share() {
        let mut counts = HashMap::new();
        for seed in 0..600 {
            for bookie in choose_with(&bookies(6, 0, 1), POLICY, seed).expect("six live").bookies {
                *counts.entry(bookie).or_insert(0) += 1;
            }
        }
        assert!(counts.values().all(|count| (200..400).contains(count)), "{counts:?}");
    }
}
