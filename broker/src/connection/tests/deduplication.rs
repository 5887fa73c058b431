use std::time::Duration;

use super::*;
use crate::policies::Level;

impl Broker {
    pub(super) async fn wants_deduplication(&self, wanted: bool) {
        let level = Level::Namespace("public/default".parse().unwrap());
        let set = |record: &mut proto::records::PoliciesRecord| {
            record.plain.insert("deduplicationEnabled".into(), wanted.to_string());
            Ok(())
        };
        self.context.policies.change(&level, set).await.unwrap();
    }

    async fn unloads(&self) {
        self.context.topics.unload(&name(TOPIC), &Default::default()).await;
    }
}

fn entry(sequence_id: u64, more: MessageMetadata) -> Bytes {
    let metadata = MessageMetadata { producer_name: "mine".into(), sequence_id, publish_time: 5, ..more };
    proto::entry::build(&metadata, format!("m{sequence_id}").as_bytes())
}

pub(super) fn plain(sequence_id: u64) -> Vec<u8> {
    send_bytes(1, sequence_id, &entry(sequence_id, MessageMetadata::default()))
}

fn chunk(sequence_id: u64, id: i32, count: i32) -> Vec<u8> {
    let (uuid, chunk_id, num_chunks_from_msg) = (Some("mine".into()), Some(id), Some(count));
    let metadata = MessageMetadata { uuid, chunk_id, num_chunks_from_msg, ..Default::default() };
    send_bytes(1, sequence_id, &entry(sequence_id, metadata))
}

impl Client {
    /// Attaches the producer `mine` and gives the last sequence id that is remembered of it.
    pub(super) async fn mine(&mut self) -> i64 {
        let request_id = self.request_id();
        let producer_name = Some("mine".into());
        let command =
            CommandProducer { topic: TOPIC.into(), producer_id: 1, request_id, producer_name, ..Default::default() };
        self.send(command).await;
        self.expect(Type::ProducerSuccess).await.producer_success.unwrap().last_sequence_id()
    }

    /// The next receipt, and whether it names a place.
    async fn receipt(&mut self) -> (u64, bool) {
        let receipt = self.expect(Type::SendReceipt).await.send_receipt.unwrap();
        let id = receipt.message_id.unwrap();
        assert_eq!(id.ledger_id == u64::MAX, id.entry_id == u64::MAX);
        (receipt.sequence_id, id.ledger_id != u64::MAX)
    }

    pub(super) async fn sends(&mut self, bytes: Vec<u8>) -> (u64, bool) {
        self.write(&bytes).await;
        self.receipt().await
    }

    pub(super) async fn reads_all(&mut self, count: usize) -> Vec<String> {
        self.subscribed("check", SubType::Exclusive, 9).await;
        self.flow(9, 1000).await;
        let texts = self.messages(count).await;
        self.expect_silence().await;
        texts
    }
}

#[tokio::test]
async fn what_comes_twice_is_stored_once_also_after_the_topic_was_loaded_again() {
    let broker = Broker::start().await;
    broker.wants_deduplication(true).await;
    let mut client = broker.client().await;
    assert_eq!(client.mine().await, -1);
    for sequence_id in [0, 1, 5] {
        assert_eq!(client.sends(plain(sequence_id)).await, (sequence_id, true));
    }
    assert_eq!(client.sends(plain(1)).await, (1, false), "it is there already");
    for unloads in 0..3 {
        broker.unloads().await;
        client.expect(Type::CloseProducer).await;
        assert_eq!(client.mine().await, 5 + unloads, "after {unloads} more");
        assert_eq!(client.sends(plain(5)).await, (5, false));
        let next = 6 + u64::try_from(unloads).unwrap();
        assert_eq!(client.sends(plain(next)).await, (next, true));
    }
    assert_eq!(client.reads_all(6).await, ["m0", "m1", "m5", "m6", "m7", "m8"]);
    assert_eq!(broker.topic(TOPIC).stats().await.unwrap().deduplication_status, "Enabled");
    assert_eq!(broker.topic(TOPIC).subscriptions().await.unwrap(), ["check"], "the cursor of producers is not one");
}

