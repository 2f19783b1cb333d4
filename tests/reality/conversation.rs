//! What the contract promises on one connection, in the order in which it is promised.

use std::time::Duration;

use raidhall_protocol::event::LeaveReason;
use raidhall_protocol::rest::TokenPair;
use raidhall_protocol::server::UnwatchReason;
use raidhall_protocol::{
    ClientMessage, Codec, Command, ErrorType, EventData, RaidId, Seq, ServerMessage,
};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::bounded;
use crate::party::{Party, long_raid, target};
use crate::process::{Server, Site};
use crate::proxy::Proxy;
use crate::proxy::Way::{ToClient, ToServer};
use crate::wire::{Wire, answer_to, event_seq};

/// A server with a raid, led by the first of the party, and members besides.
async fn table(
    site: &Site,
    settings: &[(&str, &str)],
    members: usize,
) -> (Server, Party, Vec<TokenPair>) {
    let server = site.start_with(settings).await;
    let party = Party::gather(server.target(), 1, &long_raid(members)).await;
    let mut tokens = Vec::new();
    for _ in 0..members {
        tokens.push(party.witness().await);
    }
    (server, party, tokens)
}

fn said(text: &str) -> Command {
    Command::Say { text: text.into() }
}

fn watch(raid: RaidId, since: Option<Seq>) -> ClientMessage {
    ClientMessage::Watch {
        id: None,
        raid,
        since,
    }
}

fn signal(raid: RaidId, number: u64) -> ClientMessage {
    ClientMessage::Signal {
        id: None,
        raid,
        kind: "cursor".into(),
        data: json!(number),
    }
}

