//! The owner incarnation of a raid: it decides commands, commits events and releases replies.
//!
//! The state runs ahead of the store: commands are decided on it while earlier commits are in
//! flight. **Nothing leaves ahead of the commit that it depends on.** Every reply (acknowledgement,
//! refusal, duplicate, read, watch, snapshot) is queued with the seq at which it was decided, and
//! released in mailbox order once that seq is durable. Events are published when they are durable,
//! before the replies that depend on them. If a commit fails, everything behind it is answered
//! `unavailable` and this incarnation ends.

mod commits;
mod store_reads;
mod timers;
mod watchers;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use commits::{InflightCommit, next_commit_outcome};
use raidhall_protocol::Seq;
use store_reads::OpsFound;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::error;

use super::actor::CarriedState;
use super::create::generate_invite_code;
use super::message::{ExecuteRequest, SessionMessage, WatchRequest};
use super::op_cache::OpCache;
use super::pending_replies::{PendingReplies, PendingReply};
use super::presence::Presence;
use super::shared_read::SharedRead;
use super::snapshot_cache::SnapshotCache;
use super::{Caller, Registry};
use crate::cluster::client::MessageHeader;
use crate::error::Error;
use crate::fanout::audience::Audience;
use crate::raid::{self, Ack, Context, Refusal, State};
use crate::store::journal::JournalOutcome;
use crate::store::{CreationTerms, Epoch, LedgerEvent, Month, OpHash};
use crate::telemetry::{GaugeGuard, ReloadCause, TakeoverCause, metrics};

/// Commits in flight; at this limit the owner does not read its mailbox.
const INFLIGHT_COMMITS_MAX: usize = 32;
/// Pending replies and waiting requests; at this limit the owner does not read its mailbox.
const PENDING_REPLIES_MAX: usize = 1_024;
/// Messages handled before their events are submitted to the journal.
const BURST_MESSAGES_MAX: usize = 64;

/// How an incarnation ended, and what the actor does next.
pub(super) enum IncarnationEnd {
    /// The raid is not needed; its session has been removed from the registry.
    Idle,
    /// The instance stops, and with it the session.
    Stopped,
    /// This instance must not own the raid any more: it drains, or a newer release has written the
    /// raid. The raid is handed over.
    Handover,
    /// A follower found the raid without an owner: claim it, for this cause.
    Claim(TakeoverCause),
    /// Something is in doubt: start again from the store.
    Reload(ReloadCause),
}

pub(super) struct Owner {
    sessions: Registry,
    audience: Arc<Audience>,
    epoch: Epoch,
    /// The lease's term under which the raid was claimed or last confirmed.
    lease_term: u64,
    created_month: Month,
    /// The state as decided: ahead of the store by `unsubmitted_events` and `inflight_commits`.
    state: State,
    committed_seq: Seq,
    ops: OpCache,
    /// Commands that wait until the ledger has been searched for their ops, and later ones of the
    /// same senders.
    op_searches: SharedRead<ExecuteRequest, OpsFound>,
    /// Requests that wait until the store has said whether this owner is superseded.
    head_checks: SharedRead<SessionMessage, Result<bool, Error>>,
    pending_replies: PendingReplies,
    /// Decided events that have not been submitted to the journal yet.
    unsubmitted_events: Vec<LedgerEvent>,
    /// The creation of the raid, until it is submitted.
    creation: Option<CreationTerms>,
    /// The raid's creation was refused, so the session may end at once.
    is_creation_refused: bool,
    inflight_commits: VecDeque<InflightCommit>,
    /// The outcome of the oldest commit in flight, until the lease is confirmed and it can be
    /// processed.
    unprocessed_outcome: Option<JournalOutcome>,
    snapshot_cache: SnapshotCache,
    leader_away_since: Option<Instant>,
    /// When the raid was last watched or requested.
    last_needed_at: Instant,
    /// When this incarnation became the owner.
    owned_since: Instant,
    /// Counter of the presence messages that were sent to other instances.
    presence_counter: u64,
    /// When presence is sent to other instances again, even if it has not changed.
    presence_resend_at: Option<Instant>,
    /// The set of watchers is in doubt: no player is taken offline, and no leader is replaced.
    is_presence_uncertain: bool,
    events_since_snapshot: u64,
    /// A snapshot that is stored once its seq is durable.
    pending_snapshot: Option<(Seq, Vec<u8>)>,
    _owned_gauge: GaugeGuard,
}

