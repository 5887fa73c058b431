//! What a command was given, by the names of its arguments.
use std::collections::BTreeMap;

use clap::ArgMatches;
use serde_json::{Map, Value};

use super::verb::{Argument, Verb};

/// The values of one command line, as they are sent.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Given(BTreeMap<&'static str, Value>);

impl Given {
    pub(super) fn of(verb: &Verb, matches: &ArgMatches) -> Self {
        let given = |argument: &Argument| {
            let is_off = |value: &&Value| **value == Value::Bool(false);
            let values = matches.get_many::<Value>(argument.name)?.filter(|value| !is_off(value)).cloned();
            Some((argument.name, values.reduce(gather)?))
        };
        Self(verb.takes.iter().filter_map(given).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// What was given as a text, or nothing.
    pub(super) fn text(&self, name: &str) -> &str {
        self.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn set(&mut self, name: &'static str, value: Value) {
        self.0.insert(name, value);
    }
}

/// One value of an argument that may be given several times.
fn gather(all: Value, next: Value) -> Value {
    match (all, next) {
        (Value::Array(mut all), Value::Array(next)) => {
            all.extend(next);
            Value::Array(all)
        }
        (Value::Object(all), Value::Object(next)) => Value::Object(all.into_iter().chain(next).collect::<Map<_, _>>()),
        (_, next) => next,
    }
}
