//! Bodies: JSON that is too deep, too large, too wide, or of the wrong kind.
use super::*;

const RETENTION: &str = "/namespaces/public/default/retention";

/// What is no value of any kind.
fn nonsense() -> Vec<(&'static str, String)> {
    vec![
        ("10 000 deep", "[".repeat(10_000)),
        ("10 000 deep and closed", format!("{}{}", "[".repeat(10_000), "]".repeat(10_000))),
        ("objects 10 000 deep", r#"{"a":"#.repeat(10_000)),
        ("no end", r#"{"retentionTimeInMinutes": 1"#.into()),
        ("NaN", "NaN".into()),
        ("1e400", "1e400".into()),
        ("infinity", "-Infinity".into()),
        ("two values", "{} {}".into()),
        ("a comment", "/* {} */".into()),
        ("a bare word", "nonsense".into()),
        ("half a text", "\"abc".into()),
        ("half a surrogate", r#"{"\ud800": 1}"#.into()),
        ("a NUL", "\0".into()),
        ("an array", "[1, 2]".into()),
    ]
}

/// Pages that take an object or a number.
const TAKERS: [(&str, &str); 9] = [
    ("PUT", "/tenants/odd"),
    ("PUT", "/namespaces/public/odd"),
    ("POST", RETENTION),
    ("POST", "/namespaces/public/default/messageTTL"),
    ("POST", "/namespaces/public/default/backlogQuota"),
    ("POST", "/namespaces/public/default/persistence"),
    ("PUT", "/persistent/public/default/odd/partitions"),
    ("POST", "/persistent/public/default/there/retention"),
    ("POST", "/persistent/public/default/there/subscription/none/resetcursor"),
];

#[tokio::test]
async fn bodies_that_are_no_json_are_refused() {
    let mut scene = with_namespace().await;
    assert_eq!(Asked::new("PUT", "/admin/v2/persistent/public/default/there").status(&scene.http).await, 204);
    let mut rows = Vec::new();
    for (method, path) in TAKERS {
        rows.extend(nonsense().into_iter().map(|(_, body)| row(method, path, &body, &[400, 404, 412])));
        let overlong = Asked::new(method, &format!("/admin/v2{path}"))
            .with([b"\"\xff\xfe\"".to_vec(), b" ".repeat(2000)].concat());
        rows.push(Row { asked: overlong, expected: &[400, 404, 412] });
    }
    play(&mut scene, rows).await;
    scene.end().await;
}

#[tokio::test]
async fn values_beyond_their_range_are_refused() {
    let mut scene = with_namespace().await;
    let ttl = "/namespaces/public/default/messageTTL";
    let quota = "/namespaces/public/default/backlogQuota";
    let rows = [
        row("POST", RETENTION, r#"{"retentionTimeInMinutes": 99999999999999999999, "retentionSizeInMB": 1}"#, &[400]),
        row("POST", RETENTION, r#"{"retentionTimeInMinutes": 1e400, "retentionSizeInMB": 1}"#, &[400]),
        row("POST", RETENTION, r#"{"retentionTimeInMinutes": -5, "retentionSizeInMB": 1}"#, &[400, 412]),
        row("POST", RETENTION, r#"{"retentionTimeInMinutes": 1, "retentionSizeInMB": -5}"#, &[400, 412]),
        row("POST", RETENTION, r#"{"retentionTimeInMinutes": true, "retentionSizeInMB": {}}"#, &[400]),
        row(
            "POST",
            RETENTION,
            r#"{"retentionTimeInMinutes": 2147483647, "retentionSizeInMB": 9223372036854775807}"#,
            &[204, 400, 412],
        ),
        row(
            "POST",
            RETENTION,
            r#"{"retentionTimeInMinutes": 5, "retentionTimeInMinutes": 6, "retentionSizeInMB": -1}"#,
            &[204, 400],
        ),
        row("POST", ttl, "-1", &[412]),
        row("POST", ttl, "2147483648", &[400]),
        row("POST", ttl, "1.5", &[204, 400]),
        row("POST", ttl, "{}", &[400]),
        row("POST", quota, r#"{"limitSize": -7, "policy": "producer_request_hold"}"#, &[204, 400, 412]),
        row("POST", quota, r#"{"limitSize": 9223372036854775808, "policy": "producer_request_hold"}"#, &[400]),
        row("POST", quota, r#"{"limitSize": 1, "policy": "nonsense"}"#, &[204, 400, 412]),
        row("POST", "/namespaces/public/default/maxProducersPerTopic", "-1", &[412]),
        row("POST", "/namespaces/public/default/maxConsumersPerTopic", "99999999999", &[400]),
        row("POST", "/namespaces/public/default/maxUnackedMessagesPerConsumer", "-1", &[412]),
        row("POST", "/namespaces/public/default/deduplication", "perhaps", &[400]),
        row("PUT", "/tenants/odd", r#"{"adminRoles": 7}"#, &[400]),
        row("PUT", "/tenants/odd", r#"{"allowedClusters": ["nowhere"]}"#, &[412]),
        row("PUT", "/tenants/odd", r#"{"allowedClusters": [null, 1]}"#, &[400, 412]),
        row("PUT", "/namespaces/public/odd", r#"{"bundles": {"numBundles": -1}}"#, &[204]),
        row("PUT", "/namespaces/public/odder", r#"{"bundles": {"numBundles": 1000000000}}"#, &[400]),
        row("PUT", "/namespaces/public/oddest", r#"{"bundles": {"boundaries": ["0x0", "0x0", "nonsense"]}}"#, &[400]),
        row("PUT", "/persistent/public/default/odd", r#"{"key": 7}"#, &[204, 400]),
    ];
    play(&mut scene, rows).await;
    scene.end().await;
}

#[tokio::test]
async fn numbers_of_partitions_are_counted_before_anything_is_made() {
    let mut scene = Scene::set().await;
    let path = |name: &str| format!("/persistent/public/default/{name}/partitions");
    let (none, two) = (path("none"), path("two"));
    let rows = [
        row("PUT", &none, "", &[400]),
        row("PUT", &none, "0", &[406]),
        row("PUT", &none, "-1", &[406]),
        row("PUT", &none, "1000000000", &[406]),
        row("PUT", &none, "99999999999999999999", &[400, 406]),
        row("PUT", &none, "1.5", &[400, 406]),
        row("PUT", &none, "NaN", &[400]),
        row("PUT", &none, "true", &[400]),
        row("PUT", &none, r#"{"partitions": -1}"#, &[406]),
        row("PUT", &none, r#"{"partitions": {"partitions": 1}}"#, &[400]),
        row("PUT", &none, r#"{"properties": {}}"#, &[400, 406]),
        row("GET", "/persistent/public/default/partitioned", "", &[200]),
        row("POST", &none, "3", &[404, 409]),
        row("PUT", &two, "2", &[204]),
        row("PUT", &two, "2", &[409]),
        row("POST", &two, "1", &[422]),
        row("POST", &two, "0", &[406, 422]),
        row("POST", &two, "-1", &[406, 422]),
        row("POST", &two, "1000000000", &[406]),
    ];
    play(&mut scene, rows).await;
    let listed = Asked::new("GET", "/admin/v2/persistent/public/default/partitioned").answer(&scene.http).await.1;
    assert_eq!(listed, r#"["persistent://public/default/two"]"#);
    scene.end().await;
}

/// Apache Pulsar's tools send one type; others send others, or none. What counts is the body.
#[tokio::test]
async fn the_type_of_a_body_is_no_trap() {
    let mut scene = with_namespace().await;
    let body = r#"{"retentionTimeInMinutes": 5, "retentionSizeInMB": 5}"#;
    for content_type in [
        "text/plain",
        "application/xml",
        "application/json; charset=utf-16",
        "nonsense",
        "",
        "multipart/form-data; boundary=x",
    ] {
        let asked = Asked::new("POST", &format!("/admin/v2{RETENTION}")).with(body).of_type(content_type);
        let status = asked.status(&scene.http).await;
        assert!(matches!(status, 204 | 400 | 415), "{content_type}: {status}");
        scene.nobody_is_disturbed(content_type).await;
    }
    scene.end().await;
}
