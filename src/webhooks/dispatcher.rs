//! One endpoint's messages: each raid's in turn, as long as the endpoint takes them. What it does not take is parked and
//! tried again later, and the rest goes on.
//!
//! At least once: what was posted is noted after it was, in one transaction with what failed. Whoever dies in between
//! posts it again, under the same id.

use std::sync::Arc;
use std::time::Duration;

use raidhall_protocol::{Event, RaidId, Seq};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::batch::{DeliveryBatch, PendingDelivery};
use super::{Endpoint, WebhookEventKind, WebhookMessage, schedule};
use crate::store::webhooks::{EndpointProgress, ParkedDelivery, ProgressUpdate};
use crate::store::{FeedCursor, InstanceId, Result, Store};

/// How often the feed, and what is due, are looked at while nothing comes.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is tried to become the one who delivers, and whether a paused endpoint was resumed.
const ACQUIRE_INTERVAL: Duration = Duration::from_secs(5);
/// Events read at once.
const FEED_EVENTS_MAX: u32 = 256;
/// Messages that are noted together.
const BATCH_DELIVERIES_MAX: u32 = 64;
/// After so many events of which nothing is told it is noted how far they go: whoever goes on reads no more of them again.
const PROGRESS_INTERVAL_EVENTS: u32 = 10_000;
/// How often it is said that the database fails, while it does.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);
/// How long giving the endpoint up may take at the end.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// What delivers to one endpoint.
pub struct WebhookDispatcher {
    endpoint: Endpoint,
    store: Arc<dyn Store>,
    instance: InstanceId,
}

/// Where the pump is, and how the endpoint is doing.
struct DispatchState {
    lineage: String,
    feed_cursor: FeedCursor,
    /// Events read since the place was last noted.
    events_since_progress: u32,
    /// Tries in a row that failed.
    consecutive_failures: u32,
    /// Nothing is posted before then.
    backoff_until: Instant,
}

impl WebhookDispatcher {
    pub(super) const fn new(
        endpoint: Endpoint,
        store: Arc<dyn Store>,
        instance: InstanceId,
    ) -> WebhookDispatcher {
        WebhookDispatcher {
            endpoint,
            store,
            instance,
        }
    }

    /// What the endpoint is called.
    pub fn endpoint_name(&self) -> &str {
        &self.endpoint.name
    }

    /// Delivers until it is stopped, and then gives the endpoint to whoever wants it.
    pub async fn run(self, stop: CancellationToken) {
        let _ = stop.run_until_cancelled(self.deliver_with_retries()).await;
        let release = self
            .store
            .release_endpoint(self.endpoint_name(), self.instance);
        if !matches!(timeout(RELEASE_TIMEOUT, release).await, Ok(Ok(()))) {
            info!(
                endpoint = self.endpoint_name(),
                "not given up; it is free when this instance's lease has run out"
            );
        }
    }

    async fn deliver_with_retries(&self) {
        let mut complained: Option<Instant> = None;
        loop {
            let pause = match self.acquire_and_deliver().await {
                Ok(()) => ACQUIRE_INTERVAL,
                Err(error) => {
                    if complained.is_none_or(|at| at.elapsed() > WARNING_INTERVAL) {
                        warn!(
                            endpoint = self.endpoint_name(),
                            ?error,
                            "webhooks wait for the database"
                        );
                        complained = Some(Instant::now());
                    }
                    POLL_INTERVAL
                }
            };
            sleep(pause).await;
        }
    }

    async fn acquire_and_deliver(&self) -> Result<()> {
        match self
            .store
            .acquire_endpoint(self.endpoint_name(), self.instance)
            .await?
        {
            Some(cursor) if cursor.pause_reason.is_none() => self.deliver_from(cursor).await,
            _ => Ok(()),
        }
    }

