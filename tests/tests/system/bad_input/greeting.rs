//! Section 4 and 15: who may say what, and when.
use super::*;

#[tokio::test]
async fn commands_before_the_greeting_are_refused() {
    let scene = Scene::set().await;
    let lookup = CommandLookupTopic { topic: TOPIC.into(), request_id: 1, ..Default::default() };
    let early = [
        ("LOOKUP", frame(lookup)),
        ("PRODUCER", producer_frame(TOPIC, 1)),
        ("SUBSCRIBE", subscribe_frame(TOPIC, 1)),
        ("SEND", send_frame(1, 0, b"payload")),
        ("FLOW", frame(CommandFlow { consumer_id: 1, message_permits: 1 })),
    ];
    for (name, bytes) in early {
        let mut raw = scene.connect().await;
        raw.write(&bytes).await;
        raw.is_refused(&format!("{name} before CONNECT")).await;
    }
    scene.end().await;
}

fn from_servers() -> Vec<Case> {
    let kinds = [
        Type::Connected,
        Type::SendReceipt,
        Type::SendError,
        Type::Message,
        Type::Success,
        Type::Error,
        Type::ProducerSuccess,
        Type::PartitionedMetadataResponse,
        Type::LookupResponse,
        Type::ConsumerStatsResponse,
        Type::ReachedEndOfTopic,
        Type::GetLastMessageIdResponse,
        Type::ActiveConsumerChange,
        Type::GetTopicsOfNamespaceResponse,
        Type::GetSchemaResponse,
        Type::AuthChallenge,
        Type::AckResponse,
        Type::GetOrCreateSchemaResponse,
        Type::NewTxnResponse,
        Type::WatchTopicListSuccess,
        Type::WatchTopicUpdate,
    ];
    let of = |kind: Type| {
        case(format!("{kind:?}"), frame(BaseCommand { r#type: kind.into(), ..Default::default() }), "closed")
    };
    let mut cases: Vec<Case> = kinds.into_iter().map(of).collect();
    let with_body = CommandConnected { server_version: "x".into(), ..Default::default() };
    cases.push(case("CONNECTED with a body", frame(with_body), "closed"));
    cases.push(case("a second CONNECT", connect_frame(), "Error UnknownError, closed"));
    cases.push(case(
        "AUTH_RESPONSE unasked",
        frame(BaseCommand { r#type: Type::AuthResponse.into(), ..Default::default() }),
        "",
    ));
    cases
}

#[tokio::test]
async fn what_only_servers_say_is_refused() {
    let mut scene = Scene::set().await;
    scene.plays(from_servers(), async |scene, _| scene.greeted().await).await;
    scene.end().await;
}

fn greetings() -> Vec<Case> {
    let hello = |name: &str, change: &dyn Fn(&mut CommandConnect), expected| {
        let mut connect =
            CommandConnect { client_version: "raw".into(), protocol_version: Some(21), ..Default::default() };
        change(&mut connect);
        case(name, frame(connect), expected)
    };
    let flags = FeatureFlags {
        supports_auth_refresh: Some(true),
        supports_broker_entry_metadata: Some(true),
        ..Default::default()
    };
    vec![
        hello("protocol 0", &|connect| connect.protocol_version = Some(0), "Connected"),
        hello("protocol 999", &|connect| connect.protocol_version = Some(999), "Connected"),
        hello("protocol -1", &|connect| connect.protocol_version = Some(-1), "Connected"),
        hello("no protocol", &|connect| connect.protocol_version = None, "Connected"),
        hello("a version of 50 kB", &|connect| connect.client_version = "v".repeat(50_000), "Connected"),
        hello("a version of 70 kB", &|connect| connect.client_version = "v".repeat(70_000), "closed"),
        hello("features that it has not", &|connect| connect.feature_flags = Some(flags), "Connected"),
        hello(
            "an unknown way to prove itself",
            &|connect| connect.auth_method_name = Some("nonsense".into()),
            "Connected",
        ),
        hello("an unknown number of a way", &|connect| connect.auth_method = Some(77), "Connected"),
        hello("1 MiB of proof", &|connect| connect.auth_data = Some(vec![0; 1 << 20].into()), "closed"),
        hello("on behalf of another", &|connect| connect.original_principal = Some("admin".into()), "Connected"),
    ]
}

#[tokio::test]
async fn every_greeting_is_returned_or_refused() {
    let mut scene = Scene::set().await;
    scene.plays(greetings(), async |scene, _| scene.connect().await).await;
    scene.end().await;
}
