//! One process at a time on a database that does not say how several would talk to each other.

use std::time::Duration;

use raidhall_protocol::Codec;
use tokio::time::Instant;

use crate::bounded;
use crate::party::{Party, long_raid};
use crate::process::Site;
use crate::wire::Wire;

/// How long a start waits for a former process to be gone: the lease's 3 s and one more.
const WAIT: Duration = Duration::from_secs(4);
/// What a start, a connection and a noisy machine may add.
const MARGIN: Duration = Duration::from_secs(3);

async fn only_one_serves(site: Site, restart: Duration) {
    let mut first = site.start().await;
    let party = Party::gather(first.target(), 1, &long_raid(1)).await;
    let (raid, token) = (party.raid, party.witness().await.access_token);
    let mut wire = Wire::open(first.target(), Codec::Json, &token).await;
    wire.watch(raid, None).await;

    let began = Instant::now();
    let second = site
        .command(&["serve"], &[])
        .output()
        .await
        .expect("it runs");
    assert_eq!(second.status.code(), Some(75), "{second:?}");
    assert!(
        second.stdout.is_empty() && began.elapsed() < WAIT + MARGIN,
        "{:?}",
        began.elapsed()
    );
    wire.say(raid, "unharmed").await;
    assert!(first.runs());

    first.kill().await;
    let began = Instant::now();
    let server = site.start().await;
    assert!(
        began.elapsed() < restart + MARGIN,
        "restarted after {:?}",
        began.elapsed()
    );
    let mut wire = Wire::open(server.target(), Codec::Json, &token).await;
    wire.watch(raid, None).await;
    wire.say(raid, "back").await;
}

#[tokio::test]
async fn a_second_process_on_a_sqlite_file_is_refused_with_75_and_a_restart_serves_at_once() {
    bounded(async { only_one_serves(Site::sqlite().await, Duration::ZERO).await }).await;
}

#[tokio::test]
async fn a_second_process_on_postgres_is_refused_with_75_and_a_restart_serves_within_the_lease() {
    bounded(async { only_one_serves(Site::postgres().await, WAIT).await }).await;
}

#[tokio::test]
async fn a_migration_beside_a_server_on_a_sqlite_file_is_refused_with_75() {
    bounded(async {
        let site = Site::sqlite().await;
        let mut server = site.start().await;
        let migrate = site
            .command(&["migrate"], &[])
            .output()
            .await
            .expect("it runs");
        assert_eq!(migrate.status.code(), Some(75), "{migrate:?}");
        assert!(server.runs());
    })
    .await;
}
