//! Tests of the ledger's partitions, which are created while the ledger is written.

use std::sync::Arc;

use raidhall::store::postgres::PostgresStore;
use raidhall::store::{CommitOutcome, Leases, Ledger, MaintenanceReport, Month, StoreError};
use raidhall_protocol::Seq;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::{connect, open, open_uncommitted, wait_for_lock_waiters};
use crate::conformance::{NOW, commit, create_player, register_instance};
use crate::database::PostgresDatabase;
use crate::history::{History, joined, raid, raid_created, said};

/// A month of the past, in which no test runs.
const LONG_AGO: Month = Month(199_912);

async fn this_month(database: &PostgresDatabase) -> Month {
    const NOW: &str = "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYYMM')::integer";
    Month(
        sqlx::query_scalar(NOW)
            .fetch_one(&mut connect(database).await)
            .await
            .expect("read the month"),
    )
}

/// Creates raid 1 in the given month, by an instance that never registered, because registering
/// creates partitions.
async fn create_raid_in_month(store: &PostgresStore, month: Month) -> History {
    let mut history = History {
        born: month,
        ..History::new(raid(1), crate::history::instance().id)
    };
    let leader = create_player(store, "Ada").await;
    let creation = history.append([raid_created(raid(1)), joined(leader)]);
    assert_eq!(commit(store, &creation).await, CommitOutcome::Committed);
    history
}

async fn row_count(database: &PostgresDatabase, table: &str) -> i64 {
    let count = AssertSqlSafe(format!("SELECT count(*) FROM ONLY {table}"));
    sqlx::query_scalar(count)
        .fetch_one(&mut connect(database).await)
        .await
        .expect("count")
}

#[tokio::test]
async fn partitions_are_created_for_this_month_and_three_more() {
    let database = PostgresDatabase::create().await;
    let store = open(&database).await;
    let made = store.maintain(NOW).await.expect("maintain");
    assert_eq!(
        made,
        MaintenanceReport {
            partitions_created: 4,
            ..MaintenanceReport::default()
        }
    );
    assert_eq!(
        store.maintain(NOW).await.expect("maintain"),
        MaintenanceReport::default()
    );

    let month = this_month(&database).await;
    create_raid_in_month(&store, month).await;
    assert_eq!(
        row_count(&database, &format!("raid_events_{}", month.0)).await,
        2
    );
    assert_eq!(row_count(&database, "raid_events_default").await, 0);
}

#[tokio::test]
async fn registering_an_instance_creates_partitions() {
    let database = PostgresDatabase::create().await;
    let store = open(&database).await;
    register_instance(&*store).await;
    assert_eq!(
        store.maintain(NOW).await.expect("maintain"),
        MaintenanceReport::default()
    );
}

#[tokio::test]
async fn processes_that_start_together_create_each_partition_once() {
    let database = PostgresDatabase::create().await;
    let one = open(&database).await;
    let other = open(&database).await;
    let (one, other) = tokio::join!(one.maintain(NOW), other.maintain(NOW));
    let one = one.expect("maintain");
    let other = other.expect("maintain");
    assert_eq!(one.partitions_created + other.partitions_created, 4);
}

#[tokio::test]
async fn a_partition_has_every_index_of_the_ledger() {
    const DIFFERENCE: &str = "
        SELECT count(*) FROM pg_index p
        WHERE p.indrelid = 'raid_events'::regclass AND 4 <> (
            SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = p.indexrelid AND c.relname NOT LIKE '%default%')";
    let database = PostgresDatabase::create().await;
    let store = open(&database).await;
    store.maintain(NOW).await.expect("maintain");
    let mut session = connect(&database).await;
    let difference: i64 = sqlx::query_scalar(DIFFERENCE)
        .fetch_one(&mut session)
        .await
        .expect("compare");
    assert_eq!(
        difference, 0,
        "each of its indexes is part of one of the ledger's"
    );
}

#[tokio::test]
async fn events_without_a_partition_are_kept_by_the_default_one_and_counted() {
    let database = PostgresDatabase::create().await;
    let store = open(&database).await;
    let mut history = create_raid_in_month(&store, LONG_AGO).await;
    assert_eq!(
        commit(&*store, &history.append([said("late")])).await,
        CommitOutcome::Committed
    );

    let found = store.maintain(NOW).await.expect("maintain");
    assert_eq!(
        found,
        MaintenanceReport {
            partitions_created: 4,
            partitions_missing: 0,
            default_partition_rows: 3
        }
    );
    assert_eq!(
        store
            .events(raid(1), Seq::ZERO, 10)
            .await
            .expect("read events")
            .len(),
        3
    );
}

