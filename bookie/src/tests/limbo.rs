//! Starts with something lost: what each cause leaves readable, what is never denied, and how it ends.
use metadata::{Expect, MemoryStore, MetadataStore, Operation, Transaction};
use prost::Message;
use proto::keys;
use proto::records::{BookieRecord, ClusterRecord, Fragment, LedgerRecord, LedgerState};

use super::space::{files, pass_time};
use super::*;
use crate::Damaged;
use crate::disk::BLOCK;
use crate::format::SegmentId;

const SIZE: usize = 3000;
/// Entries of each ledger.
const ENTRIES: u64 = 20;
/// Closed, open, and closed with all of it in the last segment.
const CLOSED: u64 = 1;
const OPEN: u64 = 2;
const LATE: u64 = 3;
const DELETED: u64 = 4;
const QUIET: u64 = 5;

fn waits<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn put(metadata: &MemoryStore, key: impl Into<metadata::Key>, value: Vec<u8>) {
    waits(metadata.commit(Transaction::new(vec![Operation::put(key, value, Expect::Any)]))).unwrap();
}

fn record(metadata: &MemoryStore, ledger: u64) -> LedgerRecord {
    let found = waits(metadata.get(&keys::ledger(LedgerId(ledger)).into())).unwrap().unwrap();
    LedgerRecord::decode(found.value).unwrap()
}

fn put_record(metadata: &MemoryStore, ledger: u64, state: LedgerState) {
    let bookies = ["bookie-0", "bookie-1", "bookie-2"].map(String::from).to_vec();
    let fragments = vec![Fragment { bookies, ..Fragment::default() }];
    let quorums = LedgerRecord { ensemble_size: 3, write_quorum: 3, ack_quorum: 2, ..LedgerRecord::default() };
    let mut record = LedgerRecord { ledger, fragments, end: ENTRIES, ..quorums };
    record.set_state(state);
    put(metadata, keys::ledger(LedgerId(ledger)), record.encode_to_vec());
}

/// A bookie that was killed, and the metadata it was known in.
fn scene() -> (SimDisk, MemoryStore) {
    let (disk, metadata) = (SimDisk::new(), MemoryStore::default());
    for (ledger, state) in [(CLOSED, LedgerState::Closed), (OPEN, LedgerState::Open), (LATE, LedgerState::Closed)] {
        put_record(&metadata, ledger, state);
    }
    put_record(&metadata, DELETED, LedgerState::Deleted);
    put_record(&metadata, QUIET, LedgerState::Open);
    let mut store = open(&disk, 1).unwrap();
    for entry in 0..ENTRIES {
        for ledger in [CLOSED, OPEN] {
            assert_eq!(status(&mut store, add(1, ledger, entry, SIZE)), Status::Ok);
        }
    }
    assert_eq!(status(&mut store, add(1, QUIET, 0, SIZE)), Status::Ok);
    assert_eq!(status(&mut store, delete(1, DELETED)), Status::Ok);
    assert_eq!(status(&mut store, fence(1, CLOSED)), Status::Ok);
    for entry in 0..ENTRIES {
        assert_eq!(status(&mut store, add(1, LATE, entry, SIZE)), Status::Ok);
    }
    assert_eq!(status(&mut store, add(1, QUIET, 1, SIZE)), Status::Ok);
    assert_eq!(status(&mut store, add(1, QUIET, 2, SIZE)), Status::Ok);
    drop(store);
    disk.kill();
    (disk, metadata)
}

fn shared(disk: &SimDisk) -> Arc<dyn Disk> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    assert!(Identity::claim(disk.as_ref()).unwrap().is_some());
    disk
}

fn enter(disk: &SimDisk, seed: u64, metadata: &MemoryStore) -> Result<Store, OpenError> {
    let damaged = Damaged::open(shared(disk), &identity(), Options { seed, ..options() })?;
    waits(damaged.enter(metadata))
}

/// What was acknowledged is there or may be lost, and is never denied. Says how much is there of a ledger.
fn is_honest(store: &mut Store, ledger: u64) -> u64 {
    let mut there = 0;
    for entry in 0..ENTRIES {
        let answer = ask(store, read(1, ledger, entry, entry + 1));
        match answer.status() {
            Status::Ok => {
                assert_eq!(answer.entries[0].payload, payload(ledger, entry, SIZE));
                there += 1;
            }
            other => assert_eq!((other, answer.absent), (Status::Unknown, true), "entry {entry} of {ledger}"),
        }
    }
    there
}

