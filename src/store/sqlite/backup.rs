//! Export and import of the whole database. Rows travel as JSON, which SQLite itself makes and
//! reads.

use std::time::Duration;

use anyhow::anyhow;
use async_trait::async_trait;
use raidhall_protocol::{PlayerId, RaidId, UnixMillis};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Sqlite, query::QueryScalar};

use super::fault::{failed, refused};
use super::schema::{MIGRATIONS, applied_migrations};
use super::statements::statements;
use super::{LOCK_RETRY_INTERVAL, SqliteStore};
use crate::store::backup::{
    AuditLine, BackupSource, BackupTarget, BanLine, BoardScoreLine, DefinitionsLine, EventLine,
    EventWithEarnings, IdsLine, OpenTargetError, PlayerEventLine, PlayerLine, RaidLine, SignInLine,
    SnapshotLine, StreamLine,
};
use crate::store::{Result, StoreError};

const READ: &str = "read the database for a backup";
const WRITE: &str = "fill the database from a backup";

statements! {
    DEFINITIONS =
        "SELECT json_object('number', number, 'hash', lower(hex(hash)), 'body', body, 'applied_at', applied_at) ",
        "FROM progression_definitions WHERE number > ?1 ORDER BY number LIMIT ?2";
    PLAYERS =
        "SELECT json_object('id', id, 'name', name, 'xp', xp, 'tasks', tasks, 'raids_won', raids_won, ",
        "    'created_at', created_at, 'external_id', external_id, 'erased_at', erased_at) ",
        "FROM players WHERE id > ?1 ORDER BY id LIMIT ?2";
    NEXT_STREAM =
        "SELECT json_object('player', s.player, 'last_seq', s.last_seq, 'state', lower(hex(s.state)), ",
        "    'state_seq', s.state_seq, 'due_at', s.due_at) ",
        "FROM player_streams s JOIN players p ON p.id = s.player AND p.erased_at IS NULL ",
        "WHERE s.player > ?1 ORDER BY s.player LIMIT 1";
    PLAYER_EVENTS =
        "SELECT json_object('player', player, 'seq', seq, 'at', at, 'kind', kind, 'version', version, ",
        "    'op_key', nullif(lower(hex(op_key)), ''), 'cause_raid', cause_raid, 'cause_seq', cause_seq, ",
        "    'data', json(data)) ",
        "FROM player_events WHERE player = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
    BOARD_SCORES =
        "SELECT json_object('board', board, 'number', number, 'player', player, 'score', score, ",
        "    'reached_at', reached_at, 'reached_raid', reached_raid, 'reached_seq', reached_seq, ",
        "    'is_removed', json(iif(is_removed, 'true', 'false'))) ",
        "FROM board_scores WHERE player = ?1 AND (board, number) > (?2, ?3) ORDER BY board, number LIMIT ?4";
    BOARDS_FINAL_UNTIL = "SELECT boards_final_until FROM projector WHERE id = 1";
    BOARDS_SINCE = "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'boards_since'";
    RAIDS =
        "SELECT json_object('id', id, 'born', born, 'title', title, 'invite_code', invite_code, ",
        "    'create_key', nullif(lower(hex(create_key)), ''), 'target_xp', target_xp, 'target_tasks', target_tasks, ",
        "    'time_limit_secs', time_limit_secs, 'created_at', created_at, 'status', status, 'deadline', deadline, ",
        "    'current_xp', current_xp, 'current_tasks', current_tasks, 'ended_at', ended_at, 'epoch', epoch, ",
        "    'last_seq', last_seq) ",
        "FROM raids WHERE id > ?1 ORDER BY id LIMIT ?2";
    SNAPSHOT =
        "SELECT json_object('raid', raid_id, 'seq', seq, 'state', lower(hex(state))) ",
        "FROM raid_snapshots WHERE raid_id = ?1";
    EVENTS =
        "SELECT json_object('raid', raid_id, 'seq', seq, 'at', at, 'by', \"by\", 'version', version, 'kind', kind, ",
        "    'op_key', nullif(lower(hex(op_key)), ''), 'data', json(data), 'definitions', definitions) ",
        "FROM raid_events WHERE born = ?1 AND raid_id = ?2 AND seq > ?3 ORDER BY seq LIMIT ?4";
    SIGN_INS =
        "SELECT json_object('id', lower(hex(id)), 'player', player, 'current', lower(hex(current)), ",
        "    'previous', nullif(lower(hex(previous)), ''), 'rotated_at', rotated_at, 'expires_at', expires_at) ",
        "FROM refresh_families WHERE id > unhex(?1) ORDER BY id LIMIT ?2";
    BANS =
        "SELECT json_object('player', player, 'reason', reason, 'by', \"by\", 'at', at) ",
        "FROM bans WHERE player > ?1 ORDER BY player LIMIT ?2";
    AUDIT_ENTRIES =
        "SELECT json_object('id', id, 'at', at, 'actor', actor, 'action', action, 'target', target, ",
        "    'request_id', request_id, 'details', json(details)) ",
        "FROM audit_log WHERE id > ?1 ORDER BY id LIMIT ?2";
    LINEAGE = "SELECT value FROM meta WHERE key = 'lineage'";
    IDS =
        "SELECT json_object('players', coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'players'), 0), ",
        "    'raids', (SELECT reserved FROM raid_ids))";
    FILL_DEFINITIONS =
        "INSERT INTO progression_definitions (number, hash, body, applied_at) ",
        "SELECT value ->> 'number', unhex(value ->> 'hash'), value ->> 'body', value ->> 'applied_at' FROM json_each(?1)";
    /// A server that used the empty database has stored the first definitions.
    DELETE_DEFINITIONS = "DELETE FROM progression_definitions";
    ADD_PLAYERS =
        "INSERT INTO players (id, name, xp, tasks, raids_won, created_at, external_id, erased_at, erase_due) ",
        "SELECT value ->> 'id', value ->> 'name', value ->> 'xp', value ->> 'tasks', value ->> 'raids_won', ",
        "    value ->> 'created_at', value ->> 'external_id', value ->> 'erased_at', value ->> 'erased_at' ",
        "FROM json_each(?1)";
    ADD_STREAM =
        "INSERT INTO player_streams (player, last_seq, state, state_seq, due_at) ",
        "SELECT value ->> 'player', value ->> 'last_seq', unhex(value ->> 'state'), value ->> 'state_seq', ",
        "    value ->> 'due_at' FROM json_each(?1)";
    ADD_PLAYER_EVENTS =
        "INSERT INTO player_events (player, seq, at, kind, version, op_key, cause_raid, cause_seq, data) ",
        "SELECT value ->> 'player', value ->> 'seq', value ->> 'at', value ->> 'kind', value ->> 'version', ",
        "    unhex(value ->> 'op_key'), value ->> 'cause_raid', value ->> 'cause_seq', value -> 'data' ",
        "FROM json_each(?1)";
    /// Bans are added later.
    ADD_BOARD_SCORES =
        "INSERT INTO board_scores (board, number, player, score, reached_at, reached_raid, reached_seq, ",
        "    is_public, is_banned, is_removed) ",
        "SELECT value ->> 'board', value ->> 'number', value ->> 'player', value ->> 'score', value ->> 'reached_at', ",
        "    value ->> 'reached_raid', value ->> 'reached_seq', ?2, 0, value ->> 'is_removed' FROM json_each(?1)";
    SET_BOARDS_FINAL_UNTIL = "UPDATE projector SET boards_final_until = ?1 WHERE id = 1";
    SET_BOARDS_SINCE = "UPDATE meta SET value = CAST(?1 AS TEXT) WHERE key = 'boards_since'";
    ADD_RAIDS =
        "INSERT INTO raids (id, born, title, invite_code, create_key, target_xp, target_tasks, time_limit_secs, ",
        "    created_at, status, deadline, current_xp, current_tasks, ended_at, epoch, last_seq) ",
        "SELECT value ->> 'id', value ->> 'born', value ->> 'title', value ->> 'invite_code', ",
        "    unhex(value ->> 'create_key'), value ->> 'target_xp', value ->> 'target_tasks', ",
        "    value ->> 'time_limit_secs', value ->> 'created_at', value ->> 'status', value ->> 'deadline', ",
        "    value ->> 'current_xp', value ->> 'current_tasks', value ->> 'ended_at', value ->> 'epoch', ",
        "    value ->> 'last_seq' FROM json_each(?1)";
    ADD_SNAPSHOTS =
        "INSERT INTO raid_snapshots (raid_id, seq, state) ",
        "SELECT value ->> 'raid', value ->> 'seq', unhex(value ->> 'state') FROM json_each(?1)";
    ADD_EVENTS =
        "INSERT INTO raid_events (born, raid_id, seq, at, \"by\", player, xp, version, kind, op_key, data, definitions) ",
        "SELECT ?2, value ->> 'raid', value ->> 'seq', value ->> 'at', value ->> 'by', value ->> 'player', ",
        "    value ->> 'xp', value ->> 'version', value ->> 'kind', unhex(value ->> 'op_key'), value -> 'data', ",
        "    value ->> 'definitions' FROM json_each(?1)";
    ADD_MEMBERS =
        "INSERT INTO raid_members (player, raid_id, joined_at) ",
        "SELECT value ->> 0, ?2, value ->> 1 FROM json_each(?1)";
    ADD_FORMER_MEMBERS = "INSERT INTO raid_visits (player, raid_id) SELECT value, ?2 FROM json_each(?1)";
    SET_LEADER =
        "UPDATE raids SET leader = new.value FROM json_each(?1) AS new WHERE raids.id = ?2";
    ADD_SIGN_INS =
        "INSERT INTO refresh_families (id, player, current, previous, rotated_at, expires_at) ",
        "SELECT unhex(value ->> 'id'), value ->> 'player', unhex(value ->> 'current'), ",
        "    unhex(value ->> 'previous'), value ->> 'rotated_at', value ->> 'expires_at' FROM json_each(?1)";
    ADD_BANS =
        "INSERT INTO bans (player, reason, \"by\", at) ",
        "SELECT value ->> 'player', value ->> 'reason', value ->> 'by', value ->> 'at' FROM json_each(?1)";
    ADD_AUDIT_ENTRIES =
        "INSERT INTO audit_log (at, actor, action, target, request_id, details) ",
        "SELECT value ->> 'at', value ->> 'actor', value ->> 'action', value ->> 'target', ",
        "    value ->> 'request_id', value -> 'details' FROM json_each(?1)";
    SET_RAID_IDS = "UPDATE raid_ids SET reserved = ?1";
    DELETE_PLAYER_IDS = "DELETE FROM sqlite_sequence WHERE name = 'players'";
    SET_PLAYER_IDS = "INSERT INTO sqlite_sequence (name, seq) VALUES ('players', ?1)";
    SET_LINEAGE = "UPDATE meta SET value = coalesce(?1, lower(hex(randomblob(16)))) WHERE key = 'lineage'";
}

