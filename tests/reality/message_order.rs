//! The order of messages on one connection, as the protocol promises it.

use std::time::Duration;

use futures_util::future::join_all;
use raidhall_protocol::event::LeaveReason;
use raidhall_protocol::rest::TokenPair;
use raidhall_protocol::server::UnwatchReason;
use raidhall_protocol::{
    ClientMessage, Codec, Command, ErrorType, EventData, RaidId, Seq, ServerMessage,
};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::process::{TestDatabase, TestServer};
use crate::proxy::Direction::{ToClient, ToServer};
use crate::proxy::Proxy;
use crate::raid_group::{RaidGroup, long_raid, target};
use crate::test_socket::{TestSocket, command_result, event_seq};
use crate::with_timeout;

/// Starts a server; returns it with a raid, led by the group's first player, and the tokens of
/// further members.
async fn start_raid(
    database: &TestDatabase,
    settings: &[(&str, &str)],
    members: usize,
) -> (TestServer, RaidGroup, Vec<TokenPair>) {
    let server = database.start_with(settings).await;
    let group = RaidGroup::create(server.target(), 1, &long_raid(members)).await;
    let mut tokens = Vec::new();
    for _ in 0..members {
        tokens.push(group.add_member().await);
    }
    (server, group, tokens)
}

fn say_command(text: &str) -> Command {
    Command::Say { text: text.into() }
}

fn watch_message(raid: RaidId, since: Option<Seq>) -> ClientMessage {
    ClientMessage::Watch {
        id: None,
        raid,
        since,
    }
}

fn signal_message(raid: RaidId, number: u64) -> ClientMessage {
    ClientMessage::Signal {
        id: None,
        raid,
        kind: "cursor".into(),
        data: json!(number),
    }
}

#[tokio::test]
async fn an_ack_follows_its_event_while_watching_and_comes_alone_otherwise() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let (server, group, tokens) = start_raid(&database, &[], 2).await;
        for codec in Codec::ALL {
            let mut watching =
                TestSocket::connect_authenticated(server.target(), codec, &tokens[0].access_token)
                    .await;
            let mut elsewhere =
                TestSocket::connect_authenticated(server.target(), codec, &tokens[1].access_token)
                    .await;
            watching.watch(group.raid, None).await;
            let mut numbers = Vec::new();
            for number in 0..50 {
                numbers.push(
                    watching
                        .send_command(group.raid, None, say_command(&number.to_string()))
                        .await,
                );
                elsewhere
                    .send_command(group.raid, None, say_command("too"))
                    .await;
            }
            for number in numbers {
                let (seq, _) = watching.wait_for_result(number).await.expect("said");
                assert!(
                    watching.received_seqs().contains(&seq.0),
                    "acknowledged before its event was sent"
                );
                elsewhere.wait_for_result(number).await.expect("said");
            }
            assert_eq!(elsewhere.received_seqs(), Vec::<u64>::new());
            let seqs = watching.received_seqs();
            assert!(seqs.is_sorted_by(|a, b| a + 1 == *b), "{seqs:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_reply_to_a_watch_precedes_the_ack_of_a_later_command() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let (server, group, tokens) = start_raid(&database, &[], 1).await;
        let raid = group.raid;
        let mut seen = None;
        for round in 0..20 {
            let mut socket = TestSocket::connect_authenticated(
                server.target(),
                Codec::ALL[round % 2],
                &tokens[0].access_token,
            )
            .await;
            socket.send(watch_message(raid, seen)).await;
            let number = socket.send_command(raid, None, say_command("now")).await;
            let (seq, _) = socket.wait_for_result(number).await.expect("said");
            let order: Vec<_> = socket
                .received
                .iter()
                .filter_map(|message| match &**message {
                    ServerMessage::Watching { seq, .. } | ServerMessage::Snapshot { seq, .. } => {
                        Some(("watch", seq.0))
                    }
                    ServerMessage::Event { event, .. } => Some(("event", event.seq.0)),
                    ServerMessage::Ack { seq, .. } => Some(("ack", seq.0)),
                    _ => None,
                })
                .collect();
            assert_eq!(
                order,
                [("watch", seq.0 - 1), ("event", seq.0), ("ack", seq.0)]
            );
            seen = Some(seq);
        }
    })
    .await;
}

