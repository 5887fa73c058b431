//! Topics that store nothing.
use super::*;
use crate::outbox::NextOwner;

const PASSING: &str = "non-persistent://public/default/orders";

impl Client {
    async fn subscribes(&mut self, subscription: &str, kind: SubType, consumer_id: u64) {
        let mut command = subscription_command(subscription, kind, consumer_id);
        (command.topic, command.request_id) = (PASSING.into(), self.request_id());
        let request_id = command.request_id;
        self.send(command).await;
        loop {
            let command = self.next().await.expect("the connection is open").command;
            match command.r#type() {
                Type::ActiveConsumerChange => {} // Of a consumer that was there before.
                Type::Success => return assert_eq!(command.success.unwrap().request_id, request_id),
                _ => panic!("{command:?}"),
            }
        }
    }

    /// Everything that was said so far is known to those it was said to.
    async fn settled(&mut self) {
        self.send(CommandPing {}).await;
        loop {
            let command = self.next().await.expect("the connection is open").command;
            match command.r#type() {
                Type::ActiveConsumerChange => {}
                Type::Pong => return,
                _ => panic!("{command:?}"),
            }
        }
    }

    async fn passes(&mut self, sequence_id: u64, text: &str) {
        let id = self.publish(1, sequence_id, text).await;
        assert_eq!((id.ledger_id, id.entry_id), (0, 0), "the id that Apache Pulsar gives");
    }
}

impl Broker {
    async fn passing() -> (Self, Client) {
        let broker = Self::start().await;
        broker.context.ownership.lookup(&name(PASSING)).await.unwrap();
        let mut producer = broker.client().await;
        producer.producer(PASSING, 1).await;
        (broker, producer)
    }
}

#[tokio::test]
async fn what_a_consumer_has_permits_for_reaches_it_and_the_rest_is_gone() {
    let (broker, mut producer) = Broker::passing().await;
    producer.passes(0, "before anybody came").await;
    let mut client = broker.client().await;
    client.subscribes("s", SubType::Exclusive, 3).await;
    producer.passes(1, "without a permit").await;
    client.expect_silence().await;
    client.flow(3, 2).await;
    client.expect_silence().await;
    for (sequence_id, text) in [(2, "one"), (3, "two"), (4, "too much")] {
        producer.passes(sequence_id, text).await;
    }
    for text in ["one", "two"] {
        let (got, command) = client.message().await;
        assert_eq!((got.as_str(), command.message_id.ledger_id, command.message_id.entry_id), (text, 0, 0));
        assert_eq!((command.redelivery_count, command.message_id.partition), (None, None));
    }
    client.expect_silence().await;
    let ack = client.ack(3, AckType::Individual, &[MessageIdData::default()]).await;
    assert_eq!(ack.error, None);
    client.send(CommandRedeliverUnacknowledgedMessages { consumer_id: 3, ..Default::default() }).await;
    client.expect_silence().await;
    let stats = broker.topic(PASSING).stats().await.unwrap();
    let subscription = &stats.subscriptions["s"];
    assert_eq!((stats.msg_in_counter, subscription.msg_out_counter, subscription.msg_backlog), (5, 2, 0));
    assert_eq!((subscription.is_durable, stats.storage_size), (false, 0));
    assert!(broker.context.namespaces.exists(&name(PASSING)).await.is_ok_and(|exists| !exists), "no record is made");
}

/// Goal: each kind hands an entry to whom it should. Method: two consumers with permits, texts and keys told apart.
#[tokio::test]
async fn each_kind_of_subscription_hands_on_as_it_should() {
    let (broker, mut producer) = Broker::passing().await;
    let mut client = broker.client().await;
    for (subscription, kind, first) in
        [("shared", SubType::Shared, 10), ("failover", SubType::Failover, 20), ("keys", SubType::KeyShared, 30)]
    {
        for consumer_id in [first, first + 1] {
            client.subscribes(subscription, kind, consumer_id).await;
            client.send(CommandFlow { consumer_id, message_permits: 100 }).await;
        }
        client.settled().await;
        let mut counts = std::collections::BTreeMap::<u64, u64>::new();
        let mut owners = std::collections::BTreeMap::new();
        for number in 0..20 {
            let key = format!("k{}", number % 10);
            let metadata = MessageMetadata { partition_key: Some(key.clone()), ..Default::default() };
            let entry = proto::entry::build(&metadata, key.as_bytes());
            producer.write(&send_bytes(1, number, &entry)).await;
            producer.expect(Type::SendReceipt).await;
            let got = loop {
                let frame = client.next().await.unwrap();
                match frame.command.r#type() {
                    Type::ActiveConsumerChange => {}
                    Type::Message => break frame.command.message.unwrap(),
                    other => panic!("{other:?}"),
                }
            };
            *counts.entry(got.consumer_id).or_default() += 1;
            let owner = *owners.entry(key).or_insert(got.consumer_id);
            assert!(kind == SubType::Shared || owner == got.consumer_id, "a key is at one consumer");
        }
        match kind {
            SubType::Shared => assert_eq!(counts, [(first, 10), (first + 1, 10)].into()),
            SubType::KeyShared => assert_eq!(counts.len(), 2, "keys are split: {counts:?}"),
            _ => assert_eq!(counts.len(), 1, "one is active: {counts:?}"),
        }
        for consumer_id in [first, first + 1] {
            let request_id = client.request_id();
            client.send(CommandCloseConsumer { consumer_id, request_id, ..Default::default() }).await;
            while client.next().await.unwrap().command.r#type() != Type::Success {}
        }
    }
    assert!(broker.topic(PASSING).subscriptions().await.unwrap().is_empty(), "they are gone with their consumers");
}

