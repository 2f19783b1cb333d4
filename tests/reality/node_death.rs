//! A node dies, or sleeps, and its raids go on at another.

use crate::bounded;
use crate::fleet::Fleet;
use crate::party::{Party, long_raid};
use raidhall_loadtest::client::Rest;
use raidhall_protocol::RaidId;
use std::time::Duration;
use tokio::time::sleep;

/// Waits until a raid has gone on by so many events.
async fn goes_on(rest: &Rest, raid: RaidId, events: u64) {
    let seq = || async { rest.raid(raid).await.expect("the raid").seq.0 };
    let from = seq().await;
    while seq().await < from + events {
        sleep(Duration::from_millis(20)).await;
    }
}

/// The instance that owns a raid, by what REST says, and the doors to it through any other.
async fn owner_of(fleet: &Fleet, party: &Party) -> usize {
    let view = party.players[0].rest().raid(party.raid).await.expect("the raid");
    let position =
        fleet.servers.iter().position(|server| view.ws_url.contains(&server.target().address().to_string()));
    position.unwrap_or_else(|| panic!("nobody is at {}", view.ws_url))
}

#[tokio::test]
async fn when_the_owner_is_killed_its_raid_goes_on_and_nobody_elsewhere_is_disconnected() {
    bounded(async {
        let mut fleet = Fleet::of(3).await;
        let party = fleet.at_play(6, &long_raid(6)).await;
        let (raid, owner) = (party.raid, owner_of(&fleet, &party).await);
        let rest = party.players[(owner + 1) % 3].rest().with_patience(Duration::from_secs(30));
        let game = party.play();
        goes_on(&rest, raid, 20).await;
        fleet.servers.remove(owner).kill().await;
        goes_on(&rest, raid, 40).await;
        let party = game.stop().await;
        let elsewhere = party.players.iter().enumerate().filter(|(number, _)| number % 3 != owner);
        for (_, player) in elsewhere {
            assert_eq!(player.tally().reconnects, 0, "{:?}", player.tally());
        }
        let (verdict, _) = party.settle().await;
        verdict.expect_innocent();
        assert!(verdict.acks > 60 && verdict.replays == verdict.resumes, "{verdict:?}");
    })
    .await;
}
