//! What counts for a topic.
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use metadata::{Error, Expect, Key, MetadataStoreExt, Operation, Record};
use prost::Message;
use proto::records::{self, OffloadPolicy, PoliciesRecord};
use proto::{NamespaceName, TopicName, keys};
use serde_json::Value;

use super::{Inactivity, Limits, OfBroker, Policies, Quotas, Retention, Terms, offload, plain};

/// A policies record as it was read: of nothing set, the default.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept {
    pub(super) key: Key,
    pub(super) record: PoliciesRecord,
    pub(super) expect: Expect,
}

impl Kept {
    pub(super) fn read(key: Key, found: Option<&Record>) -> Result<Self, Error> {
        let expect = Expect::unchanged(found);
        let record = match found {
            Some(found) => {
                let corrupt = || Error::Corrupt { key: found.key.clone() };
                let record = PoliciesRecord::decode(found.value.clone()).map_err(|_| corrupt())?;
                if plain::is_readable(&record) { record } else { return Err(corrupt()) }
            }
            None => PoliciesRecord::default(),
        };
        Ok(Self { key, record, expect })
    }

    fn nothing(key: Key) -> Self {
        Self { key, record: PoliciesRecord::default(), expect: Expect::Absent }
    }
}

/// What counts for one topic, as it was at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Effective {
    topic: Kept,
    namespace: Kept,
    pub(super) of_broker: OfBroker,
    /// Changes that were seen before it was read.
    seen: u64,
}

impl Effective {
    /// How long acknowledged messages stay. Without a policy: not at all.
    pub(crate) fn retention(&self) -> Retention {
        self.retention_record().into()
    }

    pub(super) fn retention_record(&self) -> records::Retention {
        self.topic.record.retention.or(self.namespace.record.retention).unwrap_or_default()
    }

    /// A policy without a field of its own. `Null`: nothing is set.
    pub(crate) fn plain(&self, key: &str) -> Value {
        match plain::get(&self.topic.record, key) {
            Value::Null => plain::get(&self.namespace.record, key),
            set => set,
        }
    }

    /// The same as it stands at the topic and at the namespace, for policies whose values say that others count.
    pub(crate) fn plain_of_levels(&self, key: &str) -> [Value; 2] {
        [&self.topic, &self.namespace].map(|kept| plain::get(&kept.record, key))
    }

    /// Whether a message that comes twice from a producer is stored once. Without a policy: no.
    pub(crate) fn deduplication(&self) -> bool {
        self.plain("deduplicationEnabled") == Value::Bool(true)
    }

    /// Whether only encrypted messages are taken. Without a policy: no.
    pub(crate) fn encryption_required(&self) -> bool {
        self.plain("encryption_required") == Value::Bool(true)
    }

    /// After how long messages count as acknowledged. `None`: never.
    pub(crate) fn message_ttl(&self) -> Option<Duration> {
        self.plain("message_ttl_in_seconds").as_u64().filter(|seconds| 0 < *seconds).map(Duration::from_secs)
    }

    /// When a topic that nobody uses goes. `None`: it stays, as it does without a policy.
    pub(crate) fn inactivity(&self) -> Option<Inactivity> {
        Inactivity::of(&self.plain("inactive_topic_policies"))
    }

    /// Beyond how many bytes since the last time a topic is compacted. `None`: never by itself.
    pub(crate) fn compaction_threshold(&self) -> Option<u64> {
        self.plain("compaction_threshold").as_u64().filter(|bytes| 0 < *bytes)
    }

    /// How many may be there, and who.
    pub(crate) fn limits(&self) -> Limits {
        Limits::of(self)
    }

    /// What the topic heeds while it is used.
    pub(crate) fn terms(&self) -> Terms {
        Terms::of(self, self.seen)
    }

    /// How much may wait for subscriptions. Each of the two comes from the topic, else from the namespace.
    pub(crate) fn quotas(&self) -> Quotas {
        Quotas::of([&self.topic.record, &self.namespace.record])
    }

    /// The clusters it is to be in, if somebody has said so.
    pub(crate) fn clusters(&self) -> Value {
        match plain::clusters(&self.topic.record) {
            Value::Null => plain::clusters(&self.namespace.record),
            set => set,
        }
    }

    /// When ledgers move to objects, and where. Without a policy: never.
    pub(crate) fn offload(&self) -> Option<OffloadPolicy> {
        offload::over(self.topic.record.offload.as_ref(), self.namespace.record.offload.as_ref())
    }

    /// Put into a transaction, they let it go through only while this still counts. Two operations.
    pub(crate) fn unchanged(&self) -> [Operation; 2] {
        [&self.topic, &self.namespace].map(|kept| Operation::check(kept.key.clone(), kept.expect))
    }
}

/// What counts for the topics of one namespace.
#[derive(Debug, Clone)]
pub(crate) struct OfNamespace {
    namespace: Kept,
    of_broker: OfBroker,
    seen: u64,
    topics: BTreeMap<Key, Result<Kept, Error>>,
}

impl OfNamespace {
    /// After how long a subscription goes that nobody uses. `None`: it stays.
    pub(crate) fn subscription_expiration(&self) -> Option<Duration> {
        let minutes = plain::get(&self.namespace.record, "subscription_expiration_time_minutes").as_u64();
        minutes.filter(|minutes| 0 < *minutes).map(|minutes| Duration::from_secs(minutes.saturating_mul(60)))
    }

    /// For a topic of this namespace.
    pub(crate) fn effective(&self, topic: &TopicName) -> Result<Effective, Error> {
        let key = Key::from(keys::topic_policies(&topic.partitioned()));
        let topic = match self.topics.get(&key) {
            Some(kept) => kept.clone()?,
            None => Kept::nothing(key),
        };
        let (of_broker, seen) = (self.of_broker, self.seen);
        Ok(Effective { topic, namespace: self.namespace.clone(), of_broker, seen })
    }
}

impl Policies {
    /// What counts for a topic now. A partition has the policies of its topic.
    pub(crate) async fn effective(&self, topic: &TopicName) -> Result<Effective, Error> {
        let seen = self.seen.load(Ordering::Relaxed);
        let namespace = self.kept(keys::namespace_policies(topic.namespace()).into()).await?;
        let topic = self.kept(keys::topic_policies(&topic.partitioned()).into()).await?;
        Ok(Effective { topic, namespace, of_broker: self.of_broker, seen })
    }

    /// What counts for the topics of a namespace now, however many they are. What cannot be read of one topic is an error for that
    /// topic only.
    pub(crate) async fn of_namespace(&self, namespace: &NamespaceName) -> Result<OfNamespace, Error> {
        let seen = self.seen.load(Ordering::Relaxed);
        let kept = self.kept(keys::namespace_policies(namespace).into()).await?;
        let found = self.metadata.list_all(&keys::policies_of_topics(namespace)).await?;
        let topics = found.iter().map(|record| (record.key.clone(), Kept::read(record.key.clone(), Some(record))));
        Ok(OfNamespace { namespace: kept, of_broker: self.of_broker, seen, topics: topics.collect() })
    }

    pub(super) async fn kept(&self, key: Key) -> Result<Kept, Error> {
        let found = self.metadata.get(&key).await?;
        Kept::read(key, found.as_ref())
    }
}
