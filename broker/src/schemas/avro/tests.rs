//! What Apache Pulsar 4.0.8 said when it was asked the same, with the strategy BACKWARD.
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn avro(value: &Value) -> Avro {
    Avro::parse(value.to_string().as_bytes()).unwrap()
}

/// A record of one field.
fn one(kind: &Value) -> Value {
    json!({"type": "record", "name": "A", "fields": [{"name": "a", "type": kind}]})
}

fn record(name: &str, fields: &[(&str, Value)]) -> Value {
    let fields: Vec<Value> = fields.iter().map(|(name, kind)| json!({"name": name, "type": kind})).collect();
    json!({"type": "record", "name": name, "fields": fields})
}

fn with_default(fields: &[(&str, Value, Value)]) -> Value {
    let fields: Vec<Value> =
        fields.iter().map(|(name, kind, default)| json!({"name": name, "type": kind, "default": default})).collect();
    json!({"type": "record", "name": "A", "fields": fields})
}

fn reads(writer: &Value, reader: &Value) -> Result<(), Unresolved> {
    can_read(&avro(writer), &avro(reader))
}

fn enumeration(name: &str, symbols: &[&str]) -> Value {
    json!({"type": "enum", "name": name, "symbols": symbols})
}

#[test]
fn types_are_promoted_as_avro_promotes_them() {
    let rows = [
        ("int", "long", true),
        ("long", "int", false),
        ("int", "double", true),
        ("long", "float", true),
        ("double", "float", false),
        ("string", "bytes", true),
        ("bytes", "string", true),
        ("int", "string", false),
        ("boolean", "int", false),
    ];
    for (writer, reader, fits) in rows {
        assert_eq!(reads(&one(&json!(writer)), &one(&json!(reader))).is_ok(), fits, "{writer} to {reader}");
    }
    let list = |kind: &str| one(&json!({"type": "array", "items": kind}));
    let map = |kind: &str| one(&json!({"type": "map", "values": kind}));
    assert!(reads(&list("int"), &list("long")).is_ok() && reads(&map("int"), &map("long")).is_ok());
    assert!(reads(&list("int"), &list("string")).is_err() && reads(&map("int"), &list("int")).is_err());
}

#[test]
fn unions_are_read_branch_by_branch() {
    let rows = [
        (json!("int"), json!(["null", "int"]), true),
        (json!(["null", "int"]), json!("int"), false),
        (json!(["int"]), json!("int"), true),
        (json!(["null", "int", "string"]), json!(["null", "int"]), false),
        (json!(["null", "int"]), json!(["string", "null", "int"]), true),
        (json!(["null", "int"]), json!(["null", "double"]), true),
        (json!(["null", "int"]), json!(["int", "null"]), true),
        (json!("long"), json!(["int", "string"]), false),
        (json!("int"), json!(["string", "float", "double"]), true),
        (
            json!(["null", record("I", &[("i", json!("int"))])]),
            json!(["null", record("J", &[("i", json!("int"))])]),
            true,
        ),
        (
            json!(["null", record("I", &[("i", json!("int"))])]),
            json!(["null", record("J", &[("i", json!("int")), ("j", json!("int"))])]),
            false,
        ),
        (
            json!(["null", record("I", &[("i", json!("int"))])]),
            json!(["null", record("I", &[("i", json!("int")), ("j", json!("int"))])]),
            false,
        ),
    ];
    for (writer, reader, fits) in rows {
        assert_eq!(reads(&one(&writer), &one(&reader)).is_ok(), fits, "{writer} to {reader}");
    }
}

