//! The lease: one small write a second that keeps this instance alive for the others. Each renewal
//! returns the database's time and the other live instances.
//!
//! Time without a lease is a gap, in which other instances may claim this instance's raids. Each
//! gap begins a new term. **A raid owned before a gap is served again only when the store has
//! confirmed it, by a statement begun after the lease was renewed.**

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::try_join_all;
use parking_lot::RwLock;
use raidhall_protocol::RaidId;
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tracing::{error, info, warn};

use super::membership::Membership;
use crate::clock::{BootInstant, Clock};
use crate::option_value::millis;
use crate::store::{Epoch, InstanceRecord, PeerInstance, Renewal, StaleLeases, Store, StoreError};
use crate::telemetry::metrics;

/// How long before its lease expires an instance stops relying on it: clocks drift, and replies
/// take time.
const SAFETY_MARGIN: Duration = Duration::from_millis(500);

/// Delay between two attempts to confirm the owned raids after a gap.
const CONFIRM_RETRY_DELAY: Duration = Duration::from_millis(50);

/// Timing of a lease.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Options {
    /// How long a lease lasts from each renewal.
    #[serde(rename = "ttl_ms", deserialize_with = "millis")]
    pub ttl: Duration,
    /// Interval between two renewals of the lease.
    #[serde(rename = "renew_ms", deserialize_with = "millis")]
    pub renew_interval: Duration,
}

/// The raids that the store confirmed as this instance's after a gap.
type OwnedRaids = Arc<HashMap<RaidId, Epoch>>;

/// The time until which this instance may act for its raids. A process that was suspended beyond it
/// must not serve what it remembers: another instance may have claimed the raids.
#[derive(Debug)]
pub struct Lease {
    /// When the latest renewal was requested, and how long the lease is valid from then. `None`: the
    /// lease lasts until the process ends.
    renewed: RwLock<Option<(BootInstant, Duration)>>,
    /// Grows by one with each gap.
    term: AtomicU64,
    /// The latest term whose raids are confirmed, and those raids.
    confirmed_term: watch::Sender<(u64, OwnedRaids)>,
    /// The latest term whose raids have to be confirmed.
    term_to_confirm: watch::Sender<u64>,
}

impl Lease {
    /// Creates a lease that was requested at `sent` and lasts for at least `ttl` from then.
    pub fn new(sent: BootInstant, ttl: Duration) -> Self {
        Self::with_renewal(Some((sent, ttl.saturating_sub(SAFETY_MARGIN))))
    }

    /// Creates a lease that lasts until the process ends: a lock keeps all other instances out.
    pub fn unlimited() -> Self {
        Self::with_renewal(None)
    }

    fn with_renewal(renewed: Option<(BootInstant, Duration)>) -> Self {
        Self {
            renewed: RwLock::new(renewed),
            term: AtomicU64::new(0),
            confirmed_term: watch::Sender::new((0, OwnedRaids::default())),
            term_to_confirm: watch::Sender::new(0),
        }
    }

    /// Returns whether the lease is valid now.
    pub fn is_valid(&self) -> bool {
        self.renewed
            .read()
            .is_none_or(|(sent, valid_for)| sent.elapsed() < valid_for)
    }

    /// Returns how long the lease is still valid; `None` if it lasts until the process ends.
    pub fn remaining(&self) -> Option<Duration> {
        self.renewed
            .read()
            .map(|(sent, valid_for)| valid_for.saturating_sub(sent.elapsed()))
    }

    /// Returns the current term. Read before a claim, it is the term to which the claim belongs.
    pub fn term(&self) -> u64 {
        self.term.load(Ordering::Acquire)
    }

    /// Returns whether raids that were claimed or confirmed under `term` may be served now.
    pub fn is_valid_in_term(&self, term: u64) -> bool {
        // The order matters: a renewal after a gap raises the term before it extends the lease.
        self.is_valid() && self.term() == term
    }

