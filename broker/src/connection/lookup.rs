//! Who serves a topic, what a namespace holds, and schemas.
use std::sync::Arc;

use proto::pulsar::command_get_topics_of_namespace::Mode;
use proto::pulsar::{
    BaseCommand, CommandGetOrCreateSchema, CommandGetOrCreateSchemaResponse, CommandGetSchema,
    CommandGetSchemaResponse, CommandGetTopicsOfNamespace, CommandGetTopicsOfNamespaceResponse, CommandLookupTopic,
    CommandLookupTopicResponse, CommandPartitionedTopicMetadata, CommandPartitionedTopicMetadataResponse, KeyValue,
    Schema, ServerError, command_lookup_topic_response, command_partitioned_topic_metadata_response,
};
use proto::records::SchemaRecord;
use proto::{NamespaceName, TopicName};

use super::errors::{Answer, Fault, answer, answer_to_lookup};
use super::session::{Done, Session};
use crate::Context;
use crate::namespaces::{NamespaceError, TopicMode};
use crate::ownership::Owner;

fn done(command: impl Into<BaseCommand>) -> Done {
    Done::Answer(Box::new(command.into()))
}

impl Session {
    pub(super) fn client(&self) -> Arc<crate::outbox::Client> {
        self.client.clone().expect("no command is handled before CONNECT")
    }

    pub(super) fn lookup(&mut self, lookup: CommandLookupTopic) {
        let (context, client) = (self.house.context.clone(), self.client());
        self.request(lookup.request_id, async move {
            let found = owner(&context, &lookup).await.map_err(|fault| match fault {
                Refused::Fault(fault) => answer_to_lookup(fault, &client),
                Refused::Answer(answer) => answer,
            });
            done(match found {
                Ok((url, proxied)) => CommandLookupTopicResponse {
                    broker_service_url: Some(url),
                    response: Some(command_lookup_topic_response::LookupType::Connect.into()),
                    request_id: lookup.request_id,
                    authoritative: Some(true),
                    proxy_through_service_url: Some(proxied),
                    ..Default::default()
                },
                Err((error, message)) => CommandLookupTopicResponse {
                    response: Some(command_lookup_topic_response::LookupType::Failed.into()),
                    request_id: lookup.request_id,
                    error: Some(error.into()),
                    message: Some(message),
                    ..Default::default()
                },
            })
        });
    }

    pub(super) fn partition_metadata(&mut self, asked: CommandPartitionedTopicMetadata) {
        let (context, client) = (self.house.context.clone(), self.client());
        self.request(asked.request_id, async move {
            let count = async {
                let name: TopicName = asked.topic.parse()?;
                let create = asked.metadata_auto_creation_enabled();
                Ok::<_, Fault>(context.namespaces.partition_metadata(&name, create).await?)
            };
            use command_partitioned_topic_metadata_response::LookupType;
            let request_id = asked.request_id;
            done(match count.await.map_err(|fault| answer_to_lookup(fault, &client)) {
                Ok(partitions) => CommandPartitionedTopicMetadataResponse {
                    partitions: Some(partitions),
                    request_id,
                    response: Some(LookupType::Success.into()),
                    ..Default::default()
                },
                Err((error, message)) => CommandPartitionedTopicMetadataResponse {
                    request_id,
                    response: Some(LookupType::Failed.into()),
                    error: Some(error.into()),
                    message: Some(message),
                    ..Default::default()
                },
            })
        });
    }

    pub(super) fn topics_of_namespace(&mut self, asked: CommandGetTopicsOfNamespace) {
        let context = self.house.context.clone();
        self.request(asked.request_id, async move {
            let request_id = asked.request_id;
            match topics(&context, &asked).await.map_err(answer) {
                Ok(topics) => {
                    let hash = topics_hash(&topics);
                    let changed = asked.topics_hash.as_ref() != Some(&hash);
                    done(CommandGetTopicsOfNamespaceResponse {
                        request_id,
                        topics: if changed { topics } else { Vec::new() },
                        filtered: Some(false), // Patterns are the client's to apply.
                        topics_hash: Some(hash),
                        changed: Some(changed),
                    })
                }
                Err((error, message)) => done(proto::pulsar::CommandError { request_id, error: error.into(), message }),
            }
        });
    }

