//! One request, made from a row of the table and what was given.
use serde_json::{Map, Value};

use super::given::Given;
use super::value::Kind;
use super::verb::{Goes, Method, Verb};

/// What is sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request {
    pub(super) method: Method,
    /// With the query.
    pub(super) path: String,
    pub(super) body: Option<Value>,
}

impl Request {
    /// As the table says.
    pub(super) fn of(verb: &Verb, given: &Given) -> Self {
        Self {
            method: verb.method,
            path: with_query(verb, given, path(verb, given, verb.path)),
            body: body(verb, given),
        }
    }

    /// To another path, with nothing but what stands in it.
    pub(super) fn to(method: Method, verb: &Verb, given: &Given, template: &str) -> Self {
        Self { method, path: path(verb, given, template), body: None }
    }

    pub(super) fn with(self, body: impl Into<Value>) -> Self {
        Self { body: Some(body.into()), ..self }
    }
}

fn path(verb: &Verb, given: &Given, template: &str) -> String {
    let mut path = if template.starts_with('/') { String::new() } else { "/admin/v2/".into() };
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').expect("braces of the table are closed");
        path += before;
        let (slash, name) = name.strip_prefix('/').map_or(("", name), |name| ("/", name));
        if let Some(value) = given.get(name) {
            let kind = verb.takes.iter().find(|argument| argument.name == name).map(|argument| argument.kind);
            path += slash;
            path += &segments(kind, value);
        }
        rest = after;
    }
    path + rest
}

/// As it stands in a path. Slashes inside a topic's own name are not those of the path.
fn segments(kind: Option<Kind>, value: &Value) -> String {
    let text = plain(value);
    match kind {
        Some(Kind::Namespace) => text,
        Some(Kind::Topic | Kind::TopicOfSchema) => {
            let (domain, rest) = text.split_once("://").unwrap_or(("", &text));
            let parts = rest.splitn(3, '/').map(encode);
            let domain = (kind == Some(Kind::Topic)).then(|| domain.to_owned());
            domain.into_iter().chain(parts).collect::<Vec<_>>().join("/")
        }
        _ => encode(&text),
    }
}

fn with_query(verb: &Verb, given: &Given, path: String) -> String {
    let mut query = Vec::new();
    for argument in verb.takes {
        if let (Goes::Query(name), Some(value)) = (argument.goes, given.get(argument.name)) {
            query.push(format!("{name}={}", encode(&plain(value))));
        }
    }
    if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
}

fn body(verb: &Verb, given: &Given) -> Option<Value> {
    let mut whole = None;
    let mut fields = Map::new();
    let mut wanted = false;
    for argument in verb.takes {
        let value = given.get(argument.name).cloned();
        match argument.goes {
            Goes::Body => {
                let off = (argument.kind == Kind::Switch).then_some(Value::Bool(false));
                whole = whole.or(value.or(off).map(|value| (argument.name, value)));
            }
            Goes::Field(name) => {
                wanted = true;
                fields.extend(value.map(|value| (name.to_owned(), value)));
            }
            Goes::Path | Goes::Query(_) => {}
        }
    }
    match whole {
        Some((_, whole)) if fields.is_empty() => Some(whole),
        Some((_, Value::Object(whole))) => Some(Value::Object(whole.into_iter().chain(fields).collect())),
        Some((name, whole)) => {
            fields.insert(name.into(), whole);
            Some(Value::Object(fields))
        }
        None => wanted.then_some(Value::Object(fields)),
    }
}

/// Without the quotes of JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Percent-encodes what may not stand in a segment of a path.
fn encode(text: &str) -> String {
    let stays = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if stays(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
