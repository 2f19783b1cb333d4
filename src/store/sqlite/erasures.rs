//! Erasure of players. Deleted or replaced texts are overwritten in the file, too: see the pragmas
//! of [`SqliteStore`].

use std::time::Duration;

use async_trait::async_trait;
use raidhall_protocol::{Event, PlayerId, RaidId, Seq, UnixMillis};
use sqlx::SqliteConnection;

use super::SqliteStore;
use super::audit::insert_audit_entry;
use super::commit::{json_array, rewritten_row};
use super::fault::{failed, refused};
use super::leases::millis;
use super::moderation::insert_player_notice;
use super::players::player_id;
use super::statements::statements;
use super::streams::delete_streams;
use crate::store::{Erasure, Erasures, NewAuditEntry, Result, erasures};

statements! {
    CLOSE_ACCOUNT =
        "UPDATE players SET name = ?2, external_id = NULL, erased_at = ?3, erase_due = ?3 ",
        "WHERE id = ?1 AND erased_at IS NULL";
    EXISTS = "SELECT id FROM players WHERE id = ?1";
    SIGN_OUT = "DELETE FROM refresh_families WHERE player = ?1";
    BAN =
        "INSERT INTO bans (player, reason, \"by\", at) VALUES (?1, 'erased', ?2, ?3) ",
        "ON CONFLICT (player) DO UPDATE SET reason = excluded.reason, \"by\" = excluded.\"by\", at = excluded.at";
    TAKE_ERASURE =
        "UPDATE players SET erase_due = ?1 + ?2 WHERE id IN ",
        "    (SELECT id FROM players WHERE erase_due <= ?1 ORDER BY erase_due LIMIT 1) ",
        "RETURNING id, erased_at";
    REWRITE_EVENTS =
        "UPDATE raid_events SET data = new.value ->> 1 FROM json_each(?2) AS new ",
        "WHERE born = (SELECT born FROM raids WHERE id = ?1) AND raid_id = ?1 AND seq = new.value ->> 0";
    RENAME = "UPDATE raids SET title = ?2 WHERE id = ?1";
    DROP_SNAPSHOT = "DELETE FROM raid_snapshots WHERE raid_id = ?1 AND seq < ?2";
    END_ERASURE = "UPDATE players SET erase_due = NULL WHERE id = ?1";
}

#[async_trait]
impl Erasures for SqliteStore {
    async fn begin_erasure(
        &self,
        player: PlayerId,
        name: &str,
        entry: &NewAuditEntry,
    ) -> Result<bool> {
        let name = name.to_owned();
        let entry = entry.clone();
        let begin = self.writer.write("close an account", move |transaction| {
            Box::pin(async move { begin_erasure(transaction, player, &name, &entry).await })
        });
        begin.await
    }

    async fn take_erasure(&self, now: UnixMillis, again: Duration) -> Result<Option<Erasure>> {
        let take = self.writer.write("take an erasure", move |transaction| {
            Box::pin(async move {
                let take = sqlx::query_as(TAKE_ERASURE)
                    .bind(now.0)
                    .bind(millis(again))
                    .fetch_optional(&mut *transaction);
                let row: Option<(i64, i64)> = take.await.map_err(failed("take an erasure"))?;
                let erasure = |(id, at)| {
                    Ok(Erasure {
                        player: player_id(id)?,
                        begun_at: UnixMillis(at),
                    })
                };
                row.map(erasure).transpose()
            })
        });
        take.await
    }

    async fn rewrite_events(&self, raid: RaidId, events: &[Event], before: Seq) -> Result<()> {
        const OPERATION: &str = "rewrite events";
        let rows = json_array(
            events
                .iter()
                .map(rewritten_row)
                .collect::<Result<Vec<_>>>()?
                .into_iter(),
        );
        let title = erasures::rewritten_title(events).map(str::to_owned);
        let before = i64::try_from(before.0).map_err(|error| refused(OPERATION, error))?;
        let rewrite = self.writer.write(OPERATION, move |transaction| {
            Box::pin(async move { rewrite_events(transaction, raid, rows, title, before).await })
        });
        rewrite.await
    }

    async fn end_erasure(&self, player: PlayerId) -> Result<()> {
        let end = self.writer.write("end an erasure", move |transaction| {
            Box::pin(async move {
                let failed = failed("end an erasure");
                let id = i64::from(player);
                let end = sqlx::query(END_ERASURE).bind(id);
                end.execute(&mut *transaction).await.map_err(&failed)?;
                delete_streams(transaction, &[id]).await.map_err(&failed)
            })
        });
        end.await?;
        // The write-ahead log still holds the texts that were overwritten.
        self.writer.checkpoint().await
    }
}

async fn begin_erasure(
    transaction: &mut SqliteConnection,
    player: PlayerId,
    name: &str,
    entry: &NewAuditEntry,
) -> Result<bool> {
    let failed = failed("close an account");
    let id = i64::from(player);
    let close = sqlx::query(CLOSE_ACCOUNT)
        .bind(id)
        .bind(name)
        .bind(entry.at.0)
        .execute(&mut *transaction);
    if close.await.map_err(&failed)?.rows_affected() == 0 {
        let found: Option<(i64,)> = sqlx::query_as(EXISTS)
            .bind(id)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(&failed)?;
        return Ok(found.is_some());
    }
    let sign_out = sqlx::query(SIGN_OUT).bind(id).execute(&mut *transaction);
    sign_out.await.map_err(&failed)?;
    delete_streams(transaction, &[id]).await.map_err(&failed)?;
    let ban = sqlx::query(BAN)
        .bind(id)
        .bind(&entry.actor)
        .bind(entry.at.0)
        .execute(&mut *transaction);
    ban.await.map_err(&failed)?;
    insert_player_notice(transaction, "player", player, entry.at).await?;
    insert_audit_entry(transaction, entry).await?;
    Ok(true)
}

async fn rewrite_events(
    transaction: &mut SqliteConnection,
    raid: RaidId,
    rows: Option<String>,
    title: Option<String>,
    before: i64,
) -> Result<()> {
    let failed = failed("rewrite events");
    let id = i64::from(raid);
    let rewrite = sqlx::query(REWRITE_EVENTS)
        .bind(id)
        .bind(rows)
        .execute(&mut *transaction);
    rewrite.await.map_err(&failed)?;
    if let Some(title) = title {
        let rename = sqlx::query(RENAME)
            .bind(id)
            .bind(title)
            .execute(&mut *transaction);
        rename.await.map_err(&failed)?;
    }
    let drop_snapshot = sqlx::query(DROP_SNAPSHOT)
        .bind(id)
        .bind(before)
        .execute(&mut *transaction);
    drop_snapshot.await.map_err(&failed)?;
    Ok(())
}
