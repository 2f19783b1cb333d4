//! A follower's forward queue: commands go to the raid's owner in order, one batch at a time, and
//! are sent again until they are answered.
//!
//! A batch keeps its request id while it goes to one owner, so that the owner answers a repetition
//! without deciding again. Another owner gets the commands under a new id: it recognises those that
//! took effect by their ops, and refused commands left no trace.

use std::collections::VecDeque;
use std::time::Duration;

use raidhall_protocol::Seq;
use tokio::time::{Instant, sleep_until};

use crate::cluster::client::{ClusterClient, MessageHeader, PendingForward};
use crate::cluster::message::{ClusterMessage, ForwardItem, ForwardReply, ForwardableCommand};
use crate::error::Error;
use crate::raid::Ack;
use crate::random::random_bytes;
use crate::session::Reply;
use crate::session::message::{ExecuteRequest, SessionMessage};
use crate::store::{InstanceId, OpHash};
use crate::telemetry::{ForwardOutcome, metrics};

/// Commands in one forward batch.
const BATCH_COMMANDS_MAX: usize = 64;
/// Bytes of the commands in one batch, and of one command: far below the bus's limit, far above
/// what any rule accepts.
const BATCH_BYTES_MAX: usize = 256 * 1_024;
/// Waiting commands; at this limit the follower does not read its mailbox, which then fills.
const QUEUED_COMMANDS_MAX: usize = 1_024;
/// How long an answer may take before the batch is sent again.
const RESEND_AFTER: Duration = Duration::from_millis(700);

#[derive(Default)]
pub(super) struct ForwardQueue {
    queued: VecDeque<QueuedForward>,
    inflight: Option<InflightBatch>,
}

struct QueuedForward {
    item: ForwardItem,
    bytes: usize,
    reply: Reply<Ack>,
    deadline: Instant,
}

/// The batch in flight. A command that expires is answered at once and leaves `None` in `pending`.
struct InflightBatch {
    request: PendingForward,
    items: Vec<ForwardItem>,
    pending: Vec<Option<QueuedForward>>,
    resend_at: Instant,
}

/// What the answers to a batch mean for the follower.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AnswerSummary {
    /// The newest acknowledged seq, if any.
    pub(super) acknowledged_seq: Option<Seq>,
    /// Whether commands must be sent again, because the instance does not own the raid or could not
    /// execute them.
    pub(super) has_retries: bool,
}

