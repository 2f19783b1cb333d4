//! Resumes after a long absence, over a slow link, while the raid goes on.

use std::time::Duration;

use raidhall_protocol::{ClientMessage, Codec, Command, RaidId, Seq, ServerMessage};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::process::{TestDatabase, TestServer};
use crate::proxy::Proxy;
use crate::raid_group::{RaidGroup, long_raid, target};
use crate::test_socket::TestSocket;
use crate::with_timeout;

/// The bandwidth of a phone on a bad link.
const SLOW_BYTES_PER_SECOND: u64 = 60_000;

/// Creates a raid with this many events after the returned seq; also returns the tokens of two
/// members.
async fn create_long_history(server: &TestServer, events: u64) -> (RaidId, Seq, String, String) {
    let group = RaidGroup::create(server.target(), 1, &long_raid(2)).await;
    let raid = group.raid;
    let ada = group.add_member().await.access_token;
    let bob = group.add_member().await.access_token;
    let mut socket =
        TestSocket::connect_authenticated(server.target(), Codec::MessagePack, &ada).await;
    let seen = socket.say(raid, "bob goes away here").await;
    for first in (1..=events).step_by(100) {
        let mut last = 0;
        for number in first..=events.min(first + 99) {
            last = socket
                .send_command(
                    raid,
                    None,
                    Command::Say {
                        text: format!("chapter {number}"),
                    },
                )
                .await;
        }
        socket.wait_for_result(last).await.expect("said");
    }
    (raid, seen, ada, bob)
}

/// Lets a member chat until stopped; the task then returns the last seq.
fn start_talking(
    server: &TestServer,
    raid: RaidId,
    token: String,
) -> (oneshot::Sender<()>, JoinHandle<Seq>) {
    let (stop, mut stopped) = oneshot::channel();
    let target = *server.target();
    let talking = tokio::spawn(async move {
        let mut socket = TestSocket::connect_authenticated(&target, Codec::Json, &token).await;
        let mut last = Seq::ZERO;
        while stopped.try_recv().is_err() {
            last = socket.say(raid, "meanwhile").await;
            sleep(Duration::from_millis(10)).await;
        }
        last
    });
    (stop, talking)
}

async fn assert_replay_over_slow_link(settings: &[(&str, &str)], codec: Codec) {
    let database = TestDatabase::sqlite().await;
    let server = database.start_with(settings).await;
    let (raid, seen, ada, bob) = create_long_history(&server, 1_000).await;
    let proxy = Proxy::slow(server.target().address(), SLOW_BYTES_PER_SECOND).await;
    let mut bob = TestSocket::connect_authenticated(&target(proxy.address()), codec, &bob).await;
    let (stop, talking) = start_talking(&server, raid, ada);
    let (promised, replayed) = bob.watch(raid, Some(seen)).await;
    assert!(
        replayed && promised.0 >= seen.0 + 1_000,
        "since {seen}: {promised}, replayed: {replayed}"
    );
    // The replay is complete, and live events follow. A snapshot may only replace events after the
    // promised seq.
    let mut held = seen.0;
    let mut stop = Some(stop);
    let mut talking = Some(talking);
    let mut end = None;
    while end.is_none_or(|end: Seq| held < end.0) {
        match &*bob.next_message().await {
            ServerMessage::Event { event, .. } => {
                assert_eq!(event.seq.0, held + 1, "a hole or a duplicate");
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
            end = Some(talking.await.expect("the last seq"));
        }
    }
}

#[tokio::test]
async fn a_resume_1000_events_behind_on_a_slow_link_is_replayed_whole() {
    with_timeout(assert_replay_over_slow_link(&[], Codec::MessagePack)).await;
}

/// The ring is so small that the replay comes from the store in pages, and live events overtake it
/// again and again.
#[tokio::test]
async fn a_replay_longer_than_the_ring_is_read_whole_from_the_store() {
    let small = [
        ("LIMITS__OUTBOX_MESSAGES", "32"),
        ("RAID__RING_EVENTS", "64"),
    ];
    with_timeout(assert_replay_over_slow_link(&small, Codec::Json)).await;
}

#[tokio::test]
async fn a_resume_1025_events_behind_gets_a_snapshot_instead_of_a_replay() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let server = database.start().await;
        let (raid, seen, _, bob) = create_long_history(&server, 1_025).await;
        let mut bob = TestSocket::connect_authenticated(server.target(), Codec::Json, &bob).await;
        let head = Seq(seen.0 + 1_025);
        assert_eq!(bob.watch(raid, Some(seen)).await, (head, false));
        assert_eq!(bob.watch(raid, Some(seen.next())).await, (head, true));
        let before = bob.received_seqs().len();
        while bob.received_seqs().last() != Some(&head.0) {
            bob.next_message().await;
        }
        assert_eq!(before, 0);
        assert_eq!(
            bob.received_seqs(),
            (seen.0 + 2..=head.0).collect::<Vec<_>>()
        );
        assert_eq!(bob.watch(raid, None).await, (head, false));
        assert_eq!(bob.watch(raid, Some(head)).await, (head, true));
        assert_eq!(
            bob.watch(raid, Some(Seq(head.0 + 7))).await,
            (head, false),
            "a since beyond the head of the store"
        );
    })
    .await;
}

#[tokio::test]
async fn answers_to_watch_and_unwatch_echo_the_id_of_the_request() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let server = database.start().await;
        let group = RaidGroup::create(server.target(), 1, &long_raid(1)).await;
        let raid = group.raid;
        let token = group.add_member().await.access_token;
        for codec in Codec::ALL {
            let mut socket =
                TestSocket::connect_authenticated(server.target(), codec, &token).await;
            // The second time the snapshot's frame is shared.
            for id in [Some(3), None, Some((1 << 53) - 1)] {
                let since = None;
                socket.send(ClientMessage::Watch { id, raid, since }).await;
                let answer = socket.wait_for(|message| match message {
                    ServerMessage::Snapshot { id, .. } => Some(*id),
                    _ => None,
                });
                assert_eq!(answer.await, id, "{codec:?}");
            }
            let since = Some(socket.say(raid, "seen").await);
            let id = Some(4);
            socket.send(ClientMessage::Watch { id, raid, since }).await;
            let answer = socket.wait_for(|message| match message {
                ServerMessage::Watching { id, .. } => Some(*id),
                _ => None,
            });
            assert_eq!(answer.await, id, "{codec:?}");
            let id = Some(5);
            socket.send(ClientMessage::Unwatch { id, raid }).await;
            let answer = socket.wait_for(|message| match message {
                ServerMessage::Unwatched { id, .. } => Some(*id),
                _ => None,
            });
            assert_eq!(answer.await, id, "{codec:?}");
        }
    })
    .await;
}
