//! Tests of the database's lock, between exclusive instances and those of a cluster.

use std::sync::Arc;
use std::time::Duration;

use raidhall::store::postgres::{PostgresOptions, PostgresStore};
use raidhall::store::{
    ClaimOutcome, CommitOutcome, Epoch, GENERATION, InstanceRecord, Leases, Ownership,
    RegisterError, Renewal, StoreError,
};
use sqlx::migrate::Migrator;
use sqlx::postgres::PgQueryResult;
use sqlx::{AssertSqlSafe, Executor, PgConnection};
use uuid::Uuid;

use super::{
    connect, open, open_uncommitted, open_with, options, terminate_sessions, wait_for_lock_waiters,
};
use crate::conformance::{LONG_TTL, NOW, commit, create_raid, register_instance};
use crate::database::PostgresDatabase;
use crate::history::{History, instance, op, player, raid};

const SHORT: Duration = Duration::from_millis(200);
const SECOND: Duration = Duration::from_secs(1);

async fn open_exclusive(database: &PostgresDatabase) -> Arc<PostgresStore> {
    open_with(PostgresOptions {
        is_exclusive: true,
        ..options(database)
    })
    .await
}

fn assert_held(result: Result<Renewal, RegisterError>) {
    assert!(matches!(result, Err(RegisterError::InUse)), "{result:?}");
}

#[tokio::test]
async fn a_second_exclusive_instance_is_refused_until_the_first_leaves() {
    let database = PostgresDatabase::create().await;
    let first = open_exclusive(&database).await;
    let second = open_exclusive(&database).await;
    let holder = register_instance(&*first).await;
    assert_held(second.register(&instance(), LONG_TTL, SHORT).await);

    first.deregister(holder.id).await.expect("deregister");
    second
        .register(&instance(), LONG_TTL, SHORT)
        .await
        .expect("register");
}

#[tokio::test]
async fn an_exclusive_instance_and_a_cluster_exclude_each_other() {
    let database = PostgresDatabase::create().await;
    let single = open_exclusive(&database).await;
    let node = open(&database).await;
    let member = register_instance(&*node).await;
    assert_held(single.register(&instance(), LONG_TTL, SHORT).await);
    node.deregister(member.id).await.expect("deregister");
    register_instance(&*single).await;
    assert_held(node.register(&instance(), LONG_TTL, SHORT).await);
}

#[tokio::test]
async fn cluster_nodes_register_together_and_keep_an_exclusive_one_out() {
    let database = PostgresDatabase::create().await;
    let single = open_exclusive(&database).await;
    let mut nodes = Vec::new();
    for _ in 0..4 {
        nodes.push((open(&database).await, instance()));
    }
    let registrations = nodes
        .iter()
        .map(|(node, instance)| node.register(instance, LONG_TTL, SHORT));
    for registered in futures_util::future::join_all(registrations).await {
        registered.expect("register");
    }
    for (node, instance) in &nodes {
        assert_eq!(
            node.renew(instance, LONG_TTL)
                .await
                .expect("renew")
                .peers
                .len(),
            nodes.len() - 1
        );
    }
    assert_held(single.register(&instance(), LONG_TTL, SHORT).await);

    let (last, leaving) = nodes.split_last().expect("nodes");
    for (node, instance) in leaving {
        node.deregister(instance.id).await.expect("deregister");
    }
    assert_held(single.register(&instance(), LONG_TTL, SHORT).await);
    last.0.deregister(last.1.id).await.expect("deregister");
    single
        .register(&instance(), LONG_TTL, SHORT)
        .await
        .expect("register");
}

/// Creates the schema of 0.2 in an empty database. Returns a session.
async fn create_schema_0_2(database: &PostgresDatabase) -> PgConnection {
    let mut session = connect(database).await;
    let before = sqlx::migrate!("migrations/postgres")
        .iter()
        .filter(|migration| migration.version < 11)
        .cloned()
        .collect::<Vec<_>>();
    let migrator = Migrator {
        migrations: before.into(),
        ..Migrator::DEFAULT
    };
    let migrated = migrator.run_direct(None, &mut session, false).await;
    migrated.expect("migrate");
    session
}

