//! Receives what the bus delivers, and hands it to whom it concerns. Nothing that comes this way is trusted before its
//! seal is checked.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use raidhall_protocol::{RaidId, Seq};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::cluster::bus::{BusInput, BusInputReceiver, Channel};
use crate::cluster::client::{ClusterClient, MessageHeader, OwnerStatus, RaidUpdate};
use crate::cluster::message::{
    ClusterMessage, Envelope, EnvelopeError, ForwardItem, ForwardReply, WatcherReport,
};
use crate::error::Error;
use crate::session::{COMMAND_WAIT_MAX, Registry, Reply};
use crate::store::{Epoch, InstanceId};
use crate::telemetry::metrics;

/// Bundles of forwarded commands that are remembered with their answers: many times as many as can come in while one
/// is still sent again.
const CACHED_BATCHES_MAX: usize = 16_384;

/// What receiving needs.
pub struct InboxDispatcher {
    cluster: ClusterClient,
    sessions: Registry,
    /// Wakes the poll of heads: something may have been missed about any raid.
    head_poll_requested: Arc<Notify>,
    reply_cache: Arc<ForwardReplyCache>,
}

impl InboxDispatcher {
    /// A dispatcher that has received nothing.
    pub fn new(
        cluster: ClusterClient,
        sessions: Registry,
        head_poll_requested: Arc<Notify>,
    ) -> InboxDispatcher {
        InboxDispatcher {
            cluster,
            sessions,
            head_poll_requested,
            reply_cache: Arc::default(),
        }
    }

    /// Receives until the bus is gone.
    pub async fn run(self, mut deliveries: BusInputReceiver) {
        while let Some(delivery) = deliveries.next().await {
            match delivery {
                BusInput::Message(channel, message) => self.receive(channel, &message),
                BusInput::Lost(Channel::Events(raid) | Channel::Live(raid)) => {
                    self.cluster.dispatch(raid, RaidUpdate::Lost);
                }
                // Whoever waits for an answer asks again.
                BusInput::Lost(Channel::Inbox(_)) => {}
                BusInput::LostAll => self.head_poll_requested.notify_one(),
            }
        }
    }

    fn receive(&self, channel: Channel, message: &[u8]) {
        match self.cluster.open(channel, message) {
            // What we said ourselves comes back to us too.
            Ok(envelope) if envelope.from == self.cluster.instance() => {}
            Ok(envelope) => match channel {
                Channel::Events(raid) | Channel::Live(raid) => {
                    self.receive_broadcast(raid, envelope)
                }
                Channel::Inbox(_) => self.receive_direct(envelope),
            },
            Err(unreadable) => {
                metrics().bus_rejected.increment(unreadable.cause());
                match unreadable {
                    // Whatever it says, the store says it too; what is newer than we are is not ours to serve.
                    EnvelopeError::NewerVersion { raid } => {
                        self.sessions.mark_follow_only(raid);
                        self.cluster.dispatch(raid, RaidUpdate::Lost);
                    }
                    EnvelopeError::BadSeal | EnvelopeError::Malformed | EnvelopeError::Expired => {
                        debug!(%channel, %unreadable, "a message of the bus is dropped");
                    }
                }
            }
        }
    }

    fn receive_broadcast(&self, raid: RaidId, envelope: Envelope) {
        match envelope.message {
            ClusterMessage::Signal { from, kind, data } => {
                self.sessions.deliver_signal(raid, from, &kind, data)
            }
            _ => self.cluster.dispatch(raid, RaidUpdate::Message(envelope)),
        }
    }

    fn receive_direct(&self, envelope: Envelope) {
        let Envelope {
            from,
            at,
            raid,
            epoch,
            message: ref note,
            ..
        } = envelope;
        match note {
            ClusterMessage::ForwardReplies { .. } | ClusterMessage::OwnerStatus { .. } => {
                self.cluster.complete_request(envelope)
            }
            ClusterMessage::WatcherReport(watching) => {
                self.sessions
                    .receive_watcher_report(raid, from, at, watching.clone())
            }
            ClusterMessage::RequestWatcherReport => {
                if !self.sessions.request_watcher_report(raid) {
                    let about = MessageHeader {
                        raid,
                        epoch,
                        seq: Seq::ZERO,
                    };
                    self.cluster.send(
                        from,
                        about,
                        ClusterMessage::WatcherReport(WatcherReport::default()),
                    );
                }
            }
            ClusterMessage::Handover(online) => {
                self.sessions.accept_handover(raid, from, online.clone())
            }
            ClusterMessage::Forward {
                request,
                remaining_ms,
                items,
            } => {
                let until =
                    Instant::now() + Duration::from_millis(*remaining_ms).min(COMMAND_WAIT_MAX);
                self.execute_batch(
                    ForwardBatch {
                        from,
                        raid,
                        epoch,
                        request: *request,
                    },
                    items.clone(),
                    until,
                );
            }
            ClusterMessage::QueryStatus { request } => {
                self.reply_owner_status(from, raid, *request)
            }
            _ => warn!(note = note.kind(), "a note for everybody came to our inbox"),
        }
    }

