//! `geminga doctor`: looks whether a broker or a bookie could live here, before one does, and says what stands in its way.
//!
//! Changes nothing but a file of a moment in the bookie's directory, with which it measures the disk.
mod disk;
mod metadata; // In the order of a start: where it listens, who knows it, what it needs.
mod network;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use daemon::config::{Loaded, Sources, load};
use daemon::{Failure, Settings};
use serde::Serialize;
use serde::de::DeserializeOwned;

use report::{Finding, Report};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What would run here; without it, both
    #[arg(value_enum)]
    process: Option<Kind>,
    /// Its configuration file
    #[arg(long, value_name = "FILE", requires = "process")]
    config: Option<PathBuf>,
    /// What is set on its command line
    #[arg(long, value_name = "KEY=VALUE", requires = "process")]
    set: Vec<String>,
    /// For people or for scripts
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Broker,
    Bookie,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Prints what is found. Anything that would keep a process from serving is the exit code 75; what is merely odd is not.
pub(crate) async fn run(arguments: Arguments, now: Duration) -> Result<(), Failure> {
    let sources = Sources { file: arguments.config, environment: std::env::vars_os().collect(), set: arguments.set };
    let mut report = Report::default();
    if arguments.process != Some(Kind::Bookie) {
        broker(&loaded(&sources)?, now, &mut report).await;
    }
    if arguments.process != Some(Kind::Broker) {
        bookie(&loaded(&sources)?, now, &mut report).await;
    }
    match arguments.output {
        Output::Text => print!("{report}"),
        Output::Json => println!("{}", report.json()),
    }
    match report.bad() {
        0 => Ok(()),
        bad => Err(Failure::try_again(format!("{bad} of these would keep a process from serving"))),
    }
}

fn loaded<C>(sources: &Sources) -> Result<C, Failure>
where
    C: Serialize + DeserializeOwned + Default + Settings,
{
    load(sources).map(|Loaded { config, .. }| config)
}

async fn broker(config: &broker::Config, now: Duration, report: &mut Report) {
    report.begin("broker");
    network::ports(&[("listen", &config.listen), ("http_listen", &config.http_listen)], report).await;
    network::advertised(&config.advertised_address, &config.listen, report).await;
    let store = metadata::examine(&config.metadata, &config.cluster, now, report).await;
    if let Some(store) = store {
        let quorum = config.quorum();
        report.note("bookies", metadata::bookies(store.as_ref(), quorum.ensemble, quorum.write, quorum.ack).await);
    }
}

async fn bookie(config: &bookie::Config, now: Duration, report: &mut Report) {
    report.begin("bookie");
    network::ports(&[("listen", &config.listen), ("http_listen", &config.http_listen)], report).await;
    network::advertised(&config.advertised_address, &config.listen, report).await;
    metadata::examine(&config.metadata, &config.cluster, now, report).await;
    let directory = config.data_dir.clone();
    let examined = tokio::task::spawn_blocking(move || disk::examine(&directory)).await;
    let findings = examined.unwrap_or_else(|error| vec![("disk", Finding::Bad(error.to_string()))]);
    findings.into_iter().for_each(|(what, finding)| report.note(what, finding));
}
