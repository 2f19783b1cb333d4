//! Tests of what is not visible from outside: query plans, settings, and the writer thread under
//! stress.

use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::{Event, PlayerId, Seq, UnixMillis};
use sqlx::{AssertSqlSafe, Executor, Row, SqliteConnection};
use tempfile::TempDir;
use uuid::Uuid;

use super::schema::MIGRATIONS;
use super::*;
use crate::store::{
    Accounts, Append, AuditLog, Catalog, CommitOutcome, Epoch, Erasures, InstanceId,
    InstanceRecord, Leases, Ledger, LedgerEvent, Month, NewAuditEntry, Ownership, RaidHeader,
};

async fn open_store() -> (SqliteStore, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!(
        "sqlite://{}",
        directory.path().join("raidhall.db").display()
    );
    let store = SqliteStore::open(&url, 2).await.expect("open");
    store.migrate(Duration::ZERO).await.expect("migrate");
    (store, directory)
}

/// Runs SQL on the writer's connection.
async fn execute(store: &SqliteStore, sql: String) -> Result<()> {
    let execute = store.writer.run("test", Lane::General, |writer| {
        Box::pin(async {
            let done = sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut writer.connection)
                .await;
            done.map(drop).map_err(failed("test"))
        })
    });
    execute.await
}

#[tokio::test]
async fn the_space_of_sqlite_includes_its_write_ahead_log() {
    let (store, directory) = open_store().await;
    store.create_player("Ada").await.expect("a player");
    let length = |file: &str| {
        let metadata = std::fs::metadata(directory.path().join(file));
        metadata.expect("a file").len()
    };
    let log = length("raidhall.db-wal");
    assert!(log > 0);
    let space = store.space().await.expect("read").expect("a database");
    assert_eq!(space.used_bytes, length("raidhall.db") + log);
}

mod plans {
    use super::*;

    /// Every file that defines statements, with the statements that it lists.
    const FILES: [(&str, &[(&str, &str)]); 18] = [
        (include_str!("leases.rs"), leases::STATEMENTS),
        (include_str!("ledger.rs"), ledger::STATEMENTS),
        (include_str!("commit.rs"), commit::STATEMENTS),
        (include_str!("ownership.rs"), ownership::STATEMENTS),
        (include_str!("catalog.rs"), catalog::STATEMENTS),
        (include_str!("players.rs"), players::STATEMENTS),
        (include_str!("moderation.rs"), moderation::STATEMENTS),
        (include_str!("erasures.rs"), erasures::STATEMENTS),
        (include_str!("audit.rs"), audit::STATEMENTS),
        (include_str!("identities.rs"), identities::STATEMENTS),
        (include_str!("feed.rs"), feed::STATEMENTS),
        (include_str!("webhooks.rs"), webhooks::STATEMENTS),
        (include_str!("backup.rs"), backup::STATEMENTS),
        (include_str!("schema.rs"), schema::STATEMENTS),
        (include_str!("streams.rs"), streams::STATEMENTS),
        (include_str!("projection.rs"), projection::STATEMENTS),
        (include_str!("definitions.rs"), definitions::STATEMENTS),
        (include_str!("boards.rs"), boards::STATEMENTS),
    ];

    /// Tables that grow with use. The others have one row per instance, or fewer.
    const LARGE_TABLES: [&str; 16] = [
        "raids",
        "raid_events",
        "raid_members",
        "raid_snapshots",
        "players",
        "player_streams",
        "player_events",
        "board_scores",
        "board_counts",
        "board_sums",
        "refresh_families",
        "bans",
        "notices",
        "audit_log",
        "used_proofs",
        "webhook_deliveries",
    ];

