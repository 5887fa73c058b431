//! Goal: a full disk loses nothing, keeps what frees it going, and is left without anybody's help.
//! Method: a model disk whose room ends, by the bookie's own bytes or by somebody else's.
use super::space::{files, pass_time};
use super::*;
use crate::seed::Seed;
use crate::store::Store;
use std::time::Duration;

const MIB: u64 = 1 << 20;
const SECOND: Duration = Duration::from_secs(1);
/// Of what is kept free, 8 MiB are for other things.
const SEGMENT: u64 = 256 << 10;
const ENTRY: usize = 16 << 10;

fn open_with(disk: &SimDisk, seed: u64, reserve_bytes: u64) -> Result<Store, OpenError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    if Identity::claim(disk.as_ref())?.is_none() {
        identity().store(disk.as_ref())?;
    }
    Store::open(disk, &identity(), Options { seed, segment_bytes: SEGMENT, reserve_bytes, ..options() })
}

fn urgent_add(id: u64, ledger: u64, entry: u64, size: usize) -> Request {
    let add = Add { urgent: true, ..add_of(ledger, entry, payload(ledger, entry, size)) };
    Request { id, ledger, body: Some(Body::Add(add)) }
}

/// Adds to the ledgers in turn until one is refused, and says how many entries each has.
fn fill_up(store: &mut Store, ledgers: std::ops::Range<u64>, clock: &mut Duration) -> u64 {
    for entry in 0..10_000 {
        for ledger in ledgers.clone() {
            match status(store, add(1, ledger, entry, ENTRY)) {
                Status::Ok => {}
                Status::ReadOnly => return entry,
                other => panic!("{other:?}"),
            }
            while store.turn() {}
        }
        if entry % 16 == 15 {
            pass_time(store, clock, SECOND);
        }
    }
    panic!("the disk never becomes full");
}

fn holds(store: &mut Store, ledger: u64, entries: u64) {
    for entry in 0..entries {
        let found = ask(store, read(1, ledger, entry, entry + 1));
        let whole = found.entries.first().is_some_and(|found| found.payload == payload(ledger, entry, ENTRY));
        assert!(whole, "entry {entry} of ledger {ledger}: {found:?}");
    }
}

/// A disk of 64 MiB, full up to the mark.
fn full() -> (SimDisk, Store, Duration, u64) {
    let (disk, mut clock) = (SimDisk::new(), Duration::ZERO);
    disk.set_size(64 * MIB);
    let mut store = open_with(&disk, 1, 4 * MIB).unwrap();
    pass_time(&mut store, &mut clock, 9 * SECOND);
    let entries = fill_up(&mut store, 1..5, &mut clock);
    (disk, store, clock, entries)
}

#[test]
fn beyond_the_mark_entries_are_refused_and_everything_else_goes_on() {
    let (disk, mut store, ..) = full();
    assert!(100 < fill_entries(&mut store), "it took what fits first");
    assert!(disk.room().unwrap().free < 8 * MIB + MIB, "a segment and 8 MiB are kept");
    assert_eq!(status(&mut store, recovery_add(1, 9, 0, ENTRY)), Status::ReadOnly, "a repair's copy");
    assert_eq!(status(&mut store, add(1, 1, 3, ENTRY)), Status::Ok, "it is held: nothing is written");
    assert_eq!(status(&mut store, fence(1, 2)), Status::Ok);
    assert_eq!(status(&mut store, add(1, 2, 5000, ENTRY)), Status::Fenced, "who is fenced is told so");
    assert_eq!(status(&mut store, delete(1, 3)), Status::Ok);
    assert_eq!(status(&mut store, add(1, 3, 5000, ENTRY)), Status::Deleted);
    assert_eq!(ask(&mut store, fencing_read(1, 4, 0, 1)).status(), Status::Ok);
}

fn fill_entries(store: &mut Store) -> u64 {
    ask(store, held(1, 1)).holding.unwrap().entries
}

#[test]
fn what_is_urgent_is_taken_from_what_is_kept_and_not_to_the_last_byte() {
    let (disk, mut store, mut clock, _) = full();
    disk.fill(2 * MIB + 300 * 1024);
    pass_time(&mut store, &mut clock, 2 * SECOND);
    let mut taken = 0;
    for entry in 0..1000 {
        match status(&mut store, urgent_add(1, 7, entry, ENTRY)) {
            Status::Ok => taken += 1,
            Status::ReadOnly => break,
            other => panic!("{other:?}"),
        }
        pass_time(&mut store, &mut clock, SECOND);
    }
    assert!(0 < taken && taken < 40, "{taken}");
    holds(&mut store, 7, taken);
}

