//! Players' streams.

use async_trait::async_trait;
use raidhall_protocol::player::PlayerEvent;
use raidhall_protocol::player::event::{PLAYER_EVENT_VERSION, RaidPlace};
use raidhall_protocol::{PlayerId, RaidId, Seq, UnixMillis};
use sqlx::SqliteConnection;

use super::SqliteStore;
use super::boards::{delete_scores, write_scores};
use super::commit::{hex, json_array};
use super::fault::{failed, refused, unsigned};
use super::ledger::clamped;
use super::players::player_id;
use super::statements::statements;
use crate::store::streams::{self, ProfileChange};
use crate::store::{
    DueStreak, LoadedStream, OpHash, PlayerStreams, Result, StoreError, StreamAppend, StreamEntry,
    StreamOutcome,
};

const LOAD_OPERATION: &str = "load a player's stream";
const APPEND_OPERATION: &str = "append to a player's stream";

statements! {
    NAME = "SELECT name FROM players WHERE id = ?1 AND erased_at IS NULL";
    STREAM = "SELECT last_seq, state_seq, state FROM player_streams WHERE player = ?1";
    OP_SEQ = "SELECT seq FROM player_events WHERE player = ?1 AND op_key = ?2";
    EVENTS =
        "SELECT seq, at, kind, version, cause_raid, cause_seq, data FROM player_events ",
        "WHERE player = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
    BEGIN =
        "INSERT INTO player_streams (player, last_seq, state, state_seq, due_at) VALUES (?1, ?2, ?3, ?2, ?4) ",
        "ON CONFLICT DO NOTHING";
    CONTINUE =
        "UPDATE player_streams SET last_seq = ?3, state = coalesce(?4, state), ",
        "    state_seq = iif(?4 IS NULL, state_seq, ?3), due_at = ?5 ",
        "WHERE player = ?1 AND last_seq = ?2";
    INSERT_EVENTS =
        "INSERT INTO player_events (player, seq, at, kind, version, op_key, cause_raid, cause_seq, data) ",
        "SELECT ?1, value ->> 0, value ->> 1, value ->> 2, value ->> 3, unhex(value ->> 4), value ->> 5, ",
        "    value ->> 6, value ->> 7 FROM json_each(?2)";
    CHANGE_PROFILE =
        "UPDATE players SET name = coalesce(?2, name), xp = max(iif(?6, 0, xp), coalesce(?3, xp)), ",
        "    tasks = max(iif(?6, 0, tasks), coalesce(?4, tasks)), ",
        "    raids_won = max(iif(?6, 0, raids_won), coalesce(?5, raids_won)) ",
        "WHERE id = ?1";
    DELETE_EVENTS =
        "DELETE FROM player_events WHERE player IN (SELECT value FROM json_each(?1))";
    DELETE_STREAMS =
        "DELETE FROM player_streams WHERE player IN (SELECT value FROM json_each(?1))";
    DELETE_FAILED_CAUSES =
        "DELETE FROM projector_faults WHERE player IN (SELECT value FROM json_each(?1))";
    PLAYERS = "SELECT player FROM player_streams WHERE player > ?1 ORDER BY player LIMIT ?2";
    DUE =
        "SELECT due_at, player FROM player_streams ",
        "WHERE due_at <= ?1 AND (due_at, player) > (?2, ?3) ",
        "    AND NOT EXISTS (SELECT 1 FROM projector_faults f WHERE f.player = player_streams.player) ",
        "ORDER BY due_at, player LIMIT ?4";
    HEADS =
        "SELECT player, last_seq FROM player_streams WHERE player IN (SELECT value FROM json_each(?1))";
}

#[async_trait]
impl PlayerStreams for SqliteStore {
    /// Reads a stream in one transaction, so that its parts belong together.
    async fn load_stream(
        &self,
        player: PlayerId,
        op: Option<OpHash>,
    ) -> Result<Option<LoadedStream>> {
        let failed = failed(LOAD_OPERATION);
        let mut transaction = self.readers.begin().await.map_err(&failed)?;
        let loaded = load_stream(&mut transaction, player, op).await?;
        transaction.rollback().await.map_err(&failed)?; // it was read-only
        Ok(loaded)
    }

    async fn append_to_stream(&self, append: &StreamAppend) -> Result<StreamOutcome> {
        let append = append.clone();
        let write = self.writer.write(APPEND_OPERATION, move |transaction| {
            Box::pin(async move { append_to_stream(transaction, &append).await })
        });
        write.await
    }

