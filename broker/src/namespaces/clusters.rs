//! Clusters that tenants and namespaces may name. This one is always among them; of another there is what the administration says of it.
use std::collections::BTreeMap;

use metadata::{Error, Expect, MetadataStoreExt};
use prost::Message;
use proto::records::{FailureDomain, NamedClusterRecord};
use proto::{NamespaceName, keys};

use super::{ChangeError, Namespaces};

fn not_found() -> ChangeError {
    ChangeError::NotFound("Cluster does not exist".into())
}

impl Namespaces {
    /// Names of all, sorted.
    pub(crate) async fn clusters(&self) -> Result<Vec<String>, ChangeError> {
        let mut names = self.names_below(keys::CLUSTERS).await?;
        if let Err(place) = names.binary_search(&self.cluster) {
            names.insert(place, self.cluster.clone());
        }
        Ok(names)
    }

    /// The first of these that does not exist.
    pub(crate) async fn unknown_cluster(&self, clusters: &[String]) -> Result<Option<String>, ChangeError> {
        if clusters.iter().all(|cluster| *cluster == self.cluster) {
            return Ok(None);
        }
        let known = self.clusters().await?;
        Ok(clusters.iter().find(|cluster| known.binary_search(cluster).is_err()).cloned())
    }

    /// What is kept of a cluster.
    pub(crate) async fn named_cluster(&self, cluster: &str) -> Result<NamedClusterRecord, ChangeError> {
        Ok(self.find_cluster(cluster).await?.0)
    }

    /// This cluster has no record before something is said of it.
    async fn find_cluster(&self, cluster: &str) -> Result<(NamedClusterRecord, Expect), ChangeError> {
        match self.read::<NamedClusterRecord>(&keys::named_cluster(cluster)).await? {
            Some((record, found)) => Ok((record, Expect::Version(found.version))),
            None if cluster == self.cluster => Ok((NamedClusterRecord::default(), Expect::Absent)),
            None => Err(not_found()),
        }
    }

    /// Makes a cluster known.
    pub(crate) async fn create_cluster(&self, cluster: &str, record: &NamedClusterRecord) -> Result<(), ChangeError> {
        if NamespaceName::new(cluster, "x").is_err() {
            return Err(ChangeError::Invalid("Cluster name is not valid".into()));
        }
        let exists = || ChangeError::Conflict("Cluster already exists".into());
        if cluster == self.cluster {
            return Err(exists());
        }
        match self.metadata.put(keys::named_cluster(cluster), record.encode_to_vec(), Expect::Absent).await {
            Ok(_) => Ok(()),
            Err(Error::Conflict { .. }) => Err(exists()),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes what is kept of a cluster, unless `change` has a reason against it. Of two that change it at once, one is told to ask again.
    pub(crate) async fn change_cluster(
        &self,
        cluster: &str,
        change: impl FnOnce(&mut NamedClusterRecord) -> Result<(), ChangeError>,
    ) -> Result<(), ChangeError> {
        let (mut record, expect) = self.find_cluster(cluster).await?;
        change(&mut record)?;
        self.metadata.put(keys::named_cluster(cluster), record.encode_to_vec(), expect).await?;
        Ok(())
    }

    /// Forgets a cluster. Tenants and namespaces may go on naming it.
    pub(crate) async fn delete_cluster(&self, cluster: &str) -> Result<(), ChangeError> {
        if cluster == self.cluster {
            return Err(ChangeError::Invalid("Cluster not empty".into()));
        }
        let (_, expect) = self.find_cluster(cluster).await?;
        self.metadata.delete(keys::named_cluster(cluster), expect).await?;
        Ok(())
    }

    /// Says which brokers fail together.
    pub(crate) async fn set_failure_domain(
        &self,
        cluster: &str,
        name: &str,
        brokers: Vec<String>,
    ) -> Result<(), ChangeError> {
        self.change_cluster(cluster, |record| {
            let sorted: BTreeMap<_, _> = record.failure_domains.iter().collect();
            for (other, domain) in sorted.into_iter().filter(|(other, _)| *other != name) {
                let shared: Vec<&str> =
                    brokers.iter().filter(|broker| domain.brokers.contains(broker)).map(String::as_str).collect();
                if !shared.is_empty() {
                    return Err(ChangeError::Conflict(format!("[{}] already exists in {other}", shared.join(", "))));
                }
            }
            record.failure_domains.insert(name.into(), FailureDomain { brokers });
            Ok(())
        })
        .await
    }

    /// Forgets which brokers fail together.
    pub(crate) async fn delete_failure_domain(&self, cluster: &str, name: &str) -> Result<(), ChangeError> {
        self.change_cluster(cluster, |record| match record.failure_domains.remove(name) {
            Some(_) => Ok(()),
            None => Err(ChangeError::NotFound(format!("Domain-name {name} or cluster {cluster} does not exist"))),
        })
        .await
    }
}
