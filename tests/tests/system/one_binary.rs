//! One file under three names, as the image has it, and `geminga health`, which the image asks.
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use tests::cluster::{Cluster, Process, Shape, binary};
use tests::footprint::{self, FootprintRun};
use tokio::process::Command;

use crate::directory;

const READY_WITHIN: Duration = Duration::from_secs(30);

/// `geminga` under another name.
fn called(name: &str, place: &Path) -> PathBuf {
    let link = place.join(name);
    std::os::unix::fs::symlink(binary("geminga").expect("it is built"), &link).expect("a link can be made");
    link
}

async fn run(program: &Path, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().await.expect("it runs")
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Goal: nobody can tell whether cargo's binary or the one file was called.
#[tokio::test]
async fn the_name_decides_which_program_it_is() {
    let place = directory();
    let asked: [(&[&str], i32); 5] = [
        (&["--version"], 0),
        (&["--help"], 0),
        (&["--no-such-option"], 64),
        (&["--set", "listen=nowhere", "--set", "no_such_key=1"], 64),
        (&["--set", "metadata=memory://"], 64),
    ];
    for name in ["geminga-broker", "geminga-bookie"] {
        let (link, own) = (called(name, place.path()), binary(name).expect("it is built"));
        for (arguments, code) in asked {
            let (one, other) = (run(&link, arguments).await, run(&own, arguments).await);
            assert_eq!(one.status.code(), Some(code), "{name} {arguments:?}: {}", printed(&one));
            assert_eq!(one, other, "{name} {arguments:?}");
        }
        let version = run(&link, &["--version"]).await;
        assert_eq!(printed(&version), format!("{name} {}\n", env!("CARGO_PKG_VERSION")));
        assert!(printed(&run(&link, &["--help"]).await).contains(&format!("Usage: {name} ")));
    }
    let version = run(&called("anything-else", place.path()), &["--version"]).await;
    assert_eq!(printed(&version), format!("geminga {}\n", env!("CARGO_PKG_VERSION")));
}

/// Goal: the exit code tells a container's health check, the text tells a person.
#[tokio::test]
async fn health_says_whether_a_process_serves() {
    let place = directory();
    let mut cluster = Box::pin(Cluster::start(place.path(), &Shape::default())).await.expect("the cluster starts");
    let geminga = binary("geminga").expect("it is built");
    let bases = [cluster.brokers[0].admin(), cluster.bookies[0].admin()].map(|admin| admin.base().to_owned());
    for base in &bases {
        let healthy = run(&geminga, &["health", "--admin", base]).await;
        assert_eq!(healthy.status.code(), Some(0), "{}", printed(&healthy));
        assert!(printed(&healthy).contains(&format!("{base} serves")), "{}", printed(&healthy));
    }
    let port = bases[1].rsplit(':').next().expect("never empty");
    let mut local = Command::new(&geminga);
    local.args(["health", "--local"]).env("GEMINGA_HTTP_LISTEN", format!("[::]:{port}"));
    assert!(local.status().await.expect("it runs").success(), "a container asks itself by its own configuration");

    cluster.bookies[0].process().kill();
    let gone = run(&geminga, &["health", "--admin", &bases[1]]).await;
    assert_eq!(gone.status.code(), Some(75), "{}", printed(&gone));
    assert!(printed(&gone).contains("refused"), "{}", printed(&gone));
}

/// Goal: the low soft limit that shells and engines hand down does not limit clients, and nobody has to configure an engine.
#[tokio::test]
async fn a_process_may_open_as_many_files_as_the_hard_limit_allows() {
    let place = directory();
    let program = binary("geminga").expect("it is built");
    let proxy = "proxy --brokers=127.0.0.1:1 --listen=127.0.0.1:0 --http-listen=127.0.0.1:0";
    let line = format!("--nofile=256:4096 {} {proxy}", program.display());
    let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let mut process =
        Process::start("limited", Path::new("prlimit"), &arguments, &[], place.path()).expect("it starts");
    let serves = |printed: &str| printed.contains("\"ready\":true").then_some(());
    process.ready(READY_WITHIN, serves).await.expect("it serves");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.id())).expect("it runs");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit of files");
    assert_eq!(files.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["4096", "4096"], "{files}");
}

/// Goal: what a process costs is measured, and no start hangs. The goals for time and memory hold for images, not for this build.
#[tokio::test]
async fn each_process_starts_twice_and_tells_what_it_costs() {
    let place = directory();
    let program = binary("geminga").expect("it is built");
    let run = FootprintRun { program, rounds: 1, idle: Duration::ZERO, directory: place.path().into() };
    let found = Box::pin(footprint::measure(&run)).await.expect("all start");
    println!("{}", found.table());
    let names: Vec<_> = found.processes.iter().map(|one| one.name).collect();
    assert_eq!(names, ["broker", "bookie", "proxy", "standalone"]);
    for one in found.processes {
        assert!(0 < one.resident_bytes && !one.first_start.is_zero() && !one.start.is_zero(), "{one:?}");
    }
}
