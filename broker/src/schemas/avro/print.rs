//! A schema as Apache Pulsar shows it when it refuses another.
use serde_json::Value;

use super::{Attributes, Avro, Field, FullName, Node, Shape, beginning};

/// Of a larger schema only the beginning is shown.
const SHOWN_MAX: usize = 16 * 1024;

impl Avro {
    /// Over several lines.
    pub(in crate::schemas) fn pretty(&self) -> String {
        let mut printer = Printer { schema: self, shown: vec![false; self.named.len()], text: String::new(), depth: 0 };
        let root = printer.tree(&self.root, "");
        printer.print(&root);
        beginning(&printer.text, SHOWN_MAX).to_owned()
    }
}

/// JSON whose members have an order.
enum Tree {
    Leaf(Value),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl From<&str> for Tree {
    fn from(text: &str) -> Self {
        Self::Leaf(text.into())
    }
}

impl From<&Value> for Tree {
    fn from(value: &Value) -> Self {
        match value {
            Value::Array(values) => Self::List(values.iter().map(Self::from).collect()),
            Value::Object(members) => {
                Self::Object(members.iter().map(|(name, value)| (name.clone(), Self::from(value))).collect())
            }
            leaf => Self::Leaf(leaf.clone()),
        }
    }
}

struct Printer<'a> {
    schema: &'a Avro,
    shown: Vec<bool>,
    text: String,
    depth: usize,
}

/// Members of an object, in order.
type Members = Vec<(String, Tree)>;

fn member(members: &mut Members, name: &str, tree: impl Into<Tree>) {
    members.push((name.into(), tree.into()));
}

fn attributes(members: &mut Members, attributes: &Attributes) {
    members.extend(attributes.iter().map(|(name, value)| (name.clone(), Tree::from(value))));
}

fn names<'a>(members: &mut Members, list: impl Iterator<Item = &'a String>) {
    let names: Vec<Tree> = list.map(|name| Tree::from(name.as_str())).collect();
    if !names.is_empty() {
        member(members, "aliases", Tree::List(names));
    }
}

/// As it is written within a space.
fn written(name: &FullName, space: &str) -> String {
    if name.space == space { name.name.clone() } else { name.to_string() }
}

impl Printer<'_> {
    fn tree(&mut self, node: &Node, space: &str) -> Tree {
        match node {
            Node::Primitive(primitive, more) if more.is_empty() => primitive.name().into(),
            Node::Primitive(primitive, more) => {
                let mut members: Members = vec![("type".into(), primitive.name().into())];
                attributes(&mut members, more);
                Tree::Object(members)
            }
            Node::Array(items, more) => self.container("array", "items", items, more, space),
            Node::Map(values, more) => self.container("map", "values", values, more, space),
            Node::Union(branches) => Tree::List(branches.iter().map(|branch| self.tree(branch, space)).collect()),
            Node::Named(at) if self.shown[*at] => written(&self.schema.named(*at).name, space).as_str().into(),
            Node::Named(at) => self.definition(*at, space),
        }
    }

    fn container(&mut self, kind: &str, of: &str, node: &Node, more: &Attributes, space: &str) -> Tree {
        let mut members: Members = vec![("type".into(), kind.into())];
        let inner = self.tree(node, space);
        member(&mut members, of, inner);
        attributes(&mut members, more);
        Tree::Object(members)
    }

    fn definition(&mut self, at: usize, space: &str) -> Tree {
        self.shown[at] = true;
        let schema = self.schema;
        let named = schema.named(at);
        let kind = match &named.shape {
            Shape::Record { error: false, .. } => "record",
            Shape::Record { error: true, .. } => "error",
            Shape::Enum { .. } => "enum",
            Shape::Fixed { .. } => "fixed",
        };
        let mut members: Members = vec![("type".into(), kind.into())];
        member(&mut members, "name", named.name.name.as_str());
        if named.name.space != space {
            member(&mut members, "namespace", named.name.space.as_str());
        }
        if let Some(text) = &named.documentation {
            member(&mut members, "doc", text.as_str());
        }
        match &named.shape {
            Shape::Record { fields, .. } => {
                let fields = fields.iter().map(|field| self.field(field, &named.name.space)).collect();
                member(&mut members, "fields", Tree::List(fields));
            }
            Shape::Enum { symbols, default } => {
                let list = symbols.iter().map(|symbol| Tree::from(symbol.as_str())).collect();
                member(&mut members, "symbols", Tree::List(list));
                if let Some(default) = default {
                    member(&mut members, "default", default.as_str());
                }
            }
            Shape::Fixed { size } => member(&mut members, "size", Tree::Leaf((*size).into())),
        }
        attributes(&mut members, &named.attributes);
        let aliases: Vec<String> = named.aliases.iter().map(|alias| written(alias, &named.name.space)).collect();
        names(&mut members, aliases.iter());
        Tree::Object(members)
    }

    fn field(&mut self, field: &Field, space: &str) -> Tree {
        let mut members: Members = vec![("name".into(), field.name.as_str().into())];
        let node = self.tree(&field.node, space);
        member(&mut members, "type", node);
        if let Some(text) = &field.documentation {
            member(&mut members, "doc", text.as_str());
        }
        if let Some(default) = &field.default {
            member(&mut members, "default", default);
        }
        if let Some(order) = field.order {
            member(&mut members, "order", order);
        }
        names(&mut members, field.aliases.iter());
        attributes(&mut members, &field.attributes);
        Tree::Object(members)
    }

    fn print(&mut self, tree: &Tree) {
        if SHOWN_MAX < self.text.len() {
            return;
        }
        match tree {
            Tree::Leaf(value) => self.text.push_str(&value.to_string()),
            Tree::List(list) if list.is_empty() => self.text.push_str("[ ]"),
            Tree::List(list) => {
                self.text.push_str("[ ");
                for (index, tree) in list.iter().enumerate() {
                    if 0 < index {
                        self.text.push_str(", ");
                    }
                    self.print(tree);
                }
                self.text.push_str(" ]");
            }
            Tree::Object(members) if members.is_empty() => self.text.push_str("{ }"),
            Tree::Object(members) => self.members(members),
        }
    }

    fn members(&mut self, members: &[(String, Tree)]) {
        self.text.push('{');
        self.depth += 1;
        for (index, (name, tree)) in members.iter().enumerate() {
            self.text.push_str(if 0 < index { ",\n" } else { "\n" });
            self.text.push_str(&"  ".repeat(self.depth));
            self.text.push_str(&Value::from(name.as_str()).to_string());
            self.text.push_str(" : ");
            self.print(tree);
        }
        self.depth -= 1;
        self.text.push('\n');
        self.text.push_str(&"  ".repeat(self.depth));
        self.text.push('}');
    }
}