impl ForwardQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.queued.is_empty() && self.inflight.is_none()
    }

    pub(super) fn has_capacity(&self) -> bool {
        self.queued.len() < QUEUED_COMMANDS_MAX
    }

    /// Queues a command for the owner, until its deadline. Answers at once if it cannot be
    /// forwarded.
    pub(super) fn enqueue(&mut self, execute: ExecuteRequest) {
        let ExecuteRequest {
            command,
            op,
            reply,
            deadline,
            ..
        } = execute;
        reply.trace_event("forwarded");
        let Some(wish) = ForwardableCommand::from_command(command) else {
            return reply.send(Err(Error::Internal));
        };
        // Without a client's op the command gets a random one, so that it can safely be sent again.
        // A duplicate of such an op is an ordinary acknowledgement to the client.
        let (op, reply) = match op {
            Some(op) => (op, reply),
            None => {
                let Ok(drawn) = random_bytes() else {
                    return reply.send(Err(Error::Internal));
                };
                let reply = |result: Result<Ack, _>| {
                    reply.send(result.map(|ack| Ack {
                        duplicate: false,
                        ..ack
                    }))
                };
                (OpHash(drawn), Reply::new(reply))
            }
        };
        let item = ForwardItem { op, wish };
        match item.encoded_len() {
            bytes if bytes > BATCH_BYTES_MAX => reply.send(Err(Error::TooLarge)),
            bytes => self.queued.push_back(QueuedForward {
                item,
                bytes,
                reply,
                deadline,
            }),
        }
    }

    /// Removes the oldest waiting commands, as many as fit into one batch.
    fn take_batch(&mut self) -> Vec<QueuedForward> {
        let mut room = BATCH_BYTES_MAX;
        let fits = |forward: &&QueuedForward| {
            let left = room.checked_sub(forward.bytes);
            room = left.unwrap_or(0);
            left.is_some()
        };
        let count = self
            .queued
            .iter()
            .take(BATCH_COMMANDS_MAX)
            .take_while(fits)
            .count();
        self.queued.drain(..count).collect()
    }

    /// Sends the next batch, or resends the one in flight when its answer is overdue. Returns
    /// `true` after a resend.
    pub(super) fn send(
        &mut self,
        cluster: &ClusterClient,
        to: InstanceId,
        header: MessageHeader,
    ) -> bool {
        let now = Instant::now();
        if self
            .inflight
            .as_ref()
            .is_some_and(|batch| batch.request.target() != to)
        {
            self.requeue_inflight();
        }
        let is_resend = self.inflight.is_some();
        match &mut self.inflight {
            Some(batch) if batch.resend_at > now => return false,
            Some(_) => metrics().forward_retries.increment(1),
            None if self.queued.is_empty() => return false,
            None => {
                let forwards = self.take_batch();
                let items = forwards
                    .iter()
                    .map(|forward| forward.item.clone())
                    .collect();
                let pending = forwards.into_iter().map(Some).collect();
                self.inflight = Some(InflightBatch {
                    request: cluster.begin_forward(to),
                    items,
                    pending,
                    resend_at: now,
                });
            }
        }
        let Some(batch) = &mut self.inflight else {
            return false;
        };
        batch.resend_at = now + RESEND_AFTER;
        let last = batch
            .pending
            .iter()
            .flatten()
            .map(|forward| forward.deadline)
            .max()
            .unwrap_or(now);
        let remaining_ms =
            u64::try_from(last.saturating_duration_since(now).as_millis()).unwrap_or(0);
        let request = batch.request.request_id();
        cluster.send(
            to,
            header,
            ClusterMessage::Forward {
                request,
                remaining_ms,
                items: batch.items.clone(),
            },
        );
        is_resend
    }

    /// Waits for the answers to the batch in flight; forever without one. Cancel-safe.
    pub(super) async fn next_answers(&mut self) -> Vec<ForwardReply> {
        match &mut self.inflight {
            Some(batch) => batch.request.replies().await,
            None => std::future::pending().await,
        }
    }

    /// Distributes the answers to a batch. Commands that the instance did not take on are queued
    /// again in their order; with `retry_unavailable`, so are those answered `unavailable`. But no
    /// command may execute after one that was submitted later: a command ahead of a decided one
    /// gets `unavailable` as its final reply.
    pub(super) fn apply_answers(
        &mut self,
        answers: Vec<ForwardReply>,
        retry_unavailable: bool,
    ) -> AnswerSummary {
        let Some(batch) = self.inflight.take() else {
            return AnswerSummary::default();
        };
        let mut summary = AnswerSummary::default();
        let mut retries = Vec::new();
        let answers = answers
            .into_iter()
            .map(Some)
            .chain(std::iter::repeat_with(|| None));
        let answers = answers
            .take(batch.pending.len())
            .map(|given| given.unwrap_or(ForwardReply::NotOwner));
        let answers = answers.collect::<Vec<_>>();
        let undecided_from = answers
            .iter()
            .rposition(|answer| !answer.is_undecided())
            .map_or(0, |last| last + 1);
        for (index, (forward, answer)) in batch.pending.into_iter().zip(answers).enumerate() {
            if let ForwardReply::Ack { seq, .. } = answer {
                summary.acknowledged_seq = summary.acknowledged_seq.max(Some(seq));
            }
            let Some(forward) = forward else { continue };
            match answer.into_result() {
                Err(Error::NotOwner) if index >= undecided_from => retries.push(forward),
                Err(Error::Unavailable) if index >= undecided_from && retry_unavailable => {
                    retries.push(forward)
                }
                result => {
                    metrics().forwards.increment(match result {
                        Ok(_) => ForwardOutcome::Acknowledged,
                        Err(_) => ForwardOutcome::Refused,
                    });
                    forward.reply.send(result);
                }
            }
        }
        summary.has_retries = !retries.is_empty();
        if summary.has_retries {
            metrics().forwards.increment(ForwardOutcome::Retried);
        }
        for forward in retries.into_iter().rev() {
            self.queued.push_front(forward);
        }
        summary
    }

    /// Moves the batch in flight back to the front of the queue, for the raid's next owner.
    pub(super) fn requeue_inflight(&mut self) {
        if let Some(batch) = self.inflight.take() {
            for forward in batch.pending.into_iter().flatten().rev() {
                self.queued.push_front(forward);
            }
        }
    }

    /// Answers commands whose deadline has passed with `unavailable`.
    pub(super) fn expire(&mut self, now: Instant) {
        let is_expired = |forward: &QueuedForward| forward.deadline <= now;
        let mut expired = Vec::new();
        if self.queued.iter().any(is_expired) {
            for forward in std::mem::take(&mut self.queued) {
                if is_expired(&forward) {
                    expired.push(forward)
                } else {
                    self.queued.push_back(forward)
                }
            }
        }
        if let Some(batch) = &mut self.inflight {
            expired.extend(
                batch
                    .pending
                    .iter_mut()
                    .filter_map(|slot| slot.take_if(|forward| is_expired(forward))),
            );
            if batch.pending.iter().all(Option::is_none) {
                self.inflight = None;
            }
        }
        for forward in expired {
            metrics().forwards.increment(ForwardOutcome::Expired);
            forward.reply.send(Err(Error::Unavailable));
        }
    }

    /// Awaits `future`, and meanwhile answers commands whose deadline passes.
    pub(super) async fn expire_while<T>(&mut self, future: impl Future<Output = T>) -> T {
        tokio::pin!(future);
        loop {
            tokio::select! { biased;
                output = &mut future => return output,
                () = sleep_until_optional(self.next_expiry()) => self.expire(Instant::now()),
            }
        }
    }

    pub(super) fn fail_all(&mut self, error: &Error) {
        self.requeue_inflight();
        for forward in self.queued.drain(..) {
            forward.reply.send(Err(error.clone()));
        }
    }

    /// Removes all unanswered commands, and returns them as mailbox messages in their order.
    pub(super) fn drain_messages(&mut self) -> Vec<SessionMessage> {
        self.requeue_inflight();
        let to_message = |forward: QueuedForward| {
            SessionMessage::Execute(ExecuteRequest {
                command: forward.item.wish.into_command(),
                op: Some(forward.item.op),
                reply: forward.reply,
                deadline: forward.deadline,
                forwarded_by: None,
            })
        };
        self.queued.drain(..).map(to_message).collect()
    }

    /// Returns when the next command expires.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.unanswered().map(|forward| forward.deadline).min()
    }

    /// Returns when the batch in flight must be sent again.
    pub(super) fn resend_at(&self) -> Option<Instant> {
        self.inflight.as_ref().map(|batch| batch.resend_at)
    }

    fn unanswered(&self) -> impl Iterator<Item = &QueuedForward> {
        let inflight = self
            .inflight
            .iter()
            .flat_map(|batch| batch.pending.iter().flatten());
        self.queued.iter().chain(inflight)
    }
}

/// Sleeps until `moment`; forever if there is none.
async fn sleep_until_optional(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
