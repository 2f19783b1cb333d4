//! The raids that one connection watches: a cursor each, and what the client may be sent of them now.
//!
//! Everything here is bounded. Numbered events stay in the raids' rings until the socket takes them. A watch that is
//! too far behind, not counting what its resume still has to replay, collapses: it asks for one snapshot and goes on
//! from there.

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

/// What one watch may put into the socket's queue at a time, in bytes.
const PULL_BYTES_MAX: usize = 32 * 1024;
/// The pause before a collapsed watch asks for its snapshot again.
const SNAPSHOT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// One watch.
struct Watch {
    ticket: WatchId,
    /// The correlation number of the request, for its error.
    request_id: Option<u64>,
    phase: WatchPhase,
    /// The last event that it shows, and why it ends there.
    pending_end: Option<(Seq, UnwatchReason)>,
    _gauge: GaugeGuard,
}

enum WatchPhase {
    /// Not answered yet.
    Requested,
    /// Showing events.
    Live(LiveWatch),
    /// Too far behind: waits for a snapshot, asked for already or to be asked for at the moment given.
    Collapsed {
        audience: Arc<Audience>,
        snapshot_request_at: Option<Instant>,
    },
}

struct LiveWatch {
    audience: Arc<Audience>,
    /// The newest event that has gone out.
    cursor: Seq,
    /// Everything up to here comes whole, whatever happens.
    replay_until: Seq,
    /// Who is online is not known any more: it needs a snapshot.
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

/// How far a watch may be behind.
#[derive(Debug, Clone, Copy)]
pub(super) struct WatchLagLimit {
    pub(super) messages_max: u64,
    pub(super) bytes_max: u64,
}

/// Something that the connection has to do for a watch.
pub(super) enum FetchRequest {
    /// Ask the session for a snapshot.
    Snapshot(WatchId),
    /// Read promised events after a seq from the store: the ring does not hold them any more.
    ReplayPage(WatchId, Seq),
}

pub(super) struct Watches {
    outbox: Arc<Outbox>,
    lag_limit: WatchLagLimit,
    watches: Vec<Watch>,
    /// Answers that wait for their event to go out first, and those behind them of the same raid.
    held_replies: VecDeque<(Option<RaidId>, Seq, Bytes)>,
    /// Empty but while gathering.
    lanes: OutboxLanes,
    last_ticket_number: u64,
    /// Requests that are not answered yet.
    unanswered_requests: usize,
}

impl Watches {
    pub(super) fn new(outbox: Arc<Outbox>, lag_limit: WatchLagLimit) -> Self {
        let (watches, held_replies) = (Vec::new(), VecDeque::new());
        Self {
            outbox,
            lag_limit,
            watches,
            held_replies,
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

    /// Requests that are not answered yet.
    pub(super) const fn unanswered_requests(&self) -> usize {
        self.unanswered_requests
    }

    /// Notes that an answer will come.
    pub(super) const fn expect_reply(&mut self) {
        self.unanswered_requests += 1;
    }

    /// The audience of a raid that is being watched.
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

    /// Begins a watch, in place of a former one of the same raid.
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

    /// Ends a watch, if there is one.
    pub(super) fn remove(&mut self, raid: RaidId) {
        if let Some(index) = self
            .watches
            .iter()
            .position(|watch| watch.ticket.raid == raid)
        {
            let Watch { ticket, phase, .. } = self.watches.remove(index);
            match phase {
                // Its answer, when it comes, is nobody's any more.
                WatchPhase::Requested => self.unanswered_requests -= 1,
                WatchPhase::Live(LiveWatch { audience, .. })
                | WatchPhase::Collapsed { audience, .. } => {
                    audience.leave(self.outbox.id, ticket);
                }
            }
        }
    }

    /// Ends every watch, and what was still on its way.
    pub(super) fn remove_all(&mut self) {
        for answer in self.outbox.close().replies {
            if let OutboxReply::Joined {
                watch_id: ticket,
                audience,
                ..
            } = answer
            {
                audience.leave(self.outbox.id, ticket);
            }
        }
        while let Some(watch) = self.watches.first() {
            self.remove(watch.ticket.raid);
        }
    }

    /// The newest seq of each watched raid.
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

    /// When a collapsed watch wants to ask again.
    pub(super) fn next_snapshot_request_at(&self) -> Option<Instant> {
        let at = |watch: &Watch| match watch.phase {
            WatchPhase::Collapsed {
                snapshot_request_at: ask_at,
                ..
            } => ask_at,
            _ => None,
        };
        self.watches.iter().filter_map(at).min()
    }

    /// Queues what may go out now, in this order: answers to watches, events, answers that were waiting for them,
    /// presence, signals. Gives what has to be done first for watches that cannot go on.
    pub(super) fn queue_ready_frames(&mut self, queue: &mut SendQueue) -> Vec<FetchRequest> {
        self.take_outbox(queue);
        let mut needs = Vec::new();
        let mut index = 0;
        while index < self.watches.len() {
            if let Some(need) = self.queue_events(index, queue) {
                needs.push(need);
            }
            index += usize::from(!self.end_if_complete(index, queue));
        }
        self.release_held_replies(queue);
        self.queue_presence_and_signals(queue);
        needs
    }

    fn take_outbox(&mut self, queue: &mut SendQueue) {
        self.outbox.swap_lanes(&mut self.lanes);
        while let Some(answer) = self.lanes.replies.pop_front() {
            self.apply_reply(answer, queue);
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

    fn apply_reply(&mut self, answer: OutboxReply, queue: &mut SendQueue) {
        match answer {
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
                replay_until: promised,
                frame,
            } => match self.find(ticket) {
                Some(watch) => {
                    watch.phase = WatchPhase::Live(LiveWatch::new(audience, cursor, promised));
                    self.unanswered_requests -= 1;
                    queue.push(frame);
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
        let form = self.outbox.encoding;
        let Some(watch) = self.find(ticket) else {
            // Another watch has taken its place, and will have an answer of its own.
            return;
        };
        match &mut watch.phase {
            WatchPhase::Requested => {
                let frame = error_frame(form, "watch", watch.request_id, Some(ticket.raid), error);
                queue.push(frame);
                self.remove(ticket.raid);
            }
            WatchPhase::Collapsed { .. } if error.error_type() == ErrorType::NotFound => {
                watch
                    .pending_end
                    .get_or_insert((Seq::ZERO, UnwatchReason::Forbidden));
            }
            WatchPhase::Collapsed {
                snapshot_request_at: ask_at,
                ..
            } => *ask_at = Some(Instant::now() + SNAPSHOT_RETRY_DELAY),
            WatchPhase::Live(_) => {}
        }
    }

    fn find(&mut self, ticket: WatchId) -> Option<&mut Watch> {
        self.watches.iter_mut().find(|watch| watch.ticket == ticket)
    }

    /// Queues the next events of a watch.
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
                        frames.into_iter().for_each(|frame| queue.push(frame));
                        live.cursor = reached;
                    }
                    // Its end is in the outbox by now, and says how far it may still be shown.
                    PullResult::Ended => self.outbox.wake(),
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

    /// Ends a watch that has shown its last event. True if it did.
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
            &ServerMessage::Unwatched { raid, reason },
        ));
        self.remove(raid);
        true
    }

    /// Queues promised events that were read from the store. False if the watch still waits and they are not the ones
    /// that it waits for.
    pub(super) fn queue_replay_page(
        &mut self,
        ticket: WatchId,
        events: Vec<Event>,
        queue: &mut SendQueue,
    ) -> bool {
        let form = self.outbox.encoding;
        let Some(Watch {
            phase: WatchPhase::Live(live),
            ..
        }) = self.find(ticket)
        else {
            return true;
        };
        let before = live.cursor;
        for event in events {
            // Beyond the promise the ring has them, or the watch collapses.
            if event.seq == live.cursor.next() && event.seq <= live.replay_until {
                live.cursor = event.seq;
                queue.push(frame::encode(
                    form,
                    &ServerMessage::Event {
                        raid: ticket.raid,
                        event,
                    },
                ));
            }
        }
        live.cursor > before
    }

    /// Queues the answers whose events have gone out.
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

    /// Whether an answer has to wait: for its event, or for an answer of the same raid that does.
    fn is_held_back(&self, raid: Option<RaidId>, seq: Seq) -> bool {
        let Some(raid) = raid else { return false };
        self.held_replies.iter().any(|(of, ..)| *of == Some(raid)) || !self.has_passed(raid, seq)
    }

    /// Whether a client has seen everything of a raid up to `seq`, or does not watch it.
    fn has_passed(&self, raid: RaidId, seq: Seq) -> bool {
        self.watches
            .iter()
            .find(|watch| watch.ticket.raid == raid)
            .is_none_or(|watch| match &watch.phase {
                WatchPhase::Live(live) => live.cursor >= seq,
                WatchPhase::Requested | WatchPhase::Collapsed { .. } => seq == Seq::ZERO,
            })
    }

    /// Queues presence and signals of raids that are shown.
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

    /// A watch that is not live gets presence with its next answer, and signals do not last.
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

    /// Whether it is time to ask for a snapshot; then it counts as asked.
    fn take_due_snapshot_request(&mut self) -> bool {
        match &mut self.phase {
            WatchPhase::Collapsed {
                snapshot_request_at: ask_at,
                ..
            } => ask_at.take_if(|at| *at <= Instant::now()).is_some(),
            _ => false,
        }
    }
}