    const HUNDRED_THOUSAND_RAIDS: &str = "
        BEGIN;
        CREATE TEMP TABLE n AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
            SELECT i FROM n;
        INSERT INTO raids
            SELECT i, 202701, 'Raid', 'CODE' || i, CASE i % 2 WHEN 0 THEN randomblob(16) END, 500, 10, 86400, 1,
                iif(i % 3 = 0, 'active', 'completed'), iif(i % 3 = 0, i, NULL), 0, 0, NULL,
                iif(i % 5 = 0, randomblob(16), NULL), 1, 2, iif(i % 3 = 0, i % 1000, NULL)
            FROM n;
        INSERT INTO raid_events (born, raid_id, seq, at, \"by\", player, xp, version, kind, op_key, data)
            SELECT 202701, i, s.value, 1, i % 1000, i % 1000, 5, 1, 'task_completed', randomblob(16), '{}'
            FROM n, json_each('[1,2]') AS s;
        INSERT INTO raid_snapshots SELECT i, 2, randomblob(20) FROM n;
        INSERT INTO raid_members SELECT i % 1000, i, i FROM n;
        INSERT INTO players (id, name, created_at) SELECT i, 'Player', 1 FROM n;
        INSERT INTO player_streams SELECT i, 2, randomblob(20), 2, iif(i % 3, NULL, i) FROM n;
        INSERT INTO player_events (player, seq, at, kind, version, op_key, data)
            SELECT i, s.value, 1, 'notified', 1, randomblob(16), '{}' FROM n, json_each('[1,2]') AS s;
        INSERT INTO board_scores SELECT 'daily', i % 10, i, i, i, i, 1, 1, 0, 0 FROM n;
        INSERT INTO board_counts SELECT 'daily', i % 10, i, i, 1 FROM n;
        INSERT INTO board_sums SELECT 'daily', i % 10, i, 1 FROM n;
        INSERT INTO refresh_families SELECT randomblob(16), i, randomblob(32), NULL, 1, i FROM n;
        INSERT INTO bans SELECT i, 'reason', 'admin:ops', 1 FROM n;
        INSERT INTO notices (kind, player, until) SELECT 'player', i, i FROM n;
        INSERT INTO audit_log SELECT i, 1, 'admin:ops', 'ban', 'player 1', 'r', '{}' FROM n;
        INSERT INTO used_proofs SELECT randomblob(32), i FROM n;
        COMMIT;";

    /// Returns the steps of a plan that scan a large table, or sort.
    async fn plan_faults(store: &SqliteStore, sql: &str) -> Vec<String> {
        let explain = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
        let steps = explain.fetch_all(&store.readers).await.expect("explain");
        let steps = steps.iter().map(|step| step.get::<String, _>("detail"));
        let is_fault = |step: &String| {
            let scanned = step
                .strip_prefix("SCAN ")
                .and_then(|rest| rest.split_whitespace().next());
            scanned.is_some_and(|table| LARGE_TABLES.contains(&table))
                || step.contains("TEMP B-TREE")
        };
        steps.filter(is_fault).collect()
    }

    #[tokio::test]
    async fn no_statement_scans_a_table_of_100_000_raids() {
        let (store, _directory) = open_store().await;
        execute(&store, HUNDRED_THOUSAND_RAIDS.into())
            .await
            .expect("fill");
        for analysis in ["", "ANALYZE"] {
            execute(&store, analysis.into()).await.expect("analyze");
            for (name, sql) in FILES.iter().flat_map(|(_, statements)| *statements) {
                let faults = plan_faults(&store, sql).await;
                assert!(faults.is_empty(), "{name}: {faults:?}\n{sql}");
            }
            let faults = plan_faults(
                &store,
                "SELECT id FROM raids WHERE title = 'Raid' ORDER BY title",
            )
            .await;
            assert_eq!(faults, ["SCAN raids"], "the test must see a scan");
        }
    }

    #[test]
    fn every_sqlite_statement_is_listed_for_the_plan_check() {
        for (source, statements) in FILES {
            for call in ["query(", "query_as(", "query_scalar("] {
                for (at, _) in source.match_indices(call) {
                    let argument = source[at + call.len()..]
                        .split(')')
                        .next()
                        .expect("an argument");
                    let listed = statements.iter().any(|(name, _)| *name == argument);
                    assert!(listed || argument == "statement", "{call}{argument})");
                }
            }
        }
    }
}

mod writing {
    use std::pin::pin;

    use futures_util::FutureExt;
    use raidhall_protocol::EventData;
    use tokio::sync::oneshot;

    use super::*;

