//! Geminga as its users meet it: processes, real clients, real faults. Small versions of what `geminga-check` does at full size.
mod bad_input; // What must not hurt.
mod clients; // What must work.
mod configuration;
mod dashboards;
mod one_binary;
mod promises; // What must hold.
mod proxy;
mod reach;
mod rust_client;

use tempfile::TempDir;

/// A directory for the data and the output of one test.
fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory can be made")
}
