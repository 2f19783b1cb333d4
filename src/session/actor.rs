//! The task of one raid: it makes the raid live here, as its owner or as an edge of another instance's, and makes it
//! live again after any doubt.
//!
//! Crash-only: a failed commit, a lost raid or a panic ends the incarnation, everything that depended on it is
//! answered `unavailable`, and the next incarnation starts from the store under a new claim. The inbox and who is
//! online outlive it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use raidhall_protocol::{RaidId, Seq};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, error, info, warn};

use super::follower::Follower;
use super::load::{self, LoadError};
use super::mailbox::Mailbox;
use super::message::SessionMessage;
use super::op_cache::OpCache;
use super::owner::{IncarnationEnd, Owner, OwnerStart};
use super::presence::Presence;
use super::remote_watchers::RemoteWatchers;
use super::{OwnedRaidGuard, Registry};
use crate::cluster::client::RaidSubscription;
use crate::error::Error;
use crate::fanout::audience::Audience;
use crate::raid::{Refusal, State};
use crate::store::{ClaimOutcome, Epoch, InstanceId, Month};
use crate::telemetry::{GaugeGuard, Label, ReloadCause, TakeoverCause, metrics};

/// The longest pause between two tries to load a raid that somebody watches.
const RELOAD_PAUSE_MAX: Duration = Duration::from_secs(1);
const RELOAD_PAUSE_MIN: Duration = Duration::from_millis(20);

/// Where a session's raid comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It does not exist yet: the first command makes it, under epoch 1.
    New,
    /// It is in the store, if it is anywhere, and somebody asks for it who may have no business with it.
    Unverified,
    /// It is in the store.
    Stored,
}

pub(super) struct Actor {
    sessions: Registry,
    raid: RaidId,
    audience: Arc<Audience>,
    origin: Origin,
    carried: CarriedState,
    /// The edge that ended only to claim the raid: if another was quicker, it goes on.
    former_follower: Option<Follower>,
    /// Why the raid is claimed.
    claim_cause: TakeoverCause,
    /// A claim that has not been served yet, and the lease's term under which it was made.
    unserved_claim: Option<(Epoch, u64)>,
}

/// What outlives an incarnation.
pub(super) struct CarriedState {
    pub(super) mailbox: Mailbox,
    pub(super) presence: Presence,
    pub(super) remote_watchers: RemoteWatchers,
    /// What other instances say to whoever watches here, while we own the raid and somebody watches there.
    pub(super) subscription: Option<RaidSubscription>,
}

/// What the raid is here.
enum Incarnation {
    Owner(Box<Owner>, OwnedRaidGuard),
    Follower(Box<Follower>),
}

/// What came of asking whose the raid is.
enum ResolvedOwnership {
    Incarnation(Incarnation),
    /// It is ours, and has to be loaded.
    Claimed(Epoch, u64),
}

/// Why a raid could not be made live.
enum ActivationError {
    /// There is no such raid.
    Missing,
    /// Not now.
    Unavailable,
}

impl Actor {
    pub(super) fn new(
        sessions: Registry,
        raid: RaidId,
        audience: Arc<Audience>,
        inbox: mpsc::Receiver<SessionMessage>,
        origin: Origin,
    ) -> Self {
        let (presence, remotes) = (Presence::default(), RemoteWatchers::default());
        let carried = CarriedState {
            mailbox: Mailbox::new(inbox),
            presence,
            remote_watchers: remotes,
            subscription: None,
        };
        Self {
            sessions,
            raid,
            audience,
            origin,
            carried,
            former_follower: None,
            claim_cause: TakeoverCause::Needed,
            unserved_claim: None,
        }
    }