#[tokio::test]
async fn a_kicked_member_sees_its_own_leave_and_nothing_after_it() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let (server, group, tokens) = start_raid(&database, &[], 1).await;
        let raid = group.raid;
        let mut kicked = TestSocket::connect_authenticated(server.target(), Codec::Json, &tokens[0].access_token).await;
        kicked.watch(raid, None).await;
        let leader = group.players[0].rest();
        leader.send_command(raid, None, &Command::Kick { player: tokens[0].player.id }).await.expect("kicked");
        for _ in 0..5 {
            leader.send_command(raid, None, &say_command("about you")).await.expect("said");
        }
        let reason = kicked
            .wait_for(|message| match message {
                ServerMessage::Unwatched { reason, .. } => Some(*reason),
                _ => None,
            })
            .await;
        assert_eq!(reason, UnwatchReason::Kicked);
        let before = &kicked.received[kicked.received.len() - 2];
        let left = matches!(&**before, ServerMessage::Event { event, .. } if matches!(event.data,
            EventData::MemberLeft { player, reason: LeaveReason::Kicked, .. } if player == tokens[0].player.id));
        assert!(left, "{before:?}");
        // The very next message is the reply to this watch.
        kicked.send(watch_message(raid, None)).await;
        match &*kicked.next_message().await {
            ServerMessage::Error { re, error, .. } => {
                assert_eq!((re.as_str(), error.r#type), ("watch", ErrorType::NotFound));
            }
            other => panic!("{other:?}"),
        }
        let refused = kicked.execute(raid, None, say_command("hey")).await.expect_err("no member");
        assert_eq!(refused.r#type, ErrorType::NotFound);
    })
    .await;
}

#[tokio::test]
async fn a_player_is_shown_offline_five_seconds_after_disconnecting() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let (server, group, tokens) = start_raid(&database, &[], 2).await;
        let raid = group.raid;
        let bob = tokens[1].player.id;
        let mut ada = TestSocket::connect_authenticated(
            server.target(),
            Codec::Json,
            &tokens[0].access_token,
        )
        .await;
        ada.watch(raid, None).await;
        let mut first = TestSocket::connect_authenticated(
            server.target(),
            Codec::Json,
            &tokens[1].access_token,
        )
        .await;
        first.watch(raid, None).await;
        ada.wait_for(|message| {
            matches!(message, ServerMessage::Presence { online, .. } if online.contains(&bob))
                .then_some(())
        })
        .await;
        drop(first);
        sleep(Duration::from_millis(500)).await; // a short absence, within the grace
        let mut second = TestSocket::connect_authenticated(
            server.target(),
            Codec::Json,
            &tokens[1].access_token,
        )
        .await;
        second.watch(raid, None).await;
        let before = ada.received.len();
        drop(second);
        let gone = Instant::now();
        let (online, offline) = ada
            .wait_for(|message| match message {
                ServerMessage::Presence {
                    online, offline, ..
                } => Some((online.clone(), offline.clone())),
                _ => None,
            })
            .await;
        assert_eq!((online, offline), (vec![], vec![bob]));
        let grace = gone.elapsed();
        assert!(
            grace > Duration::from_millis(4_900) && grace < Duration::from_secs(8),
            "{grace:?}"
        );
        assert!(
            ada.received[before..].len() == 1,
            "{:?}",
            &ada.received[before..]
        );
    })
    .await;
}

#[tokio::test]
async fn a_beat_carries_the_heads_of_all_watched_raids() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let (server, group, tokens) =
            start_raid(&database, &[("LIMITS__HEARTBEAT_MS", "200")], 1).await;
        for codec in Codec::ALL {
            let mut socket =
                TestSocket::connect_authenticated(server.target(), codec, &tokens[0].access_token)
                    .await;
            let heads = |message: &ServerMessage| match message {
                ServerMessage::Beat { heads, .. } => Some(heads.clone()),
                _ => None,
            };
            assert!(socket.wait_for(heads).await.is_empty());
            socket.watch(group.raid, None).await;
            let seq = socket.say(group.raid, "news").await;
            let beat_heads = socket.wait_for(heads).await;
            assert_eq!(
                beat_heads.into_iter().collect::<Vec<_>>(),
                [(group.raid.to_string(), seq)]
            );
            socket.send(ClientMessage::Beat).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_repeated_hello_renews_the_token_of_the_same_player_only() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let (server, group, tokens) = start_raid(&database, &[], 2).await;
        let mut socket = TestSocket::connect_authenticated(
            server.target(),
            Codec::Json,
            &tokens[0].access_token,
        )
        .await;
        socket.watch(group.raid, None).await;
        let hello = |token: &str| ClientMessage::Hello {
            token: token.into(),
            client: None,
        };
        let renewed = group.players[0]
            .rest()
            .refresh_tokens(&tokens[0].refresh_token)
            .await
            .expect("a new pair");
        socket.send(hello(&renewed.access_token)).await;
        let player = socket
            .wait_for(|message| match message {
                ServerMessage::Welcome { player, .. } => Some(player.clone()),
                _ => None,
            })
            .await;
        assert_eq!(player.map(|player| player.id), Some(tokens[0].player.id));
        for (token, expected) in [
            (&tokens[1].access_token[..], ErrorType::Forbidden),
            ("rubbish", ErrorType::Unauthenticated),
        ] {
            socket.send(hello(token)).await;
            assert_eq!(socket.wait_for_error("hello").await.r#type, expected);
        }
        let seq = socket.say(group.raid, "still me").await;
        let by = socket.received.iter().find_map(|message| match &**message {
            ServerMessage::Event { event, .. } if event.seq == seq => event.by,
            _ => None,
        });
        assert_eq!(by, Some(tokens[0].player.id));
    })
    .await;
}

