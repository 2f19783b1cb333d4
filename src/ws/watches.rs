//! The watches of one connection: a cursor into each raid's ring, and the decision what can be sent
//! to the client now.
//!
//! Everything here is bounded. Numbered events stay in the raids' rings until the socket takes
//! them. A watch that is too far behind, not counting what its resume still has to replay,
//! collapses: it requests one snapshot and continues from there.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use raidhall_protocol::server::UnwatchReason;
use raidhall_protocol::{ErrorType, Event, RaidId, Seq, ServerMessage};
use tokio::time::Instant;

use crate::error::Error;
use crate::fanout::audience::{Audience, PullResult};
use crate::fanout::frame;
use crate::fanout::outbox::{Outbox, OutboxLanes, OutboxReply, WatchId};
use crate::telemetry::{GaugeGuard, SignalDropCause, metrics};
use crate::ws::requests::error_frame;
use crate::ws::send_queue::SendQueue;

/// The most bytes of events that one watch queues at a time.
const PULL_BYTES_MAX: usize = 32 * 1024;
/// The delay before a collapsed watch whose snapshot was refused requests it again.
const SNAPSHOT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// A connection's subscription to one raid.
struct Watch {
    ticket: WatchId,
    /// The `id` of the client's `watch` message, echoed in the answer.
    request_id: Option<u64>,
    phase: WatchPhase,
    /// Set once the watch is to end: the last event to send, and the reason for `unwatched`.
    pending_end: Option<(Seq, UnwatchReason)>,
    _gauge: GaugeGuard,
}

enum WatchPhase {
    /// The session has not answered the request yet.
    Requested,
    /// Events are sent as they happen.
    Live(LiveWatch),
    /// The watch fell too far behind and waits for a snapshot.
    Collapsed {
        audience: Arc<Audience>,
        /// When to request the snapshot; `None` while a request is under way.
        snapshot_request_at: Option<Instant>,
    },
}

struct LiveWatch {
    audience: Arc<Audience>,
    /// The seq up to which the watch has been sent.
    cursor: Seq,
    /// The end of the promised replay: **every event up to this seq is sent**, however far behind
    /// the watch is.
    replay_until: Seq,
    /// Whether presence messages were dropped, so that the client needs a snapshot to know which
    /// members are online.
    is_presence_lost: bool,
}

impl LiveWatch {
    const fn new(audience: Arc<Audience>, cursor: Seq, replay_until: Seq) -> Self {
        Self {
            audience,
            cursor,
            replay_until,
            is_presence_lost: false,
        }
    }
}

/// The lag limit: how far, in messages and bytes, a watch may be behind before it collapses.
#[derive(Debug, Clone, Copy)]
pub(super) struct WatchLagLimit {
    pub(super) messages_max: u64,
    pub(super) bytes_max: u64,
}

/// A fetch that the connection has to start before a watch can continue.
pub(super) enum FetchRequest {
    /// Request a snapshot from the session.
    Snapshot(WatchId),
    /// Read the events after this seq from the store: they are promised, and the ring no longer
    /// holds them.
    ReplayPage(WatchId, Seq),
}

pub(super) struct Watches {
    outbox: Arc<Outbox>,
    lag_limit: WatchLagLimit,
    watches: Vec<Watch>,
    /// Replies that wait until the event that they answer has been sent, and later replies of the
    /// same raid.
    held_replies: VecDeque<(Option<RaidId>, Seq, Bytes)>,
    /// The lanes taken from the outbox; empty except while frames are collected.
    lanes: OutboxLanes,
    last_ticket_number: u64,
    unanswered_requests: usize,
}