/// What must hold in limbo, whatever was lost.
fn holds(store: &mut Store, metadata: &MemoryStore) {
    for ledger in [CLOSED, OPEN, LATE] {
        let there = is_honest(store, ledger);
        let in_limbo = store.limbo().ledgers().contains(&LedgerId(ledger));
        assert!(in_limbo || there == ENTRIES, "{there} of {ledger} are there");
        assert_eq!(ask(store, held(1, ledger)).holding.unwrap().limbo, in_limbo);
        let names = record(metadata, ledger).fragments[0].limbo.clone();
        assert_eq!(names.contains(&"bookie-1".to_owned()), in_limbo, "{names:?}");
    }
    let spared = !store.limbo().ledgers().contains(&LedgerId(OPEN));
    let beyond = ask(store, read(1, OPEN, ENTRIES, ENTRIES + 1));
    let expected = if spared { (Status::NotHeld, false) } else { (Status::Unknown, true) };
    assert_eq!((beyond.status(), beyond.absent), expected, "it may have been acknowledged");
    for ledger in [CLOSED, LATE].into_iter().chain((!spared).then_some(OPEN)) {
        assert_eq!(status(store, add(1, ledger, ENTRIES, SIZE)), Status::Fenced, "S1: its fence may be lost");
    }
    assert_eq!(status(store, add(1, DELETED, 0, SIZE)), Status::Deleted, "its tombstone may be lost");
}

type Cause = fn(&SimDisk);

/// Whatever can happen to a store below its synced end.
fn causes() -> Vec<(&'static str, Cause)> {
    fn flip(disk: &SimDisk, segment: u64, at: usize) {
        disk.tamper(&SegmentId(segment).file_name(), |bytes| bytes[at] ^= 1);
    }
    vec![
        ("a batch's head", |disk| flip(disk, 2, BLOCK + 20)),
        ("a record's header", |disk| flip(disk, 2, 3 * BLOCK + 70)),
        ("a payload", |disk| flip(disk, 2, 3 * BLOCK + 500)),
        ("the last segment", |disk| flip(disk, 5, 2 * BLOCK + 500)),
        ("a header", |disk| flip(disk, 2, 40)),
        ("a segment cut off", |disk| disk.tamper(&SegmentId(2).file_name(), |bytes| bytes.truncate(5 * BLOCK))),
        ("a segment of zeros", |disk| disk.tamper(&SegmentId(2).file_name(), |bytes| bytes.fill(0))),
        ("another's bytes", |disk| {
            let mut other = Vec::new();
            disk.tamper(&SegmentId(3).file_name(), |bytes| other.clone_from(bytes));
            disk.tamper(&SegmentId(2).file_name(), |bytes| *bytes = other);
        }),
        ("a missing segment", lose_a_segment),
        ("a missing manifest", |disk| {
            disk.remove("manifest").unwrap();
            disk.sync_directory().unwrap();
        }),
        ("a damaged manifest", |disk| disk.tamper("manifest", |bytes| bytes[70] ^= 1)),
    ]
}

#[test]
fn whatever_is_lost_nothing_that_was_acknowledged_is_denied_and_the_rest_is_there() {
    for (cause, happens) in causes() {
        let (disk, metadata) = scene();
        happens(&disk);
        let error = open(&disk, 2).unwrap_err();
        assert!(error.is_loss(), "{cause}: {error}");
        disk.kill();
        for life in 3..6 {
            let mut store = enter(&disk, life, &metadata).unwrap_or_else(|error| panic!("{cause}: {error}"));
            holds(&mut store, &metadata);
            let is_doubtful = store.limbo().ledgers().contains(&LedgerId(OPEN));
            assert_eq!(is_doubtful, cause != "a header", "{cause}: else nobody knows what followed");
            let there: u64 = [CLOSED, OPEN].map(|ledger| is_honest(&mut store, ledger)).iter().sum();
            assert!(2 * ENTRIES - 16 <= there, "{cause}: a segment at most is lost: {there}");
            assert_eq!(is_honest(&mut store, LATE) == ENTRIES, cause != "the last segment", "{cause}");
            pass_time(&mut store, &mut std::time::Duration::ZERO.clone(), std::time::Duration::from_secs(700));
            drop(store);
            if life % 2 == 0 {
                disk.lose_power(life)
            } else {
                disk.kill()
            }
            assert!(matches!(open(&disk, 9), Err(OpenError::InLimbo { .. })), "{cause}: it is not forgotten");
            disk.kill();
        }
    }
}

