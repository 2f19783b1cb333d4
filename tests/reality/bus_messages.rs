//! Bus messages that are lost, repeated, reordered or forged never show a client anything wrong.

use std::time::Duration;

use raidhall_loadtest::targets::Targets;
use tokio::time::{Instant, sleep, timeout};

use crate::bus_tap::{BusTap, CapturedMessage, shuffled};
use crate::cluster::Cluster;
use crate::process::TestDatabase;
use crate::raid_group::{RaidGroup, long_raid};
use crate::redis::{with_messages_swapped, without_messages};
use crate::telemetry::METRICS_SETTING;
use crate::watch_recorder::WatchRecorder;
use crate::with_timeout;

/// How soon the poll of heads repairs a loss that no instance has noticed.
const REPAIR_MAX: Duration = Duration::from_secs(6);

async fn start_cluster_with_metrics(count: usize) -> Cluster {
    Cluster::start_on(TestDatabase::postgres().await, count, &[METRICS_SETTING]).await
}

#[tokio::test]
async fn a_lost_last_event_message_is_repaired_by_the_poll_of_heads() {
    with_timeout(async {
        let cluster = start_cluster_with_metrics(2).await;
        let group = cluster.start_group(2, &long_raid(2)).await;
        let raid = group.raid;
        let rest = group.players[0].rest();
        let owner = cluster.owner_of(&rest, raid).await;
        let follower = 1 - owner;
        let token = group.add_member().await.access_token;
        let mut own = cluster.open_socket(owner, raid, &token).await;
        let recorder = WatchRecorder::start(cluster.open_socket(follower, raid, &token).await);
        let repaired = async || {
            cluster.servers[follower]
                .metric_sum("raidhall_gaps_repaired_total{cause=\"head\"}")
                .await
        };
        let before = repaired().await;
        for round in 1..=3 {
            cluster.bus_proxies[follower]
                .filter_responses(without_messages(&format!("raid:{{{raid}}}:events")));
            let seq = own.say(raid, format!("the last word {round}")).await;
            let acknowledged_at = Instant::now();
            while cluster.bus_proxies[follower].filtered_chunks() < round {
                sleep(Duration::from_millis(1)).await;
            }
            cluster.bus_proxies[follower].stop_filtering();
            let late = recorder
                .wait_for_event(seq)
                .await
                .saturating_duration_since(acknowledged_at);
            assert!(late <= REPAIR_MAX, "repaired after {late:?}");
            assert_eq!(
                cluster.servers[follower].health().await.bus,
                "ok",
                "the follower has noticed no fault"
            );
        }
        assert_eq!(
            repaired().await - before,
            3.0,
            "each loss was repaired by the poll of heads"
        );
        assert!(recorder.has_no_gap());
        drop((own, recorder));
        settle_and_judge(group).await;
    })
    .await;
}

/// Settles a raid that no bot played, and judges the few messages sent by hand.
async fn settle_and_judge(group: RaidGroup) {
    let (verdict, _) = group.settle().await;
    verdict.assert_no_violations();
}

#[tokio::test]
async fn an_ack_without_its_event_message_makes_the_follower_catch_up() {
    with_timeout(async {
        let cluster = start_cluster_with_metrics(2).await;
        let group = cluster.start_group(2, &long_raid(2)).await;
        let raid = group.raid;
        let rest = group.players[0].rest();
        let follower = 1 - cluster.owner_of(&rest, raid).await;
        let token = group.add_member().await.access_token;
        let recorder = WatchRecorder::start(cluster.open_socket(follower, raid, &token).await);
        let mut asking = cluster.open_socket(follower, raid, &token).await;
        cluster.bus_proxies[follower]
            .filter_responses(without_messages(&format!("raid:{{{raid}}}:events")));
        for number in 0..10 {
            let asked = Instant::now();
            let seq = asking.say(raid, format!("without event {number}")).await;
            let seen = recorder
                .wait_for_event(seq)
                .await
                .saturating_duration_since(asked);
            assert!(seen < Duration::from_secs(1), "{seen:?}");
        }
        assert!(cluster.bus_proxies[follower].filtered_chunks() >= 10);
        cluster.bus_proxies[follower].stop_filtering();
        assert!(recorder.has_no_gap());
        drop((asking, recorder));
        settle_and_judge(group).await;
    })
    .await;
}

