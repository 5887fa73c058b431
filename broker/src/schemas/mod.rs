//! The schemas of topics: which there are, which may follow, and who may attach with one.
//!
//! Owns: one record per version of a topic's schema, shared by all its partitions.
//! Promises: an equal schema has one version; two that add a schema at once get an answer that holds for both; what a schema says
//! costs bounded memory and time, whatever it is.
//! Never: looks into messages.
mod key_value;
mod kind; // What a schema is,
mod native;

mod avro; // what can be read with what,
mod check; // whether it is one,
mod compatible; // whether it may follow others, and by
mod rules; // which rules,

mod history; // what follows from all that,

mod store; // and where they are kept.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::Bytes;
use metadata::Error;
use proto::pulsar::schema::Type;
use proto::records::SchemaRecord;

pub(crate) use key_value::{from_json as key_value_from_json, to_json as key_value_to_json};
pub(crate) use kind::{client_side, name, named};
pub(crate) use rules::{Rules, Strategy};
pub(crate) use store::Schemas;

/// What a producer or consumer says of its messages.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Schema {
    pub(crate) kind: Type,
    pub(crate) name: String,
    pub(crate) data: Bytes,
    pub(crate) properties: BTreeMap<String, String>,
}

impl Schema {
    /// As it came from a client. Kinds that are not known to the protocol are refused.
    pub(crate) fn of_client(schema: &proto::pulsar::Schema) -> Result<Self, SchemaError> {
        let unknown = |_| SchemaError::Invalid(format!("Unknown schema type : {}", schema.r#type));
        Ok(Self {
            kind: Type::try_from(schema.r#type).map_err(unknown)?,
            name: schema.name.clone(),
            data: schema.schema_data.clone(),
            properties: schema.properties.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect(),
        })
    }

    fn of_record(record: &SchemaRecord) -> Self {
        Self {
            kind: Type::try_from(record.r#type).unwrap_or(Type::None),
            name: record.name.clone(),
            data: record.data.clone(),
            properties: record.properties.clone().into_iter().collect(),
        }
    }
}

/// Why a schema is not taken. The texts are those of Apache Pulsar where it has one: clients compare them.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum SchemaError {
    /// It is none.
    #[error("{0}")]
    Invalid(String),
    /// It may not follow those that are there, or read them.
    #[error("{0}")]
    Incompatible(String),
    /// Ask again.
    #[error("metadata: {0}")]
    Metadata(#[from] Error),
}
