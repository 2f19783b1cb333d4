//! Players' streams. Every statement names one player, and so one partition.

use async_trait::async_trait;
use raidhall_protocol::player::event::{PLAYER_EVENT_VERSION, RaidPlace};
use raidhall_protocol::player::{PlayerEvent, PlayerEventData};
use raidhall_protocol::{PlayerId, Seq, UnixMillis};
use serde::Serialize;
use serde_json::Value;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::columns::{NewerEventVersion, bigint, clamped, decode, player, raid, seq};
use super::{PostgresStore, fault};
use crate::store::{
    LoadedStream, OpHash, PlayerStreams, Result, StreamAppend, StreamOutcome, streams,
};

/// The stream's own row, then the events after its saved state. It is one statement, so that both
/// are consistent.
const LOAD_STREAM: &str = "
    WITH stream AS MATERIALIZED (
        SELECT p.name, coalesce(s.last_seq, 0) AS last_seq, s.state, s.state_seq
        FROM players p LEFT JOIN player_streams s ON s.player = p.id
        WHERE p.id = $1 AND p.erased_at IS NULL
    )
    SELECT name, last_seq, state, state_seq,
        (SELECT o.seq FROM player_events o WHERE o.player = $1 AND o.op_key = $2) AS op_seq,
        NULL::bigint AS seq, NULL::bigint AS at, NULL::text AS kind, NULL::smallint AS version,
        NULL::bigint AS cause_raid, NULL::bigint AS cause_seq, NULL::text AS data
    FROM stream
    UNION ALL (
        SELECT NULL, NULL, NULL, NULL, NULL, e.seq, e.at, e.kind, e.version, e.cause_raid, e.cause_seq, e.data::text
        FROM player_events e
        WHERE e.player = $1 AND e.seq > (SELECT coalesce(state_seq, 0) FROM stream)
        ORDER BY e.seq
    )";

/// The player's row is locked first: appends and an erasure of the same player happen one after
/// another. What a statement waited for is compared after the wait.
const APPEND: &str = "
    WITH player AS MATERIALIZED (
        SELECT id FROM players WHERE id = $1 AND erased_at IS NULL FOR NO KEY UPDATE
    ), begun AS (
        INSERT INTO player_streams (player, last_seq, state, state_seq)
        SELECT id, $3, $4, $3 FROM player WHERE $2 = 0
        ON CONFLICT (player) DO NOTHING
        RETURNING player
    ), continued AS (
        UPDATE player_streams s
        SET last_seq = $3, state = coalesce($4, s.state), state_seq = CASE WHEN $4 IS NULL THEN s.state_seq ELSE $3 END
        FROM player p
        WHERE s.player = p.id AND s.last_seq = $2
        RETURNING s.player
    ), appended AS (
        SELECT player FROM begun UNION ALL SELECT player FROM continued
    ), renamed AS (
        UPDATE players p SET name = $5::text FROM appended a WHERE p.id = a.player AND $5::text IS NOT NULL
    ), written AS (
        INSERT INTO player_events (player, seq, at, kind, version, op_key, cause_raid, cause_seq, data)
        SELECT a.player, e.seq, e.at, e.kind, e.version, CASE WHEN e.seq = $3 THEN $6::bytea END,
            e.cause_raid, e.cause_seq, e.data
        FROM appended a CROSS JOIN jsonb_to_recordset($7::text::jsonb)
            AS e (seq bigint, at bigint, kind text, version smallint, cause_raid bigint, cause_seq bigint, data jsonb)
    )
    SELECT EXISTS (SELECT FROM player) AS found, EXISTS (SELECT FROM appended) AS appended";

const STREAM_EVENTS: &str = "
    SELECT seq, at, kind, version, cause_raid, cause_seq, data::text AS data
    FROM player_events
    WHERE player = $1 AND seq > $2
    ORDER BY seq
    LIMIT $3";

const STREAM_HEADS: &str =
    "SELECT player, last_seq FROM player_streams WHERE player = ANY ($1::bigint[])";

/// An event as a row of `player_events`, without the op key.
#[derive(Serialize)]
struct PlayerEventColumns {
    seq: u64,
    at: UnixMillis,
    kind: &'static str,
    version: u16,
    cause_raid: Option<u64>,
    cause_seq: Option<u64>,
    data: Value,
}

#[async_trait]
impl PlayerStreams for PostgresStore {
    async fn load_stream(
        &self,
        player: PlayerId,
        op: Option<OpHash>,
    ) -> Result<Option<LoadedStream>> {
        const OPERATION: &str = "load a player's stream";
        let statement = sqlx::query(LOAD_STREAM)
            .bind(i64::from(player))
            .bind(op.map(|op| op.0.to_vec()));
        let rows = self.general_pool.fetch_rows(OPERATION, statement).await?;
        loaded_stream(&rows).map_err(|error| fault::from_sqlx(OPERATION, error))
    }

