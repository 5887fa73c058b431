//! Follows README word by word, as a newcomer would, and looks whether what it promises happens.
use std::fmt;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use daemon::Failure;
use futures::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::{ClientOptions, ObjectStore};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::cluster::{Admin, Tool, binary, s3_server};
use crate::deadline::eventually;

const HEADING: &str = "## Tiering in three commands";
/// A package is fetched meanwhile.
const INSTALLED_WITHIN: Duration = Duration::from_secs(600);
const SERVES_WITHIN: Duration = Duration::from_secs(60);
/// What README promises, from when the servers are there.
const WITHIN: Duration = Duration::from_secs(60);
/// README names no ports: these are the defaults.
const ADMIN: &str = "http://127.0.0.1:8080";

/// What is followed, and where. Ports are those that README has: nobody else may use them.
#[derive(Debug, Clone)]
pub struct ThreeCommandsRun {
    /// README.
    pub readme: PathBuf,
    /// Whether its S3 server is really installed from the package index, or what `tests/run` installed is put where it would come to lie.
    pub install: bool,
    /// For data and output. Must be there.
    pub directory: PathBuf,
}

/// That it is there says that the messages lay in the bucket only, and came back.
#[derive(Debug, Clone)]
pub struct ThreeCommandsReport {
    commands: Vec<String>,
    store_served: Duration,
    served: Duration,
    stored: Duration,
    forgotten: Duration,
    read: Duration,
    objects: Vec<(String, u64)>,
}

impl fmt::Display for ThreeCommandsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for command in &self.commands {
            writeln!(f, "$ {command}")?;
        }
        let seconds = |time: &Duration| time.as_secs_f64();
        writeln!(f, "the S3 server was there after {:.1} s; from then on:", seconds(&self.store_served))?;
        let steps =
            [("served", &self.served), ("in the bucket", &self.stored), ("gone from the bookie", &self.forgotten)];
        for (what, time) in steps.into_iter().chain([("read back", &self.read)]) {
            writeln!(f, "{what:<22} after {:>5.1} s", seconds(time))?;
        }
        for (name, bytes) in &self.objects {
            writeln!(f, "{bytes} bytes in {name}")?;
        }
        Ok(())
    }
}

/// Types what README says, and looks.
pub async fn follow_readme(run: &ThreeCommandsRun) -> Result<ThreeCommandsReport, Failure> {
    let text = fs::read_to_string(&run.readme).map_err(Failure::usage)?;
    let (commands, looks) = commands(&text).ok_or_else(|| Failure::internal(format!("README has no `{HEADING}`")))?;
    let [store, server, publish] = &commands[..] else {
        return Err(Failure::internal(format!("README has {} commands and not three", commands.len())));
    };
    let bucket = Bucket::of(server)?;
    prepare(run)?;

    let began = Instant::now();
    let mut store = Terminal::open("store", store, &run.directory)?;
    let url = format!("{}/healthz", bucket.endpoint);
    store.until("the S3 server answers", INSTALLED_WITHIN, async || answers(&url).await).await?;
    let store_served = began.elapsed();
    let began = Instant::now();
    let mut server = Terminal::open("server", server, &run.directory)?;
    let admin = Admin::at(ADMIN);
    server.until("the server is ready", SERVES_WITHIN, async || admin.is_ready().await.then_some(())).await?;
    let served = began.elapsed();
    Terminal::open("publish", publish, &run.directory)?.ends_well(WITHIN).await?;
    let objects = server.until("an object lies in the bucket", WITHIN, async || bucket.objects().await).await?;
    let stored = began.elapsed();
    server.until("the bookie has forgotten it", WITHIN, async || forgotten(&admin).await).await?;
    let forgotten = began.elapsed();
    for look in &looks {
        Terminal::open("look", look, &run.directory)?.ends_well(WITHIN).await?;
    }
    let read = began.elapsed();
    if WITHIN < read {
        return Err(Failure::internal(format!(
            "it took {read:?}, and README's commands are to need {WITHIN:?} at most"
        )));
    }
    let commands = commands.into_iter().chain(looks).collect();
    Ok(ThreeCommandsReport { commands, store_served, served, stored, forgotten, read, objects })
}

/// The lines of the first two blocks below the heading.
fn commands(readme: &str) -> Option<(Vec<String>, Vec<String>)> {
    let (_, section) = readme.split_once(HEADING)?;
    let section = section.split("\n## ").next()?;
    let mut blocks = section.split("```sh\n").skip(1).filter_map(|block| block.split("\n```").next());
    let lines = |block: &str| block.lines().map(str::to_owned).collect();
    Some((lines(blocks.next()?), lines(blocks.next()?)))
}

/// What the server was told of its store.
#[derive(Debug)]
struct Bucket {
    name: String,
    endpoint: String,
    environment: Vec<(String, String)>,
}

impl Bucket {
    fn of(command: &str) -> Result<Self, Failure> {
        let missing = || Failure::internal(format!("`{command}` names no bucket with an endpoint"));
        let url = command.split_once("s3://").and_then(|(_, rest)| rest.split('\'').next()).ok_or_else(missing)?;
        let (name, endpoint) = url.split_once("?endpoint=").ok_or_else(missing)?;
        let words = command.split(' ').take_while(|word| word.contains('='));
        let environment = words.filter_map(|word| word.split_once('=')).map(|(key, value)| (key.into(), value.into()));
        Ok(Self { name: name.into(), endpoint: endpoint.into(), environment: environment.collect() })
    }

