//! Where policies are kept, and how they are changed.
use std::sync::Arc;
use std::sync::atomic::Ordering;

use metadata::{Error, Expect, Key, MetadataStore, Operation, Transaction, Watch};
use prost::Message;
use proto::records::PoliciesRecord;
use proto::{Domain, NamespaceName, TopicName, keys};

use super::{OfBroker, Policies, PolicyError};

/// Whose policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Level {
    /// Of all topics of a namespace.
    Namespace(NamespaceName),
    /// Of one topic, with all its partitions.
    Topic(TopicName),
}

impl Level {
    fn key(&self) -> Key {
        match self {
            Self::Namespace(namespace) => keys::namespace_policies(namespace).into(),
            Self::Topic(topic) => keys::topic_policies(topic).into(),
        }
    }

    /// One of these records shows that it exists.
    fn owners(&self) -> Vec<Key> {
        match self {
            Self::Namespace(namespace) => vec![keys::namespace(namespace).into()],
            Self::Topic(topic) if topic.domain() == Domain::NonPersistent => {
                // Only brokers know whether it is there: the asker has looked.
                vec![keys::partitioned_topic(topic).into(), keys::namespace(topic.namespace()).into()]
            }
            Self::Topic(topic) => vec![keys::topic(topic).into(), keys::partitioned_topic(topic).into()],
        }
    }
}

/// Why policies were not read or changed, named by what the asker does next.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum PoliciesError {
    /// Create it first.
    #[error("there is no such namespace or topic")]
    NotFound,
    /// The value is not taken.
    #[error(transparent)]
    Value(#[from] PolicyError),
    /// Ask again.
    #[error("metadata: {0}")]
    Metadata(#[from] Error),
}

/// A change is tried again when somebody else was quicker, or when the topic's record changed, as it does with every ledger.
const ATTEMPTS: usize = 32;

impl Policies {
    /// Keeps policies in `metadata`.
    pub(crate) fn new(metadata: Arc<dyn MetadataStore>, of_broker: OfBroker) -> Self {
        Self { metadata, of_broker, seen: Arc::default() }
    }

    /// What bounds policies.
    pub(crate) fn of_broker(&self) -> OfBroker {
        self.of_broker
    }

    /// Tells of every policy that changes from now on, by its key.
    pub(crate) async fn watch(&self) -> Result<Watch, Error> {
        self.metadata.watch(keys::POLICIES).await
    }

    /// A change was seen: what is read from now on is newer than what was read before.
    pub(crate) fn note_change(&self) {
        self.seen.fetch_add(1, Ordering::Relaxed);
    }

    /// What is set at exactly this level, which must exist.
    pub(crate) async fn set_at(&self, level: &Level) -> Result<PoliciesRecord, PoliciesError> {
        self.owner(level).await?;
        Ok(self.kept(level.key()).await?.record)
    }

    /// Changes what is set at a level, which must exist. `edit` is called again when somebody else was quicker. After an error
    /// nothing is changed, unless it says that the outcome is unknown.
    pub(crate) async fn change(
        &self,
        level: &Level,
        edit: impl Fn(&mut PoliciesRecord) -> Result<(), PolicyError>,
    ) -> Result<(), PoliciesError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let owner = self.owner(level).await?;
            let kept = self.kept(level.key()).await?;
            let mut record = kept.record.clone();
            edit(&mut record)?;
            if record == kept.record {
                return Ok(());
            }
            let change = if record == PoliciesRecord::default() {
                Operation::delete(kept.key, kept.expect)
            } else {
                Operation::put(kept.key, record.encode_to_vec(), kept.expect)
            };
            match self.metadata.commit(Transaction::new(vec![owner, change])).await {
                Ok(_) => return Ok(()),
                Err(Error::Conflict { .. }) if attempts < ATTEMPTS => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Holds a transaction to the existence of what policies are set for.
    async fn owner(&self, level: &Level) -> Result<Operation, PoliciesError> {
        for key in level.owners() {
            if let Some(found) = self.metadata.get(&key).await? {
                return Ok(Operation::check(key, Expect::Version(found.version)));
            }
        }
        Err(PoliciesError::NotFound)
    }
}

/// For the transaction that deletes a topic. A partition has no policies of its own.
pub(crate) fn forget_topic(topic: &TopicName) -> Vec<Operation> {
    match topic.partition() {
        Some(_) => Vec::new(),
        None => vec![Operation::delete(keys::topic_policies(topic), Expect::Any)],
    }
}

/// For the transaction that deletes a namespace.
pub(crate) fn forget_namespace(namespace: &NamespaceName) -> Operation {
    Operation::delete(keys::namespace_policies(namespace), Expect::Any)
}

/// For the transaction that makes a namespace.
pub(crate) fn keep_for_namespace(namespace: &NamespaceName, record: &PoliciesRecord) -> Operation {
    let key = keys::namespace_policies(namespace);
    if *record == PoliciesRecord::default() {
        return Operation::delete(key, Expect::Any); // There may be no other from before.
    }
    Operation::put(key, record.encode_to_vec(), Expect::Any)
}
