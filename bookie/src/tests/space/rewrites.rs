//! Segments that are sorted by ledger.
use proptest::prelude::*;

use super::*;
use crate::cache::Near;
use crate::format::{Record, SegmentId};
use crate::index::Found;

/// `ledgers` in turn, so that each of their entries lies among those of all others.
fn interleaved(ledgers: u64, entries: u64, size: usize) -> (SimDisk, Store, Duration) {
    let disk = SimDisk::new();
    let mut store = open(&disk, 1).unwrap();
    fill(&mut store, &(1..=ledgers).collect::<Vec<_>>(), 0..entries, size);
    (disk, store, Duration::ZERO)
}

#[test]
fn old_segments_become_sorted_ones_and_all_is_found_as_before() {
    let (disk, mut store, mut clock) = interleaved(7, 40, 2000);
    let before = answers(&mut store, 0..9, 41);
    let unsorted = files(&disk, "segment-").len();
    pass_time(&mut store, &mut clock, Duration::from_secs(299));
    assert!(files(&disk, "sorted-").is_empty(), "not before they are old");
    pass_time(&mut store, &mut clock, LONG);
    assert!(files(&disk, "segment-").len() <= 2 && 4 < unsorted, "only the tail is left: {:?}", disk.list());
    assert!(4 < files(&disk, "sorted-").len());
    assert_eq!(answers(&mut store, 0..9, 41), before);
    let rewritten = traffic(&store).rewrite_written.get();
    pass_time(&mut store, &mut clock, 10 * LONG);
    assert_eq!(traffic(&store).rewrite_written.get(), rewritten, "once is enough");
    for life in 2..5 {
        drop(store);
        disk.lose_power(life);
        store = open(&disk, life).unwrap();
        assert_eq!(answers(&mut store, 0..9, 41), before, "life {life}");
    }
}

/// Entries of one ledger lie one behind the other: few runs, each as long as a file allows.
#[test]
fn a_ledger_lies_in_one_run() {
    let (_disk, mut store, mut clock) = interleaved(8, 40, 1000);
    pass_time(&mut store, &mut clock, LONG);
    for ledger in 1..=8 {
        let index = store.segments.index.read();
        let Found::Sealed(runs) = index.find(LedgerId(ledger), EntryId(0), 100) else { panic!("it is sorted") };
        let (run, extent) = &runs[0];
        let entries = store.segments.run(extent, run).unwrap();
        assert!(10 <= entries.len(), "{} entries", entries.len());
        for pair in entries.windows(2) {
            let distance = u64::from(pair[1].offset - pair[0].offset);
            assert!(distance < 1048 + 4096 + 64, "at most the end of a batch is between them: {distance}");
        }
    }
}

#[test]
fn mostly_dead_segments_are_rewritten_at_once_and_shrink() {
    let (disk, mut store, mut clock) = interleaved(10, 30, 2000);
    for ledger in 1..=8 {
        assert_eq!(status(&mut store, delete(1, ledger)), Status::Ok);
    }
    let before = answers(&mut store, 0..11, 31);
    pass_time(&mut store, &mut clock, 250 * SECOND);
    assert!(files(&disk, "segment-").len() <= 2, "{:?}", disk.list());
    assert_eq!(files(&disk, "sorted-").len(), 3, "a fifth is left");
    assert_eq!((traffic(&store).minor_passes.get(), traffic(&store).major_passes.get()), (2, 0));
    assert_eq!(answers(&mut store, 0..11, 31), before);
    // What is sorted may die as well.
    assert_eq!(status(&mut store, delete(1, 9)), Status::Ok);
    assert_eq!(status(&mut store, delete(1, 10)), Status::Ok);
    pass_time(&mut store, &mut clock, 10 * SECOND);
    assert!(files(&disk, "sorted-").is_empty());
}

#[test]
fn segments_of_version_1_are_rewritten_like_others() {
    let disk = super::super::fixtures::fixture("v1");
    let mut clock = Duration::ZERO;
    let mut store = open(&disk, 5).unwrap();
    let before = answers(&mut store, 0..10, 7);
    pass_time(&mut store, &mut clock, LONG);
    assert_eq!(files(&disk, "segment-").len(), 2, "what was not proven was appended again: {:?}", disk.list());
    assert_eq!(answers(&mut store, 0..10, 7), before);
    drop(store);
    disk.lose_power(1);
    assert_eq!(answers(&mut open(&disk, 6).unwrap(), 0..10, 7), before);
}

/// Goal: whoever found an entry before the switch reads it after the switch, from a file that nobody has touched.
#[test]
fn a_read_that_runs_across_the_switch_succeeds() {
    let (disk, mut store, mut clock) = interleaved(3, 30, 3000);
    let found = store.segments.index.read().find(LedgerId(2), EntryId(0), 10);
    let Found::Sealed(runs) = found else { panic!("the first segment is sealed") };
    let (run, extent) = &runs[0];
    let entry = store.segments.run(extent, run).unwrap()[0];
    let segments = files(&disk, "segment-").len();
    pass_time(&mut store, &mut clock, LONG);
    assert!(files(&disk, "segment-").len() < segments, "others are gone");
    assert!(disk.list().unwrap().contains(&run.segment.file_name()), "this one is being read");
    assert!(store.segments.index.read().extent(run.segment).is_none(), "though it counts no more");
    // Spares are written to: none of them may be this file.
    fill(&mut store, &[7, 8], 0..40, 3000);
    store.segments.close(run.segment);
    let mut bytes = Vec::new();
    let place = (u64::from(entry.offset), 48 + 3000);
    store.segments.read(run.segment, extent.data_end, place, &Near::Nothing, &mut bytes).unwrap();
    let record = Record::read(&bytes, extent.generation).expect("its bytes are as they were");
    assert!(record.ledger == LedgerId(2) && record.holds(&bytes[48..]));
    let name = run.segment.file_name();
    drop(runs);
    pass_time(&mut store, &mut clock, SECOND);
    assert!(!disk.list().unwrap().contains(&name), "the last reader has left");
}

