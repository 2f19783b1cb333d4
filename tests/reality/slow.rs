//! One slow phone among a hundred watchers.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use raidhall_loadtest::client::{Decoder, Incoming, Rest, Socket};
use raidhall_protocol::{
    ClientMessage, Codec, Event, EventData, PlayerId, RaidId, Seq, ServerMessage,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::party::{long_raid, target};
use crate::process::{Server, Site};
use crate::proxy::Proxy;
use crate::proxy::Way::ToClient;
use crate::wire::Wire;
use crate::{bounded, undisturbed};

const HEALTHY: usize = 99;
/// Enough to fill whatever lies between server and client, and the slack after that.
const WORDS: u64 = 400;
/// Between two of them.
const PACE: Duration = Duration::from_millis(10);

/// The next message for who has heard the raid up to `held`: events without a hole, or a snapshot further on.
fn follow(held: &mut Option<u64>, message: &ServerMessage) {
    match message {
        ServerMessage::Event { event, .. } => {
            assert!(
                held.is_none_or(|held| event.seq.0 == held + 1),
                "a hole before {}",
                event.seq
            );
            *held = Some(event.seq.0);
        }
        ServerMessage::Snapshot { seq, .. } => {
            assert!(
                held.is_none_or(|held| seq.0 > held),
                "back in time to {seq}"
            );
            *held = Some(seq.0);
        }
        _ => {}
    }
}

/// A hundred members, of whom the last is the slow one.
async fn hundred(server: &Server) -> (RaidId, Vec<(PlayerId, String)>) {
    let rest = Rest::new(server.target()).expect("doors");
    let mut made: Option<(RaidId, String)> = None;
    let mut members = Vec::new();
    for number in 0..=HEALTHY {
        let tokens = rest
            .guest(&format!("player {number}"))
            .await
            .expect("a guest");
        let own = rest.with_token(&tokens.access_token);
        let raid = long_raid(HEALTHY - 1);
        let view = match &made {
            None => own.create(&raid, None).await.expect("a raid"),
            Some((_, invite)) => own.join(invite).await.expect("a member"),
        };
        made = Some((view.state.id, view.state.invite_code));
        members.push((tokens.player.id, tokens.access_token));
    }
    (made.expect("a raid").0, members)
}

/// Nearly 2 KiB that can be told from all others.
fn words(number: u64) -> String {
    format!("{number:04} {}", "🦀".repeat(450))
}

/// A watcher who notes when each event came, until the last one.
fn watcher(
    mut socket: Socket,
    mut held: Seq,
    sent: Arc<Mutex<Vec<Instant>>>,
) -> JoinHandle<(Vec<Duration>, Socket)> {
    tokio::spawn(async move {
        let mut delays = Vec::new();
        loop {
            let Incoming::Message(message) = socket.next().await else {
                continue;
            };
            match &*message {
                ServerMessage::Snapshot { .. } => panic!("a healthy watcher falls behind"),
                ServerMessage::Event {
                    event:
                        Event {
                            seq,
                            data: EventData::Said { text },
                            ..
                        },
                    ..
                } => {
                    assert_eq!(*seq, held.next(), "a healthy watcher misses nothing");
                    held = *seq;
                    let Ok(number) = text[..4].parse::<usize>() else {
                        continue;
                    };
                    delays.push(sent.lock()[number].elapsed());
                    if number as u64 + 1 == WORDS {
                        return (delays, socket);
                    }
                }
                _ => {}
            }
        }
    })
}

/// The 99th percentile of the healthy ones' delays, while the last member reads or does not.
async fn delivery(server: &Server, slow: bool) -> (Duration, Wire, RaidId) {
    let (raid, members) = hundred(server).await;
    let link = if slow {
        Some(Proxy::slow(server.target().address(), 1_000_000).await)
    } else {
        None
    };
    let last = link
        .as_ref()
        .map_or(*server.target(), |link| target(link.address()));
    let mut last = Wire::open(&last, Codec::Json, &members[HEALTHY].1).await;
    last.watch(raid, None).await;
    if let Some(link) = &link {
        link.hold(&[ToClient]);
    }

    let sent = Arc::new(Mutex::new(Vec::new()));
    let decoder = Decoder::new();
    let mut watchers = Vec::new();
    for (number, (_, token)) in members[..HEALTHY].iter().enumerate() {
        let codec = Codec::ALL[number % 2];
        let mut socket = Socket::connect(server.target(), codec, Arc::clone(&decoder))
            .await
            .expect("connect");
        socket.hello(token).await.expect("a welcome");
        socket
            .send(&ClientMessage::Watch {
                id: None,
                raid,
                since: None,
            })
            .await
            .expect("sent");
        let held = loop {
            if let ServerMessage::Snapshot { seq, .. } =
                &*socket.message().await.expect("a snapshot")
            {
                break *seq;
            }
        };
        watchers.push(watcher(socket, held, Arc::clone(&sent)));
    }
    let mut talker = Wire::open(server.target(), Codec::MessagePack, &members[0].1).await;
    let memory = server.usage().rss_bytes;
    for number in 0..WORDS {
        let next = Instant::now() + PACE;
        sent.lock().push(Instant::now());
        talker.say(raid, words(number)).await;
        tokio::time::sleep_until(next).await;
    }
    let mut delays = Vec::new();
    let mut sockets = Vec::new();
    for watcher in watchers {
        let (mine, socket) = watcher.await.expect("a healthy watcher");
        assert_eq!(mine.len() as u64, WORDS);
        delays.extend(mine);
        sockets.push(socket);
    }
    let grown = server.usage().rss_bytes.saturating_sub(memory) >> 10;
    assert!(grown < 64 * 1024, "the server grew by {grown} KiB");
    delays.sort_unstable();
    let p99 = delays[delays.len() * 99 / 100];
    println!(
        "slow: {slow}, p50 {:?}, p99 {p99:?}, server grown by {grown} KiB",
        delays[delays.len() / 2]
    );

    if let Some(link) = link {
        // It reads again: what was on its way, then the raid as it is, then live.
        link.release();
        let head = talker.say(raid, "are you there?").await;
        let mut held = None;
        while held.is_none_or(|held: u64| held < head.0) {
            follow(&mut held, &*last.next().await);
        }
        let snapshots = last
            .heard
            .iter()
            .filter(|message| matches!(***message, ServerMessage::Snapshot { .. }));
        assert!(snapshots.count() >= 2, "its backlog became a snapshot");
        let events = last.seqs().len() as u64;
        assert!(events < WORDS / 2 + 100, "{events} events were kept for it");
    }
    Box::leak(Box::new(sockets)); // open until the test's end
    (p99, last, raid)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_watcher_that_reads_nothing_does_not_slow_the_other_99() {
    undisturbed(async {
        let site = Site::sqlite().await;
        let server = site
            .start_with(&[("LIMITS__WRITE_STALL_MS", "60000")])
            .await;
        // The machine is noisy: one of several tries has to be quiet.
        let mut tries = Vec::new();
        for _ in 0..4 {
            let alone = delivery(&server, false).await.0;
            let beside = delivery(&server, true).await.0;
            tries.push((alone, beside));
            if beside < alone * 2 + Duration::from_millis(50) {
                return;
            }
        }
        panic!("p99 without and beside a slow watcher: {tries:?}");
    })
    .await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_for_write_stall_is_closed_with_4202_after_whole_frames() {
    bounded(async {
        let site = Site::sqlite().await;
        let settings = [("LIMITS__WRITE_STALL_MS", "700"), ("RAID__PRESENCE_GRACE_MS", "0")];
        let server = site.start_with(&settings).await;
        let party = crate::party::Party::gather(server.target(), 1, &long_raid(2)).await;
        let (raid, stuck) = (party.raid, party.witness().await);
        let (who, healthy) = (stuck.player.id, party.witness().await.access_token);
        let mut healthy = Wire::open(server.target(), Codec::MessagePack, &healthy).await;
        healthy.watch(raid, None).await;
        let link = Proxy::slow(server.target().address(), 1_000_000).await;
        let mut stuck = Wire::open(&target(link.address()), Codec::Json, &stuck.access_token).await;
        let (from, _) = stuck.watch(raid, None).await;
        link.hold(&[ToClient]);
        // Others see it gone at the moment when it is closed; then it has a second to take the Close frame.
        let gone = |healthy: &Wire| {
            healthy.heard.iter().any(|message| {
                matches!(&**message, ServerMessage::Presence { offline, .. } if offline.contains(&who))
            })
        };
        let mut number = 0;
        while !gone(&healthy) {
            if number < WORDS {
                healthy.say(raid, words(number)).await;
                number += 1;
            } else {
                healthy.next().await;
            }
        }
        link.release();
        let closed = stuck.end().await;
        assert_eq!(closed.code, Some(4202), "{closed:?}");
        let seqs = stuck.seqs();
        assert!(
            !seqs.is_empty() && seqs[0] == from.0 + 1 && seqs.is_sorted_by(|a, b| a + 1 == *b),
            "{seqs:?}"
        );
    })
    .await;
}

/// Slow, but never stuck: each byte counts as progress.
#[tokio::test]
async fn a_client_that_takes_a_trickle_is_not_closed_and_gets_snapshots_now_and_then() {
    bounded(async {
        let site = Site::sqlite().await;
        let server = site.start_with(&[("LIMITS__WRITE_STALL_MS", "3000")]).await;
        let party = crate::party::Party::gather(server.target(), 1, &long_raid(2)).await;
        let (raid, slow) = (party.raid, party.witness().await.access_token);
        let mut talker = Wire::open(
            server.target(),
            Codec::Json,
            &party.witness().await.access_token,
        )
        .await;
        let link = Proxy::slow(server.target().address(), 40_000).await;
        let mut slow = Wire::open(&target(link.address()), Codec::Json, &slow).await;
        slow.watch(raid, None).await;
        let talking = tokio::spawn(async move {
            let mut head = Seq::ZERO;
            for number in 0..1_500 {
                head = talker.say(raid, words(number)).await;
                sleep(Duration::from_millis(2)).await;
            }
            head
        });
        let mut held = None;
        let mut head = None;
        let mut talking = Some(talking);
        while head.is_none_or(|head: Seq| held.is_none_or(|held: u64| held < head.0)) {
            follow(&mut held, &*slow.next().await);
            if let Some(done) = talking.take_if(|talking| talking.is_finished()) {
                head = Some(done.await.expect("the talker"));
            }
        }
        let snapshots = slow
            .heard
            .iter()
            .filter(|message| matches!(***message, ServerMessage::Snapshot { .. }));
        assert!(snapshots.count() >= 2, "it fell behind and caught up");
    })
    .await;
}
