//! How an instance ends: raids are handed over, clients let go, everything put away, and the lease given back, all within
//! one budget of time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::StartError;
use super::instance::Running;
use crate::http::InstancePhase;

/// How much of the time handing raids over may take.
const RAIDS_SHARE: f64 = 0.4;

/// How much of what is then left clients may take; the rest is for putting everything away.
const CLIENTS_SHARE: f64 = 0.7;

impl Running {
    /// Lets raids and clients go, and ends.
    ///
    /// # Errors
    ///
    /// [`StartError::Unavailable`] if the lease was lost for good.
    pub(super) async fn end(self) -> Result<(), StartError> {
        let Running {
            readiness,
            kept,
            sessions,
            sockets,
            link,
            tasks,
            closing,
            stop,
            silence,
            ..
        } = self;
        readiness.set_phase(InstancePhase::Draining);
        self.draining.store(true, Ordering::Relaxed);
        let mut left = Budget::of(self.shutdown.timeout);
        let lost = kept.is_lost();
        if !lost {
            sleep(self.shutdown.readiness_delay).await;
        }
        if !link.is_alone() {
            kept.look_around().await;
        }
        // Without the bus nobody could be told, and we could not forward.
        if !lost && kept.peers.any_fit() && link.is_proven() {
            left.spend(
                RAIDS_SHARE,
                "some raids could not be handed over",
                sessions.hand_over_all(),
            )
            .await;
        }
        closing.cancel();
        sockets.drain();
        let clients = async {
            tasks.doors.finish().await;
            tasks.connections.finish().await;
        };
        let late = "some clients do not let go; the raids are put away without them";
        left.spend(CLIENTS_SHARE, late, clients).await;
        let ending = async {
            stop.cancel();
            tasks.background.finish().await;
            tasks.sessions.finish().await;
            drop((sessions, sockets));
            tasks.journal.finish().await;
            // The last words of the sessions.
            link.flush().await;
            silence.cancel();
            tasks.bus.finish().await;
        };
        let late = "not everything ended in time; what was acknowledged is durable all the same";
        left.spend(1.0, late, ending).await;
        kept.end().await;
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
struct Budget {
    until: Instant,
}

impl Budget {
    fn of(time: Duration) -> Budget {
        Budget {
            until: Instant::now() + time,
        }
    }

    /// Gives a step a share of what is left; what it does not use is left to the others.
    async fn spend(&mut self, share: f64, late: &'static str, step: impl Future<Output = ()>) {
        let left = self.until.saturating_duration_since(Instant::now());
        if timeout(left.mul_f64(share), step).await.is_err() {
            warn!("{late}");
        }
    }
}

/// Ends a tracker: no task more, and those that are left are waited for.
trait Finish {
    async fn finish(&self);
}

impl Finish for TaskTracker {
    async fn finish(&self) {
        self.close();
        self.wait().await;
    }
}
