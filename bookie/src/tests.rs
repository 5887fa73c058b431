//! Tests of the store as a whole, on the model disk.
mod clients;
mod corruption;
mod crashes;
mod fixtures;
mod full;
mod limbo;
mod process;
mod promises;
mod running;
mod space;

use std::sync::Arc;

use bytes::Bytes;
use proto::bookie::request::Body;
use proto::bookie::{Add, Answer, Delete, Fence, Held, Read, Request, Status};
use proto::digest::entry_digest;
use proto::{EntryId, LedgerId};

use crate::{Disk, Identity, OpenError, Options, SimDisk, Store};

pub(crate) fn identity() -> Identity {
    Identity { bookie: "bookie-1".parse().unwrap(), cluster: "cluster-1".into(), created_at: 5 }
}

/// Small segments, so that few entries fill them.
pub(crate) fn options() -> Options {
    Options { segment_bytes: 64 << 10, cache_bytes: 1 << 20, reserve_bytes: 0, seed: 1, ..Options::default() }
}

/// Opens as a process does: claims, stores the identity at the first start.
pub(crate) fn open(disk: &SimDisk, seed: u64) -> Result<Store, OpenError> {
    open_sized(disk, seed, options().segment_bytes)
}

pub(crate) fn open_sized(disk: &SimDisk, seed: u64, segment_bytes: u64) -> Result<Store, OpenError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    if Identity::claim(disk.as_ref())?.is_none() {
        identity().store(disk.as_ref())?;
    }
    Store::open(disk, &identity(), Options { seed, segment_bytes, ..options() })
}

/// Deterministic bytes of an entry.
pub(crate) fn payload(ledger: u64, entry: u64, size: usize) -> Bytes {
    (0..size).map(|at| (ledger * 31 + entry * 7 + at as u64) as u8).collect::<Vec<_>>().into()
}

pub(crate) fn add_of(ledger: u64, entry: u64, payload: Bytes) -> Add {
    let length = (entry + 1).saturating_mul(10_000).max(payload.len() as u64);
    let digest = entry_digest(LedgerId(ledger), EntryId(entry), length, &payload);
    Add { entry, confirmed: entry, length, digest, payload, ..Add::default() }
}

pub(crate) fn add(id: u64, ledger: u64, entry: u64, size: usize) -> Request {
    Request { id, ledger, body: Some(Body::Add(add_of(ledger, entry, payload(ledger, entry, size)))) }
}

pub(crate) fn recovery_add(id: u64, ledger: u64, entry: u64, size: usize) -> Request {
    let add = Add { recovery: true, ..add_of(ledger, entry, payload(ledger, entry, size)) };
    Request { id, ledger, body: Some(Body::Add(add)) }
}

pub(crate) fn fence(id: u64, ledger: u64) -> Request {
    Request { id, ledger, body: Some(Body::Fence(Fence {})) }
}

pub(crate) fn delete(id: u64, ledger: u64) -> Request {
    Request { id, ledger, body: Some(Body::Delete(Delete {})) }
}

pub(crate) fn held(id: u64, ledger: u64) -> Request {
    Request { id, ledger, body: Some(Body::Held(Held {})) }
}

pub(crate) fn read(id: u64, ledger: u64, first: u64, end: u64) -> Request {
    Request { id, ledger, body: Some(Body::Read(Read { first, end, bytes_max: 1 << 20, fence: false })) }
}

pub(crate) fn fencing_read(id: u64, ledger: u64, first: u64, end: u64) -> Request {
    Request { id, ledger, body: Some(Body::Read(Read { first, end, bytes_max: 1 << 20, fence: true })) }
}

/// The one answer to the one request.
pub(crate) fn ask(store: &mut Store, request: Request) -> Answer {
    let mut answers = store.step(vec![request]).unwrap();
    assert_eq!(answers.len(), 1, "{answers:?}");
    answers.remove(0)
}

pub(crate) fn status(store: &mut Store, request: Request) -> Status {
    ask(store, request).status()
}
