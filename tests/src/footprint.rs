//! What a process costs before anyone uses it: its file, the time until it serves, the memory it then holds.
use std::fmt::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use daemon::Failure;

use crate::cluster::{Etcd, Process};
use crate::deadline::under_load_for;

const READY_WITHIN: Duration = Duration::from_secs(60);

/// What to measure.
#[derive(Debug, Clone)]
pub struct FootprintRun {
    /// The file `geminga`; its other names are links to it.
    pub program: PathBuf,
    /// Starts of each process. Odd, so that the median is one of them.
    pub rounds: usize,
    /// From ready until memory is read.
    pub idle: Duration,
    /// For data and output. Must be there.
    pub directory: PathBuf,
}

/// What one kind of process costs.
#[derive(Debug, Clone, PartialEq)]
pub struct Footprint {
    /// What it is called.
    pub name: &'static str,
    /// On an empty directory, where it has one: the median.
    pub first_start: Duration,
    /// On what the first start has left: the median.
    pub start: Duration,
    /// Held while nobody asks for anything, at most over all rounds.
    pub resident_bytes: u64,
}

/// All of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Footprints {
    /// Of the one file.
    pub file_bytes: u64,
    /// By kind of process.
    pub processes: Vec<Footprint>,
}

impl Footprints {
    /// Rows of a table.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!("the file `geminga` has {:.1} MB\n\n", self.file_bytes as f64 / 1e6);
        text.push_str(
            "| process | first start to ready ms | later start to ready ms | idle resident MiB |\n|---|---|---|---|\n",
        );
        for one in &self.processes {
            let ms = |time: Duration| time.as_secs_f64() * 1000.0;
            let (first, later, mib) =
                (ms(one.first_start), ms(one.start), one.resident_bytes as f64 / f64::from(1 << 20));
            let _ = writeln!(text, "| {} | {first:.0} | {later:.0} | {mib:.1} |", one.name); // Texts take all.
        }
        text
    }
}

/// Starts each kind of process again and again, one after another, beside one etcd.
pub async fn measure(run: &FootprintRun) -> Result<Footprints, Failure> {
    let file_bytes = run.program.metadata().map_err(Failure::usage)?.len();
    let program = std::path::absolute(&run.program).map_err(Failure::usage)?;
    for name in ["geminga", "geminga-broker", "geminga-bookie"] {
        symlink(&program, run.directory.join(name)).map_err(Failure::internal)?;
    }
    let etcd = Etcd::start(&run.directory).await?;
    let metadata = format!("metadata={}", etcd.url());
    let mut processes = Vec::new();
    for (name, program) in
        [("broker", "geminga-broker"), ("bookie", "geminga-bookie"), ("proxy", "geminga"), ("standalone", "geminga")]
    {
        let (mut first, mut later, mut resident_bytes) = (Vec::new(), Vec::new(), 0);
        for round in 0..run.rounds {
            let data = run.directory.join(format!("data-{name}-{round}"));
            let (mut process, took) = start(run, name, program, &metadata, &data).await?;
            first.push(took);
            under_load_for(run.idle).await; // The load is none.
            resident_bytes = process.spending().resident_bytes.max(resident_bytes);
            process.drain(READY_WITHIN).await?;
            let (mut process, took) = start(run, name, program, &metadata, &data).await?;
            later.push(took);
            process.drain(READY_WITHIN).await?;
        }
        processes.push(Footprint { name, first_start: median(first), start: median(later), resident_bytes });
    }
    Ok(Footprints { file_bytes, processes })
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

async fn start(
    run: &FootprintRun,
    name: &'static str,
    program: &str,
    metadata: &str,
    data: &Path,
) -> Result<(Process, Duration), Failure> {
    let data = data.display();
    let line = match name {
        "broker" => format!("--set {metadata} --set listen=127.0.0.1:0 --set http_listen=127.0.0.1:0"),
        "bookie" => {
            format!("--set {metadata} --set data_dir={data} --set listen=127.0.0.1:0 --set http_listen=127.0.0.1:0")
        }
        "proxy" => "proxy --brokers=127.0.0.1:1 --listen=127.0.0.1:0 --http-listen=127.0.0.1:0".into(),
        _ => format!("standalone --data-dir {data} --broker-port 0 --http-port 0"),
    };
    let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let begun = Instant::now();
    let mut process = Process::start(name, &run.directory.join(program), &arguments, &[], &run.directory)?;
    let serves = |printed: &str| (printed.contains("\"ready\":true") || printed.contains("pulsar://")).then_some(());
    process.ready(READY_WITHIN, serves).await?;
    Ok((process, begun.elapsed()))
}
