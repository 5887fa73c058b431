//! Section 9, 10 and 11: permits, acknowledgements, redeliveries and seeks.
use proto::pulsar::command_ack::{AckType, ValidationError};

use super::*;

const STRANGE: [(u64, u64); 7] = [
    (0, 0),
    (1, u64::MAX),
    (u64::MAX, u64::MAX),
    (1 << 60, 3),
    (1, 1 << 63),
    (i64::MAX as u64, i64::MAX as u64),
    (7, 0),
];

fn id((ledger_id, entry_id): (u64, u64)) -> MessageIdData {
    MessageIdData { ledger_id, entry_id, ..Default::default() }
}

fn flows() -> Vec<Case> {
    let flow = |consumer_id, message_permits| frame(CommandFlow { consumer_id, message_permits });
    let alive = frame(CommandConsumerStats { consumer_id: 1, request_id: 6 });
    vec![
        case("no permits", [flow(1, 0), alive].concat(), "ConsumerStatsResponse"),
        case("all permits", flow(1, u32::MAX), "Message, Message, Message"),
        case("all permits a thousand times", flow(1, u32::MAX).repeat(1000), "Message, Message, Message"),
        case("permits for nobody", flow(99, 100), ""),
    ]
}

fn acks() -> Vec<Case> {
    let ack = |name: &str, change: &dyn Fn(&mut CommandAck), expected| {
        let message_id = vec![id((1 << 50, 0))];
        let mut ack = CommandAck { consumer_id: 1, message_id, request_id: Some(7), ..Default::default() };
        change(&mut ack);
        case(format!("ack: {name}"), frame(ack), expected)
    };
    let mut cases: Vec<Case> = STRANGE
        .map(|position| {
            let name = format!("message {position:?}");
            ack(&name, &|ack: &mut CommandAck| ack.message_id = vec![id(position)], "AckResponse")
        })
        .into();
    let set = |ack_set: &[i64]| vec![MessageIdData { ack_set: ack_set.into(), ..id((1 << 50, 0)) }];
    cases.extend([
        ack("no message", &|ack| ack.message_id.clear(), "AckResponse"),
        ack("twice in one", &|ack| ack.message_id = vec![id((1 << 50, 0)); 2], "AckResponse"),
        ack("up to here, shared", &|ack| ack.ack_type = AckType::Cumulative.into(), "AckResponse*"),
        ack("a kind nobody knows", &|ack| ack.ack_type = 9, "AckResponse*"),
        ack(
            "up to two places",
            &|ack| (ack.ack_type, ack.message_id) = (1, vec![id((1, 0)), id((1, 1))]),
            "AckResponse*",
        ),
        ack("a part of what is no batch", &|ack| ack.message_id = set(&[5]), "AckResponse"),
        ack("a part that is too long", &|ack| ack.message_id = set(&[-1; 5000]), "AckResponse"),
        ack("damaged", &|ack| ack.validation_error = Some(ValidationError::ChecksumMismatch.into()), "AckResponse"),
        ack("damaged in an unknown way", &|ack| ack.validation_error = Some(99), "AckResponse"),
        ack(
            "in no transaction",
            &|ack| (ack.txnid_least_bits, ack.txnid_most_bits) = (Some(1), Some(2)),
            "AckResponse*",
        ),
        ack("for nobody", &|ack| ack.consumer_id = 99, ""),
        ack("without a receipt", &|ack| ack.request_id = None, ""),
    ]);
    cases
}

fn seeks() -> Vec<Case> {
    let seek = |name: String, change: &dyn Fn(&mut CommandSeek), expected| {
        let mut seek = CommandSeek { consumer_id: 1, request_id: 8, ..Default::default() };
        change(&mut seek);
        case(format!("seek: {name}"), frame(seek), expected)
    };
    let moved = "CloseConsumer, Success";
    let mut cases: Vec<Case> = STRANGE
        .map(|place| seek(format!("to {place:?}"), &|seek: &mut CommandSeek| seek.message_id = Some(id(place)), moved))
        .into();
    for time in [0, 1, i64::MAX as u64, u64::MAX] {
        cases.push(seek(format!("to time {time}"), &|seek| seek.message_publish_time = Some(time), moved));
    }
    let twice = CommandSeek { consumer_id: 1, request_id: 8, message_publish_time: Some(0), ..Default::default() };
    cases.extend([
        seek("nowhere".into(), &|_| (), "Error MetadataError"),
        seek(
            "of nobody".into(),
            &|seek| (seek.consumer_id, seek.message_publish_time) = (99, Some(0)),
            "Error MetadataError",
        ),
        case("seek: twice at once", frame(twice).repeat(2), "*"),
    ]);
    cases
}

fn others() -> Vec<Case> {
    let redeliver = |name: &str, message_ids, consumer_epoch| {
        let command = CommandRedeliverUnacknowledgedMessages { consumer_id: 1, message_ids, consumer_epoch };
        case(format!("redeliver: {name}"), frame(command), "")
    };
    vec![
        redeliver("all", vec![], None),
        redeliver("what nobody has", STRANGE.map(id).into(), None),
        redeliver("in the epoch of all ones", vec![], Some(u64::MAX)),
        case(
            "the last message of nobody",
            frame(CommandGetLastMessageId { consumer_id: 99, request_id: 4 }),
            "Error MetadataError",
        ),
        case(
            "unsubscribe nobody",
            frame(CommandUnsubscribe { consumer_id: 99, request_id: 4, force: None }),
            "Error MetadataError",
        ),
        case(
            "stats of nobody",
            frame(CommandConsumerStats { consumer_id: 99, request_id: 4 }),
            "ConsumerStatsResponse ConsumerNotFound",
        ),
    ]
}

#[tokio::test]
async fn what_consumers_ask_is_done_or_refused_by_name() {
    let mut scene = Scene::set().await;
    let cases = [flows(), acks(), seeks(), others()].concat();
    scene.plays(cases, async |scene, number| scene.consuming(&format!("reading{number}")).await).await;
    scene.end().await;
}
