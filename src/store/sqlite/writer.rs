//! The only connection that writes, on a thread of its own.
//!
//! Jobs come through two bounded queues. The queue of leases goes first, so that a renewal waits
//! for at most one commit. While a queue is full, callers wait. If a caller drops its call before
//! the job has begun, the job is skipped; a job that has begun runs to its end, so no transaction
//! is left half-way.

use anyhow::anyhow;
use futures_util::future::BoxFuture;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{mpsc, oneshot};

use super::fault::{closed, failed};
use super::lock::Lock;
use crate::store::{Result, StoreError};
use crate::telemetry::{GaugeGuard, StorePool, metrics};

/// Maximum number of jobs in each queue; beyond it callers wait. The journal has only a few in
/// flight.
const QUEUE_MAX: usize = 64;

/// Handle to the writer thread, which ends when the last handle is dropped and all jobs are done.
#[derive(Clone)]
pub(super) struct WriterHandle {
    leases: mpsc::Sender<Job>,
    general: mpsc::Sender<Job>,
}

/// State of the writer thread, which a job may use.
pub(super) struct WriterState {
    /// The writer's connection, outside of a transaction.
    pub(super) connection: SqliteConnection,
    pub(super) lock: Lock,
    options: SqliteConnectOptions,
}

/// Queue of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// The queue that goes first: renewals and other statements on which an instance's lease
    /// depends.
    Leases,
    /// The queue of all other jobs, in the order of their arrival.
    General,
}

type Job = Box<dyn for<'h> FnOnce(&'h mut WriterState) -> BoxFuture<'h, ConnectionHealth> + Send>;

/// Whether the connection can still be used after a job.
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
                    // The caller may have given up; then there are no handles either.
                    let _ = ready.send(Ok(()));
                    WriterState {
                        connection,
                        lock,
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

    /// Runs `work` in a transaction and returns its result **after the commit**. If `work` fails, the
    /// transaction is rolled back. Work that has begun runs to its end even if the caller drops the
    /// call.
    pub(super) async fn write<T, F>(&self, operation: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T>> + Send + 'static,
    {
        self.write_in(Lane::General, operation, work).await
    }

    /// Does the same as [`WriterHandle::write`], ahead of all jobs that do not concern a lease.
    pub(super) async fn write_first<T, F>(&self, operation: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T>> + Send + 'static,
    {
        self.write_in(Lane::Leases, operation, work).await
    }

    async fn write_in<T, F>(&self, lane: Lane, operation: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T>> + Send + 'static,
    {
        let write = self.run(operation, lane, move |writer| {
            Box::pin(async move {
                let failed = failed(operation);
                let mut transaction = writer
                    .connection
                    .begin_with("BEGIN IMMEDIATE")
                    .await
                    .map_err(&failed)?;
                let result = work(&mut transaction).await?;
                transaction.commit().await.map_err(failed)?;
                Ok(result)
            })
        });
        write.await
    }

    /// Copies the write-ahead log into the database file and empties it. Fails if a reader that
    /// began earlier still needs it.
    pub(super) async fn checkpoint(&self) -> Result<()> {
        const OPERATION: &str = "empty the write-ahead log";
        let checkpoint = self.run(OPERATION, Lane::General, |writer| {
            Box::pin(async {
                let statement = "PRAGMA wal_checkpoint(TRUNCATE)";
                let checkpoint = sqlx::query_as(statement).fetch_one(&mut writer.connection);
                let (is_busy, _, _): (bool, i64, i64) =
                    checkpoint.await.map_err(failed(OPERATION))?;
                if is_busy {
                    return Err(StoreError::Unavailable {
                        operation: OPERATION,
                        source: anyhow!("it is in use"),
                    });
                }
                Ok(())
            })
        });
        checkpoint.await
    }

    /// Runs a job that manages its own transactions, or needs none, on the writer thread.
    pub(super) async fn run<T, F>(&self, operation: &'static str, lane: Lane, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'h> FnOnce(&'h mut WriterState) -> BoxFuture<'h, Result<T>> + Send + 'static,
    {
        let (answer, result) = oneshot::channel();
        let job: Job = Box::new(move |writer| {
            Box::pin(async move {
                if answer.is_closed() {
                    return ConnectionHealth::Usable;
                }
                let outcome = work(writer).await;
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
            tracing::warn!(%error, "closing the database failed");
        }
    }

    /// Replaces the connection. After an I/O error or a full disk SQLite may have ended the
    /// transaction by itself, and sqlx would not notice.
    async fn reconnect(&mut self) {
        match self.options.connect().await {
            Ok(connection) => self.connection = connection,
            Err(error) => {
                tracing::warn!(%error, "reopening the database failed; trying again after the next failed job")
            }
        }
    }
}
