//! Delivers one endpoint's messages, each raid's in order, as long as the endpoint accepts them.
//! Failed deliveries are parked and retried later, and the others go on.
//!
//! Delivery is at least once: progress is saved after a batch has been posted, in one transaction
//! with its failures. An instance that dies in between leaves the batch to be posted again, under
//! the same ids.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use raidhall_protocol::{Event, RaidId, Seq};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::batch::{DeliveryBatch, PendingDelivery};
use super::{Endpoint, WebhookEventKind, WebhookMessage, schedule};
use crate::clock::Clock;
use crate::feed_reader::FeedReader;
use crate::store::webhooks::{EndpointProgress, ParkedDelivery, ProgressUpdate};
use crate::store::{CommittedEvent, FeedCursor, InstanceId, Result, Store};
use crate::telemetry::metrics;

/// Interval between two reads of the feed and of due retries while there is nothing to deliver.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum number of events that are read at once.
const FEED_EVENTS_MAX: u32 = 256;
/// Maximum number of deliveries in one batch.
const BATCH_DELIVERIES_MAX: u32 = 64;
/// Number of read events without a delivery after which progress is saved, so that a successor does
/// not read them again.
const PROGRESS_INTERVAL_EVENTS: u32 = 10_000;

/// Task that delivers to one endpoint.
pub struct WebhookDispatcher {
    endpoint: Endpoint,
    store: Arc<dyn Store>,
    instance: InstanceId,
    clock: Arc<Clock>,
}

/// State of the delivery: the position in the feed and the health of the endpoint.
struct DispatchState {
    lineage: String,
    feed_cursor: FeedCursor,
    /// Events read since progress was last saved.
    events_since_progress: u32,
    /// Failed batches in a row.
    consecutive_failures: u32,
    /// Time before which nothing is posted.
    backoff_until: Instant,
}

impl WebhookDispatcher {
    pub(super) const fn new(
        endpoint: Endpoint,
        store: Arc<dyn Store>,
        instance: InstanceId,
        clock: Arc<Clock>,
    ) -> WebhookDispatcher {
        WebhookDispatcher {
            endpoint,
            store,
            instance,
            clock,
        }
    }

    pub fn endpoint_name(&self) -> &str {
        &self.endpoint.name
    }
}

#[async_trait]
impl FeedReader for WebhookDispatcher {
    async fn acquire_and_read(&self) -> Result<()> {
        match self
            .store
            .acquire_endpoint(self.endpoint_name(), self.instance)
            .await?
        {
            Some(progress) if progress.pause_reason.is_none() => self.deliver_from(progress).await,
            _ => Ok(()),
        }
    }

    async fn release(&self) -> Result<()> {
        let endpoint = self.endpoint_name();
        self.store.release_endpoint(endpoint, self.instance).await
    }

    fn count_newer(&self) {
        metrics().webhooks_newer.increment(1);
    }
}

impl WebhookDispatcher {
    /// Delivers for as long as this instance holds the endpoint and the endpoint is not paused.
    async fn deliver_from(
        &self,
        EndpointProgress {
            lineage, cursor, ..
        }: EndpointProgress,
    ) -> Result<()> {
        info!(
            endpoint = self.endpoint_name(),
            "webhooks are delivered from here"
        );
        let mut state = DispatchState {
            lineage,
            feed_cursor: cursor,
            events_since_progress: 0,
            consecutive_failures: 0,
            backoff_until: Instant::now(),
        };
        loop {
            sleep_until(state.backoff_until).await;
            // A failing endpoint gets one message at a time.
            let limit = if state.consecutive_failures > 0 {
                1
            } else {
                BATCH_DELIVERIES_MAX
            };
            let due = self
                .store
                .due_deliveries(self.endpoint_name(), self.clock.now(), limit)
                .await?;
            let mut batch = if due.is_empty() {
                self.next_feed_batch(&mut state, limit).await?
            } else {
                self.next_retry_batch(&state, due).await?
            };
            batch.post_all(&self.endpoint, &self.clock).await;
            let DeliveryBatch {
                progress,
                is_caught_up,
                ..
            } = &batch;
            if *progress != ProgressUpdate::default()
                && !self
                    .store
                    .save_progress(self.endpoint_name(), self.instance, progress)
                    .await?
            {
                info!(
                    endpoint = self.endpoint_name(),
                    "webhook endpoint lost to another instance"
                );
                return Ok(());
            }
            if let Some(reason) = &progress.pause_reason {
                warn!(
                    endpoint = self.endpoint_name(),
                    reason, "webhook endpoint paused until an operator resumes it"
                );
                return Ok(());
            }
            if !batch.deliveries.is_empty() {
                self.update_backoff(&mut state, &batch);
            }
            if *is_caught_up {
                sleep(POLL_INTERVAL).await;
            }
        }
    }

