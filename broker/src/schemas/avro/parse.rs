//! From JSON to a schema. What Apache Pulsar's parser refuses is refused in its words; defaults need not fit, as there.
use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Value};

use super::{Attributes, Avro, Field, FullName, Named, Node, Primitive, Shape, beginning};

/// Why a text is no schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(in crate::schemas) struct ParseError(String);

/// What no attribute is called.
const RESERVED: [&str; 11] =
    ["doc", "fields", "items", "name", "namespace", "size", "symbols", "values", "type", "aliases", "default"];
const RESERVED_OF_FIELDS: [&str; 6] = ["default", "doc", "name", "order", "type", "aliases"];
/// Longer pieces of a schema are not repeated to whoever sent it.
const QUOTED_MAX: usize = 200;

impl Avro {
    /// Reads a schema. Nesting is bounded by the reader of JSON.
    pub(in crate::schemas) fn parse(data: &[u8]) -> Result<Self, ParseError> {
        let text = std::str::from_utf8(data).map_err(|error| ParseError(error.to_string()))?;
        if text.trim().is_empty() {
            return Err(ParseError("Cannot parse <null> schema".into()));
        }
        let value: Value = serde_json::from_str(text).map_err(|error| ParseError(error.to_string()))?;
        let mut parser = Parser::default();
        let root = parser.node(&value, "")?;
        Ok(Self { root, named: parser.named.into_iter().flatten().collect() })
    }
}

#[derive(Default)]
struct Parser {
    /// `None` while it is being read: it may refer to itself.
    named: Vec<Option<Named>>,
    places: HashMap<FullName, usize>,
}

impl Parser {
    fn node(&mut self, value: &Value, space: &str) -> Result<Node, ParseError> {
        match value {
            Value::String(name) => self.reference(name, space),
            Value::Array(branches) => self.union(branches, space),
            Value::Object(object) => self.object(value, object, space),
            other => Err(ParseError(format!("Schema not yet supported: {}", quoted(other)))),
        }
    }

    fn reference(&self, name: &str, space: &str) -> Result<Node, ParseError> {
        if let Some(primitive) = Primitive::named(name) {
            return Ok(Node::Primitive(primitive, Attributes::new()));
        }
        let near = self.places.get(&FullName::new(name, space));
        let place = near.or_else(|| self.places.get(&FullName::new(name, "")));
        place.map(|place| Node::Named(*place)).ok_or_else(|| ParseError(format!("Undefined name: \"{}\"", cut(name))))
    }

    fn union(&mut self, branches: &[Value], space: &str) -> Result<Node, ParseError> {
        let nodes = branches.iter().map(|branch| self.node(branch, space)).collect::<Result<Vec<_>, _>>()?;
        let mut seen = HashSet::new();
        for node in &nodes {
            let name = match node {
                Node::Union(_) => return Err(ParseError(format!("Nested union: {}", quoted(&Value::from(branches))))),
                Node::Primitive(primitive, _) => primitive.name().to_owned(),
                Node::Array(..) => "array".into(),
                Node::Map(..) => "map".into(),
                Node::Named(place) => format!(" {place}"), // No name begins with a space.
            };
            if !seen.insert(name.clone()) {
                return Err(ParseError(format!("Duplicate in union:{}", name.trim_start())));
            }
        }
        Ok(Node::Union(nodes))
    }

    fn object(&mut self, whole: &Value, object: &Map<String, Value>, space: &str) -> Result<Node, ParseError> {
        let lacking = |what: &str| ParseError(format!("{what}: {}", quoted(whole)));
        let kind = object.get("type").and_then(Value::as_str).ok_or_else(|| lacking("No type"))?;
        let attributes = attributes(object, &RESERVED);
        if let Some(primitive) = Primitive::named(kind) {
            return Ok(Node::Primitive(primitive, attributes));
        }
        match kind {
            "record" | "error" | "enum" | "fixed" => self.definition(whole, object, kind, space),
            "array" => {
                let items = object.get("items").ok_or_else(|| lacking("Array has no items type"))?;
                Ok(Node::Array(Box::new(self.node(items, space)?), attributes))
            }
            "map" => {
                let values = object.get("values").ok_or_else(|| lacking("Map has no values type"))?;
                Ok(Node::Map(Box::new(self.node(values, space)?), attributes))
            }
            other => {
                let known = self.reference(other, space);
                known.map_err(|_| ParseError(format!("Type not supported: {}", cut(other))))
            }
        }
    }

    fn definition(
        &mut self,
        whole: &Value,
        object: &Map<String, Value>,
        kind: &str,
        space: &str,
    ) -> Result<Node, ParseError> {
        let lacking = |what: &str| ParseError(format!("{what}: {}", quoted(whole)));
        let name = object.get("name").and_then(Value::as_str).ok_or_else(|| lacking("No name in schema"))?;
        let name = FullName::new(name, object.get("namespace").and_then(Value::as_str).unwrap_or(space));
        check_name(&name.name)?;
        let place = self.named.len();
        if Primitive::named(&name.to_string()).is_some() {
            return Err(ParseError(format!("Schemas may not be named after primitive types: {name}")));
        }
        if self.places.insert(name.clone(), place).is_some() {
            return Err(ParseError(format!("Can't redefine: {}", cut(&name.to_string()))));
        }
        self.named.push(None);
        let shape = match kind {
            "enum" => enumeration(object).map_err(|what| lacking_or(what, whole))?,
            "fixed" => fixed(object).map_err(|what| lacking_or(what, whole))?,
            _ => self.record(whole, object, &name, kind == "error")?,
        };
        let aliases = texts(object.get("aliases")).iter().map(|alias| FullName::new(alias, &name.space)).collect();
        let documentation = object.get("doc").and_then(Value::as_str).map(str::to_owned);
        let attributes = attributes(object, &RESERVED);
        self.named[place] = Some(Named { name, aliases, documentation, attributes, shape });
        Ok(Node::Named(place))
    }