#[test]
fn names_count_for_enums_and_fixed_and_not_for_records() {
    let fixed = |name: &str, size: u32| one(&json!({"type": "fixed", "name": name, "size": size}));
    assert!(reads(&fixed("F", 3), &fixed("F", 4)).is_err() && reads(&fixed("F", 3), &fixed("G", 3)).is_err());
    assert!(reads(&record("A", &[("a", json!("int"))]), &record("B", &[("a", json!("int"))])).is_ok());
    let writer = one(&enumeration("E", &["a", "b"]));
    assert!(reads(&writer, &one(&enumeration("E", &["a"]))).is_ok(), "a symbol counts once it comes");
    assert!(reads(&writer, &one(&enumeration("G", &["a", "b"]))).is_err());
    let renamed = json!({"type": "enum", "name": "G", "aliases": ["E"], "symbols": ["a", "b"]});
    assert!(reads(&writer, &one(&renamed)).is_ok());
}

#[test]
fn fields_are_found_by_their_aliases_in_records_of_the_same_name() {
    let writer = record("A", &[("a", json!("int"))]);
    let reader = |name: &str, aliases: &[&str]| {
        let field = json!({"name": "b", "type": "int", "aliases": ["a"]});
        json!({"type": "record", "name": name, "aliases": aliases, "fields": [field]})
    };
    assert!(reads(&writer, &reader("A", &[])).is_ok());
    assert!(reads(&writer, &reader("B", &[])).is_err());
    assert!(reads(&writer, &reader("B", &["A"])).is_ok());
}

#[test]
fn types_that_refer_to_themselves_or_to_others_are_compared_to_their_end() {
    let list = |kind: &str| one(&json!(["null", record("L", &[("n", json!(["null", "L"])), ("v", json!(kind))])]));
    assert!(reads(&list("int"), &list("long")).is_ok());
    assert!(reads(&list("int"), &list("string")).is_err());
    let writer = record("A", &[("x", record("B", &[("f", json!("int"))])), ("y", json!("B"))]);
    let reader = |kind: &str| record("A", &[("y", record("B", &[("f", json!(kind))]))]);
    assert!(reads(&writer, &reader("long")).is_ok() && reads(&writer, &reader("string")).is_err());
}

#[test]
fn what_the_writer_lacks_needs_a_default_that_fits() {
    let empty = record("A", &[]);
    assert_eq!(reads(&empty, &one(&json!("int"))), Err(Unresolved::Mismatch));
    let fitting = [
        (json!(["null", "int"]), Value::Null),
        (json!("long"), json!(7)),
        (json!({"type": "array", "items": "string"}), json!(["x"])),
        (json!({"type": "map", "values": "boolean"}), json!({"x": true})),
        (json!({"type": "record", "name": "I", "fields": [{"name": "b", "type": "bytes", "default": "x"}]}), json!({})),
    ];
    for (kind, default) in fitting {
        assert_eq!(reads(&empty, &with_default(&[("a", kind.clone(), default)])), Ok(()), "{kind}");
    }
    for (kind, default) in [(json!("int"), json!("x")), (json!(["null", "string"]), json!("x"))] {
        let reader = with_default(&[("a", kind, default)]);
        assert_eq!(reads(&empty, &reader), Err(Unresolved::Default("a".into())));
        assert!(reads(&reader, &reader).is_ok(), "it counts only where it is needed");
    }
}

#[test]
fn equal_are_schemas_that_differ_in_documentation_aliases_and_spelling() {
    let base = json!({"type": "record", "name": "A", "fields": [
        {"name": "a", "type": "int", "default": 1}, {"name": "e", "type": enumeration("E", &["x", "y"])}]});
    let edited = |edit: &dyn Fn(&mut Value)| {
        let mut edited = base.clone();
        edit(&mut edited);
        avro(&edited) == avro(&base)
    };
    assert!(edited(&|schema| schema["doc"] = json!("x")));
    assert!(edited(&|schema| schema["aliases"] = json!(["x"])));
    assert!(edited(&|schema| schema["namespace"] = json!("")));
    assert!(edited(&|schema| schema["fields"][0]["aliases"] = json!(["x"])));
    assert!(edited(&|schema| schema["fields"][0]["order"] = json!("ascending")));
    assert!(edited(&|schema| schema["fields"][0]["type"] = json!({"type": "int"})));
    assert!(edited(&|schema| schema["fields"][1]["type"]["default"] = json!("x")));
    assert!(!edited(&|schema| schema["x"] = json!("x")));
    assert!(!edited(&|schema| schema["fields"][0]["order"] = json!("descending")));
    assert!(!edited(&|schema| schema["fields"][0]["x"] = json!("x")));
    assert!(!edited(&|schema| schema["fields"][0]["type"] = json!({"type": "int", "x": 1})));
    assert!(!edited(&|schema| schema["fields"][0]["default"] = json!(2)));
}

