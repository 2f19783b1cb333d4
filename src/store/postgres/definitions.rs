//! The definitions of progression.

use async_trait::async_trait;
use raidhall_protocol::UnixMillis;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::PostgresStore;
use crate::progression::DefinitionsNumber;
use crate::store::{ProgressionDefinitions, Result, StoredDefinitions, definitions};

const DEFINITIONS_AFTER: &str = "
    SELECT number, body, applied_at FROM progression_definitions WHERE number > $1 ORDER BY number";

const ADD_DEFINITIONS: &str = "
    INSERT INTO progression_definitions (number, hash, body, applied_at)
    VALUES ($1, $2, $3, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
    ON CONFLICT (number) DO NOTHING
    RETURNING number";

#[async_trait]
impl ProgressionDefinitions for PostgresStore {
    async fn definitions_after(
        &self,
        after: Option<DefinitionsNumber>,
    ) -> Result<Vec<StoredDefinitions>> {
        let after = after.map_or(0, |after| after.0.cast_signed());
        let statement = sqlx::query(DEFINITIONS_AFTER).bind(after);
        self.general_pool
            .fetch_all("read definitions", statement, stored)
            .await
    }

    async fn add_definitions(&self, number: DefinitionsNumber, body: &str) -> Result<bool> {
        let statement = sqlx::query(ADD_DEFINITIONS)
            .bind(number.0.cast_signed())
            .bind(definitions::hash(body))
            .bind(body.to_owned());
        let added = self.general_pool.fetch_rows("add definitions", statement);
        Ok(!added.await?.is_empty())
    }
}

fn stored(row: &PgRow) -> sqlx::Result<StoredDefinitions> {
    Ok(StoredDefinitions {
        number: DefinitionsNumber(row.try_get::<i32, _>("number")?.cast_unsigned()),
        body: row.try_get("body")?,
        applied_at: UnixMillis(row.try_get("applied_at")?),
    })
}
