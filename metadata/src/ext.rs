//! Conveniences over the seam.
use std::future::Future;

use bytes::Bytes;

use crate::limits::LIST_LIMIT_MAX;
use crate::store::{Error, Expect, Key, MetadataStore, Operation, Record, Transaction, Version};

/// Transactions of one operation, and listings to the end. For every store.
pub trait MetadataStoreExt: MetadataStore {
    /// Writes one record.
    fn put(
        &self,
        key: impl Into<Key> + Send,
        value: impl Into<Bytes> + Send,
        expect: Expect,
    ) -> impl Future<Output = Result<Version, Error>> + Send {
        self.commit(Transaction::new(vec![Operation::put(key, value, expect)]))
    }

    /// Removes one record.
    fn delete(
        &self,
        key: impl Into<Key> + Send,
        expect: Expect,
    ) -> impl Future<Output = Result<Version, Error>> + Send {
        self.commit(Transaction::new(vec![Operation::delete(key, expect)]))
    }

    /// All records below `prefix`. Each page is read at its own moment: a record that changes meanwhile may be seen before or
    /// after its change, one that stays is always seen.
    fn list_all(&self, prefix: &str) -> impl Future<Output = Result<Vec<Record>, Error>> + Send {
        async move {
            let mut records: Vec<Record> = Vec::new();
            loop {
                let after = records.last().map(|record| record.key.clone());
                let page = self.list(prefix, after.as_ref(), LIST_LIMIT_MAX).await?;
                let more = page.more && !page.records.is_empty();
                records.extend(page.records);
                if !more {
                    return Ok(records);
                }
            }
        }
    }
}

impl<S: MetadataStore + ?Sized> MetadataStoreExt for S {}
