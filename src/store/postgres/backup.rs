//! Export and import of the whole database. Rows travel as JSON, which Postgres itself makes and
//! reads.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::anyhow;
use async_trait::async_trait;
use raidhall_protocol::{PlayerId, RaidId, UnixMillis};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::postgres::PgArguments;
use sqlx::{Connection, PgConnection, Postgres, query::QueryScalar};
use tokio::time::{Instant, sleep};

use super::boards::count_scores;
use super::connections::Connector;
use super::leases::DATABASE_LOCK;
use super::{
    APPLIED_MIGRATIONS, MIGRATION_LOCK_TIMEOUT, MIGRATIONS, PostgresStore, fault, partitions,
};
use crate::store::Result;
use crate::store::backup::{
    AuditLine, BackupSource, BackupTarget, BanLine, BoardScoreLine, DefinitionsLine, EventLine,
    EventWithEarnings, IdsLine, OpenTargetError, PlayerEventLine, PlayerLine, RaidLine, SignInLine,
    SnapshotLine, StreamLine,
};

const READ: &str = "read the database for a backup";
const WRITE: &str = "fill the database from a backup";

/// Interval between attempts to take a lock that another process holds.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(50);

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
const LOCK: &str = "SELECT pg_try_advisory_lock($1)";
const LINEAGE: &str = "SELECT value FROM meta WHERE key = 'lineage'";

const DEFINITIONS: &str = "
    SELECT row_to_json(r)::text FROM (
        SELECT number, encode(hash, 'hex') AS hash, body, applied_at FROM progression_definitions
        WHERE number > $1 ORDER BY number LIMIT $2
    ) r";

const PLAYERS: &str = "
    SELECT row_to_json(r)::text FROM (
        SELECT id, name, xp, tasks, raids_won, created_at, external_id, erased_at FROM players
        WHERE id > $1 ORDER BY id LIMIT $2
    ) r";

const NEXT_STREAM: &str = "
    SELECT row_to_json(r)::text FROM (
        SELECT s.player, s.last_seq, encode(s.state, 'hex') AS state, s.state_seq, s.due_at
        FROM player_streams s JOIN players p ON p.id = s.player AND p.erased_at IS NULL
        WHERE s.player > $1 ORDER BY s.player LIMIT 1
    ) r";

const PLAYER_EVENTS: &str = "
    SELECT row_to_json(r)::text FROM (
        SELECT player, seq, at, kind, version, encode(op_key, 'hex') AS op_key, cause_raid, cause_seq, data
        FROM player_events WHERE player = $1 AND seq > $2 ORDER BY seq LIMIT $3
    ) r";

const BOARD_SCORES: &str = "
    SELECT row_to_json(r)::text FROM (
        SELECT board, number, player, score, reached_at, reached_raid, reached_seq, is_removed
        FROM board_scores WHERE player = $1 AND (board, number) > ($2, $3) ORDER BY board, number LIMIT $4
    ) r";

const BOARDS_FINAL_UNTIL: &str = "SELECT boards_final_until FROM projector WHERE id = 1";
const BOARDS_SINCE: &str = "SELECT value::bigint FROM meta WHERE key = 'boards_since'";

const RAIDS: &str = "
    SELECT row_to_json(r)::text FROM (
        SELECT id, born, title, invite_code, encode(create_key, 'hex') AS create_key, target_xp, target_tasks,
            time_limit_secs, created_at, status, deadline, current_xp, current_tasks, ended_at, epoch, last_seq
        FROM raids WHERE id > $1 ORDER BY id LIMIT $2
    ) r";

const SNAPSHOT: &str = "
    SELECT row_to_json(r)::text FROM (
        SELECT raid_id AS raid, seq, encode(state, 'hex') AS state FROM raid_snapshots WHERE raid_id = $1
    ) r";

const EVENTS: &str = "
    SELECT row_to_json(r)::text FROM (
        SELECT raid_id AS raid, seq, at, by, version, kind, encode(op_key, 'hex') AS op_key, data, definitions
        FROM raid_events WHERE born = $1 AND raid_id = $2 AND seq > $3 ORDER BY seq LIMIT $4
    ) r";

