//! `kill -9` in the middle of a raid.

use std::time::Duration;

use raidhall_protocol::rest::NewRaid;
use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::{Codec, Command};
use tokio::time::sleep;

use crate::process::TestDatabase;
use crate::proxy::Proxy;
use crate::raid_group::{RaidGroup, long_raid, raid_status, target};
use crate::test_socket::TestSocket;
use crate::with_timeout;

async fn assert_raid_survives_kill(site: TestDatabase) {
    let server = site.start().await;
    let door = Proxy::to(server.target().address()).await;
    let raid = NewRaid {
        target_xp: 300,
        target_tasks: 15,
        ..long_raid(4)
    };
    let party = RaidGroup::start(&target(door.address()), 4, &raid).await;
    let witness = party.add_member().await.access_token;
    let (raid, rest) = (party.raid, party.players[0].rest());
    let game = party.start_playing();
    while rest
        .raid(raid)
        .await
        .is_ok_and(|view| view.state.current_tasks < 4)
    {
        sleep(Duration::from_millis(20)).await;
    }
    let seen = TestSocket::connect_authenticated(server.target(), Codec::Json, &witness)
        .await
        .watch(raid, None)
        .await
        .0;

    server.kill().await;
    door.refuse(); // the first to come back is the witness
    let server = site.start().await;
    let mut wire =
        TestSocket::connect_authenticated(server.target(), Codec::MessagePack, &witness).await;
    let (now, replayed) = wire.watch(raid, Some(seen)).await;
    assert!(
        replayed && now >= seen,
        "watched from {seen}, got {now}, replayed: {replayed}"
    );
    let answer = wire
        .execute(
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
        wire.received_seqs(),
        (seen.0 + 1..=seq.0).collect::<Vec<_>>(),
        "no hole and no double"
    );
    let again = wire
        .execute(
            raid,
            Some("first"),
            Command::Say {
                text: "again".into(),
            },
        )
        .await;
    assert_eq!(again, Ok((seq, true)));
    drop(wire);

    door.set_server(server.target().address());
    door.release();
    let party = game.wait_for_end().await;
    assert!(
        party
            .players
            .iter()
            .all(|player| raid_status(player, raid) == Some(RaidStatus::Completed))
    );
    assert!(
        party
            .players
            .iter()
            .all(|player| player.counts().reconnects > 0)
    );
    let profiles = [party.players[0]
        .rest()
        .profile()
        .await
        .expect("a profile")
        .raids_won];
    let (verdict, state) = party.settle().await;
    verdict.assert_no_violations();
    assert!(
        verdict.history_events > 50 && verdict.resumes >= 4,
        "{verdict:?}"
    );
    let ranking = state.ranking.expect("a ranking");
    assert_eq!(ranking.len(), 5);
    assert!(
        ranking.is_sorted_by(|a, b| a.xp >= b.xp && a.rank <= b.rank),
        "{ranking:?}"
    );
    assert_eq!(profiles, [1]);
}

#[tokio::test]
async fn a_raid_on_sqlite_survives_its_killed_server_and_is_won() {
    with_timeout(async { assert_raid_survives_kill(TestDatabase::sqlite().await).await }).await;
}

#[tokio::test]
async fn a_raid_on_postgres_survives_its_killed_server_and_is_won() {
    with_timeout(async { assert_raid_survives_kill(TestDatabase::postgres().await).await }).await;
}

/// What was acknowledged a moment before the kill is there afterwards: the answer is only given when it is durable.
async fn assert_acknowledged_is_durable(site: TestDatabase) {
    let mut server = site.start().await;
    let party = RaidGroup::create(server.target(), 1, &long_raid(1)).await;
    let (raid, token) = (party.raid, party.add_member().await.access_token);
    for round in 0..5 {
        let mut wire =
            TestSocket::connect_authenticated(server.target(), Codec::Json, &token).await;
        let (before, _) = wire.watch(raid, None).await;
        let op = format!("word-{round}");
        let (seq, _) = wire
            .execute(raid, Some(&op), Command::Say { text: op.clone() })
            .await
            .expect("said");
        server.kill().await;
        server = site.start().await;
        let mut wire =
            TestSocket::connect_authenticated(server.target(), Codec::Json, &token).await;
        assert_eq!(wire.watch(raid, Some(before)).await, (seq, true));
        let again = wire
            .execute(raid, Some(&op), Command::Say { text: op.clone() })
            .await;
        assert_eq!(again, Ok((seq, true)));
    }
}

#[tokio::test]
async fn acknowledged_commands_survive_an_immediate_kill_on_sqlite() {
    with_timeout(async { assert_acknowledged_is_durable(TestDatabase::sqlite().await).await })
        .await;
}

#[tokio::test]
async fn repeated_kills_lose_and_duplicate_no_event() {
    with_timeout(async {
        let site = TestDatabase::sqlite().await;
        // Snapshots all the time, and most op keys in the ledger only.
        let settings = [("RAID__SNAPSHOT_MIN_EVENTS", "1"), ("RAID__OP_KEYS", "4")];
        let mut server = site.start_with(&settings).await;
        let door = Proxy::to(server.target().address()).await;
        let party = RaidGroup::start(&target(door.address()), 4, &long_raid(4)).await;
        let (raid, rest) = (
            party.raid,
            party.players[0]
                .rest()
                .with_retry_timeout(Duration::from_secs(30)),
        );
        let game = party.start_playing();
        for round in 0..8 {
            let from = rest.raid(raid).await.expect("the raid").seq.0;
            while rest.raid(raid).await.expect("the raid").seq.0 < from + 5 + round {
                sleep(Duration::from_millis(5)).await;
            }
            server.kill().await;
            server = site.start_with(&settings).await;
            door.set_server(server.target().address());
        }
        let (verdict, _) = game.stop().await.settle().await;
        verdict.assert_no_violations();
        assert!(verdict.resumes >= 4, "{verdict:?}");
    })
    .await;
}
