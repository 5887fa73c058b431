//! The shipped dashboards show something: a real Prometheus scrapes a running cluster, and every query finds numbers.
use std::path::{Path, PathBuf};
use std::time::Duration;

use tests::cluster::{Cluster, Shape, prometheus};
use tests::crash::{Keeping, Load, read_back};
use tests::dashboards::{Job, Prometheus, Query, not_shown, queries, selectors};
use tests::deadline::eventually;

use crate::directory;

/// Some scrapes, and the interval that rates are taken over.
const SEEN_WITHIN: Duration = Duration::from_secs(20);
const DRAINED_WITHIN: Duration = Duration::from_secs(60);

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").join("deploy")
}

/// All queries of all dashboards, with the file before the place.
fn shipped() -> Vec<Query> {
    let mut found = Vec::new();
    let files = std::fs::read_dir(deploy().join("grafana/dashboards")).expect("dashboards are shipped");
    for file in files {
        let path = file.expect("readable").path();
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("readable");
        for query in queries(&name, &text).expect("a dashboard") {
            found.push(Query { place: format!("{name}: {}", query.place), ..query });
        }
    }
    found
}

fn host(base: &str) -> String {
    base.trim_start_matches("http://").into()
}

/// A cluster with a past: written to, its brokers started again, read back from disks while more is published.
async fn lived_in(cluster: &mut Cluster) -> Load {
    let admin = cluster.brokers[0].admin();
    let load = Load::start(cluster.addresses(), &admin, Keeping::Everything, 7).await.expect("it serves");
    load.receipts_grow_by(2000, "at first").await.expect("it serves");
    for broker in &mut cluster.brokers {
        broker.process().drain(DRAINED_WITHIN).await.expect("it drains");
        broker.restart().await.expect("it starts again");
    }
    load.receipts_grow_by(2000, "after all brokers were started again").await.expect("it serves");
    load
}

/// Goal: a metric that is renamed or loses a label is missed here, also where there is no Prometheus.
#[tokio::test]
async fn each_series_that_a_dashboard_reads_is_on_a_page() {
    let place = directory();
    let mut cluster = Box::pin(Cluster::start(place.path(), &Shape::default())).await.expect("the cluster starts");
    let load = lived_in(&mut cluster).await;
    let brokers = cluster.brokers.iter().map(|broker| broker.admin().clone());
    let bookies = cluster.bookies.iter().map(|bookie| bookie.admin().clone());
    let mut pages = Vec::new();
    for admin in brokers.chain(bookies) {
        let page = admin.get("/metrics").await.expect("it answers");
        pages.push(page.as_str().expect("text").to_owned());
    }
    load.finish().await.expect("all comes back");
    let mut read = 0;
    for query in shipped() {
        let wanted = selectors(&query.expression);
        assert!(!wanted.is_empty(), "{query:?} reads nothing");
        let missing = not_shown(&wanted, &pages);
        assert!(missing.is_empty(), "{query:?}: {missing:?}");
        read += wanted.len();
    }
    println!("{read} series that dashboards read are on the pages");
}

#[tokio::test]
async fn each_query_of_each_dashboard_finds_numbers() {
    let Some(program) = prometheus().or_say_so() else { return };
    let place = directory();
    let mut shape = Shape::default();
    // Brokers that hold next to nothing, so that readers ask bookies for ever.
    shape.broker_settings.extend(["message_bytes_max=64 KiB", "cache_bytes=64 KiB"].map(str::to_owned));
    let mut cluster = Box::pin(Cluster::start(place.path(), &shape)).await.expect("the cluster starts");
    let brokers = cluster.brokers.iter().map(|broker| host(broker.admin().base())).collect();
    let bookies = cluster.bookies.iter().map(|bookie| host(bookie.admin().base())).collect();
    let jobs = [Job { name: "broker", targets: brokers }, Job { name: "bookie", targets: bookies }];
    let server = Prometheus::start(&program, place.path(), &jobs).await.expect("Prometheus starts");
    let load = lived_in(&mut cluster).await;
    let addresses = cluster.addresses();
    let reading = tokio::spawn(async move { while read_back(&addresses).await.is_ok() {} });

    let mut empty = shipped();
    let all = empty.len();
    assert!(40 < all, "only {all} queries were found");
    let outcome = eventually("every query finds numbers", SEEN_WITHIN, async || {
        let mut still = Vec::new();
        for query in &empty {
            if server.ask(&query.expression).await.expect("Prometheus takes the query").is_empty() {
                still.push(query.clone());
            }
        }
        empty = still;
        empty.is_empty().then_some(())
    });
    let found_all = outcome.await.is_ok();
    assert!(found_all, "{} of {all} queries find nothing: {empty:#?}", empty.len());
    println!("{all} queries find numbers");

    // And the test would see it if one did not.
    let nothing = server.ask("sum(pulsar_messages_that_nobody_counts)").await.expect("it is taken");
    assert!(nothing.is_empty(), "{nothing:?}");
    server.ask("sum(").await.expect_err("half a query");
    reading.abort();
    load.finish().await.expect("all comes back");
}

/// What dashboards call `job` is what the shipped configuration of Prometheus calls its jobs; the tidy test compares those with
/// the compose file.
#[test]
fn dashboards_know_no_job_but_brokers_and_bookies() {
    for selector in shipped().iter().flat_map(|query| selectors(&query.expression)) {
        for (label, value) in &selector.labels {
            assert!(label != "job" || matches!(value.as_deref(), Some("broker" | "bookie")), "{selector:?}");
        }
    }
}