#[tokio::test]
async fn signals_of_members_reach_the_other_watchers() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let (server, group, tokens) = start_raid(&database, &[], 2).await;
        let raid = group.raid;
        let stranger = group.players[0]
            .rest()
            .sign_in_guest("stranger")
            .await
            .expect("a guest");
        let mut ada = TestSocket::connect_authenticated(
            server.target(),
            Codec::Json,
            &tokens[0].access_token,
        )
        .await;
        let mut bob = TestSocket::connect_authenticated(
            server.target(),
            Codec::MessagePack,
            &tokens[1].access_token,
        )
        .await;
        let mut eve =
            TestSocket::connect_authenticated(server.target(), Codec::Json, &stranger.access_token)
                .await;
        ada.watch(raid, None).await;
        let no_raid = RaidId::try_from(77_777_u64).expect("an id");
        for raid in [raid, no_raid] {
            eve.send(signal_message(raid, 1)).await;
            assert_eq!(
                eve.wait_for_error("signal").await.r#type,
                ErrorType::NotMember
            );
        }
        let from_bob = |message: &ServerMessage| match message {
            ServerMessage::Signal {
                from, data, kind, ..
            } => Some((*from, kind.clone(), data.clone())),
            _ => None,
        };
        let of_bob = |number: u64| (tokens[1].player.id, "cursor".into(), json!(number));
        bob.send(signal_message(raid, 2)).await; // a member who does not watch may signal
        assert_eq!(ada.wait_for(from_bob).await, of_bob(2)); // before the next signal replaces it
        bob.watch(raid, None).await;
        bob.send(signal_message(raid, 3)).await;
        assert_eq!(ada.wait_for(from_bob).await, of_bob(3));
        bob.say(raid, "the end").await;
        assert!(
            !bob.received
                .iter()
                .any(|message| matches!(**message, ServerMessage::Signal { .. })),
            "a signal is not sent to its sender"
        );
    })
    .await;
}

#[tokio::test]
async fn a_slow_watcher_gets_the_latest_signal_of_each_kind() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let (server, group, tokens) = start_raid(&database, &[], 2).await;
        let raid = group.raid;
        let proxy = Proxy::slow(server.target().address(), 10_000_000).await;
        let mut slow = TestSocket::connect_authenticated(
            &target(proxy.address()),
            Codec::Json,
            &tokens[0].access_token,
        )
        .await;
        slow.watch(raid, None).await;
        let mut sender = TestSocket::connect_authenticated(
            server.target(),
            Codec::Json,
            &tokens[1].access_token,
        )
        .await;
        sender.watch(raid, None).await;
        proxy.hold(&[ToClient]);
        const LAST: u64 = 5_000;
        for number in 1..=LAST {
            sender.send(signal_message(raid, number)).await;
        }
        sender.say(raid, "all sent").await;
        proxy.release();
        let mut numbers = Vec::new();
        while numbers.last() != Some(&LAST) {
            let number = slow.wait_for(|message| match message {
                ServerMessage::Signal { data, .. } => data.as_u64(),
                _ => None,
            });
            numbers.push(number.await);
        }
        assert!(numbers.is_sorted(), "older after newer");
        assert!(
            numbers.len() < LAST as usize,
            "no signal was replaced: {}",
            numbers.len()
        );
    })
    .await;
}

