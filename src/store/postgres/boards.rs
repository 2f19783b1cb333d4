//! Scores on leaderboards.

use async_trait::async_trait;
use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::{PlayerId, UnixMillis};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::PostgresStore;
use super::audit::bind_audit_entry;
use super::columns::{clamped, number, player, raid, seq};
use super::connections::Statement;
use crate::progression::{BoardWindowId, ScoreMove};
use crate::store::{
    BoardPart, BoardPosition, BoardScore, Boards, NewAuditEntry, Result, StreamAppend,
};

const BOARDS_SINCE: &str = "SELECT value::bigint AS since FROM meta WHERE key = 'boards_since'";

/// Adds what a statement's part `rescored` makes of listed scores to the counts and their sums. Each of
/// its rows has the window, the score, when it was reached and the change. Counts of several scores are
/// added to in the order of their keys.
macro_rules! count_scores {
    () => {
        "changes AS MATERIALIZED (
        SELECT board, number, score, reached_at / 3600000 AS hour, sum(change) AS change FROM rescored
        GROUP BY board, number, score, hour
        HAVING sum(change) <> 0
    ), counted AS (
        INSERT INTO board_counts AS c (board, number, score, hour, players)
        SELECT board, number, score, hour, change FROM changes
        ORDER BY board, number, score, hour
        ON CONFLICT (board, number, score, hour) DO UPDATE SET players = c.players + excluded.players
    ), summed AS (
        INSERT INTO board_sums AS s (board, number, bucket, players)
        SELECT board, number, score / 256 AS bucket, sum(change) FROM changes
        GROUP BY board, number, bucket
        HAVING sum(change) <> 0
        ORDER BY board, number, bucket
        ON CONFLICT (board, number, bucket) DO UPDATE SET players = s.players + excluded.players
    )"
    };
}

pub(super) use count_scores;

/// Ties with the position first, then the scores below it. Each part is in the order of the index.
const SCORES_BEHIND: &str = "
    SELECT * FROM ((SELECT player, score, reached_at, reached_raid, reached_seq, is_listed FROM board_scores
    WHERE board = $1 AND number = $2 AND is_listed AND score = $3
        AND (reached_at, reached_raid, reached_seq, player) > ($4::bigint, $5::bigint, $6::bigint, $7::bigint)
    ORDER BY reached_at, reached_raid, reached_seq, player
    LIMIT $8)
    UNION ALL
    (SELECT player, score, reached_at, reached_raid, reached_seq, is_listed FROM board_scores
    WHERE board = $1 AND number = $2 AND is_listed AND score < $3
    ORDER BY score DESC, reached_at, reached_raid, reached_seq, player
    LIMIT $8)) AS s";

const SCORES_BEFORE: &str = "
    SELECT * FROM ((SELECT player, score, reached_at, reached_raid, reached_seq, is_listed FROM board_scores
    WHERE board = $1 AND number = $2 AND is_listed AND score = $3
        AND (reached_at, reached_raid, reached_seq, player) < ($4::bigint, $5::bigint, $6::bigint, $7::bigint)
    ORDER BY reached_at DESC, reached_raid DESC, reached_seq DESC, player DESC
    LIMIT $8)
    UNION ALL
    (SELECT player, score, reached_at, reached_raid, reached_seq, is_listed FROM board_scores
    WHERE board = $1 AND number = $2 AND is_listed AND score > $3
    ORDER BY score, reached_at DESC, reached_raid DESC, reached_seq DESC, player DESC
    LIMIT $8)) AS s";

const COUNT_LISTED_BEFORE: &str = "
    SELECT (coalesce((SELECT sum(players) FROM board_sums
            WHERE board = $1 AND number = $2 AND bucket > $3::bigint / 256), 0)
        + coalesce((SELECT sum(players) FROM board_counts
            WHERE board = $1 AND number = $2 AND score > $3 AND score < ($3::bigint / 256 + 1) * 256), 0)
        + coalesce((SELECT sum(players) FROM board_counts
            WHERE board = $1 AND number = $2 AND score = $3 AND hour < $4::bigint / 3600000), 0)
        + (SELECT count(*) FROM board_scores
            WHERE board = $1 AND number = $2 AND is_listed AND score = $3
                AND reached_at >= $4::bigint / 3600000 * 3600000
                AND (reached_at, reached_raid, reached_seq, player) < ($4, $5::bigint, $6::bigint, $7::bigint)))::bigint
        AS count";