impl Watches {
    pub(super) fn new(outbox: Arc<Outbox>, lag_limit: WatchLagLimit) -> Self {
        Self {
            outbox,
            lag_limit,
            watches: Vec::new(),
            held_replies: VecDeque::new(),
            lanes: OutboxLanes::default(),
            last_ticket_number: 0,
            unanswered_requests: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.watches.len()
    }

    pub(super) fn contains(&self, raid: RaidId) -> bool {
        self.watches.iter().any(|watch| watch.ticket.raid == raid)
    }

    /// Returns the number of requests whose reply has not been queued for sending yet.
    pub(super) const fn unanswered_requests(&self) -> usize {
        self.unanswered_requests
    }

    /// Counts a request that will get a reply.
    pub(super) const fn expect_reply(&mut self) {
        self.unanswered_requests += 1;
    }

    /// Returns the audience of a watched raid; `None` while the session has not answered the
    /// request.
    pub(super) fn audience(&self, raid: RaidId) -> Option<&Arc<Audience>> {
        let watch = self
            .watches
            .iter()
            .find(|watch| watch.ticket.raid == raid)?;
        match &watch.phase {
            WatchPhase::Requested => None,
            WatchPhase::Live(live) => Some(&live.audience),
            WatchPhase::Collapsed { audience, .. } => Some(audience),
        }
    }

    /// Adds a watch of a raid and counts its request. Replaces a former watch of the same raid.
    pub(super) fn begin(&mut self, raid: RaidId, id: Option<u64>) -> WatchId {
        self.last_ticket_number += 1;
        let ticket = WatchId {
            raid,
            number: self.last_ticket_number,
        };
        self.remove(raid);
        let gauge = GaugeGuard::increment(&metrics().watches);
        self.watches.push(Watch {
            ticket,
            request_id: id,
            phase: WatchPhase::Requested,
            pending_end: None,
            _gauge: gauge,
        });
        self.expect_reply();
        ticket
    }

    /// Removes the watch of a raid, if there is one, and leaves the audience.
    pub(super) fn remove(&mut self, raid: RaidId) {
        if let Some(index) = self
            .watches
            .iter()
            .position(|watch| watch.ticket.raid == raid)
        {
            let Watch { ticket, phase, .. } = self.watches.remove(index);
            match phase {
                // The reply will find no watch with this ticket and be ignored.
                WatchPhase::Requested => self.unanswered_requests -= 1,
                WatchPhase::Live(LiveWatch { audience, .. })
                | WatchPhase::Collapsed { audience, .. } => {
                    audience.leave(self.outbox.id, ticket);
                }
            }
        }
    }

    /// Closes the outbox and removes every watch, those included whose replies are still in the
    /// outbox.
    pub(super) fn remove_all(&mut self) {
        for reply in self.outbox.close().replies {
            if let OutboxReply::Joined {
                watch_id: ticket,
                audience,
                ..
            } = reply
            {
                audience.leave(self.outbox.id, ticket);
            }
        }
        while let Some(watch) = self.watches.first() {
            self.remove(watch.ticket.raid);
        }
    }

    /// Returns the newest known seq of each watched raid, by the raid's id, for a heartbeat.
    pub(super) fn heads(&self) -> BTreeMap<String, Seq> {
        let head = |watch: &Watch| match &watch.phase {
            WatchPhase::Requested => None,
            WatchPhase::Live(LiveWatch { audience, .. })
            | WatchPhase::Collapsed { audience, .. } => Some(audience.newest_known_seq()),
        };
        let heads = self
            .watches
            .iter()
            .map(|watch| (watch.ticket.raid.to_string(), head(watch)));
        heads
            .filter_map(|(raid, head)| Some((raid, head?)))
            .collect()
    }

    /// Returns when the next collapsed watch has to request its snapshot.
    pub(super) fn next_snapshot_request_at(&self) -> Option<Instant> {
        let at = |watch: &Watch| match watch.phase {
            WatchPhase::Collapsed {
                snapshot_request_at: request_at,
                ..
            } => request_at,
            _ => None,
        };
        self.watches.iter().filter_map(at).min()
    }

    /// Queues the frames that can be sent now, in this order: replies that need not wait, among
    /// them those to watch requests; events; replies that waited for these events; presence;
    /// signals. Returns the fetches that watches need before they can continue.
    pub(super) fn queue_ready_frames(&mut self, queue: &mut SendQueue) -> Vec<FetchRequest> {
        self.take_outbox(queue);
        let mut requests = Vec::new();
        let mut index = 0;
        while index < self.watches.len() {
            if let Some(request) = self.queue_events(index, queue) {
                requests.push(request);
            }
            index += usize::from(!self.end_if_complete(index, queue));
        }
        self.release_held_replies(queue);
        self.queue_presence_and_signals(queue);
        requests
    }

    fn take_outbox(&mut self, queue: &mut SendQueue) {
        self.outbox.swap_lanes(&mut self.lanes);
        while let Some(reply) = self.lanes.replies.pop_front() {
            self.apply_reply(reply, queue);
        }
        while let Some(raid) = self.lanes.presence_dropped.pop() {
            self.lanes.presence.retain(|(of, _)| *of != raid);
            if let Some(watch) = self
                .watches
                .iter_mut()
                .find(|watch| watch.ticket.raid == raid)
                && let WatchPhase::Live(live) = &mut watch.phase
            {
                live.is_presence_lost = true;
            }
        }
    }

    fn apply_reply(&mut self, reply: OutboxReply, queue: &mut SendQueue) {
        match reply {
            OutboxReply::Frame { raid, seq, frame } => {
                if self.is_held_back(raid, seq) {
                    self.held_replies.push_back((raid, seq, frame));
                } else {
                    self.unanswered_requests -= 1;
                    queue.push(frame);
                }
            }
            OutboxReply::Done => self.unanswered_requests -= 1,
            OutboxReply::Joined {
                watch_id: ticket,
                audience,
                cursor,
                replay_until,
                frame,
            } => match self.find(ticket) {
                Some(watch) => {
                    watch.phase = WatchPhase::Live(LiveWatch::new(audience, cursor, replay_until));
                    let id = watch.request_id;
                    self.unanswered_requests -= 1;
                    queue.push(frame::with_id(frame, self.outbox.encoding, id));
                }
                None => audience.leave(self.outbox.id, ticket),
            },
            OutboxReply::Resynced { ticket, seq, frame } => {
                if let Some(watch) = self.find(ticket)
                    && let WatchPhase::Collapsed {
                        audience,
                        snapshot_request_at: None,
                    } = &watch.phase
                {
                    let audience = Arc::clone(audience);
                    watch.phase = WatchPhase::Live(LiveWatch::new(audience, seq, seq));
                    queue.push(frame);
                }
            }
            OutboxReply::Refused { ticket, error } => self.on_refused(ticket, &error, queue),
            OutboxReply::Ended {
                ticket,
                last_seq: at,
                reason,
            } => {
                if let Some(watch) = self.find(ticket) {
                    watch.pending_end = Some((at, reason));
                }
            }
        }
    }

    fn on_refused(&mut self, ticket: WatchId, error: &Error, queue: &mut SendQueue) {
        let encoding = self.outbox.encoding;
        let Some(watch) = self.find(ticket) else {
            // The watch was removed or replaced; a replacement gets a reply of its own.
            return;
        };
        match &mut watch.phase {
            WatchPhase::Requested => {
                let frame = error_frame(
                    encoding,
                    "watch",
                    watch.request_id,
                    Some(ticket.raid),
                    error,
                );
                queue.push(frame);
                self.remove(ticket.raid);
            }
            WatchPhase::Collapsed { .. } if error.error_type() == ErrorType::NotFound => {
                watch
                    .pending_end
                    .get_or_insert((Seq::ZERO, UnwatchReason::Forbidden));
            }
            WatchPhase::Collapsed {
                snapshot_request_at: request_at,
                ..
            } => *request_at = Some(Instant::now() + SNAPSHOT_RETRY_DELAY),
            WatchPhase::Live(_) => {}
        }
    }

    fn find(&mut self, ticket: WatchId) -> Option<&mut Watch> {
        self.watches.iter_mut().find(|watch| watch.ticket == ticket)
    }

    /// Queues the next events of a watch, or collapses it. Returns the fetch that it needs before
    /// it can continue.
    fn queue_events(&mut self, index: usize, queue: &mut SendQueue) -> Option<FetchRequest> {
        let watch = &mut self.watches[index];
        if let WatchPhase::Live(live) = &mut watch.phase {
            if live.audience.head() <= live.cursor && !live.is_presence_lost {
                return None;
            }
            let (messages, bytes) = live.audience.backlog(live.cursor);
            let slow = live.is_presence_lost
                || messages > self.lag_limit.messages_max
                || bytes > self.lag_limit.bytes_max;
            if live.cursor >= live.replay_until && slow && watch.pending_end.is_none() {
                watch.collapse();
            } else {
                let reader = (self.outbox.id, watch.ticket);
                let until = watch.pending_end.map(|(at, _)| at);
                match live.audience.pull(
                    reader,
                    live.cursor,
                    until,
                    self.outbox.encoding,
                    PULL_BYTES_MAX,
                ) {
                    PullResult::Frames(frames, reached) => {
                        for frame in frames {
                            queue.push(frame);
                        }
                        live.cursor = reached;
                    }
                    // The reply that ends this watch, and says up to which seq to send, wakes the
                    // connection.
                    PullResult::Ended => {}
                    PullResult::Evicted if live.cursor < live.replay_until => {
                        return Some(FetchRequest::ReplayPage(watch.ticket, live.cursor));
                    }
                    PullResult::Evicted => watch.collapse(),
                }
            }
        }
        watch
            .take_due_snapshot_request()
            .then_some(FetchRequest::Snapshot(watch.ticket))
    }

    /// Removes a watch whose last event has been queued, and queues `unwatched`. Returns whether it
    /// did.
    fn end_if_complete(&mut self, index: usize, queue: &mut SendQueue) -> bool {
        let watch = &self.watches[index];
        let Some((at, reason)) = watch.pending_end else {
            return false;
        };
        if matches!(&watch.phase, WatchPhase::Live(live) if live.cursor < at) {
            return false;
        }
        let raid = watch.ticket.raid;
        queue.push(frame::encode(
            self.outbox.encoding,
            &ServerMessage::Unwatched {
                id: None,
                raid,
                reason,
            },
        ));
        self.remove(raid);
        true
    }

    /// Queues the events of a replay page from the store. Returns false if the watch is live and
    /// the page holds no event that continues its replay.
    pub(super) fn queue_replay_page(
        &mut self,
        ticket: WatchId,
        events: Vec<Event>,
        queue: &mut SendQueue,
    ) -> bool {
        let encoding = self.outbox.encoding;
        let Some(Watch {
            phase: WatchPhase::Live(live),
            ..
        }) = self.find(ticket)
        else {
            return true;
        };
        let before = live.cursor;
        for event in events {
            // Events after the replay come from the ring, or the watch collapses.
            if event.seq == live.cursor.next() && event.seq <= live.replay_until {
                live.cursor = event.seq;
                queue.push(frame::encode(
                    encoding,
                    &ServerMessage::Event {
                        raid: ticket.raid,
                        event,
                    },
                ));
            }
        }
        live.cursor > before
    }

    /// Queues the held replies whose events have been queued.
    fn release_held_replies(&mut self, queue: &mut SendQueue) {
        if self.held_replies.is_empty() {
            return;
        }
        for (raid, seq, frame) in std::mem::take(&mut self.held_replies) {
            if self.is_held_back(raid, seq) {
                self.held_replies.push_back((raid, seq, frame));
            } else {
                self.unanswered_requests -= 1;
                queue.push(frame);
            }
        }
    }

    /// Whether a reply has to wait: for its event, or behind a held reply of the same raid.
    fn is_held_back(&self, raid: Option<RaidId>, seq: Seq) -> bool {
        let Some(raid) = raid else { return false };
        self.held_replies.iter().any(|(of, ..)| *of == Some(raid)) || !self.has_passed(raid, seq)
    }

    /// Whether everything of a raid up to `seq` has been queued for the client, or the client does
    /// not watch the raid.
    fn has_passed(&self, raid: RaidId, seq: Seq) -> bool {
        self.watches
            .iter()
            .find(|watch| watch.ticket.raid == raid)
            .is_none_or(|watch| match &watch.phase {
                WatchPhase::Live(live) => live.cursor >= seq,
                WatchPhase::Requested | WatchPhase::Collapsed { .. } => seq == Seq::ZERO,
            })
    }

    /// Queues presence and signals of the raids whose watches are live.
    fn queue_presence_and_signals(&mut self, queue: &mut SendQueue) {
        while let Some((raid, frame)) = self.lanes.presence.pop_front() {
            if self.is_live(raid) {
                queue.push(frame);
            }
        }
        while let Some(signal) = self.lanes.signals.pop_front() {
            if self.is_live(signal.raid) {
                queue.push(signal.frame);
            } else {
                metrics()
                    .signals_dropped
                    .increment(SignalDropCause::NotLive);
            }
        }
    }

    /// Whether the client receives presence and signals of a raid. A watch that is not live gets
    /// presence with its next reply or snapshot, and misses signals.
    fn is_live(&self, raid: RaidId) -> bool {
        let watch = self.watches.iter().find(|watch| watch.ticket.raid == raid);
        watch.is_some_and(|watch| matches!(watch.phase, WatchPhase::Live(_)))
    }
}

impl Watch {
    fn collapse(&mut self) {
        if let WatchPhase::Live(live) = &self.phase {
            metrics().collapses.increment(1);
            let audience = Arc::clone(&live.audience);
            self.phase = WatchPhase::Collapsed {
                audience,
                snapshot_request_at: Some(Instant::now()),
            };
        }
    }

    /// Returns true if it is time to request a snapshot, and marks the request as made.
    fn take_due_snapshot_request(&mut self) -> bool {
        match &mut self.phase {
            WatchPhase::Collapsed {
                snapshot_request_at: request_at,
                ..
            } => request_at.take_if(|at| *at <= Instant::now()).is_some(),
            _ => false,
        }
    }
}
