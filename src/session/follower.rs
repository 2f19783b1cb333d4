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
mod watcher_reports;

use std::sync::Arc;
use std::time::Duration;

use forward_queue::ForwardQueue;
use raidhall_protocol::{PlayerId, RaidId, Seq};
use replica::Replica;
use tokio::time::{Instant, sleep_until};

use super::Registry;
use super::actor::CarriedState;
use super::message::{SessionMessage, WatchRequest};
use super::owner::IncarnationEnd;
use super::pending_replies::ReadyWatch;
use super::snapshot_cache::SnapshotCache;
use super::{Caller, OwnedRaidGuard, RaidSnapshot};
use crate::cluster::client::{MessageHeader, OwnerStatus, RaidUpdate};
use crate::cluster::message::{ClusterMessage, Envelope, ForwardReply};
use crate::error::Error;
use crate::fanout::audience::Audience;
use crate::raid::{Refusal, State};
use crate::store::{Epoch, InstanceId};
use crate::telemetry::{RepairCause, TakeoverCause};

/// How long a command may wait for an owner, all attempts together.
pub const COMMAND_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long an acknowledged event may be missing before the store is read.
const ACKED_EVENT_TIMEOUT: Duration = Duration::from_millis(50);

/// Delay that stands for "no timer"; waking up after it is harmless.
const FAR_FUTURE: Duration = Duration::from_secs(3_600);

/// Pause before the owner of a raid without a known owner is looked up again.
const RESOLVE_RETRY_DELAY: Duration = Duration::from_millis(100);

pub(super) struct Follower {
    sessions: Registry,
    audience: Arc<Audience>,
    /// The raid's owner, if it is known and live.
    owner: Option<InstanceId>,
    epoch: Epoch,
    snapshot_cache: SnapshotCache,
    replica: Option<Replica>,
    forwards: ForwardQueue,
    /// Epoch and counter of the last presence message that was applied.
    presence_version: (Epoch, u64),
    /// Players who were online under the last owner, to be reported to the next one.
    last_known_online: Vec<PlayerId>,
    next_report_at: Instant,
    /// The first watcher is being prepared: reports already count it.
    is_watcher_expected: bool,
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
            snapshot_cache,
            replica: None,
            forwards: ForwardQueue::default(),
            presence_version: (Epoch(0), 0),
            last_known_online: Vec::new(),
            next_report_at: now,
            is_watcher_expected: false,
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
        let mut follower = Self::new(sessions, audience, None, epoch);
        follower.replica = Some(follower.subscribe_from(state).await);
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

