//! A node is told to stop: idle or at work, it ends in time, and nobody notices more than a reconnect.

use std::time::Duration;

use raidhall_protocol::{Codec, EventData, ServerMessage};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::bounded;
use crate::fleet::{AFTERMATH, Fleet};
use crate::party::{Party, long_raid};
use crate::process::Server;
use crate::wire::Wire;

/// How long the end of a node may take that has nobody to let go.
const END_MAX: Duration = Duration::from_secs(5);
const PACE: Duration = Duration::from_millis(100);

/// Tells a node to stop; it must end in time, and say that all went well.
async fn ends_in_time(server: &mut Server) {
    let told = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(Duration::from_secs(40)).await, Some(0));
    assert!(told.elapsed() < END_MAX, "ended after {:?}", told.elapsed());
}

#[tokio::test]
async fn a_node_that_did_nothing_ends_at_once_again_and_again() {
    bounded(async {
        let mut fleet = Fleet::of(2).await;
        for _ in 0..8 {
            ends_in_time(&mut fleet.servers[1]).await;
            fleet.restart(1).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_node_whose_players_have_left_ends_at_once_whether_it_owned_their_raid_or_not() {
    bounded(async {
        let mut fleet = Fleet::of(2).await;
        for node in [0, 1, 0, 1] {
            let party = fleet.at_play(4, &long_raid(4)).await;
            goes_on_and_leaves(party).await;
            ends_in_time(&mut fleet.servers[node]).await;
            fleet.restart(node).await;
        }
    })
    .await;
}

/// Plays a little, and goes home.
async fn goes_on_and_leaves(party: Party) {
    let game = party.play_gently(4, PACE);
    game.goes_on(10).await;
    game.stop().await.settle().await.0.expect_innocent();
}

#[tokio::test]
async fn nodes_that_are_told_to_stop_at_the_same_moment_end_at_once_all_of_them() {
    bounded(async {
        for _ in 0..3 {
            let fleet = Fleet::of(3).await;
            let party = fleet.at_play(3, &long_raid(3)).await;
            goes_on_and_leaves(party).await;
            let ending = fleet
                .servers
                .into_iter()
                .map(|mut server| tokio::spawn(async move { ends_in_time(&mut server).await }));
            for ending in ending.collect::<Vec<_>>() {
                ending.await.expect("a node");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn when_the_owner_drains_its_raid_moves_its_clients_move_and_nobody_is_shown_gone() {
    bounded(async {
        let mut fleet = Fleet::of(3).await;
        let mut party = fleet.at_play(6, &long_raid(6)).await;
        let (raid, owner, leader) = (party.raid, 0, party.players[0].who().id);
        let rest = party.players[1].rest();
        assert_eq!(fleet.owner_of(&rest, raid).await, owner);
        party.meet().await;
        let from = party.clock.now();
        let token = party.witness().await.access_token;
        let mut idle = Wire::open(fleet.servers[owner].target(), Codec::Json, &token).await;
        let game = party.play_gently(6, PACE);
        game.goes_on(20).await;

        let told = Instant::now();
        fleet.servers[owner].signal(Signal::TERM);
        assert_eq!(idle.end().await.code, Some(4200));
        let bye = |message: &ServerMessage| matches!(message, ServerMessage::Bye { .. });
        assert!(
            idle.heard.iter().any(|message| bye(message)),
            "{:?}",
            idle.heard
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
        game.goes_on(20).await;
        sleep(AFTERMATH).await;
        let to = game.clock.now();

        let party = game.stop().await;
        for (number, player) in party.players.iter().enumerate() {
            let (moved, tally) = (u64::from(number % 3 == owner), player.tally());
            let told = tally.ends.get("4200").copied().unwrap_or(0);
            assert_eq!(
                (tally.reconnects, told),
                (moved, moved),
                "player {number}: {tally:?}"
            );
        }
        let settled = party.settle_in_full().await;
        settled.verdict.expect_innocent();
        assert_eq!(
            settled.verdict.replays, settled.verdict.resumes,
            "{:?}",
            settled.verdict
        );
        let flaps = settled.flaps(from, to);
        assert_eq!(
            (flaps.absences, flaps.shown_gone, flaps.deposed),
            (0, 0, 0),
            "{flaps:?}"
        );
        let changes = |event: &&raidhall_protocol::Event| {
            matches!(event.data, EventData::LeaderChanged { .. })
        };
        assert_eq!(settled.truth.events.iter().find(changes), None);
        assert_eq!(settled.truth.state.leader, Some(leader));
    })
    .await;
}