/// Checks that must all be false, each with a name for what its table holds.
const EMPTY_CHECKS: [(&str, &str); 5] = [
    ("players", "SELECT EXISTS (SELECT 1 FROM players)"),
    ("raids", "SELECT EXISTS (SELECT 1 FROM raids)"),
    ("events", "SELECT EXISTS (SELECT 1 FROM raid_events)"),
    ("sign-ins", "SELECT EXISTS (SELECT 1 FROM refresh_families)"),
    ("an audit log", "SELECT EXISTS (SELECT 1 FROM audit_log)"),
];

/// Scans the whole ledger once. XP that was granted outside of raids is in the streams only, which an
/// erasure deletes.
const HIDE_BANNED_SCORES: &str =
    "UPDATE board_scores SET is_banned = 1 WHERE player IN (SELECT player FROM bans)";

const COUNT_SCORES: &str = "
    INSERT INTO board_counts (board, number, score, hour, players)
    SELECT board, number, score, reached_at / 3600000 AS hour, count(*) FROM board_scores WHERE is_listed
    GROUP BY board, number, score, hour";

const SUM_COUNTS: &str = "
    INSERT INTO board_sums (board, number, bucket, players)
    SELECT board, number, score / 256 AS bucket, sum(players) FROM board_counts GROUP BY board, number, bucket";

