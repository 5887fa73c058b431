use super::*;
use crate::outbox::NextOwner;

#[tokio::test]
async fn receipts_name_rising_positions_in_the_order_of_sends() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    assert_eq!(client.producer(TOPIC, 0).await.producer_name, "test-1-0");
    client.producer(TOPIC, 7).await;
    let mut bytes = Vec::new();
    for sequence_id in 0..50 {
        bytes.extend(send_bytes(sequence_id % 2 * 7, sequence_id, &message("x")));
    }
    client.write(&bytes).await;
    let mut last = None;
    for sequence_id in 0..50 {
        let receipt = client.expect(Type::SendReceipt).await.send_receipt.unwrap();
        assert_eq!((receipt.producer_id, receipt.sequence_id), (sequence_id % 2 * 7, sequence_id));
        let at = position(&receipt.message_id.unwrap());
        assert!(last < Some(at), "{at} after {last:?}");
        last = Some(at);
    }
    broker.stop().await;
}

#[tokio::test]
async fn a_damaged_entry_is_refused_in_its_turn_and_the_others_are_stored() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.producer(TOPIC, 1).await;
    let mut damaged = message("y").to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let mut bytes = send_bytes(1, 0, &message("x"));
    bytes.extend(send_bytes(1, 1, &damaged));
    bytes.extend(send_bytes(1, 2, b"\x00\x00\x00\xffno metadata"));
    bytes.extend(send_bytes(1, 3, &message("z")));
    client.write(&bytes).await;
    assert_eq!(client.expect(Type::SendReceipt).await.send_receipt.unwrap().sequence_id, 0);
    for (sequence_id, code) in [(1, ServerError::ChecksumError), (2, ServerError::MetadataError)] {
        let error = client.expect(Type::SendError).await.send_error.unwrap();
        assert_eq!((error.producer_id, error.sequence_id, error.error()), (1, sequence_id, code));
    }
    assert_eq!(client.expect(Type::SendReceipt).await.send_receipt.unwrap().sequence_id, 3);
    client.expect_silence().await;
}

#[tokio::test]
async fn an_entry_without_a_checksum_and_the_highest_sequence_id_are_taken_as_they_are() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.producer(TOPIC, 1).await;
    let plain = message("x").slice(6..);
    let send = CommandSend {
        producer_id: 1,
        sequence_id: 4,
        highest_sequence_id: Some(9),
        num_messages: Some(6),
        ..Default::default()
    };
    let mut bytes = BytesMut::new();
    frame::encode_head(&send.into(), plain.len(), &mut bytes);
    bytes.extend_from_slice(&plain);
    client.write(&bytes).await;
    let receipt = client.expect(Type::SendReceipt).await.send_receipt.unwrap();
    assert_eq!((receipt.sequence_id, receipt.highest_sequence_id()), (4, 9));
}

#[tokio::test]
async fn closing_a_producer_is_answered_after_its_receipts_and_late_sends_are_dropped() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.producer(TOPIC, 1).await;
    let mut bytes = BytesMut::new();
    (0..10).for_each(|sequence_id| bytes.extend_from_slice(&send_bytes(1, sequence_id, &message("x"))));
    frame::encode(&CommandCloseProducer { producer_id: 1, request_id: 5, ..Default::default() }.into(), &mut bytes);
    bytes.extend_from_slice(&send_bytes(1, 10, &message("late")));
    client.write(&bytes).await;
    for sequence_id in 0..10 {
        assert_eq!(client.expect(Type::SendReceipt).await.send_receipt.unwrap().sequence_id, sequence_id);
    }
    client.expect_success(5).await;
    client.send(CommandCloseProducer { producer_id: 1, request_id: 6, ..Default::default() }).await;
    client.expect_success(6).await;
    client.expect_silence().await;
    client.producer(TOPIC, 1).await;
    client.publish(1, 11, "again").await;
    client.write(&send_bytes(99, 0, &message("x"))).await;
    client.expect_end().await;
}

#[tokio::test]
async fn a_name_belongs_to_one_producer_while_its_connection_lives() {
    let broker = Broker::start().await;
    let (mut first, mut second) = (broker.client().await, broker.client().await);
    let named = |producer_id, request_id, epoch, user_provided| CommandProducer {
        topic: TOPIC.into(),
        producer_id,
        request_id,
        producer_name: Some("mine".into()),
        epoch: Some(epoch),
        user_provided_producer_name: Some(user_provided),
        ..Default::default()
    };
    first.send(named(1, 1, 0, true)).await;
    first.expect(Type::ProducerSuccess).await;
    first.send(named(1, 2, 0, true)).await;
    assert_eq!(first.expect(Type::ProducerSuccess).await.producer_success.unwrap().request_id, 2, "asked twice");
    second.send(named(1, 3, 0, true)).await;
    first.expect(Type::Ping).await;
    first.send(CommandPong {}).await;
    let text = second.expect_error(3, ServerError::ProducerBusy).await;
    assert_eq!(text, "Producer with name 'mine' is already connected to topic");
    drop(first);
    second.send(named(1, 4, 0, false)).await;
    second.expect(Type::ProducerSuccess).await;
    let mut third = broker.client().await;
    third.send(named(8, 5, 1, false)).await;
    third.expect(Type::ProducerSuccess).await;
    assert_eq!(second.expect(Type::CloseProducer).await.close_producer.unwrap().producer_id, 1, "it was replaced");
}

#[tokio::test]
async fn producers_that_ask_for_what_is_not_built_are_told_so() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    let base = CommandProducer { topic: TOPIC.into(), request_id: 1, ..Default::default() };
    for (command, code) in [
        (CommandProducer { txn_enabled: Some(true), ..base.clone() }, ServerError::NotAllowedError),
        (CommandProducer { topic: "http://a/b/c".into(), ..base.clone() }, ServerError::InvalidTopicName),
        (CommandProducer { topic: "nobody/nowhere/x".into(), ..base }, ServerError::TopicNotFound),
    ] {
        client.send(command).await;
        client.expect_error(1, code).await;
    }
}

#[tokio::test]
async fn unloading_answers_what_is_in_flight_and_sends_everyone_away() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.producer(TOPIC, 1).await;
    client.subscribed("s", SubType::Shared, 2).await;
    let at = client.publish(1, 0, "before").await;
    broker.context.topics.unload(&name(TOPIC), &NextOwner::at("next:6650")).await;
    let mut closed = Vec::new();
    for _ in 0..2 {
        let command = client.next().await.unwrap().command;
        let (producer, consumer) = (command.close_producer, command.close_consumer);
        let url = producer.map(|close| close.assigned_broker_service_url);
        closed.push(url.or(consumer.map(|close| close.assigned_broker_service_url)).expect("one of the two"));
    }
    assert_eq!(closed, [Some("pulsar://next:6650".into()), Some("pulsar://next:6650".into())]);
    client.write(&send_bytes(1, 1, &message("crossed the news"))).await;
    client.producer(TOPIC, 1).await;
    let after = client.publish(1, 1, "after").await;
    assert!(position(&at) < position(&after));
    client.subscribed("s", SubType::Shared, 2).await;
    client.flow(2, 10).await;
    assert_eq!(client.messages(2).await, ["before", "after"]);
    broker.stop().await;
}
