//! `geminga standalone` as a process.
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon::Failure;
use serde::Deserialize;

use super::{Admin, Process, binary};

/// Generous: a start takes well under a second unless the machine is very busy.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// What the process writes to `ports.json` when it is ready.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Ports {
    broker: u16,
    http: u16,
}

/// A newcomer's server.
#[derive(Debug)]
pub struct Standalone {
    process: Process,
    data: PathBuf,
    logs: PathBuf,
    ports: Ports,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
}

impl Standalone {
    /// Starts on free ports with its data in `directory/data` and its output beside it.
    pub async fn start(directory: &Path) -> Result<Self, Failure> {
        Self::start_with(directory, &directory.join("data"), &[]).await
    }

    /// Starts with its data in `data`, for instance on another file system, and with more environment variables.
    pub async fn start_with(logs: &Path, data: &Path, environment: &[(&str, &str)]) -> Result<Self, Failure> {
        Self::start_so(logs, data, environment, Vec::new()).await
    }

    /// Starts with its data in `directory/data`, with `--offload`, and with what the store needs in the environment.
    pub async fn start_offloading(
        directory: &Path,
        store: &str,
        environment: &[(&str, &str)],
    ) -> Result<Self, Failure> {
        let arguments = vec![format!("--offload={store}")];
        Self::start_so(directory, &directory.join("data"), environment, arguments).await
    }

    async fn start_so(
        logs: &Path,
        data: &Path,
        environment: &[(&str, &str)],
        arguments: Vec<String>,
    ) -> Result<Self, Failure> {
        let environment: Vec<_> = environment.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let (process, ports) = launch(logs, data, Ports { broker: 0, http: 0 }, &environment, &arguments).await?;
        Ok(Self { process, data: data.into(), logs: logs.into(), ports, environment, arguments })
    }

    /// Starts again after [`Process::kill`], on the same data and ports. Returns how long it took to be ready.
    pub async fn restart(&mut self) -> Result<Duration, Failure> {
        let begin = tokio::time::Instant::now();
        (self.process, self.ports) =
            launch(&self.logs, &self.data, self.ports, &self.environment, &self.arguments).await?;
        Ok(begin.elapsed())
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Where its data lies.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The broker's `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.broker)
    }

    /// The broker's url.
    #[must_use]
    pub fn url(&self) -> String {
        format!("pulsar://{}", self.address())
    }

    /// Its admin interface.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::at(&format!("http://127.0.0.1:{}", self.ports.http))
    }
}

async fn launch(
    logs: &Path,
    data: &Path,
    ports: Ports,
    environment: &[(String, String)],
    more: &[String],
) -> Result<(Process, Ports), Failure> {
    let mut arguments = vec![
        "standalone".into(),
        "--data-dir".into(),
        data.to_string_lossy().into_owned(),
        format!("--broker-port={}", ports.broker),
        format!("--http-port={}", ports.http),
    ];
    arguments.extend_from_slice(more);
    let file = data.join("ports.json");
    // The process removes it at its start, but might not have come to that when we look.
    if file.exists() {
        fs::remove_file(&file).map_err(Failure::internal)?;
    }
    let environment: Vec<_> = environment.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let mut process = Process::start("standalone", &binary("geminga")?, &arguments, &environment, logs)?;
    let read = |_: &str| serde_json::from_slice::<Ports>(&fs::read(&file).ok()?).ok();
    let ports = process.ready(READY_WITHIN, read).await?;
    Ok((process, ports))
}