/// Goal: a duplicate of a message in flight is answered after it, and never before it is stored.
#[tokio::test]
async fn duplicates_of_what_is_in_flight_wait_for_it() {
    let broker = Broker::start().await;
    broker.wants_deduplication(true).await;
    let mut first = broker.client().await;
    first.mine().await;
    let mut bytes = Vec::new();
    for sequence_id in [0, 1, 0, 2, 2, 1] {
        bytes.extend(plain(sequence_id));
    }
    first.write(&bytes).await;
    for expected in [(0, true), (1, true), (0, false), (2, true), (2, false), (1, false)] {
        assert_eq!(first.receipt().await, expected);
    }
    assert_eq!(first.reads_all(3).await, ["m0", "m1", "m2"]);
}

#[tokio::test]
async fn a_producer_that_comes_again_is_told_all_that_is_stored_of_it() {
    let broker = Broker::start().await;
    broker.wants_deduplication(true).await;
    for round in 0..20 {
        let mut client = broker.client().await;
        assert_eq!(client.mine().await, i64::from(round) * 10 - 1, "with what was in flight");
        let bytes = (0..10).flat_map(|more| plain(u64::try_from(round * 10 + more).unwrap())).collect::<Vec<u8>>();
        client.write(&bytes).await;
        client.send(CommandPing {}).await;
        // All was read from the socket; some receipts may not have come.
        while client.next().await.expect("the connection is open").command.r#type() != Type::Pong {}
    }
}

#[tokio::test]
async fn batches_count_with_their_highest_id_and_none_is_stored_by_half() {
    let broker = Broker::start().await;
    broker.wants_deduplication(true).await;
    let mut client = broker.client().await;
    client.mine().await;
    let batch = |first: u64, highest| {
        let num_messages_in_batch = Some(3);
        let metadata =
            MessageMetadata { highest_sequence_id: Some(highest), num_messages_in_batch, ..Default::default() };
        send_bytes(1, first, &entry(first, metadata))
    };
    assert_eq!(client.sends(batch(0, 2)).await, (0, true));
    assert_eq!(client.sends(batch(0, 2)).await, (0, false));
    client.write(&batch(2, 4)).await;
    let error = client.expect(Type::SendError).await.send_error.unwrap();
    assert_eq!((error.sequence_id, error.error()), (2, ServerError::NotAllowedError));
    assert_eq!(client.sends(batch(3, 5)).await, (3, true));
    broker.unloads().await;
    client.expect(Type::CloseProducer).await;
    assert_eq!(client.mine().await, 5);
}

/// Goal: a message in chunks that was interrupted is taken when it comes again whole; one that is there is not.
#[tokio::test]
async fn a_message_in_chunks_is_stored_with_its_last_chunk() {
    let broker = Broker::start().await;
    broker.wants_deduplication(true).await;
    let mut client = broker.client().await;
    client.mine().await;
    for id in 0..2 {
        assert_eq!(client.sends(chunk(4, id, 3)).await, (4, true));
    }
    broker.unloads().await;
    client.expect(Type::CloseProducer).await;
    assert_eq!(client.mine().await, -1, "nobody has the message yet");
    for id in 0..3 {
        assert_eq!(client.sends(chunk(4, id, 3)).await, (4, true));
    }
    broker.unloads().await;
    client.expect(Type::CloseProducer).await;
    assert_eq!(client.mine().await, 4);
    for id in 0..3 {
        assert_eq!(client.sends(chunk(4, id, 3)).await, (4, false));
    }
}

/// Goal: a message that was refused, and so is not stored, was never seen.
#[tokio::test]
async fn what_was_refused_is_taken_when_it_comes_again() {
    let broker = Broker::start().await;
    broker.wants_deduplication(true).await;
    let mut client = broker.client().await;
    client.mine().await;
    let mut damaged = plain(7);
    *damaged.last_mut().unwrap() ^= 1;
    client.write(&damaged).await;
    client.expect(Type::SendError).await;
    assert_eq!(client.sends(plain(7)).await, (7, true));
}

