//! Tests of statements that are cut off, abandoned, overtaken or delayed while they run.

use std::sync::Arc;
use std::time::Duration;

use raidhall::store::postgres::PostgresOptions;
use raidhall::store::{
    Accounts, Append, ClaimOutcome, CommitOutcome, Epoch, Leases, Ledger, Ownership, Store,
    StoreError,
};
use raidhall_protocol::player::PlayerEventData;
use raidhall_protocol::player::event::XpSource;
use raidhall_protocol::{PlayerId, Seq, UnixMillis};
use sqlx::Executor;
use tokio::time::timeout;

use super::{
    HOLD_MEMBERS, connect, open, open_uncommitted, open_with, options, terminate_sessions,
    wait_for_lock_waiters,
};
use crate::conformance::streams::{self, stream_append};
use crate::conformance::{
    LONG_TTL, commit, create_player, create_raid, expire_lease, ledger_totals, register_instance,
};
use crate::database::PostgresDatabase;
use crate::history::{History, completed_task, instance, joined, player, raid, said};
use crate::wait::wait_for;

/// Opens a store with a raid, and returns it with a player and an append in which the player joins again
/// and is credited.
async fn store_with_append(database: &PostgresDatabase) -> (Arc<dyn Store>, PlayerId, Append) {
    let store: Arc<dyn Store> = open(database).await;
    let owner = register_instance(&*store).await;
    let ada = create_player(&*store, "Ada").await;
    let append = create_raid(&*store, 1, &owner, ada)
        .await
        .append([joined(ada), completed_task(ada, 40)]);
    (store, ada, append)
}

fn sent(
    store: &Arc<dyn Store>,
    append: &Append,
) -> tokio::task::JoinHandle<raidhall::store::Result<Vec<CommitOutcome>>> {
    let store = Arc::clone(store);
    let batch = [append.clone()];
    tokio::spawn(async move { store.commit(&batch).await })
}

async fn event_count(store: &dyn Store) -> usize {
    store
        .events(raid(1), Seq::ZERO, 1_000)
        .await
        .expect("read events")
        .len()
}

#[tokio::test]
async fn a_commit_whose_session_is_terminated_takes_effect_once_on_retry() {
    let database = PostgresDatabase::create().await;
    let (store, ada, append) = store_with_append(&database).await;
    let mut holder = open_uncommitted(&database, HOLD_MEMBERS).await;
    let sent = sent(&store, &append);
    let pid = wait_for_lock_waiters(&database, 1).await[0];

    sqlx::query("SELECT pg_terminate_backend($1)")
        .bind(pid)
        .execute(&mut holder)
        .await
        .expect("terminate");
    let cut_off = sent.await.expect("join");
    assert!(
        matches!(cut_off, Err(StoreError::Unavailable { .. })),
        "{cut_off:?}"
    );
    holder.execute("COMMIT").await.expect("commit");

    assert_eq!(
        timeout(LONG_TTL, commit_until_settled(&*store, &append)).await,
        Ok(CommitOutcome::Committed)
    );
    assert_eq!(event_count(&*store).await, 4);
    assert_eq!(ledger_totals(&*store, ada).await, (40, 1, 0));
}

/// Retries a commit as the journal does, while the store is unavailable or the outcome unclear.
async fn commit_until_settled(store: &dyn Store, append: &Append) -> CommitOutcome {
    wait_for("the commit's outcome", async || {
        match store.commit(std::slice::from_ref(append)).await.as_deref() {
            Ok([CommitOutcome::Unclear]) | Err(StoreError::Unavailable { .. }) => None,
            Ok([outcome]) => Some(*outcome),
            answer => panic!("{answer:?}"),
        }
    })
    .await
}

#[tokio::test]
async fn an_append_retried_behind_a_given_up_commit_is_unclear_at_first() {
    let database = PostgresDatabase::create().await;
    let (store, ada, append) = store_with_append(&database).await;
    let mut holder = open_uncommitted(&database, HOLD_MEMBERS).await;
    let given_up = sent(&store, &append);
    wait_for_lock_waiters(&database, 1).await;
    given_up.abort();
    assert!(given_up.await.expect_err("given up").is_cancelled());

    let again = sent(&store, &append);
    // The retry waits for the raid's row, which the first commit still has locked.
    wait_for_lock_waiters(&database, 2).await;
    holder.execute("COMMIT").await.expect("commit");

    assert_eq!(
        again.await.expect("join").expect("commit"),
        [CommitOutcome::Unclear]
    );
    assert_eq!(commit(&*store, &append).await, CommitOutcome::Committed);
    assert_eq!(event_count(&*store).await, 4);
    assert_eq!(ledger_totals(&*store, ada).await, (40, 1, 0));
}

