//! Wrong configuration: one message that names every fault, and exit code 64.
use std::path::Path;
use std::time::Duration;

use tests::cluster::{Process, binary};

use crate::directory;

const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// Starts one of the programs as it is.
pub(crate) fn start(name: &str, arguments: &[&str], environment: &[(&str, &str)], place: &Path) -> Process {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let program = binary(name).expect("it is built");
    Process::start(name, &program, &arguments, environment, place).expect("it starts")
}

/// Its exit code and what it printed.
async fn refusal(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let place = directory();
    let mut process = start(name, arguments, environment, place.path());
    let status = process.exited(ENDS_WITHIN).await.expect("it ends");
    (status.code(), process.printed())
}

/// All faults are named at once.
async fn names_all(name: &str, arguments: &[&str], environment: &[(&str, &str)], faults: &[&str]) {
    let (code, printed) = refusal(name, arguments, environment).await;
    assert_eq!(code, Some(64), "{name} {arguments:?}: {printed}");
    for fault in faults {
        assert!(printed.contains(fault), "{name} {arguments:?} does not name `{fault}`:\n{printed}");
    }
}

#[tokio::test]
async fn unknown_keys_and_wrong_values_are_named_together() {
    let wrong = ["--set", "no_such_key=1", "--set", "listen=nowhere", "--set", "nor_this.one=2"];
    for name in ["geminga-broker", "geminga-bookie"] {
        names_all(name, &wrong, &[], &["no_such_key", "listen", "nor_this"]).await;
    }
}

#[tokio::test]
async fn values_that_contradict_each_other_are_named_together() {
    let wrong = ["--set", "write_quorum=2", "--set", "ack_quorum=3", "--set", "ledger_entries_max=0"];
    names_all("geminga-broker", &wrong, &[], &["ack_quorum", "ledger_entries_max"]).await;
}

#[tokio::test]
async fn a_wrong_file_is_named_with_its_faults() {
    let place = directory();
    let file = place.path().join("broker.toml");
    std::fs::write(&file, "no_such_key = 1\nhttp_listen = \"nowhere\"\n").expect("written");
    let path = file.to_str().expect("a plain name");
    names_all("geminga-broker", &["--config", path], &[], &["no_such_key", "http_listen"]).await;
    let gone = place.path().join("gone.toml");
    let gone = gone.to_str().expect("a plain name");
    names_all("geminga-broker", &["--config", gone], &[], &["gone.toml"]).await;
    std::fs::write(&file, "this is no = = toml\n").expect("written");
    names_all("geminga-bookie", &["--config", path], &[], &["broker.toml"]).await;
}

#[tokio::test]
async fn the_environment_is_checked_like_the_file() {
    names_all("geminga-broker", &[], &[("GEMINGA_LISTEN", "nowhere")], &["listen"]).await;
}

#[tokio::test]
async fn unknown_variables_only_warn() {
    let environment = [("GEMINGA_NO_SUCH_KEY", "1"), ("GEMINGA_LISTEN", "nowhere")];
    let (code, printed) = refusal("geminga-broker", &[], &environment).await;
    assert_eq!(code, Some(64), "for `listen`, not for the unknown variable: {printed}");
    let environment = [("GEMINGA_NO_SUCH_KEY", "1")];
    let place = directory();
    let arguments = ["--set", "listen=127.0.0.1:0", "--set", "http_listen=127.0.0.1:0"];
    let arguments = [&arguments[..], &["--set", "metadata=etcd://127.0.0.1:1"]].concat();
    let mut process = start("geminga-broker", &arguments, &environment, place.path());
    let warned = process.ready(ENDS_WITHIN, |printed| printed.contains("GEMINGA_NO_SUCH_KEY").then_some(())).await;
    warned.expect("it warns and goes on");
    assert!(process.runs(), "it waits for etcd");
}

#[tokio::test]
async fn a_cluster_process_refuses_the_stores_of_standalone() {
    for name in ["geminga-broker", "geminga-bookie"] {
        names_all(name, &["--set", "metadata=memory://"], &[], &["metadata"]).await;
    }
}

#[tokio::test]
async fn wrong_usage_exits_64() {
    for name in ["geminga", "geminga-broker", "geminga-bookie"] {
        let (code, printed) = refusal(name, &["--no-such-option"], &[]).await;
        assert_eq!(code, Some(64), "{name}: {printed}");
    }
    let (code, printed) = refusal("geminga", &["standalone", "--broker-port", "many"], &[]).await;
    assert_eq!(code, Some(64), "{printed}");
}
