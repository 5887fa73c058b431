//! Ledgers as objects: how they are written to an object store, read back, and removed.
//!
//! Owns: the format of objects, the requests to stores, the one cache of blocks read from them.
//! Promises: an upload that returned was read back whole and is what the bookies gave; a read gives the bytes that were published
//! or an error that names the object; nothing is held beyond the bounds given to the constructors.
//! Never: knows a topic's record, or decides what is offloaded or deleted.
//!
//! A [`Location`] is a URL without credentials, made from what a record or a policy says; [`Stores`] opens it. [`upload()`] writes the
//! objects of an [`Attempt`] and reads them back; [`delete()`] removes them. [`Objects`] reads an [`OffloadedLedger`], as
//! [`ledger::Ledgers::read`] reads a ledger. [`list()`] and [`scrub()`] compare a store with the records.
mod location; // Where objects lie, and what they are called.
mod name;

mod error; // How stores are asked.
mod parts;
mod patience;
mod probe;
mod requests;
mod stores;

mod format; // What an object is.

mod delete;
mod fetch; // From the bookies to objects, and from objects to readers.
mod objects;
mod presence;
mod upload;

mod cost; // What people are told.
mod metrics;
mod scrub;

pub mod faults;
#[cfg(test)]
mod rig;

pub use cost::{Cost, Prices, Usage, monthly_cost};
pub use delete::{Deleted, delete};
pub use error::{ObjectError, Retry};
pub use format::FormatError;
pub use location::{Driver, Location, LocationError};
pub use metrics::{Offloading, render};
pub use name::{Attempt, AttemptId, AttemptIds, ObjectName, seed, topic_hash};
pub use objects::{CacheNumbers, Objects, OffloadedLedger, Sequence};
pub use presence::still_there;
pub use probe::{Abilities, remove_probes};
pub use requests::{Operation, Requests};
pub use scrub::{Findings, Listed, Missing, Orphan, Referred, list, remove_orphans, scrub, still_missing};
pub use stores::{Backend, Kinds, Store, Stores};
pub use upload::{UploadError, Uploaded, ledger_entries, upload};
