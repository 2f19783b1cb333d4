//! `kill -9` of a server in the middle of a raid.

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

async fn assert_raid_survives_kill(database: TestDatabase) {
    let server = database.start().await;
    let proxy = Proxy::to(server.target().address()).await;
    let raid = NewRaid {
        target_xp: 300,
        target_tasks: 15,
        ..long_raid(4)
    };
    let group = RaidGroup::start(&target(proxy.address()), 4, &raid).await;
    let witness = group.add_member().await.access_token;
    let raid = group.raid;
    let rest = group.players[0].rest();
    let game = group.start_playing();
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
    proxy.refuse(); // the witness shall be the first to reconnect
    let server = database.start().await;
    let mut socket =
        TestSocket::connect_authenticated(server.target(), Codec::MessagePack, &witness).await;
    let (now, replayed) = socket.watch(raid, Some(seen)).await;
    assert!(
        replayed && now >= seen,
        "watched from {seen}, got {now}, replayed: {replayed}"
    );
    let answer = socket
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
        socket.received_seqs(),
        (seen.0 + 1..=seq.0).collect::<Vec<_>>(),
        "no hole and no duplicate"
    );
    let again = socket
        .execute(
            raid,
            Some("first"),
            Command::Say {
                text: "again".into(),
            },
        )
        .await;
    assert_eq!(again, Ok((seq, true)));
    drop(socket);

    proxy.set_server(server.target().address());
    proxy.release();
    let group = game.wait_for_end().await;
    assert!(
        group
            .players
            .iter()
            .all(|player| raid_status(player, raid) == Some(RaidStatus::Completed))
    );
    assert!(
        group
            .players
            .iter()
            .all(|player| player.counts().reconnects > 0)
    );
    let rest = group.players[0].rest();
    let raids_won = async || rest.profile().await.expect("a profile").raids_won;
    while raids_won().await == 0 {
        sleep(Duration::from_millis(20)).await;
    }
    let (verdict, state) = group.settle().await;
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
    assert_eq!(raids_won().await, 1);
}

#[tokio::test]
async fn a_raid_on_sqlite_survives_its_killed_server_and_is_won() {
    with_timeout(async { assert_raid_survives_kill(TestDatabase::sqlite().await).await }).await;
}

#[tokio::test]
async fn a_raid_on_postgres_survives_its_killed_server_and_is_won() {
    with_timeout(async { assert_raid_survives_kill(TestDatabase::postgres().await).await }).await;
}

/// An event acknowledged a moment before the kill is there afterwards: an ack is sent only when the
/// event is durable.
async fn assert_acknowledged_is_durable(database: TestDatabase) {
    let mut server = database.start().await;
    let group = RaidGroup::create(server.target(), 1, &long_raid(1)).await;
    let raid = group.raid;
    let token = group.add_member().await.access_token;
    for round in 0..5 {
        let mut socket =
            TestSocket::connect_authenticated(server.target(), Codec::Json, &token).await;
        let (before, _) = socket.watch(raid, None).await;
        let op = format!("word-{round}");
        let (seq, _) = socket
            .execute(raid, Some(&op), Command::Say { text: op.clone() })
            .await
            .expect("said");
        server.kill().await;
        server = database.start().await;
        let mut socket =
            TestSocket::connect_authenticated(server.target(), Codec::Json, &token).await;
        assert_eq!(socket.watch(raid, Some(before)).await, (seq, true));
        let again = socket
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
        let database = TestDatabase::sqlite().await;
        // Snapshots after every event, and most op keys in the ledger only.
        let settings = [("RAID__SNAPSHOT_MIN_EVENTS", "1"), ("RAID__OP_KEYS", "4")];
        let mut server = database.start_with(&settings).await;
        let proxy = Proxy::to(server.target().address()).await;
        let group = RaidGroup::start(&target(proxy.address()), 4, &long_raid(4)).await;
        let raid = group.raid;
        let rest = group.players[0]
            .rest()
            .with_retry_timeout(Duration::from_secs(30));
        let game = group.start_playing();
        for round in 0..8 {
            let from = rest.raid(raid).await.expect("the raid").seq.0;
            while rest.raid(raid).await.expect("the raid").seq.0 < from + 5 + round {
                sleep(Duration::from_millis(5)).await;
            }
            server.kill().await;
            server = database.start_with(&settings).await;
            proxy.set_server(server.target().address());
        }
        let (verdict, _) = game.stop().await.settle().await;
        verdict.assert_no_violations();
        assert!(verdict.resumes >= 4, "{verdict:?}");
    })
    .await;
}