/// Goal: who does not read costs bounded memory and nobody else a message. Method: its connection is never read, 64 MiB are published.
#[tokio::test]
async fn a_consumer_that_does_not_read_costs_neither_memory_nor_its_neighbours_a_message() {
    let (broker, mut producer) = Broker::passing().await;
    let (mut slow, mut quick) = (broker.client().await, broker.client().await);
    slow.subscribes("slow", SubType::Exclusive, 3).await;
    slow.flow(3, 1_000_000).await;
    quick.subscribes("quick", SubType::Exclusive, 3).await;
    quick.flow(3, 1_000_000).await;
    quick.expect_silence().await;
    let text = "x".repeat(1 << 20);
    for sequence_id in 0..64 {
        producer.passes(sequence_id, &text).await;
        assert_eq!(quick.message().await.0.len(), text.len(), "the {sequence_id}th");
    }
    let stats = broker.topic(PASSING).stats().await.unwrap();
    assert_eq!(stats.subscriptions["quick"].msg_out_counter, 64);
    assert!(stats.msg_drop_rate.is_some() && stats.subscriptions["slow"].msg_drop_rate.is_some());
    // The buffers of both sockets, half a MiB and the entry that crossed it.
    assert!(
        stats.subscriptions["slow"].bytes_out_counter < 20 << 20,
        "{}",
        stats.subscriptions["slow"].bytes_out_counter
    );
    slow.message().await;
}

#[tokio::test]
async fn more_than_a_thousand_at_once_are_dropped_and_their_receipts_say_so_in_order() {
    let (broker, mut producer) = Broker::passing().await;
    let mut burst = Vec::new();
    for sequence_id in 0..3000 {
        burst.extend(send_bytes(1, sequence_id, &message("m")));
    }
    producer.write(&burst).await;
    let mut dropped = 0;
    for sequence_id in 0..3000 {
        let receipt = producer.expect(Type::SendReceipt).await.send_receipt.unwrap();
        assert_eq!(receipt.sequence_id, sequence_id);
        dropped += u64::from(receipt.message_id.unwrap().ledger_id == u64::MAX);
    }
    let stats = broker.topic(PASSING).stats().await.unwrap();
    assert_eq!((stats.msg_in_counter, stats.publishers.len()), (3000 - dropped, 1));
    assert!(stats.publishers[0].msg_drop_rate.is_some());
    producer.passes(3000, "after that").await;
}

#[tokio::test]
async fn producers_keep_their_manners_and_an_unload_sends_everyone_back() {
    let (broker, mut client) = Broker::passing().await;
    let request_id = client.request_id();
    let exclusive = CommandProducer {
        topic: PASSING.into(),
        producer_id: 7,
        request_id,
        producer_access_mode: Some(ProducerAccessMode::Exclusive.into()),
        ..Default::default()
    };
    client.send(exclusive.clone()).await;
    client.expect_error(request_id, ServerError::ProducerFenced).await;
    let close = client.request_id();
    client.send(CommandCloseProducer { producer_id: 1, request_id: close, ..Default::default() }).await;
    client.expect_success(close).await;
    client.send(exclusive).await;
    let success = client.expect(Type::ProducerSuccess).await.producer_success.unwrap();
    assert_eq!((success.topic_epoch, success.producer_ready), (Some(0), Some(true)));
    client.subscribes("s", SubType::Exclusive, 3).await;
    broker.context.topics.unload(&name(PASSING), &NextOwner::default()).await;
    client.expect(Type::CloseProducer).await;
    client.expect(Type::CloseConsumer).await;
    assert!(broker.context.topics.get(&name(PASSING)).is_none());
    client.subscribes("s", SubType::Exclusive, 3).await;
}

#[tokio::test]
async fn what_needs_a_log_is_refused() {
    let (broker, _producer) = Broker::passing().await;
    let mut client = broker.client().await;
    let mut compacted = subscription_command("s", SubType::Exclusive, 9);
    (compacted.topic, compacted.read_compacted, compacted.request_id) = (PASSING.into(), Some(true), 9);
    client.send(compacted).await;
    let text = client.expect_error(9, ServerError::NotAllowedError).await;
    assert_eq!(text, "readCompacted only valid on persistent topics");
    client.subscribes("s", SubType::Exclusive, 3).await;
    client.send(CommandGetLastMessageId { consumer_id: 3, request_id: 10 }).await;
    client.expect_error(10, ServerError::NotAllowedError).await;
    client
        .send(CommandSeek { consumer_id: 3, request_id: 11, message_publish_time: Some(1), ..Default::default() })
        .await;
    client.expect_success(11).await;
    let handle = broker.topic(PASSING);
    assert!(handle.terminate().await.is_err() && handle.need().await.is_err());
}
