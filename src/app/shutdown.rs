//! The shutdown of an instance: it hands raids over, closes clients' connections, ends its tasks
//! and gives the lease back, all within one time budget.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::StartError;
use super::instance::Instance;
use crate::http::InstancePhase;

/// The share of the time budget that handing raids over may take.
const RAIDS_SHARE: f64 = 0.4;

/// The share of the time then left that closing connections may take; the rest is for ending
/// sessions and the journal.
const CLIENTS_SHARE: f64 = 0.7;

impl Instance {
    /// Hands raids over, closes connections and ends every task of the instance. Steps that take
    /// longer than `shutdown.timeout_ms` in all are abandoned; giving the lease back may take
    /// `DEREGISTER_TIMEOUT` more.
    ///
    /// # Errors
    ///
    /// Fails with [`StartError::Unavailable`] if the lease was lost for good.
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
        // A handover needs the bus: it tells the successor, and forwards commands to it afterwards.
        if !lost && held_lease.membership.has_successor_candidate() && cluster.is_bus_healthy() {
            budget
                .run_step(
                    RAIDS_SHARE,
                    "handing raids over took too long; other instances claim the rest once they are released",
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
        let late =
            "some clients did not disconnect in time; ending sessions without waiting for them";
        budget.run_step(CLIENTS_SHARE, late, clients).await;
        let ending = async {
            tasks.stop_background.cancel();
            tasks.background.close_and_wait().await;
            tasks.sessions.close_and_wait().await;
            // The journal ends when no session can append any more.
            drop((router, sessions, sockets));
            tasks.journal.close_and_wait().await;
            // Sends the cluster messages that sessions queued as they ended.
            cluster.flush().await;
            tasks.stop_bus.cancel();
            tasks.bus.close_and_wait().await;
        };
        let late =
            "some tasks did not end in time; exiting anyway, acknowledged commands are durable";
        budget.run_step(1.0, late, ending).await;
        held_lease.deregister().await;
        info!("stopped");
        if lost {
            let cause = anyhow::anyhow!(
                "another instance took it over, or the database now has another lineage"
            );
            return Err(StartError::unavailable("the lease", cause));
        }
        Ok(())
    }
}

/// The time budget of a shutdown, spent step by step.
struct ShutdownBudget {
    deadline: Instant,
}

impl ShutdownBudget {
    fn new(time: Duration) -> ShutdownBudget {
        ShutdownBudget {
            deadline: Instant::now() + time,
        }
    }

    /// Runs a step for at most a share of the time that is left, and logs `late` if it does not end
    /// in time. Time that a step does not use remains for later steps.
    async fn run_step(&mut self, share: f64, late: &'static str, step: impl Future<Output = ()>) {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if timeout(left.mul_f64(share), step).await.is_err() {
            warn!("{late}");
        }
    }
}
