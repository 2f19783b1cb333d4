//! The follower incarnation of a raid that another instance owns: it forwards commands and holds a
//! replica.
//!
//! Commands go to the owner over the bus, in order, and wait here while there is no owner. Watchers
//! here see the raid through a replica: a state folded from the store, moved on by the events that
//! the bus brings, and repaired from the store whenever an event is missing. **A follower decides
//! nothing and numbers nothing**, so whatever the bus loses, repeats or reorders, a follower can be
//! late but never wrong.

mod forward_queue;
mod ownership;
mod replica;
mod requests;
mod watcher_reports;

use std::sync::Arc;
use std::time::Duration;

use forward_queue::ForwardQueue;
use raidhall_protocol::{PlayerId, RaidId, Seq};
use replica::{Replica, ReplicaRead};
use requests::{PresenceWait, ReplicaRequest};
use tokio::time::{Instant, sleep_until};

use super::OwnedRaidGuard;
use super::Registry;
use super::actor::CarriedState;
use super::message::SessionMessage;
use super::owner::IncarnationEnd;
use super::shared_read::SharedRead;
use super::snapshot_cache::SnapshotCache;
use crate::cluster::client::{MessageHeader, OwnerStatus, RaidUpdate};
use crate::cluster::message::{ClusterMessage, Envelope, ForwardReply};
use crate::error::Error;
use crate::fanout::audience::Audience;
use crate::raid::State;
use crate::store::{Epoch, InstanceId, RaidHead};
use crate::telemetry::{RepairCause, TakeoverCause};

/// How long a command may wait for an owner, all attempts together.
pub const COMMAND_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long an acknowledged event may be missing before the store is read.
const ACKED_EVENT_TIMEOUT: Duration = Duration::from_millis(50);

/// Delay that stands for "no timer"; waking up after it is harmless.
const FAR_FUTURE: Duration = Duration::from_secs(3_600);

/// Requests that wait for the store or the owner; at this limit the follower does not read its
/// mailbox.
const WAITING_REQUESTS_MAX: usize = 1_024;

/// Pause before the owner of a raid without a known owner is looked up again.
const RESOLVE_RETRY_DELAY: Duration = Duration::from_millis(100);

pub(super) struct Follower {
    sessions: Registry,
    audience: Arc<Audience>,
    /// The raid's owner, if it is known and live.
    owner: Option<InstanceId>,
    epoch: Epoch,
    /// The latest epoch under which a seq is known to be committed, and the newest such seq.
    committed: (Epoch, Seq),
    /// The last epoch that its owner has released. A head that was read before may still name that
    /// owner.
    released_epoch: Option<Epoch>,
    snapshot_cache: SnapshotCache,
    replica: Option<Replica>,
    /// Reads of the store that load the replica or catch up, and the requests that wait for them.
    replica_reads: SharedRead<ReplicaRequest, ReplicaRead>,
    /// Why the replica needs another read, beside the waiting requests.
    read_cause: Option<RepairCause>,
    /// Why the read in flight began, and the replica's seq then, for the metric.
    read_in_progress: (RepairCause, Seq),
    /// Reads of the raid that wait for the owner's answer.
    status_queries: SharedRead<SessionMessage, Option<OwnerStatus>>,
    /// Reads of the raid's head, and the messages that wait for the owner's name.
    head_reads: SharedRead<SessionMessage, Option<Option<RaidHead>>>,
    /// The first watches here, until the owner's presence message has come.
    presence_wait: Option<PresenceWait>,
    forwards: ForwardQueue,
    /// Epoch and counter of the last presence message that was applied.
    presence_version: (Epoch, u64),
    /// Players who were online under the last owner, to be reported to the next one.
    last_known_online: Vec<PlayerId>,
    /// When presence is forgotten, if the raid is not watched here.
    presence_ends_at: Option<Instant>,
    next_report_at: Instant,
    /// When the store is asked for the owner; until then nothing is forwarded or claimed.
    resolve_at: Option<Instant>,
    /// Seq of an acknowledged event that has not arrived, and when the store is read for it.
    awaited_event: Option<(Seq, Instant)>,
    /// Why the raid has no owner: the cause of a claim by this instance.
    vacancy_cause: TakeoverCause,
    /// Whether to claim the raid even if it is not needed here.
    is_claim_requested: bool,
    /// Counts the raid as owned here during a handover, until another instance has claimed it.
    handover_guard: Option<OwnedRaidGuard>,
    /// During a handover: the store still names this instance as the owner.
    is_release_pending: bool,
    /// During a handover: when the raid is offered to a successor again.
    next_offer_at: Instant,
    /// Number of successors that the raid was offered to.
    offers: usize,
    /// Whether a request has arrived since this follower began; without one it ends as soon as it
    /// is not needed.
    has_been_requested: bool,
    last_needed_at: Instant,
}

