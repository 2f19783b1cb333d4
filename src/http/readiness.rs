//! The readiness of this instance: whether a load balancer should send it new clients.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::Error;

/// The shared readiness of an instance: set by its components, reported by `/readyz`. Cheap to
/// clone.
#[derive(Clone)]
pub struct Readiness(Arc<ReadinessInner>);

struct ReadinessInner {
    lease_ttl: Duration,
    state: Mutex<ReadinessState>,
}

#[derive(Clone, Copy)]
struct ReadinessState {
    phase: InstancePhase,
    lease_renewed_at: Option<Instant>,
    is_bus_healthy: bool,
    is_peer_unreachable: bool,
    is_feed_delayed: bool,
    is_space_low: bool,
    projector_lag: Option<Duration>,
}

/// The phase of an instance between its start and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstancePhase {
    /// Components are being started; the instance serves no clients yet.
    Starting,
    /// The instance serves clients.
    Running,
    /// The instance hands over its raids and closes its connections.
    Draining,
}

/// The content of a response of `/readyz`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReadinessReport {
    pub(super) is_ready: bool,
    pub(super) status: &'static str,
    pub(super) store: &'static str,
    pub(super) bus: &'static str,
    pub(super) feed: &'static str,
    pub(super) space: &'static str,
    pub(super) projector_lag: Option<Duration>,
}

impl Readiness {
    /// Creates the readiness of an instance that starts. The bus counts as healthy until reported
    /// otherwise. The store counts as working for `lease_ttl` after each renewal of the lease,
    /// which is a regular write to it.
    pub fn new(lease_ttl: Duration) -> Readiness {
        let now = ReadinessState {
            phase: InstancePhase::Starting,
            lease_renewed_at: None,
            is_bus_healthy: true,
            is_peer_unreachable: false,
            is_feed_delayed: false,
            is_space_low: false,
            projector_lag: None,
        };
        Readiness(Arc::new(ReadinessInner {
            lease_ttl,
            state: Mutex::new(now),
        }))
    }

    pub fn set_phase(&self, phase: InstancePhase) {
        self.0.state.lock().phase = phase;
    }

    /// Records that the lease was renewed just now.
    pub fn record_lease_renewal(&self) {
        self.0.state.lock().lease_renewed_at = Some(Instant::now());
    }

    pub fn set_bus_healthy(&self, is_healthy: bool) {
        self.0.state.lock().is_bus_healthy = is_healthy;
    }

    /// Records whether a live instance does not receive what this one publishes.
    pub fn set_peer_unreachable(&self, is_unreachable: bool) {
        self.0.state.lock().is_peer_unreachable = is_unreachable;
    }

    /// Records how far the projector is behind, if it runs on this instance.
    pub fn set_projector_lag(&self, lag: Option<Duration>) {
        self.0.state.lock().projector_lag = lag;
    }

    pub fn set_feed_delayed(&self, is_delayed: bool) {
        self.0.state.lock().is_feed_delayed = is_delayed;
    }

    pub fn set_space_low(&self, is_low: bool) {
        self.0.state.lock().is_space_low = is_low;
    }

    /// Fails if the database's space is low, for requests that would begin something new.
    pub(super) fn require_space(&self) -> Result<(), Error> {
        if self.0.state.lock().is_space_low {
            Err(Error::SpaceLow)
        } else {
            Ok(())
        }
    }

    pub(super) fn report(&self) -> ReadinessReport {
        let now = *self.0.state.lock();
        let is_store_working = now
            .lease_renewed_at
            .is_some_and(|at| at.elapsed() < self.0.lease_ttl);
        // Without its bus or with a feed that stands still an instance is slower but still correct,
        // and with little space it still serves what there is, so it stays ready.
        let is_ready = now.phase == InstancePhase::Running && is_store_working;
        let is_bus_working = now.is_bus_healthy && !now.is_peer_unreachable;
        let is_degraded = !is_bus_working || now.is_feed_delayed || now.is_space_low;
        let status = match now.phase {
            InstancePhase::Starting => "starting",
            InstancePhase::Draining => "draining",
            InstancePhase::Running if is_ready && is_degraded => "degraded",
            InstancePhase::Running if is_ready => "ready",
            InstancePhase::Running => "unavailable",
        };
        let word = |works| if works { "ok" } else { "failing" };
        ReadinessReport {
            is_ready,
            status,
            store: word(is_store_working),
            bus: word(is_bus_working),
            feed: word(!now.is_feed_delayed),
            space: if now.is_space_low { "low" } else { "ok" },
            projector_lag: now.projector_lag,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_instance_is_ready_while_running_with_a_recent_lease_renewal() {
        let readiness = Readiness::new(Duration::from_secs(3));
        let status = || {
            (
                readiness.report().is_ready,
                readiness.report().status,
                readiness.report().store,
            )
        };
        assert_eq!(status(), (false, "starting", "failing"));
        readiness.record_lease_renewal();
        assert_eq!(status(), (false, "starting", "ok"));
        readiness.set_phase(InstancePhase::Running);
        assert_eq!(status(), (true, "ready", "ok"));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(status(), (false, "unavailable", "failing"));
        readiness.record_lease_renewal();
        readiness.set_bus_healthy(false);
        assert_eq!(status(), (true, "degraded", "ok"));
        assert_eq!(readiness.report().bus, "failing");
        readiness.set_bus_healthy(true);
        readiness.set_peer_unreachable(true);
        assert_eq!(status(), (true, "degraded", "ok"));
        assert_eq!(readiness.report().bus, "failing");
        readiness.set_peer_unreachable(false);
        assert_eq!(status(), (true, "ready", "ok"));
        readiness.set_feed_delayed(true);
        assert_eq!(status(), (true, "degraded", "ok"));
        assert_eq!(readiness.report().feed, "failing");
        readiness.set_feed_delayed(false);
        readiness.set_space_low(true);
        assert_eq!(status(), (true, "degraded", "ok"));
        assert_eq!(readiness.report().space, "low");
        readiness.set_phase(InstancePhase::Draining);
        assert_eq!(status(), (false, "draining", "ok"));
    }
}
