//! The ledger's partitions, one a month, made ahead of time so that commits never wait for one.
//!
//! A month whose events are in the default partition already stays there: moving them would stop its raids.

use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tokio::time::sleep;

use super::columns::number;
use super::connections::Dial;
use super::fault;
use crate::store::{Maintenance, Result};

/// Held by whoever makes partitions.
const PARTITIONS_LOCK: i64 = 0x7261_6964_0002;

/// Attaching locks the default partition. Reads of the ledger queue behind that lock while it waits for older ones,
/// so it must not wait for long.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);

/// Attaching looks through the default partition, which should be empty. Well below a commit's patience.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(1);

/// How often attaching is tried at once. The next upkeep tries again.
const ATTEMPTS: u32 = 3;

/// The pause before another attempt.
const PAUSE: Duration = Duration::from_millis(200);

const LOCK: &str = "SELECT pg_advisory_lock($1)";

/// This month and the next three, by the database's clock: their bounds, whether they have a partition, and whether
/// the default partition has any of their events.
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

const MADE: &str = "SELECT to_regclass($1) IS NOT NULL AS made";

const DEFAULT_ROWS: &str =
    "SELECT count(*) FROM (SELECT FROM raid_events_default LIMIT 100000) AS counted";

/// Makes partitions.
pub(super) struct Partitions {
    dial: Dial,
}

struct Month {
    month: i32,
    next: i32,
    made: bool,
    stays: bool,
}

impl Partitions {
    pub(super) fn new(mut dial: Dial) -> Partitions {
        dial.options = dial.options.options([
            ("lock_timeout", LOCK_TIMEOUT.as_millis()),
            ("statement_timeout", STATEMENT_TIMEOUT.as_millis()),
        ]);
        Partitions { dial }
    }

    /// Makes the partitions that are missing, unless another process is at it.
    pub(super) async fn ensure(&self) -> Result<Maintenance> {
        const OPERATION: &str = "make ledger partitions";
        let mut connection = self.dial.connect(OPERATION).await?;
        let found = ensure_on(&mut connection)
            .await
            .map_err(|error| fault::of(OPERATION, error))?;
        // The lock ends with the session, however that ends.
        let _ = connection.close().await;
        Ok(found)
    }
}

async fn ensure_on(connection: &mut PgConnection) -> sqlx::Result<Maintenance> {
    let mut found = Maintenance::default();
    if sqlx::query(LOCK)
        .bind(PARTITIONS_LOCK)
        .execute(&mut *connection)
        .await
        .is_ok()
    {
        for month in months(connection)
            .await?
            .iter()
            .filter(|month| !month.made && !month.stays)
        {
            if !make(connection, month).await {
                break; // what was in the way of this one is in the way of the next
            }
            found.partitions_made += 1;
        }
    }
    let missing = months(connection)
        .await?
        .iter()
        .filter(|month| !month.made)
        .count();
    found.partitions_missing = u32::try_from(missing).unwrap_or(u32::MAX);
    let rows = sqlx::query(DEFAULT_ROWS).fetch_one(connection).await?;
    found.partition_default_rows = number(&rows, "count")?;
    Ok(found)
}

/// Makes one month's partition if there is none, in the caller's transaction. The default partition must be empty.
pub(super) async fn make_one(connection: &mut PgConnection, month: i32) -> sqlx::Result<()> {
    let made = sqlx::query(MADE)
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
    let month = Month {
        month,
        next,
        made: false,
        stays: false,
    };
    sqlx::raw_sql(AssertSqlSafe(definition(&month)))
        .execute(connection)
        .await
        .map(drop)
}

async fn months(connection: &mut PgConnection) -> sqlx::Result<Vec<Month>> {
    sqlx::query(MONTHS)
        .fetch_all(connection)
        .await?
        .iter()
        .map(month)
        .collect()
}

fn month(row: &PgRow) -> sqlx::Result<Month> {
    Ok(Month {
        month: row.try_get("month")?,
        next: row.try_get("next")?,
        made: row.try_get("made")?,
        stays: row.try_get("stays")?,
    })
}

/// Whether it was made. Whatever is in the way may be gone at the next try.
async fn make(connection: &mut PgConnection, month: &Month) -> bool {
    for attempt in 1.. {
        match sqlx::raw_sql(AssertSqlSafe(definition(month)))
            .execute(&mut *connection)
            .await
        {
            Ok(_) => return true,
            Err(error) if attempt == ATTEMPTS => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(month = month.month, error, "ledger partition was not made");
                return false;
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
    false
}

/// One message, and so one transaction. The table is filled with the parent's indexes before it is attached, and the
/// check spares Postgres from looking through it; thus commits to other partitions don't wait.
fn definition(Month { month, next, .. }: &Month) -> String {
    let table = format!("raid_events_{month}");
    format!(
        "CREATE TABLE {table} (LIKE raid_events INCLUDING ALL,
            CONSTRAINT {table}_born CHECK (born >= {month} AND born < {next}));
        ALTER TABLE raid_events ATTACH PARTITION {table} FOR VALUES FROM ({month}) TO ({next});
        ALTER TABLE {table} DROP CONSTRAINT {table}_born;"
    )
}