    /// Runs until the incarnation ends. Each turn first does what is due and sends forwards; then
    /// it waits for one of:
    ///
    /// - the stop of this instance
    /// - an update of the raid from the bus or the store
    /// - the owner's answers to the forward batch in flight
    /// - a change of the live instances, which may show that the owner is gone
    /// - a change of the watchers here
    /// - a request, unless as many commands wait to be forwarded as may
    /// - the next timer
    pub(super) async fn run(&mut self, carried: &mut CarriedState) -> IncarnationEnd {
        let registry = self.sessions.clone();
        let audience = Arc::clone(&self.audience);
        let mut membership = registry.cluster.membership().watch_changes();
        let raid = self.raid();
        carried.remote_watchers.clear();
        // Watchers from an earlier incarnation may still be here.
        self.serve_watchers(carried).await;
        // The replica has a subscription of its own.
        carried.subscription = None;
        loop {
            self.run_due_work(carried).await;
            if let Some(cause) = self.claim_cause() {
                carried
                    .mailbox
                    .put_back(self.forwards.drain_messages().into_iter());
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
            let has_capacity = self.forwards.has_capacity();
            let next_at = self.next_timer();
            tokio::select! { biased;
                () = registry.stop.cancelled() => {}
                update = next_update(&mut self.replica) => self.handle_update(update, carried).await,
                answers = self.forwards.next_answers() => self.apply_forward_answers(answers),
                _ = membership.changed() => self.check_owner_liveness(),
                () = audience.changed() => {
                    self.last_needed_at = Instant::now();
                    self.report_watchers();
                    self.clear_unwatched_presence(carried);
                }
                message = carried.mailbox.next(), if has_capacity => {
                    if let Some(message) = message {
                        self.handle(message, carried).await;
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
        self.audience.is_watched() || !self.forwards.is_empty()
    }

    fn is_idle(&self) -> bool {
        let idle = !self.has_been_requested
            || self.last_needed_at.elapsed() >= self.sessions.options.idle_timeout;
        !self.is_needed() && idle
    }

    fn send_forwards(&mut self) {
        if self.resolve_at.is_some() || self.forwards.is_empty() {
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

    async fn handle(&mut self, message: SessionMessage, carried: &mut CarriedState) {
        self.has_been_requested = true;
        self.last_needed_at = Instant::now();
        match message {
            SessionMessage::Execute(execute) => match execute.forwarded_by {
                Some(from) if self.accept_claim_request(from).await => {
                    carried
                        .mailbox
                        .put_back([SessionMessage::Execute(execute)].into_iter());
                }
                Some(_) => execute.reply.send(Err(Error::NotOwner)),
                None => self.forwards.enqueue(execute),
            },
            SessionMessage::Create { reply, .. } => reply.send(Err(Error::Unavailable)),
            SessionMessage::Read { caller, reply } => {
                let result = self.read(caller, carried).await;
                reply.send(result);
            }
            SessionMessage::Watch(watch) => self.handle_watch(watch, true, carried).await,
            SessionMessage::Resync(watch) => self.handle_watch(watch, false, carried).await,
            SessionMessage::Signal {
                sender,
                from,
                kind,
                data,
                reply,
            } => {
                let result = match self.ensure_replica().await {
                    Ok(()) => self
                        .audience
                        .send_signal(sender, from, &kind, data)
                        .map_err(|_| Refusal::NotMember.into()),
                    Err(error) => Err(error),
                };
                reply.send(result);
            }
            // A report is meant for the owner, which this instance is not or not any more.
            SessionMessage::WatcherReport { .. } => {}
            SessionMessage::RequestWatcherReport => self.report_watchers(),
            SessionMessage::Handover { from, online } => {
                if self.accept_claim_request(from).await {
                    carried
                        .mailbox
                        .put_back([SessionMessage::Handover { from, online }].into_iter());
                } else {
                    // Another instance has claimed the raid: it learns from this one which players
                    // were online.
                    self.record_last_known_online(online);
                }
            }
            SessionMessage::QueryStatus { reply } => reply.send(Err(Error::NotOwner)),
            SessionMessage::Wake => {}
        }
    }

    async fn read(
        &mut self,
        caller: Caller,
        carried: &mut CarriedState,
    ) -> Result<RaidSnapshot, Error> {
        self.ensure_replica().await?;
        let owner_status = self.query_owner_status().await;
        if owner_status.as_ref().is_none_or(|owner_status| {
            Some(owner_status.seq) > self.replica.as_ref().map(Replica::seq)
        }) {
            self.try_catch_up(RepairCause::Read).await?;
        }
        let replica = self.replica.as_ref().ok_or(Error::Unavailable)?;
        if !caller.can_see(replica.state()) {
            return Err(Refusal::NotFound.into());
        }
        let seq = replica.seq();
        let state = self.snapshot_cache.shared_state(replica.state());
        let announced = || carried.presence.announced().iter().copied().collect();
        let online = owner_status.map_or_else(announced, |owner_status| owner_status.online);
        let ws_url = self
            .owner
            .and_then(|owner| self.sessions.cluster.membership().ws_url(owner));
        Ok(RaidSnapshot {
            state,
            seq,
            online,
            ws_url,
        })
    }

    /// Queries the owner for its newest seq and its online players. `None` without an owner or an
    /// answer. An owner does what is due before it answers.
    async fn query_owner_status(&mut self) -> Option<OwnerStatus> {
        let owner = self.owner?;
        let raid = self.raid();
        let cluster = self.sessions.cluster.clone();
        self.forwards
            .expire_while(cluster.query_owner_status(owner, raid))
            .await
    }

    async fn handle_watch(
        &mut self,
        watch: WatchRequest,
        is_joining: bool,
        carried: &mut CarriedState,
    ) {
        if let Err(error) = self.prepare_watch(&watch).await {
            return watch.reply.send(Err(error));
        }
        if is_joining && !self.audience.is_watched() {
            self.await_owner_presence(carried).await;
            if self.is_claimable() {
                // The next owner collects presence; this follower does not know it.
                self.request_claim();
                return carried
                    .mailbox
                    .put_back([SessionMessage::Watch(watch)].into_iter());
            }
        }
        let Some(replica) = &self.replica else { return };
        match self.snapshot_cache.watch_start(replica.state(), &watch) {
            Ok(start) => {
                self.snapshot_cache.answer_watch(
                    ReadyWatch {
                        watch,
                        start,
                        is_joining,
                    },
                    carried.presence.announced(),
                );
            }
            Err(error) => watch.reply.send(Err(error)),
        }
        // The watch was refused after all, or its connection is gone: take the expected watcher
        // back.
        if is_joining && !self.audience.is_watched() {
            self.report_watchers();
        }
    }

    /// Makes sure that the replica can answer a watch. Before it refuses a caller, or starts a
    /// watch that has seen a later seq, it catches up with the store: the player may have joined,
    /// or seen more, at another instance a moment ago.
    async fn prepare_watch(&mut self, watch: &WatchRequest) -> Result<(), Error> {
        self.ensure_replica().await?;
        let behind = |replica: &Replica| {
            !watch.caller.can_see(replica.state())
                || watch.since.is_some_and(|since| since > replica.seq())
        };
        if self.replica.as_ref().is_some_and(behind) {
            self.try_catch_up(RepairCause::Watch).await?;
        }
        match &self.replica {
            Some(replica) if watch.caller.can_see(replica.state()) => Ok(()),
            _ => Err(Refusal::NotFound.into()),
        }
    }

    async fn handle_update(&mut self, update: RaidUpdate, carried: &mut CarriedState) {
        match update {
            RaidUpdate::Message(envelope) => self.handle_cluster_message(envelope, carried).await,
            RaidUpdate::Head(head) => {
                self.audience.record_stored_seq(head.last_seq);
                self.observe_head(head);
                if self
                    .replica
                    .as_ref()
                    .is_some_and(|replica| replica.seq() < head.last_seq)
                {
                    self.catch_up(RepairCause::Head).await;
                }
            }
            RaidUpdate::Lost => self.catch_up(RepairCause::Lost).await,
        }
    }

    async fn handle_cluster_message(&mut self, envelope: Envelope, carried: &mut CarriedState) {
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
                let is_complete = self
                    .replica
                    .as_mut()
                    .is_none_or(|replica| replica.apply_events(&self.audience, events));
                if !is_complete {
                    self.catch_up(RepairCause::Gap).await;
                }
            }
            ClusterMessage::Owned => {
                self.observe_owner(from, epoch);
                if self
                    .replica
                    .as_ref()
                    .is_some_and(|replica| replica.seq() < seq)
                {
                    self.catch_up(RepairCause::Gap).await;
                }
            }
            ClusterMessage::Released if epoch >= self.epoch => {
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
        let idle = (!self.is_needed()).then_some(idle);
        let report =
            (self.owner.is_some() && self.audience.is_watched()).then_some(self.next_report_at);
        let catch_up = self.replica.as_ref().and_then(Replica::catch_up_at);
        let awaited = self.awaited_event.map(|(_, at)| at);
        let offer = self.handover_guard.as_ref().map(|_| self.next_offer_at);
        let timers = [
            idle,
            report,
            catch_up,
            awaited,
            offer,
            self.resolve_at,
            self.forwards.next_timer(),
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
        if self.resolve_at.take_if(|at| *at <= now).is_some() {
            self.resolve_owner().await;
            self.serve_watchers(carried).await;
        }
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
            self.catch_up(RepairCause::Ack).await;
        }
        if self
            .replica
            .as_ref()
            .and_then(Replica::catch_up_at)
            .is_some_and(|at| at <= now)
        {
            self.catch_up(RepairCause::Retry).await;
        }
    }

    /// Loads a replica if there are watchers and none yet; a failure is retried.
    async fn serve_watchers(&mut self, carried: &mut CarriedState) {
        if self.replica.is_some() || !self.audience.is_watched() {
            return;
        }
        match self.ensure_replica().await {
            Ok(()) => self.await_owner_presence(carried).await,
            Err(_) => self.resolve_at = Some(Instant::now() + RESOLVE_RETRY_DELAY),
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