/// Goal: a ledger that nobody has begun to recover and that goes on after the loss is spared; its writer need not stop.
#[test]
fn an_open_ledger_that_went_on_after_the_loss_is_not_in_limbo() {
    let (disk, metadata) = scene();
    causes()[0].1(&disk);
    let mut store = enter(&disk, 2, &metadata).unwrap();
    assert!(!store.limbo().ledgers().contains(&LedgerId(QUIET)));
    assert_eq!(status(&mut store, read(1, QUIET, 3, 4)), Status::NotHeld);
    assert_eq!(status(&mut store, add(1, QUIET, 3, SIZE)), Status::Ok, "nor fenced");
    let (disk, metadata) = scene();
    disk.tamper("manifest", |bytes| bytes[70] ^= 1);
    let store = enter(&disk, 2, &metadata).unwrap();
    assert!(store.limbo().ledgers().contains(&LedgerId(QUIET)), "which segments there were is not known");
}

/// Goal: an entry that a start appends again does not pass for one that was written after the loss.
/// Method: segment 1 ends with an entry that nothing proves once segment 2 is lost, with the ledger's next entry in it.
#[test]
fn an_open_ledger_whose_last_entry_is_only_written_again_is_in_limbo() {
    let (disk, metadata) = (SimDisk::new(), MemoryStore::default());
    put_record(&metadata, OPEN, LedgerState::Open);
    for (life, ledger, entry) in [(1, OPEN, 0), (2, OPEN, 1), (3, QUIET, 0)] {
        let mut store = open(&disk, life).unwrap();
        assert_eq!(status(&mut store, add(1, ledger, entry, SIZE)), Status::Ok);
        if life == 2 {
            assert_eq!(status(&mut store, add(1, QUIET, 1, SIZE)), Status::Ok);
        }
        drop(store);
        disk.kill();
    }
    lose_a_segment(&disk);
    let mut store = enter(&disk, 4, &metadata).unwrap();
    assert!(store.limbo().ledgers().contains(&LedgerId(OPEN)));
    let lost = ask(&mut store, read(1, OPEN, 1, 2));
    assert_eq!((lost.status(), lost.absent), (Status::Unknown, true), "it was acknowledged");
}

#[test]
fn what_was_damaged_is_kept_as_it_was() {
    let (disk, metadata) = scene();
    causes()[2].1(&disk);
    let mut before = Vec::new();
    disk.tamper(&SegmentId(2).file_name(), |bytes| before.clone_from(bytes));
    drop(enter(&disk, 2, &metadata).unwrap());
    disk.lose_power(1);
    assert_eq!(files(&disk, "damaged-"), ["damaged-segment-00000000000000000002"]);
    disk.tamper("damaged-segment-00000000000000000002", |bytes| assert!(*bytes == before));
}

/// Goal: a crash at any point of such a start is a start like that again. Method: the disk fails after each number of operations.
#[test]
fn a_crash_during_the_start_repeats_it() {
    for (cause, happens) in causes() {
        let mut failed = 0;
        for operations in (0..400).step_by(7) {
            let (disk, metadata) = scene();
            happens(&disk);
            disk.fail_after(operations);
            let claimed: Arc<dyn Disk> = Arc::new(disk.clone());
            let outcome = Identity::claim(claimed.as_ref())
                .and_then(|_| Damaged::open(claimed, &identity(), options()))
                .and_then(|damaged| waits(damaged.enter(&metadata)));
            failed += u32::from(outcome.is_err());
            drop(outcome);
            disk.recover();
            disk.lose_power(operations);
            let mut store = match open(&disk, 3) {
                Ok(_) => panic!("{cause}: it starts as if nothing were lost, after {operations}"),
                Err(error) if error.is_loss() => {
                    disk.kill();
                    enter(&disk, 4, &metadata).unwrap_or_else(|error| panic!("{cause}, after {operations}: {error}"))
                }
                Err(error) => panic!("{cause}, after {operations}: {error}"),
            };
            holds(&mut store, &metadata);
        }
        assert!(5 < failed, "{cause}: {failed}");
    }
}