impl Follower {
    pub(super) fn new(
        sessions: Registry,
        audience: Arc<Audience>,
        owner: Option<InstanceId>,
        epoch: Epoch,
    ) -> Self {
        let now = Instant::now();
        let snapshot_cache =
            SnapshotCache::new(Arc::clone(&audience), sessions.options.replay_events_max);
        Self {
            sessions,
            audience,
            owner,
            epoch,
            committed: (Epoch(0), Seq::ZERO),
            released_epoch: None,
            snapshot_cache,
            replica: None,
            replica_reads: SharedRead::default(),
            read_cause: None,
            read_in_progress: (RepairCause::Read, Seq::ZERO),
            status_queries: SharedRead::default(),
            head_reads: SharedRead::default(),
            presence_wait: None,
            forwards: ForwardQueue::default(),
            presence_version: (Epoch(0), 0),
            last_known_online: Vec::new(),
            presence_ends_at: None,
            next_report_at: now,
            resolve_at: None,
            awaited_event: None,
            vacancy_cause: TakeoverCause::Lapsed,
            is_claim_requested: false,
            handover_guard: None,
            is_release_pending: false,
            next_offer_at: now,
            offers: 0,
            has_been_requested: false,
            last_needed_at: now,
        }
    }

    /// Creates the follower that an owner becomes when it hands its raid over. It keeps the owner's
    /// state, and subscribes before the raid is released.
    pub(super) async fn from_former_owner(
        sessions: Registry,
        audience: Arc<Audience>,
        state: State,
        epoch: Epoch,
        online: Vec<PlayerId>,
    ) -> Self {
        let subscription = sessions.cluster.follow(audience.raid(), true);
        subscription.subscribe().await;
        let mut follower = Self::new(sessions, audience, None, epoch);
        follower.committed = (epoch, state.seq());
        follower.replica = Some(Replica::new(state, subscription));
        follower.last_known_online = online;
        follower.has_been_requested = true;
        follower
    }

    /// Begins a handover: the raid will be released, and offered until another instance has claimed
    /// it.
    pub(super) fn begin_handover(&mut self, owning: OwnedRaidGuard) {
        self.handover_guard = Some(owning);
        self.is_release_pending = true;
    }

    /// Runs until the incarnation ends. Requests that still wait then go back into the mailbox; before
    /// a claim the commands that were queued here come first.
    pub(super) async fn run(&mut self, carried: &mut CarriedState) -> IncarnationEnd {
        let end = self.run_turns(carried).await;
        carried.mailbox.put_back(self.take_waiting().into_iter());
        if matches!(end, IncarnationEnd::Claim(_)) {
            carried
                .mailbox
                .put_back(self.forwards.drain_messages().into_iter());
        }
        end
    }

    /// Each turn first does what is due, begins reads of the store and sends forwards; then it waits
    /// for one of:
    ///
    /// - the stop of this instance
    /// - an update of the raid from the bus or the store
    /// - the owner's answers to the forward batch in flight
    /// - the result of a read that requests wait for
    /// - a change of the live instances, which may show that the owner is gone
    /// - a change of the watchers here
    /// - a request, unless as many wait as may
    /// - the next timer
    async fn run_turns(&mut self, carried: &mut CarriedState) -> IncarnationEnd {
        let registry = self.sessions.clone();
        let audience = Arc::clone(&self.audience);
        let mut membership = registry.cluster.membership().watch_changes();
        let raid = self.raid();
        carried.remote_watchers.clear();
        // Watchers from an earlier incarnation may still be here.
        match self.replica {
            // The replica has a subscription of its own.
            Some(_) => carried.subscription = None,
            None => self.load_for_watchers(),
        }
        loop {
            self.run_due_work(carried).await;
            if let Some(cause) = self.claim_cause() {
                return IncarnationEnd::Claim(cause);
            }
            self.send_forwards();
            if self.is_idle() && self.sessions.remove_if_idle(raid, &carried.mailbox) {
                return IncarnationEnd::Idle;
            }
            if registry.stop.is_cancelled() {
                self.report_no_watchers();
                return IncarnationEnd::Stopped;
            }
            let has_capacity =
                self.forwards.has_capacity() && self.waiting_requests() < WAITING_REQUESTS_MAX;
            let next_at = self.next_timer();
            tokio::select! { biased;
                () = registry.stop.cancelled() => {}
                update = next_update(&mut self.replica) => self.handle_update(update, carried),
                answers = self.forwards.next_answers() => self.apply_forward_answers(answers),
                (requests, read) = self.replica_reads.finished() => {
                    self.finish_replica_read(requests, read, carried);
                }
                (reads, status) = self.status_queries.finished() => {
                    self.finish_status_query(reads, status, carried);
                }
                (messages, head) = self.head_reads.finished() => {
                    self.finish_head_read(messages, head, carried);
                }
                _ = membership.changed() => self.check_owner_liveness(),
                () = audience.changed() => {
                    self.last_needed_at = Instant::now();
                    self.report_watchers();
                    self.schedule_presence_end();
                }
                message = carried.mailbox.next(), if has_capacity => {
                    if let Some(message) = message {
                        self.handle(message, carried);
                    }
                }
                // The timer is last, because it only wakes the loop: due work is done in every
                // turn.
                () = sleep_until(next_at) => {}
            }
        }
    }

