//! Scores on leaderboards.

use async_trait::async_trait;
use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::{PlayerId, RaidId, Seq, UnixMillis};
use sqlx::SqliteConnection;

use super::SqliteStore;
use super::audit::insert_audit_entry;
use super::commit::json_array;
use super::fault::{failed, refused, unsigned};
use super::ledger::clamped;
use super::players::player_id;
use super::statements::statements;
use crate::progression::{BoardWindowId, ScoreMove};
use crate::store::{
    BoardPart, BoardPosition, BoardScore, Boards, NewAuditEntry, Result, StoreError, StreamAppend,
};

statements! {
    BOARDS_SINCE = "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'boards_since'";
    SCORE =
        "SELECT score, reached_at, is_listed FROM board_scores WHERE board = ?1 AND number = ?2 AND player = ?3";
    MOVE_SCORE =
        "INSERT INTO board_scores (board, number, player, score, reached_at, reached_raid, reached_seq, ",
        "    is_public, is_banned, is_removed) ",
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, EXISTS (SELECT 1 FROM bans WHERE bans.player = ?3), 0) ",
        "ON CONFLICT (board, number, player) DO UPDATE SET score = score + excluded.score, ",
        "    reached_at = max(reached_at, excluded.reached_at), ",
        "    reached_raid = iif(reached_at <= excluded.reached_at, excluded.reached_raid, reached_raid), ",
        "    reached_seq = iif(reached_at <= excluded.reached_at, excluded.reached_seq, reached_seq) ",
        "RETURNING score, reached_at, is_listed";
    SET_PUBLIC =
        "UPDATE board_scores SET is_public = ?2 WHERE player = ?1 AND is_public <> ?2 ",
        "RETURNING board, number, score, reached_at, iif(is_banned OR is_removed, 0, iif(is_public, 1, -1))";
    SET_BANNED =
        "UPDATE board_scores SET is_banned = ?2 WHERE player = ?1 AND is_banned <> ?2 ",
        "RETURNING board, number, score, reached_at, iif(is_removed OR NOT is_public, 0, iif(is_banned, -1, 1))";
    SET_REMOVED =
        "UPDATE board_scores SET is_removed = ?4 WHERE board = ?1 AND number = ?2 AND player = ?3 AND is_removed <> ?4 ",
        "RETURNING board, number, score, reached_at, iif(is_banned OR NOT is_public, 0, iif(is_removed, -1, 1))";
    DELETE_SCORES =
        "DELETE FROM board_scores WHERE player IN (SELECT value FROM json_each(?1)) ",
        "RETURNING board, number, score, reached_at, iif(is_listed, -1, 0)";
    COUNT =
        "INSERT INTO board_counts (board, number, score, hour, players) VALUES (?1, ?2, ?3, ?4 / 3600000, ?5) ",
        "ON CONFLICT (board, number, score, hour) DO UPDATE SET players = players + excluded.players";
    SUM =
        "INSERT INTO board_sums (board, number, bucket, players) VALUES (?1, ?2, ?3 / 256, ?4) ",
        "ON CONFLICT (board, number, bucket) DO UPDATE SET players = players + excluded.players";
    DELETE_EMPTY_COUNTS =
        "DELETE FROM board_counts WHERE (board, number, score, hour) IN ",
        "    (SELECT board, number, score, hour FROM board_counts INDEXED BY board_counts_empty ",
        "        WHERE players = 0 AND board > '' LIMIT ?1)";
    SCORES_BEHIND =
        "SELECT * FROM (SELECT player, score, reached_at, reached_raid, reached_seq, is_listed FROM board_scores ",
        "    WHERE board = ?1 AND number = ?2 AND is_listed AND score = ?3 ",
        "        AND (reached_at, reached_raid, reached_seq, player) > (?4, ?5, ?6, ?7) ",
        "    ORDER BY reached_at, reached_raid, reached_seq, player LIMIT ?8) ",
        "UNION ALL ",
        "SELECT * FROM (SELECT player, score, reached_at, reached_raid, reached_seq, is_listed FROM board_scores ",
        "    WHERE board = ?1 AND number = ?2 AND is_listed AND score < ?3 ",
        "    ORDER BY score DESC, reached_at, reached_raid, reached_seq, player LIMIT ?8)";
    SCORES_BEFORE =
        "SELECT * FROM (SELECT player, score, reached_at, reached_raid, reached_seq, is_listed FROM board_scores ",
        "    WHERE board = ?1 AND number = ?2 AND is_listed AND score = ?3 ",
        "        AND (reached_at, reached_raid, reached_seq, player) < (?4, ?5, ?6, ?7) ",
        "    ORDER BY reached_at DESC, reached_raid DESC, reached_seq DESC, player DESC LIMIT ?8) ",
        "UNION ALL ",
        "SELECT * FROM (SELECT player, score, reached_at, reached_raid, reached_seq, is_listed FROM board_scores ",
        "    WHERE board = ?1 AND number = ?2 AND is_listed AND score > ?3 ",
        "    ORDER BY score, reached_at DESC, reached_raid DESC, reached_seq DESC, player DESC LIMIT ?8)";
    COUNT_LISTED_BEFORE =
        "SELECT coalesce((SELECT sum(players) FROM board_sums ",
        "        WHERE board = ?1 AND number = ?2 AND bucket > ?3 / 256), 0) ",
        "    + coalesce((SELECT sum(players) FROM board_counts ",
        "        WHERE board = ?1 AND number = ?2 AND score > ?3 AND score < (?3 / 256 + 1) * 256), 0) ",
        "    + coalesce((SELECT sum(players) FROM board_counts ",
        "        WHERE board = ?1 AND number = ?2 AND score = ?3 AND hour < ?4 / 3600000), 0) ",
        "    + (SELECT count(*) FROM board_scores ",
        "        WHERE board = ?1 AND number = ?2 AND is_listed AND score = ?3 AND reached_at >= ?4 / 3600000 * 3600000 ",
        "            AND (reached_at, reached_raid, reached_seq, player) < (?4, ?5, ?6, ?7))";
    SCORES_IN_WINDOW =
        "SELECT player, score, reached_at, reached_raid, reached_seq, is_listed FROM board_scores ",
        "WHERE board = ?1 AND number = ?2 AND player IN (SELECT value FROM json_each(?3)) ",
        "    AND NOT is_banned AND NOT is_removed";
    SCORES_OF_PLAYER =
        "SELECT board, number, player, score, reached_at, reached_raid, reached_seq, is_listed FROM board_scores ",
        "WHERE player = ?1 AND (board, number) > (?2, ?3) ORDER BY board, number LIMIT ?4";
}

