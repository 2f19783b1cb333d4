//! The lease of this instance, from its start to its end: kept on a thread and a connection of its own, so that no
//! load delays it.
//!
//! A store whose lock alone keeps others out needs no such care: there a task keeps the lease.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::anyhow;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, info_span, warn};

use crate::clock::Clock;
use crate::cluster::lease::{self, Lease, LeaseRenewer};
use crate::cluster::membership::Membership;
use crate::http::Readiness;
use crate::store::{InstanceRecord, RegisterError, Renewal, Store, StoreError};

/// How long giving the lease back may take; failing that, it runs out by itself.
const DEREGISTER_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a renewal out of turn may take.
const RENEW_TIMEOUT: Duration = Duration::from_secs(1);

/// What it takes to serve.
pub(super) struct LeaseSetup {
    pub(super) store: Arc<dyn Store>,
    pub(super) instance: InstanceRecord,
    /// Whether the instance is about to end.
    pub(super) draining: Arc<AtomicBool>,
    pub(super) options: lease::Options,
    /// How long to wait for a former instance to be gone.
    pub(super) register_timeout: Duration,
    /// Told of each renewal.
    pub(super) readiness: Readiness,
    /// Whether a thread renews the lease, rather than a task.
    pub(super) has_own_thread: bool,
}

/// A lease that is being kept.
pub(super) struct HeldLease {
    pub(super) clock: Arc<Clock>,
    pub(super) lease: Arc<Lease>,
    pub(super) membership: Membership,
    pub(super) lineage: String,
    renew_requested: Arc<Notify>,
    lost: CancellationToken,
    /// Gives the lease back when dropped.
    stop: DropGuard,
    ended: oneshot::Receiver<()>,
}

/// What a registered instance starts with.
struct StartedLease {
    clock: Arc<Clock>,
    lease: Arc<Lease>,
    membership: Membership,
    lineage: String,
}

impl LeaseSetup {
    /// Enlists, and keeps the lease from then on.
    pub(super) async fn start(self) -> Result<HeldLease, RegisterError> {
        let (sender, begun) = oneshot::channel();
        let (ending, ended) = oneshot::channel();
        let (lost, stop, nudge) = (
            CancellationToken::new(),
            CancellationToken::new(),
            Arc::default(),
        );
        let has_own_thread = self.has_own_thread;
        let keeping = {
            let (lost, stop, nudge) = (lost.clone(), stop.clone(), Arc::clone(&nudge));
            async move {
                self.hold_lease(sender, nudge, lost, stop).await;
                // Nobody may be left to hear it.
                let _ = ending.send(());
            }
            .instrument(info_span!("lease"))
        };
        if !has_own_thread {
            TaskTracker::new().spawn(keeping);
        } else {
            let run = move || match tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
            {
                Ok(runtime) => runtime.block_on(keeping),
                Err(error) => warn!(%error, "there is no runtime for the lease"),
            };
            let thread = std::thread::Builder::new().name("lease".into()).spawn(run);
            thread.map_err(|error| lease_thread_error(error.into()))?;
        }
        let begun = begun
            .await
            .map_err(|_| lease_thread_error(anyhow!("it ended")))??;
        let StartedLease {
            clock,
            lease,
            membership: peers,
            lineage,
        } = begun;
        Ok(HeldLease {
            clock,
            lease,
            membership: peers,
            lineage,
            renew_requested: nudge,
            lost,
            stop: stop.drop_guard(),
            ended,
        })
    }

    fn has_exclusive_lock(&self) -> bool {
        self.store.has_exclusive_lock()
    }

    async fn hold_lease(
        self,
        begun: oneshot::Sender<Result<StartedLease, RegisterError>>,
        nudge: Arc<Notify>,
        lost: CancellationToken,
        stop: CancellationToken,
    ) {
        // Whatever ends it, a panic too: without a lease there is nothing to serve.
        let lost = lost.drop_guard();
        let (start, renewal) = match self.register().await {
            Ok(enlisted) => enlisted,
            // Whoever waits for it hears it.
            Err(error) => return drop(begun.send(Err(error))),
        };
        let clock = Arc::new(Clock::new(renewal.now));
        let peers = Membership::new(self.options.ttl);
        peers.update(renewal.now, renewal.peers, false);
        let lease = Arc::new(if self.has_exclusive_lock() {
            Lease::unlimited()
        } else {
            Lease::new(start, self.options.ttl)
        });
        let LeaseSetup {
            store,
            instance,
            draining,
            options,
            readiness,
            ..
        } = self;
        readiness.record_lease_renewal();
        let keeper = LeaseRenewer {
            store: Arc::clone(&store),
            instance: instance.clone(),
            draining,
            lease: Arc::clone(&lease),
            options,
            clock: Arc::clone(&clock),
            membership: peers.clone(),
            renew_requested: nudge,
            lineage: renewal.lineage.clone(),
        };
        if begun
            .send(Ok(StartedLease {
                clock,
                lease,
                membership: peers,
                lineage: renewal.lineage,
            }))
            .is_ok()
        {
            match stop
                .run_until_cancelled(keeper.run(move || readiness.record_lease_renewal()))
                .await
            {
                Some(()) => {
                    drop(lost);
                    stop.cancelled().await;
                }
                None => drop(lost.disarm()),
            }
        }
        match timeout(DEREGISTER_TIMEOUT, store.deregister(instance.id)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(
                ?error,
                "the lease was not given back; it runs out by itself"
            ),
            Err(_) => warn!("the lease was not given back in time; it runs out by itself"),
        }
    }

    /// Enlists. Gives the moment from which the lease counts.
    async fn register(&self) -> Result<(Instant, Renewal), RegisterError> {
        let sent = Instant::now();
        let enlisted = self
            .store
            .register(&self.instance, self.options.ttl, self.register_timeout)
            .await?;
        if self.has_exclusive_lock() {
            return Ok((sent, enlisted));
        }
        // The start may have been a long wait for a former instance: renewed at once, the lease counts from now.
        let renewed = Instant::now();
        Ok(
            match self.store.renew(&self.instance, self.options.ttl).await {
                Ok(renewal) => (renewed, renewal),
                Err(_) => (sent, enlisted),
            },
        )
    }
}

fn lease_thread_error(source: anyhow::Error) -> RegisterError {
    RegisterError::Store(StoreError::Refused {
        operation: "start the lease's thread",
        source,
    })
}

impl HeldLease {
    /// Waits until the lease is lost for good.
    pub(super) async fn wait_until_lost(&self) {
        self.lost.cancelled().await;
    }

    /// Whether it is lost for good.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// Renews out of turn, so that all learn that we drain, and we learn who is there to take our raids. Waits until
    /// something was learned, but no longer than a moment.
    pub(super) async fn renew_now(&self) {
        let mut learned = self.membership.watch_updates();
        self.renew_requested.notify_one();
        let _ = timeout(RENEW_TIMEOUT, learned.changed()).await;
    }

    /// Gives the lease back, and every raid that is still ours.
    pub(super) async fn deregister(self) {
        drop(self.stop);
        // Ends in any case: by itself, or with its thread.
        let _ = self.ended.await;
    }
}
