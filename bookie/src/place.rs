//! Which directory a bookie serves: the one it is told, or the first of a row that no other holds.
//!
//! A row is for bookies that differ in nothing but their directory, such as containers of one service on one volume.
use std::path::{Path, PathBuf};

use metadata::MetadataStore;

use crate::error::OpenError;
use crate::handle::Bookie;
use crate::identity::Identity;
use crate::segments::Options;
use crate::serve::open;

/// Directories of a row. A machine with more disks is a fleet.
const PLACES_MAX: u32 = 1000;

/// The directories that `directory` means, in the order in which they are tried: itself, or, when its name ends with `*`, those
/// with a number from 1 on instead.
fn places(directory: &Path) -> Box<dyn Iterator<Item = PathBuf> + Send> {
    let name = directory.file_name().and_then(|name| name.to_str());
    match name.and_then(|name| name.strip_suffix('*')) {
        Some(stem) => {
            let (stem, row) = (stem.to_owned(), directory.to_owned());
            Box::new((1..=PLACES_MAX).map(move |number| row.with_file_name(format!("{stem}{number}"))))
        }
        None => Box::new(std::iter::once(directory.to_owned())),
    }
}

/// As [`open`], for the first directory that nobody else has. So a bookie that starts again finds the one that it, or one like it, has left.
pub(crate) async fn open_first(
    directory: &Path,
    metadata: &dyn MetadataStore,
    rack: &str,
    options: &Options,
    now_ms: u64,
) -> Result<(Bookie, Identity), OpenError> {
    let mut passed_over = OpenError::InUse { place: directory.to_owned() };
    for place in places(directory) {
        match open(&place, metadata, rack, options.clone(), now_ms).await {
            Err(error) if another_may_do(&error) => {
                tracing::debug!(%error, "the next directory is tried");
                passed_over = error;
            }
            outcome => return outcome,
        }
    }
    Err(passed_over)
}

/// Whether the next directory of a row is as good. A fault is not passed over: its data would be missed and nobody would know.
fn another_may_do(error: &OpenError) -> bool {
    // No `_` arm: a new variant must decide.
    match error {
        // What a retired bookie has left is nobody's any more, and whoever is new in the row needs a place.
        OpenError::InUse { .. } | OpenError::Retired { .. } => true,
        OpenError::IdentityMissing { .. }
        | OpenError::OtherCluster { .. }
        | OpenError::OtherBookie { .. }
        | OpenError::Forgotten { .. }
        | OpenError::MetadataOlder { .. }
        | OpenError::Version { .. }
        | OpenError::ManifestMissing { .. }
        | OpenError::SegmentMissing { .. }
        | OpenError::InLimbo { .. }
        | OpenError::Corrupt { .. }
        | OpenError::Disk { .. }
        | OpenError::Metadata(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use metadata::{Expect, MemoryStore, Operation, Transaction};
    use prost::Message;
    use proto::keys;
    use proto::records::{BookieRecord, BookieStanding};

    use super::*;

    #[test]
    fn a_star_at_the_end_is_a_row() {
        let first = |text: &str| places(Path::new(text)).take(2).collect::<Vec<_>>();
        assert_eq!(first("/data/bookie"), [Path::new("/data/bookie")]);
        assert_eq!(first("/data/b-*"), [Path::new("/data/b-1"), Path::new("/data/b-2")]);
        assert_eq!(first("*"), [Path::new("1"), Path::new("2")]);
        assert_eq!(first("/da*ta/b"), [Path::new("/da*ta/b")]);
    }

    struct Row {
        directory: tempfile::TempDir,
        metadata: MemoryStore,
    }

    impl Row {
        async fn open(&self) -> Result<(Bookie, Identity), OpenError> {
            let row = self.directory.path().join("b-*");
            open_first(&row, &self.metadata, "", &Options::default(), 1).await
        }
    }

    /// Goal: bookies on one volume never share a directory, and one that comes back finds the data that was left.
    #[tokio::test]
    async fn each_bookie_of_a_row_takes_a_directory_that_is_free() {
        let row = Row { directory: tempfile::tempdir().unwrap(), metadata: MemoryStore::default() };
        let (first, one) = row.open().await.unwrap();
        let (_second, other) = row.open().await.unwrap();
        assert_ne!(one.bookie, other.bookie);
        first.stop();
        let (_again, back) = row.open().await.unwrap();
        assert_eq!(back.bookie, one.bookie, "the directory that was left is taken before a new one is made");
        let mut names: Vec<_> =
            std::fs::read_dir(row.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["b-1", "b-2"]);
    }

    /// Goal: a row can grow again after one of its bookies was decommissioned.
    #[tokio::test]
    async fn what_a_retired_bookie_has_left_is_passed_over() {
        let row = Row { directory: tempfile::tempdir().unwrap(), metadata: MemoryStore::default() };
        let (bookie, retired) = row.open().await.unwrap();
        bookie.stop();
        let record = BookieRecord {
            bookie: retired.bookie.to_string(),
            standing: BookieStanding::Retired.into(),
            ..BookieRecord::default()
        };
        let put = Operation::put(keys::bookie(&retired.bookie), record.encode_to_vec(), Expect::Any);
        row.metadata.commit(Transaction::new(vec![put])).await.unwrap();
        let (_bookie, fresh) = row.open().await.unwrap();
        assert_ne!(fresh.bookie, retired.bookie);
        let alone = row.directory.path().join("b-1");
        let refused = open_first(&alone, &row.metadata, "", &Options::default(), 1).await;
        assert!(matches!(refused, Err(OpenError::Retired { .. })), "where it is the only one, it says why");
    }

    #[tokio::test]
    async fn a_directory_with_a_fault_is_not_passed_over() {
        let row = Row { directory: tempfile::tempdir().unwrap(), metadata: MemoryStore::default() };
        let first = row.directory.path().join("b-1");
        std::fs::create_dir(&first).unwrap();
        std::fs::write(first.join("photo.jpg"), "of a cat").unwrap();
        assert!(matches!(row.open().await, Err(OpenError::IdentityMissing { .. })));
    }
}
