//! Commands on their way to the raid's owner: in order, one bundle at a time, sent again until they are answered.
//!
//! A bundle keeps its number while it goes to one owner, so that the owner answers a repetition without deciding
//! anew. To another owner it goes under a new number: what took effect is known there by its op, and what was refused
//! left no trace.

use std::collections::VecDeque;
use std::time::Duration;

use raidhall_protocol::Seq;
use tokio::time::{Instant, sleep_until};

use crate::cluster::client::{ClusterClient, MessageHeader, PendingForward};
use crate::cluster::message::{ClusterMessage, ForwardItem, ForwardReply, ForwardableCommand};
use crate::error::Error;
use crate::raid::Ack;
use crate::session::Reply;
use crate::session::create::random_bytes;
use crate::session::message::{ExecuteRequest, SessionMessage};
use crate::store::{InstanceId, OpHash};
use crate::telemetry::{ForwardOutcome, metrics};

/// Commands in one bundle.
const BATCH_COMMANDS_MAX: usize = 64;
/// Bytes of commands in one bundle, and of one command: far below what the bus takes, far above what any rule accepts.
const BATCH_BYTES_MAX: usize = 256 * 1_024;
/// Commands that may wait; beyond that the inbox is not read, and fills.
const QUEUED_COMMANDS_MAX: usize = 1_024;
/// How long an answer may take before the bundle is sent again.
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

/// A bundle under way. Who has waited too long is answered, and its place stays empty.
struct InflightBatch {
    request: PendingForward,
    items: Vec<ForwardItem>,
    pending: Vec<Option<QueuedForward>>,
    resend_at: Instant,
}

/// What a bundle's answers mean for the edge.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AnswerSummary {
    /// The newest seq acknowledged.
    pub(super) acknowledged_seq: Option<Seq>,
    /// Some are to be sent again: whoever was asked does not own the raid, or could not carry them out.
    pub(super) has_retries: bool,
}

