use super::*;
use crate::outbox::NextOwner;

async fn published(broker: &Broker, count: u64) -> (Client, Vec<MessageIdData>) {
    let mut client = broker.client().await;
    client.producer(TOPIC, 1).await;
    let mut ids = Vec::new();
    for sequence_id in 0..count {
        ids.push(client.publish(1, sequence_id, &format!("m{sequence_id}")).await);
    }
    (client, ids)
}

#[tokio::test]
async fn an_exclusive_consumer_gets_the_backlog_then_what_comes_with_the_ids_of_the_receipts() {
    let broker = Broker::start().await;
    let (mut producer, ids) = published(&broker, 20).await;
    let mut client = broker.client().await;
    client.subscribed("s", SubType::Exclusive, 3).await;
    client.expect_silence().await;
    client.flow(3, 30).await;
    for (number, id) in ids.iter().enumerate() {
        let (text, command) = client.message().await;
        assert_eq!((text, position(&command.message_id)), (format!("m{number}"), position(id)));
    }
    for number in 20..30 {
        producer.publish(1, number, &format!("m{number}")).await;
        assert_eq!(client.message().await.0, format!("m{number}"));
    }
    producer.publish(1, 30, "m30").await;
    client.expect_silence().await;
    client.flow(3, 1).await;
    assert_eq!(client.message().await.0, "m30");
}

#[tokio::test]
async fn acknowledged_messages_stay_away_after_a_reload() {
    let broker = Broker::start().await;
    let (_producer, ids) = published(&broker, 20).await;
    let mut client = broker.client().await;
    client.subscribed("s", SubType::Exclusive, 3).await;
    client.flow(3, 100).await;
    client.messages(20).await;
    assert_eq!(client.ack(3, AckType::Cumulative, &ids[4..5]).await.error, None);
    let odd = [ids[7].clone(), ids[9].clone(), ids[9].clone()];
    assert_eq!(client.ack(3, AckType::Individual, &odd).await.error, None);
    let stats = broker.topic(TOPIC).stats().await.unwrap();
    assert_eq!(stats.subscriptions["s"].msg_backlog, 13);
    broker.context.topics.unload(&name(TOPIC), &NextOwner::default()).await;
    client.expect(Type::CloseConsumer).await;
    client.subscribed("s", SubType::Exclusive, 3).await;
    client.flow(3, 100).await;
    let expected: Vec<String> = (5..20).filter(|n| ![7, 9].contains(n)).map(|n| format!("m{n}")).collect();
    assert_eq!(client.messages(13).await, expected);
}

#[tokio::test]
async fn shared_consumers_share_and_what_one_leaves_goes_to_the_other() {
    let broker = Broker::start().await;
    let (_producer, ids) = published(&broker, 6).await;
    let (mut first, mut second) = (broker.client().await, broker.client().await);
    first.subscribed("s", SubType::Shared, 1).await;
    second.subscribed("s", SubType::Shared, 1).await;
    first.flow(1, 4).await;
    assert_eq!(first.messages(4).await, ["m0", "m1", "m2", "m3"]);
    assert_eq!(first.ack(1, AckType::Individual, &ids[..1]).await.error, None);
    let error = first.ack(1, AckType::Cumulative, &ids[..1]).await;
    assert_eq!(error.error(), ServerError::NotAllowedError);
    second.flow(1, 10).await;
    assert_eq!(second.messages(2).await, ["m4", "m5"]);
    drop(first);
    for text in ["m1", "m2", "m3"] {
        let (found, command) = second.message().await;
        assert_eq!((found.as_str(), command.redelivery_count()), (text, 0), "leaving is not giving back");
    }
    let ids = vec![ids[4].clone()];
    second
        .send(CommandRedeliverUnacknowledgedMessages { consumer_id: 1, message_ids: ids, ..Default::default() })
        .await;
    let (found, command) = second.message().await;
    assert_eq!((found.as_str(), command.redelivery_count()), ("m4", 1));
}