/// What an owner starts from: the claim and the loaded raid.
pub(super) struct OwnerStart {
    pub(super) epoch: Epoch,
    pub(super) lease_term: u64,
    pub(super) created_month: Month,
    pub(super) state: State,
    pub(super) ops: OpCache,
    pub(super) events_since_snapshot: u64,
}

impl Owner {
    pub(super) fn new(sessions: Registry, audience: Arc<Audience>, start: OwnerStart) -> Self {
        let OwnerStart {
            epoch,
            lease_term,
            created_month,
            state,
            ops,
            events_since_snapshot,
        } = start;
        let now = Instant::now();
        let snapshot_cache =
            SnapshotCache::new(Arc::clone(&audience), sessions.options.replay_events_max);
        Self {
            sessions,
            audience,
            epoch,
            lease_term,
            created_month,
            committed_seq: state.seq(),
            state,
            ops,
            op_searches: SharedRead::default(),
            head_checks: SharedRead::default(),
            pending_replies: PendingReplies::default(),
            unsubmitted_events: Vec::new(),
            creation: None,
            is_creation_refused: false,
            inflight_commits: VecDeque::new(),
            unprocessed_outcome: None,
            snapshot_cache,
            leader_away_since: None,
            last_needed_at: now,
            owned_since: now,
            presence_counter: 0,
            // Followers may have missed the last presence message of this or an earlier owner.
            presence_resend_at: Some(now),
            is_presence_uncertain: false,
            events_since_snapshot,
            pending_snapshot: None,
            _owned_gauge: GaugeGuard::increment(&metrics().raids_owned),
        }
    }

    pub(super) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Returns the state, for a handover: all of it is committed.
    pub(super) fn into_state(self) -> State {
        self.state
    }

    /// Runs until the incarnation ends. Requests that still wait for the store then go back into the
    /// mailbox.
    pub(super) async fn run(&mut self, carried: &mut CarriedState) -> IncarnationEnd {
        let end = self.serve(carried).await;
        carried.mailbox.put_back(self.take_waiting().into_iter());
        end
    }

    /// Each turn first does what is due, submits decided events and begins reads of the store; then
    /// it waits for one of:
    ///
    /// - the outcome of the oldest commit in flight, which comes before everything else
    /// - the stop of this instance, or the start of its drain
    /// - a change of the watchers here, of the live instances, or of the bus's health
    /// - the result of a read that requests wait for
    /// - a request, with the ones waiting behind it, unless a limit is reached or the raid is about
    ///   to leave
    /// - the next timer
    async fn serve(&mut self, carried: &mut CarriedState) -> IncarnationEnd {
        let registry = self.sessions.clone();
        let audience = Arc::clone(&self.audience);
        let mut membership = registry.cluster.membership().watch_changes();
        let mut bus_health = registry.cluster.watch_bus_health();
        self.update_watchers(carried);
        loop {
            if !registry.lease.is_valid_in_term(self.lease_term)
                && !self.reconfirm_ownership(carried).await
            {
                return IncarnationEnd::Reload(ReloadCause::LeaseLost);
            }
            if let Some(outcome) = self.unprocessed_outcome.take()
                && let Err(cause) = self.complete_commit(outcome, &mut carried.presence)
            {
                return IncarnationEnd::Reload(cause);
            }
            if carried
                .remote_watchers
                .remove_dead(registry.cluster.membership(), Instant::now())
            {
                self.update_watchers(carried);
            }
            if catch_unwind(AssertUnwindSafe(|| self.advance(carried))).is_err() {
                return IncarnationEnd::Reload(ReloadCause::Panic);
            }
            self.submit_events().await;
            self.begin_reads();
            if self.is_idle(carried)
                && self
                    .sessions
                    .remove_if_idle(audience.raid(), &carried.mailbox)
            {
                registry
                    .awaiting_release
                    .lock()
                    .push((audience.raid(), self.epoch));
                return IncarnationEnd::Idle;
            }
            let stopping = registry.stop.is_cancelled();
            let leaving = !self.sessions.can_claim(audience.raid());
            if self.inflight_commits.is_empty() && stopping {
                return IncarnationEnd::Stopped;
            }
            if self.inflight_commits.is_empty() && leaving {
                return IncarnationEnd::Handover;
            }
            let next_at = self.next_timer(carried);
            tokio::select! { biased;
                outcome = next_commit_outcome(&mut self.inflight_commits) => self.unprocessed_outcome = Some(outcome),
                () = registry.stop.cancelled(), if !stopping => {}
                () = registry.handing_over.cancelled(), if !leaving => {}
                () = audience.changed() => self.update_watchers(carried),
                _ = membership.changed() => self.update_watchers(carried),
                _ = bus_health.changed() => {}
                (commands, found) = self.op_searches.finished() => {
                    if let Err(cause) = self.finish_op_search(commands, found, carried) {
                        return IncarnationEnd::Reload(cause);
                    }
                }
                (requests, superseded) = self.head_checks.finished() => {
                    if let Err(cause) = self.finish_head_check(requests, superseded, carried) {
                        return IncarnationEnd::Reload(cause);
                    }
                }
                message = carried.mailbox.next(), if !stopping && !leaving && self.has_capacity() => {
                    if let Err(cause) = self.handle_burst(message, carried) {
                        return IncarnationEnd::Reload(cause);
                    }
                }
                // The timer is last, because it only wakes the loop: due work is done in every turn
                // and before every message. An earlier arm whose moment has passed would starve
                // the arms behind it.
                () = sleep_until(next_at) => {}
            }
        }
    }

