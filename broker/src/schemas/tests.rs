//! Versions, strategies and races, over a store in memory.
use std::sync::Arc;

use metadata::{Expect, MemoryStore, MetadataStore, Operation, Transaction};
use proptest::prelude::*;
use proto::{TopicName, keys};
use serde_json::{Value, json};

use proptest::strategy::Strategy as _;

use super::history::{Decision, History};
use super::*;
use super::{Strategy, history};
use crate::Clock;

const ANY: Rules = Rules { strategy: Strategy::AlwaysCompatible, clients_add: true, enforced: false };

fn rules(strategy: Strategy) -> Rules {
    Rules { strategy, ..ANY }
}

fn schema(kind: Type, data: impl Into<Bytes>) -> Schema {
    Schema { kind, name: "s".into(), data: data.into(), properties: BTreeMap::new() }
}

/// A record with fields of numbers; those called in capitals have a default.
fn avro(fields: &str) -> Schema {
    let fields: Vec<Value> = fields
        .chars()
        .map(|name| {
            let mut field = json!({"name": name.to_ascii_lowercase().to_string(), "type": "int"});
            if name.is_ascii_uppercase() {
                field["default"] = json!(7);
            }
            field
        })
        .collect();
    schema(Type::Avro, json!({"type": "record", "name": "A", "fields": fields}).to_string())
}

fn topic() -> TopicName {
    "persistent://public/default/orders-partition-3".parse().unwrap()
}

fn schemas(store: &MemoryStore) -> Schemas {
    Schemas::new(Arc::new(store.clone()), Clock::runtime(1_700_000_000_000))
}

async fn versions(schemas: &Schemas) -> Vec<u64> {
    schemas.history(&topic()).await.unwrap().live().iter().map(|record| record.version).collect()
}

