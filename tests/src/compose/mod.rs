//! The shipped compose file: read as text, and on a real engine, where it is built, started, killed, scaled and started again.
//!
//! Owns: one project of Compose, under a name and on ports that no user's project has.
//! Promises: takes its containers and volumes away when it ends, also when it fails.
mod file; // What it says,
mod project; // what Compose and the engine are told,
mod run; // and in which order.

pub use file::{ComposeFile, yaml};
pub use project::{Container, Project};
pub use run::{ComposeRun, Findings, check_compose};
