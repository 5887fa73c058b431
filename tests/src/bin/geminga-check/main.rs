//! Runs the checks at full size. `tests/run` runs a small version of each.
mod clusters;
mod disks;
mod subscriptions;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use broker::offload::Location;
use clap::{Args, Parser, Subcommand};
use daemon::Failure;
use rand::TryRngCore;
use rand::rngs::OsRng;
use tests::backlog::{BacklogRun, fill_and_read_back};
use tests::cluster::s3_server;
use tests::compose::{ComposeRun, Findings, Project, check_compose};
use tests::crash::{self, ClusterRun, FileSystem, Keeping, Load, PowerRun, Report, StandaloneRun};
use tests::footprint::{self, FootprintRun};
use tests::goals::Goals;
use tests::lines::{self, LinesRun};
use tests::moves::{MovesRun, move_under_load};
use tests::offload_read::{self, OffloadReadRun};
use tests::speed::{self, SpeedRun};
use tests::tiering::{self, ReadingRun, StoreKind, Target, ThreeCommandsRun, TieringRun};
use tests::tiering_faults::{self, TieringFaultsRun};

/// Checks what Geminga promises, with real processes. Exit code 0: everything held.
#[derive(Debug, Parser)]
#[command(name = "geminga-check", version)]
struct Arguments {
    #[command(subcommand)]
    check: Check,
}

/// Where a check keeps data, and how its random choices are repeated.
#[derive(Debug, Args)]
struct Place {
    /// Repeats the choices of an earlier run.
    #[arg(long)]
    seed: Option<u64>,
    /// A directory for data and output, made if it is absent and kept. Without it: a temporary one.
    #[arg(long)]
    directory: Option<PathBuf>,
}

/// Who reads from a store at the same time.
#[derive(Debug, Clone, Args)]
struct Readers {
    /// How many start together, one number after the other.
    #[arg(long, value_delimiter = ',', default_value = "1,4,16")]
    readers: Vec<u32>,
    /// How many start equally far apart.
    #[arg(long, default_value_t = 16)]
    apart: u32,
    /// MiB that each of these reads. Without it: all between them.
    #[arg(long)]
    apart_mib: Option<u64>,
}