#[tokio::test]
async fn a_batch_comes_back_with_what_is_left_of_it() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.producer(TOPIC, 1).await;
    client.write(&send_bytes(1, 0, &batch(3, "three"))).await;
    let id = client.expect(Type::SendReceipt).await.send_receipt.unwrap().message_id.unwrap();
    client.subscribed("s", SubType::Shared, 3).await;
    client.flow(3, 100).await;
    assert!(client.message().await.1.ack_set.is_empty());
    let part = MessageIdData { ack_set: vec![0b101], batch_size: Some(3), batch_index: Some(1), ..id };
    assert_eq!(client.ack(3, AckType::Individual, &[part]).await.error, None);
    broker.context.topics.unload(&name(TOPIC), &NextOwner::default()).await;
    client.next().await.unwrap();
    client.next().await.unwrap();
    client.subscribed("s", SubType::Shared, 3).await;
    client.flow(3, 100).await;
    assert_eq!(client.message().await.1.ack_set, [0b101]);
    let stats = broker.topic(TOPIC).stats().await.unwrap();
    assert_eq!(stats.subscriptions["s"].consumers[0].available_permits, 98, "two messages were left");
}

#[tokio::test]
async fn an_exclusive_subscription_has_one_consumer_and_kinds_do_not_mix() {
    let broker = Broker::start().await;
    let (mut first, mut second) = (broker.client().await, broker.client().await);
    first.subscribed("s", SubType::Exclusive, 1).await;
    let again = first.subscribe("s", SubType::Exclusive, 1).await;
    first.expect_success(again).await;
    let other = first.subscribe("s", SubType::Exclusive, 2).await;
    let text = first.expect_error(other, ServerError::ConsumerBusy).await;
    assert_eq!(text, "Exclusive consumer is already connected");
    let other = second.subscribe("s", SubType::Shared, 1).await;
    first.expect(Type::Ping).await;
    first.send(CommandPong {}).await;
    let text = second.expect_error(other, ServerError::ConsumerBusy).await;
    assert_eq!(
        text,
        "Subscription is of different type. Active subscription type of 'Exclusive' is different than the connecting \
         consumer's type 'Shared'."
    );
    first.send(CommandCloseConsumer { consumer_id: 1, request_id: 9, ..Default::default() }).await;
    first.expect_success(9).await;
    second.subscribed("s", SubType::Shared, 1).await;
}

#[tokio::test]
async fn failover_consumers_are_told_who_is_active_and_the_next_goes_on_with_what_is_left() {
    let broker = Broker::start().await;
    let (_producer, ids) = published(&broker, 3).await;
    let (mut first, mut second) = (broker.client().await, broker.client().await);
    let active = |command: BaseCommand| command.active_consumer_change.unwrap().is_active();
    first.subscribed("s", SubType::Failover, 1).await;
    assert!(active(first.expect(Type::ActiveConsumerChange).await));
    second.subscribed("s", SubType::Failover, 2).await;
    assert!(!active(second.expect(Type::ActiveConsumerChange).await));
    second.flow(2, 10).await;
    first.flow(1, 10).await;
    assert_eq!(first.messages(3).await, ["m0", "m1", "m2"]);
    assert_eq!(first.ack(1, AckType::Individual, &ids[1..2]).await.error, None);
    drop(first);
    assert!(active(second.expect(Type::ActiveConsumerChange).await));
    assert_eq!(second.messages(2).await, ["m0", "m2"]);
}

#[tokio::test]
async fn unsubscribing_needs_the_only_consumer_and_leaves_nothing() {
    let broker = Broker::start().await;
    let (_producer, _) = published(&broker, 2).await;
    let (mut first, mut second) = (broker.client().await, broker.client().await);
    first.subscribed("s", SubType::Shared, 1).await;
    second.subscribed("s", SubType::Shared, 1).await;
    first.send(CommandUnsubscribe { consumer_id: 1, request_id: 5, force: None }).await;
    let text = first.expect_error(5, ServerError::MetadataError).await;
    assert_eq!(text, "Unconnected or shared consumer attempting to unsubscribe");
    second.send(CommandCloseConsumer { consumer_id: 1, request_id: 6, ..Default::default() }).await;
    second.expect_success(6).await;
    first.send(CommandUnsubscribe { consumer_id: 1, request_id: 7, force: None }).await;
    first.expect_success(7).await;
    assert_eq!(broker.topic(TOPIC).subscriptions().await.unwrap(), Vec::<String>::new());
    first.subscribed("s", SubType::Exclusive, 1).await;
    first.flow(1, 10).await;
    assert_eq!(first.messages(2).await, ["m0", "m1"], "a fresh cursor");
    first.send(CommandUnsubscribe { consumer_id: 77, request_id: 8, force: None }).await;
    first.expect_error(8, ServerError::MetadataError).await;
}

