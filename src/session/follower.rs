//! One incarnation of a raid that another instance owns: it forwards, follows and shows.
//!
//! Commands go to the owner over the bus, in order, and wait here while there is none. Whoever watches here sees the
//! raid by a replica: a state folded from the store, moved on by the events that the bus brings, and mended from the
//! store whenever one is missing. An edge decides nothing and numbers nothing, so whatever the bus loses, repeats or
//! reorders, it can be late and never wrong.

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

/// How long a command waits for an owner, all in all.
pub const COMMAND_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long an acknowledgement may be ahead of its event before the store is read.
const ACKED_EVENT_TIMEOUT: Duration = Duration::from_millis(50);

/// A moment that is never waited for: something else comes first.
const FAR_FUTURE: Duration = Duration::from_secs(3_600);

/// How long to wait before a raid whose owner is not known is looked up again.
const RESOLVE_RETRY_DELAY: Duration = Duration::from_millis(100);

pub(super) struct Follower {
    sessions: Registry,
    audience: Arc<Audience>,
    /// Who owns the raid, as far as is known.
    owner: Option<InstanceId>,
    epoch: Epoch,
    snapshot_cache: SnapshotCache,
    replica: Option<Replica>,
    forwards: ForwardQueue,
    /// What the owner last said of who is online: its epoch and its count.
    presence_version: (Epoch, u64),
    /// Who was online under the owner before, for the next one.
    last_known_online: Vec<PlayerId>,
    next_report_at: Instant,
    /// Somebody is about to watch here.
    is_watcher_expected: bool,
    resolve_at: Option<Instant>,
    /// An acknowledged event that has not come yet, and when the store is read for it.
    awaited_event: Option<(Seq, Instant)>,
    /// Why there is no owner, for when we become it.
    vacancy_cause: TakeoverCause,
    /// Another instance wants us to own the raid.
    is_claim_requested: bool,
    /// Counts the raid as ours until another instance has taken over what we hand over.
    handover_guard: Option<OwnedRaidGuard>,
    /// It is still ours in the store.
    is_release_pending: bool,
    /// When it is offered again.
    next_offer_at: Instant,
    /// Somebody has asked something of the raid since this edge began.
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
            has_been_requested: false,
            last_needed_at: now,
        }
    }

    /// The edge that an owner becomes that hands its raid over: it goes on showing what it knows, and follows before
    /// it gives the raid up.
    pub(super) async fn from_former_owner(
        sessions: Registry,
        audience: Arc<Audience>,
        state: State,
        epoch: Epoch,
        online: Vec<PlayerId>,
    ) -> Self {
        let mut edge = Self::new(sessions, audience, None, epoch);
        edge.replica = Some(edge.subscribe_from(state).await);
        edge.last_known_online = online;
        edge.has_been_requested = true;
        edge
    }

    /// The raid is to be given up, and stays on our mind until somebody has it.
    pub(super) fn begin_handover(&mut self, owning: OwnedRaidGuard) {
        (self.handover_guard, self.is_release_pending) = (Some(owning), true);
    }

    pub(super) async fn run(&mut self, carried: &mut CarriedState) -> IncarnationEnd {
        let registry = self.sessions.clone();
        let audience = Arc::clone(&self.audience);
        let (mut peers, raid) = (registry.cluster.membership().watch_changes(), self.raid());
        carried.remote_watchers.clear();
        // Watchers from an earlier incarnation may still be here.
        self.serve_watchers(carried).await;
        // The replica follows in its place.
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
            let (room, next) = (self.forwards.has_capacity(), self.next_timer());
            tokio::select! { biased;
                () = registry.stop.cancelled() => {}
                heard = next_update(&mut self.replica) => self.handle_update(heard, carried).await,
                answers = self.forwards.next_answers() => self.apply_forward_answers(answers),
                _ = peers.changed() => self.check_owner_liveness(),
                () = audience.changed() => {
                    self.last_needed_at = Instant::now();
                    self.report_watchers();
                    self.clear_unwatched_presence(carried);
                }
                message = carried.mailbox.next(), if room => {
                    if let Some(message) = message {
                        self.handle(message, carried).await;
                    }
                }
                // Last, for it only wakes: what is due is done in every turn.
                () = sleep_until(next) => {}
            }
        }
    }

    /// Whether it is subscribed to what the raid's owner says.
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
        let about = self.message_header();
        let now = Instant::now();
        match self.forward_target() {
            Some(to) => {
                // Without an answer it may be somebody else's by now.
                if self.forwards.send(&self.sessions.cluster, to, about) {
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
                let view = self.read(caller, carried).await;
                reply.send(view);
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
                let passed = match self.ensure_replica().await {
                    Ok(()) => {
                        let passed = self.audience.send_signal(sender, from, &kind, data);
                        passed.map_err(|_| Refusal::NotMember.into())
                    }
                    Err(error) => Err(error),
                };
                reply.send(passed);
            }
            // Said to the owner, which we are not, or not any more.
            SessionMessage::WatcherReport { .. } => {}
            SessionMessage::RequestWatcherReport => self.report_watchers(),
            SessionMessage::Handover { from, online } => {
                if self.accept_claim_request(from).await {
                    carried
                        .mailbox
                        .put_back([SessionMessage::Handover { from, online }].into_iter());
                } else {
                    // Another was quicker: that one is told who was online.
                    self.record_last_known_online(online);
                }
            }
            SessionMessage::QueryStatus { reply } => reply.send(Err(Error::NotOwner)),
            // It claims nothing any more, which is looked at in every turn.
            SessionMessage::MarkFollowOnly => {}
        }
    }

    async fn read(
        &mut self,
        caller: Caller,
        carried: &mut CarriedState,
    ) -> Result<RaidSnapshot, Error> {
        self.ensure_replica().await?;
        let sight = self.query_owner_status().await;
        if sight
            .as_ref()
            .is_none_or(|sight| Some(sight.seq) > self.replica.as_ref().map(Replica::seq))
        {
            self.try_catch_up(RepairCause::Read).await?;
        }
        let replica = self.replica.as_ref().ok_or(Error::Unavailable)?;
        if !caller.can_see(replica.state()) {
            return Err(Refusal::NotFound.into());
        }
        let (state, seq) = (
            self.snapshot_cache.shared_state(replica.state()),
            replica.seq(),
        );
        let announced = || carried.presence.announced().iter().copied().collect();
        let online = sight.map_or_else(announced, |sight| sight.online);
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

    /// How far the owner is, and who is online. What is due happens in the turn in which it is asked.
    async fn query_owner_status(&mut self) -> Option<OwnerStatus> {
        let (owner, raid, link) = (self.owner?, self.raid(), self.sessions.cluster.clone());
        self.forwards
            .expire_while(link.query_owner_status(owner, raid))
            .await
    }

    async fn handle_watch(&mut self, watch: WatchRequest, joins: bool, carried: &mut CarriedState) {
        if let Err(error) = self.prepare_watch(&watch).await {
            return watch.reply.send(Err(error));
        }
        if joins && !self.audience.is_watched() {
            self.await_owner_presence(carried).await;
            if self.is_claimable() {
                // Whoever owns it next knows who is online; we don't.
                self.request_claim();
                return carried
                    .mailbox
                    .put_back([SessionMessage::Watch(watch)].into_iter());
            }
        }
        let Some(replica) = &self.replica else { return };
        match self.snapshot_cache.watch_start(replica.state(), &watch) {
            Ok(basis) => {
                self.snapshot_cache.answer_watch(
                    ReadyWatch {
                        watch,
                        start: basis,
                        is_joining: joins,
                    },
                    carried.presence.announced(),
                );
            }
            Err(error) => watch.reply.send(Err(error)),
        }
        // It was refused after all, or its connection is gone.
        if joins && !self.audience.is_watched() {
            self.report_watchers();
        }
    }

    /// Makes sure that a watch can be answered, and that whoever may not see the raid is nobody who joined, and nobody
    /// who saw more, at another instance a moment ago.
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

    async fn handle_update(&mut self, heard: RaidUpdate, carried: &mut CarriedState) {
        match heard {
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
            message: note,
            ..
        } = envelope;
        match note {
            ClusterMessage::Events(events) => {
                self.observe_owner(from, epoch);
                let whole = self
                    .replica
                    .as_mut()
                    .is_none_or(|replica| replica.apply_events(&self.audience, events));
                if !whole {
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
        // An owner that cannot reach a store that we reach is about to lose the raid.
        let again = self.sessions.lease.is_valid();
        let taken = self.forwards.apply_answers(answers, again);
        if let (Some(acknowledged), Some(seq)) = (taken.acknowledged_seq, seq)
            && seq < acknowledged
        {
            let at = Instant::now() + ACKED_EVENT_TIMEOUT;
            let before = self
                .awaited_event
                .map_or((acknowledged, at), |(seq, at)| (seq.max(acknowledged), at));
            self.awaited_event = Some(before);
        }
        if taken.has_retries {
            self.resolve_at = Some(Instant::now() + RESOLVE_RETRY_DELAY);
        }
    }

    fn next_timer(&self) -> Instant {
        let idle = self.last_needed_at + self.sessions.options.idle_timeout;
        let idle = (!self.is_needed()).then_some(idle);
        let announces =
            (self.owner.is_some() && self.audience.is_watched()).then_some(self.next_report_at);
        let mend = self.replica.as_ref().and_then(Replica::catch_up_at);
        let awaited = self.awaited_event.map(|(_, at)| at);
        let offer = self.handover_guard.as_ref().map(|_| self.next_offer_at);
        let all = [
            idle,
            announces,
            mend,
            awaited,
            offer,
            self.resolve_at,
            self.forwards.next_timer(),
        ];
        all.into_iter()
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

    /// Whoever watches is shown the raid; if it cannot be loaded now, that is tried again.
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

/// What is heard of the raid; for ever nothing while it is not followed.
async fn next_update(replica: &mut Option<Replica>) -> RaidUpdate {
    match replica {
        Some(replica) => replica.next_update().await,
        None => std::future::pending().await,
    }
}
