//! Names in paths, however they are written.
use super::*;

/// Each kind of page, with `{}` where a name goes.
const PAGES: [(&str, &str); 22] = [
    ("GET", "/tenants/{}"),
    ("DELETE", "/tenants/{}"),
    ("GET", "/namespaces/{}"),
    ("GET", "/namespaces/public/{}"),
    ("DELETE", "/namespaces/public/{}"),
    ("GET", "/namespaces/{}/default/topics"),
    ("GET", "/namespaces/public/default/{}"),
    ("GET", "/namespaces/public/{}/retention"),
    ("DELETE", "/namespaces/public/{}/retention"),
    ("PUT", "/namespaces/public/default/{}/unload"),
    ("GET", "/persistent/{}/default"),
    ("GET", "/persistent/public/{}/partitioned"),
    ("GET", "/persistent/public/default/{}/stats"),
    ("GET", "/persistent/public/default/{}/internalStats"),
    ("DELETE", "/persistent/public/default/{}"),
    ("POST", "/persistent/public/default/{}/terminate"),
    ("GET", "/persistent/public/default/there/{}"),
    ("DELETE", "/persistent/public/default/there/subscription/{}"),
    ("POST", "/persistent/public/default/there/subscription/none/skip/{}"),
    ("POST", "/persistent/public/default/there/subscription/none/resetcursor/{}"),
    ("GET", "/schemas/public/default/there/schema/{}"),
    ("GET", "/clusters/{}"),
];

fn names() -> Vec<String> {
    let mut names: Vec<String> = [
        "%2e%2e",
        "..",
        "%252e%252e",
        "%2f",
        "%2F..%2F..%2Fetc",
        "a%2Fb",
        "%00",
        "%0d%0aX:%20y",
        "%c0%af",
        "%ff",
        "%",
        "%zz",
        "a%20b",
        "PUBLIC",
        "-1",
        "99999999999999999999",
        "NaN",
        "1e400",
        "'%22%3Cscript%3E",
        "%F0%9F%9A%80",
        "*",
        "~",
        "$%7Bjndi:x%7D",
    ]
    .map(Into::into)
    .into();
    names.push("x".repeat(5000));
    names
}

/// Goal: a name that cannot be is refused: never a failure of the server, never a success for something else.
#[tokio::test]
async fn names_in_paths_are_taken_as_they_are_or_refused() {
    let mut scene = Scene::set().await;
    assert_eq!(Asked::new("PUT", "/admin/v2/persistent/public/default/there").status(&scene.http).await, 204);
    let mut failed = Vec::new();
    for (method, page) in PAGES {
        for name in names() {
            let path = page.replace("{}", &name);
            let (status, answer) = Asked::new(method, &format!("/admin/v2{path}")).answer(&scene.http).await;
            let refused = matches!(status, 400..=499 | 501);
            if !refused || answer.is_empty() {
                failed.push(format!("{method} {path:.100}: {status} {answer:.200}"));
            }
        }
        scene.nobody_is_disturbed(page).await;
    }
    assert!(failed.is_empty(), "{} rows:\n{}\n", failed.len(), failed.join("\n"));
    let list = Asked::new("GET", "/admin/v2/persistent/public/default").answer(&scene.http).await.1;
    assert!(list.contains("default/there\"") && list.contains("default/victim\""), "what was there is there: {list}");
    scene.end().await;
}

#[tokio::test]
async fn odd_ways_to_ask_for_a_page_change_nothing() {
    let mut scene = Scene::set().await;
    let rows = [
        row("GET", "/tenants/", "", &[200]),
        row("GET", "//tenants", "", &[200]),
        row("GET", "/TENANTS", "", &[404]),
        row("GET", "/tenants/../tenants", "", &[404]),
        row("GET", "/tenants/public/..", "", &[404]),
        row("GET", "/tenants;a=b", "", &[404]),
        row("GET", "/tenants?x=%ff&&&=", "", &[200]),
        row("POST", "/tenants", "", &[405]),
        row("PATCH", "/tenants/public", "{}", &[405]),
        row("NONSENSE", "/tenants/public", "", &[405]),
        row("GET", "/persistent/public/default/there/stats?getPreciseBacklog=maybe", "", &[200, 400, 404]),
        row("DELETE", "/persistent/public/default/none?force=perhaps", "", &[400, 404]),
        row("GET", "/namespaces/public/default/topics?mode=NONSENSE", "", &[404]),
        row("PUT", "/namespaces/public/many?bundles=-1", "", &[204]),
        row("PUT", "/namespaces/public/more?bundles=99999999999999999999", "", &[400, 404]),
        row("PUT", "/namespaces/public/most?bundles=1000000000", "", &[400]),
    ];
    play(&mut scene, rows).await;
    let overridden = "POST /admin/v2/tenants/public HTTP/1.1\r\nhost: x\r\nx-http-method-override: DELETE\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    said(&scene.http, overridden.as_bytes()).await;
    assert_eq!(Asked::new("GET", "/admin/v2/tenants/public").status(&scene.http).await, 200);
    scene.end().await;
}