const SIGN_INS: &str = "
    SELECT row_to_json(r)::text FROM (
        SELECT replace(id::text, '-', '') AS id, player, encode(current, 'hex') AS current,
            encode(previous, 'hex') AS previous,
            floor(extract(epoch FROM rotated_at) * 1000)::bigint AS rotated_at,
            floor(extract(epoch FROM expires_at) * 1000)::bigint AS expires_at
        FROM refresh_families WHERE NOT revoked AND ($1 = '' OR id > nullif($1, '')::uuid) ORDER BY id LIMIT $2
    ) r";

const BANS: &str = "
    SELECT row_to_json(r)::text FROM (
        SELECT player, reason, by, at FROM bans WHERE player > $1 ORDER BY player LIMIT $2
    ) r";

const AUDIT_ENTRIES: &str = "
    SELECT row_to_json(r)::text FROM (
        SELECT id, at, actor, action, target, request_id, details FROM audit_log WHERE id > $1 ORDER BY id LIMIT $2
    ) r";

/// Sequences are not part of the transaction, and are never behind what it sees.
const IDS: &str = "
    SELECT json_build_object(
        'players', coalesce(pg_sequence_last_value(pg_get_serial_sequence('players', 'id')), 0),
        'raids', coalesce(pg_sequence_last_value('raid_ids'), 0))::text";

const FILL_DEFINITIONS: &str = "
    INSERT INTO progression_definitions (number, hash, body, applied_at)
    SELECT number, decode(hash, 'hex'), body, applied_at
    FROM jsonb_to_recordset($1::jsonb) AS r (number integer, hash text, body text, applied_at bigint)
    WHERE $2 IS NOT NULL";

const ADD_PLAYERS: &str = "
    INSERT INTO players (id, name, xp, tasks, raids_won, created_at, external_id, erased_at, erase_due)
    SELECT id, name, xp, tasks, raids_won, created_at, external_id, erased_at, erased_at
    FROM jsonb_to_recordset($1::jsonb) AS r (id bigint, name text, xp bigint, tasks bigint, raids_won bigint,
        created_at bigint, external_id text, erased_at bigint) WHERE $2 IS NOT NULL";

const ADD_STREAM: &str = "
    INSERT INTO player_streams (player, last_seq, state, state_seq, due_at)
    SELECT player, last_seq, decode(state, 'hex'), state_seq, due_at
    FROM jsonb_to_recordset($1::jsonb) AS r (player bigint, last_seq bigint, state text, state_seq bigint,
        due_at bigint)
    WHERE $2 IS NOT NULL";

const ADD_PLAYER_EVENTS: &str = "
    INSERT INTO player_events (player, seq, at, kind, version, op_key, cause_raid, cause_seq, data)
    SELECT player, seq, at, kind, version, decode(op_key, 'hex'), cause_raid, cause_seq, data
    FROM jsonb_to_recordset($1::jsonb) AS r (player bigint, seq bigint, at bigint, kind text, version smallint,
        op_key text, cause_raid bigint, cause_seq bigint, data jsonb) WHERE $2 IS NOT NULL";

/// Bans are added later.
const ADD_BOARD_SCORES: &str = "
    INSERT INTO board_scores (board, number, player, score, reached_at, reached_raid, reached_seq,
        is_public, is_banned, is_removed)
    SELECT board, number, player, score, reached_at, reached_raid, reached_seq, $2::bigint = 1, false, is_removed
    FROM jsonb_to_recordset($1::jsonb) AS r (board text, number bigint, player bigint, score bigint,
        reached_at bigint, reached_raid bigint, reached_seq bigint, is_removed boolean)";

const SET_BOARDS_SINCE: &str =
    "UPDATE meta SET value = $1::bigint::text WHERE key = 'boards_since'";
const SET_BOARDS_FINAL_UNTIL: &str = "UPDATE projector SET boards_final_until = $1 WHERE id = 1";