#[test]
fn what_is_no_schema_is_refused_with_the_reason() {
    let long = format!("\"{}\"", "x".repeat(100_000));
    let rows = [
        ("", "Cannot parse <null> schema"),
        ("{", "EOF"),
        ("null", "Schema not yet supported: null"),
        ("5", "Schema not yet supported: 5"),
        ("\"foo\"", "Undefined name: \"foo\""),
        (r#"{"type":"record","name":"A$B","fields":[]}"#, "Illegal character in: A$B"),
        (r#"{"type":"record","name":"1A","fields":[]}"#, "Illegal initial character: 1A"),
        (r#"{"type":"record","name":"A"}"#, "Record has no fields: "),
        (r#"{"type":"record","fields":[]}"#, "No name in schema: "),
        (
            r#"{"type":"record","name":"A","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}"#,
            "Duplicate field a",
        ),
        (
            r#"{"type":"record","name":"A","fields":[{"name":"a","type":{"type":"fixed","name":"A","size":1}}]}"#,
            "Can't redefine: A",
        ),
        (r#"{"type":"record","name":"A","fields":[{"name":"a","type":"int","order":"x"}]}"#, "There is no order x"),
        (r#"{"type":"enum","name":"A","symbols":["x","x"]}"#, "Duplicate enum symbol: x"),
        (
            r#"{"type":"enum","name":"A","symbols":["x"],"default":"y"}"#,
            "The Enum Default: y is not in the enum symbol set",
        ),
        (r#"{"type":"fixed","name":"A","size":-1}"#, "Malformed data. Length is negative: -1"),
        (r#"["int",["string"]]"#, "Nested union: "),
        (r#"["int","int"]"#, "Duplicate in union:int"),
        (r#"{"type":{"type":"int"}}"#, "No type: "),
        (r#"{"type":"object"}"#, "Type not supported: object"),
        (long.as_str(), "Undefined name: \"xxx"),
    ];
    for (text, reason) in rows {
        let error = Avro::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(reason), "{text:.200}: {error}");
        assert!(error.len() < 400, "{error}");
    }
    assert!(Avro::parse(b"\xff\xfe").is_err());
    for fine in [
        "\"int\"",
        r#"{"type":"record","name":"A","namespace":"a$b","fields":[]}"#,
        r#"{"type":"record","name":"Aя","fields":[]}"#,
    ] {
        assert!(Avro::parse(fine.as_bytes()).is_ok(), "{fine}");
    }
}

#[test]
fn deep_and_wide_schemas_cost_a_refusal_and_no_stack() {
    let deep = |levels: usize| r#"{"type":"array","items":"#.repeat(levels) + "\"int\"" + &"}".repeat(levels);
    assert!(Avro::parse(deep(100).as_bytes()).is_ok());
    assert!(Avro::parse(deep(100_000).as_bytes()).is_err());
    // A chain of types that name each other: not deep as JSON, and deep to compare, because only its end is in both.
    let chain = |length: usize, own: &str| {
        let mut fields = Vec::new();
        for number in 0..length {
            let before = if number == 0 { json!("int") } else { json!(format!("R{}", number - 1)) };
            let kind = json!(["null", record(&format!("R{number}"), &[("x", before)])]);
            fields.push(json!({"name": format!("{own}{number}"), "type": kind, "default": null}));
        }
        fields.push(json!({"name": "last", "type": format!("R{}", length - 1)}));
        json!({"type": "record", "name": "A", "fields": fields})
    };
    assert_eq!(reads(&chain(60, "w"), &chain(60, "r")), Ok(()));
    assert_eq!(reads(&chain(3000, "w"), &chain(3000, "r")), Err(Unresolved::TooComplex));
    // No branch fits any other, which takes millions of comparisons to find out.
    let wide = |own: &str, field: &str| {
        let branches: Vec<Value> =
            (0..1500).map(|number| record(&format!("{own}{number}"), &[(field, json!("int"))])).collect();
        one(&json!(branches))
    };
    assert_eq!(reads(&wide("W", "x"), &wide("R", "y")), Err(Unresolved::Mismatch));
}

#[test]
fn a_schema_is_printed_as_java_prints_it() {
    let schema = json!({"type": "record", "name": "A", "namespace": "n", "fields": [
        {"name": "a", "type": "int", "default": 7}, {"name": "b", "type": ["null", "n.A"]}], "x": {"y": []}});
    let expected = "{\n  \"type\" : \"record\",\n  \"name\" : \"A\",\n  \"namespace\" : \"n\",\n  \"fields\" : [ {\n    \
                    \"name\" : \"a\",\n    \"type\" : \"int\",\n    \"default\" : 7\n  }, {\n    \"name\" : \"b\",\n    \
                    \"type\" : [ \"null\", \"A\" ]\n  } ],\n  \"x\" : {\n    \"y\" : [ ]\n  }\n}";
    assert_eq!(avro(&schema).pretty(), expected);
    let fields: Vec<(String, Value)> = (0..5000).map(|number| (format!("f{number}"), json!("int"))).collect();
    let fields: Vec<_> = fields.iter().map(|(name, kind)| (name.as_str(), kind.clone())).collect();
    assert!(avro(&record("A", &fields)).pretty().len() <= 16 * 1024);
}

fn kinds() -> impl Strategy<Value = Value> {
    let leaf = proptest::sample::select(vec!["null", "boolean", "int", "long", "float", "double", "bytes", "string"]);
    leaf.prop_map(|name| json!(name)).prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|kind| json!({"type": "array", "items": kind})),
            inner.clone().prop_map(|kind| json!({"type": "map", "values": kind})),
            proptest::collection::vec(inner, 0..3).prop_map(|kinds| json!({"fields": kinds})),
        ]
    })
}

/// Gives every record of a sample a name of its own.
fn named(kind: &Value, next: &mut u32) -> Value {
    match kind {
        Value::Object(object) if object.contains_key("fields") => {
            *next += 1;
            let name = format!("R{next}");
            let kinds = object["fields"].as_array().unwrap();
            let fields: Vec<Value> = kinds
                .iter()
                .enumerate()
                .map(|(at, kind)| json!({"name": format!("f{at}"), "type": named(kind, next)}))
                .collect();
            json!({"type": "record", "name": name, "fields": fields})
        }
        Value::Object(object) => {
            let inner = |(name, value): (&String, &Value)| (name.clone(), named(value, next));
            Value::Object(object.iter().map(inner).collect())
        }
        other => other.clone(),
    }
}

proptest! {
    #[test]
    fn every_schema_reads_itself_and_is_equal_to_what_is_printed_of_it(kind in kinds()) {
        let schema = one(&named(&kind, &mut 0));
        let read = avro(&schema);
        prop_assert_eq!(can_read(&read, &read), Ok(()));
        prop_assert_eq!(&Avro::parse(read.pretty().as_bytes()).unwrap(), &read);
    }

    #[test]
    fn no_bytes_bring_the_parser_down(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Avro::parse(&bytes);
    }
}