#[test]
fn without_metadata_nothing_is_served_and_nothing_forgotten() {
    let (disk, _) = scene();
    causes()[0].1(&disk);
    let damaged = Damaged::open(shared(&disk), &identity(), options()).unwrap();
    let away = Away;
    let error = waits(damaged.enter(&away)).unwrap_err();
    assert!(matches!(error, OpenError::Metadata(metadata::Error::Unavailable { .. })), "{error}");
    disk.kill();
    assert!(matches!(open(&disk, 3), Err(OpenError::InLimbo { .. })));
}

#[derive(Debug)]
struct Away;

#[async_trait::async_trait]
impl MetadataStore for Away {
    async fn get(&self, _: &metadata::Key) -> Result<Option<metadata::Record>, metadata::Error> {
        Err(metadata::Error::Unavailable { reason: "away".into() })
    }

    async fn commit(&self, _: Transaction) -> Result<metadata::Version, metadata::Error> {
        Err(metadata::Error::Unavailable { reason: "away".into() })
    }

    async fn list(&self, _: &str, _: Option<&metadata::Key>, _: usize) -> Result<metadata::Page, metadata::Error> {
        Err(metadata::Error::Unavailable { reason: "away".into() })
    }

    async fn watch(&self, _: &str) -> Result<metadata::Watch, metadata::Error> {
        Err(metadata::Error::Unavailable { reason: "away".into() })
    }

    async fn lease(&self, _: std::time::Duration) -> Result<metadata::Lease, metadata::Error> {
        Err(metadata::Error::Unavailable { reason: "away".into() })
    }
}

/// A repair's: what is missing comes back.
fn fill_up(store: &mut Store, ledger: u64) {
    for entry in 0..ENTRIES {
        assert_eq!(status(store, recovery_add(1, ledger, entry, SIZE)), Status::Ok);
    }
}

fn lose_a_segment(disk: &SimDisk) {
    disk.remove(&SegmentId(2).file_name()).unwrap();
    disk.sync_directory().unwrap();
}

#[test]
fn limbo_ends_ledger_by_ledger_and_then_altogether() {
    let (disk, metadata) = scene();
    lose_a_segment(&disk);
    let mut store = enter(&disk, 2, &metadata).unwrap();
    let mut limbo = store.limbo();
    waits(limbo.review(&metadata)).unwrap();
    assert_eq!(limbo.ledgers(), [LedgerId(CLOSED), LedgerId(OPEN)], "nothing has changed");
    fill_up(&mut store, CLOSED);
    waits(limbo.review(&metadata)).unwrap();
    assert_eq!(limbo.ledgers(), [LedgerId(OPEN)], "it has seen that it holds all of a closed ledger");
    assert!(record(&metadata, CLOSED).fragments[0].limbo.is_empty());
    assert!(!limbo.leave().unwrap());
    drop(store);
    disk.lose_power(3);
    let mut store = enter(&disk, 3, &metadata).unwrap();
    let mut limbo = store.limbo();
    assert_eq!(limbo.ledgers(), [LedgerId(OPEN)], "the records know");
    fill_up(&mut store, OPEN);
    waits(limbo.review(&metadata)).unwrap();
    assert_eq!(limbo.ledgers(), [LedgerId(OPEN)], "its end is not known");
    put_record(&metadata, OPEN, LedgerState::Closed); // By a repair, which has looked.
    waits(limbo.review(&metadata)).unwrap();
    assert!(limbo.leave().unwrap());
    assert_eq!(status(&mut store, read(1, OPEN, ENTRIES, ENTRIES + 1)), Status::NotHeld);
    drop(store);
    disk.lose_power(4);
    assert!(open(&disk, 5).is_ok(), "a store like any other");
}

#[test]
fn a_missing_record_ends_no_limbo_and_a_tombstone_does() {
    let (disk, metadata) = scene();
    lose_a_segment(&disk);
    let mut store = enter(&disk, 2, &metadata).unwrap();
    let mut limbo = store.limbo();
    let gone = Operation::delete(keys::ledger(LedgerId(CLOSED)), Expect::Any);
    waits(metadata.commit(Transaction::new(vec![gone]))).unwrap();
    waits(limbo.review(&metadata)).unwrap();
    assert!(limbo.ledgers().contains(&LedgerId(CLOSED)));
    assert_eq!(status(&mut store, delete(1, CLOSED)), Status::Ok);
    waits(limbo.review(&metadata)).unwrap();
    assert!(!limbo.ledgers().contains(&LedgerId(CLOSED)));
}

