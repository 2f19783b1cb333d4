//! Waits for conditions that depend on the program, each with a bound and a name.

use std::time::Duration;

use tokio::time::{sleep, timeout};

/// Longest wait, far beyond what anything takes that a test waits for.
const WAIT_MAX: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Polls until `find` returns something, and returns that. Panics with `what` after a minute.
pub async fn wait_for<T>(what: &str, mut find: impl AsyncFnMut() -> Option<T>) -> T {
    let polling = async {
        loop {
            if let Some(found) = find().await {
                return found;
            }
            sleep(POLL_INTERVAL).await;
        }
    };
    timeout(WAIT_MAX, polling)
        .await
        .unwrap_or_else(|_| panic!("timed out waiting for {what}"))
}
