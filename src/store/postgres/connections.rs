//! A pool of connections, each lent for one statement.
//!
//! Every call of the store is one autocommitted statement, so that no lock ever waits for a client.
//! A connection returns to the pool only when its statement has been answered: a caller that gives
//! up drops the socket with its future, so no other caller gets a session in the middle of an
//! exchange. The server may still finish such a statement, within the statement timeout. sqlx's own
//! pool would wait for it instead, and adds a round trip to each return and each loan.
//!
//! sqlx offers neither TCP keepalives nor TCP_NODELAY. Each statement therefore has a time limit on
//! this side too, and is sent in one write, which Linux never delays.

use std::time::Duration;

use ::metrics::Gauge;
use parking_lot::Mutex;
use raidhall_protocol::UnixMillis;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::query::Query;
use sqlx::{ConnectOptions, PgConnection, Postgres};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use super::columns::number;
use super::fault;
use crate::store::Result;
use crate::telemetry::{GaugeGuard, StorePool, metrics};

/// A statement with its arguments.
pub(super) type Statement = Query<'static, Postgres, PgArguments>;

/// Idle time after which a connection is closed, because a firewall may have forgotten it.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Age after which a connection is replaced: the server's caches in it only grow, and a host name
/// that has moved is resolved again.
const AGE_MAX: Duration = Duration::from_secs(30 * 60);

/// Options of new connections, and the time limits of connecting and of a statement's reply.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) options: PgConnectOptions,
    pub(super) connect_timeout: Duration,
    pub(super) response_timeout: Duration,
}

impl Connector {
    /// Opens a new connection, within the connect timeout.
    pub(super) async fn connect(&self, operation: &'static str) -> Result<PgConnection> {
        match timeout(self.connect_timeout, self.options.connect()).await {
            Ok(connected) => connected.map_err(|error| fault::from_sqlx(operation, error)),
            Err(elapsed) => Err(fault::unavailable(operation, elapsed)),
        }
    }

    /// Runs a statement and returns its rows, and the connection if it can still be used.
    pub(super) async fn fetch_rows(
        &self,
        operation: &'static str,
        mut connection: PgConnection,
        statement: Statement,
    ) -> (Result<Vec<PgRow>>, Option<PgConnection>) {
        match timeout(self.response_timeout, statement.fetch_all(&mut connection)).await {
            Ok(Ok(rows)) => (Ok(rows), Some(connection)),
            Ok(Err(error)) => {
                let usable = fault::leaves_connection_usable(&error);
                (
                    Err(fault::from_sqlx(operation, error)),
                    usable.then_some(connection),
                )
            }
            Err(elapsed) => (Err(fault::unavailable(operation, elapsed)), None),
        }
    }
}

/// A bounded pool of connections, which are opened as needed.
pub(super) struct ConnectionPool {
    connector: Connector,
    permits: Semaphore,
    idle: Mutex<Vec<IdleConnection>>,
    busy: Gauge,
}

struct IdleConnection {
    connection: PgConnection,
    opened: Instant,
    idle_since: Instant,
}

impl ConnectionPool {
    /// Creates a pool of at most `max` connections; `pool` is its label in metrics.
    pub(super) fn new(connector: Connector, max: usize, pool: StorePool) -> ConnectionPool {
        metrics()
            .store_connections_max
            .with_label(pool)
            .set(max as f64);
        let busy = metrics().store_busy.with_label(pool);
        ConnectionPool {
            connector,
            permits: Semaphore::new(max),
            idle: Mutex::default(),
            busy,
        }
    }

    /// Runs a statement and returns its rows. Waits for a connection for at most the connect
    /// timeout.
    pub(super) async fn fetch_rows(
        &self,
        operation: &'static str,
        statement: Statement,
    ) -> Result<Vec<PgRow>> {
        let requested = Instant::now();
        let permit = self.acquire_permit(operation).await;
        metrics().store_wait_seconds.record(requested.elapsed());
        let _permit = permit?;
        let _busy = GaugeGuard::increment(&self.busy);
        let (connection, opened) = match self.take_idle() {
            Some(idle) => (idle.connection, idle.opened),
            None => (self.connector.connect(operation).await?, Instant::now()),
        };
        let (answer, usable) = self
            .connector
            .fetch_rows(operation, connection, statement)
            .await;
        match usable {
            Some(connection) if opened.elapsed() < AGE_MAX => {
                self.idle.lock().push(IdleConnection {
                    connection,
                    opened,
                    idle_since: Instant::now(),
                });
            }
            Some(_) => {}
            // What broke this connection (a restart, a failover) broke the idle ones too.
            None => self.idle.lock().clear(),
        }
        answer
    }

    /// Runs a statement and reads each of its rows.
    pub(super) async fn fetch_all<T>(
        &self,
        operation: &'static str,
        statement: Statement,
        read: impl Fn(&PgRow) -> sqlx::Result<T>,
    ) -> Result<Vec<T>> {
        let rows = self.fetch_rows(operation, statement).await?;
        rows.iter()
            .map(read)
            .collect::<sqlx::Result<_>>()
            .map_err(|error| fault::from_sqlx(operation, error))
    }

    /// Runs a statement that returns at most one row, and reads it.
    pub(super) async fn fetch_optional<T>(
        &self,
        operation: &'static str,
        statement: Statement,
        read: impl Fn(&PgRow) -> sqlx::Result<T>,
    ) -> Result<Option<T>> {
        Ok(self.fetch_all(operation, statement, read).await?.pop())
    }

    /// Runs a statement that returns one row, and reads it.
    pub(super) async fn fetch_one<T>(
        &self,
        operation: &'static str,
        statement: Statement,
        read: impl Fn(&PgRow) -> sqlx::Result<T>,
    ) -> Result<T> {
        let first = self.fetch_optional(operation, statement, read).await?;
        first.ok_or_else(|| fault::from_sqlx(operation, sqlx::Error::RowNotFound))
    }

    /// Runs a statement that returns one row with a count, and reads the count.
    pub(super) async fn fetch_count(
        &self,
        operation: &'static str,
        statement: Statement,
    ) -> Result<u64> {
        self.fetch_one(operation, statement, |row| number(row, "count"))
            .await
    }

    /// Repeats a statement that deletes a few rows and counts them, until it finds none.
    pub(super) async fn sweep(
        &self,
        operation: &'static str,
        before: UnixMillis,
        statement: &'static str,
    ) -> Result<()> {
        while self
            .fetch_count(operation, sqlx::query(statement).bind(before.0))
            .await?
            > 0
        {}
        Ok(())
    }

    /// Opens a session with the settings of the pool's connections.
    #[cfg(test)]
    pub(super) async fn open_session(&self) -> PgConnection {
        self.connector.connect("test").await.expect("connect")
    }

    async fn acquire_permit(&self, operation: &'static str) -> Result<SemaphorePermit<'_>> {
        match timeout(self.connector.connect_timeout, self.permits.acquire()).await {
            Ok(permit) => permit.map_err(|closed| fault::unavailable(operation, closed)),
            Err(_) => Err(fault::unavailable(
                operation,
                anyhow::anyhow!("all connections are busy"),
            )),
        }
    }

    fn take_idle(&self) -> Option<IdleConnection> {
        let mut idle = self.idle.lock();
        let newest = idle.pop()?;
        if newest.idle_since.elapsed() < IDLE_MAX {
            return Some(newest);
        }
        idle.clear(); // the others have been idle for longer
        None
    }
}
