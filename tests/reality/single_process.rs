//! Only one process at a time may serve a database when no bus is configured.

use std::time::Duration;

use raidhall_protocol::Codec;
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, sleep, timeout};

use crate::process::TestDatabase;
use crate::raid_group::{RaidGroup, long_raid};
use crate::test_socket::TestSocket;
use crate::with_timeout;

/// How long a start waits for a former process: the lease of 3 s and one second more.
const TAKEOVER_WAIT: Duration = Duration::from_secs(4);
/// What a start, a connection and a noisy machine may add.
const MARGIN: Duration = Duration::from_secs(3);

async fn assert_only_one_serves(database: TestDatabase, restart: Duration) {
    let mut first = database.start().await;
    let group = RaidGroup::create(first.target(), 1, &long_raid(1)).await;
    let raid = group.raid;
    let token = group.add_member().await.access_token;
    let mut socket = TestSocket::connect_authenticated(first.target(), Codec::Json, &token).await;
    socket.watch(raid, None).await;

    let began = Instant::now();
    let second = database
        .command(&["serve"], &[])
        .output()
        .await
        .expect("it runs");
    assert_eq!(second.status.code(), Some(75), "{second:?}");
    assert!(
        second.stdout.is_empty() && began.elapsed() < TAKEOVER_WAIT + MARGIN,
        "{:?}",
        began.elapsed()
    );
    socket.say(raid, "still served").await;
    assert!(first.is_running());

    first.kill().await;
    let began = Instant::now();
    let server = database.start().await;
    assert!(
        began.elapsed() < restart + MARGIN,
        "restarted after {:?}",
        began.elapsed()
    );
    let mut socket = TestSocket::connect_authenticated(server.target(), Codec::Json, &token).await;
    socket.watch(raid, None).await;
    socket.say(raid, "back").await;
}

#[tokio::test]
async fn only_one_process_at_a_time_serves_a_sqlite_file() {
    with_timeout(async {
        assert_only_one_serves(TestDatabase::sqlite().await, Duration::ZERO).await
    })
    .await;
}

#[tokio::test]
async fn only_one_process_at_a_time_serves_postgres_without_redis() {
    with_timeout(async {
        assert_only_one_serves(TestDatabase::postgres().await, TAKEOVER_WAIT).await
    })
    .await;
}

#[tokio::test]
async fn a_migration_beside_a_server_on_a_sqlite_file_is_refused_with_75() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let mut server = database.start().await;
        let migrate = database
            .command(&["migrate"], &[])
            .output()
            .await
            .expect("it runs");
        assert_eq!(migrate.status.code(), Some(75), "{migrate:?}");
        assert!(server.is_running());
    })
    .await;
}

#[tokio::test]
async fn sigterm_ends_a_start_that_waits_for_another_instance() {
    const LEASE_SESSIONS: &str =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'raidhall lease%'
        AND datname = current_database()";
    with_timeout(async {
        let database = TestDatabase::postgres().await;
        let long_lease = [("LEASE__TTL_MS", "60000")];
        let first = database.start_with(&long_lease).await;
        let mut waiting = database
            .command(&["serve"], &long_lease)
            .spawn()
            .expect("it runs");
        let mut session = PgConnection::connect(&database.url())
            .await
            .expect("connect");
        let mut count_sessions = async || -> i64 {
            let count = sqlx::query_scalar(LEASE_SESSIONS).fetch_one(&mut session);
            count.await.expect("count")
        };
        while count_sessions().await < 2 {
            sleep(Duration::from_millis(20)).await;
        }
        let pid = waiting
            .id()
            .and_then(|pid| Pid::from_raw(pid.cast_signed()));
        kill_process(pid.expect("its id"), Signal::TERM).expect("signal");
        let ended = timeout(MARGIN, waiting.wait()).await.expect("in time");
        assert_eq!(ended.expect("its status").code(), Some(0));
        drop(first);
    })
    .await;
}
