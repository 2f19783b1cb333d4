//! The conformance suite on Postgres, and properties that need a server with several connections.

mod accounts;
mod competing_instances;
mod feed;
mod in_flight;
mod interleavings;
mod lease;
mod moderation;
mod partitions;

use std::sync::Arc;
use std::time::Duration;

use raidhall::store::postgres::{PostgresOptions, PostgresStore};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::conformance::TestStore;
use crate::database::PostgresDatabase;
use crate::wait::wait_for;

async fn new_store() -> TestStore {
    let database = PostgresDatabase::create().await;
    let store = open(&database).await;
    TestStore::new(store, database)
}

conformance_suite!(new_store);

fn options(database: &PostgresDatabase) -> PostgresOptions {
    PostgresOptions {
        url: database.url(),
        connections_max: 8,
        statement_timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(10),
        is_exclusive: false,
    }
}

/// Opens a store on a database, and migrates its schema.
async fn open(database: &PostgresDatabase) -> Arc<PostgresStore> {
    open_with(options(database)).await
}

async fn open_with(options: PostgresOptions) -> Arc<PostgresStore> {
    let store = PostgresStore::connect(options).await.expect("connect");
    store.migrate(Duration::ZERO).await.expect("migrate");
    Arc::new(store)
}

/// Opens a session of the test's own, with the server's defaults.
async fn connect(database: &PostgresDatabase) -> PgConnection {
    PgConnection::connect(&database.url())
        .await
        .expect("connect")
}

/// Locks the members' rows: a commit in which a player joins again stops there, after it has locked the
/// raid's row.
const HOLD_MEMBERS: &str = "SELECT FROM raid_members FOR UPDATE";

/// Opens a session that has made a change and not committed it.
async fn open_uncommitted(database: &PostgresDatabase, change: &str) -> PgConnection {
    let mut session = connect(database).await;
    session.execute("BEGIN").await.expect("begin");
    session
        .execute(AssertSqlSafe(change.to_owned()))
        .await
        .expect(change);
    session
}

/// Waits until `count` sessions of the store wait for a lock; returns their process ids.
async fn wait_for_lock_waiters(database: &PostgresDatabase, count: usize) -> Vec<i32> {
    const WAITING: &str = "
        SELECT pid FROM pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE 'raidhall%' AND wait_event_type = 'Lock'
            AND state = 'active'";
    let mut session = connect(database).await;
    wait_for("sessions that wait for a lock", async || {
        let pids: Vec<i32> = sqlx::query_scalar(WAITING)
            .fetch_all(&mut session)
            .await
            .expect("read activity");
        (pids.len() >= count).then_some(pids)
    })
    .await
}

/// Terminates sessions, as an administrator or a failover would.
async fn terminate_sessions(database: &PostgresDatabase, application: &str) {
    const TERMINATE: &str = "
        SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE $1";
    let mut session = connect(database).await;
    sqlx::query(TERMINATE)
        .bind(application)
        .execute(&mut session)
        .await
        .expect("terminate");
}
