use std::path::Path;

use serde::{Deserialize, Serialize};

use super::*;
use crate::{ByteSize, Exit, HostPort};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Sample {
    cluster: String,
    listen: HostPort,
    rack: Option<String>,
    shelf: Option<u32>,
    quorum: u32,
    share: f64,
    verbose: bool,
    peers: Vec<String>,
    ports: Vec<u16>,
    journal: Journal,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Journal {
    queue_bytes_max: ByteSize,
}

impl Default for Sample {
    fn default() -> Self {
        let listen = HostPort { host: "::".into(), port: 6650 };
        Self {
            cluster: "standalone".into(),
            listen,
            rack: None,
            shelf: None,
            quorum: 2,
            share: 0.5,
            verbose: false,
            peers: vec![],
            ports: vec![1],
            journal: Journal::default(),
        }
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self { queue_bytes_max: ByteSize::mib(64) }
    }
}

impl Settings for Sample {
    fn problems(&self, problems: &mut Problems) {
        problems.unless(self.quorum <= 3, "quorum", "is more than 3");
        problems.unless(!self.cluster.is_empty(), "cluster", "must have a name");
        problems.unless(ByteSize::kib(1) <= self.journal.queue_bytes_max, "journal.queue_bytes_max", "is too small");
    }
}

fn sources(file: Option<&Path>, environment: &[(&str, &str)], set: &[&str]) -> Sources {
    Sources {
        file: file.map(Path::to_owned),
        environment: environment.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        set: set.iter().map(|pair| (*pair).to_owned()).collect(),
    }
}

fn written(text: impl AsRef<[u8]>) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

/// What is said about a configuration that must be refused.
fn refusal(sources: &Sources) -> String {
    let failure = load::<Sample>(sources).expect_err("faults");
    assert_eq!(failure.exit, Exit::Usage);
    failure.message
}

#[test]
fn without_any_source_the_defaults_hold() {
    let loaded = load::<Sample>(&Sources::default()).unwrap();
    assert_eq!((loaded.config, loaded.warnings), (Sample::default(), vec![]));
}

#[test]
fn the_environment_wins_over_the_file_and_set_over_both() {
    let file = written("cluster = 'file'\nquorum = 1\nrack = 'r1'\n[journal]\nqueue_bytes_max = '1 MiB'\n");
    let environment = [("GEMINGA_QUORUM", "2"), ("GEMINGA_JOURNAL__QUEUE_BYTES_MAX", "2 MiB"), ("GEMINGA_RACK", "r2")];
    let set = ["journal.queue_bytes_max=3MiB", "rack=r3", "rack=r4"];
    let config = load::<Sample>(&sources(Some(file.path()), &environment, &set)).unwrap().config;
    assert_eq!(config.cluster, "file");
    assert_eq!(config.quorum, 2);
    assert_eq!(config.rack.as_deref(), Some("r4"));
    assert_eq!(config.journal.queue_bytes_max, ByteSize::mib(3));
}

#[test]
fn text_becomes_what_the_default_is() {
    let set = [
        "listen=[::1]:0",
        "verbose=true",
        "share=2",
        "peers=a, b,c",
        "ports=6650,6651",
        "rack=17",
        "shelf=4",
        "cluster=a=b",
    ];
    let config = load::<Sample>(&sources(None, &[], &set)).unwrap().config;
    assert_eq!(config.listen, HostPort { host: "::1".into(), port: 0 });
    assert!(config.verbose);
    assert_eq!(config.share, 2.0);
    assert_eq!(config.peers, ["a", "b", "c"]);
    assert_eq!(config.ports, [6650, 6651]);
    assert_eq!(config.rack.as_deref(), Some("17"), "text where text fits");
    assert_eq!(config.shelf, Some(4));
    assert_eq!(config.cluster, "a=b");
    let none = load::<Sample>(&sources(None, &[("GEMINGA_RACK", ""), ("GEMINGA_PEERS", "")], &[])).unwrap().config;
    assert_eq!((none.rack, none.peers), (None, vec![]));
}

#[test]
fn all_faults_of_all_layers_stand_in_one_message() {
    let file = written("cluster = 'c'\nquorun = 1\nverbose = 'yes'\n\n[journal]\nqueue_bytes = 1\n");
    let environment = [("GEMINGA_SHARE", "half")];
    let set = ["quorum=9", "lisen=[::]:0", "listen=6650", "nonsense", "journal=1", "ports=a"];
    let message = refusal(&sources(Some(file.path()), &environment, &set));
    let path = file.path().display();
    for expected in [
        "10 faults".to_owned(),
        format!("{path}:2: unknown key `quorun`; the nearest known is `quorum`"),
        format!("{path}:3: verbose: invalid type: string \"yes\", expected a boolean"),
        format!("{path}:6: unknown key `journal.queue_bytes`; the nearest known is `journal.queue_bytes_max`"),
        "environment variable GEMINGA_SHARE: share: `half` is not a number".into(),
        "--set lisen=[::]:0: unknown key `lisen`; the nearest known is `listen`".into(),
        "--set listen=6650: listen: `6650` is not HOST:PORT".into(),
        "--set nonsense: write KEY=VALUE".into(),
        "--set journal=1: `journal` is a section; its keys are `journal.queue_bytes_max`".into(),
        "--set ports=a: ports: `a` is not a list of numbers".into(),
        "quorum: is more than 3".into(),
    ] {
        assert!(message.contains(&expected), "no `{expected}` in:\n{message}");
    }
}

#[test]
fn a_number_out_of_range_is_refused() {
    for value in ["-1", "4294967296", "1.5", "", "99999999999999999999999"] {
        let message = refusal(&sources(None, &[], &[&format!("quorum={value}")]));
        assert!(message.contains("quorum: ") && !message.contains("is more than 3"), "{value}: {message}");
    }
    let file = written("quorum = 99999999999999999999\nshare = inf\n");
    let message = refusal(&sources(Some(file.path()), &[], &[]));
    assert!(message.contains(":1: quorum: ") && message.contains(":2: share: "), "{message}");
}

#[test]
fn a_refused_value_is_not_blamed_twice() {
    let message = refusal(&sources(None, &[], &["quorum=x", "cluster="]));
    assert_eq!(message.matches("quorum:").count(), 1, "{message}");
    assert!(message.contains("cluster: must have a name"), "{message}");
}

#[test]
fn unknown_variables_warn_and_those_of_the_client_do_not() {
    let environment = [("GEMINGA_LISTN", "x"), ("GEMINGA_URL", "x"), ("GEMINGA_ADMIN", "x"), ("HOME", "/")];
    let loaded = load::<Sample>(&sources(None, &environment, &[])).unwrap();
    assert_eq!(loaded.warnings, ["environment variable GEMINGA_LISTN is ignored; the nearest known is GEMINGA_LISTEN"]);
}

#[test]
fn a_key_in_the_wrong_section_finds_its_place() {
    let message = refusal(&sources(None, &[], &["queue_bytes_max=1"]));
    assert!(message.contains("the nearest known is `journal.queue_bytes_max`"), "{message}");
}

#[test]
fn a_section_and_a_value_are_not_taken_for_each_other() {
    let file = written("journal = 3\n[listen]\nhost = 'a'\n");
    let message = refusal(&sources(Some(file.path()), &[], &[]));
    assert!(message.contains(":1: `journal` is a section"), "{message}");
    assert!(message.contains(":2: listen: is a value, not a section"), "{message}");
}

#[test]
fn a_file_that_is_no_configuration_is_named_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("bad.toml"), "cluster = 'c'\nquorum = = 2\n").unwrap();
    std::fs::write(path("twice.toml"), "quorum = 1\n\nquorum = 2\n").unwrap();
    std::fs::write(path("latin.toml"), b"cluster = 'c'\nrack = 'caf\xe9'\n").unwrap();
    std::fs::write(path("large.toml"), vec![b'#'; 2 << 20]).unwrap();
    for (name, expected) in [
        ("bad.toml", "bad.toml:2: "),
        ("twice.toml", "twice.toml:3: duplicate key"),
        ("latin.toml", "latin.toml: line 2 is not UTF-8"),
        ("large.toml", "large.toml: is larger than 1 MiB"),
        ("missing.toml", "missing.toml: cannot be opened: No such file"),
        (".", "cannot be read: "),
    ] {
        let message = refusal(&sources(Some(&path(name)), &[], &["quorum=7"]));
        assert!(message.contains(expected), "no `{expected}` in:\n{message}");
        assert!(message.contains("quorum: is more than 3"), "the other faults are named too:\n{message}");
    }
}

#[cfg(unix)]
#[test]
fn a_value_that_is_not_utf_8_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    let environment = vec![("GEMINGA_RACK".into(), OsString::from_vec(vec![b'r', 0xff]))];
    let message = refusal(&Sources { environment, ..Sources::default() });
    assert!(message.contains("environment variable GEMINGA_RACK: rack: the value is not UTF-8"), "{message}");
}

#[test]
fn help_lists_every_key_with_its_default() {
    let help = describe::<Sample>();
    for expected in ["journal.queue_bytes_max  \"64 MiB\"", "listen                   \"[::]:6650\"", "(none)"] {
        assert!(help.contains(expected), "{help}");
    }
}
