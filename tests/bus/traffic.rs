//! A healthy bus: published messages arrive, in order, at their subscribers.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::FutureExt;
use raidhall::cluster::bus::{Bus, BusDown, BusInput, Channel};

use crate::server::RedisProcess;
use crate::test_bus::{TestBus, events_channel, live_channel, number_message};
use crate::wait::wait_for;

#[tokio::test]
async fn messages_of_a_channel_arrive_in_the_order_of_publishing() {
    let server = RedisProcess::start().await;
    let (mut receiver, sender) = TestBus::connect_pair(&server).await;
    let channels = [
        events_channel(1),
        live_channel(1),
        events_channel(2),
        receiver.inbox,
    ];
    receiver.subscribe(&channels).await;
    for number in 0..1_000 {
        for channel in channels {
            assert!(sender.bus.publish(channel, number_message(number)));
        }
    }
    let mut next: HashMap<Channel, u64> = HashMap::new();
    for _ in 0..4_000 {
        let (channel, message) = receiver.next_message().await;
        let number = next.entry(channel).or_default();
        assert_eq!(message, number_message(*number), "on {channel}");
        *number += 1;
    }
}

#[tokio::test]
async fn a_counted_message_does_not_overtake_what_was_published_before() {
    let server = RedisProcess::start().await;
    let (mut receiver, sender) = TestBus::connect_pair(&server).await;
    receiver.subscribe(&[events_channel(1)]).await;
    for number in 0..500 {
        assert!(
            sender
                .bus
                .publish(events_channel(1), number_message(number))
        );
    }
    assert_eq!(
        sender
            .bus
            .publish_counted(events_channel(1), number_message(500))
            .await,
        Some(1)
    );
    for number in 0..=500 {
        assert_eq!(
            receiver.next_message().await,
            (events_channel(1), number_message(number))
        );
    }
}

#[tokio::test]
async fn a_subscription_is_confirmed_before_subscribe_returns() {
    let server = RedisProcess::start().await;
    let (receiver, sender) = TestBus::connect_pair(&server).await;
    for raid in 1..=100 {
        assert_eq!(
            sender
                .bus
                .publish_counted(events_channel(raid), number_message(0))
                .await,
            Some(0)
        );
        assert_eq!(
            receiver.bus.subscribe(&[events_channel(raid)]).await,
            Ok(())
        );
        assert_eq!(
            sender
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
    let (receiver, sender) = TestBus::connect_pair(&server).await;
    let subscribing = (1..=2_000).map(|raid| {
        let bus = receiver.bus.clone();
        async move {
            bus.subscribe(&[events_channel(raid), live_channel(raid)])
                .await
        }
    });
    let confirmed = futures_util::future::join_all(subscribing).await;
    assert!(confirmed.iter().all(|confirmed| *confirmed == Ok(())));
    for raid in [1, 1_000, 2_000] {
        assert_eq!(
            sender
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
    let (receiver, sender) = TestBus::connect_pair(&server).await;
    for _ in 0..20 {
        for _ in 0..20 {
            let _ = receiver.bus.subscribe(&[events_channel(1)]).now_or_never();
            receiver.bus.unsubscribe(&[events_channel(1)]);
            tokio::task::yield_now().await;
        }
        sender.wait_for_subscribers(events_channel(1), 0).await;
        for _ in 0..20 {
            receiver.bus.unsubscribe(&[events_channel(1)]);
            let _ = receiver.bus.subscribe(&[events_channel(1)]).now_or_never();
            tokio::task::yield_now().await;
        }
        assert_eq!(receiver.bus.subscribe(&[events_channel(1)]).await, Ok(()));
        assert_eq!(
            sender
                .bus
                .publish_counted(events_channel(1), number_message(1))
                .await,
            Some(1)
        );
        receiver.bus.unsubscribe(&[events_channel(1)]);
    }
}

#[tokio::test]
async fn an_instance_stays_subscribed_to_its_own_inbox() {
    let server = RedisProcess::start().await;
    let (mut receiver, sender) = TestBus::connect_pair(&server).await;
    receiver.bus.unsubscribe(&[receiver.inbox]);
    receiver.subscribe(&[events_channel(1)]).await;
    assert_eq!(
        sender
            .bus
            .publish_counted(receiver.inbox, number_message(1))
            .await,
        Some(1)
    );
    assert_eq!(
        receiver.next_message().await,
        (receiver.inbox, number_message(1))
    );
}

#[tokio::test]
async fn a_forged_probe_is_dropped_and_not_delivered() {
    let server = RedisProcess::start().await;
    let (mut receiver, sender) = TestBus::connect_pair(&server).await;
    let forged = Bytes::from(
        [
            &b"\0\0raidhall proof\0"[..],
            &[7; 16],
            &u64::MAX.to_be_bytes(),
        ]
        .concat(),
    );
    assert_eq!(
        sender.bus.publish_counted(receiver.inbox, forged).await,
        Some(1)
    );
    assert_eq!(
        sender
            .bus
            .publish_counted(receiver.inbox, number_message(1))
            .await,
        Some(1)
    );
    assert_eq!(
        receiver.next_input().await,
        BusInput::Message(receiver.inbox, number_message(1)),
        "the first message that arrives"
    );
}

#[tokio::test]
async fn the_end_of_the_driver_ends_the_bus() {
    let server = RedisProcess::start().await;
    let mut test_bus = TestBus::connect(&server.url()).await;
    test_bus.subscribe(&[events_channel(1)]).await;
    let mut admin = server.connect().await;
    test_bus.driver.abort();
    assert_eq!(test_bus.inputs.next().await, None);
    test_bus.wait_until_health_is(false).await;
    assert_eq!(
        test_bus.bus.subscribe(&[events_channel(2)]).await,
        Err(BusDown)
    );
    assert!(!test_bus.bus.publish(events_channel(1), number_message(1)));
    assert_eq!(
        test_bus
            .bus
            .publish_counted(events_channel(1), number_message(1))
            .await,
        None
    );
    wait_for("the end of the bus's connections", async || {
        let mut list = redis::cmd("CLIENT");
        let clients: String = list
            .arg("LIST")
            .query_async(&mut admin)
            .await
            .expect("ask Redis");
        (clients.lines().count() == 1).then_some(())
    })
    .await;
}
