//! Erasure of a player in a raid that another instance owns.

use raidhall_protocol::EventData;

use super::*;
use crate::raid;
use crate::store::Ledger;

#[tokio::test(start_paused = true)]
async fn an_erasure_by_the_owner_reaches_every_instance() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let (mut at_owner, _) = watch(cluster.node(0), raid, 1, None).await;
    let (mut at_follower, _) = watch(cluster.node(1), raid, 1, None).await;
    cluster
        .node(1)
        .execute(
            raid,
            2,
            Command::Say {
                text: "secret".into(),
            },
            None,
        )
        .await
        .expect("said");
    for watcher in [&mut at_owner, &mut at_follower] {
        assert_eq!(wait_for_events(watcher, 1).await, [5]);
    }
    let erase = || raid::RaidCommand::Erase {
        player: player(2),
        made_raid: false,
    };
    let ack = cluster
        .node(1)
        .sessions
        .execute(raid, erase(), None)
        .await
        .expect("erased");
    let again = cluster
        .node(1)
        .sessions
        .execute(raid, erase(), None)
        .await
        .expect("erased");
    assert_eq!(
        (ack.duplicate, again.seq),
        (false, ack.seq),
        "a second erasure changes nothing"
    );
    let last = cluster.node(0).ledger(raid).await.pop().expect("events");
    assert!(
        matches!(last.data, EventData::PlayerErased { .. }) && last.seq == ack.seq,
        "{last:?}"
    );
    for watcher in [&mut at_owner, &mut at_follower] {
        assert_eq!(wait_for_events(watcher, 2).await, [6, 7]);
    }
    for node in 0..2 {
        let snapshot = cluster
            .node(node)
            .sessions
            .read(raid, Caller::Player(player(1)))
            .await
            .expect("seen");
        assert_eq!(snapshot.state.messages[0].text, "[erased]");
    }
    let stored_snapshot = cluster
        .store
        .new_connection()
        .load(raid, 1)
        .await
        .expect("load")
        .expect("a raid")
        .snapshot;
    assert_eq!(
        stored_snapshot.map(|(seq, _)| seq),
        Some(ack.seq),
        "a new snapshot replaces the one with the erased text"
    );
}
