//! Section 6 and 7: SEND, its entry and its time.
use super::*;

fn metadata() -> MessageMetadata {
    MessageMetadata { producer_name: "raw".into(), sequence_id: 5, publish_time: 1, ..Default::default() }
}

fn send() -> CommandSend {
    CommandSend { producer_id: 1, sequence_id: 5, ..Default::default() }
}

/// A SEND whose metadata says something odd.
fn saying(name: &str, change: impl FnOnce(&mut MessageMetadata), expected: &'static str) -> Case {
    let mut metadata = metadata();
    change(&mut metadata);
    case(name, entry_frame(send(), &entry::build(&metadata, b"payload")), expected)
}

fn entries() -> Vec<Case> {
    let whole = entry::build(&metadata(), b"payload");
    let entry = |name: &str, bytes: &[u8], expected| case(name, entry_frame(send(), bytes), expected);
    let with_size = |size: u32| [&size.to_be_bytes()[..], b"metadata and payload"].concat();
    let of_broker = [&[0x0e, 0x02, 0, 0, 0, 2, 8, 1][..], &whole].concat();
    let mut wrong = whole.to_vec();
    wrong[3] ^= 1;
    vec![
        entry("no checksum", &whole[6..], "SendReceipt"),
        entry("a wrong checksum", &wrong, "SendError ChecksumError"),
        entry("the magic of another century", &[&[0x0e, 0x07][..], &whole[2..]].concat(), "SendError*"),
        entry("metadata longer than the entry", &with_size(1000), "SendError*"),
        entry("metadata of 2 GiB", &with_size(0x7fff_ffff), "SendError*"),
        entry("metadata of -1 bytes", &with_size(u32::MAX), "SendError*"),
        entry(
            "metadata that is no protobuf",
            &[&[0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff][..], b"x"].concat(),
            "SendError*",
        ),
        entry("no metadata", &[0, 0, 0, 0], "SendError MetadataError"),
        entry("metadata without a time", &[0, 0, 0, 5, 10, 1, b'p', 16, 5, b'x'], "SendError MetadataError"),
        entry("no entry at all", &[], "SendError*"),
        entry("the head that only brokers write", &of_broker, "SendError*"),
        entry("an empty payload", &entry::build(&metadata(), b""), "SendReceipt"),
    ]
}

fn metadatas() -> Vec<Case> {
    let pair = KeyValue { key: "key".into(), value: "value".into() };
    let keys = EncryptionKeys { key: "k".into(), value: vec![0xff; 100].into(), metadata: vec![pair.clone()] };
    let chunk = |id, count, total| {
        move |metadata: &mut MessageMetadata| {
            metadata.uuid = Some("one".into());
            (metadata.chunk_id, metadata.num_chunks_from_msg, metadata.total_chunk_msg_size) =
                (Some(id), Some(count), Some(total));
        }
    };
    vec![
        saying("0 messages", |metadata| metadata.num_messages_in_batch = Some(0), "SendReceipt"),
        saying("-1 messages", |metadata| metadata.num_messages_in_batch = Some(-1), "SendReceipt"),
        saying("more messages than are there", |metadata| metadata.num_messages_in_batch = Some(500), "SendReceipt"),
        saying(
            "2^31 messages",
            |metadata| metadata.num_messages_in_batch = Some(i32::MAX),
            "SendError NotAllowedError",
        ),
        saying("the highest sequence below", |metadata| metadata.highest_sequence_id = Some(1), "SendReceipt"),
        saying(
            "4 GiB uncompressed",
            |m| (m.compression, m.uncompressed_size) = (Some(1), Some(u32::MAX)),
            "SendReceipt",
        ),
        saying("an unknown compression", |metadata| metadata.compression = Some(99), "SendReceipt"),
        saying("keys that open nothing", |metadata| metadata.encryption_keys = vec![keys], "SendReceipt"),
        saying("a chunk beyond its message", chunk(7, 2, 100), "SendReceipt"),
        saying("chunk -1 of -1", chunk(-1, -1, -1), "SendReceipt"),
        saying("a chunk that stays alone", chunk(0, i32::MAX, i32::MAX), "SendReceipt"),
        saying("delivery before 1970", |metadata| metadata.deliver_at_time = Some(i64::MIN), "SendReceipt"),
        saying("delivery at the end of time", |metadata| metadata.deliver_at_time = Some(i64::MAX), "SendReceipt"),
        saying("no value", |metadata| metadata.null_value = Some(true), "SendReceipt"),
        saying("100 000 properties", |metadata| metadata.properties = vec![pair; 100_000], "SendReceipt"),
        saying(
            "a key that is no base64",
            |m| (m.partition_key, m.partition_key_b64_encoded) = (Some("%".into()), Some(true)),
            "SendReceipt",
        ),
        saying("published at the end of time", |metadata| metadata.publish_time = u64::MAX, "SendReceipt"),
    ]
}

