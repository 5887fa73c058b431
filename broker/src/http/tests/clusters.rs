//! Clusters by name. Codes and texts are those that Apache Pulsar 4.0.8 gave to the same requests.
use super::*;

const NOT_THERE: &str = "Cluster does not exist";
const ALSO: &str = "Cluster nix does not exist.";

#[tokio::test]
async fn other_clusters_are_made_changed_and_removed() {
    let broker = broker().await;
    let address = |name: &str, url: &str| format!(r#"{{"{name}":"{url}"}}"#);
    broker
        .rows(&[
            ("PUT", "/clusters/a", r#"{"serviceUrl":"http://a:8080","unknown":1,"migrated":true}"#, 200, ""),
            ("PUT", "/clusters/a", "{}", 409, "Cluster already exists"),
            ("PUT", "/clusters/b", "{}", 200, ""),
            ("PUT", "/clusters/c", "", 400, "cluster data is required"),
            ("PUT", "/clusters/c%20x", "{}", 412, "Cluster name is not valid"),
            ("PUT", "/clusters/c", "[1]", 400, ""),
            ("PUT", "/clusters/c", r#"{"serviceUrl":[]}"#, 400, ""),
            ("PUT", "/clusters/c", r#"{"peerClusterNames":"x"}"#, 400, ""),
            ("PUT", "/clusters/c", r#"{"tlsAllowInsecureConnection":7}"#, 400, ""),
            (
                "PUT",
                "/clusters/c",
                &address("serviceUrl", "pulsar://x:1"),
                400,
                "Illegal service url, example: http://pulsar.example.com:8080",
            ),
            (
                "PUT",
                "/clusters/c",
                &address("serviceUrlTls", "x"),
                400,
                "Illegal service tls url, example: https://pulsar.example.com:8443",
            ),
            (
                "POST",
                "/clusters/a",
                &address("brokerServiceUrl", "x"),
                400,
                "Illegal broker service url, example: pulsar://pulsar.example.com:6650",
            ),
            (
                "POST",
                "/clusters/a",
                &address("brokerServiceUrlTls", "x"),
                400,
                "Illegal broker service tls url, example: pulsar+ssl://pulsar.example.com:6651",
            ),
            ("GET", "/clusters", "", 200, r#"["a","b","standalone"]"#),
            ("POST", "/clusters/nix", "{}", 404, NOT_THERE),
            ("DELETE", "/clusters/nix", "", 404, NOT_THERE),
            ("DELETE", "/clusters/standalone", "", 412, "Cluster not empty"),
            ("DELETE", "/clusters/b", "", 204, ""),
            ("GET", "/clusters", "", 200, r#"["a","standalone"]"#),
        ])
        .await;
    let off = json!({"brokerClientTlsEnabled": false, "tlsAllowInsecureConnection": false,
                     "brokerClientTlsEnabledWithKeyStore": false});
    let with = |more: Value| {
        let mut all = off.clone();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    assert_eq!(broker.json("/clusters/a").await, with(json!({"serviceUrl": "http://a:8080"})));
    let said = r#"{"listenerName":"l","brokerClientTlsEnabled":"true","peerClusterNames":["standalone"]}"#;
    broker.rows(&[("POST", "/clusters/a", said, 200, "")]).await;
    let all = json!({"listenerName": "l", "brokerClientTlsEnabled": true, "peerClusterNames": ["standalone"]});
    assert_eq!(broker.json("/clusters/a").await, with(all), "what was said before is gone");
}

#[tokio::test]
async fn of_this_cluster_may_be_said_what_others_are_to_know() {
    let broker = broker().await;
    let shown = broker.json("/clusters/standalone").await;
    assert_eq!(
        (&shown["serviceUrl"], &shown["brokerServiceUrl"]),
        (&json!("http://a:8080"), &json!("pulsar://a:6650"))
    );
    broker
        .rows(&[
            ("POST", "/clusters/standalone", r#"{"serviceUrl":"http://example:8080"}"#, 200, ""),
            ("GET", "/clusters", "", 200, r#"["standalone"]"#),
        ])
        .await;
    let shown = broker.json("/clusters/standalone").await;
    assert_eq!(
        (&shown["serviceUrl"], &shown["brokerServiceUrl"]),
        (&json!("http://example:8080"), &json!("pulsar://a:6650"))
    );
}

#[tokio::test]
async fn peers_and_failure_domains_are_kept() {
    let broker = broker().await;
    let domain = |name: &str| format!("/clusters/a/failureDomains/{name}");
    broker
        .rows(&[
            ("PUT", "/clusters/a", "{}", 200, ""),
            ("GET", "/clusters/a/peers", "", 200, ""),
            ("POST", "/clusters/a/peers", r#"["standalone"]"#, 204, ""),
            ("GET", "/clusters/a/peers", "", 200, r#"["standalone"]"#),
            ("POST", "/clusters/a/peers", r#"["a"]"#, 412, "a itself can't be part of peer-list"),
            ("POST", "/clusters/a/peers", r#"["nix"]"#, 412, "Peer cluster nix does not exist"),
            ("POST", "/clusters/nix/peers", r#"["a"]"#, 404, NOT_THERE),
            ("GET", "/clusters/nix/peers", "", 404, NOT_THERE),
            ("POST", "/clusters/a/peers", "[]", 204, ""),
            ("GET", "/clusters/a/peers", "", 200, "[]"),
            ("GET", "/clusters/a/failureDomains", "", 200, "{}"),
            ("GET", "/clusters/nix/failureDomains", "", 200, "{}"),
            ("POST", &domain("d1"), r#"{"brokers":["x:1","y:2"]}"#, 204, ""),
            ("POST", &domain("d1"), r#"{"brokers":["x:1","z:3"]}"#, 204, ""),
            ("POST", &domain("d2"), r#"{"brokers":["x:1"]}"#, 409, "[x:1] already exists in d1"),
            ("POST", &domain("d2"), "", 204, ""),
            ("POST", "/clusters/nix/failureDomains/d", "{}", 412, ALSO),
            ("GET", &domain("d1"), "", 200, r#"{"brokers":["x:1","z:3"]}"#),
            ("GET", &domain("d3"), "", 404, "Domain d3 for cluster a does not exist"),
            ("GET", "/clusters/nix/failureDomains/d", "", 412, ALSO),
            ("GET", "/clusters/a/failureDomains", "", 200, r#"{"d1":{"brokers":["x:1","z:3"]},"d2":{"brokers":[]}}"#),
            ("DELETE", &domain("d1"), "", 200, ""),
            ("DELETE", &domain("d1"), "", 404, "Domain-name d1 or cluster a does not exist"),
            ("DELETE", "/clusters/nix/failureDomains/d", "", 412, ALSO),
        ])
        .await;
}

#[tokio::test]
async fn namespaces_and_topics_name_the_clusters_they_are_to_be_in() {
    let broker = broker().await;
    let (namespace, topic) = ("/namespaces/t/n/replication", "/persistent/t/n/x/replication");
    let not_allowed = "Cluster [b] is not in the list of allowed clusters list for tenant [t]";
    broker
        .rows(&[
            ("PUT", "/clusters/a", "{}", 200, ""),
            ("PUT", "/clusters/b", "{}", 200, ""),
            ("PUT", "/tenants/t", r#"{"allowedClusters":["standalone","a"]}"#, 204, ""),
            ("PUT", "/tenants/u", r#"{"allowedClusters":["standalone","nix"]}"#, 412, "Clusters do not exist"),
            ("PUT", "/namespaces/t/m", r#"{"replication_clusters":["standalone","b"]}"#, 403, not_allowed),
            ("PUT", "/namespaces/t/n", r#"{"replication_clusters":["standalone","a"]}"#, 204, ""),
            ("GET", namespace, "", 200, r#"["a","standalone"]"#),
            ("PUT", "/persistent/t/n/x", "", 204, ""),
            ("GET", topic, "", 200, ""),
            ("GET", &format!("{topic}?applied=true"), "", 200, r#"["a","standalone"]"#),
            ("POST", topic, r#"["standalone","b"]"#, 204, ""),
            ("GET", topic, "", 200, r#"["b","standalone"]"#),
            ("POST", namespace, r#"["standalone","b"]"#, 403, not_allowed),
            ("POST", namespace, r#"["nix"]"#, 403, "Invalid cluster id: nix"),
            ("POST", namespace, r#"["global"]"#, 412, "Cannot specify global in the list of replication clusters"),
            ("POST", namespace, r#"["a","a"]"#, 200, ""),
            ("GET", namespace, "", 200, r#"["a"]"#),
        ])
        .await;
    assert_eq!(broker.json("/namespaces/t/n").await["replication_clusters"], json!(["a"]));
    let stats = broker.json("/persistent/t/n/x/stats").await;
    assert_eq!(stats["replication"], json!({"b": {"connected": false}}), "nothing goes there, and that is told");
    broker.rows(&[("PUT", "/persistent/public/default/y", "", 204, "")]).await;
    assert_eq!(broker.json("/persistent/public/default/y/stats").await["replication"], json!({}));
}
