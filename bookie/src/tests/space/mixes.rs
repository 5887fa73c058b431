//! Goal: whatever was answered survives every crash, while segments are dropped, rewritten and used again.
//! Method: random lives as in `crashes`, with many ledgers, most of which are deleted at some time, and with turns of all kinds.
use super::super::clients::Clients;
use super::*;
use crate::seed::Seed;

#[derive(Debug, Default)]
struct Seen {
    dropped: u64,
    rewritten: u64,
    recycled: u64,
}

fn live(
    disk: &SimDisk,
    clients: &mut Clients,
    seed: &mut Seed,
    id: &mut u64,
    seen: &mut Seen,
) -> Result<(), OpenError> {
    let mut store = open(disk, seed.next())?;
    let mut clock = Duration::ZERO;
    for _ in 0..60 {
        let count = 1 + seed.below(8);
        let requests: Vec<_> = (*id..*id + count).map(|id| clients.request(id, seed)).collect();
        *id += count;
        let Ok(answers) = store.step(requests.clone()) else { break };
        clients.hear(&requests, &answers);
        if seed.below(8) == 0 {
            // Ledgers come and go.
            clients.active.end += 1;
            clients.active.start = clients.active.end.saturating_sub(8);
        }
        clock += Duration::from_secs([0, 1, 30, 400][seed.below(4) as usize]);
        while seed.below(10) != 0 && (store.turn() || store.give_back(clock)) {}
    }
    let traffic = traffic(&store);
    seen.dropped += traffic.dropped.get();
    seen.rewritten += traffic.rewritten.get();
    seen.recycled += traffic.recycled.get();
    if seed.below(4) == 0 {
        store.close();
    }
    Ok(())
}

fn run(number: u64, seen: &mut Seen) -> Option<String> {
    let mut seed = Seed::new(number);
    let (disk, mut clients, mut id) = (SimDisk::new(), Clients::new(0..6, |ledger| ledger % 3 != 0), 0);
    for _ in 0..1 + seed.below(6) {
        disk.fail_after(seed.below(1500));
        match live(&disk, &mut clients, &mut seed, &mut id, seen) {
            Ok(()) | Err(OpenError::Disk { .. }) => {}
            Err(error) => return Some(format!("it does not start: {error}")),
        }
        if seed.below(4) == 0 { disk.kill() } else { disk.lose_power(seed.next()) }
    }
    let mut clock = Duration::ZERO;
    for life in ["at the start", "after a second"] {
        let mut store = match open(&disk, seed.next()) {
            Ok(store) => store,
            Err(error) => return Some(format!("it does not start {life}: {error}")),
        };
        if let Some(fault) = clients.fault(&mut store) {
            return Some(format!("{life}: {fault}"));
        }
        pass_time(&mut store, &mut clock, LONG);
        if let Some(fault) = clients.fault(&mut store) {
            return Some(format!("{life}, with all given back: {fault}"));
        }
        drop(store);
        disk.lose_power(seed.next());
    }
    None
}

#[test]
fn what_was_answered_survives_crashes_while_space_is_given_back() {
    let mut seen = Seen::default();
    for number in 0..400 {
        assert_eq!(run(number, &mut seen), None, "seed {number}");
    }
    // Else nothing was shown.
    assert!(500 < seen.dropped && 500 < seen.rewritten && 100 < seen.recycled, "{seen:?}");
}
