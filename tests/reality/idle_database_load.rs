//! What an instance costs its database while nothing happens.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::raid_group::{RaidGroup, long_raid, step_until};
use crate::with_timeout;

/// How long is counted at a time: as long as an idle session of Postgres keeps its counts to itself.
const SAMPLE_TIME: Duration = Duration::from_secs(10);
/// How long it may take until nothing but the instances themselves is counted.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Transactions in the database so far.
async fn transaction_count(connection: &mut PgConnection) -> i64 {
    let sum = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    sqlx::query_scalar(sum)
        .fetch_one(connection)
        .await
        .expect("the database's statistics")
}

/// One small UPDATE (the lease) and two indexed reads (due deadlines; bans and sign-outs) a second, and one more (heads of
/// what is followed) every five, whatever the number of raids.
#[tokio::test]
async fn an_idle_instance_runs_about_three_statements_a_second() {
    with_timeout(async {
        let fleet = Cluster::start(2).await;
        let mut parties = Vec::new();
        for _ in 0..30 {
            // Watched at both, so that one of them owns it and the other follows it.
            let mut party = RaidGroup::create_on(&fleet.targets, 2, &long_raid(2)).await;
            let raid = party.raid;
            for player in &mut party.players {
                player.watch(raid).await;
                step_until(player, "watches", |player| player.is_watching(raid)).await;
            }
            parties.push(party);
        }
        let mut connection = PgConnection::connect(&fleet.database.url())
            .await
            .expect("connect");
        // Sessions add their counts up late, those of the players' own requests too: counted until it is quiet.
        let deadline = Instant::now() + TIMEOUT;
        let mut before = transaction_count(&mut connection).await;
        loop {
            let began = Instant::now();
            sleep(SAMPLE_TIME).await;
            let after = transaction_count(&mut connection).await;
            let each = (after - before) as f64 / began.elapsed().as_secs_f64() / 2.0;
            println!("{each:.2} transactions a second for each instance, 60 watches of 30 raids");
            assert!(each > 1.0, "nothing was counted: {each}");
            if each <= 3.5 {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "{each} transactions a second for each instance"
            );
            before = after;
        }
    })
    .await;
}
