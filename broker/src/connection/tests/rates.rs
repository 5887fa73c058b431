//! Messages that come faster than policies let them, and those that wait for their time.
use serde_json::json;

use super::*;
use crate::policies::Level;

const OTHER: &str = "persistent://public/default/other";

/// A topic that takes a long message and then none for a third of a second, two producers of it and one of another topic, all on one connection.
async fn slow() -> (Broker, Client) {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.producer(TOPIC, 1).await;
    let rate = json!({"publishThrottlingRateInMsg": -1, "publishThrottlingRateInByte": long().len() * 3 / 4});
    broker.limits(Level::Topic(name(TOPIC)), &[("publishMaxMessageRate", rate)]).await;
    client.producer(TOPIC, 2).await; // It brings the news.
    client.producer(OTHER, 3).await;
    (broker, client)
}

fn long() -> Bytes {
    message(&"x".repeat(100))
}

async fn receipt(client: &mut Client) -> (u64, u64) {
    let receipt = client.expect(Type::SendReceipt).await.send_receipt.unwrap();
    (receipt.producer_id, receipt.sequence_id)
}

#[tokio::test]
async fn what_is_too_fast_waits_in_its_order_while_the_connection_is_read_on() {
    let (broker, mut client) = slow().await;
    let mut bytes = Vec::new();
    for (producer_id, sequence_id) in [(1, 0), (1, 1), (2, 0), (3, 0)] {
        bytes.extend(send_bytes(producer_id, sequence_id, &long()));
    }
    client.write(&bytes).await;
    let mut at_once = [receipt(&mut client).await, receipt(&mut client).await];
    at_once.sort_unstable();
    assert_eq!(at_once, [(1, 0), (3, 0)]);
    client.expect_silence().await; // And a PING is answered meanwhile.
    assert_eq!(receipt(&mut client).await, (1, 1), "once its time has come");
    assert_eq!(receipt(&mut client).await, (2, 0), "and behind it");
    broker.stop().await;
}

#[tokio::test]
async fn what_a_producer_has_sent_before_it_leaves_is_stored_before_it_is_answered() {
    let (broker, mut client) = slow().await;
    for sequence_id in 0..5 {
        client.write(&send_bytes(1, sequence_id, &long())).await;
    }
    let request_id = client.request_id();
    client.send(CommandCloseProducer { producer_id: 1, request_id, ..Default::default() }).await;
    for sequence_id in 0..5 {
        assert_eq!(receipt(&mut client).await, (1, sequence_id));
    }
    client.expect_success(request_id).await;
    broker.stop().await;
}

#[tokio::test]
async fn a_message_that_would_wait_too_long_is_refused() {
    let broker = Broker::start().await;
    let of = |active: bool| json!({"active": active, "tickTime": 1000, "maxDeliveryDelayInMillis": 5000});
    broker.of_namespace(&[("delayed_delivery_policies", of(true))]).await;
    let mut client = broker.client().await;
    client.producer(TOPIC, 1).await;
    let delayed = |delay: i64| {
        let deliver_at_time = Some(7000 + delay);
        let metadata =
            MessageMetadata { producer_name: "p".into(), publish_time: 7000, deliver_at_time, ..Default::default() };
        proto::entry::build(&metadata, b"x")
    };
    client.write(&send_bytes(1, 0, &delayed(5000))).await;
    assert_eq!(receipt(&mut client).await, (1, 0));
    client.write(&send_bytes(1, 1, &delayed(5001))).await;
    let refused = client.expect(Type::SendError).await.send_error.unwrap();
    assert_eq!((refused.sequence_id, refused.error()), (1, ServerError::NotAllowedError));
    assert_eq!(refused.message, "Exceeds max allowed delivery delay of 5000 milliseconds");
    broker.of_namespace(&[("delayed_delivery_policies", of(false))]).await;
    client.producer(TOPIC, 2).await;
    client.write(&send_bytes(2, 0, &delayed(5001))).await;
    assert_eq!(receipt(&mut client).await, (2, 0), "nothing waits");
    broker.stop().await;
}

/// Goal: what is known of times outlives the topic being unloaded.
/// Method: a consumer without a permit comes to it then, so that nothing can be read again.
#[tokio::test]
async fn what_waits_is_known_again_before_anything_is_read() {
    let broker = Broker::start().await;
    let (mut consumer, mut producer) = (broker.client().await, broker.client().await);
    consumer.subscribed("s", SubType::Shared, 1).await;
    consumer.flow(1, 10).await;
    producer.producer(TOPIC, 1).await;
    let deliver_at_time = Some(1_700_000_000_000 + 3_600_000);
    let metadata = MessageMetadata { producer_name: "p".into(), deliver_at_time, ..Default::default() };
    let waiting = proto::entry::build(&metadata, b"later");
    for sequence_id in 0..1500 {
        producer.write(&send_bytes(1, sequence_id, &waiting)).await;
    }
    for sequence_id in 0..1500 {
        assert_eq!(receipt(&mut producer).await, (1, sequence_id));
    }
    producer.publish(1, 1500, "now").await;
    assert_eq!(consumer.messages(1).await, ["now"], "all before it were looked at");
    let delayed = async || broker.topic(TOPIC).stats().await.unwrap().subscriptions["s"].msg_delayed;
    assert_eq!(delayed().await, 1500);
    broker.context.topics.unload(&name(TOPIC), &Default::default()).await;
    let mut consumer = broker.client().await;
    consumer.subscribed("s", SubType::Shared, 1).await;
    assert_eq!(delayed().await, 1500);
    broker.stop().await;
}
