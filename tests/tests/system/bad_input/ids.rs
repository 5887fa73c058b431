//! Section 5: ids.
use super::*;

fn cases() -> Vec<Case> {
    let lookup = || frame(CommandLookupTopic { topic: TOPIC.into(), request_id: 3, ..Default::default() });
    let producer = |producer_id| {
        frame(CommandProducer { topic: TOPIC.into(), producer_id, request_id: producer_id, ..Default::default() })
    };
    let named = |name: &str, id| {
        let producer_name = Some(name.to_owned());
        frame(CommandProducer {
            topic: TOPIC.into(),
            producer_name,
            producer_id: id,
            request_id: id,
            ..Default::default()
        })
    };
    let close = |producer_id| frame(CommandCloseProducer { producer_id, request_id: 5, ..Default::default() });
    let leave = |consumer_id| frame(CommandCloseConsumer { consumer_id, request_id: 5, ..Default::default() });
    let consumer = |id| subscribe_frame("public/default/ids", id);
    vec![
        case("producer 0", producer(0), "ProducerSuccess"),
        case("producer 2^64-1", producer(u64::MAX), "ProducerSuccess"),
        case("a producer twice at once", producer(9).repeat(2), "Error ServiceNotReady, ProducerSuccess"),
        case("two producers of one name", [named("same", 1), named("same", 2)].concat(), "ProducerSuccess, Error*"),
        case("a producer closed while it opens", [producer(9), close(9)].concat(), "*"),
        case("a producer closed twice", [close(1), close(1)].concat(), "Success, Success"),
        case("somebody else's producer", close(0), "Success"),
        case("consumer 0", consumer(0), "Success"),
        case("a consumer twice at once", consumer(9).repeat(2), "Error ServiceNotReady, Success"),
        case("a consumer closed while it opens", [consumer(9), leave(9)].concat(), "*"),
        case("a consumer closed twice", [leave(1), leave(1)].concat(), "Success, Success"),
        case("a request number twice", lookup().repeat(2), "LookupResponse, LookupResponse"),
    ]
}

#[tokio::test]
async fn an_id_is_its_connections_own() {
    let mut scene = Scene::set().await;
    scene.plays(cases(), async |scene, _| scene.greeted().await).await;
    scene.end().await;
}

#[tokio::test]
async fn unknown_ids_are_answered_or_ignored_but_never_believed() {
    let scene = Scene::set().await;
    let (id, request_id) = (u64::MAX, 7);
    let mut raw = scene.greeted().await;
    let none = MessageIdData { ledger_id: 1 << 60, entry_id: 3, ..Default::default() };
    raw.write(&frame(CommandFlow { consumer_id: id, message_permits: u32::MAX })).await;
    raw.write(&frame(CommandAck { consumer_id: id, message_id: vec![none.clone(); 1000], ..Default::default() })).await;
    raw.write(&frame(CommandRedeliverUnacknowledgedMessages { consumer_id: id, ..Default::default() })).await;
    raw.write(&frame(CommandPing {})).await;
    raw.answer(Type::Pong).await;
    raw.write(&frame(CommandCloseProducer { producer_id: id, request_id, ..Default::default() })).await;
    assert_eq!(raw.answer(Type::Success).await.success.expect("of this type").request_id, request_id);
    raw.write(&frame(CommandCloseConsumer { consumer_id: id, request_id, ..Default::default() })).await;
    assert_eq!(raw.answer(Type::Success).await.success.expect("of this type").request_id, request_id);
    raw.write(&frame(CommandUnsubscribe { consumer_id: id, request_id, ..Default::default() })).await;
    assert_eq!(raw.answer(Type::Error).await.error.expect("of this type").request_id, request_id);
    raw.write(&frame(CommandGetLastMessageId { consumer_id: id, request_id })).await;
    assert_eq!(raw.answer(Type::Error).await.error.expect("of this type").request_id, request_id);
    raw.write(&send_frame(id, 0, b"payload")).await;
    raw.is_refused("SEND of an unknown producer").await;
    scene.end().await;
}

#[tokio::test]
async fn commands_that_are_not_built_get_a_clean_error() {
    let scene = Scene::set().await;
    let mut raw = scene.greeted().await;
    raw.write(&subscribe_frame(TOPIC, 1)).await;
    raw.answer(Type::Success).await;
    raw.write(&frame(CommandSeek { consumer_id: 1, request_id: 8, ..Default::default() })).await;
    assert_eq!(raw.answer(Type::Error).await.error.expect("of this type").request_id, 8);
    raw.write(&frame(CommandNewTxn { request_id: 9, ..Default::default() })).await;
    let refused = raw.next_answer().await;
    assert!(matches!(refused.r#type(), Type::Error | Type::NewTxnResponse), "{refused:?}");
    raw.write(&frame(CommandPing {})).await;
    raw.answer(Type::Pong).await;
    scene.end().await;
}
