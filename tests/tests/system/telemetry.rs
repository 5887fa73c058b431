//! What processes tell of themselves when they are asked to: logs for machines, traces, fewer series.
use std::net::SocketAddr;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::Value;
use tests::client::{ProducerId, Publisher};
use tests::cluster::{Servers, Standalone};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::directory;

/// A short life has some dozens.
const SPANS_MAX: usize = 10_000;
const WITHIN: Duration = Duration::from_secs(30);

async fn publish(addresses: &[String], topic: &str) {
    let mut publisher = Publisher::open(addresses, topic).await.expect("it attaches");
    publisher.publish(ProducerId(0), b"x");
    publisher.flush().await.expect("sent");
    publisher.receipt().await.expect("a receipt");
}

#[tokio::test]
async fn a_log_for_machines_has_one_json_object_per_event() {
    let place = directory();
    let environment = [("GEMINGA_LOG_FORMAT", "json"), ("RUST_LOG", "info")];
    let mut server =
        Standalone::start_with(place.path(), &place.path().join("data"), &environment).await.expect("it starts");
    let printed = server.process().printed();
    let events: Vec<Value> = printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let whole =
        |event: &&Value| ["timestamp", "level", "target", "message"].iter().all(|field| event[field].is_string());
    assert!(events.iter().any(|event| whole(&event)), "{printed}");
    assert!(!printed.contains(" INFO "), "{printed}");
}

#[tokio::test]
async fn a_log_format_that_does_not_exist_is_named() {
    let place = directory();
    let environment = [("GEMINGA_LOG_FORMAT", "xml")];
    let mut server =
        Standalone::start_with(place.path(), &place.path().join("data"), &environment).await.expect("it starts");
    let printed = server.process().printed();
    assert!(printed.contains("GEMINGA_LOG_FORMAT is ignored: it is `text` or `json`, not `xml`"), "{printed}");
}

#[tokio::test]
async fn a_page_of_metrics_can_do_without_topics() {
    let place = directory();
    let servers = Servers::one(place.path()).await.expect("standalone starts");
    for topic in ["a", "b"] {
        let topic = format!("persistent://public/default/{topic}");
        publish(&servers.addresses(), &topic).await;
    }
    let page = servers.admin().get("/metrics?topics=false").await.expect("a page");
    let page = page.as_str().expect("a text");
    assert!(!page.contains("topic=\""), "{page}");
    let sum = page.lines().find(|line| line.starts_with("pulsar_in_messages_total{")).expect("it is there");
    assert!(sum.contains("namespace=\"public/default\"") && sum.ends_with("} 2"), "{sum}");
}

/// Stands where people have a collector, and keeps what comes.
struct Collector(mpsc::Sender<Span>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let scopes = request.into_inner().resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        for span in scopes.flat_map(|scope| scope.spans) {
            self.0.try_send(span).map_err(|_| Status::resource_exhausted("nobody wants that many"))?;
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn start() -> (SocketAddr, mpsc::Receiver<Span>) {
        let (spans, came) = mpsc::channel(SPANS_MAX);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let service = tonic::transport::Server::builder().add_service(TraceServiceServer::new(Self(spans)));
        tokio::spawn(service.serve_with_incoming(TcpIncoming::from(listener)));
        (address, came)
    }
}

#[tokio::test]
async fn traces_of_what_takes_long_go_to_a_collector() {
    let (collector, mut came) = Collector::start().await;
    let place = directory();
    let endpoint = format!("http://{collector}");
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())];
    let mut server =
        Standalone::start_with(place.path(), &place.path().join("data"), &environment).await.expect("it starts");
    let topic = "persistent://public/default/traced";
    publish(&[server.address()], topic).await;
    server.admin().get("/admin/v2/clusters").await.expect("an answer");
    server.process().drain(WITHIN).await.expect("it ends"); // With its last spans sent.
    let mut spans = Vec::new();
    came.close();
    while let Some(span) = came.recv().await {
        spans.push(span);
    }
    let of = |name: &str, key: &str, value: &str| -> Vec<&Span> {
        let has = |span: &&Span| span.attributes.iter().any(|one| one.key == key && text(one) == value);
        let found: Vec<&Span> = spans.iter().filter(|span| span.name == name).filter(has).collect();
        assert!(!found.is_empty(), "there is no {name} with {key} {value}: {spans:#?}");
        found
    };
    let seal = of("topic.seal", "topic", topic)[0];
    assert!(of("topic.load", "topic", topic).iter().any(|load| load.span_id == seal.parent_span_id), "{spans:#?}");
    of("http.request", "path", "/admin/v2/clusters");
    of("topic.unload", "topic", topic);
}

fn text(attribute: &KeyValue) -> &str {
    match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text,
        _ => "",
    }
}
