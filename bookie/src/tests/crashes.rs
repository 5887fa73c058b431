//! Goal: whatever was answered survives every crash, and nothing else appears.
//! Method: random lives of a bookie on the model disk, each ended by a power loss or a kill at a random operation; then all that
//! was promised is asked for.
use super::clients::Clients;
use super::*;
use crate::seed::Seed;

/// Lives until the disk fails or `steps` are done.
fn live(disk: &SimDisk, clients: &mut Clients, seed: &mut Seed, steps: u64, id: &mut u64) -> Result<(), OpenError> {
    let mut store = open(disk, seed.next())?;
    for _ in 0..steps {
        let count = 1 + seed.below(8);
        let requests: Vec<_> = (*id..*id + count).map(|id| clients.request(id, seed)).collect();
        *id += count;
        let Ok(answers) = store.step(requests.clone()) else { return Ok(()) };
        clients.hear(&requests, &answers);
        while seed.below(3) != 0 && store.turn() {}
    }
    if seed.below(4) == 0 {
        store.close();
    }
    Ok(())
}

fn run(number: u64, lazy: bool) -> Option<String> {
    let mut seed = Seed::new(number);
    let (disk, mut clients, mut id) = (SimDisk::new(), Clients::new(0..4, |ledger| ledger == 0), 0);
    for _ in 0..1 + seed.below(5) {
        if lazy {
            disk.sync_nothing();
        }
        disk.fail_after(seed.below(150));
        match live(&disk, &mut clients, &mut seed, 30, &mut id) {
            // The power went while it started.
            Ok(()) | Err(OpenError::Disk { .. }) => {}
            Err(error) => return Some(format!("it does not start: {error}")),
        }
        if seed.below(4) == 0 { disk.kill() } else { disk.lose_power(seed.next()) }
    }
    let mut store = match open(&disk, seed.next()) {
        Ok(store) => store,
        Err(error) => return Some(format!("it does not start: {error}")),
    };
    let fault = clients.fault(&mut store);
    while store.turn() {}
    fault.or_else(|| clients.fault(&mut store).map(|fault| format!("after sealing: {fault}")))
}

#[test]
fn what_was_answered_survives_crashes_at_any_operation() {
    for number in 0..600 {
        assert_eq!(run(number, false), None, "seed {number}");
    }
}

#[test]
fn a_bookie_that_answers_before_the_sync_is_found_out() {
    let lost = (0..100).filter(|number| run(*number, true).is_some()).count();
    assert!(50 < lost, "only {lost} of 100 runs lost something");
}

#[test]
fn a_first_start_may_lose_power_at_each_operation() {
    for operations in 0..40 {
        for number in 0..5 {
            let disk = SimDisk::new();
            disk.fail_after(operations);
            let mut promised = false;
            if let Ok(mut store) = open(&disk, 1) {
                promised = store.step(vec![add(1, 1, 0, 100)]).is_ok();
            }
            disk.lose_power(number);
            let mut store = open(&disk, 2).unwrap();
            let found = status(&mut store, read(1, 1, 0, 1));
            assert!(found == Status::Ok || !promised, "{operations} operations: {found:?}");
        }
    }
}

/// A trailer that is durable before the index it vouches for would turn entries that are held into Unknown for good.
#[test]
fn sealing_may_lose_power_at_each_operation() {
    for operations in 0..8 {
        for number in 0..100 {
            let disk = SimDisk::new();
            let mut store = open(&disk, 1).unwrap();
            store.step((0..200).map(|entry| add(entry, 1 + entry % 2, entry / 2, 20)).collect()).unwrap();
            disk.fail_after(operations);
            store.close();
            disk.lose_power(number);
            let mut store = open(&disk, 2).unwrap();
            for ledger in [1, 2] {
                let found = ask(&mut store, read(1, ledger, 0, 100));
                assert_eq!(found.entries.len(), 100, "{operations} operations, seed {number}: {}", found.reason);
            }
        }
    }
}