#[tokio::test]
async fn a_month_with_events_in_the_default_partition_stays_there() {
    let database = PostgresDatabase::create().await;
    let store = open(&database).await;
    let mut history = create_raid_in_month(&store, this_month(&database).await).await;

    let found = store.maintain(NOW).await.expect("maintain");
    assert_eq!(
        found,
        MaintenanceReport {
            partitions_created: 3,
            partitions_missing: 1,
            default_partition_rows: 2
        }
    );
    assert_eq!(
        commit(&*store, &history.append([said("still here")])).await,
        CommitOutcome::Committed
    );
    assert_eq!(
        store
            .load(raid(1), 10)
            .await
            .expect("load")
            .expect("a raid")
            .tail
            .len(),
        3
    );
}

/// The commit was routed to the default partition, and must find the new one.
#[tokio::test]
async fn a_commit_that_meets_its_partitions_attachment_fails_once() {
    let database = PostgresDatabase::create().await;
    let store = open(&database).await;
    let attach = "CREATE TABLE raid_events_199912 (LIKE raid_events INCLUDING ALL);
        ALTER TABLE raid_events ATTACH PARTITION raid_events_199912 FOR VALUES FROM (199912) TO (200001)";
    // Gives the store a session that knows the ledger without the new partition.
    create_raid_in_month(&store, Month(LONG_AGO.0 - 1)).await;
    let mut attaching = open_uncommitted(&database, attach).await;
    let mut history = History {
        born: LONG_AGO,
        ..History::new(raid(2), crate::history::instance().id)
    };
    let creation = history.append([raid_created(raid(2))]);
    let committing = {
        let store = Arc::clone(&store);
        let batch = [creation.clone()];
        tokio::spawn(async move { store.commit(&batch).await })
    };
    wait_for_lock_waiters(&database, 1).await;
    attaching.execute("COMMIT").await.expect("commit");

    let met = committing.await.expect("join");
    assert!(
        matches!(met, Err(StoreError::Unavailable { .. })),
        "{met:?}"
    );
    assert_eq!(commit(&*store, &creation).await, CommitOutcome::Committed);
    assert_eq!(row_count(&database, "raid_events_199912").await, 1);
}

/// A long read of the default partition blocks attaching. Attaching gives up, and no commit waits
/// for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_continue_while_attaching_a_partition_waits() {
    let database = PostgresDatabase::create().await;
    let store = open(&database).await;
    let mut session = connect(&database).await;
    let partition = "CREATE TABLE raid_events_199912 PARTITION OF raid_events FOR VALUES FROM (199912) TO (200001)";
    session.execute(partition).await.expect("make a partition");
    let mut history = create_raid_in_month(&store, LONG_AGO).await;

    let reading = open_uncommitted(&database, "SELECT FROM raid_events_default").await;
    let maintaining = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.maintain(NOW).await })
    };
    let mut commits_meanwhile = 0;
    while !maintaining.is_finished() {
        let before = lock_wait_start(&mut session).await;
        assert_eq!(
            commit(&*store, &history.append([said("on and on")])).await,
            CommitOutcome::Committed
        );
        let after = lock_wait_start(&mut session).await;
        commits_meanwhile += u32::from(before.is_some() && before == after);
    }
    assert!(
        commits_meanwhile > 0,
        "each commit waited for attaching to give up"
    );
    let found = maintaining.await.expect("join").expect("maintain");
    assert_eq!((found.partitions_created, found.partitions_missing), (0, 4));

    reading.close().await.expect("close");
    assert_eq!(
        store
            .maintain(NOW)
            .await
            .expect("maintain")
            .partitions_created,
        4
    );
    assert_eq!(
        commit(&*store, &history.append([said("and on")])).await,
        CommitOutcome::Committed
    );
}

/// Returns since when a session waits for the default partition; `None` in the first moments of a
/// wait.
async fn lock_wait_start(session: &mut PgConnection) -> Option<String> {
    const WAITS_SINCE: &str = "
        SELECT waitstart::text FROM pg_locks
        WHERE relation = 'raid_events_default'::regclass AND mode = 'AccessExclusiveLock' AND NOT granted";
    let since = sqlx::query_scalar::<_, Option<String>>(WAITS_SINCE)
        .fetch_optional(session)
        .await;
    since.expect("read locks").flatten()
}
