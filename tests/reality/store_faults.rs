//! Postgres goes away, stalls, and loses answers, while a raid is being played.

use std::time::Duration;

use raidhall_loadtest::client::Rest;
use raidhall_protocol::{
    ClientMessage, Codec, Command, ErrorBody, ErrorType, RaidId, Seq, ServerMessage,
};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::bounded;
use crate::cluster::Cluster;
use crate::party::{Game, Party, long_raid};
use crate::process::{Server, Site};
use crate::proxy::Way::{ToClient, ToServer};
use crate::wire::Wire;

async fn game(server: &Server) -> (Game, Rest) {
    let party = Party::at_play(server.target(), 4, &long_raid(4)).await;
    let rest = party.players[0]
        .rest()
        .with_patience(Duration::from_secs(30));
    (party.play(), rest)
}

/// Waits until a raid has gone on by so many events.
async fn goes_on(rest: &Rest, raid: RaidId, events: u64) {
    let seq = || async { rest.raid(raid).await.expect("the raid").seq.0 };
    let from = seq().await;
    while seq().await < from + events {
        sleep(Duration::from_millis(20)).await;
    }
}

/// Everything acknowledged exactly once, and every total equal to the ledger's sum.
async fn judged(game: Game) {
    let (verdict, _) = game.stop().await.settle().await;
    verdict.expect_innocent();
    println!("{verdict:?}");
    assert!(verdict.acks > 50, "{verdict:?}");
}

#[tokio::test]
async fn when_postgres_dies_mid_commit_everything_is_acknowledged_once_or_refused_with_retry() {
    bounded(async {
        let site = Site::proxied().await;
        let server = site.start().await;
        let (game, rest) = game(&server).await;
        for _ in 0..10 {
            goes_on(&rest, game.raid, 3).await;
            site.proxy().cut();
        }
        // Longer than a commit is tried for: those are refused, and their raids reload.
        goes_on(&rest, game.raid, 3).await;
        site.proxy().close();
        sleep(Duration::from_millis(2_500)).await;
        site.proxy().release();
        goes_on(&rest, game.raid, 20).await;
        judged(game).await;
    })
    .await;
}

#[tokio::test]
async fn when_the_answers_to_commits_are_lost_every_effect_and_every_total_counts_once() {
    bounded(async {
        let site = Site::proxied().await;
        let server = site.start().await;
        let (game, rest) = game(&server).await;
        for _ in 0..25 {
            goes_on(&rest, game.raid, 2).await;
            site.proxy().lose_answers();
        }
        goes_on(&rest, game.raid, 10).await;
        assert!(
            site.proxy().lost() >= 25,
            "{} answers lost",
            site.proxy().lost()
        );
        judged(game).await;
    })
    .await;
}

