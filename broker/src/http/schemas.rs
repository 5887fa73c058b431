//! Schemas of topics, to read.
use axum::extract::{Path, State};
use axum::http::StatusCode;
use proto::pulsar::schema::Type;
use proto::records::SchemaRecord;
use serde_json::{Value, json};

use super::topics::{TopicPath, persistent};
use super::{Answer, Pages, Refusal, body};

fn not_found() -> Refusal {
    Refusal::not_found("Schema not found")
}

pub(super) async fn latest(State(pages): State<Pages>, Path((tenant, namespace, local)): TopicPath) -> Answer {
    let topic = persistent(&tenant, &namespace, &local)?;
    let record = pages.context.schemas.get(&topic, None).await?.ok_or_else(not_found)?;
    Ok(body::json(show(&record)))
}

pub(super) async fn version(
    State(pages): State<Pages>,
    Path((tenant, namespace, local, version)): Path<(String, String, String, String)>,
) -> Answer {
    let topic = persistent(&tenant, &namespace, &local)?;
    let number =
        version.parse().map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, format!("`{version}` is no version")))?;
    let record = pages.context.schemas.get(&topic, Some(number)).await?.ok_or_else(not_found)?;
    Ok(body::json(show(&record)))
}

pub(super) async fn all(State(pages): State<Pages>, Path((tenant, namespace, local)): TopicPath) -> Answer {
    let topic = persistent(&tenant, &namespace, &local)?;
    let records = pages.context.schemas.versions(&topic).await?;
    Ok(body::json(json!({"getSchemaResponses": records.iter().map(show).collect::<Vec<_>>()})))
}

fn show(record: &SchemaRecord) -> Value {
    let kind = Type::try_from(record.r#type).unwrap_or(Type::None);
    let data = match kind {
        Type::KeyValue => key_value(&record.data).unwrap_or_default(),
        _ => String::from_utf8_lossy(&record.data).into_owned(),
    };
    json!({
        "version": record.version, "type": name(kind), "timestamp": record.created_at,
        "data": data, "properties": record.properties,
    })
}

/// `[u32 length][key schema][u32 length][value schema]`, big endian, as JSON text. A length of -1 stands for none.
fn key_value(data: &[u8]) -> Option<String> {
    fn part(data: &[u8]) -> Option<(Value, &[u8])> {
        let (length, rest) = data.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        let (text, rest) = rest.split_at_checked(length)?;
        let text = String::from_utf8_lossy(text);
        let value = serde_json::from_str(&text).unwrap_or_else(|_| Value::from(text.as_ref()));
        Some((value, rest))
    }
    let (key, rest) = part(data)?;
    let (value, _) = part(rest)?;
    Some(json!({"key": key, "value": value}).to_string())
}

fn name(kind: Type) -> &'static str {
    match kind {
        Type::None => "NONE",
        Type::String => "STRING",
        Type::Json => "JSON",
        Type::Protobuf => "PROTOBUF",
        Type::Avro => "AVRO",
        Type::Bool => "BOOLEAN",
        Type::Int8 => "INT8",
        Type::Int16 => "INT16",
        Type::Int32 => "INT32",
        Type::Int64 => "INT64",
        Type::Float => "FLOAT",
        Type::Double => "DOUBLE",
        Type::Date => "DATE",
        Type::Time => "TIME",
        Type::Timestamp => "TIMESTAMP",
        Type::KeyValue => "KEY_VALUE",
        Type::Instant => "INSTANT",
        Type::LocalDate => "LOCAL_DATE",
        Type::LocalTime => "LOCAL_TIME",
        Type::LocalDateTime => "LOCAL_DATE_TIME",
        Type::ProtobufNative => "PROTOBUF_NATIVE",
        Type::AutoConsume => "AUTO_CONSUME",
        Type::External => "EXTERNAL",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_of_keys_and_values_is_shown_as_json() {
        let data = [&[0, 0, 0, 8][..], b"\"string\"", &[0, 0, 0, 0]].concat();
        assert_eq!(key_value(&data).as_deref(), Some(r#"{"key":"string","value":""}"#));
        for cut in 0..data.len() {
            assert_eq!(key_value(&data[..cut]), None, "{cut}");
        }
        assert!(key_value(&[0xff; 8]).is_some(), "-1 stands for none");
    }
}
