//! A batch: deliveries that are posted together, and the progress to save afterwards.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use raidhall_protocol::{RaidId, Seq, UnixMillis};
use tracing::warn;

use super::delivery::DeliveryOutcome;
use super::{Endpoint, WebhookMessage, schedule};
use crate::clock::Clock;
use crate::store::webhooks::{FailedAttempt, ProgressUpdate};
use crate::telemetry::{WebhookOutcome, metrics};

/// Maximum number of raids whose deliveries are posted at the same time.
const CONCURRENT_POSTS_MAX: usize = 8;

/// A message to be posted, and the event that it comes from.
pub(super) struct PendingDelivery {
    pub(super) raid: RaidId,
    pub(super) seq: Seq,
    pub(super) message: WebhookMessage,
    /// Id of the parked delivery, if this is a retry.
    pub(super) parked_id: Option<u64>,
    pub(super) attempts: u32,
}

/// The deliveries to post next, and their effect on the endpoint's progress.
#[derive(Default)]
pub(super) struct DeliveryBatch {
    pub(super) deliveries: Vec<PendingDelivery>,
    /// Progress to save when the deliveries have been posted.
    pub(super) progress: ProgressUpdate,
    /// Whether the feed has no more events for now.
    pub(super) is_caught_up: bool,
}

impl DeliveryBatch {
    /// Posts the deliveries, several raids at once but each raid's in order, and adds their
    /// outcomes to the progress.
    pub(super) async fn post_all(&mut self, endpoint: &Endpoint, clock: &Clock) {
        let mut by_raid: BTreeMap<RaidId, Vec<&PendingDelivery>> = BTreeMap::new();
        for delivery in &self.deliveries {
            by_raid.entry(delivery.raid).or_default().push(delivery);
        }
        let posts: Vec<BoxFuture<'_, _>> = by_raid
            .into_values()
            .map(|deliveries| post_in_order(endpoint, deliveries).boxed())
            .collect();
        let outcomes: Vec<Vec<(&PendingDelivery, DeliveryOutcome)>> = stream::iter(posts)
            .buffered(CONCURRENT_POSTS_MAX)
            .collect()
            .await;
        for (delivery, outcome) in outcomes.into_iter().flatten() {
            delivery.record_outcome(outcome, endpoint, clock.now(), &mut self.progress);
        }
    }

    /// Returns whether every delivery failed, although the endpoint did not ask for a pause.
    pub(super) fn has_failed(&self) -> bool {
        !self.deliveries.is_empty()
            && self.progress.failed_attempts.len() == self.deliveries.len()
            && self.progress.pause_reason.is_none()
    }
}

async fn post_in_order<'l>(
    endpoint: &Endpoint,
    deliveries: Vec<&'l PendingDelivery>,
) -> Vec<(&'l PendingDelivery, DeliveryOutcome)> {
    let mut outcomes = Vec::new();
    for delivery in deliveries {
        outcomes.push((delivery, endpoint.post(&delivery.message).await));
    }
    outcomes
}

impl PendingDelivery {
    fn record_outcome(
        &self,
        outcome: DeliveryOutcome,
        endpoint: &Endpoint,
        now: UnixMillis,
        progress: &mut ProgressUpdate,
    ) {
        let PendingDelivery {
            raid,
            seq,
            parked_id,
            attempts,
            ..
        } = *self;
        let failed = |attempts, next_at, error| FailedAttempt {
            raid,
            seq,
            at: now,
            attempts,
            next_at,
            error,
        };
        match outcome {
            DeliveryOutcome::Delivered => progress.settled_ids.extend(parked_id),
            DeliveryOutcome::Gone => {
                let error = "answered with 410 Gone".to_owned();
                progress
                    .failed_attempts
                    .push(failed(attempts, Some(now), error.clone()));
                progress.pause_reason = Some(error);
            }
            DeliveryOutcome::Failed { error, retry_after } => {
                let attempts = attempts.saturating_add(1);
                let retry_after = schedule::retry_delay(attempts, rand::random(), retry_after);
                if retry_after.is_none() {
                    metrics().webhook_deliveries.increment(WebhookOutcome::Dead);
                    warn!(endpoint = endpoint.name, %raid, %seq, error, "webhook delivery failed for the last time; giving up");
                }
                let next_at = retry_after.map(|delay| now.plus(delay.as_millis() as i64));
                progress
                    .failed_attempts
                    .push(failed(attempts, next_at, error));
            }
        }
    }
}
