use metadata::MemoryStore;
use proto::{Domain, NamespaceName};

use super::*;
use crate::ownership::Bundles;

async fn namespaces(auto_create: bool) -> Namespaces {
    let namespaces = Namespaces::new(Arc::new(MemoryStore::default()), Clock::fixed(7), "standalone", auto_create);
    namespaces.bootstrap("instance").await.unwrap();
    namespaces
}

fn topic(text: &str) -> TopicName {
    text.parse().unwrap()
}

async fn store_topic(namespaces: &Namespaces, name: &str) {
    use metadata::{Expect, MetadataStoreExt};
    namespaces.metadata.put(proto::keys::topic(&topic(name)), vec![], Expect::Absent).await.unwrap();
}

#[tokio::test]
async fn what_exists_from_the_start_is_made_once() {
    let namespaces = namespaces(true).await;
    namespaces.bootstrap("another").await.unwrap();
    assert_eq!(namespaces.cluster().await.unwrap().instance, "instance");
    assert_eq!(namespaces.tenants().await.unwrap(), ["public", "pulsar"]);
    assert_eq!(namespaces.namespaces("public").await.unwrap(), ["public/default"]);
    assert_eq!(namespaces.namespaces("pulsar").await.unwrap(), ["pulsar/system"]);
}

/// Rows: what there is; columns: whether this broker and the client allow creating.
#[tokio::test]
async fn partition_metadata_follows_pip_344() {
    for broker_allows in [true, false] {
        let namespaces = namespaces(broker_allows).await;
        namespaces.create_partitioned(&topic("parted"), 3, []).await.unwrap();
        store_topic(&namespaces, "plain").await;
        for client_allows in [true, false] {
            let ask = async |name: &str| namespaces.partition_metadata(&topic(name), client_allows).await.ok();
            assert_eq!(ask("parted").await, Some(3));
            assert_eq!(ask("plain").await, Some(0));
            assert_eq!(ask("parted-partition-2").await, Some(0));
            let absent = (broker_allows && client_allows).then_some(0);
            assert_eq!(ask("absent").await, absent);
            assert_eq!(ask("parted-partition-3").await, absent);
            let nowhere = namespaces.partition_metadata(&topic("public/nowhere/x"), client_allows).await;
            assert!(matches!(nowhere, Err(NamespaceError::NamespaceNotFound)), "{nowhere:?}");
        }
    }
}

#[tokio::test]
async fn only_partitions_inside_their_parents_count_come_into_being() {
    let namespaces = namespaces(true).await;
    namespaces.create_partitioned(&topic("parted"), 3, []).await.unwrap();
    let may = async |name: &str| namespaces.may_create(&topic(name)).await;
    assert!(may("new").await.is_ok());
    assert!(may("parted-partition-2").await.is_ok());
    for wrong in ["parted-partition-3", "ghost-partition-0", "parted"] {
        assert!(matches!(may(wrong).await, Err(NamespaceError::NotAllowed(_))), "{wrong}");
    }
    assert!(matches!(may("nobody/default/x").await, Err(NamespaceError::NamespaceNotFound)));
    let strict = self::namespaces(false).await;
    assert!(matches!(strict.may_create(&topic("new")).await, Err(NamespaceError::TopicNotFound(_))));
}