/// A refusal that a client may repeat, with the time after which.
fn is_unavailable(error: &ErrorBody) {
    assert_eq!(
        (error.r#type, error.retry),
        (ErrorType::Unavailable, true),
        "{error:?}"
    );
    assert!(error.retry_after_ms.is_some_and(|ms| ms > 0), "{error:?}");
}

fn said(text: &str) -> Command {
    Command::Say { text: text.into() }
}

/// Two members' connections, both watching.
async fn two(server: &Server) -> (RaidId, Wire, Wire) {
    let party = Party::gather(server.target(), 1, &long_raid(3)).await;
    let mut wires = Vec::new();
    for codec in Codec::ALL {
        let token = party.witness().await.access_token;
        let mut wire = Wire::open(server.target(), codec, &token).await;
        wire.watch(party.raid, None).await;
        wires.push(wire);
    }
    let (second, first) = (wires.pop().expect("two"), wires.pop().expect("two"));
    (party.raid, first, second)
}

/// Sends a command again as the errors say, until it is acknowledged.
async fn retried(wire: &mut Wire, raid: RaidId, op: &str, command: &Command) -> (Seq, bool) {
    loop {
        match wire.act(raid, Some(op), command.clone()).await {
            Ok(acknowledged) => return acknowledged,
            Err(error) => {
                is_unavailable(&error);
                sleep(Duration::from_millis(error.retry_after_ms.unwrap_or(0))).await;
            }
        }
    }
}

#[tokio::test]
async fn while_postgres_stalls_commands_are_refused_signals_flow_and_nobody_is_thrown_out() {
    bounded(async {
        let site = Site::proxied().await;
        let server = site.start().await;
        let (raid, mut ada, mut bob) = two(&server).await;
        let before = ada.say(raid, "before").await;
        site.proxy().hold(&[ToServer, ToClient]);
        let began = Instant::now();
        let number = ada.ask(raid, Some("stalled"), said("once")).await;

        // Signals need no store.
        bob.send(ClientMessage::Signal {
            id: None,
            raid,
            kind: "emote".into(),
            data: json!(1),
        })
        .await;
        ada.seek(|message| matches!(message, ServerMessage::Signal { .. }).then_some(()))
            .await;
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "signals wait for the store"
        );

        is_unavailable(&ada.answer(number).await.expect_err("no commit"));
        let refused = began.elapsed();
        assert!(
            refused >= Duration::from_millis(1_900) && refused < Duration::from_secs(4),
            "{refused:?}"
        );
        is_unavailable(
            &ada.act(raid, Some("stalled"), said("once"))
                .await
                .expect_err("no store"),
        );
        let ready = Rest::new(server.target()).expect("doors");
        while ready.ready().await {
            sleep(Duration::from_millis(50)).await;
        }
        bob.send(ClientMessage::Signal {
            id: None,
            raid,
            kind: "emote".into(),
            data: json!(2),
        })
        .await;
        ada.seek(|message| matches!(message, ServerMessage::Signal { .. }).then_some(()))
            .await;
        sleep(Duration::from_secs(5).saturating_sub(began.elapsed())).await;

        site.proxy().release();
        let (seq, _) = retried(&mut ada, raid, "stalled", &said("once")).await;
        assert_eq!(seq, before.next());
        assert_eq!(
            ada.act(raid, Some("stalled"), said("once")).await,
            Ok((seq, true))
        );
        let after = bob.say(raid, "after").await;
        assert_eq!(after, seq.next());
        while !ready.ready().await {
            sleep(Duration::from_millis(50)).await;
        }
        for wire in [&ada, &bob] {
            assert!(
                wire.seqs().is_sorted_by(|a, b| a + 1 == *b),
                "{:?}",
                wire.seqs()
            );
        }
        assert_eq!(bob.seqs().last(), Some(&after.0));
    })
    .await;
}

/// The session gives up, loads the raid anew over fresh connections and goes on; then its old batch arrives.
#[tokio::test]
async fn a_batch_that_arrives_after_its_session_reloaded_is_fenced() {
    bounded(async {
        let site = Site::proxied().await;
        let server = site.start().await;
        let (raid, mut ada, mut bob) = two(&server).await;
        let before = ada.say(raid, "before").await;
        site.proxy().hold_present(&[ToServer]);
        is_unavailable(
            &ada.act(raid, Some("late"), said("late"))
                .await
                .expect_err("no commit"),
        );
        let (seq, duplicate) = retried(&mut ada, raid, "late", &said("late")).await;
        assert_eq!((seq, duplicate), (before.next(), false));

        site.proxy().release();
        for number in 1..=20 {
            let said = bob.say(raid, format!("after {number}")).await;
            assert_eq!(said.0, seq.0 + number);
        }
        let rows = site
            .store()
            .await
            .events(raid, Seq::ZERO, 1_000)
            .await
            .expect("the ledger");
        let texts = rows.iter().filter(|event| {
            matches!(&event.data,
            raidhall_protocol::EventData::Said { text } if text == "late")
        });
        assert_eq!(texts.count(), 1);
        assert!(
            rows.iter()
                .zip(1..)
                .all(|(event, seq)| event.seq == Seq(seq)),
            "a hole"
        );
        assert_eq!(
            bob.seqs().last().copied(),
            ada.act(raid, Some("late"), said("late"))
                .await
                .ok()
                .map(|_| seq.0 + 20)
        );
    })
    .await;
}

