//! A Redis server that dies, stalls or becomes unreachable: the bus detects it, reports it and
//! recovers.

use std::time::Duration;

use bytes::Bytes;
use raidhall::cluster::bus::{Bus, BusDown, BusInput};
use tokio::time::Instant;

use crate::proxy::{Direction, Proxy};
use crate::server::RedisProcess;
use crate::test_bus::{TestBus, dropped_count, events_channel, live_channel, number_message};

const BOTH_DIRECTIONS: [Direction; 2] = [Direction::ToServer, Direction::ToClient];

#[tokio::test]
async fn a_redis_restart_restores_subscriptions_and_reports_a_loss() {
    let mut server = RedisProcess::start().await;
    let (mut receiver, sender) = TestBus::connect_pair(&server).await;
    let raids: Vec<_> = (1..=1_200).map(events_channel).collect();
    receiver.subscribe(&raids).await;
    receiver.bus.unsubscribe(&[events_channel(3)]);
    server.kill().await;
    receiver.wait_until_health_is(false).await;
    assert_eq!(
        receiver.bus.subscribe(&[live_channel(1)]).await,
        Err(BusDown),
        "it is subscribed after the restart"
    );
    receiver.bus.unsubscribe(&[events_channel(2)]);
    server.restart().await;
    assert_eq!(receiver.next_input().await, BusInput::LostAll);
    receiver.wait_until_health_is(true).await;
    sender.wait_until_health_is(true).await;
    for gone in [events_channel(2), events_channel(3)] {
        assert_eq!(
            sender.bus.publish_counted(gone, number_message(0)).await,
            Some(0)
        );
    }
    sender.wait_for_subscribers(live_channel(1), 1).await;
    assert_eq!(receiver.next_message().await.0, live_channel(1));
    for channel in [
        events_channel(1),
        events_channel(600),
        events_channel(1_200),
    ] {
        assert_eq!(
            sender.bus.publish_counted(channel, number_message(1)).await,
            Some(1)
        );
        assert_eq!(
            receiver.next_input().await,
            BusInput::Message(channel, number_message(1))
        );
    }
}

#[tokio::test]
async fn the_bus_survives_twenty_redis_restarts() {
    let mut server = RedisProcess::start().await;
    let (mut receiver, sender) = TestBus::connect_pair(&server).await;
    for raid in 1..=20 {
        let _ = receiver
            .bus
            .subscribe(&[events_channel(raid), live_channel(raid)])
            .await;
        receiver.bus.unsubscribe(&[live_channel(raid)]);
        server.restart().await;
    }
    receiver.subscribe(&[events_channel(21)]).await;
    for raid in 1..=21 {
        sender.wait_for_subscribers(live_channel(raid), 0).await;
        sender
            .wait_for_delivery_to(&mut receiver, events_channel(raid))
            .await;
    }
}

#[tokio::test]
async fn a_cut_redis_connection_is_reopened_at_once() {
    let server = RedisProcess::start().await;
    let proxy = Proxy::to(server.address()).await;
    let mut receiver = TestBus::connect(&format!("redis://{}", proxy.address())).await;
    let sender = TestBus::connect(&server.url()).await;
    receiver.subscribe(&[events_channel(1)]).await;
    let cut = Instant::now();
    proxy.cut();
    assert_eq!(receiver.next_input().await, BusInput::LostAll);
    assert!(
        cut.elapsed() < Duration::from_secs(2),
        "{:?}",
        cut.elapsed()
    );
    sender
        .wait_for_delivery_to(&mut receiver, events_channel(1))
        .await;
}

#[tokio::test]
async fn an_unreachable_redis_is_detected_within_seven_seconds() {
    let server = RedisProcess::start().await;
    let proxy = Proxy::to(server.address()).await;
    let mut receiver = TestBus::connect(&format!("redis://{}", proxy.address())).await;
    let sender = TestBus::connect(&server.url()).await;
    receiver.subscribe(&[events_channel(1)]).await;
    let held = Instant::now();
    proxy.hold(&BOTH_DIRECTIONS);
    receiver.wait_until_health_is(false).await;
    assert!(
        held.elapsed() < Duration::from_secs(7),
        "{:?}",
        held.elapsed()
    );
    assert_eq!(
        receiver.bus.subscribe(&[events_channel(2)]).await,
        Err(BusDown)
    );
    proxy.release();
    assert_eq!(
        receiver.next_input().await,
        BusInput::LostAll,
        "no held message is delivered late"
    );
    receiver.wait_until_health_is(true).await;
    sender
        .wait_for_delivery_to(&mut receiver, events_channel(1))
        .await;
    sender
        .wait_for_delivery_to(&mut receiver, events_channel(2))
        .await;
}