    /// Returns the next deliveries of the feed. The state is then ahead of the saved progress: a
    /// caller that fails to post the batch or to save its progress must drop the state.
    async fn next_feed_batch(
        &self,
        state: &mut DispatchState,
        limit: u32,
    ) -> Result<DeliveryBatch> {
        let page = self
            .store
            .read_feed(state.feed_cursor, FEED_EVENTS_MAX)
            .await?;
        if page.lineage != state.lineage {
            warn!(
                endpoint = self.endpoint_name(),
                "the database has another lineage; webhooks continue at the end of its feed"
            );
            let (lineage, cursor) = self.store.feed_end().await?;
            state.lineage = lineage;
            state.feed_cursor = cursor;
            return Ok(DeliveryBatch {
                progress: state.take_progress(),
                ..DeliveryBatch::default()
            });
        }
        let mut deliveries = Vec::new();
        let mut read = 0;
        for CommittedEvent { raid, event, .. } in &page.events {
            deliveries.extend(self.pending_delivery(&state.lineage, *raid, event));
            read += 1;
            if deliveries.len() == limit as usize {
                break;
            }
        }
        let is_whole_page = read as usize == page.events.len();
        // After a partial page, the feed returns the cursor behind as many events as were used.
        state.feed_cursor = if is_whole_page {
            page.next
        } else {
            self.store.read_feed(state.feed_cursor, read).await?.next
        };
        state.events_since_progress += read;
        let is_progress_due =
            !deliveries.is_empty() || state.events_since_progress >= PROGRESS_INTERVAL_EVENTS;
        let progress = if is_progress_due {
            state.take_progress()
        } else {
            ProgressUpdate::default()
        };
        Ok(DeliveryBatch {
            deliveries,
            progress,
            is_caught_up: is_whole_page && read < FEED_EVENTS_MAX,
        })
    }

    fn pending_delivery(
        &self,
        lineage: &str,
        raid: RaidId,
        event: &Event,
    ) -> Option<PendingDelivery> {
        let is_wanted = WebhookEventKind::from_event(&event.data)
            .is_some_and(|kind| self.endpoint.event_kinds.contains(&kind));
        let message = WebhookMessage::from_event(lineage, raid, event).filter(|_| is_wanted)?;
        Some(PendingDelivery {
            raid,
            seq: event.seq,
            message,
            parked_id: None,
            attempts: 0,
        })
    }

    /// Returns the due retries, read from the ledger again.
    async fn next_retry_batch(
        &self,
        state: &DispatchState,
        due: Vec<ParkedDelivery>,
    ) -> Result<DeliveryBatch> {
        let mut batch = DeliveryBatch::default();
        for ParkedDelivery {
            id,
            raid,
            seq,
            attempts,
            ..
        } in due
        {
            let before = Seq(seq.0.saturating_sub(1));
            let event = self
                .store
                .events(raid, before, 1)
                .await?
                .pop()
                .filter(|event| event.seq == seq);
            match event.and_then(|event| WebhookMessage::from_event(&state.lineage, raid, &event)) {
                Some(message) => batch.deliveries.push(PendingDelivery {
                    raid,
                    seq,
                    message,
                    parked_id: Some(id),
                    attempts,
                }),
                // The event does not exist, or has no message.
                None => batch.progress.settled_ids.push(id),
            }
        }
        Ok(batch)
    }

    /// Delays the next batch if the endpoint accepted nothing.
    fn update_backoff(&self, state: &mut DispatchState, batch: &DeliveryBatch) {
        if batch.has_failed() && state.consecutive_failures == 0 {
            let error = batch
                .progress
                .failed_attempts
                .last()
                .map(|failed| failed.error.as_str());
            warn!(
                endpoint = self.endpoint_name(),
                error, "webhook delivery failed; retrying"
            );
        }
        state.consecutive_failures = if batch.has_failed() {
            state.consecutive_failures.saturating_add(1)
        } else {
            0
        };
        state.backoff_until = Instant::now() + schedule::backoff_delay(state.consecutive_failures);
    }
}

impl DispatchState {
    /// Returns progress that covers every event up to the cursor.
    fn take_progress(&mut self) -> ProgressUpdate {
        self.events_since_progress = 0;
        ProgressUpdate {
            cursor: Some((self.lineage.clone(), self.feed_cursor)),
            ..ProgressUpdate::default()
        }
    }
}

#[cfg(test)]
mod tests;
