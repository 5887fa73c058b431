//! Whether data written with one schema can be read with another, as Avro's Java library decides it.
use std::collections::HashMap;

use serde_json::Value;

use super::{Avro, Field, FullName, Named, Node, Primitive, Shape};

/// Comparisons that one question may cost. Schemas of thousands of records need fewer.
const STEPS_MAX: u32 = 1_000_000;
/// How deep types may lie in types of both schemas.
const DEPTH_MAX: u32 = 200;

/// Why it cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::schemas) enum Unresolved {
    #[error("the data does not tell what the reader needs")]
    Mismatch,
    #[error("Invalid default for field {0}")]
    Default(String),
    /// Comparing was given up.
    #[error("the schemas are too large or nested too deeply to be compared")]
    TooComplex,
}

/// Whether whoever has `reader` can read what was written with `writer`.
pub(in crate::schemas) fn can_read(writer: &Avro, reader: &Avro) -> Result<(), Unresolved> {
    let mut resolver = Resolver {
        writer,
        reader,
        names: HashMap::new(),
        fields: HashMap::new(),
        pairs: HashMap::new(),
        trail: Vec::new(),
        steps: STEPS_MAX,
        depth: 0,
    };
    resolver.note_aliases();
    resolver.node(&writer.root, &reader.root)
}

struct Resolver<'a> {
    writer: &'a Avro,
    reader: &'a Avro,
    /// What the reader calls a type that the writer calls otherwise.
    names: HashMap<&'a FullName, &'a FullName>,
    /// The same for fields of the reader's record.
    fields: HashMap<(&'a FullName, &'a str), &'a str>,
    /// What came out of pairs of records. While one is being compared it counts as fitting: that is how recursive types end.
    pairs: HashMap<(usize, usize), bool>,
    /// Pairs that were found to fit, in that order: some because others were assumed to.
    trail: Vec<(usize, usize)>,
    steps: u32,
    depth: u32,
}

const MISMATCH: Result<(), Unresolved> = Err(Unresolved::Mismatch);

fn fits(condition: bool) -> Result<(), Unresolved> {
    if condition { Ok(()) } else { MISMATCH }
}

impl<'a> Resolver<'a> {
    fn note_aliases(&mut self) {
        for named in &self.reader.named {
            for alias in &named.aliases {
                self.names.insert(alias, &named.name);
            }
            let Shape::Record { fields, .. } = &named.shape else { continue };
            for field in fields {
                for alias in &field.aliases {
                    self.fields.insert((&named.name, alias.as_str()), &field.name);
                }
            }
        }
    }

