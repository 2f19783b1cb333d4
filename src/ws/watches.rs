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
use crate::fanout::audience::{Audience, Pulled};
use crate::fanout::frame;
use crate::fanout::outbox::{Answer, Lanes, Outbox, Ticket};
use crate::telemetry::{Held, metrics};
use crate::ws::requests::error_frame;
use crate::ws::send_queue::Queue;

/// What one watch may put into the socket's queue at a time, in bytes.
const BUDGET: usize = 32 * 1024;
/// The pause before a collapsed watch asks for its snapshot again.
const RESYNC_PAUSE: Duration = Duration::from_millis(100);

/// One watch.
struct Watch {
    ticket: Ticket,
    /// The correlation number of the request, for its error.
    id: Option<u64>,
    phase: Phase,
    /// The last event that it shows, and why it ends there.
    ends: Option<(Seq, UnwatchReason)>,
    _gauge: Held,
}

enum Phase {
    /// Not answered yet.
    Asked,
    /// Showing events.
    Live(Live),
    /// Too far behind: waits for a snapshot, asked for already or to be asked for at the moment given.
    Collapsed {
        audience: Arc<Audience>,
        ask_at: Option<Instant>,
    },
}

struct Live {
    audience: Arc<Audience>,
    /// The newest event that has gone out.
    cursor: Seq,
    /// Everything up to here comes whole, whatever happens.
    promised: Seq,
    /// Who is online is not known any more: it needs a snapshot.
    presence_lost: bool,
}

impl Live {
    const fn new(audience: Arc<Audience>, cursor: Seq, promised: Seq) -> Self {
        Self {
            audience,
            cursor,
            promised,
            presence_lost: false,
        }
    }
}

/// How far a watch may be behind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slack {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

/// Something that the connection has to do for a watch.
pub(super) enum Need {
    /// Ask the session for a snapshot.
    Snapshot(Ticket),
    /// Read promised events after a seq from the store: the ring does not hold them any more.
    Page(Ticket, Seq),
}

pub(super) struct Watches {
    outbox: Arc<Outbox>,
    slack: Slack,
    watches: Vec<Watch>,
    /// Answers that wait for their event to go out first, and those behind them of the same raid.
    acks: VecDeque<(Option<RaidId>, Seq, Bytes)>,
    /// Empty but while gathering.
    lanes: Lanes,
    tickets: u64,
    /// Requests that are not answered yet.
    pending: usize,
}