#[async_trait]
impl Boards for SqliteStore {
    async fn boards_since(&self) -> Result<UnixMillis> {
        let since = sqlx::query_scalar(BOARDS_SINCE).fetch_one(&self.readers);
        let since = since.await.map_err(failed("read the start of boards"))?;
        Ok(UnixMillis(since))
    }

    async fn listed_scores(
        &self,
        window: &BoardWindowId,
        part: BoardPart,
        limit: u32,
    ) -> Result<Vec<BoardPosition>> {
        let (statement, position) = match part {
            BoardPart::Top => (SCORES_BEHIND, None),
            BoardPart::Behind(position) => (SCORES_BEHIND, Some(position)),
            BoardPart::Before(position) => (SCORES_BEFORE, Some(position)),
        };
        let score = position.map_or(i64::MAX, |it| clamped(it.score));
        let place = position.map(|it| it.reached_place);
        let read = sqlx::query_as(statement)
            .bind(&window.board)
            .bind(window.number)
            .bind(score)
            .bind(position.map(|it| it.reached_at.0))
            .bind(place.map(|it| i64::from(it.raid)))
            .bind(place.map(|it| clamped(it.seq.0)))
            .bind(position.map(|it| i64::from(it.player)))
            .bind(limit)
            .fetch_all(&self.readers);
        let rows: Vec<ScoreRow> = read.await.map_err(failed("read a leaderboard"))?;
        let scores = rows.into_iter().take(limit as usize);
        scores.map(|row| Ok(row.decode()?.position)).collect()
    }

    async fn count_listed_before(
        &self,
        window: &BoardWindowId,
        position: &BoardPosition,
    ) -> Result<u64> {
        const OPERATION: &str = "count better scores";
        let count = sqlx::query_scalar(COUNT_LISTED_BEFORE)
            .bind(&window.board)
            .bind(window.number)
            .bind(clamped(position.score))
            .bind(position.reached_at.0)
            .bind(i64::from(position.reached_place.raid))
            .bind(clamped(position.reached_place.seq.0))
            .bind(i64::from(position.player))
            .fetch_one(&self.readers);
        unsigned(OPERATION, count.await.map_err(failed(OPERATION))?)
    }

