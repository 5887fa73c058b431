//! What the exchange promises, request by request.
use super::*;

fn fresh() -> (SimDisk, Store) {
    let disk = SimDisk::new();
    let store = open(&disk, 1).unwrap();
    (disk, store)
}

#[test]
fn entries_are_read_as_they_were_added_with_gaps_and_bounds() {
    let (_disk, mut store) = fresh();
    store.step([0, 1, 2, 5, 6].map(|entry| add(entry, 9, entry, 300)).to_vec()).unwrap();
    let answer = ask(&mut store, read(7, 9, 0, 100));
    assert_eq!(answer.entries.iter().map(|entry| entry.entry).collect::<Vec<_>>(), [0, 1, 2], "a read ends at a gap");
    assert_eq!((answer.entries[2].length, answer.entries[2].confirmed), (30_000, 2));
    assert_eq!(ask(&mut store, read(8, 9, 5, 6)).entries.len(), 1);
    assert_eq!(status(&mut store, read(9, 9, 3, 100)), Status::NotHeld);
    assert_eq!(status(&mut store, read(9, 10, 0, 1)), Status::NotHeld);
    let bounded =
        Request { id: 1, ledger: 9, body: Some(Body::Read(Read { first: 0, end: 3, bytes_max: 0, fence: false })) };
    assert_eq!(ask(&mut store, bounded).entries.len(), 1, "at least one entry");
    let holding = ask(&mut store, held(9, 9)).holding.unwrap();
    assert_eq!((holding.entries, holding.end, holding.confirmed, holding.fenced), (5, 7, 6, false));
}

#[test]
fn requests_that_make_no_sense_are_invalid_and_harm_nobody() {
    let (_disk, mut store) = fresh();
    let wrong = |change: fn(&mut Add)| {
        let mut add = add_of(1, 0, payload(1, 0, 10));
        change(&mut add);
        Request { id: 1, ledger: 1, body: Some(Body::Add(add)) }
    };
    let large = |add: &mut Add| {
        add.payload = vec![0; crate::ENTRY_BYTES_MAX + 1].into();
    };
    let changes: [fn(&mut Add); 6] = [
        |add| add.digest ^= 1,
        |add| add.entry = u64::MAX,
        |add| add.entry += 1,
        |add| add.length = 9,
        |add| add.payload = Bytes::new(),
        large,
    ];
    for change in changes {
        assert_eq!(status(&mut store, wrong(change)), Status::Invalid);
    }
    assert_eq!(status(&mut store, Request { id: 1, ledger: 1, body: None }), Status::Invalid);
    for (first, end) in [(5, 5), (6, 5), (u64::MAX, 0)] {
        assert_eq!(status(&mut store, read(1, 1, first, end)), Status::Invalid);
        assert_eq!(status(&mut store, fencing_read(1, 1, first, end)), Status::Invalid);
    }
    assert_eq!(status(&mut store, read(1, 1, 0, u64::MAX)), Status::NotHeld);
    assert_eq!(status(&mut store, read(1, 1, u64::MAX - 1, u64::MAX)), Status::NotHeld);
    assert!(!ask(&mut store, held(1, 1)).holding.unwrap().fenced, "an invalid read fences nothing");
    assert_eq!(status(&mut store, add(1, u64::MAX, u64::MAX - 1, 0)), Status::Ok, "the last number there is");
    assert_eq!(ask(&mut store, read(1, u64::MAX, u64::MAX - 1, u64::MAX)).entries.len(), 1);
}

#[test]
fn an_entry_sent_again_is_held_once_and_another_under_its_number_is_invalid() {
    for sealed in [false, true] {
        let (disk, mut store) = fresh();
        store.step((0..50).map(|entry| add(entry, 1, entry, 3000)).collect()).unwrap();
        if sealed {
            store.close();
            disk.kill();
            store = open(&disk, 2).unwrap();
        }
        let (_, before) = disk.operations();
        assert_eq!(status(&mut store, add(1, 1, 7, 3000)), Status::Ok);
        assert_eq!(status(&mut store, recovery_add(1, 1, 49, 3000)), Status::Ok);
        assert_eq!(status(&mut store, add(1, 1, 7, 2999)), Status::Invalid);
        assert_eq!(disk.operations().1, before, "what is held was synced: nothing is written");
        assert_eq!(ask(&mut store, held(1, 1)).holding.unwrap().entries, 50);
    }
}

#[test]
fn an_entry_twice_in_one_batch_is_written_once() {
    let (_disk, mut store) = fresh();
    let answers = store.step(vec![add(1, 1, 0, 10), add(2, 1, 0, 10), add(3, 1, 0, 11), add(4, 1, 1, 10)]).unwrap();
    let outcomes: Vec<_> = answers.iter().map(|answer| (answer.id, answer.run, answer.status())).collect();
    assert_eq!(outcomes, [(1, 2, Status::Ok), (3, 1, Status::Invalid), (4, 1, Status::Ok)]);
    assert_eq!(ask(&mut store, held(1, 1)).holding.unwrap().entries, 2);
}

