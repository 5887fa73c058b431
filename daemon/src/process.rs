//! The life of a process, from its command line to its exit code.
use std::ffi::OsString;
use std::io::{self, Write};
use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{self, Loaded, Settings, Sources};
use crate::telemetry::Telemetry;
use crate::{Drain, Failure};

/// The longest a drain may take, from the signal to the exit.
pub const GRACE: Duration = Duration::from_secs(30);

/// Where the system sets no hard limit.
const OPEN_FILES_ENOUGH: u64 = 1 << 20;
/// A second signal this soon is the first one again.
const ECHO: Duration = Duration::from_millis(300);

/// Reads the command line and the configuration, then runs `body` as [`supervise`] does. `name` is the binary's.
pub fn run<C, F>(name: &'static str, about: &'static str, body: F) -> ExitCode
where
    C: Serialize + DeserializeOwned + Default + Settings,
    F: AsyncFnOnce(C, Drain) -> Result<(), Failure>,
{
    let matches = match command::<C>(name, about).try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return answer_command_line(&error),
    };
    let loaded = config::load::<C>(&sources(&matches, std::env::vars_os()));
    supervise(name, "info", async |drain| {
        let Loaded { config, warnings } = loaded?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        body(config, drain).await
    })
}

/// Runs `body` on a runtime of its own, with log and traces as the environment wants them, see [`crate::telemetry`]; without
/// `RUST_LOG` the log is filtered by `log`. SIGTERM and SIGINT ask for a
/// drain; a second one, or a drain longer than [`GRACE`], ends the process with 70. A failure is printed and gives the exit code.
pub fn supervise<F>(name: &'static str, log: &str, body: F) -> ExitCode
where
    F: AsyncFnOnce(Drain) -> Result<(), Failure>,
{
    crate::memory::give_back_large_blocks();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(workers()).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(name, Err(Failure::internal(format!("cannot start threads: {error}")))),
    };
    let telemetry = {
        let _inside = runtime.enter(); // Traces leave by a connection of this runtime.
        Telemetry::start(name, log)
    };
    raise_open_files();
    let outcome = runtime.block_on(async {
        let drain = Drain::new();
        let ended = ended_by_signals(drain.clone())?;
        tokio::select! {
            outcome = Box::pin(body(drain)) => outcome,
            failure = ended => Err(failure),
        }
    });
    telemetry.end();
    runtime.shutdown_background(); // Whatever still blocks a thread has had its time.
    report(name, outcome)
}

/// Every client is a socket. The soft limit that shells and engines hand down suits programs of some files; up to the hard
/// limit each process may go by itself.
fn raise_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let current = maximum.or(Some(OPEN_FILES_ENOUGH));
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current, maximum }) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// One core is left to the threads that write to disks: a worker that is too many is only woken to find nothing to do. On two
/// cores that costs an eighth of the CPU at fixed rates, see docs/performance.md.
fn workers() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    cores.saturating_sub(1).max(1)
}

/// Tells whoever started this process that it serves: one JSON line on stdout, `ready` first, then `addresses` by name.
pub fn announce_ready(addresses: &[(&str, String)]) {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let members: String =
        addresses.iter().map(|(name, address)| format!(",{}:{}", text(name), text(address))).collect();
    let mut stdout = io::stdout().lock();
    if let Err(error) = writeln!(stdout, "{{\"ready\":true{members}}}").and_then(|()| stdout.flush()) {
        tracing::warn!(%error, "nobody reads the readiness line");
    }
}

fn command<C: Serialize + Default>(name: &'static str, about: &'static str) -> Command {
    let keys = format!(
        "Keys and their defaults:\n{}\nThe environment variable GEMINGA_A__B_C gives the key a.b_c; it wins over the file, and --set over both.",
        config::describe::<C>()
    );
    let file = Arg::new("config").long("config").value_name("FILE").help("Configuration in TOML");
    let set = Arg::new("set").long("set").value_name("KEY=VALUE").help("Sets one key; may be repeated");
    Command::new(name)
        .about(about)
        .version(env!("CARGO_PKG_VERSION"))
        .arg(file.value_parser(clap::value_parser!(PathBuf)))
        .arg(set.action(ArgAction::Append))
        .after_help(keys)
}

fn sources(matches: &ArgMatches, environment: impl Iterator<Item = (OsString, OsString)>) -> Sources {
    Sources {
        file: matches.get_one("config").cloned(),
        environment: environment.collect(),
        set: matches.get_many("set").unwrap_or_default().cloned().collect(),
    }
}

/// Prints what clap has to say: help and version are fine, anything else is wrong usage (64, where clap itself would say 2).
#[must_use]
pub fn answer_command_line(error: &clap::Error) -> ExitCode {
    let _ = error.print(); // With stdout or stderr gone there is nobody to tell.
    if error.use_stderr() { crate::Exit::Usage.into() } else { ExitCode::SUCCESS }
}

/// From the first signal on `drain` is asked for; the future returns once the process must end at once.
fn ended_by_signals(drain: Drain) -> Result<impl Future<Output = Failure>, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::internal(format!("cannot listen to signals: {error}")));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        next(&mut terminate, &mut interrupt).await;
        tracing::info!("draining; a second signal ends at once");
        drain.request();
        // Wrappers such as timeout(1) signal a process and then its group: one wish, two signals.
        let _ = tokio::time::timeout(ECHO, async {
            loop {
                next(&mut terminate, &mut interrupt).await
            }
        })
        .await;
        tokio::select! {
            () = next(&mut terminate, &mut interrupt) => Failure::internal("ended by a second signal before the drain was done"),
            () = tokio::time::sleep(GRACE) => Failure::internal(format!("the drain was not done within {} s", GRACE.as_secs())),
        }
    })
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => (),
        _ = interrupt.recv() => (),
    }
}

fn report(name: &str, outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "{name}: {failure}"); // With stderr gone the code must do.
            failure.exit.into()
        }
    }
}
