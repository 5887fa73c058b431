//! The pages in process, over a store in memory. Texts and codes are those that Apache Pulsar 4.0.8 gave to the same requests.
mod clusters;
mod messages;
mod offload;
mod pages;
mod policies;
mod schemas;

use axum::body::{Body, to_bytes};
use metadata::MemoryStore;
use proto::records::BrokerRecord;
use serde_json::{Value, json};
use tower_service::Service;

use super::*;
use crate::ownership::{Keeping, Ownership, Probe};
use crate::serve::{Assembled, House, OtherMetrics, assemble};
use crate::{Clock, Config};

struct Broker {
    pages: Pages,
    router: Router,
    _keeping: Keeping,
}

async fn broker_at(store: &MemoryStore, name: &str, http: &str) -> Broker {
    let metadata: Arc<dyn metadata::MetadataStore> = Arc::new(store.clone());
    let clock = Clock::runtime(1_700_000_000_000);
    let me = BrokerRecord {
        broker: format!("{name}:6650"),
        http: http.into(),
        start: format!("{name}start"),
        listeners: [("outside".into(), "203.0.113.1:16650".into())].into(),
        ..Default::default()
    };
    let config =
        Config { cluster: "standalone".into(), ensemble_size: 1, write_quorum: 1, ack_quorum: 1, ..Config::default() };
    let house = House {
        metadata: Arc::clone(&metadata),
        ledgers: Arc::new(ledger::MemoryLedgers::new(Arc::clone(&metadata))),
        repairs: None,
        clock: clock.clone(),
        start: me.start.clone(),
        standalone: true,
        metrics: OtherMetrics::default(),
        health: daemon::Health::new(),
    };
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let probe = Probe::network(client.clone());
    let (ownership, keeping) = Ownership::start(me.clone(), metadata, clock, probe).await.unwrap();
    let Assembled { context, log, .. } = assemble(config, house, ownership);
    context.namespaces.bootstrap("instance").await.unwrap();
    let pages = Pages { context, log, peers: client, domain: Domain::Persistent };
    let router = outside(router(pages.clone()), &me.start);
    Broker { pages, router, _keeping: keeping }
}

async fn broker() -> Broker {
    broker_at(&MemoryStore::default(), "a", "a:8080").await
}

impl Broker {
    async fn send(&self, request: Request) -> (u16, String) {
        let response = self.router.clone().call(request).await.unwrap();
        assert!(response.headers().contains_key(START_HEADER));
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let path = if path.starts_with("/lookup") || path.starts_with("//") {
            path.into()
        } else {
            format!("/admin/v2{path}")
        };
        self.send(Request::builder().method(method).uri(path).body(Body::from(body.to_owned())).unwrap()).await
    }

    async fn json(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, "").await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Each row: method, path, body, status, and the reason or body, if it matters.
    async fn rows(&self, rows: &[(&str, &str, &str, u16, &str)]) {
        for (method, path, body, status, expected) in rows {
            let answer = self.ask(method, path, body).await;
            let asked = format!("{method} {path} {body}");
            assert_eq!(answer.0, *status, "{asked}: {}", answer.1);
            if 400 <= *status {
                let value: Value = serde_json::from_str(&answer.1).unwrap_or_default();
                let reason = value["reason"].as_str().unwrap_or_else(|| panic!("{asked}: no reason in {}", answer.1));
                assert!(expected.is_empty() || reason == *expected, "{asked}: {reason}");
            } else {
                assert!(expected.is_empty() || answer.1 == *expected, "{asked}: {}", answer.1);
                assert!(*status != 204 || answer.1.is_empty());
            }
        }
    }
}

const TENANT: &str = r#"{"adminRoles":["anonymous"],"allowedClusters":["standalone"]}"#;

