//! Requests to other instances that wait for their replies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use raidhall_protocol::{PlayerId, Seq};
use tokio::sync::oneshot;

use crate::cluster::message::{ClusterMessage, Envelope, ForwardReply};
use crate::store::InstanceId;

/// Status of a raid at its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerStatus {
    /// Newest seq that is committed.
    pub seq: Seq,
    /// Players who are online in the raid.
    pub online: Vec<PlayerId>,
}

#[derive(Default)]
pub(super) struct OutstandingRequests {
    pending: DashMap<u64, OutstandingRequest>,
    next_id: AtomicU64,
}

/// A request's target and the sender of its reply.
struct OutstandingRequest {
    target: InstanceId,
    reply: RequestReplySender,
}

enum RequestReplySender {
    Forward(oneshot::Sender<Vec<ForwardReply>>),
    OwnerStatus(oneshot::Sender<Option<OwnerStatus>>),
}

/// Id of a request. Dropping it forgets the request, so a later reply is ignored.
pub(super) struct RequestGuard {
    outstanding_requests: Arc<OutstandingRequests>,
    id: u64,
}

impl RequestGuard {
    pub(super) const fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.outstanding_requests.pending.remove(&self.id);
    }
}

/// A forward batch that waits for the owner's replies.
pub struct PendingForward {
    request: RequestGuard,
    target: InstanceId,
    replies: oneshot::Receiver<Vec<ForwardReply>>,
}

impl PendingForward {
    /// Returns the request's id, by which the owner recognises a repeated batch.
    pub const fn request_id(&self) -> u64 {
        self.request.id
    }

    pub const fn target(&self) -> InstanceId {
        self.target
    }

    /// Waits for the replies. Cancel-safe: it may be dropped and called again.
    pub async fn replies(&mut self) -> Vec<ForwardReply> {
        match (&mut self.replies).await {
            Ok(replies) => replies,
            Err(_) => std::future::pending().await,
        }
    }
}

impl OutstandingRequests {
    fn register(self: &Arc<Self>, target: InstanceId, reply: RequestReplySender) -> RequestGuard {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.pending
            .insert(id, OutstandingRequest { target, reply });
        RequestGuard {
            outstanding_requests: Arc::clone(self),
            id,
        }
    }

    pub(super) fn register_forward(self: &Arc<Self>, target: InstanceId) -> PendingForward {
        let (sender, answers) = oneshot::channel();
        PendingForward {
            request: self.register(target, RequestReplySender::Forward(sender)),
            target,
            replies: answers,
        }
    }

    pub(super) fn register_owner_status(
        self: &Arc<Self>,
        target: InstanceId,
    ) -> (RequestGuard, oneshot::Receiver<Option<OwnerStatus>>) {
        let (sender, reply) = oneshot::channel();
        (
            self.register(target, RequestReplySender::OwnerStatus(sender)),
            reply,
        )
    }

    /// Completes a request, but only with a reply of its target: a late reply of a former owner
    /// must not complete a repeated request.
    pub(super) fn complete(&self, envelope: Envelope) {
        let (ClusterMessage::ForwardReplies { request, .. }
        | ClusterMessage::OwnerStatus { request, .. }) = envelope.message
        else {
            return;
        };
        let is_from_target =
            |_: &u64, pending: &OutstandingRequest| pending.target == envelope.from;
        let Some((_, pending)) = self.pending.remove_if(&request, is_from_target) else {
            return;
        };
        // The caller may be gone.
        match (envelope.message, pending.reply) {
            (
                ClusterMessage::ForwardReplies { answers, .. },
                RequestReplySender::Forward(sender),
            ) => {
                let _ = sender.send(answers);
            }
            (
                ClusterMessage::OwnerStatus { online, .. },
                RequestReplySender::OwnerStatus(sender),
            ) => {
                let seq = envelope.seq;
                let _ = sender.send(online.map(|online| OwnerStatus { seq, online }));
            }
            _ => {}
        }
    }
}