    /// Returns whether the follower has a replica, and with it a subscription to the raid's
    /// channel.
    pub(super) const fn is_subscribed(&self) -> bool {
        self.replica.is_some()
    }

    fn raid(&self) -> RaidId {
        self.audience.raid()
    }

    fn message_header(&self) -> MessageHeader {
        let seq = self.replica.as_ref().map_or(Seq::ZERO, Replica::seq);
        MessageHeader {
            raid: self.raid(),
            epoch: self.epoch,
            seq,
        }
    }

    fn is_needed(&self) -> bool {
        self.audience.is_watched() || !self.forwards.is_empty() || self.presence_wait.is_some()
    }

    fn is_busy(&self) -> bool {
        self.is_needed() || self.waiting_requests() > 0
    }

    fn is_idle(&self) -> bool {
        let idle = !self.has_been_requested
            || self.last_needed_at.elapsed() >= self.sessions.options.idle_timeout;
        !self.is_busy() && idle
    }

    fn send_forwards(&mut self) {
        if self.is_resolving() || self.forwards.is_empty() {
            return;
        }
        let header = self.message_header();
        let now = Instant::now();
        match self.forward_target() {
            Some(to) => {
                // The batch was sent before without an answer: the raid may have another owner now.
                if self.forwards.send(&self.sessions.cluster, to, header) {
                    self.resolve_at = Some(now);
                }
            }
            None => self.resolve_at = Some(now + RESOLVE_RETRY_DELAY),
        }
    }

    fn handle(&mut self, message: SessionMessage, carried: &mut CarriedState) {
        self.has_been_requested = true;
        self.last_needed_at = Instant::now();
        match message {
            SessionMessage::Execute(execute) => match execute.forwarded_by {
                Some(from) => {
                    self.handle_claim_request(from, SessionMessage::Execute(execute), carried);
                }
                None if self.audience.lost_history().is_some() => {
                    execute.reply.send(Err(Error::Unavailable));
                }
                None => self.forwards.enqueue(execute),
            },
            SessionMessage::Create { .. } => message.fail(Error::Unavailable),
            SessionMessage::Read { .. } => self.status_queries.add(message),
            SessionMessage::Watch(_) | SessionMessage::Resync(_) | SessionMessage::Signal(_) => {
                self.serve(message.into(), false, carried);
            }
            // A report is meant for the owner, which this instance is not or not any more.
            SessionMessage::WatcherReport(_) => {}
            SessionMessage::RequestWatcherReport => self.report_watchers(),
            SessionMessage::Handover { from, .. } => {
                self.handle_claim_request(from, message, carried);
            }
            SessionMessage::QueryStatus { reply } => reply.send(Err(Error::NotOwner)),
            SessionMessage::Wake => {}
        }
    }

    fn handle_update(&mut self, update: RaidUpdate, carried: &mut CarriedState) {
        match update {
            RaidUpdate::Message(envelope) => self.handle_cluster_message(envelope, carried),
            RaidUpdate::Head(head) => {
                self.audience.record_stored_seq(head.last_seq);
                self.observe_head(head);
                if self
                    .replica
                    .as_ref()
                    .is_some_and(|replica| replica.seq() < head.last_seq)
                {
                    self.request_read(RepairCause::Head);
                }
            }
            RaidUpdate::Lost => self.request_read(RepairCause::Lost),
        }
    }