    /// All that lie in it, with their sizes, if there are any.
    async fn objects(&self) -> Option<Vec<(String, u64)>> {
        let options = ClientOptions::new().with_allow_http(true);
        let mut builder = AmazonS3Builder::new().with_bucket_name(&self.name).with_endpoint(&self.endpoint);
        for (key, value) in &self.environment {
            builder = builder.with_config(key.to_lowercase().parse().ok()?, value);
        }
        let client = builder.with_client_options(options).build().ok()?;
        let listed = client.list(None).map_ok(|object| (object.location.to_string(), object.size));
        let found: Vec<_> =
            listed.try_filter(|(name, _)| std::future::ready(!name.contains("probe"))).try_collect().await.ok()?;
        (!found.is_empty()).then_some(found)
    }
}

/// A place as README takes it for granted: with the programs built, and perhaps with the S3 server installed before.
fn prepare(run: &ThreeCommandsRun) -> Result<(), Failure> {
    // The client wants to know how TLS would be done, even where none is.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let link = |from: &Path, to: PathBuf| {
        fs::create_dir_all(to.parent().expect("below the directory")).map_err(Failure::internal)?;
        std::os::unix::fs::symlink(from, &to).map_err(|error| Failure::internal(format!("{}: {error}", to.display())))
    };
    link(&binary("geminga")?, run.directory.join("target/release/geminga"))?;
    if run.install {
        return Ok(());
    }
    match s3_server() {
        Tool::Here(weed) => link(&weed, run.directory.join("s3/bin/weed")),
        Tool::Missing(why) => Err(Failure::usage(why)),
    }
}

/// Where packages lie that `tests/run` installed: pip finds there what it is asked for, and fetches nothing.
fn installed(directory: &Path) -> Option<PathBuf> {
    let weed = fs::canonicalize(directory.join("s3/bin/weed")).ok()?;
    let library = fs::read_dir(weed.parent()?.parent()?.join("lib")).ok()?.flatten().next()?;
    Some(library.path().join("site-packages"))
}

async fn answers(url: &str) -> Option<()> {
    reqwest::get(url).await.is_ok_and(|answer| answer.status().is_success()).then_some(())
}

async fn forgotten(admin: &Admin) -> Option<()> {
    let status = admin.get("/admin/v2/geminga/offload/status").await.ok()?;
    let page = admin.get("/metrics").await.ok()?;
    let none_left = page.as_str()?.lines().any(|line| line.starts_with("bookie_ledgers_count") && line.ends_with(" 0"));
    (none_left && status["hotBytes"] == 0 && status["coldBytes"] != 0).then_some(())
}

/// One command, typed into a shell. What it started ends with it.
#[derive(Debug)]
struct Terminal {
    command: String,
    output: PathBuf,
    shell: Child,
}

impl Terminal {
    fn open(name: &str, command: &str, directory: &Path) -> Result<Self, Failure> {
        let output = directory.join(format!("{name}.log"));
        let file = File::create(&output).map_err(Failure::internal)?;
        let copy = file.try_clone().map_err(Failure::internal)?;
        let mut shell = Command::new("bash");
        shell.args(["-o", "pipefail", "-c", command]).current_dir(directory).process_group(0);
        shell.stdin(Stdio::null()).stdout(file).stderr(copy).env("TMPDIR", directory);
        if let Some(packages) = installed(directory) {
            shell.env("PYTHONPATH", packages);
        }
        let shell = shell.spawn().map_err(|error| Failure::internal(format!("bash: {error}")))?;
        Ok(Self { command: command.into(), output, shell })
    }

    /// Waits until `look` finds something, as long as the command runs.
    async fn until<T>(
        &mut self,
        what: &str,
        within: Duration,
        mut look: impl AsyncFnMut() -> Option<T>,
    ) -> Result<T, Failure> {
        let shell = &mut self.shell;
        let found = eventually(what, within, async || match look().await {
            Some(found) => Some(Some(found)),
            None => shell.try_wait().ok().flatten().map(|_| None),
        });
        let outcome = found.await;
        outcome
            .and_then(|found| found.ok_or_else(|| Failure::internal("it ended")))
            .map_err(|failure| self.failed(&failure))
    }

    async fn ends_well(&mut self, within: Duration) -> Result<(), Failure> {
        let shell = &mut self.shell;
        let ended = eventually("it ends", within, async || shell.try_wait().ok().flatten()).await;
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(self.failed(&Failure::internal(status))),
            Err(failure) => Err(self.failed(&failure)),
        }
    }

    fn failed(&self, failure: &Failure) -> Failure {
        let printed = fs::read_to_string(&self.output).unwrap_or_default();
        Failure::internal(format!("`{}`: {}; it printed:\n{printed}", self.command, failure.message))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.shell.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL); // All of it may have ended before.
        }
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readme_has_three_commands_and_two_looks() {
        let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
        let text = fs::read_to_string(readme).expect("readable");
        let (commands, looks) = commands(&text).expect("the section is there");
        assert_eq!((commands.len(), looks.len()), (3, 2), "{commands:?} {looks:?}");
        let bucket = Bucket::of(&commands[1]).expect("it names a bucket");
        assert_eq!((bucket.name.as_str(), bucket.endpoint.as_str()), ("messages", "http://127.0.0.1:8333"));
        assert_eq!(bucket.environment.len(), 2, "{bucket:?}");
    }
}
