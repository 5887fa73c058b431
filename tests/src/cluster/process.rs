//! One process: started so that it cannot outlive the tests, killed, watched.
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use daemon::Failure;
use rustix::process::{Pid, Signal, kill_process};

use super::network::Host;
use crate::deadline::eventually;

type Order = (Command, SyncSender<io::Result<Child>>);

/// The parent of every process. The kernel kills a child when the *thread* that made it ends (`setpriv --pdeathsig`), so
/// one thread that lives as long as the tests makes them all: no test leaves a server behind, even one that is killed.
static PARENT: LazyLock<SyncSender<Order>> = LazyLock::new(|| {
    let (orders, inbox): (_, Receiver<Order>) = sync_channel(1);
    let work = move || {
        for (mut command, answer) in inbox {
            answer.send(command.spawn()).expect("whoever ordered waits for the answer");
        }
    };
    std::thread::Builder::new().name("parent of processes".into()).spawn(work).expect("a thread can be made");
    orders
});

/// A running program whose output goes to a file.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: PathBuf,
}

impl Process {
    /// Starts `program`. Standard output and error go to `NAME.log` in `directory`, which is written anew.
    pub fn start(
        name: &str,
        program: &Path,
        arguments: &[String],
        environment: &[(&str, &str)],
        directory: &Path,
    ) -> Result<Self, Failure> {
        Self::start_at(None, name, program, arguments, environment, directory)
    }

    /// The same, at a place on a network of the tests' own when one is given.
    pub fn start_at(
        host: Option<&Host>,
        name: &str,
        program: &Path,
        arguments: &[String],
        environment: &[(&str, &str)],
        directory: &Path,
    ) -> Result<Self, Failure> {
        let output = directory.join(format!("{name}.log"));
        let failed = |what: &str, error: io::Error| Failure::internal(format!("{name}: {what}: {error}"));
        let earlier = output.with_extension("log.before");
        if output.exists() {
            fs::rename(&output, earlier).map_err(|error| failed("cannot keep the log before", error))?;
        }
        let file = File::create(&output).map_err(|error| failed("cannot write its log", error))?;
        let copy = file.try_clone().map_err(|error| failed("cannot write its log", error))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        match host {
            Some(host) => command.arg("ip").args(host.command(program, arguments)),
            None => command.arg(program).args(arguments),
        };
        command.envs(environment.iter().copied()).stdin(Stdio::null()).stdout(file).stderr(copy);
        let (answer, child) = sync_channel(1);
        PARENT.send((command, answer)).expect("the thread never ends");
        let child = child.recv().expect("the thread answers every order");
        let child = child.map_err(|error| failed("cannot start (is `setpriv` of util-linux there?)", error))?;
        Ok(Self { name: name.into(), child, output })
    }

    /// What it is called here.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All it has printed.
    #[must_use]
    pub fn printed(&self) -> String {
        fs::read(&self.output).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it at once, as a crash would (`kill -9`), and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill(); // Fails when it has ended by itself, which is as good.
        self.child.wait().expect("a child can be waited for");
    }

    /// Asks it to end (SIGTERM) and waits for its exit code.
    pub async fn drain(&mut self, within: Duration) -> Result<ExitStatus, Failure> {
        self.signal(Signal::TERM)?;
        self.exited(within).await
    }

