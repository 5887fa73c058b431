//! Segments in which nothing is wanted.
use super::*;

/// Three ledgers fill two segments each; the fences of 3 and 9 lie in the first.
fn filled() -> (SimDisk, Store, Duration) {
    let disk = SimDisk::new();
    let mut store = open(&disk, 1).unwrap();
    store.step(vec![fence(1, 3), fence(2, 9)]).unwrap();
    fill(&mut store, &[1], 0..30, 4000);
    fill(&mut store, &[2], 0..30, 4000);
    for entry in 0..30 {
        assert_eq!(status(&mut store, recovery_add(1, 3, entry, 4000)), Status::Ok);
        while store.turn() {}
    }
    (disk, store, Duration::ZERO)
}

#[test]
fn a_segment_is_dropped_with_its_last_ledger_and_marks_outlive_it() {
    let (disk, mut store, mut clock) = filled();
    let before = files(&disk, "segment-").len();
    pass_time(&mut store, &mut clock, 5 * SECOND);
    assert_eq!(files(&disk, "segment-").len(), before, "nothing is deleted");
    assert_eq!(status(&mut store, delete(1, 1)), Status::Ok);
    pass_time(&mut store, &mut clock, 5 * SECOND);
    assert!(!files(&disk, "segment-").contains(&"segment-00000000000000000001".into()), "only ledger 1 was there");
    assert!(0 < traffic(&store).dropped.get());
    for life in 2..5 {
        assert_eq!(status(&mut store, read(1, 1, 0, 1)), Status::Deleted);
        assert_eq!(status(&mut store, recovery_add(1, 1, 30, 10)), Status::Deleted, "a late add");
        assert_eq!(status(&mut store, add(1, 3, 30, 10)), Status::Fenced, "its fence lay in the dropped segment");
        assert_eq!(status(&mut store, add(1, 9, 0, 10)), Status::Fenced, "a ledger without entries may be fenced, too");
        for ledger in [2, 3] {
            let found = ask(&mut store, read(1, ledger, 0, 30));
            assert!(found.entries.iter().zip(0..).all(|(found, at)| found.payload == payload(ledger, at, 4000)));
            assert_eq!(found.entries.len(), 30);
        }
        drop(store);
        disk.lose_power(life);
        store = open(&disk, life).unwrap();
    }
}

#[test]
fn all_that_is_deleted_is_given_back_to_the_last_block() {
    let (disk, mut store, mut clock) = filled();
    for ledger in 1..=3 {
        assert_eq!(status(&mut store, delete(1, ledger)), Status::Ok);
    }
    store.close();
    disk.kill();
    let mut store = open(&disk, 2).unwrap();
    pass_time(&mut store, &mut clock, LONG);
    assert!(files(&disk, "segment-").is_empty() && files(&disk, "sorted-").is_empty(), "{:?}", disk.list());
    assert!(!files(&disk, "spare-").is_empty() && files(&disk, "spare-").len() <= 8);
    for life in 3..6 {
        drop(store);
        disk.lose_power(life);
        store = open(&disk, life).unwrap();
        assert_eq!(status(&mut store, add(1, 1, 40, 10)), Status::Deleted);
        assert_eq!(status(&mut store, add(1, 9, 0, 10)), Status::Fenced);
        assert_eq!(status(&mut store, add(1, 4, life, 10)), Status::Ok, "and it goes on");
    }
}

#[test]
fn numbers_of_the_journals_segments_are_never_given_twice() {
    let (disk, mut store, mut clock) = filled();
    (1..=3).for_each(|ledger| assert_eq!(status(&mut store, delete(1, ledger)), Status::Ok));
    let next = store.segments.index.read().next_segment().file_name();
    store.close();
    disk.kill();
    let mut store = open(&disk, 2).unwrap();
    pass_time(&mut store, &mut clock, LONG);
    drop(store);
    disk.kill();
    let mut store = open(&disk, 3).unwrap();
    fill(&mut store, &[5], 0..1, 100);
    let first = files(&disk, "segment-").remove(0);
    assert!(next <= first, "{first} does not come before {next}");
}

/// A pass that finds nothing left to copy frees its segments all the same.
#[test]
fn a_ledger_deleted_while_it_is_rewritten_stays_deleted() {
    for turns in 0..60 {
        let (disk, mut store, mut clock) = filled();
        pass_time(&mut store, &mut clock, Duration::from_secs(299));
        let mut worked = 0;
        while worked < turns && clock < LONG {
            if store.give_back(clock) { worked += 1 } else { clock += SECOND }
        }
        for ledger in 1..=3 {
            assert_eq!(status(&mut store, delete(1, ledger)), Status::Ok);
        }
        pass_time(&mut store, &mut clock, LONG);
        drop(store);
        disk.lose_power(turns);
        let mut store = open(&disk, 2).unwrap();
        assert!((1..=3).all(|ledger| status(&mut store, read(1, ledger, 0, 1)) == Status::Deleted), "{turns} turns");
        pass_time(&mut store, &mut clock, LONG);
        assert!(files(&disk, "sorted-").is_empty(), "{turns} turns: {:?}", disk.list());
    }
}

/// Permission is a tombstone and nothing else: what was never deleted here is kept, wanted or not.
#[test]
fn without_a_tombstone_nothing_is_freed() {
    let (disk, mut store, mut clock) = filled();
    for hours in 0..3 {
        pass_time(&mut store, &mut clock, Duration::from_secs(3600));
        for ledger in 1..=3 {
            assert_eq!(ask(&mut store, read(1, ledger, 0, 30)).entries.len(), 30, "after {hours} hours");
        }
    }
    assert_eq!(traffic(&store).dropped.get(), 0);
    drop(store);
    disk.lose_power(1);
    assert_eq!(ask(&mut open(&disk, 2).unwrap(), read(1, 1, 0, 30)).entries.len(), 30);
}
