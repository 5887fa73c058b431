//! What any long-running process needs: configuration, signals, drain, listening, health, telemetry.
//!
//! Owns: the life of a process from its command line to its exit code.
//! Promises: a wrong configuration is refused with every fault named at once; a drain is asked for once and reaches everyone.
//! Never: knows a noun of the message system.
mod drain; // In the order a process lives.
mod failure;
mod net;
mod values;

pub use drain::Drain;
pub use failure::{Exit, Failure};
pub use net::bind;
pub use values::{ByteSize, HostPort, Problems};
