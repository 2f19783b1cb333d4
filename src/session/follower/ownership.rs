//! Who owns the raid, as an edge learns it: from the bus, from the store, from the end of a lease.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::{Edge, RESOLVE_PAUSE};
use crate::cluster::message::Note;
use crate::raid::Refusal;
use crate::store::{Epoch, InstanceId, RaidHead};

/// How long the store may take to say who owns a raid.
const RESOLVE_PATIENCE: Duration = Duration::from_secs(1);

/// How long an instance that was named the heir has to take the raid, before one is named again.
const OFFER_EVERY: Duration = Duration::from_millis(250);

impl Edge {
    /// We wanted to own the raid, and did not come to: goes on under its owner, if there is one.
    pub(in super::super) fn go_on_under(&mut self, owner: Option<InstanceId>, epoch: Epoch) {
        self.epoch = self.epoch.max(epoch);
        (self.owner, self.called) = (owner, false);
        if owner.is_some() {
            self.giving = None;
            self.introduce();
        }
    }

    /// Why the raid should be claimed now: it has no owner that lives, and is needed here.
    pub(super) fn vacant(&self) -> Option<&'static str> {
        (self.is_free() && (self.is_needed() || self.called) && self.resolve_at.is_none())
            .then_some(self.vacancy)
    }

    /// Whether nobody owns the raid, and we may.
    pub(super) fn is_free(&self) -> bool {
        self.owner.is_none() && self.sessions.may_claim(self.raid())
    }

    /// Claims the raid in the next turn, whoever needs it.
    pub(super) fn call(&mut self) {
        (self.called, self.resolve_at) = (true, None);
    }

    /// Whether another instance, by what it sends us, takes us for one that can own the raid, and is right: nobody does.
    /// If the sender itself was the owner that we knew, the store is asked.
    pub(super) async fn is_called_by(&mut self, from: InstanceId) -> bool {
        if self.owner == Some(from) {
            self.resolve().await;
        }
        let free = self.is_free();
        if free {
            self.vacancy = "handed_over";
            self.call();
        }
        free
    }

    /// Where commands go: to the owner. An instance that may not claim a raid without one asks another to: by taking
    /// the command, that one finds out that it may.
    pub(super) fn target(&self) -> Option<InstanceId> {
        let heir = || self.sessions.0.link.peers().heir_of(self.raid());
        self.owner
            .or_else(|| (!self.sessions.may_claim(self.raid())).then(heir).flatten())
    }

    /// Gives the raid up, unless that is done, and names an heir. What fails is tried again.
    pub(in super::super) async fn pass_on(&mut self, preferred: Option<InstanceId>) {
        let (hall, about) = (Arc::clone(&self.sessions.0), self.about());
        if self.unreleased {
            let released = self
                .forwards
                .expiring(hall.claims.release(about.raid, about.epoch))
                .await;
            if let Err(error) = released {
                warn!(?error, "the raid could not be given up yet");
                self.offer_at = Instant::now() + OFFER_EVERY;
                return;
            }
            self.unreleased = false;
            hall.link.say(about, Note::Released);
        }
        self.offer(preferred);
    }

    /// Names an instance the raid's heir: again and again until one has taken it, for whom we know may be gone by now, and
    /// who was online must not be forgotten with us.
    fn offer(&mut self, preferred: Option<InstanceId>) {
        let link = &self.sessions.0.link;
        match preferred.or_else(|| link.peers().heir_of(self.raid())) {
            Some(heir) => {
                debug!(heir = %heir.0, "the raid is handed over");
                link.tell(heir, self.about(), Note::Take(self.memories.clone()));
            }
            None => self.giving = None,
        }
        self.offer_at = Instant::now() + OFFER_EVERY;
    }

    pub(super) fn owner_may_be_gone(&mut self) {
        if self
            .owner
            .is_some_and(|owner| !self.sessions.0.link.peers().lives(owner))
        {
            self.lose_owner("lapsed");
        }
    }

    /// There is no owner any more, for this cause.
    pub(super) fn lose_owner(&mut self, cause: &'static str) {
        (self.owner, self.vacancy) = (None, cause);
        self.forwards.begin_anew();
    }

    /// Somebody speaks as the owner under an epoch. Only a newer one changes anything.
    pub(super) fn meet_owner(&mut self, from: InstanceId, epoch: Epoch) {
        if epoch < self.epoch || (epoch == self.epoch && self.owner.is_some()) {
            return;
        }
        let changed = self.owner != Some(from);
        (self.owner, self.epoch, self.resolve_at) = (Some(from), epoch, None);
        (self.called, self.giving) = (false, None);
        self.audience
            .relay(Some((self.sessions.0.link.clone(), epoch)));
        if changed {
            self.forwards.begin_anew();
        }
        self.introduce();
    }

    /// The store's word on who owns the raid.
    pub(super) fn meet(&mut self, head: RaidHead) {
        let link = &self.sessions.0.link;
        if head.epoch < self.epoch {
            return;
        }
        match head.owner {
            Some(owner) if owner != link.instance() && link.peers().lives(owner) => {
                self.meet_owner(owner, head.epoch);
            }
            owner => {
                self.epoch = head.epoch;
                if self.owner.is_some() {
                    self.lose_owner(if owner.is_some() {
                        "lapsed"
                    } else {
                        "released"
                    });
                }
            }
        }
    }

    /// Asks the store who owns the raid.
    pub(super) async fn resolve(&mut self) {
        let (hall, raid) = (Arc::clone(&self.sessions.0), self.raid());
        let head = self
            .forwards
            .expiring(timeout(RESOLVE_PATIENCE, hall.store.head(raid)))
            .await;
        match head {
            Ok(Ok(Some(head))) => self.meet(head),
            Ok(Ok(None)) => self.forwards.fail_all(&Refusal::NotFound.into()),
            Ok(Err(_)) | Err(_) => self.resolve_at = Some(Instant::now() + RESOLVE_PAUSE),
        }
    }
}
