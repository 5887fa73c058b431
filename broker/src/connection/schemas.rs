//! Schemas: GET_SCHEMA, GET_OR_CREATE_SCHEMA, and those that producers and consumers bring.
use proto::TopicName;
use proto::pulsar::schema::Type;
use proto::pulsar::{
    CommandGetOrCreateSchema, CommandGetOrCreateSchemaResponse, CommandGetSchema, CommandGetSchemaResponse, KeyValue,
    Schema, ServerError,
};
use proto::records::SchemaRecord;

use super::errors::{Answer, answer};
use super::lookup::done;
use super::producer::{open_topic, wanted};
use super::session::Session;
use crate::Context;
use crate::policies::Effective;
use crate::schemas::{self, Rules, SchemaError, Strategy};
use crate::topic::TopicHandle;

/// Clients of old versions compare this text, with the missing space.
const WITHOUT: &str = "Producers cannot connect or send message without a schema to topics with a schema\
                       when SchemaValidationEnforced is enabled";

impl Session {
    pub(super) fn get_schema(&mut self, asked: CommandGetSchema) {
        let context = self.house.context.clone();
        self.request(asked.request_id, async move {
            let request_id = asked.request_id;
            done(match find(&context, &asked).await {
                Ok((name, record)) => CommandGetSchemaResponse {
                    request_id,
                    schema_version: Some(version_bytes(record.version)),
                    schema: Some(to_schema(&name, record)),
                    ..Default::default()
                },
                Err((error, message)) => CommandGetSchemaResponse {
                    request_id,
                    error_code: Some(error.into()),
                    error_message: Some(message),
                    ..Default::default()
                },
            })
        });
    }

    pub(super) fn get_or_create_schema(&mut self, asked: CommandGetOrCreateSchema) {
        let context = self.house.context.clone();
        self.request(asked.request_id, async move {
            let request_id = asked.request_id;
            done(match find_or_add(&context, &asked).await {
                Ok(version) => CommandGetOrCreateSchemaResponse {
                    request_id,
                    schema_version: Some(version.map(version_bytes).unwrap_or_default()),
                    ..Default::default()
                },
                Err((error, message)) => CommandGetOrCreateSchemaResponse {
                    request_id,
                    error_code: Some(error.into()),
                    error_message: Some(message),
                    ..Default::default()
                },
            })
        });
    }
}

fn refused(error: SchemaError) -> Answer {
    answer(error.into())
}

/// A version, or the latest, which may be the mark of a deletion.
async fn find(context: &Context, asked: &CommandGetSchema) -> Result<(TopicName, SchemaRecord), Answer> {
    let name: TopicName = asked.topic.parse().map_err(|error: proto::TopicNameError| answer(error.into()))?;
    let incompatible = |text: &str| (ServerError::IncompatibleSchema, text.to_string());
    let version = match asked.schema_version.as_deref() {
        None => None,
        Some([]) => return Err(incompatible("Empty schema version")),
        Some(bytes) => {
            let bytes = <[u8; 8]>::try_from(bytes).map_err(|_| incompatible("a schema version has 8 bytes"))?;
            Some(u64::from_be_bytes(bytes))
        }
    };
    let history = context.schemas.history(&name).await.map_err(refused)?;
    let found = match version {
        Some(version) => history.live().iter().find(|record| record.version == version),
        None => history.last(),
    };
    let found = found.cloned().ok_or((ServerError::TopicNotFound, format!("Topic not found or no-schema {name}")))?;
    Ok((name, found))
}

async fn find_or_add(context: &Context, asked: &CommandGetOrCreateSchema) -> Result<Option<u64>, Answer> {
    let topic = match open_topic(context, &asked.topic, false).await.map_err(answer) {
        Err((ServerError::TopicNotFound, _)) => {
            return Err((ServerError::TopicNotFound, format!("Topic not found {}", asked.topic)));
        }
        topic => topic?,
    };
    let schema = Some(&asked.schema).filter(|schema| schema.r#type != i32::from(Type::None));
    of_producer(context, topic.name(), schema, &wanted(context, &topic).await?).await
}

/// The version of a producer's schema. `None` for a producer without one, if that may be.
pub(super) async fn of_producer(
    context: &Context,
    topic: &TopicName,
    schema: Option<&Schema>,
    wanted: &Effective,
) -> Result<Option<u64>, Answer> {
    let rules = Rules::of(wanted);
    match schema {
        Some(schema) => {
            let schema = schemas::Schema::of_client(schema).map_err(refused)?;
            context.schemas.register(topic, schema, rules).await.map(Some).map_err(refused)
        }
        None if rules.enforced && !context.schemas.history(topic).await.map_err(refused)?.live().is_empty() => {
            Err((ServerError::IncompatibleSchema, WITHOUT.into()))
        }
        None => Ok(None),
    }
}

/// Whether a consumer may attach with its schema. On a topic that nobody has used yet it becomes that of the topic.
pub(super) async fn of_consumer(
    context: &Context,
    topic: &TopicHandle,
    schema: Option<&Schema>,
    wanted: &Effective,
) -> Result<(), Answer> {
    let Some(schema) = schema.filter(|schema| schema.r#type != i32::from(Type::AutoConsume)) else { return Ok(()) };
    let (rules, schemas) = (Rules::of(wanted), &context.schemas);
    let schema = schemas::Schema::of_client(schema).map_err(refused)?;
    let kind = schemas::name(schema.kind);
    if schemas.admits_consumer(topic.name(), schema.clone(), rules).await.map_err(refused)?.is_some() {
        return Ok(());
    }
    match topic.is_in_use().await.map_err(|error| answer(error.into()))? {
        false => schemas.register(topic.name(), schema, rules).await.map(drop).map_err(refused),
        true if rules.strategy == Strategy::AlwaysCompatible => Ok(()),
        true => {
            let text = "Failed to add schema to an active topic with empty(BYTES) schema: new schema type";
            Err((ServerError::IncompatibleSchema, format!("{text} {kind}")))
        }
    }
}

/// As it travels.
pub(super) fn version_bytes(version: u64) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(&version.to_be_bytes())
}

/// Schemas are called by the topic, whatever their producers called them.
fn to_schema(topic: &TopicName, record: SchemaRecord) -> Schema {
    let mut properties: Vec<KeyValue> =
        record.properties.into_iter().map(|(key, value)| KeyValue { key, value }).collect();
    properties.sort_by(|a, b| a.key.cmp(&b.key));
    let topic = topic.partitioned();
    let name = format!("{}/{}", topic.namespace(), topic.local());
    Schema { name, schema_data: record.data, r#type: record.r#type, properties }
}
