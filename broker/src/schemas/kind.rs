//! Kinds of schemas, as REST calls them.
use proto::pulsar::schema::Type;

const NAMES: [(&str, Type); 23] = [
    ("NONE", Type::None),
    ("STRING", Type::String),
    ("JSON", Type::Json),
    ("PROTOBUF", Type::Protobuf),
    ("AVRO", Type::Avro),
    ("BOOLEAN", Type::Bool),
    ("INT8", Type::Int8),
    ("INT16", Type::Int16),
    ("INT32", Type::Int32),
    ("INT64", Type::Int64),
    ("FLOAT", Type::Float),
    ("DOUBLE", Type::Double),
    ("DATE", Type::Date),
    ("TIME", Type::Time),
    ("TIMESTAMP", Type::Timestamp),
    ("KEY_VALUE", Type::KeyValue),
    ("INSTANT", Type::Instant),
    ("LOCAL_DATE", Type::LocalDate),
    ("LOCAL_TIME", Type::LocalTime),
    ("LOCAL_DATE_TIME", Type::LocalDateTime),
    ("PROTOBUF_NATIVE", Type::ProtobufNative),
    ("AUTO_CONSUME", Type::AutoConsume),
    ("EXTERNAL", Type::External),
];

/// Clients know more kinds than there are on the wire.
const ONLY_IN_CLIENTS: [&str; 3] = ["AUTO", "AUTO_CONSUME", "AUTO_PUBLISH"];

/// As REST calls it.
pub(crate) fn name(kind: Type) -> &'static str {
    NAMES.iter().find(|(_, one)| *one == kind).map_or("NONE", |(name, _)| name)
}

/// What REST calls so. Bytes are kept as no schema.
pub(crate) fn named(name: &str) -> Option<Type> {
    if name == "BYTES" {
        return Some(Type::None);
    }
    NAMES.iter().find(|(one, _)| *one == name).map(|(_, kind)| *kind)
}

/// Why a kind cannot be kept that only clients know.
pub(crate) fn client_side(name: &str) -> Option<String> {
    ONLY_IN_CLIENTS.contains(&name).then(|| format!("Schema {name} is a client-side schema type"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_the_protocol_has_one_name() {
        for number in 0..=22 {
            let kind = Type::try_from(number).unwrap();
            assert_eq!(named(name(kind)), Some(kind), "{kind:?}");
        }
        assert!(Type::try_from(23).is_err());
        assert_eq!((named("BYTES"), named("avro"), named("AUTO")), (Some(Type::None), None, None));
        assert!(client_side("AUTO_PUBLISH").is_some() && client_side("AVRO").is_none());
    }
}
