//! A page: messages that are posted together, and what is to be noted of them.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use raidhall_protocol::{RaidId, Seq};
use tracing::warn;

use super::delivery::DeliveryOutcome;
use super::{Endpoint, WebhookMessage, schedule};
use crate::store::webhooks::{FailedAttempt, ProgressUpdate};
use crate::telemetry::{WebhookOutcome, metrics};

/// Posts under way at once.
const CONCURRENT_POSTS_MAX: usize = 8;

/// A message to be posted, and where it comes from.
pub(super) struct PendingDelivery {
    pub(super) raid: RaidId,
    pub(super) seq: Seq,
    pub(super) message: WebhookMessage,
    /// The id of its place among the parked, if it has one.
    pub(super) parked_id: Option<u64>,
    pub(super) attempts: u32,
}

/// What is done next.
#[derive(Default)]
pub(super) struct DeliveryBatch {
    pub(super) deliveries: Vec<PendingDelivery>,
    /// To be noted when they have been posted.
    pub(super) progress: ProgressUpdate,
    /// The feed has no more for now.
    pub(super) is_caught_up: bool,
}

impl DeliveryBatch {
    /// Posts the letters, those of a few raids at once and each raid's in turn, and adds what came of it to what is to be
    /// noted.
    pub(super) async fn post_all(&mut self, endpoint: &Endpoint) {
        let mut by_raid: BTreeMap<RaidId, Vec<&PendingDelivery>> = BTreeMap::new();
        self.deliveries
            .iter()
            .for_each(|letter| by_raid.entry(letter.raid).or_default().push(letter));
        let posts: Vec<BoxFuture<'_, _>> = by_raid
            .into_values()
            .map(|letters| post_in_order(endpoint, letters).boxed())
            .collect();
        let outcomes: Vec<Vec<(&PendingDelivery, DeliveryOutcome)>> = stream::iter(posts)
            .buffered(CONCURRENT_POSTS_MAX)
            .collect()
            .await;
        for (letter, outcome) in outcomes.into_iter().flatten() {
            letter.record_outcome(outcome, endpoint, &mut self.progress);
        }
    }

    /// Whether the endpoint took none of the letters, and does not say that it wants none.
    pub(super) fn has_failed(&self) -> bool {
        let ProgressUpdate {
            failed_attempts: failed,
            pause_reason: paused,
            ..
        } = &self.progress;
        !self.deliveries.is_empty() && failed.len() == self.deliveries.len() && paused.is_none()
    }
}

async fn post_in_order<'l>(
    endpoint: &Endpoint,
    letters: Vec<&'l PendingDelivery>,
) -> Vec<(&'l PendingDelivery, DeliveryOutcome)> {
    let mut outcomes = Vec::new();
    for letter in letters {
        outcomes.push((letter, endpoint.post(&letter.message).await));
    }
    outcomes
}

impl PendingDelivery {
    fn record_outcome(
        &self,
        outcome: DeliveryOutcome,
        endpoint: &Endpoint,
        progress: &mut ProgressUpdate,
    ) {
        let PendingDelivery {
            raid,
            seq,
            parked_id: parked,
            attempts,
            ..
        } = *self;
        let failed = |attempts, again, error| FailedAttempt {
            raid,
            seq,
            attempts,
            retry_after: again,
            error,
        };
        match outcome {
            DeliveryOutcome::Delivered => progress.settled_ids.extend(parked),
            DeliveryOutcome::Gone => {
                let error = "answered with 410 Gone".to_owned();
                progress.failed_attempts.push(failed(
                    attempts,
                    Some(Duration::ZERO),
                    error.clone(),
                ));
                progress.pause_reason = Some(error);
            }
            DeliveryOutcome::Failed {
                error,
                retry_after: again,
            } => {
                let attempts = attempts.saturating_add(1);
                let again = schedule::retry_delay(attempts, rand::random(), again);
                if again.is_none() {
                    metrics().webhook_deliveries.increment(WebhookOutcome::Dead);
                    warn!(endpoint = endpoint.name, %raid, %seq, error, "a webhook is not tried any more");
                }
                progress
                    .failed_attempts
                    .push(failed(attempts, again, error));
            }
        }
    }
}