    pub(super) async fn run(mut self) {
        let _gauge = GaugeGuard::increment(&metrics().sessions);
        let (mut pause, mut falls) = (RELOAD_PAUSE_MIN, 0);
        if self.origin == Origin::Unverified {
            if !self.authorize_first_access().await {
                return;
            }
            self.origin = Origin::Stored;
        }
        loop {
            let began = Instant::now();
            let end = AssertUnwindSafe(self.run_incarnation())
                .catch_unwind()
                .await
                .unwrap_or_else(|_| {
                    error!("a session panicked; its raid reloads");
                    Ok(IncarnationEnd::Reload(ReloadCause::Panic))
                });
            self.origin = Origin::Stored;
            if began.elapsed() >= RELOAD_PAUSE_MAX {
                (pause, falls) = (RELOAD_PAUSE_MIN, 0);
            }
            let error = match end {
                Ok(IncarnationEnd::Idle) => return,
                Ok(IncarnationEnd::Stopped) => break,
                Ok(IncarnationEnd::Handover) => {
                    if self.former_follower.is_none()
                        && self
                            .sessions
                            .remove_if_idle(self.raid, &self.carried.mailbox)
                    {
                        return;
                    }
                    continue;
                }
                Ok(IncarnationEnd::Claim(cause)) => {
                    self.claim_cause = cause;
                    // Claims that lead nowhere must not follow one another without a breath.
                    if began.elapsed() < RELOAD_PAUSE_MIN {
                        sleep(RELOAD_PAUSE_MIN).await;
                    }
                    continue;
                }
                Ok(IncarnationEnd::Reload(cause)) => {
                    metrics().session_reloads.increment(cause);
                    warn!(cause = cause.as_str(), "the raid reloads from the store");
                    self.former_follower = None;
                    self.claim_cause = TakeoverCause::Reload;
                    falls += 1;
                    if falls == 1 {
                        // The next incarnation serves those who wait.
                        continue;
                    }
                    Error::Unavailable
                }
                Err(ActivationError::Missing) => Error::Refused(Refusal::NotFound),
                Err(ActivationError::Unavailable) => Error::Unavailable,
            };
            // It does not get up, or falls again at once: whoever waits is told, and the store is spared.
            self.carried.mailbox.fail_all(&error);
            let needed = !self.carried.remote_watchers.is_empty();
            if !needed
                && self
                    .sessions
                    .remove_if_idle(self.raid, &self.carried.mailbox)
            {
                return;
            }
            let stop = &self.sessions.stop;
            tokio::select! { biased; () = stop.cancelled() => break, () = sleep(pause) => {} }
            pause = (pause * 2).min(RELOAD_PAUSE_MAX);
        }
        self.carried.mailbox.close();
        self.carried.mailbox.fail_all(&Error::Unavailable);
    }

    /// Turns away who was never a member, before anything is claimed or loaded: else whoever counts through the ids would
    /// make every raid live, at the expense of those who play. False if nobody else asks.
    async fn authorize_first_access(&mut self) -> bool {
        loop {
            while let Some(message) = self.carried.mailbox.try_next() {
                let knows = match message.requesting_player() {
                    Some(player) => self.sessions.has_ever_joined(self.raid, player).await,
                    None => true,
                };
                if knows {
                    self.carried.mailbox.put_back([message].into_iter());
                    return true;
                }
                message.fail(Error::Refused(Refusal::NotFound));
            }
            if self
                .sessions
                .remove_if_idle(self.raid, &self.carried.mailbox)
            {
                return false;
            }
        }
    }

    async fn run_incarnation(&mut self) -> Result<IncarnationEnd, ActivationError> {
        let deadline = Instant::now() + self.sessions.options.load_timeout;
        let (stop, mut pause) = (self.sessions.stop.clone(), RELOAD_PAUSE_MIN);
        let role = loop {
            let found = tokio::select! { biased;
                () = stop.cancelled() => return Ok(IncarnationEnd::Stopped),
                found = timeout_at(deadline, self.resolve_ownership()) => found.unwrap_or(Err(ActivationError::Unavailable)),
            };
            let role = match found {
                Ok(ResolvedOwnership::Incarnation(role)) => Ok(role),
                // Loading has a patience of its own: after a node's death many wait for their turn.
                Ok(ResolvedOwnership::Claimed(epoch, term)) => tokio::select! { biased;
                    () = stop.cancelled() => return Ok(IncarnationEnd::Stopped),
                    taken = self.load_claimed(epoch, term) => taken,
                },
                Err(failure) => Err(failure),
            };
            match role {
                Ok(role) => break role,
                Err(ActivationError::Missing) => return Err(ActivationError::Missing),
                Err(ActivationError::Unavailable) if Instant::now() + pause < deadline => {
                    sleep(pause).await
                }
                Err(ActivationError::Unavailable) => return Err(ActivationError::Unavailable),
            }
            pause = (pause * 2).min(RELOAD_PAUSE_MAX);
        };
        self.unserved_claim = None;
        match role {
            Incarnation::Owner(mut live, owning) => {
                if self.origin == Origin::Stored {
                    live.start_ownership(&mut self.carried, self.former_follower.take())
                        .await;
                }
                let end = live.run(&mut self.carried).await;
                if matches!(end, IncarnationEnd::Handover) {
                    self.hand_over(*live, owning).await;
                }
                Ok(end)
            }
            Incarnation::Follower(mut edge) => {
                let end = edge.run(&mut self.carried).await;
                if matches!(end, IncarnationEnd::Claim(_)) {
                    self.former_follower = Some(*edge);
                }
                Ok(end)
            }
        }
    }

