//! Who owns what: keys changed by compare-and-set, watched, and bound to leases.
//!
//! Owns: the one trait through which anything that must survive a process is written, and its three stores:
//! etcd for clusters, redb for standalone, memory for tests.
//! Promises: what [`MetadataStore::commit`] answered with `Ok` is durable and seen by every later read.
//! Never: knows what a value means.

// The seam.
mod store;

mod lease;
mod watch;

mod ext;

pub mod conformance;

// What the stores share.
mod limits;

mod keyspace;

mod envelope;

mod settle;

// The stores, and how to open one.
mod memory;

mod embedded;

mod etcd;

mod connect;

pub use connect::{ConnectError, Url, UrlError, connect};
pub use embedded::RedbStore;
pub use etcd::EtcdStore;
pub use ext::MetadataStoreExt;
pub use lease::Lease;
pub use memory::MemoryStore;
pub use store::{
    DEADLINE, Error, Event, Expect, Key, LeaseId, MetadataStore, Operation, Page, Record, Retry, Token, Transaction,
    Version,
};
pub use watch::Watch;
