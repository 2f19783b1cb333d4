//! Claims and releases of raids, in batches: after an instance's death or before this one's end,
//! thousands of raids change owners in a few statements.
//!
//! Requests that arrive while a statement runs go into the next one; an idle instance adds no
//! delay.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use raidhall_protocol::RaidId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::warn;

use crate::store::{ClaimOutcome, Epoch, InstanceId, Store, StoreError};

/// Maximum number of raids in one statement.
const BATCH_RAIDS_MAX: usize = 200;
/// Maximum number of requests in the queue; further callers wait for room in it.
const QUEUE_REQUESTS_MAX: usize = 1_024;
/// Longest run time of one statement; after it, the waiting callers get an error.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(2);

/// A handle with which sessions claim and release raids. Cheap to clone.
#[derive(Clone)]
pub struct OwnershipClient(mpsc::Sender<OwnershipRequest>);

/// Task that executes claims and releases.
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
    /// Creates a handle and the task that serves it.
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

    /// Tries to make this instance the raid's owner.
    ///
    /// # Errors
    ///
    /// The store is unavailable. The raid may have been claimed all the same; the next claim finds
    /// out.
    pub async fn claim(&self, raid: RaidId) -> Result<ClaimOutcome, StoreError> {
        let (sender, reply) = oneshot::channel();
        // If the task is gone, the sender is dropped, and `reply` fails.
        let _ = self.0.send(OwnershipRequest::Claim(raid, sender)).await;
        reply.await.map_err(|_| no_reply_error("claim a raid"))
    }

    /// Releases a raid, if this instance still owns it under that epoch.
    ///
    /// # Errors
    ///
    /// The store is unavailable; the raid is free when this instance's lease has expired.
    pub async fn release(&self, raid: RaidId, epoch: Epoch) -> Result<(), StoreError> {
        let (sender, reply) = oneshot::channel();
        let _ = self
            .0
            .send(OwnershipRequest::Release(raid, epoch, sender))
            .await;
        reply.await.map_err(|_| no_reply_error("release a raid"))
    }
}

fn no_reply_error(operation: &'static str) -> StoreError {
    StoreError::Unavailable {
        operation,
        source: anyhow!("not answered in time"),
    }
}

impl ClaimWriter {
    /// Serves requests until every handle is dropped.
    pub async fn run(mut self) {
        let mut requests = Vec::new();
        while self
            .requests
            .recv_many(&mut requests, BATCH_RAIDS_MAX)
            .await
            > 0
        {
            let mut claims = Vec::new();
            let mut releases = Vec::new();
            for request in requests.drain(..) {
                match request {
                    OwnershipRequest::Claim(raid, reply) => claims.push((raid, reply)),
                    OwnershipRequest::Release(raid, epoch, reply) => {
                        releases.push(((raid, epoch), reply))
                    }
                }
            }
            // Releases go first, so that a raid released here can be claimed again in the same
            // round.
            self.release_batch(releases).await;
            self.claim_batch(claims).await;
        }
    }

    async fn release_batch(&self, releases: Vec<((RaidId, Epoch), oneshot::Sender<()>)>) {
        let (raids, replies): (Vec<_>, Vec<_>) = releases.into_iter().unzip();
        if raids.is_empty() {
            return;
        }
        match timeout(STATEMENT_TIMEOUT, self.store.release(&raids, self.instance)).await {
            Ok(Ok(())) => {
                for reply in replies {
                    // The caller may be gone.
                    let _ = reply.send(());
                }
            }
            Ok(Err(error)) => warn!(
                raids = raids.len(),
                ?error,
                "release of raids failed; this instance may keep them"
            ),
            Err(_) => warn!(
                raids = raids.len(),
                "release of raids timed out; this instance may keep them"
            ),
        }
    }

    async fn claim_batch(&self, claims: Vec<(RaidId, oneshot::Sender<ClaimOutcome>)>) {
        let (raids, replies): (Vec<_>, Vec<_>) = claims.into_iter().unzip();
        if raids.is_empty() {
            return;
        }
        match timeout(STATEMENT_TIMEOUT, self.store.claim(&raids, self.instance)).await {
            Ok(Ok(claims)) => {
                for (reply, claim) in replies.into_iter().zip(claims) {
                    // The caller may be gone: then this instance owns the raid without a session,
                    // and the next request for the raid starts one.
                    let _ = reply.send(claim);
                }
            }
            Ok(Err(error)) => warn!(raids = raids.len(), ?error, "claim of raids failed"),
            Err(_) => warn!(raids = raids.len(), "claim of raids timed out"),
        }
    }
}
