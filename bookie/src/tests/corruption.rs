//! What a start refuses, what it repairs, and what it does not mind.
use super::*;
use crate::disk::{AlignedBuffer, BLOCK};
use crate::format::{Footer, SegmentHeader, SegmentId};
use daemon::{Exit, Failure};

const LAST: SegmentId = SegmentId(1);

/// Three batches in one unsealed segment: the third is not proven.
fn three_batches() -> SimDisk {
    let disk = SimDisk::new();
    let mut store = open(&disk, 1).unwrap();
    for entry in 0..3 {
        store.step(vec![add(1, 1, entry, 5000)]).unwrap();
    }
    drop(store);
    disk.kill();
    disk
}

fn flip(disk: &SimDisk, segment: SegmentId, at: usize) {
    disk.tamper(&segment.file_name(), |bytes| bytes[at] ^= 1);
}

fn refusal(disk: &SimDisk) -> (OpenError, Failure) {
    let error = open(disk, 9).unwrap_err();
    (error.clone(), error.into())
}

#[test]
fn a_flipped_bit_below_the_synced_end_is_corruption_with_path_and_place() {
    // Batch header, record header, payload of the first two batches; each batch takes two blocks.
    for at in [BLOCK + 20, BLOCK + 70, BLOCK + 200, 2 * BLOCK + 100, 3 * BLOCK + 20, 3 * BLOCK + 70, 4 * BLOCK + 5] {
        let disk = three_batches();
        flip(&disk, LAST, at);
        let (error, failure) = refusal(&disk);
        assert!(matches!(error, OpenError::Corrupt { .. }), "{at}: {error}");
        assert_eq!(failure.exit, Exit::Internal);
        assert!(failure.message.contains(&LAST.file_name()) && failure.message.contains("restore"), "{failure}");
    }
}

#[test]
fn a_bad_record_above_the_synced_end_is_a_torn_tail() {
    for at in [5 * BLOCK + 20, 5 * BLOCK + 70, 6 * BLOCK + 5] {
        let disk = three_batches();
        flip(&disk, LAST, at);
        let mut store = open(&disk, 9).unwrap();
        assert_eq!(ask(&mut store, read(1, 1, 0, 3)).entries.len(), 2, "byte {at}");
        while store.turn() {}
        store.step(vec![add(1, 1, 2, 5000)]).unwrap();
        drop(store);
        disk.lose_power(1);
        assert_eq!(ask(&mut open(&disk, 10).unwrap(), read(1, 1, 0, 3)).entries.len(), 3);
    }
}

#[test]
fn a_flipped_padding_byte_is_no_fault() {
    let disk = three_batches();
    flip(&disk, LAST, 3 * BLOCK - 1);
    assert_eq!(ask(&mut open(&disk, 9).unwrap(), read(1, 1, 0, 3)).entries.len(), 3);
}

#[test]
fn a_file_cut_anywhere_starts_or_refuses_and_never_answers_wrongly() {
    let length = 7 * BLOCK;
    for cut in (0..=length).step_by(512).chain([1, BLOCK + 1, length - 1]) {
        let disk = three_batches();
        disk.tamper(&LAST.file_name(), |bytes| bytes.truncate(cut));
        match open(&disk, 9) {
            Ok(mut store) => {
                for entry in 0..3 {
                    let found = ask(&mut store, read(1, 1, entry, entry + 1));
                    assert!(found.entries.iter().all(|found| found.payload == payload(1, entry, 5000)), "cut at {cut}");
                }
            }
            Err(error) => assert!(matches!(error, OpenError::Corrupt { .. }), "cut at {cut}: {error}"),
        }
    }
}

#[test]
fn random_damage_never_panics_and_never_changes_an_entry() {
    let mut seed = crate::seed::Seed::new(7);
    for round in 0..300 {
        let disk = three_batches();
        if round % 2 == 0 {
            open(&disk, 3).unwrap().close();
            disk.kill();
        }
        let name = SegmentId(1 + seed.below(2)).file_name();
        let flips = 1 + seed.below(50);
        disk.tamper(&name, |bytes| {
            for _ in 0..flips {
                let at = seed.below(bytes.len() as u64) as usize;
                bytes[at] = seed.next() as u8;
            }
        });
        let Ok(mut store) = open(&disk, 9) else { continue };
        for entry in 0..3 {
            let found = ask(&mut store, read(1, 1, entry, entry + 1));
            assert!(found.entries.iter().all(|found| found.payload == payload(1, entry, 5000)), "round {round}");
        }
    }
}

#[test]
fn what_a_file_held_in_an_earlier_life_does_not_come_back() {
    let disk = three_batches();
    // The same file begins a new life: header with another generation, all else as it was.
    disk.tamper(&LAST.file_name(), |bytes| {
        let mut header = SegmentHeader::decode(&bytes[..BLOCK]).unwrap();
        header.generation.0 += 1;
        bytes[..BLOCK].copy_from_slice(header.encode().bytes());
    });
    let mut store = open(&disk, 9).unwrap();
    assert_eq!(status(&mut store, read(1, 1, 0, 1)), Status::NotHeld);
    assert_eq!(status(&mut store, add(1, 1, 0, 50)), Status::Ok, "another entry may take the number");
}

