//! What an incarnation has decided, on its way to the store and back: handed to the journal, shown when it is durable, kept
//! as a snapshot now and then.

use std::collections::VecDeque;

use raidhall_protocol::{Event, EventData, Seq};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::warn;

use super::super::presence::Presence;
use super::Owner;
use crate::cluster::message::ClusterMessage;
use crate::raid;
use crate::store::journal::JournalOutcome;
use crate::store::{Append, RaidHeader};
use crate::telemetry::ReloadCause;

/// Events on their way to the store.
pub(super) struct InflightCommit {
    events: Vec<Event>,
    outcome: oneshot::Receiver<JournalOutcome>,
}

impl Owner {
    /// Hands what was decided to the journal.
    pub(super) async fn submit_events(&mut self) {
        if self.unsubmitted_events.is_empty() {
            return;
        }
        let events = std::mem::take(&mut self.unsubmitted_events);
        let shown = self.state.shown();
        let append = Append {
            raid: self.audience.raid(),
            created_month: self.created_month,
            owner: self.sessions.cluster.instance(),
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
        let outcome = self.sessions.journal.append(append).await;
        self.inflight_commits
            .push_back(InflightCommit { events, outcome });
    }

    /// Takes the oldest commit's outcome: shows what is durable, and releases the answers that waited for it.
    pub(super) fn complete_commit(
        &mut self,
        outcome: JournalOutcome,
        presence: &mut Presence,
    ) -> Result<(), ReloadCause> {
        let Some(InflightCommit { events, .. }) = self.inflight_commits.pop_front() else {
            return Ok(());
        };
        let first = events.first().map_or(Seq::ZERO, |event| event.seq);
        let last = events.last().map_or(Seq::ZERO, |event| event.seq);
        let cause = match outcome {
            JournalOutcome::Committed => {
                self.committed_seq = last;
                self.audience.publish(&events);
                let written = events.len() as u64;
                let erased = events
                    .iter()
                    .any(|event| matches!(event.data, EventData::PlayerErased { .. }));
                if !self.sessions.cluster.is_standalone() {
                    self.sessions
                        .cluster
                        .broadcast(self.message_header(last), ClusterMessage::Events(events));
                }
                presence.retain_members(|player| self.audience.is_member(player), Instant::now());
                self.release_replies(presence);
                self.save_snapshot_if_due(written, erased);
                return Ok(());
            }
            JournalOutcome::Refused => {
                self.pending_replies.fail(Some((first, last)));
                return Err(ReloadCause::Refused);
            }
            JournalOutcome::Fenced => ReloadCause::Fenced,
            JournalOutcome::Exists => ReloadCause::Exists,
            JournalOutcome::Unclear => ReloadCause::GaveUp,
        };
        self.pending_replies.fail(None);
        Err(cause)
    }

    pub(super) fn release_replies(&mut self, presence: &mut Presence) {
        if !self.sessions.lease.is_valid_in_term(self.lease_term) {
            return;
        }
        while let Some(held) = self.pending_replies.pop(self.committed_seq) {
            let online = || presence.online().iter().copied().collect();
            if let Some(opening) = held.send(online) {
                let player = opening
                    .watch
                    .caller
                    .player()
                    .filter(|player| self.audience.is_member(*player));
                if let (Some(player), true) = (player, opening.is_joining) {
                    presence.set_online(player, Instant::now());
                }
                self.snapshot_cache
                    .answer_watch(opening, presence.announced());
            }
        }
    }

    /// Writes a snapshot, off the commit path, when the tail outweighs the state, or at once when there is something that no
    /// older one may go on telling. It is made of the state as decided, and written when that is durable.
    fn save_snapshot_if_due(&mut self, events: u64, at_once: bool) {
        self.events_since_snapshot += events;
        let registry = self.sessions.clone();
        let shown = self.state.shown();
        let weight = (shown.tasks.len() + shown.members.len() + shown.messages.len()) as u64;
        let due = registry.options.snapshot_min_events.max(weight);
        if at_once || self.events_since_snapshot >= due {
            self.events_since_snapshot = 0;
            self.pending_snapshot = Some((self.state.seq(), raid::stored::encode(&self.state)));
        }
        let Some((seq, bytes)) = self
            .pending_snapshot
            .take_if(|(seq, _)| *seq <= self.committed_seq)
        else {
            return;
        };
        let (raid, epoch) = (self.audience.raid(), self.epoch);
        let tasks = registry.tasks.clone();
        tasks.spawn(async move {
            if let Err(error) = registry
                .store
                .save_snapshot(raid, registry.cluster.instance(), epoch, seq, &bytes)
                .await
            {
                warn!(%raid, ?error, "a snapshot was not kept; the ledger has everything");
            }
        });
    }
}

/// Waits for the oldest commit; for ever when none is in flight.
pub(super) async fn next_commit_outcome(flights: &mut VecDeque<InflightCommit>) -> JournalOutcome {
    match flights.front_mut() {
        Some(flight) => (&mut flight.outcome)
            .await
            .unwrap_or(JournalOutcome::Unclear),
        None => std::future::pending().await,
    }
}
