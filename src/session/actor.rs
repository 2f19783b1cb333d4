//! The actor of one raid: it runs the raid's incarnations, as owner or as follower, one after
//! another.
//!
//! Crash-only: a failed commit, a lost raid or a panic ends the incarnation, everything that
//! depended on it is answered `unavailable`, and the next incarnation starts from the store under a
//! new claim. The mailbox and presence outlive it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use raidhall_protocol::{RaidId, Seq};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, error, info, warn};

use super::follower::Follower;
use super::load::{self, LoadError};
use super::mailbox::Mailbox;
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

/// Longest pause between two attempts to load a raid.
const RELOAD_PAUSE_MAX: Duration = Duration::from_secs(1);
const RELOAD_PAUSE_MIN: Duration = Duration::from_millis(20);

/// What is known of a raid's existence when its session starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The raid does not exist yet: the first command creates it, under epoch 1.
    New,
    /// The raid exists in the store, unless a backend or an operator asked for one that does not.
    Stored,
}

pub(super) struct Actor {
    sessions: Registry,
    raid: RaidId,
    audience: Arc<Audience>,
    origin: Origin,
    carried: CarriedState,
    /// A follower that ended to claim the raid, or that is left after a handover. It continues if
    /// another instance becomes the owner.
    former_follower: Option<Follower>,
    /// Cause of the next claim, for the metric.
    claim_cause: TakeoverCause,
    /// A claim that no incarnation has used yet, and the lease's term under which it was made.
    unserved_claim: Option<(Epoch, u64)>,
}

/// State that outlives an incarnation.
pub(super) struct CarriedState {
    pub(super) mailbox: Mailbox,
    pub(super) presence: Presence,
    pub(super) remote_watchers: RemoteWatchers,
    /// Subscription to the raid's channel for signals from other instances, while this instance
    /// owns the raid and another one has watchers.
    pub(super) subscription: Option<RaidSubscription>,
}

/// The role of this instance for the raid.
enum Incarnation {
    Owner(Box<Owner>, OwnedRaidGuard),
    Follower(Box<Follower>),
}

/// Result of finding the raid's owner.
enum ResolvedOwnership {
    Incarnation(Incarnation),
    /// This instance owns the raid under this epoch and lease term, and must load it.
    Claimed(Epoch, u64),
}

/// Reason why an incarnation could not start.
enum ActivationError {
    /// The raid does not exist.
    Missing,
    /// A temporary failure: the store, the lease or another instance's claim.
    Unavailable,
    /// The store lacks events of the raid that were committed.
    HistoryLost,
}

