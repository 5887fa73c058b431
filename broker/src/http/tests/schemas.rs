//! Pages of schemas.
use super::*;

const X: &str = "/schemas/public/default/x";

fn payload(kind: &str, fields: &[&str]) -> String {
    let fields: Vec<Value> = fields.iter().map(|name| json!({"name": name, "type": "int"})).collect();
    let schema = json!({"type": "record", "name": "A", "fields": fields}).to_string();
    json!({"type": kind, "schema": schema, "properties": {"owner": "me"}}).to_string()
}

#[tokio::test]
async fn schemas_are_added_shown_and_deleted() {
    let broker = broker().await;
    let at = |rest: &str| format!("{X}/{rest}");
    let (schema, version_0, version_9, version_y) = (at("schema"), at("schema/0"), at("schema/9"), at("schema/y"));
    let (a, b) = (payload("AVRO", &["a"]), payload("AVRO", &["b"]));
    broker
        .rows(&[
            ("GET", &schema, "", 404, "Schema not found"),
            ("GET", &at("metadata"), "", 200, ""),
            ("GET", &at("schemas"), "", 200, r#"{"getSchemaResponses":[]}"#),
            ("POST", "/schemas/public/default/x-partition-1/schema", &a, 200, r#"{"version":{"version":0}}"#),
            ("POST", &schema, &a, 200, r#"{"version":{"version":0}}"#),
            ("POST", &schema, &payload("JSON", &["a"]), 409, "Incompatible schema: exists schema type AVRO, new schema type JSON"),
            ("GET", &version_0, "", 200, ""),
            ("GET", &version_9, "", 404, "Schema not found"),
            ("GET", &version_y, "", 400, ""),
            ("POST", &at("version"), &a, 200, r#"{"version":0}"#),
            ("POST", &at("version"), &b, 200, r#"{"version":-1}"#),
            ("POST", &at("compatibility"), &a, 202, r#"{"compatibility":true,"schemaCompatibilityStrategy":"FULL"}"#),
            ("POST", &at("compatibility"), &b, 202, r#"{"compatibility":false,"schemaCompatibilityStrategy":"FULL"}"#),
            ("GET", &at("metadata"), "", 200, r#"{"index":[{"entryId":-1,"ledgerId":-1,"version":0}],"info":{"entryId":-1,"ledgerId":-1,"version":0}}"#),
        ])
        .await;
    let mut shown = broker.json(&schema).await;
    assert!(shown["timestamp"].as_u64() >= Some(1_700_000_000_000));
    shown["timestamp"] = json!(0);
    let data = r#"{"fields":[{"name":"a","type":"int"}],"name":"A","type":"record"}"#;
    assert_eq!(
        shown,
        json!({"version": 0, "type": "AVRO", "timestamp": 0, "data": data, "properties": {"owner": "me"}})
    );
    broker
        .rows(&[
            ("DELETE", &schema, "", 200, r#"{"version":1}"#),
            ("GET", &schema, "", 404, "Schema not found"),
            ("GET", &version_0, "", 404, "Schema not found"),
            ("POST", &schema, &b, 200, r#"{"version":{"version":2}}"#),
            ("DELETE", &at("schema?force=true"), "", 200, r#"{"version":-1}"#),
            ("POST", &schema, &b, 200, r#"{"version":{"version":0}}"#),
        ])
        .await;
}

#[tokio::test]
async fn what_is_no_schema_is_refused() {
    let broker = broker().await;
    let schema = format!("{X}/schema");
    let of = |kind: &str, text: &str| json!({"type": kind, "schema": text}).to_string();
    let client_side = "Schema AUTO_CONSUME is a client-side schema type";
    broker
        .rows(&[
            ("POST", &schema, "", 400, "the body has no `schema`"),
            ("POST", &schema, "x", 400, ""),
            ("POST", &schema, r#"{"schema":""}"#, 400, "the body has no `type`"),
            ("POST", &schema, &of("FOO", ""), 400, "there is no schema type `FOO`"),
            ("POST", &schema, &of("AUTO_CONSUME", ""), 422, client_side),
            ("POST", &schema, &of("KEY_VALUE", "{"), 400, ""),
            ("POST", &schema, &of("INT8", "x"), 422, ""),
            ("POST", &format!("{X}/compatibility"), &of("AVRO", "{"), 422, ""),
            ("POST", "/schemas/public/nowhere/x/schema", &of("STRING", ""), 404, "Namespace does not exist"),
            ("GET", &schema, "", 404, "Schema not found"),
            ("POST", &schema, &of("BYTES", ""), 200, ""),
        ])
        .await;
    assert_eq!(broker.json(&schema).await["type"], "NONE");
}

#[tokio::test]
async fn the_strategy_that_counts_is_shown() {
    let broker = broker().await;
    let topic = "/persistent/public/default/x";
    let (page, applied) =
        (format!("{topic}/schemaCompatibilityStrategy"), format!("{topic}/schemaCompatibilityStrategy?applied=true"));
    broker
        .rows(&[
            ("PUT", topic, "", 204, ""),
            ("GET", &applied, "", 200, "\"FULL\""),
            ("PUT", "/namespaces/public/default/schemaAutoUpdateCompatibilityStrategy", "\"Backward\"", 204, ""),
            ("GET", &applied, "", 200, "\"BACKWARD\""),
            ("PUT", "/namespaces/public/default/schemaCompatibilityStrategy", "\"UNDEFINED\"", 204, ""),
            ("GET", &applied, "", 200, "\"BACKWARD\""),
            ("PUT", "/namespaces/public/default/schemaCompatibilityStrategy", "\"FORWARD\"", 204, ""),
            ("GET", &applied, "", 200, "\"FORWARD\""),
            ("PUT", &page, "\"ALWAYS_COMPATIBLE\"", 204, ""),
            ("GET", &applied, "", 200, "\"ALWAYS_COMPATIBLE\""),
            ("PUT", &page, "\"UNDEFINED\"", 204, ""),
            ("GET", &applied, "", 200, "\"FORWARD\""),
            ("GET", &page, "", 200, ""),
        ])
        .await;
}