#[tokio::test]
async fn a_given_up_commit_that_fails_leaves_the_append_to_the_retry() {
    let database = PostgresDatabase::create().await;
    let (store, ada, append) = store_with_append(&database).await;
    let mut holder = open_uncommitted(&database, HOLD_MEMBERS).await;
    let given_up = sent(&store, &append);
    let pid = wait_for_lock_waiters(&database, 1).await[0];
    given_up.abort();
    let again = sent(&store, &append);
    wait_for_lock_waiters(&database, 2).await;

    sqlx::query("SELECT pg_cancel_backend($1)")
        .bind(pid)
        .execute(&mut holder)
        .await
        .expect("cancel");
    holder.execute("COMMIT").await.expect("commit");

    assert_eq!(
        again.await.expect("join").expect("commit"),
        [CommitOutcome::Committed]
    );
    assert_eq!(event_count(&*store).await, 4);
    assert_eq!(ledger_totals(&*store, ada).await, (40, 1, 0));
}

#[tokio::test]
async fn a_given_up_commit_does_not_keep_its_connection_from_others() {
    let database = PostgresDatabase::create().await;
    let options = PostgresOptions {
        connections_max: 2,
        ..options(&database)
    }; // one for commits
    let store: Arc<dyn Store> = open_with(options).await;
    let owner = register_instance(&*store).await;
    let ada = create_player(&*store, "Ada").await;
    let mut one = create_raid(&*store, 1, &owner, ada).await;
    let mut other = create_raid(&*store, 2, &owner, ada).await;
    let holder = open_uncommitted(&database, HOLD_MEMBERS).await;
    let given_up = sent(&store, &one.append([joined(ada)]));
    wait_for_lock_waiters(&database, 1).await;
    given_up.abort();

    let meanwhile = other.append([said("nothing is in my way")]);
    assert_eq!(
        timeout(LONG_TTL, commit(&*store, &meanwhile)).await,
        Ok(CommitOutcome::Committed)
    );
    drop(holder);
}

#[tokio::test]
async fn a_commit_that_waits_too_long_for_a_lock_is_unavailable() {
    let database = PostgresDatabase::create().await;
    let (patient, ada, append) = store_with_append(&database).await;
    let statement_timeout = Duration::from_millis(400);
    let hasty = open_with(PostgresOptions {
        statement_timeout,
        ..options(&database)
    })
    .await;
    let holder = open_uncommitted(&database, HOLD_MEMBERS).await;
    let batch = [append];
    for _ in 0..2 {
        let held_up = hasty.commit(&batch).await;
        assert!(
            matches!(held_up, Err(StoreError::Unavailable { .. })),
            "{held_up:?}"
        );
    }
    drop(holder);
    assert_eq!(
        commit_until_settled(&*patient, &batch[0]).await,
        CommitOutcome::Committed
    );
    assert_eq!(ledger_totals(&*patient, ada).await, (40, 1, 0));
}

#[tokio::test]
async fn a_busy_pool_is_unavailable_and_does_not_hold_up_other_calls() {
    let database = PostgresDatabase::create().await;
    let connect_timeout = Duration::from_millis(500);
    let options = PostgresOptions {
        connections_max: 2,
        connect_timeout,
        ..options(&database)
    };
    let store: Arc<dyn Store> = open_with(options).await;
    let owner = register_instance(&*store).await;
    let ada = create_player(&*store, "Ada").await;
    let mut history = create_raid(&*store, 1, &owner, ada).await;
    let mut holder = open_uncommitted(&database, HOLD_MEMBERS).await;
    let first = sent(&store, &history.append([joined(ada)]));
    wait_for_lock_waiters(&database, 1).await;

    let crowded_out = store.commit(&[history.append([said("me too")])]).await;
    assert!(
        matches!(crowded_out, Err(StoreError::Unavailable { .. })),
        "{crowded_out:?}"
    );
    assert_eq!(
        store
            .head(raid(1))
            .await
            .expect("read head")
            .expect("a raid")
            .last_seq,
        Seq(2)
    );
    holder.execute("COMMIT").await.expect("commit");
    assert_eq!(
        first.await.expect("join").expect("commit"),
        [CommitOutcome::Committed]
    );
}

