//! What a store can do, found out by trying.
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::error::ObjectError;
use super::format::FormatError;
use super::patience::{Failed, SMALL, persist};
use super::stores::Store;

const CONTENT: &[u8] = b"A store that cannot give back the middle of this sentence cannot be read from.";

/// What a store can do. Safety rests on none of it: names are never used twice, and everything written is read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Whether it refuses to write an object that exists, when asked to.
    pub conditional_create: bool,
}

/// Writes an object, again under the condition that there is none, reads from its middle and deletes it.
pub(super) async fn run(store: &Store) -> Result<Abilities, ObjectError> {
    let path = place(store).join(format!("{:016x}", store.jitter().next()));
    let failed = |failed: Failed| failed.of(store.text(&path));
    let write = |mode: PutMode| {
        let options = PutOptions { mode, ..PutOptions::default() };
        store.objects().put_opts(&path, PutPayload::from_static(CONTENT), options)
    };
    persist(SMALL, store.jitter(), || write(PutMode::Overwrite)).await.map_err(failed)?;
    let create = || async {
        match write(PutMode::Create).await {
            Ok(_) => Ok(false), // Ignored the condition.
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(true),
            Err(Error::NotImplemented { .. } | Error::NotSupported { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    };
    let conditional_create = persist(SMALL, store.jitter(), create).await.map_err(failed)?;
    let range = 8..40_usize;
    let ask = || store.objects().get_range(&path, range.start as u64..range.end as u64);
    let read: Bytes = persist(SMALL, store.jitter(), ask).await.map_err(failed)?;
    let delete = persist(SMALL, store.jitter(), || store.objects().delete(&path)).await;
    if let Err(error) = delete {
        match error {
            Failed::Missing => {} // An earlier try has deleted it.
            error => return Err(failed(error)),
        }
    }
    if read != CONTENT[range] {
        let reason = FormatError::Inconsistent("a range read from it differs from what was written");
        return Err(ObjectError::Corrupt { object: store.text(&path), reason });
    }
    let location = store.location();
    tracing::info!(%location, conditional_create, "the object store answers: written, read by range, deleted");
    Ok(Abilities { conditional_create })
}

/// Removes what probes older than `grace` left: a process that dies in the middle of one leaves its object. Returns how many there were.
pub async fn remove_probes(store: &Store, now_ms: u64, grace: Duration) -> Result<u64, ObjectError> {
    let prefix = place(store);
    let list = || store.objects().list(Some(&prefix)).try_collect::<Vec<_>>();
    let left = persist(SMALL, store.jitter(), list).await.map_err(|failed| failed.of(store.text(&prefix)))?;
    let mut removed = 0;
    for object in left {
        let written_ms = u64::try_from(object.last_modified.timestamp_millis()).unwrap_or(0);
        if Duration::from_millis(now_ms.saturating_sub(written_ms)) <= grace {
            continue;
        }
        match persist(SMALL, store.jitter(), || store.objects().delete(&object.location)).await {
            Ok(()) | Err(Failed::Missing) => removed += 1,
            Err(failed) => return Err(failed.of(store.text(&object.location))),
        }
    }
    Ok(removed)
}

fn place(store: &Store) -> Path {
    store.path(&Path::from_iter(["geminga", "probe"]))
}

#[cfg(test)]
mod tests {
    use super::super::location::Location;
    use super::super::requests::Operation;
    use super::super::rig;
    use super::super::stores::{Kinds, Stores};
    use super::*;

    #[tokio::test]
    async fn a_store_is_probed_once_and_nothing_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let stores = Stores::new(7, Kinds::All);
        for location in
            [Location::Memory { name: "a".into() }, Location::Directory { path: directory.path().to_path_buf() }]
        {
            let store = stores.open(&location).unwrap();
            assert!(store.probe().await.unwrap().conditional_create, "{location}");
            let after_one = store.requests().made(Operation::Put);
            store.probe().await.unwrap();
            assert_eq!(store.requests().made(Operation::Put), after_one);
            let left: Vec<_> = futures::StreamExt::collect::<Vec<_>>(store.objects().list(None)).await;
            assert!(left.is_empty(), "{left:?}");
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_a_probe_left_goes_once_it_is_old() {
        let store = rig::memory();
        let left = place(&store).join("00000000000000ff");
        store.objects().put(&left, CONTENT.into()).await.unwrap();
        let written = store.objects().head(&left).await.unwrap().last_modified.timestamp_millis() as u64;
        let hour = Duration::from_secs(3600);
        assert_eq!(remove_probes(&store, written + 3_600_000, hour).await.unwrap(), 0, "a probe may be under way");
        assert_eq!(remove_probes(&store, written + 3_600_001, hour).await.unwrap(), 1);
        assert!(store.objects().head(&left).await.is_err());
    }
}
