//! The `pulsar` crate, which the command line uses as well.
#![expect(clippy::large_futures, reason = "the crate's own futures are large, and each is awaited once")]
use std::time::Duration;

use futures::TryStreamExt;
use pulsar::consumer::{Consumer, ConsumerOptions, InitialPosition, Message};
use pulsar::message::proto::{Schema, schema};
use pulsar::producer::{self, ProducerOptions};
use pulsar::{Pulsar, SubType, TokioExecutor};
use tests::cluster::Servers;

use crate::directory;

const MESSAGE_WITHIN: Duration = Duration::from_secs(30);
const MESSAGE_BYTES_MAX: usize = 5 * 1024 * 1024;

pub(crate) type Client = Pulsar<TokioExecutor>;
pub(crate) type Subscriber = Consumer<Vec<u8>, TokioExecutor>;

fn topic(name: &str) -> String {
    format!("persistent://public/default/rust-{name}")
}

pub(crate) async fn connect(address: &str) -> Client {
    Pulsar::builder(format!("pulsar://{address}"), TokioExecutor).build().await.expect("it connects")
}

pub(crate) async fn subscribe(
    client: &Client,
    topic: &str,
    name: &str,
    kind: SubType,
    schema: Option<Schema>,
) -> Subscriber {
    let options = ConsumerOptions { initial_position: InitialPosition::Earliest, schema, ..Default::default() };
    let builder = client.consumer().with_topic(topic).with_subscription(name).with_subscription_type(kind);
    builder.with_options(options).build().await.expect("it subscribes")
}

pub(crate) async fn next(consumer: &mut Subscriber) -> Message<Vec<u8>> {
    let message = tokio::time::timeout(MESSAGE_WITHIN, consumer.try_next()).await.expect("in time");
    let message = message.expect("no error").expect("a consumer does not end");
    consumer.ack(&message).await.expect("it acknowledges");
    message
}

/// Publishes and waits for the receipts at the end, so that batches can form.
pub(crate) async fn publish(client: &Client, topic: &str, options: ProducerOptions, messages: Vec<producer::Message>) {
    let batched = options.batch_size.is_some();
    let mut producer = client.producer().with_topic(topic).with_options(options).build().await.expect("it attaches");
    let mut receipts = Vec::new();
    for message in messages {
        receipts.push(producer.send_non_blocking(message).await.expect("it is taken"));
    }
    if batched {
        producer.send_batch().await.expect("the rest is sent");
    }
    for receipt in receipts {
        tokio::time::timeout(MESSAGE_WITHIN, receipt).await.expect("in time").expect("a receipt");
    }
    producer.close().await.expect("it detaches");
}

pub(crate) fn message(payload: Vec<u8>) -> producer::Message {
    producer::Message { payload, ..Default::default() }
}

pub(crate) fn numbered(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| number.to_string().into_bytes()).collect()
}

async fn single_and_batched_messages_reach_each_type_of_subscription(client: &Client) {
    for (name, batch_size) in [("single", None), ("batched", Some(20))] {
        let (topic, sent) = (topic(name), numbered(100));
        let options = ProducerOptions { batch_size, ..Default::default() };
        publish(client, &topic, options, sent.iter().cloned().map(message).collect()).await;
        for kind in [SubType::Exclusive, SubType::Failover, SubType::Shared] {
            let mut consumer = subscribe(client, &topic, &format!("{kind:?}"), kind, None).await;
            for expected in &sent {
                assert_eq!(&next(&mut consumer).await.payload.data, expected, "{name} to {kind:?}");
            }
        }
    }
}

async fn keys_and_properties_are_kept(client: &Client) {
    let topic = topic("properties");
    let properties = [("colour".to_owned(), "red".to_owned())].into();
    let sent = producer::Message { payload: b"body".to_vec(), properties, ..Default::default() };
    let sent = producer::Message { partition_key: Some("a-key".into()), event_time: Some(1_234_567), ..sent };
    publish(client, &topic, ProducerOptions::default(), vec![sent]).await;
    let got = next(&mut subscribe(client, &topic, "s", SubType::Exclusive, None).await).await;
    let metadata = &got.payload.metadata;
    assert_eq!((metadata.partition_key.as_deref(), metadata.event_time), (Some("a-key"), Some(1_234_567)));
    assert_eq!((metadata.properties[0].key.as_str(), metadata.properties[0].value.as_str()), ("colour", "red"));
}

