//! A node is told to stop: idle or at work, it ends in time, and nobody notices more than a reconnect.

use std::time::Duration;

use raidhall_protocol::{Codec, EventData, ServerMessage};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, OFFLINE_NOTICE_MAX};
use crate::process::TestServer;
use crate::raid_group::{RaidGroup, long_raid};
use crate::test_socket::TestSocket;
use crate::with_timeout;

/// How long the end of a node may take that has nobody to let go.
const END_MAX: Duration = Duration::from_secs(5);
const PACE: Duration = Duration::from_millis(100);

/// Tells a node to stop; it must end in time, and say that all went well.
async fn assert_stops_in_time(server: &mut TestServer) {
    let told = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(Duration::from_secs(40)).await, Some(0));
    assert!(told.elapsed() < END_MAX, "ended after {:?}", told.elapsed());
}

#[tokio::test]
async fn an_unused_node_stops_at_once_every_time() {
    with_timeout(async {
        let mut fleet = Cluster::start(2).await;
        for _ in 0..8 {
            assert_stops_in_time(&mut fleet.servers[1]).await;
            fleet.restart(1).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_node_whose_players_have_left_stops_at_once() {
    with_timeout(async {
        let mut fleet = Cluster::start(2).await;
        for node in [0, 1, 0, 1] {
            let party = fleet.start_group(4, &long_raid(4)).await;
            play_and_disconnect(party).await;
            assert_stops_in_time(&mut fleet.servers[node]).await;
            fleet.restart(node).await;
        }
    })
    .await;
}

/// Plays a little, and goes home.
async fn play_and_disconnect(party: RaidGroup) {
    let game = party.start_playing_at_pace(4, PACE);
    game.wait_for_events(10).await;
    game.stop().await.settle().await.0.assert_no_violations();
}

#[tokio::test]
async fn nodes_stopped_at_the_same_time_all_stop_at_once() {
    with_timeout(async {
        for _ in 0..3 {
            let fleet = Cluster::start(3).await;
            let party = fleet.start_group(3, &long_raid(3)).await;
            play_and_disconnect(party).await;
            let ending = fleet.servers.into_iter().map(|mut server| {
                tokio::spawn(async move { assert_stops_in_time(&mut server).await })
            });
            for ending in ending.collect::<Vec<_>>() {
                ending.await.expect("a node");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_draining_owner_moves_raid_and_clients_without_presence_changes() {
    with_timeout(async {
        let mut fleet = Cluster::start(3).await;
        let mut party = fleet.start_group(6, &long_raid(6)).await;
        let (raid, owner, leader) = (party.raid, 0, party.players[0].player_ref().id);
        let rest = party.players[1].rest();
        assert_eq!(fleet.owner_of(&rest, raid).await, owner);
        party.wait_until_all_online().await;
        let from = party.clock.now();
        let token = party.add_member().await.access_token;
        let mut idle =
            TestSocket::connect_authenticated(fleet.servers[owner].target(), Codec::Json, &token)
                .await;
        let game = party.start_playing_at_pace(6, PACE);
        game.wait_for_events(20).await;

        let told = Instant::now();
        fleet.servers[owner].signal(Signal::TERM);
        assert_eq!(idle.wait_for_close().await.code, Some(4200));
        let bye = |message: &ServerMessage| matches!(message, ServerMessage::Bye { .. });
        assert!(
            idle.received.iter().any(|message| bye(message)),
            "{:?}",
            idle.received
        );
        assert_eq!(
            fleet.servers[owner]
                .exit_code(Duration::from_secs(40))
                .await,
            Some(0)
        );
        // The 2 s over which clients are let go come first.
        assert!(
            told.elapsed() < Duration::from_secs(2) + END_MAX,
            "{:?}",
            told.elapsed()
        );
        assert_ne!(fleet.owner_of(&rest, raid).await, owner);
        game.wait_for_events(20).await;
        sleep(OFFLINE_NOTICE_MAX).await;
        let to = game.clock.now();

        let party = game.stop().await;
        for (number, player) in party.players.iter().enumerate() {
            let (moved, tally) = (u64::from(number % 3 == owner), player.counts());
            let told = tally.ends.get("4200").copied().unwrap_or(0);
            assert_eq!(
                (tally.reconnects, told),
                (moved, moved),
                "player {number}: {tally:?}"
            );
        }
        let settled = party.settle_with_logs().await;
        settled.verdict.assert_no_violations();
        assert_eq!(
            settled.verdict.replays, settled.verdict.resumes,
            "{:?}",
            settled.verdict
        );
        let flaps = settled.check_presence(from, to);
        assert_eq!(
            (
                flaps.absences,
                flaps.false_offline,
                flaps.false_leader_changes
            ),
            (0, 0, 0),
            "{flaps:?}"
        );
        let changes = |event: &&raidhall_protocol::Event| {
            matches!(event.data, EventData::LeaderChanged { .. })
        };
        assert_eq!(settled.server_record.events.iter().find(changes), None);
        assert_eq!(settled.server_record.state.leader, Some(leader));
    })
    .await;
}
