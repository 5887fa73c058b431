//! What any long-running process needs: configuration, signals, drain, listening, health, telemetry.
//!
//! Owns: the life of a process from its command line to its exit code.
//! Promises: a wrong configuration is refused with every fault named at once; a drain is asked for once and reaches everyone.
//! Never: knows a noun of the message system.
mod advertised;
pub mod config;
mod dependency;
mod drain;
mod failure;
mod health;
pub mod http;
mod memory;
pub mod metrics;
mod net;
mod process; // In the order a process lives.
mod spelling;
pub mod telemetry;
mod values;

pub use advertised::advertised;
pub use config::Settings;
pub use dependency::{PATIENCE, retry_until};
pub use drain::Drain;
pub use failure::{Exit, Failure};
pub use health::Health;
pub use net::bind;
pub use process::{GRACE, announce_ready, answer_command_line, run, supervise};
pub use spelling::spelled;
pub use values::{ByteSize, HostPort, Problems};