    /// Waits, after a gap in the lease, until the store says whether this instance still owns the
    /// raid. Until then no reply that rests on the remembered state leaves, and after each
    /// `load_timeout` all waiting requests are answered `unavailable`. Returns `false` if the
    /// incarnation must end.
    async fn reconfirm_ownership(&mut self, carried: &mut CarriedState) -> bool {
        let registry = self.sessions.clone();
        let regained = registry.lease.wait_until_confirmed(self.audience.raid());
        tokio::pin!(regained);
        loop {
            if self
                .unprocessed_outcome
                .is_some_and(|outcome| outcome != JournalOutcome::Committed)
            {
                self.pending_replies.fail(None);
                return false;
            }
            tokio::select! { biased;
                (term, epoch) = &mut regained => {
                    self.lease_term = term;
                    self.restart_grace_periods(carried);
                    return epoch == Some(self.epoch);
                }
                () = registry.stop.cancelled() => return false,
                outcome = next_commit_outcome(&mut self.inflight_commits), if self.unprocessed_outcome.is_none() => self.unprocessed_outcome = Some(outcome),
                () = sleep(registry.options.load_timeout) => {
                    self.pending_replies.fail(None);
                    self.refuse_requests(carried);
                }
            }
        }
    }

    /// Answers all waiting requests with `unavailable`. Messages from other instances are still
    /// applied.
    fn refuse_requests(&mut self, carried: &mut CarriedState) {
        for message in self.take_waiting() {
            message.fail(Error::Unavailable);
        }
        while let Some(message) = carried.mailbox.try_next() {
            match message {
                SessionMessage::WatcherReport(received) => {
                    self.apply_watcher_report(received, carried)
                }
                SessionMessage::Handover { online, .. } => self.accept_handover(&online, carried),
                message => message.fail(Error::Unavailable),
            }
        }
    }

    /// Returns the header of a cluster message about this raid.
    fn message_header(&self, seq: Seq) -> MessageHeader {
        MessageHeader {
            raid: self.audience.raid(),
            epoch: self.epoch,
            seq,
        }
    }

    /// Handles a message and those waiting behind it, so that their events are committed together.
    fn handle_burst(
        &mut self,
        first: Option<SessionMessage>,
        carried: &mut CarriedState,
    ) -> Result<(), ReloadCause> {
        let mut next = first;
        for room in (0..BURST_MESSAGES_MAX).rev() {
            let Some(message) = next.take() else { break };
            if !self.sessions.lease.is_valid_in_term(self.lease_term) {
                carried.mailbox.put_back([message].into_iter());
                break;
            }
            self.last_needed_at = Instant::now();
            self.advance(carried);
            self.handle(message, carried)?;
            self.release_replies(&mut carried.presence);
            next = if room > 0 {
                carried.mailbox.try_next()
            } else {
                None
            };
        }
        Ok(())
    }