#[derive(Debug, Subcommand)]
enum Check {
    /// Kills servers with -9 under load and counts what was promised and not kept.
    #[command(subcommand)]
    Crash(Crash),
    /// Cuts the power under a standalone server: needs root, makes and mounts a file system of its own.
    PowerLoss {
        /// Losses of power.
        #[arg(long, default_value_t = 10)]
        times: u32,
        /// What the data lies on.
        #[arg(long, value_enum, default_value = "ext4")]
        file_system: FileSystem,
        /// KEY=VALUE for the server's environment, for instance a preloaded library that makes syncs do nothing.
        #[arg(long)]
        environment: Vec<String>,
        #[command(flatten)]
        place: Place,
    },
    /// Publishes to and reads from any server for a while, with every check but without faults.
    Load {
        /// `host:port` of each broker.
        #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:6650")]
        brokers: Vec<String>,
        /// Messages.
        #[arg(long, default_value_t = 10_000)]
        messages: u64,
        #[command(flatten)]
        place: Place,
    },
    /// Moves a bundle between two brokers while its topics are published to: how long producers wait, and what is lost.
    Moves {
        /// Moves.
        #[arg(long, default_value_t = 1000)]
        moves: usize,
        /// Ends of the broker that has the bundle, in between.
        #[arg(long, default_value_t = 10)]
        drains: usize,
        /// Topics in the bundle.
        #[arg(long, default_value_t = 4)]
        topics: usize,
        #[command(flatten)]
        place: Place,
    },
    /// Fills many topics without a consumer, starts again, reads back, and watches memory.
    Backlog {
        /// Topics.
        #[arg(long, default_value_t = 1000)]
        topics: u32,
        /// Messages of 1 KiB for each: 2 GB over 1000 topics.
        #[arg(long, default_value_t = 2000)]
        messages: u32,
        /// A cluster of processes instead of standalone.
        #[arg(long)]
        cluster: bool,
        /// Wait until bookies have sorted what was written, some ten minutes, and read then.
        #[arg(long)]
        sorted: bool,
        /// Topics read at a time.
        #[arg(long, default_value_t = 1)]
        at_once: usize,
        /// MiB that each process may take.
        #[arg(long, default_value_t = 256)]
        resident_mib_max: u64,
        #[command(flatten)]
        place: Place,
    },
    /// Sends a text file through `geminga produce --lines` and compares what `geminga consume --end` gives.
    Lines {
        /// Any text file.
        file: PathBuf,
        /// Of the server.
        #[arg(long, env = "GEMINGA_URL", default_value = "pulsar://127.0.0.1:6650")]
        url: String,
        /// A topic that nobody has used. Without it: one with a random name.
        #[arg(long)]
        topic: Option<String>,
        #[command(flatten)]
        place: Place,
    },
    #[command(flatten)]
    Stores(Stores),
    #[command(flatten)]
    Image(Image),
    #[command(flatten)]
    Clusters(clusters::Clusters),
    #[command(flatten)]
    Subscriptions(subscriptions::Subscriptions),
    #[command(flatten)]
    Disks(disks::Disks),
    /// Measures a running server under pulsar-perf and prints rows of a table.
    Speed {
        /// Of the server.
        #[arg(long, default_value = "pulsar://127.0.0.1:6650")]
        url: String,
        /// Its admin interface.
        #[arg(long, default_value = "http://127.0.0.1:8080")]
        admin: String,
        /// All processes of the server.
        #[arg(long, value_delimiter = ',', required = true)]
        pids: Vec<u32>,
        /// The command that is pulsar-perf.
        #[arg(long, default_value = "pulsar-perf")]
        perf: String,
        /// Seconds measured for each workload.
        #[arg(long, default_value_t = 25)]
        seconds: u64,
        /// Seconds of load before them.
        #[arg(long, default_value_t = 20)]
        warm_up: u64,
        /// Only workloads whose name contains this.
        #[arg(long, default_value = "")]
        only: String,
        /// How often a byte is stored.
        #[arg(long, default_value_t = 1)]
        copies: u32,
        /// HTTP interfaces of its bookies (of standalone: its own), to tell what their journals wrote.
        #[arg(long, value_delimiter = ',')]
        bookies: Vec<String>,
    },
}

/// What has to do with object stores.
#[derive(Debug, Subcommand)]
enum Stores {
    /// Writes a ledger into an object store and measures how it reads back, beside plain requests for the same objects.
    OffloadRead(OffloadRead),
    /// Moves ledgers to a real store, waits until no bookie has them, starts all again, and reads back by the Python client.
    Tiering {
        /// A cluster of processes instead of standalone.
        #[arg(long)]
        cluster: bool,
        /// What is started to keep objects.
        #[arg(long, value_enum, default_value = "s3")]
        store: StoreKind,
        /// Of all messages, about.
        #[arg(long, default_value_t = 1_000_000_000)]
        bytes: u64,
        /// Topics that share them.
        #[arg(long, default_value_t = 4)]
        topics: u32,
        /// Of a message, about.
        #[arg(long, default_value_t = 16 * 1024)]
        message_bytes: u64,
        /// MiB that each of our processes may take.
        #[arg(long, default_value_t = 512)]
        resident_mib_max: u64,
        #[command(flatten)]
        place: Place,
    },
    /// Moves one topic to a real store and measures how consumers read it there, beside plain requests for the same objects.
    TieredRead {
        /// What is started to keep objects.
        #[arg(long, value_enum, default_value = "s3")]
        store: StoreKind,
        /// Of all messages.
        #[arg(long, default_value_t = 1 << 30)]
        bytes: u64,
        /// Of a message; a batch of small ones is one to the server.
        #[arg(long, default_value_t = 64 * 1024)]
        message_bytes: usize,
        #[command(flatten)]
        readers: Readers,
        #[command(flatten)]
        place: Place,
    },
    /// Kills standalone with -9 while ledgers move to an S3 server that fails in every way, and counts what was lost or left over.
    TieringFaults {
        /// Kills under each fault.
        #[arg(long, default_value_t = 5)]
        times: u32,
        #[command(flatten)]
        place: Place,
    },
    /// Types the three commands of README's section on tiering, on the ports that stand there, and looks whether they do what it says.
    ThreeCommands {
        /// README.
        #[arg(long, default_value = "README.md")]
        readme: PathBuf,
        /// Fetch nothing: take the S3 server that `tests/run` has installed.
        #[arg(long)]
        installed: bool,
        #[command(flatten)]
        place: Place,
    },
}

