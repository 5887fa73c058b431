//! Avro schemas: read, compared as equal, resolved against each other, and printed as Apache Pulsar prints them.
mod parse;
mod print;
mod resolve;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::Value;

pub(super) use resolve::{Unresolved, can_read};

/// A schema that was read. Equal are those that Avro calls equal: documentation and aliases do not count, attributes do.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Avro {
    root: Node,
    /// In the order in which they are defined.
    named: Vec<Named>,
}

/// Attributes that Avro does not know.
type Attributes = BTreeMap<String, Value>;

/// A place in a schema where a type stands.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    Primitive(Primitive, Attributes),
    Array(Box<Node>, Attributes),
    Map(Box<Node>, Attributes),
    Union(Vec<Node>),
    /// Defined here or before: its place among those with names.
    Named(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Primitive {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
}

const PRIMITIVES: [(&str, Primitive); 8] = [
    ("null", Primitive::Null),
    ("boolean", Primitive::Boolean),
    ("int", Primitive::Int),
    ("long", Primitive::Long),
    ("float", Primitive::Float),
    ("double", Primitive::Double),
    ("bytes", Primitive::Bytes),
    ("string", Primitive::String),
];

impl Primitive {
    fn named(text: &str) -> Option<Self> {
        PRIMITIVES.iter().find(|(name, _)| *name == text).map(|(_, primitive)| *primitive)
    }

    fn name(self) -> &'static str {
        PRIMITIVES.iter().find(|(_, primitive)| *primitive == self).map_or("null", |(name, _)| name)
    }
}

/// A record, an enum or a fixed.
#[derive(Debug, Clone)]
struct Named {
    name: FullName,
    aliases: Vec<FullName>,
    documentation: Option<String>,
    attributes: Attributes,
    shape: Shape,
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.attributes == other.attributes && self.shape == other.shape
    }
}

#[derive(Debug, Clone)]
enum Shape {
    Record { fields: Vec<Field>, error: bool },
    Enum { symbols: Vec<String>, default: Option<String> },
    Fixed { size: u64 },
}

impl PartialEq for Shape {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Record { fields, error }, Self::Record { fields: others, error: other }) => {
                fields == others && error == other
            }
            (Self::Enum { symbols, .. }, Self::Enum { symbols: others, .. }) => symbols == others,
            (Self::Fixed { size }, Self::Fixed { size: other }) => size == other,
            _ => false,
        }
    }
}

#[derive(Debug, Clone)]
struct Field {
    name: String,
    aliases: Vec<String>,
    documentation: Option<String>,
    node: Node,
    default: Option<Value>,
    /// Other than ascending.
    order: Option<&'static str>,
    attributes: Attributes,
}

impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.node == other.node
            && self.default == other.default
            && self.order == other.order
            && self.attributes == other.attributes
    }
}

/// A name with the space it is in. No space is an empty one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct FullName {
    space: String,
    name: String,
}

impl FullName {
    /// A name as it is written: dots in it tell its space, whatever else was said.
    fn new(text: &str, space: &str) -> Self {
        match text.rsplit_once('.') {
            Some((space, name)) => Self { space: space.into(), name: name.into() },
            None => Self { space: space.into(), name: text.into() },
        }
    }
}

impl std::fmt::Display for FullName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.space.is_empty() {
            return formatter.write_str(&self.name);
        }
        write!(formatter, "{}.{}", self.space, self.name)
    }
}

/// So much of a text that it has no more bytes than that.
fn beginning(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl Avro {
    /// Whether it is one of several types.
    pub(super) fn is_union(&self) -> bool {
        matches!(self.root, Node::Union(_))
    }

    fn named(&self, at: usize) -> &Named {
        &self.named[at]
    }
}
