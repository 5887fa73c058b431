//! A process's configuration, laid in three layers: a TOML file, the environment, `--set` on the command line; the last wins.
//!
//! Promises: every fault of every layer is named in one message. An unknown key is refused with the nearest known one, but
//! in the environment, which others share, it only warns.
mod file; // In the order the layers lie.
mod keys;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::keys::Keys;
use crate::{Failure, Problems};

/// What a configuration must satisfy beyond the types of its values.
pub trait Settings {
    /// Notes all that is wrong, each with its key.
    fn problems(&self, problems: &mut Problems);
}

/// Where values come from, weakest first.
#[derive(Debug, Default)]
pub struct Sources {
    /// A TOML file.
    pub file: Option<PathBuf>,
    /// Variables of the environment. `GEMINGA_A__B_C` gives the key `a.b_c`.
    pub environment: Vec<(OsString, OsString)>,
    /// `KEY=VALUE` each.
    pub set: Vec<String>,
}

/// A configuration, and what its owner should hear about.
#[derive(Debug)]
pub struct Loaded<C> {
    /// Without faults.
    pub config: C,
    /// One sentence each.
    pub warnings: Vec<String>,
}

/// Lays the layers over the defaults. A failure names every fault and exits 64.
pub fn load<C>(sources: &Sources) -> Result<Loaded<C>, Failure>
where
    C: Serialize + DeserializeOwned + Default + Settings,
{
    let defaults = serde_json::to_value(C::default()).map_err(Failure::internal)?;
    let mut layers = Layers { keys: Keys::of(&defaults), given: vec![], faults: vec![], warnings: vec![] };
    if let Some(path) = &sources.file {
        file::read(path, &mut layers);
    }
    for (name, value) in &sources.environment {
        layers.take_variable(name, value);
    }
    for pair in &sources.set {
        layers.take_pair(pair);
    }
    let Layers { keys, given, mut faults, warnings } = layers;
    let mut tree = defaults.clone();
    for given in given {
        let fits = |value: &Value| -> Result<(), String> {
            let mut alone = defaults.clone();
            keys::set(&mut alone, &given.key, value.clone());
            serde_json::from_value::<C>(alone).map(drop).map_err(|error| error.to_string())
        };
        match given.value.settle(keys.default_of(&given.key), fits) {
            Ok(value) => keys::set(&mut tree, &given.key, value),
            Err(problem) => {
                faults.push(Fault { text: format!("{}: {}: {problem}", given.origin, given.key), key: Some(given.key) })
            }
        }
    }
    let config: C = serde_json::from_value(tree).map_err(Failure::internal)?;
    let mut problems = Problems::default();
    config.problems(&mut problems);
    // A key whose value was refused still has its default here, which would be blamed for nothing.
    let refused = |problem: &&String| {
        faults.iter().any(|fault| fault.key.as_ref().is_some_and(|key| problem.starts_with(&format!("{key}: "))))
    };
    let found: Vec<String> = problems.found().iter().filter(|problem| !refused(problem)).cloned().collect();
    let all: Vec<String> = faults.into_iter().map(|fault| fault.text).chain(found).collect();
    match all.len() {
        0 => Ok(Loaded { config, warnings }),
        1 => Err(Failure::usage(format!("wrong configuration: {}", all[0]))),
        count => Err(Failure::usage(format!("wrong configuration, {count} faults:\n  {}", all.join("\n  ")))),
    }
}

/// All keys with their defaults, one a line, as `--help` shows them.
pub(crate) fn describe<C: Serialize + Default>() -> String {
    let defaults = serde_json::to_value(C::default()).unwrap_or_default();
    let keys = Keys::of(&defaults);
    let width = keys.names().map(str::len).max().unwrap_or(0);
    let line = |key: &str| {
        let default = match keys.default_of(key) {
            Value::Null => "(none)".to_owned(),
            value => value.to_string(),
        };
        format!("  {key:width$}  {default}\n")
    };
    keys.names().map(line).collect()
}

/// Variables that belong to the command line client, which often runs in the same environment.
const CLIENT_VARIABLES: [&str; 2] = ["GEMINGA_URL", "GEMINGA_ADMIN"];

/// What was read so far.
struct Layers {
    keys: Keys,
    given: Vec<Given>,
    faults: Vec<Fault>,
    warnings: Vec<String>,
}

/// One value for one known key.
struct Given {
    origin: String,
    key: String,
    value: GivenValue,
}

