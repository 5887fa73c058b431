//! Schemas with Pulsar's own Java tools: what its client resolves for itself, and what its administration sends.
use std::path::Path;

use tests::cluster::Servers;

use crate::directory;
use crate::programs::JavaTools;

const ONE: &str = r#"{"type":"record","name":"A","fields":[{"name":"a","type":"int"}]}"#;
const TWO: &str =
    r#"{"type":"record","name":"A","fields":[{"name":"a","type":"int"},{"name":"b","type":"int","default":7}]}"#;

/// A consumer that knows no schema reads two versions of one, each with the schema it was written with.
async fn auto_consume_reads_every_version(java: &JavaTools) {
    let topic = "persistent://public/default/java-versions";
    for (schema, message) in [(ONE, r#"{"a":1}"#), (TWO, r#"{"a":2,"b":3}"#)] {
        let schema = format!("avro:{schema}");
        java.client(&["produce", topic, "-vs", &schema, "-s", "#", "-m", message]).await;
    }
    let printed = java.client(&["consume", topic, "-s", "s", "-p", "Earliest", "-n", "2", "-st", "auto_consume"]).await;
    for expected in ["content:{a=1}", "content:{a=2, b=3}"] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
    let shown = java.admin(&["schemas", "get", topic, "-a"]).await;
    assert_eq!(shown.matches("\"AVRO\"").count(), 2, "{shown}");
}

async fn keys_and_values_keep_their_schemas(java: &JavaTools) {
    let topic = "persistent://public/default/java-pairs";
    let value = format!("json:{ONE}");
    let pair = ["produce", topic, "-ks", "string", "-vs", &value, "-kvet", "inline", "-k", "key", "-m", r#"{"a":5}"#];
    java.client(&pair).await;
    let printed = java.client(&["consume", topic, "-s", "s", "-p", "Earliest", "-n", "1", "-st", "auto_consume"]).await;
    assert!(printed.contains("value={a=5}"), "{printed}");
    let shown = java.admin(&["schemas", "get", topic]).await;
    assert!(shown.contains("KEY_VALUE"), "{shown}");
}

async fn the_administration_adds_compares_and_deletes(java: &JavaTools, place: &Path) {
    let topic = "persistent://public/default/java-admin";
    let file = |name: &str, schema: &str| {
        let path = place.join(name);
        let payload = serde_json::json!({"type": "AVRO", "schema": schema, "properties": {}});
        std::fs::write(&path, payload.to_string()).expect("written");
        path.to_str().expect("a plain name").to_owned()
    };
    let (one, two) = (file("one.json", ONE), file("two.json", TWO));
    java.admin(&["schemas", "upload", topic, "--filename", &one]).await;
    java.admin(&["schemas", "compatibility", topic, "--filename", &two]).await; // It prints nothing unless it fails.
    let shown = java.admin(&["schemas", "get", topic, "--version", "0"]).await;
    assert!(shown.contains("\"a\""), "{shown}");
    java.admin(&["schemas", "delete", topic]).await;
    java.admin(&["schemas", "upload", topic, "--filename", &two]).await;
    let shown = java.admin(&["schemas", "get", topic]).await;
    assert!(shown.contains("\"b\""), "{shown}");
}

#[tokio::test]
async fn pulsars_own_java_tools_keep_schemas() {
    let place = directory();
    let servers = Servers::one(place.path()).await.expect("standalone starts");
    let Some(java) = JavaTools::against(&servers, place.path()) else { return };
    auto_consume_reads_every_version(&java).await;
    keys_and_values_keep_their_schemas(&java).await;
    the_administration_adds_compares_and_deletes(&java, place.path()).await;
}
