//! A bus that works: what is published arrives, in order, where it was wanted.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::FutureExt;
use raidhall::cluster::bus::{Bus, BusDown, BusInput, Channel};

use crate::server::RedisProcess;
use crate::test_bus::{TestBus, events_channel, live_channel, number_message};

#[tokio::test]
async fn messages_of_a_channel_arrive_in_the_order_of_publishing() {
    let server = RedisProcess::start().await;
    let (mut hearing, speaking) = TestBus::connect_pair(&server).await;
    let channels = [
        events_channel(1),
        live_channel(1),
        events_channel(2),
        hearing.inbox,
    ];
    hearing.subscribe(&channels).await;
    for number in 0..1_000 {
        for channel in channels {
            assert!(speaking.bus.publish(channel, number_message(number)));
        }
    }
    let mut next: HashMap<Channel, u64> = HashMap::new();
    for _ in 0..4_000 {
        let (channel, message) = hearing.next_message().await;
        let number = next.entry(channel).or_default();
        assert_eq!(message, number_message(*number), "on {channel}");
        *number += 1;
    }
}

#[tokio::test]
async fn a_counted_message_does_not_overtake_what_was_published_before() {
    let server = RedisProcess::start().await;
    let (mut hearing, speaking) = TestBus::connect_pair(&server).await;
    hearing.subscribe(&[events_channel(1)]).await;
    for number in 0..500 {
        assert!(
            speaking
                .bus
                .publish(events_channel(1), number_message(number))
        );
    }
    assert_eq!(
        speaking
            .bus
            .publish_counted(events_channel(1), number_message(500))
            .await,
        Some(1)
    );
    for number in 0..=500 {
        assert_eq!(
            hearing.next_message().await,
            (events_channel(1), number_message(number))
        );
    }
}

#[tokio::test]
async fn a_subscription_is_confirmed_before_subscribe_returns() {
    let server = RedisProcess::start().await;
    let (hearing, speaking) = TestBus::connect_pair(&server).await;
    for raid in 1..=100 {
        assert_eq!(
            speaking
                .bus
                .publish_counted(events_channel(raid), number_message(0))
                .await,
            Some(0)
        );
        assert_eq!(hearing.bus.subscribe(&[events_channel(raid)]).await, Ok(()));
        assert_eq!(
            speaking
                .bus
                .publish_counted(events_channel(raid), number_message(1))
                .await,
            Some(1)
        );
    }
}

#[tokio::test]
async fn many_subscriptions_at_once_are_all_confirmed() {
    let server = RedisProcess::start().await;
    let (hearing, speaking) = TestBus::connect_pair(&server).await;
    let subscribing = (1..=2_000).map(|raid| {
        let bus = hearing.bus.clone();
        async move {
            bus.subscribe(&[events_channel(raid), live_channel(raid)])
                .await
        }
    });
    let confirmed = futures_util::future::join_all(subscribing).await;
    assert!(confirmed.iter().all(|confirmed| *confirmed == Ok(())));
    for raid in [1, 1_000, 2_000] {
        assert_eq!(
            speaking
                .bus
                .publish_counted(live_channel(raid), number_message(1))
                .await,
            Some(1)
        );
    }
}

#[tokio::test]
async fn the_last_of_subscribe_and_unsubscribe_wins() {
    let server = RedisProcess::start().await;
    let (hearing, speaking) = TestBus::connect_pair(&server).await;
    for _ in 0..20 {
        for _ in 0..20 {
            let _ = hearing.bus.subscribe(&[events_channel(1)]).now_or_never();
            hearing.bus.unsubscribe(&[events_channel(1)]);
            tokio::task::yield_now().await;
        }
        speaking.wait_for_subscribers(events_channel(1), 0).await;
        for _ in 0..20 {
            hearing.bus.unsubscribe(&[events_channel(1)]);
            let _ = hearing.bus.subscribe(&[events_channel(1)]).now_or_never();
            tokio::task::yield_now().await;
        }
        assert_eq!(hearing.bus.subscribe(&[events_channel(1)]).await, Ok(()));
        assert_eq!(
            speaking
                .bus
                .publish_counted(events_channel(1), number_message(1))
                .await,
            Some(1)
        );
        hearing.bus.unsubscribe(&[events_channel(1)]);
    }
}

#[tokio::test]
async fn an_instance_stays_subscribed_to_its_own_inbox() {
    let server = RedisProcess::start().await;
    let (mut hearing, speaking) = TestBus::connect_pair(&server).await;
    hearing.bus.unsubscribe(&[hearing.inbox]);
    hearing.subscribe(&[events_channel(1)]).await;
    assert_eq!(
        speaking
            .bus
            .publish_counted(hearing.inbox, number_message(1))
            .await,
        Some(1)
    );
    assert_eq!(
        hearing.next_message().await,
        (hearing.inbox, number_message(1))
    );
}

#[tokio::test]
async fn a_forged_bus_proof_is_dropped_and_not_delivered() {
    let server = RedisProcess::start().await;
    let (mut hearing, speaking) = TestBus::connect_pair(&server).await;
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
            .publish_counted(hearing.inbox, number_message(1))
            .await,
        Some(1)
    );
    assert_eq!(
        hearing.next_delivery().await,
        BusInput::Message(hearing.inbox, number_message(1)),
        "the first that is seen"
    );
}

#[tokio::test]
async fn the_end_of_the_driver_ends_the_bus() {
    let server = RedisProcess::start().await;
    let mut station = TestBus::connect(&server.url()).await;
    station.subscribe(&[events_channel(1)]).await;
    let mut own = server.connect().await;
    station.driver.abort();
    assert_eq!(station.deliveries.next().await, None);
    station.wait_until_proven(false).await;
    assert_eq!(
        station.bus.subscribe(&[events_channel(2)]).await,
        Err(BusDown)
    );
    assert!(!station.bus.publish(events_channel(1), number_message(1)));
    assert_eq!(
        station
            .bus
            .publish_counted(events_channel(1), number_message(1))
            .await,
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
