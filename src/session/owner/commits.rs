//! An owner's commits: submits decided events to the journal, publishes them when they are durable,
//! and stores snapshots.

use std::collections::VecDeque;

use raidhall_protocol::{Event, EventData, Seq};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::warn;

use super::super::presence::Presence;
use super::Owner;
use crate::cluster::message::ClusterMessage;
use crate::error::Error;
use crate::raid::{self, Refusal};
use crate::store::journal::JournalOutcome;
use crate::store::{Append, RaidHeader};
use crate::telemetry::ReloadCause;

/// Events that were submitted to the journal, and the receiver of their outcome.
pub(super) struct InflightCommit {
    events: Vec<Event>,
    outcome: oneshot::Receiver<JournalOutcome>,
}

impl Owner {
    /// Submits all decided events to the journal as one append.
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
            creation: self.creation.take(),
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

    /// Processes the outcome of the oldest commit: publishes its events and releases the replies
    /// that waited for it. If the commit failed, returns why the raid must reload, after failing
    /// all pending replies.
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
                let event_count = events.len() as u64;
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
                self.save_snapshot_if_due(event_count, erased);
                return Ok(());
            }
            JournalOutcome::Refused => {
                self.pending_replies
                    .fail(Some((first, last, Error::Internal)));
                return Err(ReloadCause::Refused);
            }
            JournalOutcome::OverQuota => {
                let error = Error::Refused(Refusal::QuotaExceeded);
                self.pending_replies.fail(Some((first, last, error)));
                return Err(ReloadCause::OverQuota);
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
        while let Some(reply) = self.pending_replies.pop(self.committed_seq) {
            let online = || presence.online().iter().copied().collect();
            if let Some(ready) = reply.send(online) {
                let player = ready
                    .watch
                    .caller
                    .player()
                    .filter(|player| self.audience.is_member(*player));
                if let (Some(player), true) = (player, ready.is_joining) {
                    presence.set_online(player, Instant::now());
                }
                self.snapshot_cache
                    .answer_watch(ready, presence.announced());
            }
        }
    }

    /// Stores a snapshot when the events since the last one outnumber the state's entries, or
    /// `at_once` after an erasure, so that no older snapshot keeps an erased text. The snapshot is
    /// encoded from the state as decided, and stored by a task of its own once that state is
    /// durable.
    fn save_snapshot_if_due(&mut self, new_events: u64, at_once: bool) {
        self.events_since_snapshot += new_events;
        let registry = self.sessions.clone();
        let entries = self.state.entry_count() as u64;
        let due = registry.options.snapshot_min_events.max(entries);
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
        let raid = self.audience.raid();
        let epoch = self.epoch;
        let tasks = registry.tasks.clone();
        tasks.spawn(async move {
            if let Err(error) = registry
                .store
                .save_snapshot(raid, registry.cluster.instance(), epoch, seq, &bytes)
                .await
            {
                warn!(%raid, ?error, "storing a snapshot failed; the raid still loads from its ledger");
            }
        });
    }
}

/// Waits for the outcome of the oldest commit; forever when none is in flight.
pub(super) async fn next_commit_outcome(commits: &mut VecDeque<InflightCommit>) -> JournalOutcome {
    match commits.front_mut() {
        Some(commit) => (&mut commit.outcome)
            .await
            .unwrap_or(JournalOutcome::Unclear),
        None => std::future::pending().await,
    }
}
