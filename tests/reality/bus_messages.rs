//! What the bus loses, repeats, reorders and invents: nothing of it is ever wrong at a client.

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

/// How soon the poll of heads heals what nobody knows to be lost.
const REPAIR_MAX: Duration = Duration::from_secs(6);

async fn start_cluster_with_metrics(count: usize) -> Cluster {
    Cluster::start_on(TestDatabase::postgres().await, count, &[METRICS_SETTING]).await
}

#[tokio::test]
async fn a_lost_last_event_message_is_repaired_by_the_poll_of_heads() {
    with_timeout(async {
        let fleet = start_cluster_with_metrics(2).await;
        let party = fleet.start_group(2, &long_raid(2)).await;
        let (raid, rest) = (party.raid, party.players[0].rest());
        let owner = fleet.owner_of(&rest, raid).await;
        let edge = 1 - owner;
        let token = party.add_member().await.access_token;
        let mut own = fleet.open_socket(owner, raid, &token).await;
        let lookout = WatchRecorder::start(fleet.open_socket(edge, raid, &token).await);
        let healed = async || {
            fleet.servers[edge]
                .metric_sum("raidhall_gaps_repaired_total{cause=\"head\"}")
                .await
        };
        let before = healed().await;
        for round in 1..=3 {
            fleet.bus_proxies[edge]
                .filter_responses(without_messages(&format!("raid:{{{raid}}}:events")));
            let seq = own.say(raid, format!("the last word {round}")).await;
            let said = Instant::now();
            while fleet.bus_proxies[edge].filtered_chunks() < round {
                sleep(Duration::from_millis(1)).await;
            }
            fleet.bus_proxies[edge].stop_filtering();
            let late = lookout
                .wait_for_event(seq)
                .await
                .saturating_duration_since(said);
            assert!(late <= REPAIR_MAX, "healed after {late:?}");
            assert_eq!(
                fleet.servers[edge].health().await.bus,
                "ok",
                "it knew of nothing"
            );
        }
        assert_eq!(healed().await - before, 3.0, "it was the poll that healed");
        assert!(lookout.has_no_gap());
        drop((own, lookout));
        settle_and_judge(party).await;
    })
    .await;
}

/// A raid in which nobody played: only what was said counts.
async fn settle_and_judge(party: RaidGroup) {
    let (verdict, _) = party.settle().await;
    verdict.assert_no_violations();
}

#[tokio::test]
async fn an_ack_without_its_event_message_makes_the_follower_catch_up() {
    with_timeout(async {
        let fleet = start_cluster_with_metrics(2).await;
        let party = fleet.start_group(2, &long_raid(2)).await;
        let (raid, rest) = (party.raid, party.players[0].rest());
        let edge = 1 - fleet.owner_of(&rest, raid).await;
        let token = party.add_member().await.access_token;
        let lookout = WatchRecorder::start(fleet.open_socket(edge, raid, &token).await);
        let mut asking = fleet.open_socket(edge, raid, &token).await;
        fleet.bus_proxies[edge]
            .filter_responses(without_messages(&format!("raid:{{{raid}}}:events")));
        for number in 0..10 {
            let asked = Instant::now();
            let seq = asking.say(raid, format!("unheard {number}")).await;
            let seen = lookout
                .wait_for_event(seq)
                .await
                .saturating_duration_since(asked);
            assert!(seen < Duration::from_secs(1), "{seen:?}");
        }
        assert!(fleet.bus_proxies[edge].filtered_chunks() >= 10);
        fleet.bus_proxies[edge].stop_filtering();
        assert!(lookout.has_no_gap());
        drop((asking, lookout));
        settle_and_judge(party).await;
    })
    .await;
}