#[tokio::test]
async fn a_watch_beyond_the_limit_is_refused_and_the_others_continue() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let (server, group, tokens) = start_raid(&database, &[("LIMITS__WATCHES", "2")], 1).await;
        let rest = group.players[0].rest().with_token(&tokens[0].access_token);
        let mut raids = vec![group.raid];
        for _ in 0..2 {
            raids.push(
                rest.create_raid(&long_raid(2), None)
                    .await
                    .expect("a raid")
                    .state
                    .id,
            );
        }
        let mut socket = TestSocket::connect_authenticated(
            server.target(),
            Codec::Json,
            &tokens[0].access_token,
        )
        .await;
        for raid in &raids[..2] {
            socket.watch(*raid, None).await;
        }
        socket.send(watch_message(raids[2], None)).await;
        assert_eq!(
            socket.wait_for_error("watch").await.r#type,
            ErrorType::Invalid
        );
        socket.watch(raids[0], Some(Seq(1))).await; // replaces the first watch of this raid
        socket
            .send(ClientMessage::Unwatch {
                id: None,
                raid: raids[1],
            })
            .await;
        let reason = socket.wait_for(|message| match message {
            ServerMessage::Unwatched { raid, reason, .. } if *raid == raids[1] => Some(*reason),
            _ => None,
        });
        assert_eq!(reason.await, UnwatchReason::Asked);
        socket.watch(raids[2], None).await;
        for raid in [raids[0], raids[2]] {
            let seq = socket.say(raid, "seen").await;
            assert!(socket.received_seqs().contains(&seq.0));
        }
    })
    .await;
}

/// Each watch of an inaccessible raid is refused, however many there are and however fast they
/// come.
#[tokio::test]
async fn refused_and_replaced_watches_do_not_silence_the_connection() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let (server, group, tokens) = start_raid(&database, &[], 1).await;
        let nowhere = RaidId::try_from(999_999_u64).expect("an id");
        let mut socket = TestSocket::connect_authenticated(
            server.target(),
            Codec::Json,
            &tokens[0].access_token,
        )
        .await;
        for _ in 0..1_000 {
            socket.send(watch_message(nowhere, None)).await;
        }
        for _ in 0..1_000 {
            socket.send(watch_message(nowhere, None)).await;
            socket
                .send(ClientMessage::Unwatch {
                    id: None,
                    raid: nowhere,
                })
                .await;
        }
        socket.watch(group.raid, None).await;
        socket.say(group.raid, "still served").await;
    })
    .await;
}

/// Reads from a socket, which answers pings, for as long as `other` takes.
async fn while_answering<T>(sockets: &mut [TestSocket], other: impl Future<Output = T>) -> T {
    let answering = async |socket: &mut TestSocket| loop {
        socket.next_message().await;
    };
    let answering = join_all(sockets.iter_mut().map(answering));
    tokio::select! { biased;
        result = other => result,
        _ = answering => unreachable!("reads until the other is done"),
    }
}

#[tokio::test]
async fn a_connection_beyond_the_limit_is_refused_while_all_others_answer() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let settings = [("LIMITS__CONNECTIONS_PER_PLAYER", "2")];
        let (server, group, tokens) = start_raid(&database, &settings, 1).await;
        let token = &tokens[0].access_token;
        let connect = || TestSocket::connect_authenticated(server.target(), Codec::Json, token);
        let mut open = [connect().await, connect().await];
        let mut third = TestSocket::connect(server.target(), Codec::Json).await;
        let hello = ClientMessage::Hello {
            token: token.clone(),
            client: None,
        };
        third.send(hello).await;
        let closed = while_answering(&mut open, third.wait_for_close()).await;
        assert_eq!(closed.code, Some(4004));
        let [mut first, second] = open;
        first.watch(group.raid, None).await;
        drop(second);
        let mut rest = [first];
        while_answering(&mut rest, connect()).await;
    })
    .await;
}

#[tokio::test]
async fn a_new_connection_takes_the_place_of_the_longest_silent_one() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let settings = [("LIMITS__CONNECTIONS_PER_PLAYER", "3")];
        let (server, group, tokens) = start_raid(&database, &settings, 1).await;
        let token = &tokens[0].access_token;
        let connect = || TestSocket::connect_authenticated(server.target(), Codec::Json, token);
        let mut answers = [connect().await];
        // Nothing reads from these two: they answer no ping, as after a change of the network.
        let mut longest_silent = connect().await;
        let mut silent = connect().await;
        longest_silent.watch(group.raid, None).await;
        silent.watch(group.raid, None).await;
        let mut new = while_answering(&mut answers, connect()).await;
        new.watch(group.raid, None).await;
        assert_eq!(longest_silent.wait_for_close().await.code, Some(4201));
        silent.say(group.raid, "still here").await;
        answers[0].watch(group.raid, None).await;
    })
    .await;
}

