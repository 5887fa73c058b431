//! Goal: power may go at each single operation of dropping, rewriting and using again.
//! Method: one life in which all of that happens, cut off after each number of operations, with what was not synced lost or torn in
//! several ways; then a second life that is cut off as well; then everything is asked for, and done to its end.
use super::*;
use crate::seed::Seed;

/// Ledgers 1 and 2 fill two segments that will be dead, with the fences of 5 and 9 among them; 3 to 6 lie mixed in the others,
/// 3 and 4 will be deleted, so that some of these are mostly dead.
fn prepared() -> SimDisk {
    let disk = SimDisk::new();
    let mut store = open(&disk, 1).unwrap();
    store.step(vec![fence(1, 5), fence(2, 9)]).unwrap();
    fill(&mut store, &[1, 2], 0..16, 3900);
    for entry in 0..16 {
        let mut requests: Vec<_> = [3, 4, 6].map(|ledger| add(ledger, ledger, entry, 3900)).into();
        requests.push(recovery_add(1, 5, entry, 3900));
        store.step(requests).unwrap();
        while store.turn() {}
    }
    fill(&mut store, &[6], 16..40, 3900);
    store.close();
    disk.kill();
    disk
}

/// What of the second part of the story was answered.
#[derive(Debug, Default)]
struct Promised {
    deleted: Vec<u64>,
    added: u64,
}

/// Some are deleted and dropped, more is added into what became free, others are deleted, and time passes, until the power goes.
fn story(disk: &SimDisk, seed: u64, promised: &mut Promised) -> Option<()> {
    let mut store = open(disk, seed).ok()?;
    let mut clock = Duration::ZERO;
    let mut tell = |store: &mut Store, request: Request| {
        let answers = store.step(vec![request.clone()]).ok()?;
        assert_eq!(answers[0].status(), Status::Ok);
        match request.body {
            Some(Body::Delete(_)) => promised.deleted.push(request.ledger),
            Some(Body::Add(add)) => promised.added = promised.added.max(add.entry + 1),
            _ => {}
        }
        Some(())
    };
    for ledger in 1..=2 {
        tell(&mut store, delete(1, ledger))?;
    }
    pass_time(&mut store, &mut clock, 3 * SECOND);
    for entry in 0..30 {
        tell(&mut store, add(1, 7, entry, 3900))?;
        while store.turn() {}
    }
    for ledger in 3..=4 {
        tell(&mut store, delete(1, ledger))?;
    }
    pass_time(&mut store, &mut clock, LONG);
    Some(())
}

fn check(store: &mut Store, promised: &Promised, case: &str) {
    for (ledger, entries) in [(5, 16), (6, 40), (7, promised.added)] {
        for entry in 0..entries {
            let found = ask(store, read(1, ledger, entry, entry + 1));
            assert_eq!(found.status(), Status::Ok, "{case}: entry {ledger}:{entry}: {}", found.reason);
            assert_eq!(found.entries[0].payload, payload(ledger, entry, 3900), "{case}: entry {ledger}:{entry}");
        }
    }
    for ledger in &promised.deleted {
        assert_eq!(status(store, read(1, *ledger, 0, 1)), Status::Deleted, "{case}: ledger {ledger} is back");
        assert_eq!(status(store, recovery_add(1, *ledger, 99, 1)), Status::Deleted, "{case}: a late add to {ledger}");
    }
    for ledger in [5, 9] {
        assert_eq!(status(store, add(1, ledger, 99, 1)), Status::Fenced, "{case}: the fence of {ledger} is lost");
    }
    for ledger in 1..=4 {
        for entry in 0..16 {
            let found = ask(store, read(1, ledger, entry, entry + 1));
            let whole = found.entries.first().is_some_and(|found| found.payload == payload(ledger, entry, 3900));
            assert!(found.status() == Status::Deleted || whole, "{case}: entry {ledger}:{entry}: {found:?}");
        }
    }
}

#[test]
fn power_may_go_at_each_operation() {
    let prepared = prepared();
    let disk = prepared.fork();
    let (before, _) = disk.operations();
    let mut promised = Promised::default();
    assert_eq!(story(&disk, 2, &mut promised), Some(()));
    let total = disk.operations().0 - before;
    let sorted = files(&disk, "sorted-").len();
    assert!(2 <= sorted && 100 < total, "{total} operations, {sorted} sorted segments");
    disk.lose_power(1);
    check(&mut open(&disk, 3).unwrap(), &promised, "the whole story");

    let mut seed = Seed::new(5);
    for operations in 0..=total {
        for losing in 0..3 {
            let case = format!("{operations} operations, way {losing}");
            let (disk, mut promised) = (prepared.fork(), Promised::default());
            disk.fail_after(operations);
            story(&disk, 2, &mut promised);
            disk.lose_power(seed.next());
            // What a crash left is put away by the next start, which may crash as well.
            disk.fail_after(seed.below(60));
            story(&disk, 3, &mut promised);
            disk.lose_power(seed.next());
            let mut store = open(&disk, 4).unwrap_or_else(|error| panic!("{case}: it does not start: {error}"));
            check(&mut store, &promised, &case);
            pass_time(&mut store, &mut Duration::ZERO.clone(), LONG);
            check(&mut store, &promised, &case);
            drop(store);
            disk.lose_power(seed.next());
            let mut store = open(&disk, 5).unwrap_or_else(|error| panic!("{case}: it does not start: {error}"));
            check(&mut store, &promised, &case);
        }
    }
}
