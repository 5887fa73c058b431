//! What is left of a topic when only the last message of each key counts.
//!
//! Owns: the decision which messages stay, and how a batch is written from which some go. Values without I/O.
//! Promises: of each key the last message stays, unless that is empty; what cannot be looked into stays as it is; memory is bounded, however
//! many keys there are.
//! Never: reads or writes a log, or knows where entries come from.
mod codec; // How payloads are packed,
mod contents; // what entries say,
mod latest; // which messages stay,
mod pass; // and one compaction from its first entry to its last.
mod rewrite;

pub(crate) use pass::{Outcome, Pass, PassError, Then};

/// Keys that a pass holds at a time. A hash table of 2^21 places takes so many without growing: 52 MiB.
pub(crate) const KEYS_MAX: usize = (1 << 21) / 8 * 7;
