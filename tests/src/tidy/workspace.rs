//! What holds between crates: arrows, licence, configuration files and metrics.
use super::{Code, Finding, Source};

/// Who may use whom, as ARCHITECTURE.md draws it. `tests` and its `fuzzer` may use everything.
const ARROWS: [(&str, &[&str]); 7] = [
    ("proto", &[]),
    ("metadata", &[]),
    ("daemon", &[]),
    ("ledger", &["proto", "metadata"]),
    ("bookie", &["proto", "metadata", "daemon"]),
    ("broker", &["proto", "metadata", "ledger", "daemon"]),
    ("cli", &["proto", "broker", "bookie", "ledger", "metadata", "daemon"]),
];
const OURS: [&str; 8] = ["proto", "metadata", "daemon", "ledger", "bookie", "broker", "cli", "tests"];
/// What a crate of pure words may be made of: codecs, no runtime, no socket.
const OF_PROTO: [&str; 10] = [
    "base64",
    "bytes",
    "crc32c",
    "prost",
    "thiserror",
    "tonic",
    "tonic-prost",
    "prost-build",
    "protox",
    "tonic-prost-build",
];
const NOT_IN_PROTO: [&str; 7] =
    ["std::net", "std::fs", "std::thread", "std::time", "tokio", "Instant::now", "SystemTime"];

/// A crate's Cargo.toml.
#[derive(Debug)]
pub struct Manifest<'a> {
    source: &'a Source,
    table: toml::Table,
}

impl<'a> Manifest<'a> {
    /// Reads it.
    pub fn of(source: &'a Source) -> Result<Self, toml::de::Error> {
        Ok(Self { source, table: source.text.parse()? })
    }

    fn name(&self) -> Option<&str> {
        self.table.get("package")?.get("name")?.as_str()
    }

    /// Of all kinds, `[target.…]` included; with whether it is for tests only.
    fn dependencies(&self) -> Vec<(String, bool)> {
        let targets = self.table.get("target").and_then(toml::Value::as_table);
        let tables = std::iter::once(&self.table)
            .chain(targets.into_iter().flat_map(toml::Table::values).filter_map(toml::Value::as_table));
        let mut found = Vec::new();
        for table in tables {
            for (key, tests) in [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)] {
                let names = table.get(key).and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::keys);
                found.extend(names.map(|name| (name.clone(), tests)));
            }
        }
        found
    }
}

/// Crates that use another one they must not know.
#[must_use]
pub fn arrows(manifest: &Manifest<'_>) -> Vec<Finding> {
    let tests = ["tests", "fuzzer"];
    let Some(name) = manifest.name().filter(|name| !tests.contains(name)) else { return Vec::new() };
    let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
        return vec![Finding::new(manifest.source, 0, format!("`{name}` is a new room: it needs a decision record"))];
    };
    let wrong = |dependency: &str| OURS.contains(&dependency) && !allowed.contains(&dependency);
    let wrong = manifest.dependencies().into_iter().filter(|(dependency, _)| wrong(dependency));
    wrong
        .map(|(dependency, _)| Finding::new(manifest.source, 0, format!("`{name}` must not know `{dependency}`")))
        .collect()
}

/// Fields that every crate takes from the workspace.
#[must_use]
pub fn crate_fields(manifest: &Manifest<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let shared = |table: &toml::Table| table.get("workspace").and_then(toml::Value::as_bool) == Some(true);
    let package = manifest.table.get("package").and_then(toml::Value::as_table);
    for field in ["license", "rust-version", "edition"] {
        let value = package.and_then(|package| package.get(field)).and_then(toml::Value::as_table);
        if !value.is_some_and(shared) {
            found.push(Finding::new(manifest.source, 0, format!("package.{field} is not the workspace's")));
        }
    }
    if !manifest.table.get("lints").and_then(toml::Value::as_table).is_some_and(shared) {
        found.push(Finding::new(manifest.source, 0, "the lints are not the workspace's"));
    }
    found
}

/// Whether crate `proto` moves anything: its dependencies and its code.
#[must_use]
pub fn pure_proto(manifest: &Manifest<'_>, code: &[Code<'_>]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (dependency, tests) in manifest.dependencies() {
        if !tests && !OF_PROTO.contains(&dependency.as_str()) {
            found.push(Finding::new(manifest.source, 0, format!("`proto` must not use `{dependency}`")));
        }
    }
    for file in code {
        for (number, line, test) in file.numbered() {
            let moved = NOT_IN_PROTO.iter().filter(|word| !test && line.contains(**word));
            found.extend(moved.map(|word| Finding::new(file.source, number, format!("`{word}`: proto moves nothing"))));
        }
    }
    found
}

