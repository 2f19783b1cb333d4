//! The database's lock: an instance that must be alone, and those of a cluster.

use std::sync::Arc;
use std::time::Duration;

use raidhall::store::postgres::{PostgresOptions, PostgresStore};
use raidhall::store::{Instance, RegisterError, Renewal, Store, StoreError};
use sqlx::Executor;

use super::{connect, holding, open, open_with, options, terminate, waiting_for_locks};
use crate::conformance::{LONG, enlisted};
use crate::database::Database;
use crate::history::instance;

const SHORT: Duration = Duration::from_millis(200);
const SECOND: Duration = Duration::from_secs(1);

async fn alone(database: &Database) -> Arc<PostgresStore> {
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
async fn a_second_instance_that_must_be_alone_is_refused_until_the_first_retires() {
    let database = Database::create().await;
    let (first, second) = (alone(&database).await, alone(&database).await);
    let holder = enlisted(&*first).await;
    assert_held(second.register(&instance(), LONG, SHORT).await);

    first.deregister(holder.id).await.expect("retire");
    second
        .register(&instance(), LONG, SHORT)
        .await
        .expect("enlist");
}

#[tokio::test]
async fn an_instance_that_must_be_alone_and_a_cluster_exclude_each_other() {
    let database = Database::create().await;
    let (single, node) = (alone(&database).await, open(&database).await);
    let member = enlisted(&*node).await;
    assert_held(single.register(&instance(), LONG, SHORT).await);
    node.deregister(member.id).await.expect("retire");
    enlisted(&*single).await;
    assert_held(node.register(&instance(), LONG, SHORT).await);
}

#[tokio::test]
async fn a_cluster_enlists_side_by_side_and_keeps_one_that_must_be_alone_out() {
    let database = Database::create().await;
    let single = alone(&database).await;
    let mut nodes = Vec::new();
    for _ in 0..4 {
        nodes.push((open(&database).await, instance()));
    }
    let enlisting = nodes
        .iter()
        .map(|(node, instance)| node.register(instance, LONG, SHORT));
    for enlisted in futures_util::future::join_all(enlisting).await {
        enlisted.expect("enlist");
    }
    for (node, instance) in &nodes {
        assert_eq!(
            node.renew(instance, LONG).await.expect("renew").peers.len(),
            nodes.len() - 1
        );
    }
    assert_held(single.register(&instance(), LONG, SHORT).await);

    let (last, leaving) = nodes.split_last().expect("nodes");
    for (node, instance) in leaving {
        node.deregister(instance.id).await.expect("retire");
    }
    assert_held(single.register(&instance(), LONG, SHORT).await);
    last.0.deregister(last.1.id).await.expect("retire");
    single
        .register(&instance(), LONG, SHORT)
        .await
        .expect("enlist");
}

/// As the release before the column `draining` writes it.
#[tokio::test]
async fn the_former_releases_renewal_is_understood() {
    const FORMER_RENEW: &str = "
        INSERT INTO instances (id, ws_url, release, lease_until)
        VALUES ($1, 'ws://former/', '0.1.0', clock_timestamp() + interval '1 hour')
        ON CONFLICT (id) DO UPDATE SET ws_url = excluded.ws_url, release = excluded.release,
            lease_until = excluded.lease_until";
    let database = Database::create().await;
    let store = open(&database).await;
    let (former, mut session) = (instance(), connect(&database).await);
    for _ in 0..2 {
        sqlx::query(FORMER_RENEW)
            .bind(former.id.0)
            .execute(&mut session)
            .await
            .expect("renew");
    }
    let renewal = store
        .register(&instance(), LONG, SHORT)
        .await
        .expect("enlist");
    let [peer] = &renewal.peers[..] else {
        panic!("{:?}", renewal.peers)
    };
    assert_eq!(
        (peer.id, peer.ws_url.as_str(), peer.draining),
        (former.id, "ws://former/", false)
    );
}

#[tokio::test]
async fn an_instance_that_must_be_alone_waits_for_former_leases_to_run_out() {
    let database = Database::create().await;
    let store = alone(&database).await;
    let mut session = connect(&database).await;
    let lease = "INSERT INTO instances VALUES (gen_random_uuid(), '', '', clock_timestamp() + interval '1 second')";
    session.execute(lease).await.expect("a former lease");
    assert_held(store.register(&instance(), LONG, SHORT).await);
    store
        .register(&instance(), LONG, 5 * SECOND)
        .await
        .expect("enlist");
}

#[tokio::test]
async fn the_lock_of_a_process_that_vanished_is_free_when_its_lease_has_run_out() {
    let database = Database::create().await;
    let (frozen, next) = (alone(&database).await, alone(&database).await);
    frozen
        .register(&instance(), SECOND, SHORT)
        .await
        .expect("enlist");
    assert_held(next.register(&instance(), SECOND, SHORT).await);
    next.register(&instance(), SECOND, SECOND * 4)
        .await
        .expect("enlist");
}

#[tokio::test]
async fn a_lease_whose_session_is_lost_is_renewed_on_another_with_the_lock() {
    let database = Database::create().await;
    let (store, rival) = (alone(&database).await, alone(&database).await);
    let holder = enlisted(&*store).await;
    terminate(&database, "raidhall lease%").await;
    store.renew(&holder, LONG).await.expect("renew");
    assert_held(rival.register(&instance(), LONG, SHORT).await);
}

#[tokio::test]
async fn a_renewal_tells_whether_the_lease_had_run_out_in_the_database() {
    let database = Database::create().await;
    let store = open(&database).await;
    let holder = enlisted(&*store).await;
    let lapsed = async || store.renew(&holder, LONG).await.expect("renewed").lapsed;
    assert!(!lapsed().await);
    let mut another = connect(&database).await;
    for change in [
        "UPDATE instances SET lease_until = now() - interval '1 s'",
        "DELETE FROM instances",
    ] {
        another.execute(change).await.expect("changed");
        assert!(lapsed().await, "{change}");
        assert!(!lapsed().await, "it is ours again");
    }
}

#[tokio::test]
async fn a_renewal_is_refused_once_another_process_has_the_lock() {
    let database = Database::create().await;
    let store = alone(&database).await;
    let holder = Instance { ..instance() };
    store
        .register(&holder, SECOND / 2, SHORT)
        .await
        .expect("enlist");
    let rival = alone(&database).await;
    enlisted_within(&rival, SECOND * 5).await;
    let refused = store.renew(&holder, LONG).await;
    assert!(
        matches!(refused, Err(StoreError::Refused { .. })),
        "{refused:?}"
    );
}

async fn enlisted_within(store: &PostgresStore, patience: Duration) {
    store
        .register(&instance(), LONG, patience)
        .await
        .expect("enlist");
}

/// The server still runs the old renewal, on a session that still has the lock.
#[tokio::test]
async fn a_renewal_that_was_given_up_does_not_lock_its_own_process_out() {
    let database = Database::create().await;
    let store = alone(&database).await;
    let holder = enlisted(&*store).await;
    let mut blocking = holding(&database, "UPDATE instances SET release = '' ").await;
    let renewing = {
        let (store, holder) = (Arc::clone(&store), holder.clone());
        tokio::spawn(async move { store.renew(&holder, LONG).await })
    };
    waiting_for_locks(&database, 1).await;
    renewing.abort();
    assert!(renewing.await.expect_err("given up").is_cancelled());
    blocking.execute("COMMIT").await.expect("commit");
    store.renew(&holder, LONG).await.expect("renew");

    let blocking = holding(&database, "UPDATE instances SET release = '' ").await;
    let given_up = tokio::time::timeout(SHORT, store.renew(&holder, LONG)).await;
    assert!(given_up.is_err());
    let again = {
        let (store, holder) = (Arc::clone(&store), holder.clone());
        tokio::spawn(async move { store.renew(&holder, LONG).await })
    };
    waiting_for_locks(&database, 1).await;
    drop(blocking);
    again.await.expect("join").expect("renew");
}

#[tokio::test]
async fn upkeep_forgets_what_is_long_over_and_nothing_else() {
    const LEFT: &str =
        "SELECT (SELECT count(*) FROM instances), (SELECT count(*) FROM refresh_families)";
    let database = Database::create().await;
    let store = open(&database).await;
    enlisted(&*store).await;
    let mut session = connect(&database).await;
    session
        .execute(
            "INSERT INTO instances SELECT gen_random_uuid(), '', '', now() - n * interval '10 hours'
                FROM generate_series(1, 4) AS n;
            INSERT INTO players (name, created_at) VALUES ('Ada', 0);
            INSERT INTO refresh_families
                SELECT gen_random_uuid(), 1, '', NULL, now(), now() - n * interval '1 minute'
                FROM generate_series(1, 5000) AS n",
        )
        .await
        .expect("insert");
    store.maintain().await.expect("maintain");
    let left: (i64, i64) = sqlx::query_as(LEFT)
        .fetch_one(&mut session)
        .await
        .expect("count");
    assert_eq!(left, (1 + 2, 1_439)); // what is over for less than a day
}
