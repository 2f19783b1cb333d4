//! Appends to players' streams: of a command to one stream, and of a projected page to several.

use raidhall_protocol::UnixMillis;
use serde::Serialize;
use serde_json::Value;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::boards::{bind_scores, count_scores};
use super::columns::{bigint, clamped};
use super::connections::Statement;
use super::fault;
use crate::store::streams::{self, ProfileChange};
use crate::store::{
    FeedCursor, InstanceId, OpHash, ProjectedPage, Result, StreamAppend, StreamEntry, StreamOutcome,
};

/// All parts see the database as it was when the statement began; only row locks see newer versions.
/// Hence the rows that order the statements are locked first: the projector's, unless a command
/// appends, and then those of the players, in the order of their ids. So appends and an erasure of the
/// same player happen one after another, and what a statement waited for is compared after the wait.
///
/// Rows of a player's scores begin only with appends to their stream, so the statement sees all that there
/// are of a stream that it appends to. Bans, removals and restorations change whether scores are listed.
/// So `left_behind` locks each score before `scored` changes it: a statement cannot lock what it has
/// changed. Appends that begin scores also change the player's row, which shows a ban that waited for one
/// that it does not see all scores.
///
/// Streams that end elsewhere are left out. If there are any, the statement neither records failures nor
/// moves the projector.
const APPEND_TO_STREAMS: &str = concat!(
    "
    WITH appends AS MATERIALIZED (
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::text[], $22::bigint[],
                             $23::bigint[], $24::bigint[], $25::boolean[], $26::bigint[])
            AS a (player, after, last, state, name, xp, tasks, raids_won, is_correction, due_at)
    ), held AS MATERIALIZED (
        SELECT id FROM projector
        WHERE id = 1 AND owner = $7::uuid AND place_commit = $8 AND place_raid = $9 AND place_seq = $10
        FOR NO KEY UPDATE
    ), locked AS MATERIALIZED (
        SELECT id, is_banned FROM players
        WHERE id = ANY ($1::bigint[] || $14::bigint[]) AND erased_at IS NULL
            AND ($7::uuid IS NULL OR EXISTS (SELECT FROM held))
        ORDER BY id
        FOR NO KEY UPDATE
    ), begun AS (
        INSERT INTO player_streams (player, last_seq, state, state_seq, due_at)
        SELECT player, last, state, last, due_at FROM appends
        WHERE after = 0 AND player = ANY (ARRAY(SELECT id FROM locked))
        ON CONFLICT (player) DO NOTHING
        RETURNING player
    ), continued AS (
        UPDATE player_streams s
        SET last_seq = a.last, state = coalesce(a.state, s.state),
            state_seq = CASE WHEN a.state IS NULL THEN s.state_seq ELSE a.last END, due_at = a.due_at
        FROM appends a
        WHERE s.player = ANY (ARRAY(SELECT id FROM locked)) AND s.player = a.player AND s.last_seq = a.after
        RETURNING s.player
    ), appended AS MATERIALIZED (
        SELECT player FROM begun UNION ALL SELECT player FROM continued
    ), profiled AS (
        UPDATE players p
        SET name = coalesce(a.name, p.name),
            xp = CASE WHEN a.is_correction THEN coalesce(a.xp, p.xp) ELSE greatest(p.xp, a.xp) END,
            tasks = CASE WHEN a.is_correction THEN coalesce(a.tasks, p.tasks) ELSE greatest(p.tasks, a.tasks) END,
            raids_won = CASE WHEN a.is_correction THEN coalesce(a.raids_won, p.raids_won)
                ELSE greatest(p.raids_won, a.raids_won) END
        FROM appends a
        WHERE p.id = ANY (ARRAY(SELECT player FROM appended)) AND p.id = a.player
            AND num_nonnulls(a.name, a.xp, a.tasks, a.raids_won) > 0
    ), written AS (
        INSERT INTO player_events (player, seq, at, kind, version, op_key, cause_raid, cause_seq, data)
        SELECT e.player, e.seq, e.at, e.kind, e.version, e.op_key, e.cause_raid, e.cause_seq, e.data
        FROM jsonb_to_recordset($6::text::jsonb) AS e (player bigint, seq bigint, at bigint, kind text,
            version smallint, op_key bytea, cause_raid bigint, cause_seq bigint, data jsonb)
        WHERE e.player = ANY (ARRAY(SELECT player FROM appended))
    ), moves AS MATERIALIZED (
        SELECT m.* FROM unnest($27::text[], $28::bigint[], $29::bigint[], $30::bigint[], $31::bigint[], $32::bigint[],
                               $33::bigint[], $34::boolean[])
            AS m (board, number, player, xp, reached_at, reached_raid, reached_seq, is_public)
        WHERE m.player = ANY (ARRAY(SELECT player FROM appended))
    ), left_behind AS MATERIALIZED (
        SELECT m.board, m.number, s.score, s.reached_at, s.is_listed
        FROM moves m CROSS JOIN LATERAL (
            SELECT score, reached_at, is_listed FROM board_scores s
            WHERE s.board = m.board AND s.number = m.number AND s.player = m.player
            LIMIT 1
            FOR NO KEY UPDATE
        ) s
    ), scored AS (
        INSERT INTO board_scores AS s (board, number, player, score, reached_at, reached_raid, reached_seq,
            is_public, is_banned, is_removed)
        SELECT board, number, player, xp, reached_at, reached_raid, reached_seq,
            is_public, player = ANY (ARRAY(SELECT id FROM locked WHERE is_banned)), false
        FROM moves
        WHERE (SELECT count(*) FROM left_behind) IS NOT NULL
        ON CONFLICT (board, number, player) DO UPDATE
        SET score = s.score + excluded.score, reached_at = greatest(s.reached_at, excluded.reached_at),
            reached_raid = CASE WHEN s.reached_at <= excluded.reached_at THEN excluded.reached_raid ELSE s.reached_raid END,
            reached_seq = CASE WHEN s.reached_at <= excluded.reached_at THEN excluded.reached_seq ELSE s.reached_seq END
        RETURNING s.board, s.number, s.score, s.reached_at, s.is_listed
    ), listed AS (
        UPDATE board_scores s SET is_public = l.is_public
        FROM unnest($35::bigint[], $36::boolean[]) AS l (player, is_public)
        WHERE s.player = ANY (ARRAY(SELECT player FROM appended)) AND s.player = l.player
            AND s.is_public <> l.is_public
        RETURNING s.board, s.number, s.score, s.reached_at,
            CASE WHEN s.is_banned OR s.is_removed THEN 0 WHEN s.is_public THEN 1 ELSE -1 END AS change
    ), rescored AS (
        SELECT board, number, score, reached_at, -1 AS change FROM left_behind WHERE is_listed
        UNION ALL
        SELECT board, number, score, reached_at, 1 FROM scored WHERE is_listed
        UNION ALL
        SELECT board, number, score, reached_at, change FROM listed
    ), ",
    count_scores!(),
    ", complete AS MATERIALIZED (
        SELECT id FROM held
        WHERE NOT EXISTS (
            SELECT FROM appends a
            WHERE a.player = ANY (ARRAY(SELECT id FROM locked)) AND a.player <> ALL (ARRAY(SELECT player FROM appended)))
    ), recorded AS (
        INSERT INTO projector_faults (player, raid_id, seq, error, failed_at)
        SELECT f.player, f.raid, f.seq, f.error, f.at
        FROM unnest($14::bigint[], $15::bigint[], $16::bigint[], $17::text[], $18::bigint[])
            AS f (player, raid, seq, error, at)
        WHERE f.player = ANY (ARRAY(SELECT id FROM locked)) AND EXISTS (SELECT FROM complete)
        ON CONFLICT (player, raid_id, seq) DO UPDATE SET error = excluded.error
    ), settled AS (
        DELETE FROM projector_faults f
        USING unnest($19::bigint[], $20::bigint[], $21::bigint[]) AS s (player, raid, seq)
        WHERE f.player = ANY ($19::bigint[]) AND f.player = s.player AND f.raid_id = s.raid AND f.seq = s.seq
            AND EXISTS (SELECT FROM complete)
    ), moved AS (
        UPDATE projector SET place_commit = $11, place_raid = $12, place_seq = $13
        WHERE id = 1 AND EXISTS (SELECT FROM complete)
    )
    SELECT EXISTS (SELECT FROM held) AS held, ARRAY(SELECT id FROM locked) AS found,
        ARRAY(SELECT player FROM appended) AS appended"
);

