//! Requests that are no good HTTP, or no good company.
use super::*;

/// A request that must not be taken for a whole one, and what may begin the answer. Empty: hung up on.
fn broken() -> Vec<(&'static str, Vec<u8>, &'static [&'static str])> {
    let post = |head: &str, body: &str| {
        format!("POST /admin/v2/namespaces/public/default/messageTTL HTTP/1.1\r\n{head}\r\n\r\n{body}").into_bytes()
    };
    let get = |head: &str| format!("GET /admin/v2/tenants HTTP/1.1\r\n{head}\r\n\r\n").into_bytes();
    const REFUSED: &[&str] = &["HTTP/1.1 400", ""];
    const ANY: &[&str] = &["HTTP/1.1 400", "HTTP/1.1 2", ""];
    vec![
        ("two lengths", post("host: x\r\ncontent-length: 1\r\ncontent-length: 5", "7"), REFUSED),
        ("a length of -1", post("host: x\r\ncontent-length: -1", "7"), REFUSED),
        ("a length with a sign", post("host: x\r\ncontent-length: +1", "7"), REFUSED),
        ("a length that is no number", post("host: x\r\ncontent-length: 1x", "7"), REFUSED),
        ("a length beyond 64 bits", post("host: x\r\ncontent-length: 99999999999999999999", "7"), REFUSED),
        ("chunks of nonsense", post("host: x\r\ntransfer-encoding: chunked", "zz\r\n7\r\n0\r\n\r\n"), REFUSED),
        (
            "a chunk of 2^64 bytes",
            post("host: x\r\ntransfer-encoding: chunked", "ffffffffffffffffff\r\n7\r\n"),
            REFUSED,
        ),
        ("an unknown coding", post("host: x\r\ntransfer-encoding: nonsense", "7"), REFUSED),
        (
            "chunked, but not last",
            post("host: x\r\ntransfer-encoding: chunked, identity", "1\r\n7\r\n0\r\n\r\n"),
            REFUSED,
        ),
        ("a name with a space", get("host: x\r\nbad header: 1"), REFUSED),
        ("a space before the colon", get("host: x\r\ncontent-length : 0"), REFUSED),
        ("a folded line", get("host: x\r\nfolded: a\r\n b"), ANY),
        ("a NUL in a value", get("host: x\r\nnul: a\0b"), REFUSED),
        ("a version of the future", b"GET /admin/v2/tenants HTTP/9.9\r\nhost: x\r\n\r\n".to_vec(), REFUSED),
        ("no version", b"GET /admin/v2/tenants\r\n\r\n".to_vec(), REFUSED),
        ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), REFUSED),
        ("a connection of Pulsar's", connect_frame(), REFUSED),
        ("200 headers", get(&format!("host: x\r\n{}connection: close", "a: b\r\n".repeat(200))), &["HTTP/1.1 431", ""]),
        ("a header of 1 MiB", get(&format!("host: x\r\na: {}", "b".repeat(1 << 20))), &["HTTP/1.1 431", ""]),
        (
            "a path of 1 MiB",
            format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(1 << 20)).into_bytes(),
            &["HTTP/1.1 414", "HTTP/1.1 431", ""],
        ),
        ("1 GiB announced", post("host: x\r\ncontent-length: 1073741824\r\nconnection: close", "7"), &["HTTP/1.1 413"]),
        (
            "1 TiB announced",
            post("host: x\r\ncontent-length: 1099511627776\r\nconnection: close", "7"),
            &["HTTP/1.1 413"],
        ),
    ]
}

#[tokio::test]
async fn what_is_no_good_http_is_refused_or_hung_up_on() {
    let mut scene = with_namespace().await;
    let mut failed = Vec::new();
    for (name, bytes, expected) in broken() {
        let answer = said(&scene.http, &bytes).await;
        if !expected.iter().any(|begin| if begin.is_empty() { answer.is_empty() } else { answer.starts_with(begin) }) {
            failed.push(format!("{name}: {answer:.300}"));
        }
        scene.nobody_is_disturbed(name).await;
    }
    assert!(failed.is_empty(), "{} rows:\n{}\n", failed.len(), failed.join("\n"));
    let ttl = Asked::new("GET", "/admin/v2/namespaces/public/default/messageTTL").answer(&scene.http).await;
    assert!(!ttl.1.contains('7'), "a broken request was obeyed: {ttl:?}");
    scene.end().await;
}

