//! Receives the messages of the bus and dispatches them to sessions, subscriptions and pending
//! requests. **No message is trusted before its seal is checked.**

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use raidhall_protocol::{PlayerId, RaidId, Seq};
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
use crate::streams::Streams;
use crate::telemetry::metrics;

/// Maximum number of forward batches whose replies are remembered: many times the number that can
/// arrive while one of them may still be repeated.
const CACHED_BATCHES_MAX: usize = 16_384;

/// Task that receives the messages of the bus.
pub struct InboxDispatcher {
    cluster: ClusterClient,
    sessions: Registry,
    streams: Streams,
    /// Wakes the head poller when messages of any raid may have been missed.
    head_poll_requested: Arc<Notify>,
    /// Wakes the projector when another instance has committed events.
    feed_advanced: Arc<Notify>,
    reply_cache: Arc<ForwardReplyCache>,
}

impl InboxDispatcher {
    /// Creates a dispatcher with an empty reply cache.
    pub fn new(
        cluster: ClusterClient,
        sessions: Registry,
        streams: Streams,
        head_poll_requested: Arc<Notify>,
        feed_advanced: Arc<Notify>,
    ) -> InboxDispatcher {
        InboxDispatcher {
            cluster,
            sessions,
            streams,
            head_poll_requested,
            feed_advanced,
            reply_cache: Arc::default(),
        }
    }

    /// Receives until the bus is gone.
    pub async fn run(self, mut inputs: BusInputReceiver) {
        while let Some(input) = inputs.next().await {
            match input {
                // Other instances count the receivers of this inbox, see `peer_monitor`.
                BusInput::Message(Channel::Inbox(_), message) if message.is_empty() => {}
                BusInput::Message(Channel::Player(player), message) => {
                    self.receive_stream_head(player, &message);
                }
                BusInput::Message(Channel::Feed, message) => self.receive_feed_notice(&message),
                BusInput::Message(channel, message) => self.receive(channel, &message),
                BusInput::Lost(Channel::Events(raid) | Channel::Live(raid)) => {
                    self.cluster.dispatch(raid, RaidUpdate::Lost);
                }
                // A request whose reply was lost is sent again.
                BusInput::Lost(Channel::Inbox(_)) => {}
                BusInput::Lost(Channel::Feed) => self.feed_advanced.notify_one(),
                BusInput::Lost(Channel::Player(_)) => self.head_poll_requested.notify_one(),
                BusInput::LostAll => {
                    self.head_poll_requested.notify_one();
                    self.feed_advanced.notify_one();
                }
            }
        }
    }

    fn receive(&self, channel: Channel, message: &[u8]) {
        match self.cluster.open(channel, message) {
            // An instance also receives its own broadcasts.
            Ok(envelope) if envelope.from == self.cluster.instance() => {}
            Ok(envelope) => match channel {
                Channel::Events(raid) | Channel::Live(raid) => {
                    self.receive_broadcast(raid, envelope)
                }
                Channel::Inbox(_) => self.receive_direct(envelope),
                Channel::Player(_) | Channel::Feed => {}
            },
            Err(error) => {
                metrics().bus_rejected.increment(error.cause());
                match error {
                    // The store has the content as well. A raid with messages of a newer release
                    // must not be owned by this one.
                    EnvelopeError::NewerVersion { raid } => {
                        self.sessions.mark_follow_only(raid);
                        self.cluster.dispatch(raid, RaidUpdate::Lost);
                    }
                    EnvelopeError::BadSeal | EnvelopeError::Malformed | EnvelopeError::Expired => {
                        debug!(%channel, %error, "bus message rejected");
                    }
                }
            }
        }
    }

    fn receive_stream_head(&self, player: PlayerId, message: &[u8]) {
        match self.cluster.open_stream_head(player, message) {
            Ok(head) => self.streams.advance(player, head),
            Err(error) => metrics().bus_rejected.increment(error.cause()),
        }
    }

    fn receive_feed_notice(&self, message: &[u8]) {
        match self.cluster.open_feed_notice(message) {
            Ok(()) => self.feed_advanced.notify_one(),
            Err(error) => metrics().bus_rejected.increment(error.cause()),
        }
    }

    fn receive_broadcast(&self, raid: RaidId, envelope: Envelope) {
        let Envelope {
            from: sender,
            number,
            ..
        } = envelope;
        match envelope.message {
            ClusterMessage::Signal { from, kind, data } => self
                .sessions
                .deliver_signal(raid, sender, number, from, &kind, data),
            _ => self.cluster.dispatch(raid, RaidUpdate::Message(envelope)),
        }
    }

