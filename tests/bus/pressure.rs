//! A listener that is too slow, and messages that are too large: what is dropped is known.

use bytes::Bytes;
use raidhall::cluster::bus::{Bus, BusInput};

use crate::server::RedisServer;
use crate::station::{Station, dropped, events, numbered};

/// What may wait for a listener.
const MESSAGES: u64 = 8_192;

#[tokio::test]
async fn what_a_slow_listener_misses_is_reported_as_lost_and_the_rest_goes_on() {
    let server = RedisServer::start().await;
    let (mut hearing, speaking) = Station::pair(&server).await;
    hearing.subscribed(&[events(1), events(2)]).await;
    let full = dropped("incoming_full");
    for number in 0..MESSAGES + 100 {
        if number % 1_000 == 0 {
            assert_eq!(
                speaking
                    .bus
                    .publish_counted(events(1), numbered(number))
                    .await,
                Some(1)
            );
        } else {
            assert!(speaking.bus.publish(events(1), numbered(number)));
        }
    }
    while dropped("incoming_full") < full + 100 {
        tokio::task::yield_now().await;
    }
    for number in 0..MESSAGES {
        assert_eq!(
            hearing.next().await,
            BusInput::Message(events(1), numbered(number))
        );
    }
    assert_eq!(hearing.next().await, BusInput::Lost(events(1)));
    for channel in [events(2), events(1)] {
        assert_eq!(
            speaking.bus.publish_counted(channel, numbered(0)).await,
            Some(1)
        );
        assert_eq!(
            hearing.next().await,
            BusInput::Message(channel, numbered(0))
        );
    }
    hearing.proven(true).await;
}

#[tokio::test]
async fn a_message_that_is_too_large_is_lost_at_either_end() {
    let server = RedisServer::start().await;
    let (mut hearing, speaking) = Station::pair(&server).await;
    hearing.subscribed(&[events(1), events(2)]).await;
    let large = vec![0; 1024 * 1024 + 1];
    assert!(
        !speaking.bus.publish(events(1), Bytes::from(large.clone())),
        "nobody would take it"
    );

    let mut publish = redis::cmd("PUBLISH");
    publish.arg(events(1).to_string()).arg(large);
    publish
        .exec_async(&mut server.connect().await)
        .await
        .expect("publish");
    assert_eq!(
        speaking.bus.publish_counted(events(2), numbered(1)).await,
        Some(1)
    );
    assert_eq!(hearing.next().await, BusInput::Lost(events(1)));
    assert_eq!(
        hearing.next().await,
        BusInput::Message(events(2), numbered(1))
    );

    let largest = Bytes::from(vec![0; 1024 * 1024]);
    assert!(speaking.bus.publish(events(1), largest.clone()));
    assert_eq!(hearing.next().await, BusInput::Message(events(1), largest));
}