    /// A writer's type by the reader's name for it.
    fn name_of(&self, named: &'a Named) -> &'a FullName {
        self.names.get(&named.name).copied().unwrap_or(&named.name)
    }

    fn node(&mut self, writer: &'a Node, reader: &'a Node) -> Result<(), Unresolved> {
        self.steps = self.steps.checked_sub(1).ok_or(Unresolved::TooComplex)?;
        if DEPTH_MAX < self.depth {
            return Err(Unresolved::TooComplex);
        }
        self.depth += 1;
        let outcome = self.pair(writer, reader);
        self.depth -= 1;
        outcome
    }

    fn pair(&mut self, writer: &'a Node, reader: &'a Node) -> Result<(), Unresolved> {
        match (writer, reader) {
            (Node::Union(branches), _) => branches.iter().try_for_each(|branch| self.node(branch, reader)),
            (Node::Array(writer, _), Node::Array(reader, _)) | (Node::Map(writer, _), Node::Map(reader, _)) => {
                self.node(writer, reader)
            }
            (Node::Named(writer), Node::Named(reader)) => self.named(*writer, *reader),
            (Node::Primitive(writer, _), Node::Primitive(reader, _)) => {
                fits(writer == reader || promotes(*writer, *reader))
            }
            (writer, Node::Union(branches)) => match self.branch(writer, branches)? {
                Some(branch) => self.node(writer, branch),
                None => MISMATCH,
            },
            _ => MISMATCH,
        }
    }

    fn named(&mut self, at: usize, other: usize) -> Result<(), Unresolved> {
        let (writer, reader) = (self.writer.named(at), self.reader.named(other));
        let same_name = self.name_of(writer) == &reader.name;
        match (&writer.shape, &reader.shape) {
            // Names of records need not be the same, and a symbol that a reader does not know counts once it comes: as in Java.
            (Shape::Record { .. }, Shape::Record { .. }) => self.records(at, other),
            (Shape::Enum { .. }, Shape::Enum { .. }) => fits(same_name),
            (Shape::Fixed { size }, Shape::Fixed { size: wanted }) => fits(same_name && size == wanted),
            _ => MISMATCH,
        }
    }

    fn records(&mut self, at: usize, other: usize) -> Result<(), Unresolved> {
        match self.pairs.get(&(at, other)) {
            Some(true) => return Ok(()),
            Some(false) => return MISMATCH,
            None => {}
        }
        self.pairs.insert((at, other), true);
        let before = self.trail.len();
        self.trail.push((at, other));
        let outcome = self.fields(self.writer.named(at), self.reader.named(other));
        if outcome.is_err() {
            // What was found to fit meanwhile may have rested on this pair.
            for pair in self.trail.drain(before..) {
                self.pairs.remove(&pair);
            }
            self.pairs.insert((at, other), false);
        }
        outcome
    }

    fn fields(&mut self, writer: &'a Named, reader: &'a Named) -> Result<(), Unresolved> {
        let (Shape::Record { fields: written, .. }, Shape::Record { fields: wanted, .. }) =
            (&writer.shape, &reader.shape)
        else {
            return MISMATCH;
        };
        let record = self.name_of(writer);
        let by_name: HashMap<&str, &'a Field> = written
            .iter()
            .map(|field| (self.fields.get(&(record, field.name.as_str())).copied().unwrap_or(&field.name), field))
            .collect();
        for field in wanted {
            match (by_name.get(field.name.as_str()), &field.default) {
                (Some(there), _) => self.node(&there.node, &field.node)?,
                (None, None) => return MISMATCH,
                (None, Some(default)) => {
                    if !self.is_default(&field.node, default, 0)? {
                        return Err(Unresolved::Default(field.name.clone()));
                    }
                }
            }
        }
        Ok(())
    }

    /// The branch of a reader's union for one type: by name or kind, a record of the same shape, or a wider primitive.
    fn branch(&mut self, writer: &'a Node, branches: &'a [Node]) -> Result<Option<&'a Node>, Unresolved> {
        let mut similar: Option<&'a Node> = None;
        for branch in branches {
            match (writer, branch) {
                (Node::Named(at), Node::Named(other)) => {
                    let (named, wanted) = (self.writer.named(*at), self.reader.named(*other));
                    if std::mem::discriminant(&named.shape) != std::mem::discriminant(&wanted.shape) {
                        continue;
                    }
                    let name = self.name_of(named);
                    if *name == wanted.name {
                        return Ok(Some(branch));
                    }
                    let better = similar.is_none() || name.name == wanted.name.name;
                    if better && matches!(named.shape, Shape::Record { .. }) {
                        match self.node(writer, branch) {
                            Ok(()) => similar = Some(branch),
                            Err(Unresolved::TooComplex) => return Err(Unresolved::TooComplex),
                            Err(Unresolved::Mismatch | Unresolved::Default(_)) => {}
                        }
                    }
                }
                (Node::Primitive(one, _), Node::Primitive(other, _)) if one == other => return Ok(Some(branch)),
                (Node::Array(..), Node::Array(..)) | (Node::Map(..), Node::Map(..)) => return Ok(Some(branch)),
                _ => {}
            }
        }
        let Node::Primitive(written, _) = writer else { return Ok(similar) };
        let wider = |branch: &&Node| matches!(branch, Node::Primitive(wider, _) if promotes(*written, *wider));
        Ok(branches.iter().find(wider))
    }

    /// Whether a value can stand for a field that is not there. Of a union it must fit the first branch.
    fn is_default(&mut self, node: &'a Node, value: &Value, depth: u32) -> Result<bool, Unresolved> {
        self.steps = self.steps.checked_sub(1).ok_or(Unresolved::TooComplex)?;
        if DEPTH_MAX < depth {
            return Err(Unresolved::TooComplex);
        }
        let deeper = depth + 1;
        Ok(match (node, value) {
            (Node::Primitive(primitive, _), value) => is_primitive(*primitive, value),
            (Node::Array(items, _), Value::Array(values)) => self.all_default(values.iter(), items, deeper)?,
            (Node::Map(items, _), Value::Object(values)) => self.all_default(values.values(), items, deeper)?,
            (Node::Union(branches), value) => match branches.first() {
                Some(branch) => self.is_default(branch, value, deeper)?,
                None => false,
            },
            (Node::Named(at), value) => match (&self.reader.named(*at).shape, value) {
                (Shape::Enum { .. } | Shape::Fixed { .. }, value) => value.is_string(),
                (Shape::Record { fields, .. }, Value::Object(values)) => {
                    for field in fields {
                        match values.get(&field.name).or(field.default.as_ref()) {
                            Some(value) if self.is_default(&field.node, value, deeper)? => {}
                            _ => return Ok(false),
                        }
                    }
                    true
                }
                _ => false,
            },
            _ => false,
        })
    }

    fn all_default<'v>(
        &mut self,
        values: impl Iterator<Item = &'v Value>,
        node: &'a Node,
        depth: u32,
    ) -> Result<bool, Unresolved> {
        for value in values {
            if !self.is_default(node, value, depth)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn promotes(writer: Primitive, reader: Primitive) -> bool {
    use Primitive::{Bytes, Double, Float, Int, Long, String};
    matches!(
        (writer, reader),
        (Int, Long | Float | Double) | (Long, Float | Double) | (Float, Double) | (String, Bytes) | (Bytes, String)
    )
}

fn is_primitive(primitive: Primitive, value: &Value) -> bool {
    match primitive {
        Primitive::Null => value.is_null(),
        Primitive::Boolean => value.is_boolean(),
        Primitive::Int => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        Primitive::Long => value.as_i64().is_some(),
        Primitive::Float | Primitive::Double => value.is_number(),
        Primitive::Bytes | Primitive::String => value.is_string(),
    }
}
