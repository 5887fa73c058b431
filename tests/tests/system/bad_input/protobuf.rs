//! Section 3: bytes that are almost protobuf.
use prost::encoding::{WireType, encode_key, encode_varint};

use super::*;

const LOOKUP: u32 = 23;

fn key(tag: u32, wire: WireType) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(tag, wire, &mut bytes);
    bytes
}

fn number(value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_varint(value, &mut bytes);
    bytes
}

fn varint(tag: u32, value: u64) -> Vec<u8> {
    [key(tag, WireType::Varint), number(value)].concat()
}

fn piece(tag: u32, bytes: &[u8]) -> Vec<u8> {
    [key(tag, WireType::LengthDelimited), number(bytes.len() as u64), bytes.to_vec()].concat()
}

/// A frame around any bytes.
fn framed(command: &[u8]) -> Vec<u8> {
    let size = u32::try_from(command.len()).expect("small");
    [&(size + 4).to_be_bytes()[..], &size.to_be_bytes(), command].concat()
}

/// A LOOKUP whose body is any bytes.
fn lookup(body: &[u8]) -> Vec<u8> {
    framed(&[varint(1, u64::from(LOOKUP)), piece(LOOKUP, body)].concat())
}

fn cases() -> Vec<Case> {
    let topic = |name: &[u8]| piece(1, name);
    let body = [topic(TOPIC.as_bytes()), varint(2, 9)].concat();
    let kind = varint(1, u64::from(LOOKUP));
    let groups = [key(99, WireType::StartGroup).repeat(200), key(99, WireType::EndGroup).repeat(200)].concat();
    let overlong = [key(2, WireType::Varint), vec![0x80; 10], vec![1]].concat();
    let two = [&kind[..], &piece(LOOKUP, &[topic(b"a/b"), varint(2, 8)].concat()), &piece(LOOKUP, &body)].concat();
    let trailing = {
        let bytes = [&kind[..], &piece(LOOKUP, &body)].concat();
        let sizes = [(bytes.len() as u32 + 7).to_be_bytes(), (bytes.len() as u32).to_be_bytes()].concat();
        [&sizes[..], &bytes, b"end"].concat()
    };
    vec![
        case("a lookup as it should be", lookup(&body), "LookupResponse"),
        case("bytes after the command", trailing, "LookupResponse"),
        case(
            "fields nobody knows",
            lookup(&[&body[..], &varint(1000, 1), &piece(1001, b"x")].concat()),
            "LookupResponse",
        ),
        case("the last of two values counts", lookup(&[&varint(2, 1)[..], &body].concat()), "LookupResponse"),
        case("two bodies are one", framed(&two), "LookupResponse"),
        case("a kind of command nobody knows", framed(&varint(1, 9999)), "Error NotAllowedError"),
        case("a kind below zero", framed(&varint(1, u64::MAX)), "Error NotAllowedError"),
        case("no kind", framed(&piece(LOOKUP, &body)), "Error NotAllowedError"),
        case("a kind without its body", framed(&kind), "closed"),
        case("no topic", lookup(&varint(2, 9)), "LookupResponse InvalidTopicName"),
        case("nothing in the body", lookup(&[]), "LookupResponse InvalidTopicName"),
        case("a number where text belongs", lookup(&[varint(1, 7), varint(2, 9)].concat()), "closed"),
        case("text where a number belongs", lookup(&[topic(b"t"), piece(2, b"9")].concat()), "closed"),
        case("a number of 11 bytes", lookup(&[topic(b"t"), overlong].concat()), "closed"),
        case("groups 200 deep", framed(&[&kind[..], &groups].concat()), "closed"),
        case("a group without end", framed(&[&kind[..], &key(99, WireType::StartGroup)].concat()), "closed"),
        case("a text that is no UTF-8", lookup(&[topic(&[0xff, 0xfe]), varint(2, 9)].concat()), "closed"),
        case(
            "a body longer than the command",
            framed(&[&kind[..], &key(LOOKUP, WireType::LengthDelimited), &number(500), b"x"].concat()),
            "closed",
        ),
        case(
            "a text longer than its body",
            lookup(&[key(1, WireType::LengthDelimited), number(500)].concat()),
            "closed",
        ),
        case("tag 0", framed(&[&kind[..], &[0, 0]].concat()), "closed"),
        case("a wire type nobody knows", framed(&[&kind[..], &[0x0f]].concat()), "closed"),
    ]
}

#[tokio::test]
async fn what_is_almost_protobuf_is_answered_or_hung_up_on() {
    let mut scene = Scene::set().await;
    scene.plays(cases(), async |scene, _| scene.greeted().await).await;
    scene.end().await;
}

/// Goal: lists as long as a frame can hold cost no more memory than their frame does, by some factor.
#[tokio::test]
async fn lists_as_long_as_a_frame_cost_little_memory() {
    const ALLOWED_MIB: u64 = 256;
    let mut scene = Scene::set().await;
    let before = scene.resident_mib();
    let id = MessageIdData { ledger_id: 1, entry_id: 1, ..Default::default() };
    let cases = || {
        let metadata = vec![KeyValue::default(); 700_000];
        let message_id = vec![id.clone(); 500_000];
        let ack =
            CommandAck { consumer_id: 1, message_id: message_id.clone(), request_id: Some(3), ..Default::default() };
        let redeliver =
            CommandRedeliverUnacknowledgedMessages { consumer_id: 1, message_ids: message_id, ..Default::default() };
        let topic = "public/default/lists".to_owned();
        vec![
            case(
                "700 000 pairs",
                frame(CommandProducer { topic, producer_id: 9, request_id: 9, metadata, ..Default::default() }),
                "ProducerSuccess",
            ),
            case("500 000 acknowledgements", frame(ack), "AckResponse"),
            case("500 000 redeliveries", frame(redeliver), ""),
        ]
    };
    scene.plays(cases(), async |scene, _| scene.consuming("public/default/lists").await).await;
    let grown = scene.resident_mib().saturating_sub(before);
    assert!(grown <= ALLOWED_MIB, "it grew by {grown} MiB");
    scene.end().await;
}