/// The other order: the old batch arrives between giving up and loading anew.
#[tokio::test]
async fn a_batch_that_arrives_before_its_session_reloads_counts_and_its_retry_is_a_repeat() {
    bounded(async {
        let site = Site::proxied().await;
        let server = site.start().await;
        let (raid, mut ada, mut bob) = two(&server).await;
        let before = ada.say(raid, "before").await;
        // The statement arrives; its answer does not.
        site.proxy().hold(&[ToClient]);
        is_unavailable(
            &ada.act(raid, Some("late"), said("late"))
                .await
                .expect_err("no answer"),
        );
        site.proxy().release();
        let (seq, duplicate) = retried(&mut ada, raid, "late", &said("late")).await;
        assert_eq!((seq, duplicate), (before.next(), true));
        assert_eq!(bob.say(raid, "after").await, seq.next());
        for wire in [&ada, &bob] {
            assert!(
                wire.seqs().is_sorted_by(|a, b| a + 1 == *b),
                "{:?}",
                wire.seqs()
            );
        }
        assert_eq!(bob.seqs()[bob.seqs().len() - 2..], [seq.0, seq.0 + 1]);
    })
    .await;
}

#[tokio::test]
async fn when_postgres_itself_is_killed_and_recovers_nothing_acknowledged_is_lost() {
    bounded(async {
        let mut cluster = Cluster::start().await;
        let site = Site::on(&cluster).await;
        let server = site.start().await;
        let (game, rest) = game(&server).await;
        for _ in 0..3 {
            goes_on(&rest, game.raid, 30).await;
            cluster.crash_and_recover().await;
        }
        goes_on(&rest, game.raid, 30).await;
        judged(game).await;
    })
    .await;
}

/// Requests that make something are repeated with their key when their answer is lost.
#[tokio::test]
async fn when_answers_are_lost_a_raid_is_made_once_and_a_sign_in_goes_on() {
    bounded(async {
        let site = Site::proxied().await;
        let server = site.start().await;
        let rest = Rest::new(server.target())
            .expect("doors")
            .with_patience(Duration::from_secs(30));
        let mut tokens = rest.guest("Ada").await.expect("a guest");
        for round in 0..12 {
            let own = rest.with_token(&tokens.access_token);
            let key = raidhall_protocol::OpKey::try_from(format!("raid-{round}")).expect("a key");
            site.proxy().lose_answers();
            let made = own.create(&long_raid(2), Some(&key)).await.expect("a raid");
            assert_eq!(
                own.create(&long_raid(2), Some(&key))
                    .await
                    .expect("a raid")
                    .state,
                made.state
            );
            site.proxy().lose_answers();
            tokens = rest
                .refresh(&tokens.refresh_token)
                .await
                .expect("the next pair");
            let own = rest.with_token(&tokens.access_token);
            site.proxy().lose_answers();
            let answer = own
                .command(made.state.id, Some(&key), &said("once"))
                .await
                .expect("said");
            let events = own.all_events(made.state.id).await.expect("the ledger");
            assert_eq!((answer.seq, events.len()), (Seq(3), 3), "{events:?}");
        }
        let mine = site
            .store()
            .await
            .raids_by_member(tokens.player.id, None, None, 100)
            .await
            .expect("the list");
        assert_eq!(mine.len(), 12, "one raid for each key");
        assert!(
            site.proxy().lost() >= 36,
            "{} answers lost",
            site.proxy().lost()
        );
    })
    .await;
}

#[tokio::test]
async fn while_postgres_is_gone_requests_are_refused_with_503_and_a_time_to_retry() {
    bounded(async {
        let site = Site::proxied().await;
        let server = site
            .start_with(&[("STORE__CONNECT_TIMEOUT_MS", "500")])
            .await;
        let party = Party::gather(server.target(), 1, &long_raid(1)).await;
        let rest = party.players[0].rest().with_patience(Duration::ZERO);
        site.proxy().close();
        let key = raidhall_protocol::OpKey::try_from("gone".to_owned()).expect("a key");
        let results = [
            rest.guest("Bob").await.map(drop),
            rest.me().await.map(drop),
            rest.create(&long_raid(2), Some(&key)).await.map(drop),
            rest.command(party.raid, Some(&key), &said("gone"))
                .await
                .map(drop),
            rest.events(party.raid, Seq::ZERO, 10).await.map(drop),
        ];
        for result in results {
            match result {
                Err(raidhall_loadtest::client::RestError::Refused {
                    status: 503, body, ..
                }) => is_unavailable(&body),
                other => panic!("{other:?}"),
            }
        }
        site.proxy().release();
        let back = rest.with_patience(Duration::from_secs(30));
        back.me().await.expect("a profile");
        let answer = back
            .command(party.raid, Some(&key), &said("gone"))
            .await
            .expect("said");
        assert_eq!((answer.seq, answer.duplicate), (Seq(3), false));
    })
    .await;
}