const WRONG_TOTALS: &str = "
    SELECT p.id FROM players p
    LEFT JOIN (
        SELECT player, sum(xp) AS xp, count(*) AS tasks FROM raid_events WHERE player IS NOT NULL GROUP BY player
    ) AS earned ON earned.player = p.id
    LEFT JOIN (
        SELECT player, sum(data ->> 'amount') AS xp
        FROM player_events WHERE kind = 'xp_earned' AND data ->> 'source' = 'grant' GROUP BY player
    ) AS granted ON granted.player = p.id
    LEFT JOIN (
        SELECT ranked.value ->> 'player' AS player, count(*) AS won
        FROM raid_events, json_each(raid_events.data, '$.ranking') AS ranked
        WHERE raid_events.kind = 'raid_completed' GROUP BY 1
    ) AS wins ON wins.player = p.id
    WHERE (p.xp > coalesce(earned.xp, 0) + coalesce(granted.xp, 0) AND p.erased_at IS NULL)
        OR p.tasks > coalesce(earned.tasks, 0) OR p.raids_won > coalesce(wins.won, 0)
    LIMIT 1";

/// A consistent view of a SQLite database, which a server may be using.
pub struct SqliteSource {
    connection: SqliteConnection,
}

impl SqliteSource {
    /// Opens the database of a `sqlite:` URL for reading. It must exist and have this release's
    /// schema.
    pub async fn open(url: &str) -> Result<SqliteSource> {
        let options: SqliteConnectOptions = url.parse().map_err(failed(READ))?;
        let options = options
            .create_if_missing(false)
            .busy_timeout(super::BUSY_TIMEOUT)
            .pragma("query_only", "on");
        let mut connection = options.connect().await.map_err(failed(READ))?;
        sqlx::raw_sql("BEGIN")
            .execute(&mut connection)
            .await
            .map_err(failed(READ))?;
        // The first read fixes the snapshot that all later reads see.
        let applied = applied_migrations(&mut connection, READ).await?;
        if !MIGRATIONS
            .iter()
            .map(|migration| migration.version)
            .eq(applied)
        {
            let source = anyhow!(
                "its schema is not this release's: run `raidhall migrate` of the release that serves"
            );
            return Err(StoreError::Refused {
                operation: READ,
                source,
            });
        }
        Ok(SqliteSource { connection })
    }

