use super::*;

/// Goal: whatever a stranger says, the connection ends or answers, and others do not notice.
async fn said_by_a_stranger(broker: &Broker, bytes: &[u8]) {
    let mut stranger = broker.stranger().await;
    stranger.write(bytes).await;
    stranger.expect_end().await;
}

#[tokio::test]
async fn other_protocols_and_garbage_end_the_connection() {
    let broker = Broker::start().await;
    let mut witness = broker.client().await;
    said_by_a_stranger(&broker, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    said_by_a_stranger(&broker, &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00]).await;
    for total in [0u32, 1, 3, 0x7fff_ffff, u32::MAX, 64 * 1024 + 1] {
        let mut bytes = total.to_be_bytes().to_vec();
        bytes.extend([0xff; 8]);
        said_by_a_stranger(&broker, &bytes).await;
    }
    witness.expect_silence().await;
}

#[tokio::test]
async fn a_known_client_may_send_large_frames_and_none_larger() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.producer(TOPIC, 1).await;
    client.publish(1, 0, &"x".repeat(5 << 20)).await;
    client.write(&((5 << 20) + 10 * 1024 + 1u32).to_be_bytes()).await;
    client.expect_end().await;
}

#[tokio::test]
async fn a_frame_cut_at_every_byte_is_put_together() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.producer(TOPIC, 1).await;
    let whole = send_bytes(1, 0, &message("cut"));
    for cut in 0..whole.len() {
        client.write(&whole[..cut]).await;
        tokio::task::yield_now().await;
        client.write(&whole[cut..]).await;
        client.expect(Type::SendReceipt).await;
    }
    for cut in 0..whole.len() {
        let mut other = broker.client().await;
        other.write(&whole[..cut]).await;
        drop(other);
    }
    client.expect_silence().await;
}

#[tokio::test]
async fn commands_of_servers_and_commands_without_a_body_end_the_connection() {
    let broker = Broker::start().await;
    for command in [
        CommandSendReceipt::default().into(),
        CommandConnected { server_version: "x".into(), ..Default::default() }.into(),
        CommandMessage::default().into(),
        BaseCommand { r#type: Type::Lookup.into(), ..Default::default() },
        BaseCommand { r#type: Type::Send.into(), ..Default::default() },
    ] {
        let mut client = broker.client().await;
        client.send(command).await;
        client.expect_end().await;
    }
}

#[tokio::test]
async fn ids_that_nobody_has_and_numbers_without_sense_are_survived() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.producer(TOPIC, u64::MAX).await;
    client.publish(u64::MAX, u64::MAX, "x").await;
    client.subscribed("s", SubType::Shared, u64::MAX).await;
    for permits in [0, u32::MAX, u32::MAX, u32::MAX] {
        client.flow(u64::MAX, permits).await;
    }
    client.flow(12345, 7).await;
    assert_eq!(client.message().await.0, "x");
    let strange: Vec<MessageIdData> = (0..100_000u64)
        .map(|n| MessageIdData { ledger_id: n * 7919, entry_id: u64::MAX - n, ack_set: vec![-1], ..Default::default() })
        .collect();
    assert_eq!(client.ack(u64::MAX, AckType::Individual, &strange).await.error, None);
    let ack = CommandAck { consumer_id: 5, request_id: Some(1), ..Default::default() };
    client.send(ack).await;
    client
        .send(CommandRedeliverUnacknowledgedMessages {
            consumer_id: u64::MAX,
            message_ids: strange,
            ..Default::default()
        })
        .await;
    client.send(CommandCloseConsumer { consumer_id: 4444, request_id: 1, ..Default::default() }).await;
    client.expect_success(1).await;
    client.expect_silence().await;
}

#[tokio::test]
async fn ten_thousand_pings_in_one_write_get_ten_thousand_answers() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    let mut bytes = BytesMut::new();
    (0..10_000).for_each(|_| frame::encode(&CommandPing {}.into(), &mut bytes));
    client.write(&bytes).await;
    for _ in 0..10_000 {
        client.expect(Type::Pong).await;
    }
}
