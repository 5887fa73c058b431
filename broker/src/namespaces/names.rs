//! Tenants and namespaces.
use metadata::{Error, Expect, MetadataStoreExt, Operation, Transaction};
use prost::Message;
use proto::records::{ClusterRecord, NamespaceRecord, PoliciesRecord, TenantRecord};
use proto::{NamespaceName, keys};

use super::{ChangeError, Namespaces, decode};
use crate::ownership::{BUNDLES_DEFAULT, Bundles};
use crate::policies;

/// Partitions of one topic: each is a key and a task somewhere.
pub(crate) fn partitions_max() -> u32 {
    10_000
}

/// What a tenant becomes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TenantChange {
    pub(crate) admin_roles: Vec<String>,
    pub(crate) allowed_clusters: Vec<String>,
}

impl Namespaces {
    /// Makes what exists from the first start on. Several brokers may do it at once. `instance` is the cluster's id, if it is new.
    pub(crate) async fn bootstrap(&self, instance: &str) -> Result<(), Error> {
        let cluster = ClusterRecord { instance: instance.into(), created_at: self.clock.now_ms() };
        self.create(keys::CLUSTER, cluster.encode_to_vec()).await?;
        let tenant = TenantRecord { admin_roles: vec![], allowed_clusters: vec![self.cluster.clone()] };
        for (name, namespace) in [("public", "default"), ("pulsar", "system")] {
            self.create(&keys::tenant(name), tenant.encode_to_vec()).await?;
            let record = self.namespace_record(&Bundles::even(BUNDLES_DEFAULT));
            self.create(&format!("{}{namespace}", keys::namespaces(name)), record.encode_to_vec()).await?;
        }
        Ok(())
    }

