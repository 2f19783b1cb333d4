//! Traces for an OpenTelemetry collector: where the time of a request, a command or a commit went.
//!
//! A build without the feature `otel` contains none of it; without `telemetry.otlp_endpoint` none
//! of it runs. Attributes are names from fixed sets, ids and numbers: no text of a player, no
//! token, no address.

#[cfg(not(feature = "otel"))]
mod disabled;
#[cfg(feature = "otel")]
mod otlp;

#[cfg(not(feature = "otel"))]
pub use disabled::{TraceExporter, TraceSpan, start_trace_export};
#[cfg(feature = "otel")]
pub use otlp::{TraceExporter, TraceSpan, start_trace_export};
