//! Postgres goes away, stalls, and loses answers, under a fleet.

use std::time::Duration;

use raidhall::store::RaidHead;
use raidhall_protocol::{ClientMessage, Command, ErrorType, RaidId, Seq};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::Cluster;
use crate::postgres_server::PostgresServer;
use crate::process::TestDatabase;
use crate::proxy::Direction::{ToClient, ToServer};
use crate::raid_group::{RaidGroup, long_raid};
use crate::telemetry::METRICS_SETTING;
use crate::test_socket::TestSocket;
use crate::watch_recorder::WatchRecorder;
use crate::with_timeout;

fn say_command(text: &str) -> Command {
    Command::Say { text: text.into() }
}

#[tokio::test]
async fn a_cluster_survives_immediate_restarts_of_postgres() {
    with_timeout(async {
        let mut cluster = PostgresServer::start().await;
        let fleet = Cluster::start_on(TestDatabase::on_server(&cluster).await, 3, &[]).await;
        let game = fleet.start_group(6, &long_raid(6)).await.start_playing();
        for _ in 0..3 {
            game.wait_for_events(30).await;
            cluster.restart_immediately().await;
        }
        game.wait_for_events(60).await;
        game.stop_and_judge().await;
    })
    .await;
}

#[tokio::test]
async fn every_effect_counts_once_in_a_cluster_that_loses_store_replies() {
    with_timeout(async {
        let fleet = Cluster::start_on(TestDatabase::proxied().await, 3, &[METRICS_SETTING]).await;
        let game = fleet.start_group(6, &long_raid(6)).await.start_playing();
        for _ in 0..25 {
            game.wait_for_events(3).await;
            fleet.database.proxy().lose_answers();
        }
        game.wait_for_events(30).await;
        assert!(
            fleet.database.proxy().lost_answers() >= 25,
            "{} answers lost",
            fleet.database.proxy().lost_answers()
        );
        let mut repeated = 0.0;
        for server in &fleet.servers {
            repeated += server.metric_sum("raidhall_commit_retries_total").await;
        }
        println!("{repeated} commits were sent again");
        assert!(repeated >= 3.0, "those of commits were among them");
        game.stop_and_judge().await;
    })
    .await;
}