    /// Waits until the lease is valid and the raids of its term are confirmed. Returns the term,
    /// and the epoch under which this instance owned the raid then, if it did.
    pub async fn wait_until_confirmed(&self, raid: RaidId) -> (u64, Option<Epoch>) {
        let mut confirmed = self.confirmed_term.subscribe();
        loop {
            {
                let latest = confirmed.borrow_and_update();
                if self.is_valid_in_term(latest.0) {
                    return (latest.0, latest.1.get(&raid).copied());
                }
            }
            // An expired lease sends no notification until it is renewed.
            if confirmed.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Records a renewal whose request was sent at `sent`. Returns whether there was a gap: by the
    /// database's clock (`lapsed`) or by this machine's, which may have stood still, as while the
    /// machine was suspended.
    pub fn renew(&self, sent: BootInstant, ttl: Duration, lapsed: bool) -> bool {
        let mut renewed = self.renewed.write();
        let Some(renewed) = &mut *renewed else {
            return false;
        };
        let gap = lapsed || renewed.0.elapsed() >= renewed.1;
        if gap {
            let term = self.term.fetch_add(1, Ordering::AcqRel) + 1;
            self.term_to_confirm.send_replace(term);
        }
        *renewed = (sent, ttl.saturating_sub(SAFETY_MARGIN));
        gap
    }

    /// Confirms the owned raids after each gap, until dropped.
    pub async fn run_confirmation(
        self: Arc<Self>,
        store: Arc<dyn Store>,
        instance: InstanceRecord,
    ) {
        let mut gaps = self.term_to_confirm.subscribe();
        while gaps.changed().await.is_ok() {
            loop {
                let term = self.term();
                match store.owned_raids(instance.id).await {
                    Ok(owned) if self.term() == term => {
                        info!(
                            term,
                            raids = owned.len(),
                            "lease renewed after a gap; owned raids confirmed"
                        );
                        self.confirmed_term
                            .send_replace((term, Arc::new(owned.into_iter().collect())));
                        break;
                    }
                    Ok(_) => {}
                    Err(error) => warn!(?error, "reading the owned raids failed; retrying"),
                }
                sleep(CONFIRM_RETRY_DELAY).await;
            }
        }
    }
}

/// Task that renews the lease.
pub struct LeaseRenewer {
    /// Store that holds the lease.
    pub store: Arc<dyn Store>,
    /// The row of this instance.
    pub instance: InstanceRecord,
    /// Whether the instance drains, which its row shows to all others.
    pub draining: Arc<AtomicBool>,
    /// The lease to renew.
    pub lease: Arc<Lease>,
    /// Duration of the lease and interval of renewals.
    pub options: Options,
    /// Receives the database's time.
    pub clock: Arc<Clock>,
    /// Receives the other live instances.
    pub membership: Membership,
    /// Triggers a renewal before its time.
    pub renew_requested: Arc<Notify>,
    /// Lineage of the database that this process serves.
    pub lineage: String,
}

impl LeaseRenewer {
    /// Renews the lease until it is lost for good: another process holds it, or the database has
    /// another lineage than the one that this process serves. Renewals are retried for ever while
    /// the store is unreachable, and a renewal that takes longer than the lease lasts has failed.
    /// Calls `renewed` after each success.
    pub async fn run(mut self, renewed: impl Fn()) {
        let mut ticks = interval_at(
            Instant::now() + self.options.renew_interval,
            self.options.renew_interval,
        );
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stale_leases = StaleLeases::default();
        loop {
            tokio::select! { biased;
                _ = ticks.tick() => {}
                () = self.renew_requested.notified() => {}
            }
            self.instance.draining = self.draining.load(Ordering::Relaxed);
            if let Some(remaining) = self.lease.remaining() {
                metrics().lease_margin.set(remaining.as_secs_f64());
            }
            let sent = BootInstant::now();
            let asked_at = Instant::now();
            match timeout(
                self.options.ttl,
                self.store.renew(&self.instance, self.options.ttl),
            )
            .await
            {
                Ok(Ok(Renewal {
                    now,
                    lineage,
                    lapsed,
                    peers,
                })) => {
                    if lineage != self.lineage {
                        return error!(lineage, "lease lost: the database has another lineage");
                    }
                    self.clock.synchronize(now, sent);
                    let gap = self.lease.renew(sent, self.options.ttl, lapsed);
                    let stale = stale_leases.observe(&peers);
                    self.membership.update(asked_at, now, peers, gap);
                    renewed();
                    self.end_stale_leases(&stale).await;
                }
                Ok(Err(error @ StoreError::Refused { .. })) => {
                    return error!(?error, "lease lost: renewal refused");
                }
                Ok(Err(error)) => warn!(?error, "lease renewal failed; retrying"),
                Err(_) => warn!("lease renewal timed out; retrying"),
            }
        }
    }

    /// Ends leases, which are seen again after the next renewal if this fails.
    async fn end_stale_leases(&self, stale: &[PeerInstance]) {
        if stale.is_empty() {
            return;
        }
        let endings = stale
            .iter()
            .map(|lease| self.store.end_stale_lease(lease.id, lease.lease_until));
        match timeout(self.options.renew_interval, try_join_all(endings)).await {
            Ok(Ok(_)) => warn!(
                leases = stale.len(),
                "ended leases of instances that died while the database's clock was ahead"
            ),
            failed => warn!(?failed, "ending stale leases failed; retrying"),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::clock::suspension::suspend;

    const TTL: Duration = Duration::from_secs(3);

    #[tokio::test(start_paused = true)]
    async fn raids_owned_before_a_lease_gap_are_served_only_once_confirmed() {
        let raid = RaidId::try_from(7_u64).expect("an id");
        let lease = Lease::new(BootInstant::now(), TTL);
        assert!(lease.is_valid_in_term(0));
        advance(TTL - SAFETY_MARGIN).await;
        assert!(!lease.is_valid_in_term(0));
        assert!(
            lease.renew(BootInstant::now(), TTL, false),
            "there was a gap"
        );
        assert!(
            lease.is_valid() && !lease.is_valid_in_term(0) && lease.is_valid_in_term(1),
            "claims of the new term are good"
        );
        let waiting = timeout(Duration::from_millis(10), lease.wait_until_confirmed(raid)).await;
        assert!(waiting.is_err(), "not confirmed yet");
        lease
            .confirmed_term
            .send_replace((1, Arc::new(HashMap::from([(raid, Epoch(4))]))));
        assert_eq!(lease.wait_until_confirmed(raid).await, (1, Some(Epoch(4))));
        assert!(!lease.renew(BootInstant::now(), TTL, false), "no gap");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_expires_while_the_machine_is_suspended() {
        let lease = Lease::new(BootInstant::now(), TTL);
        suspend(TTL);
        assert!(!lease.is_valid(), "another instance may have the raids");
        assert!(
            lease.renew(BootInstant::now(), TTL, false),
            "there was a gap"
        );
        assert!(lease.is_valid());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_gap_seen_only_by_the_database_counts() {
        let lease = Lease::new(BootInstant::now(), TTL);
        assert!(
            lease.renew(BootInstant::now(), TTL, true),
            "our own clock stood still"
        );
        assert!(
            lease.is_valid() && !lease.is_valid_in_term(0),
            "what was ours has to be confirmed"
        );
    }
}