#[test]
fn deleting_makes_it_writable_again_by_itself() {
    let (disk, mut store, mut clock, entries) = full();
    for ledger in [1, 2, 3] {
        assert_eq!(status(&mut store, delete(1, ledger)), Status::Ok);
    }
    pass_time(&mut store, &mut clock, 120 * SECOND);
    assert!(11 * MIB < disk.room().unwrap().free, "{:?}: what lay among each other was rewritten", disk.room());
    assert_eq!(status(&mut store, add(1, 8, 0, ENTRY)), Status::Ok);
    holds(&mut store, 4, entries);
    drop(store);
    disk.lose_power(1);
    let mut store = open_with(&disk, 2, 4 * MIB).unwrap();
    holds(&mut store, 4, entries);
    assert_eq!(status(&mut store, read(1, 1, 0, 1)), Status::Deleted);
}

/// Spares are room that nobody needs yet: they go before anything is refused.
#[test]
fn files_kept_to_be_used_again_are_given_back_first() {
    let (disk, mut store, mut clock, _) = full();
    (1..5).for_each(|ledger| assert_eq!(status(&mut store, delete(1, ledger)), Status::Ok));
    pass_time(&mut store, &mut clock, 60 * SECOND);
    fill_up(&mut store, 11..13, &mut clock);
    (11..13).for_each(|ledger| assert_eq!(status(&mut store, delete(1, ledger)), Status::Ok));
    pass_time(&mut store, &mut clock, 60 * SECOND);
    super::space::fill(&mut store, &[20], 0..60, ENTRY);
    assert_eq!(status(&mut store, delete(1, 20)), Status::Ok);
    pass_time(&mut store, &mut clock, 60 * SECOND);
    assert!(!files(&disk, "spare-").is_empty(), "there is plenty of room");
    disk.fill(MIB);
    pass_time(&mut store, &mut clock, 2 * SECOND);
    assert!(files(&disk, "spare-").is_empty());
}

/// A bookie whose disk others fill, and what it has promised.
struct Victim {
    seed: Seed,
    disk: SimDisk,
    store: Store,
    clock: Duration,
    id: u64,
    /// Entries, and ledgers that take none any more.
    kept: Vec<(u64, u64)>,
    marked: Vec<u64>,
}

impl Victim {
    fn new(number: u64) -> Self {
        let (disk, mut clock) = (SimDisk::new(), Duration::ZERO);
        disk.set_size(4096 * MIB);
        let mut store = open_with(&disk, 1, 4 * MIB).unwrap();
        pass_time(&mut store, &mut clock, 9 * SECOND);
        Self { seed: Seed::new(number), disk, store, clock, id: 0, kept: Vec::new(), marked: Vec::new() }
    }

    /// Three adds and a fence or a tombstone in one batch. Whether something was refused.
    fn step(&mut self, ledger: u64, round: u64) -> bool {
        let first = self.id;
        self.id += 4;
        let mut requests: Vec<_> = (0..3).map(|of| add(first + of, ledger, 3 * round + of, ENTRY)).collect();
        requests.push(if round.is_multiple_of(2) { fence(first + 3, round) } else { delete(first + 3, round) });
        let mut refused = false;
        for answer in self.store.step(requests).expect("a full disk does not end it") {
            let is_mark = answer.id == first + 3;
            match answer.status() {
                Status::Ok if is_mark => self.marked.push(answer.ledger),
                Status::Ok => {
                    let from = 3 * round + answer.id - first;
                    self.kept.extend((from..from + u64::from(answer.run)).map(|entry| (answer.ledger, entry)));
                }
                Status::ReadOnly => {
                    assert!(!is_mark, "marks go into the reserve");
                    refused = true;
                }
                other => panic!("{other:?}"),
            }
        }
        if self.seed.below(2) == 0 {
            while self.store.turn() {}
        }
        refused
    }

    fn may_die(&mut self) {
        if self.seed.below(2) == 0 {
            return;
        }
        if self.seed.below(2) == 0 {
            self.disk.kill()
        } else {
            self.disk.lose_power(self.seed.next())
        }
        self.store = open_with(&self.disk, self.seed.next(), 4 * MIB).expect("it starts on a full disk");
        self.clock = Duration::ZERO;
    }

    fn keeps_its_promises(self, number: u64) {
        self.disk.lose_power(number);
        let mut store = open_with(&self.disk, 99, 4 * MIB).unwrap();
        for (ledger, entry) in self.kept {
            let found = ask(&mut store, read(1, ledger, entry, entry + 1));
            let whole = found.entries.first().is_some_and(|found| found.payload == payload(ledger, entry, ENTRY));
            assert!(whole, "seed {number}: entry {entry} of ledger {ledger}: {found:?}");
        }
        for ledger in self.marked {
            let refused = status(&mut store, add(1, ledger, 0, 10));
            assert!(matches!(refused, Status::Fenced | Status::Deleted), "seed {number}: {refused:?}");
        }
    }
}

