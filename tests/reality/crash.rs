//! `kill -9` in the middle of a raid.

use std::time::Duration;

use raidhall_protocol::rest::NewRaid;
use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::{Codec, Command};
use tokio::time::sleep;

use crate::bounded;
use crate::party::{Party, long_raid, status, target};
use crate::process::Site;
use crate::proxy::Proxy;
use crate::wire::Wire;

async fn a_raid_outlives_its_server(site: Site) {
    let server = site.start().await;
    let door = Proxy::to(server.target().address()).await;
    let raid = NewRaid {
        target_xp: 300,
        target_tasks: 15,
        ..long_raid(4)
    };
    let party = Party::at_play(&target(door.address()), 4, &raid).await;
    let witness = party.witness().await.access_token;
    let (raid, rest) = (party.raid, party.players[0].rest());
    let game = party.play();
    while rest
        .raid(raid)
        .await
        .is_ok_and(|view| view.state.current_tasks < 4)
    {
        sleep(Duration::from_millis(20)).await;
    }
    let seen = Wire::open(server.target(), Codec::Json, &witness)
        .await
        .watch(raid, None)
        .await
        .0;

    server.kill().await;
    door.close(); // the first to come back is the witness
    let server = site.start().await;
    let mut wire = Wire::open(server.target(), Codec::MessagePack, &witness).await;
    let (now, replayed) = wire.watch(raid, Some(seen)).await;
    assert!(
        replayed && now >= seen,
        "watched from {seen}, got {now}, replayed: {replayed}"
    );
    let answer = wire
        .act(
            raid,
            Some("first"),
            Command::Say {
                text: "still here".into(),
            },
        )
        .await;
    let (seq, duplicate) = answer.expect("the first command succeeds");
    assert!(!duplicate);
    assert_eq!(
        wire.seqs(),
        (seen.0 + 1..=seq.0).collect::<Vec<_>>(),
        "no hole and no double"
    );
    let again = wire
        .act(
            raid,
            Some("first"),
            Command::Say {
                text: "again".into(),
            },
        )
        .await;
    assert_eq!(again, Ok((seq, true)));
    drop(wire);

    door.lead_to(server.target().address());
    door.release();
    let party = game.over().await;
    assert!(
        party
            .players
            .iter()
            .all(|player| status(player, raid) == Some(RaidStatus::Completed))
    );
    assert!(
        party
            .players
            .iter()
            .all(|player| player.tally().reconnects > 0)
    );
    let profiles = [party.players[0]
        .rest()
        .me()
        .await
        .expect("a profile")
        .raids_won];
    let (verdict, state) = party.settle().await;
    verdict.expect_innocent();
    assert!(verdict.history > 50 && verdict.resumes >= 4, "{verdict:?}");
    let ranking = state.ranking.expect("a ranking");
    assert_eq!(ranking.len(), 5);
    assert!(
        ranking.is_sorted_by(|a, b| a.xp >= b.xp && a.rank <= b.rank),
        "{ranking:?}"
    );
    assert_eq!(profiles, [1]);
}

#[tokio::test]
async fn a_raid_on_sqlite_outlives_its_killed_server_and_is_won() {
    bounded(async { a_raid_outlives_its_server(Site::sqlite().await).await }).await;
}

#[tokio::test]
async fn a_raid_on_postgres_outlives_its_killed_server_and_is_won() {
    bounded(async { a_raid_outlives_its_server(Site::postgres().await).await }).await;
}

/// What was acknowledged a moment before the kill is there afterwards: the answer is only given when it is durable.
async fn the_last_word_is_kept(site: Site) {
    let mut server = site.start().await;
    let party = Party::gather(server.target(), 1, &long_raid(1)).await;
    let (raid, token) = (party.raid, party.witness().await.access_token);
    for round in 0..5 {
        let mut wire = Wire::open(server.target(), Codec::Json, &token).await;
        let (before, _) = wire.watch(raid, None).await;
        let op = format!("word-{round}");
        let (seq, _) = wire
            .act(raid, Some(&op), Command::Say { text: op.clone() })
            .await
            .expect("said");
        server.kill().await;
        server = site.start().await;
        let mut wire = Wire::open(server.target(), Codec::Json, &token).await;
        assert_eq!(wire.watch(raid, Some(before)).await, (seq, true));
        let again = wire
            .act(raid, Some(&op), Command::Say { text: op.clone() })
            .await;
        assert_eq!(again, Ok((seq, true)));
    }
}

#[tokio::test]
async fn whatever_was_acknowledged_survives_an_immediate_kill_on_sqlite() {
    bounded(async { the_last_word_is_kept(Site::sqlite().await).await }).await;
}

#[tokio::test]
async fn a_raid_that_is_killed_again_and_again_loses_nothing_and_doubles_nothing() {
    bounded(async {
        let site = Site::sqlite().await;
        // Snapshots all the time, and most op keys in the ledger only.
        let settings = [("RAID__SNAPSHOT_MIN_EVENTS", "1"), ("RAID__OP_KEYS", "4")];
        let mut server = site.start_with(&settings).await;
        let door = Proxy::to(server.target().address()).await;
        let party = Party::at_play(&target(door.address()), 4, &long_raid(4)).await;
        let (raid, rest) = (
            party.raid,
            party.players[0]
                .rest()
                .with_patience(Duration::from_secs(30)),
        );
        let game = party.play();
        for round in 0..8 {
            let from = rest.raid(raid).await.expect("the raid").seq.0;
            while rest.raid(raid).await.expect("the raid").seq.0 < from + 5 + round {
                sleep(Duration::from_millis(5)).await;
            }
            server.kill().await;
            server = site.start_with(&settings).await;
            door.lead_to(server.target().address());
        }
        let (verdict, _) = game.stop().await.settle().await;
        verdict.expect_innocent();
        assert!(verdict.resumes >= 4, "{verdict:?}");
    })
    .await;
}
