//! Standalone or a cluster, for checks that hold on both.
use std::path::Path;
use std::time::Duration;

use daemon::Failure;

use super::{Admin, Bookie, Broker, Cluster, Process, Shape, Standalone};

const DRAINED_WITHIN: Duration = Duration::from_secs(60);

/// A running system.
#[derive(Debug)]
pub enum Servers {
    /// One process.
    One(Box<Standalone>),
    /// etcd, three bookies, two brokers.
    Many(Box<Cluster>),
}

impl Servers {
    /// Starts standalone.
    pub async fn one(directory: &Path) -> Result<Self, Failure> {
        Ok(Self::One(Box::new(Standalone::start(directory).await?)))
    }

    /// Starts a cluster.
    pub async fn many(directory: &Path) -> Result<Self, Failure> {
        Ok(Self::Many(Box::new(Box::pin(Cluster::start(directory, &Shape::default())).await?)))
    }

    /// Starts standalone, or a cluster, that moves what is closed to `store` at once and lets bookies forget it soon.
    pub async fn offloading(
        cluster: bool,
        directory: &Path,
        store: &str,
        environment: &[(&str, &str)],
    ) -> Result<Self, Failure> {
        if !cluster {
            return Ok(Self::One(Box::new(Standalone::start_offloading(directory, store, environment).await?)));
        }
        let mut shape = Shape::default();
        let settings = [&format!("offload={store}"), "offload_threshold_s=0", "offload_deletion_lag_s=5"];
        shape.broker_settings.extend(settings.map(str::to_owned));
        shape.broker_environment =
            environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Ok(Self::Many(Box::new(Box::pin(Cluster::start(directory, &shape)).await?)))
    }

    /// The HTTP interface of each bookie; standalone has one of all.
    #[must_use]
    pub fn bookies(&self) -> Vec<Admin> {
        match self {
            Self::One(server) => vec![server.admin()],
            Self::Many(cluster) => cluster.bookies.iter().map(Bookie::admin).collect(),
        }
    }

    /// `host:port` of each broker.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        match self {
            Self::One(server) => vec![server.address()],
            Self::Many(cluster) => cluster.addresses(),
        }
    }

    /// All brokers in one url.
    #[must_use]
    pub fn url(&self) -> String {
        format!("pulsar://{}", self.addresses().join(","))
    }

    /// The admin interface of a broker.
    #[must_use]
    pub fn admin(&self) -> Admin {
        match self {
            Self::One(server) => server.admin(),
            Self::Many(cluster) => cluster.brokers[0].admin(),
        }
    }

    /// Our processes with their names, without etcd.
    pub fn processes(&mut self) -> Vec<&mut Process> {
        match self {
            Self::One(server) => vec![server.process()],
            Self::Many(cluster) => {
                let brokers = cluster.brokers.iter_mut().map(Broker::process);
                brokers.chain(cluster.bookies.iter_mut().map(Bookie::process)).collect()
            }
        }
    }

    /// Those that clients talk to.
    pub fn brokers(&mut self) -> Vec<&mut Process> {
        match self {
            Self::One(server) => vec![server.process()],
            Self::Many(cluster) => cluster.brokers.iter_mut().map(Broker::process).collect(),
        }
    }

    /// Drains all of our processes, checks that they end with code 0, and starts them again on the same data and ports.
    pub async fn restart(&mut self) -> Result<(), Failure> {
        for process in self.processes() {
            let status = process.drain(DRAINED_WITHIN).await?;
            if !status.success() {
                return Err(Failure::internal(format!("{} drained with {status}", process.name())));
            }
        }
        self.start_again().await
    }

    /// Starts all of our processes, which have ended, on the same data and ports.
    pub async fn start_again(&mut self) -> Result<(), Failure> {
        match self {
            Self::One(server) => server.restart().await.map(drop),
            Self::Many(cluster) => {
                for bookie in &mut cluster.bookies {
                    bookie.restart().await?;
                }
                for broker in &mut cluster.brokers {
                    broker.restart().await?;
                }
                Ok(())
            }
        }
    }
}