    fn receive_direct(&self, envelope: Envelope) {
        let Envelope {
            from,
            number,
            raid,
            epoch,
            seq,
            ref message,
            ..
        } = envelope;
        match message {
            ClusterMessage::ForwardReplies { .. } | ClusterMessage::OwnerStatus { .. } => {
                self.cluster.complete_request(envelope)
            }
            ClusterMessage::WatcherReport(watching) => {
                self.sessions
                    .receive_watcher_report(raid, from, number, seq, watching.clone())
            }
            ClusterMessage::RequestWatcherReport => {
                if !self.sessions.request_watcher_report(raid) {
                    let header = MessageHeader {
                        raid,
                        epoch,
                        seq: Seq::ZERO,
                    };
                    self.cluster.send(
                        from,
                        header,
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
            _ => warn!(
                kind = message.kind(),
                "broadcast message in the inbox; ignored"
            ),
        }
    }

    /// Submits forwarded commands in their order, and replies when all have been answered. A known
    /// batch is not executed again, because its sender may already have passed the first replies
    /// on.
    fn execute_batch(&self, batch: ForwardBatch, items: Vec<ForwardItem>, until: Instant) {
        match self.reply_cache.begin(batch) {
            ForwardBatchStatus::New => {}
            ForwardBatchStatus::InProgress => return,
            ForwardBatchStatus::Replied(answers) => {
                return send_replies(&self.cluster, batch, answers);
            }
        }
        let collector = Arc::new(ReplyCollector {
            batch,
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
                batch.raid,
                batch.from,
                wish.into_command(),
                op,
                until,
                reply,
            );
        }
    }

    fn reply_owner_status(&self, from: InstanceId, raid: RaidId, request: u64) {
        let cluster = self.cluster.clone();
        let reply = Reply::new(move |result: Result<OwnerStatus, Error>| {
            let status = result.ok();
            let seq = status.as_ref().map_or(Seq::ZERO, |status| status.seq);
            let online = status.map(|status| status.online);
            cluster.send(
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

/// Identifies a forward batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ForwardBatch {
    from: InstanceId,
    raid: RaidId,
    epoch: Epoch,
    request: u64,
}

fn send_replies(cluster: &ClusterClient, batch: ForwardBatch, answers: Vec<ForwardReply>) {
    let ForwardBatch {
        from,
        raid,
        epoch,
        request,
    } = batch;
    cluster.send(
        from,
        MessageHeader {
            raid,
            epoch,
            seq: Seq::ZERO,
        },
        ClusterMessage::ForwardReplies { request, answers },
    );
}

/// Collects a batch's replies, and sends them when the last one is there.
struct ReplyCollector {
    batch: ForwardBatch,
    cluster: ClusterClient,
    reply_cache: Arc<ForwardReplyCache>,
    replies: Mutex<Vec<Option<ForwardReply>>>,
}

impl ReplyCollector {
    fn set_reply(&self, index: usize, reply: ForwardReply) {
        let all_replies: Option<Vec<_>> = {
            let mut answers = self.replies.lock();
            answers[index] = Some(reply);
            answers.iter().cloned().collect()
        };
        if let Some(answers) = all_replies {
            self.reply_cache.complete(self.batch, &answers);
            send_replies(&self.cluster, self.batch, answers);
        }
    }
}

/// Replies to the latest batches, so that a repeated batch gets the first reply.
#[derive(Default)]
struct ForwardReplyCache(Mutex<ForwardReplyCacheState>);

#[derive(Default)]
struct ForwardReplyCacheState {
    replies: HashMap<(InstanceId, u64), Option<Vec<ForwardReply>>>,
    order: VecDeque<(InstanceId, u64)>,
}

#[derive(Debug, PartialEq)]
enum ForwardBatchStatus {
    New,
    InProgress,
    Replied(Vec<ForwardReply>),
}

impl ForwardReplyCache {
    /// Records that a batch is being executed, unless it is known.
    fn begin(&self, batch: ForwardBatch) -> ForwardBatchStatus {
        let key = (batch.from, batch.request);
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

    fn complete(&self, batch: ForwardBatch, answers: &[ForwardReply]) {
        if let Some(known) = self.0.lock().replies.get_mut(&(batch.from, batch.request)) {
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
        let cache = ForwardReplyCache::default();
        let batch = |request| ForwardBatch {
            from: InstanceId(Uuid::from_u128(1)),
            raid: RaidId::try_from(7_u64).expect("an id"),
            epoch: Epoch(1),
            request,
        };
        assert_eq!(cache.begin(batch(1)), ForwardBatchStatus::New);
        assert_eq!(cache.begin(batch(1)), ForwardBatchStatus::InProgress);
        cache.complete(batch(1), &[ForwardReply::NotOwner]);
        assert_eq!(
            cache.begin(batch(1)),
            ForwardBatchStatus::Replied(vec![ForwardReply::NotOwner])
        );
        assert_eq!(cache.begin(batch(2)), ForwardBatchStatus::New);
        for request in 3..3 + CACHED_BATCHES_MAX as u64 {
            cache.begin(batch(request));
        }
        assert_eq!(cache.0.lock().replies.len(), CACHED_BATCHES_MAX, "bounded");
    }
}
