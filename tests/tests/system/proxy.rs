//! `geminga proxy`: clients that know nothing but its address.
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tests::client::{ClientError, Connection, find_owner};
use tests::cluster::{Admin, Broker, Cluster, Process, Shape, binary};
use tests::crash::{Keeping, Load};

use crate::directory;

const READY_WITHIN: Duration = Duration::from_secs(30);
const TOPIC: &str = "persistent://public/default/behind";

struct Proxy {
    process: Process,
    address: String,
    http: String,
}

impl Proxy {
    async fn before(cluster: &Cluster, place: &Path) -> Self {
        let https = cluster.brokers.iter().map(|broker| broker.admin().base().trim_start_matches("http://").to_owned());
        let arguments = [
            "proxy".into(),
            "--listen=127.0.0.1:0".into(),
            "--http-listen=127.0.0.1:0".into(),
            format!("--brokers={}", cluster.addresses().join(",")),
            format!("--broker-http={}", https.collect::<Vec<_>>().join(",")),
        ];
        let program = binary("geminga").expect("it is built");
        let mut process = Process::start("proxy", &program, &arguments, &[], place).expect("it starts");
        let line = |printed: &str| {
            let found = printed.lines().find_map(|line| serde_json::from_str::<Value>(line).ok())?;
            Some((found["proxy"].as_str()?.to_owned(), found["http"].as_str()?.to_owned()))
        };
        let (address, http) = process.ready(READY_WITHIN, line).await.expect("it serves");
        Self { process, address, http }
    }
}

/// Goal: whoever owns the topic, nothing acknowledged is lost and every connection leads through the proxy.
/// Method: the load knows the proxy's address only; both brokers are killed in turn.
#[tokio::test]
async fn clients_behind_a_proxy_follow_a_topic_from_broker_to_broker() {
    let place = directory();
    let mut cluster = Box::pin(Cluster::start(place.path(), &Shape::default())).await.expect("the cluster starts");
    let mut proxy = Proxy::before(&cluster, place.path()).await;
    let route = find_owner(std::slice::from_ref(&proxy.address), TOPIC).await.expect("found");
    let shown = format!("{route:?}");
    assert!(shown.contains(&proxy.address) && shown.contains("proxied: Some"), "{shown} leads past the proxy");

    let admin = Admin::at(&format!("http://{}", proxy.http));
    let load = Load::start(vec![proxy.address.clone()], &admin, Keeping::Everything, 11).await.expect("it serves");
    load.receipts_grow_by(500, "with all brokers").await.expect("it serves");
    for index in 0..cluster.brokers.len() {
        cluster.brokers[index].process().kill();
        load.receipts_grow_by(500, "with one broker away").await.expect("the other serves");
        assert!(Admin::at(&format!("http://{}", proxy.http)).is_ready().await, "HTTP goes to the broker that is there");
        cluster.brokers[index].restart().await.expect("it starts again");
    }
    let report = load.finish().await.expect("all comes back");
    assert_eq!(report.faults(), 0, "{report}");
    let status = proxy.process.drain(READY_WITHIN).await.expect("it ends");
    assert!(status.success(), "{status}");
}

/// Goal: a proxy is no way to other machines.
#[tokio::test]
async fn nobody_is_led_to_anything_but_a_broker() {
    let place = directory();
    let cluster = Box::pin(Cluster::start(place.path(), &Shape::default())).await.expect("the cluster starts");
    let proxy = Proxy::before(&cluster, place.path()).await;
    let owner = cluster.brokers[1].address();
    Connection::open(&proxy.address, Some(&owner)).await.expect("a broker may be named");
    let etcd = cluster.etcd.url().replace("etcd://", "");
    for other in [etcd.as_str(), "127.0.0.1:1", "no.such.host.invalid:6650", "", "x"] {
        match Connection::open(&proxy.address, Some(other)).await {
            Err(ClientError::Refused { message, .. }) => assert!(message.contains("none of the brokers"), "{message}"),
            Ok(_) if other.is_empty() => {} // As good as not named: any broker.
            outcome => panic!("{other}: {outcome:?}"),
        }
    }
}

#[tokio::test]
async fn a_proxy_without_brokers_says_so() {
    let place = directory();
    let mut cluster = Box::pin(Cluster::start(place.path(), &Shape::default())).await.expect("the cluster starts");
    let proxy = Proxy::before(&cluster, place.path()).await;
    cluster.brokers.iter_mut().map(Broker::process).for_each(Process::kill);
    match Connection::open(&proxy.address, None).await {
        Err(ClientError::Refused { message, .. }) => assert!(message.contains("no broker answers"), "{message}"),
        outcome => panic!("{outcome:?}"),
    }
    let failure = Admin::at(&format!("http://{}", proxy.http)).get("/readyz").await.expect_err("nobody is ready");
    assert!(failure.message.contains("503") && failure.message.contains("no broker answers"), "{failure}");
}