#[tokio::test]
async fn readers_start_at_their_entry_and_leave_nothing_behind() {
    let broker = Broker::start().await;
    let (_producer, ids) = published(&broker, 20).await;
    let mut client = broker.client().await;
    let earliest = MessageIdData { ledger_id: u64::MAX, entry_id: u64::MAX, ..Default::default() };
    let latest = MessageIdData { ledger_id: i64::MAX as u64, entry_id: i64::MAX as u64, ..Default::default() };
    for (consumer_id, (start, first)) in
        [(earliest, Some("m0")), (ids[9].clone(), Some("m9")), (latest, None)].into_iter().enumerate()
    {
        let consumer_id = consumer_id as u64;
        let mut reader = subscription_command(&format!("reader-{consumer_id}"), SubType::Exclusive, consumer_id);
        reader.durable = Some(false);
        reader.start_message_id = Some(start);
        reader.request_id = 40 + consumer_id;
        client.send(reader).await;
        client.expect_success(40 + consumer_id).await;
        client.flow(consumer_id, 1).await;
        match first {
            Some(first) => assert_eq!(client.message().await.0, first),
            None => client.expect_silence().await,
        }
        let close = CommandCloseConsumer { consumer_id, request_id: 50 + consumer_id, ..Default::default() };
        client.send(close).await;
        client.expect_success(50 + consumer_id).await;
    }
    assert_eq!(broker.topic(TOPIC).subscriptions().await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn the_last_message_id_is_real_and_names_the_last_of_a_batch() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.subscribed("s", SubType::Exclusive, 3).await;
    let ask = |request_id| CommandGetLastMessageId { consumer_id: 3, request_id };
    client.send(ask(1)).await;
    let last = client.expect(Type::GetLastMessageIdResponse).await.get_last_message_id_response.unwrap();
    assert_eq!((last.last_message_id.ledger_id, last.last_message_id.entry_id), (u64::MAX, u64::MAX));
    client.producer(TOPIC, 1).await;
    client.write(&send_bytes(1, 0, &batch(3, "three"))).await;
    let id = client.expect(Type::SendReceipt).await.send_receipt.unwrap().message_id.unwrap();
    client.send(ask(2)).await;
    let last = client.expect(Type::GetLastMessageIdResponse).await.get_last_message_id_response.unwrap();
    assert_eq!(position(&last.last_message_id), position(&id));
    assert_eq!(last.last_message_id.batch_index(), 2);
    client.send(CommandGetLastMessageId { consumer_id: 99, request_id: 3 }).await;
    client.expect_error(3, ServerError::MetadataError).await;
}

#[tokio::test]
async fn a_subscription_is_made_only_where_that_was_asked_for() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    let mut command = subscription_command("s", SubType::Exclusive, 1);
    command.force_topic_creation = Some(false);
    client.send(command).await;
    client.expect_error(0, ServerError::TopicNotFound).await;
    let request_id = client.subscribe("", SubType::Shared, 1).await;
    client.expect_error(request_id, ServerError::NotAllowedError).await;
}

#[tokio::test]
async fn a_consumer_that_does_not_read_holds_up_itself_alone() {
    let broker = Broker::start().await;
    let mut producer = broker.client().await;
    producer.producer(TOPIC, 1).await;
    let (mut lazy, mut eager) = (broker.client().await, broker.client().await);
    lazy.subscribed("lazy", SubType::Exclusive, 1).await;
    eager.subscribed("eager", SubType::Exclusive, 1).await;
    lazy.flow(1, 1000).await;
    eager.flow(1, 1000).await;
    let text = "x".repeat(1 << 20);
    for sequence_id in 0..40 {
        producer.publish(1, sequence_id, &text).await;
        assert_eq!(eager.message().await.0.len(), text.len());
    }
    assert_eq!(lazy.messages(40).await.len(), 40, "and gets all of it once it reads");
}

#[tokio::test]
async fn permits_do_not_wait_behind_acks_in_the_system_of_a_client_that_gathers_small_writes() {
    const ROUNDS: u64 = 100;
    let broker = Broker::start().await;
    let (_producer, _) = published(&broker, ROUNDS).await;
    let mut client = broker.client().await;
    client.stream.set_nodelay(false).unwrap();
    client.subscribed("s", SubType::Exclusive, 3).await;
    let began = std::time::Instant::now();
    for _ in 0..ROUNDS {
        client.flow(3, 1).await;
        let message_id = vec![client.message().await.1.message_id];
        let ack_type = AckType::Individual.into();
        client.send(CommandAck { consumer_id: 3, ack_type, message_id, ..Default::default() }).await;
    }
    let took = began.elapsed();
    assert!(
        took < std::time::Duration::from_secs(2),
        "{took:?} for {ROUNDS} rounds; 40 ms for each is the system's wait"
    );
}

