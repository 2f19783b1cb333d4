//! The ledger's partitions are made while the ledger is written.

use super::{holding, open};
use crate::conformance::{commit, enlisted, newcomer};
use crate::database::Database;
use crate::history::{History, joined, raid, raid_created, said};
use raidhall::store::postgres::PostgresStore;
use raidhall::store::{Fate, Maintenance, Month, Store};
use raidhall_protocol::Seq;
use sqlx::{AssertSqlSafe, Connection, Executor};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// No test runs in this month.
const LONG_AGO: Month = Month(199_912);

async fn this_month(database: &Database) -> Month {
    const NOW: &str = "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYYMM')::integer";
    Month(sqlx::query_scalar(NOW).fetch_one(&mut database.connect().await).await.expect("read the month"))
}

/// Raid 1, made in that month by an instance that never enlisted: enlisting makes partitions.
async fn born(store: &PostgresStore, month: Month) -> History {
    let mut history = History { born: month, ..History::of(raid(1), crate::history::instance().id) };
    let leader = newcomer(store, "Ada").await;
    let creation = history.append([raid_created(raid(1)), joined(leader)]);
    assert_eq!(commit(store, &creation).await, Fate::Committed);
    history
}

async fn row_count(database: &Database, table: &str) -> i64 {
    let count = AssertSqlSafe(format!("SELECT count(*) FROM ONLY {table}"));
    sqlx::query_scalar(count).fetch_one(&mut database.connect().await).await.expect("count")
}

#[tokio::test]
async fn partitions_are_made_for_this_month_and_three_more() {
    let database = Database::create().await;
    let store = open(&database).await;
    let made = store.maintain().await.expect("maintain");
    assert_eq!(made, Maintenance { partitions_made: 4, ..Maintenance::default() });
    assert_eq!(store.maintain().await.expect("maintain"), Maintenance::default());

    let month = this_month(&database).await;
    born(&store, month).await;
    assert_eq!(row_count(&database, &format!("raid_events_{}", month.0)).await, 2);
    assert_eq!(row_count(&database, "raid_events_default").await, 0);
}

#[tokio::test]
async fn enlisting_makes_partitions() {
    let database = Database::create().await;
    let store = open(&database).await;
    enlisted(&*store).await;
    assert_eq!(store.maintain().await.expect("maintain"), Maintenance::default());
}

#[tokio::test]
async fn processes_that_start_together_make_each_partition_once() {
    let database = Database::create().await;
    let (one, other) = (open(&database).await, open(&database).await);
    let (one, other) = tokio::join!(one.maintain(), other.maintain());
    let (one, other) = (one.expect("maintain"), other.expect("maintain"));
    assert_eq!(one.partitions_made + other.partitions_made, 4);
}

#[tokio::test]
async fn a_partition_has_everything_that_the_ledger_has() {
    const DIFFERENCE: &str = "
        SELECT count(*) FROM pg_index p
        WHERE p.indrelid = 'raid_events'::regclass AND 4 <> (
            SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = p.indexrelid AND c.relname NOT LIKE '%default%')";
    let database = Database::create().await;
    let store = open(&database).await;
    store.maintain().await.expect("maintain");
    let mut session = database.connect().await;
    let difference: i64 = sqlx::query_scalar(DIFFERENCE).fetch_one(&mut session).await.expect("compare");
    assert_eq!(difference, 0, "each of its indexes is part of one of the ledger's");
}

#[tokio::test]
async fn events_without_a_partition_are_kept_by_the_default_one_and_counted() {
    let database = Database::create().await;
    let store = open(&database).await;
    let mut history = born(&store, LONG_AGO).await;
    assert_eq!(commit(&*store, &history.append([said("late")])).await, Fate::Committed);

    let found = store.maintain().await.expect("maintain");
    assert_eq!(found, Maintenance { partitions_made: 4, partitions_missing: 0, partition_default_rows: 3 });
    assert_eq!(store.events(raid(1), Seq::ZERO, 10).await.expect("read events").len(), 3);
}

#[tokio::test]
async fn a_month_with_events_in_the_default_partition_stays_there() {
    let database = Database::create().await;
    let store = open(&database).await;
    let mut history = born(&store, this_month(&database).await).await;

    let found = store.maintain().await.expect("maintain");
    assert_eq!(found, Maintenance { partitions_made: 3, partitions_missing: 1, partition_default_rows: 2 });
    assert_eq!(commit(&*store, &history.append([said("still here")])).await, Fate::Committed);
    assert_eq!(store.load(raid(1), 10).await.expect("load").expect("a raid").tail.len(), 3);
}

/// A long read of the default partition is in the way of attaching: attaching gives up, and nobody else waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_go_on_while_partitions_are_attached_or_can_not_be() {
    let database = Database::create().await;
    let store = open(&database).await;
    let mut session = database.connect().await;
    let partition = format!(
        "CREATE TABLE raid_events_{0} PARTITION OF raid_events FOR VALUES FROM ({0}) TO ({1})",
        LONG_AGO.0,
        LONG_AGO.0 + 1
    );
    session.execute(AssertSqlSafe(partition)).await.expect("make a partition");
    let mut history = born(&store, LONG_AGO).await;

    let reading = holding(&database, "SELECT FROM raid_events_default").await;
    let maintaining = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.maintain().await })
    };
    let (mut commits, mut slowest) = (0_u32, Duration::ZERO);
    while !maintaining.is_finished() {
        let append = history.append([said("on and on")]);
        let began = Instant::now();
        assert_eq!(commit(&*store, &append).await, Fate::Committed);
        (commits, slowest) = (commits + 1, slowest.max(began.elapsed()));
    }
    let found = maintaining.await.expect("join").expect("maintain");
    assert_eq!((found.partitions_made, found.partitions_missing), (0, 4));
    // Attaching waits for half a second at a time.
    assert!(commits > 20 && slowest < Duration::from_millis(400), "{commits} commits, slowest {slowest:?}");

    reading.close().await.expect("close");
    assert_eq!(store.maintain().await.expect("maintain").partitions_made, 4);
    assert_eq!(commit(&*store, &history.append([said("and on")])).await, Fate::Committed);
}
