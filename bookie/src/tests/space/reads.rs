//! What reading costs.
use super::*;

const LEDGERS: u64 = 20;
const ENTRIES: u64 = 512;
const SIZE: usize = 1000;

/// Ledgers of half a MiB each, lying among each other.
fn interleaved() -> (SimDisk, Store) {
    let disk = SimDisk::new();
    let mut store = open_sized(&disk, 1, 4 << 20).unwrap();
    for entry in 0..ENTRIES {
        store.step((1..=LEDGERS).map(|ledger| add(ledger, ledger, entry, SIZE)).collect()).unwrap();
        while store.turn() {}
    }
    store.keeper.seal_all();
    (disk, store)
}

/// Reads on from `first`, as a broker does, and says how many entries came.
fn read_on(store: &mut Store, ledger: u64, first: u64, bytes_max: u32) -> u64 {
    let read = Read { first, end: ENTRIES, bytes_max, fence: false };
    let found = ask(store, Request { id: 1, ledger, body: Some(Body::Read(read)) });
    assert!(found.entries.iter().zip(first..).all(|(found, entry)| found.payload == payload(ledger, entry, SIZE)));
    found.entries.len() as u64
}

/// Bytes read from the disk for each byte of payload.
fn cost(disk: &SimDisk, ledgers: u64, read: impl FnOnce()) -> f64 {
    let (before, _) = disk.traffic();
    read();
    (disk.traffic().0 - before) as f64 / (ledgers * ENTRIES * SIZE as u64) as f64
}

fn one_ledger(disk: &SimDisk, store: &mut Store, ledger: u64, bytes_max: u32) -> f64 {
    cost(disk, 1, || {
        let mut next = 0;
        while next < ENTRIES {
            next += read_on(store, ledger, next, bytes_max);
        }
    })
}

fn in_turn(disk: &SimDisk, store: &mut Store, bytes_max: u32) -> f64 {
    cost(disk, LEDGERS, || {
        let mut next = [0; LEDGERS as usize];
        while next.iter().any(|next| *next < ENTRIES) {
            for (ledger, next) in (1..).zip(&mut next).filter(|(_, next)| **next < ENTRIES) {
                *next += read_on(store, ledger, *next, bytes_max);
            }
        }
    })
}

#[test]
fn reading_one_ledger_among_many_costs_little_more_than_its_bytes() {
    let (disk, mut store) = interleaved();
    let unsorted = one_ledger(&disk, &mut store, 7, 1 << 20);
    assert!(4.0 < unsorted, "{unsorted} while all lie among each other");
    pass_time(&mut store, &mut Duration::ZERO.clone(), LONG);
    for (ledger, bytes_max) in [(3, 10_000), (5, 64 << 10), (7, 256 << 10), (11, 1 << 20)] {
        let cost = one_ledger(&disk, &mut store, ledger, bytes_max);
        assert!(cost < 1.2, "{cost} in reads of {bytes_max}");
    }
}

/// The cache holds four windows, far fewer than there are readers.
#[test]
fn readers_in_turn_do_not_cost_more_once_they_read_on() {
    let (disk, mut store) = interleaved();
    pass_time(&mut store, &mut Duration::ZERO.clone(), LONG);
    let cost = in_turn(&disk, &mut store, 1 << 20);
    assert!(cost < 1.2, "{cost}");
    let cost = in_turn(&disk, &mut store, 256 << 10);
    assert!(cost < 2.0, "{cost}");
}
