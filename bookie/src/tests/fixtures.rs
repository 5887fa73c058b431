//! Directories as each version of the format wrote them, checked in.
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::space::{files, fill, pass_time};
use super::*;

fn directory(version: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/tests/fixtures").join(version)
}

/// A disk that holds the files of a directory below `fixtures`.
pub(super) fn fixture(version: &str) -> SimDisk {
    let disk = SimDisk::new();
    for (name, bytes) in content(version) {
        disk.create(&name).unwrap();
        disk.tamper(&name, |content| *content = bytes);
    }
    disk.sync_directory().unwrap();
    disk
}

fn content(version: &str) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(directory(version)).unwrap().map(|file| file.unwrap());
    files.map(|file| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap())).collect()
}

fn payloads(store: &mut Store, ledger: u64, first: u64) -> Vec<Bytes> {
    ask(store, read(1, ledger, first, u64::MAX)).entries.into_iter().map(|entry| entry.payload).collect()
}

/// A sealed segment with three ledgers, fences of 2 and 9; an unsealed one with a gap in 1, tombstones of 3 and 8, the
/// last batch not proven.
#[test]
fn a_directory_of_version_1_is_read() {
    let disk = fixture("v1");
    for life in 0..3 {
        let mut store = open(&disk, 10 + life).unwrap();
        let short = |entry| payload(1, entry, 300);
        assert_eq!(payloads(&mut store, 1, 0), [short(0), short(1), short(2), payload(1, 3, 500)]);
        assert_eq!(payloads(&mut store, 1, 5), [payload(1, 5, 500)]);
        assert_eq!(payloads(&mut store, 2, 0), [payload(2, 0, 300), payload(2, 1, 300), payload(2, 2, 300)]);
        assert_eq!(payloads(&mut store, 4, 0), [payload(4, 0, 5000)]);
        assert_eq!(status(&mut store, add(1, 2, 3, 10)), Status::Fenced);
        assert_eq!(status(&mut store, add(1, 9, 0, 10)), Status::Fenced);
        for deleted in [3, 8] {
            assert_eq!(status(&mut store, read(1, deleted, 0, 1)), Status::Deleted);
            assert_eq!(status(&mut store, add(1, deleted, 5, 10)), Status::Deleted);
        }
        if life == 1 {
            store.close();
        }
        disk.kill();
    }
}

/// Ledger 1 filled the first segments and was deleted: they were dropped, with fences of 5 and 9, and are spares, or segments again.
/// 2 and 3 are sorted, 4 came later and lies in a segment that was used before.
fn version_2() -> SimDisk {
    let disk = SimDisk::new();
    let mut clock = Duration::ZERO;
    let mut store = open_sized(&disk, 1, 16 << 10).unwrap();
    store.step(vec![fence(1, 5), fence(2, 9)]).unwrap();
    fill(&mut store, &[1], 0..7, 3000);
    assert_eq!(status(&mut store, delete(1, 1)), Status::Ok);
    fill(&mut store, &[2, 3], 0..4, 2000);
    pass_time(&mut store, &mut clock, Duration::from_secs(700));
    fill(&mut store, &[4], 0..3, 3000);
    drop(store);
    disk.kill();
    disk
}

/// The format has not changed: if this fails, it needs a new version, and a directory of that version here.
#[test]
fn what_is_written_today_is_version_2_to_the_byte() {
    let disk = version_2();
    let mut written = BTreeMap::new();
    for name in disk.list().unwrap() {
        disk.tamper(&name, |bytes| drop(written.insert(name.clone(), bytes.clone())));
    }
    let kept = content("v2");
    assert_eq!(written.keys().collect::<Vec<_>>(), kept.keys().collect::<Vec<_>>());
    for (name, bytes) in written {
        assert!(bytes == kept[&name], "{name} differs");
    }
}

#[test]
fn a_directory_of_version_2_is_read() {
    let disk = fixture("v2");
    assert!(["sorted-", "spare-", "segment-"].iter().all(|kind| !files(&disk, kind).is_empty()), "{:?}", disk.list());
    for life in 10..13 {
        let mut store = open_sized(&disk, life, 16 << 10).unwrap();
        for (ledger, size, entries) in [(2, 2000, 4), (3, 2000, 4), (4, 3000, 3)] {
            let expected: Vec<_> = (0..entries).map(|entry| payload(ledger, entry, size)).collect();
            assert_eq!(payloads(&mut store, ledger, 0), expected);
        }
        assert_eq!(status(&mut store, add(1, 1, 7, 10)), Status::Deleted);
        assert_eq!(status(&mut store, add(1, 5, 0, 10)), Status::Fenced);
        assert_eq!(status(&mut store, add(1, 9, 0, 10)), Status::Fenced);
        pass_time(&mut store, &mut Duration::ZERO.clone(), Duration::from_secs(700));
        disk.kill();
    }
}
