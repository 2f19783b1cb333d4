//! Traces: where the time of a request, a command or a commit went, for a collector of OpenTelemetry's.
//!
//! In a build without the feature `otel` nothing of it exists; without `telemetry.otlp_endpoint` nothing of it runs.
//! Attributes are names from fixed sets, ids and numbers: no text of a player's, no token, no address.

#[cfg(not(feature = "otel"))]
mod disabled;
#[cfg(feature = "otel")]
mod otlp;

#[cfg(not(feature = "otel"))]
pub use disabled::{TraceExporter, TraceSpan, start_trace_export};
#[cfg(feature = "otel")]
pub use otlp::{TraceExporter, TraceSpan, start_trace_export};