    /// Gives the raid to another instance: to one that has watchers, or else to any that can take it, if it is needed
    /// at all. Whoever is connected here is served as by an edge from now on.
    async fn hand_over(&mut self, live: Owner, owning: OwnedRaidGuard) {
        let registry = self.sessions.clone();
        let (epoch, raid) = (live.epoch(), self.raid);
        let state = live.into_state();
        let online: Vec<_> = self.carried.presence.online().iter().copied().collect();
        let needed = self.audience.is_watched()
            || !self.carried.remote_watchers.is_empty()
            || !self.carried.mailbox.is_empty();
        if !needed && online.is_empty() {
            if let Err(error) = registry.claims.release(raid, epoch).await {
                warn!(?error, "the raid could not be given up yet");
                registry.awaiting_release.lock().push((raid, epoch));
            }
            return;
        }
        let (sessions, audience) = (self.sessions.clone(), Arc::clone(&self.audience));
        // Followed before it is given up, so that nothing falls between the two.
        let mut edge = Follower::from_former_owner(sessions, audience, state, epoch, online).await;
        edge.begin_handover(owning);
        let peers = registry.cluster.membership();
        let watching = self
            .carried
            .remote_watchers
            .instances()
            .find(|id| peers.is_successor_candidate(*id));
        edge.release_and_offer(watching).await;
        self.former_follower = Some(edge);
    }

    /// Finds out whose the raid is: ours, by a claim, or another's.
    async fn resolve_ownership(&mut self) -> Result<ResolvedOwnership, ActivationError> {
        let registry = self.sessions.clone();
        if self.origin == Origin::New {
            let (epoch, born) = (Epoch(1), Month::from_unix_millis(registry.clock.now()));
            let (state, term) = (State::new(self.raid), registry.lease.term());
            let ops = OpCache::new(registry.options.op_keys_max, Vec::new(), true);
            return Ok(ResolvedOwnership::Incarnation(self.owner_incarnation(
                OwnerStart {
                    epoch,
                    lease_term: term,
                    created_month: born,
                    state,
                    ops,
                    events_since_snapshot: 0,
                },
            )));
        }
        if !self.sessions.can_claim(self.raid) {
            return self
                .follow_without_claim()
                .await
                .map(ResolvedOwnership::Incarnation);
        }
        if !registry.lease.is_valid() {
            debug!("the lease has run out; the raid waits for its renewal");
            return Err(ActivationError::Unavailable);
        }
        if let Some((epoch, term)) = self
            .unserved_claim
            .filter(|(_, term)| registry.lease.is_valid_in_term(*term))
        {
            return Ok(ResolvedOwnership::Claimed(epoch, term));
        }
        let term = registry.lease.term();
        match registry
            .claims
            .claim(self.raid)
            .await
            .map_err(|_| ActivationError::Unavailable)?
        {
            ClaimOutcome::Acquired(epoch) => {
                self.unserved_claim = Some((epoch, term));
                Ok(ResolvedOwnership::Claimed(epoch, term))
            }
            ClaimOutcome::Missing => Err(ActivationError::Missing),
            ClaimOutcome::Contested => Err(ActivationError::Unavailable),
            ClaimOutcome::Held { ws_url, .. } if registry.cluster.is_standalone() => {
                debug!(ws_url, "another instance owns the raid");
                Err(ActivationError::Unavailable)
            }
            ClaimOutcome::Held { owner, ws_url } => {
                registry.cluster.membership().insert_owner(owner, &ws_url);
                Ok(ResolvedOwnership::Incarnation(
                    self.follower_incarnation(Some(owner), Epoch(0)),
                ))
            }
        }
    }