    /// Delivers for as long as the endpoint is ours and wants it.
    async fn deliver_from(
        &self,
        EndpointProgress {
            lineage,
            cursor: place,
            ..
        }: EndpointProgress,
    ) -> Result<()> {
        info!(
            endpoint = self.endpoint_name(),
            "webhooks are delivered from here"
        );
        let mut state = DispatchState {
            lineage,
            feed_cursor: place,
            events_since_progress: 0,
            consecutive_failures: 0,
            backoff_until: Instant::now(),
        };
        loop {
            sleep_until(state.backoff_until).await;
            // An endpoint that fails is asked for one thing at a time.
            let limit = if state.consecutive_failures > 0 {
                1
            } else {
                BATCH_DELIVERIES_MAX
            };
            let due = self
                .store
                .due_deliveries(self.endpoint_name(), limit)
                .await?;
            let mut page = if due.is_empty() {
                self.next_feed_batch(&mut state, limit).await?
            } else {
                self.next_retry_batch(&state, due).await?
            };
            page.post_all(&self.endpoint).await;
            let DeliveryBatch {
                progress,
                is_caught_up: caught_up,
                ..
            } = &page;
            if *progress != ProgressUpdate::default()
                && !self
                    .store
                    .save_progress(self.endpoint_name(), self.instance, progress)
                    .await?
            {
                info!(
                    endpoint = self.endpoint_name(),
                    "another instance delivers these webhooks"
                );
                return Ok(());
            }
            if let Some(reason) = &progress.pause_reason {
                warn!(
                    endpoint = self.endpoint_name(),
                    reason, "webhooks are paused until an operator resumes them"
                );
                return Ok(());
            }
            if !page.deliveries.is_empty() {
                self.update_backoff(&mut state, &page);
            }
            if *caught_up {
                sleep(POLL_INTERVAL).await;
            }
        }
    }

    /// What comes next in the feed. The state is ahead of what is noted from then on: whoever fails to post or to note it
    /// drops the state.
    async fn next_feed_batch(
        &self,
        state: &mut DispatchState,
        limit: u32,
    ) -> Result<DeliveryBatch> {
        let fed = self
            .store
            .read_feed(state.feed_cursor, FEED_EVENTS_MAX)
            .await?;
        if fed.lineage != state.lineage {
            warn!(
                endpoint = self.endpoint_name(),
                "the database has another history: webhooks begin at its present"
            );
            (state.lineage, state.feed_cursor) = self.store.feed_end().await?;
            return Ok(DeliveryBatch {
                progress: state.take_progress(),
                ..DeliveryBatch::default()
            });
        }
        let (mut letters, mut read) = (Vec::new(), 0);
        for (raid, event) in &fed.events {
            letters.extend(self.pending_delivery(&state.lineage, *raid, event));
            read += 1;
            if letters.len() == limit as usize {
                break;
            }
        }
        let whole = read as usize == fed.events.len();
        // The feed says where it stands behind so many.
        state.feed_cursor = if whole {
            fed.next
        } else {
            self.store.read_feed(state.feed_cursor, read).await?.next
        };
        state.events_since_progress += read;
        let to_note =
            !letters.is_empty() || state.events_since_progress >= PROGRESS_INTERVAL_EVENTS;
        let progress = if to_note {
            state.take_progress()
        } else {
            ProgressUpdate::default()
        };
        Ok(DeliveryBatch {
            deliveries: letters,
            progress,
            is_caught_up: whole && read < FEED_EVENTS_MAX,
        })
    }

    fn pending_delivery(
        &self,
        lineage: &str,
        raid: RaidId,
        event: &Event,
    ) -> Option<PendingDelivery> {
        let told = WebhookEventKind::from_event(&event.data)
            .is_some_and(|kind| self.endpoint.event_kinds.contains(&kind));
        let message = WebhookMessage::from_event(lineage, raid, event).filter(|_| told)?;
        Some(PendingDelivery {
            raid,
            seq: event.seq,
            message,
            parked_id: None,
            attempts: 0,
        })
    }

    /// What was parked, read anew from the ledger.
    async fn next_retry_batch(
        &self,
        state: &DispatchState,
        due: Vec<ParkedDelivery>,
    ) -> Result<DeliveryBatch> {
        let mut page = DeliveryBatch::default();
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
                Some(message) => page.deliveries.push(PendingDelivery {
                    raid,
                    seq,
                    message,
                    parked_id: Some(id),
                    attempts,
                }),
                None => page.progress.settled_ids.push(id), // there is no such event to tell of
            }
        }
        Ok(page)
    }

    /// Leaves an endpoint that took nothing alone for a while.
    fn update_backoff(&self, state: &mut DispatchState, page: &DeliveryBatch) {
        if page.has_failed() && state.consecutive_failures == 0 {
            let error = page
                .progress
                .failed_attempts
                .last()
                .map(|failed| failed.error.as_str());
            warn!(
                endpoint = self.endpoint_name(),
                error, "webhooks fail; they are tried again"
            );
        }
        state.consecutive_failures = if page.has_failed() {
            state.consecutive_failures.saturating_add(1)
        } else {
            0
        };
        state.backoff_until = Instant::now() + schedule::backoff_delay(state.consecutive_failures);
    }
}

impl DispatchState {
    /// That everything up to here is dealt with.
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
