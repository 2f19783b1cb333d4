//! Traces by OTLP over HTTP. Spans wait in a bounded queue for a thread that sends them; spans that
//! do not fit are dropped, and no task waits for a collector.

use std::sync::OnceLock;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use opentelemetry::context::FutureExt;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HeaderExtractor, HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use raidhall_protocol::RaidId;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::warn;

use crate::http_client;
use crate::telemetry::options::Options;
use crate::telemetry::{TraceExportOutcome, metrics};

/// Longest time to send one batch to the collector.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time to send the last batch at shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest response of a collector in bytes.
const RESPONSE_BYTES_MAX: usize = 64 * 1_024;

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Exporter of traces; `None` if traces are not configured.
pub struct TraceExporter(Option<SdkTracerProvider>);

/// Starts the export of traces, if it is configured. Must be called within the runtime that will
/// send them.
pub fn start_trace_export(config: &Options) -> TraceExporter {
    let Some(endpoint) = &config.otlp_endpoint else {
        return TraceExporter(None);
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(OtlpHttpClient(Handle::current()))
        .with_endpoint(format!(
            "{}/v1/traces",
            endpoint.uri().to_string().trim_end_matches('/')
        ))
        .with_timeout(EXPORT_TIMEOUT)
        .build();
    let exporter = match exporter {
        Ok(exporter) => exporter,
        Err(error) => {
            warn!(%error, "creating the trace exporter failed; no traces are exported");
            return TraceExporter(None);
        }
    };
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
            config.trace_sample_ratio(),
        ))))
        .with_resource(
            Resource::builder()
                .with_service_name("raidhall")
                .with_attribute(version)
                .build(),
        )
        .build();
    let _ = TRACER.set(provider.tracer("raidhall")); // tests may begin twice in one process
    TraceExporter(Some(provider))
}

impl TraceExporter {
    /// Sends the remaining spans and ends the export.
    pub async fn shutdown(self) {
        let Some(provider) = self.0 else { return };
        let ended =
            tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(SHUTDOWN_TIMEOUT))
                .await;
        if let Ok(Err(error)) = ended {
            warn!(%error, "sending the last traces failed; they are lost");
        }
    }
}

/// A span, recorded if traces are.
#[derive(Debug, Clone)]
pub struct TraceSpan(Option<Context>);

impl TraceSpan {
    /// Returns a span that is not recorded.
    pub const fn disabled() -> TraceSpan {
        TraceSpan(None)
    }

    /// Starts the span of an HTTP request, within the caller's trace if `trusted_headers` name one.
    pub fn start_request(
        method: &Method,
        route: Option<&str>,
        trusted_headers: Option<&HeaderMap>,
    ) -> TraceSpan {
        let Some(tracer) = TRACER.get() else {
            return TraceSpan(None);
        };
        let extract = |headers| {
            TraceContextPropagator::new()
                .extract_with_context(&Context::new(), &HeaderExtractor(headers))
        };
        let parent = trusted_headers.map_or_else(Context::new, extract);
        let route = route.unwrap_or("unmatched").to_owned();
        // Clients can invent any number of methods, but a span's name must come from a small set.
        let method = if method.as_str().len() <= 7 {
            method.to_string()
        } else {
            "other".to_owned()
        };
        let name = format!("{method} {route}");
        let attributes = vec![
            KeyValue::new("http.request.method", method),
            KeyValue::new("http.route", route),
        ];
        Self::start_within(tracer, name, SpanKind::Server, attributes, &parent)
    }

    /// Starts the span of a command, within the span of its request.
    pub fn start_command(kind: &'static str, raid: RaidId) -> TraceSpan {
        let Some(tracer) = TRACER.get() else {
            return TraceSpan(None);
        };
        let raid = KeyValue::new("raidhall.raid", i64::from(raid));
        let name = format!("command {kind}");
        Self::start_within(
            tracer,
            name,
            SpanKind::Internal,
            vec![raid],
            &Context::current(),
        )
    }

    /// Starts the span of a commit to the store.
    pub fn start_commit(raids: usize, events: usize) -> TraceSpan {
        let Some(tracer) = TRACER.get() else {
            return TraceSpan(None);
        };
        let count = |name: &'static str, count: usize| {
            KeyValue::new(name, i64::try_from(count).unwrap_or(i64::MAX))
        };
        let attributes = vec![
            count("raidhall.raids", raids),
            count("raidhall.events", events),
        ];
        Self::start_within(
            tracer,
            "commit".to_owned(),
            SpanKind::Client,
            attributes,
            &Context::new(),
        )
    }

    fn start_within(
        tracer: &SdkTracer,
        name: String,
        kind: SpanKind,
        attributes: Vec<KeyValue>,
        parent: &Context,
    ) -> TraceSpan {
        let span = tracer
            .span_builder(name)
            .with_kind(kind)
            .with_attributes(attributes);
        TraceSpan(Some(
            parent.with_span(span.start_with_context(tracer, parent)),
        ))
    }

    /// Runs a future within the span.
    pub async fn wrap<F: Future>(&self, future: F) -> F::Output {
        match &self.0 {
            Some(context) => future.with_context(context.clone()).await,
            None => future.await,
        }
    }

    /// Adds an event to the span at this time.
    pub fn annotate(&self, what: &'static str) {
        if let Some(context) = &self.0 {
            context.span().add_event(what, Vec::new());
        }
    }

    /// Ends a request's span with the response's status.
    pub fn end_with_status(self, status: StatusCode) {
        let Some(context) = self.0 else { return };
        context.span().set_attribute(KeyValue::new(
            "http.response.status_code",
            i64::from(status.as_u16()),
        ));
        if status.is_server_error() {
            context.span().set_status(Status::error(""));
        }
        context.span().end();
    }

    /// Ends the span of a command or a commit with its outcome.
    pub fn end(self, outcome: &'static str) {
        let Some(context) = self.0 else { return };
        context
            .span()
            .set_attribute(KeyValue::new("raidhall.outcome", outcome));
        context.span().end();
    }
}

/// Sends batches with the server's HTTP client on the server's runtime, because the exporter's
/// thread has none.
#[derive(Debug)]
struct OtlpHttpClient(Handle);

#[async_trait]
impl HttpClient for OtlpHttpClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sending = self.0.spawn(async move {
            timeout(
                EXPORT_TIMEOUT,
                http_client::send(request, RESPONSE_BYTES_MAX),
            )
            .await
        });
        let sent = async { Ok::<_, HttpError>(sending.await???) }.await;
        let outcome = match &sent {
            Ok(response) if response.status().is_success() => TraceExportOutcome::Accepted,
            _ => TraceExportOutcome::Failed,
        };
        metrics().trace_exports.increment(outcome);
        sent
    }
}
