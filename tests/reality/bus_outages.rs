//! Redis fails for a whole cluster or for one instance: what the bus carried arrives later, and
//! nothing arrives wrong.

use std::time::Duration;

use raidhall_protocol::{Command, ErrorType, RaidId, Seq};
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::process::TestDatabase;
use crate::proxy::Direction::{ToClient, ToServer};
use crate::raid_group::{RaidGroup, long_raid};
use crate::redis::RedisProcess;
use crate::telemetry::METRICS_SETTING;
use crate::test_socket::{CommandReply, TestSocket};
use crate::watch_recorder::WatchRecorder;
use crate::with_timeout;

/// How soon an owner acknowledges, whatever happens to the bus.
const OWNER_ACK_MAX: Duration = Duration::from_secs(1);
/// How late a follower sees an event by polling once it knows that its bus is down: the poll
/// interval of one second, and a margin.
const POLL_DELAY_MAX: Duration = Duration::from_secs(3);
/// How late a follower sees an event by polling while it does not know that the bus is down: the
/// poll interval of five seconds, and a margin.
const UNDETECTED_POLL_DELAY_MAX: Duration = Duration::from_millis(6_500);
/// How long a follower may hold a command that no owner answers.
const FORWARD_TIMEOUT_MAX: Duration = Duration::from_secs(6);

fn say_command(text: &str) -> Command {
    Command::Say { text: text.into() }
}

#[tokio::test]
async fn a_redis_that_restarts_empty_loses_no_event() {
    with_timeout(async {
        let mut cluster = Cluster::start(3).await;
        let game = cluster.start_group(6, &long_raid(6)).await.start_playing();
        for _ in 0..3 {
            game.wait_for_events(20).await;
            cluster.redis.restart().await;
        }
        game.wait_for_events(20).await;
        cluster.redis.kill().await;
        for server in &cluster.servers {
            server.wait_for_bus(false).await;
        }
        game.wait_for_events(60).await;
        cluster.redis.restart().await;
        cluster.wait_until_bus_works().await;
        game.wait_for_events(40).await;
        game.stop_and_judge().await;
    })
    .await;
}

#[tokio::test]
async fn twenty_redis_outages_lose_no_event() {
    with_timeout(async {
        let mut cluster =
            Cluster::start_on(TestDatabase::postgres().await, 3, &[METRICS_SETTING]).await;
        let game = cluster.start_group(6, &long_raid(6)).await.start_playing();
        for round in 0..20 {
            game.wait_for_events(4).await;
            let before = reconnect_count(&cluster).await;
            match round % 4 {
                0 => cluster.redis.restart().await,
                1 => {
                    for proxy in &cluster.bus_proxies {
                        proxy.cut();
                    }
                }
                // One after the other, so that all are rarely connected at once.
                2 => cluster.bus_proxies[round % 3].cut(),
                _ => {
                    for proxy in &cluster.bus_proxies {
                        proxy.lose_answers();
                    }
                }
            }
            // Each outage must be noticed and be over before the next.
            while reconnect_count(&cluster).await == before {
                sleep(Duration::from_millis(5)).await;
            }
            cluster.wait_until_bus_works().await;
        }
        cluster.wait_until_bus_works().await;
        game.wait_for_events(40).await;
        game.stop_and_judge().await;
    })
    .await;
}

/// Returns how often the instances have reconnected to Redis, all together.
async fn reconnect_count(cluster: &Cluster) -> f64 {
    let mut sum = 0.0;
    for server in &cluster.servers {
        sum += server.metric_sum("raidhall_bus_reconnects_total").await;
    }
    sum
}

/// Starts a raid; returns the group, the index of the raid's owner, and the tokens of two further
/// members.
async fn start_observed_group(cluster: &Cluster) -> (RaidGroup, usize, [String; 2]) {
    let group = cluster.start_group(3, &long_raid(3)).await;
    let owner = cluster.owner_of(&group.players[0].rest(), group.raid).await;
    let tokens = [
        group.add_member().await.access_token,
        group.add_member().await.access_token,
    ];
    (group, owner, tokens)
}

