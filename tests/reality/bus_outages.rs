//! Redis goes away under a fleet, for everybody or for one: what it carried comes later, and nothing comes wrong.

use std::time::Duration;

use raidhall_protocol::{Command, ErrorType, RaidId, Seq};
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::process::TestDatabase;
use crate::proxy::Direction::{ToClient, ToServer};
use crate::proxy::Proxy;
use crate::raid_group::{RaidGroup, long_raid};
use crate::telemetry::METRICS_SETTING;
use crate::test_socket::{CommandReply, TestSocket};
use crate::watch_recorder::WatchRecorder;
use crate::with_timeout;

/// How soon an owner acknowledges, whatever the bus does.
const OWNER_ACK_MAX: Duration = Duration::from_secs(1);
/// How late an edge sees what the bus does not bring, once it knows that the bus is gone: the poll's second, and some.
const POLL_DELAY_MAX: Duration = Duration::from_secs(3);
/// The same while it does not know yet, or is not told at all: five of the poll's seconds, and some.
const UNDETECTED_POLL_DELAY_MAX: Duration = Duration::from_millis(6_500);
/// How long a command that no owner answers may wait at an edge.
const FORWARD_TIMEOUT_MAX: Duration = Duration::from_secs(6);

fn say_command(text: &str) -> Command {
    Command::Say { text: text.into() }
}

#[tokio::test]
async fn a_redis_that_restarts_empty_loses_no_event() {
    with_timeout(async {
        let mut fleet = Cluster::start(3).await;
        let game = fleet.start_group(6, &long_raid(6)).await.start_playing();
        for _ in 0..3 {
            game.wait_for_events(20).await;
            fleet.redis.restart().await;
        }
        game.wait_for_events(20).await;
        fleet.redis.kill().await;
        for server in &fleet.servers {
            server.wait_for_bus(false).await;
        }
        game.wait_for_events(60).await;
        fleet.redis.restart().await;
        fleet.wait_until_bus_works().await;
        game.wait_for_events(40).await;
        game.stop_and_judge().await;
    })
    .await;
}

#[tokio::test]
async fn twenty_redis_outages_lose_no_event() {
    with_timeout(async {
        let mut fleet =
            Cluster::start_on(TestDatabase::postgres().await, 3, &[METRICS_SETTING]).await;
        let game = fleet.start_group(6, &long_raid(6)).await.start_playing();
        for round in 0..20 {
            game.wait_for_events(4).await;
            let before = reconnect_count(&fleet).await;
            match round % 4 {
                0 => fleet.redis.restart().await,
                1 => fleet.bus_proxies.iter().for_each(Proxy::cut),
                // One after the other, so that they are seldom all there.
                2 => fleet.bus_proxies[round % 3].cut(),
                _ => fleet.bus_proxies.iter().for_each(Proxy::lose_answers),
            }
            // Each is an outage of its own, noticed and over before the next.
            while reconnect_count(&fleet).await == before {
                sleep(Duration::from_millis(5)).await;
            }
            fleet.wait_until_bus_works().await;
        }
        fleet.wait_until_bus_works().await;
        game.wait_for_events(40).await;
        game.stop_and_judge().await;
    })
    .await;
}

/// How often the instances have connected to Redis again, all together.
async fn reconnect_count(fleet: &Cluster) -> f64 {
    let mut sum = 0.0;
    for server in &fleet.servers {
        sum += server.metric_sum("raidhall_bus_reconnects_total").await;
    }
    sum
}

/// A raid being played, its owner's place, and two members more.
async fn start_observed_group(fleet: &Cluster) -> (RaidGroup, usize, [String; 2]) {
    let party = fleet.start_group(3, &long_raid(3)).await;
    let owner = fleet.owner_of(&party.players[0].rest(), party.raid).await;
    let tokens = [
        party.add_member().await.access_token,
        party.add_member().await.access_token,
    ];
    (party, owner, tokens)
}

