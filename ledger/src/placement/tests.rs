use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use rand::SeedableRng;

use super::*;

const POLICY: QuorumPolicy = QuorumPolicy { ensemble: 3, write: 3, ack: 2 };

fn bookie(number: usize, rack: String, condition: Condition) -> Candidate {
    let bookie = format!("b{number}").parse().expect("valid");
    Candidate { bookie, rack, condition, draining: false, suspect: None, free_bytes: None }
}

fn bookies(live: usize, away: usize, racks: usize) -> Vec<Candidate> {
    let condition = |number| if number < live { Condition::Ready } else { Condition::Away };
    (0..live + away).map(|number| bookie(number, format!("r{}", number % racks), condition(number))).collect()
}

fn choose_with(known: &[Candidate], policy: QuorumPolicy, seed: u64) -> Result<Ensemble, LedgerError> {
    choose(known, policy, &mut SmallRng::seed_from_u64(seed))
}

fn numbers(bookies: &[BookieId]) -> Vec<usize> {
    bookies.iter().map(|bookie| bookie.as_str()[1..].parse().expect("a number")).collect()
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
        let racks: HashSet<usize> = numbers(&ensemble.bookies).iter().map(|number| number % 3).collect();
        assert_eq!(racks.len(), 3, "{ensemble:?}");
        assert!(ensemble.adheres);
    }
}

#[test]
fn zones_count_before_racks_and_racks_within_a_zone() {
    let places = ["/a/1", "/a/2", "/a/3", "/a/4", "/b/1", "/b/1"];
    let known: Vec<Candidate> =
        places.iter().enumerate().map(|(number, place)| bookie(number, (*place).into(), Condition::Ready)).collect();
    for seed in 0..100 {
        let ensemble = choose_with(&known, POLICY, seed).expect("six live");
        let chosen: HashSet<&str> = numbers(&ensemble.bookies).into_iter().map(|number| places[number]).collect();
        assert!(chosen.iter().any(|place| place.starts_with("/b")), "both zones: {chosen:?}");
        assert_eq!(chosen.len(), 3, "and no rack twice");
        assert!(ensemble.adheres);
    }
}

#[test]
fn a_ledger_that_must_stand_in_one_zone_is_told_apart_from_a_cluster_that_has_one() {
    let mut known = bookies(4, 0, 1);
    assert!(choose_with(&known, POLICY, 1).expect("four live").adheres);
    known.push(bookie(4, "/elsewhere/1".into(), Condition::Away));
    assert!(!choose_with(&known, POLICY, 1).expect("four live").adheres, "the other zone is away");
}

/// Method: bookies of three zones, five of which share an ensemble; each run of three seats should have all zones.
#[test]
fn seats_of_a_striped_ledger_alternate_between_zones() {
    let policy = QuorumPolicy { ensemble: 6, write: 3, ack: 2 };
    for seed in 0..100 {
        let ensemble = choose_with(&bookies(6, 0, 3), policy, seed).expect("six live");
        assert!(ensemble.adheres, "{ensemble:?}");
    }
}

#[test]
fn one_of_three_may_be_away() {
    let ensemble = choose_with(&bookies(2, 1, 1), POLICY, 1).expect("an ack quorum lives");
    assert_eq!(ensemble.away.len(), 1);
    assert!(ensemble.away.iter().all(|index| ensemble.bookies[index].as_str() == "b2"));
    let error = choose_with(&bookies(1, 2, 1), POLICY, 1).expect_err("no ack quorum lives");
    assert!(matches!(error, LedgerError::NoLiveQuorum { live: 1, known: 3, needed: 2, .. }), "{error:?}");
    assert!(error.to_string().contains("b1 is not registered as available; b2 is not"), "{error}");
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

#[test]
fn more_free_space_brings_more_ledgers() {
    let mut known = bookies(6, 0, 1);
    known.iter_mut().for_each(|candidate| candidate.free_bytes = Some(100 << 30));
    known[0].free_bytes = Some(10 << 30);
    known[1].free_bytes = None;
    let mut counts = [0; 6];
    for seed in 0..600 {
        let chosen = choose_with(&known, POLICY, seed).expect("six live");
        numbers(&chosen.bookies).into_iter().for_each(|number| counts[number] += 1);
    }
    assert!(counts[0] < 120, "the full one gets few: {counts:?}");
    assert!(200 < counts[1], "one that does not tell counts as the others do on average: {counts:?}");
}

#[test]
fn suspects_and_drained_ones_are_taken_when_nobody_else_is_left() {
    let mut known = bookies(5, 0, 1);
    known[3].suspect = Some("does not answer");
    known[4].draining = true;
    for seed in 0..50 {
        let chosen = choose_with(&known, POLICY, seed).expect("five live");
        assert!(numbers(&chosen.bookies).iter().all(|number| *number < 3));
        let wide = QuorumPolicy { ensemble: 4, write: 3, ack: 2 };
        assert!(!numbers(&choose_with(&known, wide, seed).expect("five live").bookies).contains(&4));
        let all = QuorumPolicy { ensemble: 5, write: 3, ack: 3 };
        assert!(choose_with(&known, all, seed).expect("all of them live").away.is_empty());
    }
}

#[test]
fn a_read_only_bookie_is_taken_last_and_counts_as_away() {
    let mut known = bookies(3, 1, 1);
    known[2].condition = Condition::ReadOnly;
    let chosen = choose_with(&known, POLICY, 1).expect("an ack quorum takes writes");
    assert!(!numbers(&chosen.bookies).contains(&2), "one that is away may come back");
    known.pop();
    let chosen = choose_with(&known, POLICY, 1).expect("an ack quorum takes writes");
    assert!(chosen.away.iter().all(|seat| numbers(&chosen.bookies)[seat] == 2), "it lacks entries from the start");
}

fn members(known: &[Candidate], numbers: &[usize]) -> Vec<BookieId> {
    numbers.iter().map(|number| known[*number].bookie.clone()).collect()
}

#[test]
fn a_replacement_stands_where_the_one_that_goes_stood() {
    let known = bookies(9, 0, 3);
    let members = members(&known, &[0, 1, 2]);
    for seed in 0..50 {
        let out = [1].into_iter().collect();
        let wanted = Wanted { policy: POLICY, members: &members, out, rather: &[], never: &[], suspects: false };
        let found = replace(&known, &wanted, &mut SmallRng::seed_from_u64(seed));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0, numbers(&[found[0].1.clone()])[0] % 3), (1, 1), "the rack of the others is theirs");
    }
}