/// Somebody else fills the disk to the last block, at any moment of a bookie's life.
#[test]
fn a_write_without_room_loses_nothing_and_is_followed_by_others() {
    for number in 0..60 {
        let mut victim = Victim::new(number);
        for ledger in 100..103 {
            let left = victim.seed.below(300 << 10) / 4096 * 4096;
            victim.disk.fill(left);
            let refused = (0..40).filter(|round| victim.step(ledger, *round)).count();
            assert!(0 < refused, "seed {number}");
            victim.may_die();
            victim.disk.fill(u64::MAX);
            pass_time(&mut victim.store, &mut victim.clock, 30 * SECOND);
            let goes_on = status(&mut victim.store, add(1, 200, ledger, ENTRY));
            assert_eq!(goes_on, Status::Ok, "seed {number}: by itself");
        }
        victim.keeps_its_promises(number);
    }
}

/// A segment that is mostly dead can be rewritten though not a block is free.
#[test]
fn rewriting_gets_the_reserve_when_there_is_nothing_else() {
    let (disk, mut store, mut clock, entries) = full();
    disk.fill(0);
    (1..4).for_each(|ledger| assert_eq!(status(&mut store, delete(1, ledger)), Status::Ok));
    pass_time(&mut store, &mut clock, 60 * SECOND);
    assert!(11 * MIB < disk.room().unwrap().free, "{:?}", disk.room());
    holds(&mut store, 4, entries);
}

/// The same without a reserve: then fences and tombstones may be refused too, and nothing is done by halves.
#[test]
fn without_a_reserve_a_mark_is_kept_or_refused() {
    let disk = SimDisk::new();
    disk.set_size(4096 * MIB);
    let mut store = open_with(&disk, 1, 0).unwrap();
    assert_eq!(status(&mut store, add(1, 1, 0, ENTRY)), Status::Ok);
    disk.fill(0);
    let answers = store.step(vec![add(1, 1, 1, ENTRY), fence(2, 1), add(3, 1, 2, ENTRY), delete(4, 2)]).unwrap();
    assert!(answers.iter().all(|answer| answer.status() == Status::ReadOnly), "{answers:?}");
    assert!(!ask(&mut store, held(1, 1)).holding.unwrap().fenced);
    disk.fill(u64::MAX);
    assert_eq!(status(&mut store, fence(2, 1)), Status::Ok);
    assert_eq!(status(&mut store, add(1, 1, 1, ENTRY)), Status::Fenced);
}

/// What a start must append again goes into the reserve, however often it is killed.
#[test]
fn it_starts_on_a_full_disk_as_often_as_it_is_killed() {
    let disk = SimDisk::new();
    disk.set_size(4096 * MIB);
    let (mut store, mut clock) = (open_with(&disk, 1, 4 * MIB).unwrap(), Duration::ZERO);
    pass_time(&mut store, &mut clock, 9 * SECOND);
    store.step((0..20).map(|entry| add(entry, 1, entry, ENTRY)).collect()).unwrap();
    disk.fill(0);
    for life in 2..8 {
        drop(store);
        disk.kill();
        store = open_with(&disk, life, 4 * MIB).unwrap();
        holds(&mut store, 1, 20);
        assert_eq!(status(&mut store, add(1, 1, 20, ENTRY)), Status::ReadOnly);
    }
    assert_eq!(status(&mut store, delete(1, 1)), Status::Ok);
    let mut clock = Duration::ZERO;
    pass_time(&mut store, &mut clock, 60 * SECOND);
    assert!(0 < disk.room().unwrap().free, "its own segments are given back");
}

#[test]
fn the_reserve_is_made_again_once_there_is_room() {
    let disk = SimDisk::new();
    disk.set_size(256 * MIB);
    let (mut store, mut clock) = (open_with(&disk, 1, 2 * MIB).unwrap(), Duration::ZERO);
    pass_time(&mut store, &mut clock, 9 * SECOND);
    assert_eq!(store.segments.reserve.length(), 2 * MIB);
    disk.fill(0);
    for ledger in 0..40 {
        assert_eq!(status(&mut store, delete(1, ledger)), Status::Ok);
    }
    assert_eq!(store.segments.reserve.length(), 0);
    disk.fill(u64::MAX);
    pass_time(&mut store, &mut clock, 90 * SECOND);
    assert_eq!(store.segments.reserve.length(), 2 * MIB);
}