    /// Lets it do nothing (SIGSTOP) until [`Process::go_on`].
    pub fn stand_still(&self) -> Result<(), Failure> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on where it stood still.
    pub fn go_on(&self) -> Result<(), Failure> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<(), Failure> {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw).expect("process ids are small and not 0");
        kill_process(pid, signal).map_err(|error| Failure::internal(format!("{}: {error}", self.name)))
    }

    /// Waits until it has ended by itself.
    pub async fn exited(&mut self, within: Duration) -> Result<ExitStatus, Failure> {
        let what = format!("{} ends", self.name);
        eventually(&what, within, async || self.child.try_wait().ok().flatten()).await
    }

    /// Waits until `look` finds something. A process that ends meanwhile fails the wait, with what it printed.
    pub async fn ready<T>(&mut self, within: Duration, mut look: impl FnMut(&str) -> Option<T>) -> Result<T, Failure> {
        let what = format!("{} is ready", self.name);
        let outcome = eventually(&what, within, async || {
            let printed = self.printed();
            let ended = !self.runs();
            look(&printed).map(Some).or(ended.then_some(None))
        })
        .await;
        let failed = |why: String| Failure::internal(format!("{}: {why}; it printed:\n{}", self.name, self.printed()));
        outcome.map_err(|failure| failed(failure.message))?.ok_or_else(|| failed("it ended".into()))
    }

    /// What it has used so far.
    #[must_use]
    pub fn spending(&self) -> Spending {
        spending_of(self.id()).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.runs() {
            self.kill();
        }
        if std::thread::panicking() {
            let printed = self.printed();
            let from = printed.len() - printed.len().min(8000);
            let tail = printed.get(from..).unwrap_or(&printed);
            eprintln!("---- {} printed ----\n{tail}", self.name);
        }
    }
}

/// What a process has used since its start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spending {
    /// Time on a processor, of all its threads.
    pub cpu: Duration,
    /// Bytes it caused to be written to disks.
    pub written_bytes: u64,
    /// Bytes it caused to be read from disks.
    pub read_bytes: u64,
    /// Memory in use now.
    pub resident_bytes: u64,
    /// Memory in use at most.
    pub resident_bytes_max: u64,
}

/// The unit of times in `/proc`, the same on every Linux this is built for.
const TICKS_PER_SECOND: u64 = 100;

/// Reads `/proc`. `None` when there is no such process.
#[must_use]
pub fn spending_of(pid: u32) -> Option<Spending> {
    let file = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
    let stat = file("stat")?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let tick = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    let cpu = tick(11)? + tick(12)?; // utime and stime: fields 14 and 15, counted from 1 before the name was cut off.
    let (io, status) = (file("io").unwrap_or_default(), file("status")?);
    let kib = |key| number_after(&status, key) * 1024;
    Some(Spending {
        cpu: Duration::from_millis(cpu * 1000 / TICKS_PER_SECOND),
        written_bytes: number_after(&io, "write_bytes:"),
        read_bytes: number_after(&io, "read_bytes:"),
        resident_bytes: kib("VmRSS:"),
        resident_bytes_max: kib("VmHWM:"),
    })
}

fn number_after(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Finds one of the project's programs beside the running test.
pub fn binary(name: &str) -> Result<PathBuf, Failure> {
    let here = std::env::current_exe().map_err(Failure::internal)?;
    let beside = here.ancestors().skip(1).take(2).map(|directory| directory.join(name)).find(|path| path.exists());
    beside.ok_or_else(|| Failure::usage(format!("{name} is not built: run `cargo build --workspace --all-targets`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_what_it_has_used() {
        let spending = spending_of(std::process::id()).expect("this process runs");
        assert!(0 < spending.resident_bytes && spending.resident_bytes <= spending.resident_bytes_max);
    }

    #[tokio::test]
    async fn a_dropped_process_is_gone() {
        let directory = tempfile::tempdir().expect("a directory");
        let process = Process::start("sleeper", Path::new("sleep"), &["1000".into()], &[], directory.path());
        let process = process.expect("it starts");
        let id = process.id();
        drop(process);
        assert!(spending_of(id).is_none());
    }

    #[tokio::test]
    async fn a_process_that_ends_early_shows_what_it_printed() {
        let directory = tempfile::tempdir().expect("a directory");
        let arguments = ["-c".to_owned(), "echo no luck; exit 3".to_owned()];
        let mut process =
            Process::start("unlucky", Path::new("sh"), &arguments, &[], directory.path()).expect("starts");
        let failure = process.ready(Duration::from_secs(10), |_| None::<()>).await.expect_err("never ready");
        assert!(failure.message.contains("no luck"), "{failure}");
    }
}
