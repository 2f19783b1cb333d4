//! The definitions of progression.

use async_trait::async_trait;
use raidhall_protocol::UnixMillis;

use super::SqliteStore;
use super::fault::failed;
use super::statements::{now, statements};
use crate::progression::DefinitionsNumber;
use crate::store::{ProgressionDefinitions, Result, StoredDefinitions, definitions};

statements! {
    DEFINITIONS_AFTER =
        "SELECT number, body, applied_at FROM progression_definitions WHERE number > ?1 ORDER BY number";
    ADD_DEFINITIONS =
        "INSERT INTO progression_definitions (number, hash, body, applied_at) VALUES (?1, ?2, ?3, ", now!(), ") ",
        "ON CONFLICT DO NOTHING";
}

#[async_trait]
impl ProgressionDefinitions for SqliteStore {
    async fn definitions_after(
        &self,
        after: Option<DefinitionsNumber>,
    ) -> Result<Vec<StoredDefinitions>> {
        let read = sqlx::query_as(DEFINITIONS_AFTER)
            .bind(after.map_or(0, |after| after.0))
            .fetch_all(&self.readers);
        let rows: Vec<(u32, String, i64)> = read.await.map_err(failed("read definitions"))?;
        let stored = |(number, body, applied_at)| StoredDefinitions {
            number: DefinitionsNumber(number),
            body,
            applied_at: UnixMillis(applied_at),
        };
        Ok(rows.into_iter().map(stored).collect())
    }

    async fn add_definitions(&self, number: DefinitionsNumber, body: &str) -> Result<bool> {
        const OPERATION: &str = "add definitions";
        let body = body.to_owned();
        let add = self.writer.write(OPERATION, move |transaction| {
            Box::pin(async move {
                let add = sqlx::query(ADD_DEFINITIONS)
                    .bind(number.0)
                    .bind(definitions::hash(&body))
                    .bind(body)
                    .execute(&mut *transaction);
                let added = add.await.map_err(failed(OPERATION))?;
                Ok(added.rows_affected() > 0)
            })
        });
        add.await
    }
}
