//! Ways to a server: straight, over another port, over IPv6; and its life as scripts see it.
use std::time::Duration;

use tests::client::{Connection, ProducerId, Publisher, Subscriber, Subscription, find_owner};
use tests::cluster::{Proxy, Servers, Standalone};

use crate::directory;

const TOPIC: &str = "persistent://public/default/reach";

async fn publishes_and_reads(addresses: &[String]) {
    let mut publisher = Publisher::open(addresses, TOPIC).await.expect("a producer attaches");
    publisher.publish(ProducerId(0), b"hello");
    publisher.flush().await.expect("sent");
    let receipt = publisher.receipt().await.expect("a receipt");
    let mut reader = Subscriber::open(addresses, &Subscription::reader(TOPIC)).await.expect("a reader attaches");
    assert_eq!(reader.last().await.expect("known"), Some(receipt.position));
}

/// Goal: a client behind any port mapping comes back the way it came (a container's published port, say).
/// Method: only the forwarder's port is given to the client, and the way to the topic must lead through it.
#[tokio::test]
async fn standalone_is_reached_through_a_port_forwarder() {
    let place = directory();
    let server = Standalone::start(place.path()).await.expect("standalone starts");
    let forwarder = Proxy::to(server.address(), 0).await.expect("it listens");
    let addresses = [forwarder.address().to_string()];
    publishes_and_reads(&addresses).await;
    let route = format!("{:?}", find_owner(&addresses, TOPIC).await.expect("found"));
    assert!(route.contains(&addresses[0]), "{route} leads past the forwarder");
}

#[tokio::test]
async fn standalone_listens_on_ipv6_where_there_is_one() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        println!("NOT RUN  this machine has no IPv6");
        return;
    }
    let place = directory();
    let server = Standalone::start(place.path()).await.expect("standalone starts");
    let port = server.address().rsplit_once(':').expect("host:port").1.to_owned();
    Connection::open(&format!("[::1]:{port}"), None).await.expect("it greets");
}

#[tokio::test]
async fn a_server_that_says_it_is_ready_serves() {
    let place = directory();
    let mut server = Standalone::start(place.path()).await.expect("standalone starts");
    assert!(server.admin().is_ready().await);
    publishes_and_reads(&[server.address()]).await;
    let printed = server.process().printed();
    for shown in [&server.url(), server.admin().base(), server.data().to_str().expect("a plain name")] {
        let port = shown.rsplit(':').next().expect("never empty");
        assert!(printed.contains(port), "the banner does not show {shown}:\n{printed}");
    }
}

#[tokio::test]
async fn the_metrics_of_standalone_tell_of_its_broker_and_of_its_bookie() {
    let place = directory();
    let server = Standalone::start(place.path()).await.expect("standalone starts");
    publishes_and_reads(&[server.address()]).await;
    let page = server.admin().get("/metrics").await.expect("a page");
    let page = page.as_str().expect("a text");
    for name in [
        "pulsar_topics_count",
        "bookie_WRITE_BYTES",
        "bookie_journal_JOURNAL_SYNC_count",
        "bookie_segment_upkeep_bytes_total",
    ] {
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.rsplit_once(' '));
        assert!(value.is_some_and(|(_, value)| value != "0"), "{name} in\n{page}");
    }
}

#[tokio::test]
async fn a_drained_server_exits_with_0_and_starts_again_with_everything() {
    let place = directory();
    let mut servers = Servers::one(place.path()).await.expect("standalone starts");
    publishes_and_reads(&servers.addresses()).await;
    servers.restart().await.expect("drained with exit code 0, and started again");
    let reader = Subscriber::open(&servers.addresses(), &Subscription::reader(TOPIC)).await;
    assert!(reader.expect("it attaches").last().await.expect("known").is_some(), "the message is gone");
}

#[tokio::test]
async fn a_taken_port_exits_64_and_names_the_way_out() {
    let place = directory();
    let server = Standalone::start(place.path()).await.expect("standalone starts");
    let port = server.address().rsplit_once(':').expect("host:port").1.to_owned();
    let other = directory();
    let data = other.path().join("data").display().to_string();
    let arguments = ["standalone", "--data-dir", &data, "--broker-port", &port, "--http-port", "0"];
    let mut second = crate::configuration::start("geminga", &arguments, &[], other.path());
    let status = second.exited(Duration::from_secs(30)).await.expect("it ends");
    let printed = second.printed();
    assert_eq!(status.code(), Some(64), "{printed}");
    assert!(printed.contains(&port) && printed.contains("broker-port"), "{printed}");
}