#[tokio::test]
async fn an_op_sent_twice_at_once_by_any_route_takes_effect_once() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let (server, group, tokens) = start_raid(&database, &[], 1).await;
        let raid = group.raid;
        let rest = group.players[0].rest().with_token(&tokens[0].access_token);
        let mut one = TestSocket::connect_authenticated(
            server.target(),
            Codec::Json,
            &tokens[0].access_token,
        )
        .await;
        let mut two = TestSocket::connect_authenticated(
            server.target(),
            Codec::MessagePack,
            &tokens[0].access_token,
        )
        .await;
        two.watch(raid, None).await;
        for round in 0..20 {
            let op = format!("op-{round}");
            let first = one.send_command(raid, Some(&op), say_command(&op)).await;
            let second = two.send_command(raid, Some(&op), say_command(&op)).await;
            let third = two.send_command(raid, Some(&op), say_command(&op)).await;
            let key = raidhall_protocol::OpKey::try_from(op.clone()).expect("an op key");
            let command = say_command(&op);
            let by_rest = rest
                .send_command(raid, Some(&key), &command)
                .await
                .expect("said");
            let mut answers = vec![(by_rest.seq, by_rest.duplicate)];
            answers.push(
                one.wait_for(|message| command_result(message, first))
                    .await
                    .expect("said"),
            );
            answers.push(
                two.wait_for(|message| command_result(message, second))
                    .await
                    .expect("said"),
            );
            answers.push(
                two.wait_for(|message| command_result(message, third))
                    .await
                    .expect("said"),
            );
            assert!(
                answers.iter().all(|(seq, _)| *seq == answers[0].0),
                "{answers:?}"
            );
            assert_eq!(
                answers.iter().filter(|(_, duplicate)| !duplicate).count(),
                1,
                "{answers:?}"
            );
        }
        let head = rest.raid(raid).await.expect("the raid").seq;
        while two.received_seqs().last() != Some(&head.0) {
            two.wait_for(event_seq).await;
        }
        assert_eq!(two.received_seqs().len(), 20);
    })
    .await;
}

/// The connection is dead in both directions: nothing arrives, and it does not close.
#[tokio::test]
async fn a_player_goes_offline_on_a_dead_connection_and_can_return() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let settings = [
            ("LIMITS__HEARTBEAT_MS", "400"),
            ("RAID__PRESENCE_GRACE_MS", "300"),
        ];
        let (server, group, tokens) = start_raid(&database, &settings, 2).await;
        let raid = group.raid;
        let bob = tokens[1].player.id;
        let proxy = Proxy::to(server.target().address()).await;
        let mut ada = TestSocket::connect_authenticated(
            server.target(),
            Codec::Json,
            &tokens[0].access_token,
        )
        .await;
        ada.watch(raid, None).await;
        let mut old = TestSocket::connect_authenticated(
            &target(proxy.address()),
            Codec::Json,
            &tokens[1].access_token,
        )
        .await;
        let (seen, _) = old.watch(raid, None).await;
        proxy.hold(&[ToServer, ToClient]);
        let shown = |gone: bool| {
            move |message: &ServerMessage| match message {
                ServerMessage::Presence {
                    online, offline, ..
                } => (if gone { offline } else { online })
                    .contains(&bob)
                    .then_some(()),
                _ => None,
            }
        };
        // The player reconnects before the server can notice, and stays online all the while.
        let mut new = TestSocket::connect_authenticated(
            server.target(),
            Codec::MessagePack,
            &tokens[1].access_token,
        )
        .await;
        assert!(new.watch(raid, Some(seen)).await.1);
        ada.wait_for(shown(false)).await;
        for _ in 0..6 {
            let beat = |message: &ServerMessage| {
                matches!(message, ServerMessage::Beat { .. }).then_some(())
            };
            new.wait_for(beat).await; // long enough for the server to drop the old connection
            ada.wait_for(beat).await;
        }
        assert!(
            !ada.received
                .iter()
                .any(|message| shown(true)(message).is_some()),
            "shown offline"
        );
        drop(new);
        ada.wait_for(shown(true)).await;
    })
    .await;
}