    async fn stream_events(
        &self,
        player: PlayerId,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<PlayerEvent>> {
        let events = sqlx::query_as(EVENTS)
            .bind(i64::from(player))
            .bind(clamped(after.0))
            .bind(limit)
            .fetch_all(&self.readers);
        let rows: Vec<PlayerEventRow> = events.await.map_err(failed("read a player's events"))?;
        decode_all(rows)
    }

    async fn players_with_streams(
        &self,
        after: Option<PlayerId>,
        limit: u32,
    ) -> Result<Vec<PlayerId>> {
        let players = sqlx::query_scalar(PLAYERS)
            .bind(after.map_or(0, i64::from))
            .bind(limit)
            .fetch_all(&self.readers);
        let players: Vec<i64> = players.await.map_err(failed("list streams"))?;
        players.into_iter().map(player_id).collect()
    }

    async fn due_streaks(
        &self,
        until: UnixMillis,
        after: Option<DueStreak>,
        limit: u32,
    ) -> Result<Vec<DueStreak>> {
        let due = sqlx::query_as(DUE)
            .bind(until.0)
            .bind(after.map_or(i64::MIN, |after| after.due_at.0))
            .bind(after.map_or(0, |after| i64::from(after.player)))
            .bind(limit)
            .fetch_all(&self.readers);
        let due: Vec<(i64, i64)> = due.await.map_err(failed("list due streaks"))?;
        let due = due.into_iter().map(|(due_at, player)| {
            Ok(DueStreak {
                due_at: UnixMillis(due_at),
                player: player_id(player)?,
            })
        });
        due.collect()
    }

    async fn stream_heads(&self, players: &[PlayerId]) -> Result<Vec<(PlayerId, Seq)>> {
        const OPERATION: &str = "read the heads of streams";
        let heads = sqlx::query_as(HEADS)
            .bind(json_array(players.iter().map(PlayerId::to_string)))
            .fetch_all(&self.readers);
        let heads: Vec<(i64, i64)> = heads.await.map_err(failed(OPERATION))?;
        let head = |(player, seq)| Ok((player_id(player)?, Seq(unsigned(OPERATION, seq)?)));
        heads.into_iter().map(head).collect()
    }
}

/// Reads a stream in a transaction.
pub(super) async fn load_stream(
    transaction: &mut SqliteConnection,
    player: PlayerId,
    op: Option<OpHash>,
) -> Result<Option<LoadedStream>> {
    let failed = failed(LOAD_OPERATION);
    let id = i64::from(player);
    let name = sqlx::query_scalar(NAME)
        .bind(id)
        .fetch_optional(&mut *transaction);
    let Some(name) = name.await.map_err(&failed)? else {
        return Ok(None);
    };
    let stream = sqlx::query_as(STREAM)
        .bind(id)
        .fetch_optional(&mut *transaction);
    let stream: Option<(i64, i64, Vec<u8>)> = stream.await.map_err(&failed)?;
    let (last_seq, state_seq, state) = stream.unwrap_or_default();
    let tail = sqlx::query_as(EVENTS)
        .bind(id)
        .bind(state_seq)
        .bind(-1)
        .fetch_all(&mut *transaction);
    let tail: Vec<PlayerEventRow> = tail.await.map_err(&failed)?;
    let op_seq = sqlx::query_scalar(OP_SEQ)
        .bind(id)
        .bind(op.map(|op| op.0.to_vec()))
        .fetch_optional(&mut *transaction);
    let op_seq: Option<i64> = op_seq.await.map_err(&failed)?;

    let seq = |number| unsigned(LOAD_OPERATION, number).map(Seq);
    let saved_state = (last_seq > 0).then(|| Ok::<_, StoreError>((seq(state_seq)?, state)));
    Ok(Some(LoadedStream {
        name,
        last_seq: seq(last_seq)?,
        saved_state: saved_state.transpose()?,
        tail: decode_all(tail)?,
        op_seq: op_seq.map(seq).transpose()?,
    }))
}

/// Appends to a stream in a transaction.
pub(super) async fn append_to_stream(
    transaction: &mut SqliteConnection,
    append: &StreamAppend,
) -> Result<StreamOutcome> {
    let failed = failed(APPEND_OPERATION);
    let id = i64::from(append.player);
    let name = sqlx::query_scalar(NAME)
        .bind(id)
        .fetch_optional(&mut *transaction);
    let name: Option<String> = name.await.map_err(&failed)?;
    if name.is_none() {
        return Ok(StreamOutcome::Gone);
    }
    let after = clamped(append.after.0);
    let last = clamped(append.last_seq().0);
    let advance = if append.after == Seq::ZERO {
        sqlx::query(BEGIN)
            .bind(id)
            .bind(last)
            .bind(append.state.as_deref())
    } else {
        let advance = sqlx::query(CONTINUE).bind(id).bind(after).bind(last);
        advance.bind(append.state.as_deref())
    };
    let advance = advance.bind(append.due_at.map(|at| at.0));
    let advanced = advance.execute(&mut *transaction).await.map_err(&failed)?;
    if advanced.rows_affected() == 0 {
        return Ok(StreamOutcome::Moved);
    }
    let rows: Vec<_> = append.events.iter().map(event_row).collect::<Result<_>>()?;
    let rows = json_array(rows.into_iter());
    let insert = sqlx::query(INSERT_EVENTS).bind(id).bind(rows);
    insert.execute(&mut *transaction).await.map_err(&failed)?;
    let change = append.profile_change();
    if change != ProfileChange::default() {
        let change = sqlx::query(CHANGE_PROFILE)
            .bind(id)
            .bind(change.name)
            .bind(change.xp.map(clamped))
            .bind(change.tasks.map(clamped))
            .bind(change.raids_won.map(clamped))
            .bind(change.is_correction);
        change.execute(&mut *transaction).await.map_err(&failed)?;
    }
    write_scores(transaction, append).await.map_err(&failed)?;
    Ok(StreamOutcome::Appended)
}

/// Deletes the streams, failed causes and scores of players.
pub(super) async fn delete_streams(
    transaction: &mut SqliteConnection,
    players: &[i64],
) -> sqlx::Result<()> {
    let ids = json_array(players.iter().map(i64::to_string));
    let events = sqlx::query(DELETE_EVENTS).bind(&ids);
    events.execute(&mut *transaction).await?;
    let streams = sqlx::query(DELETE_STREAMS).bind(&ids);
    streams.execute(&mut *transaction).await?;
    let failed_causes = sqlx::query(DELETE_FAILED_CAUSES).bind(&ids);
    failed_causes.execute(&mut *transaction).await?;
    delete_scores(transaction, players).await
}

/// Returns an event's row for `INSERT_EVENTS`.
fn event_row(recorded: &StreamEntry) -> Result<String> {
    let StreamEntry { event, op } = recorded;
    let row = || {
        serde_json::to_string(&(
            event.seq,
            event.at,
            event.data.kind(),
            event.data.version(),
            op.map(|op| hex(op.0)),
            event.cause.map(|cause| cause.raid),
            event.cause.map(|cause| cause.seq),
            streams::untagged_data(&event.data)?,
        ))
    };
    row().map_err(|error| refused(APPEND_OPERATION, error))
}

/// Columns that make up an event of a player.
#[derive(sqlx::FromRow)]
struct PlayerEventRow {
    seq: i64,
    at: i64,
    kind: String,
    version: i64,
    cause_raid: Option<i64>,
    cause_seq: Option<i64>,
    data: String,
}

fn decode_all(rows: Vec<PlayerEventRow>) -> Result<Vec<PlayerEvent>> {
    rows.into_iter().map(PlayerEventRow::decode).collect()
}

impl PlayerEventRow {
    /// Decodes the event; fails if a newer release wrote it or the row is damaged.
    fn decode(self) -> Result<PlayerEvent> {
        const OPERATION: &str = "decode a player's event";
        if self.version > i64::from(PLAYER_EVENT_VERSION) {
            return Err(StoreError::NewerVersion {
                version: u16::try_from(self.version).unwrap_or(u16::MAX),
            });
        }
        let cause = self.cause_raid.zip(self.cause_seq).map(|(raid, seq)| {
            Ok::<_, StoreError>(RaidPlace {
                raid: RaidId::try_from(raid).map_err(|error| refused(OPERATION, error))?,
                seq: Seq(unsigned(OPERATION, seq)?),
            })
        });
        let data = streams::parse_data(&self.kind, &self.data);
        Ok(PlayerEvent {
            seq: Seq(unsigned(OPERATION, self.seq)?),
            at: UnixMillis(self.at),
            cause: cause.transpose()?,
            data: data.map_err(|error| refused(OPERATION, error))?,
        })
    }
}