#[tokio::test]
async fn reads_sessions_and_commits_do_not_share_connections() {
    let database = PostgresDatabase::create().await;
    let options = PostgresOptions {
        connections_max: 2,
        connect_timeout: Duration::from_millis(500),
        ..options(&database)
    }; // one for each purpose
    let store: Arc<dyn Store> = open_with(options).await;
    let owner = register_instance(&*store).await;
    let ada = create_player(&*store, "Ada").await;
    let mut history = create_raid(&*store, 1, &owner, ada).await;

    let mut holder = open_uncommitted(&database, "LOCK TABLE players").await;
    let reader = Arc::clone(&store);
    let read = tokio::spawn(async move { reader.player(ada).await });
    wait_for_lock_waiters(&database, 1).await;
    let crowded_out = store.load_for_read(raid(1)).await;
    assert!(
        matches!(crowded_out, Err(StoreError::Unavailable { .. })),
        "{crowded_out:?}"
    );
    let loaded = store.load(raid(1), 0).await.expect("load");
    assert_eq!(loaded.expect("a raid").head.last_seq, Seq(2));
    holder.execute("ROLLBACK").await.expect("roll back");
    read.await.expect("join").expect("read");

    let mut holder = open_uncommitted(&database, "LOCK TABLE raid_snapshots").await;
    let loader = Arc::clone(&store);
    let load = tokio::spawn(async move { loader.load(raid(1), 0).await });
    wait_for_lock_waiters(&database, 1).await;
    store.player(ada).await.expect("read");
    let appended = history.append([completed_task(ada, 40)]);
    assert_eq!(commit(&*store, &appended).await, CommitOutcome::Committed);
    store.renew(&owner, LONG_TTL).await.expect("renew");
    holder.execute("ROLLBACK").await.expect("roll back");
    load.await.expect("join").expect("load");
}

#[tokio::test]
async fn at_most_one_call_fails_after_a_postgres_restart() {
    let database = PostgresDatabase::create().await;
    let store = open(&database).await;
    register_instance(&*store).await;
    let ada = create_player(&*store, "Ada").await;
    let reads = || store.player(ada);
    let all = tokio::join!(reads(), reads(), reads(), reads());
    assert!(all.0.is_ok() && all.1.is_ok() && all.2.is_ok() && all.3.is_ok());

    terminate_sessions(&database, "raidhall%").await;

    let failed = reads().await;
    assert!(
        matches!(failed, Err(StoreError::Unavailable { .. })),
        "{failed:?}"
    );
    let all = tokio::join!(reads(), reads(), reads(), reads());
    assert!(all.0.is_ok() && all.1.is_ok() && all.2.is_ok() && all.3.is_ok());
}

#[tokio::test]
async fn an_unreachable_postgres_server_is_unavailable() {
    let database = PostgresDatabase::create().await;
    // The kernel accepts connections to it, and it never replies.
    let silent_listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let url = format!(
        "postgres://raidhall@{}/none?sslmode=disable",
        silent_listener.local_addr().expect("an address")
    );
    let connect_timeout = Duration::from_millis(300);
    let silent = PostgresOptions {
        url,
        connect_timeout,
        ..options(&database)
    };
    let url = "postgres://raidhall@127.0.0.1:1/none".to_owned();
    let absent = PostgresOptions {
        url,
        ..options(&database)
    };
    for options in [silent, absent] {
        let connected = raidhall::store::postgres::PostgresStore::connect(options)
            .await
            .map(drop);
        assert!(
            matches!(connected, Err(StoreError::Unavailable { .. })),
            "{connected:?}"
        );
    }
}