/// Says again what was said: the newest, and some of what came shortly before, each twice and in any order.
async fn replay_messages(eavesdropper: &BusTap) {
    let mut told = 0;
    loop {
        let heard = eavesdropper.captured();
        let new = heard[told..].iter();
        let lately = heard[told.saturating_sub(1_000)..told].to_vec();
        let old = shuffled(lately).into_iter().take(40);
        let again: Vec<_> = new
            .cloned()
            .chain(old)
            .flat_map(|message| [message.clone(), message])
            .collect();
        told = heard.len();
        if !again.is_empty() {
            eavesdropper.publish(&shuffled(again)).await;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Sealed as they are, they are believed at first; what they say is old.
#[tokio::test]
async fn repeated_and_reordered_bus_messages_change_nothing() {
    with_timeout(async {
        let fleet = start_cluster_with_metrics(3).await;
        let eavesdropper = BusTap::attach(&fleet.redis).await;
        // At two of the three; the last one is the guest's.
        let homes = fleet.servers[..2]
            .iter()
            .map(|server| *server.target())
            .collect();
        let homes = Targets::new(homes).expect("two");
        let party = RaidGroup::start_on(&homes, 4, &long_raid(4)).await;
        let raid = party.raid;
        let (witness, guest) = (party.add_member().await, party.add_member().await);
        let mut lookouts = Vec::new();
        for place in 0..2 {
            lookouts.push(WatchRecorder::start(
                fleet.open_socket(place, raid, &witness.access_token).await,
            ));
        }
        let visit = fleet.open_socket(2, raid, &guest.access_token).await;
        let store = fleet.database.store().await;
        let before = store
            .head(raid)
            .await
            .expect("the store")
            .expect("the raid");
        let game = party.start_playing();
        let playing = async {
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(12) {
                game.wait_for_events(20).await;
            }
            let came: Vec<_> = lookouts.iter().map(WatchRecorder::came_online).collect();
            assert!(
                lookouts
                    .iter()
                    .all(|lookout| lookout.went_offline().is_empty()),
                "nobody has left"
            );
            // From here on there are messages that say otherwise than what is.
            drop(visit);
            let left = Instant::now();
            while lookouts
                .iter()
                .any(|lookout| lookout.went_offline() != [guest.player.id])
            {
                assert!(
                    left.elapsed() < Duration::from_secs(15),
                    "the guest was said to be there for too long"
                );
                sleep(Duration::from_millis(20)).await;
            }
            let gone = Instant::now();
            while gone.elapsed() < Duration::from_secs(6) {
                game.wait_for_events(20).await;
            }
            for (lookout, came) in lookouts.iter().zip(came) {
                assert_eq!(
                    (lookout.went_offline(), lookout.came_online()),
                    (vec![guest.player.id], came),
                    "and stays away"
                );
                assert!(lookout.has_no_gap());
            }
            drop(lookouts);
            game.stop_and_judge().await;
        };
        tokio::select! {
            () = playing => {}
            () = replay_messages(&eavesdropper) => unreachable!("it repeats for ever"),
        }
        let after = store
            .head(raid)
            .await
            .expect("the store")
            .expect("the raid");
        assert_eq!((after.owner, after.epoch), (before.owner, before.epoch));
        assert!(
            eavesdropper.captured().len() > 200,
            "there was something to repeat"
        );
        for server in &fleet.servers {
            assert_eq!(server.health().await.bus, "ok");
            assert_eq!(
                server.metric_sum("raidhall_bus_reconnects_total").await,
                0.0,
                "and proved nothing wrong"
            );
            for cause in ["seal", "malformed", "newer"] {
                let series = format!("raidhall_bus_rejected_total{{cause=\"{cause}\"}}");
                assert_eq!(
                    server.metric_sum(&series).await,
                    0.0,
                    "each is genuine, but old"
                );
            }
        }
    })
    .await;
}

/// What a message becomes on its way through bad hands.
fn corrupt((channel, message): CapturedMessage, number: usize) -> CapturedMessage {
    let spoilt = match number % 5 {
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
    (channel, spoilt)
}

#[tokio::test]
async fn garbage_on_the_bus_is_counted_and_changes_nothing() {
    with_timeout(async {
        let fleet = start_cluster_with_metrics(3).await;
        let eavesdropper = BusTap::attach(&fleet.redis).await;
        let party = fleet.start_group(6, &long_raid(6)).await;
        let raid = party.raid;
        let game = party.start_playing();
        // By the instances: the eavesdropper hears everything too.
        let mut heard = 0;
        for round in 0..10 {
            game.wait_for_events(15).await;
            let overheard = shuffled(eavesdropper.captured()).into_iter().take(100);
            let overheard = overheard
                .filter(|(_, message)| !message.is_empty())
                .enumerate();
            let mut garbage: Vec<_> = overheard
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
            heard += eavesdropper
                .publish(&garbage)
                .await
                .into_iter()
                .map(|heard| heard - 1)
                .sum::<u64>();
        }
        // All but what looked like a proof of the bus, which is told apart before.
        let counted = async || {
            let mut rejected = 0.0;
            for server in &fleet.servers {
                rejected += server.metric_sum("raidhall_bus_rejected_total").await;
            }
            rejected >= heard as f64 * 0.9
        };
        let all_counted = async {
            while !counted().await {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(20), all_counted)
            .await
            .expect("garbage is counted");
        assert!(heard > 1_000, "{heard} pieces of garbage were heard");
        game.stop_and_judge().await;
        for server in &fleet.servers {
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
        let fleet = start_cluster_with_metrics(2).await;
        let party = fleet.start_group(4, &long_raid(4)).await;
        let raid = party.raid;
        let edge = 1 - fleet.owner_of(&party.players[0].rest(), raid).await;
        fleet.bus_proxies[edge]
            .filter_responses(with_messages_swapped(&format!("raid:{{{raid}}}:events")));
        let game = party.start_playing();
        game.wait_for_events(100).await;
        let gaps = fleet.servers[edge]
            .metric_sum("raidhall_gaps_repaired_total{cause=\"gap\"}")
            .await;
        assert!(gaps >= 5.0, "{gaps} gaps were seen and repaired");
        fleet.bus_proxies[edge].stop_filtering();
        game.stop_and_judge().await;
    })
    .await;
}
