//! What operators see: logs on standard error, metrics for Prometheus.

mod family;
mod held;
mod logs;
mod metrics;
mod recorder;

pub use family::Counters;
pub use held::Held;
pub use logs::init;
pub use metrics::{Metrics, metrics};
pub use recorder::{metrics_router, render, upkeep};