impl Watches {
    pub(super) fn new(outbox: Arc<Outbox>, slack: Slack) -> Self {
        let (watches, acks) = (Vec::new(), VecDeque::new());
        Self {
            outbox,
            slack,
            watches,
            acks,
            lanes: Lanes::default(),
            tickets: 0,
            pending: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.watches.len()
    }

    pub(super) fn contains(&self, raid: RaidId) -> bool {
        self.watches.iter().any(|watch| watch.ticket.raid == raid)
    }

    /// Requests that are not answered yet.
    pub(super) const fn pending(&self) -> usize {
        self.pending
    }

    /// Notes that an answer will come.
    pub(super) const fn expect_answer(&mut self) {
        self.pending += 1;
    }

    /// The audience of a raid that is being watched.
    pub(super) fn audience(&self, raid: RaidId) -> Option<&Arc<Audience>> {
        let watch = self
            .watches
            .iter()
            .find(|watch| watch.ticket.raid == raid)?;
        match &watch.phase {
            Phase::Asked => None,
            Phase::Live(live) => Some(&live.audience),
            Phase::Collapsed { audience, .. } => Some(audience),
        }
    }

    /// Begins a watch, in place of a former one of the same raid.
    pub(super) fn ask(&mut self, raid: RaidId, id: Option<u64>) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket {
            raid,
            number: self.tickets,
        };
        self.remove(raid);
        let gauge = Held::one(&metrics().watches);
        self.watches.push(Watch {
            ticket,
            id,
            phase: Phase::Asked,
            ends: None,
            _gauge: gauge,
        });
        self.expect_answer();
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
                Phase::Asked => self.pending -= 1,
                Phase::Live(Live { audience, .. }) | Phase::Collapsed { audience, .. } => {
                    audience.leave(self.outbox.id, ticket);
                }
            }
        }
    }

    /// Ends every watch, and what was still on its way.
    pub(super) fn leave_all(&mut self) {
        for answer in self.outbox.close().answers {
            if let Answer::Joined {
                ticket, audience, ..
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
            Phase::Asked => None,
            Phase::Live(Live { audience, .. }) | Phase::Collapsed { audience, .. } => {
                Some(audience.newest())
            }
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
    pub(super) fn next_ask(&self) -> Option<Instant> {
        let at = |watch: &Watch| match watch.phase {
            Phase::Collapsed { ask_at, .. } => ask_at,
            _ => None,
        };
        self.watches.iter().filter_map(at).min()
    }

    /// Queues what may go out now, in this order: answers to watches, events, answers that were waiting for them,
    /// presence, signals. Gives what has to be done first for watches that cannot go on.
    pub(super) fn gather(&mut self, queue: &mut Queue) -> Vec<Need> {
        self.take_lanes(queue);
        let mut needs = Vec::new();
        let mut index = 0;
        while index < self.watches.len() {
            if let Some(need) = self.show(index, queue) {
                needs.push(need);
            }
            index += usize::from(!self.end(index, queue));
        }
        self.release_acks(queue);
        self.release_soft(queue);
        needs
    }

    fn take_lanes(&mut self, queue: &mut Queue) {
        self.outbox.take(&mut self.lanes);
        while let Some(answer) = self.lanes.answers.pop_front() {
            self.take_answer(answer, queue);
        }
        while let Some(raid) = self.lanes.presence_lost.pop() {
            self.lanes.presence.retain(|(of, _)| *of != raid);
            if let Some(watch) = self
                .watches
                .iter_mut()
                .find(|watch| watch.ticket.raid == raid)
                && let Phase::Live(live) = &mut watch.phase
            {
                live.presence_lost = true;
            }
        }
    }

    fn take_answer(&mut self, answer: Answer, queue: &mut Queue) {
        match answer {
            Answer::Frame { raid, seq, frame } => {
                if self.waits(raid, seq) {
                    self.acks.push_back((raid, seq, frame));
                } else {
                    self.pending -= 1;
                    queue.push(frame);
                }
            }
            Answer::Silence => self.pending -= 1,
            Answer::Joined {
                ticket,
                audience,
                cursor,
                promised,
                frame,
            } => match self.find(ticket) {
                Some(watch) => {
                    watch.phase = Phase::Live(Live::new(audience, cursor, promised));
                    self.pending -= 1;
                    queue.push(frame);
                }
                None => audience.leave(self.outbox.id, ticket),
            },
            Answer::Resynced { ticket, seq, frame } => {
                if let Some(watch) = self.find(ticket)
                    && let Phase::Collapsed {
                        audience,
                        ask_at: None,
                    } = &watch.phase
                {
                    let audience = Arc::clone(audience);
                    watch.phase = Phase::Live(Live::new(audience, seq, seq));
                    queue.push(frame);
                }
            }
            Answer::Refused { ticket, error } => self.refused(ticket, &error, queue),
            Answer::Ended { ticket, at, reason } => {
                if let Some(watch) = self.find(ticket) {
                    watch.ends = Some((at, reason));
                }
            }
        }
    }

    fn refused(&mut self, ticket: Ticket, error: &Error, queue: &mut Queue) {
        let form = self.outbox.form;
        let Some(watch) = self.find(ticket) else {
            // Another watch has taken its place, and will have an answer of its own.
            return;
        };
        match &mut watch.phase {
            Phase::Asked => {
                let frame = error_frame(form, "watch", watch.id, Some(ticket.raid), error);
                queue.push(frame);
                self.remove(ticket.raid);
            }
            Phase::Collapsed { .. } if error.error_type() == ErrorType::NotFound => {
                watch
                    .ends
                    .get_or_insert((Seq::ZERO, UnwatchReason::Forbidden));
            }
            Phase::Collapsed { ask_at, .. } => *ask_at = Some(Instant::now() + RESYNC_PAUSE),
            Phase::Live(_) => {}
        }
    }

    fn find(&mut self, ticket: Ticket) -> Option<&mut Watch> {
        self.watches.iter_mut().find(|watch| watch.ticket == ticket)
    }

    /// Queues the next events of a watch.
    fn show(&mut self, index: usize, queue: &mut Queue) -> Option<Need> {
        let watch = &mut self.watches[index];
        if let Phase::Live(live) = &mut watch.phase {
            if live.audience.head() <= live.cursor && !live.presence_lost {
                return None;
            }
            let (messages, bytes) = live.audience.behind(live.cursor);
            let slow =
                live.presence_lost || messages > self.slack.messages || bytes > self.slack.bytes;
            if live.cursor >= live.promised && slow && watch.ends.is_none() {
                watch.collapse();
            } else {
                let reader = (self.outbox.id, watch.ticket);
                let until = watch.ends.map(|(at, _)| at);
                match live
                    .audience
                    .pull(reader, live.cursor, until, self.outbox.form, BUDGET)
                {
                    Pulled::Frames(frames, reached) => {
                        frames.into_iter().for_each(|frame| queue.push(frame));
                        live.cursor = reached;
                    }
                    // Its end is in the outbox by now, and says how far it may still be shown.
                    Pulled::Ended => self.outbox.wake(),
                    Pulled::Lost if live.cursor < live.promised => {
                        return Some(Need::Page(watch.ticket, live.cursor));
                    }
                    Pulled::Lost => watch.collapse(),
                }
            }
        }
        watch.ask().then_some(Need::Snapshot(watch.ticket))
    }

    /// Ends a watch that has shown its last event. True if it did.
    fn end(&mut self, index: usize, queue: &mut Queue) -> bool {
        let watch = &self.watches[index];
        let Some((at, reason)) = watch.ends else {
            return false;
        };
        if matches!(&watch.phase, Phase::Live(live) if live.cursor < at) {
            return false;
        }
        let raid = watch.ticket.raid;
        queue.push(frame::message(
            self.outbox.form,
            &ServerMessage::Unwatched { raid, reason },
        ));
        self.remove(raid);
        true
    }

    /// Queues promised events that were read from the store. False if the watch still waits and they are not the ones
    /// that it waits for.
    pub(super) fn show_page(
        &mut self,
        ticket: Ticket,
        events: Vec<Event>,
        queue: &mut Queue,
    ) -> bool {
        let form = self.outbox.form;
        let Some(Watch {
            phase: Phase::Live(live),
            ..
        }) = self.find(ticket)
        else {
            return true;
        };
        let before = live.cursor;
        for event in events {
            // Beyond the promise the ring has them, or the watch collapses.
            if event.seq == live.cursor.next() && event.seq <= live.promised {
                live.cursor = event.seq;
                queue.push(frame::message(
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
    fn release_acks(&mut self, queue: &mut Queue) {
        if self.acks.is_empty() {
            return;
        }
        for (raid, seq, frame) in std::mem::take(&mut self.acks) {
            if self.waits(raid, seq) {
                self.acks.push_back((raid, seq, frame));
            } else {
                self.pending -= 1;
                queue.push(frame);
            }
        }
    }

    /// Whether an answer has to wait: for its event, or for an answer of the same raid that does.
    fn waits(&self, raid: Option<RaidId>, seq: Seq) -> bool {
        let Some(raid) = raid else { return false };
        self.acks.iter().any(|(of, ..)| *of == Some(raid)) || !self.has_passed(raid, seq)
    }

    /// Whether a client has seen everything of a raid up to `seq`, or does not watch it.
    fn has_passed(&self, raid: RaidId, seq: Seq) -> bool {
        self.watches
            .iter()
            .find(|watch| watch.ticket.raid == raid)
            .is_none_or(|watch| match &watch.phase {
                Phase::Live(live) => live.cursor >= seq,
                Phase::Asked | Phase::Collapsed { .. } => seq == Seq::ZERO,
            })
    }

    /// Queues presence and signals of raids that are shown.
    fn release_soft(&mut self, queue: &mut Queue) {
        while let Some((raid, frame)) = self.lanes.presence.pop_front() {
            if self.is_live(raid) {
                queue.push(frame);
            }
        }
        while let Some(signal) = self.lanes.signals.pop_front() {
            if self.is_live(signal.raid) {
                queue.push(signal.frame);
            } else {
                metrics().signals_dropped.increment("not_live");
            }
        }
    }

    /// A watch that is not live gets presence with its next answer, and signals do not last.
    fn is_live(&self, raid: RaidId) -> bool {
        let watch = self.watches.iter().find(|watch| watch.ticket.raid == raid);
        watch.is_some_and(|watch| matches!(watch.phase, Phase::Live(_)))
    }
}

impl Watch {
    fn collapse(&mut self) {
        if let Phase::Live(live) = &self.phase {
            metrics().collapses.increment(1);
            let audience = Arc::clone(&live.audience);
            self.phase = Phase::Collapsed {
                audience,
                ask_at: Some(Instant::now()),
            };
        }
    }

    /// Whether it is time to ask for a snapshot; then it counts as asked.
    fn ask(&mut self) -> bool {
        match &mut self.phase {
            Phase::Collapsed { ask_at, .. } => ask_at.take_if(|at| *at <= Instant::now()).is_some(),
            _ => false,
        }
    }
}