    /// Returns the append that creates a raid.
    fn creation(raid: u64, title: String) -> Append {
        let created = EventData::RaidCreated {
            title,
            description: None,
            invite_code: format!("CODE{raid}"),
            target_xp: 1,
            target_tasks: 1,
            time_limit_secs: 60,
            max_members: 4,
            late_join: false,
            ranked: false,
        };
        let header = RaidHeader {
            status: RaidStatus::Recruiting,
            deadline: None,
            current_xp: 0,
            current_tasks: 0,
            ended_at: None,
        };
        let event = Event {
            seq: Seq(1),
            at: UnixMillis(1),
            by: None,
            data: created,
        };
        Append {
            raid: raid.try_into().expect("an id"),
            created_month: Month(202_701),
            owner: InstanceId(Uuid::max()),
            epoch: Epoch(1),
            events: vec![LedgerEvent { event, op: None }],
            header,
            creation: None,
        }
    }

    #[tokio::test]
    async fn sqlite_commits_are_durable() {
        let (store, _directory) = open_store().await;
        let settings = store.writer.run("test", Lane::General, |writer| {
            Box::pin(async {
                let read = sqlx::query_as(
                    "SELECT journal_mode, synchronous, foreign_keys \
                     FROM pragma_journal_mode, pragma_synchronous, pragma_foreign_keys",
                );
                read.fetch_one(&mut writer.connection)
                    .await
                    .map_err(failed("test"))
            })
        });
        let settings: (String, i64, i64) = settings.await.expect("read settings");
        assert_eq!(
            settings,
            ("wal".into(), 2, 1),
            "a log, synchronised at each commit, with references checked"
        );
    }

    #[tokio::test]
    async fn the_write_ahead_log_stays_small_under_many_commits() {
        let (store, directory) = open_store().await;
        for raid in 1..=200 {
            let outcomes = store
                .commit(&[creation(raid, "x".repeat(100_000))])
                .await
                .expect("commit");
            assert_eq!(outcomes, [CommitOutcome::Committed]);
        }
        let bytes = |name| {
            std::fs::metadata(directory.path().join(name))
                .expect("a file")
                .len()
        };
        let database = bytes("raidhall.db");
        let log = bytes("raidhall.db-wal");
        assert!(
            database > 20_000_000 && log < 10_000_000,
            "database {database}, log {log}"
        );
    }

    #[tokio::test]
    async fn a_reader_connection_cannot_write() {
        let (store, _directory) = open_store().await;
        let write = sqlx::query("DELETE FROM meta")
            .execute(&store.readers)
            .await;
        assert!(write.expect_err("refused").to_string().contains("readonly"));
    }

    /// When the disk is full, SQLite ends the transaction by itself, which sqlx does not notice.
    #[tokio::test]
    async fn a_full_disk_is_unavailable_until_there_is_room() {
        let (store, _directory) = open_store().await;
        execute(&store, "PRAGMA max_page_count = 1".into())
            .await
            .expect("no more pages");
        let append = creation(1, "x".repeat(100_000));
        let full = store.commit(std::slice::from_ref(&append)).await;
        assert!(
            matches!(full, Err(StoreError::Unavailable { .. })),
            "{full:?}"
        );
        assert_eq!(store.head(append.raid).await.expect("read head"), None);
        // The writer has opened a new connection, without that limit.
        assert_eq!(
            store.commit(&[append]).await.expect("commit"),
            [CommitOutcome::Committed]
        );
        assert_eq!(
            store
                .commit(&[creation(2, "y".into())])
                .await
                .expect("commit"),
            [CommitOutcome::Committed]
        );
    }

