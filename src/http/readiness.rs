//! Whether this instance should be sent new clients.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// What the app says about itself, and the health doors read. Cheap to clone.
#[derive(Clone)]
pub struct Readiness(Arc<Inner>);

struct Inner {
    lease_ttl: Duration,
    now: Mutex<Now>,
}

#[derive(Clone, Copy)]
struct Now {
    phase: Phase,
    renewed_at: Option<Instant>,
    bus: bool,
}

/// Where an instance is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not all parts run yet.
    Starting,
    /// All parts run.
    Running,
    /// It lets its clients go.
    Draining,
}

/// What `/readyz` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Report {
    /// Whether to send clients here.
    pub(super) ready: bool,
    /// In a word.
    pub(super) status: &'static str,
    pub(super) store: &'static str,
    pub(super) bus: &'static str,
}

impl Readiness {
    /// Starting; the bus counts as working until told otherwise (a local one always works). The store counts as
    /// working for `lease_ttl` after each renewal of the lease, which is a write to it every second.
    pub fn new(lease_ttl: Duration) -> Readiness {
        let now = Now {
            phase: Phase::Starting,
            renewed_at: None,
            bus: true,
        };
        Readiness(Arc::new(Inner {
            lease_ttl,
            now: Mutex::new(now),
        }))
    }

    /// The instance enters a phase.
    pub fn enter(&self, phase: Phase) {
        self.0.now.lock().phase = phase;
    }

    /// The lease was renewed just now.
    pub fn renewed(&self) {
        self.0.now.lock().renewed_at = Some(Instant::now());
    }

    /// Whether the bus works.
    pub fn bus(&self, works: bool) {
        self.0.now.lock().bus = works;
    }

    pub(super) fn report(&self) -> Report {
        let now = *self.0.now.lock();
        let store = now
            .renewed_at
            .is_some_and(|at| at.elapsed() < self.0.lease_ttl);
        // Without its bus an instance is slower and not wrong: clients are still better off here than nowhere.
        let ready = now.phase == Phase::Running && store;
        let status = match now.phase {
            Phase::Starting => "starting",
            Phase::Draining => "draining",
            Phase::Running if ready && !now.bus => "degraded",
            Phase::Running if ready => "ready",
            Phase::Running => "unavailable",
        };
        let word = |works| if works { "ok" } else { "failing" };
        Report {
            ready,
            status,
            store: word(store),
            bus: word(now.bus),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ready_means_running_with_a_lease_renewed_lately() {
        let readiness = Readiness::new(Duration::from_secs(3));
        let status = || {
            (
                readiness.report().ready,
                readiness.report().status,
                readiness.report().store,
            )
        };
        assert_eq!(status(), (false, "starting", "failing"));
        readiness.renewed();
        assert_eq!(status(), (false, "starting", "ok"));
        readiness.enter(Phase::Running);
        assert_eq!(status(), (true, "ready", "ok"));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(status(), (false, "unavailable", "failing"));
        readiness.renewed();
        readiness.bus(false);
        assert_eq!(status(), (true, "degraded", "ok"));
        assert_eq!(readiness.report().bus, "failing");
        readiness.enter(Phase::Draining);
        assert_eq!(status(), (false, "draining", "ok"));
    }
}