/// What has to do with the image and how it is deployed.
#[derive(Debug, Subcommand)]
enum Image {
    /// Runs the shipped compose file on the engine that answers. `tests/compose` starts one where none does.
    Compose {
        /// The command that is Compose, with its first arguments.
        #[arg(long, value_delimiter = ' ', default_value = "docker-compose")]
        command: Vec<String>,
        /// The compose file and what lies over it.
        #[arg(long = "file", default_value = "deploy/docker-compose.yml")]
        files: Vec<PathBuf>,
        /// A Python interpreter with pulsar-client.
        #[arg(long)]
        python: Option<PathBuf>,
        /// The directory of check.py.
        #[arg(long, default_value = "tests/python")]
        scripts: PathBuf,
        /// Only what fits into some minutes.
        #[arg(long)]
        small: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Measures what each process costs before anyone uses it.
    Footprint {
        /// The file `geminga`, as the image has it.
        program: PathBuf,
        /// Starts of each process.
        #[arg(long, default_value_t = 11)]
        rounds: usize,
        /// Seconds from ready until memory is read.
        #[arg(long, default_value_t = 10)]
        idle: u64,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Subcommand)]
enum Crash {
    /// One process, killed again and again.
    Standalone {
        /// Kills.
        #[arg(long, default_value_t = 50)]
        times: u32,
        /// Let consumed ledgers leave meanwhile.
        #[arg(long)]
        trim: bool,
        #[command(flatten)]
        place: Place,
    },
    /// etcd, 3 bookies and 2 brokers: a bookie dies, the owning broker dies, the bundle moves.
    Cluster {
        /// Bookies killed.
        #[arg(long, default_value_t = 1)]
        bookie_kills: usize,
        /// Owning brokers killed.
        #[arg(long, default_value_t = 1)]
        broker_kills: usize,
        /// Moves of the bundle.
        #[arg(long, default_value_t = 20)]
        moves: usize,
        /// Entries before the next ledger.
        #[arg(long, default_value_t = 1000)]
        ledger_entries_max: u64,
        /// Let consumed ledgers leave meanwhile.
        #[arg(long)]
        trim: bool,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
struct OffloadRead {
    /// A URL as topics name their stores. Credentials come from the environment.
    #[arg(long)]
    location: Option<Location>,
    /// Without a URL: what is started for it.
    #[arg(long, value_enum, default_value = "directory")]
    store: StoreKind,
    /// Payload of the ledger.
    #[arg(long, default_value_t = 1024)]
    mib: u64,
    /// Of one entry.
    #[arg(long, default_value_t = 64 * 1024)]
    entry_bytes: usize,
    /// Of the reader's cache. The default is the broker's.
    #[arg(long, default_value_t = 128)]
    cache_mib: usize,
    #[command(flatten)]
    readers: Readers,
    #[command(flatten)]
    place: Place,
}

/// A place that is there.
struct Ground {
    seed: u64,
    directory: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Place {
    fn prepare(self) -> Result<Ground, Failure> {
        let seed = match self.seed {
            Some(seed) => seed,
            None => OsRng.try_next_u64().map_err(Failure::internal)?,
        };
        println!("seed {seed}");
        if let Some(directory) = self.directory {
            std::fs::create_dir_all(&directory).map_err(Failure::usage)?;
            return Ok(Ground { seed, directory, _temporary: None });
        }
        let temporary = tempfile::tempdir().map_err(Failure::internal)?;
        Ok(Ground { seed, directory: temporary.path().into(), _temporary: Some(temporary) })
    }
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let outcome = runtime.block_on(Box::pin(run(Arguments::parse().check)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("geminga-check: {failure}");
            failure.exit.into()
        }
    }
}

async fn run(check: Check) -> Result<(), Failure> {
    match check {
        Check::Crash(Crash::Standalone { times, trim, place }) => {
            let ground = place.prepare()?;
            let run =
                StandaloneRun { times, keeping: keeping(trim), seed: ground.seed, directory: ground.directory.clone() };
            verdict(&Box::pin(crash::crash_standalone(&run)).await?)
        }
        Check::Crash(Crash::Cluster { bookie_kills, broker_kills, moves, ledger_entries_max, trim, place }) => {
            let ground = place.prepare()?;
            let (seed, directory) = (ground.seed, ground.directory.clone());
            let keeping = keeping(trim);
            let run = ClusterRun { bookie_kills, broker_kills, moves, ledger_entries_max, keeping, seed, directory };
            verdict(&Box::pin(crash::crash_cluster(&run)).await?)
        }
        Check::PowerLoss { times, file_system, environment, place } => {
            let ground = place.prepare()?;
            let pair = |text: &String| text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
            let environment: Option<Vec<_>> = environment.iter().map(pair).collect();
            let environment = environment.ok_or_else(|| Failure::usage("--environment is KEY=VALUE"))?;
            let directory = ground.directory.clone();
            let run = PowerRun { times, seed: ground.seed, directory, file_system, environment };
            verdict(&Box::pin(crash::lose_power(&run)).await?)
        }
        Check::Load { brokers, messages, place } => {
            let load = Load::over(brokers, Keeping::WhatIsNeeded, place.prepare()?.seed);
            load.receipts_grow_by(messages, "without faults").await?;
            verdict(&load.finish().await?)
        }
        Check::Moves { moves: count, drains, topics, place } => {
            moves(MovesRun { moves: count, drains, topics, seed: 0, directory: PathBuf::new() }, place).await
        }
        Check::Backlog { topics, messages, cluster, sorted, at_once, resident_mib_max, place } => {
            let ground = place.prepare()?;
            let (resident_bytes_max, directory) = (resident_mib_max << 20, ground.directory.clone());
            let (message_bytes, at_once) = (1024, at_once.max(1));
            let run =
                BacklogRun { topics, messages, message_bytes, resident_bytes_max, cluster, sorted, at_once, directory };
            println!("{}", Box::pin(fill_and_read_back(&run)).await?);
            Ok(())
        }
        Check::Lines { file, url, topic, place } => {
            let ground = place.prepare()?;
            let topic = topic.unwrap_or_else(|| format!("persistent://public/default/lines-{}", ground.seed));
            let (directory, within) = (ground.directory.clone(), Duration::from_secs(3600));
            println!("{}", lines::round_trip(&LinesRun { file, url, topic, directory, within }).await?);
            Ok(())
        }
        Check::Stores(check) => Box::pin(run_with_stores(check)).await,
        Check::Image(check) => Box::pin(run_of_image(check)).await,
        Check::Clusters(check) => Box::pin(clusters::run(check)).await,
        Check::Subscriptions(check) => Box::pin(subscriptions::run(check)).await,
        Check::Disks(check) => Box::pin(disks::run(check)).await,
        Check::Speed { url, admin, pids, perf, seconds, warm_up, only, copies, bookies } => {
            let (measure, warm_up) = (Duration::from_secs(seconds), Duration::from_secs(warm_up));
            Box::pin(speed::measure(&SpeedRun { url, admin, pids, perf, measure, warm_up, only, copies, bookies }))
                .await
        }
    }
}

async fn run_of_image(check: Image) -> Result<(), Failure> {
    match check {
        Image::Compose { command, files, python, scripts, small, place } => {
            let seed = place.prepare()?.seed;
            let full = |path: PathBuf| std::path::absolute(path).map_err(Failure::usage);
            let files = files.into_iter().map(full).collect::<Result<_, _>>()?;
            let (project, scripts) = (Project { command, files }, full(scripts)?);
            let run = ComposeRun { project, python, scripts, all: !small, seed };
            let Findings { steps, report } = Box::pin(check_compose(&run)).await?;
            for (step, took) in steps {
                println!("{:>7.1} s  {step}", took.as_secs_f64());
            }
            verdict(&report)
        }
        Image::Footprint { program, rounds, idle, place } => {
            let (ground, idle) = (place.prepare()?, Duration::from_secs(idle));
            let run = FootprintRun { program, rounds, idle, directory: ground.directory.clone() };
            println!("{}", Box::pin(footprint::measure(&run)).await?.table());
            Ok(())
        }
    }
}

async fn run_with_stores(check: Stores) -> Result<(), Failure> {
    match check {
        Stores::OffloadRead(reading) => Box::pin(offload_read(reading)).await,
        Stores::Tiering { cluster, store, bytes, topics, message_bytes, resident_mib_max, place } => {
            let ground = place.prepare()?;
            let (resident_bytes_max, seed) = (resident_mib_max << 20, ground.seed as u32);
            let directory = ground.directory.clone();
            let run = TieringRun { cluster, store, bytes, topics, message_bytes, resident_bytes_max, seed, directory };
            print!("{}", Box::pin(tiering::move_and_read_back(&run)).await?);
            Ok(())
        }
        Stores::TieredRead { store, bytes, message_bytes, readers, place } => {
            let ground = place.prepare()?;
            let Readers { readers, apart, apart_mib } = readers;
            let (message_bytes, apart_bytes) = (message_bytes.max(8), apart_mib.map(|mib| mib << 20));
            let directory = ground.directory.clone();
            let run = ReadingRun { store, bytes, message_bytes, readers, apart, apart_bytes, directory };
            let report = Box::pin(tiering::read_as_consumers(&run)).await?;
            print!("{report}");
            reached(&report.goals)
        }
        Stores::TieringFaults { times, place } => {
            let program = s3_server().or_say_so().ok_or_else(|| Failure::usage("there is no S3 server"))?;
            let ground = place.prepare()?;
            let (seed, directory) = (ground.seed, ground.directory.clone());
            let run = TieringFaultsRun { program, times, faults: tiering_faults::all(), seed, directory };
            let report = Box::pin(tiering_faults::kill_and_read_back(&run)).await?;
            println!("{report}");
            kept(report.faults())
        }
        Stores::ThreeCommands { readme, installed, place } => {
            let ground = place.prepare()?;
            let run = ThreeCommandsRun { readme, install: !installed, directory: ground.directory.clone() };
            print!("{}", Box::pin(tiering::follow_readme(&run)).await?);
            Ok(())
        }
    }
}

async fn offload_read(reading: OffloadRead) -> Result<(), Failure> {
    let ground = reading.place.prepare()?;
    let (location, target) = match reading.location {
        Some(location) => (location, None),
        None => {
            let target = Target::start(reading.store, &ground.directory).await?;
            (target.url().parse().map_err(Failure::usage)?, Some(target))
        }
    };
    let run = OffloadReadRun {
        location,
        backend: target.as_ref().map(Target::backend).transpose()?.flatten(),
        bytes: reading.mib << 20,
        entry_bytes: reading.entry_bytes.max(8),
        cache_bytes: reading.cache_mib << 20,
        readers: reading.readers.readers,
        apart: reading.readers.apart,
        apart_bytes: reading.readers.apart_mib.map(|mib| mib << 20),
        seed: ground.seed,
    };
    let report = Box::pin(offload_read::measure(&run)).await?;
    print!("{report}");
    reached(&report.goals)
}

/// Planned moves should not be noticed.
async fn moves(run: MovesRun, place: Place) -> Result<(), Failure> {
    let ground = place.prepare()?;
    let run = MovesRun { seed: ground.seed, directory: ground.directory.clone(), ..run };
    let report = Box::pin(move_under_load(&run)).await?;
    println!("{report}");
    let mut goals = Goals::default();
    goals.at_most("lost and misordered", (report.lost + report.misordered) as f64, 0.0);
    goals.at_most("p99 gap of a planned move, ms", report.p99().as_secs_f64() * 1000.0, 200.0);
    reached(&goals)
}

fn keeping(trim: bool) -> Keeping {
    if trim { Keeping::WhatIsNeeded } else { Keeping::Everything }
}

/// A goal that was missed is a failure.
fn reached(goals: &Goals) -> Result<(), Failure> {
    if goals.met("") { Ok(()) } else { Err(Failure::internal("goals were missed")) }
}

/// A report with any fault is a failure.
fn verdict(report: &Report) -> Result<(), Failure> {
    println!("{report}");
    kept(report.faults())
}

/// A promise that was not kept is a failure.
fn kept(faults: u64) -> Result<(), Failure> {
    match faults {
        0 => Ok(()),
        faults => Err(Failure::internal(format!("{faults} promises were not kept"))),
    }
}
