//! Coming back after a long absence, over a slow link, while the raid goes on.

use std::time::Duration;

use raidhall_protocol::{Codec, Command, RaidId, Seq, ServerMessage};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::bounded;
use crate::party::{Party, long_raid, target};
use crate::process::{Server, Site};
use crate::proxy::Proxy;
use crate::wire::Wire;

/// A phone on a bad day, in bytes a second.
const SLOW: u64 = 60_000;

/// A raid with so many events after the first `seen`, and the tokens of two members.
async fn long_story(server: &Server, events: u64) -> (RaidId, Seq, String, String) {
    let party = Party::gather(server.target(), 1, &long_raid(2)).await;
    let (raid, ada) = (party.raid, party.witness().await.access_token);
    let bob = party.witness().await.access_token;
    let mut wire = Wire::open(server.target(), Codec::MessagePack, &ada).await;
    let seen = wire.say(raid, "bob goes away here").await;
    for first in (1..=events).step_by(100) {
        let mut last = 0;
        for number in first..=events.min(first + 99) {
            last = wire
                .ask(
                    raid,
                    None,
                    Command::Say {
                        text: format!("chapter {number}"),
                    },
                )
                .await;
        }
        wire.answer(last).await.expect("said");
    }
    (raid, seen, ada, bob)
}

/// Somebody who goes on talking until told to stop, and then gives the last seq.
fn talker(server: &Server, raid: RaidId, token: String) -> (oneshot::Sender<()>, JoinHandle<Seq>) {
    let (stop, mut stopped) = oneshot::channel();
    let target = *server.target();
    let talking = tokio::spawn(async move {
        let mut wire = Wire::open(&target, Codec::Json, &token).await;
        let mut last = Seq::ZERO;
        while stopped.try_recv().is_err() {
            last = wire.say(raid, "meanwhile").await;
            sleep(Duration::from_millis(10)).await;
        }
        last
    });
    (stop, talking)
}

async fn a_slow_return(settings: &[(&str, &str)], codec: Codec) {
    let site = Site::sqlite().await;
    let server = site.start_with(settings).await;
    let (raid, seen, ada, bob) = long_story(&server, 1_000).await;
    let link = Proxy::slow(server.target().address(), SLOW).await;
    let mut bob = Wire::open(&target(link.address()), codec, &bob).await;
    let (stop, talking) = talker(&server, raid, ada);
    let (promised, replayed) = bob.watch(raid, Some(seen)).await;
    assert!(
        replayed && promised.0 >= seen.0 + 1_000,
        "since {seen}: {promised}, replayed: {replayed}"
    );
    // The replay comes whole, and live follows. A snapshot may only stand for what comes after the promise.
    let mut held = seen.0;
    let mut stop = Some(stop);
    let mut talking = Some(talking);
    let mut end = None;
    while end.is_none_or(|end: Seq| held < end.0) {
        match &*bob.next().await {
            ServerMessage::Event { event, .. } => {
                assert_eq!(event.seq.0, held + 1, "a hole or a double");
                held = event.seq.0;
            }
            ServerMessage::Snapshot { seq, .. } => {
                assert!(
                    held >= promised.0,
                    "a snapshot at {seq} instead of the replay, at {held}"
                );
                assert!(seq.0 > held, "back in time, from {held} to {seq}");
                held = seq.0;
            }
            _ => {}
        }
        if held >= promised.0 + 20
            && let (Some(stop), Some(talking)) = (stop.take(), talking.take())
        {
            let _ = stop.send(());
            end = Some(talking.await.expect("the last word"));
        }
    }
}

#[tokio::test]
async fn a_resume_1000_events_behind_on_a_slow_link_is_replayed_whole_while_the_raid_goes_on() {
    bounded(a_slow_return(&[], Codec::MessagePack)).await;
}

/// A ring so small that the replay comes from the store in pages, and live overtakes it again and again.
#[tokio::test]
async fn a_replay_longer_than_the_ring_is_read_from_the_store_and_whole_all_the_same() {
    let small = [
        ("LIMITS__OUTBOX_MESSAGES", "32"),
        ("RAID__RING_EVENTS", "64"),
    ];
    bounded(a_slow_return(&small, Codec::Json)).await;
}

#[tokio::test]
async fn a_resume_from_1025_or_more_events_behind_gets_a_snapshot_and_from_1024_a_replay() {
    bounded(async {
        let site = Site::sqlite().await;
        let server = site.start().await;
        let (raid, seen, _, bob) = long_story(&server, 1_025).await;
        let mut bob = Wire::open(server.target(), Codec::Json, &bob).await;
        let head = Seq(seen.0 + 1_025);
        assert_eq!(bob.watch(raid, Some(seen)).await, (head, false));
        assert_eq!(bob.watch(raid, Some(seen.next())).await, (head, true));
        let before = bob.seqs().len();
        while bob.seqs().last() != Some(&head.0) {
            bob.next().await;
        }
        assert_eq!(before, 0);
        assert_eq!(bob.seqs(), (seen.0 + 2..=head.0).collect::<Vec<_>>());
        assert_eq!(bob.watch(raid, None).await, (head, false));
        assert_eq!(bob.watch(raid, Some(head)).await, (head, true));
        assert_eq!(
            bob.watch(raid, Some(Seq(head.0 + 7))).await,
            (head, false),
            "ahead of the store itself"
        );
    })
    .await;
}