#[tokio::test]
async fn it_counts_for_producers_that_attach_once_policies_want_it_and_until_they_do_not() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.mine().await;
    for _ in 0..2 {
        assert_eq!(client.sends(plain(3)).await, (3, true));
    }
    broker.wants_deduplication(true).await;
    let mut other = broker.client().await;
    other.producer(TOPIC, 1).await;
    assert_eq!(client.sends(plain(3)).await, (3, true), "nothing is known of before");
    assert_eq!(client.sends(plain(3)).await, (3, false));
    broker.wants_deduplication(false).await;
    other.producer(TOPIC, 2).await;
    assert_eq!(client.sends(plain(3)).await, (3, true));
    broker.unloads().await;
    client.expect(Type::CloseProducer).await;
    assert_eq!(client.mine().await, -1);
}

/// Goal: what is remembered keeps no ledger in place, and outlives the ledgers in which it was published.
#[tokio::test]
async fn ledgers_leave_and_what_was_in_them_is_still_known() {
    let broker = Broker::start().await;
    broker.wants_deduplication(true).await;
    let mut client = broker.client().await;
    client.subscribed("s", SubType::Exclusive, 2).await;
    client.mine().await;
    for sequence_id in 0..30 {
        client.sends(plain(sequence_id)).await;
    }
    let topic = broker.topic(TOPIC);
    topic.truncate().await.unwrap();
    let left = topic.with_chain(|chain| chain.ledgers().len());
    assert!(left <= 1, "{left} ledgers of 7 entries are left");
    broker.unloads().await;
    client.expect(Type::CloseProducer).await;
    client.expect(Type::CloseConsumer).await;
    assert_eq!(client.mine().await, 29);
    assert_eq!(client.sends(plain(29)).await, (29, false));
    tokio::time::timeout(Duration::from_secs(20), broker.stop()).await.unwrap();
}

#[tokio::test]
async fn its_cursor_is_no_subscription_for_anybody() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    let request_id = client.subscribe("pulsar.dedup", SubType::Shared, 1).await;
    let text = client.expect_error(request_id, ServerError::NotAllowedError).await;
    assert_eq!(text, "Subscription with reserved subscription name attempted");
}

#[tokio::test]
async fn a_namespace_that_requires_encryption_takes_no_plain_message() {
    let broker = Broker::start().await;
    let level = Level::Namespace("public/default".parse().unwrap());
    let set = |record: &mut proto::records::PoliciesRecord| {
        record.plain.insert("encryption_required".into(), "true".into());
        Ok(())
    };
    broker.context.policies.change(&level, set).await.unwrap();
    let mut client = broker.client().await;
    let base = CommandProducer { topic: TOPIC.into(), producer_id: 1, ..Default::default() };
    client.send(CommandProducer { request_id: 1, ..base.clone() }).await;
    let text = client.expect_error(1, ServerError::MetadataError).await;
    assert_eq!(text, format!("Encryption is required in {TOPIC}"));
    client.send(CommandProducer { request_id: 2, encrypted: Some(true), ..base }).await;
    client.expect(Type::ProducerSuccess).await;
    client.write(&plain(0)).await;
    let error = client.expect(Type::SendError).await.send_error.unwrap();
    assert_eq!((error.error(), error.message.as_str()), (ServerError::MetadataError, "Messages must be encrypted"));
    let key = EncryptionKeys { key: "k".into(), value: Bytes::from_static(b"v"), ..Default::default() };
    let encrypted = entry(1, MessageMetadata { encryption_keys: vec![key], ..Default::default() });
    assert_eq!(client.sends(send_bytes(1, 1, &encrypted)).await, (1, true));
    client.subscribed("s", SubType::Exclusive, 2).await;
    client.flow(2, 10).await;
    assert_eq!(client.expect_frame(Type::Message).await.rest, encrypted, "its bytes are untouched");
}
