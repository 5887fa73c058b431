//! Which topics there are, as far as that is known without loading one.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use metadata::{Error, Expect, MetadataStoreExt, Operation, Transaction};
use prost::Message;
use proto::records::{NamespaceRecord, PartitionedTopicRecord, PoliciesRecord, TopicRecord};
use proto::{Domain, NamespaceName, TopicName, keys};

use super::listing::{Listing, partitioned_prefix};
use super::{ChangeError, NamespaceError, Namespaces, decode, partitions_max};
use crate::policies::{self, AutoTopics};

impl Namespaces {
    /// How many partitions `topic` has; 0 when it is not partitioned or does not exist.
    pub(crate) async fn partitions(&self, topic: &TopicName) -> Result<u32, NamespaceError> {
        Ok(self.partitioned(topic).await?.map_or(0, |record| record.partitions))
    }

    /// A partitioned topic's record, if `topic` is one.
    pub(crate) async fn partitioned(&self, topic: &TopicName) -> Result<Option<PartitionedTopicRecord>, Error> {
        Ok(self.read(&keys::partitioned_topic(topic)).await?.map(|(record, _)| record))
    }

    /// Whether `topic` has a record, which every stored topic has that was ever used.
    pub(crate) async fn exists(&self, topic: &TopicName) -> Result<bool, Error> {
        Ok(topic.domain() == Domain::Persistent && self.read::<TopicRecord>(&keys::topic(topic)).await?.is_some())
    }

    /// What a client is told that asks for partition metadata: the count, 0 for a topic that is not partitioned or may come
    /// into being so, or that there is none.
    pub(crate) async fn partition_metadata(&self, topic: &TopicName, auto_create: bool) -> Result<u32, NamespaceError> {
        let partitions = self.partitions(topic).await?;
        if 0 < partitions || self.exists(topic).await? {
            return Ok(partitions);
        }
        self.require_namespace(topic.namespace()).await?;
        if self.is_partition(topic).await? {
            return Ok(0); // What may really be created is decided when it is.
        }
        match self.auto_topics(&self.policies(topic.namespace()).await?) {
            AutoTopics::Made { partitions: Some(partitions) } if auto_create && topic.partition().is_none() => {
                match self.create_partitioned(topic, partitions, []).await {
                    Ok(()) => Ok(partitions),
                    Err(ChangeError::Metadata(error)) => Err(error.into()),
                    Err(ChangeError::TooManyTopics) => Err(NamespaceError::TooManyTopics),
                    Err(_) => self.partitions(topic).await, // Somebody else was quicker.
                }
            }
            AutoTopics::Made { .. } if auto_create => Ok(0),
            _ => Err(NamespaceError::TopicNotFound(topic.clone())),
        }
    }

    /// What becomes of topics that nobody made: as the namespace says, else as the broker does.
    fn auto_topics(&self, policies: &PoliciesRecord) -> AutoTopics {
        match AutoTopics::of(policies) {
            AutoTopics::Unset if self.auto_create => AutoTopics::Made { partitions: None },
            AutoTopics::Unset => AutoTopics::Refused,
            set => set,
        }
    }

    async fn policies(&self, namespace: &NamespaceName) -> Result<PoliciesRecord, Error> {
        let found = self.read::<PoliciesRecord>(&keys::namespace_policies(namespace)).await?;
        Ok(found.map(|(record, _)| record).unwrap_or_default())
    }

    /// Whether `topic` may come into being because a client uses it.
    pub(crate) async fn may_create(&self, topic: &TopicName) -> Result<(), NamespaceError> {
        let Some(policies) = self.policies_of_new(topic).await? else { return Ok(()) };
        match self.auto_topics(&policies) {
            AutoTopics::Made { .. } => Ok(()),
            AutoTopics::Refused | AutoTopics::Unset => Err(NamespaceError::TopicNotFound(topic.clone())),
        }
    }

    /// Whether `topic` may come into being at all.
    pub(crate) async fn may_be_made(&self, topic: &TopicName) -> Result<(), NamespaceError> {
        self.policies_of_new(topic).await.map(drop)
    }

