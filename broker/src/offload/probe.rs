//! What a store can do, found out by trying.
use bytes::Bytes;
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
    let path = store.path(&Path::from_iter(["geminga", "probe", &format!("{:016x}", store.jitter().next())]));
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

#[cfg(test)]
mod tests {
    use super::super::location::Location;
    use super::super::requests::Operation;
    use super::super::stores::{Kinds, Stores};

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
}