    fn record(
        &mut self,
        whole: &Value,
        object: &Map<String, Value>,
        name: &FullName,
        error: bool,
    ) -> Result<Shape, ParseError> {
        let fields = object.get("fields").and_then(Value::as_array);
        let fields = fields.ok_or_else(|| ParseError(format!("Record has no fields: {}", quoted(whole))))?;
        let mut seen = HashSet::new();
        let mut read = Vec::with_capacity(fields.len());
        for field in fields {
            let field = self.field(field, &name.space)?;
            if !seen.insert(field.name.clone()) {
                return Err(ParseError(format!("Duplicate field {} in record {name}", field.name)));
            }
            read.push(field);
        }
        Ok(Shape::Record { fields: read, error })
    }

    fn field(&mut self, value: &Value, space: &str) -> Result<Field, ParseError> {
        let lacking = |what: &str| ParseError(format!("{what}: {}", quoted(value)));
        let object = value.as_object().ok_or_else(|| lacking("A field is no object"))?;
        let name = object.get("name").and_then(Value::as_str).ok_or_else(|| lacking("No field name"))?;
        check_name(name)?;
        let node = self.node(object.get("type").ok_or_else(|| lacking("No field type"))?, space)?;
        let order = match object.get("order").and_then(Value::as_str).map(str::to_ascii_lowercase).as_deref() {
            None | Some("ascending") => None,
            Some("descending") => Some("descending"),
            Some("ignore") => Some("ignore"),
            Some(other) => return Err(ParseError(format!("There is no order {}", cut(other)))),
        };
        Ok(Field {
            name: name.into(),
            aliases: texts(object.get("aliases")),
            documentation: object.get("doc").and_then(Value::as_str).map(str::to_owned),
            node,
            default: object.get("default").cloned(),
            order,
            attributes: attributes(object, &RESERVED_OF_FIELDS),
        })
    }
}

/// What a definition lacks, or what is wrong with it.
enum Wrong {
    Lacks(&'static str),
    Is(String),
}

fn lacking_or(wrong: Wrong, whole: &Value) -> ParseError {
    match wrong {
        Wrong::Lacks(what) => ParseError(format!("{what}: {}", quoted(whole))),
        Wrong::Is(text) => ParseError(text),
    }
}

fn enumeration(object: &Map<String, Value>) -> Result<Shape, Wrong> {
    let symbols = object.get("symbols").filter(|symbols| symbols.is_array());
    let symbols = texts(Some(symbols.ok_or(Wrong::Lacks("Enum has no symbols"))?));
    let mut seen = HashSet::new();
    for symbol in &symbols {
        check_name(symbol).map_err(|error| Wrong::Is(error.to_string()))?;
        if !seen.insert(symbol) {
            return Err(Wrong::Is(format!("Duplicate enum symbol: {}", cut(symbol))));
        }
    }
    let default = object.get("default").and_then(Value::as_str).map(str::to_owned);
    if let Some(absent) = default.as_ref().filter(|default| !symbols.contains(default)) {
        return Err(Wrong::Is(format!("The Enum Default: {} is not in the enum symbol set", cut(absent))));
    }
    Ok(Shape::Enum { symbols, default })
}

fn fixed(object: &Map<String, Value>) -> Result<Shape, Wrong> {
    let size = object.get("size").and_then(Value::as_i64).ok_or(Wrong::Lacks("Invalid or no size"))?;
    let size = u64::try_from(size).map_err(|_| Wrong::Is(format!("Malformed data. Length is negative: {size}")))?;
    Ok(Shape::Fixed { size })
}

fn check_name(name: &str) -> Result<(), ParseError> {
    let Some(first) = name.chars().next() else { return Err(ParseError("Empty name".into())) };
    if !(first.is_alphabetic() || first == '_') {
        return Err(ParseError(format!("Illegal initial character: {}", cut(name))));
    }
    if !name.chars().all(|letter| letter.is_alphanumeric() || letter == '_') {
        return Err(ParseError(format!("Illegal character in: {}", cut(name))));
    }
    Ok(())
}

fn attributes(object: &Map<String, Value>, reserved: &[&str]) -> Attributes {
    let free = object.iter().filter(|(name, _)| !reserved.contains(&name.as_str()));
    free.map(|(name, value)| (name.clone(), value.clone())).collect::<BTreeMap<_, _>>()
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn quoted(value: &Value) -> String {
    cut(&value.to_string()).into()
}

fn cut(text: &str) -> &str {
    beginning(text, QUOTED_MAX)
}
