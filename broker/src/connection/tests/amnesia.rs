//! Records that are away, damaged or gone: what clients are told then.
use metadata::MetadataStoreExt;

use super::schemas::avro;
use super::*;

/// What a client is told that wants to publish, to read, and to know the schema of the topic. Each is answered.
async fn asks(broker: &Broker) -> [Option<ServerError>; 3] {
    let mut client = broker.client().await;
    let refusal = |command: BaseCommand| command.error.map(|error| error.error());
    client.producer_with(1, avro(&["a"])).await;
    let producer = refusal(client.next().await.expect("the connection is open").command);
    client.consumer_with(2, avro(&["a"])).await;
    let consumer = refusal(client.next().await.expect("the connection is open").command);
    let schema = client.get_schema(None).await;
    [producer, consumer, schema.error_code.map(|_| schema.error_code())]
}

const NONE: [Option<ServerError>; 3] = [None; 3];

/// N25 (P#25294, P#9212). Goal: records that cannot be read are answered for at once, by an error that clients try again after; what is
/// gone is as if it had never been; when records are back, so is everything. Method: each is away, damaged or gone while the topic loads.
#[tokio::test]
async fn n25_a_topic_whose_policies_or_schemas_are_missing_is_answered_for() {
    let (topic, namespace) = (name(TOPIC), "public/default".parse().unwrap());
    let later = Some(ServerError::ServiceNotReady);
    for (key, refused) in [
        (keys::topic_policies(&topic), [later, later, None]),
        (keys::namespace_policies(&namespace), [later, later, None]),
        (keys::schema(&topic, 0), [later; 3]),
    ] {
        let storage = Storage::new().await;
        let broker = Broker::started(&storage, "first").await;
        assert_eq!(asks(&broker).await, NONE);
        broker.loses_its_lease().await;

        storage.metadata.set_unreadable(Some(if key.starts_with("schemas/") { "schemas/" } else { "policies/" }));
        let broker = Broker::started(&storage, "away").await;
        assert_eq!(asks(&broker).await, refused, "{key} is away");
        storage.metadata.set_unreadable(None);
        assert_eq!(asks(&broker).await, NONE, "{key} is back");
        broker.loses_its_lease().await;

        storage.metadata.put(key.clone(), "\u{7}\u{7}\u{7}", Expect::Any).await.unwrap();
        let broker = Broker::started(&storage, "damaged").await;
        assert_eq!(asks(&broker).await, refused, "{key} is damaged");
        broker.loses_its_lease().await;

        storage.metadata.delete(key.clone(), Expect::Any).await.unwrap();
        let broker = Broker::started(&storage, "gone").await;
        assert_eq!(asks(&broker).await, NONE, "{key} is gone");
    }
}
