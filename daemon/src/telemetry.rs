//! What a process tells of itself while it runs: its log, and traces of what it does for longer than a message takes.
//!
//! All of it is switched by the environment, so that each process of a cluster, the programs for people included, is switched alike:
//! - `RUST_LOG` filters the log, as `info` or `info,broker=debug`.
//! - `GEMINGA_LOG_FORMAT=json` writes each event as one JSON object per line; `text`, the default, is for people.
//! - `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or `OTEL_EXPORTER_OTLP_ENDPOINT`, as `http://localhost:4317`, sends traces there by OTLP over
//!   gRPC; without them nothing is recorded. `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`, `OTEL_EXPORTER_OTLP_HEADERS` and the rest mean what
//!   [OpenTelemetry's specification](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/) says.
//!
//! Spans have the target [`SPANS`] and a name with a dot, as `topic.load`. There are none for single messages.
use std::io::{self, IsTerminal};

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// The target of the spans that become traces.
pub const SPANS: &str = "geminga";

const FORMAT: &str = "GEMINGA_LOG_FORMAT";
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// The telemetry of a process. Traces that wait to be sent are lost unless it is ended.
pub(crate) struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Must be called on the runtime that will send the traces. What is wrong with the environment is logged, and left out.
    pub(crate) fn start(name: &'static str, log: &str) -> Self {
        let filter = EnvFilter::try_from_default_env();
        let mut complaints = Vec::new();
        if let (Err(error), true) = (&filter, is_set("RUST_LOG")) {
            complaints.push(format!("RUST_LOG is ignored: {error}"));
        }
        let format = std::env::var(FORMAT).unwrap_or_default();
        if !["", "text", "json"].contains(&format.as_str()) {
            complaints.push(format!("{FORMAT} is ignored: it is `text` or `json`, not `{format}`"));
        }
        let traces = match exporter() {
            Ok(exporter) => exporter.map(|exporter| provider(name, exporter)),
            Err(error) => {
                complaints.push(format!("no traces are sent: {error}"));
                None
            }
        };
        // Spans for traces reach the log as context of its events, whatever the filter says of other targets.
        let filter = filter
            .unwrap_or_else(|_| EnvFilter::new(log))
            .or(filter_fn(|about| about.is_span() && about.target() == SPANS));
        let tracer = traces.as_ref().map(|provider| {
            let layer = tracing_opentelemetry::layer()
                .with_tracer(provider.tracer(name))
                .with_location(false)
                .with_threads(false);
            layer.with_filter(filter_fn(|about| about.target() == SPANS))
        });
        let started =
            tracing_subscriber::registry().with(lines(format == "json").with_filter(filter)).with(tracer).try_init();
        if started.is_err() {
            return Self { traces: None }; // Another supervisor of this process, in a test, has done all this.
        }
        for complaint in complaints {
            tracing::warn!("{complaint}");
        }
        log_panics();
        Self { traces }
    }

    /// Sends what waits, for some seconds at most.
    pub(crate) fn end(self) {
        if let Some(Err(error)) = self.traces.map(|traces| traces.shutdown()) {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

fn lines<S: Subscriber + for<'a> LookupSpan<'a>>(json: bool) -> Box<dyn Layer<S> + Send + Sync> {
    let layer = fmt::layer().with_ansi(io::stderr().is_terminal()).with_writer(io::stderr);
    if json { layer.json().flatten_event(true).boxed() } else { layer.boxed() }
}

/// `None` when nobody asked for traces.
fn exporter() -> Result<Option<opentelemetry_otlp::SpanExporter>, opentelemetry_otlp::ExporterBuildError> {
    if !ENDPOINTS.into_iter().any(is_set) {
        return Ok(None);
    }
    opentelemetry_otlp::SpanExporter::builder().with_tonic().build().map(Some)
}

fn provider(name: &'static str, exporter: opentelemetry_otlp::SpanExporter) -> SdkTracerProvider {
    let mut resource = Resource::builder();
    if !is_set("OTEL_SERVICE_NAME") {
        resource = resource.with_service_name(name);
    }
    SdkTracerProvider::builder().with_resource(resource.build()).with_batch_exporter(exporter).build()
}

/// A panic is logged like anything else.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let payload = panic.payload();
        let text =
            payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let text = text.unwrap_or("no message");
        let trace = std::backtrace::Backtrace::capture();
        tracing::error!(place, %trace, "panicked: {text}");
    }));
}
