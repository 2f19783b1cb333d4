//! A Postgres database per test, on the server at `RAIDHALL_TEST_POSTGRES_URL`
//! (`scripts/with-services` starts one). Databases are copied from a template that has the schema:
//! that is faster than to migrate each of them.

use std::env;
use std::hash::{DefaultHasher, Hash, Hasher};

use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection};
use uuid::Uuid;

/// Environment variable with the URL of the Postgres server.
pub const SERVER_URL_VARIABLE: &str = "RAIDHALL_TEST_POSTGRES_URL";

/// A database of one test. Dropping it drops the database.
pub struct PostgresDatabase {
    server: PgConnectOptions,
    name: String,
}

impl PostgresDatabase {
    /// Creates a database with the schema and a lineage of its own. Panics if there is no server: a
    /// test that passed without having run would prove nothing.
    pub async fn create() -> PostgresDatabase {
        const NEW_LINEAGE: &str = "UPDATE meta SET value = replace(gen_random_uuid()::text, '-', '') WHERE key = 'lineage'";
        let server = server();
        let template = create_template(&server).await;
        let database = PostgresDatabase::create_from(server, &template).await;
        let mut connection = database.options().connect().await.expect("connect");
        connection.execute(NEW_LINEAGE).await.expect(NEW_LINEAGE);
        connection.close().await.expect("close the connection");
        database
    }

    /// Creates a database without any table.
    #[allow(dead_code, reason = "not every test binary tests migrations")]
    pub async fn create_empty() -> PostgresDatabase {
        PostgresDatabase::create_from(server(), "template1").await
    }

    async fn create_from(server: PgConnectOptions, template: &str) -> PostgresDatabase {
        let name = format!("raidhall_test_{}", Uuid::now_v7().simple());
        run(
            &server,
            format!("CREATE DATABASE {name} TEMPLATE {template}"),
        )
        .await;
        PostgresDatabase { server, name }
    }

    fn options(&self) -> PgConnectOptions {
        self.server.clone().database(&self.name)
    }

    pub fn url(&self) -> String {
        self.options().to_url_lossy().into()
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

fn server() -> PgConnectOptions {
    let url = env::var(SERVER_URL_VARIABLE).unwrap_or_else(|_| {
        panic!("{SERVER_URL_VARIABLE} is not set: run scripts/with-services cargo test")
    });
    url.parse().expect("a database URL")
}

/// Returns the name of a database with the schema of these migrations, which the first caller
/// creates.
async fn create_template(server: &PgConnectOptions) -> String {
    const LOCK: &str = "SELECT pg_advisory_lock(7266616964)";
    let migrations = sqlx::migrate!("migrations/postgres");
    let mut hasher = DefaultHasher::new();
    for migration in migrations.iter() {
        migration.checksum.hash(&mut hasher);
    }
    let name = format!("raidhall_template_{:016x}", hasher.finish());
    let mut connection = server.connect().await.expect("connect to the test server");
    if !database_exists(&mut connection, &name).await {
        connection.execute(LOCK).await.expect(LOCK);
        if !database_exists(&mut connection, &name).await {
            migrate_template(server, &migrations, &name).await;
        }
    }
    // Closing the session ends the lock.
    connection.close().await.expect("close the connection");
    name
}

async fn database_exists(connection: &mut PgConnection, name: &str) -> bool {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
        .bind(name)
        .fetch_one(connection)
        .await
        .expect("list the databases")
}

/// The database gets its name last, so that a killed test leaves no template without a schema.
async fn migrate_template(server: &PgConnectOptions, migrations: &Migrator, name: &str) {
    let unfinished = format!("{name}_unfinished");
    run(
        server,
        format!("DROP DATABASE IF EXISTS {unfinished} WITH (FORCE)"),
    )
    .await;
    run(server, format!("CREATE DATABASE {unfinished}")).await;
    let options = server.clone().database(&unfinished);
    let mut connection = options.connect().await.expect("connect to the template");
    migrations.run(&mut connection).await.expect("migrate");
    connection.close().await.expect("close the connection");
    run(
        server,
        format!("ALTER DATABASE {unfinished} RENAME TO {name}"),
    )
    .await;
}

async fn run(server: &PgConnectOptions, statement: String) {
    let mut connection = server.connect().await.expect("connect to the test server");
    connection
        .execute(AssertSqlSafe(statement))
        .await
        .expect("run a statement on the test server");
    connection.close().await.expect("close the connection");
}
