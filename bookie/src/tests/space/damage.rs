//! What is damaged stays where it is, and nothing else suffers.
use super::*;
use crate::disk::BLOCK;
use crate::format::SegmentId;

/// Ledgers 1 to 3 in turn over several sealed segments.
fn interleaved() -> (SimDisk, Store) {
    let disk = SimDisk::new();
    let mut store = open(&disk, 1).unwrap();
    fill(&mut store, &[1, 2, 3], 0..40, 2000);
    drop(store);
    disk.kill();
    (disk.clone(), open(&disk, 2).unwrap())
}

#[test]
fn a_damaged_record_stays_unknown_and_its_segment_stays() {
    let (disk, mut store) = interleaved();
    while store.turn() {}
    // The third batch: ledger 3's first entry. Its payload.
    let damaged = SegmentId(1).file_name();
    disk.tamper(&damaged, |bytes| bytes[3 * BLOCK + 500] ^= 1);
    let mut clock = Duration::ZERO;
    let before = answers(&mut store, 0..4, 41);
    assert_eq!(before[&(3, 0)].status(), Status::Unknown);
    pass_time(&mut store, &mut clock, LONG);
    assert!(!files(&disk, "sorted-").is_empty(), "the others are sorted");
    for life in 3..6 {
        let after = answers(&mut store, 0..4, 41);
        for (asked, answer) in &before {
            assert_eq!(
                (asked, answer.status(), &answer.entries),
                (asked, after[asked].status(), &after[asked].entries)
            );
        }
        assert!(disk.list().unwrap().contains(&damaged));
        assert_eq!(files(&disk, "segment-").len(), 3, "with the tail and what comes after it");
        drop(store);
        disk.lose_power(life);
        store = open(&disk, life).unwrap();
        pass_time(&mut store, &mut clock, LONG);
    }
    // Its other ledgers may go, it may not.
    for ledger in [1, 2] {
        assert_eq!(status(&mut store, delete(1, ledger)), Status::Ok);
    }
    pass_time(&mut store, &mut clock, LONG);
    assert_eq!(status(&mut store, read(1, 3, 0, 1)), Status::Unknown);
    assert_eq!(status(&mut store, read(1, 3, 1, 2)), Status::Ok);
    // Once nobody can ask for it any more, it goes like any other.
    assert_eq!(status(&mut store, delete(1, 3)), Status::Ok);
    pass_time(&mut store, &mut clock, LONG);
    assert!(!disk.list().unwrap().contains(&damaged), "{:?}", disk.list());
}

#[test]
fn a_damaged_index_keeps_its_segment() {
    let (disk, mut store) = interleaved();
    while store.turn() {}
    let damaged = SegmentId(2).file_name();
    let found = store.segments.index.read().find(LedgerId(2), EntryId(7), 1);
    let crate::index::Found::Sealed(runs) = found else { panic!("it is sealed") };
    let run = runs[0].0;
    drop(runs);
    assert_eq!(run.segment, SegmentId(2));
    disk.tamper(&damaged, |bytes| bytes[run.offset as usize + 9] ^= 1);
    let mut clock = Duration::ZERO;
    pass_time(&mut store, &mut clock, LONG);
    assert!(disk.list().unwrap().contains(&damaged) && !files(&disk, "sorted-").is_empty());
    assert_eq!(status(&mut store, read(1, 2, 7, 8)), Status::Unknown, "never a no");
    assert_eq!(status(&mut store, read(1, 1, 7, 8)), Status::Ok);
}

/// A counter that is wrong must not cost an entry: the directory in the file is asked before it is dropped.
#[test]
fn a_segment_whose_directory_is_damaged_is_not_dropped() {
    let (disk, mut store) = interleaved();
    while store.turn() {}
    (1..=3).for_each(|ledger| assert_eq!(status(&mut store, delete(1, ledger)), Status::Ok));
    let damaged = SegmentId(1).file_name();
    disk.tamper(&damaged, |bytes| {
        let trailer = bytes.len() - BLOCK;
        bytes[trailer + 20] ^= 1;
    });
    let mut clock = Duration::ZERO;
    pass_time(&mut store, &mut clock, LONG);
    assert!(disk.list().unwrap().contains(&damaged));
    assert!(!disk.list().unwrap().contains(&SegmentId(2).file_name()));
    drop(store);
    disk.kill();
    // The next start scans it, and a tombstone holds for what is found.
    let mut store = open(&disk, 7).unwrap();
    assert_eq!(status(&mut store, read(1, 1, 0, 1)), Status::Deleted);
    pass_time(&mut store, &mut clock, LONG);
    assert!(!disk.list().unwrap().contains(&damaged), "{:?}", disk.list());
}

/// Goal: what the disk refused to seal once does not keep space from coming back until the next start.
#[test]
fn a_segment_that_could_not_be_sealed_is_sealed_later() {
    let disk = SimDisk::new();
    let (mut store, mut clock) = (open(&disk, 1).unwrap(), Duration::ZERO);
    for entry in 0..16 {
        assert_eq!(status(&mut store, add(1, 1, entry, 3900)), Status::Ok); // The keeper does nothing meanwhile.
    }
    let unsealed = store.segments.index.read().open_segments();
    assert_eq!(unsealed.len(), 2);
    disk.fail_after(0);
    while store.turn() {}
    disk.recover();
    assert_eq!(store.segments.index.read().open_segments(), unsealed, "it could not be sealed");
    fill(&mut store, &[2], 0..16, 3900);
    assert!(!store.segments.index.read().open_segments().contains(&unsealed[0]));
    assert_eq!(ask(&mut store, read(1, 1, 0, 16)).entries.len(), 16);
    assert_eq!(status(&mut store, delete(1, 1)), Status::Ok);
    pass_time(&mut store, &mut clock, 5 * SECOND);
    assert!(!disk.list().unwrap().contains(&unsealed[0].file_name()), "and its space comes back");
}