    #[tokio::test]
    async fn a_lease_renewal_overtakes_waiting_commits() {
        let (store, _directory) = open_store().await;
        let (go, gate) = oneshot::channel::<()>();
        let (begun, has_begun) = oneshot::channel();
        let busy = store.writer.run("test", Lane::General, move |_| {
            Box::pin(async move {
                let _ = begun.send(());
                let _ = gate.await;
                Ok(())
            })
        });
        let order = parking_lot::Mutex::new(Vec::new());
        let commit = async {
            store
                .commit(&[creation(1, "Raid".into())])
                .await
                .expect("commit");
            order.lock().push("commit");
        };
        let renew = async {
            let instance = InstanceRecord {
                id: InstanceId(Uuid::max()),
                ws_url: "".into(),
                release: "".into(),
                draining: false,
            };
            store
                .renew(&instance, Duration::from_secs(3))
                .await
                .expect("renew");
            order.lock().push("renew");
        };
        let open_gate = async { go.send(()).expect("the gate") };
        let mut busy = pin!(busy);
        let mut commit = pin!(commit);
        assert!(busy.as_mut().now_or_never().is_none());
        has_begun.await.expect("the first job has begun");
        assert!(
            commit.as_mut().now_or_never().is_none(),
            "it waits behind the first job"
        );
        // If both have ended before the next poll, the renewal is polled first: only a commit that
        // ended alone, and so earlier, comes before it.
        let (busy, (), (), ()) = tokio::join!(biased; busy, renew, commit, open_gate);
        busy.expect("the first job");
        assert_eq!(*order.lock(), ["renew", "commit"]);
    }

    /// Erased texts are neither in the tables, nor in free pages, nor in the log.
    #[tokio::test]
    async fn erased_texts_are_not_in_the_database_files() {
        const SECRET: &str = "Benedict";
        let (store, directory) = open_store().await;
        let contains_secret = || {
            let files = std::fs::read_dir(directory.path()).expect("a directory");
            let bytes =
                files.map(|file| std::fs::read(file.expect("a file").path()).expect("bytes"));
            bytes
                .flatten()
                .collect::<Vec<u8>>()
                .windows(SECRET.len())
                .any(|part| part == SECRET.as_bytes())
        };
        let player = store.create_player(SECRET).await.expect("a player").id;
        let mut append = creation(1, SECRET.repeat(300));
        store
            .commit(std::slice::from_ref(&append))
            .await
            .expect("commit");
        let owner = append.owner;
        let epoch = append.epoch;
        for seq in 1..=2 {
            let state = SECRET.repeat(5_000 - seq * 1_000);
            store
                .save_snapshot(append.raid, owner, epoch, Seq(1), state.as_bytes())
                .await
                .expect("kept");
        }
        assert!(contains_secret());
        let entry = NewAuditEntry {
            at: UnixMillis(0),
            actor: "1".into(),
            action: "erase",
            target: "player 1".into(),
            request_id: "r".into(),
            details: serde_json::json!({}),
        };
        assert!(
            store
                .begin_erasure(player, "[erased]", &entry)
                .await
                .expect("begun")
        );
        if let EventData::RaidCreated { title, .. } = &mut append.events[0].event.data {
            "[erased]".clone_into(title);
        }
        let events: Vec<_> = append
            .events
            .iter()
            .map(|recorded| recorded.event.clone())
            .collect();
        store
            .rewrite_events(append.raid, &events, Seq(2))
            .await
            .expect("rewritten");
        store.end_erasure(player).await.expect("ended");
        assert!(!contains_secret());
    }

    #[tokio::test]
    async fn sqlite_refuses_an_event_of_a_newer_release() {
        let (store, _directory) = open_store().await;
        let append = creation(1, "Raid".into());
        store
            .commit(std::slice::from_ref(&append))
            .await
            .expect("commit");
        execute(&store, "UPDATE raid_events SET version = 9".into())
            .await
            .expect("update");
        let newer = store.load(append.raid, 1).await.expect_err("refused");
        assert!(
            matches!(newer, StoreError::NewerVersion { version: 9 }),
            "{newer:?}"
        );
        execute(
            &store,
            "UPDATE raid_events SET version = 1, data = '{}'".into(),
        )
        .await
        .expect("update");
        let refused = store
            .events(append.raid, Seq::ZERO, 1)
            .await
            .expect_err("refused");
        assert!(matches!(refused, StoreError::Refused { .. }), "{refused:?}");
    }

    #[tokio::test]
    async fn the_sqlite_audit_log_refuses_updates_and_deletes() {
        let (store, _directory) = open_store().await;
        let entry = NewAuditEntry {
            at: UnixMillis(0),
            actor: "admin:ops".into(),
            action: "ban",
            target: "player 1".into(),
            request_id: "r".into(),
            details: serde_json::Value::Null,
        };
        store.record_audit(&entry).await.expect("record");
        for change in [
            "DELETE FROM audit_log",
            "UPDATE audit_log SET actor = 'unknown'",
        ] {
            execute(&store, change.into()).await.expect_err("refused");
        }
        assert_eq!(
            store.audit_entries(0, 10).await.expect("audit")[0].actor,
            "admin:ops"
        );
    }