/// Publishes captured messages again: the newest, and some of those shortly before, each twice and
/// in random order.
async fn replay_messages(tap: &BusTap) {
    let mut replayed_count = 0;
    loop {
        let received = tap.captured();
        let new = received[replayed_count..].iter();
        let recent = received[replayed_count.saturating_sub(1_000)..replayed_count].to_vec();
        let old = shuffled(recent).into_iter().take(40);
        let again: Vec<_> = new
            .cloned()
            .chain(old)
            .flat_map(|message| [message.clone(), message])
            .collect();
        replayed_count = received.len();
        if !again.is_empty() {
            tap.publish(&shuffled(again)).await;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// The replayed messages carry valid seals, so only their content shows that they are old.
#[tokio::test]
async fn repeated_and_reordered_bus_messages_change_nothing() {
    with_timeout(async {
        let cluster = start_cluster_with_metrics(3).await;
        let tap = BusTap::attach(&cluster.redis).await;
        // Players at two of the three nodes; the guest is at the last one.
        let homes = cluster.servers[..2]
            .iter()
            .map(|server| *server.target())
            .collect();
        let homes = Targets::new(homes).expect("two");
        let group = RaidGroup::start_on(&homes, 4, &long_raid(4)).await;
        let raid = group.raid;
        let witness = group.add_member().await;
        let guest = group.add_member().await;
        let mut recorders = Vec::new();
        for place in 0..2 {
            recorders.push(WatchRecorder::start(
                cluster
                    .open_socket(place, raid, &witness.access_token)
                    .await,
            ));
        }
        let visit = cluster.open_socket(2, raid, &guest.access_token).await;
        let store = cluster.database.store().await;
        let before = store
            .head(raid)
            .await
            .expect("the store")
            .expect("the raid");
        let game = group.start_playing();
        let playing = async {
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(12) {
                game.wait_for_events(20).await;
            }
            let came: Vec<_> = recorders.iter().map(WatchRecorder::came_online).collect();
            assert!(
                recorders
                    .iter()
                    .all(|recorder| recorder.went_offline().is_empty()),
                "no member has left"
            );
            // From here on, replayed messages contradict the truth: they say that the guest is
            // online.
            drop(visit);
            let left = Instant::now();
            while recorders
                .iter()
                .any(|recorder| recorder.went_offline() != [guest.player.id])
            {
                assert!(
                    left.elapsed() < Duration::from_secs(15),
                    "the guest was shown online for too long"
                );
                sleep(Duration::from_millis(20)).await;
            }
            let gone = Instant::now();
            while gone.elapsed() < Duration::from_secs(6) {
                game.wait_for_events(20).await;
            }
            for (recorder, came) in recorders.iter().zip(came) {
                assert_eq!(
                    (recorder.went_offline(), recorder.came_online()),
                    (vec![guest.player.id], came),
                    "the guest stays offline"
                );
                assert!(recorder.has_no_gap());
            }
            drop(recorders);
            game.stop_and_judge().await;
        };
        tokio::select! { biased;
            () = playing => {}
            () = replay_messages(&tap) => unreachable!("the replay never ends"),
        }
        let after = store
            .head(raid)
            .await
            .expect("the store")
            .expect("the raid");
        assert_eq!((after.owner, after.epoch), (before.owner, before.epoch));
        assert!(tap.captured().len() > 200, "there were messages to replay");
        for server in &cluster.servers {
            assert_eq!(server.health().await.bus, "ok");
            assert_eq!(
                server.metric_sum("raidhall_bus_reconnects_total").await,
                0.0,
                "no instance reconnected to the bus"
            );
            for cause in ["seal", "malformed", "newer"] {
                let series = format!("raidhall_bus_rejected_total{{cause=\"{cause}\"}}");
                assert_eq!(
                    server.metric_sum(&series).await,
                    0.0,
                    "each replayed message is genuine, but old"
                );
            }
        }
    })
    .await;
}

/// Returns a captured message that is damaged in one of five ways.
fn corrupt((channel, message): CapturedMessage, number: usize) -> CapturedMessage {
    let damaged = match number % 5 {
        0 => message[..message.len() / 2].to_vec(),
        1 => Vec::new(),
        2 => (0..message.len())
            .map(|at| (at * 31 + number * 17) as u8)
            .collect(),
        3 => [message, vec![0; 64]].concat(),
        _ => {
            let mut flipped = message;
            let place = number * 13 % flipped.len();
            flipped[place] ^= 1 << (number % 8);
            flipped
        }
    };
    (channel, damaged)
}

#[tokio::test]
async fn garbage_on_the_bus_is_counted_and_changes_nothing() {
    with_timeout(async {
        let cluster = start_cluster_with_metrics(3).await;
        let tap = BusTap::attach(&cluster.redis).await;
        let group = cluster.start_group(6, &long_raid(6)).await;
        let raid = group.raid;
        let game = group.start_playing();
        // Receipts by instances; the tap itself receives everything too.
        let mut received = 0;
        for round in 0..10 {
            game.wait_for_events(15).await;
            let captured = shuffled(tap.captured()).into_iter().take(100);
            let captured = captured
                .filter(|(_, message)| !message.is_empty())
                .enumerate();
            let mut garbage: Vec<_> = captured
                .map(|(number, message)| corrupt(message, number + round))
                .collect();
            let inbox = garbage
                .iter()
                .map(|(channel, _)| channel)
                .find(|name| name.starts_with("instance:"));
            let inbox = inbox.expect("an inbox").clone();
            for channel in [
                format!("raid:{{{raid}}}:events"),
                format!("raid:{{{raid}}}:live"),
                inbox,
            ] {
                garbage.push((channel, vec![round as u8; 1024 * 1024]));
            }
            received += tap
                .publish(&garbage)
                .await
                .into_iter()
                .map(|receivers| receivers - 1)
                .sum::<u64>();
        }
        // All but the garbage that resembles a probe, which is sorted out before it is counted.
        let counted = async || {
            let mut rejected = 0.0;
            for server in &cluster.servers {
                rejected += server.metric_sum("raidhall_bus_rejected_total").await;
            }
            rejected >= received as f64 * 0.9
        };
        let all_counted = async {
            while !counted().await {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(20), all_counted)
            .await
            .expect("garbage is counted");
        assert!(
            received > 1_000,
            "{received} pieces of garbage were received"
        );
        game.stop_and_judge().await;
        for server in &cluster.servers {
            assert_eq!(
                server.metric_sum("raidhall_bus_reconnects_total").await,
                0.0
            );
            assert_eq!(
                server.metric_sum("raidhall_session_reloads_total").await,
                0.0
            );
        }
    })
    .await;
}

#[tokio::test]
async fn swapped_bus_messages_are_put_in_order_from_the_store() {
    with_timeout(async {
        let cluster = start_cluster_with_metrics(2).await;
        let group = cluster.start_group(4, &long_raid(4)).await;
        let raid = group.raid;
        let follower = 1 - cluster.owner_of(&group.players[0].rest(), raid).await;
        cluster.bus_proxies[follower]
            .filter_responses(with_messages_swapped(&format!("raid:{{{raid}}}:events")));
        let game = group.start_playing();
        game.wait_for_events(100).await;
        let gaps = cluster.servers[follower]
            .metric_sum("raidhall_gaps_repaired_total{cause=\"gap\"}")
            .await;
        assert!(gaps >= 5.0, "{gaps} gaps were seen and repaired");
        cluster.bus_proxies[follower].stop_filtering();
        game.stop_and_judge().await;
    })
    .await;
}
