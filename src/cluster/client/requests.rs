//! Questions to other instances that wait for their answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use raidhall_protocol::{PlayerId, Seq};
use tokio::sync::oneshot;

use crate::cluster::message::{ClusterMessage, Envelope, ForwardReply};
use crate::store::InstanceId;

/// A raid as its owner sees it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerStatus {
    /// The newest committed seq.
    pub seq: Seq,
    /// Who is online.
    pub online: Vec<PlayerId>,
}

#[derive(Default)]
pub(super) struct OutstandingRequests {
    pending: DashMap<u64, OutstandingRequest>,
    next_id: AtomicU64,
}

/// Who was asked, and who waits.
struct OutstandingRequest {
    target: InstanceId,
    reply: RequestReplySender,
}

enum RequestReplySender {
    Forward(oneshot::Sender<Vec<ForwardReply>>),
    OwnerStatus(oneshot::Sender<Option<OwnerStatus>>),
}

/// A question's number, forgotten when dropped: an answer that comes later is nobody's.
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

/// Commands on their way to an owner.
pub struct PendingForward {
    request: RequestGuard,
    target: InstanceId,
    replies: oneshot::Receiver<Vec<ForwardReply>>,
}

impl PendingForward {
    /// The number under which the owner answers, and by which it knows a repetition.
    pub const fn request_id(&self) -> u64 {
        self.request.id
    }

    /// Who was asked.
    pub const fn target(&self) -> InstanceId {
        self.target
    }

    /// The answers. May be dropped and asked for again.
    pub async fn replies(&mut self) -> Vec<ForwardReply> {
        match (&mut self.replies).await {
            Ok(answers) => answers,
            Err(_) => std::future::pending().await,
        }
    }
}

impl OutstandingRequests {
    fn register(self: &Arc<Self>, to: InstanceId, answer: RequestReplySender) -> RequestGuard {
        let number = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.pending.insert(
            number,
            OutstandingRequest {
                target: to,
                reply: answer,
            },
        );
        RequestGuard {
            outstanding_requests: Arc::clone(self),
            id: number,
        }
    }

    pub(super) fn register_forward(self: &Arc<Self>, to: InstanceId) -> PendingForward {
        let (sender, answers) = oneshot::channel();
        PendingForward {
            request: self.register(to, RequestReplySender::Forward(sender)),
            target: to,
            replies: answers,
        }
    }

    pub(super) fn register_owner_status(
        self: &Arc<Self>,
        to: InstanceId,
    ) -> (RequestGuard, oneshot::Receiver<Option<OwnerStatus>>) {
        let (sender, answer) = oneshot::channel();
        (
            self.register(to, RequestReplySender::OwnerStatus(sender)),
            answer,
        )
    }

    /// Takes an answer, from whom it was asked of only: a former owner's late word is not an answer to a question that
    /// was put anew.
    pub(super) fn complete(&self, envelope: Envelope) {
        let (ClusterMessage::ForwardReplies { request, .. }
        | ClusterMessage::OwnerStatus { request, .. }) = envelope.message
        else {
            return;
        };
        let asked = |_: &u64, question: &OutstandingRequest| question.target == envelope.from;
        let Some((_, question)) = self.pending.remove_if(&request, asked) else {
            return;
        };
        // Whoever asked may be gone.
        match (envelope.message, question.reply) {
            (
                ClusterMessage::ForwardReplies { answers, .. },
                RequestReplySender::Forward(waiting),
            ) => drop(waiting.send(answers)),
            (
                ClusterMessage::OwnerStatus { online, .. },
                RequestReplySender::OwnerStatus(waiting),
            ) => {
                drop(waiting.send(online.map(|online| OwnerStatus {
                    seq: envelope.seq,
                    online,
                })));
            }
            _ => {}
        }
    }
}
