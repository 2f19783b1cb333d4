//! A store that lacks events which were committed.

use std::time::Duration;

use raidhall_protocol::{Seq, ServerMessage};
use tokio::time::sleep;

use super::test_instance::{TestInstance, counter_value, options, player};
use crate::error::Error;
use crate::raid::Ack;
use crate::session::Caller;

#[tokio::test(start_paused = true)]
async fn a_raid_that_lost_events_is_refused_until_the_store_has_them_again() {
    let instance = TestInstance::start(options()).await;
    let raid = instance.create_raid(&[2]).await;
    let mut watcher = instance.watch(raid, 2, None);
    watcher.watch_answer().await.expect("watches");
    for text in ["kept", "lost"] {
        instance.say(raid, text, None).await.expect("said");
    }
    assert_eq!(watcher.take_events(), [5, 6]);
    let before = counter_value("raidhall_history_lost_total");
    let kept = instance.ledger(raid).await[..5].to_vec();
    let events = instance.store.replace_events(raid, kept);
    assert_eq!(
        instance.say(raid, "next", None).await,
        Err(Error::Unavailable)
    );
    let mut other = instance.watch(raid, 1, None);
    assert_eq!(other.watch_answer().await.err(), Some(Error::Unavailable));
    assert_eq!(watcher.head(), Seq(6), "no watcher goes back in time");
    // Without watchers a session ends when its raid cannot start; this one still knows better.
    watcher.leave();
    sleep(Duration::from_secs(10)).await;
    let read = instance
        .sessions
        .read(raid, Caller::Player(player(2)))
        .await;
    assert_eq!(read.err(), Some(Error::Unavailable));
    assert!(counter_value("raidhall_history_lost_total") > before);
    instance.store.replace_events(raid, events);
    assert_eq!(
        instance.say(raid, "again", None).await,
        Ok(Ack {
            seq: Seq(7),
            duplicate: false
        })
    );
}

#[tokio::test(start_paused = true)]
async fn a_resume_ahead_of_the_raid_gets_a_snapshot_and_is_counted() {
    let instance = TestInstance::start(options()).await;
    let raid = instance.create_raid(&[2]).await;
    let before = counter_value("raidhall_resumes_ahead_total");
    let answer = instance.watch(raid, 2, Some(9)).watch_answer().await;
    assert!(
        matches!(answer, Ok(ServerMessage::Snapshot { seq: Seq(4), .. })),
        "{answer:?}"
    );
    assert!(counter_value("raidhall_resumes_ahead_total") > before);
}
