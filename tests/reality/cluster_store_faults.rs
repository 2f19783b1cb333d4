//! Postgres fails under a cluster: it restarts, stalls, and loses replies.

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
        let mut postgres = PostgresServer::start().await;
        let cluster = Cluster::start_on(TestDatabase::on_server(&postgres).await, 3, &[]).await;
        let game = cluster.start_group(6, &long_raid(6)).await.start_playing();
        for _ in 0..3 {
            game.wait_for_events(30).await;
            postgres.restart_immediately().await;
        }
        game.wait_for_events(60).await;
        game.stop_and_judge().await;
    })
    .await;
}

#[tokio::test]
async fn every_effect_counts_once_in_a_cluster_that_loses_store_replies() {
    with_timeout(async {
        let cluster = Cluster::start_on(TestDatabase::proxied().await, 3, &[METRICS_SETTING]).await;
        let game = cluster.start_group(6, &long_raid(6)).await.start_playing();
        for _ in 0..25 {
            game.wait_for_events(3).await;
            cluster.database.proxy().lose_answers();
        }
        game.wait_for_events(30).await;
        assert!(
            cluster.database.proxy().lost_answers() >= 25,
            "{} answers lost",
            cluster.database.proxy().lost_answers()
        );
        let mut repeated = 0.0;
        for server in &cluster.servers {
            repeated += server.metric_sum("raidhall_commit_retries_total").await;
        }
        println!("{repeated} commits were sent again");
        assert!(repeated >= 3.0, "commits were among the lost replies");
        game.stop_and_judge().await;
    })
    .await;
}

/// Sends a command and asserts that it is refused as unavailable with a retry time. Returns how
/// long that took.
async fn assert_unavailable(socket: &mut TestSocket, raid: RaidId, op: &str) -> Duration {
    let sent_at = Instant::now();
    let error = socket
        .execute(raid, Some(op), say_command(op))
        .await
        .expect_err("nothing can be committed");
    assert_eq!(
        (error.r#type, error.retry),
        (ErrorType::Unavailable, true),
        "{error:?}"
    );
    assert!(error.retry_after_ms.is_some_and(|ms| ms > 0), "{error:?}");
    sent_at.elapsed()
}

async fn send_until_acknowledged(socket: &mut TestSocket, raid: RaidId, op: &str) -> Seq {
    loop {
        match socket.execute(raid, Some(op), say_command(op)).await {
            Ok((seq, _)) => return seq,
            Err(error) => assert!(error.retry, "{error:?}"),
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn read_heads(cluster: &Cluster, raids: &[RaidId]) -> Vec<(RaidId, RaidHead)> {
    let mut heads = cluster
        .database
        .store()
        .await
        .heads(raids)
        .await
        .expect("the store");
    heads.sort_unstable_by_key(|(raid, _)| *raid);
    heads
}

async fn takeover_count(cluster: &Cluster) -> f64 {
    let mut all = 0.0;
    for server in &cluster.servers {
        all += server.metric_sum("raidhall_takeovers_total").await;
    }
    all
}

/// Creates raids of one player each, four owned by each instance and watched at every instance.
async fn create_idle_raids(cluster: &Cluster) -> (Vec<RaidId>, Vec<WatchRecorder>) {
    let mut raids = Vec::new();
    let mut recorders = Vec::new();
    for number in 0..12 {
        let home = cluster.servers[number % 3].target();
        let group = RaidGroup::create(home, 1, &long_raid(1)).await;
        let token = group.add_member().await.access_token;
        for index in 0..3 {
            recorders.push(WatchRecorder::start(
                cluster.open_socket(index, group.raid, &token).await,
            ));
        }
        raids.push(group.raid);
    }
    raids.sort_unstable();
    (raids, recorders)
}

#[tokio::test]
async fn a_postgres_stall_moves_no_raid() {
    with_timeout(async {
        let cluster = Cluster::start_on(TestDatabase::proxied().await, 3, &[METRICS_SETTING]).await;
        let (idle_raids, recorders) = create_idle_raids(&cluster).await;
        let group = cluster.start_group(3, &long_raid(3)).await;
        let raid = group.raid;
        let rest = group.players[0].rest();
        let owner = cluster.owner_of(&rest, raid).await;
        let tokens = [
            group.add_member().await.access_token,
            group.add_member().await.access_token,
        ];
        let mut own = cluster.open_socket(owner, raid, &tokens[0]).await;
        let mut follower = cluster.open_socket((owner + 1) % 3, raid, &tokens[1]).await;
        let mut signalling = cluster.open_socket((owner + 1) % 3, raid, &tokens[0]).await;
        let at_owner = WatchRecorder::start(cluster.open_socket(owner, raid, &tokens[1]).await);
        let elsewhere =
            WatchRecorder::start(cluster.open_socket((owner + 2) % 3, raid, &tokens[1]).await);
        own.say(raid, "before").await;
        let before = read_heads(&cluster, &idle_raids).await;
        let took_over = takeover_count(&cluster).await;

        cluster.database.proxy().hold(&[ToServer, ToClient]);
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
                for recorder in [&at_owner, &elsewhere] {
                    let seen =
                        timeout(Duration::from_secs(2), recorder.wait_for_signals(sent)).await;
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
            assert_unavailable(&mut follower, raid, "far"),
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
        for server in &cluster.servers {
            let health = server.health().await;
            assert_eq!(
                (health.ready, &*health.store, &*health.bus),
                (false, "failing", "ok")
            );
        }

        cluster.database.proxy().release();
        let released = Instant::now();
        let acknowledged = [
            send_until_acknowledged(&mut own, raid, "near").await,
            send_until_acknowledged(&mut follower, raid, "far").await,
        ];
        assert!(
            released.elapsed() < Duration::from_secs(8),
            "the recovery took {:?}",
            released.elapsed()
        );
        for recorder in [&at_owner, &elsewhere] {
            for seq in acknowledged {
                recorder.wait_for_event(seq).await;
            }
            assert!(recorder.has_no_gap());
            assert_eq!(recorder.went_offline(), []);
        }
        cluster.wait_until_bus_works().await;
        // An instance that wanted to take a raid over would do so within a lease.
        sleep(Duration::from_secs(4)).await;
        let after = read_heads(&cluster, &idle_raids).await;
        let moved = takeover_count(&cluster).await - took_over;
        println!("{moved} raids changed hands");
        assert_eq!(before, after);
        assert!(moved <= 2.0, "{moved} raids changed hands");
        assert!(
            recorders
                .iter()
                .all(|recorder| recorder.went_offline().is_empty() && recorder.has_no_gap())
        );
        drop((own, follower, signalling, at_owner, elsewhere));
        let (verdict, _) = group.settle().await;
        verdict.assert_no_violations();
    })
    .await;
}
