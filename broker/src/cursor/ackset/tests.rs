use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use proto::{LedgerId, Position};

use super::super::encode;
use super::super::replay::Replay;
use super::super::{Cursor, Cursors, Run};
use super::{AckDelta, AckSet};
use crate::log::{Chain, ChainLedger};

/// Ledgers 10, 20, …, some of them empty.
fn chain(entries: &[u64]) -> Chain {
    let listed = |(at, entries): (usize, &u64)| ChainLedger {
        ledger: LedgerId(10 * (at as u64 + 1)),
        entries: *entries,
        sealed_at: Some(1),
        ..ChainLedger::default()
    };
    Chain::new(entries.iter().enumerate().map(listed).collect(), LedgerId(0))
}

fn all(chain: &Chain) -> Vec<Position> {
    let of = |listed: &ChainLedger| {
        let ledger = listed.ledger.0;
        (0..listed.entries).map(move |entry| Position::new(ledger, entry))
    };
    chain.ledgers().iter().flat_map(of).collect()
}

/// What the set should say, told by a plain set of positions.
fn check(acks: &AckSet, acknowledged: &BTreeSet<Position>, chain: &Chain) {
    let existing = all(chain);
    for position in &existing {
        assert_eq!(acks.contains(*position), acknowledged.contains(position), "{position}");
    }
    let open: Vec<Position> = existing.iter().copied().filter(|position| !acknowledged.contains(position)).collect();
    assert_eq!(acks.unacknowledged(chain), open.len() as u64);
    let first_open = open.first().copied();
    let below = existing.iter().filter(|position| first_open.is_none_or(|open| **position < open)).count();
    assert_eq!(
        chain.count(Position::EARLIEST, acks.mark()),
        below as u64,
        "the mark stands before the first open entry"
    );
    assert_eq!(acks.holes(), (acknowledged.len() - below) as u64);
    assert_eq!(acks.next_unacknowledged(Position::EARLIEST, chain), first_open);
    for (before, position) in open.iter().enumerate() {
        assert_eq!(acks.unacknowledged_after(before as u64, chain), Some(*position));
    }
    assert_eq!(acks.unacknowledged_after(open.len() as u64, chain), None);
    for from in existing.iter().step_by(3) {
        let expected = open.iter().find(|position| from <= *position).copied();
        assert_eq!(acks.next_unacknowledged(*from, chain), expected);
    }
}

/// Writes the set as a snapshot and reads it again.
fn rewritten(acks: &AckSet, chain: &Chain) -> AckSet {
    let name: Arc<str> = "s".into();
    let cursor = Cursor {
        acks: acks.clone(),
        properties: [("k".into(), "v".into())].into(),
        created_at: 7,
        delays: Run::pack([(8, Position::new(1, 2))].into_iter()).into_iter().collect(),
    };
    let cursors = Cursors::from([(name.clone(), cursor), ("t".into(), Cursor::default())]);
    let mut replay = Replay::default();
    for entry in encode::snapshot(&cursors) {
        replay.entry(&entry, chain).expect("decodes");
    }
    let read = replay.finish(chain);
    assert_eq!(read.keys().collect::<Vec<_>>(), cursors.keys().collect::<Vec<_>>());
    assert_eq!((read[&name].created_at, &read[&name].properties), (7, &cursors[&name].properties));
    read[&name].acks.clone()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn an_ack_set_says_what_a_plain_set_says(
        ledgers in prop::collection::vec(0_u64..12, 1..6),
        steps in prop::collection::vec((0_usize..60, 0_u8..8), 0..80),
    ) {
        let chain = chain(&ledgers);
        let existing = all(&chain);
        let mut acks = AckSet::default();
        let mut replayed = AckSet::default();
        let mut plain = BTreeSet::new();
        for (at, kind) in steps {
            let Some(position) = existing.get(at).copied() else { continue };
            if kind == 0 {
                plain.extend(existing.iter().copied().filter(|other| *other < position));
                acks.cumulative(position, &chain);
                replayed.apply(&AckDelta::below(position), &chain);
            } else {
                prop_assert_eq!(acks.acknowledge(position, &chain), plain.insert(position));
                replayed.apply(&AckDelta::entry(position), &chain);
            }
            check(&acks, &plain, &chain);
        }
        prop_assert_eq!(&replayed, &acks, "a replay of the deltas comes to the same");
        check(&rewritten(&acks, &chain), &plain, &chain);
    }

    #[test]
    fn parts_of_batches_add_up(steps in prop::collection::vec((0_u64..4, any::<[i64; 2]>()), 0..40), size in 1_u32..128) {
        let chain = chain(&[4]);
        let mut acks = AckSet::default();
        let mut open: BTreeMap<u64, BTreeSet<u32>> = (0..4).map(|entry| (entry, (0..size).collect())).collect();
        for (entry, words) in steps {
            let position = Position::new(10, entry);
            let left = open.get_mut(&entry).expect("one of four");
            let before = left.len();
            left.retain(|bit| words[*bit as usize / 64] >> (bit % 64) & 1 == 1);
            let whole = acks.acknowledge_batch(position, &words, size, &chain);
            prop_assert_eq!(whole, left.is_empty() && before != 0);
            prop_assert_eq!(acks.contains(position), left.is_empty());
            if !left.is_empty() {
                let partial = acks.partial(position).expect("acknowledged in part");
                let bits: BTreeSet<u32> = (0..size).filter(|bit| partial[*bit as usize / 64] >> (bit % 64) & 1 == 1).collect();
                prop_assert_eq!(&bits, &*left);
            }
        }
        let again = rewritten(&acks, &chain);
        prop_assert_eq!(again, acks);
    }
}

