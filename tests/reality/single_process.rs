//! One process at a time on a database that does not say how several would talk to each other.

use std::time::Duration;

use raidhall_protocol::Codec;
use tokio::time::Instant;

use crate::process::TestDatabase;
use crate::raid_group::{RaidGroup, long_raid};
use crate::test_socket::TestSocket;
use crate::with_timeout;

/// How long a start waits for a former process to be gone: the lease's 3 s and one more.
const TAKEOVER_WAIT: Duration = Duration::from_secs(4);
/// What a start, a connection and a noisy machine may add.
const MARGIN: Duration = Duration::from_secs(3);

async fn assert_only_one_serves(site: TestDatabase, restart: Duration) {
    let mut first = site.start().await;
    let party = RaidGroup::create(first.target(), 1, &long_raid(1)).await;
    let (raid, token) = (party.raid, party.add_member().await.access_token);
    let mut wire = TestSocket::connect_authenticated(first.target(), Codec::Json, &token).await;
    wire.watch(raid, None).await;

    let began = Instant::now();
    let second = site
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
    wire.say(raid, "unharmed").await;
    assert!(first.is_running());

    first.kill().await;
    let began = Instant::now();
    let server = site.start().await;
    assert!(
        began.elapsed() < restart + MARGIN,
        "restarted after {:?}",
        began.elapsed()
    );
    let mut wire = TestSocket::connect_authenticated(server.target(), Codec::Json, &token).await;
    wire.watch(raid, None).await;
    wire.say(raid, "back").await;
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
        let site = TestDatabase::sqlite().await;
        let mut server = site.start().await;
        let migrate = site
            .command(&["migrate"], &[])
            .output()
            .await
            .expect("it runs");
        assert_eq!(migrate.status.code(), Some(75), "{migrate:?}");
        assert!(server.is_running());
    })
    .await;
}
