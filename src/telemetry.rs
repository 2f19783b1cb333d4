//! Telemetry for operators: logs on standard error, metrics for Prometheus, traces for
//! OpenTelemetry.

#[cfg(test)]
mod documented;
mod gauge_guard;
mod labels;
mod log_writer;
mod logs;
mod metric_family;
mod metrics;
mod options;
mod process;
mod progress;
mod recorder;
mod repeat_limit;
mod runtime_lag;
mod traces;

pub use gauge_guard::GaugeGuard;
pub use labels::{
    AcceptPauseCause, BusDropCause, BusRejectionCause, CloseCause, CommandOutcome, ErasureOutcome,
    ExcessKind, ForwardOutcome, JwksFetchOutcome, Label, LocalLimitCause, ReloadCause, RepairCause,
    SignalDropCause, StorePool, TakeoverCause, TokenRefusal, TraceExportOutcome, WebhookOutcome,
};
pub use log_writer::LogGuard;
pub use logs::init_logging;
pub use metric_family::{CounterFamily, GaugeFamily, TwoLabelCounterFamily};
pub use metrics::{Metrics, metrics};
pub use options::{LogFormat, Options};
pub use progress::{Progress, WithProgress};
pub use recorder::{metrics_router, render_metrics, run_upkeep};
pub use runtime_lag::measure_runtime_lag;
pub use traces::{TraceExporter, TraceSpan, start_trace_export};
