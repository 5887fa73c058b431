//! Goal: whatever was answered survives every crash, and nothing else appears.
//! Method: random lives of a bookie on the model disk, each ended by a power loss or a kill at a random operation; then all that
//! was promised is asked for.
use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::seed::Seed;

const LEDGERS: u64 = 4;

/// What clients were told, and what they ever sent.
#[derive(Default)]
struct Clients {
    promised: BTreeMap<(u64, u64), usize>,
    sent: BTreeMap<(u64, u64), usize>,
    fenced: BTreeSet<u64>,
    fence_sent: BTreeSet<u64>,
    deleted: BTreeSet<u64>,
    delete_sent: BTreeSet<u64>,
    next: BTreeMap<u64, u64>,
}

impl Clients {
    fn request(&mut self, id: u64, seed: &mut Seed) -> Request {
        let ledger = seed.below(LEDGERS);
        match seed.below(40) {
            0 => {
                self.fence_sent.insert(ledger);
                fence(id, ledger)
            }
            1 => {
                self.fence_sent.insert(ledger);
                fencing_read(id, ledger, 0, 5)
            }
            2 if ledger == 0 => {
                self.delete_sent.insert(ledger);
                delete(id, ledger)
            }
            3 | 4 => read(id, ledger, 0, 10),
            choice => {
                let next = self.next.entry(ledger).or_default();
                let again = choice == 5 && 0 < *next;
                let entry = if again { seed.below(*next) } else { *next + seed.below(8) / 7 };
                *next = (*next).max(entry + 1);
                let size = *self.sent.entry((ledger, entry)).or_insert_with(|| sizes(seed));
                if choice < 8 { recovery_add(id, ledger, entry, size) } else { add(id, ledger, entry, size) }
            }
        }
    }

    fn hear(&mut self, requests: &[Request], answers: &[Answer]) {
        for answer in answers.iter().filter(|answer| answer.status() == Status::Ok) {
            for request in
                requests.iter().filter(|request| (answer.id..answer.id + u64::from(answer.run)).contains(&request.id))
            {
                match request.body.as_ref().unwrap() {
                    Body::Add(add) => drop(self.promised.insert((request.ledger, add.entry), add.payload.len())),
                    Body::Fence(_) => drop(self.fenced.insert(request.ledger)),
                    Body::Read(read) if read.fence => drop(self.fenced.insert(request.ledger)),
                    Body::Delete(_) => drop(self.deleted.insert(request.ledger)),
                    _ => {}
                }
            }
        }
        // A fencing read that finds nothing has fenced all the same.
        for answer in answers.iter().filter(|answer| answer.status() == Status::NotHeld && answer.holding.is_some()) {
            self.fenced.insert(answer.ledger);
        }
    }

    /// What is wrong with a bookie that has started again.
    fn fault(&self, store: &mut Store) -> Option<String> {
        for (&(ledger, entry), size) in &self.promised {
            if self.delete_sent.contains(&ledger) {
                continue;
            }
            let answer = ask(store, read(1, ledger, entry, entry + 1));
            let found = answer.entries.first().map(|entry| entry.payload.clone());
            if found != Some(payload(ledger, entry, *size)) {
                return Some(format!("entry {ledger}:{entry} of {size} bytes was promised and is lost: {answer:?}"));
            }
        }
        for ledger in 0..LEDGERS {
            if let Some(fault) = self.ledger_fault(store, ledger) {
                return Some(fault);
            }
        }
        None
    }

    fn ledger_fault(&self, store: &mut Store, ledger: u64) -> Option<String> {
        let answer = ask(store, held(1, ledger));
        if answer.status() == Status::Deleted {
            return (!self.delete_sent.contains(&ledger)).then(|| format!("nobody deleted {ledger}"));
        }
        let holding = answer.holding.unwrap();
        if self.deleted.contains(&ledger) {
            return Some(format!("the tombstone of {ledger} is lost"));
        }
        if self.fenced.contains(&ledger) && !holding.fenced {
            return Some(format!("the fence of {ledger} is lost"));
        }
        if holding.fenced && !self.fence_sent.contains(&ledger) {
            return Some(format!("nobody fenced {ledger}"));
        }
        let mut count = 0;
        for entry in 0..holding.end {
            let answer = ask(store, read(1, ledger, entry, entry + 1));
            match (answer.status(), self.sent.get(&(ledger, entry))) {
                (Status::NotHeld, _) => {}
                (Status::Ok, Some(size)) if answer.entries[0].payload == payload(ledger, entry, *size) => count += 1,
                _ => return Some(format!("entry {ledger}:{entry} is not what was sent: {answer:?}")),
            }
        }
        (count != holding.entries).then(|| format!("{count} entries of {ledger} are counted as {}", holding.entries))
    }
}

fn sizes(seed: &mut Seed) -> usize {
    let class = [0, 10, 300, 5000, 20_000][seed.below(5) as usize];
    class + seed.below(40) as usize
}

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
    let (disk, mut clients, mut id) = (SimDisk::new(), Clients::default(), 0);
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
