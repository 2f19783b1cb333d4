//! A follower's knowledge of the raid's owner: from the bus, from the store, and from the end of a
//! lease.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::{Follower, RESOLVE_RETRY_DELAY};
use crate::cluster::message::ClusterMessage;
use crate::raid::Refusal;
use crate::store::{Epoch, InstanceId, RaidHead};
use crate::telemetry::TakeoverCause;

/// How long the store may take to report a raid's owner.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a successor has to claim the raid before it is offered again.
const OFFER_INTERVAL: Duration = Duration::from_millis(250);

impl Follower {
    /// Continues after a claim that did not make this instance the owner.
    pub(in super::super) fn resume_under(&mut self, owner: Option<InstanceId>, epoch: Epoch) {
        self.epoch = self.epoch.max(epoch);
        self.owner = owner;
        self.is_claim_requested = false;
        if owner.is_some() {
            self.handover_guard = None;
            self.report_to_new_owner();
        }
    }

    /// Returns why the raid must be claimed now: it has no live owner, and is needed here or
    /// requested to be claimed.
    pub(super) fn claim_cause(&self) -> Option<TakeoverCause> {
        (self.is_claimable()
            && (self.is_needed() || self.is_claim_requested)
            && self.resolve_at.is_none())
        .then_some(self.vacancy_cause)
    }

    /// Returns whether the raid has no known owner, and this instance may claim it.
    pub(super) fn is_claimable(&self) -> bool {
        self.owner.is_none() && self.sessions.can_claim(self.raid())
    }

    /// Makes the next turn claim the raid, even if it is not needed here.
    pub(super) fn request_claim(&mut self) {
        self.is_claim_requested = true;
        self.resolve_at = None;
    }

    /// Handles a forward or a handover from an instance that expects this one to own the raid.
    /// Returns whether the raid can be claimed, and then requests the claim. If the sender itself
    /// was the known owner, the store is asked first.
    pub(super) async fn accept_claim_request(&mut self, from: InstanceId) -> bool {
        if self.owner == Some(from) {
            self.resolve_owner().await;
        }
        let is_claimable = self.is_claimable();
        if is_claimable {
            self.vacancy_cause = TakeoverCause::HandedOver;
            self.request_claim();
        }
        is_claimable
    }

    /// Returns the instance that commands are forwarded to: the owner. Without one, an instance
    /// that may not claim the raid forwards to a successor, which claims the raid when it receives
    /// the command.
    pub(super) fn forward_target(&self) -> Option<InstanceId> {
        if self.owner.is_some() || self.sessions.can_claim(self.raid()) {
            return self.owner;
        }
        self.sessions
            .cluster
            .membership()
            .successor_for(self.raid(), self.offers)
    }

    /// Releases the raid if that is still pending, and offers it to a successor. A failure is
    /// retried.
    pub(in super::super) async fn release_and_offer(&mut self, preferred: Option<InstanceId>) {
        let registry = self.sessions.clone();
        let header = self.message_header();
        if self.is_release_pending {
            let released = self
                .forwards
                .expire_while(registry.claims.release(header.raid, header.epoch))
                .await;
            if let Err(error) = released {
                warn!(?error, "releasing the raid failed; retrying in 250ms");
                self.next_offer_at = Instant::now() + OFFER_INTERVAL;
                return;
            }
            self.is_release_pending = false;
            registry.cluster.broadcast(header, ClusterMessage::Released);
        }
        self.offer_to_successor(preferred);
    }

    /// Offers the raid to a successor, which also receives the players who were online. Repeated
    /// until an instance has claimed the raid, and each time to the next candidate: the last one may
    /// be gone, cut off from the bus, or not allowed to own the raid.
    fn offer_to_successor(&mut self, preferred: Option<InstanceId>) {
        let cluster = &self.sessions.cluster;
        let candidate = || cluster.membership().successor_for(self.raid(), self.offers);
        match preferred.or_else(candidate) {
            Some(successor) => {
                debug!(successor = %successor.0, "offering the raid to a successor");
                cluster.send(
                    successor,
                    self.message_header(),
                    ClusterMessage::Handover(self.last_known_online.clone()),
                );
            }
            None => self.handover_guard = None,
        }
        self.offers += 1;
        self.next_offer_at = Instant::now() + OFFER_INTERVAL;
    }

    pub(super) fn check_owner_liveness(&mut self) {
        if self
            .owner
            .is_some_and(|owner| !self.sessions.cluster.membership().is_live(owner))
        {
            self.clear_owner(TakeoverCause::Lapsed);
        }
    }

    /// Records that the raid has no owner any more, and why.
    pub(super) fn clear_owner(&mut self, cause: TakeoverCause) {
        self.owner = None;
        self.vacancy_cause = cause;
        self.forwards.requeue_inflight();
    }

    /// Records that `from` is the owner under `epoch`. An older epoch, or one whose owner is known,
    /// changes nothing.
    pub(super) fn observe_owner(&mut self, from: InstanceId, epoch: Epoch) {
        if epoch < self.epoch || (epoch == self.epoch && self.owner.is_some()) {
            return;
        }
        let changed = self.owner != Some(from);
        self.owner = Some(from);
        self.epoch = epoch;
        self.resolve_at = None;
        self.is_claim_requested = false;
        self.handover_guard = None;
        self.audience
            .set_signal_relay(Some((self.sessions.cluster.clone(), epoch)));
        if changed {
            self.forwards.requeue_inflight();
        }
        self.report_to_new_owner();
    }

    /// Applies the raid's head from the store: its owner, if that is live, and its epoch.
    pub(super) fn observe_head(&mut self, head: RaidHead) {
        let cluster = &self.sessions.cluster;
        if head.epoch < self.epoch {
            return;
        }
        match head.owner {
            Some(owner) if owner != cluster.instance() && cluster.membership().is_live(owner) => {
                self.observe_owner(owner, head.epoch);
            }
            owner => {
                self.epoch = head.epoch;
                if self.owner.is_some() {
                    self.clear_owner(if owner.is_some() {
                        TakeoverCause::Lapsed
                    } else {
                        TakeoverCause::Released
                    });
                }
            }
        }
    }

    /// Asks the store for the raid's owner. A failure is retried; if the raid does not exist, all
    /// forwards fail.
    pub(super) async fn resolve_owner(&mut self) {
        let registry = self.sessions.clone();
        let raid = self.raid();
        let head = self
            .forwards
            .expire_while(timeout(RESOLVE_TIMEOUT, registry.store.head(raid)))
            .await;
        match head {
            Ok(Ok(Some(head))) => self.observe_head(head),
            Ok(Ok(None)) => self.forwards.fail_all(&Refusal::NotFound.into()),
            Ok(Err(_)) | Err(_) => self.resolve_at = Some(Instant::now() + RESOLVE_RETRY_DELAY),
        }
    }
}
