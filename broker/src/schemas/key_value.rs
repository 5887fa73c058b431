//! A schema of keys and values: `[u32 length][key schema][u32 length][value schema]`, big endian. A length of -1 stands for none.
//! What kinds the two are stands in its properties.
use bytes::{BufMut, Bytes, BytesMut};
use proto::pulsar::schema::Type;
use serde_json::{Value, json};

use super::{Schema, SchemaError, kind};

/// The schemas of the key and of the value.
pub(super) fn halves(schema: &Schema) -> Result<[Schema; 2], SchemaError> {
    let invalid = || SchemaError::Invalid("Invalid schema definition data for KEY_VALUE schema".into());
    let (key, value) = split(&schema.data).ok_or_else(invalid)?;
    let half = |which: &str, data: &[u8]| {
        let property = |what: &str| schema.properties.get(&format!("{which}.schema.{what}"));
        let kind = match property("type") {
            Some(name) => kind::named(name).ok_or_else(invalid)?,
            None => Type::None,
        };
        let name = property("name").cloned().unwrap_or_default();
        let properties = property("properties").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        Ok::<_, SchemaError>(Schema { kind, name, data: Bytes::copy_from_slice(data), properties })
    };
    Ok([half("key", key)?, half("value", value)?])
}

fn split(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (key, rest) = part(data)?;
    Some((key, part(rest)?.0))
}

fn part(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first_chunk::<4>()?;
    let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
    rest.split_at_checked(length)
}

/// As REST shows it: both as JSON, where they are JSON.
pub(crate) fn to_json(data: &[u8]) -> Option<String> {
    let (key, value) = split(data)?;
    let shown = |data: &[u8]| {
        let text = String::from_utf8_lossy(data);
        serde_json::from_str(&text).unwrap_or_else(|_| Value::from(text.as_ref()))
    };
    Some(json!({"key": shown(key), "value": shown(value)}).to_string())
}

/// From what REST is given.
pub(crate) fn from_json(text: &str) -> Option<Bytes> {
    let value: Value = serde_json::from_str(text).ok()?;
    let mut data = BytesMut::new();
    for half in ["key", "value"] {
        let half = match value.get(half)? {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        data.put_u32(u32::try_from(half.len()).ok()?);
        data.put_slice(half.as_bytes());
    }
    Some(data.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_of_keys_and_values_is_shown_as_json_and_read_from_it() {
        let data = [&[0, 0, 0, 8][..], b"\"string\"", &[0, 0, 0, 0]].concat();
        assert_eq!(to_json(&data).as_deref(), Some(r#"{"key":"string","value":""}"#));
        for cut in 0..data.len() {
            assert_eq!(to_json(&data[..cut]), None, "{cut}");
        }
        assert!(to_json(&[0xff; 8]).is_some(), "-1 stands for none");
        let text = r#"{"key":{"type":"int"},"value":""}"#;
        assert_eq!(to_json(&from_json(text).unwrap()).as_deref(), Some(text));
        assert_eq!((from_json("{"), from_json("{\"key\":1}")), (None, None));
    }

    #[test]
    fn halves_have_the_kinds_that_properties_name() {
        let mut schema = Schema {
            kind: Type::KeyValue,
            name: String::new(),
            data: from_json(r#"{"key":"","value":{"type":"int"}}"#).unwrap(),
            properties: [("value.schema.type".to_string(), "AVRO".to_string())].into(),
        };
        let [key, value] = halves(&schema).unwrap();
        assert_eq!((key.kind, value.kind), (Type::None, Type::Avro));
        assert_eq!((&key.data[..], &value.data[..]), (&b""[..], &br#"{"type":"int"}"#[..]));
        schema.properties.insert("key.schema.type".into(), "X".into());
        assert!(matches!(halves(&schema), Err(SchemaError::Invalid(_))));
    }
}
