//! The HTTP side of a process: who may hold it up for how long, and the three pages every process has.
//!
//! Promises: a client that is slow, silent, or sends without end costs one of a bounded number of connections for a bounded time.
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, RawQuery, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;
use tower_service::Service;
use tracing::Instrument;
use tracing::field::Empty;

use crate::metrics::MetricText;
use crate::telemetry::SPANS;
use crate::{Drain, Health, metrics};

/// A request's line and headers.
const HEADER_BYTES_MAX: usize = 64 << 10;
/// A request's body: administrative JSON.
const BODY_BYTES_MAX: usize = 1 << 20;
/// From the first wait for a request to the end of its headers; an idle connection lasts no longer.
const HEADER_TIME_MAX: Duration = Duration::from_secs(30);
/// From a request's headers to its answer, its body included.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
/// A connection is asked to end after this time, and cut the same time later: nobody reads an answer that slowly.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(300);
/// Beyond these, new connections wait.
const CONNECTIONS_MAX: usize = 512;
/// For requests in flight when the drain was asked for.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// `GET /healthz`, `/readyz` and `/metrics`. `render` writes the process's own metrics, as the request's query wants them; those that
/// every process has are added.
pub fn pages<F, R>(health: Health, render: R) -> Router
where
    R: Fn(MetricText, Option<String>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = MetricText> + Send + 'static,
{
    let ready = health.clone();
    let metrics = move |RawQuery(query): RawQuery| {
        let render = render.clone();
        async move {
            let mut page = MetricText::new();
            metrics::process(&mut page);
            let text = render(page, query).await.finish();
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
        }
    };
    Router::new()
        .route("/healthz", get(async move || answer(health.health())))
        .route("/readyz", get(async move || answer(ready.readiness())))
        .route("/metrics", get(metrics.clone()))
        .route("/metrics/", get(metrics)) // As Pulsar's own scrape configurations ask for it.
}

fn answer((good, body): (bool, serde_json::Value)) -> (StatusCode, Json<serde_json::Value>) {
    (if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(body))
}

/// Serves `router` until `drain` was asked for and the requests in flight are answered.
pub async fn serve(listener: TcpListener, router: Router, drain: Drain) {
    let router = router.layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = drain.requested() => break,
            accepted = accept(&listener, &room) => accepted,
        };
        let (stream, permit) = accepted;
        let (router, drain) = (router.clone(), drain.clone());
        connections.spawn(async move {
            serve_connection(stream, router, drain).await;
            drop(permit);
        });
    }
    connections.close();
    if timeout(DRAIN_TIME_MAX, connections.wait()).await.is_err() {
        tracing::warn!("HTTP requests were still unanswered at the end of the drain");
    }
}