    async fn fetch_rows<T: DeserializeOwned>(
        &mut self,
        query: SqliteJsonQuery<'_>,
    ) -> Result<Vec<T>> {
        let texts: Vec<String> = query
            .fetch_all(&mut self.connection)
            .await
            .map_err(failed(READ))?;
        let row = |text: &String| serde_json::from_str(text).map_err(|error| refused(READ, error));
        texts.iter().map(row).collect()
    }
}

type SqliteJsonQuery<'q> = QueryScalar<'q, Sqlite, String, SqliteArguments>;

#[async_trait]
impl BackupSource for SqliteSource {
    fn database_kind(&self) -> &'static str {
        "sqlite"
    }

    async fn lineage(&mut self) -> Result<String> {
        sqlx::query_scalar(LINEAGE)
            .fetch_one(&mut self.connection)
            .await
            .map_err(failed(READ))
    }

    async fn boards_since(&mut self) -> Result<i64> {
        sqlx::query_scalar(BOARDS_SINCE)
            .fetch_one(&mut self.connection)
            .await
            .map_err(failed(READ))
    }

    async fn boards_final_until(&mut self) -> Result<i64> {
        sqlx::query_scalar(BOARDS_FINAL_UNTIL)
            .fetch_one(&mut self.connection)
            .await
            .map_err(failed(READ))
    }

    async fn allocated_ids(&mut self) -> Result<IdsLine> {
        Ok(self
            .fetch_rows(sqlx::query_scalar(IDS))
            .await?
            .pop()
            .unwrap_or_default())
    }

    async fn definitions(&mut self, after: i64, limit: u32) -> Result<Vec<DefinitionsLine>> {
        self.fetch_rows(sqlx::query_scalar(DEFINITIONS).bind(after).bind(limit))
            .await
    }

    async fn players(&mut self, after: i64, limit: u32) -> Result<Vec<PlayerLine>> {
        self.fetch_rows(sqlx::query_scalar(PLAYERS).bind(after).bind(limit))
            .await
    }

    async fn next_stream(&mut self, after: i64) -> Result<Option<StreamLine>> {
        let query = sqlx::query_scalar(NEXT_STREAM).bind(after);
        Ok(self.fetch_rows(query).await?.pop())
    }

    async fn player_events(
        &mut self,
        player: i64,
        after: i64,
        limit: u32,
    ) -> Result<Vec<PlayerEventLine>> {
        let query = sqlx::query_scalar(PLAYER_EVENTS).bind(player);
        self.fetch_rows(query.bind(after).bind(limit)).await
    }

    async fn board_scores(
        &mut self,
        player: i64,
        board: &str,
        number: i64,
        limit: u32,
    ) -> Result<Vec<BoardScoreLine>> {
        let query = sqlx::query_scalar(BOARD_SCORES).bind(player);
        let query = query.bind(board.to_owned()).bind(number).bind(limit);
        self.fetch_rows(query).await
    }

    async fn raids(&mut self, after: i64, limit: u32) -> Result<Vec<RaidLine>> {
        self.fetch_rows(sqlx::query_scalar(RAIDS).bind(after).bind(limit))
            .await
    }

    async fn snapshot(&mut self, raid: i64) -> Result<Option<SnapshotLine>> {
        Ok(self
            .fetch_rows(sqlx::query_scalar(SNAPSHOT).bind(raid))
            .await?
            .pop())
    }

    async fn events(&mut self, raid: &RaidLine, after: i64, limit: u32) -> Result<Vec<EventLine>> {
        self.fetch_rows(
            sqlx::query_scalar(EVENTS)
                .bind(raid.born)
                .bind(raid.id)
                .bind(after)
                .bind(limit),
        )
        .await
    }

    async fn sign_ins(&mut self, after: &str, limit: u32) -> Result<Vec<SignInLine>> {
        self.fetch_rows(
            sqlx::query_scalar(SIGN_INS)
                .bind(after.to_owned())
                .bind(limit),
        )
        .await
    }

    async fn bans(&mut self, after: i64, limit: u32) -> Result<Vec<BanLine>> {
        self.fetch_rows(sqlx::query_scalar(BANS).bind(after).bind(limit))
            .await
    }

    async fn audit_entries(&mut self, after: i64, limit: u32) -> Result<Vec<AuditLine>> {
        self.fetch_rows(sqlx::query_scalar(AUDIT_ENTRIES).bind(after).bind(limit))
            .await
    }
}