/// A database in the schema of 0.2, with an instance whose lease is valid for a second and which
/// owns raid 1. Returns the instance's session.
async fn create_with_live_0_2(database: &PostgresDatabase) -> PgConnection {
    const LIVE_OWNER: &str = "
        INSERT INTO instances (id, ws_url, release, lease_until)
        VALUES (gen_random_uuid(), 'ws://former/', '0.2.1', clock_timestamp() + interval '1 second');
        INSERT INTO raids SELECT 1, 202701, 'Kitchen', 'CODE', NULL, 1, 1, 60, 0, 'active', 60000, 0, 0, NULL, id, 4, 9
        FROM instances";
    let mut session = create_schema_0_2(database).await;
    session.execute(LIVE_OWNER).await.expect("a live owner");
    session
}

/// Renews a lease with the statement of 0.2.
async fn renew_0_2(session: &mut PgConnection) -> sqlx::Result<PgQueryResult> {
    const RENEW: &str = "
        INSERT INTO instances (id, ws_url, release, lease_until, draining)
        VALUES ($1, 'ws://former/', '0.2.1', clock_timestamp() + interval '1 hour', false)
        ON CONFLICT (id) DO UPDATE SET ws_url = excluded.ws_url, release = excluded.release,
            lease_until = excluded.lease_until, draining = excluded.draining";
    sqlx::query(RENEW)
        .bind(instance().id.0)
        .execute(session)
        .await
}