const SCORES_IN_WINDOW: &str = "
    SELECT player, score, reached_at, reached_raid, reached_seq, is_listed FROM board_scores
    WHERE board = $1 AND number = $2 AND player = ANY ($3::bigint[]) AND NOT is_banned AND NOT is_removed";

const SCORES_OF_PLAYER: &str = "
    SELECT board, number, player, score, reached_at, reached_raid, reached_seq, is_listed
    FROM board_scores
    WHERE player = $1 AND (board, number) > ($2, $3)
    ORDER BY board, number
    LIMIT $4";

/// Takes its turn with an append that moves the score: both lock its row before they change counts.
const SET_REMOVED: &str = concat!(
    "
    WITH found AS MATERIALIZED (
        SELECT player FROM board_scores
        WHERE board = $2 AND number = $9 AND player = $1
        FOR NO KEY UPDATE
    ), rescored AS (
        UPDATE board_scores SET is_removed = $10
        WHERE board = $2 AND number = $9 AND player = (SELECT player FROM found) AND is_removed <> $10
        RETURNING board, number, score, reached_at,
            CASE WHEN is_banned OR NOT is_public THEN 0 WHEN is_removed THEN -1 ELSE 1 END AS change
    ), ",
    count_scores!(),
    ", recorded AS (
        INSERT INTO audit_log (at, actor, action, target, request_id, details)
        SELECT $8, $3, $4, $5, $6, $7::text::jsonb FROM found
    )
    SELECT count(*) FROM found"
);

/// Leaves out what another transaction is counting in.
const DELETE_EMPTY_COUNTS: &str = "
    WITH deleted AS (
        DELETE FROM board_counts c
        USING (
            SELECT board, number, score, hour FROM board_counts WHERE players = 0
            LIMIT $1
            FOR UPDATE SKIP LOCKED
        ) AS e
        WHERE c.board = e.board AND c.number = e.number AND c.score = e.score AND c.hour = e.hour
        RETURNING 1
    )
    SELECT count(*) AS count FROM deleted";

#[async_trait]
impl Boards for PostgresStore {
    async fn boards_since(&self) -> Result<UnixMillis> {
        let statement = sqlx::query(BOARDS_SINCE);
        let since = |row: &PgRow| Ok(UnixMillis(row.try_get("since")?));
        self.general_pool
            .fetch_one("read the start of leaderboards", statement, since)
            .await
    }

    async fn listed_scores(
        &self,
        window: &BoardWindowId,
        part: BoardPart,
        limit: u32,
    ) -> Result<Vec<BoardPosition>> {
        let position = match part {
            BoardPart::Top => None,
            BoardPart::Behind(position) | BoardPart::Before(position) => Some(position),
        };
        let statement = match part {
            BoardPart::Top | BoardPart::Behind(_) => sqlx::query(SCORES_BEHIND),
            BoardPart::Before(_) => sqlx::query(SCORES_BEFORE),
        };
        let place = position.map(|it| it.reached_place);
        let statement = statement
            .bind(window.board.clone())
            .bind(window.number)
            .bind(position.map_or(i64::MAX, |it| clamped(it.score)))
            .bind(position.map(|it| it.reached_at.0))
            .bind(place.map(|it| i64::from(it.raid)))
            .bind(place.map(|it| clamped(it.seq.0)))
            .bind(position.map(|it| i64::from(it.player)))
            .bind(i64::from(limit));
        let found = self
            .general_pool
            .fetch_all("read a leaderboard", statement, score);
        let mut positions: Vec<_> = found.await?.iter().map(|it| it.position).collect();
        positions.sort_unstable();
        if matches!(part, BoardPart::Before(_)) {
            positions.reverse();
        }
        positions.truncate(limit as usize);
        Ok(positions)
    }

    async fn count_listed_before(
        &self,
        window: &BoardWindowId,
        position: &BoardPosition,
    ) -> Result<u64> {
        let statement = sqlx::query(COUNT_LISTED_BEFORE)
            .bind(window.board.clone())
            .bind(window.number)
            .bind(clamped(position.score))
            .bind(position.reached_at.0)
            .bind(i64::from(position.reached_place.raid))
            .bind(clamped(position.reached_place.seq.0))
            .bind(i64::from(position.player));
        self.general_pool
            .fetch_count("count better scores", statement)
            .await
    }