/// An empty SQLite database, locked, in a transaction.
pub struct SqliteTarget {
    connection: SqliteConnection,
    /// Keeps the database's lock for as long as the import lasts.
    _store: SqliteStore,
}

impl SqliteTarget {
    /// Creates or opens the database of a `sqlite:` URL, brings its schema up to date, and checks
    /// that it is empty.
    pub async fn open(url: &str, patience: Duration) -> Result<SqliteTarget, OpenTargetError> {
        let store = SqliteStore::open(url, 1).await?;
        store.migrate(patience).await?;
        let options: SqliteConnectOptions = url.parse().map_err(failed(WRITE))?;
        let options = options
            .foreign_keys(true)
            .busy_timeout(super::BUSY_TIMEOUT.max(LOCK_RETRY_INTERVAL));
        let mut connection = options.connect().await.map_err(failed(WRITE))?;
        sqlx::raw_sql("BEGIN IMMEDIATE")
            .execute(&mut connection)
            .await
            .map_err(failed(WRITE))?;
        for (what, statement) in EMPTY_CHECKS {
            let exists = sqlx::query_scalar(statement)
                .fetch_one(&mut connection)
                .await;
            if exists.map_err(failed(WRITE))? {
                return Err(OpenTargetError::NotEmpty(what));
            }
        }
        sqlx::query(DELETE_DEFINITIONS)
            .execute(&mut connection)
            .await
            .map_err(failed(WRITE))?;
        Ok(SqliteTarget {
            connection,
            _store: store,
        })
    }

    async fn insert_rows(
        &mut self,
        statement: &'static str,
        rows: &impl Serialize,
        of: i64,
    ) -> Result<()> {
        let rows = serde_json::to_string(rows).map_err(|error| refused(WRITE, error))?;
        let add = sqlx::query(statement)
            .bind(rows)
            .bind(of)
            .execute(&mut self.connection)
            .await;
        add.map(drop).map_err(failed(WRITE))
    }

