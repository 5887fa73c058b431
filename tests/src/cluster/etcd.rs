//! etcd as a process.
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon::Failure;

use super::Process;
use super::ports::free_row;
use crate::deadline::eventually;

const READY_WITHIN: Duration = Duration::from_secs(30);

/// One etcd server.
#[derive(Debug)]
pub struct Etcd {
    process: Process,
    directory: PathBuf,
    client_port: u16,
    peer_port: u16,
}

impl Etcd {
    /// Starts with its data in `directory/etcd`.
    pub async fn start(directory: &Path) -> Result<Self, Failure> {
        let client_port = free_row("etcd", directory)?;
        let peer_port = client_port + 1;
        let process = launch(directory, client_port, peer_port)?;
        let etcd = Self { process, directory: directory.into(), client_port, peer_port };
        etcd.ready().await?;
        Ok(etcd)
    }

    /// Starts again after a kill, on the same data and ports.
    pub async fn restart(&mut self) -> Result<(), Failure> {
        self.process = launch(&self.directory, self.client_port, self.peer_port)?;
        self.ready().await
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// As the key `metadata` takes it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("etcd://127.0.0.1:{}", self.client_port)
    }

    async fn ready(&self) -> Result<(), Failure> {
        let health = format!("http://127.0.0.1:{}/health", self.client_port);
        eventually("etcd is healthy", READY_WITHIN, async || {
            reqwest::get(&health).await.is_ok_and(|answer| answer.status().is_success()).then_some(())
        })
        .await
        .map_err(|failure| Failure::internal(format!("{failure}; it printed:\n{}", self.process.printed())))
    }
}

fn launch(directory: &Path, client_port: u16, peer_port: u16) -> Result<Process, Failure> {
    let (client, peer) = (format!("http://127.0.0.1:{client_port}"), format!("http://127.0.0.1:{peer_port}"));
    let arguments = [
        format!("--data-dir={}", directory.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
    ];
    Process::start("etcd-server", Path::new("etcd"), &arguments, &[], directory)
}