/// Keys of a configuration that the shipped file does not show, at least as a comment. `keys` are dotted.
#[must_use]
pub fn missing_keys(file: &Source, keys: &[String]) -> Vec<Finding> {
    let mut section = String::new();
    let mut shown = Vec::new();
    for line in file.text.lines() {
        let line = line.trim_start_matches(['#', ' ']);
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.split_once(']')) {
            section = format!("{}.", name.0);
        } else if let Some((key, _)) = line.split_once('=') {
            shown.push(format!("{section}{}", key.trim()));
        }
    }
    let missing = keys.iter().filter(|key| !shown.contains(key));
    missing.map(|key| Finding::new(file, 0, format!("does not show the key `{key}`"))).collect()
}

const METRIC_PREFIXES: [&str; 8] =
    ["pulsar_", "brk_", "bookie_", "bookkeeper_", "geminga_", "ledger_", "metadata_", "process_"];

/// Metrics named in a file that the operators' page does not explain.
#[must_use]
pub fn undocumented_metrics(source: &Source, page: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        let texts = line.split('"').skip(1).step_by(2);
        let plain = |text: &&str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let names = texts.filter(plain).filter(|text| METRIC_PREFIXES.iter().any(|prefix| text.starts_with(prefix)));
        let missing = names.filter(|name| !page.contains(*name));
        found.extend(
            missing.map(|name| Finding::new(source, index + 1, format!("the metric `{name}` is not documented"))),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str, rest: &str) -> Source {
        let package = "license.workspace = true\nrust-version.workspace = true\nedition.workspace = true\n";
        Source::new(
            "x/Cargo.toml",
            &format!("[package]\nname = \"{name}\"\n{package}\n[lints]\nworkspace = true\n{rest}"),
        )
    }

    fn arrows_of(name: &str, rest: &str) -> usize {
        arrows(&Manifest::of(&manifest(name, rest)).expect("valid")).len()
    }

    #[test]
    fn an_arrow_that_is_not_drawn_is_found_in_every_kind_of_dependency() {
        assert_eq!(arrows_of("broker", "[dependencies]\nproto = \"1\"\nledger = \"1\"\ntokio = \"1\"\n"), 0);
        assert_eq!(arrows_of("broker", "[dependencies]\nbookie = { path = \"../bookie\" }\n"), 1);
        assert_eq!(arrows_of("bookie", "[dev-dependencies]\nbroker = \"1\"\n"), 1);
        assert_eq!(arrows_of("metadata", "[target.'cfg(unix)'.dependencies]\nproto = \"1\"\n"), 1);
        assert_eq!(arrows_of("tests", "[dependencies]\nbookie = \"1\"\nbroker = \"1\"\n"), 0);
        assert_eq!(arrows_of("attic", ""), 1, "a room that is not on the plan");
    }

    #[test]
    fn a_crate_without_licence_or_lints_is_found() {
        let fields = |text: &str| crate_fields(&Manifest::of(&Source::new("x/Cargo.toml", text)).expect("valid")).len();
        assert_eq!(fields(&manifest("broker", "").text), 0);
        assert_eq!(fields("[package]\nname = \"broker\"\nlicense = \"MIT\"\n"), 4);
    }

    #[test]
    fn proto_with_a_runtime_or_a_clock_is_found() {
        let pure = Source::new("proto/src/a.rs", "use bytes::Bytes;\n");
        let clock = Source::new("proto/src/b.rs", "use std::time::Duration;\n");
        let source =
            manifest("proto", "[dependencies]\ntokio = \"1\"\nbytes = \"1\"\n[dev-dependencies]\nproptest = \"1\"\n");
        let manifest = Manifest::of(&source).expect("valid");
        assert_eq!(pure_proto(&manifest, &[Code::of(&pure)]).len(), 1);
        assert_eq!(pure_proto(&manifest, &[Code::of(&pure), Code::of(&clock)]).len(), 2);
    }

    #[test]
    fn a_key_that_the_shipped_file_does_not_show_is_found() {
        let file = Source::new("deploy/broker.toml", "listen = \"a\"\n# rack = \"b\"\n[cache]\nbytes_max = 1\n");
        let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        assert!(missing_keys(&file, &keys(&["listen", "rack", "cache.bytes_max"])).is_empty());
        assert_eq!(missing_keys(&file, &keys(&["listen", "bytes_max"])).len(), 1);
    }

    #[test]
    fn a_metric_that_is_not_explained_is_found() {
        let source = Source::new("broker/src/metrics.rs", "gauge(\"pulsar_topics_count\", \"geminga_new_thing\");\n");
        assert_eq!(undocumented_metrics(&source, "`pulsar_topics_count`: topics loaded").len(), 1);
    }
}
