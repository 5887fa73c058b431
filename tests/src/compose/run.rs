//! The order of events, and what was found.
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use daemon::Failure;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::Command;

use super::project::{HTTP_PORT, NAME, PORT, docker, run};
use super::{Container, Project};
use crate::cluster::{Admin, spending_of};
use crate::crash::{Keeping, Load, Report};
use crate::deadline::eventually_every;

/// From the end of the build until every container is well.
const WELL_WITHIN: Duration = Duration::from_secs(60);
/// For a container that was started again. Its health is asked every 5 s.
const BACK_WITHIN: Duration = Duration::from_secs(90);
/// An open ledger is left to its writer for 30 s.
const DECOMMISSIONED_WITHIN: Duration = Duration::from_secs(180);
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Of the compose file as it is shipped.
const SHIPPED: [(&str, usize); 5] = [("etcd", 1), ("bookie", 3), ("broker", 2), ("proxy", 1), ("s3", 1)];
/// Holds the client's interpreter inside the network; the client's library fits this version only.
const PYTHON_IMAGE: &str = "python:3.11-slim-bookworm";
const PYTHON_VERSION: &str = "3.11";

/// What to check with.
#[derive(Debug, Clone)]
pub struct ComposeRun {
    /// The project.
    pub project: Project,
    /// A Python interpreter with the stock client, if there is one.
    pub python: Option<PathBuf>,
    /// The directory of `check.py`.
    pub scripts: PathBuf,
    /// Each container is killed, not one of each kind.
    pub all: bool,
    /// Of random choices.
    pub seed: u64,
}

/// What a run found.
#[derive(Debug)]
pub struct Findings {
    /// Steps and how long each took.
    pub steps: Vec<(String, Duration)>,
    /// Of the load that went on all the time.
    pub report: Report,
}

/// Steps that were taken.
#[derive(Debug, Default)]
struct Steps(Vec<(String, Duration)>);

impl Steps {
    async fn take<T>(&mut self, what: &str, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        println!("== {what}");
        let start = Instant::now();
        let outcome = work.await;
        self.0.push((what.to_owned(), start.elapsed()));
        outcome.map_err(|failure| Failure { message: format!("{what}: {failure}"), ..failure })
    }
}

/// Does everything, and takes the project away at the end whatever happened.
pub async fn check_compose(run: &ComposeRun) -> Result<Findings, Failure> {
    let outcome = Box::pin(check(run)).await;
    if let Err(failure) = &outcome {
        eprintln!("compose: {failure}");
        let logs = run.project.compose(&["logs", "--tail=40", "broker", "bookie", "proxy", "etcd"]).await;
        eprintln!("{}", logs.unwrap_or_default());
    }
    let removed = run.project.remove().await;
    let findings = outcome?;
    removed.map(|()| findings)
}

async fn check(run: &ComposeRun) -> Result<Findings, Failure> {
    let (project, mut steps) = (&run.project, Steps::default());
    steps.take("build", project.compose(&["build"])).await?;
    let up = async {
        project.compose(&["up", "--build", "-d"]).await?;
        project.well(&SHIPPED, WELL_WITHIN).await
    };
    let start = Instant::now();
    let containers = steps.take("up, until all are well", up).await?;
    if WELL_WITHIN < start.elapsed() {
        return Err(Failure::internal(format!("well only {:?} after the build", start.elapsed())));
    }
    only_the_way_in_is_published(&containers)?;
    println!("{}", costs(&containers).await?);
    clients(run, &mut steps).await?;

    let admin = Admin::at(&format!("http://127.0.0.1:{HTTP_PORT}"));
    let addresses = vec![format!("127.0.0.1:{PORT}")];
    let load = Load::start(addresses, &admin, Keeping::Everything, run.seed).await?;
    load.receipts_grow_by(1000, "at first").await?;
    kill_one_after_another(run, &load, &mut steps).await?;
    scale_brokers(project, &load, &mut steps).await?;
    scale_bookies(project, &admin, &load, &mut steps).await?;
    move_to_objects(project, &admin, &load, &mut steps).await?;
    start_again(project, &load, &mut steps).await?;
    load.receipts_grow_by(1000, "at the end").await?;
    let report = steps.take("everything is read back", load.finish()).await?;
    Ok(Findings { steps: steps.0, report })
}

/// Neither etcd nor bookies can be reached from outside.
fn only_the_way_in_is_published(containers: &[Container]) -> Result<(), Failure> {
    for container in containers {
        let expected = container.service == "proxy";
        if container.published.is_empty() == expected {
            let (service, ports) = (&container.service, container.published.join(", "));
            return Err(Failure::internal(format!("{service} publishes [{ports}]")));
        }
    }
    Ok(())
}