impl Actor {
    pub(super) fn new(
        sessions: Registry,
        raid: RaidId,
        audience: Arc<Audience>,
        mailbox: Mailbox,
        origin: Origin,
    ) -> Self {
        let carried = CarriedState {
            mailbox,
            presence: Presence::default(),
            remote_watchers: RemoteWatchers::default(),
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
        let mut pause = RELOAD_PAUSE_MIN;
        let mut reloads = 0;
        loop {
            let began = Instant::now();
            let end = AssertUnwindSafe(self.run_incarnation())
                .catch_unwind()
                .await
                .unwrap_or_else(|_| {
                    error!("session panicked; reloading the raid");
                    Ok(IncarnationEnd::Reload(ReloadCause::Panic))
                });
            self.origin = Origin::Stored;
            if began.elapsed() >= RELOAD_PAUSE_MAX {
                pause = RELOAD_PAUSE_MIN;
                reloads = 0;
            }
            let is_history_lost = matches!(end, Err(ActivationError::HistoryLost));
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
                    // Claims that fail at once must not follow one another without a pause.
                    if began.elapsed() < RELOAD_PAUSE_MIN {
                        sleep(RELOAD_PAUSE_MIN).await;
                    }
                    continue;
                }
                Ok(IncarnationEnd::Reload(cause)) => {
                    metrics().session_reloads.increment(cause);
                    warn!(cause = cause.as_str(), "reloading the raid from the store");
                    self.former_follower = None;
                    self.claim_cause = TakeoverCause::Reload;
                    reloads += 1;
                    if reloads == 1 {
                        // The next incarnation serves the waiting requests.
                        continue;
                    }
                    Error::Unavailable
                }
                Err(ActivationError::Missing) => Error::Refused(Refusal::NotFound),
                Err(ActivationError::Unavailable | ActivationError::HistoryLost) => {
                    Error::Unavailable
                }
            };
            // The raid cannot start, or has reloaded again at once: answer the waiting requests,
            // and pause to spare the store. A session that knows of lost events stays, because a new
            // session would not know of them.
            if is_history_lost {
                pause = RELOAD_PAUSE_MAX;
            }
            self.carried.mailbox.fail_all(&error);
            let watched_elsewhere = !self.carried.remote_watchers.is_empty();
            if !watched_elsewhere
                && !is_history_lost
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

    async fn run_incarnation(&mut self) -> Result<IncarnationEnd, ActivationError> {
        let deadline = Instant::now() + self.sessions.options.load_timeout;
        let stop = self.sessions.stop.clone();
        let mut pause = RELOAD_PAUSE_MIN;
        let role = loop {
            let resolved = tokio::select! { biased;
                () = stop.cancelled() => return Ok(IncarnationEnd::Stopped),
                resolved = timeout_at(deadline, self.resolve_ownership()) => resolved.unwrap_or(Err(ActivationError::Unavailable)),
            };
            let role = match resolved {
                Ok(ResolvedOwnership::Incarnation(role)) => Ok(role),
                // Loading has a timeout of its own: after an instance's death many raids wait for a
                // load permit.
                Ok(ResolvedOwnership::Claimed(epoch, term)) => tokio::select! { biased;
                    () = stop.cancelled() => return Ok(IncarnationEnd::Stopped),
                    loaded_role = self.load_claimed(epoch, term) => loaded_role,
                },
                Err(failure) => Err(failure),
            };
            match role {
                Ok(role) => break role,
                Err(ActivationError::Unavailable) if Instant::now() + pause < deadline => {
                    sleep(pause).await
                }
                Err(failure) => return Err(failure),
            }
            pause = (pause * 2).min(RELOAD_PAUSE_MAX);
        };
        self.unserved_claim = None;
        match role {
            Incarnation::Owner(mut owner, owning) => {
                if self.origin == Origin::Stored {
                    owner
                        .start_ownership(&mut self.carried, self.former_follower.take())
                        .await;
                }
                let end = owner.run(&mut self.carried).await;
                if matches!(end, IncarnationEnd::Handover) {
                    self.hand_over(*owner, owning).await;
                }
                Ok(end)
            }
            Incarnation::Follower(mut follower) => {
                let end = follower.run(&mut self.carried).await;
                if matches!(end, IncarnationEnd::Claim(_)) {
                    self.former_follower = Some(*follower);
                }
                Ok(end)
            }
        }
    }

    /// Hands the raid over to another instance: to one that has watchers, or else to any successor
    /// candidate. A raid that is not needed anywhere is only released. A follower serves the
    /// clients that are connected here from now on.
    async fn hand_over(&mut self, owner: Owner, owning: OwnedRaidGuard) {
        let registry = self.sessions.clone();
        let epoch = owner.epoch();
        let raid = self.raid;
        let state = owner.into_state();
        let online: Vec<_> = self.carried.presence.online().iter().copied().collect();
        let needed = self.audience.is_watched()
            || !self.carried.remote_watchers.is_empty()
            || !self.carried.mailbox.is_empty();
        if !needed && online.is_empty() {
            if let Err(error) = registry.claims.release(raid, epoch).await {
                warn!(
                    ?error,
                    "releasing the raid failed; retrying at the next scan"
                );
                registry.awaiting_release.lock().push((raid, epoch));
            }
            return;
        }
        // The follower subscribes before the raid is released, so that no message is missed in
        // between.
        let mut follower = Follower::from_former_owner(
            registry.clone(),
            Arc::clone(&self.audience),
            state,
            epoch,
            online,
        )
        .await;
        follower.begin_handover(owning);
        let peers = registry.cluster.membership();
        let preferred = self
            .carried
            .remote_watchers
            .instances()
            .find(|id| peers.is_successor_candidate(*id));
        follower.release_and_offer(preferred).await;
        self.former_follower = Some(follower);
    }

    /// Finds the raid's owner: this instance, by a claim, or another one.
    async fn resolve_ownership(&mut self) -> Result<ResolvedOwnership, ActivationError> {
        let registry = self.sessions.clone();
        if self.origin == Origin::New {
            let ops = OpCache::new(registry.options.op_keys_max, Vec::new(), true);
            return Ok(ResolvedOwnership::Incarnation(self.owner_incarnation(
                OwnerStart {
                    epoch: Epoch(1),
                    lease_term: registry.lease.term(),
                    created_month: Month::from_unix_millis(registry.clock.now()),
                    state: State::new(self.raid),
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
            debug!("lease has run out; the raid waits for its renewal");
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
            ClaimOutcome::Missing => Err(self.missing()),
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
        let owner = Owner::new(self.sessions.clone(), Arc::clone(&self.audience), start);
        Incarnation::Owner(
            Box::new(owner),
            OwnedRaidGuard::new(&self.sessions.owned_count),
        )
    }

    fn follower_incarnation(&mut self, owner: Option<InstanceId>, epoch: Epoch) -> Incarnation {
        let follower = match self.former_follower.take() {
            Some(mut follower) => {
                follower.resume_under(owner, epoch);
                follower
            }
            None => Follower::new(
                self.sessions.clone(),
                Arc::clone(&self.audience),
                owner,
                epoch,
            ),
        };
        Incarnation::Follower(Box::new(follower))
    }

    /// Follows the raid, because this instance must not own it. If it owns the raid all the same,
    /// it releases it first, so that another instance can claim it.
    async fn follow_without_claim(&mut self) -> Result<Incarnation, ActivationError> {
        let registry = self.sessions.clone();
        let head = registry
            .store
            .head(self.raid)
            .await
            .map_err(|_| ActivationError::Unavailable)?;
        let head = head.ok_or_else(|| self.missing())?;
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

    /// Returns why a raid that the store does not have cannot start.
    fn missing(&self) -> ActivationError {
        match load::check_history(self.raid, Seq::ZERO, self.audience.newest_known_seq()) {
            Ok(()) => ActivationError::Missing,
            Err(_) => ActivationError::HistoryLost,
        }
    }

    /// Loads a raid that this instance owns under `epoch`, and starts an owner.
    async fn load_claimed(
        &mut self,
        epoch: Epoch,
        term: u64,
    ) -> Result<Incarnation, ActivationError> {
        let registry = self.sessions.clone();
        let op_keys = registry.options.op_keys_max as u64;
        let loading = registry.load(&self.audience, op_keys);
        let folded = match self
            .carried
            .mailbox
            .expire_while(registry.options.mailbox_messages_max, loading)
            .await
        {
            Ok(folded) => folded.ok_or(ActivationError::Missing)?,
            Err(error) => {
                if matches!(error, LoadError::HistoryLost { .. }) {
                    return Err(ActivationError::HistoryLost);
                }
                warn!(?error, "loading the raid failed");
                if matches!(error, LoadError::NewerVersion { .. }) {
                    // An instance of a newer release can serve the raid: it must not have to wait
                    // until this lease ends.
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
                "claimed the raid"
            );
        }
        self.audience
            .sync_from_store(state.seq(), &state.shown().members, &loaded.tail);
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
