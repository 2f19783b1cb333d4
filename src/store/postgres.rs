//! The store in Postgres (15 or newer), for a cluster or a single instance.
//!
//! Every call is one autocommitted statement. Every statement is planned to use indexes only,
//! because a connection makes its plans when tables may be empty, and keeps them while the tables
//! grow.

mod audit;
mod backup;
mod boards;
mod catalog;
mod columns;
mod commit;
mod connections;
mod definitions;
mod erasures;
mod fault;
mod feed;
mod identities;
mod leases;
mod ledger;
mod moderation;
mod ownership;
mod partitions;
#[cfg(test)]
mod plans;
mod players;
mod projection;
mod stream_append;
mod streams;
mod webhooks;

use std::time::Duration;

use anyhow::anyhow;
pub use backup::{PostgresSource, PostgresTarget};
use connections::{ConnectionPool, Connector};
use leases::LeaseSession;
use partitions::Partitions;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};

use super::migration::apply_migrations;
use super::{ConnectionShares, RegisterError, Result, Store};
use crate::telemetry::StorePool;

/// The oldest server version that supports the statements.
const SERVER_VERSION_MIN: i32 = 150_000;

const SERVER_SETTINGS: &str = "
    SELECT current_setting('server_version_num')::integer, current_setting('synchronous_commit')";

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

const APPLIED_MIGRATIONS: &str =
    "SELECT version FROM _sqlx_migrations WHERE success ORDER BY version";

/// How long a migration waits for another process's migration, or for a lock.
const MIGRATION_LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a reply may take beyond the statement's own time limit.
const RESPONSE_MARGIN: Duration = Duration::from_secs(1);

