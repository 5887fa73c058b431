//! The table of contents of the metadata: every key there is, one function each.
//!
//! All keys stand behind the cluster's prefix, which the store adds. Ids are padded so that keys sort as numbers do.
use crate::{BookieId, Domain, LedgerId, NamespaceName, TopicName};

/// The cluster's instance id.
pub const CLUSTER: &str = "cluster";
/// Before all clusters that tenants and namespaces may name.
pub const CLUSTERS: &str = "clusters/";
/// The next block of ledger ids.
pub const LEDGER_IDS: &str = "ids/ledger";
/// Before all ledger records.
pub const LEDGERS: &str = "ledgers/";
/// Before all intents.
pub const INTENTS: &str = "intents/";
/// Before all intents to delete ledgers.
pub const LEDGER_INTENTS: &str = "intents/ledger/";
/// Before all intents to delete objects.
pub const OBJECT_INTENTS: &str = "intents/objects/";
/// Before all ledgers that are in objects only.
pub const COLD_LEDGERS: &str = "cold/";
/// Before all topics.
pub const TOPICS: &str = "topics/";
/// Before all bookie identities.
pub const BOOKIES: &str = "bookies/known/";
/// Before all bookies that take requests. Leased.
pub const BOOKIES_AVAILABLE: &str = "bookies/available/";
/// Before all live brokers. Leased.
pub const BROKERS: &str = "brokers/";
/// Before all owners of bundles. Leased.
pub const BUNDLES: &str = "bundles/";
/// Before all tenants.
pub const TENANTS: &str = "tenants/";
/// Before all policies.
pub const POLICIES: &str = "policies/";

/// A cluster that tenants and namespaces may name.
#[must_use]
pub fn named_cluster(cluster: &str) -> String {
    format!("{CLUSTERS}{cluster}")
}

/// A ledger's record.
#[must_use]
pub fn ledger(ledger: LedgerId) -> String {
    format!("{LEDGERS}{:020}", ledger.0)
}

/// A ledger that is in objects only. Stands as long as objects may hold its data.
#[must_use]
pub fn cold_ledger(ledger: LedgerId) -> String {
    format!("{COLD_LEDGERS}{:020}", ledger.0)
}

/// The intent to delete a ledger.
#[must_use]
pub fn delete_ledger(ledger: LedgerId) -> String {
    format!("{LEDGER_INTENTS}{:020}", ledger.0)
}

/// The intent to delete the objects of one attempt to offload a ledger.
#[must_use]
pub fn delete_objects(ledger: LedgerId, attempt: u64) -> String {
    format!("{}{attempt:016x}", delete_objects_of(ledger))
}

/// Before the intents to delete objects of one ledger.
#[must_use]
pub fn delete_objects_of(ledger: LedgerId) -> String {
    format!("{OBJECT_INTENTS}{:020}/", ledger.0)
}

/// A bookie's identity.
#[must_use]
pub fn bookie(bookie: &BookieId) -> String {
    format!("{BOOKIES}{bookie}")
}

/// A bookie's availability. Leased.
#[must_use]
pub fn bookie_available(bookie: &BookieId) -> String {
    format!("{BOOKIES_AVAILABLE}{bookie}")
}

/// A live broker, by its advertised address. Leased.
#[must_use]
pub fn broker(address: &str) -> String {
    format!("{BROKERS}{address}")
}

/// A bundle's owner; `range` as Pulsar writes it: `0x00000000_0x40000000`. Leased.
#[must_use]
pub fn bundle(namespace: &NamespaceName, range: &str) -> String {
    format!("{BUNDLES}{namespace}/{range}")
}

/// A tenant.
#[must_use]
pub fn tenant(tenant: &str) -> String {
    format!("{TENANTS}{tenant}")
}

/// Before a tenant's namespaces.
#[must_use]
pub fn namespaces(tenant: &str) -> String {
    format!("namespaces/{tenant}/")
}

/// A namespace.
#[must_use]
pub fn namespace(namespace: &NamespaceName) -> String {
    format!("namespaces/{namespace}")
}

/// What is wanted of a namespace's topics.
#[must_use]
pub fn namespace_policies(namespace: &NamespaceName) -> String {
    format!("policies/namespaces/{namespace}")
}

/// What is wanted of one topic, before what its namespace says. Give the name without `-partition-N`.
#[must_use]
pub fn topic_policies(topic: &TopicName) -> String {
    match topic.domain() {
        Domain::Persistent => format!("{}{}", policies_of_topics(topic.namespace()), topic.local()),
        Domain::NonPersistent => format!("policies/non-persistent/{}/{}", topic.namespace(), topic.local()),
    }
}

/// Before the policies of a namespace's stored topics.
#[must_use]
pub fn policies_of_topics(namespace: &NamespaceName) -> String {
    format!("policies/topics/{namespace}/")
}

/// Before a namespace's topics.
#[must_use]
pub fn topics(namespace: &NamespaceName) -> String {
    format!("{TOPICS}{namespace}/")
}

/// A topic's record.
#[must_use]
pub fn topic(topic: &TopicName) -> String {
    format!("{TOPICS}{}/{}", topic.namespace(), topic.local())
}

/// Before a namespace's partitioned topics.
#[must_use]
pub fn partitioned_topics(namespace: &NamespaceName) -> String {
    format!("partitioned/{namespace}/")
}

/// How many partitions a topic has. Give the name without `-partition-N`.
#[must_use]
pub fn partitioned_topic(topic: &TopicName) -> String {
    format!("partitioned/{}/{}/{}", topic.namespace(), topic.domain().as_str(), topic.local())
}

/// Before the schemas of a namespace's topics.
#[must_use]
pub fn schemas_of_namespace(namespace: &NamespaceName) -> String {
    format!("schemas/{namespace}/")
}

/// Before the versions of a topic's schema. Give the name without `-partition-N`.
#[must_use]
pub fn schemas(topic: &TopicName) -> String {
    // Length first: a topic called `a/b` must not lie below a topic called `a`.
    format!("schemas/{}/{}/{}/", topic.namespace(), topic.local().len(), topic.local())
}

/// One version of a topic's schema.
#[must_use]
pub fn schema(topic: &TopicName, version: u64) -> String {
    format!("{}{version:020}", schemas(topic))
}