async fn a_message_of_five_mebibytes_passes(client: &Client) {
    let topic = topic("large");
    let body: Vec<u8> = (0..MESSAGE_BYTES_MAX).map(|at| ((at * at) >> 3) as u8).collect();
    publish(client, &topic, ProducerOptions::default(), vec![message(body.clone())]).await;
    let got = next(&mut subscribe(client, &topic, "s", SubType::Exclusive, None).await).await;
    assert!(got.payload.data == body, "the bytes differ");
}

async fn a_string_schema_is_kept(client: &Client) {
    let topic = topic("schema");
    let string = Schema { name: "text".into(), r#type: schema::Type::String as i32, ..Default::default() };
    let options = ProducerOptions { schema: Some(string.clone()), ..Default::default() };
    publish(client, &topic, options, vec![message("grüße".into())]).await;
    let mut consumer = subscribe(client, &topic, "s", SubType::Exclusive, Some(string)).await;
    assert_eq!(next(&mut consumer).await.payload.data, "grüße".as_bytes());
}

async fn a_partitioned_topic_gives_back_all_it_got(client: &Client, servers: &Servers) {
    let topic = topic("partitioned");
    servers.admin().create_partitioned("public/default/rust-partitioned", 3).await.expect("it is made");
    assert_eq!(client.lookup_partitioned_topic_number(&topic).await.expect("known"), 3);
    let sent = numbered(60);
    publish(client, &topic, ProducerOptions::default(), sent.iter().cloned().map(message).collect()).await;
    let mut consumer = subscribe(client, &topic, "s", SubType::Exclusive, None).await;
    let mut got = Vec::new();
    let mut partitions = std::collections::BTreeSet::new();
    for _ in &sent {
        let message = next(&mut consumer).await;
        partitions.insert(message.topic.clone());
        got.push(message.payload.data);
    }
    got.sort_by_key(|data| (data.len(), data.clone()));
    assert_eq!(got, sent);
    assert_eq!(partitions.len(), 3, "{partitions:?}");
}

async fn a_reader_begins_at_the_earliest_message(client: &Client) {
    let (topic, sent) = (topic("reader"), numbered(50));
    publish(client, &topic, ProducerOptions::default(), sent.iter().cloned().map(message).collect()).await;
    let options = ConsumerOptions { initial_position: InitialPosition::Earliest, ..Default::default() };
    let options = ConsumerOptions { durable: Some(false), ..options };
    let builder = client.reader().with_topic(&topic).with_options(options);
    let mut reader = builder.into_reader::<Vec<u8>>().await.expect("it attaches");
    for expected in &sent {
        let got = tokio::time::timeout(MESSAGE_WITHIN, reader.try_next()).await.expect("in time");
        assert_eq!(&got.expect("no error").expect("a reader does not end").payload.data, expected);
    }
}

async fn everything_works(servers: &Servers) {
    let client = connect(&servers.addresses()[0]).await;
    single_and_batched_messages_reach_each_type_of_subscription(&client).await;
    keys_and_properties_are_kept(&client).await;
    a_message_of_five_mebibytes_passes(&client).await;
    a_string_schema_is_kept(&client).await;
    a_partitioned_topic_gives_back_all_it_got(&client, servers).await;
    a_reader_begins_at_the_earliest_message(&client).await;
}

#[tokio::test]
async fn the_pulsar_crate_works_with_standalone() {
    let place = directory();
    everything_works(&Servers::one(place.path()).await.expect("standalone starts")).await;
}

#[tokio::test]
async fn the_pulsar_crate_works_with_a_cluster() {
    let place = directory();
    everything_works(&Servers::many(place.path()).await.expect("the cluster starts")).await;
}