/// An event as a row of `player_events`.
#[derive(Serialize)]
struct PlayerEventColumns {
    player: i64,
    seq: u64,
    at: UnixMillis,
    kind: &'static str,
    version: u16,
    op_key: Option<String>,
    cause_raid: Option<u64>,
    cause_seq: Option<u64>,
    data: Value,
}

/// What a statement found and wrote.
pub(super) struct AppendedStreams {
    /// Whether the projector's row was the page's.
    pub(super) is_projector: bool,
    /// Players who exist and were not erased.
    found: Vec<i64>,
    /// Players whose streams were appended to.
    appended: Vec<i64>,
}

impl AppendedStreams {
    pub(super) fn from_row(row: &PgRow) -> sqlx::Result<AppendedStreams> {
        Ok(AppendedStreams {
            is_projector: row.try_get("held")?,
            found: row.try_get("found")?,
            appended: row.try_get("appended")?,
        })
    }

    /// Returns the outcome of the append to a player's stream.
    pub(super) fn outcome(&self, append: &StreamAppend) -> StreamOutcome {
        let player = i64::from(append.player);
        if self.appended.contains(&player) {
            StreamOutcome::Appended
        } else if self.found.contains(&player) {
            StreamOutcome::Moved
        } else {
            StreamOutcome::Gone
        }
    }
}