#[tokio::test]
async fn clusters_and_brokers() {
    let broker = broker().await;
    broker
        .rows(&[
            ("GET", "/clusters", "", 200, r#"["standalone"]"#),
            ("GET", "/clusters/standalone", "", 200, ""),
            ("GET", "/clusters/other", "", 404, "Cluster does not exist"),
            ("PUT", "/clusters/standalone", r#"{"serviceUrl":"http://x"}"#, 409, "Cluster already exists"),
            ("GET", "/brokers", "", 200, r#"["a:8080"]"#),
            ("GET", "/brokers/standalone", "", 200, r#"["a:8080"]"#),
            ("GET", "/brokers/health", "", 200, "ok"),
            ("GET", "/brokers/version", "", 200, env!("CARGO_PKG_VERSION")),
            ("GET", "/brokers/leaderBroker", "", 200, r#"{"brokerId":"a:8080","serviceUrl":"http://a:8080"}"#),
            ("GET", "/nonsense", "", 404, ""),
            ("POST", "/clusters", "", 405, ""),
            ("GET", "//admin/v2//clusters/", "", 200, r#"["standalone"]"#),
        ])
        .await;
}

#[tokio::test]
async fn tenants_are_made_changed_and_removed() {
    let broker = broker().await;
    broker
        .rows(&[
            ("GET", "/tenants", "", 200, r#"["public","pulsar"]"#),
            ("GET", "/tenants/nix", "", 404, "Tenant does not exist"),
            ("PUT", "/tenants/t1", TENANT, 204, ""),
            ("PUT", "/tenants/t1", TENANT, 409, "Tenant already exist"),
            ("GET", "/tenants/t1", "", 200, TENANT),
            ("PUT", "/tenants/t2", r#"{"allowedClusters":["nix"]}"#, 412, "Clusters do not exist"),
            ("PUT", "/tenants/t2", r#"{"allowedClusters":[]}"#, 412, "Clusters cannot be empty or blank"),
            ("PUT", "/tenants/t2", "", 412, "TenantInfo is null"),
            ("PUT", "/tenants/t2", "null", 412, "TenantInfo is null"),
            ("PUT", "/tenants/t2", "{bad", 400, ""),
            ("PUT", "/tenants/t2", "[[[[", 400, ""),
            ("PUT", "/tenants/t%20x", TENANT, 412, "Tenant name is not valid"),
            ("POST", "/tenants/t1", r#"{"adminRoles":["a"],"allowedClusters":["standalone"]}"#, 204, ""),
            ("POST", "/tenants/nix", TENANT, 404, "Tenant nix not found"),
            ("PUT", "/namespaces/t1/n", "", 204, ""),
            ("DELETE", "/tenants/t1", "", 409, "The tenant still has active namespaces"),
            ("DELETE", "/namespaces/t1/n", "", 204, ""),
            ("DELETE", "/tenants/t1", "", 204, ""),
            ("DELETE", "/tenants/t1", "", 404, "Tenant doesn't exist"),
        ])
        .await;
}

#[tokio::test]
async fn namespaces_are_made_as_tools_make_them() {
    let broker = broker().await;
    broker
        .rows(&[
            ("PUT", "/namespaces/public/n1", "", 204, ""),
            ("PUT", "/namespaces/public/n1", "", 409, "Namespace already exists"),
            ("PUT", "/namespaces/public/n2", "null", 204, ""),
            ("PUT", "/namespaces/public/n3", r#"{"bundles":{"numBundles":8},"max_producers_per_topic":3}"#, 204, ""),
            (
                "PUT",
                "/namespaces/public/n4",
                r#"{"replication_clusters":["nix"]}"#,
                403,
                "Cluster [nix] is not in the list of allowed clusters list for tenant [public]",
            ),
            (
                "PUT",
                "/namespaces/public/n5",
                r#"{"bundles":{"boundaries":["0x00000000","0x80000000","0xffffffff"]}}"#,
                204,
                "",
            ),
            ("PUT", "/namespaces/public/n6?bundles=2", "", 204, ""),
            ("PUT", "/namespaces/public/n7", r#"{"bundles":{"numBundles":0}}"#, 204, ""),
            ("PUT", "/namespaces/public/n8", r#"{"bundles":{"numBundles":1000000000}}"#, 400, ""),
            ("PUT", "/namespaces/public/n8", r#"{"bundles":{"boundaries":["x"]}}"#, 400, ""),
            ("PUT", "/namespaces/nix/n1", "", 404, "Tenant does not exist"),
            ("PUT", "/namespaces/public/n%20x", "", 412, "Namespace name is not valid"),
            ("GET", "/namespaces/public/nix", "", 404, "Namespace does not exist"),
            (
                "GET",
                "/namespaces/public",
                "",
                200,
                r#"["public/default","public/n1","public/n2","public/n3","public/n5","public/n6","public/n7"]"#,
            ),
            ("GET", "/namespaces/nix", "", 404, "Tenant not found"),
            (
                "GET",
                "/namespaces/public/n1/bundles",
                "",
                200,
                r#"{"boundaries":["0x00000000","0x40000000","0x80000000","0xc0000000","0xffffffff"],"numBundles":4}"#,
            ),
            ("GET", "/namespaces/public/nix/bundles", "", 404, "Namespace does not exist"),
            ("GET", "/namespaces/public/n1/topics", "", 200, "[]"),
            ("GET", "/namespaces/public/n1/topics?mode=NON_PERSISTENT", "", 200, "[]"),
            ("GET", "/namespaces/public/nix/topics", "", 404, "Namespace does not exist"),
            ("DELETE", "/namespaces/public/n1", "", 204, ""),
            ("DELETE", "/namespaces/public/nix", "", 404, "Namespace public/nix does not exist."),
            ("POST", "/namespaces/public/n2/permissions/role", r#"["produce"]"#, 204, ""),
            ("POST", "/namespaces/public/n2/persistence", "{}", 204, ""),
            ("POST", "/namespaces/public/nix/persistence", "{}", 404, "Namespace does not exist"),
        ])
        .await;
    let policies = broker.json("/namespaces/public/n3").await;
    assert_eq!(policies["bundles"]["numBundles"], 8);
    assert_eq!(policies["max_producers_per_topic"], 3);
    assert_eq!(policies["replication_clusters"], json!(["standalone"]));
    assert_eq!(policies["schema_compatibility_strategy"], "UNDEFINED");
    assert_eq!(broker.json("/namespaces/public/n6/bundles").await["numBundles"], 2);
    assert_eq!(
        broker.json("/namespaces/public/n5/bundles").await["boundaries"],
        json!(["0x00000000", "0x80000000", "0xffffffff"])
    );
}

#[tokio::test]
async fn bundles_are_split_where_it_was_asked_for() {
    let broker = broker().await;
    let first = "/namespaces/public/default/0x00000000_0x40000000";
    let boundaries = async || broker.json("/namespaces/public/default/bundles").await["boundaries"].clone();
    let at = |path: &str| format!("{first}/split?splitAlgorithmName={path}");
    let known = "Unsupported namespace bundle split algorithm, supported algorithms are \
                 [range_equally_divide, topic_count_equally_divide, specified_positions_divide]";
    broker
        .rows(&[
            ("PUT", &at("nonsense"), "", 412, known),
            ("PUT", &at("topic_count_equally_divide"), "", 204, ""), // There are no topics: nothing is cut.
            ("PUT", &at("specified_positions_divide"), "[2147483648]", 204, ""), // Not inside.
            ("PUT", "/namespaces/public/nix/0x0_0x4/split", "", 404, "Namespace not found"),
            ("PUT", "/namespaces/public/default/garbage/split", "", 412, ""),
            ("PUT", "/namespaces/public/default/HOT/split", "", 404, "Bundle range HOT not found"),
        ])
        .await;
    let four = json!(["0x00000000", "0x40000000", "0x80000000", "0xc0000000", "0xffffffff"]);
    assert_eq!(boundaries().await, four);
    let third = "/namespaces/public/default/0x80000000_0xc0000000/split?splitAlgorithmName=specified_positions_divide";
    broker
        .rows(&[
            ("PUT", &format!("{first}/split?unload=true"), "", 204, ""),
            ("PUT", &format!("{first}/split"), "", 412, ""),
            ("PUT", "/namespaces/public/default/LARGEST/split", "", 204, ""),
            ("PUT", third, r#"["0x90000000",2684354560]"#, 204, ""),
        ])
        .await;
    let expected = [
        "0x00000000",
        "0x20000000",
        "0x40000000",
        "0x60000000",
        "0x80000000",
        "0x90000000",
        "0xa0000000",
        "0xc0000000",
        "0xffffffff",
    ];
    assert_eq!(boundaries().await, json!(expected));
    let owned = broker.json("/brokers/standalone/a:8080/ownedNamespaces").await;
    let parts = ["0x00000000_0x20000000", "0x20000000_0x40000000", "0x40000000_0x60000000", "0x80000000_0x90000000"];
    for part in parts {
        assert_eq!(owned[format!("public/default/{part}")]["is_active"], true, "{part} in {owned}");
    }
    assert!(owned.get("public/default/0x00000000_0x40000000").is_none());
    let unknown = "Broker id 'nix:1' not found in available brokers.";
    broker.rows(&[("GET", "/brokers/standalone/nix:1/ownedNamespaces", "", 404, unknown)]).await;
    let positions = broker.json("/namespaces/public/default/0x80000000_0x90000000/topicHashPositions").await;
    assert_eq!(positions["topicHashPositions"], json!({}));
    assert_eq!(broker.json("/geminga/moves").await["moves"], json!([]));
}

#[tokio::test]
async fn a_client_that_comes_another_way_is_told_another_address() {
    let broker = broker().await;
    let lookup = "/lookup/v2/topic/persistent/public/default/x";
    let found = broker.json(&format!("{lookup}?listenerName=outside")).await;
    assert_eq!(found["brokerUrl"], "pulsar://203.0.113.1:16650");
    let named = Request::builder().uri(lookup).header("X-Pulsar-ListenerName", "outside").body(Body::empty()).unwrap();
    assert!(broker.send(named).await.1.contains("pulsar://203.0.113.1:16650"));
    let unknown = "the broker do not have nix listener";
    broker.rows(&[("GET", &format!("{lookup}?listenerName=nix"), "", 500, unknown)]).await;
}

#[tokio::test]
async fn bundles_are_unloaded_by_name_and_to_a_live_broker_only() {
    let broker = broker().await;
    assert_eq!(broker.ask("GET", "/lookup/v2/topic/persistent/public/default/x", "").await.0, 200);
    broker
        .rows(&[
            ("PUT", "/namespaces/public/default/unload", "", 204, ""),
            ("PUT", "/namespaces/public/nix/unload", "", 404, "Namespace not found"),
            ("PUT", "/namespaces/public/default/0x80000000_0xc0000000/unload", "", 204, ""),
            ("PUT", "/namespaces/public/default/0x80000000_0xc0000001/unload", "", 412, ""),
            ("PUT", "/namespaces/public/default/garbage/unload", "", 412, "Invalid bundle range"),
            (
                "PUT",
                "/namespaces/public/default/0x80000000_0xc0000000/unload?destinationBroker=nix:8080",
                "",
                409,
                "Not allowed unload namespace bundle to inactive destination broker",
            ),
            ("PUT", "/namespaces/public/default/0x80000000_0xc0000000/unload?destinationBroker=a%3A8080", "", 204, ""),
            ("PUT", "/namespaces/public/default/0x80000000_0xc0000000/unload?destinationBroker=a:6650", "", 204, ""),
        ])
        .await;
}

#[tokio::test]
async fn a_lookup_names_all_five_keys_and_the_way_back() {
    let broker = broker().await;
    let request = |host: &str| {
        let path = "/lookup/v2/topic/persistent/public/default/a%2Fb";
        Request::builder().uri(path).header("host", host).body(Body::empty()).unwrap()
    };
    let (status, body) = broker.send(request("mapped.example:18080")).await;
    let found: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 200);
    for key in ["brokerUrl", "brokerUrlTls", "httpUrl", "httpUrlTls", "nativeUrl"] {
        assert!(found[key].is_string(), "{key} in {body}");
    }
    assert_eq!(found["brokerUrl"], "pulsar://mapped.example:6650");
    assert_eq!(found["httpUrl"], "http://mapped.example:18080");
    broker
        .rows(&[
            ("GET", "/lookup/v2/topic/persistent/public/default/x/bundle", "", 200, "0x80000000_0xc0000000"),
            ("GET", "/lookup/v2/topic/persistent/public/nix/x", "", 404, "Namespace not found"),
            ("GET", "/lookup/v2/topic/bad/public/default/x", "", 404, ""),
            ("GET", "/lookup/v2/topic/non-persistent/public/default/x", "", 200, ""),
        ])
        .await;
}

#[tokio::test]
async fn topics_are_made_listed_and_deleted() {
    let broker = broker().await;
    broker
        .rows(&[
            ("PUT", "/persistent/public/default/a", "", 204, ""),
            ("PUT", "/persistent/public/default/a", "", 409, "This topic already exists"),
            ("PUT", "/persistent/public/default/b", "null", 204, ""),
            ("PUT", "/persistent/public/default/c", r#"{"k":"v"}"#, 204, ""),
            ("PUT", "/persistent/public/default/d%2Fe", "", 204, ""),
            ("PUT", "/persistent/public/nix/b", "", 404, "Namespace not found"),
            ("PUT", "/persistent/public/default/z-partition-0", "", 412,
             "Can't create topic z-partition-0 with \"-partition-\" followed by numeric value if there isn't a partitioned topic z created."),
            ("GET", "/persistent/public/default", "", 200,
             r#"["persistent://public/default/a","persistent://public/default/b","persistent://public/default/c","persistent://public/default/d/e"]"#),
            ("GET", "/persistent/public/nix", "", 404, "Namespace does not exist"),
            ("GET", "/non-persistent/public/default", "", 200, "[]"),
            ("GET", "/non-persistent/public/default/x/stats", "", 404, "Topic non-persistent://public/default/x not found"),
            ("PUT", "/non-persistent/public/default/x", "", 204, ""),
            ("PUT", "/non-persistent/public/default/x", "", 409, "This topic already exists"),
            ("GET", "/non-persistent/public/default/x/lastMessageId", "", 405, ""),
            ("GET", "/persistent/public/default/nix/stats", "", 404, "Topic persistent://public/default/nix not found"),
            ("GET", "/persistent/public/default/d%2Fe/stats", "", 200, ""),
            ("GET", "/persistent/public/default/a/internalStats", "", 200, ""),
            ("GET", "/persistent/public/default/a/lastMessageId", "", 200, ""),
            ("PUT", "/persistent/public/default/a/unload", "", 204, ""),
            ("PUT", "/persistent/public/default/nix/unload", "", 404, "Topic persistent://public/default/nix not found"),
            ("GET", "/persistent/public/default/a/maxConsumers", "", 200, ""),
            ("GET", "/persistent/public/default/nix/maxConsumers", "", 404, "Topic persistent://public/default/nix not found"),
            ("DELETE", "/namespaces/public/default", "", 409, "Cannot delete non empty namespace"),
            ("DELETE", "/persistent/public/default/a", "", 204, ""),
            ("DELETE", "/persistent/public/default/a?force=true", "", 404, "Topic persistent://public/default/a not found"),
            ("DELETE", "/namespaces/public/default?force=true", "", 204, ""),
        ])
        .await;
}

#[tokio::test]
async fn partitioned_topics_are_made_grown_and_deleted() {
    let broker = broker().await;
    let base = "/persistent/public/default";
    let path = |rest: &str| format!("{base}/{rest}");
    broker
        .rows(&[
            ("PUT", &path("p/partitions"), "3", 204, ""),
            ("PUT", &path("p/partitions"), "3", 409, "This topic already exists"),
            ("PUT", &path("p"), "", 409, "This topic already exists"),
            ("PUT", &path("plain"), "", 204, ""),
            ("PUT", &path("plain/partitions"), "3", 409, "This topic already exists"),
            ("PUT", &path("q/partitions"), "\"2\"", 204, ""),
            ("PUT", &path("r/partitions"), "0", 406, "Number of partitions should be more than 0"),
            ("PUT", &path("r/partitions"), "-1", 406, "Number of partitions should be more than 0"),
            ("PUT", &path("r/partitions"), "99999999999", 406, ""),
            ("PUT", &path("r/partitions"), "x", 400, ""),
            ("PUT", &path("r/partitions"), "", 400, "The request entity cannot be empty."),
            ("PUT", &path("r/partitions"), r#"{"partitions":2,"properties":{"a":"b"}}"#, 204, ""),
            ("PUT", "/persistent/public/nix/p/partitions", "2", 404, "Namespace not found"),
            ("PUT", &path("p-partition-0/partitions"), "2", 412, "Partitioned Topic Name should not contain '-partition-'"),
            ("GET", &path("p/partitions"), "", 200, r#"{"deleted":false,"partitions":3}"#),
            ("GET", &path("r/partitions"), "", 200, r#"{"deleted":false,"partitions":2,"properties":{"a":"b"}}"#),
            ("GET", &path("plain/partitions"), "", 200, r#"{"deleted":false,"partitions":0}"#),
            ("GET", &path("nix/partitions"), "", 404, "Topic persistent://public/default/nix not found"),
            ("GET", &path("nix/partitions?checkAllowAutoCreation=true"), "", 200, r#"{"deleted":false,"partitions":0}"#),
            ("GET", "/persistent/public/nix/x/partitions", "", 404, "Namespace not found"),
            ("PUT", &path("p/subscription/s"), "", 204, ""),
            ("PUT", &path("p/subscription/s"), "", 409, "Subscription already exists for topic"),
            ("GET", &path("p/subscriptions"), "", 200, r#"["s"]"#),
            ("POST", &path("p/partitions"), "4", 204, ""),
            ("POST", &path("p/partitions"), "4", 204, ""),
            ("POST", &path("p/partitions"), "2", 422, "Desired partitions 2 can't be less than the current partitions 4."),
            ("POST", &path("nix/partitions"), "2", 409, "Topic persistent://public/default/nix is not the partitioned topic."),
            ("GET", &path("p-partition-3/subscriptions"), "", 200, r#"["s"]"#),
            ("GET", &path("partitioned"), "", 200,
             r#"["persistent://public/default/p","persistent://public/default/q","persistent://public/default/r"]"#),
            ("GET", &path("plain/partitioned-stats"), "", 404, "Partitioned Topic persistent://public/default/plain not found"),
            ("POST", &path("p/subscription/s/skip_all"), "", 204, ""),
            ("POST", &path("p/subscription/s/resetcursor/1000"), "", 204, ""),
            ("POST", &path("p/subscription/s/resetcursor"), r#"{"ledgerId":-1,"entryId":-1}"#, 405,
             "Reset-cursor at position is not allowed for partitioned-topic"),
            ("PUT", &path("p/unload"), "", 204, ""),
            ("DELETE", &path("p"), "", 409,
             "persistent://public/default/p is a partitioned topic, instead of calling delete topic, please call delete-partitioned-topic."),
            ("DELETE", &path("plain/partitions"), "", 409,
             "persistent://public/default/plain is a non-partitioned topic. Instead of calling delete-partitioned-topic please call delete."),
        ])
        .await;
    let stats = broker.json(&path("p/partitioned-stats")).await;
    assert_eq!(stats["metadata"]["partitions"], 4);
    assert_eq!(stats["partitions"].as_object().map(serde_json::Map::len), Some(4));
    assert!(stats["subscriptions"]["s"].is_object());
    let few = broker.json(&path("p/partitioned-stats?perPartition=false")).await;
    assert_eq!(few["partitions"], json!({}));
    assert_eq!(broker.json(&path("p/partitioned-internalStats")).await["metadata"]["partitions"], 4);
    broker
        .rows(&[
            ("DELETE", &path("p/partitions"), "", 204, ""),
            ("DELETE", &path("p/partitions"), "", 404, "Topic persistent://public/default/p not found."),
            ("GET", &path("p-partition-0/stats"), "", 404, "Topic persistent://public/default/p-partition-0 not found"),
        ])
        .await;
}

#[tokio::test]
async fn subscriptions_are_made_moved_and_removed() {
    let broker = broker().await;
    let path = |rest: &str| format!("/persistent/public/default/{rest}");
    broker
        .rows(&[
            ("PUT", &path("a"), "", 204, ""),
            ("GET", &path("a/subscriptions"), "", 200, "[]"),
            ("PUT", &path("a/subscription/s1"), "", 204, ""),
            ("PUT", &path("a/subscription/s1"), "", 409, "Subscription already exists for topic"),
            ("PUT", &path("a/subscription/s2"), "null", 204, ""),
            ("PUT", &path("a/subscription/s3"), r#"{"ledgerId":-1,"entryId":-1,"partitionIndex":-1}"#, 204, ""),
            (
                "PUT",
                &path("a/subscription/s4"),
                r#"{"ledgerId":9223372036854775807,"entryId":9223372036854775807}"#,
                204,
                "",
            ),
            ("PUT", &path("a/subscription/s5"), "\"earliest\"", 204, ""),
            (
                "PUT",
                &path("a/subscription/s%2F6"),
                r#"{"ledgerId":1,"properties":{"a":"b"},"excluded":false}"#,
                204,
                "",
            ),
            ("PUT", &path("a/subscription/s7"), "7", 400, ""),
            ("PUT", &path("new/subscription/s1"), "", 204, ""),
            ("GET", &path("nix/subscriptions"), "", 404, "Topic persistent://public/default/nix not found"),
            ("DELETE", &path("a/subscription/s2"), "", 204, ""),
            (
                "DELETE",
                &path("a/subscription/s2"),
                "",
                404,
                "Subscription s2 not found for topic persistent://public/default/a",
            ),
            ("POST", &path("a/subscription/s1/skip_all"), "", 204, ""),
            (
                "POST",
                &path("a/subscription/nix/skip_all"),
                "",
                404,
                "Subscription nix not found for topic persistent://public/default/a",
            ),
            ("POST", &path("a/subscription/s1/resetcursor/1000"), "", 204, ""),
            ("POST", &path("a/subscription/s1/resetcursor/x"), "", 400, ""),
            (
                "POST",
                &path("a/subscription/s1/resetcursor"),
                r#"{"ledgerId":-1,"entryId":-1,"excluded":false}"#,
                204,
                "",
            ),
            ("POST", &path("a/subscription/s1/resetcursor"), "null", 400, ""),
            ("POST", &path("a/subscription/nix/resetcursor"), r#"{"ledgerId":-1,"entryId":-1}"#, 404, ""),
            ("POST", &path("a/subscription/s1/skip/3"), "", 204, ""),
        ])
        .await;
    let mut names: Vec<String> = serde_json::from_value(broker.json(&path("a/subscriptions")).await).unwrap();
    names.sort();
    assert_eq!(names, ["s/6", "s1", "s3", "s4", "s5"]);
}

#[tokio::test]
async fn either_broker_answers_what_only_the_owner_knows() {
    let store = MemoryStore::default();
    let mut brokers = vec![];
    for name in ["a", "b"] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let broker = broker_at(&store, name, &listener.local_addr().unwrap().to_string()).await;
        tokio::spawn(daemon::http::serve(listener, broker.router.clone(), daemon::Drain::new()));
        brokers.push(broker);
    }
    while brokers.iter().any(|broker| broker.pages.context.ownership.brokers().len() < 2) {
        tokio::task::yield_now().await;
    }
    for number in 0..12 {
        let path = format!("/persistent/public/default/topic%2F{number}");
        brokers[number % 2].rows(&[("PUT", &path, "", 204, "")]).await;
        for broker in &brokers {
            let subscription = format!("{path}/subscription/{}", broker.pages.context.start);
            broker
                .rows(&[
                    ("PUT", &subscription, "", 204, ""),
                    ("PUT", &subscription, "", 409, "Subscription already exists for topic"),
                ])
                .await;
        }
        let owners = [brokers[0].json(&format!("{path}/stats")).await, brokers[1].json(&format!("{path}/stats")).await];
        assert_eq!(owners[0]["ownerBroker"], owners[1]["ownerBroker"]);
        assert_eq!(owners[1]["subscriptions"].as_object().map(serde_json::Map::len), Some(2));
    }
    let both = brokers.iter().all(|broker| !broker.pages.context.topics.loaded().is_empty());
    assert!(both, "each has some topics");
    brokers[0].rows(&[("DELETE", "/namespaces/public/default?force=true", "", 204, "")]).await;
}