/// What the image takes, and each process before anyone uses it.
async fn costs(containers: &[Container]) -> Result<String, Failure> {
    let mut text = String::new();
    let ours: BTreeSet<&str> =
        containers.iter().map(|one| one.image.as_str()).filter(|image| image.starts_with("geminga:")).collect();
    for image in ours {
        let size = docker(&["image", "inspect", "--format", "{{.Size}}", image]).await?;
        let bytes: f64 = size.trim().parse().map_err(Failure::internal)?;
        let _ = writeln!(text, "{:>7.1} MB   the image {image}", bytes / 1e6); // Texts take all that is written.
    }
    for container in containers {
        // An engine in a virtual machine has processes of its own.
        let seen = u32::try_from(container.pid).ok().and_then(spending_of);
        let resident = seen
            .map_or_else(|| "unseen".into(), |seen| format!("{:.1}", seen.resident_bytes as f64 / f64::from(1 << 20)));
        let _ = writeln!(text, "{resident:>7} MiB  idle: {} {}", container.service, container.number); // As above.
    }
    Ok(text)
}

/// The stock Python client, on this machine and in a container of the network.
async fn clients(run: &ComposeRun, steps: &mut Steps) -> Result<(), Failure> {
    let Some(python) = &run.python else {
        println!("NOT RUN  the Python client is not installed");
        return Ok(());
    };
    let mut outside = Command::new(python);
    outside.arg(run.scripts.join("check.py"));
    outside.args([format!("pulsar://localhost:{PORT}"), format!("http://localhost:{HTTP_PORT}")]);
    println!("{}", steps.take("the Python client on this machine", self::run(outside)).await?);

    let mut asked = Command::new(python);
    let answers = "import pulsar, pathlib, sys; print('%d.%d' % sys.version_info[:2], pathlib.Path(pulsar.__file__).parent.parent)";
    asked.args(["-c", answers]);
    let answered = self::run(asked).await?;
    let (version, packages) = answered.trim().split_once(' ').unwrap_or_default();
    if version != PYTHON_VERSION {
        println!("NOT RUN  inside the network: the client is for Python {version}, the image has {PYTHON_VERSION}");
        return Ok(());
    }
    let (packages, scripts) = (format!("{packages}:/packages:ro"), format!("{}:/scripts:ro", run.scripts.display()));
    let network = format!("{NAME}_default");
    let inside = ["run", "--rm", "--network", &network, "-v", &packages, "-v", &scripts, "-e", "PYTHONPATH=/packages"];
    let program = [PYTHON_IMAGE, "python3", "/scripts/check.py", "pulsar://broker:6650", "http://broker:8080"];
    let inside = [&inside[..], &program[..]].concat();
    println!("{}", steps.take("the Python client inside the network", docker(&inside)).await?);
    Ok(())
}

async fn kill_one_after_another(run: &ComposeRun, load: &Load, steps: &mut Steps) -> Result<(), Failure> {
    for container in run.project.containers().await? {
        // In the small version one of each kind stands for all, and nobody asks the object store for anything yet.
        if !run.all && (container.service == "s3" || container.number != 1) {
            continue;
        }
        let what = format!("{} {} is killed and comes back", container.service, container.number);
        steps.take(&what, kill(&run.project, &container, load)).await?;
    }
    Ok(())
}

/// Receipts come while it is away, with two exceptions: without the only etcd there is no next ledger, and these are small; and
/// the proxy is the load's only way in: its process is killed, and the engine starts it again.
async fn kill(project: &Project, container: &Container, load: &Load) -> Result<(), Failure> {
    if container.service == "proxy" {
        let pid = i32::try_from(container.pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Failure::internal("a running container has a process"))?;
        kill_process(pid, Signal::KILL).map_err(Failure::usage)?;
    } else {
        docker(&["kill", &container.id]).await?;
        if container.service != "etcd" {
            load.receipts_grow_by(500, "while it is away").await?;
        }
        docker(&["start", &container.id]).await?;
    }
    load.restarted();
    project.well(&[], BACK_WITHIN).await?;
    load.receipts_grow_by(500, "when it is back").await
}

