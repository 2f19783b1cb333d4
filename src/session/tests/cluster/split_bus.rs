//! Instances whose buses are connected to two servers, each of which considers itself the only one.

use super::*;

#[tokio::test(start_paused = true)]
async fn instances_on_two_servers_of_the_bus_meet_again_by_themselves() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    cluster.say(1, raid, "before", "a").await.expect("said");
    let other_server = InProcessBroker::default();
    let bus = cluster.node(1).bus.as_ref().expect("a bus");
    bus.connect_to(&other_server);
    let began = Instant::now();
    cluster.say(1, raid, "after", "b").await.expect("said");
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(cluster.chat_messages(raid).await, ["before", "after"]);
}
