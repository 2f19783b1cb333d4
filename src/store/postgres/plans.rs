//! Checks of sessions with the store's settings. No statement scans a large table: its plan is
//! examined on an empty database, with 100,000 raids, and at sizes between.

#[path = "../../../tests/support/postgres.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "shared with tests that have no outside"
)]
mod database;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use database::PostgresDatabase;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};

use super::boards::count_scores;
use super::{PostgresOptions, PostgresStore};
use crate::store::Leases;

/// Statements that may scan: they have a limit and read tables that should be empty.
const ALLOWED_SCANS: [&str; 3] = ["COUNT_FAILED_CAUSES", "DEFAULT_ROWS", "DELETE_EMPTY_COUNTS"];

/// Name of the parameter by which a helper takes a statement. Its callers are checked instead.
const FORWARDED: &str = "statement";

/// Tables that stay small: one row per migration, instance, setting, change of the
/// definitions or endpoint.
const SMALL_TABLES: [&str; 5] = [
    "_sqlx_migrations",
    "instances",
    "meta",
    "progression_definitions",
    "webhook_endpoints",
];

/// Numbers of raids at which a session may make its plans, which it keeps while tables grow.
const SIZES: [u32; 6] = [0, 100, 300, 1_000, 5_000, 100_000];

/// Inserts raids up to the number `to`, each with two members, two events and a snapshot, and as
/// many players and sign-ins.
fn fill_tables(from: u32, to: u32) -> AssertSqlSafe<String> {
    let numbers = format!("generate_series({from} + 1, {to}) AS n");
    AssertSqlSafe(format!(
        "INSERT INTO raids
            SELECT n, 202600 + 1 + n % 12, 'Raid', 'code-' || n, sha256(n::text::bytea), 500, 10, 86400, n,
                CASE n % 3 WHEN 0 THEN 'active' WHEN 1 THEN 'recruiting' ELSE 'completed' END,
                CASE n % 3 WHEN 0 THEN n END, 0, 0, NULL,
                CASE n % 5 WHEN 0 THEN md5((n % 50)::text)::uuid END, 1, 2, CASE n % 3 WHEN 0 THEN n % 1000 END, NULL
            FROM {numbers};
        INSERT INTO raid_events (born, raid_id, seq, at, player, xp, version, kind, op_key, data)
            SELECT 202600 + 1 + n % 12, n, seq, n, n, 5, 1, 'task_completed', sha256(seq::text::bytea), '{{}}'
            FROM {numbers}, generate_series(1, 2) AS seq;
        INSERT INTO raid_members SELECT n + k, n, true FROM {numbers}, generate_series(1, 2) AS k;
        INSERT INTO players (name, created_at) SELECT 'player', n FROM {numbers};
        INSERT INTO player_streams SELECT n, 2, '', 2, CASE n % 3 WHEN 0 THEN n END FROM {numbers};
        INSERT INTO player_events (player, seq, at, kind, version, op_key, data)
            SELECT n, seq, n, 'notified', 1, sha256(seq::text::bytea), '{{}}'
            FROM {numbers}, generate_series(1, 2) AS seq;
        INSERT INTO projector_faults SELECT n, n, 1, 'error', n FROM {numbers};
        INSERT INTO board_scores SELECT 'daily', n % 10, n, n, n, n, 1, n % 2 = 0, n % 3 = 0, n % 5 = 0 FROM {numbers};
        INSERT INTO board_counts SELECT 'daily', n % 10, n, n, n % 2 FROM {numbers};
        INSERT INTO board_sums SELECT 'daily', n % 10, n, 1 FROM {numbers};
        INSERT INTO raid_snapshots SELECT n, 1, '' FROM {numbers};
        INSERT INTO refresh_families
            SELECT md5(n::text)::uuid, n, '', NULL, now(), now() + n * interval '1 second' FROM {numbers};
        INSERT INTO bans SELECT n, 'reason', 'admin:ops', n FROM {numbers};
        INSERT INTO notices (kind, player, until) SELECT 'player', n, now() FROM {numbers};
        INSERT INTO audit_log (at, actor, action, target, request_id, details)
            SELECT n, 'admin:ops', 'ban', 'player', 'r', '{{}}' FROM {numbers};
        INSERT INTO webhook_deliveries (endpoint, raid_id, seq, attempts, next_at, error, first_failed_at)
            SELECT 'app', n, 1, 1, CASE n % 2 WHEN 0 THEN n END, 'down', n FROM {numbers};
        INSERT INTO used_proofs SELECT sha256(n::text::bytea), now() FROM {numbers};
        INSERT INTO instances
            SELECT md5(n::text)::uuid, 'ws://host', '1', now() + interval '1 hour', false, 3, 3000
            FROM generate_series(1, 50, 2) AS n
            ON CONFLICT DO NOTHING;
        ANALYZE"
    ))
}

