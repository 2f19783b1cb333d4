//! The ledger's partitions, one per month, created ahead of time so that commits never wait for
//! one.
//!
//! A month whose events are already in the default partition stays there, because moving them would
//! stop its raids.

use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tokio::time::sleep;

use super::columns::number;
use super::connections::Connector;
use super::fault;
use crate::store::{MaintenanceReport, Result};

/// Advisory lock of the process that creates partitions.
const PARTITIONS_LOCK: i64 = 0x7261_6964_0002;

/// Attaching a partition locks the default partition. Reads of the ledger queue behind that lock
/// while it waits for earlier ones, so it must not wait for long.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);

/// Attaching a partition scans the default partition, which should be empty. The limit is well
/// below a commit's patience.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(1);

/// Number of attempts to attach a partition; the next maintenance run tries again.
const ATTEMPTS: u32 = 3;

/// The pause before another attempt.
const RETRY_DELAY: Duration = Duration::from_millis(200);

const LOCK: &str = "SELECT pg_advisory_lock($1)";

/// This month and the next three, by the database's clock: their bounds, whether they have a
/// partition, and whether the default partition holds any of their events.
const MONTHS: &str = "
    WITH months AS (
        SELECT to_char(m, 'YYYYMM')::integer AS month, to_char(m + interval '1 month', 'YYYYMM')::integer AS next
        FROM generate_series(0, 3) AS ahead,
            LATERAL (SELECT date_trunc('month', now() AT TIME ZONE 'UTC') + ahead * interval '1 month') AS s (m)
    )
    SELECT month, next,
        EXISTS (
            SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = 'raid_events'::regclass AND c.relname = 'raid_events_' || month
        ) AS made,
        (SELECT true FROM raid_events_default WHERE born = month LIMIT 1) IS NOT NULL AS stays
    FROM months ORDER BY month";

const PARTITION_EXISTS: &str = "SELECT to_regclass($1) IS NOT NULL AS made";

const DEFAULT_ROWS: &str =
    "SELECT count(*) FROM (SELECT FROM raid_events_default LIMIT 100000) AS counted";

pub(super) struct Partitions {
    connector: Connector,
}

struct PartitionMonth {
    month: i32,
    next: i32,
    exists: bool,
    is_in_default_partition: bool,
}

impl Partitions {
    pub(super) fn new(mut connector: Connector) -> Partitions {
        connector.options = connector.options.options([
            ("lock_timeout", LOCK_TIMEOUT.as_millis()),
            ("statement_timeout", STATEMENT_TIMEOUT.as_millis()),
        ]);
        Partitions { connector }
    }

    /// Creates missing partitions, unless another process is doing so.
    pub(super) async fn create_missing(&self) -> Result<MaintenanceReport> {
        const OPERATION: &str = "create ledger partitions";
        let mut connection = self.connector.connect(OPERATION).await?;
        let found = create_missing_on(&mut connection)
            .await
            .map_err(|error| fault::from_sqlx(OPERATION, error))?;
        // The lock ends with the session, even if closing it fails.
        let _ = connection.close().await;
        Ok(found)
    }
}

async fn create_missing_on(connection: &mut PgConnection) -> sqlx::Result<MaintenanceReport> {
    let mut found = MaintenanceReport::default();
    if sqlx::query(LOCK)
        .bind(PARTITIONS_LOCK)
        .execute(&mut *connection)
        .await
        .is_ok()
    {
        for month in months(connection)
            .await?
            .iter()
            .filter(|month| !month.exists && !month.is_in_default_partition)
        {
            if !try_create(connection, month).await {
                break; // what prevented this one prevents the next
            }
            found.partitions_created += 1;
        }
    }
    let missing = months(connection)
        .await?
        .iter()
        .filter(|month| !month.exists)
        .count();
    found.partitions_missing = u32::try_from(missing).unwrap_or(u32::MAX);
    let rows = sqlx::query(DEFAULT_ROWS).fetch_one(connection).await?;
    found.default_partition_rows = number(&rows, "count")?;
    Ok(found)
}

/// Creates one month's partition if there is none, in the caller's transaction. The default
/// partition must be empty.
pub(super) async fn create_if_missing(
    connection: &mut PgConnection,
    month: i32,
) -> sqlx::Result<()> {
    let made = sqlx::query(PARTITION_EXISTS)
        .bind(format!("raid_events_{month}"))
        .fetch_one(&mut *connection)
        .await?;
    if made.try_get("made")? {
        return Ok(());
    }
    let next = if month % 100 == 12 {
        month + 89
    } else {
        month + 1
    };
    let month = PartitionMonth {
        month,
        next,
        exists: false,
        is_in_default_partition: false,
    };
    sqlx::raw_sql(AssertSqlSafe(definition(&month)))
        .execute(connection)
        .await
        .map(drop)
}

async fn months(connection: &mut PgConnection) -> sqlx::Result<Vec<PartitionMonth>> {
    sqlx::query(MONTHS)
        .fetch_all(connection)
        .await?
        .iter()
        .map(month)
        .collect()
}

fn month(row: &PgRow) -> sqlx::Result<PartitionMonth> {
    Ok(PartitionMonth {
        month: row.try_get("month")?,
        next: row.try_get("next")?,
        exists: row.try_get("made")?,
        is_in_default_partition: row.try_get("stays")?,
    })
}

/// Creates a month's partition and returns whether that succeeded. What prevents it may be gone at
/// the next attempt.
async fn try_create(connection: &mut PgConnection, month: &PartitionMonth) -> bool {
    for attempt in 1.. {
        match sqlx::raw_sql(AssertSqlSafe(definition(month)))
            .execute(&mut *connection)
            .await
        {
            Ok(_) => return true,
            Err(error) if attempt == ATTEMPTS => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    month = month.month,
                    error,
                    "creating a ledger partition failed; the default partition takes the month's events"
                );
                return false;
            }
            Err(_) => sleep(RETRY_DELAY).await,
        }
    }
    false
}

/// Returns the statements that create and attach a partition. They are sent in one message, and so
/// form one transaction. The table has the parent's indexes before it is attached, and its check
/// spares Postgres a scan of it, so that commits to other partitions do not wait.
fn definition(PartitionMonth { month, next, .. }: &PartitionMonth) -> String {
    let table = format!("raid_events_{month}");
    format!(
        "CREATE TABLE {table} (LIKE raid_events INCLUDING ALL,
            CONSTRAINT {table}_born CHECK (born >= {month} AND born < {next}));
        ALTER TABLE raid_events ATTACH PARTITION {table} FOR VALUES FROM ({month}) TO ({next});
        ALTER TABLE {table} DROP CONSTRAINT {table}_born;"
    )
}
