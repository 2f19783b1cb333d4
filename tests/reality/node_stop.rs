//! A node is stopped: idle or busy, it ends in time, and clients notice no more than a reconnect.

use std::time::Duration;

use raidhall_protocol::{Codec, EventData, ServerMessage};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, OFFLINE_NOTICE_MAX};
use crate::process::TestServer;
use crate::raid_group::{RaidGroup, long_raid};
use crate::test_socket::TestSocket;
use crate::with_timeout;

/// How long a node without clients may take to stop.
const END_MAX: Duration = Duration::from_secs(5);
const PACE: Duration = Duration::from_millis(100);

/// Stops a node, and asserts that it exits with success in time.
async fn assert_stops_in_time(server: &mut TestServer) {
    let stopped_at = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(Duration::from_secs(40)).await, Some(0));
    assert!(
        stopped_at.elapsed() < END_MAX,
        "ended after {:?}",
        stopped_at.elapsed()
    );
}

#[tokio::test]
async fn an_unused_node_stops_at_once_every_time() {
    with_timeout(async {
        let mut cluster = Cluster::start(2).await;
        for _ in 0..8 {
            assert_stops_in_time(&mut cluster.servers[1]).await;
            cluster.restart(1).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_node_whose_players_have_left_stops_at_once() {
    with_timeout(async {
        let mut cluster = Cluster::start(2).await;
        for node in [0, 1, 0, 1] {
            let group = cluster.start_group(4, &long_raid(4)).await;
            play_and_disconnect(group).await;
            assert_stops_in_time(&mut cluster.servers[node]).await;
            cluster.restart(node).await;
        }
    })
    .await;
}

/// Plays a little and disconnects all players.
async fn play_and_disconnect(group: RaidGroup) {
    let game = group.start_playing_at_pace(4, PACE);
    game.wait_for_events(10).await;
    game.stop().await.settle().await.0.assert_no_violations();
}

#[tokio::test]
async fn nodes_stopped_at_the_same_time_all_stop_at_once() {
    with_timeout(async {
        for _ in 0..3 {
            let cluster = Cluster::start(3).await;
            let group = cluster.start_group(3, &long_raid(3)).await;
            play_and_disconnect(group).await;
            let ending = cluster.servers.into_iter().map(|mut server| {
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
        let mut cluster = Cluster::start(3).await;
        let mut group = cluster.start_group(6, &long_raid(6)).await;
        let raid = group.raid;
        let owner = 0;
        let leader = group.players[0].player_ref().id;
        let rest = group.players[1].rest();
        assert_eq!(cluster.owner_of(&rest, raid).await, owner);
        group.wait_until_all_online().await;
        let from = group.clock.now();
        let token = group.add_member().await.access_token;
        let mut idle =
            TestSocket::connect_authenticated(cluster.servers[owner].target(), Codec::Json, &token)
                .await;
        let game = group.start_playing_at_pace(6, PACE);
        game.wait_for_events(20).await;

        let stopped_at = Instant::now();
        cluster.servers[owner].signal(Signal::TERM);
        assert_eq!(idle.wait_for_close().await.code, Some(4200));
        let bye = |message: &ServerMessage| matches!(message, ServerMessage::Bye { .. });
        assert!(
            idle.received.iter().any(|message| bye(message)),
            "{:?}",
            idle.received
        );
        assert_eq!(
            cluster.servers[owner]
                .exit_code(Duration::from_secs(40))
                .await,
            Some(0)
        );
        // The 2 s over which clients are disconnected come first.
        assert!(
            stopped_at.elapsed() < Duration::from_secs(2) + END_MAX,
            "{:?}",
            stopped_at.elapsed()
        );
        assert_ne!(cluster.owner_of(&rest, raid).await, owner);
        game.wait_for_events(20).await;
        sleep(OFFLINE_NOTICE_MAX).await;
        let to = game.clock.now();

        let group = game.stop().await;
        for (number, player) in group.players.iter().enumerate() {
            let moved = u64::from(number % 3 == owner);
            let counts = player.counts();
            let drained = counts.ends.get("4200").copied().unwrap_or(0);
            assert_eq!(
                (counts.reconnects, drained),
                (moved, moved),
                "player {number}: {counts:?}"
            );
        }
        let settled = group.settle_with_logs().await;
        settled.verdict.assert_no_violations();
        assert_eq!(
            settled.verdict.replays, settled.verdict.resumes,
            "{:?}",
            settled.verdict
        );
        let errors = settled.check_presence(from, to);
        assert_eq!(
            (
                errors.absences,
                errors.false_offline,
                errors.false_leader_changes
            ),
            (0, 0, 0),
            "{errors:?}"
        );
        let changes = |event: &&raidhall_protocol::Event| {
            matches!(event.data, EventData::LeaderChanged { .. })
        };
        assert_eq!(settled.server_record.events.iter().find(changes), None);
        assert_eq!(settled.server_record.state.leader, Some(leader));
    })
    .await;
}
