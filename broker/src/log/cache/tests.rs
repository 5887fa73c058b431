use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use ledger::{Above, Entry, LedgerError, LedgerWriter, Ledgers, QuorumPolicy, Sealed};
use metadata::Operation;
use proto::{EntryId, LedgerId};

use super::{EntryCache, RUN_BYTES};

const LEDGER: LedgerId = LedgerId(1);

fn entries(range: std::ops::Range<u64>) -> Vec<Bytes> {
    range.map(|number| number.to_string().into()).collect()
}

fn get(cache: &EntryCache, first: u64, end: u64) -> Vec<Bytes> {
    cache.get(LEDGER, EntryId(first), EntryId(end), usize::MAX)
}

#[test]
fn what_was_put_in_comes_out_without_gaps() {
    let cache = EntryCache::new(1 << 20);
    cache.insert(LEDGER, EntryId(10), &entries(10..20));
    cache.insert(LEDGER, EntryId(5), &entries(5..12));
    cache.insert(LEDGER, EntryId(22), &entries(22..23));
    assert_eq!(get(&cache, 6, 100), entries(6..20));
    assert_eq!(get(&cache, 6, 8), entries(6..8));
    assert!(get(&cache, 20, 100).is_empty() && get(&cache, 4, 100).is_empty());
    cache.insert(LEDGER, EntryId(0), &entries(0..30));
    assert_eq!(get(&cache, 0, 100), entries(0..30));
    assert!(cache.get(LedgerId(2), EntryId(0), EntryId(9), 9).is_empty());
}

/// Goal: what is held is what is counted.
#[test]
fn a_lone_entry_does_not_hold_on_to_the_buffer_it_came_in() {
    let cache = EntryCache::new(1 << 20);
    let buffer = Bytes::from(vec![7; 8 * 1024]);
    cache.insert(LEDGER, EntryId(0), &[buffer.slice(..10), buffer.slice(10..30)]);
    assert!(buffer.is_unique());
    assert_eq!(get(&cache, 0, 2), [buffer.slice(..10), buffer.slice(10..30)]);
    cache.insert(LEDGER, EntryId(2), &[buffer.slice(..5000)]);
    assert!(!buffer.is_unique(), "most of it is an entry: copying it would only cost");
}

#[test]
fn the_bound_in_bytes_holds_and_the_oldest_goes_first() {
    let bound = 8 * RUN_BYTES;
    let cache = EntryCache::new(bound);
    let large = Bytes::from(vec![0; RUN_BYTES / 4]);
    for entry in 0..100 {
        cache.insert(LEDGER, EntryId(entry), std::slice::from_ref(&large));
        assert!(cache.bytes() <= bound);
        assert_eq!(get(&cache, entry, entry + 1).len(), 1, "the newest is there");
    }
    assert!(get(&cache, 0, 1).is_empty());
    cache.insert(LEDGER, EntryId(100), &[Bytes::from(vec![0; bound])]);
    assert_eq!(cache.bytes(), 0, "what does not fit is not kept");
}

#[derive(Debug, Default)]
struct SlowLedgers {
    reads: AtomicUsize,
}

#[async_trait]
impl Ledgers for SlowLedgers {
    async fn next_id(&self, _: Above) -> Result<LedgerId, LedgerError> {
        unreachable!("only read from")
    }

    async fn create(
        &self,
        _: LedgerId,
        _: QuorumPolicy,
        _: &str,
        _: Vec<Operation>,
    ) -> Result<Box<dyn LedgerWriter>, LedgerError> {
        unreachable!("only read from")
    }

    async fn read(&self, _: LedgerId, wanted: std::ops::Range<EntryId>, _: usize) -> Result<Vec<Entry>, LedgerError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(std::time::Duration::from_secs(1)).await; // Paused: it only lets the others come.
        let entry = |entry| Entry { entry: EntryId(entry), payload: entry.to_string().into() };
        Ok((wanted.start.0..wanted.end.0).map(entry).collect())
    }

    async fn seal(&self, _: LedgerId) -> Result<Sealed, LedgerError> {
        unreachable!("only read from")
    }

    async fn delete(&self, _: LedgerId) -> Result<(), LedgerError> {
        unreachable!("only read from")
    }
}

#[tokio::test(start_paused = true)]
async fn readers_of_the_same_share_one_read_and_a_reader_that_leaves_harms_nobody() {
    let cache = EntryCache::new(1 << 20);
    let slow = Arc::new(SlowLedgers::default());
    let ledgers: Arc<dyn Ledgers> = slow.clone();
    let read = |first: u64| cache.read(&ledgers, LEDGER, EntryId(first), EntryId(50), 1000);
    {
        let mut leaver = Box::pin(read(0));
        assert!(futures::poll!(&mut leaver).is_pending());
    }
    let (a, b, c) = futures::join!(read(0), read(0), read(7));
    assert_eq!((a.unwrap().len(), b.unwrap().len(), c.unwrap().len()), (50, 50, 50));
    assert_eq!(slow.reads.load(Ordering::SeqCst), 2, "one of them was given up");
    assert_eq!(get(&cache, 0, 50), entries(0..50));
    assert!(cache.state.lock().reads.is_empty());
}
