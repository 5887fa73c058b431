//! Geminga as its users meet it: processes, real clients, real faults. Small versions of what `geminga-check` does at full size.
mod administration; // What must work.
mod bad_input; // What must not hurt.
mod behaviours;
mod bookies;
mod clients;
mod compaction; // What is left of keys.
mod configuration;
mod dashboards;
mod deduplication; // What is stored once.
mod disk_full;
mod faults;
mod limbo;
mod moves;
mod one_binary;
mod programs; // How programs of others are run.
mod promises; // What must hold.
mod proxy;
mod reach;
mod retention;
mod rust_client;
mod schemas;
mod space; // What it costs.
mod stores;
mod telemetry;
mod tiering;

use tempfile::TempDir;

/// A directory for the data and the output of one test.
fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory can be made")
}
