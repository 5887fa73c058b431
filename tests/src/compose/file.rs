//! The compose file as text, and what is found wrong in it without an engine. Pure: no socket, no clock, no file.
use std::collections::BTreeSet;

use daemon::config::{Sources, load};
use daemon::{Failure, Settings};
use saphyr::{LoadableYamlNode, ScalarOwned, YamlOwned};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Everyone else is for this network only.
const PUBLISHED: [&str; 2] = ["grafana", "proxy"];
/// Compose reads it by itself.
const OF_COMPOSE: &str = "COMPOSE_PROJECT_NAME";

/// A compose file, or several of which the later lie over the earlier.
#[derive(Debug, Clone, PartialEq)]
pub struct ComposeFile(Value);

/// Reads one YAML document.
pub fn yaml(text: &str) -> Result<Value, Failure> {
    let mut documents = YamlOwned::load_from_str(text).map_err(Failure::usage)?;
    match (documents.pop(), documents.len()) {
        (Some(document), 0) => value_of(document),
        _ => Err(Failure::usage("not one document")),
    }
}

fn value_of(node: YamlOwned) -> Result<Value, Failure> {
    Ok(match node {
        YamlOwned::Value(ScalarOwned::Null) => Value::Null,
        YamlOwned::Value(ScalarOwned::Boolean(flag)) => flag.into(),
        YamlOwned::Value(ScalarOwned::Integer(number)) => number.into(),
        YamlOwned::Value(ScalarOwned::FloatingPoint(number)) => number.into_inner().into(),
        YamlOwned::Value(ScalarOwned::String(text)) => text.into(),
        YamlOwned::Sequence(items) => Value::Array(items.into_iter().map(value_of).collect::<Result<_, _>>()?),
        YamlOwned::Mapping(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                let key = value_of(key)?;
                map.insert(key.as_str().map_or_else(|| key.to_string(), str::to_owned), value_of(value)?);
            }
            Value::Object(map)
        }
        other => return Err(Failure::usage(format!("no use is made here of {other:?}"))),
    })
}

fn lay_over(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                lay_over(below.entry(key).or_insert(Value::Null), value);
            }
        }
        (below, above) => *below = above,
    }
}

/// The keys of a mapping, or the items of a list.
fn names(value: &Value) -> Vec<&str> {
    let keys = value.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
    keys.chain(value.as_array().into_iter().flatten().filter_map(Value::as_str)).collect()
}

impl ComposeFile {
    /// Reads it.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        Ok(Self(yaml(text)?))
    }

    /// With another laid over it.
    #[must_use]
    pub fn under(mut self, above: Self) -> Self {
        lay_over(&mut self.0, above.0);
        self
    }

    /// By name.
    pub fn services(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0["services"].as_object().into_iter().flatten().map(|(name, service)| (name.as_str(), service))
    }

    /// All that would only show once it is started, or never. `variables` is the text of `.env` beside it.
    #[must_use]
    pub fn problems(&self, variables: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (name, service) in self.services() {
            let about = |problem: String| format!("{name}: {problem}");
            found.extend(
                [configuration(service), image(service), self.references(service)].concat().into_iter().map(about),
            );
            let publishes = !names(&service["ports"]).is_empty();
            if publishes != PUBLISHED.contains(&name) {
                let wrong =
                    if publishes { "nobody outside should reach it" } else { "it is what is reached from outside" };
                found.push(about(wrong.into()));
            }
        }
        let used: BTreeSet<&str> = self.services().flat_map(|(_, service)| volumes(service)).collect();
        let declared: BTreeSet<&str> = names(&self.0["volumes"]).into_iter().collect();
        found.extend(
            used.symmetric_difference(&declared).map(|name| format!("volume {name}: declared or used, not both")),
        );
        found.extend(wrong_variables(&self.0, variables));
        found
    }

    /// Services that it waits for, and whether they can ever be healthy.
    fn references(&self, service: &Value) -> Vec<String> {
        let mut found = Vec::new();
        for needed in names(&service["depends_on"]) {
            let other = &self.0["services"][needed];
            let asked = other["healthcheck"].is_object() || is_ours(other); // Our image brings a check along.
            match (other.is_object(), service["depends_on"][needed]["condition"].as_str()) {
                (false, _) => found.push(format!("waits for {needed}, which is no service")),
                (true, Some("service_healthy")) if asked => {}
                (true, condition) => found.push(format!("waits for {needed} to be {condition:?}, which nobody checks")),
            }
        }
        found
    }
}

fn is_ours(service: &Value) -> bool {
    service["image"].as_str().is_some_and(|image| image.starts_with("geminga:"))
}

/// The names of its volumes; what begins with a dot is a directory beside the file.
fn volumes(service: &Value) -> impl Iterator<Item = &str> {
    let sources = names(&service["volumes"]).into_iter().filter_map(|volume| volume.split(':').next());
    sources.filter(|source| !source.starts_with('.'))
}

/// What the program itself would say of its environment.
fn configuration(service: &Value) -> Vec<String> {
    if !is_ours(service) {
        return Vec::new();
    }
    match service["command"][0].as_str() {
        Some("geminga-broker") => faults::<broker::Config>(service),
        Some("geminga-bookie") => faults::<bookie::Config>(service),
        // The command line client takes arguments.
        Some("geminga") if service["environment"].is_null() => Vec::new(),
        command => vec![format!("{command:?} with an environment is no program of the image")],
    }
}