const ADD_RAIDS: &str = "
    INSERT INTO raids (id, born, title, invite_code, create_key, target_xp, target_tasks, time_limit_secs, created_at,
        status, deadline, current_xp, current_tasks, ended_at, epoch, last_seq)
    SELECT id, born, title, invite_code, decode(create_key, 'hex'), target_xp, target_tasks, time_limit_secs,
        created_at, status, deadline, current_xp, current_tasks, ended_at, epoch, last_seq
    FROM jsonb_to_recordset($1::jsonb) AS r (id bigint, born integer, title text, invite_code text, create_key text,
        target_xp bigint, target_tasks bigint, time_limit_secs bigint, created_at bigint, status text,
        deadline bigint, current_xp bigint, current_tasks bigint, ended_at bigint, epoch bigint, last_seq bigint)
    WHERE $2 IS NOT NULL";

const ADD_SNAPSHOTS: &str = "
    INSERT INTO raid_snapshots (raid_id, seq, state) SELECT raid, seq, decode(state, 'hex')
    FROM jsonb_to_recordset($1::jsonb) AS r (raid bigint, seq bigint, state text) WHERE $2 IS NOT NULL";

const ADD_EVENTS: &str = "
    INSERT INTO raid_events (born, raid_id, seq, at, by, player, xp, version, kind, op_key, data, definitions)
    SELECT $2::bigint::integer, raid, seq, at, by, player, xp, version, kind, decode(op_key, 'hex'), data, definitions
    FROM jsonb_to_recordset($1::jsonb) AS r (raid bigint, seq bigint, at bigint, by bigint, player bigint, xp bigint,
        version smallint, kind text, op_key text, data jsonb, definitions integer)";

const ADD_MEMBERS: &str = "
    INSERT INTO raid_members (player, raid_id, member, joined_at)
    SELECT (value ->> 0)::bigint, $2, true, (value ->> 1)::bigint FROM jsonb_array_elements($1::jsonb)";

const ADD_FORMER_MEMBERS: &str = "
    INSERT INTO raid_members (player, raid_id, member)
    SELECT value::bigint, $2, false FROM jsonb_array_elements_text($1::jsonb)";

const SET_LEADER: &str = "
    UPDATE raids SET leader = value::bigint FROM jsonb_array_elements_text($1::jsonb) WHERE id = $2";

const ADD_SIGN_INS: &str = "
    INSERT INTO refresh_families (id, player, current, previous, rotated_at, expires_at)
    SELECT id::uuid, player, decode(current, 'hex'), decode(previous, 'hex'),
        'epoch'::timestamptz + rotated_at * interval '1 millisecond',
        'epoch'::timestamptz + expires_at * interval '1 millisecond'
    FROM jsonb_to_recordset($1::jsonb) AS r (id text, player bigint, current text, previous text,
        rotated_at bigint, expires_at bigint) WHERE $2 IS NOT NULL";

const ADD_BANS: &str = "
    INSERT INTO bans (player, reason, by, at) SELECT player, reason, by, at
    FROM jsonb_to_recordset($1::jsonb) AS r (player bigint, reason text, by text, at bigint) WHERE $2 IS NOT NULL";

const FLAG_BANNED_PLAYERS: &str =
    "UPDATE players SET is_banned = true WHERE id IN (SELECT player FROM bans)";

const HIDE_BANNED_SCORES: &str =
    "UPDATE board_scores SET is_banned = true WHERE player IN (SELECT player FROM bans)";

const COUNT_SCORES: &str = concat!(
    "
    WITH rescored AS (
        SELECT board, number, score, reached_at, 1 AS change FROM board_scores WHERE is_listed
    ), ",
    count_scores!(),
    "
    SELECT"
);

const ADD_AUDIT_ENTRIES: &str = "
    INSERT INTO audit_log (at, actor, action, target, request_id, details)
    SELECT (r ->> 'at')::bigint, r ->> 'actor', r ->> 'action', r ->> 'target', r ->> 'request_id', r -> 'details'
    FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY AS rows (r, place) WHERE $2 IS NOT NULL ORDER BY place";

