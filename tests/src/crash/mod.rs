//! Nothing lost: processes are killed under load, and every promise they made is checked afterwards.
//!
//! Method: one producer numbers its messages and never sends a number twice; one subscription acknowledges most of what it
//! gets, with receipts, and leaves holes. Moments are random, from a seed. At the end a reader reads the topic back.
mod cluster;
mod history; // In the order of a run: what is noted, who makes the load, what is done to the servers.
mod load;
mod power;
mod report;
mod standalone;

pub use cluster::{ClusterRun, crash_cluster};
pub use history::{History, Keeping, ReadBack, number_of, payload};
pub use load::{Load, read_back};
pub use power::{FileSystem, PowerRun, lose_power};
pub use report::Report;
pub use standalone::{StandaloneRun, crash_standalone};
