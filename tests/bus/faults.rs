//! A bus whose server dies, stalls or cannot be reached: it notices, says so, and heals.

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
    let (mut hearing, speaking) = TestBus::connect_pair(&server).await;
    let raids: Vec<_> = (1..=1_200).map(events_channel).collect();
    hearing.subscribe(&raids).await;
    hearing.bus.unsubscribe(&[events_channel(3)]);
    server.kill().await;
    hearing.wait_until_proven(false).await;
    assert_eq!(
        hearing.bus.subscribe(&[live_channel(1)]).await,
        Err(BusDown),
        "it stays wanted"
    );
    hearing.bus.unsubscribe(&[events_channel(2)]);
    server.restart().await;
    assert_eq!(hearing.next_delivery().await, BusInput::LostAll);
    hearing.wait_until_proven(true).await;
    speaking.wait_until_proven(true).await;
    for gone in [events_channel(2), events_channel(3)] {
        assert_eq!(
            speaking.bus.publish_counted(gone, number_message(0)).await,
            Some(0)
        );
    }
    speaking.wait_for_subscribers(live_channel(1), 1).await;
    assert_eq!(hearing.next_message().await.0, live_channel(1));
    for channel in [
        events_channel(1),
        events_channel(600),
        events_channel(1_200),
    ] {
        assert_eq!(
            speaking
                .bus
                .publish_counted(channel, number_message(1))
                .await,
            Some(1)
        );
        assert_eq!(
            hearing.next_delivery().await,
            BusInput::Message(channel, number_message(1))
        );
    }
}

#[tokio::test]
async fn the_bus_survives_twenty_redis_restarts() {
    let mut server = RedisProcess::start().await;
    let (mut hearing, speaking) = TestBus::connect_pair(&server).await;
    for raid in 1..=20 {
        let _ = hearing
            .bus
            .subscribe(&[events_channel(raid), live_channel(raid)])
            .await;
        hearing.bus.unsubscribe(&[live_channel(raid)]);
        server.restart().await;
    }
    hearing.subscribe(&[events_channel(21)]).await;
    for raid in 1..=21 {
        speaking.wait_for_subscribers(live_channel(raid), 0).await;
        speaking
            .wait_for_delivery_to(&mut hearing, events_channel(raid))
            .await;
    }
}

#[tokio::test]
async fn a_cut_redis_connection_is_reopened_at_once() {
    let server = RedisProcess::start().await;
    let proxy = Proxy::to(server.address()).await;
    let mut hearing = TestBus::connect(&format!("redis://{}", proxy.address())).await;
    let speaking = TestBus::connect(&server.url()).await;
    hearing.subscribe(&[events_channel(1)]).await;
    let cut = Instant::now();
    proxy.cut();
    assert_eq!(hearing.next_delivery().await, BusInput::LostAll);
    assert!(
        cut.elapsed() < Duration::from_secs(2),
        "{:?}",
        cut.elapsed()
    );
    speaking
        .wait_for_delivery_to(&mut hearing, events_channel(1))
        .await;
}

#[tokio::test]
async fn an_unreachable_redis_is_detected_within_seven_seconds() {
    let server = RedisProcess::start().await;
    let proxy = Proxy::to(server.address()).await;
    let mut hearing = TestBus::connect(&format!("redis://{}", proxy.address())).await;
    let speaking = TestBus::connect(&server.url()).await;
    hearing.subscribe(&[events_channel(1)]).await;
    let held = Instant::now();
    proxy.hold(&BOTH_DIRECTIONS);
    hearing.wait_until_proven(false).await;
    assert!(
        held.elapsed() < Duration::from_secs(7),
        "{:?}",
        held.elapsed()
    );
    assert_eq!(
        hearing.bus.subscribe(&[events_channel(2)]).await,
        Err(BusDown)
    );
    proxy.release();
    assert_eq!(
        hearing.next_delivery().await,
        BusInput::LostAll,
        "nothing that was held is delivered late"
    );
    hearing.wait_until_proven(true).await;
    speaking
        .wait_for_delivery_to(&mut hearing, events_channel(1))
        .await;
    speaking
        .wait_for_delivery_to(&mut hearing, events_channel(2))
        .await;
}

#[tokio::test]
async fn an_unconfirmed_subscription_fails_and_ends_the_connection() {
    let server = RedisProcess::start().await;
    let proxy = Proxy::to(server.address()).await;
    let station = TestBus::connect(&format!("redis://{}", proxy.address())).await;
    proxy.hold(&[Direction::ToClient]);
    let asked = Instant::now();
    assert_eq!(
        station.bus.subscribe(&[events_channel(1)]).await,
        Err(BusDown)
    );
    assert!(
        asked.elapsed() < Duration::from_millis(1_900),
        "{:?}",
        asked.elapsed()
    );
    station.wait_until_proven(false).await;
    proxy.release();
    station.wait_until_proven(true).await;
    station.wait_for_subscribers(events_channel(1), 1).await;
}

#[tokio::test]
async fn publishing_to_a_stalled_redis_never_waits_and_counts_drops() {
    let server = RedisProcess::start().await;
    let station = TestBus::connect(&server.url()).await;
    let (full, down) = (dropped_count("queue_full"), dropped_count("down"));
    server.pause();
    let begun = Instant::now();
    let accepted = (0..20_000)
        .filter(|number| {
            station
                .bus
                .publish(events_channel(1), number_message(*number))
        })
        .count();
    assert!(
        begun.elapsed() < Duration::from_millis(900),
        "{:?}",
        begun.elapsed()
    );
    assert!((8_192..=8_192 + 128).contains(&accepted), "{accepted}");
    assert!(dropped_count("queue_full") >= full + 20_000 - 8_192 - 128);
    assert_eq!(
        station
            .bus
            .publish_counted(events_channel(1), number_message(0))
            .await,
        None
    );
    station.wait_until_proven(false).await;
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "a failed publication is a doubt: {:?}",
        begun.elapsed()
    );
    assert!(!station.bus.publish(events_channel(1), Bytes::new()));
    assert!(
        dropped_count("down") > down + 8_000,
        "what waited was dropped"
    );
    server.resume();
    station.wait_until_proven(true).await;
    station.wait_for_subscribers(station.inbox, 1).await;
}

#[tokio::test]
async fn the_bus_waits_for_a_redis_that_starts_later() {
    let mut server = RedisProcess::start().await;
    server.kill().await;
    let station = TestBus::new(&server.url(), false, None);
    assert_eq!(
        station.bus.subscribe(&[events_channel(1)]).await,
        Err(BusDown)
    );
    assert!(!station.bus.publish(events_channel(1), number_message(1)));
    server.restart().await;
    let mut station = station.wait_until_ready().await;
    let speaking = TestBus::connect(&server.url()).await;
    speaking
        .wait_for_delivery_to(&mut station, events_channel(1))
        .await;
    assert_eq!(station.bus.down_cause(), None);
}