#[tokio::test]
async fn a_namespace_has_no_more_topics_than_it_says() {
    let namespaces = namespaces(true).await;
    let default: NamespaceName = "public/default".parse().unwrap();
    let max = async |max: &str| {
        let three = r#"{"allowAutoTopicCreation":true,"topicType":"partitioned","defaultNumPartitions":3}"#;
        let policies = [("max_topics_per_namespace", max), ("autoTopicCreationOverride", three)];
        let plain = policies.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let record = proto::records::PoliciesRecord { plain, ..Default::default() }.encode_to_vec();
        use metadata::{Expect, MetadataStoreExt};
        namespaces.metadata.put(proto::keys::namespace_policies(&default), record, Expect::Any).await.unwrap();
    };
    max("5").await;
    store_topic(&namespaces, "plain").await;
    store_topic(&namespaces, "__change_events").await; // Nobody has made it.
    namespaces.create_partitioned(&topic("parted"), 3, []).await.unwrap();
    assert!(matches!(namespaces.create_partitioned(&topic("other"), 2, []).await, Err(ChangeError::TooManyTopics)));
    let may = async |name: &str| namespaces.may_create(&topic(name)).await;
    assert!(may("last").await.is_ok());
    store_topic(&namespaces, "last").await;
    for made in ["new", "public/default/new"] {
        assert!(matches!(may(made).await, Err(NamespaceError::TooManyTopics)), "{made}");
    }
    for counted in ["parted-partition-2", "__change_events", "non-persistent://public/default/new"] {
        assert!(may(counted).await.is_ok(), "{counted}");
    }
    let auto = namespaces.partition_metadata(&topic("auto"), true).await;
    assert!(matches!(auto, Err(NamespaceError::TooManyTopics)), "{auto:?}");
    max("0").await;
    assert!(may("new").await.is_ok(), "0 is no limit");
    assert_eq!(namespaces.partition_metadata(&topic("auto"), true).await.ok(), Some(3));
}

#[tokio::test]
async fn all_partitions_are_listed_as_soon_as_their_parent_is_made() {
    let namespaces = namespaces(true).await;
    store_topic(&namespaces, "b").await;
    store_topic(&namespaces, "a-partition-1").await;
    namespaces.create_partitioned(&topic("a"), 2, []).await.unwrap();
    let default: NamespaceName = "public/default".parse().unwrap();
    let listed = namespaces.topics(&default).await.unwrap();
    let full = |name: &str| format!("persistent://public/default/{name}");
    assert_eq!(listed, [full("a-partition-0"), full("a-partition-1"), full("b")]);
    assert_eq!(namespaces.partitioned_topics(&default, Domain::Persistent).await.unwrap(), [topic("a")]);
}

#[tokio::test]
async fn a_name_is_partitioned_or_not_but_never_both() {
    let namespaces = namespaces(true).await;
    store_topic(&namespaces, "plain").await;
    let conflict = namespaces.create_partitioned(&topic("plain"), 2, []).await;
    assert!(matches!(conflict, Err(ChangeError::Conflict(_))));
    assert!(matches!(namespaces.create_partitioned(&topic("p"), 0, []).await, Err(ChangeError::PartitionCount(_))));
    assert!(matches!(
        namespaces.create_partitioned(&topic("p"), 1 << 30, []).await,
        Err(ChangeError::PartitionCount(_))
    ));
    namespaces.create_partitioned(&topic("p"), 2, []).await.unwrap();
    assert_eq!(namespaces.grow_partitioned(&topic("p"), 5).await.unwrap(), 2);
    let fewer = namespaces.grow_partitioned(&topic("p"), 4).await;
    assert!(matches!(fewer, Err(ChangeError::FewerPartitions { desired: 4, current: 5 })));
}

#[tokio::test]
async fn tenants_and_namespaces_go_only_when_they_are_empty() {
    let namespaces = namespaces(true).await;
    let change = TenantChange { admin_roles: vec![], allowed_clusters: vec!["standalone".into()] };
    namespaces.create_tenant("t", change.clone()).await.unwrap();
    assert!(matches!(namespaces.create_tenant("t", change).await, Err(ChangeError::Conflict(_))));
    let name: NamespaceName = "t/n".parse().unwrap();
    namespaces.create_namespace(&name, &Bundles::even(4), &[], &Default::default()).await.unwrap();
    store_topic(&namespaces, "t/n/x").await;
    assert!(matches!(namespaces.delete_tenant("t").await, Err(ChangeError::Conflict(_))));
    assert!(matches!(namespaces.delete_namespace(&name).await, Err(ChangeError::Conflict(_))));
    use metadata::{Expect, MetadataStoreExt};
    namespaces.metadata.delete(proto::keys::topic(&topic("t/n/x")), Expect::Any).await.unwrap();
    namespaces.delete_namespace(&name).await.unwrap();
    namespaces.delete_tenant("t").await.unwrap();
    assert!(matches!(namespaces.tenant("t").await, Err(ChangeError::NotFound(_))));
}