#[tokio::test]
async fn an_ack_follows_its_event_on_a_connection_that_watches_and_comes_alone_elsewhere() {
    bounded(async {
        let site = Site::sqlite().await;
        let (server, party, tokens) = table(&site, &[], 2).await;
        for codec in Codec::ALL {
            let mut watching = Wire::open(server.target(), codec, &tokens[0].access_token).await;
            let mut elsewhere = Wire::open(server.target(), codec, &tokens[1].access_token).await;
            watching.watch(party.raid, None).await;
            let mut numbers = Vec::new();
            for number in 0..50 {
                numbers.push(
                    watching
                        .ask(party.raid, None, said(&number.to_string()))
                        .await,
                );
                elsewhere.ask(party.raid, None, said("too")).await;
            }
            for number in numbers {
                let (seq, _) = watching.answer(number).await.expect("said");
                assert!(
                    watching.seqs().contains(&seq.0),
                    "acknowledged before it was shown"
                );
                elsewhere.answer(number).await.expect("said");
            }
            assert_eq!(elsewhere.seqs(), Vec::<u64>::new());
            let seqs = watching.seqs();
            assert!(seqs.is_sorted_by(|a, b| a + 1 == *b), "{seqs:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_answer_to_a_watch_comes_before_the_ack_of_a_command_sent_after_it() {
    bounded(async {
        let site = Site::sqlite().await;
        let (server, party, tokens) = table(&site, &[], 1).await;
        let raid = party.raid;
        let mut seen = None;
        for round in 0..20 {
            let mut wire = Wire::open(
                server.target(),
                Codec::ALL[round % 2],
                &tokens[0].access_token,
            )
            .await;
            wire.send(watch(raid, seen)).await;
            let number = wire.ask(raid, None, said("now")).await;
            let (seq, _) = wire.answer(number).await.expect("said");
            let order: Vec<_> =
                wire.heard
                    .iter()
                    .filter_map(|message| match &**message {
                        ServerMessage::Watching { seq, .. }
                        | ServerMessage::Snapshot { seq, .. } => Some(("watch", seq.0)),
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
async fn a_kicked_member_sees_itself_leave_and_then_nothing_more() {
    bounded(async {
        let site = Site::sqlite().await;
        let (server, party, tokens) = table(&site, &[], 1).await;
        let raid = party.raid;
        let mut kicked = Wire::open(server.target(), Codec::Json, &tokens[0].access_token).await;
        kicked.watch(raid, None).await;
        let leader = party.players[0].rest();
        leader.command(raid, None, &Command::Kick { player: tokens[0].player.id }).await.expect("kicked");
        for _ in 0..5 {
            leader.command(raid, None, &said("about you")).await.expect("said");
        }
        let reason = kicked
            .seek(|message| match message {
                ServerMessage::Unwatched { reason, .. } => Some(*reason),
                _ => None,
            })
            .await;
        assert_eq!(reason, UnwatchReason::Kicked);
        let before = &kicked.heard[kicked.heard.len() - 2];
        let left = matches!(&**before, ServerMessage::Event { event, .. } if matches!(event.data,
            EventData::MemberLeft { player, reason: LeaveReason::Kicked, .. } if player == tokens[0].player.id));
        assert!(left, "{before:?}");
        // The very next message is the answer to this.
        kicked.send(watch(raid, None)).await;
        match &*kicked.next().await {
            ServerMessage::Error { re, error, .. } => {
                assert_eq!((re.as_str(), error.r#type), ("watch", ErrorType::NotFound));
            }
            other => panic!("{other:?}"),
        }
        let refused = kicked.act(raid, None, said("hey")).await.expect_err("no member");
        assert_eq!(refused.r#type, ErrorType::NotFound);
    })
    .await;
}

#[tokio::test]
async fn a_player_is_shown_offline_five_seconds_after_the_last_connection_and_a_blink_shows_nowhere()
 {
    bounded(async {
        let site = Site::sqlite().await;
        let (server, party, tokens) = table(&site, &[], 2).await;
        let (raid, bob) = (party.raid, tokens[1].player.id);
        let mut ada = Wire::open(server.target(), Codec::Json, &tokens[0].access_token).await;
        ada.watch(raid, None).await;
        let mut first = Wire::open(server.target(), Codec::Json, &tokens[1].access_token).await;
        first.watch(raid, None).await;
        ada.seek(|message| {
            matches!(message, ServerMessage::Presence { online, .. } if online.contains(&bob))
                .then_some(())
        })
        .await;
        drop(first);
        sleep(Duration::from_millis(500)).await; // away for a moment
        let mut second = Wire::open(server.target(), Codec::Json, &tokens[1].access_token).await;
        second.watch(raid, None).await;
        let before = ada.heard.len();
        drop(second);
        let gone = Instant::now();
        let (online, offline) = ada
            .seek(|message| match message {
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
        assert!(ada.heard[before..].len() == 1, "{:?}", &ada.heard[before..]);
    })
    .await;
}

#[tokio::test]
async fn a_beat_brings_the_heads_of_all_that_is_watched() {
    bounded(async {
        let site = Site::sqlite().await;
        let (server, party, tokens) = table(&site, &[("LIMITS__HEARTBEAT_MS", "200")], 1).await;
        for codec in Codec::ALL {
            let mut wire = Wire::open(server.target(), codec, &tokens[0].access_token).await;
            let heads = |message: &ServerMessage| match message {
                ServerMessage::Beat { heads, .. } => Some(heads.clone()),
                _ => None,
            };
            assert!(wire.seek(heads).await.is_empty());
            wire.watch(party.raid, None).await;
            let seq = wire.say(party.raid, "news").await;
            let told = wire.seek(heads).await;
            assert_eq!(
                told.into_iter().collect::<Vec<_>>(),
                [(party.raid.to_string(), seq)]
            );
            wire.send(ClientMessage::Beat).await;
        }
    })
    .await;
}

#[tokio::test]
async fn hello_again_renews_the_token_and_another_player_s_changes_nothing() {
    bounded(async {
        let site = Site::sqlite().await;
        let (server, party, tokens) = table(&site, &[], 2).await;
        let mut wire = Wire::open(server.target(), Codec::Json, &tokens[0].access_token).await;
        wire.watch(party.raid, None).await;
        let hello = |token: &str| ClientMessage::Hello {
            token: token.into(),
            client: None,
        };
        let renewed = party.players[0]
            .rest()
            .refresh(&tokens[0].refresh_token)
            .await
            .expect("a new pair");
        wire.send(hello(&renewed.access_token)).await;
        let player = wire
            .seek(|message| match message {
                ServerMessage::Welcome { player, .. } => Some(player.clone()),
                _ => None,
            })
            .await;
        assert_eq!(player.map(|player| player.id), Some(tokens[0].player.id));
        for (token, expected) in [
            (&tokens[1].access_token[..], ErrorType::Forbidden),
            ("rubbish", ErrorType::Unauthenticated),
        ] {
            wire.send(hello(token)).await;
            assert_eq!(wire.error("hello").await.r#type, expected);
        }
        let seq = wire.say(party.raid, "still me").await;
        let by = wire.heard.iter().find_map(|message| match &**message {
            ServerMessage::Event { event, .. } if event.seq == seq => event.by,
            _ => None,
        });
        assert_eq!(by, Some(tokens[0].player.id));
    })
    .await;
}

#[tokio::test]
async fn signals_reach_the_other_watchers_from_members_only() {
    bounded(async {
        let site = Site::sqlite().await;
        let (server, party, tokens) = table(&site, &[], 2).await;
        let raid = party.raid;
        let stranger = party.players[0]
            .rest()
            .guest("stranger")
            .await
            .expect("a guest");
        let mut ada = Wire::open(server.target(), Codec::Json, &tokens[0].access_token).await;
        let mut bob =
            Wire::open(server.target(), Codec::MessagePack, &tokens[1].access_token).await;
        let mut eve = Wire::open(server.target(), Codec::Json, &stranger.access_token).await;
        ada.watch(raid, None).await;
        let no_raid = RaidId::try_from(77_777_u64).expect("an id");
        for raid in [raid, no_raid] {
            eve.send(signal(raid, 1)).await;
            assert_eq!(eve.error("signal").await.r#type, ErrorType::NotMember);
        }
        let from_bob = |message: &ServerMessage| match message {
            ServerMessage::Signal {
                from, data, kind, ..
            } => Some((*from, kind.clone(), data.clone())),
            _ => None,
        };
        let of_bob = |number: u64| (tokens[1].player.id, "cursor".into(), json!(number));
        bob.send(signal(raid, 2)).await; // a member who does not watch
        assert_eq!(ada.seek(from_bob).await, of_bob(2)); // before the next takes its place
        bob.watch(raid, None).await;
        bob.send(signal(raid, 3)).await;
        assert_eq!(ada.seek(from_bob).await, of_bob(3));
        bob.say(raid, "the end").await;
        assert!(
            !bob.heard
                .iter()
                .any(|message| matches!(**message, ServerMessage::Signal { .. })),
            "not to oneself"
        );
    })
    .await;
}

#[tokio::test]
async fn under_pressure_the_latest_signal_of_each_kind_wins() {
    bounded(async {
        let site = Site::sqlite().await;
        let (server, party, tokens) = table(&site, &[], 2).await;
        let raid = party.raid;
        let link = Proxy::slow(server.target().address(), 10_000_000).await;
        let mut slow = Wire::open(
            &target(link.address()),
            Codec::Json,
            &tokens[0].access_token,
        )
        .await;
        slow.watch(raid, None).await;
        let mut sender = Wire::open(server.target(), Codec::Json, &tokens[1].access_token).await;
        sender.watch(raid, None).await;
        link.hold(&[ToClient]);
        const LAST: u64 = 5_000;
        for number in 1..=LAST {
            sender.send(signal(raid, number)).await;
        }
        sender.say(raid, "all sent").await;
        link.release();
        let mut numbers = Vec::new();
        while numbers.last() != Some(&LAST) {
            let number = slow.seek(|message| match message {
                ServerMessage::Signal { data, .. } => data.as_u64(),
                _ => None,
            });
            numbers.push(number.await);
        }
        assert!(numbers.is_sorted(), "older after newer");
        assert!(
            numbers.len() < LAST as usize,
            "none was replaced: {}",
            numbers.len()
        );
    })
    .await;
}

#[tokio::test]
async fn one_watch_too_many_is_refused_and_the_others_go_on() {
    bounded(async {
        let site = Site::sqlite().await;
        let (server, party, tokens) = table(&site, &[("LIMITS__WATCHES", "2")], 1).await;
        let rest = party.players[0].rest().with_token(&tokens[0].access_token);
        let mut raids = vec![party.raid];
        for _ in 0..2 {
            raids.push(
                rest.create(&long_raid(2), None)
                    .await
                    .expect("a raid")
                    .state
                    .id,
            );
        }
        let mut wire = Wire::open(server.target(), Codec::Json, &tokens[0].access_token).await;
        for raid in &raids[..2] {
            wire.watch(*raid, None).await;
        }
        wire.send(watch(raids[2], None)).await;
        assert_eq!(wire.error("watch").await.r#type, ErrorType::Invalid);
        wire.watch(raids[0], Some(Seq(1))).await; // again, in place of the first
        wire.send(ClientMessage::Unwatch {
            id: None,
            raid: raids[1],
        })
        .await;
        let reason = wire.seek(|message| match message {
            ServerMessage::Unwatched { raid, reason } if *raid == raids[1] => Some(*reason),
            _ => None,
        });
        assert_eq!(reason.await, UnwatchReason::Asked);
        wire.watch(raids[2], None).await;
        for raid in [raids[0], raids[2]] {
            let seq = wire.say(raid, "seen").await;
            assert!(wire.seqs().contains(&seq.0));
        }
    })
    .await;
}

/// Each watch of a raid that may not be seen is refused, however many there are and however fast they come.
#[tokio::test]
async fn watches_that_replace_refused_ones_do_not_silence_the_connection() {
    bounded(async {
        let site = Site::sqlite().await;
        let (server, party, tokens) = table(&site, &[], 1).await;
        let nowhere = RaidId::try_from(999_999_u64).expect("an id");
        let mut wire = Wire::open(server.target(), Codec::Json, &tokens[0].access_token).await;
        for _ in 0..1_000 {
            wire.send(watch(nowhere, None)).await;
        }
        for _ in 0..1_000 {
            wire.send(watch(nowhere, None)).await;
            wire.send(ClientMessage::Unwatch {
                id: None,
                raid: nowhere,
            })
            .await;
        }
        wire.watch(party.raid, None).await;
        wire.say(party.raid, "still heard").await;
    })
    .await;
}

#[tokio::test]
async fn one_player_has_no_more_connections_than_allowed_and_the_oldest_stay() {
    bounded(async {
        let site = Site::sqlite().await;
        let (server, party, tokens) =
            table(&site, &[("LIMITS__CONNECTIONS_PER_PLAYER", "2")], 1).await;
        let token = &tokens[0].access_token;
        let mut first = Wire::open(server.target(), Codec::Json, token).await;
        let second = Wire::open(server.target(), Codec::MessagePack, token).await;
        let mut third = Wire::connect(server.target(), Codec::Json).await;
        third
            .send(ClientMessage::Hello {
                token: token.clone(),
                client: None,
            })
            .await;
        assert_eq!(third.end().await.code, Some(4004));
        first.watch(party.raid, None).await;
        drop(second);
        loop {
            let mut next = Wire::connect(server.target(), Codec::Json).await;
            next.send(ClientMessage::Hello {
                token: token.clone(),
                client: None,
            })
            .await;
            match next.next_or_end().await {
                Ok(_) => break,
                Err(closed) => assert_eq!(closed.code, Some(4004)),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_op_that_is_sent_twice_at_once_takes_effect_once_on_whichever_door() {
    bounded(async {
        let site = Site::sqlite().await;
        let (server, party, tokens) = table(&site, &[], 1).await;
        let raid = party.raid;
        let rest = party.players[0].rest().with_token(&tokens[0].access_token);
        let mut one = Wire::open(server.target(), Codec::Json, &tokens[0].access_token).await;
        let mut two =
            Wire::open(server.target(), Codec::MessagePack, &tokens[0].access_token).await;
        two.watch(raid, None).await;
        for round in 0..20 {
            let op = format!("op-{round}");
            let first = one.ask(raid, Some(&op), said(&op)).await;
            let second = two.ask(raid, Some(&op), said(&op)).await;
            let third = two.ask(raid, Some(&op), said(&op)).await;
            let key = raidhall_protocol::OpKey::try_from(op.clone()).expect("an op key");
            let command = said(&op);
            let by_rest = rest
                .command(raid, Some(&key), &command)
                .await
                .expect("said");
            let mut answers = vec![(by_rest.seq, by_rest.duplicate)];
            answers.push(
                one.seek(|message| answer_to(message, first))
                    .await
                    .expect("said"),
            );
            answers.push(
                two.seek(|message| answer_to(message, second))
                    .await
                    .expect("said"),
            );
            answers.push(
                two.seek(|message| answer_to(message, third))
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
        while two.seqs().last() != Some(&head.0) {
            two.seek(event_seq).await;
        }
        assert_eq!(two.seqs().len(), 20);
    })
    .await;
}

/// No word, no end: the line is dead in both directions.
#[tokio::test]
async fn a_player_on_a_dead_line_goes_offline_and_comes_back_while_the_old_line_still_stands() {
    bounded(async {
        let site = Site::sqlite().await;
        let settings = [
            ("LIMITS__HEARTBEAT_MS", "400"),
            ("RAID__PRESENCE_GRACE_MS", "300"),
        ];
        let (server, party, tokens) = table(&site, &settings, 2).await;
        let (raid, bob) = (party.raid, tokens[1].player.id);
        let link = Proxy::to(server.target().address()).await;
        let mut ada = Wire::open(server.target(), Codec::Json, &tokens[0].access_token).await;
        ada.watch(raid, None).await;
        let mut old = Wire::open(
            &target(link.address()),
            Codec::Json,
            &tokens[1].access_token,
        )
        .await;
        let (seen, _) = old.watch(raid, None).await;
        link.hold(&[ToServer, ToClient]);
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
        // Back at once, before anybody could notice: shown online all the while.
        let mut new =
            Wire::open(server.target(), Codec::MessagePack, &tokens[1].access_token).await;
        assert!(new.watch(raid, Some(seen)).await.1);
        ada.seek(shown(false)).await;
        for _ in 0..6 {
            let beat = |message: &ServerMessage| {
                matches!(message, ServerMessage::Beat { .. }).then_some(())
            };
            new.seek(beat).await; // long enough for the old line to be given up
            ada.seek(beat).await;
        }
        assert!(
            !ada.heard
                .iter()
                .any(|message| shown(true)(message).is_some()),
            "shown offline"
        );
        drop(new);
        ada.seek(shown(true)).await;
    })
    .await;
}
