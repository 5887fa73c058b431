//! The table of pages: what is listed is served, and what is served is listed.
use super::*;

/// Something for each name in a path.
fn filled(path: &str) -> String {
    let part = |part: &str| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
        Some("domain") => "persistent".to_owned(),
        Some("tenant") => "public".to_owned(),
        Some("namespace") => "default".to_owned(),
        Some("cluster") => "standalone".to_owned(),
        Some(name) if ["number", "entries", "seconds", "time", "ledger", "entry", "version"].contains(&name) => {
            "1".to_owned()
        }
        Some(name) => name.to_owned(),
        None => part.to_owned(),
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_page_that_is_listed_is_served_and_stands_in_the_document() {
    let broker = broker().await;
    let document = broker.json(DOCUMENT).await;
    let listed = all(&broker.pages);
    let mut count = 0;
    for page in listed.listed() {
        for method in &page.methods {
            count += 1;
            let operation = &document["paths"][&page.path][method.as_str().to_ascii_lowercase()];
            assert!(operation["operationId"].is_string(), "{method} {} is not in the document", page.path);
            let parameters = operation["parameters"].as_array().map_or(0, Vec::len);
            assert_eq!(parameters, page.path.matches('{').count(), "{}", page.path);
            let request = Request::builder().method(method).uri(filled(&page.path)).body(Body::empty()).unwrap();
            let (status, body) = broker.send(request).await;
            assert!(
                !body.contains("there is no page") && !body.contains("does not take this"),
                "{method} {}: {status} {body}",
                page.path
            );
        }
    }
    assert!(250 < count, "{count}");
    let ids: Vec<&Value> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|page| page.as_object().unwrap().values())
        .map(|operation| &operation["operationId"])
        .collect();
    let distinct: std::collections::BTreeSet<&str> = ids.iter().filter_map(|id| id.as_str()).collect();
    assert_eq!((distinct.len(), ids.len()), (count, count), "each has a name of its own");
}