    fn handle(
        &mut self,
        message: SessionMessage,
        carried: &mut CarriedState,
    ) -> Result<(), ReloadCause> {
        let presence = &mut carried.presence;
        match message {
            SessionMessage::Execute(request) => {
                if self.must_search_ledger(&request) {
                    self.op_searches.add(request);
                } else {
                    self.execute(request, None, presence)?;
                }
            }
            SessionMessage::Create { request, terms } => {
                self.creation = Some(terms);
                self.execute(request, None, presence)?;
                self.is_creation_refused = self.state.seq() == Seq::ZERO;
            }
            SessionMessage::Read { caller, reply } => {
                let result = self.authorize_read(caller).map(|()| {
                    (
                        self.snapshot_cache.shared_state(&self.state),
                        self.state.seq(),
                    )
                });
                self.pending_replies
                    .push(self.state.seq(), PendingReply::Read(reply, result));
            }
            SessionMessage::QueryStatus { reply } => {
                let seq = self.state.seq();
                self.pending_replies
                    .push(seq, PendingReply::Status(reply, seq));
            }
            SessionMessage::Watch(watch) => self.handle_watch(watch, true),
            SessionMessage::Resync(watch) => self.handle_watch(watch, false),
            SessionMessage::Signal(signal) => {
                signal.send_to(&self.audience, self.sessions.clock.now());
            }
            SessionMessage::WatcherReport(received) => self.apply_watcher_report(received, carried),
            // The sender considers itself the owner: the store says which instance is.
            SessionMessage::RequestWatcherReport => self.head_checks.add(message),
            SessionMessage::Wake => {}
            SessionMessage::Handover { online, .. } => self.accept_handover(&online, carried),
        }
        Ok(())
    }

    fn authorize_read(&self, caller: Caller) -> Result<(), Error> {
        if caller.can_see(&self.state) {
            Ok(())
        } else {
            Err(Refusal::NotFound.into())
        }
    }

    /// Decides how a watch starts. A client that has seen a later seq than this owner proves that
    /// it may be superseded: then the watch waits until the store has been asked.
    fn handle_watch(&mut self, watch: WatchRequest, is_joining: bool) {
        let is_ahead = watch.since.is_some_and(|since| since > self.state.seq());
        if is_ahead && self.authorize_read(watch.caller).is_ok() {
            self.head_checks.add(watch.into_message(is_joining));
        } else {
            self.start_watch(watch, is_joining);
        }
    }

    fn start_watch(&mut self, watch: WatchRequest, is_joining: bool) {
        let start = self.snapshot_cache.watch_start(&self.state, &watch);
        self.pending_replies.push(
            self.state.seq(),
            PendingReply::Watch(watch, is_joining, start),
        );
    }

    fn execute(
        &mut self,
        request: ExecuteRequest,
        known: Option<Seq>,
        presence: &Presence,
    ) -> Result<(), ReloadCause> {
        let ExecuteRequest {
            command,
            op,
            reply,
            deadline,
            ..
        } = request;
        let known = known.or_else(|| op.and_then(|op| self.ops.get(op)));
        let result = match known {
            _ if deadline <= Instant::now() => Err(Error::Unavailable),
            Some(seq) => Ok(Ack {
                seq,
                duplicate: true,
            }),
            None => match catch_unwind(AssertUnwindSafe(|| self.decide(&command, op, presence))) {
                Ok(decided) => decided.map(|seq| Ack {
                    seq,
                    duplicate: false,
                }),
                Err(_) => {
                    error!(?command, "command panicked; reloading the raid");
                    reply.send(Err(Error::Internal));
                    return Err(ReloadCause::Panic);
                }
            },
        };
        reply.trace_event("decided");
        self.pending_replies
            .push(self.state.seq(), PendingReply::Ack(reply, result));
        Ok(())
    }

    /// Decides a command and applies its events. Returns the seq of the last event.
    fn decide(
        &mut self,
        command: &raid::RaidCommand,
        op: Option<OpHash>,
        presence: &Presence,
    ) -> Result<Seq, Error> {
        #[cfg(test)]
        super::tests::panic_on_panic_text(command);
        let new_invite_code = generate_invite_code().map_err(|_| Error::Internal)?;
        let context = Context {
            now: self.sessions.clock.now(),
            online: presence.online(),
            new_invite_code: &new_invite_code,
            quotas: self.sessions.options.quotas(),
        };
        let mut events = raid::decide(&self.state, command, context)?;
        for event in &events {
            raid::apply(&mut self.state, event);
        }
        if let (Some(op), Some(last)) = (op, events.last()) {
            self.ops.insert(op, last.seq, self.committed_seq);
        }
        let last = events.pop().map(|event| LedgerEvent { event, op });
        self.unsubmitted_events.extend(
            events
                .into_iter()
                .map(|event| LedgerEvent { event, op: None })
                .chain(last),
        );
        Ok(self.state.seq())
    }

    /// Returns whether another message may be handled while earlier commits are in flight.
    fn has_capacity(&self) -> bool {
        self.inflight_commits.len() < INFLIGHT_COMMITS_MAX
            && self.pending_replies.len() + self.waiting_requests() < PENDING_REPLIES_MAX
    }
}