    async fn append_to_stream(&self, append: &StreamAppend) -> Result<StreamOutcome> {
        const OPERATION: &str = "append to a player's stream";
        let refused = |error| fault::refused(OPERATION, error);
        let rows = append.events.iter().map(event_columns);
        let rows: Vec<_> = rows.collect::<serde_json::Result<_>>().map_err(refused)?;
        let rows = serde_json::to_string(&rows).map_err(refused)?;
        let number = |seq: Seq| bigint(seq.0).map_err(|error| fault::refused(OPERATION, error));
        let statement = sqlx::query(APPEND)
            .bind(i64::from(append.player))
            .bind(number(append.after)?)
            .bind(number(append.last_seq())?)
            .bind(append.state.clone())
            .bind(append.new_name().map(str::to_owned))
            .bind(append.op.map(|op| op.0.to_vec()))
            .bind(rows);
        let outcome = |row: &PgRow| {
            Ok(match (row.try_get("found")?, row.try_get("appended")?) {
                (_, true) => StreamOutcome::Appended,
                (true, false) => StreamOutcome::Moved,
                (false, false) => StreamOutcome::Gone,
            })
        };
        self.general_pool
            .fetch_one(OPERATION, statement, outcome)
            .await
    }

    async fn stream_events(
        &self,
        player: PlayerId,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<PlayerEvent>> {
        let statement = sqlx::query(STREAM_EVENTS)
            .bind(i64::from(player))
            .bind(clamped(after.0))
            .bind(i64::from(limit));
        self.general_pool
            .fetch_all("read a player's events", statement, player_event)
            .await
    }

    async fn stream_heads(&self, players: &[PlayerId]) -> Result<Vec<(PlayerId, Seq)>> {
        let ids: Vec<i64> = players.iter().map(|player| i64::from(*player)).collect();
        let statement = sqlx::query(STREAM_HEADS).bind(ids);
        self.session_pool
            .fetch_all("read the heads of streams", statement, |row| {
                Ok((player(row, "player")?, seq(row, "last_seq")?))
            })
            .await
    }
}

fn event_columns(event: &PlayerEvent) -> serde_json::Result<PlayerEventColumns> {
    Ok(PlayerEventColumns {
        seq: event.seq.0,
        at: event.at,
        kind: event.data.kind(),
        version: event.data.version(),
        cause_raid: event.cause.map(|cause| cause.raid.get()),
        cause_seq: event.cause.map(|cause| cause.seq.0),
        data: streams::untagged_data(&event.data)?,
    })
}

fn loaded_stream(rows: &[PgRow]) -> sqlx::Result<Option<LoadedStream>> {
    let mut stream = None;
    let mut tail = Vec::new();
    for row in rows {
        if row.try_get::<Option<i64>, _>("seq")?.is_none() {
            stream = Some(row);
        } else {
            tail.push(player_event(row)?);
        }
    }
    let Some(stream) = stream else {
        return Ok(None);
    };
    tail.sort_unstable_by_key(|event| event.seq);
    let optional_seq = |column| {
        let is_set = stream.try_get::<Option<i64>, _>(column)?.is_some();
        is_set.then(|| seq(stream, column)).transpose()
    };
    let state_seq = optional_seq("state_seq")?;
    let saved_state = state_seq.map(|seq| Ok::<_, sqlx::Error>((seq, stream.try_get("state")?)));
    Ok(Some(LoadedStream {
        name: stream.try_get("name")?,
        last_seq: seq(stream, "last_seq")?,
        saved_state: saved_state.transpose()?,
        tail,
        op_seq: optional_seq("op_seq")?,
    }))
}

/// Reads an event from the columns seq, at, kind, version, cause_raid, cause_seq and data (as
/// text).
fn player_event(row: &PgRow) -> sqlx::Result<PlayerEvent> {
    let version: i16 = row.try_get("version")?;
    if version > PLAYER_EVENT_VERSION.cast_signed() {
        return Err(decode(NewerEventVersion(version.cast_unsigned())));
    }
    let has_cause = row.try_get::<Option<i64>, _>("cause_raid")?.is_some();
    let cause = || {
        Ok::<_, sqlx::Error>(RaidPlace {
            raid: raid(row, "cause_raid")?,
            seq: seq(row, "cause_seq")?,
        })
    };
    let data: PlayerEventData =
        streams::parse_data(row.try_get("kind")?, row.try_get("data")?).map_err(decode)?;
    Ok(PlayerEvent {
        seq: seq(row, "seq")?,
        at: UnixMillis(row.try_get("at")?),
        cause: has_cause.then(cause).transpose()?,
        data,
    })
}
