//! Who owns the raid, as an edge learns it: from the bus, from the store, from the end of a lease.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::{Follower, RESOLVE_RETRY_DELAY};
use crate::cluster::message::ClusterMessage;
use crate::raid::Refusal;
use crate::store::{Epoch, InstanceId, RaidHead};
use crate::telemetry::TakeoverCause;

/// How long the store may take to say who owns a raid.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long an instance that was named the heir has to take the raid, before one is named again.
const OFFER_INTERVAL: Duration = Duration::from_millis(250);

impl Follower {
    /// We wanted to own the raid, and did not come to: goes on under its owner, if there is one.
    pub(in super::super) fn resume_under(&mut self, owner: Option<InstanceId>, epoch: Epoch) {
        self.epoch = self.epoch.max(epoch);
        (self.owner, self.is_claim_requested) = (owner, false);
        if owner.is_some() {
            self.handover_guard = None;
            self.report_to_new_owner();
        }
    }

    /// Why the raid should be claimed now: it has no owner that lives, and is needed here.
    pub(super) fn claim_cause(&self) -> Option<TakeoverCause> {
        (self.is_claimable()
            && (self.is_needed() || self.is_claim_requested)
            && self.resolve_at.is_none())
        .then_some(self.vacancy_cause)
    }

    /// Whether nobody owns the raid, and we may.
    pub(super) fn is_claimable(&self) -> bool {
        self.owner.is_none() && self.sessions.can_claim(self.raid())
    }

    /// Claims the raid in the next turn, whoever needs it.
    pub(super) fn request_claim(&mut self) {
        (self.is_claim_requested, self.resolve_at) = (true, None);
    }

    /// Whether another instance, by what it sends us, takes us for one that can own the raid, and is right: nobody does.
    /// If the sender itself was the owner that we knew, the store is asked.
    pub(super) async fn accept_claim_request(&mut self, from: InstanceId) -> bool {
        if self.owner == Some(from) {
            self.resolve_owner().await;
        }
        let free = self.is_claimable();
        if free {
            self.vacancy_cause = TakeoverCause::HandedOver;
            self.request_claim();
        }
        free
    }

    /// Where commands go: to the owner. An instance that may not claim a raid without one asks another to: by taking
    /// the command, that one finds out that it may.
    pub(super) fn forward_target(&self) -> Option<InstanceId> {
        let heir = || {
            self.sessions
                .cluster
                .membership()
                .successor_for(self.raid())
        };
        self.owner
            .or_else(|| (!self.sessions.can_claim(self.raid())).then(heir).flatten())
    }

    /// Gives the raid up, unless that is done, and names an heir. What fails is tried again.
    pub(in super::super) async fn release_and_offer(&mut self, preferred: Option<InstanceId>) {
        let (registry, about) = (self.sessions.clone(), self.message_header());
        if self.is_release_pending {
            let released = self
                .forwards
                .expire_while(registry.claims.release(about.raid, about.epoch))
                .await;
            if let Err(error) = released {
                warn!(?error, "the raid could not be given up yet");
                self.next_offer_at = Instant::now() + OFFER_INTERVAL;
                return;
            }
            self.is_release_pending = false;
            registry.cluster.broadcast(about, ClusterMessage::Released);
        }
        self.offer_to_successor(preferred);
    }

    /// Names an instance the raid's heir: again and again until one has taken it, for whom we know may be gone by now, and
    /// who was online must not be forgotten with us.
    fn offer_to_successor(&mut self, preferred: Option<InstanceId>) {
        let link = &self.sessions.cluster;
        match preferred.or_else(|| link.membership().successor_for(self.raid())) {
            Some(heir) => {
                debug!(heir = %heir.0, "the raid is handed over");
                link.send(
                    heir,
                    self.message_header(),
                    ClusterMessage::Handover(self.last_known_online.clone()),
                );
            }
            None => self.handover_guard = None,
        }
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

    /// There is no owner any more, for this cause.
    pub(super) fn clear_owner(&mut self, cause: TakeoverCause) {
        self.owner = None;
        self.vacancy_cause = cause;
        self.forwards.requeue_inflight();
    }

    /// Somebody speaks as the owner under an epoch. Only a newer one changes anything.
    pub(super) fn observe_owner(&mut self, from: InstanceId, epoch: Epoch) {
        if epoch < self.epoch || (epoch == self.epoch && self.owner.is_some()) {
            return;
        }
        let changed = self.owner != Some(from);
        (self.owner, self.epoch, self.resolve_at) = (Some(from), epoch, None);
        (self.is_claim_requested, self.handover_guard) = (false, None);
        self.audience
            .set_signal_relay(Some((self.sessions.cluster.clone(), epoch)));
        if changed {
            self.forwards.requeue_inflight();
        }
        self.report_to_new_owner();
    }

    /// The store's word on who owns the raid.
    pub(super) fn observe_head(&mut self, head: RaidHead) {
        let link = &self.sessions.cluster;
        if head.epoch < self.epoch {
            return;
        }
        match head.owner {
            Some(owner) if owner != link.instance() && link.membership().is_live(owner) => {
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

    /// Asks the store who owns the raid.
    pub(super) async fn resolve_owner(&mut self) {
        let (registry, raid) = (self.sessions.clone(), self.raid());
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