/// Settings of the connections to Postgres.
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database` of a direct connection: a transaction pooler
    /// in between would break locks and prepared statements.
    pub url: String,
    /// Maximum number of connections, besides the lease's own, of which [`ConnectionShares`] are for
    /// commits, for sessions and for the rest.
    pub connections_max: u32,
    /// Time limit of one statement on the server; for up to half of it the statement may wait for a
    /// lock.
    pub statement_timeout: Duration,
    /// How long to wait for a connection, both for a new one to open and for one of the pool to be
    /// free.
    pub connect_timeout: Duration,
    /// Whether this process must be the only one that uses the database (with the local bus).
    pub is_exclusive: bool,
}

/// The store in a Postgres database.
pub struct PostgresStore {
    connector: Connector,
    commit_pool: ConnectionPool,
    /// For what sessions wait for: loads, claims, releases, heads, due raids, searches for op keys
    /// and checks of access. Pages of events are not among them, because REST and replays read them
    /// too.
    session_pool: ConnectionPool,
    general_pool: ConnectionPool,
    lease: LeaseSession,
    partitions: Partitions,
}

impl Store for PostgresStore {}

impl PostgresStore {
    /// Connects, and fails at once if that is impossible. It does not check the schema: see
    /// [`PostgresStore::migrate`].
    pub async fn connect(options: PostgresOptions) -> Result<PostgresStore> {
        let url: PgConnectOptions = options
            .url
            .parse()
            .map_err(|error| fault::refused("read database url", anyhow!("{error}")))?;
        let mut connector = Connector {
            options: url
                .disable_statement_logging()
                .application_name("raidhall")
                .options([
                    ("default_transaction_isolation", "read committed".to_owned()),
                    ("enable_seqscan", "off".to_owned()),
                    ("jit", "off".to_owned()),
                    (
                        "lock_timeout",
                        (options.statement_timeout / 2).as_millis().to_string(),
                    ),
                    ("plan_cache_mode", "force_generic_plan".to_owned()),
                    (
                        "statement_timeout",
                        options.statement_timeout.as_millis().to_string(),
                    ),
                ]),
            connect_timeout: options.connect_timeout,
            response_timeout: options.statement_timeout + RESPONSE_MARGIN,
        };
        let synchronous_commit = check_server(&connector).await?;
        // Sessions that are opened later keep it, whatever an administrator sets.
        connector.options = connector
            .options
            .options([("synchronous_commit", synchronous_commit)]);
        // Lookups join a few rows to their related rows by index. (A commit also joins its own
        // arrays, by hash.)
        let nested = ["enable_hashjoin", "enable_mergejoin"].map(|join| (join, "off"));
        let looking_up = Connector {
            options: connector.options.clone().options(nested),
            ..connector.clone()
        };
        let shares = ConnectionShares::new(options.connections_max);
        Ok(PostgresStore {
            commit_pool: ConnectionPool::new(connector.clone(), shares.commits, StorePool::Commits),
            session_pool: ConnectionPool::new(
                looking_up.clone(),
                shares.sessions,
                StorePool::Sessions,
            ),
            general_pool: ConnectionPool::new(looking_up, shares.general, StorePool::General),
            lease: LeaseSession::new(connector.clone(), options.is_exclusive),
            partitions: Partitions::new(connector.clone()),
            connector,
        })
    }

    /// Brings the schema up to date; several processes may call it at once. Waits up to `patience`
    /// until no instance of another generation is live. Migrations of a newer release are left
    /// alone, because that release may run beside this one.
    pub async fn migrate(&self, patience: Duration) -> Result<(), RegisterError> {
        const OPERATION: &str = "migrate";
        let mut connector = self.connector.clone();
        connector.options = connector.options.options([
            (
                "lock_timeout",
                MIGRATION_LOCK_TIMEOUT.as_millis().to_string(),
            ),
            ("statement_timeout", "0".to_owned()),
            // Not the notice that the table of migrations exists.
            ("client_min_messages", "warning".to_owned()),
        ]);
        let mut connection = connector.connect(OPERATION).await?;
        leases::wait_for_other_generations(&mut connection, patience).await?;
        apply_migrations(&MIGRATIONS, &mut connection)
            .await
            .map_err(|error| match error {
                MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                    fault::from_sqlx(OPERATION, error)
                }
                error => fault::refused(OPERATION, error),
            })?;
        connection
            .close()
            .await
            .map_err(|error| fault::from_sqlx(OPERATION, error))?;
        Ok(())
    }
}

impl PostgresStore {
    /// Returns whether the database has every migration of this release.
    pub async fn has_current_schema(&self) -> Result<bool> {
        const OPERATION: &str = "read the schema's version";
        let failed = |error| fault::from_sqlx(OPERATION, error);
        let mut connection = self.connector.connect(OPERATION).await?;
        let exists = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL");
        if !exists.fetch_one(&mut connection).await.map_err(failed)? {
            return Ok(false);
        }
        let applied = sqlx::query_scalar(APPLIED_MIGRATIONS);
        let applied: Vec<i64> = applied.fetch_all(&mut connection).await.map_err(failed)?;
        connection.close().await.map_err(failed)?;
        Ok(MIGRATIONS
            .iter()
            .all(|migration| applied.contains(&migration.version)))
    }

    /// Gives the database a new lineage: the last step of every restore. Returns `None` and changes
    /// nothing while an instance lives; if `forced`, live instances notice the change at their next
    /// renewal, disconnect their clients and exit.
    pub async fn rename_lineage(&self, forced: bool) -> Result<Option<String>> {
        let mut session = backup::without_timeouts(&self.connector)
            .connect("rename lineage")
            .await?;
        leases::rename_lineage(&mut session, forced).await
    }
}

/// Refuses a server that is too old, or one that confirms a commit before it is on disk. Returns its
/// `synchronous_commit`.
async fn check_server(connector: &Connector) -> Result<String> {
    const OPERATION: &str = "check the database server";
    let mut connection = connector.connect(OPERATION).await?;
    let (version, synchronous_commit): (i32, String) = sqlx::query_as(SERVER_SETTINGS)
        .fetch_one(&mut connection)
        .await
        .map_err(|error| fault::from_sqlx(OPERATION, error))?;
    if version < SERVER_VERSION_MIN {
        return Err(fault::refused(
            OPERATION,
            anyhow!("Postgres 15 or newer is needed, this is {version}"),
        ));
    }
    if synchronous_commit == "off" {
        return Err(fault::refused(
            OPERATION,
            anyhow!("synchronous_commit is off: a crash would take commits back"),
        ));
    }
    connection
        .close()
        .await
        .map_err(|error| fault::from_sqlx(OPERATION, error))?;
    Ok(synchronous_commit)
}
