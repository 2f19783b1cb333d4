//! Startup, and the commands that prepare it.

use std::time::Duration;

use raidhall_loadtest::client::RestClient;
use raidhall_protocol::Codec;
use rustix::process::Signal;
use serde_json::Value;
use sqlx::{Connection, Executor, PgConnection};
use tokio::time::{Instant, sleep};

use crate::process::TestDatabase;
use crate::raid_group::{RaidGroup, long_raid};
use crate::test_socket::TestSocket;
use crate::{run_exclusively, with_timeout};

/// Time limit from the start of the process to a ready `/readyz`, in an empty directory.
const READY_MAX: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_server_in_an_empty_directory_is_ready_within_300_ms() {
    run_exclusively(async {
        let mut best = Duration::MAX;
        for _ in 0..12 {
            let database = TestDatabase::sqlite().await;
            let began = Instant::now();
            let mut server = database.start().await;
            assert!(
                RestClient::new(server.target())
                    .expect("a REST client")
                    .is_ready()
                    .await
            );
            best = best.min(began.elapsed());
            server.signal(Signal::TERM);
            assert_eq!(server.exit_code(Duration::from_secs(30)).await, Some(0));
            assert_eq!(server.remaining_output().await, Vec::<String>::new());
            if best < READY_MAX {
                break; // a busy machine may need more attempts
            }
        }
        println!("ready after {best:?}");
        assert!(best < READY_MAX, "ready after {best:?} at best");
    })
    .await;
}

#[tokio::test]
async fn a_new_server_reports_that_its_projector_is_not_behind() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await; // it deletes its directory when it is dropped
        let server = database.start().await;
        let url = server.target().url("/readyz");
        loop {
            let report: Value = reqwest::get(url.clone())
                .await
                .expect("an answer")
                .json()
                .await
                .expect("JSON");
            let lag = report.get("projector_lag_secs").expect("a lag");
            if *lag == 0 {
                break;
            }
            assert!(lag.is_null(), "only until the projector begins: {lag}");
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

async fn assert_starts_after_migrate(database: TestDatabase) {
    let migrate = || async {
        database
            .command(&["migrate"], &[])
            .output()
            .await
            .expect("it runs")
    };
    for _ in 0..2 {
        let output = migrate().await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
    let server = database.start_with(&[("DATABASE__MIGRATE", "false")]).await;
    RaidGroup::create(server.target(), 2, &long_raid(2)).await;
}

#[tokio::test]
async fn migrate_prepares_the_sqlite_schema_and_may_be_repeated() {
    with_timeout(async { assert_starts_after_migrate(TestDatabase::sqlite().await).await }).await;
}

#[tokio::test]
async fn migrate_prepares_the_postgres_schema_and_may_be_repeated() {
    with_timeout(async { assert_starts_after_migrate(TestDatabase::empty_postgres().await).await })
        .await;
}

#[tokio::test]
async fn a_faulty_configuration_exits_with_64_and_touches_nothing() {
    let database = TestDatabase::sqlite().await;
    for command in ["serve", "migrate", "check-config"] {
        let output = database
            .command(&[command], &[("LIMITS__WATCHES", "0"), ("NO__SUCH", "1")])
            .output()
            .await;
        let output = output.expect("it runs");
        assert_eq!(output.status.code(), Some(64), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains("LIMITS__WATCHES") && said.contains("NO__SUCH"),
            "{said}"
        );
    }
    assert!(database.is_empty());
}

#[tokio::test]
async fn an_unreachable_database_ends_the_start_with_69() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let nowhere = [
            ("DATABASE__URL", "postgres://none@127.0.0.1:1/none"),
            ("STORE__CONNECT_TIMEOUT_MS", "500"),
        ];
        let output = database
            .command(&["serve"], &nowhere)
            .output()
            .await
            .expect("it runs");
        assert_eq!(output.status.code(), Some(69), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
    })
    .await;
}

#[tokio::test]
async fn a_live_instance_of_0_2_ends_the_start_with_75() {
    const LIVE: &str = "INSERT INTO instances
        VALUES (gen_random_uuid(), '', '0.2.1', clock_timestamp() + interval '1 hour', false, 2, 3600000)";
    with_timeout(async {
        let database = TestDatabase::postgres().await;
        let mut session = PgConnection::connect(&database.url())
            .await
            .expect("connect");
        session.execute(LIVE).await.expect("a live instance");
        for command in ["serve", "migrate"] {
            let output = database
                .command(&[command], &[])
                .output()
                .await
                .expect("it runs");
            assert_eq!(output.status.code(), Some(75), "{command}: {output:?}");
            let log = String::from_utf8_lossy(&output.stderr);
            assert!(
                log.contains("stop all 0.2 instances first"),
                "{command}: {log}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_token_can_be_printed_while_the_server_runs() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let server = database.start().await;
        let group = RaidGroup::create(server.target(), 1, &long_raid(1)).await;
        let player = group.add_member().await.player.id.to_string();
        let output = database
            .command(&["token", "--player", &player], &[])
            .output()
            .await
            .expect("it runs");
        assert!(output.status.success(), "{output:?}");
        let token = String::from_utf8(output.stdout).expect("text");
        drop(TestSocket::connect_authenticated(server.target(), Codec::Json, token.trim()).await);
    })
    .await;
}