#[test]
fn another_loss_while_in_limbo_begins_it_anew() {
    let (disk, metadata) = scene();
    causes()[0].1(&disk);
    drop(enter(&disk, 2, &metadata).unwrap());
    disk.kill();
    assert!(record(&metadata, LATE).fragments[0].limbo.is_empty());
    let (_, happens) = causes().into_iter().find(|(cause, _)| *cause == "a missing manifest").unwrap();
    happens(&disk);
    disk.remove(&SegmentId(4).file_name()).unwrap();
    disk.sync_directory().unwrap();
    let mut store = enter(&disk, 3, &metadata).unwrap();
    holds(&mut store, &metadata);
    assert!(store.limbo().ledgers().contains(&LedgerId(LATE)));
}

fn cluster(metadata: &MemoryStore) {
    let cluster = ClusterRecord { instance: "cluster-1".into(), created_at: 1 };
    put(metadata, keys::CLUSTER, cluster.encode_to_vec());
    let bookie = BookieRecord { bookie: "bookie-1".into(), ..BookieRecord::default() };
    put(metadata, keys::bookie(&identity().bookie), bookie.encode_to_vec());
}

/// Goal: a name that is lost is found again where all that is left says the same, and never taken for certain that no more is lost.
#[test]
fn a_lost_identity_is_taken_from_the_files_and_leads_to_limbo() {
    type Loss = fn(&SimDisk);
    let losses: [Loss; 2] = [
        |disk| {
            disk.remove("identity").unwrap();
            disk.sync_directory().unwrap();
        },
        |disk| disk.tamper("identity", |bytes| bytes[40] ^= 1),
    ];
    for lose in losses {
        let (disk, metadata) = scene();
        cluster(&metadata);
        lose(&disk);
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let found = waits(crate::identify(&metadata, &shared, "", 9)).unwrap();
        assert_eq!((found.bookie, found.cluster), (identity().bookie, identity().cluster));
        drop(shared);
        disk.lose_power(1);
        assert!(matches!(open(&disk, 2), Err(OpenError::InLimbo { .. })));
        disk.kill();
        let mut store = enter(&disk, 3, &metadata).unwrap();
        holds(&mut store, &metadata);
        assert_eq!(is_honest(&mut store, LATE), ENTRIES);
    }
}

#[test]
fn files_of_two_bookies_name_nobody() {
    let (disk, metadata) = scene();
    cluster(&metadata);
    disk.remove("identity").unwrap();
    disk.tamper(&SegmentId(1).file_name(), |bytes| {
        let mut header = crate::format::SegmentHeader::decode(&bytes[..BLOCK]).unwrap();
        header.bookie = "bookie-2".parse().unwrap();
        bytes[..BLOCK].copy_from_slice(header.encode().bytes());
    });
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let refused = waits(crate::identify(&metadata, &shared, "", 9));
    assert!(matches!(refused, Err(OpenError::IdentityMissing { .. })), "{refused:?}");
    assert!(!disk.list().unwrap().contains(&"limbo".into()), "nothing was changed");
}

/// Goal: no crash is taken for a loss. Method: power goes after each number of operations of a life, with sectors torn.
#[test]
fn a_mere_crash_never_leads_to_limbo() {
    for operations in 0..150 {
        let disk = SimDisk::new();
        drop(open(&disk, 1).unwrap());
        disk.kill();
        disk.fail_after(operations);
        let claimed: Arc<dyn Disk> = Arc::new(disk.clone());
        if Identity::claim(claimed.as_ref()).is_ok()
            && let Ok(mut store) = Store::open(claimed, &identity(), options())
        {
            for entry in 0..30 {
                if store.step(vec![add(1, 1, entry, SIZE), add(2, 2, entry, 7)]).is_err() {
                    break;
                }
                store.turn();
            }
        }
        disk.recover();
        disk.lose_power(operations);
        let outcome = open(&disk, 2);
        assert!(outcome.is_ok(), "after {operations}: {outcome:?}");
    }
}