const SET_PLAYER_IDS: &str =
    "SELECT setval(pg_get_serial_sequence('players', 'id'), greatest($1, 1), $1 > 0)";
const SET_RAID_IDS: &str = "SELECT setval('raid_ids', greatest($1, 1), $1 > 0)";

const SET_LINEAGE: &str = "
    UPDATE meta SET value = coalesce($1, replace(gen_random_uuid()::text, '-', '')) WHERE key = 'lineage'";

/// A server that used the empty database has stored the first definitions.
const DELETE_DEFINITIONS: &str = "DELETE FROM progression_definitions";

/// Checks that must all be false, each with a name for what its table holds.
const EMPTY_CHECKS: [(&str, &str); 5] = [
    ("players", "SELECT EXISTS (SELECT FROM players)"),
    ("raids", "SELECT EXISTS (SELECT FROM raids)"),
    ("events", "SELECT EXISTS (SELECT FROM raid_events)"),
    ("sign-ins", "SELECT EXISTS (SELECT FROM refresh_families)"),
    ("an audit log", "SELECT EXISTS (SELECT FROM audit_log)"),
];

/// Scans the whole ledger once. XP that was granted outside of raids is in the streams only, which an
/// erasure deletes.
const WRONG_TOTALS: &str = "
    SELECT p.id FROM players p
    LEFT JOIN (
        SELECT player, sum(xp) AS xp, count(*) AS tasks FROM raid_events WHERE player IS NOT NULL GROUP BY player
    ) AS earned ON earned.player = p.id
    LEFT JOIN (
        SELECT player, sum((data ->> 'amount')::bigint) AS xp
        FROM player_events WHERE kind = 'xp_earned' AND data ->> 'source' = 'grant' GROUP BY player
    ) AS granted ON granted.player = p.id
    LEFT JOIN (
        SELECT (ranked ->> 'player')::bigint AS player, count(*) AS won
        FROM raid_events, jsonb_array_elements(data -> 'ranking') AS ranked
        WHERE kind = 'raid_completed' GROUP BY 1
    ) AS wins ON wins.player = p.id
    WHERE (p.xp > coalesce(earned.xp, 0) + coalesce(granted.xp, 0) AND p.erased_at IS NULL)
        OR p.tasks > coalesce(earned.tasks, 0) OR p.raids_won > coalesce(wins.won, 0)
    LIMIT 1";

impl PostgresStore {
    /// Opens a consistent view of the database, which servers may be using. The database must have
    /// this release's schema.
    pub async fn open_backup_source(&self) -> Result<PostgresSource> {
        let mut connection = without_timeouts(&self.connector).connect(READ).await?;
        execute(&mut connection, READ, BEGIN).await?;
        // The first read fixes the snapshot that all later reads see.
        let applied = sqlx::query_scalar(APPLIED_MIGRATIONS)
            .fetch_all(&mut connection)
            .await;
        let applied: Vec<i64> = applied.map_err(|error| fault::from_sqlx(READ, error))?;
        if !MIGRATIONS
            .iter()
            .map(|migration| migration.version)
            .eq(applied)
        {
            let why = "its schema is not this release's: run `raidhall migrate` of the release that serves";
            return Err(fault::refused(READ, anyhow!(why)));
        }
        Ok(PostgresSource { connection })
    }

    /// Opens the database for an import: locks it against all servers, brings its schema up to
    /// date, checks that it is empty, and begins a transaction.
    pub async fn open_backup_target(
        &self,
        patience: Duration,
    ) -> Result<PostgresTarget, OpenTargetError> {
        let mut connection = without_timeouts(&self.connector).connect(WRITE).await?;
        let began = Instant::now();
        while !fetch_bool(
            &mut connection,
            sqlx::query_scalar(LOCK).bind(DATABASE_LOCK),
        )
        .await?
        {
            if began.elapsed() >= patience {
                return Err(OpenTargetError::InUse);
            }
            sleep(LOCK_RETRY_INTERVAL).await;
        }
        self.migrate(patience).await?;
        execute(&mut connection, WRITE, "BEGIN").await?;
        for (what, exists) in EMPTY_CHECKS {
            if fetch_bool(&mut connection, sqlx::query_scalar(exists)).await? {
                return Err(OpenTargetError::NotEmpty(what));
            }
        }
        execute(&mut connection, WRITE, DELETE_DEFINITIONS).await?;
        Ok(PostgresTarget {
            connection,
            months: BTreeSet::new(),
        })
    }
}

