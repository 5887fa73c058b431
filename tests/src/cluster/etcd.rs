//! etcd as processes.
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon::Failure;
use serde_json::{Value, json};

use super::network::Host;
use super::ports::free_row;
use super::{Admin, Network, Process};
use crate::deadline::eventually;

const READY_WITHIN: Duration = Duration::from_secs(30);

/// An etcd cluster, mostly of one server.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<Member>,
    peers: String,
    directory: PathBuf,
}

#[derive(Debug)]
struct Member {
    process: Process, // Before its place.
    place: Place,
}

#[derive(Debug)]
struct Place {
    name: String,
    client: String,
    peer: String,
    host: Option<Host>,
}

impl Etcd {
    /// Starts one server with its data in `directory/etcd`.
    pub async fn start(directory: &Path) -> Result<Self, Failure> {
        Self::start_many(directory, 1, None).await
    }

    /// Starts so many servers with their data in `directory/etcd`, `directory/etcd-1` …, each at a place of its own when there is a network.
    pub async fn start_many(directory: &Path, count: usize, network: Option<&Network>) -> Result<Self, Failure> {
        let mut places = Vec::new();
        for number in 0..count {
            let name = if number == 0 { "etcd".to_owned() } else { format!("etcd-{number}") };
            let host = network.map(Network::host).transpose()?;
            let address = host.as_ref().map_or_else(|| "127.0.0.1".to_owned(), |host| host.address().to_string());
            let port = free_row(&name, directory)?;
            let (client, peer) = (format!("{address}:{port}"), format!("{address}:{}", port + 1));
            places.push(Place { name, client, peer, host });
        }
        let peers: Vec<String> = places.iter().map(|place| format!("{}=http://{}", place.name, place.peer)).collect();
        let peers = peers.join(",");
        let launched =
            places.into_iter().map(|place| Ok(Member { process: launch(directory, &place, &peers)?, place }));
        let members = launched.collect::<Result<_, Failure>>()?;
        let etcd = Self { members, peers, directory: directory.into() };
        etcd.ready().await?;
        Ok(etcd)
    }

    /// Starts those that do not run again, on the same data and ports.
    pub async fn restart(&mut self) -> Result<(), Failure> {
        for member in &mut self.members {
            if !member.process.runs() {
                member.process = launch(&self.directory, &member.place, &self.peers)?;
            }
        }
        self.ready().await
    }

    /// The process of the only, or of the first.
    pub fn process(&mut self) -> &mut Process {
        &mut self.members[0].process
    }

    /// The process of the one that leads.
    pub async fn leader(&mut self) -> Result<&mut Process, Failure> {
        for member in &mut self.members {
            let status = member.place.ask("/v3/maintenance/status").await?;
            if status["leader"] == status["header"]["member_id"] {
                return Ok(&mut member.process);
            }
        }
        Err(Failure::try_again("none of the etcd servers leads"))
    }

    /// Where its servers are, when they have places of their own.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.members.iter().filter_map(|member| member.place.host.as_ref())
    }

    /// As the key `metadata` takes it.
    #[must_use]
    pub fn url(&self) -> String {
        let clients: Vec<&str> = self.members.iter().map(|member| member.place.client.as_str()).collect();
        format!("etcd://{}", clients.join(","))
    }

    async fn ready(&self) -> Result<(), Failure> {
        for member in &self.members {
            let health = format!("http://{}/health", member.place.client);
            eventually("etcd is healthy", READY_WITHIN, async || {
                reqwest::get(&health).await.is_ok_and(|answer| answer.status().is_success()).then_some(())
            })
            .await
            .map_err(|failure| Failure::internal(format!("{failure}; it printed:\n{}", member.process.printed())))?;
        }
        Ok(())
    }
}

impl Place {
    async fn ask(&self, path: &str) -> Result<Value, Failure> {
        let admin = Admin::at(&format!("http://{}", self.client));
        admin.ask_with(path, Some(json!({}))).await
    }
}

fn launch(directory: &Path, place: &Place, peers: &str) -> Result<Process, Failure> {
    let (client, peer) = (format!("http://{}", place.client), format!("http://{}", place.peer));
    let arguments = [
        format!("--name={}", place.name),
        format!("--data-dir={}", directory.join(&place.name).display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster={peers}"),
    ];
    let name = format!("{}-server", place.name);
    Process::start_at(place.host.as_ref(), &name, Path::new("etcd"), &arguments, &[], directory)
}