async fn scale(project: &Project, service: &str, count: usize) -> Result<(), Failure> {
    // Compose forgets earlier numbers: whatever is not named goes back to what the file says.
    let mut arguments = vec!["up".to_owned(), "-d".into(), "--no-recreate".into()];
    let running = project.containers().await?;
    for other in ["broker", "bookie"] {
        let now = running.iter().filter(|one| one.service == other).count();
        arguments.extend(["--scale".into(), format!("{other}={}", if other == service { count } else { now })]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    project.compose(&arguments).await?;
    project.well(&[(service, count)], BACK_WITHIN).await.map(drop)
}

async fn scale_brokers(project: &Project, load: &Load, steps: &mut Steps) -> Result<(), Failure> {
    let admin = Admin::at(&format!("http://127.0.0.1:{HTTP_PORT}"));
    for count in [3, 1, 2] {
        let work = async {
            scale(project, "broker", count).await?;
            let listed = eventually_every(LOOK_EVERY, "the brokers know each other", BACK_WITHIN, async || {
                admin.brokers().await.is_ok_and(|brokers| brokers.len() == count).then_some(())
            });
            listed.await?;
            load.receipts_grow_by(1000, "with this number of brokers").await
        };
        steps.take(&format!("brokers: {count}"), work).await?;
    }
    Ok(())
}

/// The fourth bookie serves, data lands on it, and it goes again without taking any along.
async fn scale_bookies(project: &Project, admin: &Admin, load: &Load, steps: &mut Steps) -> Result<(), Failure> {
    let work = async {
        scale(project, "bookie", 4).await?;
        let bookies = project.of("bookie").await?;
        let fourth = bookies.last().ok_or_else(|| Failure::internal("there are no bookies"))?;
        let network = format!("{NAME}_default");
        let ask = format!(
            "import urllib.request as r; print(r.urlopen('http://{}:8000/metrics', timeout=5).read().decode())",
            fourth.hostname
        );
        let page = ["run", "--rm", "--network", &network, PYTHON_IMAGE, "python3", "-c", &ask];
        let landed = eventually_every(LOOK_EVERY, "entries lie on the fourth bookie", BACK_WITHIN, async || {
            let page = docker(&page).await.ok()?;
            let count = page.lines().find_map(|line| line.strip_prefix("bookie_entries_count "))?;
            count.parse::<f64>().ok().filter(|count| 0.0 < *count)
        });
        println!("the fourth bookie holds {} entries", landed.await?);
        load.receipts_grow_by(1000, "with four bookies").await?;
        Ok(fourth.hostname.clone())
    };
    let fourth = steps.take("bookies: 4", work).await?;
    steps.take("the fourth is decommissioned", decommission(admin, &fourth)).await?;
    let work = async {
        scale(project, "bookie", 3).await?;
        load.receipts_grow_by(1000, "with three bookies").await
    };
    steps.take("bookies: 3", work).await
}

/// Asks for it again and again, as `geminga admin bookies decommission --wait` does.
async fn decommission(admin: &Admin, hostname: &str) -> Result<(), Failure> {
    let listed = admin.get("/admin/v2/geminga/bookies").await?;
    let has_name = |one: &&Value| one["address"].as_str().is_some_and(|address| address.starts_with(hostname));
    let bookie = listed.as_array().into_iter().flatten().find(has_name).and_then(|one| one["bookie"].as_str());
    let bookie = bookie.ok_or_else(|| Failure::internal(format!("{hostname} is none of the bookies {listed}")))?;
    let path = format!("/admin/v2/geminga/bookies/{bookie}/decommission");
    let retired = async || (admin.ask(&path).await.ok()?["state"] == "retired").then_some(());
    eventually_every(LOOK_EVERY, "no ledger names the fourth bookie", DECOMMISSIONED_WITHIN, retired).await
}

/// As `docs/operations/compose.md` tells: asked inside a broker. Bookies forget at once what has moved, see `tests/compose.yml`, so that
/// all of it must come from the store when everything is read back.
async fn move_to_objects(project: &Project, admin: &Admin, load: &Load, steps: &mut Steps) -> Result<(), Failure> {
    let work = async {
        let brokers = project.of("broker").await?;
        let broker = brokers.first().ok_or_else(|| Failure::internal("there are no brokers"))?;
        let geminga = ["exec", &broker.id, "geminga", "admin", "topics"];
        docker(&[&geminga[..], &["offload", "crash", "-s", "0"]].concat()).await?;
        docker(&[&geminga[..], &["offload-status", "crash", "-w"]].concat()).await?;
        let stats = admin.get("/admin/v2/persistent/public/default/crash/internalStats").await?;
        let ledgers = stats["ledgers"].as_array().into_iter().flatten();
        let moved = ledgers.filter(|ledger| ledger["offloaded"] == true).count();
        println!("{moved} ledgers lie in the object store");
        if moved == 0 {
            return Err(Failure::internal(format!("nothing has moved: {stats}")));
        }
        load.receipts_grow_by(1000, "with ledgers in the object store").await
    };
    steps.take("old messages move to the object store", work).await
}

async fn start_again(project: &Project, load: &Load, steps: &mut Steps) -> Result<(), Failure> {
    let counts = [("bookie", 3), ("broker", 2)];
    let restart = async {
        project.compose(&["restart"]).await?;
        load.restarted();
        project.well(&counts, BACK_WITHIN).await?;
        load.receipts_grow_by(1000, "after a restart of the project").await
    };
    steps.take("the whole project is restarted", restart).await?;
    let anew = async {
        project.down(&["down"]).await?;
        load.restarted();
        project.compose(&["up", "-d"]).await?;
        project.well(&counts, BACK_WITHIN).await?;
        load.receipts_grow_by(1000, "in new containers on the old volumes").await
    };
    steps.take("the whole project is taken down and put up again", anew).await
}
