//! What operators see: logs on standard error, metrics for Prometheus.

mod family;
mod gauge_guard;
mod logs;
mod metrics;
mod process;
mod recorder;
mod runtime_lag;
mod traces;

pub use family::{Counters, Gauges, Grid};
pub use gauge_guard::Held;
pub use logs::init;
pub use metrics::{Metrics, metrics};
pub use recorder::{metrics_router, render, upkeep};
pub use runtime_lag::lag;
pub use traces::{Trace, Traces, begin as begin_traces};