/// Each turn of a pass and of the switch: whoever asks is answered as before.
#[test]
fn nobody_notices_a_pass_at_any_of_its_turns() {
    let (_disk, mut store, mut clock) = interleaved(5, 20, 3000);
    let before = answers(&mut store, 0..6, 21);
    while clock < LONG {
        if !store.give_back(clock) {
            clock += SECOND;
        } else {
            assert_eq!(answers(&mut store, 0..6, 21), before);
            assert_eq!(status(&mut store, add(1, 3, 4, 3000)), Status::Ok, "an entry sent again is known");
            assert_eq!(status(&mut store, add(1, 3, 4, 2999)), Status::Invalid);
        }
    }
    assert!(0 < traffic(&store).rewritten.get());
}

#[test]
fn entries_larger_than_a_segment_are_rewritten() {
    let disk = SimDisk::new();
    let (mut store, mut clock) = (open(&disk, 1).unwrap(), Duration::ZERO);
    fill(&mut store, &[1, 2], 0..3, 200_000);
    fill(&mut store, &[3], 0..5, 100);
    store.close();
    disk.kill();
    store = open(&disk, 2).unwrap();
    pass_time(&mut store, &mut clock, LONG);
    assert!(!files(&disk, "sorted-").is_empty());
    for (ledger, entries, size) in [(1, 3, 200_000), (2, 3, 200_000), (3, 5, 100)] {
        let found = ask(&mut store, read(1, ledger, 0, 10));
        assert!(found.entries.iter().zip(0..).all(|(found, at)| found.payload == payload(ledger, at, size)));
        assert_eq!(found.entries.len(), entries);
    }
}

#[test]
fn without_room_nothing_is_rewritten_but_the_dead_are_dropped() {
    let (disk, mut store, mut clock) = interleaved(4, 30, 3000);
    fill(&mut store, &[9], 0..60, 3000);
    disk.set_room(1 << 20);
    assert_eq!(status(&mut store, delete(1, 9)), Status::Ok);
    pass_time(&mut store, &mut clock, 2 * LONG);
    assert_eq!(traffic(&store).rewritten.get(), 0);
    assert!(0 < traffic(&store).dropped.get());
    disk.set_room(1 << 30);
    pass_time(&mut store, &mut clock, LONG);
    assert!(0 < traffic(&store).rewritten.get(), "with room it goes on");
}

/// Memory of a pass does not grow with what it rewrites: the largest read and write is a batch.
#[test]
fn a_pass_moves_little_at_a_time() {
    let (disk, mut store, mut clock) = interleaved(6, 80, 3000);
    pass_time(&mut store, &mut clock, Duration::from_secs(299));
    let mut most = 0;
    while clock < LONG {
        let (read, written) = disk.traffic();
        if !store.give_back(clock) {
            clock += SECOND;
        }
        let (read_now, written_now) = disk.traffic();
        most = most.max(read_now - read + written_now - written);
    }
    assert!(0 < most && most <= 3 << 19, "{most} bytes in one turn");
}

#[derive(Debug, Clone)]
enum Act {
    Add { ledger: u64, entry: u64, size: usize },
    Fence(u64),
    Delete(u64),
    Seal,
}

fn act() -> impl Strategy<Value = Act> {
    let ledger = 0..6_u64;
    prop_oneof![
        60 => (ledger.clone(), 0..40_u64, 0..6000_usize)
            .prop_map(|(ledger, entry, size)| Act::Add { ledger, entry, size }),
        1 => ledger.clone().prop_map(Act::Fence),
        1 => ledger.prop_map(Act::Delete),
        2 => Just(Act::Seal),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever was added in whatever order: rewriting changes no answer, neither at once nor after a start.
    #[test]
    fn the_index_answers_the_same_before_and_after(acts in prop::collection::vec(act(), 1..200), seed in 0..1000_u64) {
        let disk = SimDisk::new();
        let mut store = open(&disk, 1).unwrap();
        for (life, act) in acts.into_iter().enumerate() {
            match act {
                Act::Add { ledger, entry, size } => _ = status(&mut store, recovery_add(1, ledger, entry, size)),
                Act::Fence(ledger) => _ = status(&mut store, fence(1, ledger)),
                Act::Delete(ledger) => _ = status(&mut store, delete(1, ledger)),
                Act::Seal => {
                    store.close();
                    disk.kill();
                    store = open(&disk, life as u64).unwrap();
                }
            }
        }
        let before = answers(&mut store, 0..7, 41);
        let mut clock = Duration::ZERO;
        pass_time(&mut store, &mut clock, LONG);
        prop_assert_eq!(&answers(&mut store, 0..7, 41), &before);
        drop(store);
        disk.lose_power(seed);
        let mut store = open(&disk, 5000).unwrap();
        prop_assert_eq!(&answers(&mut store, 0..7, 41), &before);
        pass_time(&mut store, &mut clock, LONG);
        prop_assert_eq!(&answers(&mut store, 0..7, 41), &before);
    }
}

#[test]
fn numbers_of_sorted_segments_tell_them_from_the_journals() {
    assert!(SegmentId::FIRST_SORTED.is_sorted() && !SegmentId::FIRST.is_sorted());
}
