//! The one connection that writes, on a thread of its own.
//!
//! Jobs come through two bounded queues; the leases' goes first, so that a renewal waits for one commit at most. A
//! full queue makes callers wait. A caller that gives up before its job has begun takes it back; a job that has begun
//! goes on to its end, so no transaction is ever left half-way.

use futures_util::future::BoxFuture;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{mpsc, oneshot};

use super::fault::{closed, failed};
use super::lock::Lock;
use crate::store::{Result, StoreError};
use crate::telemetry::{GaugeGuard, StorePool, metrics};

/// Jobs that wait for the thread; more make their callers wait. The journal has a few in flight at most.
const QUEUE_MAX: usize = 64;

/// A handle to the writing thread, which ends when the last is dropped and all jobs are done.
#[derive(Clone)]
pub(super) struct WriterHandle {
    leases: mpsc::Sender<Job>,
    general: mpsc::Sender<Job>,
}

/// What a job works with.
pub(super) struct WriterState {
    /// The connection, in no transaction.
    pub(super) connection: SqliteConnection,
    /// The database's lock.
    pub(super) lock: Lock,
    /// Whether the leases of former processes have been voided.
    pub(super) has_voided_leases: bool,
    options: SqliteConnectOptions,
}

/// Which queue a job takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// First out: what an instance's life hangs on.
    Leases,
    /// Everything else, in order.
    General,
}

type Job = Box<dyn for<'h> FnOnce(&'h mut WriterState) -> BoxFuture<'h, ConnectionHealth> + Send>;

/// Whether the connection can be trusted after a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConnectionHealth {
    Usable,
    Suspect,
}

impl WriterHandle {
    /// Starts the thread and opens the connection.
    pub(super) async fn start(options: SqliteConnectOptions, lock: Lock) -> Result<WriterHandle> {
        let (leases, leases_jobs) = mpsc::channel(QUEUE_MAX);
        let (others, others_jobs) = mpsc::channel(QUEUE_MAX);
        let (ready, opened) = oneshot::channel();
        let serve = async move {
            match options.connect().await {
                Ok(connection) => {
                    let _ = ready.send(Ok(())); // nobody may wait any more: then there are no handles either
                    WriterState {
                        connection,
                        lock,
                        has_voided_leases: false,
                        options,
                    }
                    .run_jobs(leases_jobs, others_jobs)
                    .await;
                }
                Err(error) => drop(ready.send(Err(failed("open database")(error)))),
            }
        };
        let no_thread = |error: std::io::Error| StoreError::Unavailable {
            operation: "open database",
            source: error.into(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(no_thread)?;
        let thread = std::thread::Builder::new().name("store-writer".into());
        thread
            .spawn(move || runtime.block_on(serve))
            .map_err(no_thread)?;
        opened.await.map_err(|_| closed("open database"))??;
        Ok(WriterHandle {
            leases,
            general: others,
        })
    }

    /// Runs a job on the thread and gives its result. If the caller gives up, a job that has begun still ends.
    pub(super) async fn run<T, F>(&self, operation: &'static str, lane: Lane, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'h> FnOnce(&'h mut WriterState) -> BoxFuture<'h, Result<T>> + Send + 'static,
    {
        let (answer, result) = oneshot::channel();
        let job: Job = Box::new(move |hand| {
            Box::pin(async move {
                if answer.is_closed() {
                    return ConnectionHealth::Usable;
                }
                let outcome = work(hand).await;
                let doubtful = matches!(outcome, Err(StoreError::Unavailable { .. }));
                let _ = answer.send(outcome); // the caller may have given up
                if doubtful {
                    ConnectionHealth::Suspect
                } else {
                    ConnectionHealth::Usable
                }
            })
        });
        let queue = match lane {
            Lane::Leases => &self.leases,
            Lane::General => &self.general,
        };
        queue.send(job).await.map_err(|_| closed(operation))?;
        result.await.map_err(|_| closed(operation))?
    }
}

impl WriterState {
    async fn run_jobs(mut self, mut leases: mpsc::Receiver<Job>, mut others: mpsc::Receiver<Job>) {
        metrics()
            .store_connections_max
            .with_label(StorePool::Writer)
            .set(1);
        let busy = metrics().store_busy.with_label(StorePool::Writer);
        loop {
            let job = tokio::select! {
                biased;
                Some(job) = leases.recv() => job,
                Some(job) = others.recv() => job,
                else => break,
            };
            let _busy = GaugeGuard::increment(&busy);
            if job(&mut self).await == ConnectionHealth::Suspect {
                self.reconnect().await;
            }
        }
        if let Err(error) = self.connection.close().await {
            tracing::warn!(%error, "close database");
        }
    }

    /// Replaces the connection. After an I/O error or a full disk, SQLite may have ended the transaction by itself,
    /// and sqlx would go on believing in it.
    async fn reconnect(&mut self) {
        match self.options.connect().await {
            Ok(connection) => self.connection = connection,
            Err(error) => tracing::warn!(%error, "reopen database"),
        }
    }
}