    pub(super) fn get_schema(&mut self, asked: CommandGetSchema) {
        let context = self.house.context.clone();
        self.request(asked.request_id, async move {
            let request_id = asked.request_id;
            done(match schema(&context, &asked).await {
                Ok(record) => CommandGetSchemaResponse {
                    request_id,
                    schema_version: Some(version_bytes(record.version)),
                    schema: Some(to_schema(record)),
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
            let version = async {
                let name: TopicName = asked.topic.parse()?;
                Ok::<_, Fault>(context.schemas.register(&name, &asked.schema).await?)
            };
            done(match version.await.map_err(answer) {
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

enum Refused {
    Fault(Fault),
    Answer(Answer),
}

impl<E: Into<Fault>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Fault(error.into())
    }
}

/// The URL of the broker that serves a topic, and whether the client should rather come back the way it came.
async fn owner(context: &Context, lookup: &CommandLookupTopic) -> Result<(String, bool), Refused> {
    let name: TopicName = lookup.topic.parse()?;
    let owner = context.ownership.lookup(&name).await?;
    let listener = lookup.advertised_listener_name();
    if !listener.is_empty() {
        let record = match &owner {
            Owner::Here => context.ownership.me(),
            Owner::At(record) => record,
        };
        // Clients compare this text.
        let unknown =
            || Refused::Answer((ServerError::ServiceNotReady, format!("the broker do not have {listener} listener")));
        return Ok((format!("pulsar://{}", record.listeners.get(listener).ok_or_else(unknown)?), false));
    }
    let (broker, proxied) = match owner {
        // Reachable under whatever name and port the client used: it knows them, the broker does not.
        Owner::Here => (context.broker.clone(), context.standalone && context.config.advertised_address.is_empty()),
        Owner::At(record) => (record.broker, false),
    };
    Ok((format!("pulsar://{broker}"), proxied))
}

/// Sorted, without those that belong to the system. A namespace that does not exist has none.
async fn topics(context: &Context, asked: &CommandGetTopicsOfNamespace) -> Result<Vec<String>, Fault> {
    let namespace: NamespaceName = asked.namespace.parse()?;
    let mode = match asked.mode() {
        Mode::Persistent => TopicMode::Persistent,
        Mode::NonPersistent => TopicMode::NonPersistent,
        Mode::All => TopicMode::All,
    };
    let mut topics = match context.namespaces.topics(&namespace, mode).await {
        Err(NamespaceError::NamespaceNotFound) => Vec::new(),
        topics => topics?,
    };
    topics.retain(|topic| !topic.rsplit('/').next().is_some_and(|local| local.starts_with("__")));
    topics.sort();
    Ok(topics)
}

/// As clients compute it: CRC32C of the sorted names, printed byte by byte from the lowest.
fn topics_hash(sorted: &[String]) -> String {
    let hash = crc32c::crc32c(sorted.join(",").as_bytes());
    hash.to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn schema(context: &Context, asked: &CommandGetSchema) -> Result<SchemaRecord, Answer> {
    let name: TopicName = asked.topic.parse().map_err(|error: proto::TopicNameError| answer(error.into()))?;
    let version = match asked.schema_version.as_deref() {
        None => None,
        Some(bytes) => match <[u8; 8]>::try_from(bytes) {
            Ok(bytes) => Some(u64::from_be_bytes(bytes)),
            Err(_) => return Err((ServerError::IncompatibleSchema, "a schema version has 8 bytes".into())),
        },
    };
    let record = context.schemas.get(&name, version).await.map_err(|error| answer(error.into()))?;
    record.ok_or((ServerError::TopicNotFound, "Topic not found or no-schema".into()))
}

/// As it travels.
pub(super) fn version_bytes(version: u64) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(&version.to_be_bytes())
}

fn to_schema(record: SchemaRecord) -> Schema {
    let mut properties: Vec<KeyValue> =
        record.properties.into_iter().map(|(key, value)| KeyValue { key, value }).collect();
    properties.sort_by(|a, b| a.key.cmp(&b.key));
    Schema { name: record.name, schema_data: record.data, r#type: record.r#type, properties }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_topics_has_its_lowest_byte_first() {
        assert_eq!(topics_hash(&[]), "00000000");
        let value = crc32c::crc32c(b"a,b");
        let expected = format!("{:08x}", value.swap_bytes());
        assert_eq!(topics_hash(&["a".into(), "b".into()]), expected);
    }
}