#[tokio::test]
async fn a_master_that_becomes_a_replica_is_given_up_within_five_seconds() {
    let server = RedisProcess::start().await;
    let other = RedisProcess::start().await;
    let receiver = TestBus::connect(&server.url()).await;
    let mut session = server.connect().await;
    let mut replicate = async |host: &str, port: &str| {
        let mut command = redis::cmd("REPLICAOF");
        command.arg(host).arg(port);
        let done: String = command.query_async(&mut session).await.expect("replicate");
        assert_eq!(done, "OK");
    };
    let began = Instant::now();
    replicate("127.0.0.1", &other.address().port().to_string()).await;
    receiver.wait_until_health_is(false).await;
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    replicate("NO", "ONE").await;
    receiver.wait_until_health_is(true).await;
}

#[tokio::test]
async fn an_unconfirmed_subscription_fails_and_ends_the_connection() {
    let server = RedisProcess::start().await;
    let proxy = Proxy::to(server.address()).await;
    let test_bus = TestBus::connect(&format!("redis://{}", proxy.address())).await;
    proxy.hold(&[Direction::ToClient]);
    let began = Instant::now();
    assert_eq!(
        test_bus.bus.subscribe(&[events_channel(1)]).await,
        Err(BusDown)
    );
    assert!(
        began.elapsed() < Duration::from_millis(1_900),
        "{:?}",
        began.elapsed()
    );
    test_bus.wait_until_health_is(false).await;
    proxy.release();
    test_bus.wait_until_health_is(true).await;
    test_bus.wait_for_subscribers(events_channel(1), 1).await;
}

#[tokio::test]
async fn publishing_to_a_stalled_redis_never_waits_and_counts_drops() {
    let server = RedisProcess::start().await;
    let test_bus = TestBus::connect(&server.url()).await;
    let full = dropped_count("queue_full");
    let down = dropped_count("down");
    server.pause();
    let began = Instant::now();
    let accepted = (0..20_000)
        .filter(|number| {
            test_bus
                .bus
                .publish(events_channel(1), number_message(*number))
        })
        .count();
    assert!(
        began.elapsed() < Duration::from_millis(900),
        "{:?}",
        began.elapsed()
    );
    assert!((8_192..=8_192 + 128).contains(&accepted), "{accepted}");
    assert!(dropped_count("queue_full") >= full + 20_000 - 8_192 - 128);
    assert_eq!(
        test_bus
            .bus
            .publish_counted(events_channel(1), number_message(0))
            .await,
        None
    );
    test_bus.wait_until_health_is(false).await;
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "a failed publication is a doubt: {:?}",
        began.elapsed()
    );
    assert!(!test_bus.bus.publish(events_channel(1), Bytes::new()));
    assert!(
        dropped_count("down") > down + 8_000,
        "the queued messages were dropped"
    );
    server.resume();
    test_bus.wait_until_health_is(true).await;
    test_bus.wait_for_subscribers(test_bus.inbox, 1).await;
}

#[tokio::test]
async fn the_bus_waits_for_a_redis_that_starts_later() {
    let mut server = RedisProcess::start().await;
    server.kill().await;
    let test_bus = TestBus::new(&server.url(), false, None);
    assert_eq!(
        test_bus.bus.subscribe(&[events_channel(1)]).await,
        Err(BusDown)
    );
    assert!(!test_bus.bus.publish(events_channel(1), number_message(1)));
    server.restart().await;
    let mut test_bus = test_bus.wait_until_ready().await;
    let sender = TestBus::connect(&server.url()).await;
    sender
        .wait_for_delivery_to(&mut test_bus, events_channel(1))
        .await;
    assert_eq!(test_bus.bus.down_cause(), None);
}

#[tokio::test]
async fn a_reconnect_leads_to_the_server_that_the_address_names_by_then() {
    let old = RedisProcess::start().await;
    let new = RedisProcess::start().await;
    let proxy = Proxy::to(old.address()).await;
    let mut receiver = TestBus::connect(&format!("redis://{}", proxy.address())).await;
    receiver.subscribe(&[events_channel(1)]).await;
    let sender = TestBus::connect(&new.url()).await;
    proxy.set_server(new.address());
    receiver.bus.reconnect();
    assert_eq!(receiver.next_input().await, BusInput::LostAll);
    sender
        .wait_for_delivery_to(&mut receiver, events_channel(1))
        .await;
}

#[tokio::test]
async fn a_reconnect_while_the_bus_is_down_does_not_end_the_next_connection() {
    let mut server = RedisProcess::start().await;
    let mut receiver = TestBus::connect(&server.url()).await;
    server.kill().await;
    receiver.wait_until_health_is(false).await;
    receiver.bus.reconnect();
    server.restart().await;
    assert_eq!(receiver.next_input().await, BusInput::LostAll);
    receiver.wait_until_health_is(true).await;
    receiver.subscribe(&[events_channel(1)]).await;
    receiver.wait_for_subscribers(events_channel(1), 1).await;
    assert!(
        matches!(receiver.next_input().await, BusInput::Message(..)),
        "the connection has lasted"
    );
}
