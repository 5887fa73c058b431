//! `geminga standalone`: a broker, one bookie and their metadata in one process.
//!
//! The parts that are this room's own. They meet in a `run` once the broker can be served as a library; until then the command
//! line does not know the word.
#![allow(dead_code)] // Until they meet.
mod banner;
mod bookies; // In the order of use.
mod place;

use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where everything is kept
    #[arg(long, value_name = "DIR", default_value = "data")]
    data_dir: PathBuf,
    /// Where clients connect; 0 picks a free port
    #[arg(long, value_name = "PORT", default_value_t = 6650)]
    broker_port: u16,
    /// Where administration, health and metrics are served; 0 picks a free port
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    http_port: u16,
}