fn key_shared(consumer_id: u64, mode: KeySharedMode, ranges: &[(i32, i32)], loose: bool) -> CommandSubscribe {
    let hash_ranges = ranges.iter().map(|(start, end)| IntRange { start: *start, end: *end }).collect();
    let meta =
        KeySharedMeta { key_shared_mode: mode.into(), hash_ranges, allow_out_of_order_delivery: loose.then_some(true) };
    CommandSubscribe { key_shared_meta: Some(meta), ..subscription_command("s", SubType::KeyShared, consumer_id) }
}

/// The texts are Apache Pulsar's.
#[tokio::test]
async fn key_shared_consumers_must_want_the_same_and_different_keys() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    let mut refused = async |command: CommandSubscribe, error: ServerError| {
        let request_id = client.request_id();
        client.send(CommandSubscribe { request_id, ..command }).await;
        client.expect_error(request_id, error).await
    };
    let assign = ServerError::ConsumerAssignError;
    let text = refused(key_shared(1, KeySharedMode::Sticky, &[], false), assign).await;
    assert_eq!(text, "Ranges for KeyShared policy must not be empty.");
    let text = refused(key_shared(1, KeySharedMode::Sticky, &[(5, 1)], false), assign).await;
    assert_eq!(text, "Fixed hash range start > end for range: [5,1]");
    let text = refused(key_shared(1, KeySharedMode::Sticky, &[(100, 200), (150, 250)], false), assign).await;
    assert_eq!(text, "Consumer's own ranges conflict: [100,200] overlaps with [150,250]");
    let sticky = key_shared(1, KeySharedMode::Sticky, &[(0, 100)], false);
    client.send(CommandSubscribe { request_id: 900, ..sticky }).await;
    client.expect_success(900).await;
    let mut refused = async |command: CommandSubscribe, error: ServerError| {
        let request_id = client.request_id();
        client.send(CommandSubscribe { request_id, ..command }).await;
        client.expect_error(request_id, error).await
    };
    let text = refused(key_shared(2, KeySharedMode::Sticky, &[(100, 200)], false), assign).await;
    assert!(text.starts_with("Range conflict with consumer Consumer{consumerName=c1"), "{text}");
    let text = refused(key_shared(2, KeySharedMode::Sticky, &[(200, 300)], true), ServerError::ConsumerBusy).await;
    let loose = "does not allow out of order delivery while the connecting consumer allows it.";
    assert_eq!(text, format!("Subscription is of different type. Active subscription {loose}"));
    let text = refused(subscription_command("s", SubType::KeyShared, 2), ServerError::ConsumerBusy).await;
    assert_eq!(
        text,
        "Subscription is of different type. Active subscription key_shared mode of 'STICKY' is different than the connecting \
         consumer's key_shared mode 'AUTO_SPLIT'."
    );
}

#[tokio::test]
async fn the_watchdog_tells_why_a_subscription_with_permits_and_backlog_stands_still() {
    let broker = Broker::start().await;
    let (_producer, _ids) = published(&broker, 3).await;
    let mut client = broker.client().await;
    let elsewhere = key_shared(1, KeySharedMode::Sticky, &[(0, 0)], false);
    client.send(CommandSubscribe { request_id: 900, ..elsewhere }).await;
    client.expect_success(900).await;
    client.flow(1, 10).await;
    client.expect_silence().await;
    let standstill = async || broker.topic(TOPIC).internal_stats().await.unwrap().cursors["s"].standstill.clone();
    assert_eq!(standstill().await, None, "not yet");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(6)).await;
    assert_eq!(standstill().await.as_deref(), Some("the keys of what is left are at other consumers"));
    tokio::time::resume();
    let all = key_shared(2, KeySharedMode::Sticky, &[(1, 65_535)], false);
    client.send(CommandSubscribe { request_id: 901, ..all }).await;
    client.expect_success(901).await;
    client.flow(2, 10).await;
    client.messages(3).await;
    assert_eq!(standstill().await, None, "it moves again");
}
