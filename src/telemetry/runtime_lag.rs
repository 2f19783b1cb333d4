//! Lag of the runtime: a timer that should fire ten times a second, and how late it fires.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::metrics;

/// Interval between two measurements.
const MEASURE_INTERVAL: Duration = Duration::from_millis(100);

/// Measures until dropped. Every task of this runtime suffers the same lag: from a poll that takes
/// long, from more work than there are cores, or from a machine that is paused.
pub async fn measure_runtime_lag() {
    let mut due = Instant::now() + MEASURE_INTERVAL;
    loop {
        sleep_until(due).await;
        let late = due.elapsed();
        metrics().event_loop_lag.record(late);
        due = Instant::now() + MEASURE_INTERVAL;
    }
}
