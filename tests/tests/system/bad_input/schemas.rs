//! Section 13: schemas, lists and patterns, and what is not there.
use super::*;

fn schemas() -> Vec<Case> {
    let answered = "GetOrCreateSchemaResponse*"; // The registry decides; what counts here is that it does.
    let register = |name: &str, kind: i32, data: &[u8]| {
        let schema = Schema { name: "s".into(), schema_data: data.to_vec().into(), r#type: kind, properties: vec![] };
        let topic = format!("public/default/schema-{}", name.replace(' ', "-"));
        case(
            format!("schema: {name}"),
            frame(CommandGetOrCreateSchema { request_id: 3, topic, schema, ..Default::default() }),
            answered,
        )
    };
    let get = |name: &str, topic: &str, version: Option<&[u8]>, expected| {
        let schema_version = version.map(|bytes| bytes.to_vec().into());
        case(name, frame(CommandGetSchema { request_id: 3, topic: topic.into(), schema_version }), expected)
    };
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let recursive = br#"{"type":"record","name":"a","fields":[{"name":"a","type":"a"}]}"#;
    let many = format!(r#"{{"type":"enum","name":"e","symbols":["{}"]}}"#, vec!["s"; 100_000].join(r#"",""#));
    vec![
        register("4 MiB", 2, &vec![b'x'; 4 << 20]),
        register("recursive avro", 4, recursive),
        register("100 000 deep", 4, deep.as_bytes()),
        register("100 000 symbols", 4, many.as_bytes()),
        register("no json", 2, b"{"),
        register("no utf8", 2, &[0xff, 0xfe]),
        register("empty avro", 4, b""),
        register("kind 99", 99, b"{}"),
        register("kind of all ones", -1, b"{}"),
        get("schema of nothing", "public/default/none", None, "GetSchemaResponse TopicNotFound"),
        get("schema of a name that is none", "a/b", None, "GetSchemaResponse InvalidTopicName"),
        get("version of 3 bytes", "public/default/none", Some(&[1, 2, 3]), "GetSchemaResponse*"),
        get("version of all ones", "public/default/none", Some(&[0xff; 8]), "GetSchemaResponse TopicNotFound"),
    ]
}

/// Patterns on which a careless engine takes ages.
fn patterns() -> Vec<(String, &'static str)> {
    let catastrophic = ["(a*)*b", "(a|aa)+$", "(.*)*(.*)*(.*)*x", "persistent://public/default/(a+)+b", "(?=(a+)+b)a*"];
    let mut all: Vec<_> = catastrophic.map(|pattern| (pattern.to_owned(), "*")).into();
    all.extend([("(".into(), "Error*"), ("[".into(), "Error*"), ("a{1000}{1000}{1000}".into(), "*")]);
    all.push(("x".repeat(100_000), "Error*"));
    all
}

fn lists() -> Vec<Case> {
    let namespace = || "public/default".to_owned();
    let mut cases = Vec::new();
    for (pattern, expected) in patterns() {
        let shown: String = pattern.chars().take(40).collect();
        let (topics_pattern, request_id) = (Some(pattern.clone()), 3);
        let list =
            CommandGetTopicsOfNamespace { request_id, namespace: namespace(), topics_pattern, ..Default::default() };
        cases.push(case(
            format!("list of {shown}"),
            frame(list),
            "*", // Apache Pulsar lists all topics where it cannot read a pattern.
        ));
        let watch =
            CommandWatchTopicList { request_id, namespace: namespace(), topics_pattern: pattern, ..Default::default() };
        cases.push(case(format!("watch of {shown}"), frame(watch), expected));
    }
    let list = |namespace: &str, mode| {
        frame(CommandGetTopicsOfNamespace { request_id: 3, namespace: namespace.into(), mode, ..Default::default() })
    };
    cases.extend([
        case("list of no namespace", list("", None), "Error*"),
        case("list of half a namespace", list("public", None), "Error*"),
        case("list of a namespace that is not there", list("public/none", None), "*"),
        case("list in mode 9", list("public/default", Some(9)), "GetTopicsOfNamespaceResponse"),
        case(
            "end of a watch that never began",
            frame(CommandWatchTopicListClose { request_id: 3, watcher_id: 9 }),
            "Success",
        ),
    ]);
    cases
}

fn transactions() -> Vec<Case> {
    let plain = |kind: Type| frame(BaseCommand { r#type: kind.into(), ..Default::default() });
    vec![
        case("a transaction", frame(CommandNewTxn { request_id: 9, ..Default::default() }), "NewTxnResponse*"),
        case("a transaction without a body", plain(Type::NewTxn), "NewTxnResponse*"),
        case("the end of a transaction", plain(Type::EndTxn), "EndTxnResponse*"),
        case("a partition for a transaction", plain(Type::AddPartitionToTxn), "AddPartitionToTxnResponse*"),
        case("a subscription for a transaction", plain(Type::AddSubscriptionToTxn), "AddSubscriptionToTxnResponse*"),
        case("a coordinator", plain(Type::TcClientConnectRequest), "TcClientConnectResponse*"),
    ]
}

#[tokio::test]
async fn schemas_lists_and_transactions_are_answered_in_time() {
    let mut scene = Scene::set().await;
    let long = format!("public/default/{}", "a".repeat(200));
    let mut raw = scene.producing(&long).await; // What the patterns are matched against.
    scene.plays([schemas(), lists(), transactions()].concat(), async |scene, _| scene.greeted().await).await;
    raw.write(&frame(CommandPing {})).await;
    raw.answer(Type::Pong).await;
    scene.end().await;
}