/// A refusal that a client may repeat, with the time after which; gives how long it took.
async fn assert_unavailable(wire: &mut TestSocket, raid: RaidId, op: &str) -> Duration {
    let asked = Instant::now();
    let error = wire
        .execute(raid, Some(op), say_command(op))
        .await
        .expect_err("nothing can be committed");
    assert_eq!(
        (error.r#type, error.retry),
        (ErrorType::Unavailable, true),
        "{error:?}"
    );
    assert!(error.retry_after_ms.is_some_and(|ms| ms > 0), "{error:?}");
    asked.elapsed()
}

async fn send_until_acknowledged(wire: &mut TestSocket, raid: RaidId, op: &str) -> Seq {
    loop {
        match wire.execute(raid, Some(op), say_command(op)).await {
            Ok((seq, _)) => return seq,
            Err(error) => assert!(error.retry, "{error:?}"),
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn read_heads(fleet: &Cluster, raids: &[RaidId]) -> Vec<(RaidId, RaidHead)> {
    let mut heads = fleet
        .database
        .store()
        .await
        .heads(raids)
        .await
        .expect("the store");
    heads.sort_unstable_by_key(|(raid, _)| *raid);
    heads
}

async fn takeover_count(fleet: &Cluster) -> f64 {
    let mut all = 0.0;
    for server in &fleet.servers {
        all += server.metric_sum("raidhall_takeovers_total").await;
    }
    all
}

/// Raids of one player each, four at home at each instance, and watched at every instance.
async fn create_idle_raids(fleet: &Cluster) -> (Vec<RaidId>, Vec<WatchRecorder>) {
    let (mut raids, mut lookouts) = (Vec::new(), Vec::new());
    for number in 0..12 {
        let home = fleet.servers[number % 3].target();
        let party = RaidGroup::create(home, 1, &long_raid(1)).await;
        let token = party.add_member().await.access_token;
        for place in 0..3 {
            lookouts.push(WatchRecorder::start(
                fleet.open_socket(place, party.raid, &token).await,
            ));
        }
        raids.push(party.raid);
    }
    raids.sort_unstable();
    (raids, lookouts)
}

#[tokio::test]
async fn a_postgres_stall_moves_no_raid() {
    with_timeout(async {
        let fleet = Cluster::start_on(TestDatabase::proxied().await, 3, &[METRICS_SETTING]).await;
        let (quiet, lookouts) = create_idle_raids(&fleet).await;
        let party = fleet.start_group(3, &long_raid(3)).await;
        let (raid, rest) = (party.raid, party.players[0].rest());
        let owner = fleet.owner_of(&rest, raid).await;
        let tokens = [
            party.add_member().await.access_token,
            party.add_member().await.access_token,
        ];
        let mut own = fleet.open_socket(owner, raid, &tokens[0]).await;
        let mut edge = fleet.open_socket((owner + 1) % 3, raid, &tokens[1]).await;
        let mut signalling = fleet.open_socket((owner + 1) % 3, raid, &tokens[0]).await;
        let at_owner = WatchRecorder::start(fleet.open_socket(owner, raid, &tokens[1]).await);
        let elsewhere =
            WatchRecorder::start(fleet.open_socket((owner + 2) % 3, raid, &tokens[1]).await);
        own.say(raid, "before").await;
        let (before, took_over) = (
            read_heads(&fleet, &quiet).await,
            takeover_count(&fleet).await,
        );

        fleet.database.proxy().hold(&[ToServer, ToClient]);
        let began = Instant::now();
        let signals = async {
            let mut sent = 0;
            while began.elapsed() < Duration::from_secs(10) {
                let signal = ClientMessage::Signal {
                    id: None,
                    raid,
                    kind: "emote".into(),
                    data: json!(sent),
                };
                signalling.send(signal).await;
                sent += 1;
                let at = Instant::now();
                for lookout in [&at_owner, &elsewhere] {
                    let seen =
                        timeout(Duration::from_secs(2), lookout.wait_for_signals(sent)).await;
                    seen.unwrap_or_else(|_| {
                        panic!(
                            "signal {sent} was not seen, {:?} into the stall",
                            at - began
                        )
                    });
                }
                sleep(Duration::from_millis(250)).await;
            }
        };
        let (at_home, afar, ()) = tokio::join!(
            assert_unavailable(&mut own, raid, "near"),
            assert_unavailable(&mut edge, raid, "far"),
            signals
        );
        assert!(
            at_home >= Duration::from_millis(1_900) && at_home < Duration::from_secs(4),
            "{at_home:?}"
        );
        assert!(
            afar >= Duration::from_millis(1_900) && afar < Duration::from_secs(6),
            "{afar:?}"
        );
        for server in &fleet.servers {
            let health = server.health().await;
            assert_eq!(
                (health.ready, &*health.store, &*health.bus),
                (false, "failing", "ok")
            );
        }

        fleet.database.proxy().release();
        let released = Instant::now();
        let acknowledged = [
            send_until_acknowledged(&mut own, raid, "near").await,
            send_until_acknowledged(&mut edge, raid, "far").await,
        ];
        assert!(
            released.elapsed() < Duration::from_secs(8),
            "it took {:?} to heal",
            released.elapsed()
        );
        for lookout in [&at_owner, &elsewhere] {
            for seq in acknowledged {
                lookout.wait_for_event(seq).await;
            }
            assert!(lookout.has_no_gap());
            assert_eq!(lookout.went_offline(), []);
        }
        fleet.wait_until_bus_works().await;
        // Whoever would take something over does so within a lease.
        sleep(Duration::from_secs(4)).await;
        let (after, moved) = (
            read_heads(&fleet, &quiet).await,
            takeover_count(&fleet).await - took_over,
        );
        println!("{moved} raids changed hands");
        assert_eq!(before, after);
        assert!(moved <= 2.0, "{moved} raids changed hands");
        assert!(
            lookouts
                .iter()
                .all(|lookout| lookout.went_offline().is_empty() && lookout.has_no_gap())
        );
        drop((own, edge, signalling, at_owner, elsewhere));
        let (verdict, _) = party.settle().await;
        verdict.assert_no_violations();
    })
    .await;
}
