//! A receiver that is too slow and messages that are too large: every drop is reported or counted.

use bytes::Bytes;
use raidhall::cluster::bus::{Bus, BusInput};

use crate::server::RedisProcess;
use crate::test_bus::{TestBus, dropped_count, events_channel, number_message};
use crate::wait::wait_for;

/// Maximum number of messages in an instance's receive queue.
const QUEUE_MESSAGES_MAX: u64 = 8_192;

#[tokio::test]
async fn messages_missed_by_a_slow_receiver_are_reported_as_lost() {
    let server = RedisProcess::start().await;
    let (mut receiver, sender) = TestBus::connect_pair(&server).await;
    receiver
        .subscribe(&[events_channel(1), events_channel(2)])
        .await;
    let full = dropped_count("incoming_full");
    for number in 0..QUEUE_MESSAGES_MAX + 100 {
        if number % 1_000 == 0 {
            assert_eq!(
                sender
                    .bus
                    .publish_counted(events_channel(1), number_message(number))
                    .await,
                Some(1)
            );
        } else {
            assert!(
                sender
                    .bus
                    .publish(events_channel(1), number_message(number))
            );
        }
    }
    wait_for("100 dropped messages", async || {
        (dropped_count("incoming_full") >= full + 100).then_some(())
    })
    .await;
    for number in 0..QUEUE_MESSAGES_MAX {
        assert_eq!(
            receiver.next_input().await,
            BusInput::Message(events_channel(1), number_message(number))
        );
    }
    assert_eq!(
        receiver.next_input().await,
        BusInput::Lost(events_channel(1))
    );
    for channel in [events_channel(2), events_channel(1)] {
        assert_eq!(
            sender.bus.publish_counted(channel, number_message(0)).await,
            Some(1)
        );
        assert_eq!(
            receiver.next_input().await,
            BusInput::Message(channel, number_message(0))
        );
    }
    receiver.wait_until_health_is(true).await;
}

#[tokio::test]
async fn an_oversized_message_is_dropped_by_sender_and_receiver() {
    let server = RedisProcess::start().await;
    let (mut receiver, sender) = TestBus::connect_pair(&server).await;
    receiver
        .subscribe(&[events_channel(1), events_channel(2)])
        .await;
    let large = vec![0; 1024 * 1024 + 1];
    assert!(
        !sender
            .bus
            .publish(events_channel(1), Bytes::from(large.clone())),
        "receivers would drop it"
    );

    let mut publish = redis::cmd("PUBLISH");
    publish.arg(events_channel(1).to_string()).arg(large);
    publish
        .exec_async(&mut server.connect().await)
        .await
        .expect("publish");
    assert_eq!(
        sender
            .bus
            .publish_counted(events_channel(2), number_message(1))
            .await,
        Some(1)
    );
    assert_eq!(
        receiver.next_input().await,
        BusInput::Lost(events_channel(1))
    );
    assert_eq!(
        receiver.next_input().await,
        BusInput::Message(events_channel(2), number_message(1))
    );

    let largest = Bytes::from(vec![0; 1024 * 1024]);
    assert!(sender.bus.publish(events_channel(1), largest.clone()));
    assert_eq!(
        receiver.next_input().await,
        BusInput::Message(events_channel(1), largest)
    );
}