    async fn scores_in_window(
        &self,
        window: &BoardWindowId,
        players: &[PlayerId],
    ) -> Result<Vec<BoardScore>> {
        let read = sqlx::query_as(SCORES_IN_WINDOW)
            .bind(&window.board)
            .bind(window.number)
            .bind(json_array(players.iter().map(PlayerId::to_string)))
            .fetch_all(&self.readers);
        let rows: Vec<ScoreRow> = read.await.map_err(failed("read players' scores"))?;
        rows.into_iter().map(ScoreRow::decode).collect()
    }

    async fn scores_of_player(
        &self,
        player: PlayerId,
        after: &BoardWindowId,
        limit: u32,
    ) -> Result<Vec<(BoardWindowId, BoardScore)>> {
        let read = sqlx::query_as(SCORES_OF_PLAYER)
            .bind(i64::from(player))
            .bind(&after.board)
            .bind(after.number)
            .bind(limit)
            .fetch_all(&self.readers);
        let rows: Vec<WindowScoreRow> = read.await.map_err(failed("read a player's scores"))?;
        rows.into_iter().map(WindowScoreRow::decode).collect()
    }

    async fn set_removed(
        &self,
        window: &BoardWindowId,
        player: PlayerId,
        is_removed: bool,
        entry: &NewAuditEntry,
    ) -> Result<bool> {
        const OPERATION: &str = "remove or restore a score";
        let window = window.clone();
        let entry = entry.clone();
        let set = self.writer.write(OPERATION, move |transaction| {
            Box::pin(async move {
                let found = set_removed(transaction, &window, player.into(), is_removed).await;
                let found = found.map_err(failed(OPERATION))?;
                if found {
                    insert_audit_entry(transaction, &entry).await?;
                }
                Ok(found)
            })
        });
        set.await
    }

    async fn delete_empty_counts(&self, limit: u32) -> Result<u32> {
        const OPERATION: &str = "delete empty counts";
        let delete = self.writer.write(OPERATION, move |transaction| {
            Box::pin(async move {
                let delete = sqlx::query(DELETE_EMPTY_COUNTS).bind(limit);
                let deleted = delete.execute(transaction).await;
                let deleted = deleted.map_err(failed(OPERATION))?.rows_affected();
                Ok(u32::try_from(deleted).unwrap_or(limit))
            })
        });
        delete.await
    }
}

/// Writes what an append makes of the player's scores, in its transaction.
pub(super) async fn write_scores(
    transaction: &mut SqliteConnection,
    append: &StreamAppend,
) -> sqlx::Result<()> {
    let player = i64::from(append.player);
    for moved in &append.scores {
        move_score(transaction, player, moved).await?;
    }
    let Some(is_public) = append.audience_change() else {
        return Ok(());
    };
    let set = sqlx::query_as(SET_PUBLIC)
        .bind(player)
        .bind(is_public)
        .fetch_all(&mut *transaction);
    let rescored = set.await?;
    count_all(transaction, rescored).await
}

/// Hides all scores of a player, or no longer, because of a ban.
pub(super) async fn set_banned(
    transaction: &mut SqliteConnection,
    player: i64,
    is_banned: bool,
) -> sqlx::Result<()> {
    let set = sqlx::query_as(SET_BANNED)
        .bind(player)
        .bind(is_banned)
        .fetch_all(&mut *transaction);
    let rescored = set.await?;
    count_all(transaction, rescored).await
}

/// Removes or restores a score, and returns whether there is one.
async fn set_removed(
    transaction: &mut SqliteConnection,
    window: &BoardWindowId,
    player: i64,
    is_removed: bool,
) -> sqlx::Result<bool> {
    let found = sqlx::query(SCORE)
        .bind(&window.board)
        .bind(window.number)
        .bind(player)
        .fetch_optional(&mut *transaction);
    if found.await?.is_none() {
        return Ok(false);
    }
    let set = sqlx::query_as(SET_REMOVED)
        .bind(&window.board)
        .bind(window.number)
        .bind(player)
        .bind(is_removed)
        .fetch_all(&mut *transaction);
    let rescored = set.await?;
    count_all(transaction, rescored).await?;
    Ok(true)
}