#[tokio::test]
async fn topics_that_store_nothing_have_pages_of_their_own() {
    let broker = broker().await;
    let topic = "/non-persistent/public/default/passing";
    let bundle = broker.ask("GET", "/lookup/v2/topic/non-persistent/public/default/passing/bundle", "").await.1;
    broker
        .rows(&[
            ("PUT", &format!("{topic}/partitions"), "2", 204, ""),
            (
                "GET",
                "/non-persistent/public/default/partitioned",
                "",
                200,
                r#"["non-persistent://public/default/passing"]"#,
            ),
            ("GET", "/persistent/public/default/partitioned", "", 200, "[]"),
            ("GET", &format!("{topic}-partition-1/stats"), "", 200, ""),
            ("GET", &format!("{topic}-partition-2/stats"), "", 404, ""),
            ("POST", &format!("{topic}/partitions"), "3", 204, ""),
            ("GET", &format!("{topic}-partition-2/stats"), "", 200, ""),
            ("DELETE", &format!("{topic}/partitions"), "", 204, ""),
            ("GET", "/non-persistent/public/default", "", 200, "[]"),
            ("PUT", topic, "", 204, ""),
            (
                "GET",
                &format!("/non-persistent/public/default/{bundle}"),
                "",
                200,
                r#"["non-persistent://public/default/passing"]"#,
            ),
            ("GET", "/geminga/passing/public/default", "", 200, r#"["non-persistent://public/default/passing"]"#),
            ("POST", &format!("{topic}/maxProducers"), "3", 204, ""),
            ("GET", &format!("{topic}/maxProducers"), "", 200, "3"),
            ("GET", "/persistent/public/default/passing/maxProducers", "", 404, ""),
            ("PUT", &format!("{topic}/unload"), "", 204, ""),
            ("PUT", &format!("{topic}/unload"), "", 404, ""),
            ("GET", &format!("{topic}/maxProducers"), "", 404, ""),
            ("DELETE", topic, "", 204, ""),
            ("PUT", "/namespaces/public/emptied", "", 204, ""),
            ("PUT", "/non-persistent/public/emptied/t", "", 204, ""),
            ("DELETE", "/namespaces/public/emptied", "", 409, "Cannot delete non empty namespace"),
            ("DELETE", "/namespaces/public/emptied?force=true", "", 204, ""),
            ("GET", "/non-persistent/public/emptied", "", 404, "Namespace does not exist"),
        ])
        .await;
}

#[tokio::test]
async fn a_broker_tells_of_the_topics_that_it_serves_at_once() {
    let broker = broker().await;
    broker
        .rows(&[
            ("PUT", "/persistent/public/default/seen", "", 204, ""),
            ("PUT", "/persistent/public/default/seen/subscription/s", "", 204, ""),
        ])
        .await;
    let told = broker.ask("GET", "/broker-stats/topics", "").await.1;
    assert!(told.contains("persistent://public/default/seen"), "{told}");
}

#[tokio::test]
async fn what_is_not_possible_here_is_refused_and_not_done() {
    let broker = broker().await;
    let topic = "/persistent/public/default/t";
    broker
        .rows(&[
            ("PUT", topic, "", 204, ""),
            ("PUT", &format!("{topic}/subscription/s"), "", 204, ""),
            ("POST", &format!("{topic}/subscription/s/replicatedSubscriptionStatus"), "true", 501, ""),
            ("POST", &format!("{topic}/subscription/s/replicatedSubscriptionStatus"), "false", 204, ""),
            ("DELETE", &format!("{topic}/properties"), "", 400, ""),
            ("POST", "/resource-quotas/public/default/0x00000000_0x40000000", "{}", 501, ""),
            ("GET", "/broker-stats/allocator-stats/default", "", 404, ""),
            ("POST", &format!("{topic}/permissions/r"), r#""produce""#, 400, ""),
            ("POST", "/clusters/standalone/namespaceIsolationPolicies/p", "{}", 501, ""),
        ])
        .await;
}

#[tokio::test]
async fn a_topic_may_be_said_to_be_in_the_cluster_that_it_is_in() {
    let broker = broker().await;
    let page = "/persistent/public/default/t/replication";
    let local = "Can not remove local cluster from the local topic-level replication clusters policy";
    broker
        .rows(&[
            ("POST", page, r#"["standalone"]"#, 404, "Topic persistent://public/default/t not found"),
            ("PUT", "/persistent/public/default/t", "", 204, ""),
            ("GET", page, "", 200, ""),
            ("GET", &format!("{page}?applied=true"), "", 200, r#"["standalone"]"#),
            ("POST", page, r#"["standalone"]"#, 204, ""),
            ("GET", page, "", 200, r#"["standalone"]"#),
            ("POST", page, r#"["elsewhere"]"#, 412, local),
            ("POST", page, r#"["standalone","elsewhere"]"#, 403, "Invalid cluster id: elsewhere"),
            ("POST", page, "[]", 412, "ClusterIds should not be null or empty"),
            ("POST", page, "", 412, "ClusterIds should not be null or empty"),
            ("POST", page, r#"{"a":1}"#, 400, ""),
            ("GET", page, "", 200, r#"["standalone"]"#),
            ("DELETE", page, "", 204, ""),
            ("DELETE", page, "", 204, ""),
            ("GET", page, "", 200, ""),
        ])
        .await;
}

#[tokio::test]
async fn a_namespace_keeps_the_groups_of_bookies_that_it_is_to_lie_on() {
    let broker = broker().await;
    let page = "/namespaces/public/default/persistence/bookieAffinity";
    let groups = r#"{"bookkeeperAffinityGroupPrimary":"a","bookkeeperAffinityGroupSecondary":"b"}"#;
    broker
        .rows(&[
            ("GET", page, "", 204, ""),
            ("POST", page, groups, 204, ""),
            ("GET", page, "", 200, groups),
            ("POST", page, r#"["a"]"#, 400, ""),
            ("DELETE", page, "", 204, ""),
            ("GET", page, "", 204, ""),
        ])
        .await;
}