fn commands() -> Vec<Case> {
    let with = |name: &str, command, expected| {
        case(name, entry_frame(command, &entry::build(&metadata(), b"payload")), expected)
    };
    let large = |bytes: usize| entry_frame(send(), &entry::build(&metadata(), &vec![7; bytes]));
    let backwards = [send_frame(1, 9, b"later"), send_frame(1, 3, b"earlier")].concat();
    let closed = frame(CommandCloseProducer { producer_id: 1, request_id: 2, ..Default::default() });
    vec![
        with("0 messages", CommandSend { num_messages: Some(0), ..send() }, "SendReceipt"),
        with("-1 messages", CommandSend { num_messages: Some(-1), ..send() }, "SendReceipt"),
        with("2^31 messages", CommandSend { num_messages: Some(i32::MAX), ..send() }, "SendReceipt"),
        with("a sequence of all ones", CommandSend { sequence_id: u64::MAX, ..send() }, "SendReceipt"),
        with("the highest sequence below", CommandSend { highest_sequence_id: Some(1), ..send() }, "SendReceipt"),
        with("in no transaction", CommandSend { txnid_most_bits: Some(7), ..send() }, "SendError*"),
        with("for nobody", CommandSend { producer_id: 77, ..send() }, "closed"),
        case("sequences backwards", backwards, "SendReceipt, SendReceipt"),
        case("the largest payload", large(5 << 20), "SendReceipt"),
        case("a frame above the limit", large((5 << 20) + (11 << 10)), "closed"),
        case("after its producer was closed", [closed, send_frame(1, 6, b"late")].concat(), "Success"),
        case(
            "before its producer exists",
            [producer_frame(TOPIC, 2), send_frame(2, 0, b"early")].concat(),
            "ProducerSuccess",
        ),
    ]
}

#[tokio::test]
async fn every_entry_is_stored_or_refused_by_name() {
    let mut scene = Scene::set().await;
    let cases = [entries(), metadatas(), commands()].concat();
    scene.plays(cases, async |scene, number| scene.producing(&format!("sends{number}")).await).await;
    scene.end().await;
}

#[tokio::test]
async fn what_is_sent_to_a_topic_that_has_ended_or_gone_is_refused_or_dropped() {
    let mut scene = Scene::set().await;
    let ended = async |method: &'static str, page: &'static str, expected: &'static str| {
        let topic = format!("public/default/ends{}", page.len());
        let mut raw = scene.producing(&topic).await;
        rest::Asked::new(method, &format!("/admin/v2/persistent/{topic}{page}")).status(&scene.http).await;
        raw.write(&send_frame(1, 0, b"late")).await;
        assert_eq!(raw.outcome(expected).await, expected, "after {method} {page}");
    };
    ended("POST", "/terminate", "CloseProducer").await;
    ended("DELETE", "?force=true", "CloseProducer").await;
    ended("PUT", "/unload", "CloseProducer").await;
    scene.nobody_is_disturbed("after messages for topics that have gone").await;
    scene.end().await;
}

#[tokio::test]
async fn a_wrong_checksum_is_refused_by_name_and_nothing_is_stored() {
    let scene = Scene::set().await;
    let topic = "persistent://public/default/checksum";
    let mut raw = scene.greeted().await;
    raw.write(&producer_frame(topic, 1)).await;
    raw.answer(Type::ProducerSuccess).await;
    let mut changed = send_frame(1, 0, b"payload");
    *changed.last_mut().expect("never empty") ^= 1;
    raw.write(&changed).await;
    let error = raw.answer(Type::SendError).await.send_error.expect("of this type");
    assert_eq!((error.error(), error.sequence_id), (ServerError::ChecksumError, 0), "{error:?}");
    let mut publisher =
        Publisher::open(std::slice::from_ref(&scene.address), topic).await.expect("a producer attaches");
    publisher.publish(ProducerId(0), b"whole");
    publisher.flush().await.expect("sent");
    let first = publisher.receipt().await.expect("a receipt").position;
    assert_eq!(first.entry.0, 0, "the changed message took a place");
    scene.end().await;
}
