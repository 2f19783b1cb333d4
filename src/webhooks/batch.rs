//! A page: messages that are posted together, and what is to be noted of them.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use raidhall_protocol::{RaidId, Seq};
use tracing::warn;

use super::delivery::Outcome;
use super::{Endpoint, Message, schedule};
use crate::store::webhooks::{FailedAttempt, ProgressUpdate};
use crate::telemetry::metrics;

/// Posts under way at once.
const POSTS: usize = 8;

/// A message to be posted, and where it comes from.
pub(super) struct Letter {
    pub(super) raid: RaidId,
    pub(super) seq: Seq,
    pub(super) message: Message,
    /// The id of its place among the parked, if it has one.
    pub(super) parked: Option<u64>,
    pub(super) attempts: u32,
}

/// What is done next.
#[derive(Default)]
pub(super) struct Page {
    pub(super) letters: Vec<Letter>,
    /// To be noted when they have been posted.
    pub(super) progress: ProgressUpdate,
    /// The feed has no more for now.
    pub(super) caught_up: bool,
}

impl Page {
    /// Posts the letters, those of a few raids at once and each raid's in turn, and adds what came of it to what is to be
    /// noted.
    pub(super) async fn post(&mut self, endpoint: &Endpoint) {
        let mut by_raid: BTreeMap<RaidId, Vec<&Letter>> = BTreeMap::new();
        self.letters
            .iter()
            .for_each(|letter| by_raid.entry(letter.raid).or_default().push(letter));
        let posts: Vec<BoxFuture<'_, _>> = by_raid
            .into_values()
            .map(|letters| in_turn(endpoint, letters).boxed())
            .collect();
        let outcomes: Vec<Vec<(&Letter, Outcome)>> =
            stream::iter(posts).buffered(POSTS).collect().await;
        for (letter, outcome) in outcomes.into_iter().flatten() {
            letter.fared(outcome, endpoint, &mut self.progress);
        }
    }

    /// Whether the endpoint took none of the letters, and does not say that it wants none.
    pub(super) fn failed(&self) -> bool {
        let ProgressUpdate {
            failed_attempts: failed,
            pause_reason: paused,
            ..
        } = &self.progress;
        !self.letters.is_empty() && failed.len() == self.letters.len() && paused.is_none()
    }
}

async fn in_turn<'l>(endpoint: &Endpoint, letters: Vec<&'l Letter>) -> Vec<(&'l Letter, Outcome)> {
    let mut outcomes = Vec::new();
    for letter in letters {
        outcomes.push((letter, endpoint.post(&letter.message).await));
    }
    outcomes
}

impl Letter {
    fn fared(&self, outcome: Outcome, endpoint: &Endpoint, progress: &mut ProgressUpdate) {
        let Letter {
            raid,
            seq,
            parked,
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
            Outcome::Delivered => progress.settled_ids.extend(parked),
            Outcome::Gone => {
                let error = "answered with 410 Gone".to_owned();
                progress.failed_attempts.push(failed(
                    attempts,
                    Some(Duration::ZERO),
                    error.clone(),
                ));
                progress.pause_reason = Some(error);
            }
            Outcome::Failed { error, again } => {
                let attempts = attempts.saturating_add(1);
                let again = schedule::again(attempts, rand::random(), again);
                if again.is_none() {
                    metrics().webhook_deliveries.increment("dead");
                    warn!(endpoint = endpoint.name, %raid, %seq, error, "a webhook is not tried any more");
                }
                progress
                    .failed_attempts
                    .push(failed(attempts, again, error));
            }
        }
    }
}
