//! A Postgres database per test, on the server at `RAIDHALL_TEST_POSTGRES_URL`
//! (`scripts/with-services` starts one).

use std::env;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use uuid::Uuid;

/// Environment variable with the URL of the Postgres server.
pub const SERVER_URL_VARIABLE: &str = "RAIDHALL_TEST_POSTGRES_URL";

/// A database of one test. Dropping it drops the database.
pub struct PostgresDatabase {
    server: PgConnectOptions,
    name: String,
}

impl PostgresDatabase {
    /// Creates an empty database. Panics if there is no server: a test that passed without having
    /// run would prove nothing.
    pub async fn create() -> PostgresDatabase {
        let url = env::var(SERVER_URL_VARIABLE).unwrap_or_else(|_| {
            panic!("{SERVER_URL_VARIABLE} is not set: run scripts/with-services cargo test")
        });
        let server: PgConnectOptions = url.parse().expect("a database URL");
        let name = format!("raidhall_test_{}", Uuid::now_v7().simple());
        run(&server, format!("CREATE DATABASE {name}")).await;
        PostgresDatabase { server, name }
    }

    pub fn url(&self) -> String {
        self.server
            .clone()
            .database(&self.name)
            .to_url_lossy()
            .into()
    }
}

impl Drop for PostgresDatabase {
    fn drop(&mut self) {
        let server = self.server.clone();
        let statement = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        // This thread already drives the test's runtime, and a thread can drive only one.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(run(&server, statement));
        });
        dropping.join().expect("drop the database");
    }
}

async fn run(server: &PgConnectOptions, statement: String) {
    let mut connection = server.connect().await.expect("connect to the test server");
    connection
        .execute(AssertSqlSafe(statement))
        .await
        .expect("run a statement on the test server");
    connection.close().await.expect("close the connection");
}
