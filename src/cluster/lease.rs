//! The lease: one small write a second says that this instance lives, and teaches it the database's time and who else
//! does.
//!
//! Time without a lease is a gap: others may have claimed our raids in it. Each gap begins a new term, and what was
//! ours before may speak again only when the store has confirmed it, by a statement begun after the lease was ours
//! again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use raidhall_protocol::RaidId;
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tracing::{error, info, warn};

use super::membership::Membership;
use crate::clock::Clock;
use crate::option_value::millis;
use crate::store::{Epoch, InstanceRecord, Renewal, Store, StoreError};
use crate::telemetry::metrics;

/// How long before its lease runs out an instance stops to rely on it: clocks drift, and answers take time.
const SAFETY_MARGIN: Duration = Duration::from_millis(500);

/// Between two tries to learn what is still ours after a gap.
const CONFIRM_RETRY_DELAY: Duration = Duration::from_millis(50);

/// Timing of a lease.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Options {
    /// How long a lease lasts from each renewal.
    #[serde(rename = "ttl_ms", deserialize_with = "millis")]
    pub ttl: Duration,
    /// Interval between renewals.
    #[serde(rename = "renew_ms", deserialize_with = "millis")]
    pub renew_interval: Duration,
}

/// What was ours, as the store had it after a gap.
type OwnedRaids = Arc<HashMap<RaidId, Epoch>>;

/// Until when this instance may speak for its raids. A process that slept beyond it must not serve what it remembers:
/// another may have gone on with the raids.
#[derive(Debug)]
pub struct Lease {
    /// None: nothing but the end of the process ends it.
    valid_until: RwLock<Option<Instant>>,
    /// Grows with each gap.
    term: AtomicU64,
    /// The latest term whose raids are confirmed.
    confirmed_term: watch::Sender<(u64, OwnedRaids)>,
    /// The latest term that is to be confirmed.
    term_to_confirm: watch::Sender<u64>,
}

impl Lease {
    /// One that was asked for at `sent` and lasts for `ttl` from then at least.
    pub fn new(sent: Instant, ttl: Duration) -> Self {
        Self::with_expiry(Some(sent + ttl.saturating_sub(SAFETY_MARGIN)))
    }

    /// One that nothing but the end of the process ends: a lock keeps all others out.
    pub fn unlimited() -> Self {
        Self::with_expiry(None)
    }

    fn with_expiry(until: Option<Instant>) -> Self {
        Self {
            valid_until: RwLock::new(until),
            term: AtomicU64::new(0),
            confirmed_term: watch::Sender::new((0, OwnedRaids::default())),
            term_to_confirm: watch::Sender::new(0),
        }
    }

    /// Whether it holds now.
    pub fn is_valid(&self) -> bool {
        self.valid_until
            .read()
            .is_none_or(|until| Instant::now() < until)
    }

    /// How long it still holds.
    pub fn remaining(&self) -> Option<Duration> {
        self.valid_until
            .read()
            .map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// The present term. Read before a claim, it says under which the raid was claimed.
    pub fn term(&self) -> u64 {
        self.term.load(Ordering::Acquire)
    }

    /// Whether what was claimed or confirmed under `term` may be served now.
    pub fn is_valid_in_term(&self, term: u64) -> bool {
        // In this order: a renewal after a gap moves the term first.
        self.is_valid() && self.term() == term
    }

    /// Waits until the lease holds and the raids of its term are confirmed. Gives the term, and the epoch under which
    /// the raid was ours then, if it was.
    pub async fn wait_until_confirmed(&self, raid: RaidId) -> (u64, Option<Epoch>) {
        let mut confirmed = self.confirmed_term.subscribe();
        loop {
            {
                let latest = confirmed.borrow_and_update();
                if self.is_valid_in_term(latest.0) {
                    return (latest.0, latest.1.get(&raid).copied());
                }
            }
            // A lease that has run out makes itself heard only when it is renewed.
            if confirmed.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// It was renewed by a request that was sent at `sent`; by the database's clock it had `lapsed` before, or not. True if
    /// there was a gap: our own clock may have stood still, as while the machine is suspended.
    pub fn renew(&self, sent: Instant, ttl: Duration, lapsed: bool) -> bool {
        let mut until = self.valid_until.write();
        let Some(until) = &mut *until else {
            return false;
        };
        let gap = lapsed || *until <= Instant::now();
        if gap {
            let term = self.term.fetch_add(1, Ordering::AcqRel) + 1;
            self.term_to_confirm.send_replace(term);
        }
        *until = sent + ttl.saturating_sub(SAFETY_MARGIN);
        gap
    }

    /// Confirms, after each gap, what is still ours. Runs until dropped.
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
                            "the lease holds again; these raids are still ours"
                        );
                        self.confirmed_term
                            .send_replace((term, Arc::new(owned.into_iter().collect())));
                        break;
                    }
                    Ok(_) => {}
                    Err(error) => warn!(?error, "what is still ours could not be read"),
                }
                sleep(CONFIRM_RETRY_DELAY).await;
            }
        }
    }
}

