//! The words on the wire and on record, and nothing that moves them.
//!
//! Owns: ids, topic names, Pulsar frames and commands, the bookie service's messages, persisted records and their keys.
//! Promises: what is encoded decodes to the same; a decoder never reserves memory for a size it has not checked.
//! Never: opens a socket, starts a task, reads a clock.
pub mod batch;
pub mod digest;
pub mod entry;
pub mod frame; // A client's bytes: frame, then the entry inside it, then the batch inside that.
pub mod ids; // What everything is called.
pub mod keys;
pub mod topic; // Between broker and bookie.

/// Commands and metadata of the Pulsar binary protocol, generated from `proto/pulsar/`.
#[allow(missing_docs, clippy::large_enum_variant, clippy::enum_variant_names, clippy::doc_lazy_continuation)]
pub mod pulsar {
    include!(concat!(env!("OUT_DIR"), "/pulsar.proto.rs"));
}

/// The exchange between brokers and bookies, generated from `proto/bookie.proto`.
#[allow(missing_docs, clippy::large_enum_variant, clippy::doc_lazy_continuation)]
pub mod bookie {
    include!(concat!(env!("OUT_DIR"), "/geminga.bookie.rs"));
}

/// What is kept in metadata and in cursor ledgers, generated from `proto/records/`.
#[allow(missing_docs, clippy::large_enum_variant, clippy::doc_lazy_continuation)]
pub mod records {
    include!(concat!(env!("OUT_DIR"), "/geminga.records.rs"));
}

pub use ids::{BookieId, EntryId, LedgerId, Position};
pub use topic::{Domain, NamespaceName, TopicName, TopicNameError};
