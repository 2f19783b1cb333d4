//! How an instance ends: raids are handed over, clients let go, everything put away, and the lease given back, all within
//! one budget of time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::StartError;
use super::instance::Instance;
use crate::http::InstancePhase;

/// How much of the time handing raids over may take.
const RAIDS_SHARE: f64 = 0.4;

/// How much of what is then left clients may take; the rest is for putting everything away.
const CLIENTS_SHARE: f64 = 0.7;

impl Instance {
    /// Lets raids and clients go, and ends.
    ///
    /// # Errors
    ///
    /// [`StartError::Unavailable`] if the lease was lost for good.
    pub async fn shut_down(self) -> Result<(), StartError> {
        let Instance {
            config,
            readiness,
            held_lease,
            draining,
            sessions,
            sockets,
            cluster,
            tasks,
            router,
            ..
        } = self;
        readiness.set_phase(InstancePhase::Draining);
        draining.store(true, Ordering::Relaxed);
        let mut budget = ShutdownBudget::new(config.shutdown.timeout);
        let lost = held_lease.is_lost();
        if !lost {
            sleep(config.shutdown.readiness_delay).await;
        }
        if !cluster.is_standalone() {
            held_lease.renew_now().await;
        }
        // Without the bus nobody could be told, and we could not forward.
        if !lost && held_lease.membership.has_successor_candidate() && cluster.is_bus_healthy() {
            budget
                .run_step(
                    RAIDS_SHARE,
                    "some raids could not be handed over",
                    sessions.hand_over_all(),
                )
                .await;
        }
        tasks.stop_accepting.cancel();
        sockets.drain();
        let clients = async {
            tasks.http.close_and_wait().await;
            tasks.connections.close_and_wait().await;
        };
        let late = "some clients do not let go; the raids are put away without them";
        budget.run_step(CLIENTS_SHARE, late, clients).await;
        let ending = async {
            tasks.stop_background.cancel();
            tasks.background.close_and_wait().await;
            tasks.sessions.close_and_wait().await;
            // The journal ends when no session can append any more.
            drop((router, sessions, sockets));
            tasks.journal.close_and_wait().await;
            // The last words of the sessions.
            cluster.flush().await;
            tasks.stop_bus.cancel();
            tasks.bus.close_and_wait().await;
        };
        let late = "not everything ended in time; what was acknowledged is durable all the same";
        budget.run_step(1.0, late, ending).await;
        held_lease.deregister().await;
        info!("stopped");
        if lost {
            let why =
                anyhow::anyhow!("another instance has it, or the database has another history now");
            return Err(StartError::unavailable("the lease", why));
        }
        Ok(())
    }
}

/// The time for shutting down, spent step by step.
struct ShutdownBudget {
    deadline: Instant,
}

impl ShutdownBudget {
    fn new(time: Duration) -> ShutdownBudget {
        ShutdownBudget {
            deadline: Instant::now() + time,
        }
    }

    /// Gives a step a share of what is left; what it does not use is left to the others.
    async fn run_step(&mut self, share: f64, late: &'static str, step: impl Future<Output = ()>) {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if timeout(left.mul_f64(share), step).await.is_err() {
            warn!("{late}");
        }
    }
}

/// Ends a tracker: no task more, and those that are left are waited for.
trait CloseAndWait {
    async fn close_and_wait(&self);
}

impl CloseAndWait for TaskTracker {
    async fn close_and_wait(&self) {
        self.close();
        self.wait().await;
    }
}