/// What keeping a lease needs.
pub struct LeaseRenewer {
    /// Where the lease is kept.
    pub store: Arc<dyn Store>,
    /// Whose it is.
    pub instance: InstanceRecord,
    /// Whether the instance is about to end, which its row says for all to see.
    pub draining: Arc<AtomicBool>,
    /// What is kept.
    pub lease: Arc<Lease>,
    /// How long it lasts, and how often it is renewed.
    pub options: Options,
    /// Learns the database's time.
    pub clock: Arc<Clock>,
    /// Learns who else lives.
    pub membership: Membership,
    /// Wakes it for a renewal out of turn.
    pub renew_requested: Arc<Notify>,
    /// The name of the history of the database that is being served.
    pub lineage: String,
}

impl LeaseRenewer {
    /// Renews the lease until it is lost for good: another process has it, or the database has another history than
    /// the one that this process serves. A store that cannot be reached is tried again for ever, and a renewal that
    /// takes longer than the lease lasts counts as that. `renewed` is called after each success.
    pub async fn run(mut self, renewed: impl Fn()) {
        let mut ticks = interval_at(
            Instant::now() + self.options.renew_interval,
            self.options.renew_interval,
        );
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.renew_requested.notified() => {}
            }
            self.instance.draining = self.draining.load(Ordering::Relaxed);
            if let Some(remaining) = self.lease.remaining() {
                metrics().lease_margin.set(remaining.as_secs_f64());
            }
            let sent = Instant::now();
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
                        return error!(lineage, "the database has another history now");
                    }
                    self.clock.synchronize(now);
                    let gap = self.lease.renew(sent, self.options.ttl, lapsed);
                    self.membership.update(now, peers, gap);
                    renewed();
                }
                Ok(Err(error @ StoreError::Refused { .. })) => {
                    return error!(?error, "the lease is lost");
                }
                Ok(Err(error)) => warn!(?error, "the lease was not renewed"),
                Err(_) => warn!("the lease was not renewed in time"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const TTL: Duration = Duration::from_secs(3);

    #[tokio::test(start_paused = true)]
    async fn raids_owned_before_a_lease_gap_are_served_only_once_confirmed() {
        let raid = RaidId::try_from(7_u64).expect("an id");
        let lease = Lease::new(Instant::now(), TTL);
        assert!(lease.is_valid_in_term(0));
        advance(TTL - SAFETY_MARGIN).await;
        assert!(!lease.is_valid_in_term(0));
        assert!(lease.renew(Instant::now(), TTL, false), "there was a gap");
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
        assert!(!lease.renew(Instant::now(), TTL, false), "no gap");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_gap_seen_only_by_the_database_counts() {
        let lease = Lease::new(Instant::now(), TTL);
        assert!(
            lease.renew(Instant::now(), TTL, true),
            "our own clock stood still"
        );
        assert!(
            lease.is_valid() && !lease.is_valid_in_term(0),
            "what was ours has to be confirmed"
        );
    }
}
