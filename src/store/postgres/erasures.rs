//! Erasure of players.

use std::time::Duration;

use async_trait::async_trait;
use raidhall_protocol::{Event, PlayerId, RaidId, Seq, UnixMillis};
use serde_json::value::RawValue;
use sqlx::Row;

use super::PostgresStore;
use super::audit::bind_audit_entry;
use super::boards::count_scores;
use super::columns::{event_data_json, millis, player as player_id};
use crate::store::moderation::NOTICE_RETENTION;
use crate::store::{Erasure, Erasures, NewAuditEntry, Result, erasures};

/// Counts an account that is closed already, but changes nothing.
const BEGIN_ERASURE: &str = concat!(
    "
    WITH closed AS (
        UPDATE players SET name = $9, external_id = NULL, erased_at = $8, erase_due = $8, is_banned = true
        WHERE id = $1 AND erased_at IS NULL
        RETURNING id
    ), signed_out AS (
        DELETE FROM refresh_families WHERE player = $1 AND EXISTS (SELECT FROM closed)
    ), stream AS (
        DELETE FROM player_streams WHERE player = $1 AND EXISTS (SELECT FROM closed)
    ), stream_events AS (
        DELETE FROM player_events WHERE player = $1 AND EXISTS (SELECT FROM closed)
    ), failed_causes AS (
        DELETE FROM projector_faults WHERE player = $1 AND EXISTS (SELECT FROM closed)
    ), rescored AS (
        DELETE FROM board_scores WHERE player = $1 AND EXISTS (SELECT FROM closed)
        RETURNING board, number, score, reached_at, CASE WHEN is_listed THEN -1 ELSE 0 END AS change
    ), ",
    count_scores!(),
    ", banned AS (
        INSERT INTO bans (player, reason, by, at)
        SELECT id, 'erased', $3, $8 FROM closed
        ON CONFLICT (player) DO UPDATE SET reason = excluded.reason, by = excluded.by, at = excluded.at
    ), noticed AS (
        INSERT INTO notices (kind, player, until)
        SELECT 'player', id, 'epoch'::timestamptz + $2::bigint * interval '1 millisecond' FROM closed
    ), recorded AS (
        INSERT INTO audit_log (at, actor, action, target, request_id, details)
        SELECT $8, $3, $4, $5, $6, $7::text::jsonb FROM closed
    )
    SELECT count(*) FROM players WHERE id = $1"
);

/// Of two concurrent calls, each takes a different erasure, or one takes none.
const TAKE_ERASURE: &str = "
    UPDATE players SET erase_due = $2
    WHERE id = ANY (ARRAY(
        SELECT id FROM players
        WHERE erase_due <= $1
        ORDER BY erase_due LIMIT 1
        FOR NO KEY UPDATE SKIP LOCKED))
    RETURNING id, erased_at";

const REWRITE_EVENTS: &str = "
    WITH rewritten AS (
        UPDATE raid_events e SET data = n.data
        FROM jsonb_to_recordset($2::text::jsonb) AS n (seq bigint, data jsonb)
        WHERE e.born = (SELECT born FROM raids WHERE id = $1) AND e.raid_id = $1 AND e.seq = n.seq
    ), renamed AS (
        UPDATE raids SET title = $3::text WHERE id = $1 AND $3::text IS NOT NULL
    ), dropped AS (
        DELETE FROM raid_snapshots WHERE raid_id = $1 AND seq < $4
    )
    SELECT 1";

/// Deletes the stream, failed causes and scores again: a beginning of an erasure that waited for an append does
/// not see the rows that the append has written.
const END_ERASURE: &str = concat!(
    "
    WITH stream AS (
        DELETE FROM player_streams WHERE player = $1
    ), stream_events AS (
        DELETE FROM player_events WHERE player = $1
    ), failed_causes AS (
        DELETE FROM projector_faults WHERE player = $1
    ), rescored AS (
        DELETE FROM board_scores WHERE player = $1
        RETURNING board, number, score, reached_at, CASE WHEN is_listed THEN -1 ELSE 0 END AS change
    ), ",
    count_scores!(),
    "
    UPDATE players SET erase_due = NULL WHERE id = $1"
);

#[derive(serde::Serialize)]
struct RewrittenEvent {
    seq: u64,
    data: Box<RawValue>,
}

#[async_trait]
impl Erasures for PostgresStore {
    async fn begin_erasure(
        &self,
        player: PlayerId,
        name: &str,
        entry: &NewAuditEntry,
    ) -> Result<bool> {
        let statement = sqlx::query(BEGIN_ERASURE)
            .bind(i64::from(player))
            .bind(entry.at.plus(millis(NOTICE_RETENTION)).0);
        let statement = bind_audit_entry(statement, entry).bind(name.to_owned());
        Ok(self
            .general_pool
            .fetch_count("close an account", statement)
            .await?
            > 0)
    }

    async fn take_erasure(&self, now: UnixMillis, again: Duration) -> Result<Option<Erasure>> {
        let statement = sqlx::query(TAKE_ERASURE)
            .bind(now.0)
            .bind(now.plus(millis(again)).0);
        let taken = self
            .general_pool
            .fetch_optional("take an erasure", statement, |row| {
                Ok(Erasure {
                    player: player_id(row, "id")?,
                    begun_at: UnixMillis(row.try_get("erased_at")?),
                })
            });
        taken.await
    }

    async fn rewrite_events(&self, raid: RaidId, events: &[Event], before: Seq) -> Result<()> {
        const OPERATION: &str = "rewrite events";
        let row = |event: &Event| -> serde_json::Result<RewrittenEvent> {
            Ok(RewrittenEvent {
                seq: event.seq.0,
                data: RawValue::from_string(event_data_json(&event.data)?)?,
            })
        };
        let rows = events
            .iter()
            .map(row)
            .collect::<serde_json::Result<Vec<_>>>();
        let rows = rows.and_then(|rows| serde_json::to_string(&rows));
        let statement = sqlx::query(REWRITE_EVENTS)
            .bind(i64::from(raid))
            .bind(rows.map_err(|error| super::fault::refused(OPERATION, error))?)
            .bind(erasures::rewritten_title(events).map(str::to_owned))
            .bind(super::columns::clamped(before.0));
        self.general_pool
            .fetch_rows(OPERATION, statement)
            .await
            .map(drop)
    }

    async fn end_erasure(&self, player: PlayerId) -> Result<()> {
        let statement = sqlx::query(END_ERASURE).bind(i64::from(player));
        self.general_pool
            .fetch_rows("end an erasure", statement)
            .await
            .map(drop)
    }
}