    fn owner_incarnation(&self, start: OwnerStart) -> Incarnation {
        let live = Owner::new(self.sessions.clone(), Arc::clone(&self.audience), start);
        Incarnation::Owner(
            Box::new(live),
            OwnedRaidGuard::new(&self.sessions.owned_count),
        )
    }

    fn follower_incarnation(&mut self, owner: Option<InstanceId>, epoch: Epoch) -> Incarnation {
        let (sessions, audience) = (self.sessions.clone(), Arc::clone(&self.audience));
        let edge = match self.former_follower.take() {
            Some(mut edge) => {
                edge.resume_under(owner, epoch);
                edge
            }
            None => Follower::new(sessions, audience, owner, epoch),
        };
        Incarnation::Follower(Box::new(edge))
    }

    /// Follows whoever owns the raid, or nobody yet: we may not own it ourselves. If it is ours all the same, it is given
    /// up, so that somebody else can.
    async fn follow_without_claim(&mut self) -> Result<Incarnation, ActivationError> {
        let registry = self.sessions.clone();
        let head = registry
            .store
            .head(self.raid)
            .await
            .map_err(|_| ActivationError::Unavailable)?;
        let head = head.ok_or(ActivationError::Missing)?;
        if head.owner == Some(registry.cluster.instance()) {
            registry
                .claims
                .release(self.raid, head.epoch)
                .await
                .map_err(|_| ActivationError::Unavailable)?;
        }
        let owner = head
            .owner
            .filter(|owner| registry.cluster.membership().is_live(*owner));
        Ok(self.follower_incarnation(owner, head.epoch))
    }

    /// Loads a raid that is ours under `epoch`.
    async fn load_claimed(
        &mut self,
        epoch: Epoch,
        term: u64,
    ) -> Result<Incarnation, ActivationError> {
        let registry = self.sessions.clone();
        let op_keys = registry.options.op_keys_max as u64;
        let loading = registry.load(self.raid, op_keys);
        let folded = match self
            .carried
            .mailbox
            .expire_while(registry.options.mailbox_messages_max, loading)
            .await
        {
            Ok(folded) => folded.ok_or(ActivationError::Missing)?,
            Err(error) => {
                warn!(?error, "the raid could not be loaded");
                if matches!(error, LoadError::NewerVersion { .. }) {
                    // A newer release can serve it: it must not wait for our lease.
                    self.sessions.mark_follow_only(self.raid);
                    self.unserved_claim = None;
                    let _ = registry.claims.release(self.raid, epoch).await;
                }
                return Err(ActivationError::Unavailable);
            }
        };
        let load::FoldedRaid { state, loaded } = folded;
        if (loaded.head.epoch, loaded.head.owner) != (epoch, Some(registry.cluster.instance())) {
            self.unserved_claim = None;
            return Err(ActivationError::Unavailable);
        }
        if !registry.cluster.is_standalone() {
            metrics().takeovers.increment(self.claim_cause);
            info!(
                cause = self.claim_cause.as_str(),
                epoch = epoch.0,
                seq = state.seq().0,
                "the raid is ours"
            );
        }
        let members = state
            .shown()
            .members
            .iter()
            .map(|member| member.player)
            .collect();
        self.audience
            .sync_from_store(state.seq(), members, &loaded.tail);
        let whole = state.seq() <= Seq(op_keys);
        let ops = OpCache::new(registry.options.op_keys_max, loaded.ops, whole);
        let since_snapshot = state
            .seq()
            .since(loaded.snapshot.map_or(Seq::ZERO, |(seq, _)| seq));
        Ok(self.owner_incarnation(OwnerStart {
            epoch,
            lease_term: term,
            created_month: loaded.created_month,
            state,
            ops,
            events_since_snapshot: since_snapshot,
        }))
    }
}