async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> (TcpStream, tokio::sync::OwnedSemaphorePermit) {
    let permit = Arc::clone(room).acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(error) => {
                // Usually too many open files: it passes when others close theirs.
                tracing::warn!(%error, "cannot accept an HTTP connection");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, router: Router, drain: Drain) {
    let _ = stream.set_nodelay(true); // Only latency is lost without.
    let service =
        service_fn(move |request: hyper::Request<Incoming>| answer_in_time(router.clone(), request.map(Body::new)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = async { tokio::select! { () = drain.requested() => (), () = sleep(CONNECTION_TIME_MAX) => () } } => {
            connection.as_mut().graceful_shutdown();
            timeout(CONNECTION_TIME_MAX, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection ended early");
    }
}

async fn answer_in_time(mut router: Router, request: Request) -> Result<Response, Infallible> {
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| BODY_BYTES_MAX as u64 <= length) {
        return Ok(refuse(StatusCode::PAYLOAD_TOO_LARGE, format!("a body has less than {BODY_BYTES_MAX} bytes")));
    }
    let span = tracing::info_span!(target: SPANS, "http.request", method = %request.method(), path = request.uri().path(), status = Empty);
    let answered = match timeout(ANSWER_TIME_MAX, router.call(request).instrument(span.clone())).await {
        Ok(answered) => answered,
        Err(_elapsed) => {
            let reason = format!("the request took more than {} s", ANSWER_TIME_MAX.as_secs());
            Ok(refuse(StatusCode::SERVICE_UNAVAILABLE, reason))
        }
    };
    if let Ok(answer) = &answered {
        span.record("status", answer.status().as_u16());
    }
    answered
}

fn refuse(status: StatusCode, reason: String) -> Response {
    (status, Json(serde_json::json!({"reason": reason}))).into_response()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::metrics::Kind;

    struct Server {
        port: u16,
        health: Health,
        drain: Drain,
        task: tokio::task::JoinHandle<()>,
    }

    async fn server() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (health, drain) = (Health::new(), Drain::new());
        let render = |mut page: MetricText, _query| async move {
            page.single("sample_total", Kind::Counter, "sample", 7u32);
            page
        };
        let echo = axum::routing::post(async |body: String| body.len().to_string());
        let router = pages(health.clone(), render).route("/echo", echo);
        let task = tokio::spawn(serve(listener, router, drain.clone()));
        Server { port, health, drain, task }
    }

    impl Server {
        async fn send(&self, request: &[u8]) -> String {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
            let _ = stream.write_all(request).await; // The server may answer and close before it has read all.
            let mut answer = vec![];
            let _ = stream.read_to_end(&mut answer).await;
            String::from_utf8_lossy(&answer).into_owned()
        }

        async fn get(&self, path: &str) -> String {
            self.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await
        }
    }

    #[tokio::test]
    async fn headers_are_spelled_as_a_client_wants_them() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let spelled = crate::spelled(&["X-Like-THIS"]).await;
        let page = get(async || {
            let mut answer = [("x-like-this", "1"), ("x-not", "2")].into_response();
            *answer.extensions_mut() = spelled;
            answer
        });
        let drain = Drain::new();
        let task = tokio::spawn(serve(listener, Router::new().route("/page", page), drain.clone()));
        let server = Server { port, health: Health::new(), drain, task };
        let answer = server.get("/page").await;
        assert!(answer.contains("X-Like-THIS: 1") && answer.contains("x-not: 2"), "{answer}");
    }

    #[tokio::test]
    async fn readiness_and_health_answer_with_reasons() {
        let server = server().await;
        let page = server.get("/readyz").await;
        assert!(
            page.starts_with("HTTP/1.1 503") && page.ends_with(r#"{"ready":false,"reasons":["starting"]}"#),
            "{page}"
        );
        server.health.ok("journal");
        server.health.ready();
        assert!(server.get("/readyz").await.ends_with(r#"{"ready":true}"#));
        assert!(server.get("/healthz").await.starts_with("HTTP/1.1 200"));

        server.health.failing("journal", "disk full");
        let page = server.get("/healthz").await;
        assert!(page.starts_with("HTTP/1.1 503") && page.contains(r#""reason":"disk full""#), "{page}");
        assert!(server.get("/readyz").await.starts_with("HTTP/1.1 200"), "only its owner says that it does not serve");
        server.health.not_ready("draining");
        assert!(server.get("/readyz").await.ends_with(r#""reasons":["draining","journal: disk full"]}"#));
    }

    #[tokio::test]
    async fn metrics_hold_the_processs_own_and_the_common_ones() {
        let page = server().await.get("/metrics").await;
        for expected in
            ["sample_total 7\n", "process_resident_memory_bytes ", "process_cpu_seconds_total ", "process_open_fds "]
        {
            assert!(page.contains(expected), "no {expected} in {page}");
        }
    }

    #[tokio::test]
    async fn bodies_and_headers_beyond_the_limit_are_refused() {
        let server = server().await;
        let post = |length: usize| {
            format!("POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n")
        };
        let small = server.send(format!("{}abc", post(3)).as_bytes()).await;
        assert!(small.ends_with("\r\n\r\n3"), "{small}");
        assert!(server.send(post(1 << 30).as_bytes()).await.starts_with("HTTP/1.1 413"));
        let header = format!("GET /readyz HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
        let answer = server.send(header.as_bytes()).await;
        assert!(!answer.contains("200 OK"), "{answer}");
        assert!(server.get("/metrics").await.starts_with("HTTP/1.1 200"), "others are not disturbed");
    }

    #[tokio::test]
    async fn a_silent_client_is_cut() {
        let server = server().await;
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
        stream.write_all(b"GET /readyz HT").await.unwrap();
        tokio::time::pause(); // From here on time passes as soon as nobody has anything to do.
        let mut answer = vec![];
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
    }

    #[tokio::test]
    async fn a_drain_ends_serving_and_idle_connections() {
        let server = server().await;
        let mut idle = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
        idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        idle.read_exact(&mut first).await.unwrap();
        server.drain.request();
        server.task.await.unwrap();
        let mut rest = vec![];
        idle.read_to_end(&mut rest).await.unwrap();
        assert!(TcpStream::connect(("127.0.0.1", server.port)).await.is_err(), "nothing listens any more");
    }
}
