//! Connections that are lent for one statement each.
//!
//! Every call of the store is one autocommitted statement, so that no lock ever waits for a client. A connection comes
//! back only when its statement has been answered: a caller that gives up drops the socket with its future, and nobody
//! inherits a session in the middle of an exchange. The server may finish such a statement, for at most the statement
//! timeout. sqlx's own pool would wait for it instead, and adds a round trip to each return and each loan.
//!
//! sqlx offers neither TCP keepalives nor TCP_NODELAY. Each statement therefore has a time limit on this side too, and
//! is sent in one write, which Linux never delays.

use std::time::Duration;

use ::metrics::Gauge;
use parking_lot::Mutex;
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

/// Idle for longer, a connection may have been forgotten by a firewall.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Older, a connection is replaced: the server's caches in it only grow, and a moved name is looked up again.
const AGE_MAX: Duration = Duration::from_secs(30 * 60);

/// How connections are made, and how long is waited.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) options: PgConnectOptions,
    pub(super) connect_timeout: Duration,
    pub(super) response_timeout: Duration,
}

impl Connector {
    /// A new connection.
    pub(super) async fn connect(&self, operation: &'static str) -> Result<PgConnection> {
        match timeout(self.connect_timeout, self.options.connect()).await {
            Ok(connected) => connected.map_err(|error| fault::from_sqlx(operation, error)),
            Err(elapsed) => Err(fault::unavailable(operation, elapsed)),
        }
    }

    /// The answer to a statement, and the connection if it may still be used.
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

/// A bounded number of connections, opened as they are needed.
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
    /// At most `max` connections; `pool` is what metrics call them.
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

    /// Runs a statement and gives its rows. Waits for a connection, for at most the connect timeout.
    pub(super) async fn fetch_rows(
        &self,
        operation: &'static str,
        statement: Statement,
    ) -> Result<Vec<PgRow>> {
        let asked = Instant::now();
        let permit = self.acquire_permit(operation).await;
        metrics().store_wait_seconds.record(asked.elapsed());
        let (_permit, _busy) = (permit?, GaugeGuard::increment(&self.busy));
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
            // Whatever broke this one (a restart, a failover) broke the others too.
            None => self.idle.lock().clear(),
        }
        answer
    }

    /// Runs a statement and reads each row.
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

    /// Runs a statement that gives at most one row, and reads it.
    pub(super) async fn fetch_optional<T>(
        &self,
        operation: &'static str,
        statement: Statement,
        read: impl Fn(&PgRow) -> sqlx::Result<T>,
    ) -> Result<Option<T>> {
        Ok(self.fetch_all(operation, statement, read).await?.pop())
    }

    /// Runs a statement that gives one row, and reads it.
    pub(super) async fn fetch_one<T>(
        &self,
        operation: &'static str,
        statement: Statement,
        read: impl Fn(&PgRow) -> sqlx::Result<T>,
    ) -> Result<T> {
        let first = self.fetch_optional(operation, statement, read).await?;
        first.ok_or_else(|| fault::from_sqlx(operation, sqlx::Error::RowNotFound))
    }

    /// Runs a statement that gives one row with a count, and reads it.
    pub(super) async fn fetch_count(
        &self,
        operation: &'static str,
        statement: Statement,
    ) -> Result<u64> {
        self.fetch_one(operation, statement, |row| number(row, "count"))
            .await
    }

    /// Runs a statement that does away with a few rows and counts them, until it finds none.
    pub(super) async fn sweep(
        &self,
        operation: &'static str,
        statement: &'static str,
    ) -> Result<()> {
        while self.fetch_count(operation, sqlx::query(statement)).await? > 0 {}
        Ok(())
    }

    /// A session like those that statements get.
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