/// Returns a connector for sessions without time limits, whose plans may scan a table from end to
/// end.
pub(super) fn without_timeouts(connector: &Connector) -> Connector {
    let options = connector.options.clone().options([
        ("enable_seqscan", "on".to_owned()),
        ("idle_in_transaction_session_timeout", "0".to_owned()),
        (
            "lock_timeout",
            MIGRATION_LOCK_TIMEOUT.as_millis().to_string(),
        ),
        ("plan_cache_mode", "auto".to_owned()),
        ("statement_timeout", "0".to_owned()),
    ]);
    Connector {
        options,
        ..connector.clone()
    }
}

async fn execute(
    connection: &mut PgConnection,
    operation: &'static str,
    statement: &'static str,
) -> Result<()> {
    let done = sqlx::raw_sql(statement).execute(connection).await;
    done.map(drop)
        .map_err(|error| fault::from_sqlx(operation, error))
}

async fn fetch_bool(
    connection: &mut PgConnection,
    query: QueryScalar<'_, Postgres, bool, PgArguments>,
) -> Result<bool> {
    query
        .fetch_one(connection)
        .await
        .map_err(|error| fault::from_sqlx(WRITE, error))
}

/// A consistent view of a Postgres database.
pub struct PostgresSource {
    connection: PgConnection,
}

impl PostgresSource {
    async fn fetch_rows<T: DeserializeOwned>(&mut self, query: PgJsonQuery<'_>) -> Result<Vec<T>> {
        let texts = query
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| fault::from_sqlx(READ, error))?;
        let row =
            |text: &String| serde_json::from_str(text).map_err(|error| fault::refused(READ, error));
        texts.iter().map(row).collect()
    }
}

type PgJsonQuery<'q> = QueryScalar<'q, Postgres, String, PgArguments>;

#[async_trait]
impl BackupSource for PostgresSource {
    fn database_kind(&self) -> &'static str {
        "postgres"
    }

    async fn lineage(&mut self) -> Result<String> {
        let lineage = sqlx::query_scalar(LINEAGE)
            .fetch_one(&mut self.connection)
            .await;
        lineage.map_err(|error| fault::from_sqlx(READ, error))
    }

    async fn boards_since(&mut self) -> Result<i64> {
        let since = sqlx::query_scalar(BOARDS_SINCE)
            .fetch_one(&mut self.connection)
            .await;
        since.map_err(|error| fault::from_sqlx(READ, error))
    }

    async fn boards_final_until(&mut self) -> Result<i64> {
        let until = sqlx::query_scalar(BOARDS_FINAL_UNTIL)
            .fetch_one(&mut self.connection)
            .await;
        until.map_err(|error| fault::from_sqlx(READ, error))
    }

    async fn allocated_ids(&mut self) -> Result<IdsLine> {
        Ok(self
            .fetch_rows(sqlx::query_scalar(IDS))
            .await?
            .pop()
            .unwrap_or_default())
    }

    async fn definitions(&mut self, after: i64, limit: u32) -> Result<Vec<DefinitionsLine>> {
        let query = sqlx::query_scalar(DEFINITIONS).bind(after);
        self.fetch_rows(query.bind(i64::from(limit))).await
    }

    async fn players(&mut self, after: i64, limit: u32) -> Result<Vec<PlayerLine>> {
        self.fetch_rows(
            sqlx::query_scalar(PLAYERS)
                .bind(after)
                .bind(i64::from(limit)),
        )
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
        let query = query.bind(after).bind(i64::from(limit));
        self.fetch_rows(query).await
    }

    async fn board_scores(
        &mut self,
        player: i64,
        board: &str,
        number: i64,
        limit: u32,
    ) -> Result<Vec<BoardScoreLine>> {
        let query = sqlx::query_scalar(BOARD_SCORES).bind(player);
        let query = query.bind(board.to_owned()).bind(number);
        self.fetch_rows(query.bind(i64::from(limit))).await
    }

    async fn raids(&mut self, after: i64, limit: u32) -> Result<Vec<RaidLine>> {
        self.fetch_rows(sqlx::query_scalar(RAIDS).bind(after).bind(i64::from(limit)))
            .await
    }

    async fn snapshot(&mut self, raid: i64) -> Result<Option<SnapshotLine>> {
        Ok(self
            .fetch_rows(sqlx::query_scalar(SNAPSHOT).bind(raid))
            .await?
            .pop())
    }

    async fn events(&mut self, raid: &RaidLine, after: i64, limit: u32) -> Result<Vec<EventLine>> {
        let limit = i64::from(limit);
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
                .bind(i64::from(limit)),
        )
        .await
    }

    async fn bans(&mut self, after: i64, limit: u32) -> Result<Vec<BanLine>> {
        self.fetch_rows(sqlx::query_scalar(BANS).bind(after).bind(i64::from(limit)))
            .await
    }

    async fn audit_entries(&mut self, after: i64, limit: u32) -> Result<Vec<AuditLine>> {
        self.fetch_rows(
            sqlx::query_scalar(AUDIT_ENTRIES)
                .bind(after)
                .bind(i64::from(limit)),
        )
        .await
    }
}

