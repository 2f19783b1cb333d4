//! A follower's knowledge of the raid's owner: from the bus, from the store, and from the end of a
//! lease.

use std::cmp::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use raidhall_protocol::Seq;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::{Follower, RESOLVE_RETRY_DELAY};
use crate::cluster::message::ClusterMessage;
use crate::error::Error;
use crate::fanout::audience::HistoryLoss;
use crate::raid::Refusal;
use crate::session::actor::CarriedState;
use crate::session::load::check_history;
use crate::session::message::SessionMessage;
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

    /// Returns why the raid must be claimed now: it has no live owner, and a claim is requested, or
    /// the raid is needed here and the store is not being asked for the owner.
    pub(super) fn claim_cause(&self) -> Option<TakeoverCause> {
        let is_due = self.is_claim_requested || (self.is_needed() && !self.is_resolving());
        (self.is_claimable() && is_due).then_some(self.vacancy_cause)
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

    /// Handles a forward or a handover from an instance that expects this one to own the raid. If
    /// the sender itself was the known owner, the message waits until the store has been asked.
    pub(super) fn handle_claim_request(
        &mut self,
        from: InstanceId,
        message: SessionMessage,
        carried: &mut CarriedState,
    ) {
        if self.owner == Some(from) {
            self.head_reads.add(message);
        } else if self.is_claimable() {
            self.claim_for(vec![message], carried);
        } else {
            self.refuse_claim_request(message);
        }
    }

    /// Requests a claim of the raid, and puts the messages back for the next owner, in their order.
    fn claim_for(&mut self, messages: Vec<SessionMessage>, carried: &mut CarriedState) {
        self.vacancy_cause = TakeoverCause::HandedOver;
        self.request_claim();
        carried.mailbox.put_back(messages.into_iter());
    }

    fn refuse_claim_request(&mut self, message: SessionMessage) {
        match message {
            // Another instance has claimed the raid: it learns from this one which players were
            // online.
            SessionMessage::Handover { online, .. } => self.record_last_known_online(online),
            message => message.fail(Error::NotOwner),
        }
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

    /// Records that the raid reached `seq` under `epoch`. A claim fences off the commits of earlier
    /// epochs, so a later epoch begins with all their events: if its seq is lower, the store has
    /// lost some. Then the raid is not served here any more.
    pub(super) fn observe_committed(&mut self, epoch: Epoch, seq: Seq) {
        let (known_epoch, known) = self.committed;
        self.committed = self.committed.max((epoch, seq));
        let (expected, found) = match epoch.cmp(&known_epoch) {
            Ordering::Equal => return,
            Ordering::Greater => (known, seq),
            Ordering::Less => (seq, known),
        };
        if check_history(self.raid(), found, expected).is_err() {
            let lost = HistoryLoss { found, expected };
            self.audience.record_lost_history(lost);
            self.forwards.fail_all(&Error::Unavailable);
            self.replica = None;
            self.load_for_watchers();
        }
    }

    /// Applies the raid's head from the store: its owner, if that is live, and its epoch.
    pub(super) fn observe_head(&mut self, head: RaidHead) {
        self.observe_committed(head.epoch, head.last_seq);
        let cluster = &self.sessions.cluster;
        if head.epoch < self.epoch {
            return;
        }
        match head.owner {
            Some(owner)
                if owner != cluster.instance()
                    && cluster.membership().is_live(owner)
                    && self.released_epoch < Some(head.epoch) =>
            {
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

    /// Returns whether the store is, or is about to be, asked for the owner; until then nothing is
    /// forwarded or claimed.
    pub(super) fn is_resolving(&self) -> bool {
        self.resolve_at.is_some() || self.head_reads.is_inflight()
    }

    /// Asks the store for the raid's owner if that is due or messages wait for it.
    pub(super) fn begin_head_read(&mut self) {
        if self.head_reads.is_inflight() {
            return;
        }
        let now = Instant::now();
        if self.resolve_at.take_if(|at| *at <= now).is_none() && !self.head_reads.is_due() {
            return;
        }
        let raid = self.raid();
        let store = self.sessions.store.clone();
        let head = async move { store.head(raid).await };
        let head = timeout(RESOLVE_TIMEOUT, head).map(|head| head.ok().and_then(Result::ok));
        self.head_reads.begin(head.boxed());
    }

    /// Applies the raid's head. `None`, a failure, is retried; if the raid does not exist, all
    /// forwards fail.
    pub(super) fn finish_head_read(
        &mut self,
        messages: Vec<SessionMessage>,
        head: Option<Option<RaidHead>>,
        carried: &mut CarriedState,
    ) {
        match head {
            Some(Some(head)) => self.observe_head(head),
            Some(None) => {
                let known = self.audience.newest_known_seq();
                let error = match check_history(self.raid(), Seq::ZERO, known) {
                    Ok(()) => Refusal::NotFound.into(),
                    Err(_) => Error::Unavailable,
                };
                self.forwards.fail_all(&error);
            }
            None => self.resolve_at = Some(Instant::now() + RESOLVE_RETRY_DELAY),
        }
        self.load_for_watchers();
        if self.is_claimable() && !messages.is_empty() {
            let later = self.head_reads.take_requests();
            self.claim_for(messages.into_iter().chain(later).collect(), carried);
        } else {
            for message in messages {
                self.refuse_claim_request(message);
            }
        }
    }
}