#[tokio::test]
async fn a_claim_skips_a_raid_whose_owner_is_renewing_its_lease() {
    let database = PostgresDatabase::create().await;
    let store = open(&database).await;
    let owner = register_instance(&*store).await;
    let rival = register_instance(&*store).await;
    create_raid(&*store, 1, &owner, player(1)).await;
    let free = create_raid(&*store, 2, &instance(), player(1)).await.raid;
    expire_lease(&*store, &owner).await;
    let renewal = format!(
        "UPDATE instances SET lease_until = now() + interval '1 hour' WHERE id = '{}'",
        owner.id.0
    );
    let mut renewing = open_uncommitted(&database, &renewal).await;

    let claims = store
        .claim(&[raid(1), free], rival.id)
        .await
        .expect("claim");
    assert_eq!(
        claims,
        [ClaimOutcome::Contested, ClaimOutcome::Acquired(Epoch(2))]
    );
    renewing.execute("COMMIT").await.expect("commit");
    let claims = store.claim(&[raid(1)], rival.id).await.expect("claim");
    assert_eq!(
        claims,
        [ClaimOutcome::Held {
            owner: owner.id,
            ws_url: owner.ws_url
        }]
    );
}

#[tokio::test]
async fn a_claim_skips_raids_locked_by_another_statement() {
    let database = PostgresDatabase::create().await;
    let store = open(&database).await;
    let owner = register_instance(&*store).await;
    for id in 1..=3 {
        create_raid(&*store, id, &owner, player(1)).await;
    }
    let mut holder = open_uncommitted(
        &database,
        "UPDATE raids SET last_seq = last_seq WHERE id = 2",
    )
    .await;
    let claims = store
        .claim(&[raid(1), raid(2), raid(3)], owner.id)
        .await
        .expect("claim");
    assert_eq!(
        claims,
        [
            ClaimOutcome::Acquired(Epoch(2)),
            ClaimOutcome::Contested,
            ClaimOutcome::Acquired(Epoch(2))
        ]
    );
    holder.execute("COMMIT").await.expect("commit");
    assert_eq!(
        store.claim(&[raid(2)], owner.id).await.expect("claim"),
        [ClaimOutcome::Acquired(Epoch(2))]
    );
}

#[tokio::test]
async fn a_renewal_waits_for_a_claim_in_flight_and_then_sees_it() {
    /// Stops a claim at its last step while another session holds the advisory lock.
    const STOP_CLAIMS: &str = "
        CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql
            AS 'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END';
        CREATE TRIGGER stop BEFORE UPDATE ON raids FOR EACH ROW EXECUTE FUNCTION stop()";
    let database = PostgresDatabase::create().await;
    let store = open(&database).await;
    let owner = register_instance(&*store).await;
    let rival = register_instance(&*store).await;
    create_raid(&*store, 1, &owner, player(1)).await;
    expire_lease(&*store, &owner).await;
    connect(&database)
        .await
        .execute(STOP_CLAIMS)
        .await
        .expect("a trigger");
    let mut holder = open_uncommitted(&database, "SELECT pg_advisory_xact_lock(1)").await;

    let claiming = {
        let store = Arc::clone(&store);
        let rival = rival.id;
        tokio::spawn(async move { store.claim(&[raid(1)], rival).await })
    };
    wait_for_lock_waiters(&database, 1).await;
    let renewing = {
        let store = Arc::clone(&store);
        let owner = owner.clone();
        tokio::spawn(async move { store.renew(&owner, LONG_TTL).await })
    };
    wait_for_lock_waiters(&database, 2).await;
    holder.execute("COMMIT").await.expect("commit");

    renewing.await.expect("join").expect("renew");
    let head = store
        .head(raid(1))
        .await
        .expect("read head")
        .expect("a raid");
    assert_eq!((head.owner, head.epoch), (Some(rival.id), Epoch(2)));
    assert_eq!(
        claiming.await.expect("join").expect("claim"),
        [ClaimOutcome::Acquired(Epoch(2))]
    );
}

#[tokio::test]
async fn a_commit_that_waited_for_a_claim_is_fenced() {
    let database = PostgresDatabase::create().await;
    let (store, ada, append) = store_with_append(&database).await;
    let mut claiming = open_uncommitted(&database, "UPDATE raids SET epoch = 2 WHERE id = 1").await;
    let stale = sent(&store, &append);
    wait_for_lock_waiters(&database, 1).await;
    claiming.execute("COMMIT").await.expect("commit");

    assert_eq!(
        stale.await.expect("join").expect("commit"),
        [CommitOutcome::Unclear],
        "its statement saw the head before the claim"
    );
    assert_eq!(commit(&*store, &append).await, CommitOutcome::Fenced);
    assert_eq!(ledger_totals(&*store, ada).await, (0, 0, 0));
}

