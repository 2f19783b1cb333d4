//! Becoming a raid's owner and giving raids up, many at once: after a node's death or before our own end, thousands of
//! raids change hands in a few statements.
//!
//! What waits while one statement runs goes into the next; an idle instance adds no delay.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use raidhall_protocol::RaidId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::warn;

use crate::store::{ClaimOutcome, Epoch, InstanceId, Store, StoreError};

/// Raids in one statement.
const BATCH_RAIDS_MAX: usize = 200;
/// Requests that may wait; more wait at their own place.
const QUEUE_REQUESTS_MAX: usize = 1_024;
/// How long one statement may take; then those who wait are told that the store is not to be had.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(2);

/// Where sessions ask. Cheap to clone.
#[derive(Clone)]
pub struct OwnershipClient(mpsc::Sender<OwnershipRequest>);

/// The loop that serves them, to be spawned by the owner of the tasks.
pub struct ClaimWriter {
    store: Arc<dyn Store>,
    instance: InstanceId,
    requests: mpsc::Receiver<OwnershipRequest>,
}

enum OwnershipRequest {
    Claim(RaidId, oneshot::Sender<ClaimOutcome>),
    Release(RaidId, Epoch, oneshot::Sender<()>),
}

impl OwnershipClient {
    /// A handle, and the loop behind it.
    pub fn new(store: Arc<dyn Store>, instance: InstanceId) -> (OwnershipClient, ClaimWriter) {
        let (sender, requests) = mpsc::channel(QUEUE_REQUESTS_MAX);
        (
            OwnershipClient(sender),
            ClaimWriter {
                store,
                instance,
                requests,
            },
        )
    }

    /// Tries to become a raid's owner.
    ///
    /// # Errors
    ///
    /// The store is not to be had. The claim may have been made all the same; the next one tells.
    pub async fn claim(&self, raid: RaidId) -> Result<ClaimOutcome, StoreError> {
        let (sender, answer) = oneshot::channel();
        // A clerk that is gone drops the sender, and so answers.
        let _ = self.0.send(OwnershipRequest::Claim(raid, sender)).await;
        answer.await.map_err(|_| no_reply_error("claim a raid"))
    }

    /// Gives a raid up, if it is still ours under that epoch.
    ///
    /// # Errors
    ///
    /// The store is not to be had; the raid is free when our lease has run out.
    pub async fn release(&self, raid: RaidId, epoch: Epoch) -> Result<(), StoreError> {
        let (sender, answer) = oneshot::channel();
        let _ = self
            .0
            .send(OwnershipRequest::Release(raid, epoch, sender))
            .await;
        answer.await.map_err(|_| no_reply_error("release a raid"))
    }
}

fn no_reply_error(operation: &'static str) -> StoreError {
    StoreError::Unavailable {
        operation,
        source: anyhow!("not answered in time"),
    }
}

impl ClaimWriter {
    /// Serves until every handle is gone.
    pub async fn run(mut self) {
        let mut requests = Vec::new();
        while self
            .requests
            .recv_many(&mut requests, BATCH_RAIDS_MAX)
            .await
            > 0
        {
            let (mut claims, mut releases) = (Vec::new(), Vec::new());
            for request in requests.drain(..) {
                match request {
                    OwnershipRequest::Claim(raid, answer) => claims.push((raid, answer)),
                    OwnershipRequest::Release(raid, epoch, answer) => {
                        releases.push(((raid, epoch), answer))
                    }
                }
            }
            // What is given up first may be claimed anew.
            self.release_batch(releases).await;
            self.claim_batch(claims).await;
        }
    }

    async fn release_batch(&self, releases: Vec<((RaidId, Epoch), oneshot::Sender<()>)>) {
        let (raids, answers): (Vec<_>, Vec<_>) = releases.into_iter().unzip();
        if raids.is_empty() {
            return;
        }
        match timeout(STATEMENT_TIMEOUT, self.store.release(&raids, self.instance)).await {
            Ok(Ok(())) => {
                for answer in answers {
                    // Whoever asked may be gone.
                    let _ = answer.send(());
                }
            }
            Ok(Err(error)) => warn!(raids = raids.len(), ?error, "raids could not be released"),
            Err(_) => warn!(raids = raids.len(), "raids were not released in time"),
        }
    }

    async fn claim_batch(&self, claims: Vec<(RaidId, oneshot::Sender<ClaimOutcome>)>) {
        let (raids, answers): (Vec<_>, Vec<_>) = claims.into_iter().unzip();
        if raids.is_empty() {
            return;
        }
        match timeout(STATEMENT_TIMEOUT, self.store.claim(&raids, self.instance)).await {
            Ok(Ok(claims)) => {
                for (answer, claim) in answers.into_iter().zip(claims) {
                    // Whoever asked may be gone: then the raid is ours and not live, and whoever needs it next makes it so.
                    let _ = answer.send(claim);
                }
            }
            Ok(Err(error)) => warn!(raids = raids.len(), ?error, "raids could not be claimed"),
            Err(_) => warn!(raids = raids.len(), "raids were not claimed in time"),
        }
    }
}