    /// Hands forwarded commands in, in their order, and answers when all are answered. A bundle that is known is not
    /// decided anew: its sender may have told somebody already what became of it.
    fn execute_batch(&self, bundle: ForwardBatch, items: Vec<ForwardItem>, until: Instant) {
        match self.reply_cache.begin(bundle) {
            ForwardBatchStatus::New => {}
            ForwardBatchStatus::InProgress => return,
            ForwardBatchStatus::Replied(answers) => {
                return send_replies(&self.cluster, bundle, answers);
            }
        }
        let collector = Arc::new(ReplyCollector {
            batch: bundle,
            cluster: self.cluster.clone(),
            reply_cache: Arc::clone(&self.reply_cache),
            replies: Mutex::new(vec![None; items.len()]),
        });
        for (index, ForwardItem { op, wish }) in items.into_iter().enumerate() {
            let collector = Arc::clone(&collector);
            let reply = Reply::new(move |result| {
                collector.set_reply(index, ForwardReply::from_result(result))
            });
            self.sessions.submit_forwarded(
                bundle.raid,
                bundle.from,
                wish.into_command(),
                op,
                until,
                reply,
            );
        }
    }

    fn reply_owner_status(&self, from: InstanceId, raid: RaidId, request: u64) {
        let link = self.cluster.clone();
        let reply = Reply::new(move |result: Result<OwnerStatus, Error>| {
            let sight = result.ok();
            let seq = sight.as_ref().map_or(Seq::ZERO, |sight| sight.seq);
            let online = sight.map(|sight| sight.online);
            link.send(
                from,
                MessageHeader {
                    raid,
                    epoch: Epoch(0),
                    seq,
                },
                ClusterMessage::OwnerStatus { request, online },
            );
        });
        self.sessions.query_status(raid, reply);
    }
}

/// A bundle of forwarded commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ForwardBatch {
    from: InstanceId,
    raid: RaidId,
    epoch: Epoch,
    request: u64,
}

fn send_replies(link: &ClusterClient, bundle: ForwardBatch, answers: Vec<ForwardReply>) {
    let ForwardBatch {
        from,
        raid,
        epoch,
        request,
    } = bundle;
    link.send(
        from,
        MessageHeader {
            raid,
            epoch,
            seq: Seq::ZERO,
        },
        ClusterMessage::ForwardReplies { request, answers },
    );
}

/// Gathers a bundle's answers, and sends them when all are there.
struct ReplyCollector {
    batch: ForwardBatch,
    cluster: ClusterClient,
    reply_cache: Arc<ForwardReplyCache>,
    replies: Mutex<Vec<Option<ForwardReply>>>,
}

impl ReplyCollector {
    fn set_reply(&self, index: usize, given: ForwardReply) {
        let whole: Option<Vec<_>> = {
            let mut answers = self.replies.lock();
            answers[index] = Some(given);
            answers.iter().cloned().collect()
        };
        if let Some(answers) = whole {
            self.reply_cache.complete(self.batch, &answers);
            send_replies(&self.cluster, self.batch, answers);
        }
    }
}

/// The latest bundles and what became of them, so that a repetition gets the first answer.
#[derive(Default)]
struct ForwardReplyCache(Mutex<ForwardReplyCacheState>);

#[derive(Default)]
struct ForwardReplyCacheState {
    replies: HashMap<(InstanceId, u64), Option<Vec<ForwardReply>>>,
    order: VecDeque<(InstanceId, u64)>,
}

/// What is known of a bundle.
#[derive(Debug, PartialEq)]
enum ForwardBatchStatus {
    New,
    InProgress,
    Replied(Vec<ForwardReply>),
}

impl ForwardReplyCache {
    /// Notes that a bundle is carried out, unless it is known.
    fn begin(&self, bundle: ForwardBatch) -> ForwardBatchStatus {
        let key = (bundle.from, bundle.request);
        let mut remembered = self.0.lock();
        match remembered.replies.get(&key) {
            Some(Some(answers)) => return ForwardBatchStatus::Replied(answers.clone()),
            Some(None) => return ForwardBatchStatus::InProgress,
            None => {}
        }
        remembered.replies.insert(key, None);
        remembered.order.push_back(key);
        if remembered.order.len() > CACHED_BATCHES_MAX
            && let Some(oldest) = remembered.order.pop_front()
        {
            remembered.replies.remove(&oldest);
        }
        ForwardBatchStatus::New
    }

    fn complete(&self, bundle: ForwardBatch, answers: &[ForwardReply]) {
        if let Some(known) = self
            .0
            .lock()
            .replies
            .get_mut(&(bundle.from, bundle.request))
        {
            *known = Some(answers.to_vec());
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_repeated_forward_batch_gets_the_first_reply() {
        let answers = ForwardReplyCache::default();
        let bundle = |request| ForwardBatch {
            from: InstanceId(Uuid::from_u128(1)),
            raid: RaidId::try_from(7_u64).expect("an id"),
            epoch: Epoch(1),
            request,
        };
        assert_eq!(answers.begin(bundle(1)), ForwardBatchStatus::New);
        assert_eq!(answers.begin(bundle(1)), ForwardBatchStatus::InProgress);
        answers.complete(bundle(1), &[ForwardReply::NotOwner]);
        assert_eq!(
            answers.begin(bundle(1)),
            ForwardBatchStatus::Replied(vec![ForwardReply::NotOwner])
        );
        assert_eq!(answers.begin(bundle(2)), ForwardBatchStatus::New);
        (3..3 + CACHED_BATCHES_MAX as u64).for_each(|request| drop(answers.begin(bundle(request))));
        assert_eq!(
            answers.0.lock().replies.len(),
            CACHED_BATCHES_MAX,
            "bounded"
        );
    }
}