    async fn scores_in_window(
        &self,
        window: &BoardWindowId,
        players: &[PlayerId],
    ) -> Result<Vec<BoardScore>> {
        let ids: Vec<i64> = players.iter().map(|player| i64::from(*player)).collect();
        let statement = sqlx::query(SCORES_IN_WINDOW)
            .bind(window.board.clone())
            .bind(window.number)
            .bind(ids);
        self.general_pool
            .fetch_all("read players' scores", statement, score)
            .await
    }

    async fn scores_of_player(
        &self,
        player: PlayerId,
        after: &BoardWindowId,
        limit: u32,
    ) -> Result<Vec<(BoardWindowId, BoardScore)>> {
        let statement = sqlx::query(SCORES_OF_PLAYER)
            .bind(i64::from(player))
            .bind(after.board.clone())
            .bind(after.number)
            .bind(i64::from(limit));
        let in_window = |row: &PgRow| {
            let window = BoardWindowId {
                board: row.try_get("board")?,
                number: row.try_get("number")?,
            };
            Ok((window, score(row)?))
        };
        self.general_pool
            .fetch_all("read a player's scores", statement, in_window)
            .await
    }

    async fn set_removed(
        &self,
        window: &BoardWindowId,
        player: PlayerId,
        is_removed: bool,
        entry: &NewAuditEntry,
    ) -> Result<bool> {
        let statement = sqlx::query(SET_REMOVED)
            .bind(i64::from(player))
            .bind(window.board.clone());
        let statement = bind_audit_entry(statement, entry)
            .bind(window.number)
            .bind(is_removed);
        let found = self
            .general_pool
            .fetch_count("remove or restore a score", statement);
        Ok(found.await? > 0)
    }

    async fn delete_empty_counts(&self, limit: u32) -> Result<u32> {
        let statement = sqlx::query(DELETE_EMPTY_COUNTS).bind(i64::from(limit));
        let deleted = |row: &PgRow| number(row, "count");
        let deleted = self
            .general_pool
            .fetch_one("delete empty counts", statement, deleted);
        Ok(u32::try_from(deleted.await?).unwrap_or(limit))
    }
}

fn score(row: &PgRow) -> sqlx::Result<BoardScore> {
    Ok(BoardScore {
        position: BoardPosition {
            score: number(row, "score")?,
            reached_at: UnixMillis(row.try_get("reached_at")?),
            reached_place: RaidPlace {
                raid: raid(row, "reached_raid")?,
                seq: seq(row, "reached_seq")?,
            },
            player: player(row, "player")?,
        },
        is_listed: row.try_get("is_listed")?,
    })
}

/// Binds what appends make of players' scores: eight columns of moves, then two of changed settings.
pub(super) fn bind_scores(statement: Statement, appends: &[StreamAppend]) -> Statement {
    let moves = appends.iter();
    let moves: Vec<(i64, &ScoreMove)> = moves
        .flat_map(|it| it.scores.iter().map(move |moved| (it.player.into(), moved)))
        .collect();
    let column = |value: fn(&ScoreMove) -> i64| -> Vec<i64> {
        moves.iter().map(|(_, moved)| value(moved)).collect()
    };
    let boards = moves.iter().map(|(_, moved)| moved.window.board.clone());
    let public = moves.iter().map(|(_, moved)| moved.is_public);
    let changes = appends.iter();
    let changes: Vec<(i64, bool)> = changes
        .filter_map(|it| Some((it.player.into(), it.audience_change()?)))
        .collect();
    statement
        .bind(boards.collect::<Vec<_>>())
        .bind(column(|it| it.window.number))
        .bind(moves.iter().map(|(player, _)| *player).collect::<Vec<_>>())
        .bind(column(|it| clamped(it.xp)))
        .bind(column(|it| it.reached_at.0))
        .bind(column(|it| it.reached_place.raid.into()))
        .bind(column(|it| clamped(it.reached_place.seq.0)))
        .bind(public.collect::<Vec<_>>())
        .bind(
            changes
                .iter()
                .map(|(player, _)| *player)
                .collect::<Vec<_>>(),
        )
        .bind(
            changes
                .iter()
                .map(|(_, is_public)| *is_public)
                .collect::<Vec<_>>(),
        )
}
