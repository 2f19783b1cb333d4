//! What an incarnation has decided, on its way to the store and back: handed to the journal, shown when it is durable, kept
//! as a snapshot now and then.

use std::collections::VecDeque;
use std::sync::Arc;

use raidhall_protocol::{Event, EventData, Seq};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::warn;

use super::super::presence::Presence;
use super::Live;
use crate::cluster::message::Note;
use crate::raid;
use crate::store::journal::JournalOutcome;
use crate::store::{Append, RaidHeader};

/// Events on their way to the store.
pub(super) struct Flight {
    events: Vec<Event>,
    outcome: oneshot::Receiver<JournalOutcome>,
}

impl Live {
    /// Hands what was decided to the journal.
    pub(super) async fn submit(&mut self) {
        if self.building.is_empty() {
            return;
        }
        let events = std::mem::take(&mut self.building);
        let shown = self.state.shown();
        let append = Append {
            raid: self.audience.raid(),
            created_month: self.born,
            owner: self.sessions.0.link.instance(),
            epoch: self.epoch,
            header: RaidHeader {
                status: shown.status,
                deadline: self.state.active_deadline(),
                current_xp: shown.current_xp,
                current_tasks: shown.current_tasks,
                ended_at: shown.ended_at,
            },
            create_key: self.create_key.take(),
            events,
        };
        let events = append
            .events
            .iter()
            .map(|recorded| recorded.event.clone())
            .collect();
        let outcome = self.sessions.0.journal.append(append).await;
        self.flights.push_back(Flight { events, outcome });
    }

    /// Takes the oldest commit's outcome: shows what is durable, and releases the answers that waited for it.
    pub(super) fn land(
        &mut self,
        outcome: JournalOutcome,
        presence: &mut Presence,
    ) -> Result<(), &'static str> {
        let Some(Flight { events, .. }) = self.flights.pop_front() else {
            return Ok(());
        };
        let first = events.first().map_or(Seq::ZERO, |event| event.seq);
        let last = events.last().map_or(Seq::ZERO, |event| event.seq);
        let cause = match outcome {
            JournalOutcome::Committed => {
                self.committed = last;
                self.audience.publish(&events);
                let written = events.len() as u64;
                let erased = events
                    .iter()
                    .any(|event| matches!(event.data, EventData::PlayerErased { .. }));
                if !self.sessions.0.link.is_alone() {
                    self.sessions
                        .0
                        .link
                        .say(self.about(last), Note::Events(events));
                }
                presence.retain(|player| self.audience.is_member(player), Instant::now());
                self.release(presence);
                self.keep_snapshot(written, erased);
                return Ok(());
            }
            JournalOutcome::Refused => {
                self.held.fail(Some((first, last)));
                return Err("refused");
            }
            JournalOutcome::Fenced => "fenced",
            JournalOutcome::Exists => "exists",
            JournalOutcome::Unclear => "gave_up",
        };
        self.held.fail(None);
        Err(cause)
    }

    pub(super) fn release(&mut self, presence: &mut Presence) {
        if !self.sessions.0.lease.serves(self.term) {
            return;
        }
        while let Some(held) = self.held.pop(self.committed) {
            let online = || presence.online().iter().copied().collect();
            if let Some(opening) = held.give(online) {
                let player = opening
                    .watch
                    .caller
                    .player()
                    .filter(|player| self.audience.is_member(*player));
                if let (Some(player), true) = (player, opening.joins) {
                    presence.arrive(player, Instant::now());
                }
                self.show.open(opening, presence.announced());
            }
        }
    }

    /// Writes a snapshot, off the commit path, when the tail outweighs the state, or at once when there is something that no
    /// older one may go on telling. It is made of the state as decided, and written when that is durable.
    fn keep_snapshot(&mut self, events: u64, at_once: bool) {
        self.since_snapshot += events;
        let hall = Arc::clone(&self.sessions.0);
        let shown = self.state.shown();
        let weight = (shown.tasks.len() + shown.members.len() + shown.messages.len()) as u64;
        let due = hall.options.snapshot_min_events.max(weight);
        if at_once || self.since_snapshot >= due {
            self.since_snapshot = 0;
            self.snapshot = Some((self.state.seq(), raid::stored::encode(&self.state)));
        }
        let Some((seq, bytes)) = self.snapshot.take_if(|(seq, _)| *seq <= self.committed) else {
            return;
        };
        let (raid, epoch) = (self.audience.raid(), self.epoch);
        let tasks = hall.tasks.clone();
        tasks.spawn(async move {
            if let Err(error) = hall
                .store
                .save_snapshot(raid, hall.link.instance(), epoch, seq, &bytes)
                .await
            {
                warn!(%raid, ?error, "a snapshot was not kept; the ledger has everything");
            }
        });
    }
}

/// Waits for the oldest commit; for ever when none is in flight.
pub(super) async fn landed(flights: &mut VecDeque<Flight>) -> JournalOutcome {
    match flights.front_mut() {
        Some(flight) => (&mut flight.outcome)
            .await
            .unwrap_or(JournalOutcome::Unclear),
        None => std::future::pending().await,
    }
}
