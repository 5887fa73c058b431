use super::*;
use crate::outbox::NextOwner;

const LATEST: u64 = i64::MAX as u64;

fn edge(at: u64) -> MessageIdData {
    MessageIdData { ledger_id: at, entry_id: at, ..Default::default() }
}

async fn published(broker: &Broker, count: u64) -> Vec<MessageIdData> {
    let mut client = broker.client().await;
    client.producer(TOPIC, 1).await;
    let mut ids = Vec::new();
    for sequence_id in 0..count {
        ids.push(client.publish(1, sequence_id, &format!("m{sequence_id}")).await);
    }
    ids
}

fn to(id: &MessageIdData) -> CommandSeek {
    CommandSeek { consumer_id: 3, message_id: Some(id.clone()), ..Default::default() }
}

fn to_time(time: u64) -> CommandSeek {
    CommandSeek { consumer_id: 3, message_publish_time: Some(time), ..Default::default() }
}

impl Client {
    async fn seek(&mut self, seek: CommandSeek) -> u64 {
        let request_id = self.request_id();
        self.send(CommandSeek { request_id, ..seek }).await;
        request_id
    }

    /// Seeks, is sent away before that is answered, and subscribes again.
    async fn moved(&mut self, seek: CommandSeek) {
        let request_id = self.seek(seek).await;
        let away = self.expect(Type::CloseConsumer).await.close_consumer.unwrap();
        assert_eq!((away.consumer_id, away.request_id), (3, u64::MAX));
        self.expect_success(request_id).await;
        self.subscribed("s", SubType::Exclusive, 3).await;
        self.flow(3, 100).await;
    }
}

#[tokio::test]
async fn a_subscription_moves_to_where_its_consumer_says_and_stays_there() {
    let broker = Broker::start().await;
    let ids = published(&broker, 20).await;
    let mut client = broker.client().await;
    client.subscribed("s", SubType::Exclusive, 3).await;
    client.flow(3, 100).await;
    client.messages(20).await;
    assert_eq!(client.ack(3, AckType::Cumulative, &ids[19..]).await.error, None);
    client.moved(to(&ids[9])).await;
    assert_eq!(client.messages(11).await[0], "m9");
    client.moved(to(&edge(LATEST))).await;
    client.expect_silence().await;
    let beyond = MessageIdData { ledger_id: ids[19].ledger_id + 100, ..ids[19].clone() };
    client.moved(to(&beyond)).await;
    client.expect_silence().await;
    client.moved(to(&edge(u64::MAX))).await;
    assert_eq!(client.messages(20).await[0], "m0");
    let between = MessageIdData { entry_id: 99, ..ids[6].clone() };
    client.moved(to(&between)).await;
    assert_eq!(client.messages(13).await[0], "m7", "behind the end of a ledger the next begins");
    broker.context.topics.unload(&name(TOPIC), &NextOwner::default()).await;
    client.expect(Type::CloseConsumer).await;
    client.subscribed("s", SubType::Exclusive, 3).await;
    client.flow(3, 100).await;
    assert_eq!(client.messages(13).await[0], "m7");
}

#[tokio::test]
async fn a_time_means_the_first_message_published_then_or_later() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.producer(TOPIC, 1).await;
    for number in 0..20_u64 {
        let metadata =
            MessageMetadata { producer_name: "p".into(), publish_time: 100 + 10 * number, ..Default::default() };
        let entry = proto::entry::build(&metadata, format!("m{number}").as_bytes());
        client.write(&send_bytes(1, number, &entry)).await;
        client.expect(Type::SendReceipt).await;
    }
    client.subscribed("s", SubType::Exclusive, 3).await;
    for (time, first) in [(0, Some(0)), (100, Some(0)), (101, Some(1)), (190, Some(9)), (290, Some(19)), (291, None)] {
        client.moved(to_time(time)).await;
        match first {
            Some(first) => assert_eq!(client.messages(20 - first).await[0], format!("m{first}"), "at {time}"),
            None => client.expect_silence().await,
        }
    }
    client.moved(to_time(u64::MAX)).await;
    client.expect_silence().await;
}