    /// What its namespace says, if `topic` may come into being at all. `None`: it is a partition that its parent has.
    async fn policies_of_new(&self, topic: &TopicName) -> Result<Option<PoliciesRecord>, NamespaceError> {
        self.require_namespace(topic.namespace()).await?;
        if self.is_partition(topic).await? {
            return Ok(None);
        }
        if topic.partition().is_some() || 0 < self.partitions(topic).await? {
            return Err(NamespaceError::NotAllowed(topic.clone()));
        }
        let policies = self.policies(topic.namespace()).await?;
        let counts = topic.domain() == Domain::Persistent;
        if !counts || self.has_room(topic, 1, &policies).await? {
            Ok(Some(policies))
        } else {
            Err(NamespaceError::TooManyTopics)
        }
    }

    /// Whether a namespace may have so many more, which are `topic` or its partitions. Only those that are stored are there to be counted;
    /// and as in Apache Pulsar, those that are made at the same moment do not know of one another.
    async fn has_room(&self, topic: &TopicName, more: u32, policies: &PoliciesRecord) -> Result<bool, NamespaceError> {
        let namespace = topic.namespace();
        let Some(max) = policies::topics_max(policies) else { return Ok(true) };
        if is_system_topic(topic.local()) {
            return Ok(true);
        }
        let there = self.topics(namespace).await?.iter().filter(|there| !is_system_topic(there)).count();
        Ok(there as u64 + u64::from(more) <= max)
    }

    /// Whether `topic` is one of the partitions that its parent has.
    pub(crate) async fn is_partition(&self, topic: &TopicName) -> Result<bool, NamespaceError> {
        let Some(number) = topic.partition() else { return Ok(false) };
        Ok(number < self.partitions(&topic.partitioned()).await?)
    }

    async fn require_namespace(&self, namespace: &NamespaceName) -> Result<(), NamespaceError> {
        match self.read::<NamespaceRecord>(&keys::namespace(namespace)).await? {
            Some(_) => Ok(()),
            None => Err(NamespaceError::NamespaceNotFound),
        }
    }

    /// Full names of a namespace's stored topics, partitions one by one, sorted.
    pub(crate) async fn topics(&self, namespace: &NamespaceName) -> Result<Vec<String>, NamespaceError> {
        self.require_namespace(namespace).await?;
        let prefix = keys::topics(namespace);
        let records = self.metadata.list_all(&prefix).await?;
        let local = |key: &str| key.strip_prefix(&prefix).map(str::to_owned);
        let mut names: BTreeSet<String> = records.iter().filter_map(|record| local(record.key.as_str())).collect();
        for (topic, partitioned) in self.partitioned_records(namespace, Domain::Persistent).await? {
            names.extend((0..partitioned.partitions).map(|number| topic.with_partition(number).local().to_owned()));
        }
        Ok(names.into_iter().map(|name| format!("persistent://{namespace}/{name}")).collect())
    }

    /// Tells of every stored topic that comes into being or goes, whichever broker it is used at.
    pub(crate) async fn watch_topics(&self, namespace: &NamespaceName) -> Result<Listing, NamespaceError> {
        Ok(self.listings.watch(namespace).await?)
    }

    /// Names of a namespace's partitioned topics, sorted.
    pub(crate) async fn partitioned_topics(
        &self,
        namespace: &NamespaceName,
        domain: Domain,
    ) -> Result<Vec<TopicName>, NamespaceError> {
        self.require_namespace(namespace).await?;
        Ok(self.partitioned_records(namespace, domain).await?.into_keys().collect())
    }

    async fn partitioned_records(
        &self,
        namespace: &NamespaceName,
        domain: Domain,
    ) -> Result<BTreeMap<TopicName, PartitionedTopicRecord>, Error> {
        let prefix = partitioned_prefix(namespace, domain);
        let mut found = BTreeMap::new();
        for record in self.metadata.list_all(&prefix).await? {
            let local = record.key.as_str().strip_prefix(&prefix).unwrap_or_default();
            if let Ok(topic) = TopicName::new(domain, namespace.clone(), local) {
                found.insert(topic, decode(&record)?);
            }
        }
        Ok(found)
    }

