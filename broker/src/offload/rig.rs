//! What tests of this room share: payloads that tell where they belong, sources, stores, and a plain reader.
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, TryStreamExt, stream};
use ledger::{Entry, LedgerError, Sealed};
use object_store::ObjectStoreExt;
use proto::{EntryId, LedgerId};

use super::faults::Faults;
use super::format::{Block, Tail};
use super::name::{Attempt, AttemptId};
use super::stores::{Backend, Kinds, Store, Stores};
use super::upload::{Limits, upload_cut};
use super::{Location, OffloadedLedger, Uploaded};

pub(super) const LEDGER: LedgerId = LedgerId(7);

pub(super) fn attempt(id: u64) -> Attempt {
    let topic = "persistent://public/default/orders".parse().unwrap();
    Attempt { instance: "c0ffee".into(), topic, ledger: LEDGER, id: AttemptId(id) }
}

/// Different in every byte that matters for each number.
pub(super) fn payload(number: u64, size: usize) -> Bytes {
    let mut bytes: Vec<u8> = number.to_le_bytes().iter().copied().cycle().take(size).collect();
    if let Some(last) = bytes.last_mut() {
        *last = !*last;
    }
    bytes.into()
}

pub(super) fn sealed(payloads: &[Bytes]) -> Sealed {
    let length = payloads.iter().map(|payload| payload.len() as u64).sum();
    Sealed { end: EntryId(payloads.len() as u64), length }
}

pub(super) fn batch(payloads: &[Bytes], range: Range<usize>) -> Vec<Entry> {
    let entry = |at: usize| Entry { entry: EntryId(at as u64), payload: payloads[at].clone() };
    range.map(entry).collect()
}

/// All entries, so many at once.
pub(super) fn batches(
    payloads: &[Bytes],
    at_once: usize,
) -> impl Stream<Item = Result<Vec<Entry>, LedgerError>> + Send {
    let starts = (0..payloads.len()).step_by(at_once);
    let batches: Vec<_> =
        starts.map(|start| Ok(batch(payloads, start..(start + at_once).min(payloads.len())))).collect();
    stream::iter(batches)
}

pub(super) fn location() -> Location {
    Location::Memory { name: "rig".into() }
}

pub(super) fn memory() -> Arc<Store> {
    Stores::new(3, Kinds::All).open(&location()).unwrap()
}

/// A store in memory behind faults.
pub(super) fn faulty() -> (Arc<Store>, Faults) {
    let (stores, faults) = faulty_stores(Backend::memory());
    (stores.open(&location()).unwrap(), faults)
}

/// The stores of a broker whose one store is behind faults.
pub(super) fn faulty_stores(backend: Backend) -> (Stores, Faults) {
    let (faults, stores) = (Faults::new(11), Stores::new(3, Kinds::All));
    stores.put(&location(), faults.before(backend));
    (stores, faults)
}

pub(super) async fn names(store: &Store) -> Vec<String> {
    let mut names: Vec<String> =
        store.objects().list(None).map_ok(|meta| meta.location.to_string()).try_collect().await.unwrap();
    names.sort();
    names
}

/// Small cuts, so that a small ledger has several objects of several parts.
pub(super) const SMALL_CUTS: Limits = Limits { object_bytes: 8 << 20, part_bytes: 2 << 20 };
/// In one object, as long as it is not large.
pub(super) const ONE_OBJECT: Limits = Limits { object_bytes: 4 << 30, part_bytes: 64 << 20 };

/// Uploads and says how to read it.
pub(super) async fn offloaded(store: &Store, id: u64, payloads: &[Bytes], cuts: Limits) -> OffloadedLedger {
    let uploaded = upload_cut(store, &attempt(id), sealed(payloads), batches(payloads, 50), cuts).await;
    let Uploaded { objects, bytes, .. } = uploaded.unwrap();
    OffloadedLedger { store: store.location().clone(), attempt: attempt(id), objects, bytes }
}

/// Reads all objects of an attempt without any of the reader's means.
pub(super) async fn entries(store: &Store, id: u64) -> Vec<Bytes> {
    let mut found = Vec::new();
    for number in 0.. {
        let path = store.path(&attempt(id).object(number));
        let bytes = store.objects().get(&path).await.unwrap().bytes().await.unwrap();
        let Tail::Open(index) = Tail::parse(&bytes, bytes.len() as u64, &attempt(id), number).unwrap() else {
            panic!("the whole object was given");
        };
        for block in 0..index.blocks() {
            let place = index.block(block);
            let range = usize::try_from(place.bytes().start).unwrap()..usize::try_from(place.bytes().end).unwrap();
            let block = Block::parse(bytes.slice(range), &place, LEDGER, AttemptId(id)).unwrap();
            found.extend((place.first.0..place.end.0).map(|entry| block.entry(EntryId(entry)).unwrap().payload));
        }
        if index.trailer().last {
            break;
        }
    }
    found
}
