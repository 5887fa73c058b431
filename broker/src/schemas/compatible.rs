//! Whether one schema may follow others.
use proto::pulsar::schema::Type;

use super::avro::{Avro, Unresolved, can_read};
use super::{Schema, SchemaError, Strategy, key_value, kind, native};

/// Whether both are the same schema: the same bytes, or of those that are Avro, what Avro calls equal.
pub(super) fn is_same(one: &Schema, other: &Schema) -> bool {
    if one.kind != other.kind {
        return false;
    }
    if one.data == other.data {
        return true;
    }
    let is_avro = matches!(one.kind, Type::Avro | Type::Json | Type::Protobuf);
    is_avro && matches!((Avro::parse(&one.data), Avro::parse(&other.data)), (Ok(one), Ok(other)) if one == other)
}

/// Whether `new` may follow `latest`.
pub(super) fn with_latest(latest: &Schema, new: &Schema, strategy: Strategy) -> Result<(), SchemaError> {
    if strategy == Strategy::AlwaysCompatible {
        return Ok(());
    }
    same_kind(latest, new)?;
    if latest.data == new.data {
        return Ok(());
    }
    check(&[latest], new, strategy)
}

/// Whether `new` may follow all of them, oldest first.
pub(super) fn with_all(all: &[&Schema], new: &Schema, strategy: Strategy) -> Result<(), SchemaError> {
    if strategy == Strategy::AlwaysCompatible {
        return Ok(());
    }
    all.iter().try_for_each(|one| same_kind(one, new))?;
    check(all, new, strategy)
}

fn same_kind(there: &Schema, new: &Schema) -> Result<(), SchemaError> {
    if there.kind == new.kind {
        return Ok(());
    }
    let (there, new) = (kind::name(there.kind), kind::name(new.kind));
    Err(SchemaError::Incompatible(format!("Incompatible schema: exists schema type {there}, new schema type {new}")))
}

/// All are of one kind.
fn check(all: &[&Schema], new: &Schema, strategy: Strategy) -> Result<(), SchemaError> {
    match new.kind {
        Type::Avro | Type::Json => avro(all, new, strategy),
        Type::ProtobufNative => all.iter().try_for_each(|one| protobuf_native(one, new, strategy)),
        Type::KeyValue => key_and_value(all, new, strategy),
        _ if strategy == Strategy::AlwaysIncompatible => {
            Err(SchemaError::Incompatible("Schema compatibility strategy is ALWAYS_INCOMPATIBLE".into()))
        }
        _ => Ok(()),
    }
}

fn avro(all: &[&Schema], new: &Schema, strategy: Strategy) -> Result<(), SchemaError> {
    let parse = |schema: &Schema| Avro::parse(&schema.data).map_err(|error| refuse(error.to_string()));
    let parsed = parse(new)?;
    if strategy == Strategy::AlwaysIncompatible && !all.is_empty() {
        return Err(unreadable(&parsed, &parsed, strategy));
    }
    let counted = if strategy.is_transitive() { all.len() } else { 1 };
    for there in all.iter().rev().take(counted) {
        let there = parse(there)?;
        if strategy.looks_forward() {
            reads(&parsed, &there, strategy)?;
        }
        if strategy.looks_back() {
            reads(&there, &parsed, strategy)?;
        }
    }
    Ok(())
}

fn reads(writer: &Avro, reader: &Avro, strategy: Strategy) -> Result<(), SchemaError> {
    match can_read(writer, reader) {
        Ok(()) => Ok(()),
        Err(Unresolved::Mismatch) => Err(unreadable(writer, reader, strategy)),
        Err(error @ (Unresolved::Default(_) | Unresolved::TooComplex)) => Err(refuse(error.to_string())),
    }
}

fn refuse(text: String) -> SchemaError {
    SchemaError::Incompatible(text)
}

fn unreadable(writer: &Avro, reader: &Avro, strategy: Strategy) -> SchemaError {
    refuse(format!(
        "Error during schema compatibility check with strategy {}: Unable to read schema: \n{}\nusing schema:\n{}",
        strategy.name(),
        writer.pretty(),
        reader.pretty(),
    ))
}

fn protobuf_native(there: &Schema, new: &Schema, strategy: Strategy) -> Result<(), SchemaError> {
    if strategy == Strategy::AlwaysIncompatible {
        return Err(refuse("Unknown SchemaCompatibilityStrategy.".into()));
    }
    match (native::root(&there.data), native::root(&new.data)) {
        (Some(there), Some(new)) if there == new => Ok(()),
        (Some(there), Some(new)) => Err(refuse(format!(
            "Protobuf root message change is not allowed under the '{}' strategy. Original message name: '{there}', new \
             message name: '{new}'.",
            strategy.name()
        ))),
        _ => Err(refuse("deserialize ProtobufNative Schema failed".into())),
    }
}

fn key_and_value(all: &[&Schema], new: &Schema, strategy: Strategy) -> Result<(), SchemaError> {
    let [key, value] = key_value::halves(new)?;
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    for there in all {
        let [old_key, old_value] = key_value::halves(there)?;
        if (old_key.kind, old_value.kind) != (key.kind, value.kind) {
            let [from_key, to_key, from_value, to_value] =
                [old_key.kind, key.kind, old_value.kind, value.kind].map(kind::name);
            return Err(refuse(format!(
                "Key schemas or Value schemas are different schema type, from key schema type is {from_key} and to key schema \
                 is {to_key}, from value schema is {from_value} and to value schema is {to_value}"
            )));
        }
        keys.push(old_key);
        values.push(old_value);
    }
    // A schema of keys and values holds none of its kind: that is bounded by its size all the same.
    check(&keys.iter().collect::<Vec<_>>(), &key, strategy)?;
    check(&values.iter().collect::<Vec<_>>(), &value, strategy)
}
