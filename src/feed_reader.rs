//! Runs a reader of the feed on one instance at a time: a webhook endpoint's dispatcher, or the
//! projector.
//!
//! An instance that does not have the reader's place tries to get it every few seconds. The place is
//! free again when its holder ends, and when it meets an event that only a newer release can read.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::store::{Result, StoreError};

/// Interval between attempts to get the place, which also show whether a paused reader was resumed.
const ACQUIRE_INTERVAL: Duration = Duration::from_secs(5);
/// Pause after a failure of the store.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Interval between attempts at events that only a newer release can read. It is several times
/// [`ACQUIRE_INTERVAL`], so that an instance of such a release gets the place first.
pub(crate) const NEWER_RELEASE_INTERVAL: Duration = Duration::from_secs(15);
/// Interval between warnings while the store fails.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);
/// Longest time to free the place at the end.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// A reader of the feed. Its logs are in a span that names it.
#[async_trait]
pub trait FeedReader: Send + Sync {
    /// Gets the place, if it is free, and reads for as long as this instance has it.
    async fn acquire_and_read(&self) -> Result<()>;

    /// Frees the place, if this instance has it.
    async fn release(&self) -> Result<()>;

    /// Counts an attempt that stopped at an event of a newer release.
    fn count_newer(&self);
}

/// Reads until `stop` is cancelled, and then frees the place for other instances.
pub async fn run(reader: impl FeedReader, stop: CancellationToken) {
    let _ = stop.run_until_cancelled(read_with_retries(&reader)).await;
    release(&reader).await;
}

async fn read_with_retries(reader: &impl FeedReader) {
    let mut warned_at: Option<Instant> = None;
    loop {
        let pause = match reader.acquire_and_read().await {
            Ok(()) => ACQUIRE_INTERVAL,
            Err(error) => {
                let is_warning_due = warned_at.is_none_or(|at| at.elapsed() > WARNING_INTERVAL);
                if is_warning_due {
                    warned_at = Some(Instant::now());
                }
                handle_store_error(reader, &error, is_warning_due).await
            }
        };
        sleep(pause).await;
    }
}

/// Returns the pause before the next attempt.
async fn handle_store_error(
    reader: &impl FeedReader,
    error: &StoreError,
    is_warning_due: bool,
) -> Duration {
    if let StoreError::NewerVersion { .. } | StoreError::NewerDefinitions { .. } = error {
        if is_warning_due {
            warn!(%error, "a newer release wrote what comes next; waiting for an instance of it");
        }
        reader.count_newer();
        release(reader).await;
        return NEWER_RELEASE_INTERVAL;
    }
    if is_warning_due {
        warn!(?error, "store failed while the feed was read; retrying");
    }
    RETRY_INTERVAL
}

async fn release(reader: &impl FeedReader) {
    if !matches!(timeout(RELEASE_TIMEOUT, reader.release()).await, Ok(Ok(()))) {
        info!(
            "freeing the place in the feed failed; it is free when this instance's lease expires"
        );
    }
}