async fn open_store(database: &PostgresDatabase) -> PostgresStore {
    let seconds = Duration::from_secs(60);
    let store = PostgresStore::connect(PostgresOptions {
        url: database.url(),
        connections_max: 2,
        statement_timeout: seconds,
        connect_timeout: seconds,
        is_exclusive: false,
    });
    let store = store.await.expect("connect");
    store.migrate(Duration::ZERO).await.expect("migrate");
    store
        .maintain(raidhall_protocol::UnixMillis(0))
        .await
        .expect("make partitions");
    store
}

#[tokio::test]
async fn no_postgres_statement_scans_a_large_table() {
    let database = PostgresDatabase::create().await;
    let store = open_store(&database).await;
    let mut committing = store.commit_pool.open_session().await;
    let mut looking_up = store.general_pool.open_session().await;
    let mut filled = 0;
    for size in SIZES {
        if size > filled {
            looking_up
                .execute(fill_tables(filled, size))
                .await
                .expect("fill");
            filled = size;
        }
        for (name, sql) in statements() {
            let session = if name == "COMMIT" {
                &mut committing
            } else {
                &mut looking_up
            };
            let plan = explain(session, &sql, "FORMAT JSON", &[]).await;
            let scans: Vec<_> = nodes(&plan).into_iter().filter_map(full_scan).collect();
            let allowed = ALLOWED_SCANS.contains(&name.as_str());
            assert!(
                scans.is_empty() || allowed,
                "{name}, at {size} raids, scans {scans:?}:\n{sql}\n{plan:#}"
            );
        }
    }
}

#[tokio::test]
async fn commits_stay_durable_when_the_server_changes_its_default() {
    let database = PostgresDatabase::create().await;
    let store = open_store(&database).await;
    let mut session = store.general_pool.open_session().await;
    let name: String = sqlx::query_scalar("SELECT current_database()::text")
        .fetch_one(&mut session)
        .await
        .expect("the name");
    let change = format!("ALTER DATABASE {name} SET synchronous_commit = off");
    session
        .execute(AssertSqlSafe(change))
        .await
        .expect("change the default");
    for pool in [&store.commit_pool, &store.session_pool, &store.general_pool] {
        let setting: String = sqlx::query_scalar("SHOW synchronous_commit")
            .fetch_one(&mut pool.open_session().await)
            .await
            .expect("the setting");
        assert_eq!(setting, "on");
    }
}

#[tokio::test]
async fn reads_of_events_open_one_partition() {
    let database = PostgresDatabase::create().await;
    let mut session = open_store(&database)
        .await
        .general_pool
        .open_session()
        .await;
    session.execute(fill_tables(0, 1_000)).await.expect("fill");
    let raid = "77";
    let player = "78";
    let keys = "ARRAY[sha256('1'), sha256('2')]";
    let statements = statements();
    for (name, arguments) in [
        ("EVENTS", vec![raid, "0", "10"]),
        ("CONTRIBUTIONS", vec![raid, "0", "10"]),
        ("FIND_OPS", vec![raid, keys]),
        ("LOAD", vec![raid, "65536"]),
        ("STREAM_EVENTS", vec![player, "0", "10"]),
        ("LOAD_STREAM", vec![player, "sha256('1')"]),
        ("LOAD_STREAMS", vec!["ARRAY[78]"]),
        ("FIND_STREAM_OPS", vec!["ARRAY[78]", keys]),
    ] {
        let plan = explain(
            &mut session,
            &statements[name],
            "ANALYZE, FORMAT JSON",
            &arguments,
        )
        .await;
        let opened: BTreeSet<_> = (nodes(&plan).into_iter())
            .filter(|node| node["Actual Loops"] != 0)
            .filter_map(|node| node["Relation Name"].as_str())
            .filter(|relation| relation.contains("_events"))
            .collect();
        assert_eq!(opened.len(), 1, "{name} opens {opened:?}:\n{plan:#}");
    }
}