    /// Makes the record of a partitioned topic.
    pub(crate) async fn create_partitioned(
        &self,
        topic: &TopicName,
        partitions: u32,
        properties: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), ChangeError> {
        if topic.partition().is_some() || topic.local().contains("-partition-") {
            return Err(ChangeError::Invalid("Partitioned Topic Name should not contain '-partition-'".into()));
        }
        if partitions == 0 {
            return Err(ChangeError::PartitionCount("Number of partitions should be more than 0".into()));
        }
        if partitions_max() < partitions {
            let most = partitions_max();
            return Err(ChangeError::PartitionCount(format!(
                "Number of partitions should be less than or equal to {most}"
            )));
        }
        let namespace = keys::namespace(topic.namespace());
        let found = self.read::<NamespaceRecord>(&namespace).await?;
        let (_, found) = found.ok_or_else(|| ChangeError::NotFound("Namespace not found".into()))?;
        self.require_room(topic, partitions).await?;
        let properties = properties.into_iter().collect();
        let record = PartitionedTopicRecord { partitions, properties, created_at: self.clock.now_ms() };
        let mut operations = vec![
            Operation::Check { key: namespace.into(), expect: Expect::Version(found.version) },
            Operation::put(keys::partitioned_topic(topic), record.encode_to_vec(), Expect::Absent),
        ];
        if topic.domain() == Domain::Persistent {
            operations.push(Operation::Check { key: keys::topic(topic).into(), expect: Expect::Absent });
        }
        match self.metadata.commit(Transaction::new(operations)).await {
            Ok(_) => Ok(()),
            Err(Error::Conflict { .. }) => Err(ChangeError::Conflict("This topic already exists".into())),
            Err(error) => Err(error.into()),
        }
    }

    async fn require_room(&self, topic: &TopicName, more: u32) -> Result<(), ChangeError> {
        let policies = self.policies(topic.namespace()).await?;
        match self.has_room(topic, more, &policies).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(ChangeError::TooManyTopics),
            Err(NamespaceError::Metadata(error)) => Err(error.into()),
            Err(error) => Err(ChangeError::NotFound(error.to_string())),
        }
    }

    /// Raises the number of partitions. Returns what it was.
    pub(crate) async fn grow_partitioned(&self, topic: &TopicName, partitions: u32) -> Result<u32, ChangeError> {
        let key = keys::partitioned_topic(topic);
        loop {
            let found = self.read::<PartitionedTopicRecord>(&key).await?;
            let not_partitioned = || ChangeError::Conflict(format!("Topic {topic} is not the partitioned topic."));
            let (mut record, found) = found.ok_or_else(not_partitioned)?;
            let current = record.partitions;
            if partitions < current {
                return Err(ChangeError::FewerPartitions { desired: partitions, current });
            }
            if partitions_max() < partitions {
                let most = partitions_max();
                let text = format!("Number of partitions should be less than or equal to {most}");
                return Err(ChangeError::PartitionCount(text));
            }
            record.partitions = partitions;
            match self.metadata.put(&*key, record.encode_to_vec(), Expect::Version(found.version)).await {
                Ok(_) => return Ok(current),
                Err(Error::Conflict { .. }) => {} // Someone else changed it: look again.
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Changes what people have noted with a partitioned topic. `edit` is called again when somebody else was quicker.
    pub(crate) async fn change_properties(
        &self,
        topic: &TopicName,
        edit: impl Fn(&mut HashMap<String, String>),
    ) -> Result<(), ChangeError> {
        let key = keys::partitioned_topic(topic);
        loop {
            let found = self.read::<PartitionedTopicRecord>(&key).await?;
            let gone = || ChangeError::NotFound(format!("Topic {topic} not found"));
            let (mut record, found) = found.ok_or_else(gone)?;
            edit(&mut record.properties);
            match self.metadata.put(&*key, record.encode_to_vec(), Expect::Version(found.version)).await {
                Ok(_) => return Ok(()),
                Err(Error::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Removes the record of a partitioned topic, and its policies. Its partitions are not touched.
    pub(crate) async fn delete_partitioned(&self, topic: &TopicName) -> Result<(), ChangeError> {
        let mut operations = vec![Operation::delete(keys::partitioned_topic(topic), Expect::Any)];
        operations.extend(policies::forget_topic(topic));
        self.metadata.commit(Transaction::new(operations)).await?;
        Ok(())
    }
}

/// Whether a topic is one that Apache Pulsar keeps its own records in. None is made here; whoever brings one along from there does
/// not want it read by patterns.
pub(crate) fn is_system_topic(topic: &str) -> bool {
    const NAMES: [&str; 4] = [
        "__change_events",
        "__transaction_buffer_snapshot",
        "__transaction_buffer_snapshot_segments",
        "__transaction_buffer_snapshot_indexes",
    ];
    let local = topic.rsplit('/').next().unwrap_or(topic);
    let (local, _) = local.split_once("-partition-").unwrap_or((local, ""));
    NAMES.contains(&local)
        || local == "transaction_coordinator_assign"
        || local.starts_with("__transaction_log_")
        || local.ends_with("__transaction_pending_ack")
}
