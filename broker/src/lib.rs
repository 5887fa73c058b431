//! A broker speaks the Pulsar protocol to clients, and turns topics and subscriptions into ledgers and cursors.
//!
//! Owns: connections, the topics whose bundles it holds, their subscriptions and their chains of ledgers.
//! Promises: a receipt or an acknowledgement that was answered survives the death of this process.
//! Never: writes to a disk, or decodes a payload, but for batches that compaction takes apart.
mod clock; // What everyone is given.
mod config;
mod process; // How it is put together.
mod serve;

mod compaction;
mod connection; // In the order a message travels.
mod cursor;
mod log;
#[doc(hidden)]
pub mod offload;
mod outbox;
mod subscription;
mod topic;

mod heed; // What topics are told,
mod intents;
mod listeners;
mod moves; // How that changes while topics are used.
mod namespaces;
mod ownership; // Who may serve what.
mod policies;
mod presence;
mod repair;
mod schemas;
mod survey;
mod upkeep;

mod http; // What administration sees.
mod metrics;
mod pace;
mod rate;
mod stats;

use std::sync::Arc;

use ledger::Ledgers;
use ledger::repair::Repairs;
use metadata::MetadataStore;

pub use clock::Clock;
pub use config::Config;
pub use process::main;
pub use serve::{Bound, House, OtherMetrics, serve};

/// What a connection and an HTTP request need.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    /// How clients reach this broker: advertised `host:port`.
    pub(crate) broker: String,
    /// Names this start of this broker.
    pub(crate) start: String,
    /// Whether clients may come back the way they came, through any port mapping.
    pub(crate) standalone: bool,
    pub(crate) metadata: Arc<dyn MetadataStore>,
    pub(crate) ledgers: Arc<dyn Ledgers>,
    /// What makes copies good, where there is more than one bookie.
    pub(crate) repairs: Option<Arc<Repairs>>,
    pub(crate) ownership: ownership::Ownership,
    pub(crate) namespaces: namespaces::Namespaces,
    pub(crate) schemas: schemas::Schemas,
    pub(crate) policies: policies::Policies,
    pub(crate) topics: topic::Topics,
    pub(crate) moves: moves::Moves,
    pub(crate) balance: moves::Balancer,
    pub(crate) upkeep: upkeep::Upkeep,
}
