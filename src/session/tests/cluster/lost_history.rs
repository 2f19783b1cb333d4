//! Followers of a raid whose store lacks events which were committed.

use super::*;
use crate::cluster::client::MessageHeader;
use crate::cluster::message::ClusterMessage;
use crate::session::tests::test_instance::counter_value;
use crate::store::Epoch;

#[tokio::test(start_paused = true)]
async fn a_follower_ahead_of_a_new_owner_shows_no_second_history() {
    let cluster = TestCluster::start(3).await;
    let raid = cluster.node(0).create_raid(&[2, 3]).await;
    let (mut watcher, _) = watch(cluster.node(1), raid, 2, None).await;
    for text in ["kept", "lost"] {
        cluster.node(0).say(raid, text, None).await.expect("said");
    }
    assert_eq!(wait_for_events(&mut watcher, 2).await, [6, 7]);
    let before = counter_value("raidhall_history_lost_total");
    let kept = cluster.node(0).ledger(raid).await[..6].to_vec();
    cluster.store.replace_events(raid, kept);
    // The next owner knows of no lost event, and soon has others under the same seqs.
    cluster
        .store
        .force_claim(raid, cluster.node(2).record())
        .expect("a raid");
    for seq in [7, 8] {
        let ack = cluster.node(2).say(raid, "another", None).await;
        assert_eq!(ack.expect("said").seq, Seq(seq));
    }
    sleep(Duration::from_secs(10)).await;
    assert!(counter_value("raidhall_history_lost_total") > before);
    assert_eq!(watcher.take_events(), [] as [u64; 0]);
    for since in [None, Some(7)] {
        let answer = cluster.node(1).watch(raid, 3, since).watch_answer().await;
        assert_eq!(answer.err(), Some(Error::Unavailable));
    }
    let read = cluster.node(1).sessions.read(raid, Caller::Service).await;
    assert_eq!(read.err(), Some(Error::Unavailable));
    let ack = cluster.node(1).say(raid, "to another history", None).await;
    assert_eq!(ack.err(), Some(Error::Unavailable));
    assert_eq!(
        cluster
            .store
            .new_connection()
            .head(raid)
            .await
            .expect("a head")
            .map(|head| head.last_seq),
        Some(Seq(8))
    );
}

#[tokio::test(start_paused = true)]
async fn a_read_of_a_store_behind_the_owner_is_refused() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[]).await;
    cluster.node(0).say(raid, "lost", None).await.expect("said");
    let kept = cluster.node(0).ledger(raid).await[..3].to_vec();
    let events = cluster.store.replace_events(raid, kept);
    let read = || cluster.node(1).sessions.read(raid, Caller::Service);
    assert_eq!(read().await.err(), Some(Error::Unavailable));
    cluster.store.replace_events(raid, events);
    assert_eq!(read().await.map(|raid| raid.seq), Ok(Seq(4)));
}

#[tokio::test(start_paused = true)]
async fn events_read_before_their_owner_is_announced_prove_no_loss() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let (mut watcher, _) = watch(cluster.node(1), raid, 2, None).await;
    // The bus is late: the follower reads the new owner's first event from the store.
    cluster.broker.set_fault(Some(BusFault::DropEveryNth(1)));
    cluster.node(0).say(raid, "new", None).await.expect("said");
    cluster.broker.set_fault(None);
    let (mut other, _) = watch(cluster.node(1), raid, 1, Some(5)).await;
    assert_eq!(watcher.take_events(), [5]);
    let announced = MessageHeader {
        raid,
        epoch: Epoch(2),
        seq: Seq(4),
    };
    let cluster_client = &cluster.node(0).sessions.cluster;
    cluster_client.broadcast(announced, ClusterMessage::Owned);
    sleep(Duration::from_millis(10)).await;
    let read = cluster.node(1).sessions.read(raid, Caller::Service).await;
    assert_eq!(read.map(|raid| raid.seq), Ok(Seq(5)));
    assert_eq!(other.take_events(), [] as [u64; 0]);
}