fn text(outcome: Result<impl std::fmt::Debug, SchemaError>) -> String {
    match outcome {
        Err(SchemaError::Incompatible(text) | SchemaError::Invalid(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn equal_schemas_have_one_version_whichever_partition_they_come_from() {
    let schemas = schemas(&MemoryStore::default());
    let spaced = schema(
        Type::Avro,
        serde_json::to_string_pretty(&serde_json::from_slice::<Value>(&avro("a").data).unwrap()).unwrap(),
    );
    let parent = topic().partitioned();
    for (schema, version) in [(avro("a"), 0), (spaced, 0), (avro("aB"), 1), (avro("a"), 0), (avro("aB"), 1)] {
        assert_eq!(schemas.register(&topic(), schema.clone(), ANY).await, Ok(version));
        assert_eq!(schemas.register(&parent, schema, ANY).await, Ok(version));
    }
    assert_eq!(schemas.find(&topic(), &avro("aB")).await, Ok(Some(1)));
    assert_eq!(schemas.find(&topic(), &avro("b")).await, Ok(None));
}

/// What Apache Pulsar 4.0.8 said: `A` then each of the others, in that order, to producers; and then to consumers.
#[tokio::test]
async fn strategies_admit_what_apache_pulsar_admits() {
    let rows = [
        (Strategy::AlwaysIncompatible, [false, false, false, false], [false, false, false, false]),
        (Strategy::AlwaysCompatible, [true, true, true, true], [true, true, true, true]),
        (Strategy::Backward, [true, true, true, false], [false, false, false, false]),
        (Strategy::Forward, [true, true, false, false], [true, true, false, false]),
        (Strategy::Full, [true, true, false, false], [true, true, false, false]),
        (Strategy::BackwardTransitive, [true, false, true, false], [false, false, false, false]),
        (Strategy::ForwardTransitive, [true, true, false, false], [true, true, false, false]),
        (Strategy::FullTransitive, [true, false, false, false], [true, false, false, false]),
    ];
    for (strategy, producers, consumers) in rows {
        let schemas = schemas(&MemoryStore::default());
        let rules = rules(strategy);
        schemas.register(&topic(), avro("a"), rules).await.unwrap();
        let string = schema(Type::String, "");
        for (new, admitted) in [avro("aB"), avro("ab"), avro("B"), string.clone()].into_iter().zip(producers) {
            let outcome = schemas.register(&topic(), new.clone(), rules).await;
            assert_eq!(outcome.is_ok(), admitted, "{strategy:?} {new:?} {outcome:?}");
        }
        for (new, admitted) in [avro("a"), avro("ab"), avro("c"), string].into_iter().zip(consumers) {
            let outcome = schemas.admits_consumer(&topic(), new.clone(), rules).await;
            assert_eq!(outcome.is_ok(), admitted, "consumer: {strategy:?} {new:?} {outcome:?}");
        }
    }
}

#[tokio::test]
async fn refusals_say_what_apache_pulsar_says() {
    let schemas = schemas(&MemoryStore::default());
    let full = rules(Strategy::Full);
    assert_eq!(schemas.admits_consumer(&topic(), avro("a"), full).await, Ok(None), "nothing to compare with");
    schemas.register(&topic(), avro("a"), full).await.unwrap();
    let refusal = text(schemas.register(&topic(), avro("ab"), full).await);
    let expected = "Error during schema compatibility check with strategy FULL: Unable to read schema: \n{\n  \"type\" : \
                    \"record\",\n  \"name\" : \"A\",\n  \"fields\" : [ {\n    \"name\" : \"a\",\n    \"type\" : \"int\"\n  } \
                    ]\n}\nusing schema:\n{";
    assert!(refusal.starts_with(expected), "{refusal}");
    let json = schema(Type::Json, avro("a").data);
    let expected = "Incompatible schema: exists schema type AVRO, new schema type JSON";
    assert_eq!(text(schemas.register(&topic(), json.clone(), full).await), expected);
    let transitive = rules(Strategy::FullTransitive);
    assert_eq!(text(schemas.admits_consumer(&topic(), json, transitive).await), expected);
    let closed = Rules { clients_add: false, ..full };
    let expected = "Schema not found and schema auto updating is disabled.";
    assert_eq!(text(schemas.register(&topic(), avro("aB"), closed).await), expected);
    assert_eq!(schemas.register(&topic(), avro("a"), closed).await, Ok(0));
    assert_eq!(schemas.add_by_operator(&topic(), avro("aB"), Strategy::Full).await, Ok(1));
}

#[tokio::test]
async fn kinds_without_fields_are_compared_by_kind_only() {
    let schemas = schemas(&MemoryStore::default());
    let full = rules(Strategy::Full);
    assert_eq!(schemas.register(&topic(), schema(Type::String, ""), full).await, Ok(0));
    assert_eq!(schemas.register(&topic(), schema(Type::String, "null"), full).await, Ok(1));
    let never = rules(Strategy::AlwaysIncompatible);
    schemas.delete(&topic()).await.unwrap();
    schemas.register(&topic(), schema(Type::Protobuf, avro("a").data), never).await.unwrap();
    let refusal = text(schemas.register(&topic(), schema(Type::Protobuf, avro("ab").data), never).await);
    assert_eq!(refusal, "Schema compatibility strategy is ALWAYS_INCOMPATIBLE");
    assert_eq!(schemas.register(&topic(), schema(Type::Protobuf, avro("ab").data), full).await, Ok(1));
}

#[tokio::test]
async fn a_protobuf_schema_keeps_its_root_message() {
    let schemas = schemas(&MemoryStore::default());
    let native = |root: &str| schema(Type::ProtobufNative, native::tests::sample(root, "orders.proto"));
    let spaced = schema(Type::ProtobufNative, format!(" {}", native::tests::sample("shop.Order", "orders.proto")));
    let full = rules(Strategy::Full);
    assert_eq!(schemas.register(&topic(), native("shop.Order"), full).await, Ok(0));
    assert_eq!(schemas.register(&topic(), spaced, full).await, Ok(1));
    let expected = "Protobuf root message change is not allowed under the 'FULL' strategy. Original message name: \
                    'shop.Order', new message name: 'shop.Refund'.";
    assert_eq!(text(schemas.register(&topic(), native("shop.Refund"), full).await), expected);
    assert_eq!(schemas.register(&topic(), native("shop.Refund"), ANY).await, Ok(2));
    assert_eq!(
        text(schemas.register(&topic(), native("shop.X"), ANY).await),
        "deserialize ProtobufNative Schema failed"
    );
}

#[tokio::test]
async fn keys_and_values_are_compared_each_for_itself() {
    let schemas = schemas(&MemoryStore::default());
    let pair = |key: &Schema, value: &Schema| {
        let text = |schema: &Schema| String::from_utf8(schema.data.to_vec()).unwrap();
        let data = key_value_from_json(&json!({"key": text(key), "value": text(value)}).to_string()).unwrap();
        let properties = [("key", key), ("value", value)]
            .map(|(half, schema)| (format!("{half}.schema.type"), name(schema.kind).to_string()));
        Schema { kind: Type::KeyValue, name: String::new(), data, properties: properties.into() }
    };
    let full = rules(Strategy::Full);
    assert_eq!(schemas.register(&topic(), pair(&avro("a"), &avro("a")), full).await, Ok(0));
    assert_eq!(schemas.register(&topic(), pair(&avro("a"), &avro("aB")), full).await, Ok(1));
    let refusal = text(schemas.register(&topic(), pair(&avro("ab"), &avro("aB")), full).await);
    assert!(refusal.contains("Unable to read schema"), "{refusal}");
    let refusal = text(schemas.register(&topic(), pair(&avro("a"), &schema(Type::String, "")), full).await);
    let expected = "Key schemas or Value schemas are different schema type, from key schema type is AVRO and to key schema is \
                    AVRO, from value schema is AVRO and to value schema is STRING";
    assert_eq!(refusal, expected);
}

#[tokio::test]
async fn what_is_no_schema_is_refused_and_leaves_nothing() {
    let store = MemoryStore::default();
    let schemas = schemas(&store);
    let deep = r#"{"type":"array","items":"#.repeat(100_000);
    let rows = [
        (Type::Avro, Bytes::from_static(b"{"), "Invalid schema definition data for AVRO schema"),
        (Type::Avro, Bytes::from_static(b"\xff\xfe"), "Invalid schema definition data for AVRO schema"),
        (Type::Avro, Bytes::from_static(b"[\"null\",\"int\"]"), "Avro schema typed [UNION] is not supported"),
        (Type::Json, Bytes::from(deep), "a schema of "),
        (Type::Json, Bytes::from(vec![b'x'; 5 << 20]), "a schema of "),
        (Type::Protobuf, Bytes::from_static(b"5"), "Invalid schema definition data for PROTOBUF schema"),
        (Type::ProtobufNative, Bytes::from_static(b"{}"), "deserialize ProtobufNative Schema failed"),
        (Type::KeyValue, Bytes::from_static(b"\0\0\0\x09x"), "Invalid schema definition data for KEY_VALUE schema"),
        (
            Type::Int8,
            Bytes::from_static(b"null"),
            "Invalid schema definition data for primitive schemas :length of schema data should be zero, but 4 bytes",
        ),
        (Type::String, Bytes::from_static(b"x"), "Invalid schema definition data for string schema : 'x'"),
        (Type::AutoConsume, Bytes::new(), "Schema AUTO_CONSUME is a client-side schema type"),
        (Type::External, Bytes::new(), "Unknown schema type : EXTERNAL"),
    ];
    for (kind, data, expected) in rows {
        let outcome = schemas.register(&topic(), schema(kind, data.clone()), ANY).await;
        assert!(matches!(outcome, Err(SchemaError::Invalid(_))), "{kind:?} {outcome:?}");
        assert!(text(outcome).starts_with(expected), "{kind:?}");
        assert!(schemas.admits_consumer(&topic(), schema(kind, data), ANY).await.is_err(), "{kind:?}");
    }
    assert!(store.list("schemas/", None, 10).await.unwrap().records.is_empty());
}

#[tokio::test]
async fn a_deletion_takes_a_version_and_leaves_only_its_mark() {
    let store = MemoryStore::default();
    let schemas = schemas(&store);
    assert_eq!(schemas.mark_deleted(&topic()).await, Ok(0), "of nothing too, as in Apache Pulsar");
    for fields in ["a", "aB", "aBC"] {
        schemas.register(&topic(), avro(fields), ANY).await.unwrap();
    }
    assert_eq!(versions(&schemas).await, [1_u64, 2, 3]);
    assert_eq!(schemas.mark_deleted(&topic()).await, Ok(4));
    let history = schemas.history(&topic()).await.unwrap();
    assert!(history.live().is_empty() && history.last().is_some_and(|last| last.deleted && last.version == 4));
    assert_eq!(store.list("schemas/", None, 10).await.unwrap().records.len(), 1, "the mark");
    assert_eq!(schemas.register(&topic(), schema(Type::String, ""), rules(Strategy::Full)).await, Ok(5));
    assert_eq!(versions(&schemas).await, [5_u64]);
    schemas.delete(&topic()).await.unwrap();
    assert!(store.list("schemas/", None, 10).await.unwrap().records.is_empty());
    assert_eq!(schemas.register(&topic(), avro("a"), ANY).await, Ok(0));
}

#[tokio::test]
async fn schemas_go_with_their_namespace() {
    let store = MemoryStore::default();
    let schemas = schemas(&store);
    let other: TopicName = "persistent://public/default2/orders".parse().unwrap();
    for topic in [&topic(), &other] {
        schemas.register(topic, avro("a"), ANY).await.unwrap();
    }
    schemas.delete_of_namespace(topic().namespace()).await.unwrap();
    assert_eq!(versions(&schemas).await, [0_u64; 0]);
    assert_eq!(schemas.history(&other).await.unwrap().live().len(), 1);
}

/// Goal: of any who race for versions and deletions, each gets an answer that is true when all is over.
#[tokio::test]
async fn whoever_races_for_a_version_gets_a_right_answer() {
    let store = MemoryStore::default();
    let (one, other) = (schemas(&store), schemas(&store));
    let fields: Vec<String> = ('A'..='P').map(|last| ('A'..=last).collect()).collect();
    let tasks = fields.iter().enumerate().flat_map(|(number, fields)| {
        // The same schema twice, by two brokers.
        [one.clone(), other.clone()].map(|schemas| {
            let new = avro(fields);
            async move { (number, schemas.register(&topic(), new, ANY).await.unwrap()) }
        })
    });
    let answers = futures::future::join_all(tasks).await;
    let history = one.history(&topic()).await.unwrap();
    assert_eq!(versions(&one).await, (0..16_u64).collect::<Vec<_>>());
    for (number, version) in answers {
        assert_eq!(history.live()[usize::try_from(version).unwrap()].data, avro(&fields[number]).data);
    }
}

/// Goal: a schema that was compared with one that is deleted meanwhile is compared anew.
#[tokio::test]
async fn what_is_deleted_meanwhile_is_noticed() {
    let store = MemoryStore::default();
    let schemas = schemas(&store);
    schemas.register(&topic(), avro("a"), ANY).await.unwrap();
    let read = store.get(&metadata::Key::from(keys::schema(&topic().partitioned(), 0))).await.unwrap().unwrap();
    schemas.delete(&topic()).await.unwrap();
    // What `put` sends after it has read version 0.
    let late = vec![
        Operation::check(read.key, Expect::Version(read.version)),
        Operation::put(keys::schema(&topic().partitioned(), 1), Bytes::new(), Expect::Absent),
    ];
    assert!(matches!(store.commit(Transaction::new(late)).await, Err(metadata::Error::Conflict { .. })));
    assert_eq!(schemas.register(&topic(), avro("b"), rules(Strategy::Full)).await, Ok(0));
}

#[test]
fn a_history_has_a_bound() {
    let record = |version: u64| SchemaRecord { version, r#type: Type::String.into(), ..SchemaRecord::default() };
    let full = History::new((0..history::VERSIONS_MAX).map(record).collect());
    let new = schema(Type::String, "null");
    assert!(text(full.add(&new, Strategy::Full, true)).starts_with("the topic has 1000 versions"));
    assert_eq!(full.add(&schema(Type::String, ""), Strategy::Full, true), Ok(Decision::Found(0)));
    let large = SchemaRecord { data: vec![b'x'; history::HISTORY_BYTES_MAX].into(), ..record(0) };
    assert!(text(History::new(vec![large]).add(&new, Strategy::AlwaysCompatible, true)).contains("bytes are allowed"));
}

fn field_names() -> impl proptest::strategy::Strategy<Value = String> {
    proptest::collection::btree_set(0..6u8, 0..5).prop_flat_map(|fields| {
        proptest::collection::vec(any::<bool>(), fields.len()).prop_map(move |defaults| {
            let name = |(field, default): (&u8, bool)| {
                let name = char::from(b'a' + field);
                if default { name.to_ascii_uppercase() } else { name }
            };
            fields.iter().zip(defaults).map(name).collect::<String>()
        })
    })
}

proptest! {
    /// Transitive strategies admit only what the others admit; FULL only what BACKWARD and FORWARD both do.
    #[test]
    fn stricter_strategies_admit_less(before in proptest::collection::vec(field_names(), 1..5), new in field_names()) {
        let record = |(version, fields): (usize, &String)| SchemaRecord {
            version: version as u64, r#type: Type::Avro.into(), data: avro(fields).data, ..SchemaRecord::default()
        };
        let history = History::new(before.iter().enumerate().map(record).collect());
        let admits = |strategy| history.admits(&avro(&new), strategy).is_ok();
        use Strategy::*;
        for (strict, loose) in [(BackwardTransitive, Backward), (ForwardTransitive, Forward), (FullTransitive, Full)] {
            prop_assert!(!admits(strict) || admits(loose), "{strict:?}");
        }
        prop_assert_eq!(admits(Full), admits(Backward) && admits(Forward));
        prop_assert_eq!(admits(FullTransitive), admits(BackwardTransitive) && admits(ForwardTransitive));
        prop_assert!(admits(AlwaysCompatible));
    }

    /// A schema that is there is found again, whatever the strategy, and is one that consumers may have where anything may be.
    #[test]
    fn what_is_there_is_found(before in proptest::collection::vec(field_names(), 1..6), pick in any::<prop::sample::Index>()) {
        let mut history = History::default();
        let mut records: Vec<SchemaRecord> = Vec::new();
        for fields in &before {
            if let Ok(Decision::Add(version)) = history.add(&avro(fields), Strategy::AlwaysCompatible, true) {
                let data = avro(fields).data;
                records.push(SchemaRecord { version, r#type: Type::Avro.into(), data, ..SchemaRecord::default() });
                history = History::new(records.clone());
            }
        }
        let picked = &records[pick.index(records.len())];
        let same = schema(Type::Avro, picked.data.clone());
        prop_assert_eq!(history.add(&same, Strategy::AlwaysIncompatible, false), Ok(Decision::Found(picked.version)));
    }
}