async fn move_score(
    transaction: &mut SqliteConnection,
    player: i64,
    moved: &ScoreMove,
) -> sqlx::Result<()> {
    let window = (moved.window.board.as_str(), moved.window.number);
    let before = sqlx::query_as(SCORE)
        .bind(window.0)
        .bind(window.1)
        .bind(player)
        .fetch_optional(&mut *transaction);
    let before: Option<(i64, i64, bool)> = before.await?;
    if let Some((score, reached_at, true)) = before {
        count(transaction, window, (score, reached_at), -1).await?;
    }
    let after = sqlx::query_as(MOVE_SCORE)
        .bind(window.0)
        .bind(window.1)
        .bind(player)
        .bind(clamped(moved.xp))
        .bind(moved.reached_at.0)
        .bind(i64::from(moved.reached_place.raid))
        .bind(clamped(moved.reached_place.seq.0))
        .bind(moved.is_public)
        .fetch_one(&mut *transaction);
    let (score, reached_at, is_listed): (i64, i64, bool) = after.await?;
    if is_listed {
        count(transaction, window, (score, reached_at), 1).await?;
    }
    Ok(())
}

/// Deletes the scores of players.
pub(super) async fn delete_scores(
    transaction: &mut SqliteConnection,
    players: &[i64],
) -> sqlx::Result<()> {
    let delete = sqlx::query_as(DELETE_SCORES)
        .bind(json_array(players.iter().map(i64::to_string)))
        .fetch_all(&mut *transaction);
    let rescored = delete.await?;
    count_all(transaction, rescored).await
}

/// A score's window, the score, when it was reached, and how many listed players it adds to them.
type RescoredRow = (String, i64, i64, i64, i64);

/// Adds what a statement made of listed scores to the counts.
async fn count_all(
    transaction: &mut SqliteConnection,
    rescored: Vec<RescoredRow>,
) -> sqlx::Result<()> {
    for (board, number, score, reached_at, change) in rescored {
        if change != 0 {
            count(transaction, (&board, number), (score, reached_at), change).await?;
        }
    }
    Ok(())
}

/// Adds to the number of listed players with a score that they reached at a time.
async fn count(
    transaction: &mut SqliteConnection,
    (board, number): (&str, i64),
    (score, reached_at): (i64, i64),
    change: i64,
) -> sqlx::Result<()> {
    let counts = sqlx::query(COUNT)
        .bind(board)
        .bind(number)
        .bind(score)
        .bind(reached_at)
        .bind(change);
    counts.execute(&mut *transaction).await?;
    let sums = sqlx::query(SUM)
        .bind(board)
        .bind(number)
        .bind(score)
        .bind(change);
    sums.execute(&mut *transaction).await.map(drop)
}

/// Columns that make up a score in a window.
#[derive(sqlx::FromRow)]
struct ScoreRow {
    player: i64,
    score: i64,
    reached_at: i64,
    reached_raid: i64,
    reached_seq: i64,
    is_listed: bool,
}

impl ScoreRow {
    fn decode(self) -> Result<BoardScore> {
        const OPERATION: &str = "decode a score";
        let raid = RaidId::try_from(self.reached_raid);
        Ok(BoardScore {
            position: BoardPosition {
                score: unsigned(OPERATION, self.score)?,
                reached_at: UnixMillis(self.reached_at),
                reached_place: RaidPlace {
                    raid: raid.map_err(|error| refused(OPERATION, error))?,
                    seq: Seq(unsigned(OPERATION, self.reached_seq)?),
                },
                player: player_id(self.player)?,
            },
            is_listed: self.is_listed,
        })
    }
}

/// Columns of a score with its window.
#[derive(sqlx::FromRow)]
struct WindowScoreRow {
    board: String,
    number: i64,
    #[sqlx(flatten)]
    score: ScoreRow,
}

impl WindowScoreRow {
    fn decode(self) -> Result<(BoardWindowId, BoardScore), StoreError> {
        let window = BoardWindowId {
            board: self.board,
            number: self.number,
        };
        Ok((window, self.score.decode()?))
    }
}