    #[tokio::test]
    async fn the_schema_of_a_newer_release_is_left_alone() {
        let (store, directory) = open_store().await;
        let newer = "INSERT INTO _sqlx_migrations SELECT max(version) + 1, 'newer', installed_on, success, \
                     checksum, execution_time FROM _sqlx_migrations; CREATE TABLE newer (id INTEGER);";
        execute(&store, newer.into())
            .await
            .expect("migrate further");
        drop(store);
        let url = format!(
            "sqlite://{}",
            directory.path().join("raidhall.db").display()
        );
        let store = SqliteStore::open(&url, 1).await.expect("open");
        store
            .migrate(Duration::from_secs(10))
            .await
            .expect("migrate");
        assert_eq!(
            store
                .commit(&[creation(1, "Raid".into())])
                .await
                .expect("commit"),
            [CommitOutcome::Committed]
        );
    }
}

mod migrating {
    use sqlx::ConnectOptions;
    use sqlx::migrate::Migrator;

    use super::*;

    /// Creates a database with the migrations before `version`. Returns its URL and a connection.
    async fn create_before(version: i64, directory: &Path) -> (String, SqliteConnection) {
        let url = format!("sqlite://{}", directory.join("raidhall.db").display());
        let options: SqliteConnectOptions = url.parse().expect("a url");
        let mut former = options
            .create_if_missing(true)
            .connect()
            .await
            .expect("connect");
        let before = MIGRATIONS
            .iter()
            .filter(|migration| migration.version < version)
            .cloned()
            .collect::<Vec<_>>();
        let migrator = Migrator {
            migrations: before.into(),
            ..Migrator::DEFAULT
        };
        migrator
            .run_direct(None, &mut former, false)
            .await
            .expect("migrate");
        (url, former)
    }

    #[tokio::test]
    async fn release_0_2_cannot_register_after_the_generation_migration() {
        const RENEW: &str = "
            INSERT INTO instances (id, ws_url, release, lease_until, draining) VALUES (x'01', '', '0.2.1', 0, 0)
            ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until";
        let directory = tempfile::tempdir().expect("a directory");
        let (url, mut former) = create_before(11, directory.path()).await;
        former.execute(RENEW).await.expect("register");
        let store = SqliteStore::open(&url, 1).await.expect("open");
        store.migrate(Duration::ZERO).await.expect("migrate");
        let error = former.execute(RENEW).await.expect_err("not any more");
        assert_eq!(
            error.as_database_error().map(|error| error.kind()),
            Some(sqlx::error::ErrorKind::NotNullViolation)
        );
    }

    /// A database that a former release filled: the new table has to be filled from its ledger.
    #[tokio::test]
    async fn raids_joined_before_the_visits_migration_are_found() {
        let directory = tempfile::tempdir().expect("a directory");
        let (url, mut former) = create_before(7, directory.path()).await;
        let left = "
            INSERT INTO raid_members VALUES (5, 1);
            INSERT INTO raid_events (born, raid_id, seq, at, version, kind, data) VALUES
                (202701, 1, 2, 0, 1, 'member_joined', '{\"player\":5}'),
                (202701, 2, 2, 0, 1, 'member_joined', '{\"player\":5}'),
                (202701, 2, 3, 0, 1, 'member_left', '{\"player\":5}'),
                (202701, 2, 4, 0, 1, 'member_joined', '{\"player\":5}'),
                (202701, 3, 2, 0, 1, 'member_joined', '{\"player\":6}');";
        sqlx::raw_sql(left)
            .execute(&mut former)
            .await
            .expect("fill");
        drop(former);

        let store = SqliteStore::open(&url, 1).await.expect("open");
        store.migrate(Duration::ZERO).await.expect("migrate");
        let player = PlayerId::try_from(5u64).expect("an id");
        let visited = store
            .raids_ever_joined(player, None, 10)
            .await
            .expect("raids");
        assert_eq!(
            visited.iter().map(|raid| raid.get()).collect::<Vec<_>>(),
            [1, 2]
        );
    }
}