/// A manifest that is gone must not pass for one that never was: its tombstones are permissions, its absence is none.
#[test]
fn a_directory_that_only_lost_its_manifest_is_refused() {
    let disk = SimDisk::new();
    let mut store = open(&disk, 1).unwrap();
    assert_eq!(status(&mut store, add(1, 1, 0, 100)), Status::Ok);
    drop(store);
    disk.kill();
    disk.remove("manifest").unwrap();
    disk.sync_directory().unwrap();
    for life in 2..4 {
        let outcome = open(&disk, life);
        assert!(matches!(outcome, Err(OpenError::ManifestMissing { .. })), "{outcome:?}");
        disk.kill();
    }
    assert!(!disk.list().unwrap().contains(&"manifest".into()), "nothing was made up");
}

fn sorted() -> SimDisk {
    let (disk, mut store) = interleaved();
    pass_time(&mut store, &mut Duration::ZERO.clone(), LONG);
    drop(store);
    disk.kill();
    disk
}

#[test]
fn a_damaged_footer_of_a_sorted_segment_is_made_again() {
    let disk = sorted();
    let before = answers(&mut open(&disk, 3).unwrap(), 0..4, 41);
    disk.kill();
    let name = SegmentId::FIRST_SORTED.file_name();
    disk.tamper(&name, |bytes| {
        let trailer = bytes.len() - BLOCK;
        bytes[trailer + 20] ^= 1;
    });
    for life in 4..7 {
        let mut store = open(&disk, life).unwrap();
        assert_eq!(answers(&mut store, 0..4, 41), before);
        pass_time(&mut store, &mut Duration::ZERO.clone(), LONG);
        assert_eq!(answers(&mut store, 0..4, 41), before);
        drop(store);
        disk.lose_power(life);
    }
}

#[test]
fn damage_where_all_was_synced_is_refused_in_sorted_segments_too() {
    let disk = sorted();
    let name = SegmentId::FIRST_SORTED.file_name();
    disk.tamper(&name, |bytes| {
        let trailer = bytes.len() - BLOCK;
        bytes[trailer + 20] ^= 1; // So that it is scanned.
        bytes[BLOCK + 70] ^= 1;
    });
    assert!(matches!(open(&disk, 3), Err(OpenError::Corrupt { .. })));
}

#[test]
fn a_directory_without_its_manifest_or_a_listed_file_is_refused() {
    let disk = sorted();
    disk.rename("manifest", "taken-away").unwrap();
    assert!(matches!(open(&disk, 3), Err(OpenError::ManifestMissing { .. })));
    disk.kill();
    disk.rename("taken-away", "manifest").unwrap();
    let name = SegmentId::FIRST_SORTED.file_name();
    disk.rename(&name, "taken-away").unwrap();
    assert!(matches!(open(&disk, 3), Err(OpenError::SegmentMissing { .. })));
    disk.kill();
    disk.rename("taken-away", &name).unwrap();
    assert!(open(&disk, 3).is_ok());
    disk.kill();
    disk.tamper("manifest", |bytes| bytes[4096 + 3] ^= 1);
    assert!(matches!(open(&disk, 3), Err(OpenError::Corrupt { what: "the manifest", .. })));
    disk.kill();
    disk.tamper("manifest", |bytes| (bytes[4096 + 3], bytes[8]) = (bytes[4096 + 3] ^ 1, 9));
    assert!(matches!(open(&disk, 3), Err(OpenError::Version { found: 9, .. })));
}

#[test]
fn a_file_of_another_life_in_the_place_of_a_listed_one_is_refused() {
    let disk = sorted();
    let name = SegmentId::FIRST_SORTED.file_name();
    disk.tamper(&name, |bytes| {
        let mut header = crate::format::SegmentHeader::decode(&bytes[..BLOCK]).unwrap();
        header.generation.0 += 1;
        bytes[..BLOCK].copy_from_slice(header.encode().bytes());
    });
    assert!(matches!(open(&disk, 3), Err(OpenError::Corrupt { .. })));
}

/// What the disk refuses is tried again later; what nobody knows the outcome of is not.
#[test]
fn a_disk_that_refuses_for_a_while_loses_nothing() {
    let (disk, mut store) = interleaved();
    let before = answers(&mut store, 0..4, 41);
    let mut clock = Duration::ZERO;
    pass_time(&mut store, &mut clock, Duration::from_secs(299));
    for operations in (0..200).step_by(3) {
        disk.fail_after(operations);
        pass_time(&mut store, &mut clock, 5 * SECOND);
        disk.recover();
        assert_eq!(answers(&mut store, 0..4, 41), before, "failed after {operations}");
    }
    drop(store);
    disk.lose_power(1);
    let mut store = open(&disk, 3).unwrap();
    assert_eq!(answers(&mut store, 0..4, 41), before);
    pass_time(&mut store, &mut clock, LONG);
    assert!(files(&disk, "segment-").len() <= 2, "the tail is left: {:?}", disk.list());
    assert_eq!(answers(&mut store, 0..4, 41), before);
}