/// An empty Postgres database in a transaction. The lock that keeps servers out ends with its
/// session.
pub struct PostgresTarget {
    connection: PgConnection,
    /// Months that are known to have a partition.
    months: BTreeSet<i32>,
}

impl PostgresTarget {
    async fn insert_rows(
        &mut self,
        statement: &'static str,
        rows: &impl Serialize,
        of: i64,
    ) -> Result<()> {
        let rows = serde_json::to_string(rows).map_err(|error| fault::refused(WRITE, error))?;
        let add = sqlx::query(statement)
            .bind(rows)
            .bind(of)
            .execute(&mut self.connection)
            .await;
        add.map(drop)
            .map_err(|error| fault::from_sqlx(WRITE, error))
    }

    async fn set_value(&mut self, statement: &'static str, to: i64) -> Result<()> {
        let set = sqlx::query(statement)
            .bind(to)
            .execute(&mut self.connection)
            .await;
        set.map(drop)
            .map_err(|error| fault::from_sqlx(WRITE, error))
    }
}

#[async_trait]
impl BackupTarget for PostgresTarget {
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
        if self.months.insert(raid.born) {
            let made = partitions::create_if_missing(&mut self.connection, raid.born).await;
            made.map_err(|error| fault::from_sqlx(WRITE, error))?;
        }
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
        let wrong = sqlx::query_scalar(WRONG_TOTALS)
            .fetch_optional(&mut self.connection)
            .await;
        wrong.map_err(|error| fault::from_sqlx(WRITE, error))
    }

    async fn commit(mut self: Box<Self>, ids: &IdsLine, lineage: Option<&str>) -> Result<()> {
        for statement in [FLAG_BANNED_PLAYERS, HIDE_BANNED_SCORES, COUNT_SCORES] {
            execute(&mut self.connection, WRITE, statement).await?;
        }
        self.set_value(SET_PLAYER_IDS, ids.players).await?;
        self.set_value(SET_RAID_IDS, ids.raids).await?;
        let name = sqlx::query(SET_LINEAGE)
            .bind(lineage.map(str::to_owned))
            .execute(&mut self.connection)
            .await;
        name.map_err(|error| fault::from_sqlx(WRITE, error))?;
        execute(&mut self.connection, WRITE, "COMMIT").await?;
        self.connection
            .close()
            .await
            .map_err(|error| fault::from_sqlx(WRITE, error))
    }
}