fn sealed() -> SimDisk {
    let disk = three_batches();
    open(&disk, 2).unwrap().close();
    disk.kill();
    disk
}

#[test]
fn a_damaged_footer_is_made_again_from_the_entries() {
    let disk = sealed();
    let mut length = 0;
    disk.tamper(&LAST.file_name(), |bytes| length = bytes.len());
    for at in [length - BLOCK + 30, length - 2 * BLOCK + 45] {
        let disk = sealed();
        flip(&disk, LAST, at);
        let mut store = open(&disk, 9).unwrap();
        assert_eq!(ask(&mut store, read(1, 1, 0, 3)).entries.len(), 3, "byte {at}");
        while store.turn() {}
        disk.tamper(&LAST.file_name(), |bytes| {
            let header = SegmentHeader::decode(&bytes[..BLOCK]).unwrap();
            let trailer = &bytes[bytes.len() - BLOCK..];
            assert!(Footer::read(trailer, LAST, header.generation, bytes.len() as u64).is_some(), "sealed again");
        });
    }
}

#[test]
fn an_entry_that_rots_in_a_sealed_segment_is_unknown_and_not_a_no() {
    let disk = sealed();
    flip(&disk, LAST, BLOCK + 300);
    let mut store = open(&disk, 9).unwrap();
    let answer = ask(&mut store, read(1, 1, 0, 3));
    assert_eq!(answer.status(), Status::Unknown);
    assert!(answer.reason.contains(&LAST.file_name()), "{}", answer.reason);
    assert_eq!(ask(&mut store, read(1, 1, 1, 3)).entries.len(), 2, "its neighbours are whole");
    // The index of a run, first in the footer: two batches of two blocks lie before it.
    let disk = sealed();
    flip(&disk, LAST, 5 * BLOCK + 3);
    let mut store = open(&disk, 9).unwrap();
    assert_eq!(status(&mut store, read(1, 1, 0, 3)), Status::Unknown);
    assert_eq!(status(&mut store, add(1, 1, 0, 5000)), Status::Unknown, "nor is it known whether it is held");
}

#[test]
fn a_damaged_header_is_refused_unless_the_file_was_never_used() {
    let disk = three_batches();
    flip(&disk, LAST, 20);
    assert!(matches!(refusal(&disk).0, OpenError::Corrupt { offset: 0, .. }));
    let disk = three_batches();
    disk.create(&SegmentId(2).file_name()).unwrap().write_at(0, AlignedBuffer::zeroed(BLOCK).bytes()).unwrap();
    disk.kill();
    assert_eq!(ask(&mut open(&disk, 9).unwrap(), read(1, 1, 0, 3)).entries.len(), 3);
}

#[test]
fn directories_that_are_not_this_bookies_are_refused() {
    let missing = three_batches();
    missing.remove("identity").unwrap();
    let (error, failure) = refusal(&missing);
    assert!(matches!(error, OpenError::IdentityMissing { .. }), "{error}");
    assert_eq!(failure.exit, Exit::Usage);

    let damaged = three_batches();
    damaged.tamper("identity", |bytes| bytes[40] ^= 1);
    assert!(matches!(refusal(&damaged).0, OpenError::Corrupt { .. }));

    let newer = three_batches();
    newer.tamper("identity", |bytes| bytes[8] = 2);
    assert!(matches!(refusal(&newer).0, OpenError::Version { found: 2, .. }));

    let mixed = three_batches();
    mixed.tamper(&LAST.file_name(), |bytes| {
        let mut header = SegmentHeader::decode(&bytes[..BLOCK]).unwrap();
        header.bookie = "bookie-2".parse().unwrap();
        bytes[..BLOCK].copy_from_slice(header.encode().bytes());
    });
    let (error, failure) = refusal(&mixed);
    assert!(matches!(error, OpenError::OtherBookie { .. }) && failure.message.contains("bookie-2"), "{failure}");

    let shared = three_batches();
    let first = open(&shared, 9).unwrap();
    assert!(matches!(refusal(&shared).0, OpenError::InUse { .. }));
    drop(first);
}

#[test]
fn a_missing_segment_before_others_is_refused() {
    let disk = sealed(); // Segment 1 and, for what was not proven, segment 2.
    disk.rename(&LAST.file_name(), "taken-away").unwrap();
    let (error, failure) = refusal(&disk);
    assert!(matches!(error, OpenError::SegmentMissing { .. }), "{error}");
    assert!(failure.exit == Exit::Internal && failure.message.contains(&LAST.file_name()), "{failure}");
}
