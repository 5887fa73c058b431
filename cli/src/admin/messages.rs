//! Single messages, as people want to see them.
use std::fmt::Write;

use bytes::{Buf, Bytes};
use daemon::Failure;
use prost::Message;
use proto::pulsar::SingleMessageMetadata;
use reqwest::header::HeaderMap;
use serde_json::{Map, Value, json};

use super::given::Given;
use super::request::Request;
use super::server::{Raw, Server};
use super::topics::{SUBSCRIPTION, TOPIC, position};
use super::value::Kind;
use super::verb::{Argument, Shows, Verb, Way, flag, get};

const COUNT: Argument = flag("count", "-n --count", Kind::Count, "How many").or("1");
const LEDGER: Argument = flag("ledger", "-l --ledgerId", Kind::Count, "The ledger it lies in").needed();
const ENTRY: Argument = flag("entry", "-e --entryId", Kind::Count, "Its entry there").needed();
const FROM: Argument = flag(
    "from",
    "-i --initialPosition",
    Kind::Word(&["earliest", "latest"]),
    "Counted from the first or from the last message",
)
.or("latest")
.query("initialPosition");
const NUMBER: Argument =
    flag("number", "-m --messagePosition", Kind::Count, "Which, from 1 on").or("1").query("messagePosition");
const TIME: Argument =
    flag("time", "-d --datetime", Kind::Instant, "When it was published, such as 2026-11-26T18:00:00Z").needed();

pub(super) const OF_TOPICS: &[Verb] = &[
    get(
        "peek-messages",
        "{topic}/subscription/{subscription}/position/{number}",
        "The next messages of a subscription",
    )
    .takes(&[TOPIC, SUBSCRIPTION, COUNT])
    .way(Way::Messages)
    .shows(Shows::Text(shown)),
    get("examine-messages", "{topic}/examinemessage", "One message, counted from the first or from the last")
        .takes(&[TOPIC, FROM, NUMBER])
        .way(Way::Messages)
        .shows(Shows::Text(shown)),
    get("get-message-by-id", "{topic}/ledger/{ledger}/entry/{entry}", "The message at a position")
        .takes(&[TOPIC, LEDGER, ENTRY])
        .way(Way::Messages)
        .shows(Shows::Text(shown)),
    get(
        "get-message-id",
        "{topic}/messageid/{time}",
        "The position of the first message that was published at a time or later",
    )
    .takes(&[TOPIC, TIME])
    .shows(Shows::Text(|_, id| Ok(position(id) + "\n"))),
];

/// What brokers say when a subscription has no further message.
const NO_MORE: &str = "Message not found";

/// The messages that a command asks for, as a list.
pub(super) async fn read(server: &Server, verb: &Verb, mut given: Given) -> Result<Value, Failure> {
    let Some(count) = given.get("count").and_then(Value::as_u64) else {
        return Ok(Value::Array(of_entry(server.ask_raw(&Request::of(verb, &given)).await?)?));
    };
    let mut found = Vec::new();
    for number in 1..=count {
        given.set("number", number.into());
        let entry = match server.ask_raw(&Request::of(verb, &given)).await {
            Err(failure) if failure.message.starts_with(NO_MORE) => break,
            entry => entry?,
        };
        if is_filled(&mut found, of_entry(entry)?, count) {
            break;
        }
    }
    Ok(Value::Array(found))
}

/// Adds messages up to so many.
fn is_filled(found: &mut Vec<Value>, more: Vec<Value>, count: u64) -> bool {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    found.extend(more);
    found.truncate(count);
    found.len() == count
}

/// The messages of one entry: of a batch there are several, unless nobody here can look into it.
fn of_entry(Raw { headers, body }: Raw) -> Result<Vec<Value>, Failure> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let whole = of_headers(&headers);
    let is_closed = text("x-pulsar-compression").is_some() || text("x-pulsar-is-encrypted") == Some("true");
    let Some(batch) = text("x-pulsar-num-batch-message").filter(|_| !is_closed) else {
        return Ok(vec![with_payload(whole, &body)]);
    };
    let wrong = || Failure::internal("the server's answer holds no batch, and says that it does");
    let mut rest = body;
    (0..batch.parse::<u32>().map_err(|_| wrong())?)
        .map(|index| of_batch(&whole, &mut rest, index).ok_or_else(wrong))
        .collect()
}

fn of_batch(whole: &Map<String, Value>, rest: &mut Bytes, index: u32) -> Option<Value> {
    let bytes = usize::try_from(rest.try_get_u32().ok()?).ok().filter(|bytes| *bytes <= rest.len())?;
    let metadata = SingleMessageMetadata::decode(rest.split_to(bytes)).ok()?;
    let bytes = usize::try_from(metadata.payload_size).ok().filter(|bytes| *bytes <= rest.len())?;
    let mut message = whole.clone();
    let id = message.get("messageId").and_then(Value::as_str).unwrap_or_default();
    message.insert("messageId".into(), format!("{id}:{index}").into());
    let properties = metadata.properties.iter().map(|pair| (pair.key.clone(), Value::from(pair.value.clone())));
    message.insert("properties".into(), Value::Object(properties.collect()));
    if let Some(key) = &metadata.partition_key {
        message.insert("key".into(), key.clone().into());
    }
    Some(with_payload(message, &rest.split_to(bytes)))
}

