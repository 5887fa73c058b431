//! The house rules, applied to the whole tree. What each rule finds is tested in `tests::tidy` and `tests::compose` themselves.
use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::compose::{ComposeFile, yaml};
use tests::tidy::{self, Code, Finding, Manifest, Source};

/// Keys that one process may have. A new one beyond it needs a decision record that says why a constant will not do.
const KEYS_MAX: usize = 25;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_path_buf()
}

fn files(endings: &[&str]) -> Vec<Source> {
    let files = tidy::sources(&root(), endings).expect("the tree can be read");
    assert!(!files.is_empty(), "nothing ends with {endings:?}");
    files
}

fn none(findings: impl IntoIterator<Item = Finding>) {
    let lines: Vec<String> = findings.into_iter().map(|finding| finding.to_string()).collect();
    assert!(lines.is_empty(), "the house rules are not kept:\n{}\n", lines.join("\n"));
}

#[test]
fn files_and_functions_can_be_proofread() {
    let files = files(&[".rs"]);
    let code: Vec<Code<'_>> = files.iter().map(Code::of).collect();
    none(code.iter().flat_map(|file| [tidy::long_files(file), tidy::long_functions(file)].concat()));
}

#[test]
fn names_say_what_is_inside_and_modules_what_they_are_for() {
    none(files(&[".rs"]).iter().flat_map(|file| [tidy::names(file), tidy::module_heads(file)].concat()));
}

#[test]
fn banned_words_do_not_occur() {
    let files = files(&[".rs"]);
    none(files.iter().flat_map(|file| tidy::banned_words(&Code::of(file))));
}

#[test]
fn work_put_off_names_its_issue() {
    none(files(&[".rs", ".md", ".toml", ".py", "run"]).iter().flat_map(tidy::todos));
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    let endings = [".rs", ".md", ".toml", ".py", ".proto", ".sh", ".yml", ".yaml", ".xml", "run", "standalone"];
    none(files(&endings).iter().flat_map(tidy::machine_paths));
}

#[test]
fn crates_know_only_those_they_may() {
    let files = files(&["Cargo.toml"]);
    let mut checked = 0;
    for file in files.iter().filter(|file| file.path.contains('/')) {
        let manifest = Manifest::of(file).expect("cargo reads it too");
        none([tidy::arrows(&manifest), tidy::crate_fields(&manifest)].concat());
        checked += 1;
    }
    assert!(8 <= checked, "only {checked} crates were found");
}

#[test]
fn proto_moves_nothing() {
    let manifests = files(&["Cargo.toml"]);
    let manifest = manifests.iter().find(|file| file.path == "proto/Cargo.toml").expect("the crate is there");
    let files = files(&[".rs"]);
    let code: Vec<Code<'_>> = files.iter().filter(|file| file.path.starts_with("proto/src/")).map(Code::of).collect();
    none(tidy::pure_proto(&Manifest::of(manifest).expect("cargo reads it too"), &code));
}

/// The dotted names of all fields of a configuration.
fn keys(table: &toml::Table, prefix: &str, found: &mut Vec<String>) {
    for (key, value) in table {
        match value {
            toml::Value::Table(inner) => keys(inner, &format!("{prefix}{key}."), found),
            _ => found.push(format!("{prefix}{key}")),
        }
    }
}

/// The shipped file shows every key with its default, and there are not too many.
fn ships<Config: Default + serde::Serialize>(path: &str) {
    let defaults = toml::Table::try_from(Config::default()).expect("a configuration is a table");
    let mut found = Vec::new();
    keys(&defaults, "", &mut found);
    assert!(found.len() <= KEYS_MAX, "{path}: {} keys are more than {KEYS_MAX}", found.len());
    let text = std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    none(tidy::missing_keys(&Source::new(path, &text), &found));
    let shipped: toml::Table = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
    for (key, value) in &shipped {
        assert_eq!(defaults.get(key), Some(value), "{path}: `{key}` differs from the default");
    }
}

#[test]
fn the_shipped_configuration_of_the_broker_shows_its_defaults() {
    ships::<broker::Config>("deploy/broker.toml");
}

#[test]
fn the_shipped_configuration_of_the_bookie_shows_its_defaults() {
    ships::<bookie::Config>("deploy/bookie.toml");
}

#[test]
fn every_metric_is_explained_to_operators() {
    let page = std::fs::read_to_string(root().join("docs/operations/metrics.md")).unwrap_or_default();
    let files = tidy::sources(&root(), &["metrics.rs"]).expect("the tree can be read");
    none(files.iter().flat_map(|file| tidy::undocumented_metrics(file, &page)));
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn compose_file(path: &str) -> ComposeFile {
    ComposeFile::parse(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Goal: what `tests/compose` needs an engine for is not the first to find a misspelt key. The programs' own loaders read
/// each service's environment.
#[test]
fn the_compose_file_says_what_the_programs_understand() {
    let (shipped, variables) = (compose_file("deploy/docker-compose.yml"), text("deploy/.env"));
    assert_eq!(shipped.problems(&variables), Vec::<String>::new());
    let tested = shipped.under(compose_file("tests/compose.yml"));
    assert_eq!(tested.problems(&variables), Vec::<String>::new());
}

/// Prometheus asks services that exist, at the port where they serve metrics, and what dashboards call `job` is theirs.
#[test]
fn prometheus_asks_brokers_and_bookies_where_they_answer() {
    let configuration = yaml(&text("deploy/prometheus.yml")).expect("it is YAML");
    let of = |value: &Value| {
        let found = &value["dns_sd_configs"][0];
        (value["job_name"].clone(), found["names"][0].clone(), found["port"].clone())
    };
    let jobs: Vec<_> = configuration["scrape_configs"].as_array().expect("jobs").iter().map(of).collect();
    let expected = [
        ("broker", broker::Config::default().http_listen.port),
        ("bookie", bookie::Config::default().http_listen.port),
    ];
    assert_eq!(jobs, expected.map(|(name, port)| (name.into(), name.into(), port.into())));
    let shipped = compose_file("deploy/docker-compose.yml");
    let services: Vec<&str> = shipped.services().map(|(name, _)| name).collect();
    assert!(expected.iter().all(|(name, _)| services.contains(name)), "{services:?}");
}