impl ForwardQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.queued.is_empty() && self.inflight.is_none()
    }

    pub(super) fn has_capacity(&self) -> bool {
        self.queued.len() < QUEUED_COMMANDS_MAX
    }

    /// Lets a command wait for the owner, for as long as it may.
    pub(super) fn enqueue(&mut self, execute: ExecuteRequest) {
        let ExecuteRequest {
            command,
            op,
            reply,
            deadline: until,
            ..
        } = execute;
        reply.trace_event("forwarded");
        let Some(wish) = ForwardableCommand::from_command(command) else {
            return reply.send(Err(Error::Internal));
        };
        // Without a key of the client's it gets one of ours, so that sending it again is safe; that it was then known
        // is nothing to the client.
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
                deadline: until,
            }),
        }
    }

    /// The first that waits, as many as one bundle takes.
    fn take_batch(&mut self) -> Vec<QueuedForward> {
        let mut room = BATCH_BYTES_MAX;
        let fits = |parked: &&QueuedForward| {
            let left = room.checked_sub(parked.bytes);
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

    /// Sends the next bundle, or again the one under way when it is time. True if it has been sent before.
    pub(super) fn send(
        &mut self,
        link: &ClusterClient,
        to: InstanceId,
        about: MessageHeader,
    ) -> bool {
        let now = Instant::now();
        if self
            .inflight
            .as_ref()
            .is_some_and(|flight| flight.request.target() != to)
        {
            self.requeue_inflight();
        }
        let again = self.inflight.is_some();
        match &mut self.inflight {
            Some(flight) if flight.resend_at > now => return false,
            Some(_) => metrics().forward_retries.increment(1),
            None if self.queued.is_empty() => return false,
            None => {
                let bundle = self.take_batch();
                let items = bundle.iter().map(|parked| parked.item.clone()).collect();
                let parked = bundle.into_iter().map(Some).collect();
                self.inflight = Some(InflightBatch {
                    request: link.begin_forward(to),
                    items,
                    pending: parked,
                    resend_at: now,
                });
            }
        }
        let Some(flight) = &mut self.inflight else {
            return false;
        };
        flight.resend_at = now + RESEND_AFTER;
        let last = flight
            .pending
            .iter()
            .flatten()
            .map(|parked| parked.deadline)
            .max()
            .unwrap_or(now);
        let remaining_ms =
            u64::try_from(last.saturating_duration_since(now).as_millis()).unwrap_or(0);
        let request = flight.request.request_id();
        link.send(
            to,
            about,
            ClusterMessage::Forward {
                request,
                remaining_ms,
                items: flight.items.clone(),
            },
        );
        again
    }

    /// The answers to the bundle under way. May be dropped and asked for again.
    pub(super) async fn next_answers(&mut self) -> Vec<ForwardReply> {
        match &mut self.inflight {
            Some(flight) => flight.request.replies().await,
            None => std::future::pending().await,
        }
    }

    /// Gives the answers out. What nobody took on waits again, in its order; if `patient`, so does what was
    /// `unavailable`. But nothing is carried out after what was asked for later: whatever stands before a command that was
    /// decided is `unavailable` for good.
    pub(super) fn apply_answers(
        &mut self,
        answers: Vec<ForwardReply>,
        patient: bool,
    ) -> AnswerSummary {
        let Some(flight) = self.inflight.take() else {
            return AnswerSummary::default();
        };
        let (mut taken, mut again) = (AnswerSummary::default(), Vec::new());
        let answers = answers
            .into_iter()
            .map(Some)
            .chain(std::iter::repeat_with(|| None));
        let answers = answers
            .take(flight.pending.len())
            .map(|given| given.unwrap_or(ForwardReply::NotOwner));
        let answers = answers.collect::<Vec<_>>();
        let undecided = answers
            .iter()
            .rposition(|it| !it.is_undecided())
            .map_or(0, |last| last + 1);
        for (index, (parked, answer)) in flight.pending.into_iter().zip(answers).enumerate() {
            if let ForwardReply::Ack { seq, .. } = answer {
                taken.acknowledged_seq = taken.acknowledged_seq.max(Some(seq));
            }
            let Some(parked) = parked else { continue };
            match answer.into_result() {
                Err(Error::NotOwner) if index >= undecided => again.push(parked),
                Err(Error::Unavailable) if index >= undecided && patient => again.push(parked),
                result => {
                    metrics().forwards.increment(match result {
                        Ok(_) => ForwardOutcome::Acknowledged,
                        Err(_) => ForwardOutcome::Refused,
                    });
                    parked.reply.send(result);
                }
            }
        }
        taken.has_retries = !again.is_empty();
        if taken.has_retries {
            metrics().forwards.increment(ForwardOutcome::Retried);
        }
        again
            .into_iter()
            .rev()
            .for_each(|parked| self.queued.push_front(parked));
        taken
    }

    /// The bundle under way goes to whoever owns the raid now.
    pub(super) fn requeue_inflight(&mut self) {
        if let Some(flight) = self.inflight.take() {
            flight
                .pending
                .into_iter()
                .flatten()
                .rev()
                .for_each(|parked| self.queued.push_front(parked));
        }
    }

    /// Tells those who have waited too long.
    pub(super) fn expire(&mut self, now: Instant) {
        let late = |parked: &QueuedForward| parked.deadline <= now;
        let mut over = Vec::new();
        if self.queued.iter().any(late) {
            for parked in std::mem::take(&mut self.queued) {
                if late(&parked) {
                    over.push(parked)
                } else {
                    self.queued.push_back(parked)
                }
            }
        }
        if let Some(flight) = &mut self.inflight {
            over.extend(
                flight
                    .pending
                    .iter_mut()
                    .filter_map(|place| place.take_if(|parked| late(parked))),
            );
            if flight.pending.iter().all(Option::is_none) {
                self.inflight = None;
            }
        }
        for parked in over {
            metrics().forwards.increment(ForwardOutcome::Expired);
            parked.reply.send(Err(Error::Unavailable));
        }
    }

    /// Waits for something else, and tells those meanwhile whose time runs out.
    pub(super) async fn expire_while<T>(&mut self, something: impl Future<Output = T>) -> T {
        tokio::pin!(something);
        loop {
            let parked = self.queued.iter().chain(
                self.inflight
                    .iter()
                    .flat_map(|it| it.pending.iter().flatten()),
            );
            let next = parked.map(|parked| parked.deadline).min();
            tokio::select! { biased;
                done = &mut something => return done,
                () = sleep_until_optional(next) => self.expire(Instant::now()),
            }
        }
    }

    pub(super) fn fail_all(&mut self, error: &Error) {
        self.requeue_inflight();
        self.queued
            .drain(..)
            .for_each(|parked| parked.reply.send(Err(error.clone())));
    }

    /// Everything that is not answered, as it was asked for.
    pub(super) fn drain_messages(&mut self) -> Vec<SessionMessage> {
        self.requeue_inflight();
        let message = |QueuedForward {
                           item: ForwardItem { op, wish },
                           reply,
                           deadline: until,
                           ..
                       }| {
            let (command, op) = (wish.into_command(), Some(op));
            SessionMessage::Execute(ExecuteRequest {
                command,
                op,
                reply,
                deadline: until,
                forwarded_by: None,
            })
        };
        self.queued.drain(..).map(message).collect()
    }

    /// When something is to be done though nobody answers.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        let waiting = self.queued.iter().map(|parked| parked.deadline).min();
        let flight = self.inflight.as_ref().map(|flight| {
            flight
                .pending
                .iter()
                .flatten()
                .map(|parked| parked.deadline)
                .fold(flight.resend_at, Instant::min)
        });
        waiting.into_iter().chain(flight).min()
    }
}

/// Waits until a moment; for ever if there is none.
async fn sleep_until_optional(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
