//! Only one process at a time may serve a database when no bus is configured.

use std::time::Duration;

use raidhall_protocol::Codec;
use tokio::time::Instant;

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