enum GivenValue {
    /// From a place that knows no types.
    Text(String),
    Typed(Value),
}

struct Fault {
    text: String,
    /// The key whose value was refused.
    key: Option<String>,
}

impl Layers {
    fn fault(&mut self, text: String) {
        self.faults.push(Fault { text, key: None });
    }

    fn take_variable(&mut self, name: &OsString, value: &OsString) {
        let Some(name) = name.to_str().filter(|name| !CLIENT_VARIABLES.contains(name)) else { return };
        let Some(key) = name.strip_prefix("GEMINGA_") else { return };
        let key = key.to_ascii_lowercase().replace("__", ".");
        if !self.keys.has(&key) {
            let nearest = variable(self.keys.nearest(&key));
            self.warnings.push(format!("environment variable {name} is ignored; the nearest known is {nearest}"));
            return;
        }
        match value.to_str() {
            Some(text) => self.given.push(Given {
                origin: format!("environment variable {name}"),
                key,
                value: GivenValue::Text(text.into()),
            }),
            None => {
                let text = format!("environment variable {name}: {key}: the value is not UTF-8");
                self.faults.push(Fault { text, key: Some(key) });
            }
        }
    }

    fn take_pair(&mut self, pair: &str) {
        let origin = format!("--set {pair}");
        match pair.split_once('=') {
            None => self.fault(format!("{origin}: write KEY=VALUE")),
            Some((key, _)) if !self.keys.has(key) => self.refuse_key(&origin, key),
            Some((key, text)) => {
                self.given.push(Given { origin, key: key.into(), value: GivenValue::Text(text.into()) });
            }
        }
    }

    fn refuse_key(&mut self, origin: &str, key: &str) {
        let text = match self.keys.below(key) {
            Some(some) => format!("{origin}: `{key}` is a section; its keys are {some}"),
            None => format!("{origin}: unknown key `{key}`; the nearest known is `{}`", self.keys.nearest(key)),
        };
        self.fault(text);
    }
}

fn variable(key: &str) -> String {
    format!("GEMINGA_{}", key.replace('.', "__").to_ascii_uppercase())
}

impl GivenValue {
    /// The value as `fits` takes it. Text becomes what the default is; without a default, whatever fits first.
    fn settle(self, default: &Value, fits: impl Fn(&Value) -> Result<(), String>) -> Result<Value, String> {
        let candidates = match self {
            Self::Typed(value) => vec![value],
            Self::Text(text) => candidates(&text, default)?,
        };
        let mut problem = String::new();
        for candidate in candidates.into_iter().rev() {
            match fits(&candidate) {
                Ok(()) => return Ok(candidate),
                Err(error) => problem = error, // The plainest reading is tried last, and its complaint is the one to show.
            }
        }
        Err(problem)
    }
}

/// What `text` may mean, the plainest reading first.
fn candidates(text: &str, default: &Value) -> Result<Vec<Value>, String> {
    Ok(match default {
        Value::Bool(_) => {
            vec![text.parse().map(Value::Bool).map_err(|_| format!("`{text}` is neither true nor false"))?]
        }
        Value::Number(_) => vec![number(text).ok_or_else(|| format!("`{text}` is not a number"))?],
        Value::Array(items) => {
            let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
            let texts = Value::Array(parts.iter().map(|part| Value::from(*part)).collect());
            let numbers = parts.iter().map(|part| number(part)).collect::<Option<_>>().map(Value::Array);
            match items.first() {
                Some(Value::Number(_)) => vec![numbers.ok_or_else(|| format!("`{text}` is not a list of numbers"))?],
                Some(_) => vec![texts],
                None => std::iter::once(texts).chain(numbers).collect(),
            }
        }
        Value::Null if text.is_empty() => vec![Value::Null],
        Value::Null => {
            let other = number(text).or_else(|| text.parse().ok().map(Value::Bool));
            let list = Value::Array(text.split(',').map(|part| Value::from(part.trim())).collect());
            [Some(Value::from(text)), other, Some(list)].into_iter().flatten().collect()
        }
        Value::String(_) | Value::Object(_) => vec![Value::from(text)],
    })
}

fn number(text: &str) -> Option<Value> {
    let text = text.trim();
    let whole = text.parse::<i64>().map(Value::from).or_else(|_| text.parse::<u64>().map(Value::from));
    whole.ok().or_else(|| text.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(Value::Number))
}