/// Sends a command that reaches no owner, and asserts that it is refused as unavailable in time.
async fn assert_times_out_unavailable(socket: &mut TestSocket, raid: RaidId, op: &str) {
    let sent_at = Instant::now();
    let error = socket
        .execute(raid, Some(op), say_command(op))
        .await
        .expect_err("no owner can be reached");
    assert_eq!(
        (error.r#type, error.retry),
        (ErrorType::Unavailable, true),
        "{error:?}"
    );
    assert!(error.retry_after_ms.is_some_and(|ms| ms > 0), "{error:?}");
    assert!(
        sent_at.elapsed() <= FORWARD_TIMEOUT_MAX,
        "{:?}",
        sent_at.elapsed()
    );
}

/// Sends a command until it is acknowledged or finally refused.
async fn send_until_acknowledged(socket: &mut TestSocket, raid: RaidId, op: &str) -> CommandReply {
    loop {
        match socket.execute(raid, Some(op), say_command(op)).await {
            Err(error) if error.retry => sleep(Duration::from_millis(100)).await,
            answer => return answer,
        }
    }
}

/// Chats at intervals until the given time, and returns what was acknowledged, and when; asserts
/// that each ack came soon.
async fn say_until(socket: &mut TestSocket, raid: RaidId, until: Instant) -> Vec<(Seq, Instant)> {
    let mut acknowledged = Vec::new();
    while Instant::now() < until {
        let sent_at = Instant::now();
        let seq = socket.say(raid, "still here").await;
        assert!(
            sent_at.elapsed() < OWNER_ACK_MAX,
            "an owner's own client waited for {:?}",
            sent_at.elapsed()
        );
        acknowledged.push((seq, Instant::now()));
        sleep(Duration::from_millis(200)).await;
    }
    acknowledged
}

/// Asserts that each event was seen in time: sooner if the follower had known of the fault since
/// `aware`.
async fn assert_seen_in_time(
    recorder: &WatchRecorder,
    acknowledged: &[(Seq, Instant)],
    aware: Option<Instant>,
) {
    for (seq, at) in acknowledged {
        let late = recorder
            .wait_for_event(*seq)
            .await
            .saturating_duration_since(*at);
        let limit = if aware.is_some_and(|aware| aware <= *at) {
            POLL_DELAY_MAX
        } else {
            UNDETECTED_POLL_DELAY_MAX
        };
        assert!(
            late <= limit,
            "{seq} was seen {late:?} after its acknowledgement"
        );
    }
}

#[tokio::test]
async fn owners_serve_and_followers_poll_while_redis_is_unreachable() {
    with_timeout(async {
        let cluster = Cluster::start(3).await;
        let (group, owner, [ada, bob]) = start_observed_group(&cluster).await;
        let raid = group.raid;
        let follower = (owner + 1) % 3;
        let other = (owner + 2) % 3;
        let mut own = cluster.open_socket(owner, raid, &ada).await;
        let recorder = WatchRecorder::start(cluster.open_socket(follower, raid, &bob).await);
        let mut asking = cluster.open_socket(other, raid, &bob).await;
        let game = group.start_playing();
        game.wait_for_events(20).await;

        cluster.hold_buses();
        let until = Instant::now() + Duration::from_secs(11);
        let aware = async {
            for server in &cluster.servers {
                server.wait_for_bus(false).await;
            }
            Instant::now()
        };
        let waits = assert_times_out_unavailable(&mut asking, raid, "parked");
        let (acknowledged, aware, ()) =
            tokio::join!(say_until(&mut own, raid, until), aware, waits);
        assert!(
            aware < until,
            "the instances noticed {:?} late",
            aware - until
        );
        assert_seen_in_time(&recorder, &acknowledged, Some(aware)).await;
        assert!(recorder.has_no_gap());

        cluster.release_buses();
        let released = Instant::now();
        cluster.wait_until_bus_works().await;
        assert!(
            released.elapsed() < Duration::from_secs(5),
            "{:?}",
            released.elapsed()
        );
        let (seq, _) = send_until_acknowledged(&mut asking, raid, "parked")
            .await
            .expect("the command is accepted");
        assert_eq!(
            send_until_acknowledged(&mut asking, raid, "parked").await,
            Ok((seq, true))
        );
        let after = own.say(raid, "after").await;
        let acknowledged_at = Instant::now();
        let late = recorder
            .wait_for_event(after)
            .await
            .saturating_duration_since(acknowledged_at);
        assert!(
            late < OWNER_ACK_MAX,
            "the bus works, and delivered it {late:?} after its acknowledgement"
        );
        assert_eq!(recorder.went_offline(), [], "no member has left");
        drop((own, recorder, asking));
        game.stop_and_judge().await;
    })
    .await;
}

#[tokio::test]
async fn a_follower_cut_off_from_redis_sees_all_events_by_polling() {
    with_timeout(async {
        let cluster = Cluster::start(3).await;
        let (group, owner, [ada, bob]) = start_observed_group(&cluster).await;
        let raid = group.raid;
        let follower = (owner + 1) % 3;
        let other = (owner + 2) % 3;
        let mut own = cluster.open_socket(owner, raid, &ada).await;
        let recorder = WatchRecorder::start(cluster.open_socket(follower, raid, &bob).await);
        let mut asking = cluster.open_socket(follower, raid, &bob).await;
        let mut elsewhere = cluster.open_socket(other, raid, &ada).await;
        let game = group.start_playing();
        game.wait_for_events(20).await;

        cluster.bus_proxies[follower].refuse();
        cluster.servers[follower].wait_for_bus(false).await;
        let aware = Instant::now();
        let waits = assert_times_out_unavailable(&mut asking, raid, "parked");
        let until = aware + Duration::from_secs(6);
        let (acknowledged, ()) = tokio::join!(say_until(&mut own, raid, until), waits);
        assert_seen_in_time(&recorder, &acknowledged, Some(aware)).await;
        elsewhere.say(raid, "the others are connected").await;
        for connected in [owner, other] {
            assert_eq!(
                cluster.servers[connected].health().await.bus,
                "failing",
                "one instance receives nothing"
            );
        }

        cluster.bus_proxies[follower].release();
        cluster.wait_until_bus_works().await;
        send_until_acknowledged(&mut asking, raid, "parked")
            .await
            .expect("the command is accepted");
        assert_eq!(recorder.went_offline(), [], "no member has left");
        assert!(recorder.has_no_gap());
        drop((own, recorder, asking, elsewhere));
        game.stop_and_judge().await;
    })
    .await;
}

#[tokio::test]
async fn an_owner_cut_off_from_redis_keeps_its_raid_and_serves_clients() {
    with_timeout(async {
        let cluster = Cluster::start(3).await;
        let (group, owner, [ada, bob]) = start_observed_group(&cluster).await;
        let raid = group.raid;
        let follower = (owner + 1) % 3;
        let rest = group.players[0].rest();
        let mut own = cluster.open_socket(owner, raid, &ada).await;
        let recorder = WatchRecorder::start(cluster.open_socket(follower, raid, &bob).await);
        let mut asking = cluster.open_socket(follower, raid, &bob).await;
        let game = group.start_playing();
        game.wait_for_events(20).await;
        let store = cluster.database.store().await;
        let before = store
            .head(raid)
            .await
            .expect("the store")
            .expect("the raid");

        cluster.bus_proxies[owner].hold(&[ToServer, ToClient]);
        let until = Instant::now() + Duration::from_secs(11);
        let waits = assert_times_out_unavailable(&mut asking, raid, "parked");
        let failing = cluster.servers[owner].wait_for_bus(false);
        let (acknowledged, (), ()) = tokio::join!(say_until(&mut own, raid, until), waits, failing);
        assert_seen_in_time(&recorder, &acknowledged, None).await;
        assert_eq!(
            cluster.servers[follower].health().await.bus,
            "ok",
            "the follower has noticed no fault"
        );

        cluster.release_buses();
        cluster.wait_until_bus_works().await;
        send_until_acknowledged(&mut asking, raid, "parked")
            .await
            .expect("the command is accepted");
        let after = store
            .head(raid)
            .await
            .expect("the store")
            .expect("the raid");
        assert_eq!((after.owner, after.epoch), (before.owner, before.epoch));
        assert_eq!(cluster.owner_of(&rest, raid).await, owner);
        assert_eq!(recorder.went_offline(), [], "no member has left");
        assert!(recorder.has_no_gap());
        drop((own, recorder, asking));
        game.stop_and_judge().await;
    })
    .await;
}

#[tokio::test]
async fn instances_at_two_redis_masters_report_it_and_meet_again() {
    with_timeout(async {
        let database = TestDatabase::postgres().await;
        let cluster = Cluster::start_on(database, 2, &[METRICS_SETTING]).await;
        let (group, owner, [_, bob]) = start_observed_group(&cluster).await;
        let raid = group.raid;
        let follower = 1 - owner;
        let mut asking = cluster.open_socket(follower, raid, &bob).await;
        asking.say(raid, "at one server").await;
        cluster.wait_until_bus_works().await;

        let other_master = RedisProcess::start().await;
        cluster.bus_proxies[follower].set_server(other_master.address());
        cluster.bus_proxies[follower].cut();
        let cut_at = Instant::now();
        for server in &cluster.servers {
            while server.metric_sum("raidhall_bus_unreachable_peers").await == 0.0 {
                sleep(Duration::from_millis(20)).await;
            }
            server.wait_for_bus(false).await;
        }
        assert!(
            cut_at.elapsed() < Duration::from_secs(8),
            "{:?}",
            cut_at.elapsed()
        );
        assert_times_out_unavailable(&mut asking, raid, "parked").await;

        cluster.bus_proxies[follower].set_server(cluster.redis.address());
        send_until_acknowledged(&mut asking, raid, "parked")
            .await
            .expect("the command is accepted");
        cluster.wait_until_bus_works().await;
        for server in &cluster.servers {
            let unreachable = server.metric_sum("raidhall_bus_unreachable_peers").await;
            let rejected = server.metric_sum("raidhall_bus_rejected_total").await;
            assert_eq!((unreachable, rejected), (0.0, 0.0));
        }
    })
    .await;
}
