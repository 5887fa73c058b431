//! Schemas that producers and consumers bring.
use serde_json::json;

use super::*;

fn schema(kind: schema::Type, data: &str) -> Option<Schema> {
    let data = Bytes::copy_from_slice(data.as_bytes());
    Some(Schema { name: "s".into(), schema_data: data, r#type: kind.into(), properties: vec![] })
}

pub(super) fn avro(fields: &[&str]) -> Option<Schema> {
    let fields: Vec<_> = fields.iter().map(|name| json!({"name": name, "type": "int"})).collect();
    schema(schema::Type::Avro, &json!({"type": "record", "name": "A", "fields": fields}).to_string())
}

impl Client {
    pub(super) async fn producer_with(&mut self, id: u64, schema: Option<Schema>) {
        let command =
            CommandProducer { topic: TOPIC.into(), producer_id: id, request_id: id, schema, ..Default::default() };
        self.send(command).await;
    }

    async fn produces_with(&mut self, id: u64, schema: Option<Schema>) -> Bytes {
        self.producer_with(id, schema).await;
        self.expect(Type::ProducerSuccess).await.producer_success.unwrap().schema_version.unwrap()
    }

    pub(super) async fn consumer_with(&mut self, id: u64, schema: Option<Schema>) {
        let mut command = subscription_command(&format!("s{id}"), SubType::Shared, id);
        (command.request_id, command.schema) = (id, schema);
        self.send(command).await;
    }

    pub(super) async fn get_schema(&mut self, version: Option<&[u8]>) -> CommandGetSchemaResponse {
        let schema_version = version.map(Bytes::copy_from_slice);
        self.send(CommandGetSchema { request_id: 1, topic: TOPIC.into(), schema_version }).await;
        self.expect(Type::GetSchemaResponse).await.get_schema_response.unwrap()
    }

    async fn get_or_create(&mut self, topic: &str, schema: Option<Schema>) -> CommandGetOrCreateSchemaResponse {
        let schema = schema.unwrap();
        self.send(CommandGetOrCreateSchema { request_id: 1, topic: topic.into(), schema, ..Default::default() }).await;
        self.expect(Type::GetOrCreateSchemaResponse).await.get_or_create_schema_response.unwrap()
    }
}

#[tokio::test]
async fn schemas_are_kept_echoed_and_compared() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    let missing = client.get_schema(None).await;
    let expected = (ServerError::TopicNotFound, format!("Topic not found or no-schema {TOPIC}"));
    assert_eq!((missing.error_code(), missing.error_message().to_string()), expected);
    assert_eq!(client.produces_with(1, None).await, "", "no schema has no version");
    for id in [2, 3] {
        assert_eq!(client.produces_with(id, avro(&["a"])).await, [0_u8; 8][..]);
    }
    client.producer_with(4, avro(&["b"])).await;
    let text = client.expect_error(4, ServerError::IncompatibleSchema).await;
    assert!(
        text.starts_with("Error during schema compatibility check with strategy FULL: Unable to read schema"),
        "{text}"
    );
    client.producer_with(5, schema(schema::Type::AutoConsume, "")).await;
    client.expect_error(5, ServerError::IncompatibleSchema).await;
    for version in [None, Some(&[0_u8; 8][..])] {
        let found = client.get_schema(version).await;
        assert_eq!(found.schema_version(), [0; 8]);
        let found = found.schema.unwrap();
        assert_eq!((found.name.as_str(), found.r#type()), ("public/default/orders", schema::Type::Avro));
        assert_eq!(Some(found.schema_data), avro(&["a"]).map(|schema| schema.schema_data));
    }
    for (version, error) in [
        (&[0, 0, 0, 0, 0, 0, 0, 1][..], ServerError::TopicNotFound),
        (&[][..], ServerError::IncompatibleSchema),
        (&[1, 2, 3][..], ServerError::IncompatibleSchema),
    ] {
        assert_eq!(client.get_schema(Some(version)).await.error_code(), error, "{version:?}");
    }
}

#[tokio::test]
async fn get_or_create_schema_adds_to_topics_that_are_there() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    let unknown = client.get_or_create(TOPIC, avro(&["a"])).await;
    assert_eq!(
        (unknown.error_code(), unknown.error_message()),
        (ServerError::TopicNotFound, &*format!("Topic not found {TOPIC}"))
    );
    client.produces_with(1, None).await;
    for _ in 0..2 {
        assert_eq!(client.get_or_create(TOPIC, avro(&["a"])).await.schema_version(), [0; 8]);
    }
    assert_eq!(client.get_or_create(TOPIC, avro(&["b"])).await.error_code(), ServerError::IncompatibleSchema);
    assert_eq!(client.get_or_create(TOPIC, schema(schema::Type::None, "")).await.schema_version(), b"");
}

#[tokio::test]
async fn a_consumer_that_takes_any_schema_brings_none_and_is_in_nobodys_way() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.consumer_with(1, schema(schema::Type::AutoConsume, "")).await;
    client.expect_success(1).await;
    assert_eq!(client.get_schema(None).await.error_code(), ServerError::TopicNotFound);
    client.consumer_with(2, avro(&["a"])).await;
    client.expect_success(2).await;
    assert_eq!(client.get_schema(None).await.schema_version(), [0; 8], "it is the first who cares");
    client.consumer_with(3, schema(schema::Type::AutoConsume, "")).await;
    client.expect_success(3).await;
    client.consumer_with(4, schema(schema::Type::None, "")).await;
    let text = client.expect_error(4, ServerError::IncompatibleSchema).await;
    assert_eq!(text, "Incompatible schema: exists schema type AVRO, new schema type NONE");
    client.consumer_with(5, None).await;
    client.expect_success(5).await;
}

#[tokio::test]
async fn a_topic_in_use_without_a_schema_takes_no_consumers_with_one() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.consumer_with(1, None).await;
    client.expect_success(1).await;
    client.consumer_with(2, avro(&["a"])).await;
    let text = client.expect_error(2, ServerError::IncompatibleSchema).await;
    assert_eq!(text, "Failed to add schema to an active topic with empty(BYTES) schema: new schema type AVRO");
    broker.of_namespace(&[("schema_compatibility_strategy", json!("ALWAYS_COMPATIBLE"))]).await;
    client.consumer_with(3, avro(&["a"])).await;
    client.expect_success(3).await;
    assert_eq!(client.get_schema(None).await.error_code(), ServerError::TopicNotFound, "it adds none");
}

