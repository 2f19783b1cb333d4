//! Whether this instance should be sent new clients.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// What the app says about itself, and the health doors read. Cheap to clone.
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
}

/// Where an instance is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstancePhase {
    /// Not all parts run yet.
    Starting,
    /// All parts run.
    Running,
    /// It lets its clients go.
    Draining,
}

/// What `/readyz` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReadinessReport {
    /// Whether to send clients here.
    pub(super) is_ready: bool,
    /// In a word.
    pub(super) status: &'static str,
    pub(super) store: &'static str,
    pub(super) bus: &'static str,
}

impl Readiness {
    /// Starting; the bus counts as working until told otherwise (a local one always works). The store counts as
    /// working for `lease_ttl` after each renewal of the lease, which is a write to it every second.
    pub fn new(lease_ttl: Duration) -> Readiness {
        let now = ReadinessState {
            phase: InstancePhase::Starting,
            lease_renewed_at: None,
            is_bus_healthy: true,
        };
        Readiness(Arc::new(ReadinessInner {
            lease_ttl,
            state: Mutex::new(now),
        }))
    }

    /// The instance enters a phase.
    pub fn set_phase(&self, phase: InstancePhase) {
        self.0.state.lock().phase = phase;
    }

    /// The lease was renewed just now.
    pub fn record_lease_renewal(&self) {
        self.0.state.lock().lease_renewed_at = Some(Instant::now());
    }

    /// Whether the bus works.
    pub fn set_bus_healthy(&self, works: bool) {
        self.0.state.lock().is_bus_healthy = works;
    }

    pub(super) fn report(&self) -> ReadinessReport {
        let now = *self.0.state.lock();
        let store = now
            .lease_renewed_at
            .is_some_and(|at| at.elapsed() < self.0.lease_ttl);
        // Without its bus an instance is slower and not wrong: clients are still better off here than nowhere.
        let ready = now.phase == InstancePhase::Running && store;
        let status = match now.phase {
            InstancePhase::Starting => "starting",
            InstancePhase::Draining => "draining",
            InstancePhase::Running if ready && !now.is_bus_healthy => "degraded",
            InstancePhase::Running if ready => "ready",
            InstancePhase::Running => "unavailable",
        };
        let word = |works| if works { "ok" } else { "failing" };
        ReadinessReport {
            is_ready: ready,
            status,
            store: word(store),
            bus: word(now.is_bus_healthy),
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
        readiness.set_phase(InstancePhase::Draining);
        assert_eq!(status(), (false, "draining", "ok"));
    }
}