#[test]
fn a_fence_splits_one_batch_into_before_and_after() {
    let (disk, mut store) = fresh();
    let requests = vec![add(1, 1, 0, 10), add(2, 2, 0, 10), fence(3, 1), add(4, 1, 1, 10), recovery_add(5, 1, 2, 10)];
    let answers = store.step(requests).unwrap();
    let outcomes: Vec<_> = answers.iter().map(|answer| (answer.id, answer.status())).collect();
    let expected = [(1, Status::Ok), (2, Status::Ok), (3, Status::Ok), (4, Status::Fenced), (5, Status::Ok)];
    assert_eq!(outcomes, expected);
    let holding = answers[2].holding.unwrap();
    assert!(holding.fenced && 1 <= holding.entries, "adds before the fence are seen by its answer");
    disk.lose_power(1);
    let mut store = open(&disk, 2).unwrap();
    assert_eq!(status(&mut store, add(1, 1, 3, 10)), Status::Fenced);
    assert_eq!(status(&mut store, add(1, 2, 1, 10)), Status::Ok, "other ledgers go on");
}

#[test]
fn a_fencing_read_fences_first_even_where_nothing_is_held() {
    let (disk, mut store) = fresh();
    let answer = ask(&mut store, fencing_read(1, 5, 0, 1));
    assert!(answer.status() == Status::NotHeld && answer.holding.unwrap().fenced);
    disk.lose_power(3);
    let mut store = open(&disk, 2).unwrap();
    assert_eq!(status(&mut store, add(1, 5, 0, 10)), Status::Fenced);
}

#[test]
fn a_deleted_ledger_stays_deleted_through_segments_and_restarts() {
    let (disk, mut store) = fresh();
    store.step((0..60).map(|entry| add(entry, 1, entry, 3000)).collect()).unwrap();
    assert_eq!(status(&mut store, delete(1, 1)), Status::Ok);
    assert_eq!(status(&mut store, delete(1, 1)), Status::Ok, "again is no fault");
    for sealed in [false, true] {
        for request in [add(1, 1, 60, 10), recovery_add(1, 1, 61, 10), read(1, 1, 0, 5), fence(1, 1), held(1, 1)] {
            assert_eq!(status(&mut store, request), Status::Deleted);
        }
        while store.turn() {}
        if sealed {
            store.close();
        }
        disk.lose_power(4);
        store = open(&disk, 2).unwrap();
    }
    assert_eq!(status(&mut store, add(1, 1, 60, 10)), Status::Deleted);
}

#[test]
fn all_that_came_is_one_sync_and_a_lone_add_is_one_sync() {
    let (disk, mut store) = fresh();
    store.step(vec![add(0, 1, 0, 10)]).unwrap(); // Makes the first segment.
    let (_, before) = disk.operations();
    store.step((1..100).map(|entry| add(entry, 1 + entry % 7, entry, 100)).collect()).unwrap();
    assert_eq!(disk.operations().1, before + 1);
    store.step(vec![add(0, 1, 200, 10)]).unwrap();
    assert_eq!(disk.operations().1, before + 2);
    store.step(vec![read(0, 1, 0, 1), held(0, 1)]).unwrap();
    assert_eq!(disk.operations().1, before + 2, "who only looks waits for no sync");
}

#[test]
fn an_entry_larger_than_a_segment_is_kept() {
    let (disk, mut store) = fresh();
    for entry in 0..4 {
        assert_eq!(status(&mut store, add(1, 1, entry, 200_000)), Status::Ok);
        while store.turn() {}
    }
    disk.lose_power(1);
    let mut store = open(&disk, 2).unwrap();
    let found = ask(&mut store, read(1, 1, 0, 4));
    assert!(found.entries.iter().zip(0..).all(|(found, entry)| found.payload == payload(1, entry, 200_000)));
    assert_eq!(found.entries.len(), 4);
}

/// Goal: 2 GB of 1 KiB entries over 1000 ledgers stay far below 100 MiB in memory.
/// Method: a fortieth of it over as many ledgers, with segments as small in proportion, and what the index keeps is counted.
#[test]
fn the_index_of_a_backlog_is_small() {
    let disk = SimDisk::new();
    let mut store = open_sized(&disk, 1, 4 << 20).unwrap();
    for entry in 0..50 {
        store.step((0..1000).map(|ledger| add(ledger, ledger, entry, 1000)).collect()).unwrap();
        while store.turn() {}
    }
    let index = store.segments.index.read();
    let (ledgers, entries) = index.counts();
    assert_eq!((ledgers, entries), (1000, 50_000));
    let per_entry = index.retained_bytes() as f64 / entries as f64;
    assert!(per_entry < 20.0, "{per_entry} bytes per entry; two million of them may take 40 MB");
    drop(index);
    let found = ask(&mut store, read(1, 999, 0, 50));
    assert_eq!(found.entries.len(), 50, "sealed segments and the tail read as one");

    let windows = |store: &Store| store.segments.caches.misses.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(windows(&store), 0, "one ledger of a thousand costs its own blocks, not whole windows");
    for ledger in 0..200 {
        assert_eq!(ask(&mut store, read(1, ledger, 0, 1)).entries[0].payload, payload(ledger, 0, 1000));
    }
    assert!((1..=2).contains(&windows(&store)), "ledgers read in turn share windows: {}", windows(&store));
}