fn of_headers(headers: &HeaderMap) -> Map<String, Value> {
    const NAMES: [(&str, &str); 8] = [
        ("x-pulsar-message-id", "messageId"),
        ("x-pulsar-publish-time", "publishTime"),
        ("x-pulsar-event-time", "eventTime"),
        ("x-pulsar-deliver-at-time", "deliverAtTime"),
        ("x-pulsar-producer-name", "producer"),
        ("x-pulsar-sequence-id", "sequenceId"),
        ("x-pulsar-partition-key", "key"),
        ("x-pulsar-compression", "compression"),
    ];
    let text = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let mut message: Map<String, Value> =
        NAMES.iter().filter_map(|(header, name)| Some(((*name).to_owned(), text(header)?.into()))).collect();
    let properties = text("x-pulsar-property").and_then(|text| serde_json::from_str::<Value>(&text).ok());
    message.insert("properties".into(), properties.unwrap_or_else(|| json!({})));
    message
}

/// As text where it is one.
fn with_payload(mut message: Map<String, Value>, payload: &[u8]) -> Value {
    let is_shown = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\t');
    let text = std::str::from_utf8(payload).ok().filter(|text| text.chars().all(is_shown));
    let hex = || payload.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (name, payload) = text.map_or_else(|| ("hex", hex()), |text| ("text", text.to_owned()));
    message.insert(name.into(), payload.into());
    Value::Object(message)
}

/// One below the other, each with what is known of it in its first line.
fn shown(_: &Given, answer: &Value) -> Result<String, Failure> {
    let mut all = String::new();
    for message in answer.as_array().into_iter().flatten() {
        let text = |name: &str| message.get(name).and_then(Value::as_str);
        let mut line = text("messageId").unwrap_or("-").to_owned();
        let names =
            [("published", "publishTime"), ("event", "eventTime"), ("due", "deliverAtTime"), ("by", "producer")];
        for (word, name) in names.into_iter().chain([("key", "key"), ("compression", "compression")]) {
            if let Some(value) = text(name) {
                let _ = write!(line, "  {word} {value}");
            }
        }
        for (key, value) in message.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let _ = write!(line, "  {key}={}", value.as_str().unwrap_or_default());
        }
        let payload = match (text("text"), text("hex")) {
            (Some(text), _) => text.to_owned() + "\n",
            (None, hex) => dump(hex.unwrap_or_default()),
        };
        if !all.is_empty() {
            all.push('\n');
        }
        all += &format!("{line}\n{payload}");
    }
    Ok(all)
}

/// Sixteen bytes a line.
fn dump(hex: &str) -> String {
    let pairs: Vec<String> = hex.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).into_owned()).collect();
    pairs.chunks(16).enumerate().map(|(line, pairs)| format!("{:08x}  {}\n", line * 16, pairs.join(" "))).collect()
}

#[cfg(test)]
mod tests {
    use proto::pulsar::KeyValue;
    use reqwest::header::HeaderValue;

    use super::*;

    fn raw(headers: &[(&'static str, &'static str)], body: impl Into<Bytes>) -> Raw {
        let headers = headers.iter().map(|(name, value)| ((*name).parse().unwrap(), HeaderValue::from_static(value)));
        Raw { headers: headers.collect(), body: body.into() }
    }

    const ID: (&str, &str) = ("x-pulsar-message-id", "12:3");

    #[test]
    fn a_message_is_shown_as_text_or_byte_by_byte() {
        let more = [ID, ("x-pulsar-property", r#"{"a":"1"}"#), ("x-pulsar-partition-key", "k")];
        let text = of_entry(raw(&more, "hello\nyou")).unwrap();
        assert_eq!(text, [json!({"messageId": "12:3", "key": "k", "properties": {"a": "1"}, "text": "hello\nyou"})]);
        let bytes = of_entry(raw(&[ID], vec![255_u8; 17])).unwrap();
        let both = Value::Array([text, bytes].concat());
        let dumped = format!("00000000  {}\n00000010  ff\n", ["ff"; 16].join(" "));
        assert_eq!(shown(&Given::default(), &both), Ok(format!("12:3  key k  a=1\nhello\nyou\n\n12:3\n{dumped}")));
    }

    #[test]
    fn messages_of_a_batch_are_told_apart_unless_nobody_can_look_into_it() {
        let mut batch = Vec::new();
        for (key, text) in [("a", "one"), ("b", "two")] {
            let properties = vec![KeyValue { key: "n".into(), value: text.into() }];
            let payload_size = i32::try_from(text.len()).unwrap();
            let partition_key = Some(key.to_owned());
            let metadata = SingleMessageMetadata { properties, partition_key, payload_size, ..Default::default() };
            let metadata = metadata.encode_to_vec();
            batch.extend(u32::try_from(metadata.len()).unwrap().to_be_bytes());
            batch.extend(metadata);
            batch.extend(text.as_bytes());
        }
        let of_two = ("x-pulsar-num-batch-message", "2");
        let told = of_entry(raw(&[ID, of_two], batch.clone())).unwrap();
        let message = |index: u32, key: &str, text: &str| json!({"messageId": format!("12:3:{index}"), "key": key, "properties": {"n": text}, "text": text});
        assert_eq!(told, [message(0, "a", "one"), message(1, "b", "two")]);
        let mut found = Vec::new();
        assert!(!is_filled(&mut found, told.clone(), 3) && is_filled(&mut found, told, 3));
        assert_eq!(found.len(), 3, "not more than were asked for");
        let closed = of_entry(raw(&[ID, of_two, ("x-pulsar-compression", "LZ4")], batch.clone())).unwrap();
        assert_eq!(closed.len(), 1);
        batch.truncate(batch.len() - 1);
        assert!(of_entry(raw(&[ID, of_two], batch)).is_err(), "it is cut");
    }
}