    async fn create(&self, key: &str, value: Vec<u8>) -> Result<(), Error> {
        match self.metadata.put(key, value, Expect::Absent).await {
            Ok(_) | Err(Error::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn namespace_record(&self, bundles: &Bundles) -> NamespaceRecord {
        NamespaceRecord { boundaries: bundles.boundaries().to_vec(), created_at: self.clock.now_ms() }
    }

    /// Names of all tenants, sorted.
    pub(crate) async fn tenants(&self) -> Result<Vec<String>, ChangeError> {
        self.names_below(keys::TENANTS).await
    }

    pub(super) async fn names_below(&self, prefix: &str) -> Result<Vec<String>, ChangeError> {
        let records = self.metadata.list_all(prefix).await?;
        Ok(records.iter().filter_map(|record| record.key.as_str().strip_prefix(prefix).map(str::to_owned)).collect())
    }

    /// A tenant.
    pub(crate) async fn tenant(&self, tenant: &str) -> Result<TenantRecord, ChangeError> {
        let found = self.read::<TenantRecord>(&keys::tenant(tenant)).await?;
        found.map(|(record, _)| record).ok_or_else(tenant_not_found)
    }

    /// Makes a tenant.
    pub(crate) async fn create_tenant(&self, tenant: &str, change: TenantChange) -> Result<(), ChangeError> {
        if NamespaceName::new(tenant, "x").is_err() {
            return Err(ChangeError::Invalid("Tenant name is not valid".into()));
        }
        let record = self.tenant_record(change).await?;
        match self.metadata.put(keys::tenant(tenant), record.encode_to_vec(), Expect::Absent).await {
            Ok(_) => Ok(()),
            Err(Error::Conflict { .. }) => Err(ChangeError::Conflict("Tenant already exist".into())),
            Err(error) => Err(error.into()),
        }
    }

    /// Replaces what a tenant is.
    pub(crate) async fn update_tenant(&self, tenant: &str, change: TenantChange) -> Result<(), ChangeError> {
        let not_found = || ChangeError::NotFound(format!("Tenant {tenant} not found"));
        let (_, found) = self.read::<TenantRecord>(&keys::tenant(tenant)).await?.ok_or_else(not_found)?;
        let record = self.tenant_record(change).await?;
        self.metadata.put(keys::tenant(tenant), record.encode_to_vec(), Expect::Version(found.version)).await?;
        Ok(())
    }

    async fn tenant_record(&self, change: TenantChange) -> Result<TenantRecord, ChangeError> {
        let TenantChange { admin_roles, allowed_clusters } = change;
        if allowed_clusters.is_empty() || allowed_clusters.iter().any(|cluster| cluster.trim().is_empty()) {
            return Err(ChangeError::Invalid("Clusters cannot be empty or blank".into()));
        }
        if self.unknown_cluster(&allowed_clusters).await?.is_some() {
            return Err(ChangeError::Invalid("Clusters do not exist".into()));
        }
        Ok(TenantRecord { admin_roles, allowed_clusters })
    }

    /// Whether namespaces of a tenant may be in these clusters.
    pub(crate) async fn must_be_allowed(&self, tenant: &str, clusters: &[String]) -> Result<(), ChangeError> {
        are_allowed(tenant, &self.tenant(tenant).await?, clusters)
    }

    /// Removes a tenant without namespaces.
    pub(crate) async fn delete_tenant(&self, tenant: &str) -> Result<(), ChangeError> {
        let not_found = || ChangeError::NotFound("Tenant doesn't exist".into());
        let (_, found) = self.read::<TenantRecord>(&keys::tenant(tenant)).await?.ok_or_else(not_found)?;
        if !self.names_below(&keys::namespaces(tenant)).await?.is_empty() {
            return Err(ChangeError::Conflict("The tenant still has active namespaces".into()));
        }
        self.metadata.delete(keys::tenant(tenant), Expect::Version(found.version)).await?;
        Ok(())
    }

    /// Full names of a tenant's namespaces, sorted.
    pub(crate) async fn namespaces(&self, tenant: &str) -> Result<Vec<String>, ChangeError> {
        if self.read::<TenantRecord>(&keys::tenant(tenant)).await?.is_none() {
            return Err(ChangeError::NotFound("Tenant not found".into()));
        }
        let names = self.names_below(&keys::namespaces(tenant)).await?;
        Ok(names.into_iter().map(|name| format!("{tenant}/{name}")).collect())
    }

    /// A namespace.
    pub(crate) async fn namespace(&self, namespace: &NamespaceName) -> Result<NamespaceRecord, ChangeError> {
        let found = self.read::<NamespaceRecord>(&keys::namespace(namespace)).await?;
        found.map(|(record, _)| record).ok_or_else(namespace_not_found)
    }

    /// Makes a namespace. `clusters` are those it is asked to be in; none means this one.
    pub(crate) async fn create_namespace(
        &self,
        namespace: &NamespaceName,
        bundles: &Bundles,
        clusters: &[String],
        policies: &PoliciesRecord,
    ) -> Result<(), ChangeError> {
        let tenant_key = keys::tenant(namespace.tenant());
        let found = self.read::<TenantRecord>(&tenant_key).await?;
        let (tenant, tenant_record) = found.ok_or_else(tenant_not_found)?;
        are_allowed(namespace.tenant(), &tenant, clusters)?;
        let record = self.namespace_record(bundles);
        let transaction = Transaction::new(vec![
            Operation::Check { key: tenant_key.into(), expect: Expect::Version(tenant_record.version) },
            Operation::put(keys::namespace(namespace), record.encode_to_vec(), Expect::Absent),
            policies::keep_for_namespace(namespace, policies),
        ]);
        match self.metadata.commit(transaction).await {
            Ok(_) => Ok(()),
            Err(Error::Conflict { key }) if key.as_str().starts_with(keys::TENANTS) => Err(tenant_not_found()),
            Err(Error::Conflict { .. }) => Err(ChangeError::Conflict("Namespace already exists".into())),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a namespace without topics.
    pub(crate) async fn delete_namespace(&self, namespace: &NamespaceName) -> Result<(), ChangeError> {
        let not_found = || ChangeError::NotFound(format!("Namespace {namespace} does not exist."));
        let found = self.read::<NamespaceRecord>(&keys::namespace(namespace)).await?;
        let (_, found) = found.ok_or_else(not_found)?;
        for prefix in [keys::topics(namespace), keys::partitioned_topics(namespace)] {
            if !self.metadata.list(&prefix, None, 1).await?.records.is_empty() {
                return Err(ChangeError::Conflict("Cannot delete non empty namespace".into()));
            }
        }
        let transaction = Transaction::new(vec![
            Operation::delete(keys::namespace(namespace), Expect::Version(found.version)),
            policies::forget_namespace(namespace),
        ]);
        self.metadata.commit(transaction).await?;
        Ok(())
    }

    /// The cluster's record.
    pub(crate) async fn cluster(&self) -> Result<ClusterRecord, Error> {
        let record = self.metadata.get(&keys::CLUSTER.into()).await?;
        record.as_ref().map(decode).transpose().map(Option::unwrap_or_default)
    }
}

fn are_allowed(name: &str, tenant: &TenantRecord, clusters: &[String]) -> Result<(), ChangeError> {
    match clusters.iter().find(|cluster| !tenant.allowed_clusters.contains(cluster)) {
        Some(other) => Err(ChangeError::Forbidden(format!(
            "Cluster [{other}] is not in the list of allowed clusters list for tenant [{name}]"
        ))),
        None => Ok(()),
    }
}

fn tenant_not_found() -> ChangeError {
    ChangeError::NotFound("Tenant does not exist".into())
}

fn namespace_not_found() -> ChangeError {
    ChangeError::NotFound("Namespace does not exist".into())
}
