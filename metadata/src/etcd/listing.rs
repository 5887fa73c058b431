//! Pages of listings, asked for in narrow ranges.
//!
//! For each answer etcd counts all keys of the range it was asked for, however few it sends, and lets nobody write meanwhile: 25 ms
//! with a hundred thousand of them. So a page begins with the nearest keys and goes on with wider ranges until it is full. The first
//! page of a listing, of which no key is known, is the exception.
use etcd_client::{GetOptions, KeyValue};
use tokio::time::Instant;

use super::failure::Failure;
use super::{EtcdStore, end_of, until};
use crate::store::{DEADLINE, Error, Key, Page};

/// Larger answers are asked for again in halves, and a page that holds as much has enough.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Ranges that together are what lies below a prefix and after a key, the nearest and narrowest first.
#[derive(Debug)]
struct Ranges {
    /// Bytes of the prefix.
    prefix: usize,
    /// The key after which to begin. Of the whole listing: the prefix.
    key: Vec<u8>,
    /// The range ends with the keys that have as many of its bytes.
    shared: usize,
    start: Vec<u8>,
}

impl Ranges {
    /// Those below `prefix` and after `after`. `None` when nothing can lie there.
    fn new(prefix: &str, after: Option<&str>) -> Option<Self> {
        let whole = |prefix: &str| {
            let key = prefix.as_bytes().to_vec();
            Self { prefix: key.len(), shared: key.len(), start: key.clone(), key }
        };
        match after {
            Some(after) if after.starts_with(prefix) => {
                let mut ranges = whole(prefix);
                ranges.key = after.as_bytes().to_vec();
                ranges.start = [after.as_bytes(), b"\0"].concat(); // The next key there can be.
                ranges.shared = after.len().saturating_sub(2).max(prefix.len());
                Some(ranges)
            }
            Some(after) if prefix < after => None,
            _ => Some(whole(prefix)),
        }
    }

    /// The first key of the range.
    fn start(&self) -> Vec<u8> {
        self.start.clone()
    }

    /// The first key behind the range.
    fn end(&self) -> Vec<u8> {
        end_of(&self.key[..self.shared])
    }

    /// Goes on to the next one. `false`: this was the last.
    fn widen(&mut self) -> bool {
        if self.shared == self.prefix {
            return false;
        }
        self.start = self.end();
        let cut = self.key.len() - self.shared;
        // Names may be long: a byte at a time would take a request for each.
        self.shared = self.shared.saturating_sub((cut / 4).max(1)).max(self.prefix);
        true
    }
}

/// See [`MetadataStore::list`](crate::MetadataStore::list).
pub(super) async fn list(
    store: &EtcdStore,
    prefix: &str,
    after: Option<&Key>,
    mut limit: usize,
) -> Result<Page, Error> {
    let deadline = Instant::now() + DEADLINE;
    let mut page = Page { records: Vec::new(), more: false };
    let after = after.map(|after| store.full(after.as_str()));
    let Some(mut ranges) = Ranges::new(&store.full(prefix), after.as_deref()) else { return Ok(page) };
    let mut bytes = 0;
    loop {
        // With one too many it is known whether there are more.
        let (pairs, more) = ask(store, &ranges, limit + 1 - page.records.len(), deadline).await?;
        for pair in pairs {
            bytes += pair.value().len();
            page.records.push(store.record(pair)?);
        }
        page.more = more || limit < page.records.len();
        if page.more || !ranges.widen() {
            page.records.truncate(limit);
            return Ok(page);
        }
        if PAGE_BYTES_MAX <= bytes {
            limit = page.records.len(); // It has enough. All that is left to know is whether there are more.
        }
    }
}

/// The first `limit` records of the range, or fewer if they are large, and whether it has more.
async fn ask(
    store: &EtcdStore,
    ranges: &Ranges,
    limit: usize,
    deadline: Instant,
) -> Result<(Vec<KeyValue>, bool), Error> {
    let mut limit = i64::try_from(limit).expect("a thousand and one at most");
    loop {
        let options = GetOptions::new().with_range(ranges.end()).with_limit(limit);
        let answer = until(deadline, || {
            let mut kv = store.client.kv_client().max_decoding_message_size(PAGE_BYTES_MAX);
            let (start, options) = (ranges.start(), options.clone());
            async move { kv.get(start, Some(options)).await }
        });
        match answer.await {
            Ok(mut answer) => return Ok((answer.take_kvs(), answer.more())),
            Err(Failure::TooLarge(_)) if 1 < limit => limit /= 2,
            Err(failure) => return Err(failure.into_error()),
        }
    }
}

#[cfg(test)]
mod tests;