#[test]
fn a_client_may_leave_out_trailing_zeros() {
    let chain = chain(&[1]);
    let mut acks = AckSet::default();
    let position = Position::new(10, 0);
    assert!(!acks.acknowledge_batch(position, &[1], 100, &chain));
    assert_eq!(acks.partial(position), Some(&[1, 0][..]));
    assert!(acks.acknowledge_batch(position, &[], 100, &chain));
    assert!(acks.contains(position));
}

#[test]
fn ledgers_that_are_trimmed_leave_no_holes_behind() {
    let mut acks = AckSet::default();
    let whole = chain(&[3, 3, 3]);
    acks.acknowledge(Position::new(10, 1), &whole);
    acks.acknowledge(Position::new(20, 0), &whole);
    assert_eq!(acks.holes(), 2);
    let trimmed = Chain::new(whole.ledgers()[1..].to_vec(), LedgerId(30));
    acks.advance(&trimmed);
    assert_eq!((acks.mark(), acks.holes()), (Position::new(20, 1), 0));
    assert_eq!(acks.unacknowledged(&trimmed), 5);
}

#[test]
fn what_does_not_exist_cannot_be_acknowledged() {
    let chain = chain(&[3]);
    let mut acks = AckSet::default();
    assert!(!acks.acknowledge(Position::new(10, 3), &chain));
    assert!(!acks.acknowledge(Position::new(11, 0), &chain));
    assert!(acks.cumulative(Position::new(99, 0), &chain));
    assert_eq!(acks.mark(), chain.end(), "not beyond the end");
}

#[test]
fn a_place_inside_a_batch_leaves_what_was_named_and_says_nothing_of_another_entry() {
    let chain = chain(&[2, 0, 2]);
    let batch = AckSet::inside(Position::new(10, 1), &[0b110], &chain);
    assert_eq!((batch.mark(), batch.partial(Position::new(10, 1))), (Position::new(10, 1), Some(&[0b110][..])));
    let nothing_left = AckSet::inside(Position::new(10, 1), &[0, 0], &chain);
    assert_eq!(nothing_left, AckSet::at(Position::new(30, 0)));
    let beyond = AckSet::inside(Position::new(10, 7), &[0b110], &chain);
    assert_eq!(beyond, AckSet::at(Position::new(30, 0)));
    assert_eq!(AckSet::inside(Position::new(99, 0), &[0b110], &chain), AckSet::at(chain.end()));
}
