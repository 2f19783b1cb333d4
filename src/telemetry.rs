//! What operators see: logs on standard error, metrics for Prometheus.

mod family;
mod held;
mod lag;
mod logs;
mod metrics;
mod process;
mod recorder;
mod traces;

pub use family::{Counters, Gauges, Grid};
pub use held::Held;
pub use lag::lag;
pub use logs::init;
pub use metrics::{Metrics, metrics};
pub use recorder::{metrics_router, render, upkeep};
pub use traces::{Trace, Traces, begin as begin_traces};
