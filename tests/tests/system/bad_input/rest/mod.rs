//! List D: administration, asked for what it cannot do.
mod bodies;
mod paths;
mod races;
mod transport;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;

/// No page takes longer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// So many of anything.
const MANY: &str = "1000000000";

/// One request, as it stands on the wire.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    method: String,
    path: String,
    content_type: String,
    body: Vec<u8>,
}

impl Asked {
    pub(super) fn new(method: &str, path: &str) -> Self {
        Self { method: method.into(), path: path.into(), content_type: "application/json".into(), body: Vec::new() }
    }

    fn with(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    fn of_type(self, content_type: &str) -> Self {
        Self { content_type: content_type.into(), ..self }
    }

    /// The status and the body of the answer, of which there is one.
    async fn answer(&self, http: &str) -> (u16, String) {
        let Self { method, path, content_type, body } = self;
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n"
        );
        let answer = said(http, &[head.as_bytes(), body].concat()).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        (status(head).unwrap_or(0), body.to_owned())
    }

    pub(super) async fn status(&self, http: &str) -> u16 {
        self.answer(http).await.0
    }
}

fn status(head: &str) -> Option<u16> {
    head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

/// All that a server says to these bytes until it hangs up. It may hang up before it has read them all.
async fn said(http: &str, bytes: &[u8]) -> String {
    let talk = async {
        let mut stream = TcpStream::connect(http).await.expect("HTTP is served");
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    timeout(ANSWERS_WITHIN, talk).await.unwrap_or_else(|_| "nothing in time".into())
}

/// A scene with a namespace whose policies may be spoiled.
async fn with_namespace() -> Scene {
    let scene = Scene::set().await;
    let made = Asked::new("PUT", "/admin/v2/namespaces/public/bad").status(&scene.http).await;
    assert!(matches!(made, 204 | 409), "{made}");
    scene
}

/// One row of a table of requests.
struct Row {
    asked: Asked,
    /// Any of these.
    expected: &'static [u16],
}

fn row(method: &str, path: &str, body: &str, expected: &'static [u16]) -> Row {
    Row { asked: Asked::new(method, &format!("/admin/v2{path}")).with(body), expected }
}

/// Plays a table, and names all rows that failed. A refusal says why.
async fn play(scene: &mut Scene, rows: impl IntoIterator<Item = Row>) {
    let mut failed = Vec::new();
    for Row { asked, expected } in rows {
        // Apache Pulsar makes what it is asked for until its memory is full, and answers nobody for ten minutes.
        let ruins = asked.path.contains(MANY) || String::from_utf8_lossy(&asked.body).contains(MANY);
        if ruins && !scene.is_ours() {
            continue;
        }
        let (status, answer) = asked.answer(&scene.http).await;
        let shown: String = String::from_utf8_lossy(&asked.body).chars().take(60).collect();
        let name = format!("{} {:.100} {shown}", asked.method, asked.path);
        if !expected.contains(&status) {
            failed.push(format!("{name}: {status} instead of {expected:?}: {answer:.200}"));
        } else if 400 <= status && answer.is_empty() {
            failed.push(format!("{name}: {status} without a reason: {answer:.200}"));
        }
        scene.nobody_is_disturbed(&name).await;
    }
    assert!(failed.is_empty(), "{} rows:\n{}\n", failed.len(), failed.join("\n"));
}
