//! Tests of the feed during concurrent commits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use raidhall::store::{CommittedEvent, Feed, FeedCursor, OpenTransaction, Store};
use raidhall_protocol::{RaidId, Seq};
use sqlx::Executor;
use tokio::time::timeout;

use super::{HOLD_MEMBERS, connect, open, open_uncommitted, wait_for_lock_waiters};
use crate::conformance::{commit, create_player, create_raid, register_instance};
use crate::database::PostgresDatabase;
use crate::history::{completed_task, joined, raid, said};
use crate::wait::wait_for;

const MINUTE: Duration = Duration::from_secs(60);

/// A reader follows the feed while two writers commit; one of them is slow, and one of its attempts
/// is cut off. The reader sees every event once, each raid's in order.
#[tokio::test]
async fn a_feed_reader_misses_no_late_commit_and_sees_none_twice() {
    const ROUNDS: usize = 60;
    let database = PostgresDatabase::create().await;
    let store: Arc<dyn Store> = open(&database).await;
    let owner = register_instance(&*store).await;
    let ada = create_player(&*store, "Ada").await;
    let mut slow = create_raid(&*store, 1, &owner, ada).await;
    let mut quick = create_raid(&*store, 2, &owner, ada).await;

    // This commit gets its transaction id before the others, and stops at a member's row until they
    // have committed.
    let mut holder = open_uncommitted(&database, HOLD_MEMBERS).await;
    let late = slow.append([joined(ada), completed_task(ada, 40)]);
    let sent = {
        let store = Arc::clone(&store);
        let late = late.clone();
        tokio::spawn(async move { commit(&*store, &late).await })
    };
    wait_for_lock_waiters(&database, 1).await;
    let writing = async {
        for round in 0..ROUNDS {
            commit(&*store, &quick.append([said(&round.to_string())])).await;
            if round == ROUNDS / 2 {
                holder.execute("COMMIT").await.expect("commit");
            }
        }
        sent.await.expect("no panic");
    };
    let total = 2 * 2 + 2 + ROUNDS;
    let following = async {
        let mut place = FeedCursor::default();
        let mut seen = HashMap::<RaidId, u64>::new();
        while seen.values().sum::<u64>() < total as u64 {
            let batch = store.read_feed(place, 7).await.expect("feed");
            place = batch.next;
            for CommittedEvent { raid, event, .. } in batch.events {
                let last = seen.entry(raid).or_default();
                assert_eq!(event.seq, Seq(*last + 1), "raid {raid}");
                *last = event.seq.0;
            }
        }
        seen
    };
    let (seen, ()) = timeout(MINUTE, async { tokio::join!(following, writing) })
        .await
        .expect("all is seen");
    assert_eq!(seen[&raid(1)], 4);
    assert_eq!(seen[&raid(2)], 2 + ROUNDS as u64);
}

/// The feed waits for transactions of all databases of the server.
#[tokio::test]
async fn the_oldest_open_transaction_is_found_in_another_database() {
    let database = PostgresDatabase::create().await;
    let other = PostgresDatabase::create().await;
    let store = open(&database).await;
    let mut holder = open_uncommitted(&other, "CREATE TABLE held ()").await;
    let (id, pid, name): (i64, i32, String) = sqlx::query_as(
        "SELECT pg_current_xact_id()::text::bigint, pg_backend_pid(), current_database()::text",
    )
    .fetch_one(&mut holder)
    .await
    .expect("the transaction");
    // One that ends later. Other tests hold transactions, too, but not for long.
    create_player(&*store, "Ada").await;
    let found = wait_for("the open transaction", async || {
        let oldest = store.oldest_open_transaction().await.expect("look");
        oldest.filter(|oldest| oldest.id >= id as u64)
    })
    .await;
    let expected = OpenTransaction {
        id: id as u64,
        pid: Some(pid),
        database: Some(name),
    };
    assert_eq!(found, expected);
    holder.execute("ROLLBACK").await.expect("rollback");
    wait_for("the transaction's end", async || {
        let oldest = store.oldest_open_transaction().await.expect("look");
        oldest
            .is_none_or(|oldest| oldest.id > id as u64)
            .then_some(())
    })
    .await;
}

/// A dump that is restored into another server keeps the old server's transaction ids.
#[tokio::test]
async fn events_with_future_transaction_ids_are_fed_after_a_new_lineage() {
    let database = PostgresDatabase::create().await;
    let store = open(&database).await;
    let owner = register_instance(&*store).await;
    let ada = create_player(&*store, "Ada").await;
    create_raid(&*store, 1, &owner, ada).await;
    connect(&database)
        .await
        .execute("UPDATE raid_events SET tx = '9999999999'")
        .await
        .expect("updated");
    assert_eq!(
        store
            .read_feed(FeedCursor::default(), 10)
            .await
            .expect("feed")
            .events,
        []
    );
    let lineage = store.rename_lineage(true).await.expect("renamed");
    let all_fed = async {
        loop {
            let batch = store
                .read_feed(FeedCursor::default(), 10)
                .await
                .expect("feed");
            assert_eq!(Some(batch.lineage), lineage);
            if batch.events.len() == 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(MINUTE, all_fed)
        .await
        .expect("after other transactions have ended");
}
