//! The end of a topic as clients see it. Codes are those that Apache Pulsar 4.0.8 gave to the same frames, texts are its own without the
//! name of a Java class.
use super::*;
use crate::outbox::{NextOwner, Outbox, PublishBudget, Serial};
use crate::topic::Leaving;

const ENDED: &str = "Topic was already terminated";

impl Client {
    async fn produces(&mut self, producer_id: u64) -> u64 {
        let request_id = self.request_id();
        self.send(CommandProducer { topic: TOPIC.into(), producer_id, request_id, ..Default::default() }).await;
        request_id
    }

    async fn hears_of_the_end(&mut self, consumer_id: u64) {
        let end = self.expect(Type::ReachedEndOfTopic).await.reached_end_of_topic.unwrap();
        assert_eq!(end.consumer_id, consumer_id);
    }
}

impl Broker {
    async fn named(&self, client_version: &str) -> Client {
        let mut client = self.stranger().await;
        let client_version = client_version.into();
        client.send(CommandConnect { client_version, protocol_version: Some(21), ..Default::default() }).await;
        client.expect(Type::Connected).await;
        client
    }
}

#[tokio::test]
async fn producers_are_sent_away_and_refused_for_ever() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.producer(TOPIC, 1).await;
    let last = client.publish(1, 0, "a").await;
    let topic = broker.topic(TOPIC);
    assert_eq!(topic.terminate().await.unwrap(), Some(position(&last)));
    assert_eq!(client.expect(Type::CloseProducer).await.close_producer.unwrap().producer_id, 1);
    client.write(&send_bytes(1, 1, &message("b"))).await; // It crosses the news, and is sent again.
    let request_id = client.produces(1).await;
    assert_eq!(client.expect_error(request_id, ServerError::TopicTerminatedError).await, ENDED);
    assert_eq!(topic.terminate().await.unwrap(), Some(position(&last)), "once more, the same");
    broker.context.topics.unload(&name(TOPIC), &NextOwner::default()).await;
    let request_id = client.produces(1).await;
    assert_eq!(client.expect_error(request_id, ServerError::TopicTerminatedError).await, ENDED);
    let again = broker.topic(TOPIC);
    assert_eq!(
        (again.terminate().await.unwrap(), again.last_position()),
        (Some(position(&last)), Some(position(&last)))
    );
    broker.stop().await;
}

#[tokio::test]
async fn who_leaves_a_topic_that_ends_is_answered_after_the_receipts() {
    let storage = Storage::new().await;
    let broker = Broker::started(&storage, "start").await;
    let mut client = broker.client().await;
    client.producer(TOPIC, 1).await;
    client.publish(1, 0, "a").await;
    storage.ledgers.hold_confirmations();
    client.write(&send_bytes(1, 1, &message("b"))).await;
    client.expect_silence().await;
    let topic = broker.topic(TOPIC);
    let outbox = Outbox::new(Arc::new(PublishBudget::new(usize::MAX)));
    let leaving = |request_id| Leaving { serial: Serial(u64::MAX), request_id, outbox: outbox.clone() };
    let (name, nobody) = (name(TOPIC), NextOwner::default());
    let unload = broker.context.topics.unload(&name, &nobody);
    let rest = async {
        topic.leave(leaving(1)).await; // Right behind the end, before the topic has seen it.
        client.send(CommandCloseProducer { producer_id: 1, request_id: 7, ..Default::default() }).await;
        client.expect_silence().await;
        topic.leave(leaving(2)).await; // After the topic has stopped to listen.
        tokio::task::yield_now().await;
        assert_eq!(outbox.waiting_bytes(), 0, "nobody is answered while something is in flight");
        storage.ledgers.release_confirmations();
        assert_eq!(client.expect(Type::SendReceipt).await.send_receipt.unwrap().sequence_id, 1);
        loop {
            let frame = client.next().await.expect("the connection is open");
            match frame.command.r#type() {
                Type::CloseProducer => {} // It is sent away as well.
                Type::Success => break assert_eq!(frame.command.success.unwrap().request_id, 7),
                _ => panic!("{:?}", frame.command),
            }
        }
    };
    tokio::join!(biased; unload, rest);
    assert_ne!(outbox.waiting_bytes(), 0);
    broker.stop().await;
}

#[tokio::test]
async fn consumers_hear_of_the_end_once_they_have_acknowledged_everything() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.producer(TOPIC, 1).await;
    client.publish(1, 0, "a").await;
    client.subscribed("s", SubType::Shared, 1).await;
    broker.topic(TOPIC).terminate().await.unwrap();
    client.expect(Type::CloseProducer).await;
    client.flow(1, 10).await;
    let (text, command) = client.message().await;
    assert_eq!(text, "a");
    client.expect_silence().await;
    let ack = CommandAck { consumer_id: 1, message_id: vec![command.message_id], ..Default::default() };
    client.send(ack).await;
    client.hears_of_the_end(1).await;
    client.subscribed("s", SubType::Shared, 2).await;
    client.hears_of_the_end(2).await;
    client.subscribed("s", SubType::Shared, 2).await;
    client.expect_silence().await; // Everyone once.
    client.subscribed("other", SubType::Exclusive, 3).await;
    client.expect_silence().await; // It has a message to get first.
    broker.stop().await;
}

#[tokio::test]
async fn who_waits_hears_of_the_end_and_who_would_not_understand_does_not() {
    let broker = Broker::start().await;
    let mut clients =
        [broker.client().await, broker.named("Pulsar-CPP-v4.2.0").await, broker.named("Pulsar Go 0.16").await];
    for (number, client) in (1..).zip(&mut clients) {
        client.subscribed(&format!("s{number}"), SubType::Exclusive, number).await;
    }
    assert_eq!(broker.topic(TOPIC).terminate().await.unwrap(), None, "there was no message");
    let [client, cpp, go] = &mut clients;
    client.hears_of_the_end(1).await;
    cpp.subscribed("late", SubType::Exclusive, 7).await;
    cpp.expect_silence().await;
    go.expect_silence().await;
    broker.stop().await;
}
