//! Removing the objects of an attempt.
use futures::TryStreamExt;
use object_store::ObjectStoreExt;

use super::error::ObjectError;
use super::name::Attempt;
use super::patience::{Failed, SMALL, persist};
use super::stores::Store;

/// Listings of one call. An attempt has few objects: more than that, and somebody is writing them.
const ROUNDS: u32 = 5;

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deleted {
    /// How many.
    pub objects: u64,
    /// Of all together.
    pub bytes: u64,
}

/// Deletes whatever lies under the attempt's names, and lists them again until there is nothing. Repeat it until it succeeds.
pub async fn delete(store: &Store, attempt: &Attempt) -> Result<Deleted, ObjectError> {
    let deleted = delete_all(store, attempt).await;
    store.offloading().deleted(&attempt.topic, deleted.is_ok());
    deleted
}

async fn delete_all(store: &Store, attempt: &Attempt) -> Result<Deleted, ObjectError> {
    let prefix = store.path(&attempt.prefix());
    let mut deleted = Deleted::default();
    for _ in 0..ROUNDS {
        let list = || store.objects().list(Some(&prefix)).try_collect::<Vec<_>>();
        let listed = match persist(SMALL, store.jitter(), list).await {
            Ok(listed) => listed,
            // Where nothing is, a store answers with an empty list: a 404 says nothing about what is there.
            Err(Failed::Missing) => {
                let reason = "a list of objects was answered with 404".into();
                return Err(ObjectError::Unavailable { object: store.text(&prefix), reason });
            }
            Err(failed) => return Err(failed.of(store.text(&prefix))),
        };
        if listed.is_empty() {
            return Ok(deleted);
        }
        for object in listed {
            match persist(SMALL, store.jitter(), || store.objects().delete(&object.location)).await {
                Ok(()) | Err(Failed::Missing) => {}
                Err(failed) => return Err(failed.of(store.text(&object.location))),
            }
            deleted.objects += 1;
            deleted.bytes += object.size;
        }
    }
    Err(ObjectError::Unavailable { object: store.text(&prefix), reason: "objects are still listed".into() })
}
