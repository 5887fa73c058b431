//! What clients rely on, told by `tests/behaviours` with the stock Python client and by `tests/java` with the Java client.
use std::path::Path;

use tests::cluster::{Servers, python};
use tokio::process::Command;

use crate::directory;
use crate::programs::{java_behaviours, run};

async fn all_are_shown(servers: &Servers) {
    let Some(python) = python().or_say_so() else { return };
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("behaviours/run.py"));
    command.args(["--url", &servers.url(), "--admin", servers.admin().base()]);
    println!("{}", run(command).await);
}

#[tokio::test]
async fn standalone_behaves_as_clients_expect() {
    let place = directory();
    all_are_shown(&Servers::one(place.path()).await.expect("standalone starts")).await;
}

#[tokio::test]
async fn a_cluster_behaves_as_clients_expect() {
    let place = directory();
    all_are_shown(&Servers::many(place.path()).await.expect("the cluster starts")).await;
}

#[tokio::test]
async fn a_cluster_behaves_as_java_clients_expect() {
    let Some(mut command) = java_behaviours() else { return };
    let place = directory();
    let servers = Servers::many(place.path()).await.expect("the cluster starts");
    command.args([&servers.url(), servers.admin().base()]);
    println!("{}", run(command).await);
}
