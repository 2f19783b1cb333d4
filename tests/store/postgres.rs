//! The suite on Postgres, and what only a server with several connections can show.

mod feed;
mod in_flight;
mod lease;
mod partitions;
mod rivals;
mod standing;

use std::sync::Arc;
use std::time::Duration;

use raidhall::store::postgres::{PostgresOptions, PostgresStore};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::conformance::{BRIEF, Fresh};
use crate::database::Database;

async fn fresh() -> Fresh {
    let database = Database::create().await;
    let store = open(&database).await;
    Fresh::new(store, database)
}

conformance_suite!(fresh);

fn options(database: &Database) -> PostgresOptions {
    PostgresOptions {
        url: database.url(),
        connections_max: 8,
        statement_timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(10),
        is_exclusive: false,
    }
}

/// A store on a database whose schema is up to date.
async fn open(database: &Database) -> Arc<PostgresStore> {
    open_with(options(database)).await
}

async fn open_with(options: PostgresOptions) -> Arc<PostgresStore> {
    let store = PostgresStore::connect(options).await.expect("connect");
    store.migrate().await.expect("migrate");
    Arc::new(store)
}

/// A session beside the store's, with the server's defaults.
async fn connect(database: &Database) -> PgConnection {
    PgConnection::connect(&database.url())
        .await
        .expect("connect")
}

/// A session that has changed something and not committed it.
async fn holding(database: &Database, change: &str) -> PgConnection {
    let mut session = connect(database).await;
    session.execute("BEGIN").await.expect("begin");
    session
        .execute(AssertSqlSafe(change.to_owned()))
        .await
        .expect(change);
    session
}

/// Waits until `count` sessions of the store wait for a lock; gives their process ids.
async fn waiting_for_locks(database: &Database, count: usize) -> Vec<i32> {
    const WAITING: &str = "
        SELECT pid FROM pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE 'raidhall%' AND wait_event_type = 'Lock'
            AND state = 'active'";
    let mut session = connect(database).await;
    loop {
        let pids: Vec<i32> = sqlx::query_scalar(WAITING)
            .fetch_all(&mut session)
            .await
            .expect("read activity");
        if pids.len() >= count {
            return pids;
        }
        tokio::time::sleep(BRIEF).await;
    }
}

/// Ends sessions as an administrator or a failover would.
async fn terminate(database: &Database, application: &str) {
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