#[tokio::test]
async fn a_creation_that_waited_for_one_with_its_key_finds_it_on_retry() {
    let database = PostgresDatabase::create().await;
    let store: Arc<dyn Store> = open(&database).await;
    let owner = register_instance(&*store).await;
    let mut first = History::new(raid(1), owner.id);
    let mut second = History::new(raid(2), owner.id);
    let key = Some(crate::history::op("make"));
    (first.create_key, second.create_key) = (key, key);
    let ada = create_player(&*store, "Ada").await;
    let created = crate::history::raid_created;
    let first = first.append([created(raid(1)), joined(ada), completed_task(ada, 1)]);
    let second = second.append([created(raid(2)), joined(ada), completed_task(ada, 1)]);
    let same_member =
        format!("INSERT INTO raid_members (player, raid_id, member) VALUES ({ada}, 1, true)");
    let mut holder = open_uncommitted(&database, &same_member).await;
    let winning = sent(&store, &first);
    wait_for_lock_waiters(&database, 1).await;
    let losing = sent(&store, &second);
    wait_for_lock_waiters(&database, 2).await;
    holder.execute("ROLLBACK").await.expect("roll back");

    assert_eq!(
        winning.await.expect("join").expect("commit"),
        [CommitOutcome::Committed]
    );
    assert_eq!(
        losing.await.expect("join").expect("commit"),
        [CommitOutcome::Unclear]
    );
    assert_eq!(commit(&*store, &second).await, CommitOutcome::Exists);
    assert_eq!(ledger_totals(&*store, ada).await, (1, 1, 0));
}

/// No index contains a column that every commit or effect changes, so the new version of a row can stay on
/// its page.
#[tokio::test]
async fn commits_and_their_effects_update_rows_in_place() {
    const UPDATES: &str =
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = $1";
    let database = PostgresDatabase::create().await;
    let (store, ada, append) = store_with_append(&database).await;
    commit(&*store, &append).await;
    let mut history = History {
        seq: append.last_seq(),
        ..History::new(raid(1), append.owner)
    };
    for number in 0..100 {
        assert_eq!(
            commit(&*store, &history.append([completed_task(ada, 1)])).await,
            CommitOutcome::Committed
        );
        let effect = PlayerEventData::XpEarned {
            amount: 1,
            counted: 1,
            earned_xp: number + 1,
            xp: number + 1,
            tasks: number + 1,
            source: XpSource::Contribution,
            allowance: None,
            happened_at: UnixMillis(0),
            level_xp: 0,
            next_level_xp: 100,
            skill: None,
            skill_xp: None,
            skill_level: None,
            coins: 0,
            coins_earned: 0,
            note: None,
            counters: Vec::new(),
        };
        streams::append(&*store, &stream_append(ada, number, [effect])).await;
    }
    drop(store); // sessions report when they end
    let mut session = connect(&database).await;
    for table in ["raids", "players"] {
        loop {
            let (all, in_place): (i64, i64) = sqlx::query_as(UPDATES)
                .bind(table)
                .fetch_one(&mut session)
                .await
                .expect("read statistics");
            if all >= 100 {
                assert!(in_place * 10 >= all * 9, "{table}: {in_place} of {all}");
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn postgres_reports_an_event_of_a_newer_release() {
    let database = PostgresDatabase::create().await;
    let (store, _, append) = store_with_append(&database).await;
    commit(&*store, &append).await;
    connect(&database)
        .await
        .execute("UPDATE raid_events SET version = 7")
        .await
        .expect("updated");
    let read = store.events(raid(1), Seq::ZERO, 10).await;
    assert!(
        matches!(read, Err(StoreError::NewerVersion { version: 7 })),
        "{read:?}"
    );
    let loaded = store.load(raid(1), 10).await;
    assert!(
        matches!(loaded, Err(StoreError::NewerVersion { version: 7 })),
        "{loaded:?}"
    );
}
