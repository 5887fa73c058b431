//! Unmodified clients of other makers: the stock Python client and Pulsar's own Java tools.
use std::path::Path;

use tests::client::{Event, Subscriber, Subscription};
use tests::cluster::{Servers, python};
use tokio::process::Command;

use crate::directory;
use crate::programs::{ENDS_WITHIN, JavaTools, run};

const MESSAGE_BYTES_MAX: usize = 5 * 1024 * 1024;

async fn python_finds_nothing_wrong(servers: &Servers) {
    let Some(python) = python().or_say_so() else { return };
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python/check.py"));
    command.args([servers.url(), servers.admin().base().to_owned()]);
    println!("{}", run(command).await);
}

#[tokio::test]
async fn the_stock_python_client_works_with_standalone() {
    let place = directory();
    python_finds_nothing_wrong(&Servers::one(place.path()).await.expect("standalone starts")).await;
}

#[tokio::test]
async fn the_stock_python_client_works_with_a_cluster() {
    let place = directory();
    python_finds_nothing_wrong(&Servers::many(place.path()).await.expect("the cluster starts")).await;
}

/// What `pulsar-client consume` prints of each message.
fn contents(printed: &str) -> Vec<&str> {
    printed.lines().filter_map(|line| line.rsplit_once("content:").map(|(_, content)| content)).collect()
}

async fn java_tools_publish_and_consume(servers: &Servers, place: &Path) {
    let Some(java) = JavaTools::against(servers, place) else { return };
    let topic = "persistent://public/default/java";
    let send = ["produce", topic, "-m", "one", "-m", "two", "-m", "three", "-k", "a-key", "-p", "colour=red"];
    java.client(&send).await;
    java.client(&[&send[..], &["--disable-batching"][..]].concat()).await;
    for (name, kind) in [("exclusive", "Exclusive"), ("failover", "Failover"), ("shared", "Shared")] {
        let printed = java.client(&["consume", topic, "-s", name, "-t", kind, "-p", "Earliest", "-n", "6"]).await;
        assert_eq!(contents(&printed), ["one", "two", "three", "one", "two", "three"], "{kind}: {printed}");
        assert_eq!(printed.matches("key:[a-key], properties:[colour=red]").count(), 6, "{kind}: {printed}");
    }
}

async fn java_tools_publish_the_largest_message(servers: &Servers, place: &Path) {
    let Some(java) = JavaTools::against(servers, place) else { return };
    let body: Vec<u8> = (0..MESSAGE_BYTES_MAX - 1024).map(|at| b'a' + (at * at % 26) as u8).collect();
    let file = place.join("largest");
    std::fs::write(&file, &body).expect("written");
    let topic = "persistent://public/default/java-large";
    java.client(&["produce", topic, "-f", file.to_str().expect("a plain name"), "--disable-batching"]).await;
    let mut reader = Subscriber::open(&servers.addresses(), &Subscription::reader(topic)).await.expect("it attaches");
    let event = tokio::time::timeout(ENDS_WITHIN, reader.next()).await.expect("in time").expect("a message");
    let Event::Message(message) = event else { panic!("{event:?} instead of a message") };
    assert_eq!(message.payload, body);
}

#[tokio::test]
async fn pulsars_own_java_tools_work_with_standalone() {
    let place = directory();
    let servers = Servers::one(place.path()).await.expect("standalone starts");
    java_tools_publish_and_consume(&servers, place.path()).await;
    java_tools_publish_the_largest_message(&servers, place.path()).await;
}

#[tokio::test]
async fn pulsars_own_java_tools_work_with_a_cluster() {
    let place = directory();
    let servers = Servers::many(place.path()).await.expect("the cluster starts");
    java_tools_publish_and_consume(&servers, place.path()).await;
}
