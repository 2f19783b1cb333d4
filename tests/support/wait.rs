//! Waits for conditions that depend on the program, each with a bound and a name.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Longest wait, far beyond what anything takes that a test waits for.
const WAIT_MAX: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Polls until `find` returns something, and returns that. Panics with `what` after a minute.
pub async fn wait_for<T>(what: &str, mut find: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WAIT_MAX;
    loop {
        if let Some(found) = find().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        sleep(POLL_INTERVAL).await;
    }
}
