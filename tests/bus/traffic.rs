//! A bus that works: what is published arrives, in order, where it was wanted.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::FutureExt;
use raidhall::cluster::bus::{Bus, BusDown, BusInput, Channel};

use crate::server::RedisServer;
use crate::station::{Station, events, live, numbered};

#[tokio::test]
async fn messages_of_a_channel_arrive_in_the_order_of_publishing() {
    let server = RedisServer::start().await;
    let (mut hearing, speaking) = Station::pair(&server).await;
    let channels = [events(1), live(1), events(2), hearing.inbox];
    hearing.subscribed(&channels).await;
    for number in 0..1_000 {
        for channel in channels {
            assert!(speaking.bus.publish(channel, numbered(number)));
        }
    }
    let mut next: HashMap<Channel, u64> = HashMap::new();
    for _ in 0..4_000 {
        let (channel, message) = hearing.message().await;
        let number = next.entry(channel).or_default();
        assert_eq!(message, numbered(*number), "on {channel}");
        *number += 1;
    }
}

#[tokio::test]
async fn a_counted_message_does_not_overtake_what_was_published_before() {
    let server = RedisServer::start().await;
    let (mut hearing, speaking) = Station::pair(&server).await;
    hearing.subscribed(&[events(1)]).await;
    for number in 0..500 {
        assert!(speaking.bus.publish(events(1), numbered(number)));
    }
    assert_eq!(
        speaking.bus.publish_counted(events(1), numbered(500)).await,
        Some(1)
    );
    for number in 0..=500 {
        assert_eq!(hearing.message().await, (events(1), numbered(number)));
    }
}

#[tokio::test]
async fn a_subscription_is_confirmed_before_subscribe_returns() {
    let server = RedisServer::start().await;
    let (hearing, speaking) = Station::pair(&server).await;
    for raid in 1..=100 {
        assert_eq!(
            speaking
                .bus
                .publish_counted(events(raid), numbered(0))
                .await,
            Some(0)
        );
        assert_eq!(hearing.bus.subscribe(&[events(raid)]).await, Ok(()));
        assert_eq!(
            speaking
                .bus
                .publish_counted(events(raid), numbered(1))
                .await,
            Some(1)
        );
    }
}

#[tokio::test]
async fn many_subscriptions_at_once_are_all_confirmed() {
    let server = RedisServer::start().await;
    let (hearing, speaking) = Station::pair(&server).await;
    let subscribing = (1..=2_000).map(|raid| {
        let bus = hearing.bus.clone();
        async move { bus.subscribe(&[events(raid), live(raid)]).await }
    });
    let confirmed = futures_util::future::join_all(subscribing).await;
    assert!(confirmed.iter().all(|confirmed| *confirmed == Ok(())));
    for raid in [1, 1_000, 2_000] {
        assert_eq!(
            speaking.bus.publish_counted(live(raid), numbered(1)).await,
            Some(1)
        );
    }
}

#[tokio::test]
async fn of_subscribing_and_unsubscribing_the_last_wins() {
    let server = RedisServer::start().await;
    let (hearing, speaking) = Station::pair(&server).await;
    for _ in 0..20 {
        for _ in 0..20 {
            let _ = hearing.bus.subscribe(&[events(1)]).now_or_never();
            hearing.bus.unsubscribe(&[events(1)]);
            tokio::task::yield_now().await;
        }
        speaking.reaches(events(1), 0).await;
        for _ in 0..20 {
            hearing.bus.unsubscribe(&[events(1)]);
            let _ = hearing.bus.subscribe(&[events(1)]).now_or_never();
            tokio::task::yield_now().await;
        }
        assert_eq!(hearing.bus.subscribe(&[events(1)]).await, Ok(()));
        assert_eq!(
            speaking.bus.publish_counted(events(1), numbered(1)).await,
            Some(1)
        );
        hearing.bus.unsubscribe(&[events(1)]);
    }
}

#[tokio::test]
async fn the_own_inbox_is_subscribed_and_stays_so() {
    let server = RedisServer::start().await;
    let (mut hearing, speaking) = Station::pair(&server).await;
    hearing.bus.unsubscribe(&[hearing.inbox]);
    hearing.subscribed(&[events(1)]).await;
    assert_eq!(
        speaking
            .bus
            .publish_counted(hearing.inbox, numbered(1))
            .await,
        Some(1)
    );
    assert_eq!(hearing.message().await, (hearing.inbox, numbered(1)));
}

#[tokio::test]
async fn nobody_else_can_prove_the_bus_or_reach_its_listener_with_a_proof() {
    let server = RedisServer::start().await;
    let (mut hearing, speaking) = Station::pair(&server).await;
    let forged = Bytes::from(
        [
            &b"\0\0raidhall proof\0"[..],
            &[7; 16],
            &u64::MAX.to_be_bytes(),
        ]
        .concat(),
    );
    assert_eq!(
        speaking.bus.publish_counted(hearing.inbox, forged).await,
        Some(1)
    );
    assert_eq!(
        speaking
            .bus
            .publish_counted(hearing.inbox, numbered(1))
            .await,
        Some(1)
    );
    assert_eq!(
        hearing.next().await,
        BusInput::Message(hearing.inbox, numbered(1)),
        "the first that is seen"
    );
}

#[tokio::test]
async fn when_the_driver_ends_so_does_everything() {
    let server = RedisServer::start().await;
    let mut station = Station::up(&server.url()).await;
    station.subscribed(&[events(1)]).await;
    let mut own = server.connect().await;
    station.driver.abort();
    assert_eq!(station.deliveries.next().await, None);
    station.proven(false).await;
    assert_eq!(station.bus.subscribe(&[events(2)]).await, Err(BusDown));
    assert!(!station.bus.publish(events(1), numbered(1)));
    assert_eq!(
        station.bus.publish_counted(events(1), numbered(1)).await,
        None
    );
    loop {
        let mut list = redis::cmd("CLIENT");
        let clients: String = list
            .arg("LIST")
            .query_async(&mut own)
            .await
            .expect("ask Redis");
        if clients.lines().count() == 1 {
            break;
        }
    }
}