    fn handle_cluster_message(&mut self, envelope: Envelope, carried: &mut CarriedState) {
        let Envelope {
            from,
            epoch,
            seq,
            message,
            ..
        } = envelope;
        match message {
            ClusterMessage::Events(events) => {
                self.observe_owner(from, epoch);
                self.observe_committed(epoch, seq);
                let is_complete = self
                    .replica
                    .as_mut()
                    .is_none_or(|replica| replica.apply_events(&self.audience, events));
                if !is_complete {
                    self.request_read(RepairCause::Gap);
                }
            }
            ClusterMessage::Owned => {
                self.observe_owner(from, epoch);
                self.observe_committed(epoch, seq);
                if self
                    .replica
                    .as_ref()
                    .is_some_and(|replica| replica.seq() < seq)
                {
                    self.request_read(RepairCause::Gap);
                }
            }
            ClusterMessage::Released if epoch >= self.epoch => {
                self.released_epoch = Some(epoch);
                self.clear_owner(TakeoverCause::Released);
            }
            ClusterMessage::Presence { counter, online } => {
                self.observe_owner(from, epoch);
                if epoch >= self.epoch && (epoch, counter) > self.presence_version {
                    self.presence_version = (epoch, counter);
                    if let Some(change) = carried
                        .presence
                        .apply_owner_presence(online.into_iter().collect())
                    {
                        self.audience
                            .publish_presence(change.online, change.offline);
                    }
                    self.last_known_online = carried.presence.announced().iter().copied().collect();
                }
            }
            _ => {}
        }
    }

    fn apply_forward_answers(&mut self, answers: Vec<ForwardReply>) {
        let seq = self.replica.as_ref().map(Replica::seq);
        // While this instance reaches the store, an owner that does not is about to lose the raid:
        // retry instead of answering `unavailable`.
        let retry_unavailable = self.sessions.lease.is_valid();
        let summary = self.forwards.apply_answers(answers, retry_unavailable);
        if let (Some(acknowledged), Some(seq)) = (summary.acknowledged_seq, seq)
            && seq < acknowledged
        {
            let at = Instant::now() + ACKED_EVENT_TIMEOUT;
            let awaited = self
                .awaited_event
                .map_or((acknowledged, at), |(seq, at)| (seq.max(acknowledged), at));
            self.awaited_event = Some(awaited);
        }
        if summary.has_retries {
            self.resolve_at = Some(Instant::now() + RESOLVE_RETRY_DELAY);
        }
    }

    fn next_timer(&self) -> Instant {
        let idle = self.last_needed_at + self.sessions.options.idle_timeout;
        let idle = (!self.is_busy()).then_some(idle);
        let report =
            (self.owner.is_some() && self.audience.is_watched()).then_some(self.next_report_at);
        let catch_up = self.replica.as_ref().and_then(Replica::catch_up_at);
        // Nothing is sent while the store is asked for the owner.
        let resend = (self.forwards.resend_at()).filter(|_| !self.is_resolving());
        let resolve = (self.resolve_at).filter(|_| !self.head_reads.is_inflight());
        let awaited = self.awaited_event.map(|(_, at)| at);
        let offer = self.handover_guard.as_ref().map(|_| self.next_offer_at);
        let presence = self.presence_wait.as_ref().map(PresenceWait::until);
        let timers = [
            idle,
            report,
            catch_up,
            awaited,
            offer,
            presence,
            self.presence_ends_at(),
            resolve,
            self.forwards.next_expiry(),
            resend,
        ];
        timers
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| Instant::now() + FAR_FUTURE)
    }

    async fn run_due_work(&mut self, carried: &mut CarriedState) {
        let now = Instant::now();
        self.forwards.expire(now);
        self.forget_outdated_presence(carried);
        if self.next_report_at <= now && self.audience.is_watched() {
            self.report_watchers();
        }
        if self.handover_guard.is_some() && self.next_offer_at <= now {
            self.release_and_offer(None).await;
        }
        if let Some((seq, _)) = self.awaited_event.take_if(|(_, at)| *at <= now)
            && self
                .replica
                .as_ref()
                .is_some_and(|replica| replica.seq() < seq)
        {
            self.request_read(RepairCause::Ack);
        }
        if let Some(replica) = &mut self.replica
            && replica.take_due_catch_up(now)
        {
            self.request_read(RepairCause::Retry);
        }
        self.end_presence_wait(carried);
        self.begin_head_read();
        self.begin_status_query();
        self.begin_replica_read();
    }

    /// Requests a replica if there are watchers and none yet; a failure is retried.
    fn load_for_watchers(&mut self) {
        if self.replica.is_none() && self.audience.is_watched() {
            self.request_read(RepairCause::Watch);
        }
    }
}

/// Waits for the next update of the raid; forever without a replica.
async fn next_update(replica: &mut Option<Replica>) -> RaidUpdate {
    match replica {
        Some(replica) => replica.next_update().await,
        None => std::future::pending().await,
    }
}
