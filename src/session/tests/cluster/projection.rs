//! What players gain from raids of one instance, while another one may be the projector.

use super::*;
use crate::store::{Accounts, PlayerStreams};

/// Waits until a player's stream says that they joined a raid, and returns how long it took.
async fn wait_for_raid(store: &Faulty<MemoryStore>, raid: RaidId) -> Duration {
    let began = Instant::now();
    let is_joined = async || {
        let events = store.stream_events(player(1), Seq::ZERO, 100).await;
        let mut events = events.expect("a stream").into_iter();
        events.any(|event| event.cause.is_some_and(|cause| cause.raid == raid))
    };
    while !is_joined().await {
        sleep(Duration::from_millis(1)).await;
    }
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn commits_of_every_instance_take_effect_at_once() {
    let cluster = TestCluster::start(2).await;
    let ada = cluster.store.create_player("Ada").await.expect("create");
    assert_eq!(ada.id, player(1));
    for node in &cluster.nodes {
        // The projector has found nothing for so long that it looks every two seconds, and not now.
        sleep(Duration::from_millis(60_700)).await;
        let raid = node.create_raid(&[]).await;
        let waited = wait_for_raid(&cluster.store, raid).await;
        assert!(waited < Duration::from_millis(50), "{waited:?}");
    }
}