#[tokio::test]
async fn enforcement_keeps_producers_without_a_schema_out() {
    let broker = Broker::start().await;
    broker
        .of_namespace(&[("schema_validation_enforced", json!(true)), ("is_allow_auto_update_schema", json!(false))])
        .await;
    let mut client = broker.client().await;
    assert_eq!(client.produces_with(1, None).await, "", "there is no schema yet");
    client.producer_with(2, avro(&["a"])).await;
    let text = client.expect_error(2, ServerError::IncompatibleSchema).await;
    assert_eq!(text, "Schema not found and schema auto updating is disabled.");
    broker.of_namespace(&[("schema_validation_enforced", json!(true))]).await;
    assert_eq!(client.produces_with(3, avro(&["a"])).await, [0_u8; 8][..]);
    client.producer_with(4, None).await;
    let text = client.expect_error(4, ServerError::IncompatibleSchema).await;
    assert_eq!(
        text,
        "Producers cannot connect or send message without a schema to topics with a schemawhen SchemaValidationEnforced is enabled"
    );
}

/// Goal: what a schema holds hurts nobody. Method: the worst ones, and a producer on the same connection that goes on.
#[tokio::test]
async fn hostile_schemas_get_an_answer_each_and_cost_nothing_else() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.producer(TOPIC, 1).await;
    let deep = r#"{"type":"array","items":"#.repeat(20_000);
    let large = "x".repeat(3 << 20);
    let descriptors = r#"{"fileDescriptorSet":"////","rootMessageTypeName":"","rootFileDescriptorName":""}"#;
    let rows = [
        (schema::Type::Avro, deep.as_str()),
        (schema::Type::Avro, large.as_str()),
        (schema::Type::Json, "\u{0}"),
        (schema::Type::KeyValue, "\u{7f}\u{7f}\u{7f}\u{7f}"),
        (schema::Type::ProtobufNative, descriptors),
        (schema::Type::Double, "x"),
        (schema::Type::External, ""),
    ];
    for (number, (kind, data)) in (10..).zip(rows) {
        client.producer_with(number, schema(kind, data)).await;
        client.expect_error(number, ServerError::IncompatibleSchema).await;
        client.consumer_with(number, schema(kind, data)).await;
        client.expect_error(number, ServerError::IncompatibleSchema).await;
    }
    client.producer_with(9, Some(Schema { r#type: 99, ..schema(schema::Type::Avro, "").unwrap() })).await;
    client.expect_error(9, ServerError::IncompatibleSchema).await;
    client.publish(1, 0, "goes on").await;
}
