//! A Postgres database per test, on the server of `RAIDHALL_TEST_POSTGRES_URL` (`scripts/with-services` starts one).

use std::env;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use uuid::Uuid;

/// Names the server.
pub const SERVER_URL_VARIABLE: &str = "RAIDHALL_TEST_POSTGRES_URL";

/// A database that lives as long as this.
pub struct PostgresDatabase {
    server: PgConnectOptions,
    name: String,
}

impl PostgresDatabase {
    /// A new, empty database. Panics if there is no server to make it on: a test that passes without having run would
    /// say nothing.
    pub async fn create() -> PostgresDatabase {
        let url = env::var(SERVER_URL_VARIABLE).unwrap_or_else(|_| {
            panic!("{SERVER_URL_VARIABLE} is not set: run scripts/with-services cargo test")
        });
        let server: PgConnectOptions = url.parse().expect("a database url");
        let name = format!("raidhall_test_{}", Uuid::now_v7().simple());
        run(&server, format!("CREATE DATABASE {name}")).await;
        PostgresDatabase { server, name }
    }

    /// Where the database is.
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
        let (server, drop) = (
            self.server.clone(),
            format!("DROP DATABASE {} WITH (FORCE)", self.name),
        );
        // The test's own runtime is busy being left.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(run(&server, drop));
        });
        dropping.join().expect("drop the database");
    }
}

async fn run(server: &PgConnectOptions, statement: String) {
    let mut connection = server.connect().await.expect("connect to the test server");
    connection
        .execute(AssertSqlSafe(statement))
        .await
        .expect("run on the test server");
    connection.close().await.expect("close");
}