#[test]
fn those_that_hold_entries_already_are_rather_taken_and_some_never() {
    let mut known = bookies(6, 0, 1);
    known[5].suspect = Some("does not answer");
    let members = members(&known, &[0, 1, 2]);
    let (out, rather) = ([0, 2].into_iter().collect(), [known[4].bookie.clone()]);
    let mut wanted = Wanted { policy: POLICY, members: &members, out, rather: &rather, never: &[], suspects: false };
    let random = &mut SmallRng::seed_from_u64(1);
    let found: Vec<BookieId> = replace(&known, &wanted, random).into_iter().map(|(_, bookie)| bookie).collect();
    assert_eq!(numbers(&found), [4, 3]);
    let never = [known[3].bookie.clone()];
    wanted.never = &never;
    assert_eq!(replace(&known, &wanted, random).len(), 1, "as many seats as can be had");
    wanted.suspects = true;
    assert_eq!(replace(&known, &wanted, random).len(), 2);
}

prop_compose! {
    fn any_cluster()(
        places in prop::collection::vec((0..3usize, 0..3usize, 0..6u8, any::<bool>(), 0..3u64), 1..12)
    ) -> Vec<Candidate> {
        let candidate = |(number, (zone, rack, fate, told, free)): (usize, (usize, usize, u8, bool, u64))| {
            let condition = match fate { 0 => Condition::Away, 1 => Condition::ReadOnly, _ => Condition::Ready };
            Candidate {
                draining: fate == 2,
                suspect: (fate == 3).then_some("does not answer"),
                free_bytes: told.then_some(free << 30),
                ..bookie(number, format!("/z{zone}/r{rack}"), condition)
            }
        };
        places.into_iter().enumerate().map(candidate).collect()
    }
}

proptest! {
    /// Goal: suspicion, draining, racks and space never make a creation fail that could succeed.
    #[test]
    fn creating_is_possible_exactly_when_a_quorum_takes_writes(
        known in any_cluster(), (ensemble, write, ack) in (1..6u32).prop_flat_map(|e| (Just(e), 1..=e))
            .prop_flat_map(|(e, w)| (Just(e), Just(w), 1..=w)), seed: u64
    ) {
        let policy = QuorumPolicy { ensemble, write, ack };
        let live = known.iter().filter(|candidate| candidate.is_live()).count();
        match choose_with(&known, policy, seed) {
            Ok(chosen) => {
                let distinct: HashSet<&BookieId> = chosen.bookies.iter().collect();
                prop_assert_eq!(distinct.len(), ensemble as usize);
                prop_assert_eq!(chosen.away.len() as usize, (ensemble as usize).saturating_sub(live));
                prop_assert_eq!(chosen.adheres, adheres(&known, policy, &chosen.bookies));
            }
            Err(LedgerError::TooFewBookies { .. }) => prop_assert!(known.len() < ensemble as usize),
            Err(error) => {
                prop_assert!(live < ensemble as usize, "{}", error);
                let away = ensemble as usize - live.min(ensemble as usize);
                prop_assert!((write - ack) < away as u32, "{}", error);
            }
        }
    }

    #[test]
    fn replacements_are_distinct_and_live_and_take_only_seats_that_are_free(
        known in any_cluster(), seed: u64, out in prop::collection::vec(0..3usize, 1..4)
    ) {
        prop_assume!(3 <= known.len());
        let members = members(&known, &[0, 1, 2]);
        let out: Members = out.into_iter().collect();
        let wanted = Wanted { policy: POLICY, members: &members, out, rather: &[], never: &[], suspects: true };
        let found = replace(&known, &wanted, &mut SmallRng::seed_from_u64(seed));
        let distinct: HashSet<&BookieId> = found.iter().map(|(_, bookie)| bookie).collect();
        prop_assert_eq!(distinct.len(), found.len());
        for (seat, bookie) in &found {
            prop_assert!(out.contains(*seat) && !members.contains(bookie));
            let candidate = known.iter().find(|candidate| candidate.bookie == *bookie).expect("known");
            prop_assert!(candidate.is_live() && !candidate.draining);
        }
    }
}
