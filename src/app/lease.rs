//! The lease of this instance, from registration to its end. A thread and a database connection of
//! its own renew it, so that no load delays a renewal.
//!
//! With a store that only one instance can open, an exclusive lock protects the raids; there a
//! plain task renews the lease.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::anyhow;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{Instrument, info_span, warn};

use crate::clock::{BootInstant, Clock};
use crate::cluster::lease::{self, Lease, LeaseRenewer};
use crate::cluster::membership::Membership;
use crate::http::Readiness;
use crate::store::{InstanceRecord, RegisterError, Renewal, Store, StoreError};
use crate::task_group::TaskGroup;

/// How long giving the lease back may take; after that the lease expires by itself.
const DEREGISTER_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a renewal out of turn may take.
const RENEW_TIMEOUT: Duration = Duration::from_secs(1);

/// The inputs for registering the instance and renewing its lease.
pub(super) struct LeaseSetup {
    pub(super) store: Arc<dyn Store>,
    pub(super) instance: InstanceRecord,
    /// Whether the instance drains; every renewal reports it to the other instances.
    pub(super) draining: Arc<AtomicBool>,
    pub(super) options: lease::Options,
    /// How long to wait for a former instance's lock or lease to end.
    pub(super) register_timeout: Duration,
    /// Receives the moment of each renewal.
    pub(super) readiness: Readiness,
    /// Whether a thread renews the lease, rather than a task.
    pub(super) has_own_thread: bool,
}

/// A lease that is renewed in the background.
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

/// The first results of a registration.
struct StartedLease {
    clock: Arc<Clock>,
    lease: Arc<Lease>,
    membership: Membership,
    lineage: String,
}

impl LeaseSetup {
    /// Registers the instance and starts to renew its lease in the background.
    pub(super) async fn start(self) -> Result<HeldLease, RegisterError> {
        let (started_sender, started) = oneshot::channel();
        let (ended_sender, ended) = oneshot::channel();
        let lost = CancellationToken::new();
        let stop = CancellationToken::new();
        let renew_requested = Arc::<Notify>::default();
        let has_own_thread = self.has_own_thread;
        let holding = {
            let lost = lost.clone();
            let stop = stop.clone();
            let renew_requested = Arc::clone(&renew_requested);
            async move {
                self.hold_lease(started_sender, renew_requested, lost, stop)
                    .await;
                // The receiver is gone if the instance was dropped without a shutdown.
                let _ = ended_sender.send(());
            }
            .instrument(info_span!("lease"))
        };
        if !has_own_thread {
            TaskGroup::default().spawn(holding);
        } else {
            let run = move || match tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
            {
                Ok(runtime) => runtime.block_on(holding),
                Err(error) => warn!(%error, "starting the lease's runtime failed; giving up"),
            };
            let thread = std::thread::Builder::new().name("lease".into()).spawn(run);
            thread.map_err(|error| lease_thread_error(error.into()))?;
        }
        let started = started
            .await
            .map_err(|_| lease_thread_error(anyhow!("it ended")))??;
        let StartedLease {
            clock,
            lease,
            membership,
            lineage,
        } = started;
        Ok(HeldLease {
            clock,
            lease,
            membership,
            lineage,
            renew_requested,
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
        started: oneshot::Sender<Result<StartedLease, RegisterError>>,
        renew_requested: Arc<Notify>,
        lost: CancellationToken,
        stop: CancellationToken,
    ) {
        // However this function ends, even by a panic: the lease counts as lost unless the guard is
        // disarmed.
        let lost = lost.drop_guard();
        let asked_at = Instant::now();
        let (start, renewal) = match self.register().await {
            Ok(registered) => registered,
            Err(error) => {
                // The receiver is gone if the start was cancelled.
                let _ = started.send(Err(error));
                return;
            }
        };
        let clock = Arc::new(Clock::new(renewal.now));
        let membership = Membership::new(self.options.ttl);
        membership.update(asked_at, renewal.now, renewal.peers, false);
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
        let renewer = LeaseRenewer {
            store: Arc::clone(&store),
            instance: instance.clone(),
            draining,
            lease: Arc::clone(&lease),
            options,
            clock: Arc::clone(&clock),
            membership: membership.clone(),
            renew_requested,
            lineage: renewal.lineage.clone(),
        };
        if started
            .send(Ok(StartedLease {
                clock,
                lease,
                membership,
                lineage: renewal.lineage,
            }))
            .is_ok()
        {
            match stop
                .run_until_cancelled(renewer.run(move || readiness.record_lease_renewal()))
                .await
            {
                Some(()) => {
                    drop(lost);
                    stop.cancelled().await;
                }
                None => {
                    lost.disarm();
                }
            }
        }
        match timeout(DEREGISTER_TIMEOUT, store.deregister(instance.id)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(?error, "giving the lease back failed; it expires by itself"),
            Err(_) => warn!("giving the lease back timed out; it expires by itself"),
        }
    }

    /// Registers the instance in the store. Returns the moment from which the lease counts and the
    /// store's answer.
    async fn register(&self) -> Result<(BootInstant, Renewal), RegisterError> {
        let sent = BootInstant::now();
        let registered = self
            .store
            .register(&self.instance, self.options.ttl, self.register_timeout)
            .await?;
        if self.has_exclusive_lock() {
            return Ok((sent, registered));
        }
        // The registration may have waited long for a former instance. After a renewal the lease
        // counts from now.
        let renewed = BootInstant::now();
        Ok(
            match self.store.renew(&self.instance, self.options.ttl).await {
                Ok(renewal) => (renewed, renewal),
                Err(_) => (sent, registered),
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

    /// Whether the lease is lost for good.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// Renews the lease at once, so that the other instances learn that this one drains, and this
    /// one learns which instances can take its raids. Waits for the next update of the membership,
    /// at most [`RENEW_TIMEOUT`].
    pub(super) async fn renew_now(&self) {
        let mut updates = self.membership.watch_updates();
        self.renew_requested.notify_one();
        let _ = timeout(RENEW_TIMEOUT, updates.changed()).await;
    }

    /// Gives the lease back, and with it every raid that this instance still owns.
    pub(super) async fn deregister(self) {
        drop(self.stop);
        // This always ends: the lease's task sends, or drops the sender with its thread.
        let _ = self.ended.await;
    }
}
