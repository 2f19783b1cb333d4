//! What an instance costs its database while nothing happens.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, sleep};

use crate::bounded;
use crate::fleet::Fleet;
use crate::party::{Party, long_raid, until};

/// How long is counted at a time: as long as an idle session of Postgres keeps its counts to itself.
const COUNTED: Duration = Duration::from_secs(10);
/// How long it may take until nothing but the instances themselves is counted.
const PATIENCE: Duration = Duration::from_secs(60);

/// Transactions in the database so far.
async fn transactions(connection: &mut PgConnection) -> i64 {
    let sum = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    sqlx::query_scalar(sum)
        .fetch_one(connection)
        .await
        .expect("the database's statistics")
}

/// One small UPDATE (the lease) and two indexed reads (due deadlines; bans and sign-outs) a second, and one more (heads of
/// what is followed) every five, whatever the number of raids.
#[tokio::test]
async fn an_instance_at_rest_costs_little_more_than_three_statements_a_second_however_many_raids_there_are()
 {
    bounded(async {
        let fleet = Fleet::of(2).await;
        let mut parties = Vec::new();
        for _ in 0..30 {
            // Watched at both, so that one of them owns it and the other follows it.
            let mut party = Party::gather_over(&fleet.targets, 2, &long_raid(2)).await;
            let raid = party.raid;
            for player in &mut party.players {
                player.watch(raid).await;
                until(player, "watches", |player| player.watches(raid)).await;
            }
            parties.push(party);
        }
        let mut connection = PgConnection::connect(&fleet.site.url())
            .await
            .expect("connect");
        // Sessions add their counts up late, those of the players' own requests too: counted until it is quiet.
        let deadline = Instant::now() + PATIENCE;
        let mut before = transactions(&mut connection).await;
        loop {
            let began = Instant::now();
            sleep(COUNTED).await;
            let after = transactions(&mut connection).await;
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
