//! Players' streams. Each read of a player's events names the player, and so one partition.

use std::collections::BTreeMap;

use async_trait::async_trait;
use raidhall_protocol::player::event::{PLAYER_EVENT_VERSION, RaidPlace};
use raidhall_protocol::player::{PlayerEvent, PlayerEventData};
use raidhall_protocol::{PlayerId, Seq, UnixMillis};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::columns::{NewerEventVersion, clamped, decode, player, raid, seq};
use super::stream_append::{AppendedStreams, append_statement};
use super::{PostgresStore, fault};
use crate::store::{
    DueStreak, LoadedStream, OpHash, PlayerStreams, ProjectedPage, Result, StreamAppend,
    StreamOutcome, streams,
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

/// The same of several streams, without an op. The events of each are read in its own partition.
const LOAD_STREAMS: &str = "
    WITH streams AS MATERIALIZED (
        SELECT p.id, p.name, coalesce(s.last_seq, 0) AS last_seq, s.state, s.state_seq
        FROM players p LEFT JOIN LATERAL (
            SELECT last_seq, state, state_seq FROM player_streams WHERE player = p.id LIMIT 1
        ) s ON true
        WHERE p.id = ANY ($1::bigint[]) AND p.erased_at IS NULL
    )
    SELECT id AS player, name, last_seq, state, state_seq, NULL::bigint AS op_seq,
        NULL::bigint AS seq, NULL::bigint AS at, NULL::text AS kind, NULL::smallint AS version,
        NULL::bigint AS cause_raid, NULL::bigint AS cause_seq, NULL::text AS data
    FROM streams
    UNION ALL
    SELECT s.id, NULL, NULL, NULL, NULL, NULL, e.seq, e.at, e.kind, e.version, e.cause_raid, e.cause_seq, e.data
    FROM streams s CROSS JOIN LATERAL (
        SELECT e.seq, e.at, e.kind, e.version, e.cause_raid, e.cause_seq, e.data::text AS data
        FROM player_events e
        WHERE e.player = s.id AND e.seq > coalesce(s.state_seq, 0)
        ORDER BY e.seq
    ) e";

const STREAM_EVENTS: &str = "
    SELECT seq, at, kind, version, cause_raid, cause_seq, data::text AS data
    FROM player_events
    WHERE player = $1 AND seq > $2
    ORDER BY seq
    LIMIT $3";

const PLAYERS_WITH_STREAMS: &str =
    "SELECT player FROM player_streams WHERE player > $1 ORDER BY player LIMIT $2";

const DUE_STREAKS: &str = "
    SELECT due_at, player FROM player_streams s
    WHERE due_at <= $1 AND (due_at, player) > ($2, $3)
        AND (SELECT f.player FROM projector_faults f WHERE f.player = s.player LIMIT 1) IS NULL
    ORDER BY due_at, player
    LIMIT $4";

const STREAM_HEADS: &str =
    "SELECT player, last_seq FROM player_streams WHERE player = ANY ($1::bigint[])";

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
        let page = ProjectedPage {
            appends: vec![append.clone()],
            ..ProjectedPage::default()
        };
        let statement = append_statement(OPERATION, None, &page)?;
        let written = self
            .general_pool
            .fetch_one(OPERATION, statement, AppendedStreams::from_row);
        Ok(written.await?.outcome(append))
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

    async fn players_with_streams(
        &self,
        after: Option<PlayerId>,
        limit: u32,
    ) -> Result<Vec<PlayerId>> {
        let statement = sqlx::query(PLAYERS_WITH_STREAMS)
            .bind(after.map_or(0, i64::from))
            .bind(i64::from(limit));
        self.general_pool
            .fetch_all("list streams", statement, |row| player(row, "player"))
            .await
    }

    async fn due_streaks(
        &self,
        until: UnixMillis,
        after: Option<DueStreak>,
        limit: u32,
    ) -> Result<Vec<DueStreak>> {
        let statement = sqlx::query(DUE_STREAKS)
            .bind(until.0)
            .bind(after.map_or(i64::MIN, |after| after.due_at.0))
            .bind(after.map_or(0, |after| i64::from(after.player)))
            .bind(i64::from(limit));
        let due = |row: &PgRow| {
            Ok(DueStreak {
                due_at: UnixMillis(row.try_get("due_at")?),
                player: player(row, "player")?,
            })
        };
        self.general_pool
            .fetch_all("list due streaks", statement, due)
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

impl PostgresStore {
    /// Loads the streams of those players who exist and were not erased.
    pub(super) async fn load_players_streams(
        &self,
        players: &[PlayerId],
    ) -> Result<Vec<(PlayerId, LoadedStream)>> {
        const OPERATION: &str = "load players' streams";
        let ids: Vec<i64> = players.iter().map(|player| i64::from(*player)).collect();
        let statement = sqlx::query(LOAD_STREAMS).bind(ids);
        let rows = self.general_pool.fetch_rows(OPERATION, statement).await?;
        loaded_streams(&rows).map_err(|error| fault::from_sqlx(OPERATION, error))
    }
}

/// Reads the rows of one stream: its own, and those of its events.
fn loaded_stream<'a>(
    rows: impl IntoIterator<Item = &'a PgRow>,
) -> sqlx::Result<Option<LoadedStream>> {
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

/// Reads the rows of several streams, each with its player.
fn loaded_streams(rows: &[PgRow]) -> sqlx::Result<Vec<(PlayerId, LoadedStream)>> {
    let mut by_player = BTreeMap::<_, Vec<_>>::new();
    for row in rows {
        let id = player(row, "player")?;
        by_player.entry(id).or_default().push(row);
    }
    let mut loaded = Vec::new();
    for (player, rows) in by_player {
        if let Some(stream) = loaded_stream(rows)? {
            loaded.push((player, stream));
        }
    }
    Ok(loaded)
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
