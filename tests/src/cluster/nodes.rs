//! A cluster: etcd, bookies and brokers, each a process of its own.
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon::Failure;
use serde::Deserialize;

use super::{Admin, Etcd, Host, Network, Process, binary};

/// A broker waits up to 30 s for etcd alone.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// How many of what, and how the brokers are set.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Storage nodes.
    pub bookies: usize,
    /// Brokers.
    pub brokers: usize,
    /// More `KEY=VALUE` for each broker.
    pub broker_settings: Vec<String>,
    /// More of the environment of each broker, as credentials for a store.
    pub broker_environment: Vec<(String, String)>,
    /// Servers of etcd.
    pub etcds: usize,
    /// Each process at a place of its own on a network that can be cut. Needs root.
    pub network: bool,
}

impl Default for Shape {
    /// The smallest cluster that outlives any one process: 3 bookies, 2 brokers, quorum 3/3/2.
    fn default() -> Self {
        let broker_settings = ["ensemble_size=3", "write_quorum=3", "ack_quorum=2"].map(str::to_owned).to_vec();
        Self { bookies: 3, brokers: 2, broker_settings, broker_environment: Vec::new(), etcds: 1, network: false }
    }
}

/// The line a process prints when it serves.
#[derive(Debug, Clone, Deserialize)]
struct Ready {
    ready: bool,
    #[serde(alias = "bookie")]
    broker: String,
    http: String,
}

/// A bookie or a broker.
#[derive(Debug)]
struct Node {
    name: String,
    program: &'static str,
    settings: Vec<String>,
    environment: Vec<(String, String)>,
    logs: PathBuf,
    process: Process, // Before its place.
    host: Option<Host>,
    ready: Ready,
}

impl Node {
    async fn start(
        name: String,
        program: &'static str,
        settings: Vec<String>,
        environment: &[(String, String)],
        host: Option<Host>,
        logs: &Path,
    ) -> Result<Self, Failure> {
        let address = host.as_ref().map_or_else(|| "127.0.0.1".to_owned(), |host| host.address().to_string());
        let any = [format!("listen={address}:0"), format!("http_listen={address}:0")];
        let (process, ready) = launch(&name, program, &settings, &any, environment, host.as_ref(), logs).await?;
        let (environment, logs) = (environment.to_vec(), logs.into());
        Ok(Self { name, program, settings, environment, logs, process, host, ready })
    }

    /// Starts again on the same data and ports.
    async fn restart(&mut self) -> Result<(), Failure> {
        let same = [format!("listen={}", self.ready.broker), format!("http_listen={}", self.ready.http)];
        let (settings, environment, host) = (&self.settings, &self.environment, self.host.as_ref());
        let started = launch(&self.name, self.program, settings, &same, environment, host, &self.logs).await?;
        (self.process, self.ready) = started;
        Ok(())
    }
}

async fn launch(
    name: &str,
    program: &str,
    settings: &[String],
    ports: &[String],
    environment: &[(String, String)],
    host: Option<&Host>,
    logs: &Path,
) -> Result<(Process, Ready), Failure> {
    let arguments: Vec<String> =
        settings.iter().chain(ports).flat_map(|setting| ["--set".to_owned(), setting.clone()]).collect();
    let environment: Vec<_> = environment.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let mut process = Process::start_at(host, name, &binary(program)?, &arguments, &environment, logs)?;
    let line = |printed: &str| printed.lines().find_map(|line| serde_json::from_str::<Ready>(line).ok());
    let ready = process.ready(READY_WITHIN, |printed| line(printed).filter(|line| line.ready)).await?;
    Ok((process, ready))
}

macro_rules! node {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(Node);

        impl $name {
            /// Its process.
            pub fn process(&mut self) -> &mut Process {
                &mut self.0.process
            }

            /// Starts again after a kill, on the same data and ports.
            pub async fn restart(&mut self) -> Result<(), Failure> {
                self.0.restart().await
            }

            /// Where it is, when it has a place of its own.
            #[must_use]
            pub fn host(&self) -> Option<&Host> {
                self.0.host.as_ref()
            }

            /// Its HTTP interface.
            #[must_use]
            pub fn admin(&self) -> Admin {
                Admin::at(&format!("http://{}", self.0.ready.http))
            }

            /// `host:port` of its main port.
            #[must_use]
            pub fn address(&self) -> String {
                self.0.ready.broker.clone()
            }
        }
    };
}

node!(
    /// A storage node.
    Bookie
);
node!(
    /// A broker.
    Broker
);

/// etcd, bookies and brokers. Dropped in this order: brokers first.
#[derive(Debug)]
pub struct Cluster {
    /// As they were started.
    pub brokers: Vec<Broker>,
    /// As they were started.
    pub bookies: Vec<Bookie>,
    /// Its metadata.
    pub etcd: Etcd,
}

impl Cluster {
    /// Starts all processes, with data and output in `directory`.
    pub async fn start(directory: &Path, shape: &Shape) -> Result<Self, Failure> {
        let network = shape.network.then(Network::make).transpose()?;
        let host = || network.as_ref().map(Network::host).transpose();
        let etcd = Etcd::start_many(directory, shape.etcds, network.as_ref()).await?;
        let base = vec!["cluster=tests".to_owned(), format!("metadata={}", etcd.url())];
        let mut bookies = Vec::new();
        for number in 0..shape.bookies {
            let name = format!("bookie-{number}");
            let mut settings = base.clone();
            settings.push(format!("data_dir={}", directory.join(&name).display()));
            bookies.push(Bookie(Node::start(name, "geminga-bookie", settings, &[], host()?, directory).await?));
        }
        let mut brokers = Vec::new();
        for number in 0..shape.brokers {
            let settings = base.iter().chain(&shape.broker_settings).cloned().collect();
            let (name, environment) = (format!("broker-{number}"), &shape.broker_environment);
            let node = Node::start(name, "geminga-broker", settings, environment, host()?, directory).await?;
            brokers.push(Broker(node));
        }
        Ok(Self { brokers, bookies, etcd })
    }

    /// `host:port` of each broker.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.brokers.iter().map(Broker::address).collect()
    }

    /// All brokers in one url.
    #[must_use]
    pub fn url(&self) -> String {
        format!("pulsar://{}", self.addresses().join(","))
    }
}