/// Returns the statement that writes a page as the projector. Without an instance it only appends.
pub(super) fn append_statement(
    operation: &'static str,
    instance: Option<InstanceId>,
    page: &ProjectedPage,
) -> Result<Statement> {
    let number = |number: u64| bigint(number).map_err(|error| fault::refused(operation, error));
    let appends = &page.appends;
    let after: Result<Vec<_>> = appends.iter().map(|it| number(it.after.0)).collect();
    let last: Result<Vec<_>> = appends.iter().map(|it| number(it.last_seq().0)).collect();
    let states: Vec<_> = appends.iter().map(|it| it.state.clone()).collect();
    let profiles: Vec<_> = appends.iter().map(StreamAppend::profile_change).collect();
    let names: Vec<_> = profiles
        .iter()
        .map(|it| it.name.map(str::to_owned))
        .collect();
    let totals = |total: fn(&ProfileChange<'_>) -> Option<u64>| -> Vec<_> {
        let total = |it| total(it).map(clamped);
        profiles.iter().map(total).collect()
    };
    let corrections: Vec<_> = profiles.iter().map(|it| it.is_correction).collect();
    let due: Vec<_> = appends.iter().map(|it| it.due_at.map(|at| at.0)).collect();
    let statement = sqlx::query(APPEND_TO_STREAMS)
        .bind(column(appends, |it| it.player.into()))
        .bind(after?)
        .bind(last?)
        .bind(states)
        .bind(names)
        .bind(event_rows(appends).map_err(|error| fault::refused(operation, error))?)
        .bind(instance.map(|instance| instance.0));
    let place = |statement: Statement, place: FeedCursor| {
        statement
            .bind(clamped(place.commit))
            .bind(clamped(place.raid))
            .bind(clamped(place.seq))
    };
    let statement = place(place(statement, page.from), page.to);
    let errors: Vec<_> = page.failed.iter().map(|it| it.error.clone()).collect();
    let statement = statement
        .bind(column(&page.failed, |it| it.player.into()))
        .bind(column(&page.failed, |it| it.cause.raid.into()))
        .bind(column(&page.failed, |it| clamped(it.cause.seq.0)))
        .bind(errors)
        .bind(column(&page.failed, |it| it.failed_at.0))
        .bind(column(&page.settled, |(player, _)| (*player).into()))
        .bind(column(&page.settled, |(_, cause)| cause.raid.into()))
        .bind(column(&page.settled, |(_, cause)| clamped(cause.seq.0)))
        .bind(totals(|it| it.xp))
        .bind(totals(|it| it.tasks))
        .bind(totals(|it| it.raids_won))
        .bind(corrections)
        .bind(due);
    Ok(bind_scores(statement, appends))
}

fn column<T>(rows: &[T], value: impl Fn(&T) -> i64) -> Vec<i64> {
    rows.iter().map(value).collect()
}

fn event_rows(appends: &[StreamAppend]) -> serde_json::Result<String> {
    let mut rows = Vec::new();
    for append in appends {
        for recorded in &append.events {
            rows.push(event_columns(append, recorded)?);
        }
    }
    serde_json::to_string(&rows)
}

fn event_columns(
    append: &StreamAppend,
    recorded: &StreamEntry,
) -> serde_json::Result<PlayerEventColumns> {
    let StreamEntry { event, op } = recorded;
    Ok(PlayerEventColumns {
        player: append.player.into(),
        seq: event.seq.0,
        at: event.at,
        kind: event.data.kind(),
        version: event.data.version(),
        op_key: op.map(bytea_text),
        cause_raid: event.cause.map(|cause| cause.raid.get()),
        cause_seq: event.cause.map(|cause| cause.seq.0),
        data: streams::untagged_data(&event.data)?,
    })
}

/// Returns an op key as the text form of a `bytea`.
fn bytea_text(op: OpHash) -> String {
    format!("\\x{:032x}", u128::from_be_bytes(op.0))
}
