//! Valid inputs of every kind.
use bytes::BytesMut;
use prost::Message;
use proto::pulsar::command_ack::AckType;
use proto::pulsar::*;
use proto::{batch, entry, frame};

const TOPIC: &str = "persistent://public/default/orders";

/// What clients say, one of each kind.
fn said() -> Vec<BaseCommand> {
    let mut all = about_messages();
    all.extend(about_names());
    all
}

fn about_names() -> Vec<BaseCommand> {
    let (topic, request_id) = (TOPIC.to_owned(), 300);
    let schema = Schema { name: "s".into(), schema_data: "{}".into(), r#type: 2, properties: Vec::new() };
    vec![
        CommandLookupTopic { topic: topic.clone(), request_id, ..Default::default() }.into(),
        CommandPartitionedTopicMetadata { topic: topic.clone(), request_id, ..Default::default() }.into(),
        CommandGetTopicsOfNamespace {
            request_id,
            namespace: "public/default".into(),
            topics_pattern: Some(".*".into()),
            ..Default::default()
        }
        .into(),
        CommandWatchTopicList {
            request_id,
            namespace: "public/default".into(),
            topics_pattern: ".*".into(),
            ..Default::default()
        }
        .into(),
        CommandGetSchema { request_id, topic: topic.clone(), ..Default::default() }.into(),
        CommandGetOrCreateSchema { request_id, topic, schema, ..Default::default() }.into(),
        CommandPing {}.into(),
        CommandNewTxn { request_id, ..Default::default() }.into(),
    ]
}

fn about_messages() -> Vec<BaseCommand> {
    let id = MessageIdData { ledger_id: 3, entry_id: 7, ack_set: vec![-2], batch_size: Some(2), ..Default::default() };
    let (topic, request_id) = (TOPIC.to_owned(), 300);
    let pair = KeyValue { key: "k".into(), value: "v".into() };
    let schema = Schema { name: "s".into(), schema_data: "{}".into(), r#type: 2, properties: vec![pair.clone()] };
    let meta = KeySharedMeta {
        key_shared_mode: 1,
        hash_ranges: vec![IntRange { start: 0, end: 65535 }],
        allow_out_of_order_delivery: Some(true),
    };
    vec![
        super::talk::connect().into(),
        CommandProducer {
            topic: topic.clone(),
            request_id,
            metadata: vec![pair],
            schema: Some(schema),
            ..Default::default()
        }
        .into(),
        CommandSend { producer_id: 1, sequence_id: 5, num_messages: Some(1), ..Default::default() }.into(),
        CommandSubscribe {
            topic,
            subscription: "s".into(),
            sub_type: 3,
            request_id,
            start_message_id: Some(id.clone()),
            key_shared_meta: Some(meta),
            ..Default::default()
        }
        .into(),
        CommandFlow { consumer_id: 1, message_permits: 1000 }.into(),
        CommandAck {
            ack_type: AckType::Cumulative.into(),
            message_id: vec![id.clone(); 2],
            request_id: Some(4),
            ..Default::default()
        }
        .into(),
        CommandRedeliverUnacknowledgedMessages {
            message_ids: vec![id.clone()],
            consumer_epoch: Some(2),
            ..Default::default()
        }
        .into(),
        CommandSeek { request_id, message_id: Some(id), ..Default::default() }.into(),
        CommandSeek { request_id, message_publish_time: Some(9), ..Default::default() }.into(),
        CommandUnsubscribe { request_id, ..Default::default() }.into(),
        CommandCloseConsumer { request_id, ..Default::default() }.into(),
        CommandCloseProducer { request_id, ..Default::default() }.into(),
        CommandGetLastMessageId { request_id, consumer_id: 1 }.into(),
        CommandConsumerStats { request_id, consumer_id: 1 }.into(),
    ]
}

pub(super) fn commands() -> Vec<Vec<u8>> {
    said().iter().map(Message::encode_to_vec).collect()
}

pub(super) fn frames() -> Vec<Vec<u8>> {
    let entry = entry::build(&MessageMetadata { producer_name: "p".into(), ..Default::default() }, b"payload");
    let no_number = CommandConsumerStatsResponse { msg_rate_out: Some(f64::NAN), ..Default::default() };
    let mut all: Vec<Vec<u8>> = Vec::new();
    for command in said().into_iter().chain([no_number.into()]) {
        let rest = if command.send.is_some() { &entry[..] } else { &[] };
        let mut bytes = BytesMut::new();
        frame::encode_head(&command, rest.len(), &mut bytes);
        all.push([&[9], &bytes[..], rest].concat());
    }
    let together = all.iter().flat_map(|frame| frame[1..].to_vec());
    all.push([20].into_iter().chain(together).take(1500).collect());
    all
}

pub(super) fn entries() -> Vec<Vec<u8>> {
    let plain = MessageMetadata { producer_name: "p".into(), sequence_id: 5, publish_time: 9, ..Default::default() };
    let keys = EncryptionKeys { key: "k".into(), value: "v".into(), metadata: Vec::new() };
    let shapes = [
        plain.clone(),
        MessageMetadata { partition_key: Some("a2V5".into()), partition_key_b64_encoded: Some(true), ..plain.clone() },
        MessageMetadata { ordering_key: Some("o".into()), encryption_keys: vec![keys], ..plain.clone() },
        MessageMetadata { uuid: Some("u".into()), chunk_id: Some(0), num_chunks_from_msg: Some(2), ..plain.clone() },
        MessageMetadata { compression: Some(2), uncompressed_size: Some(u32::MAX), ..plain.clone() },
        MessageMetadata { deliver_at_time: Some(1), null_value: Some(true), marker_type: Some(1), ..plain.clone() },
    ];
    let mut all: Vec<_> = shapes.iter().map(|metadata| entry::build(metadata, b"payload").to_vec()).collect();
    let mut messages = BytesMut::new();
    (0..3).for_each(|_| batch::push(&mut messages, SingleMessageMetadata::default(), b"one"));
    let batched = MessageMetadata { num_messages_in_batch: Some(3), ..plain };
    all.push(entry::build(&batched, &messages).to_vec());
    let unsummed: Vec<_> = all.iter().map(|entry| entry[6..].to_vec()).collect();
    all.extend(unsummed); // Without a checksum, changes reach the metadata.
    all
}

/// Found by libFuzzer: CLOSE_PRODUCER of a producer that another has just driven away was not answered.
const CLOSED_WHILE_FENCED: [u8; 92] = [
    13, 32, 0, 0, 13, 0, 0, 0, 1, 128, 0, 0, 0, 3, 149, 0, 3, 1, 13, 0, 13, 49, 13, 0, 0, 0, 1, 0, 0, 1, 0, 17, 0, 0,
    0, 1, 1, 69, 0, 1, 1, 0, 1, 254, 255, 249, 0, 7, 1, 0, 1, 59, 3, 1, 2, 1, 3, 0, 44, 193, 18, 0, 9, 0, 0, 0, 0, 0,
    2, 0, 0, 0, 0, 0, 1, 3, 2, 1, 1, 3, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 13, 0,
];

/// Scripts as [`super::script`] reads them.
pub(super) fn sessions() -> Vec<Vec<u8>> {
    let (settle, look) = ([0, 0].as_slice(), [13, 0].as_slice());
    let produce = [1, 0, 0].as_slice();
    let send = |sequence: u8, shape: u8| vec![2, 0, sequence, shape];
    let subscribe = |kind: u8, terms: u8| vec![3, 0, kind, terms];
    let (flow, ack) = ([4, 0, 5].as_slice(), [5, 0, 2, 0].as_slice());
    let sends = |shape: u8| (0..8).flat_map(|sequence| send(sequence, shape)).collect::<Vec<_>>();
    let begin = [look, settle, produce, settle].concat();
    let mut all = vec![CLOSED_WHILE_FENCED.to_vec()];
    for kind in 0..4 {
        let reading = [&begin[..], &subscribe(kind, 0), settle, flow, &sends(8), settle, ack, ack, settle].concat();
        let moved = [&reading[..], &[6, 0, 2, 0, 1], flow, &[7, 0, 2, 1], settle, &subscribe(kind, 0), flow].concat();
        let two = [&reading[..], &[3, 1, kind, 2], &[4, 1, 9], settle, &[8, 0], &[10, 1, 0]].concat();
        all.extend([reading, moved, two]);
    }
    all.push(
        [&begin[..], &sends(1), &send(9, 6), &send(10, 7), &send(11, 10), settle, &[28, 0, 1], &send(12, 0)].concat(),
    );
    all.push([&begin[..], &sends(0), settle, &[28, 0, 0], &send(9, 0), settle, &[9, 0], &send(10, 0)].concat());
    all.push([&begin[..], &[28, 0x10, 0], &[7, 2, 1], settle].concat()); // Of what is not there.
    all.push([&begin[..], &[1, 1, 1], settle, &[1, 3, 2], &[1, 1, 3], settle, &[9, 0], settle].concat());
    all.push([&begin[..], &[14, 0], &[15, 0, 0], &[16, 0, 3], &[18, 0], &[19, 0, 2, 2, b'{', b'}'], &[23, 0]].concat());
    all.push([&begin[..], &[19, 0, 1, 0], settle, &[18, 0], settle, &[18, 0], &[18, 0x10]].concat());
    all.push([look, settle, &[16, 0, 0], settle, produce, settle, &[17, 0], settle].concat());
    let ended = [28, 0, 1].as_slice();
    let asked = [settle, &[11, 0], &[12, 0], settle, ended, flow, settle, &[5, 0, 3, 7], settle].concat();
    all.push([&begin[..], &sends(0), &subscribe(0, 0), &asked, &[10, 0, 0], settle].concat());
    let long = [&send(1, 2)[..], &[3], &send(2, 2), &[21], flow, settle].concat();
    all.push([&begin[..], &subscribe(0, 0), settle, &[3, 1, 0, 2], settle, &send(0, 4), &long].concat());
    // The same of a topic that stores nothing.
    let there = |operation: u8| [operation, 0x20];
    let heard = [&there(3)[..], &[1, 0], settle, &there(4), &[20], &there(2), &[0, 0], &there(2), &[1, 8]].concat();
    let left = [settle, &there(5), &[2, 0], &there(11), &there(18), settle, &there(10), &[0], settle].concat();
    all.push([&there(13)[..], settle, &there(1), &[0], settle, &heard, &left].concat());
    all.push([&begin[..], &[12, 0], &[11, 0], &[20, 0], &[22, 0], &[27, 0, 3, 1], produce, &[25, 0, 2, 0, 0]].concat());
    all.push([&begin[..], &[26, 0, 2, 8, 18], &[29, 0], produce, &send(0, 4), &send(1, 5), &[24, 0]].concat());
    all
}