/// Returns every constant of these files that is a statement, by name, and checks that nothing else
/// is sent.
fn statements() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut sent = Vec::new();
    for source in sources() {
        let text = fs::read_to_string(&source).expect("read source");
        for part in text
            .split("\nconst ")
            .flat_map(|part| part.split("\npub(super) const "))
        {
            let Some((name, value)) = part.split_once(": &str =") else {
                continue;
            };
            let Some(sql) = text_of(value) else {
                continue;
            };
            if ["SELECT", "WITH", "INSERT", "UPDATE", "DELETE"]
                .iter()
                .any(|verb| sql.trim().starts_with(verb))
            {
                let other = found.insert(name.to_owned(), sql);
                assert_eq!(other, None, "two statements are named {name}");
            }
        }
        for call in ["sqlx::query(", "sqlx::query_as(", ".sweep("] {
            sent.extend(
                text.split(call)
                    .skip(1)
                    .map(|rest| last_argument(rest).to_owned()),
            );
        }
    }
    assert!(found.len() > 20, "{} statements", found.len());
    sent.retain(|name| name != FORWARDED);
    for name in sent {
        assert!(
            found.contains_key(&name),
            "sent but not looked through: {name}"
        );
    }
    found
}

/// Returns the text of a constant, also of one that shares a part with others; `None` if it is no text.
fn text_of(value: &str) -> Option<String> {
    let value = value.trim_start();
    if let Some(text) = value.strip_prefix('"') {
        return Some(text.split_once("\";").expect("an end").0.to_owned());
    }
    let parts = value.strip_prefix("concat!(")?;
    let parts = parts.split_once("\"\n);").expect("an end").0;
    let shared = concat!("\"", count_scores!(), "\"");
    let parts = parts.replace("count_scores!()", shared);
    Some(parts.split('"').skip(1).step_by(2).collect())
}

/// Returns the name alone of a call's last argument.
fn last_argument(call: &str) -> &str {
    let arguments = call.split(')').next().unwrap_or("");
    let arguments = arguments.trim_end().trim_end_matches(',');
    arguments.rsplit([',', ':', ' ', '\n']).next().unwrap_or("")
}

fn sources() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let files = fs::read_dir(folder.join("postgres")).expect("read folder");
    let mut sources: Vec<_> = files
        .map(|file| file.expect("read folder").path())
        .collect();
    // A backup reads whole tables, on sessions of its own.
    sources.retain(|source| !source.ends_with("plans.rs") && !source.ends_with("backup.rs"));
    sources.push(folder.join("postgres.rs"));
    sources
}

/// Returns the plan that the session keeps for the statement. Without arguments all parameters are
/// null.
async fn explain(
    session: &mut PgConnection,
    sql: &str,
    options: &str,
    arguments: &[&str],
) -> Value {
    let count = (1..).take_while(|n| sql.contains(&format!("${n}"))).count();
    let arguments = if arguments.is_empty() {
        vec!["NULL"; count].join(", ")
    } else {
        arguments.join(", ")
    };
    let execute = if count == 0 {
        String::new()
    } else {
        format!("({arguments})")
    };
    session
        .execute(AssertSqlSafe(format!("PREPARE looked_through AS {sql}")))
        .await
        .expect(sql);
    let explain = AssertSqlSafe(format!(
        "EXPLAIN ({options}) EXECUTE looked_through{execute}"
    ));
    let row = sqlx::raw_sql(explain)
        .fetch_one(&mut *session)
        .await
        .expect(sql);
    session
        .execute("DEALLOCATE looked_through")
        .await
        .expect("deallocate");
    serde_json::from_str(row.try_get_unchecked(0).expect("a plan")).expect("json")
}

fn nodes(plan: &Value) -> Vec<&Value> {
    match plan {
        Value::Array(parts) => parts.iter().flat_map(nodes).collect(),
        Value::Object(parts) => {
            let below = parts.values().flat_map(nodes);
            std::iter::once(plan)
                .filter(|node| node["Node Type"].is_string())
                .chain(below)
                .collect()
        }
        _ => Vec::new(),
    }
}

/// Returns the large table or index that a node scans from end to end, if any.
fn full_scan(node: &Value) -> Option<&str> {
    let relation = match node["Node Type"].as_str()? {
        "Seq Scan" | "Sample Scan" | "Tid Scan" => node["Relation Name"].as_str()?,
        "Index Scan" | "Index Only Scan" | "Bitmap Index Scan" if node["Index Cond"].is_null() => {
            node["Index Name"].as_str()?
        }
        _ => return None,
    };
    let is_small =
        relation.starts_with("pg_") || SMALL_TABLES.iter().any(|small| relation.starts_with(small));
    (!is_small).then_some(relation)
}
