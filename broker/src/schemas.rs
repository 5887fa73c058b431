//! The schemas of topics, one record per version, shared by all partitions of a topic.
use std::sync::Arc;

use metadata::{Error, Expect, Key, MetadataStore, Operation, Transaction};
use prost::Message;
use proto::pulsar::schema::Type;
use proto::records::SchemaRecord;
use proto::{TopicName, keys};

use crate::Clock;

/// Why a schema was not registered or found.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum SchemaError {
    /// The topic has another schema, and rules for changing one are not there yet.
    #[error("the topic has another schema and schema evolution is not supported yet")]
    Incompatible,
    /// Ask again.
    #[error("metadata: {0}")]
    Metadata(#[from] Error),
}

/// Registers and finds schemas. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Schemas {
    metadata: Arc<dyn MetadataStore>,
    clock: Clock,
}

/// More versions than any topic has before schema evolution is built.
const PAGE: usize = 100;

impl Schemas {
    /// Keeps schemas in `metadata`.
    pub(crate) fn new(metadata: Arc<dyn MetadataStore>, clock: Clock) -> Self {
        Self { metadata, clock }
    }

    /// The version under which `schema` is stored, stored now if it is the first. `None` for a schema that asks for nothing.
    pub(crate) async fn register(
        &self,
        topic: &TopicName,
        schema: &proto::pulsar::Schema,
    ) -> Result<Option<u64>, SchemaError> {
        if matches!(schema.r#type(), Type::None | Type::AutoConsume) {
            return Ok(None);
        }
        let topic = topic.partitioned();
        let same = |record: &SchemaRecord| record.r#type == schema.r#type && record.data == schema.schema_data;
        loop {
            let versions = self.versions(&topic).await?;
            if let Some(found) = versions.iter().find(|record| same(record)) {
                return Ok(Some(found.version));
            }
            if !versions.is_empty() {
                return Err(SchemaError::Incompatible);
            }
            let record = self.first(schema);
            let put = Operation::put(keys::schema(&topic, record.version), record.encode_to_vec(), Expect::Absent);
            match self.metadata.commit(Transaction::new(vec![put])).await {
                Ok(_) => return Ok(Some(record.version)),
                Err(Error::Conflict { .. }) => {} // Someone else was first: compare with theirs.
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn first(&self, schema: &proto::pulsar::Schema) -> SchemaRecord {
        let properties = schema.properties.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect();
        SchemaRecord {
            version: 0,
            r#type: schema.r#type,
            name: schema.name.clone(),
            data: schema.schema_data.clone(),
            properties,
            created_at: self.clock.now_ms(),
        }
    }

    /// A version, or the latest.
    pub(crate) async fn get(
        &self,
        topic: &TopicName,
        version: Option<u64>,
    ) -> Result<Option<SchemaRecord>, SchemaError> {
        let topic = topic.partitioned();
        match version {
            Some(version) => {
                let record = self.metadata.get(&Key::from(keys::schema(&topic, version))).await?;
                record.as_ref().map(decode).transpose()
            }
            None => Ok(self.versions(&topic).await?.pop()),
        }
    }

    /// All versions, oldest first.
    pub(crate) async fn versions(&self, topic: &TopicName) -> Result<Vec<SchemaRecord>, SchemaError> {
        let page = self.metadata.list(&keys::schemas(&topic.partitioned()), None, PAGE).await?;
        page.records.iter().map(decode).collect()
    }

    /// Forgets all versions. Called when the topic, with all its partitions, is deleted.
    pub(crate) async fn delete(&self, topic: &TopicName) -> Result<(), SchemaError> {
        let page = self.metadata.list(&keys::schemas(&topic.partitioned()), None, PAGE).await?;
        let deletes: Vec<_> =
            page.records.into_iter().map(|record| Operation::delete(record.key, Expect::Any)).collect();
        if !deletes.is_empty() {
            self.metadata.commit(Transaction::new(deletes)).await?;
        }
        Ok(())
    }
}

fn decode(record: &metadata::Record) -> Result<SchemaRecord, SchemaError> {
    SchemaRecord::decode(record.value.clone()).map_err(|_| Error::Corrupt { key: record.key.clone() }.into())
}
