//! How late the runtime is: a timer that should fire ten times a second, and when it did.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::metrics;

/// How often it is measured.
const MEASURE_INTERVAL: Duration = Duration::from_millis(100);

/// Measures until it is dropped. What it sees is what every task of this runtime suffers: a poll that takes long, more to
/// do than there are cores, a machine that stands still.
pub async fn measure_runtime_lag() {
    let mut due = Instant::now() + MEASURE_INTERVAL;
    loop {
        sleep_until(due).await;
        let late = due.elapsed();
        metrics().event_loop_lag.record(late);
        due = Instant::now() + MEASURE_INTERVAL;
    }
}