fn faults<C: Serialize + DeserializeOwned + Default + Settings>(service: &Value) -> Vec<String> {
    let pairs = service["environment"].as_object().into_iter().flatten();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let environment = pairs.map(|(name, value)| (name.into(), text(value).into())).collect();
    match load::<C>(&Sources { environment, ..Sources::default() }) {
        Ok(loaded) => loaded.warnings, // A process goes on without a key it does not know; here it is a mistake.
        Err(failure) => vec![failure.message],
    }
}

/// An image of somebody else that may be another one tomorrow.
fn image(service: &Value) -> Vec<String> {
    let image = service["image"].as_str().unwrap_or_default();
    let version = image.rsplit_once(':').map_or("", |(_, version)| version);
    let exact = 2 <= version.matches('.').count() || version.split('.').all(|part| part.parse::<u32>().is_ok());
    if is_ours(service) || exact { Vec::new() } else { vec![format!("the image `{image}` has no exact version")] }
}

/// Where Compose does not find `.env`, the defaults in the file hold. Both must say the same.
fn wrong_variables(value: &Value, variables: &str) -> Vec<String> {
    let lines = variables.lines().filter(|line| !line.starts_with('#'));
    let mut unused: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once('=')).collect();
    let shipped = unused.clone();
    unused.retain(|(name, _)| *name != OF_COMPOSE);
    let mut found = Vec::new();
    let mut texts = Vec::new();
    collect_texts(value, &mut texts);
    for inside in texts.iter().flat_map(|text| text.split("${").skip(1)).filter_map(|rest| rest.split('}').next()) {
        let (name, default) = inside.split_once(":-").unwrap_or((inside, ""));
        unused.retain(|(other, _)| *other != name);
        if !shipped.contains(&(name, default)) {
            found.push(format!("${{{name}}}: its default `{default}` is not what .env says"));
        }
    }
    found.extend(unused.into_iter().map(|(name, _)| format!(".env: nobody reads {name}")));
    found
}

fn collect_texts<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| collect_texts(item, found)),
        Value::Object(entries) => entries.values().for_each(|item| collect_texts(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
services:
  etcd: {image: 'etcd:v3.5.25', healthcheck: {test: x}, volumes: ['etcd:/data']}
  broker:
    image: geminga:local
    command: [geminga-broker]
    environment: &same {GEMINGA_METADATA: 'etcd://etcd:2379'}
    depends_on: {etcd: {condition: service_healthy}}
  bookie: {image: geminga:local, command: [geminga-bookie], environment: *same}
  proxy: {image: geminga:local, command: [geminga, proxy], ports: ['${PORT:-6650}:6650']}
volumes:
  etcd:
";
    const VARIABLES: &str = "# Comment=1\nCOMPOSE_PROJECT_NAME=x\nPORT=6650\n";

    #[test]
    fn a_good_file_has_no_problem() {
        let file = ComposeFile::parse(GOOD).unwrap();
        assert_eq!(file.problems(VARIABLES), Vec::<String>::new());
        assert_eq!(file.services().map(|(name, _)| name).collect::<Vec<_>>(), ["bookie", "broker", "etcd", "proxy"]);
    }

    #[test]
    fn each_mistake_is_found_once() {
        for (from, to, problem) in [
            ("GEMINGA_METADATA", "GEMINGA_METADATE", "GEMINGA_METADATE"),
            ("{GEMINGA_METADATA: 'etcd://etcd:2379'}", "{GEMINGA_LISTEN: nowhere}", "listen"),
            ("[geminga-broker]", "[geminga-boker]", "no program of the image"),
            ("condition: service_healthy", "condition: service_started", "service_started"),
            ("depends_on: {etcd:", "depends_on: {ectd:", "ectd, which is no service"),
            (", healthcheck: {test: x}", "", "which nobody checks"),
            ("etcd:v3.5.25", "etcd:latest", "no exact version"),
            ("['etcd:/data']", "['data:/data']", "volume"),
            ("volumes: ['etcd:/data']}", "volumes: ['etcd:/data'], ports: ['2379:2379']}", "nobody outside"),
            ("'${PORT:-6650}:6650'", "", "reached from outside"),
            (":-6650}", ":-6651}", "is not what .env says"),
            ("'${PORT:-6650}:6650'", "'1:6650'", "nobody reads PORT"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let found = ComposeFile::parse(&GOOD.replacen(from, to, 1)).unwrap().problems(VARIABLES);
            assert!(!found.is_empty() && found.iter().any(|found| found.contains(problem)), "{to}: {found:?}");
        }
    }

    #[test]
    fn what_lies_above_wins_and_leaves_the_rest() {
        let above = "{services: {broker: {environment: {GEMINGA_NO_SUCH_KEY: 1}}, proxy: {ports: []}}}";
        let both = ComposeFile::parse(GOOD).unwrap().under(ComposeFile::parse(above).unwrap());
        let found = both.problems(VARIABLES);
        assert!(found.iter().any(|found| found.contains("GEMINGA_NO_SUCH_KEY")), "{found:?}");
        assert!(found.iter().any(|found| found.starts_with("proxy: ")), "{found:?}");
        assert!(!found.iter().any(|found| found.contains("etcd")), "{found:?}");
    }

    #[test]
    fn what_is_no_yaml_is_refused() {
        for text in ["a: [", "a: 1\n---\nb: 2\n", ""] {
            assert!(ComposeFile::parse(text).is_err(), "{text}");
        }
    }
}