/// Goal: two who read the same bytes never see different requests. Method: pairs in which one length says that a second request is
/// hidden in the body; the hidden one would make a tenant.
#[tokio::test]
async fn no_request_is_smuggled_in_the_body_of_another() {
    let mut scene = with_namespace().await;
    let body = r#"{"allowedClusters":["standalone"]}"#;
    let hidden =
        format!("PUT /admin/v2/tenants/smuggled HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let post = "POST /admin/v2/namespaces/public/default/messageTTL HTTP/1.1\r\nhost: x\r\n";
    let pairs = [
        (
            "length and chunks",
            format!("{post}content-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "chunks and length",
            format!("{post}transfer-encoding: chunked\r\ncontent-length: 6\r\n\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "two codings",
            format!("{post}transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "a coding with a tab",
            format!("{post}transfer-encoding:\tchunked\r\ncontent-length: 6\r\n\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "a coding in disguise",
            format!("{post}transfer-encoding: xchunked\r\ncontent-length: 6\r\n\r\n0\r\n\r\n{hidden}"),
        ),
        ("two lengths", format!("{post}content-length: 0\r\ncontent-length: {}\r\n\r\n{hidden}", hidden.len())),
    ];
    for (name, bytes) in pairs {
        let answers = said(
            &scene.http,
            format!("{bytes}GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes(),
        )
        .await;
        // Obeyed as a second request it would be one that a proxy in front has not seen.
        let made = Asked::new("GET", "/admin/v2/tenants/smuggled").status(&scene.http).await;
        assert_eq!(made, 404, "{name}: {answers:.500}");
        scene.nobody_is_disturbed(name).await;
    }
    scene.end().await;
}

#[tokio::test]
async fn any_host_is_answered_and_none_is_believed() {
    let mut scene = with_namespace().await;
    let hosts = [
        "",
        "host: evil.example\r\n",
        "host: a\r\nhost: b\r\n",
        "host: \u{7f}\r\n",
        "host: x:99999\r\n",
        "host: [::1\r\n",
    ];
    for host in hosts {
        let asked = format!("GET /admin/v2/tenants HTTP/1.1\r\n{host}connection: close\r\n\r\n");
        let answer = said(&scene.http, asked.as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 2") || answer.starts_with("HTTP/1.1 4") || answer.is_empty(),
            "{host}: {answer}"
        );
        assert!(!answer.contains("evil"), "{answer}");
    }
    let absolute = "GET http://evil.example/admin/v2/tenants HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = said(&scene.http, absolute.as_bytes()).await;
    assert!(!answer.contains("evil"), "{answer}");
    scene.nobody_is_disturbed("after odd hosts").await;
    scene.end().await;
}

/// Goal: whoever sends slowly holds up nobody. Method: many unfinished requests, while others are answered at once.
#[tokio::test]
async fn slow_requests_hold_nobody_up() {
    const SLOW: usize = 200;
    let mut scene = with_namespace().await;
    let mut slow = Vec::new();
    for number in 0..SLOW {
        let mut stream = TcpStream::connect(&scene.http).await.expect("HTTP is served");
        let begun: &[u8] = match number % 3 {
            0 => b"POST /admin/v2/namespaces/public/default/messageTTL HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n1",
            1 => b"POST /admin/v2/namespaces/public/default/messageTTL HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nff\r\n1",
            _ => b"GET /admin/v2/ten",
        };
        stream.write_all(begun).await.expect("the server listens");
        slow.push(stream);
    }
    let began = Instant::now();
    assert_eq!(Asked::new("GET", "/admin/v2/tenants").status(&scene.http).await, 200);
    assert!(began.elapsed() < Duration::from_secs(1), "answered after {:?}", began.elapsed());
    scene.nobody_is_disturbed("with slow requests").await;
    for stream in &mut slow {
        stream.write_all(b"1").await.expect("it is waited for");
    }
    drop(slow);
    assert_eq!(Asked::new("GET", "/admin/v2/tenants").status(&scene.http).await, 200);
    scene.end().await;
}
