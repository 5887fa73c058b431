//! A real etcd server as a child process: on free loopback ports, with its data in a temporary folder.
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use metadata::{EtcdStore, Retry};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// Longer than etcd takes to start on a busy machine.
const START_WAIT: Duration = Duration::from_secs(30);

pub(crate) struct EtcdServer {
    data: TempDir,
    client: String,
    peer: String,
    process: Option<Child>,
}

impl EtcdServer {
    /// Starts with empty data, and waits until it answers.
    pub(crate) async fn start() -> Self {
        let data = TempDir::new().expect("a temporary folder can be made");
        let mut server = Self { data, client: free_address(), peer: free_address(), process: None };
        server.restart().await;
        server
    }

    /// `host:port` for clients.
    pub(crate) fn endpoint(&self) -> String {
        self.client.clone()
    }

    /// Starts again with the same data and ports, and waits until it answers.
    pub(crate) async fn restart(&mut self) {
        self.spawn();
        self.store("ready").await;
    }

    /// Starts again without waiting.
    pub(crate) fn spawn(&mut self) {
        self.kill();
        let (client, peer) = (format!("http://{}", self.client), format!("http://{}", self.peer));
        let process = Command::new("etcd")
            .args(["--name", "test", "--log-level", "error", "--data-dir"])
            .arg(self.data.path())
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("test={peer}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.process = Some(process.expect("etcd can be started: install etcd-server"));
    }

    /// At once, as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("a child can be killed");
            process.wait().expect("a child can be awaited");
        }
    }

    /// Stops it without closing anything ([`Signal::STOP`]), or lets it go on ([`Signal::CONT`]).
    pub(crate) fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("the server runs");
        kill_process(Pid::from_child(process), signal).expect("a child can be signalled");
    }

    /// A store, as soon as the server answers.
    pub(crate) async fn store(&self, cluster: &str) -> EtcdStore {
        let deadline = Instant::now() + START_WAIT;
        loop {
            match EtcdStore::connect(&[self.endpoint()], cluster).await {
                Ok(store) => return store,
                Err(error) if error.retry() == Retry::Later && Instant::now() < deadline => {
                    sleep(Duration::from_millis(20)).await;
                }
                Err(error) => panic!("etcd does not start: {error}"),
            }
        }
    }
}

impl Drop for EtcdServer {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // It may be gone already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Free a moment ago: etcd has no way to choose a port itself.
fn free_address() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    listener.local_addr().expect("a bound socket has an address").to_string()
}
