//! The suite on Postgres, and what only a server with several connections can show.

use crate::conformance::Fresh;
use crate::database::Database;
use raidhall::store::postgres::{PostgresOptions, PostgresStore};
use std::sync::Arc;
use std::time::Duration;

async fn fresh() -> Fresh {
    let database = Database::create().await;
    let store = open(&database).await;
    Fresh::new(Arc::new(store), database)
}

conformance_suite!(fresh);

fn options(database: &Database) -> PostgresOptions {
    PostgresOptions {
        url: database.url(),
        connections_max: 8,
        statement_timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(10),
        alone: false,
    }
}

/// A store on a database whose schema is up to date.
async fn open(database: &Database) -> PostgresStore {
    let store = PostgresStore::connect(options(database)).await.expect("connect");
    store.migrate().await.expect("migrate");
    store
}
