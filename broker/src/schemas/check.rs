//! Whether a schema is one, before anything is compared or kept.
use proto::pulsar::schema::Type;
use serde_json::Value;

use super::avro::Avro;
use super::{Schema, SchemaError, client_side, key_value, kind, native};

/// Larger schemas would burden the metadata.
pub(super) const BYTES_MAX: usize = 512 * 1024;

/// Refuses what is no schema.
pub(super) fn check(schema: &Schema) -> Result<(), SchemaError> {
    let invalid = |text: String| Err(SchemaError::Invalid(text));
    let size = size(schema);
    if BYTES_MAX < size {
        return invalid(format!("a schema of {size} bytes, of which {BYTES_MAX} are allowed"));
    }
    if let Some(text) = client_side(kind::name(schema.kind)) {
        return invalid(text);
    }
    match schema.kind {
        Type::Avro | Type::Json | Type::Protobuf => check_record(schema),
        Type::ProtobufNative => match native::root(&schema.data) {
            Some(_) => Ok(()),
            None => invalid("deserialize ProtobufNative Schema failed".into()),
        },
        Type::KeyValue => key_value::halves(schema)?.iter().try_for_each(check),
        // Clients in C++ and Python say `null` where those in Java say nothing.
        Type::String if !schema.data.is_empty() && schema.data != b"null"[..] => {
            let text = String::from_utf8_lossy(&schema.data[..schema.data.len().min(200)]);
            invalid(format!("Invalid schema definition data for string schema : '{text}'"))
        }
        Type::String | Type::None => Ok(()),
        Type::External => invalid("Unknown schema type : EXTERNAL".into()),
        _ if schema.data.is_empty() => Ok(()),
        _ => invalid(format!(
            "Invalid schema definition data for primitive schemas :length of schema data should be zero, but {} bytes is \
             found",
            schema.data.len()
        )),
    }
}

/// What it takes to keep.
pub(super) fn size(schema: &Schema) -> usize {
    let properties = schema.properties.iter().map(|(name, value)| name.len() + value.len() + 16);
    schema.data.len() + schema.name.len() + properties.sum::<usize>()
}

fn check_record(schema: &Schema) -> Result<(), SchemaError> {
    match Avro::parse(&schema.data) {
        Ok(avro) if schema.kind == Type::Avro && avro.is_union() => {
            Err(SchemaError::Invalid("Avro schema typed [UNION] is not supported".into()))
        }
        Ok(_) => Ok(()),
        Err(_) if schema.kind == Type::Json && is_json_schema(&schema.data) => Ok(()),
        Err(error) => {
            let kind = kind::name(schema.kind);
            Err(SchemaError::Invalid(format!("Invalid schema definition data for {kind} schema caused by {error}")))
        }
    }
}

/// What clients before version 2.1 sent for JSON. It is kept, and nothing can follow it.
fn is_json_schema(data: &[u8]) -> bool {
    serde_json::from_slice::<Value>(data).is_ok_and(|value| value["type"].as_str() == Some("object"))
}