    async fn set_value(&mut self, statement: &'static str, to: i64) -> Result<()> {
        let set = sqlx::query(statement)
            .bind(to)
            .execute(&mut self.connection)
            .await;
        set.map(drop).map_err(failed(WRITE))
    }
}

#[async_trait]
impl BackupTarget for SqliteTarget {
    async fn add_definitions(&mut self, row: &DefinitionsLine) -> Result<()> {
        self.insert_rows(FILL_DEFINITIONS, &[row], 0).await
    }

    async fn add_players(&mut self, rows: &[PlayerLine]) -> Result<()> {
        self.insert_rows(ADD_PLAYERS, &rows, 0).await
    }

    async fn add_stream(&mut self, row: &StreamLine) -> Result<()> {
        self.insert_rows(ADD_STREAM, &[row], 0).await
    }

    async fn add_player_events(&mut self, rows: &[PlayerEventLine]) -> Result<()> {
        self.insert_rows(ADD_PLAYER_EVENTS, &rows, 0).await
    }

    async fn add_board_scores(&mut self, rows: &[BoardScoreLine], is_public: bool) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        self.insert_rows(ADD_BOARD_SCORES, &rows, is_public.into())
            .await
    }

    async fn set_boards_since(&mut self, since: i64) -> Result<()> {
        self.set_value(SET_BOARDS_SINCE, since).await
    }

    async fn set_boards_final_until(&mut self, until: i64) -> Result<()> {
        self.set_value(SET_BOARDS_FINAL_UNTIL, until).await
    }

    async fn add_raid(&mut self, raid: &RaidLine) -> Result<()> {
        self.insert_rows(ADD_RAIDS, &[raid], 0).await
    }

    async fn add_snapshot(&mut self, row: &SnapshotLine) -> Result<()> {
        self.insert_rows(ADD_SNAPSHOTS, &[row], 0).await
    }

    async fn add_events(&mut self, raid: &RaidLine, rows: &[EventWithEarnings<'_>]) -> Result<()> {
        self.insert_rows(ADD_EVENTS, &rows, raid.born.into()).await
    }

    async fn add_members(
        &mut self,
        raid: RaidId,
        members: &[(PlayerId, UnixMillis)],
        former: &[PlayerId],
        leader: Option<PlayerId>,
    ) -> Result<()> {
        self.insert_rows(ADD_MEMBERS, &members, raid.into()).await?;
        self.insert_rows(ADD_FORMER_MEMBERS, &former, raid.into())
            .await?;
        self.insert_rows(SET_LEADER, &leader.as_slice(), raid.into())
            .await
    }

    async fn add_sign_ins(&mut self, rows: &[SignInLine]) -> Result<()> {
        self.insert_rows(ADD_SIGN_INS, &rows, 0).await
    }

    async fn add_bans(&mut self, rows: &[BanLine]) -> Result<()> {
        self.insert_rows(ADD_BANS, &rows, 0).await
    }

    async fn add_audit_entries(&mut self, rows: &[AuditLine]) -> Result<()> {
        self.insert_rows(ADD_AUDIT_ENTRIES, &rows, 0).await
    }

    async fn find_wrong_totals(&mut self) -> Result<Option<i64>> {
        let statement = WRONG_TOTALS;
        sqlx::query_scalar(statement)
            .fetch_optional(&mut self.connection)
            .await
            .map_err(failed(WRITE))
    }

    async fn commit(mut self: Box<Self>, ids: &IdsLine, lineage: Option<&str>) -> Result<()> {
        for statement in [HIDE_BANNED_SCORES, COUNT_SCORES, SUM_COUNTS] {
            let run = sqlx::query(statement).execute(&mut self.connection);
            run.await.map_err(failed(WRITE))?;
        }
        self.set_value(SET_RAID_IDS, ids.raids).await?;
        self.set_value(DELETE_PLAYER_IDS, 0).await?;
        self.set_value(SET_PLAYER_IDS, ids.players).await?;
        let set = sqlx::query(SET_LINEAGE)
            .bind(lineage.map(str::to_owned))
            .execute(&mut self.connection)
            .await;
        set.map_err(failed(WRITE))?;
        sqlx::raw_sql("COMMIT")
            .execute(&mut self.connection)
            .await
            .map_err(failed(WRITE))?;
        self.connection.close().await.map_err(failed(WRITE))
    }
}
