//! The load that an idle instance puts on its database.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::raid_group::{RaidGroup, long_raid, step_until};
use crate::with_timeout;

/// Length of one sample: as long as an idle Postgres session delays its statistics.
const SAMPLE_TIME: Duration = Duration::from_secs(10);
/// How long it may take until only the instances themselves cause transactions.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Returns the number of transactions in the database so far.
async fn transaction_count(connection: &mut PgConnection) -> i64 {
    let sum = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    sqlx::query_scalar(sum)
        .fetch_one(connection)
        .await
        .expect("the database's statistics")
}

/// Per second, an instance runs one small UPDATE (the lease) and two indexed reads (due deadlines;
/// bans and sign-outs), whatever the number of raids. The heads of followed raids and the feed are
/// read every five seconds, erasures every ten, the database's size every thirty. One instance, the
/// projector, reads the feed every two seconds, and the others see every five whether there is one:
/// 3.9 in all if there are two.
#[tokio::test]
async fn an_idle_instance_runs_about_four_statements_a_second() {
    with_timeout(async {
        let cluster = Cluster::start(2).await;
        let mut groups = Vec::new();
        for _ in 0..30 {
            // Watched at both instances, so that one owns the raid and the other follows it.
            let mut group = RaidGroup::create_on(&cluster.targets, 2, &long_raid(2)).await;
            let raid = group.raid;
            for player in &mut group.players {
                player.watch(raid).await;
                step_until(player, "watches", |player| player.is_watching(raid)).await;
            }
            groups.push(group);
        }
        let mut connection = PgConnection::connect(&cluster.database.url())
            .await
            .expect("connect");
        // Sessions report their statistics late, including those of the players' own requests:
        // sample until it is quiet.
        let deadline = Instant::now() + TIMEOUT;
        let mut before = transaction_count(&mut connection).await;
        loop {
            let began = Instant::now();
            sleep(SAMPLE_TIME).await;
            let after = transaction_count(&mut connection).await;
            let each = (after - before) as f64 / began.elapsed().as_secs_f64() / 2.0;
            println!("{each:.2} transactions a second for each instance, 60 watches of 30 raids");
            assert!(each > 1.0, "nothing was counted: {each}");
            if each <= 4.1 {
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
