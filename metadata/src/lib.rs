//! Who owns what: keys changed by compare-and-set, watched, and bound to leases.
//!
//! Owns: the one trait through which anything that must survive a process is written, and its three stores:
//! etcd for clusters, redb for standalone, memory for tests.
//! Promises: what [`MetadataStore::commit`] answered with `Ok` is durable and seen by every later read.
//! Never: knows what a value means.
pub mod conformance;
mod connect;
mod embedded;
mod envelope;
mod etcd;
mod ext;
mod keyspace;
mod lease;
mod limits;
mod memory;
mod settle;
mod store;
mod watch;

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