fn assert_other_generation<T: std::fmt::Debug>(result: Result<T, RegisterError>) {
    assert!(
        matches!(&result, Err(RegisterError::OtherGeneration { release }) if release == "0.2.1"),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_migration_waits_for_live_instances_of_0_2_and_then_fences_them() {
    let database = PostgresDatabase::create_empty().await;
    let mut former = create_with_live_0_2(&database).await;
    let store = PostgresStore::connect(options(&database))
        .await
        .expect("connect");
    assert_other_generation(store.migrate(SHORT).await);
    renew_0_2(&mut former)
        .await
        .expect("the schema is as it was");
    former
        .execute(
            "DELETE FROM instances WHERE lease_until > clock_timestamp() + interval '1 minute'",
        )
        .await
        .expect("stop it");

    store.migrate(10 * SECOND).await.expect("migrate");
    let (owner, epoch): (Option<Uuid>, i64) = sqlx::query_as("SELECT owner, epoch FROM raids")
        .fetch_one(&mut former)
        .await
        .expect("the raid");
    assert_eq!((owner, epoch), (None, 5), "its late writes are fenced");
    let renewed = renew_0_2(&mut former).await;
    let error = renewed.expect_err("it cannot renew its lease");
    assert_eq!(
        error.as_database_error().map(|error| error.kind()),
        Some(sqlx::error::ErrorKind::NotNullViolation)
    );
}

#[tokio::test]
async fn a_migration_finds_the_leaders_of_open_raids() {
    const RAIDS: &str = r#"
        INSERT INTO raids VALUES
            (1, 202701, 'Kept', 'CODE1', NULL, 1, 1, 60, 0, 'active', 60000, 0, 0, NULL, NULL, 1, 2),
            (2, 202701, 'Given', 'CODE2', NULL, 1, 1, 60, 0, 'recruiting', NULL, 0, 0, NULL, NULL, 1, 3),
            (3, 202701, 'Ended', 'CODE3', NULL, 1, 1, 60, 0, 'failed', NULL, 0, 0, 1, NULL, 1, 2);
        INSERT INTO raid_events (born, raid_id, seq, at, version, kind, data) VALUES
            (202701, 1, 1, 0, 1, 'member_joined', '{"player":7,"role":"leader"}'),
            (202701, 1, 2, 0, 1, 'member_joined', '{"player":8,"role":"member"}'),
            (202701, 2, 1, 0, 1, 'member_joined', '{"player":8,"role":"leader"}'),
            (202701, 2, 2, 0, 1, 'member_joined', '{"player":7,"role":"member"}'),
            (202701, 2, 3, 0, 1, 'leader_changed', '{"player":7,"previous":8}'),
            (202701, 3, 1, 0, 1, 'member_joined', '{"player":7,"role":"leader"}'),
            (202701, 3, 2, 0, 1, 'raid_failed', '{"reason":"cancelled"}')"#;
    let database = PostgresDatabase::create_empty().await;
    let mut session = create_schema_0_2(&database).await;
    session.execute(RAIDS).await.expect("raids of 0.2");

    let store = open(&database).await;
    let leaders: Vec<(i64, Option<i64>)> =
        sqlx::query_as("SELECT id, leader FROM raids ORDER BY id")
            .fetch_all(&mut session)
            .await
            .expect("the leaders");
    assert_eq!(leaders, [(1, Some(7)), (2, Some(7)), (3, None)]);
    let owner = register_instance(&*store).await;
    let create = async |id, led_raids_max| {
        let mut history = History::new(raid(id), owner.id);
        history.create_key = Some(op(&format!("make-{id}")));
        history.led_raids_max = Some(led_raids_max);
        commit(&*store, &history.creation(player(7))).await
    };
    assert_eq!(create(9, 2).await, CommitOutcome::OverQuota);
    assert_eq!(create(10, 3).await, CommitOutcome::Committed);
}

#[tokio::test]
async fn a_live_instance_of_another_generation_is_waited_for() {
    let database = PostgresDatabase::create().await;
    let store = open(&database).await;
    let other = "INSERT INTO instances VALUES
        (gen_random_uuid(), '', '0.2.1', clock_timestamp() + interval '5 seconds', false, 2, 3000)";
    connect(&database).await.execute(other).await.expect(other);
    assert_other_generation(store.register(&instance(), LONG_TTL, SHORT).await);
    assert_other_generation(store.migrate(SHORT).await);
    let registered = store.register(&instance(), LONG_TTL, 10 * SECOND).await;
    registered.expect("register");
    store.migrate(SHORT).await.expect("migrate");
}

#[tokio::test]
async fn an_exclusive_instance_waits_for_former_leases_to_run_out() {
    let database = PostgresDatabase::create().await;
    let store = open_exclusive(&database).await;
    let mut session = connect(&database).await;
    let lease = format!(
        "INSERT INTO instances VALUES
        (gen_random_uuid(), '', '', clock_timestamp() + interval '1 second', false, {GENERATION}, 3000)"
    );
    session
        .execute(AssertSqlSafe(lease))
        .await
        .expect("a former lease");
    assert_held(store.register(&instance(), LONG_TTL, SHORT).await);
    store
        .register(&instance(), LONG_TTL, 5 * SECOND)
        .await
        .expect("register");
}

#[tokio::test]
async fn the_lock_of_a_vanished_process_is_free_when_its_lease_runs_out() {
    let database = PostgresDatabase::create().await;
    let frozen = open_exclusive(&database).await;
    let next = open_exclusive(&database).await;
    frozen
        .register(&instance(), SECOND, SHORT)
        .await
        .expect("register");
    assert_held(next.register(&instance(), SECOND, SHORT).await);
    next.register(&instance(), SECOND, SECOND * 4)
        .await
        .expect("register");
}

#[tokio::test]
async fn a_lease_with_a_lost_session_is_renewed_and_keeps_its_lock() {
    let database = PostgresDatabase::create().await;
    let store = open_exclusive(&database).await;
    let rival = open_exclusive(&database).await;
    let holder = register_instance(&*store).await;
    terminate_sessions(&database, "raidhall lease%").await;
    store.renew(&holder, LONG_TTL).await.expect("renew");
    assert_held(rival.register(&instance(), LONG_TTL, SHORT).await);
}

#[tokio::test]
async fn a_renewal_reports_whether_the_lease_had_run_out() {
    let database = PostgresDatabase::create().await;
    let store = open(&database).await;
    let holder = register_instance(&*store).await;
    let lapsed = async || {
        store
            .renew(&holder, LONG_TTL)
            .await
            .expect("renewed")
            .lapsed
    };
    assert!(!lapsed().await);
    let mut another = connect(&database).await;
    for change in [
        "UPDATE instances SET lease_until = now() - interval '1 s'",
        "DELETE FROM instances",
    ] {
        another.execute(change).await.expect("changed");
        assert!(lapsed().await, "{change}");
        assert!(!lapsed().await, "the lease is valid again");
    }
}

/// The database's clock is ahead for a moment, so that a lease seems to have expired.
#[tokio::test]
async fn an_owner_learns_of_a_claim_though_the_clock_goes_back() {
    let database = PostgresDatabase::create().await;
    let store = open(&database).await;
    let owner = register_instance(&*store).await;
    let successor = register_instance(&*store).await;
    let history = create_raid(&*store, 1, &owner, player(1)).await;
    let mut clock = connect(&database).await;
    let advance = "UPDATE instances SET lease_until = now() - interval '1 s' WHERE id = $1";
    let advanced = sqlx::query(advance).bind(owner.id.0).execute(&mut clock);
    advanced.await.expect("advanced");
    let claims = store.claim(&[history.raid], successor.id).await;
    assert_eq!(claims.expect("claim"), [ClaimOutcome::Acquired(Epoch(2))]);
    let go_back =
        "UPDATE instances SET lease_until = lease_until + interval '10 min' WHERE id = $1";
    let back = sqlx::query(go_back).bind(owner.id.0).execute(&mut clock);
    back.await.expect("went back");
    let renewal = store.renew(&owner, LONG_TTL).await.expect("renew");
    assert!(renewal.lapsed, "the owner does not know of the gap");
}

#[tokio::test]
async fn a_renewal_is_refused_once_another_process_has_the_lock() {
    let database = PostgresDatabase::create().await;
    let store = open_exclusive(&database).await;
    let holder = InstanceRecord { ..instance() };
    store
        .register(&holder, SECOND / 2, SHORT)
        .await
        .expect("register");
    let rival = open_exclusive(&database).await;
    register_within(&rival, SECOND * 5).await;
    let refused = store.renew(&holder, LONG_TTL).await;
    assert!(
        matches!(refused, Err(StoreError::Refused { .. })),
        "{refused:?}"
    );
}

async fn register_within(store: &PostgresStore, patience: Duration) {
    store
        .register(&instance(), LONG_TTL, patience)
        .await
        .expect("register");
}

/// The server still runs the abandoned renewal, on a session that still holds the lock.
#[tokio::test]
async fn an_abandoned_renewal_does_not_lock_out_its_own_process() {
    let database = PostgresDatabase::create().await;
    let store = open_exclusive(&database).await;
    let holder = register_instance(&*store).await;
    let mut blocking = open_uncommitted(&database, "UPDATE instances SET release = '' ").await;
    let renewing = {
        let store = Arc::clone(&store);
        let holder = holder.clone();
        tokio::spawn(async move { store.renew(&holder, LONG_TTL).await })
    };
    wait_for_lock_waiters(&database, 1).await;
    renewing.abort();
    assert!(renewing.await.expect_err("given up").is_cancelled());
    blocking.execute("COMMIT").await.expect("commit");
    store.renew(&holder, LONG_TTL).await.expect("renew");

    let blocking = open_uncommitted(&database, "UPDATE instances SET release = '' ").await;
    let given_up = tokio::time::timeout(SHORT, store.renew(&holder, LONG_TTL)).await;
    assert!(given_up.is_err());
    let again = {
        let store = Arc::clone(&store);
        let holder = holder.clone();
        tokio::spawn(async move { store.renew(&holder, LONG_TTL).await })
    };
    wait_for_lock_waiters(&database, 1).await;
    drop(blocking);
    again.await.expect("join").expect("renew");
}

#[tokio::test]
async fn maintenance_deletes_only_long_expired_rows() {
    const LEFT: &str =
        "SELECT (SELECT count(*) FROM instances), (SELECT count(*) FROM refresh_families)";
    let database = PostgresDatabase::create().await;
    let store = open(&database).await;
    register_instance(&*store).await;
    let mut session = connect(&database).await;
    session
        .execute(
            "INSERT INTO instances SELECT gen_random_uuid(), '', '', now() - n * interval '10 hours', false, 3, 3000
                FROM generate_series(1, 4) AS n;
            INSERT INTO players (name, created_at) VALUES ('Ada', 0);
            INSERT INTO refresh_families
                SELECT gen_random_uuid(), 1, '', NULL, now(), '2026-01-01Z'::timestamptz - n * interval '1 minute'
                FROM generate_series(1, 5000) AS n",
        )
        .await
        .expect("insert");
    store.maintain(NOW).await.expect("maintain");
    let left: (i64, i64) = sqlx::query_as(LEFT)
        .fetch_one(&mut session)
        .await
        .expect("count");
    assert_eq!(left, (1 + 2, 1_440)); // rows that expired less than a day ago
}