#[tokio::test]
async fn every_consumer_of_the_subscription_is_sent_away_first_and_a_second_seek_finds_none() {
    let broker = Broker::start().await;
    let ids = published(&broker, 4).await;
    let (mut asks, mut other) = (broker.client().await, broker.client().await);
    asks.subscribed("s", SubType::Shared, 3).await;
    other.subscribed("s", SubType::Shared, 7).await;
    let (first, second) = (asks.request_id(), asks.request_id());
    let mut both = BytesMut::new();
    for request_id in [first, second] {
        frame::encode(&CommandSeek { request_id, ..to(&ids[2]) }.into(), &mut both);
    }
    asks.write(&both).await;
    asks.expect(Type::CloseConsumer).await;
    asks.expect_success(first).await;
    assert_eq!(asks.expect_error(second, ServerError::MetadataError).await, "Consumer not found");
    assert_eq!(other.expect(Type::CloseConsumer).await.close_consumer.unwrap().consumer_id, 7);
    other.subscribed("s", SubType::Shared, 7).await;
    other.flow(7, 10).await;
    assert_eq!(other.messages(2).await, ["m2", "m3"]);
}

#[tokio::test]
async fn a_seek_needs_a_place_and_a_consumer() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.subscribed("s", SubType::Exclusive, 3).await;
    let nowhere = client.seek(CommandSeek { consumer_id: 3, ..Default::default() }).await;
    let text = client.expect_error(nowhere, ServerError::MetadataError).await;
    assert_eq!(text, "Message id and message publish time were not present");
    let nobody = client.seek(CommandSeek { consumer_id: 4, ..to_time(0) }).await;
    assert_eq!(client.expect_error(nobody, ServerError::MetadataError).await, "Consumer not found");
}

#[tokio::test]
async fn a_place_inside_a_batch_outlives_a_reload() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.producer(TOPIC, 1).await;
    client.write(&send_bytes(1, 0, &batch(3, "three"))).await;
    let id = client.expect(Type::SendReceipt).await.send_receipt.unwrap().message_id.unwrap();
    client.subscribed("s", SubType::Exclusive, 3).await;
    client.flow(3, 100).await;
    client.message().await;
    client.moved(to(&MessageIdData { ack_set: vec![0b110], batch_index: Some(1), ..id })).await;
    assert_eq!(client.message().await.1.ack_set, [0b110]);
    broker.context.topics.unload(&name(TOPIC), &NextOwner::default()).await;
    client.expect(Type::CloseProducer).await;
    client.expect(Type::CloseConsumer).await;
    client.subscribed("s", SubType::Exclusive, 3).await;
    client.flow(3, 100).await;
    assert_eq!(client.message().await.1.ack_set, [0b110]);
    let permits = broker.topic(TOPIC).stats().await.unwrap().subscriptions["s"].consumers[0].available_permits;
    assert_eq!(permits, 98, "two messages are left");
}

#[tokio::test]
async fn a_reader_that_moved_goes_on_at_the_new_place_without_naming_it() {
    let broker = Broker::start().await;
    let ids = published(&broker, 9).await;
    let mut client = broker.client().await;
    let reader = |request_id| CommandSubscribe {
        durable: Some(false),
        start_message_id: Some(edge(u64::MAX)),
        request_id,
        ..subscription_command("s", SubType::Exclusive, 3)
    };
    client.send(reader(40)).await;
    client.expect_success(40).await;
    let request_id = client.seek(to(&ids[5])).await;
    client.expect(Type::CloseConsumer).await;
    client.expect_success(request_id).await;
    client.send(reader(41)).await;
    client.expect_success(41).await;
    client.flow(3, 100).await;
    assert_eq!(client.messages(4).await[0], "m5");
    client.send(CommandCloseConsumer { consumer_id: 3, request_id: 42, ..Default::default() }).await;
    client.expect_success(42).await;
    assert_eq!(broker.topic(TOPIC).subscriptions().await.unwrap(), Vec::<String>::new());
}
