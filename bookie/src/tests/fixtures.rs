//! Directories as each version of the format wrote them, checked in.
use super::*;

/// A disk that holds the files of a directory below `fixtures`.
fn fixture(version: &str) -> SimDisk {
    let disk = SimDisk::new();
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/fixtures").join(version);
    for file in std::fs::read_dir(directory).unwrap() {
        let file = file.unwrap();
        let (name, bytes) = (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap());
        disk.create(&name).unwrap();
        disk.tamper(&name, |content| *content = bytes);
    }
    disk.sync_directory().unwrap();
    disk
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