/// Asks for something that no owner hears of, and is told so in time.
async fn assert_times_out_unavailable(wire: &mut TestSocket, raid: RaidId, op: &str) {
    let asked = Instant::now();
    let error = wire
        .execute(raid, Some(op), say_command(op))
        .await
        .expect_err("nobody can be asked");
    assert_eq!(
        (error.r#type, error.retry),
        (ErrorType::Unavailable, true),
        "{error:?}"
    );
    assert!(error.retry_after_ms.is_some_and(|ms| ms > 0), "{error:?}");
    assert!(
        asked.elapsed() <= FORWARD_TIMEOUT_MAX,
        "{:?}",
        asked.elapsed()
    );
}

/// Sends a command again until it is acknowledged.
async fn send_until_acknowledged(wire: &mut TestSocket, raid: RaidId, op: &str) -> CommandReply {
    loop {
        match wire.execute(raid, Some(op), say_command(op)).await {
            Err(error) if error.retry => sleep(Duration::from_millis(100)).await,
            answer => return answer,
        }
    }
}

/// Says something again and again for so long, and gives what was acknowledged, and when: each time soon.
async fn say_until(wire: &mut TestSocket, raid: RaidId, until: Instant) -> Vec<(Seq, Instant)> {
    let mut acknowledged = Vec::new();
    while Instant::now() < until {
        let asked = Instant::now();
        let seq = wire.say(raid, "still here").await;
        assert!(
            asked.elapsed() < OWNER_ACK_MAX,
            "an owner's own client waited for {:?}",
            asked.elapsed()
        );
        acknowledged.push((seq, Instant::now()));
        sleep(Duration::from_millis(200)).await;
    }
    acknowledged
}

/// Whether everything was seen in time, by those who knew of the fault since a moment.
async fn assert_seen_in_time(
    lookout: &WatchRecorder,
    acknowledged: &[(Seq, Instant)],
    aware: Option<Instant>,
) {
    for (seq, at) in acknowledged {
        let late = lookout
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
        let fleet = Cluster::start(3).await;
        let (party, owner, [ada, bob]) = start_observed_group(&fleet).await;
        let (raid, edge, other) = (party.raid, (owner + 1) % 3, (owner + 2) % 3);
        let mut own = fleet.open_socket(owner, raid, &ada).await;
        let lookout = WatchRecorder::start(fleet.open_socket(edge, raid, &bob).await);
        let mut asking = fleet.open_socket(other, raid, &bob).await;
        let game = party.start_playing();
        game.wait_for_events(20).await;

        fleet.hold_buses();
        let until = Instant::now() + Duration::from_secs(11);
        let aware = async {
            for server in &fleet.servers {
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
        assert_seen_in_time(&lookout, &acknowledged, Some(aware)).await;
        assert!(lookout.has_no_gap());

        fleet.release_buses();
        let released = Instant::now();
        fleet.wait_until_bus_works().await;
        assert!(
            released.elapsed() < Duration::from_secs(5),
            "{:?}",
            released.elapsed()
        );
        let (seq, _) = send_until_acknowledged(&mut asking, raid, "parked")
            .await
            .expect("it may talk");
        assert_eq!(
            send_until_acknowledged(&mut asking, raid, "parked").await,
            Ok((seq, true))
        );
        let (after, told) = (own.say(raid, "after").await, Instant::now());
        let late = lookout
            .wait_for_event(after)
            .await
            .saturating_duration_since(told);
        assert!(
            late < OWNER_ACK_MAX,
            "the bus works, and brought it {late:?} after its acknowledgement"
        );
        assert_eq!(lookout.went_offline(), [], "nobody has left");
        drop((own, lookout, asking));
        game.stop_and_judge().await;
    })
    .await;
}

#[tokio::test]
async fn a_follower_cut_off_from_redis_sees_all_events_by_polling() {
    with_timeout(async {
        let fleet = Cluster::start(3).await;
        let (party, owner, [ada, bob]) = start_observed_group(&fleet).await;
        let (raid, edge, other) = (party.raid, (owner + 1) % 3, (owner + 2) % 3);
        let mut own = fleet.open_socket(owner, raid, &ada).await;
        let lookout = WatchRecorder::start(fleet.open_socket(edge, raid, &bob).await);
        let (mut asking, mut elsewhere) = (
            fleet.open_socket(edge, raid, &bob).await,
            fleet.open_socket(other, raid, &ada).await,
        );
        let game = party.start_playing();
        game.wait_for_events(20).await;

        fleet.bus_proxies[edge].refuse();
        fleet.servers[edge].wait_for_bus(false).await;
        let aware = Instant::now();
        let waits = assert_times_out_unavailable(&mut asking, raid, "parked");
        let until = aware + Duration::from_secs(6);
        let (acknowledged, ()) = tokio::join!(say_until(&mut own, raid, until), waits);
        assert_seen_in_time(&lookout, &acknowledged, Some(aware)).await;
        elsewhere.say(raid, "the others are connected").await;
        for well in [owner, other] {
            assert_eq!(fleet.servers[well].health().await.bus, "ok");
        }

        fleet.bus_proxies[edge].release();
        fleet.wait_until_bus_works().await;
        send_until_acknowledged(&mut asking, raid, "parked")
            .await
            .expect("it may talk");
        assert_eq!(lookout.went_offline(), [], "nobody has left");
        assert!(lookout.has_no_gap());
        drop((own, lookout, asking, elsewhere));
        game.stop_and_judge().await;
    })
    .await;
}

#[tokio::test]
async fn an_owner_cut_off_from_redis_keeps_its_raid_and_serves_clients() {
    with_timeout(async {
        let fleet = Cluster::start(3).await;
        let (party, owner, [ada, bob]) = start_observed_group(&fleet).await;
        let (raid, edge) = (party.raid, (owner + 1) % 3);
        let rest = party.players[0].rest();
        let mut own = fleet.open_socket(owner, raid, &ada).await;
        let lookout = WatchRecorder::start(fleet.open_socket(edge, raid, &bob).await);
        let mut asking = fleet.open_socket(edge, raid, &bob).await;
        let game = party.start_playing();
        game.wait_for_events(20).await;
        let store = fleet.database.store().await;
        let before = store
            .head(raid)
            .await
            .expect("the store")
            .expect("the raid");

        fleet.bus_proxies[owner].hold(&[ToServer, ToClient]);
        let until = Instant::now() + Duration::from_secs(11);
        let waits = assert_times_out_unavailable(&mut asking, raid, "parked");
        let failing = fleet.servers[owner].wait_for_bus(false);
        let (acknowledged, (), ()) = tokio::join!(say_until(&mut own, raid, until), waits, failing);
        assert_seen_in_time(&lookout, &acknowledged, None).await;
        assert_eq!(
            fleet.servers[edge].health().await.bus,
            "ok",
            "it knows of no fault"
        );

        fleet.release_buses();
        fleet.wait_until_bus_works().await;
        send_until_acknowledged(&mut asking, raid, "parked")
            .await
            .expect("it may talk");
        let after = store
            .head(raid)
            .await
            .expect("the store")
            .expect("the raid");
        assert_eq!((after.owner, after.epoch), (before.owner, before.epoch));
        assert_eq!(fleet.owner_of(&rest, raid).await, owner);
        assert_eq!(lookout.went_offline(), [], "nobody has left");
        assert!(lookout.has_no_gap());
        drop((own, lookout, asking));
        game.stop_and_judge().await;
    })
    .await;
}
